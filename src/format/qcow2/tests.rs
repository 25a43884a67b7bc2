#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::io;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::disk::merkle::Merkle;
use crate::disk::{ReadAt, Stream};

fn write(disk: &dyn ReadAt) -> Vec<u8> {
    let layout = Layout::of(disk).unwrap();
    let mut file = Vec::new();
    layout.write(disk, &mut file).unwrap();
    assert_eq!(file.len() as u64, layout.file_length());
    file
}

fn open(file: Vec<u8>) -> Result<Guest, QcowError> {
    Guest::open(Arc::new(file))
}

fn bytes(disk: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = Vec::new();
    io::copy(&mut Stream::new(disk), &mut bytes).unwrap();
    bytes
}

/// A disk with data in its clusters 0, 3, 4 and 9, and not a whole number of clusters.
fn sample() -> Vec<u8> {
    let mut disk = vec![0; 9 * CLUSTER as usize + 1536];
    for (cluster, at) in [(0, 0), (3, 65_535), (4, 4096), (9, 1535)] {
        disk[cluster * CLUSTER as usize + at] = 7;
    }
    disk
}

#[test]
fn the_guest_sees_the_disk_and_the_bytes_are_pinned() {
    let disk = sample();
    let file = write(&disk);
    assert_eq!(file.len() as u64, (5 + 4) * CLUSTER);
    assert_eq!(
        Digest::sha256(&file).to_string(),
        "sha256:0f4fb74521c56c60555053d4504af6127f6c73cde482cc1b07cb61a020c8667b"
    );
    let guest = open(file).unwrap();
    assert_eq!(bytes(&guest), disk);
    assert_eq!(Merkle::of(&guest, 0..0).unwrap(), Merkle::of(&disk, 0..0).unwrap());
    assert_eq!(guest.guest_offset(6 * CLUSTER + 5), Some(3 * CLUSTER + 5));
    assert_eq!(guest.guest_offset(4 * CLUSTER + 5), None);
}

#[test]
fn disks_without_data_have_tables_only() {
    for length in [512, 3 * CLUSTER as usize] {
        let disk = vec![0; length];
        let file = write(&disk);
        assert_eq!(file.len() as u64, 4 * CLUSTER);
        assert_eq!(bytes(&open(file).unwrap()), disk);
    }
}

#[test]
fn every_flipped_bit_outside_the_guests_clusters_is_refused_with_its_place() {
    let disk = sample();
    let mut file = write(&disk);
    let length = file.len();
    // Every bit that means something, and a bit of every 997th byte of the rest.
    let full = [
        0..256,
        65_536..65_560,
        131_072..131_100,
        196_608..196_640,
        262_144..262_240,
    ];
    let some = (0..5 * CLUSTER as usize).step_by(997).map(|at| at..at + 1);
    let behind = 8 * CLUSTER as usize + 1536..length;
    // Byte 27 makes disks of 4 GiB and more, whose tables take long in a test.
    let bytes = full.into_iter().chain(some).flatten().chain(behind.step_by(613));
    for at in bytes.filter(|at| *at != 27) {
        let bits = if at < 120 { 0..8 } else { at % 8..at % 8 + 1 };
        for bit in bits {
            file[at] ^= 1 << bit;
            match open(file.clone()) {
                // The length is the guest's: another one is another disk.
                Ok(guest) => assert!(
                    (24..32).contains(&at) && guest.len() != disk.len() as u64,
                    "byte {at}, bit {bit}"
                ),
                // A number is named by its first byte; with another length, what no longer fits is.
                Err(error) => assert!(
                    error
                        .offset()
                        .is_none_or(|offset| offset as usize / 8 == at / 8 || (24..32).contains(&at)),
                    "byte {at}, bit {bit}: {error}"
                ),
            }
            file[at] ^= 1 << bit;
        }
    }
    open(file).unwrap();
}

