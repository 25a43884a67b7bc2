//! Finished images that were changed: each is refused, and the refusal names the owner of the byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use common::images::numbers;
use common::node::{Answer, Node, flip};
use imgkit::disk::extents::{Extent, Owner};
use imgkit::disk::locator::{self, Locator};
use imgkit::format::qcow2;
use rayon::prelude::*;

/// How many bits of the raw disk and of the qcow2 are flipped, one at a time.
const FLIPS: [usize; 2] = [2000, 400];

const RAW: &str = "out/node-bios.img";

const QCOW2: &str = "out/node.qcow2";

/// Length of the fields in a qcow2's header.
const HEADER: usize = 104;

/// Where a qcow2's header has the length of the guest's disk.
const LENGTH: Range<usize> = 24..32;

/// A bit that is flipped, and how the refusal has to name it.
struct Flip {
    at: usize,
    /// What the refusal is about, without the disk's name.
    owner: String,
    /// Where the byte that it names has to lie; `None` where no byte can be found.
    byte: Option<Range<u64>>,
}

impl Flip {
    /// A flip of the byte at `at` of the file, which is the guest's byte `guest`.
    fn of_guest(at: usize, guest: u64, extents: &[Extent]) -> Self {
        let extent = extents.iter().rfind(|extent| extent.offset <= guest).unwrap();
        Self {
            at,
            owner: extent.owner.to_string(),
            // A seal is signed as a whole.
            byte: (extent.owner != Owner::Seal).then_some(guest..guest + 1),
        }
    }

    /// Asserts that an answer refuses `image` for this flip alone.
    fn check(&self, image: &str, answer: &Answer) {
        let refusals = answer.json["refusals"].as_array().cloned().unwrap_or_default();
        let subject = format!("{} of {image}", self.owner);
        let context = format!("byte {} of {subject}: {}", self.at, answer.json);
        assert_eq!(answer.code, 1, "{context}");
        assert_eq!(refusals.len(), 1, "{context}");
        assert_eq!(refusals[0]["subject"], subject, "{context}");
        match (&self.byte, refusals[0]["byte"].as_u64()) {
            (Some(range), Some(byte)) => assert!(range.contains(&byte), "{context}"),
            (Some(_), None) => panic!("no byte: {context}"),
            (None, byte) => assert_eq!(byte, None, "{context}"),
        }
    }
}

/// Flips bits of copies of a disk and shows each to the binary; the disk itself is accepted before and after.
fn check_flips(node: &Node, disk: &str, ending: &str, flips: &[Flip]) {
    assert_eq!(node.verify_files(disk).code, 0, "the twin {disk}");
    let share = flips.len().div_ceil(rayon::current_num_threads());
    flips.par_chunks(share).enumerate().for_each(|(number, flips)| {
        let copy = format!("copy-{number}.{ending}");
        fs::copy(node.path(disk), node.path(&copy)).unwrap();
        let file = File::options().read(true).write(true).open(node.path(&copy)).unwrap();
        for change in flips {
            let toggle = || {
                let mut byte = [0];
                file.read_exact_at(&mut byte, change.at as u64).unwrap();
                file.write_all_at(&[byte[0] ^ 1 << (change.at % 8)], change.at as u64)
                    .unwrap();
            };
            toggle();
            change.check(&copy, &node.verify_files(&copy));
            toggle();
        }
        assert_eq!(node.verify_files(&copy).code, 0, "the twin {copy}");
    });
}

#[test]
fn every_flipped_bit_of_a_raw_disk_is_refused_by_its_owners_name() {
    let node = Node::new();
    node.build_sealed("out");
    let extents = node.extents(RAW);
    let disk = fs::read(node.path(RAW)).unwrap();
    let seal = extents.iter().find(|extent| extent.owner == Owner::Seal).unwrap();
    let seal = usize::try_from(seal.offset).unwrap();
    let sealed = disk[seal..].iter().rposition(|byte| *byte != 0).unwrap();
    // The first and the last of every extent, some of the seal's own, and as many as asked, half over the extents, half over the disk.
    let ends = extents
        .iter()
        .flat_map(|extent| [extent.offset, extent.offset + extent.length - 1]);
    let ends = ends.map(|at| usize::try_from(at).unwrap());
    let header = (0..40).map(|at| seal + at);
    let in_seal = numbers(7, 160).into_iter().map(|number| seal + number % sealed);
    let random = numbers(9, FLIPS[0])
        .into_iter()
        .enumerate()
        .map(|(at, number)| match at % 2 {
            0 => number % disk.len(),
            _ => {
                let extent = &extents[at / 2 % extents.len()];
                usize::try_from(extent.offset).unwrap() + number % usize::try_from(extent.length).unwrap()
            }
        });
    let places = ends.chain(header).chain(in_seal).chain(random);
    let flips: Vec<Flip> = places.map(|at| Flip::of_guest(at, at as u64, &extents)).collect();
    check_flips(&node, RAW, "img", &flips);
}

