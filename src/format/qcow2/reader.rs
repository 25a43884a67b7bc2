//! Reads a container that the writer wrote, and refuses every other.

use std::io;
use std::sync::Arc;

use rayon::prelude::*;

use super::layout::{Layout, valid};
use super::{CLUSTER, COMPRESSED, COPIED, ENTRIES, HEADER, MAGIC};
use crate::disk::{ReadAt, is_zero};

/// What the guest sees of a container.
#[derive(Clone)]
pub struct Guest {
    file: Arc<dyn ReadAt>,
    length: u64,
    /// Where each guest cluster is; 0 for one of zeros.
    offsets: Vec<u64>,
}

/// A container that is not as imgkit writes it.
#[derive(Debug, thiserror::Error)]
pub enum QcowError {
    /// A byte is not what the writer would have put there.
    #[error(
        "qcow2: the byte at {offset} of the container ({part}) is not as imgkit writes it; convert the disk to raw and verify that"
    )]
    Differs {
        /// Offset in the container.
        offset: u64,
        /// Which part of it that is.
        part: &'static str,
    },
    /// Something in it is not allowed, whatever it says.
    #[error("qcow2: {what}; a sealed disk stands for itself, nothing beside it and nothing hidden in it")]
    Feature {
        /// Offset in the container of what says so.
        offset: u64,
        /// What it is.
        what: &'static str,
    },
    /// Reading failed.
    #[error("qcow2: {0}")]
    Io(#[from] io::Error),
    /// The container is longer or shorter than its tables say.
    #[error("qcow2: the container has {found} bytes, its tables describe {expected}")]
    Length {
        /// What the tables describe.
        expected: u64,
        /// The container's length.
        found: u64,
    },
    /// No qcow2 of version 3.
    #[error("this is not a qcow2 file of version 3")]
    Magic,
}

impl QcowError {
    /// Returns the offset in the container of what is wrong, where it is known.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Differs { offset, .. } | Self::Feature { offset, .. } => Some(*offset),
            Self::Magic => Some(0),
            Self::Io(_) | Self::Length { .. } => None,
        }
    }
}

impl Guest {
    /// Opens a container, checking all of it but the content of its data clusters.
    ///
    /// # Errors
    /// [`QcowError`] for the first thing that is not as the writer writes it.
    pub fn open(file: Arc<dyn ReadAt>) -> Result<Self, QcowError> {
        let length = read_header(&*file)?;
        let stored = read_tables(&*file, length)?;
        // Write it again and compare.
        let layout = Layout::new(length, stored);
        let expected = layout.file_length();
        if file.len() != expected {
            return Err(QcowError::Length {
                expected,
                found: file.len(),
            });
        }
        if let Some(offset) = compare(&*file, &layout.head())? {
            let part = layout.part(offset);
            return Err(QcowError::Differs { offset, part });
        }
        let guest = Self {
            file,
            length,
            offsets: layout.offsets(),
        };
        guest.check_data()?;
        Ok(guest)
    }

    /// Checks that no cluster is stored that is all zeros, and that nothing stands behind the guest's last byte.
    fn check_data(&self) -> Result<(), QcowError> {
        let clusters = self.offsets.par_iter().enumerate();
        clusters.try_for_each_init(Vec::new, |buffer, (number, offset)| {
            if *offset == 0 {
                return Ok(());
            }
            let inside = (self.length - number as u64 * CLUSTER).min(CLUSTER) as usize;
            // A look at the first bytes tells for most.
            let glance = inside.min(4096);
            buffer.resize(glance, 0);
            self.file.read_exact_at(buffer, *offset)?;
            let zero = is_zero(buffer);
            if !zero && inside == CLUSTER as usize {
                return Ok(());
            }
            buffer.resize(CLUSTER as usize, 0);
            self.file.read_exact_at(buffer, *offset)?;
            let (inside, beyond) = buffer.split_at(inside);
            if let Some(at) = beyond.iter().position(|byte| *byte != 0) {
                let offset = offset + (inside.len() + at) as u64;
                return Err(QcowError::Differs {
                    offset,
                    part: "behind the disk's last byte",
                });
            }
            if is_zero(inside) {
                let what = "a cluster of zeros is stored";
                return Err(QcowError::Feature { offset: *offset, what });
            }
            Ok(())
        })
    }

    /// Finds the guest's byte for a byte of the container; `None` for a table's.
    pub fn guest_offset(&self, offset: u64) -> Option<u64> {
        let cluster = offset / CLUSTER * CLUSTER;
        let number = self.offsets.iter().position(|at| *at == cluster && *at != 0)?;
        Some(number as u64 * CLUSTER + offset % CLUSTER)
    }
}

impl ReadAt for Guest {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        if offset
            .checked_add(buffer.len() as u64)
            .is_none_or(|end| end > self.length)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buffer.is_empty() {
            let (start, run) = self.run(offset, buffer.len() as u64);
            let (now, rest) = buffer.split_at_mut(run as usize);
            match start {
                Some(start) => self.file.read_exact_at(now, start)?,
                None => now.fill(0),
            }
            offset += run;
            buffer = rest;
        }
        Ok(())
    }
}

