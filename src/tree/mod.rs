//! File trees: what an image holds, as one sorted map, without times and without content.
//!
//! - A [`Tree`] maps [`TreePath`] to [`Entry`]; its order is total, so every writer's output is a pure function of it.
//! - Content is named by its SHA-256 and fetched from [`Contents`]; a tree of gigabytes stays small in memory.
//! - Hard links are canonical: the first path in order is the file, every other one links to it.
//! - [`list`] writes a tree as the canonical, versioned text whose SHA-256 is the **tree digest** that component signers sign.

pub mod contents;
pub mod described;
mod entry;
mod links;
pub mod list;
mod path;
pub mod xattrs;

pub use contents::Contents;
pub use entry::{Device, Entry, Meta, Node};
pub(crate) use path::escape;
pub use path::{PathError, TreePath};

use std::collections::BTreeMap;
use std::ops::Bound;

/// A sorted file tree; the root directory itself is not an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<TreePath, Entry>,
}

impl Tree {
    /// Makes an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Inserts an entry and returns the one it replaces.
    pub fn insert(&mut self, path: TreePath, entry: Entry) -> Option<Entry> {
        self.entries.insert(path, entry)
    }

    /// Removes the entry at `path` alone; what lies below it stays.
    pub fn remove(&mut self, path: &TreePath) -> Option<Entry> {
        self.entries.remove(path)
    }

    /// Removes everything strictly below `path`.
    pub fn remove_below(&mut self, path: &TreePath) {
        remove_below(&mut self.entries, path);
    }

    /// Looks an entry up.
    pub fn entry(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Looks an entry up to change it.
    pub fn entry_mut(&mut self, path: &TreePath) -> Option<&mut Entry> {
        self.entries.get_mut(path)
    }

    /// Iterates in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Entry)> {
        self.entries.iter()
    }

    /// Iterates over the entries strictly below `path`, in order.
    pub fn below(&self, path: &TreePath) -> impl Iterator<Item = (&TreePath, &Entry)> {
        let (from, to) = path.range_below();
        self.entries.range::<[u8], _>(between(&from, &to))
    }

    /// Counts the entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether the tree has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the content sizes of all regular files, each hard-linked file once.
    pub fn content_bytes(&self) -> u64 {
        let sizes = self.entries.values().map(|entry| match entry.node {
            Node::File { size, .. } => size,
            _ => 0,
        });
        sizes.fold(0, u64::saturating_add)
    }
}

/// Removes everything strictly below `path` from a map, in time proportional to what is removed.
pub(crate) fn remove_below<T>(map: &mut BTreeMap<TreePath, T>, path: &TreePath) {
    let (from, to) = path.range_below();
    let below = map.range::<[u8], _>(between(&from, &to));
    let below: Vec<TreePath> = below.map(|(path, _)| path.clone()).collect();
    for path in below {
        map.remove(&path);
    }
}

fn between<'a>(from: &'a [u8], to: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), Bound::Excluded(to))
}

impl FromIterator<(TreePath, Entry)> for Tree {
    fn from_iter<I: IntoIterator<Item = (TreePath, Entry)>>(entries: I) -> Self {
        Self {
            entries: entries.into_iter().collect(),
        }
    }
}

impl IntoIterator for Tree {
    type Item = (TreePath, Entry);
    type IntoIter = std::collections::btree_map::IntoIter<TreePath, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}
