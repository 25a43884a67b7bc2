//! Reads a container that the writer wrote, and refuses every other.

use std::io;
use std::ops::Range;
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
    #[error("qcow2: {0}; a sealed disk stands for itself, nothing beside it and nothing hidden in it")]
    Feature(&'static str),
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

impl Guest {
    /// Opens a container, checking all of it but the content of its data clusters.
    ///
    /// # Errors
    /// [`QcowError`] for the first thing that is not as the writer writes it.
    pub fn open(file: Arc<dyn ReadAt>) -> Result<Self, QcowError> {
        let header = Header::read(&*file)?;
        let stored = header.stored(&*file)?;
        // Write it again and compare.
        let layout = Layout::new(header.length, stored);
        let expected = layout.file_length();
        let head = layout.head();
        if file.len() < head.len() as u64 {
            return Err(QcowError::Length {
                expected,
                found: file.len(),
            });
        }
        if let Some(offset) = compare(&*file, &head)? {
            let part = layout.part(offset);
            return Err(QcowError::Differs { offset, part });
        }
        if file.len() != expected {
            return Err(QcowError::Length {
                expected,
                found: file.len(),
            });
        }
        let guest = Self {
            file,
            length: header.length,
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
                return Err(QcowError::Feature("a cluster of zeros is stored"));
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

/// What the reader takes from a container's header: all else is compared.
struct Header {
    length: u64,
    l1: u64,
}

impl Header {
    fn read(file: &dyn ReadAt) -> Result<Self, QcowError> {
        let mut bytes = [0; HEADER];
        if file.len() < HEADER as u64 {
            return Err(QcowError::Magic);
        }
        file.read_exact_at(&mut bytes, 0)?;
        let field = |range: Range<usize>| {
            let bytes = bytes.get(range).unwrap_or_default();
            bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
        };
        if !bytes.starts_with(&MAGIC) || field(4..8) != 3 {
            return Err(QcowError::Magic);
        }
        // Every one of these is compared again with the whole header; here they get their names.
        for (range, expected, what) in [
            (8..20, 0, "it has a backing file"),
            (32..36, 0, "it is encrypted"),
            (60..72, 0, "it has snapshots"),
            (72..80, 0, "it has incompatible features (an external data file, say)"),
            (80..96, 0, "it has features that this version does not know"),
            (20..24, 16, "its clusters do not have 64 KiB"),
            (96..100, 4, "its reference counts do not have 16 bits"),
            (100..104, HEADER as u64, "its header has additional fields"),
        ] {
            if field(range) != expected {
                return Err(QcowError::Feature(what));
            }
        }
        let header = Self {
            length: field(24..32),
            l1: field(40..48),
        };
        if !valid(header.length) {
            return Err(QcowError::Feature(
                "its disk's length is 0, no multiple of 512, or more than 256 GiB",
            ));
        }
        Ok(header)
    }

    /// Follows the tables to see which guest clusters are stored.
    fn stored(&self, file: &dyn ReadAt) -> Result<Vec<bool>, QcowError> {
        let clusters = self.length.div_ceil(CLUSTER);
        let mut stored = Vec::new();
        for entry in table(file, self.l1, clusters.div_ceil(ENTRIES))? {
            let here = (clusters - stored.len() as u64).min(ENTRIES);
            if entry == 0 {
                stored.resize(stored.len() + here as usize, false);
                continue;
            }
            if entry & COPIED == 0 {
                return Err(QcowError::Feature("an L2 table is shared"));
            }
            for entry in table(file, entry & !COPIED, here)? {
                match entry {
                    entry if entry & COMPRESSED != 0 => return Err(QcowError::Feature("it has compressed clusters")),
                    entry if entry & 1 != 0 => return Err(QcowError::Feature("it has clusters marked as zeros")),
                    entry if entry != 0 && entry & COPIED == 0 => {
                        return Err(QcowError::Feature("a cluster is shared"));
                    }
                    entry => stored.push(entry != 0),
                }
            }
        }
        Ok(stored)
    }
}

/// Reads a table's entries; the offset and length are a hostile file's.
fn table(file: &dyn ReadAt, offset: u64, entries: u64) -> Result<Vec<u64>, QcowError> {
    let end = offset.checked_add(entries * 8).filter(|end| *end <= file.len());
    if end.is_none() {
        return Err(QcowError::Feature("a table lies beyond the end"));
    }
    let mut bytes = vec![0; (entries * 8) as usize];
    file.read_exact_at(&mut bytes, offset)?;
    let (entries, _) = bytes.as_chunks();
    Ok(entries.iter().map(|entry| u64::from_be_bytes(*entry)).collect())
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
