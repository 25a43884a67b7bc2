//! Where everything is in a container, and the bytes of its tables.

use std::io::{self, Write};

use rayon::prelude::*;

use super::{CLUSTER, COPIED, COUNTS, ENTRIES, HEADER, MAGIC};
use crate::disk::{ReadAt, is_zero};
use crate::limit;

/// How much of a cluster is read first: most that are not zero show it at once.
const GLANCE: usize = 4096;

/// The layout of a container, for a guest's disk of a known length and known clusters of zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    length: u64,
    /// Which guest clusters are stored.
    stored: Vec<bool>,
    /// How many are.
    data: u64,
    /// Which L2 tables there are.
    tables: Vec<bool>,
    counts: Counts,
}

/// How many clusters each kind of table takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    refcount_table: u64,
    refcount_blocks: u64,
    l1: u64,
    l2: u64,
}

impl Counts {
    /// Counts the clusters before the data.
    fn head(&self) -> u64 {
        1 + self.refcount_table + self.refcount_blocks + self.l1 + self.l2
    }
}

impl Layout {
    /// Lays out a container for `disk`, whose bytes are read to find the zeros.
    ///
    /// # Errors
    /// What reading gave; `InvalidInput` for a length of 0, no multiple of 512 or larger than [`limit::DISK_BYTES`].
    pub fn of(disk: &dyn ReadAt) -> io::Result<Self> {
        let length = disk.len();
        if !valid(length) {
            let what = format!(
                "a disk of {length} bytes cannot be a qcow2 file; expected a multiple of 512, not 0, at most 256 GiB"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let clusters = (0..length.div_ceil(CLUSTER)).into_par_iter();
        let stored = clusters.map_init(Vec::new, |buffer, number| {
            let start = number * CLUSTER;
            buffer.resize((length - start).min(CLUSTER) as usize, 0);
            let glance = GLANCE.min(buffer.len());
            let (first, rest) = buffer.split_at_mut(glance);
            disk.read_exact_at(first, start)?;
            if !is_zero(first) {
                return Ok(true);
            }
            disk.read_exact_at(rest, start + glance as u64)?;
            Ok(!is_zero(rest))
        });
        Ok(Self::new(length, stored.collect::<io::Result<_>>()?))
    }

    /// Lays out a container for a valid length and one flag for each guest cluster.
    pub(super) fn new(length: u64, stored: Vec<bool>) -> Self {
        let data = stored.iter().filter(|stored| **stored).count() as u64;
        let tables: Vec<bool> = stored.chunks(ENTRIES as usize).map(|run| run.contains(&true)).collect();
        let l2 = tables.iter().filter(|table| **table).count() as u64;
        let mut counts = Counts {
            refcount_table: 1,
            refcount_blocks: 1,
            l1: (tables.len() as u64).div_ceil(ENTRIES),
            l2,
        };
        // The tables count themselves: more blocks until there are enough.
        loop {
            let blocks = (counts.head() + data).div_ceil(COUNTS);
            let table = blocks.div_ceil(ENTRIES);
            if (table, blocks) == (counts.refcount_table, counts.refcount_blocks) {
                break;
            }
            counts.refcount_table = table;
            counts.refcount_blocks = blocks;
        }
        Self {
            length,
            stored,
            data,
            tables,
            counts,
        }
    }

    /// Returns the container's length in bytes.
    pub fn file_length(&self) -> u64 {
        (self.counts.head() + self.data) * CLUSTER
    }

    /// Writes the container for the disk that this layout was made of.
    ///
    /// # Errors
    /// What reading or writing gave.
    pub fn write(&self, disk: &dyn ReadAt, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.head())?;
        // Runs of clusters, at most 1 MiB.
        let mut buffer = vec![0; 16 * CLUSTER as usize];
        let mut clusters = self
            .stored
            .iter()
            .zip(0u64..)
            .filter(|(stored, _)| **stored)
            .map(|(_, number)| number)
            .peekable();
        while let Some(first) = clusters.next() {
            let mut last = first;
            while last - first < 15 && clusters.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            let run = buffer
                .get_mut(..((last - first + 1) * CLUSTER) as usize)
                .unwrap_or_default();
            let start = first * CLUSTER;
            let (inside, beyond) = run.split_at_mut((self.length - start).min(run.len() as u64) as usize);
            disk.read_exact_at(inside, start)?;
            beyond.fill(0);
            out.write_all(run)?;
        }
        Ok(())
    }

    /// Writes everything before the data.
    pub(super) fn head(&self) -> Vec<u8> {
        let counts = self.counts;
        let blocks = 1 + counts.refcount_table;
        let l1 = blocks + counts.refcount_blocks;
        let l2 = l1 + counts.l1;
        let data = l2 + counts.l2;
        let mut head = self.header(l1);
        let fill_to = |cluster: u64, head: &mut Vec<u8>| head.resize((cluster * CLUSTER) as usize, 0);
        fill_to(1, &mut head);
        for block in blocks..l1 {
            head.extend_from_slice(&(block * CLUSTER).to_be_bytes());
        }
        fill_to(blocks, &mut head);
        for _ in 0..data + self.data {
            head.extend_from_slice(&1u16.to_be_bytes());
        }
        fill_to(l1, &mut head);
        entries(&mut head, &self.tables, l2);
        fill_to(l2, &mut head);
        let mut next = data;
        for (run, table) in self.stored.chunks(ENTRIES as usize).zip(&self.tables) {
            if *table {
                next = entries(&mut head, run, next);
                let whole = (head.len() as u64).div_ceil(CLUSTER);
                fill_to(whole, &mut head);
            }
        }
        head
    }

    /// Returns the offset of each guest cluster in the container; 0 for one of zeros.
    pub(super) fn offsets(&self) -> Vec<u64> {
        let mut next = self.counts.head() * CLUSTER;
        let offsets = self.stored.iter().map(|stored| {
            let offset = if *stored { next } else { 0 };
            next += if *stored { CLUSTER } else { 0 };
            offset
        });
        offsets.collect()
    }

    /// Returns the offset of the L1 table in a container of `length` bytes: its clusters' reference counts stand before it.
    pub(super) fn l1_of(length: u64) -> u64 {
        let blocks = (length / CLUSTER).div_ceil(COUNTS);
        let table = blocks.div_ceil(ENTRIES);
        (1 + table + blocks) * CLUSTER
    }

    /// Names the part of the container that the byte at `offset` belongs to.
    pub(super) fn part(&self, offset: u64) -> &'static str {
        let counts = self.counts;
        let parts = [
            (1, "header"),
            (counts.refcount_table, "refcount table"),
            (counts.refcount_blocks, "refcount blocks"),
            (counts.l1, "L1 table"),
            (counts.l2, "L2 tables"),
        ];
        let mut end = 0;
        let found = parts.iter().find(|(clusters, _)| {
            end += clusters * CLUSTER;
            offset < end
        });
        found.map_or("data", |(_, part)| part)
    }

