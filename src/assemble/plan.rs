//! From the parts of a root file system, in LinuxKit's order, to the segments of an initrd (law of the disk 1).
//!
//! - Where a later part has a path that an earlier one has too, the earlier one leaves it out; that is an [`Override`], but
//!   where both have the same there: nothing is replaced by what a rule makes in every part (`etc/hosts`, say).
//! - Nothing is written through a link: a directory in one part is a directory in all that have it.
//! - `init` stands alone in the last segment, so that what is unpacked in part cannot boot.
//! - A cpio archive has no extended attributes; they stand in one generated file that init applies.

use std::collections::BTreeMap;

use crate::config::spec::{Role, Spec};
use crate::digest::Digest;
use crate::format::initrd::replaces_the_kernels_own;
use crate::tree::contents::Memory;
use crate::tree::xattrs::{self, Attribute};
use crate::tree::{Entry, Node, Tree, TreePath, list};

/// Version of the writers of cpio and segments; part of every cache key.
const WRITER: u32 = 1;

/// One part of the root file system: a component in its place, or generated files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is called in reports, different from every other part's: `kernel`, `init[0]`, `services[2]`, `generated`.
    pub name: String,
    /// Which component of the specification it is; `None` for generated files.
    pub role: Option<Role>,
    /// Its entries with their final paths, every directory above them included.
    pub tree: Tree,
}

/// One segment: a part without what later parts replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The part's name; `init` for the last segment.
    pub name: String,
    /// Which component of the specification it comes from; `None` for generated files.
    pub role: Option<Role>,
    /// What tells its inodes from those of other segments.
    pub place: u64,
    /// Its entries.
    pub tree: Tree,
}

impl Segment {
    fn new(name: &str, role: Option<Role>, tree: Tree) -> Self {
        let digest = Digest::sha256(format!("imgkit place 1\n{name}").as_bytes());
        let place = digest.as_bytes().first_chunk().copied().map_or(0, u64::from_be_bytes);
        Self {
            name: name.to_owned(),
            role,
            place,
            tree,
        }
    }

    /// Returns whose bytes the segment's are: a component's reference with its part in the specification, or the part's name.
    pub fn owner(&self, spec: &Spec) -> String {
        let images = spec.images();
        let component = images.iter().find(|(role, _)| Some(*role) == self.role);
        match component {
            Some((_, image)) => format!("{} ({})", image.reference, self.name),
            None => self.name.clone(),
        }
    }

    /// Returns the name under which the segment's bytes can be cached: everything that they are a function of.
    pub fn cache_key(&self, level: i32) -> Digest {
        let version = zstd::zstd_safe::version_number();
        let head = format!("imgkit segment {WRITER} {} {level} {version}\n", self.place);
        Digest::sha256(
            [head.as_bytes(), list::write(&self.tree).as_bytes()]
                .concat()
                .as_slice(),
        )
    }
}

/// A file of one part that a later part replaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Override {
    /// The path.
    pub path: String,
    /// The part whose file is left out.
    pub of: String,
    /// The component that the file belongs to, if it is a component's.
    #[serde(skip)]
    pub role: Option<Role>,
    /// The part whose file is there.
    pub by: String,
}

/// An initrd before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The segments in order; the last one holds `init` alone.
    pub segments: Vec<Segment>,
    /// What later parts replace.
    pub overrides: Vec<Override>,
}

impl Plan {
    /// Plans the initrd of `parts`; what it generates is added to `generated`.
    ///
    /// # Errors
    /// [`PlanError`] for parts that cannot stand in one root file system, or without `init`.
    pub fn new(mut parts: Vec<Part>, generated: &mut Memory) -> Result<Self, PlanError> {
        let overrides = leave_out_what_is_replaced(&mut parts)?;
        let attributes = take_xattrs(&mut parts);
        if !attributes.is_empty() {
            parts.push(xattrs_part(attributes, generated)?);
        }
        let init = take_init(&mut parts)?;
        let parts = parts.into_iter().filter(|part| !part.tree.is_empty());
        let mut segments: Vec<Segment> = parts
            .map(|part| Segment::new(&part.name, part.role, part.tree))
            .collect();
        segments.push(init);
        Ok(Self { segments, overrides })
    }
}

