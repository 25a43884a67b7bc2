//! What is booted is what was verified, whatever happens to the disk meanwhile (law of the disk 9).
//!
//! A program of QEMU's name stands on the path and reads what QEMU would read: `tests/vm.rs` boots the real one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use common::node::{Answer, Node, answer, flip};

/// Overwrites the disk, then keeps its arguments and the bytes of the drive that it was given.
const QEMU: &str = r#"#!/bin/sh
printf '%s\n' "$@" > arguments
printf 'other bytes' | dd of="$DISK" conv=notrunc bs=1 seek=600000 2> /dev/null
for argument; do
  case $argument in
  fd=*,set=1) drive=${argument#fd=} ; cp "/proc/self/fd/${drive%,*}" booted ;;
  esac
done
"#;

/// A node and its sealed disks, with the program on the path of what is run there.
fn node() -> Node {
    let node = Node::new();
    node.build_sealed("out");
    fs::create_dir(node.path("bin")).unwrap();
    node.write("bin/qemu-system-x86_64", QEMU);
    fs::set_permissions(node.path("bin/qemu-system-x86_64"), Permissions::from_mode(0o755)).unwrap();
    node
}

fn run(node: &Node, disk: &str) -> Answer {
    let mut command = node.command(&["run", "--policy", "policy.yml", disk]);
    let path = format!("{}:/usr/bin:/bin", node.path("bin").display());
    answer(command.env("PATH", path).env("DISK", disk))
}

#[test]
fn a_disk_that_is_overwritten_after_it_was_verified_boots_as_it_was() {
    for (disk, format) in [("out/node-bios.img", "raw"), ("out/node.qcow2", "qcow2")] {
        let node = node();
        let good = fs::read(node.path(disk)).unwrap();
        let answer = run(&node, disk);
        assert_eq!(answer.code, 0, "{}", answer.json);
        assert!(
            fs::read(node.path("booted")).unwrap() == good,
            "what is booted is not what was verified"
        );
        assert!(
            fs::read(node.path(disk)).unwrap() != good,
            "the disk was overwritten before"
        );
        let arguments = fs::read_to_string(node.path("arguments")).unwrap();
        assert!(
            !arguments.contains(disk),
            "by its descriptor, never by name: {arguments}"
        );
        let drive = format!("file=/dev/fdset/1,format={format},if=none,id=boot,snapshot=on");
        assert!(arguments.lines().any(|argument| argument == drive), "{arguments}");
        assert_eq!(run(&node, disk).code, 1, "the disk itself is another one now");
    }
}

#[test]
fn a_disk_that_is_refused_is_not_booted() {
    let node = node();
    flip(&node.path("out/node-bios.img"), 1_130_000, 3);
    let answer = run(&node, "out/node-bios.img");
    assert_eq!(answer.code, 1, "{}", answer.json);
    assert!(
        answer.subjects()[0].starts_with("initrd segment of local.test/svc:v1"),
        "{}",
        answer.json
    );
    assert!(!node.path("arguments").exists(), "nothing was started");
}