impl Guest {
    /// Finds where the bytes from `offset` on are, and how many of them stand in one piece, at most `most`.
    fn run(&self, offset: u64, most: u64) -> (Option<u64>, u64) {
        let number = (offset / CLUSTER) as usize;
        let clusters = self.offsets.get(number..).unwrap_or_default();
        let first = clusters.first().copied().unwrap_or(0);
        let within = offset % CLUSTER;
        let follows = |(at, count): (&u64, u64)| match first {
            0 => *at == 0,
            first => *at == first + count * CLUSTER,
        };
        let count = clusters
            .iter()
            .zip(0u64..)
            .take_while(|(at, count)| count * CLUSTER < within + most && follows((at, *count)));
        let run = (count.count() as u64 * CLUSTER - within).min(most);
        ((first != 0).then_some(first + within), run)
    }
}

/// Reads from the header what the reader takes from it, the guest's length: all else is compared.
fn read_header(file: &dyn ReadAt) -> Result<u64, QcowError> {
    let mut bytes = [0; HEADER];
    if file.len() < HEADER as u64 {
        return Err(QcowError::Magic);
    }
    file.read_exact_at(&mut bytes, 0)?;
    if !bytes.starts_with(&MAGIC) || bytes.get(4..8) != Some(&[0, 0, 0, 3]) {
        return Err(QcowError::Magic);
    }
    // Every one of these is compared again with the whole header; here they get their names.
    for (range, expected, what) in [
        (8..20, 0, "it has a backing file"),
        (32..36, 0, "it is encrypted"),
        (60..72, 0, "it has snapshots"),
        (72..80, 0, "it has incompatible features (an external data file, say)"),
        (80..96, 0, "it has features that this version does not know"),
        (20..24, CLUSTER.trailing_zeros(), "its clusters do not have 64 KiB"),
        (96..100, 4, "its reference counts do not have 16 bits"),
        (100..104, HEADER as u32, "its header has additional fields"),
    ] {
        let found = bytes.get(range.clone()).unwrap_or_default();
        let expected = expected.to_be_bytes();
        let zeros = std::iter::repeat_n(&0, found.len() - expected.len());
        let differs = found
            .iter()
            .zip(zeros.chain(&expected))
            .position(|(found, expected)| found != expected);
        if let Some(at) = differs {
            let offset = (range.start + at) as u64;
            return Err(QcowError::Feature { offset, what });
        }
    }
    let length = bytes.get(24..32).and_then(|field| field.first_chunk());
    let length = length.map_or(0, |field| u64::from_be_bytes(*field));
    if !valid(length) {
        let what = "its disk's length is 0, no multiple of 512, or more than 256 GiB";
        return Err(QcowError::Feature { offset: 24, what });
    }
    Ok(length)
}

/// Reads which guest clusters are stored.
///
/// No pointer is followed: the container's length says where its tables are, and which entry comes next is known before it is read.
fn read_tables(file: &dyn ReadAt, length: u64) -> Result<Vec<bool>, QcowError> {
    let clusters = length.div_ceil(CLUSTER);
    let tables = clusters.div_ceil(ENTRIES);
    let l1 = Layout::l1_of(file.len());
    let mut at = l1 + tables.div_ceil(ENTRIES) * CLUSTER;
    let mut data = at;
    let has_table = table(file, l1, tables, &mut data)?;
    let mut stored = Vec::new();
    for has_table in has_table {
        let here = (clusters - stored.len() as u64).min(ENTRIES);
        if has_table {
            stored.extend(table(file, at, here, &mut data)?);
            at += CLUSTER;
        } else {
            stored.resize(stored.len() + here as usize, false);
        }
    }
    Ok(stored)
}

/// Reads a table of which each entry is 0 or leads to the `next` cluster, which is then the one behind.
fn table(file: &dyn ReadAt, offset: u64, entries: u64, next: &mut u64) -> Result<Vec<bool>, QcowError> {
    if offset.saturating_add(entries * 8) > file.len() {
        let what = "a table lies beyond the end";
        return Err(QcowError::Feature { offset, what });
    }
    let mut bytes = vec![0; (entries * 8) as usize];
    file.read_exact_at(&mut bytes, offset)?;
    let (entries, _) = bytes.as_chunks();
    let mut there = Vec::with_capacity(entries.len());
    for (entry, number) in entries.iter().zip(0u64..) {
        let entry = u64::from_be_bytes(*entry);
        if entry != 0 && entry != COPIED | *next {
            let what = match entry {
                entry if entry & COMPRESSED != 0 => "it has compressed clusters",
                entry if entry & 1 != 0 => "it has clusters marked as zeros",
                entry if entry & COPIED == 0 => "it has clusters that are shared",
                _ => "its clusters are not in order",
            };
            let offset = offset + number * 8;
            return Err(QcowError::Feature { offset, what });
        }
        *next += if entry == 0 { 0 } else { CLUSTER };
        there.push(entry != 0);
    }
    Ok(there)
}

/// Finds the first byte of the file that differs from what it should begin with.
fn compare(file: &dyn ReadAt, head: &[u8]) -> Result<Option<u64>, QcowError> {
    let mut found = vec![0; CLUSTER as usize];
    for (number, expected) in head.chunks(CLUSTER as usize).enumerate() {
        let start = number as u64 * CLUSTER;
        file.read_exact_at(&mut found, start)?;
        if found != expected {
            let at = found
                .iter()
                .zip(expected)
                .position(|(found, expected)| found != expected);
            return Ok(Some(start + at.unwrap_or(0) as u64));
        }
    }
    Ok(None)
}
