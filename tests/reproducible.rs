//! The same inputs make the same bytes, whoever builds them and where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::node::{NOW, Node, answer};

const FILES: [&str; 7] = [
    "node-bios.img",
    "node.qcow2",
    "node-kernel",
    "node-initrd.img",
    "node-cmdline",
    "node.seal",
    "node.tar",
];

#[test]
fn two_builds_of_one_locked_specification_are_equal_to_the_byte() {
    let node = Node::new();
    node.good(&["lock", "--at", NOW, "node.yml"]);
    node.build_sealed("first");
    // Another directory, time zone, locale, umask, number of threads; nothing kept from the first build.
    fs::remove_dir_all(node.path("store/derived")).unwrap();
    let key = node.seal_key().display().to_string();
    let out = node.path("elsewhere/second").display().to_string();
    fs::create_dir(node.path("elsewhere")).unwrap();
    for file in ["node.yml", "node.lock"] {
        fs::copy(node.path(file), node.path("elsewhere").join(file)).unwrap();
    }
    let policy = node.path("policy.yml").display().to_string();
    let mut command = node.command(&[
        "build",
        "--offline",
        "--locked",
        "--policy",
        &policy,
        "--seal-key",
        &key,
        "--format",
        "raw-bios",
        "--format",
        "qcow2-bios",
        "--format",
        "kernel+initrd",
        "--format",
        "tar",
        "--out",
        &out,
        "node.yml",
    ]);
    command
        .current_dir(node.path("elsewhere"))
        .env("TZ", "Pacific/Apia")
        .env("LC_ALL", "tr_TR.UTF-8");
    command.env("RAYON_NUM_THREADS", "1").env("HOME", "/nonexistent");
    let built = answer(&mut command);
    assert_eq!(built.code, 0, "{}", built.json);
    for file in FILES {
        let (one, two) = (
            fs::read(node.path("first").join(file)),
            fs::read(node.path("elsewhere/second").join(file)),
        );
        assert!(one.unwrap() == two.unwrap(), "{file} differs");
    }
}

#[test]
fn raw_and_qcow2_have_one_content_digest() {
    let node = Node::new();
    node.build_sealed("out");
    let subject = |image: &str| node.verify(image).json["result"]["subject"].clone();
    assert_eq!(subject("out/node.qcow2"), subject("out/node-bios.img"));
    assert!(subject("out/node.qcow2")[0]["digest"]["imgkitContentV1"].is_string());
}

#[test]
fn sealing_in_two_phases_makes_the_same_disk_as_sealing_at_once() {
    let node = Node::new();
    node.build_sealed("once");
    let key = node.seal_key().display().to_string();
    let more = [
        "--format",
        "raw-bios",
        "--format",
        "qcow2-bios",
        "--seal-request",
        "request",
    ];
    node.good(&Node::build_args("twice", &more));
    node.good(&["seal", "sign", "--seal-key", &key, "request"]);
    for file in ["node-bios.img", "node.qcow2"] {
        let path = format!("twice/{file}");
        assert_eq!(node.verify(&path).code, 1, "not sealed yet");
        node.good(&["seal", "attach", &path, "request.sig"]);
        assert_eq!(node.verify(&path).code, 0);
        let once = fs::read(node.path("once").join(file)).unwrap();
        assert!(once == fs::read(node.path(&path)).unwrap(), "{file} differs");
    }
}