#[test]
fn a_flipped_bit_of_the_guest_is_the_guests() {
    let disk = sample();
    let good = Merkle::of(&disk, 0..0).unwrap().content();
    let file = write(&disk);
    for at in (5 * CLUSTER..8 * CLUSTER + 1536).step_by(4999) {
        let mut bad = file.clone();
        bad[at as usize] ^= 0x20;
        let guest = open(bad).unwrap();
        assert_ne!(Merkle::of(&guest, 0..0).unwrap().content(), good, "{at}");
        let seen = guest.guest_offset(at).unwrap();
        assert_ne!(bytes(&guest)[seen as usize], disk[seen as usize]);
    }
}

/// Puts a number into a container, most significant byte first.
fn put(file: &mut [u8], at: usize, number: u64, length: usize) {
    file[at..at + length].copy_from_slice(&number.to_be_bytes()[8 - length..]);
}

#[test]
fn refuses_everything_that_hides_or_refers_elsewhere() {
    let good = write(&sample());
    let l2 = 4 * CLUSTER as usize;
    let data = 5 * CLUSTER;
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let number = |at, number, length| -> Change { Box::new(move |file| put(file, at, number, length)) };
    for (why, change) in [
        ("a backing file", number(8, 200, 8)),
        ("the length of a backing file's name", number(16, 1, 4)),
        ("encryption", number(32, 2, 4)),
        ("a snapshot", number(60, 1, 4)),
        ("a place of snapshots", number(64, CLUSTER, 8)),
        ("an external data file", number(72, 4, 8)),
        ("zstd", number(72, 8, 8)),
        ("extended L2 entries", number(72, 16, 8)),
        ("an unknown feature", number(72, 1 << 40, 8)),
        ("lazy refcounts", number(80, 1, 8)),
        ("bitmaps", number(88, 1, 8)),
        ("version 2", number(4, 2, 4)),
        ("other clusters", number(20, 17, 4)),
        ("wider reference counts", number(96, 5, 4)),
        ("a longer header", number(100, 112, 4)),
        ("an extension", number(104, 0x6803_f857, 4)),
        ("a shorter disk", number(24, 9 * CLUSTER, 8)),
        ("no disk", number(24, 0, 8)),
        ("a huge disk", number(24, 1 << 62, 8)),
        ("an L1 table beyond the end", number(40, 1 << 50, 8)),
        ("an L1 table that overlaps the header", number(40, 0, 8)),
        (
            "an L2 table beyond the end",
            number(3 * CLUSTER as usize, COPIED | (1 << 50), 8),
        ),
        ("a cluster twice", number(l2 + 24, COPIED | data, 8)),
        (
            "clusters in another order",
            Box::new(move |file| {
                put(file, l2, COPIED | (data + CLUSTER), 8);
                put(file, l2 + 24, COPIED | data, 8);
            }),
        ),
        ("a compressed cluster", number(l2, COPIED | COMPRESSED | data, 8)),
        ("a cluster marked as zeros", number(l2, COPIED | data | 1, 8)),
        ("a reference count of 2", number(2 * CLUSTER as usize + 10, 2, 2)),
        ("a cluster that nothing refers to", number(l2 + 24, 0, 8)),
        ("trailing bytes", Box::new(|file| file.push(0))),
        (
            "a trailing cluster",
            Box::new(|file| file.resize(file.len() + CLUSTER as usize, 0)),
        ),
        ("a cut", Box::new(|file| file.truncate(file.len() - 1))),
        (
            "a cut after the tables",
            Box::new(|file| file.truncate(5 * CLUSTER as usize)),
        ),
        ("a cut header", Box::new(|file| file.truncate(100))),
        ("nothing", Box::new(|file| file.clear())),
        (
            "a stored cluster of zeros",
            Box::new(move |file| file[data as usize..][..CLUSTER as usize].fill(0)),
        ),
    ] {
        let mut file = good.clone();
        change(&mut file);
        assert_ne!(file, good, "{why}");
        assert!(open(file).is_err(), "{why}");
    }
}