/// Parts that do not make a root file system.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A directory in one part is something else in another.
    #[error(
        "`{path}` is a directory in {one} and a {kind} in {other}; one of the two components has to be built differently"
    )]
    Kind {
        /// The path.
        path: TreePath,
        /// The part where it is a directory.
        one: String,
        /// The part where it is not.
        other: String,
        /// What it is there.
        kind: &'static str,
    },
    /// A part has another entry where the kernel has one that it keeps.
    #[error("`{path}` of {part} would not replace what the kernel puts there itself; leave it out of the component")]
    Kernel {
        /// The path.
        path: TreePath,
        /// The part.
        part: String,
    },
    /// No part has `init`.
    #[error("no component brings `/init`, so the node cannot boot; name one under `init:`")]
    NoInit,
    /// A part has an entry below something that is no directory of its own.
    #[error("`{path}` of {part} has no directory above it in that part")]
    Orphan {
        /// The path.
        path: TreePath,
        /// The part.
        part: String,
    },
    /// A part has the path that imgkit keeps for itself.
    #[error("`{0}` is generated; a component cannot bring it")]
    Reserved(TreePath),
}

fn leave_out_what_is_replaced(parts: &mut [Part]) -> Result<Vec<Override>, PlanError> {
    // The last part that has a path, and whether it is a directory there.
    let mut owners: BTreeMap<TreePath, (usize, bool)> = BTreeMap::new();
    let mut replaced: Vec<(usize, TreePath, usize)> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        for (path, entry) in part.tree.iter() {
            if let Some(parent) = path.parent()
                && !part.tree.entry(&parent).is_some_and(Entry::is_directory)
            {
                return Err(PlanError::Orphan {
                    path: path.clone(),
                    part: part.name.clone(),
                });
            }
            if path.as_bytes() == xattrs::FILE.as_bytes() {
                return Err(PlanError::Reserved(path.clone()));
            }
            if replaces_the_kernels_own(path, entry) {
                return Err(PlanError::Kernel {
                    path: path.clone(),
                    part: part.name.clone(),
                });
            }
            let now = entry.is_directory();
            if let Some((earlier, before)) = owners.insert(path.clone(), (at, now)) {
                if before != now {
                    let (one, other) = if now { (at, earlier) } else { (earlier, at) };
                    return Err(kind_error(parts, path, one, other));
                }
                if !now {
                    replaced.push((earlier, path.clone(), at));
                }
            }
        }
    }
    let entry_of = |at: usize, path: &TreePath| parts.get(at).and_then(|part| part.tree.entry(path));
    let same: Vec<bool> = replaced
        .iter()
        .map(|(earlier, path, later)| entry_of(*earlier, path) == entry_of(*later, path))
        .collect();
    let mut overrides = Vec::new();
    for ((earlier, path, later), same) in replaced.into_iter().zip(same) {
        let by = parts.get(later).map(|part| part.name.clone()).unwrap_or_default();
        if let Some(part) = parts.get_mut(earlier) {
            take(&mut part.tree, &path);
            overrides.extend((!same).then(|| Override {
                path: path.to_string(),
                of: part.name.clone(),
                role: part.role,
                by,
            }));
        }
    }
    overrides.sort();
    Ok(overrides)
}

fn kind_error(parts: &[Part], path: &TreePath, one: usize, other: usize) -> PlanError {
    let name = |at: usize| parts.get(at).map(|part| part.name.clone()).unwrap_or_default();
    let entry = parts.get(other).and_then(|part| part.tree.entry(path));
    PlanError::Kind {
        path: path.clone(),
        one: name(one),
        other: name(other),
        kind: match entry.map(|entry| &entry.node) {
            Some(Node::Symlink(_)) => "symbolic link",
            Some(Node::File { .. } | Node::HardLink(_)) => "file",
            _ => "special file",
        },
    }
}

