//! A disk as a list of pieces, put together without a copy.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::extents::{Extent, Extents, Owner};
use super::{ReadAt, is_zero};

/// What a piece of a disk holds.
#[derive(Clone)]
pub enum Content {
    /// These bytes: a structure that a writer made.
    Bytes(Vec<u8>),
    /// Bytes that are elsewhere, all of them.
    Source(Arc<dyn ReadAt>),
    /// This many zeros.
    Zero(u64),
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Source(source) => source.len(),
            Self::Zero(length) => *length,
        }
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => bytes.read_exact_at(buffer, offset),
            Self::Source(source) => source.read_exact_at(buffer, offset),
            Self::Zero(_) => {
                buffer.fill(0);
                Ok(())
            }
        }
    }
}

/// Pieces one after the other; reads as one disk.
#[derive(Clone, Default)]
pub struct Assembly {
    pieces: Vec<Piece>,
    length: u64,
}

#[derive(Clone)]
struct Piece {
    offset: u64,
    owner: Owner,
    content: Content,
}

impl Piece {
    fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.content.len()
    }
}

impl Assembly {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the bytes' owners.
    pub fn extents(&self) -> Extents {
        let pieces = self.pieces.iter();
        let list = pieces.map(|piece| Extent {
            offset: piece.offset,
            length: piece.content.len(),
            owner: piece.owner.clone(),
        });
        // Pieces are pushed end to end and never empty, so they cover the disk.
        Extents::contiguous(list.collect())
    }

    /// Compares a disk with what this one's writers made: structures and padding; not files, not segments, not the seal.
    ///
    /// Returns the first byte that differs, with its owner.
    ///
    /// # Errors
    /// What reading `disk` gave.
    pub fn first_difference(&self, disk: &dyn ReadAt) -> io::Result<Option<(u64, &Owner)>> {
        let mut found = vec![0; 1 << 16];
        for piece in &self.pieces {
            if matches!(piece.content, Content::Source(_)) || piece.owner == Owner::Seal {
                continue;
            }
            let Range { mut start, end } = piece.range();
            while start < end {
                let length = (end - start).min(found.len() as u64);
                let found = found.get_mut(..length as usize).unwrap_or_default();
                disk.read_exact_at(found, start)?;
                if let Some(at) = piece.difference(found, start - piece.offset) {
                    return Ok(Some((start + at as u64, &piece.owner)));
                }
                start += length;
            }
        }
        Ok(None)
    }

    /// Appends a piece.
    pub fn push(&mut self, owner: Owner, content: Content) {
        if content.len() != 0 {
            let offset = self.length;
            self.length += content.len();
            self.pieces.push(Piece { offset, owner, content });
        }
    }

    /// Puts the seal into its extent; `bytes` are as long as the extent, else nothing changes.
    pub fn set_seal(&mut self, bytes: Vec<u8>) {
        let seal = self.pieces.iter_mut().find(|piece| piece.owner == Owner::Seal);
        if let Some(piece) = seal.filter(|piece| piece.content.len() == bytes.len() as u64) {
            piece.content = Content::Bytes(bytes);
        }
    }

    /// Appends zeros up to `offset`; does nothing when the disk reaches that far already.
    pub fn pad_to(&mut self, offset: u64) {
        let length = offset.saturating_sub(self.length);
        self.push(Owner::Padding, Content::Zero(length));
    }
}

/// A disk of which some bytes are replaced.
pub struct Patched {
    disk: Arc<dyn ReadAt>,
    offset: u64,
    bytes: Vec<u8>,
}

impl Patched {
    /// Replaces the bytes from `offset` on.
    pub fn new(disk: Arc<dyn ReadAt>, offset: u64, bytes: Vec<u8>) -> Self {
        Self { disk, offset, bytes }
    }
}

