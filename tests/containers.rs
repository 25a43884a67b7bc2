//! Containers that hide something, or that another program would read otherwise: refused, with what is wrong and where
//! (law of the disk 7).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::process::Command;

use common::node::Node;

const QCOW2: &str = "out/node.qcow2";

/// Runs qemu-img in the node's directory.
fn qemu_img(node: &Node, args: &[&str]) {
    common::succeed(Command::new("qemu-img").args(args).current_dir(node.path(".")));
}

/// Asserts that `image` is refused as a container, with `found` in what was found, at a byte of the container if one is given.
fn refused(node: &Node, image: &str, format: &str, found: &str, byte: Option<u64>) {
    let answer = node.verify(image);
    let refusal = &answer.json["refusals"][0];
    let subject = format!("{format} container of {image}");
    assert_eq!((answer.code, answer.codes()), (1, vec!["MALFORMED"]), "{}", answer.json);
    assert_eq!(answer.subjects(), [subject], "{}", answer.json);
    assert!(refusal["found"].as_str().unwrap().contains(found), "{found}: {refusal}");
    assert_eq!(refusal["byte"].as_u64(), byte, "{found}: {refusal}");
}

#[test]
fn qcow2_files_that_qemu_made_otherwise_are_refused_with_the_feature() {
    let node = Node::new();
    node.build_sealed("out");
    assert_eq!(node.verify(QCOW2).code, 0);
    let create = ["create", "-q", "-f", "qcow2"];
    for (name, args, found, byte) in [
        (
            "backing",
            &["-b", "out/node-bios.img", "-F", "raw", "backing.qcow2"][..],
            "a backing file",
            14,
        ),
        (
            "data",
            &["-o", "data_file=data.raw", "data.qcow2", "18M"],
            "an external data file",
            79,
        ),
        (
            "encrypted",
            &[
                "--object",
                "secret,id=s,data=open",
                "-o",
                "encrypt.format=aes,encrypt.key-secret=s",
                "encrypted.qcow2",
                "18M",
            ],
            "it is encrypted",
            35,
        ),
        (
            "extended",
            &["-o", "extended_l2=on,cluster_size=128k", "extended.qcow2", "18M"],
            "incompatible features",
            79,
        ),
        (
            "lazy",
            &["-o", "lazy_refcounts=on", "lazy.qcow2", "18M"],
            "features that this version does not know",
            87,
        ),
        (
            "wide",
            &["-o", "refcount_bits=64", "wide.qcow2", "18M"],
            "reference counts do not have 16 bits",
            99,
        ),
        (
            "small",
            &["-o", "cluster_size=4k", "small.qcow2", "18M"],
            "clusters do not have 64 KiB",
            23,
        ),
    ] {
        qemu_img(&node, &[&create[..], args].concat());
        refused(&node, &format!("{name}.qcow2"), "qcow2", found, Some(byte));
    }
    qemu_img(
        &node,
        &["create", "-q", "-f", "qcow2", "-o", "compat=0.10", "old.qcow2", "18M"],
    );
    refused(&node, "old.qcow2", "qcow2", "not a qcow2 file of version 3", Some(0));
    for (name, args) in [("plain", &[][..]), ("packed", &["-c"])] {
        let image = format!("{name}.qcow2");
        qemu_img(
            &node,
            &[&["convert", "-O", "qcow2"], args, &["out/node-bios.img", &image]].concat(),
        );
        refused(&node, &image, "qcow2", "additional fields", Some(103));
    }
    fs::copy(node.path(QCOW2), node.path("snapshot.qcow2")).unwrap();
    qemu_img(&node, &["snapshot", "-c", "before", "snapshot.qcow2"]);
    refused(&node, "snapshot.qcow2", "qcow2", "it has snapshots", Some(63));
}

