//! Images that are several files: each member is what the seal says, and there is no other (law of the disk 4).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::forge::{Unpacked, reseal_set};
use common::images::numbers;
use common::node::{Node, flip};
use imgkit::format::segment::LEVEL;
use imgkit::seal::statement::{Statement, Subject, SubjectDigest};

const SET: &str = "out/node.seal";

const TAR: &str = "out/node.tar.seal";

/// Asserts that a set is refused by the name of one of its parts.
fn refused(node: &Node, image: &str, owner: &str) {
    let answer = node.verify(image);
    let subject = format!("{owner} of {image}");
    assert_eq!(
        (answer.code, answer.subjects()),
        (1, vec![subject.as_str()]),
        "{}",
        answer.json
    );
}

fn sealed() -> Node {
    let node = Node::new();
    node.build_sealed("out");
    for image in [SET, TAR] {
        assert_eq!(node.verify(image).code, 0, "the twin {image}");
    }
    node
}

#[test]
fn every_flipped_bit_of_a_set_is_refused_by_the_files_name() {
    let node = Node::new();
    node.build_sealed("out");
    for (image, file) in [
        ("out/node.seal", "out/node-initrd.img"),
        ("out/node.seal", "out/node-kernel"),
        ("out/node.seal", "out/node-cmdline"),
        ("out/node.seal", "out/node.seal"),
        ("out/node.tar.seal", "out/node.tar"),
        ("out/node.tar.seal", "out/node.tar.seal"),
    ] {
        assert_eq!(node.verify(image).code, 0, "the twin {image}");
        let path = node.path(file);
        let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        let name = file.strip_prefix("out/").unwrap();
        let owner = if file == image { "seal" } else { name };
        for number in numbers(13, 12) {
            let (at, bit) = (number % length, u8::try_from(number % 8).unwrap());
            flip(&path, at, bit);
            let answer = node.verify(image);
            flip(&path, at, bit);
            let subjects = answer.subjects();
            assert_eq!(
                (answer.code, subjects),
                (1, vec![format!("{owner} of {image}").as_str()]),
                "byte {at}: {}",
                answer.json
            );
        }
    }
}

#[test]
fn a_set_of_files_is_whole_or_refused_by_the_files_name() {
    let node = Node::new();
    node.build_sealed("out");
    for (image, file) in [
        ("out/node.seal", "node-kernel"),
        ("out/node.seal", "node-initrd.img"),
        ("out/node.seal", "node-cmdline"),
        ("out/node.tar.seal", "node.tar"),
    ] {
        let path = node.path("out").join(file);
        fs::rename(&path, node.path("kept")).unwrap();
        let answer = node.verify(image);
        fs::rename(node.path("kept"), path).unwrap();
        assert_eq!(
            (answer.code, answer.subjects()),
            (1, vec![format!("{file} of {image}").as_str()]),
            "{}",
            answer.json
        );
        assert_eq!(node.verify(image).code, 0);
    }
}

#[test]
fn a_file_of_a_set_that_its_seal_does_not_name_is_refused() {
    let node = sealed();
    assert_eq!(node.verify(SET).code, 0);
    fs::write(node.path("out/node-ucode.cpio"), b"microcode").unwrap();
    refused(&node, SET, "node-ucode.cpio");
}

#[test]
fn a_seal_that_names_more_or_fewer_files_is_refused_by_the_file() {
    let node = sealed();
    let good = fs::read(node.path(SET)).unwrap();
    reseal_set(&node, SET, |_| {});
    assert!(
        good == fs::read(node.path(SET)).unwrap(),
        "the same set has the same seal"
    );
    let cmdline = |subject: &Subject| subject.name == "node-cmdline";
    reseal_set(&node, SET, |statement| {
        statement.subject.retain(|subject| !cmdline(subject))
    });
    refused(&node, SET, "node-cmdline");
    fs::write(node.path(SET), &good).unwrap();
    reseal_set(&node, SET, |statement| {
        let more = Subject {
            name: "node-more".into(),
            digest: SubjectDigest::File("00".repeat(32)),
        };
        statement.subject.push(more);
    });
    refused(&node, SET, "node-more");
}

#[test]
fn another_seal_beside_a_set_is_refused() {
    let node = sealed();
    let disk = fs::read(node.path("out/node-bios.img")).unwrap();
    let (_, of_disk) = imgkit::verify::disk::read_seal("disk", &disk).unwrap();
    node.edit("node.yml", "contents: node", "contents: other");
    node.build_sealed("other");
    for (from, to, owner) in [
        ("other/node.seal", SET, "node-initrd.img"),
        ("other/node.tar.seal", TAR, "node.tar"),
        (SET, "out/copy.tar.seal", "node-kernel"),
    ] {
        let kept = fs::read(node.path(to)).ok();
        fs::copy(node.path(from), node.path(to)).unwrap();
        refused(&node, to, owner);
        kept.into_iter()
            .for_each(|kept| fs::write(node.path(to), kept).unwrap());
    }
    fs::write(node.path(SET), of_disk.encode(of_disk.len()).unwrap()).unwrap();
    refused(&node, SET, "seal");
}

#[test]
fn a_set_that_was_changed_and_resealed_is_refused_by_what_was_changed() {
    let node = sealed();
    type Change = fn(&mut Vec<u8>, &mut Statement);
    let of_segment = "initrd segment of local.test/svc:v1 (services[0]) of node-initrd.img";
    let cases: [(&str, &str, &str, Change); 5] = [
        (SET, "node-kernel", "node-kernel", |kernel, _| kernel[7] ^= 1),
        (SET, "node-cmdline", "node-cmdline", |cmdline, _| {
            cmdline.extend(b" single")
        }),
        (SET, "node-initrd.img", of_segment, |initrd, statement| {
            let records = &mut statement.predicate.segments;
            let at = records.iter().position(|record| record.owner.contains("svc")).unwrap();
            let start: u64 = records[..at].iter().map(|record| record.length).sum();
            let range = start as usize..(start + records[at].length) as usize;
            let mut segment = Unpacked::of(&initrd[range.clone()]);
            segment.write("bin/app", b"other");
            let packed = segment.pack(LEVEL);
            records[at].length = packed.len() as u64;
            initrd.splice(range, packed);
        }),
        (SET, "node-initrd.img", "node-initrd.img", |initrd, _| {
            initrd.extend([0; 4])
        }),
        (TAR, "node.tar", "node.tar", |archive, _| {
            let more = common::images::tar(&[("etc/more", b"more")]);
            archive.truncate(archive.len() - 1024);
            archive.extend(more);
        }),
    ];
    for (image, member, owner, change) in cases {
        let (path, seal) = (node.path("out").join(member), fs::read(node.path(image)).unwrap());
        let good = fs::read(&path).unwrap();
        reseal_set(&node, image, |statement| {
            let mut bytes = good.clone();
            change(&mut bytes, statement);
            fs::write(&path, bytes).unwrap();
        });
        refused(&node, image, owner);
        fs::write(&path, good).unwrap();
        fs::write(node.path(image), seal).unwrap();
        assert_eq!(node.verify(image).code, 0);
    }
}
