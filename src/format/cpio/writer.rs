//! Writes a tree as a cpio archive.

use std::collections::BTreeMap;
use std::io::Write;

use super::header::{Header, MAX_DEVICE, padding};
use super::{CpioError, TRAILER, is_last};
use crate::format::copy_content;
use crate::tree::{Contents, Device, Entry, Node, Tree, TreePath};

/// Writes `tree` as one archive, in the `place` that tells it from the initrd's other archives.
///
/// # Errors
/// [`CpioError::Entry`] for what the archive cannot hold: extended attributes, a file of 4 GiB or more, an owner that is none, an entry without the
/// directory above it; [`CpioError::Io`] with what writing or `contents` gave.
pub fn write_cpio(tree: &Tree, contents: &dyn Contents, place: u64, out: &mut dyn Write) -> Result<(), CpioError> {
    let mut archive = Writer {
        tree,
        contents,
        place,
        links: links(tree)?,
        inodes: BTreeMap::new(),
        inode: 0,
        out,
    };
    let (last, ordered): (Vec<_>, Vec<_>) = tree.iter().partition(|(path, entry)| is_last(path, entry));
    for (path, entry) in ordered.into_iter().chain(last) {
        archive.entry(path, entry)?;
    }
    archive.header(TRAILER, &Header::trailer(place))
}

struct Writer<'a> {
    tree: &'a Tree,
    contents: &'a dyn Contents,
    place: u64,
    /// How many names a file has, for files with more than one.
    links: BTreeMap<&'a TreePath, u32>,
    /// The inode of each file with several names.
    inodes: BTreeMap<&'a TreePath, u32>,
    inode: u32,
    out: &'a mut dyn Write,
}

impl<'a> Writer<'a> {
    fn entry(&mut self, path: &'a TreePath, entry: &'a Entry) -> Result<(), CpioError> {
        let bad = |what| {
            Err(CpioError::Entry {
                path: path.clone(),
                what,
            })
        };
        let file = match &entry.node {
            Node::HardLink(target) => self.tree.entry(target).unwrap_or(entry),
            _ => entry,
        };
        if !file.meta.xattrs.is_empty() {
            return bad("cpio archives have no extended attributes");
        }
        if path.as_bytes() == TRAILER {
            return bad("the kernel takes this name for the archive's end");
        }
        if let Some(parent) = path.parent()
            && !self.tree.entry(&parent).is_some_and(Entry::is_directory)
        {
            return bad("the directory above it is not in the archive");
        }
        let mut header = Header {
            inode: self.inode + 1,
            mode: u32::from(file.meta.mode),
            uid: file.meta.uid,
            gid: file.meta.gid,
            links: 1,
            size: 0,
            place: self.place,
            device: Device { major: 0, minor: 0 },
            name: path.as_bytes().len() as u32 + 1,
        };
        if !header.has_owner() {
            return bad("its owner or group is a number that Linux takes for no owner");
        }
        match &entry.node {
            Node::Archive => return bad("it is an archive that has to be unpacked first"),
            Node::Block(device) | Node::Char(device)
                if device.major > MAX_DEVICE.major || device.minor > MAX_DEVICE.minor =>
            {
                return bad("its device number is out of Linux's range");
            }
            Node::Block(device) | Node::Char(device) => header.device = *device,
            Node::Directory => header.links = 2,
            Node::Fifo => {}
            Node::File { size, .. } => match u32::try_from(*size) {
                Ok(size) => header.size = size,
                Err(_) => return bad("files of 4 GiB and more do not fit"),
            },
            Node::HardLink(target) => match self.inodes.get(target) {
                Some(inode) => header.inode = *inode,
                None => return bad("the file that it is a hard link to does not stand before it"),
            },
            Node::Symlink(target) if target.is_empty() || target.contains(&0) => {
                return bad("a symbolic link's target is empty or has a NUL byte");
            }
            Node::Symlink(target) if target.len() > crate::limit::PATH_BYTES => {
                return bad("a symbolic link's target is longer than 4095 bytes");
            }
            Node::Symlink(target) => header.size = target.len() as u32,
        }
        header.mode |= type_bits(&entry.node);
        self.inode = self.inode.max(header.inode);
        let name = match &entry.node {
            Node::HardLink(target) => target,
            _ => path,
        };
        if let Some(links) = self.links.get(name) {
            header.links = *links;
            self.inodes.insert(name, header.inode);
        }
        self.header(path.as_bytes(), &header)?;
        match &entry.node {
            Node::File { size, digest } => copy_content(self.contents, digest, *size, self.out)?,
            Node::Symlink(target) => self.out.write_all(target)?,
            _ => {}
        }
        self.pad(header.size.into())
    }

    fn header(&mut self, name: &[u8], header: &Header) -> Result<(), CpioError> {
        let header = header.encode();
        self.out.write_all(&header)?;
        self.out.write_all(name)?;
        self.out.write_all(&[0])?;
        self.pad((header.len() + name.len() + 1) as u64)
    }

    fn pad(&mut self, length: u64) -> Result<(), CpioError> {
        let zeros = [0; 3];
        Ok(self.out.write_all(zeros.get(..padding(length)).unwrap_or_default())?)
    }
}

/// Returns the bits of `st_mode` that tell an entry's type.
pub(super) fn type_bits(node: &Node) -> u32 {
    match node {
        Node::Fifo => 0o010_000,
        Node::Char(_) => 0o020_000,
        Node::Directory => 0o040_000,
        Node::Block(_) => 0o060_000,
        Node::Archive | Node::File { .. } | Node::HardLink(_) => 0o100_000,
        Node::Symlink(_) => 0o120_000,
    }
}

/// Counts the names of each file that has several.
fn links(tree: &Tree) -> Result<BTreeMap<&TreePath, u32>, CpioError> {
    let mut links = BTreeMap::new();
    for (path, entry) in tree.iter() {
        if let Node::HardLink(target) = &entry.node {
            let file = tree
                .entry(target)
                .is_some_and(|file| matches!(file.node, Node::File { .. }));
            if !file || target >= path {
                let path = path.clone();
                let what = "the file that it is a hard link to does not stand before it";
                return Err(CpioError::Entry { path, what });
            }
            *links.entry(target).or_insert(1) += 1;
        }
    }
    Ok(links)
}
