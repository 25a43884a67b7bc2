//! Finished images that were changed: each is refused, and the refusal names the owner of the byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use common::images::noise;
use common::node::{NOW, Node, flip};
use imgkit::failure::{Failure, Refusal};
use imgkit::policy::Policy;
use imgkit::verify::Question;
use imgkit::verify::disk::disk;
use rayon::prelude::*;

/// How many random bits of the raw disk are flipped, one at a time.
const FLIPS: usize = 2000;

/// Verifies a disk in this process.
fn refusals(policy: &Policy, pins: &BTreeMap<String, Vec<u8>>, bytes: Vec<u8>) -> Vec<Refusal> {
    let question = Question {
        subject: "disk.img",
        policy,
        pins,
        now: NOW.parse().unwrap(),
        files: true,
        memory: None,
    };
    match disk(&question, Arc::new(bytes)) {
        Ok(_) => Vec::new(),
        Err(Failure::Refused(refusals)) => refusals,
        Err(other) => panic!("not a verdict: {other}"),
    }
}

#[test]
fn every_flipped_bit_of_a_disk_is_refused_by_its_owners_name() {
    let node = Node::new();
    node.build_sealed("out");
    let report = node.verify("out/node-bios.img").json["result"].clone();
    let policy = Policy::parse("policy.yml", &fs::read(node.path("policy.yml")).unwrap()).unwrap();
    let pins = BTreeMap::from([(
        "platform".to_owned(),
        fs::read(node.path("keys/platform/root.json")).unwrap(),
    )]);
    let original = fs::read(node.path("out/node-bios.img")).unwrap();
    assert!(
        refusals(&policy, &pins, original.clone()).is_empty(),
        "the twin is accepted"
    );

    let extents: Vec<(usize, usize, String)> = report["extents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|extent| {
            let number = |name: &str| usize::try_from(extent[name].as_u64().unwrap()).unwrap();
            let owner = &extent["owner"];
            let name = match owner["kind"].as_str().unwrap() {
                "bootCode" | "segment" => owner["component"].as_str().unwrap(),
                "file" => owner["name"].as_str().unwrap(),
                "fileSystem" => "file system",
                "locator" => "",
                "partitionTable" => "partition table",
                other => other,
            };
            (number("offset"), number("length"), name.to_owned())
        })
        .collect();
    let random = noise(7, FLIPS * 8);
    let random = random
        .as_chunks::<8>()
        .0
        .iter()
        .map(|chunk| usize::try_from(u64::from_le_bytes(*chunk) >> 3).unwrap());
    let one_in_each = extents.iter().map(|(offset, length, _)| offset + length / 2);
    let positions: Vec<usize> = one_in_each
        .chain(random)
        .map(|at| at % original.len())
        .take(FLIPS)
        .collect();
    positions.par_iter().for_each(|at| {
        let mut changed = original.clone();
        changed[*at] ^= 1 << (at % 8);
        let refused = refusals(&policy, &pins, changed);
        let (.., owner) = extents.iter().rfind(|(offset, ..)| offset <= at).unwrap();
        assert!(!refused.is_empty(), "byte {at} of {owner}");
        let named = refused
            .iter()
            .any(|refusal| refusal.subject.contains(owner.as_str()) || refusal.found.contains("locator"));
        assert!(named, "byte {at} belongs to {owner}: {refused:?}");
    });
}

#[test]
fn flips_through_the_binary_are_refusals_in_every_format() {
    let node = Node::new();
    node.build_sealed("out");
    for (image, file) in [
        ("out/node.qcow2", "out/node.qcow2"),
        ("out/node-bios.img", "out/node-bios.img"),
        ("out/node.seal", "out/node-initrd.img"),
        ("out/node.seal", "out/node-kernel"),
        ("out/node.seal", "out/node-cmdline"),
        ("out/node.seal", "out/node.seal"),
        ("out/node.tar.seal", "out/node.tar"),
    ] {
        assert_eq!(node.verify(image).code, 0, "the twin {image}");
        let path = node.path(file);
        let length = fs::metadata(&path).unwrap().len();
        for (number, chunk) in noise(9, 10 * 8).as_chunks::<8>().0.iter().enumerate() {
            let at = usize::try_from(u64::from_le_bytes(*chunk) % length).unwrap();
            flip(&path, at, u8::try_from(number % 8).unwrap());
            let answer = node.verify(image);
            assert_eq!(answer.code, 1, "{file}, byte {at}: {}", answer.json);
            flip(&path, at, u8::try_from(number % 8).unwrap());
        }
    }
}

#[test]
fn disks_that_are_cut_lengthened_or_given_another_seal_are_refused() {
    let node = Node::new();
    node.build_sealed("out");
    let good = fs::read(node.path("out/node-bios.img")).unwrap();
    let place = node.verify("out/node-bios.img").json["result"]["extents"]
        .as_array()
        .unwrap()
        .iter()
        .find(|extent| extent["owner"]["kind"] == "seal")
        .cloned()
        .unwrap();
    node.edit("node.yml", "contents: node", "contents: other");
    node.build_sealed("other");
    let other = fs::read(node.path("other/node-bios.img")).unwrap();
    let (from, length) = (
        place["offset"].as_u64().unwrap() as usize,
        place["length"].as_u64().unwrap() as usize,
    );
    let mut swapped = good.clone();
    swapped[from..from + length].copy_from_slice(&other[from..from + length]);
    let longer = [good.clone(), vec![0; 1 << 20]].concat();
    for (what, bytes) in [
        ("cut", good[..good.len() - 4096].to_vec()),
        ("longer", longer),
        ("swapped", swapped),
        ("empty", Vec::new()),
    ] {
        fs::write(node.path("bad.img"), bytes).unwrap();
        let answer = node.verify("bad.img");
        assert_eq!(answer.code, 1, "{what}: {}", answer.json);
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

#[test]
fn a_set_of_files_is_whole_or_refused() {
    let node = Node::new();
    node.build_sealed("out");
    let moved = node.path("out/kept");
    fs::rename(node.path("out/node-initrd.img"), &moved).unwrap();
    assert_eq!(node.verify("out/node.seal").code, 1);
    fs::rename(moved, node.path("out/node-initrd.img")).unwrap();
    assert_eq!(node.verify("out/node.seal").code, 0);
}
