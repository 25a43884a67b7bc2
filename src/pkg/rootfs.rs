//! A root file system that something else made in a directory, as a tree.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::failure::Failure;
use crate::format::layers::flatten;
use crate::limit;
use crate::store::file::cannot;
use crate::tree::contents::Sink;
use crate::tree::{Device, Entry, Meta, Node, Tree, TreePath};

/// Who owns the files of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Whoever owns them on the disk.
    AsTheyAre,
    /// Root, whoever unpacked them here.
    Root,
}

/// Reads the directory `dir`; contents of files go to `sink`. Links are not followed.
///
/// As in an image's layers, the file `kernel.tar` at the top is read as an archive.
///
/// # Errors
/// [`Failure::Unavailable`] when something cannot be read; [`Failure::Malformed`] for a socket, or names and sizes beyond a bound.
pub fn read(dir: &Path, owners: Owners, sink: &mut dyn Sink) -> Result<Tree, Failure> {
    let mut reader = Reader {
        dir,
        owners,
        sink,
        tree: Tree::new(),
        links: BTreeMap::new(),
    };
    reader.directory(dir)?;
    Ok(reader.tree)
}

struct Reader<'a> {
    dir: &'a Path,
    owners: Owners,
    sink: &'a mut dyn Sink,
    tree: Tree,
    /// The first path of each file that has several, by device and number.
    links: BTreeMap<(u64, u64), TreePath>,
}

impl Reader<'_> {
    /// Reads what is in a directory, in the order of names, so that of a file's names the first in path order comes first.
    fn directory(&mut self, dir: &Path) -> Result<(), Failure> {
        let unreadable = |error| cannot("list", dir, &error);
        let entries: Result<Vec<_>, _> = fs::read_dir(dir).map_err(unreadable)?.collect();
        let mut paths: Vec<_> = entries
            .map_err(unreadable)?
            .into_iter()
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        for path in paths {
            self.entry(&path)?;
            if self.tree.len() > limit::TREE_ENTRIES {
                let problem = format!("more than {} files; pack a smaller directory", limit::TREE_ENTRIES);
                return Err(Failure::malformed(self.dir.display(), problem));
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path) -> Result<(), Failure> {
        let metadata = fs::symlink_metadata(path).map_err(|error| cannot("read", path, &error))?;
        let below = path.strip_prefix(self.dir).unwrap_or(path);
        let place = TreePath::parse(below.as_os_str().as_bytes());
        let place = place.map_err(|error| Failure::malformed(path.display(), error))?;
        let meta = self.meta(path, &metadata)?;
        let kind = metadata.file_type();
        let device = || Device {
            major: rustix::fs::major(metadata.rdev()),
            minor: rustix::fs::minor(metadata.rdev()),
        };
        let node = if kind.is_dir() {
            Node::Directory
        } else if kind.is_symlink() {
            let target = fs::read_link(path).map_err(|error| cannot("read", path, &error))?;
            Node::Symlink(target.into_os_string().into_encoded_bytes())
        } else if kind.is_file() && below.as_os_str() == "kernel.tar" {
            return self.archive(path, place, meta);
        } else if kind.is_file() {
            return self.file(path, place, meta, &metadata);
        } else if kind.is_block_device() {
            Node::Block(device())
        } else if kind.is_char_device() {
            Node::Char(device())
        } else if kind.is_fifo() {
            Node::Fifo
        } else {
            let problem = "it is a socket, which no image can hold; remove it";
            return Err(Failure::malformed(path.display(), problem));
        };
        self.tree.insert(place, Entry { meta, node });
        if kind.is_dir() { self.directory(path) } else { Ok(()) }
    }

    fn file(&mut self, path: &Path, place: TreePath, meta: Meta, metadata: &Metadata) -> Result<(), Failure> {
        let number = (metadata.dev(), metadata.ino());
        if metadata.nlink() > 1
            && let Some(first) = self.links.get(&number)
        {
            let node = Node::HardLink(first.clone());
            let meta = Meta::default();
            self.tree.insert(place, Entry { meta, node });
            return Ok(());
        }
        self.links.insert(number, place.clone());
        let taken = File::open(path).and_then(|mut file| self.sink.take(&mut file));
        let (size, digest) = taken.map_err(|error| cannot("read", path, &error))?;
        let node = Node::File { size, digest };
        self.tree.insert(place, Entry { meta, node });
        Ok(())
    }

    fn archive(&mut self, path: &Path, place: TreePath, meta: Meta) -> Result<(), Failure> {
        let file = File::open(path).map_err(|error| cannot("open", path, &error))?;
        let members = flatten([file], self.sink);
        let members = members.map_err(|error| Failure::malformed(path.display(), error))?;
        let node = Node::Archive;
        self.tree.insert(place.clone(), Entry { meta, node });
        let put = |path: TreePath| place.join(&path);
        for (below, mut entry) in members {
            if let Node::HardLink(target) = entry.node {
                entry.node = Node::HardLink(put(target).map_err(|error| Failure::malformed(path.display(), error))?);
            }
            let below = put(below).map_err(|error| Failure::malformed(path.display(), error))?;
            self.tree.insert(below, entry);
        }
        Ok(())
    }

    fn meta(&self, path: &Path, metadata: &Metadata) -> Result<Meta, Failure> {
        let (uid, gid) = match self.owners {
            Owners::AsTheyAre => (metadata.uid(), metadata.gid()),
            Owners::Root => (0, 0),
        };
        let mode = u16::try_from(metadata.mode() & 0o7777).unwrap_or(0);
        let xattrs = xattrs(path).map_err(|error| cannot("read the attributes of", path, &error))?;
        Ok(Meta { mode, uid, gid, xattrs })
    }
}

/// Reads the extended attributes that mean the same on another machine; a security module's labels do not.
fn xattrs(path: &Path) -> rustix::io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut buffer = vec![0; limit::XATTR_BYTES];
    let n = match rustix::fs::llistxattr(path, &mut buffer) {
        Err(rustix::io::Errno::NOTSUP) => 0,
        other => other?,
    };
    let names = buffer.get(..n).unwrap_or_default().to_vec();
    let mut xattrs = BTreeMap::new();
    for name in names.split(|b| *b == 0) {
        if name == b"security.capability" || name.starts_with(b"user.") {
            let n = rustix::fs::lgetxattr(path, name, &mut buffer)?;
            xattrs.insert(name.to_vec(), buffer.get(..n).unwrap_or_default().to_vec());
        }
    }
    Ok(xattrs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::tree::contents::Memory;
    use crate::tree::list;

    #[test]
    fn reads_files_links_and_modes_and_follows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::set_permissions(at("d"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(at("d/f"), b"content").unwrap();
        fs::set_permissions(at("d/f"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::hard_link(at("d/f"), at("a")).unwrap();
        symlink("/etc", at("l")).unwrap();
        let mut contents = Memory::default();
        let tree = read(dir.path(), Owners::Root, &mut contents).unwrap();
        let content = crate::digest::Digest::sha256(b"content").hex();
        let expected = format!("imgkit-tree 1\nf 4755 0 0 7 {content} a\nd 1777 0 0 d\nh a d/f\nl 0777 0 0 /etc l\n");
        assert_eq!(list::write(&tree), expected);
    }

    #[test]
    fn refuses_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let refused = read(dir.path(), Owners::Root, &mut Memory::default());
        assert!(matches!(refused, Err(Failure::Malformed { .. })));
    }
}