/// Takes a path out of a tree; when it is a file with other names, the first of them becomes the file.
fn take(tree: &mut Tree, path: &TreePath) -> Option<Entry> {
    let entry = tree.remove(path)?;
    let links = tree
        .iter()
        .filter(|(_, other)| matches!(&other.node, Node::HardLink(to) if to == path));
    let links: Vec<TreePath> = links.map(|(link, _)| link.clone()).collect();
    if let Some((first, others)) = links.split_first() {
        tree.insert(first.clone(), entry.clone());
        for other in others {
            if let Some(link) = tree.entry_mut(other) {
                link.node = Node::HardLink(first.clone());
            }
        }
    }
    match &entry.node {
        Node::HardLink(target) => tree.entry(target).cloned(),
        _ => Some(entry),
    }
}

fn take_init(parts: &mut [Part]) -> Result<Segment, PlanError> {
    let path = TreePath::parse("init").map_err(|_| PlanError::NoInit)?;
    let has_init = |part: &&mut Part| part.tree.entry(&path).is_some_and(|entry| !entry.is_directory());
    let part = parts.iter_mut().rev().find(has_init).ok_or(PlanError::NoInit)?;
    let entry = take(&mut part.tree, &path).ok_or(PlanError::NoInit)?;
    Ok(Segment::new("init", part.role, [(path, entry)].into_iter().collect()))
}

/// Takes all extended attributes out of the parts, by final path.
fn take_xattrs(parts: &mut [Part]) -> BTreeMap<TreePath, BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut attributes = BTreeMap::new();
    for part in parts {
        let with: Vec<TreePath> = part
            .tree
            .iter()
            .filter(|(_, e)| !e.meta.xattrs.is_empty())
            .map(|(p, _)| p.clone())
            .collect();
        for path in with {
            if let Some(entry) = part.tree.entry_mut(&path) {
                attributes.insert(path, std::mem::take(&mut entry.meta.xattrs));
            }
        }
    }
    attributes
}

