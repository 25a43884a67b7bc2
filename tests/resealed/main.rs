//! Disks that somebody changed and sealed again with the valid seal key: each is refused, by its owner's name.
//!
//! The seal vouches for the whole; what its components are is said by their own signers, and nobody with the seal key alone can
//! say otherwise (law of the gate 2).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod boot;
mod segments;
mod statement;

use std::fs;

use common::forge::{Forge, Unpacked};
use common::images::noise;
use common::node::{Answer, Node};
use imgkit::disk::extents::{Extent, Owner};
use rayon::prelude::*;

const DISK: &str = "out/node-bios.img";

const SVC: &str = "svc:v1 (services[0])";
const ROOT: &str = "init:v1 (init[0])";
const INIT: &str = "init:v1 (init)";
const XATTRS: &str = "xattrs";
const GENERATED: &str = "generated files";

/// What was done, what the refusals have to be about (`@` stands for the disk, ` + ` between two), and how it is done.
type Case = (&'static str, &'static str, fn(&mut Forge));

const OF_SVC: &str = "initrd segment of local.test/svc:v1 (services[0]) of @";
const OF_ROOT: &str = "initrd segment of local.test/init:v1 (init[0]) of @";
const OF_INIT: &str = "initrd segment of local.test/init:v1 (init) of @";
const OF_XATTRS: &str = "initrd segment of xattrs of @";
const OF_GENERATED: &str = "initrd segment of generated files of @";
const OF_BOTH: &str =
    "initrd segment of local.test/init:v1 (init[0]) of @ + initrd segment of local.test/svc:v1 (services[0]) of @";
const OF_BOOT: &str = "boot code of local.test/boot:v1 of @";
const OF_SEAL: &str = "seal of @";

/// An archive with every kind of entry that a segment can hold.
fn root() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header
    };
    let mut file = |path, content: &[u8]| {
        let mut header = header(tar::EntryType::Regular, 0o755, content.len() as u64);
        archive.append_data(&mut header, path, content).unwrap();
    };
    file("init", &noise(4, 30_000));
    file("etc/motd", b"hello");
    file("opt/again", b"tool");
    for (kind, path, target) in [
        (tar::EntryType::Link, "opt/tool", "opt/again"),
        (tar::EntryType::Symlink, "opt/link", "tool"),
    ] {
        archive.append_link(&mut header(kind, 0o777, 0), path, target).unwrap();
    }
    let mut device = header(tar::EntryType::Char, 0o666, 0);
    device.set_device_major(1).unwrap();
    device.set_device_minor(3).unwrap();
    archive.append_data(&mut device, "opt/null", &b""[..]).unwrap();
    archive
        .append_pax_extensions([("SCHILY.xattr.security.capability", &[1, 2][..])])
        .unwrap();
    archive
        .append_data(&mut header(tar::EntryType::Regular, 0o755, 1), "opt/capable", &b"c"[..])
        .unwrap();
    archive.into_inner().unwrap()
}

fn node() -> (Node, Vec<u8>, Vec<Extent>) {
    let node = Node::new();
    node.sign_component("init", &root());
    node.build_sealed("out");
    let disk = fs::read(node.path(DISK)).unwrap();
    let extents = node.extents(DISK);
    assert!(
        extents
            .iter()
            .any(|extent| matches!(&extent.owner, Owner::Segment { component } if component == XATTRS))
    );
    (node, disk, extents)
}

/// Makes and verifies each case's disk, and reports all that end otherwise than they should.
fn check(node: &Node, forge: &Forge, cases: &[Case]) {
    let key = node.opened_seal_key();
    let wrong = cases
        .par_iter()
        .enumerate()
        .filter_map(|(number, (what, subject, change))| {
            let mut forge = forge.clone();
            change(&mut forge);
            let image = format!("{number}.img");
            fs::write(node.path(&image), forge.seal(&key)).unwrap();
            let subject = subject.replace('@', &image);
            // The policy says `proved: true`, so both ways unpack everything.
            let answers = [node.verify_files(&image), node.verify(&image)];
            fs::remove_file(node.path(&image)).unwrap();
            // A document's digest may stand behind its component's name.
            let names = |answer: &&Answer| answer.code == 1 && answer.subjects().join(" + ").starts_with(&subject);
            let wrong = answers.iter().find(|answer| !names(answer));
            wrong.map(|answer| format!("{what}, expected {subject}: {}\n", answer.json))
        });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn fifty_disks_with_another_content_are_refused_by_its_owners_name() {
    let (node, disk, extents) = node();
    let forge = Forge::of(&disk, &extents);
    let all = [segments::IN_SEGMENTS, segments::OF_SEGMENTS, boot::OF_BOOT_FILES];
    assert!(all.iter().map(|cases| cases.len()).sum::<usize>() >= 50);
    all.iter().for_each(|cases| check(&node, &forge, cases));
}

#[test]
fn disks_whose_seal_says_what_is_not_so_are_refused_by_its_subject() {
    let (node, disk, extents) = node();
    check(&node, &Forge::of(&disk, &extents), statement::OF_STATEMENTS);
}

#[test]
fn a_segment_of_another_nodes_component_is_refused() {
    let (node, disk, extents) = node();
    let other = Node::new();
    other.component("svc", &[("bin/app", &noise(9, 60_000))]);
    other.good(&["trust", "sign", "--at", common::node::NOW, "local.test/svc:v1"]);
    other.build_sealed("out");
    let theirs = fs::read(other.path(DISK)).unwrap();
    let mut theirs = Forge::of(&theirs, &other.extents(DISK));
    let mut forge = Forge::of(&disk, &extents);
    *forge.segment(SVC) = theirs.segment(SVC).clone();
    fs::write(node.path("bad.img"), forge.seal(&node.opened_seal_key())).unwrap();
    let answer = node.verify("bad.img");
    assert_eq!(
        (answer.code, answer.subjects()),
        (1, vec![OF_SVC.replace('@', "bad.img").as_str()]),
        "{}",
        answer.json
    );
}

#[test]
fn what_is_sealed_again_without_a_change_is_accepted() {
    let (node, disk, extents) = node();
    let (forge, key) = (Forge::of(&disk, &extents), node.opened_seal_key());
    assert!(forge.clone().seal(&key) == disk, "the same parts make the same disk");
    // Packed at another level is another disk of the same trees: they are what is signed.
    let mut recompressed = forge.clone();
    let segment = recompressed.segment(SVC);
    *segment = Unpacked::of(segment).pack(1);
    assert_ne!(segment, forge.clone().segment(SVC));
    fs::write(node.path("good.img"), recompressed.seal(&key)).unwrap();
    let answer = node.verify_files("good.img");
    assert_eq!(answer.code, 0, "{}", answer.json);
    assert_eq!(answer.json["result"]["proved"], 4);
}
