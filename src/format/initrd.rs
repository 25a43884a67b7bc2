//! An initrd as a whole: what its segments come to when Linux unpacks them one after the other.
//!
//! - No path but a directory occurs in two segments; a directory that does has the later one's owner and mode.
//! - No two segments have the same place, so that no two files have the same device and inode numbers.
//! - Every segment names the directories above its entries, so that nothing is written through another segment's link.
//! - What the kernel puts there before it unpacks an initrd stays what it is: it does not replace `dev` and `dev/console`.
//! - `init` is the last entry of the last segment: what is unpacked in part cannot boot.

use std::collections::BTreeSet;

use crate::tree::{Device, Entry, Node, Tree, TreePath};

/// The tree that an initrd's segments come to.
#[derive(Clone, Debug, Default)]
pub struct Initrd {
    tree: Tree,
    places: BTreeSet<u64>,
    complete: bool,
}

impl Initrd {
    /// Starts with no segments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next segment: the entries that its strict reader gave.
    ///
    /// # Errors
    /// [`InitrdError`] when the segments are not as an initrd's should be.
    pub fn add(&mut self, place: u64, segment: Tree) -> Result<(), InitrdError> {
        if !self.places.insert(place) {
            return Err(InitrdError::Place(place));
        }
        if self.complete {
            return Err(InitrdError::Last);
        }
        for (path, entry) in segment {
            if let Some(there) = self.tree.entry(&path)
                && !(there.is_directory() && entry.is_directory())
            {
                return Err(InitrdError::Twice(path));
            }
            if replaces_the_kernels_own(&path, &entry) {
                return Err(InitrdError::Kernel(path));
            }
            self.complete |= path.as_bytes() == b"init" && !entry.is_directory();
            self.tree.insert(path, entry);
        }
        Ok(())
    }

    /// Ends the initrd and gives its tree.
    ///
    /// # Errors
    /// [`InitrdError::Last`] when its last segment has no `init`.
    pub fn finish(self) -> Result<Tree, InitrdError> {
        if self.complete {
            Ok(self.tree)
        } else {
            Err(InitrdError::Last)
        }
    }
}

/// Tells whether an entry is another than the kernel has at its path before it unpacks an initrd (usr/default_cpio_list), and keeps.
///
/// A node is not made again where there is one of its type, and a directory that is not empty makes no room.
pub fn replaces_the_kernels_own(path: &TreePath, entry: &Entry) -> bool {
    let console = Node::Char(Device { major: 5, minor: 1 });
    match path.as_bytes() {
        b"dev" => !entry.is_directory(),
        b"dev/console" => entry.node != console,
        _ => false,
    }
}

/// Segments do not make an initrd.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitrdError {
    /// An entry is not what the kernel puts there, and keeps.
    #[error("`{0}` is not what the kernel puts there itself: a directory `dev`, and in it the device 5:1 as `console`")]
    Kernel(TreePath),
    /// `init` is missing, or not in the last segment.
    #[error("`init` is not the last entry of the initrd's last segment")]
    Last,
    /// Two segments have one place.
    #[error("two segments have the place {0:016x}")]
    Place(u64),
    /// Two segments have one path.
    #[error("`{0}` is in two segments, and is not a directory in both")]
    Twice(TreePath),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tree::Entry;

    fn segment(entries: &[(&str, Entry)]) -> Tree {
        let entries = entries.iter().cloned();
        entries
            .map(|(path, entry)| (TreePath::parse(path).unwrap(), entry))
            .collect()
    }

    fn file(path: &str) -> (&str, Entry) {
        (path, Entry::file(0o755, b"content"))
    }

    fn join(segments: &[(u64, Tree)]) -> Result<Tree, InitrdError> {
        let mut initrd = Initrd::new();
        segments
            .iter()
            .try_for_each(|(place, segment)| initrd.add(*place, segment.clone()))?;
        initrd.finish()
    }

    #[test]
    fn directories_merge_and_the_later_one_counts() {
        let etc = |mode| ("etc", Entry::directory(mode));
        let first = segment(&[etc(0o700), file("etc/a")]);
        let second = segment(&[etc(0o755), file("etc/b"), file("init")]);
        let tree = join(&[(1, first), (2, second)]).unwrap();
        assert_eq!(tree, segment(&[etc(0o755), file("etc/a"), file("etc/b"), file("init")]));
    }

    #[test]
    fn refuses_what_the_kernel_would_unpack_in_its_own_way() {
        let init = || (9, segment(&[file("init")]));
        let link = segment(&[("etc", Entry::symlink(0o777, *b"/run"))]);
        let through = segment(&[("etc", Entry::directory(0o755)), file("etc/a")]);
        let path = |path| TreePath::parse(path).unwrap();
        for (segments, error) in [
            (
                vec![(1, link.clone()), (2, through.clone()), init()],
                InitrdError::Twice(path("etc")),
            ),
            (
                vec![(1, through.clone()), (2, link), init()],
                InitrdError::Twice(path("etc")),
            ),
            (
                vec![(1, segment(&[file("a")])), (2, segment(&[file("a")])), init()],
                InitrdError::Twice(path("a")),
            ),
            (vec![(9, through.clone()), init()], InitrdError::Place(9)),
            (
                vec![(1, segment(&[("dev", Entry::symlink(0o777, *b"/run"))])), init()],
                InitrdError::Kernel(path("dev")),
            ),
            (
                vec![
                    (1, segment(&[("dev", Entry::directory(0o755)), file("dev/console")])),
                    init(),
                ],
                InitrdError::Kernel(path("dev/console")),
            ),
            (vec![init(), (1, through.clone())], InitrdError::Last),
            (vec![(1, through)], InitrdError::Last),
            (vec![], InitrdError::Last),
        ] {
            assert_eq!(join(&segments).unwrap_err(), error);
        }
    }
}