fn xattrs_part(
    attributes: BTreeMap<TreePath, BTreeMap<Vec<u8>, Vec<u8>>>,
    generated: &mut Memory,
) -> Result<Part, PlanError> {
    let mut text = String::new();
    for (path, xattrs) in attributes {
        for (name, value) in xattrs {
            let path = path.clone();
            text.push_str(&Attribute { path, name, value }.line());
            text.push('\n');
        }
    }
    let orphan = |_| PlanError::NoInit;
    let file = TreePath::parse(xattrs::FILE).map_err(orphan)?;
    let mut tree: Tree = file.ancestors().map(|path| (path, Entry::directory(0o755))).collect();
    tree.insert(file, Entry::file(0o644, text.as_bytes()));
    generated.add(text.into_bytes());
    Ok(Part {
        name: "xattrs".into(),
        role: None,
        tree,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    fn part(name: &str, entries: &[(&str, Entry)]) -> Part {
        Part {
            name: name.into(),
            role: Some(Role::Init(0)),
            tree: entries.iter().map(|(at, entry)| (path(at), entry.clone())).collect(),
        }
    }

    fn file(content: &str) -> Entry {
        Entry::file(0o644, content.as_bytes())
    }

    fn plan(parts: &[Part]) -> Result<Plan, PlanError> {
        Plan::new(parts.to_vec(), &mut Memory::default())
    }

    #[test]
    fn the_last_part_wins_and_the_replaced_file_is_reported() {
        let etc = ("etc", Entry::directory(0o755));
        let first = part(
            "init[0]",
            &[
                ("init", file("i")),
                etc.clone(),
                ("etc/a", file("1")),
                ("etc/b", file("1")),
            ],
        );
        let second = part("files", &[etc, ("etc/a", file("2"))]);
        let plan = plan(&[first, second]).unwrap();
        let names: Vec<&str> = plan.segments.iter().map(|segment| segment.name.as_str()).collect();
        assert_eq!(names, ["init[0]", "files", "init"]);
        assert_eq!(plan.segments[0].tree.entry(&path("etc/a")), None);
        assert_eq!(plan.segments[0].tree.entry(&path("init")), None);
        assert_eq!(
            (plan.overrides[0].path.as_str(), plan.overrides[0].by.as_str()),
            ("etc/a", "files")
        );
    }

    #[test]
    fn what_is_the_same_in_both_parts_is_no_override() {
        let etc = ("etc", Entry::directory(0o755));
        let hosts = ("etc/hosts", file("127.0.0.1"));
        let first = part("init[0]", &[("init", file("i")), etc.clone(), hosts.clone()]);
        let plan = plan(&[first, part("init[1]", &[etc, hosts])]).unwrap();
        assert_eq!(plan.segments[0].tree.entry(&path("etc/hosts")), None);
        assert_eq!(plan.overrides, []);
    }

    #[test]
    fn a_replaced_file_leaves_its_other_names() {
        let link = |to| Entry {
            meta: Default::default(),
            node: Node::HardLink(path(to)),
        };
        let first = part(
            "a",
            &[
                ("init", file("i")),
                ("x", file("1")),
                ("y", link("x")),
                ("z", link("x")),
            ],
        );
        let plan = plan(&[first, part("b", &[("x", file("2"))])]).unwrap();
        assert_eq!(plan.segments[0].tree.entry(&path("y")), Some(&file("1")));
        assert_eq!(plan.segments[0].tree.entry(&path("z")), Some(&link("y")));
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let first = part("a", &[("init", file("i")), ("lib", Entry::symlink(0o777, *b"usr/lib"))]);
        let second = part("b", &[("lib", Entry::directory(0o755)), ("lib/x", file("1"))]);
        assert!(matches!(
            plan(&[first.clone(), second.clone()]),
            Err(PlanError::Kind { .. })
        ));
        assert!(matches!(plan(&[second, first.clone()]), Err(PlanError::Kind { .. })));
        let orphan = part("c", &[("lib/y", file("1"))]);
        assert!(matches!(plan(&[first, orphan]), Err(PlanError::Orphan { .. })));
    }

    #[test]
    fn what_the_kernel_would_keep_is_not_replaced() {
        let dev = part("a", &[("init", file("i")), ("dev", Entry::symlink(0o777, *b"run"))]);
        let expected = PlanError::Kernel {
            path: path("dev"),
            part: "a".into(),
        };
        assert_eq!(plan(&[dev]), Err(expected));
    }

    #[test]
    fn a_node_without_init_is_refused() {
        assert_eq!(plan(&[part("a", &[("x", file("1"))])]), Err(PlanError::NoInit));
    }

    #[test]
    fn extended_attributes_become_one_generated_file() {
        let mut capable = file("1");
        capable.meta.xattrs.insert(b"security.capability".to_vec(), vec![1, 2]);
        let mut generated = Memory::default();
        let plan = Plan::new(vec![part("a", &[("init", file("i")), ("x", capable)])], &mut generated).unwrap();
        assert_eq!(plan.segments[0].tree.entry(&path("x")), Some(&file("1")));
        let text = b"x security.capability=0102\n";
        assert_eq!(
            plan.segments[1].tree.entry(&path(xattrs::FILE)),
            Some(&file(std::str::from_utf8(text).unwrap()))
        );
        assert_eq!(generated.content(&Digest::sha256(text)), Some(&text[..]));
    }

    #[test]
    fn cache_keys_differ_by_place_level_and_content() {
        let plan = plan(&[part("a", &[("init", file("i")), ("x", file("1"))])]).unwrap();
        let segment = &plan.segments[0];
        let moved = Segment {
            place: 1,
            ..segment.clone()
        };
        assert_ne!(segment.cache_key(9), moved.cache_key(9));
        assert_ne!(segment.cache_key(9), segment.cache_key(3));
    }
}