#[test]
fn an_error_names_the_part() {
    let mut file = write(&sample());
    file[CLUSTER as usize + 100] = 1;
    let error = open(file).err().unwrap();
    let expected = "the byte at 65636 of the container (refcount table)";
    assert!(error.to_string().contains(expected), "{error}");
}

/// A large disk with one byte in each of a few clusters.
struct Sparse(u64, Vec<u64>);

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        buffer.fill(0);
        for at in &self.1 {
            let at = at.checked_sub(offset).and_then(|at| buffer.get_mut(at as usize));
            at.into_iter().for_each(|byte| *byte = 1);
        }
        Ok(())
    }
}

#[test]
fn zero_runs_of_512_mib_have_no_table() {
    let disk = Sparse(2 << 30, vec![5, (1 << 30) + 70_000, (2 << 30) - 1]);
    let file = write(&disk);
    assert_eq!(file.len() as u64, (4 + 3 + 3) * CLUSTER);
    let guest = open(file).unwrap();
    let mut byte = [0];
    for at in [5, (1 << 30) + 70_000, (2 << 30) - 1] {
        guest.read_exact_at(&mut byte, at).unwrap();
        assert_eq!(byte, [1]);
        guest.read_exact_at(&mut byte, at - 1).unwrap();
        assert_eq!(byte, [0]);
    }
    assert!(guest.read_exact_at(&mut byte, 2 << 30).is_err());
}

#[test]
fn refuses_lengths_that_a_disk_cannot_have() {
    assert!(Layout::of(&Vec::new()).is_err());
    assert!(Layout::of(&vec![0; 100]).is_err());
    assert!(Layout::of(&Sparse((256 << 30) + 512, Vec::new())).is_err());
}

#[test]
fn tables_count_themselves_at_every_size() {
    // Around the sizes where one more refcount block is needed.
    for data in [32_700u64, 32_760, 32_761, 32_762, 32_763, 32_764, 65_520, 65_530] {
        let layout = Layout::new(data * CLUSTER, vec![true; data as usize]);
        let clusters = layout.file_length() / CLUSTER;
        let head = layout.head();
        let counted = head
            .chunks(2)
            .skip(2 * CLUSTER as usize / 2)
            .take_while(|count| *count == [0, 1])
            .count();
        assert_eq!(counted as u64, clusters, "{data}");
        assert_eq!(head.len() as u64, (clusters - data) * CLUSTER);
        let l1 = u64::from_be_bytes(head[40..48].try_into().unwrap());
        assert_eq!(Layout::l1_of(layout.file_length()), l1, "{data}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_disk_comes_out_again(
        sectors in 1..2000usize,
        marks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        reads in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
    ) {
        let mut disk = vec![0; sectors * 512];
        for (at, byte) in marks {
            let at = at.index(disk.len());
            disk[at] = byte;
        }
        let guest = open(write(&disk)).unwrap();
        prop_assert_eq!(bytes(&guest), disk.clone());
        for (start, end) in reads {
            let (start, end) = (start.index(disk.len() + 1), end.index(disk.len() + 1));
            let mut found = vec![9; end.saturating_sub(start)];
            guest.read_exact_at(&mut found, start as u64).unwrap();
            prop_assert_eq!(&found[..], disk.get(start..end).unwrap_or_default());
        }
    }

    #[test]
    fn noise_in_the_header_and_tables_is_an_error_never_a_panic(
        changes in prop::collection::vec((0..5 * CLUSTER as usize, any::<u64>()), 1..5),
    ) {
        let mut file = write(&sample());
        for (at, number) in changes {
            // Often where it means something.
            let at = if number % 3 == 0 { at } else { at / CLUSTER as usize * CLUSTER as usize + at % 112 };
            put(&mut file, at.min(5 * CLUSTER as usize - 8), number, 8);
        }
        if let Ok(guest) = open(file.clone()) {
            prop_assert_eq!(write(&guest), file);
        }
    }
}
