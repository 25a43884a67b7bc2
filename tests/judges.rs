//! Outside judges: what imgkit writes, read by the tools that others use.

#![allow(clippy::unwrap_used, clippy::panic)]
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use imgkit::disk::bios::{self, File, Parts};
use imgkit::disk::extents::Owner;
use imgkit::disk::fat::{Identity, Volume};
use imgkit::disk::{ReadAt, Stream};
use imgkit::format::cpio::write_cpio;
use imgkit::format::qcow2::Layout;
use imgkit::format::segment::{LEVEL, write_segment};
use imgkit::format::tar::write_tar;
use imgkit::time::Time;
use imgkit::tree::contents::Memory;
use imgkit::tree::{Entry, Meta, Node, Tree, TreePath};

/// Runs a judge; its absence is a failure, since a test that is skipped proves nothing.
fn judge(program: &str, arguments: &[&str], directory: &Path) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let run = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("LC_ALL", "C")
        .env("PATH", path)
        .output();
    let Output { status, stdout, stderr } = run.unwrap_or_else(|error| panic!("{program}: {error}; install it"));
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    assert!(status.success(), "{program} {arguments:?}: {said}");
    said
}

fn tree() -> (Tree, Memory) {
    let mut contents = Memory::default();
    contents.add(b"#!/bin/sh\n".to_vec());
    let path = |path: &str| TreePath::parse(path).unwrap();
    let long = format!("etc/{}", "n".repeat(200));
    let tree = [
        (path("bin"), Entry::directory(0o755)),
        (path("bin/a"), Entry::file(0o4755, b"#!/bin/sh\n")),
        (
            path("bin/b"),
            Entry {
                meta: Meta::default(),
                node: Node::HardLink(path("bin/a")),
            },
        ),
        (path("etc"), Entry::directory(0o755)),
        (path(&long), Entry::symlink(0o777, *b"../bin/a")),
        (path("init"), Entry::file(0o755, b"#!/bin/sh\n")),
    ];
    (tree.into_iter().collect(), contents)
}

#[test]
fn fsck_and_mtools_accept_the_boot_partition() {
    let directory = tempfile::tempdir().unwrap();
    let source = |length: usize| -> Arc<dyn ReadAt> { Arc::new(vec![0x5a; length]) };
    let file = |name: &str, length| File {
        name: name.into(),
        parts: vec![(Owner::File { name: name.into() }, source(length))],
    };
    let parts = Parts {
        boot_component: "boot".into(),
        boot_image: vec![1; 512],
        core_image: vec![2; 100_000],
        files: vec![
            file("KERNEL", 700_000),
            file("grub.cfg", 77),
            file("a long name of a file", 5000),
            file("EMPTY", 0),
        ],
        seal_capacity: 65_536,
        serial: 0x1234_abcd,
    };
    let disk = bios::layout(&parts).unwrap();
    let mut image = fs::File::create(directory.path().join("disk")).unwrap();
    std::io::copy(&mut Stream::new(&disk.assembly), &mut image).unwrap();
    judge(
        "mcopy",
        &[
            "-i",
            "disk@@1M",
            "::KERNEL",
            "::grub.cfg",
            "::a long name of a file",
            ".",
        ],
        directory.path(),
    );
    assert_eq!(fs::read(directory.path().join("KERNEL")).unwrap(), vec![0x5a; 700_000]);
    assert_eq!(fs::read(directory.path().join("grub.cfg")).unwrap(), vec![0x5a; 77]);
    let listing = judge("mdir", &["-i", "disk@@1M"], directory.path());
    assert!(listing.contains("Volume Serial Number is 1234-ABCD"), "{listing}");
    assert!(
        listing.contains("KERNEL          700000 2017-04-18  16:30"),
        "{listing}"
    );
    judge(
        "dd",
        &["if=disk", "of=partition", "bs=1M", "skip=1", "status=none"],
        directory.path(),
    );
    let length = disk.seal.offset - (1 << 20);
    fs::File::options()
        .write(true)
        .open(directory.path().join("partition"))
        .unwrap()
        .set_len(length)
        .unwrap();
    judge("fsck.vfat", &["-n", "-v", "partition"], directory.path());
}

