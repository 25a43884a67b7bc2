//! The `newc` cpio archives of an initrd: a writer, and a reader that accepts only what the writer writes.
//!
//! Linux unpacks an initrd with `init/initramfs.c`, which is lax: it writes through links, joins files of equal inode numbers,
//! skips what it does not understand and boots on. So an archive here has one form only (law 1 of the disk):
//!
//! - Entries stand in path order, each below a directory of the same archive; a file `init` at the top stands last.
//! - Inode numbers count from 1; the device number is the archive's place, so that no two files of an initrd are taken for one.
//! - The names of one file share an inode; the first holds the content and the others have none, which the kernel links.
//! - All times are one constant. There is no room for extended attributes.
//! - One `TRAILER!!!` ends it, in the archive's place; after it comes nothing.

mod header;
mod reader;
mod writer;

pub use reader::{Summary, read_cpio};
pub use writer::write_cpio;

use std::io;

use crate::tree::{Entry, TreePath};

/// The modification time of every entry: 2017-04-18T16:30:00Z, which LinuxKit gives to the files it makes.
pub const MTIME: u32 = 1_492_533_000;

/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// The program that the kernel starts; last, so that a partial unpack cannot boot.
const INIT: &[u8] = b"init";

/// An archive could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CpioError {
    /// An entry cannot stand in the archive.
    #[error("`{path}` cannot stand in an initrd: {what}")]
    Entry {
        /// Where the entry stands.
        path: TreePath,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Reading or writing failed, or the bytes end too early.
    #[error("cpio archive: {0}")]
    Io(#[from] io::Error),
    /// The bytes are not what the writer writes.
    #[error("cpio archive, byte {offset}: {what}")]
    Malformed {
        /// Offset in the uncompressed archive.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
}

/// Tells whether this entry stands last, whatever the order of paths.
fn is_last(path: &TreePath, entry: &Entry) -> bool {
    path.as_bytes() == INIT && !entry.is_directory()
}

#[cfg(test)]
mod tests;
