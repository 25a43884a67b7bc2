//! Disks: who owns which byte, and the structures between the files.
//!
//! - A disk is made as an [`assembly::Assembly`]: pieces in order, each with its [`extents::Owner`], so every byte has one.
//! - The structures (partition table, FAT, locator) are pure functions of what they describe; a verifier makes them again and
//!   compares instead of parsing them.
//! - Nothing here opens a file: a disk is anything that can be read at an offset ([`ReadAt`]).

pub mod assembly;
pub mod bios;
pub mod extents;
pub mod fat;
pub mod locator;
pub mod mbr;
pub mod merkle;

use std::io;
use std::sync::Arc;

/// Bytes that can be read at any offset, by several threads at once.
pub trait ReadAt: Send + Sync {
    /// Returns the length in bytes.
    fn len(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when they reach beyond the end, or what reading gave.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Tells whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.get(start..).and_then(|bytes| bytes.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }
}

/// A part of a larger whole.
#[derive(Clone)]
pub struct Slice {
    source: Arc<dyn ReadAt>,
    offset: u64,
    length: u64,
}

impl Slice {
    /// Takes `length` bytes of `source` from `offset` on; `None` when they reach beyond its end.
    pub fn new(source: Arc<dyn ReadAt>, offset: u64, length: u64) -> Option<Self> {
        let end = offset.checked_add(length)?;
        (end <= source.len()).then_some(Self { source, offset, length })
    }
}

impl ReadAt for Slice {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.length => self.source.read_exact_at(buffer, self.offset + offset),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Reads a disk, or a part of it, from its beginning to its end.
pub struct Stream<'a> {
    source: &'a dyn ReadAt,
    offset: u64,
}

impl<'a> Stream<'a> {
    /// Starts at the first byte.
    pub fn new(source: &'a dyn ReadAt) -> Self {
        Self { source, offset: 0 }
    }
}

impl io::Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.len().saturating_sub(self.offset);
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        self.source.read_exact_at(buffer, self.offset)?;
        self.offset += wanted as u64;
        Ok(wanted)
    }
}

/// Tells whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Words first: the compiler turns this into wide comparisons.
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| word == &[0; 64]) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;

    #[test]
    fn a_slice_is_what_it_covers_and_no_more() {
        let whole: Arc<dyn ReadAt> = Arc::new(b"0123456789".to_vec());
        let slice = Slice::new(Arc::clone(&whole), 2, 5).unwrap();
        let mut content = Vec::new();
        Stream::new(&slice).read_to_end(&mut content).unwrap();
        assert_eq!(content, b"23456");
        assert!(slice.read_exact_at(&mut [0; 2], 4).is_err());
        assert!(slice.read_exact_at(&mut [0; 1], u64::MAX).is_err());
        assert!(Slice::new(Arc::clone(&whole), 6, 5).is_none());
        assert!(Slice::new(whole, u64::MAX, 2).is_none());
    }

    #[test]
    fn zero_is_tested_to_the_last_byte() {
        for length in [0, 1, 63, 64, 65, 1000] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            if let Some(last) = bytes.last_mut() {
                *last = 1;
                assert!(!is_zero(&bytes), "{length}");
            }
        }
    }
}