#[test]
fn fsck_accepts_volumes_of_both_kinds() {
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity {
        serial: 7,
        label: *b"IMGKIT     ",
        hidden: 2048,
    };
    for (sizes, fat32) in [
        (vec![0, 1, 4096, 4097], false),
        (vec![268_000_000, 300_000], false),
        (vec![268_330_000, 300_000], true),
        (vec![4_294_963_200, 5], true),
    ] {
        let names: Vec<String> = (0..sizes.len()).map(|n| format!("file number {n}")).collect();
        let files: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(sizes).collect();
        let volume = Volume::plan(&files, identity).unwrap();
        assert_eq!(volume.fat32, fat32);
        let mut image = fs::File::create(directory.path().join("volume")).unwrap();
        image.write_all(&volume.head).unwrap();
        image.set_len(volume.length).unwrap();
        let said = judge("fsck.vfat", &["-n", "-v", "volume"], directory.path());
        let clusters = volume.length / 4096;
        assert!(
            said.contains(&format!("volume: {} files", files.len() + 1)),
            "{clusters}: {said}"
        );
    }
}

#[test]
fn qemu_img_accepts_the_container_and_sees_the_same_disk() {
    let directory = tempfile::tempdir().unwrap();
    for (name, length, marks) in [
        ("empty", 512, &[][..]),
        ("small", 3 * 65_536 + 512, &[0, 70_000, 197_000]),
        ("wide", 1_300 << 20, &[5, 600 << 20, (1_300 << 20) - 1]),
    ] {
        let mut disk = vec![0; length];
        marks.iter().for_each(|at| *disk.get_mut(*at).unwrap() = 1);
        let (raw, qcow2) = (format!("{name}.raw"), format!("{name}.qcow2"));
        let mut file = fs::File::create(directory.path().join(&qcow2)).unwrap();
        Layout::of(&disk).unwrap().write(&disk, &mut file).unwrap();
        fs::write(directory.path().join(&raw), disk).unwrap();
        let said = judge("qemu-img", &["check", "-f", "qcow2", &qcow2], directory.path());
        assert!(said.contains("No errors were found"), "{said}");
        let said = judge(
            "qemu-img",
            &["compare", "-f", "raw", "-F", "qcow2", &raw, &qcow2],
            directory.path(),
        );
        assert!(said.contains("Images are identical"), "{said}");
    }
}

#[test]
fn cpio_and_zstd_read_a_segment() {
    let directory = tempfile::tempdir().unwrap();
    let (tree, contents) = tree();
    let mut archive = Vec::new();
    write_cpio(&tree, &contents, 9, &mut archive).unwrap();
    let mut segment = Vec::new();
    write_segment(&tree, &contents, 9, LEVEL, &mut segment).unwrap();
    // The frame ends before the padding, which zstd takes for garbage.
    let frame = segment.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    fs::write(directory.path().join("segment"), segment.get(..frame).unwrap()).unwrap();
    judge("zstd", &["-q", "-d", "segment", "-o", "archive"], directory.path());
    assert_eq!(fs::read(directory.path().join("archive")).unwrap(), archive);
    judge(
        "sh",
        &["-c", "mkdir root && cd root && cpio -i -d --quiet < ../archive"],
        directory.path(),
    );
    check_unpacked(&directory.path().join("root"));
}

#[test]
fn tar_reads_an_archive() {
    let directory = tempfile::tempdir().unwrap();
    let (tree, contents) = tree();
    let mut archive = Vec::new();
    write_tar(&tree, &contents, Time::from_unix(1_492_533_000).unwrap(), &mut archive).unwrap();
    fs::write(directory.path().join("archive"), archive).unwrap();
    fs::create_dir(directory.path().join("root")).unwrap();
    judge(
        "tar",
        &["-x", "--no-same-owner", "-f", "archive", "-C", "root"],
        directory.path(),
    );
    check_unpacked(&directory.path().join("root"));
}

fn check_unpacked(root: &Path) {
    use std::os::unix::fs::MetadataExt;
    let inode = |name: &str| fs::symlink_metadata(root.join(name)).unwrap().ino();
    assert_eq!(fs::read(root.join("bin/b")).unwrap(), b"#!/bin/sh\n");
    assert_eq!(inode("bin/a"), inode("bin/b"));
    assert_ne!(inode("bin/a"), inode("init"));
    let link = root.join("etc").join("n".repeat(200));
    assert_eq!(fs::read_link(link).unwrap(), Path::new("../bin/a"));
    assert_eq!(fs::metadata(root.join("init")).unwrap().mode() & 0o777, 0o755);
}
