//! File formats: pure readers and writers between bytes and trees.
//!
//! - Writers are deterministic: the same tree and parameters give the same bytes, on every machine and for any number of threads.
//! - Readers of our own formats are strict: what the writer would not write is refused, so that there is one encoding of a tree.
//! - Readers of others' formats (layers) are bounded: every limit is in [`crate::limit`].

#[cfg(test)]
pub(crate) mod arbitrary;
pub mod compress;
pub mod cpio;
pub mod foreign;
pub mod initrd;
pub mod layers;
pub mod qcow2;
pub mod segment;
pub mod tar;

use std::io::{self, Read, Write};

use crate::digest::Digest;
use crate::tree::Contents;

/// Copies a content to `out`; `InvalidData` when it does not have `size` bytes.
fn copy_content(contents: &dyn Contents, digest: &Digest, size: u64, out: &mut dyn Write) -> io::Result<()> {
    // One byte more than announced is enough to see that there is more.
    let mut content = contents.open(digest)?.take(size.saturating_add(1));
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(usize::MAX).clamp(1, 1 << 16)];
    let mut copied = 0;
    loop {
        let n = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        copied += n as u64;
        if copied > size {
            break;
        }
        out.write_all(buffer.get(..n).unwrap_or_default())?;
    }
    if copied == size {
        return Ok(());
    }
    let what = format!("the content {digest} does not have the {size} bytes that its entry says");
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Names a decompressor's complaint what it is, `InvalidData`; zstd's have the kind `Other`, which disks' errors never have.
fn malformed_if_other(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other => io::Error::new(io::ErrorKind::InvalidData, error),
        _ => error,
    }
}
