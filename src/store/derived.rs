//! What was computed from verified things and may be computed again: tree lists and segments.
//!
//! Nothing here is trusted. A tree list names itself by its digest; a segment is unpacked and compared before it is used (law of the
//! gate 10). Where the directory cannot be written, nothing is kept.

use std::fs;
use std::path::{Path, PathBuf};

use super::file::{FileAt, NewFile, make_dir, read_limited};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;

/// What kinds of files are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file out of a component, by its digest: the kernel, the boot loader.
    File,
    /// A segment, by its cache key.
    Segment,
    /// A tree list, by its digest.
    Tree,
}

/// A directory of derived files.
#[derive(Clone, Debug)]
pub struct Derived {
    dir: PathBuf,
    scratch: PathBuf,
}

impl Derived {
    /// Keeps derived files in `dir` where that can be written; `scratch` takes files that nobody keeps.
    pub fn new(dir: impl Into<PathBuf>, scratch: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            scratch: scratch.into(),
        }
    }

    /// Returns the directory for files that nobody keeps.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Returns the tree list with this digest, if it is here and is that list.
    pub fn tree_list(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = read_limited(&self.path(Kind::Tree, digest), limit::TREE_LIST_BYTES).ok()?;
        (Digest::sha256(&bytes) == *digest).then_some(bytes)
    }

    /// Keeps a tree list, if it can.
    pub fn keep_tree_list(&self, digest: &Digest, list: &[u8]) {
        let path = self.path(Kind::Tree, digest);
        // A cache that cannot be written costs time, nothing else.
        let _ = self.new_file(&path).and_then(|file| {
            std::io::Write::write_all(&mut file.as_file(), list)
                .map_err(|error| Failure::unavailable(path.display(), error))?;
            file.name(&path)
        });
    }

    /// Opens the file of this kind and key, if it is here; what it holds is not checked.
    pub fn open(&self, kind: Kind, key: &Digest) -> Option<FileAt> {
        FileAt::open(&self.path(kind, key)).ok()
    }

    /// Starts a file, to be kept where that is possible.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when not even the scratch directory can be written.
    pub fn start(&self, kind: Kind, key: &Digest) -> Result<NewFile, Failure> {
        self.new_file(&self.path(kind, key))
            .or_else(|_| NewFile::within(&self.scratch))
    }

    /// Gives a file its name, where that is possible, and opens it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be opened again.
    pub fn keep(&self, kind: Kind, key: &Digest, file: NewFile) -> Result<FileAt, Failure> {
        let opened = file.reopen()?;
        // From the scratch directory the name cannot be given; the open file is enough.
        let _ = file.name(&self.path(kind, key));
        Ok(opened)
    }

    /// Forgets a file that is not what its key says.
    pub fn forget(&self, kind: Kind, key: &Digest) {
        // If it cannot be removed it is found wrong again, and made again.
        let _ = fs::remove_file(self.path(kind, key));
    }

    fn new_file(&self, path: &Path) -> Result<NewFile, Failure> {
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        NewFile::beside(path)
    }

    fn path(&self, kind: Kind, key: &Digest) -> PathBuf {
        let kind = match kind {
            Kind::File => "files",
            Kind::Segment => "segments",
            Kind::Tree => "trees",
        };
        self.dir.join(kind).join(key.hex())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tree_list_that_was_changed_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let derived = Derived::new(dir.path().join("derived"), dir.path());
        let digest = Digest::sha256(b"list");
        assert_eq!(derived.tree_list(&digest), None);
        derived.keep_tree_list(&digest, b"list");
        assert_eq!(derived.tree_list(&digest).unwrap(), b"list");
        fs::write(derived.path(Kind::Tree, &digest), b"tsil").unwrap();
        assert_eq!(derived.tree_list(&digest), None);
    }
}
