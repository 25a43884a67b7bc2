//! Reads a cpio archive as the kernel would, and refuses what the writer does not write.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use super::header::{HEADER, Header, MAX_DEVICE, padding};
use super::writer::type_bits;
use super::{CpioError, TRAILER, is_last};
use crate::limit;
use crate::tree::contents::Sink;
use crate::tree::{Device, Entry, Meta, Node, TreePath};

/// What an archive came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The place that its device numbers name.
    pub place: u64,
    /// How many entries it has.
    pub entries: usize,
    /// How many bytes of content.
    pub bytes: u64,
}

/// Reads one archive to the end of `input`; each file's content goes to `sink`, each entry to `visit`, in the archive's order.
///
/// # Errors
/// [`CpioError::Malformed`] for the first byte that [`super::write_cpio`] would not have written, [`CpioError::Io`] with what
/// reading or `sink` gave, and what `visit` gave.
pub fn read_cpio(
    input: &mut dyn Read,
    sink: &mut dyn Sink,
    visit: &mut dyn FnMut(TreePath, Entry) -> Result<(), CpioError>,
) -> Result<Summary, CpioError> {
    let mut reader = Reader {
        input,
        offset: 0,
        text: 0,
        summary: None,
        directories: BTreeSet::new(),
        files: BTreeMap::new(),
        inode: 0,
        previous: None,
        ended: false,
    };
    while let Some((path, entry)) = reader.entry(sink)? {
        visit(path, entry)?;
    }
    reader.end()
}

struct Reader<'a> {
    input: &'a mut dyn Read,
    offset: u64,
    /// Bytes of names and targets so far.
    text: usize,
    summary: Option<Summary>,
    directories: BTreeSet<TreePath>,
    /// Files that have more names: what their header says, and how many names are to come.
    files: BTreeMap<u32, (Header, TreePath, u32)>,
    /// The highest inode number so far.
    inode: u32,
    previous: Option<TreePath>,
    /// Whether the entry that stands last was read.
    ended: bool,
}