#[test]
fn a_qcow2_whose_header_was_edited_is_refused_with_the_field() {
    let node = Node::new();
    node.build_sealed("out");
    let good = fs::read(node.path(QCOW2)).unwrap();
    for (at, value, found) in [
        (15, 200, "a backing file"),
        (35, 1, "it is encrypted"),
        (63, 1, "it has snapshots"),
        (79, 1, "incompatible features"),
        (79, 2, "incompatible features"),
        (79, 4, "an external data file"),
        (73, 128, "incompatible features"),
        (87, 1, "features that this version does not know"),
        (95, 1, "features that this version does not know"),
        (39, 2, "(header)"),
        (45, 1, "(header)"),
    ] {
        let mut bytes = good.clone();
        assert_ne!(bytes[at], value);
        bytes[at] = value;
        fs::write(node.path("edited.qcow2"), bytes).unwrap();
        refused(&node, "edited.qcow2", "qcow2", found, Some(at as u64));
    }
}

#[test]
fn a_qcow2_that_holds_more_or_less_than_its_disk_is_refused() {
    let node = Node::new();
    node.build_sealed("out");
    let good = fs::read(node.path(QCOW2)).unwrap();
    let cluster = 1 << 16;
    let more = [&good[..], &vec![7; cluster]].concat();
    let few = good[..good.len() - cluster].to_vec();
    let odd = [&good[..], b"more"].concat();
    // The first cluster of data, which holds the boot code, once more in place of the second.
    let mut twice = good.clone();
    let (first, second) = (4 * cluster, 4 * cluster + 8 * 15);
    let entry = twice[first..first + 8].to_vec();
    twice[second..second + 8].copy_from_slice(&entry);
    for (bytes, found, byte) in [
        (more, "its tables describe", None),
        (few, "its tables describe", None),
        (odd, "its tables describe", None),
        (twice, "not in order", Some(second as u64)),
    ] {
        fs::write(node.path("bad.qcow2"), bytes).unwrap();
        refused(&node, "bad.qcow2", "qcow2", found, byte);
    }
}

#[test]
fn a_raw_disk_with_a_second_formats_mark_is_refused() {
    let node = Node::new();
    node.build_sealed("out");
    let good = fs::read(node.path("out/node-bios.img")).unwrap();
    let last = good.len() - 512;
    for (mark, at, name) in [
        (&b"conectix"[..], last, "VHD"),
        (b"koly", last, "DMG"),
        (b"EFI PART", last, "GPT"),
        (b"EFI PART", 512, "GPT"),
        (b"CD001", 32_769, "ISO 9660"),
        (b"\x7f\x10\xda\xbe", 64, "VDI"),
        (b"KDMV", 0, "VMDK"),
        (b"vhdxfile", 0, "VHDX"),
        (b"QFI\xfb", 0, "qcow"),
        (b"LUKS\xba\xbe", 0, "LUKS"),
    ] {
        let mut bytes = good.clone();
        bytes[at..at + mark.len()].copy_from_slice(mark);
        fs::write(node.path("bad.img"), &bytes).unwrap();
        refused(&node, "bad.img", "raw", &format!("the mark of {name}"), Some(at as u64));
    }
    // A footer behind the disk, as programs that convert to VHD write it.
    let mut footer = b"conectix".to_vec();
    footer.resize(512, 0);
    fs::write(node.path("bad.img"), [good.clone(), footer].concat()).unwrap();
    refused(&node, "bad.img", "raw", "the mark of VHD", Some(good.len() as u64));
}

#[test]
fn a_format_is_named_and_not_probed() {
    let node = Node::new();
    node.build_sealed("out");
    fs::copy(node.path(QCOW2), node.path("qcow2.img")).unwrap();
    refused(&node, "qcow2.img", "raw", "the mark of qcow", Some(0));
    fs::copy(node.path("out/node-bios.img"), node.path("raw.qcow2")).unwrap();
    refused(&node, "raw.qcow2", "qcow2", "not a qcow2 file", Some(0));
    let named = [
        "verify",
        "--policy",
        "policy.yml",
        "--disk-format",
        "qcow2",
        "qcow2.img",
    ];
    assert_eq!(node.run(&named).code, 0);
}