#[test]
fn every_flipped_bit_of_a_qcow2_is_refused_by_its_owners_name() {
    let node = Node::new();
    node.build_sealed("out");
    let extents = node.extents(RAW);
    let file = fs::read(node.path(QCOW2)).unwrap();
    let guest = qcow2::Guest::open(Arc::new(file.clone())).unwrap();
    let cluster = usize::try_from(qcow2::CLUSTER).unwrap();
    // Header, refcount table, refcount block, L1 table, L2 table: every byte that says something, and the first that do not.
    let head = (0..5 * cluster).filter(|at| *at < HEADER + 8 || file[*at] != 0 || at % cluster < 8);
    let head = head.filter(|at| !LENGTH.contains(at));
    let random = numbers(11, FLIPS[1]).into_iter().map(|number| number % file.len());
    let flips: Vec<Flip> = head
        .chain(random)
        .take(FLIPS[1])
        .map(|at| match guest.guest_offset(at as u64) {
            Some(guest) => Flip::of_guest(at, guest, &extents),
            None => Flip {
                at,
                owner: "qcow2 container".into(),
                byte: Some(at as u64 / 8 * 8..at as u64 / 8 * 8 + 8),
            },
        })
        .collect();
    assert_eq!(flips.len(), FLIPS[1]);
    check_flips(&node, QCOW2, "qcow2", &flips);
    // Another length is another disk, often in a container that is as good.
    for bit in 0..LENGTH.len() * 8 {
        flip(&node.path(QCOW2), LENGTH.start + bit / 8, (bit % 8) as u8);
        let answer = node.verify_files(QCOW2);
        flip(&node.path(QCOW2), LENGTH.start + bit / 8, (bit % 8) as u8);
        let named = ["length of out/node.qcow2", "qcow2 container of out/node.qcow2"];
        let subjects = answer.subjects();
        assert!(
            answer.code == 1 && subjects.len() == 1 && named.contains(&subjects[0]),
            "bit {bit}: {}",
            answer.json
        );
    }
}

#[test]
fn disks_that_are_cut_lengthened_or_given_another_seal_are_refused_by_what_is_wrong() {
    let node = Node::new();
    node.build_sealed("out");
    let (good, extents) = (fs::read(node.path(RAW)).unwrap(), node.extents(RAW));
    let seal = extents.iter().find(|extent| extent.owner == Owner::Seal).unwrap();
    let (from, to) = (seal.offset as usize, (seal.offset + seal.length) as usize);
    let is_generated = |extent: &&Extent| extent.owner.to_string().ends_with("of generated files");
    let generated = extents.iter().find(is_generated).unwrap();
    node.edit("node.yml", "contents: node", "contents: other");
    node.build_sealed("other");
    let other = fs::read(node.path("other/node-bios.img")).unwrap();
    let with_seal = |at: usize, bytes: &[u8]| [&good[..at], bytes, &good[at + bytes.len()..]].concat();
    let moved_to = to + (512 << 10);
    let locator = Locator {
        offset: moved_to as u64,
        length: seal.length,
    };
    let mut moved = with_seal(moved_to, &good[from..to]);
    moved[locator::OFFSET as usize..][..locator::LENGTH].copy_from_slice(&locator.encode());
    let longer = [good.clone(), vec![0; 1 << 20]].concat();
    for (what, bytes, subject, byte) in [
        ("cut", good[..good.len() - 4096].to_vec(), "length", None),
        (
            "cut before the seal",
            good[..from].to_vec(),
            "seal locator",
            Some(locator::OFFSET),
        ),
        ("longer", longer, "length", None),
        (
            "swapped",
            with_seal(from, &other[from..to]),
            "initrd segment of generated files",
            Some(generated.offset),
        ),
        ("without a seal", with_seal(from, &vec![0; to - from]), "seal", None),
        ("moved", moved, "seal locator", Some(locator::OFFSET + 26)),
        ("empty", Vec::new(), "length", None),
    ] {
        fs::write(node.path("bad.img"), bytes).unwrap();
        let answer = node.verify_files("bad.img");
        let found = answer.json["refusals"][0]["byte"].as_u64();
        assert_eq!(
            (answer.code, answer.subjects()),
            (1, vec![format!("{subject} of bad.img").as_str()]),
            "{what}: {}",
            answer.json
        );
        assert_eq!(found, byte, "{what}: {}", answer.json);
    }
}

#[test]
fn an_older_epoch_is_refused_once_a_newer_one_was_seen() {
    let node = Node::new();
    let key = node.seal_key().display().to_string();
    for epoch in ["1", "2"] {
        let more = ["--format", "raw-bios", "--seal-key", &key, "--epoch", epoch];
        node.good(&Node::build_args(epoch, &more));
    }
    let verify = |image: &str| node.run(&["verify", "--policy", "policy.yml", "--state", "state", image]);
    assert_eq!(verify("1/node-bios.img").code, 0);
    assert_eq!(verify("2/node-bios.img").code, 0);
    let answer = verify("1/node-bios.img");
    assert_eq!((answer.code, answer.codes()), (1, vec!["EPOCH"]), "{}", answer.json);
}