impl Reader<'_> {
    fn entry(&mut self, sink: &mut dyn Sink) -> Result<Option<(TreePath, Entry)>, CpioError> {
        let at = self.offset;
        let bad = |what| CpioError::Malformed { offset: at, what };
        let mut bytes = [0; HEADER];
        self.fill(&mut bytes)?;
        let header = Header::decode(&bytes).ok_or(bad("the header is not as imgkit writes it"))?;
        let name = self.name(&header, at)?;
        if name == TRAILER {
            let place = self.summary.map_or(header.place, |summary| summary.place);
            if header != Header::trailer(place) {
                return Err(bad("the archive's end is not as imgkit writes it"));
            }
            self.count(place, 0, 0);
            return Ok(None);
        }
        let path = TreePath::parse(&name).ok().filter(|path| path.as_bytes() == name);
        let path = path.ok_or(bad("the name is not a plain relative path"))?;
        if !header.has_owner() {
            return Err(bad("its owner or group is a number that Linux takes for no owner"));
        }
        let entry = self.node(&header, &path, sink, at)?;
        self.place(&path, &entry, &header, at)?;
        Ok(Some((path, entry)))
    }

    /// Reads what the header announces, as the type that it names.
    fn node(&mut self, header: &Header, path: &TreePath, sink: &mut dyn Sink, at: u64) -> Result<Entry, CpioError> {
        let bad = |what| CpioError::Malformed { offset: at, what };
        let mut meta = Meta {
            mode: (header.mode & 0o7777) as u16,
            uid: header.uid,
            gid: header.gid,
            xattrs: BTreeMap::new(),
        };
        let device = header.device;
        let node = match header.mode >> 12 {
            0o01 => Node::Fifo,
            0o02 => Node::Char(device),
            0o04 => Node::Directory,
            0o06 => Node::Block(device),
            0o10 => match self.files.get_mut(&header.inode) {
                Some((first, target, left)) => {
                    let same = Header {
                        size: 0,
                        name: header.name,
                        ..first.clone()
                    };
                    *left = left.checked_sub(1).ok_or(bad("a file has more names than it says"))?;
                    if *header != same {
                        return Err(bad("a further name of a file does not repeat its header"));
                    }
                    meta = Meta::default();
                    Node::HardLink(target.clone())
                }
                None => {
                    let size = u64::from(header.size);
                    let (taken, digest) = sink.take(&mut (&mut *self.input).take(size))?;
                    if taken != size {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                    self.offset += size;
                    if header.links > 1 {
                        self.files
                            .insert(header.inode, (header.clone(), path.clone(), header.links - 1));
                    }
                    Node::File { size, digest }
                }
            },
            0o12 if (1..=limit::PATH_BYTES).contains(&(header.size as usize)) => {
                let mut target = vec![0; header.size as usize];
                self.fill(&mut target)?;
                if target.contains(&0) {
                    return Err(bad("a symbolic link's target has a NUL byte"));
                }
                self.text += target.len();
                Node::Symlink(target)
            }
            _ => return Err(bad("the type is none that the kernel unpacks")),
        };
        self.zeros(padding(header.size.into()))?;
        // What the writer puts into the other fields for this type.
        let links = match &node {
            Node::Directory => header.links == 2,
            Node::File { .. } => header.links >= 1,
            Node::HardLink(_) => true,
            _ => header.links == 1,
        };
        let device = match &node {
            Node::Block(device) | Node::Char(device) => {
                device.major <= MAX_DEVICE.major && device.minor <= MAX_DEVICE.minor
            }
            _ => device == Device { major: 0, minor: 0 },
        };
        let size = header.size == 0 || matches!(node, Node::File { .. } | Node::Symlink(_));
        if !(links && device && size && header.mode & !0o7777 == type_bits(&node)) {
            return Err(bad("the header's fields do not fit the entry's type"));
        }
        Ok(Entry { meta, node })
    }

    /// Checks that the entry stands where the writer puts it.
    fn place(&mut self, path: &TreePath, entry: &Entry, header: &Header, at: u64) -> Result<(), CpioError> {
        let bad = |what| Err(CpioError::Malformed { offset: at, what });
        if self.ended {
            return bad("there is an entry after `init`");
        }
        self.ended = is_last(path, entry);
        if !self.ended {
            if self.previous.as_ref().is_some_and(|previous| previous >= path) {
                return bad("the entries are not in path order");
            }
            self.previous = Some(path.clone());
        }
        if path.parent().is_some_and(|parent| !self.directories.contains(&parent)) {
            return bad("the directory above an entry is not in the archive");
        }
        match &entry.node {
            Node::HardLink(target) if target >= path => {
                return bad("a hard link stands before the file that it names");
            }
            Node::HardLink(_) => {}
            _ if header.inode == self.inode + 1 => self.inode += 1,
            _ => return bad("the inode numbers do not count from 1"),
        }
        if entry.is_directory() {
            self.directories.insert(path.clone());
        }
        self.text += path.as_bytes().len();
        let bytes = match entry.node {
            Node::File { size, .. } => size,
            _ => 0,
        };
        let summary = self.count(header.place, 1, bytes);
        if summary.place != header.place {
            return bad("the entries name different places");
        }
        if summary.entries > limit::TREE_ENTRIES || self.text > limit::TREE_TEXT_BYTES {
            return bad("there are too many entries");
        }
        Ok(())
    }

    fn count(&mut self, place: u64, entries: usize, bytes: u64) -> Summary {
        let start = Summary {
            place,
            entries: 0,
            bytes: 0,
        };
        let summary = self.summary.get_or_insert(start);
        summary.entries += entries;
        summary.bytes += bytes;
        *summary
    }

    /// Checks that nothing is missing and nothing follows.
    fn end(self) -> Result<Summary, CpioError> {
        let offset = self.offset;
        let bad = |what| CpioError::Malformed { offset, what };
        if self.files.values().any(|(_, _, left)| *left != 0) {
            return Err(bad("a file has fewer names than it says"));
        }
        if self.input.take(1).read_to_end(&mut Vec::new())? != 0 {
            return Err(bad("there are bytes after the archive's end"));
        }
        self.summary.ok_or(bad("the archive has no end"))
    }

    fn name(&mut self, header: &Header, at: u64) -> Result<Vec<u8>, CpioError> {
        let bad = |what| CpioError::Malformed { offset: at, what };
        let length = header.name as usize;
        if !(2..=limit::PATH_BYTES + 1).contains(&length) {
            return Err(bad("the name is empty or longer than 4095 bytes"));
        }
        let mut name = vec![0; length];
        self.fill(&mut name)?;
        if name.pop() != Some(0) {
            return Err(bad("the name does not end in a NUL byte"));
        }
        self.zeros(padding((HEADER + length) as u64))?;
        Ok(name)
    }

    fn zeros(&mut self, count: usize) -> Result<(), CpioError> {
        let offset = self.offset;
        let mut padding = [0; 3];
        let padding = padding.get_mut(..count).unwrap_or_default();
        self.fill(padding)?;
        if padding.iter().any(|byte| *byte != 0) {
            let what = "the padding is not zero";
            return Err(CpioError::Malformed { offset, what });
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CpioError> {
        self.input.read_exact(buffer)?;
        self.offset += buffer.len() as u64;
        Ok(())
    }
}