    fn header(&self, l1: u64) -> Vec<u8> {
        let fields = [
            &MAGIC[..],
            &3u32.to_be_bytes(),
            // No backing file.
            &[0; 12],
            &CLUSTER.trailing_zeros().to_be_bytes(),
            &self.length.to_be_bytes(),
            // No encryption.
            &[0; 4],
            &(self.tables.len() as u32).to_be_bytes(),
            &(l1 * CLUSTER).to_be_bytes(),
            &CLUSTER.to_be_bytes(),
            &(self.counts.refcount_table as u32).to_be_bytes(),
            // No snapshots, and no incompatible, compatible or autoclear features.
            &[0; 36],
            // Reference counts of 1 << 4 bits.
            &4u32.to_be_bytes(),
            &(HEADER as u32).to_be_bytes(),
        ];
        fields.concat()
    }
}

/// Tells whether a guest's disk can have this length.
pub(super) fn valid(length: u64) -> bool {
    length.is_multiple_of(512) && (512..=limit::DISK_BYTES).contains(&length)
}

/// Appends a table: an entry for each flag, for clusters from `next` on; returns the cluster after the last.
fn entries(head: &mut Vec<u8>, flags: &[bool], mut next: u64) -> u64 {
    for flag in flags {
        let entry = if *flag { COPIED | (next * CLUSTER) } else { 0 };
        next += u64::from(*flag);
        head.extend_from_slice(&entry.to_be_bytes());
    }
    next
}
