//! cpio archives and segments as anybody may write them: one field of one entry at a time may be wrong.

use std::io::Write;

/// Type and permission bits of a directory, a file, a symbolic link and a character device.
pub const DIRECTORY: u32 = 0o040_755;
pub const FILE: u32 = 0o100_644;
pub const SYMLINK: u32 = 0o120_777;
pub const CHAR: u32 = 0o020_600;

/// An entry, with everything that its header says.
#[derive(Clone, Debug)]
pub struct Raw<'a> {
    pub name: &'a str,
    pub mode: u32,
    pub content: &'a [u8],
    /// The number that tells a file with several names from others; the archive counts where there is none.
    pub inode: Option<u32>,
    pub links: u32,
    pub owner: u32,
    pub device: (u32, u32),
}

impl<'a> Raw<'a> {
    pub fn new(mode: u32, name: &'a str, content: &'a [u8]) -> Self {
        Self {
            name,
            mode,
            content,
            inode: None,
            links: if mode == DIRECTORY { 2 } else { 1 },
            owner: 0,
            device: (0, 0),
        }
    }
}

/// An archive that is being written.
#[derive(Clone, Debug)]
pub struct Archive {
    place: u64,
    inode: u32,
    bytes: Vec<u8>,
}

impl Archive {
    /// Starts an archive that names this place in each header.
    pub fn new(place: u64) -> Self {
        Self {
            place,
            inode: 0,
            bytes: Vec::new(),
        }
    }

    pub fn directory(self, name: &str) -> Self {
        self.raw(&Raw::new(DIRECTORY, name, b""))
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.raw(&Raw::new(FILE, name, content))
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(&Raw::new(SYMLINK, name, target.as_bytes()))
    }

    /// Adds an entry as it is.
    pub fn raw(mut self, entry: &Raw) -> Self {
        let inode = entry.inode.unwrap_or(self.inode + 1);
        self.inode = self.inode.max(inode);
        self.put(inode, entry);
        self
    }

    /// Adds the entry that ends an archive.
    pub fn trailer(mut self) -> Self {
        let end = Raw::new(0, "TRAILER!!!", b"");
        self.put(0, &end);
        self
    }

    /// The archive's bytes, as they are.
    pub fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The archive with its end, as a segment.
    pub fn segment(self) -> Vec<u8> {
        padded(frame(&self.trailer().bytes))
    }

    fn put(&mut self, inode: u32, entry: &Raw) {
        let fields = [
            inode,
            entry.mode,
            entry.owner,
            0,
            entry.links,
            imgkit::format::cpio::MTIME,
            entry.content.len() as u32,
            (self.place >> 32) as u32,
            self.place as u32,
            entry.device.0,
            entry.device.1,
            entry.name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            write!(self.bytes, "{field:08X}").unwrap();
        }
        self.bytes.extend(entry.name.as_bytes());
        self.bytes.push(0);
        // The header's 110 bytes are part of what is padded.
        self.pad();
        self.bytes.extend(entry.content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Compresses bytes as a segment's frame is.
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 9).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Adds zeros up to a multiple of four bytes.
pub fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