impl ReadAt for Patched {
    fn len(&self) -> u64 {
        self.disk.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.read_exact_at(buffer, offset)?;
        let end = offset + buffer.len() as u64;
        let from = offset.max(self.offset);
        let to = end.min(self.offset + self.bytes.len() as u64);
        if from < to {
            let new = self
                .bytes
                .get((from - self.offset) as usize..(to - self.offset) as usize);
            let old = buffer.get_mut((from - offset) as usize..(to - offset) as usize);
            if let (Some(old), Some(new)) = (old, new) {
                old.copy_from_slice(new);
            }
        }
        Ok(())
    }
}

impl ReadAt for Assembly {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let next = self.pieces.partition_point(|piece| piece.offset <= offset);
        let mut pieces = self.pieces.iter().skip(next.saturating_sub(1));
        while !buffer.is_empty() {
            let piece = pieces.next().ok_or(io::ErrorKind::UnexpectedEof)?;
            let range = piece.range();
            let here = range.end.saturating_sub(offset).min(buffer.len() as u64);
            let (now, rest) = buffer.split_at_mut(here as usize);
            piece.content.read(now, offset - range.start)?;
            offset += here;
            buffer = rest;
        }
        Ok(())
    }
}

impl Piece {
    /// Finds the first byte of `found` that is not this piece's from `offset` on.
    fn difference(&self, found: &[u8], offset: u64) -> Option<usize> {
        match &self.content {
            Content::Bytes(bytes) => {
                let expected = bytes.get(offset as usize..).unwrap_or_default();
                let expected = expected.get(..found.len()).unwrap_or(expected);
                let differs = || found.iter().zip(expected).position(|(a, b)| a != b);
                if found == expected { None } else { differs() }
            }
            Content::Zero(_) if is_zero(found) => None,
            Content::Zero(_) => found.iter().position(|byte| *byte != 0),
            Content::Source(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::io::Read;

    use super::*;
    use crate::disk::Stream;

    fn sample() -> Assembly {
        let mut assembly = Assembly::new();
        let file = Owner::File { name: "KERNEL".into() };
        assembly.push(Owner::PartitionTable, Content::Bytes(b"table".to_vec()));
        assembly.pad_to(10);
        assembly.pad_to(8);
        assembly.push(file, Content::Source(Arc::new(b"kernel".to_vec())));
        assembly.push(Owner::Padding, Content::Zero(0));
        assembly.push(Owner::Seal, Content::Zero(4));
        assembly
    }

    #[test]
    fn reads_across_pieces_at_every_offset() {
        let assembly = sample();
        let expected = b"table\0\0\0\0\0kernel\0\0\0\0";
        let mut whole = Vec::new();
        Stream::new(&assembly).read_to_end(&mut whole).unwrap();
        assert_eq!(whole, expected);
        for start in 0..=expected.len() {
            for end in start..=expected.len() {
                let mut buffer = vec![9; end - start];
                assembly.read_exact_at(&mut buffer, start as u64).unwrap();
                assert_eq!(buffer, expected[start..end]);
            }
        }
        assert!(assembly.read_exact_at(&mut [0; 2], 19).is_err());
        assert!(assembly.read_exact_at(&mut [0; 1], 100).is_err());
    }

    #[test]
    fn every_byte_has_its_owner() {
        let extents = sample().extents();
        assert_eq!(extents.at(4).unwrap().owner, Owner::PartitionTable);
        assert_eq!(extents.at(5).unwrap().owner, Owner::Padding);
        assert_eq!(extents.at(19).unwrap().owner, Owner::Seal);
        assert_eq!(extents.iter().count(), 4);
    }

    #[test]
    fn finds_differences_in_structures_and_padding_only() {
        let assembly = sample();
        let mut disk = b"table\0\0\0\0\0KERNELseal".to_vec();
        assert_eq!(assembly.first_difference(&disk).unwrap(), None);
        disk[7] = 1;
        assert_eq!(assembly.first_difference(&disk).unwrap(), Some((7, &Owner::Padding)));
        disk[3] ^= 1;
        assert_eq!(
            assembly.first_difference(&disk).unwrap(),
            Some((3, &Owner::PartitionTable))
        );
        assert!(assembly.first_difference(&b"tab".to_vec()).is_err());
    }
}
