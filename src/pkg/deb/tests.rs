//! Packages made here byte by byte, so that each can differ in one fault from one that is accepted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::format::tar::write_tar;
use crate::time::Time;
use crate::tree::contents::Memory;
use crate::tree::{Entry, TreePath};

fn tar(files: &[(&str, Entry)], contents: &Memory) -> Vec<u8> {
    let tree: Tree = files
        .iter()
        .map(|(path, entry)| (TreePath::parse(path).unwrap(), entry.clone()))
        .collect();
    let mut out = Vec::new();
    write_tar(&tree, contents, Time::from_unix(0).unwrap(), &mut out).unwrap();
    out
}

fn control() -> Vec<u8> {
    let text = b"Package: hello\nVersion: 1:2.0-1\nArchitecture: amd64\nDepends: libc6 (>= 2.34)\n".to_vec();
    let mut contents = Memory::default();
    let entry = Entry::file(0o644, &text);
    contents.add(text);
    tar(&[("control", entry)], &contents)
}

fn data() -> Vec<u8> {
    let mut contents = Memory::default();
    let file = Entry::file(0o755, b"#!hello");
    contents.add(b"#!hello".to_vec());
    tar(&[("usr", Entry::directory(0o755)), ("usr/hello", file)], &contents)
}

fn pack(suffix: &str, bytes: &[u8]) -> Vec<u8> {
    match suffix {
        ".gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        ".xz" => liblzma::encode_all(bytes, 6).unwrap(),
        ".zst" => zstd::encode_all(bytes, 3).unwrap(),
        _ => bytes.to_vec(),
    }
}

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
        0,
        0,
        0,
        100_644,
        content.len()
    )
    .into_bytes();
    out.extend_from_slice(content);
    out.extend((content.len() % 2 == 1).then_some(b'\n'));
    out
}

fn package(suffix: &str) -> Vec<u8> {
    [
        b"!<arch>\n".to_vec(),
        member("debian-binary", b"2.0\n"),
        member(&format!("control.tar{suffix}"), &pack(suffix, &control())),
        member(&format!("data.tar{suffix}"), &pack(suffix, &data())),
    ]
    .concat()
}

fn read(bytes: &[u8]) -> Result<Deb, DebError> {
    Deb::read(&mut &*bytes, &mut Memory::default())
}

#[test]
fn reads_every_compression_to_the_same_tree() {
    let plain = read(&package("")).unwrap();
    assert_eq!(plain.control.name, "hello");
    assert_eq!(plain.control.version, "1:2.0-1");
    assert_eq!(plain.control.depends, ["libc6"]);
    assert_eq!(plain.tree.len(), 2);
    for suffix in [".gz", ".xz", ".zst"] {
        assert_eq!(read(&package(suffix)).unwrap().tree, plain.tree, "{suffix}");
    }
}

#[test]
fn refuses_other_members_orders_and_trailing_bytes() {
    let magic = b"!<arch>\n".to_vec();
    let version = member("debian-binary", b"2.0\n");
    let control = member("control.tar", &control());
    let data = member("data.tar", &data());
    let good = [&*magic, &version, &control, &data].concat();
    assert!(read(&good).is_ok());
    for (name, bad) in [
        ("no magic", [&*version, &control, &data].concat()),
        (
            "version 3",
            [&*magic, &member("debian-binary", b"3.0\n"), &control, &data].concat(),
        ),
        (
            "long version",
            [&*magic, &member("debian-binary", &[b'2'; 300]), &control, &data].concat(),
        ),
        ("order", [&*magic, &version, &data, &control].concat()),
        ("data twice", [&*magic, &version, &control, &data, &data].concat()),
        (
            "extra member",
            [&*magic, &version, &member("_x", b"y"), &control, &data].concat(),
        ),
        ("no data", [&*magic, &version, &control].concat()),
        (
            "bzip2",
            [&*magic, &version, &control, &member("data.tar.bz2", b"BZh")].concat(),
        ),
        (
            "control without control",
            [&*magic, &version, &member("control.tar", &self::data()), &data].concat(),
        ),
        (
            "data is control",
            [&*magic, &version, &control, &member("data.tar.xz", &self::data())].concat(),
        ),
    ] {
        assert!(read(&bad).is_err(), "{name}");
    }
}

#[test]
fn refuses_files_outside_and_through_links() {
    let contents = Memory::default();
    let through = tar(
        &[
            ("a", Entry::symlink(0o777, *b"/etc")),
            ("a/passwd", Entry::file(0o644, b"")),
        ],
        &{
            let mut contents = contents.clone();
            contents.add(Vec::new());
            contents
        },
    );
    let mut outside = data();
    // The name stands at the start of the second member's header; its checksum is made again.
    let header = 512;
    outside[header..header + 9].copy_from_slice(b"../evil\0\0");
    let sum: u32 = (0..512)
        .map(|at| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(outside[header + at])
            }
        })
        .sum();
    outside[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for (data, expected) in [(through, "not a directory"), (outside, "..")] {
        let bytes = [
            b"!<arch>\n".to_vec(),
            member("debian-binary", b"2.0\n"),
            member("control.tar", &control()),
            member("data.tar", &data),
        ]
        .concat();
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn refuses_control_fields_that_unpack_to_more_than_any_has() {
    let package = |description: usize| {
        let mut text = b"Package: hello\nVersion: 1\nArchitecture: all\nDescription: ".to_vec();
        text.resize(text.len() + description, b'a');
        let mut contents = Memory::default();
        let entry = Entry::file(0o644, &text);
        contents.add(text);
        let control = pack(".zst", &tar(&[("control", entry)], &contents));
        let version = member("debian-binary", b"2.0\n");
        let control = member("control.tar.zst", &control);
        [&b"!<arch>\n"[..], &version, &control, &member("data.tar", &data())].concat()
    };
    assert!(read(&package(1 << 20)).is_ok());
    assert!(read(&package(17 << 20)).is_err());
}

#[test]
fn refuses_truncation_anywhere() {
    for suffix in ["", ".gz", ".xz", ".zst"] {
        let good = package(suffix);
        let step = if suffix.is_empty() { 61 } else { 1 };
        for end in (0..good.len() - 1).step_by(step) {
            assert!(read(&good[..end]).is_err(), "{suffix} cut at {end}");
        }
    }
}

proptest! {
    #[test]
    fn never_panics_on_changed_packages(at in 0usize..20_000, value: u8, xz: bool) {
        let mut bytes = package(if xz { ".xz" } else { "" });
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = read(&bytes);
    }

    #[test]
    fn never_panics_on_noise(noise in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&[b"!<arch>\n", &*noise].concat());
    }
}
