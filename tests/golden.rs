//! Images of every release verify for ever (law of the disk 6); `tests/golden/make.sh` made them, one directory a seal format.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::node::{Answer, answer, flip};
use serde_json::Value;

fn imgkit(dir: &Path, args: &[&str]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgkit"));
    command.args(["--output", "json"]).args(args);
    answer(command.current_dir(dir).env_clear())
}

fn verify(dir: &Path, image: &str) -> Answer {
    imgkit(dir, &["verify", "--files", "--policy", "policy.yml", image])
}

#[test]
fn images_of_every_release_verify() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let releases = fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path());
    let releases: Vec<_> = releases.filter(|path| path.is_dir()).collect();
    assert!(!releases.is_empty());
    for release in releases {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(&release).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        let raw = zstd::decode_all(fs::File::open(release.join("node-bios.img.zst")).unwrap()).unwrap();
        fs::write(dir.path().join("node-bios.img"), raw).unwrap();
        for image in ["node-bios.img", "node.qcow2", "node.seal", "node.tar.seal"] {
            let Answer { code, json } = verify(dir.path(), image);
            assert_eq!(code, 0, "{} of {}: {json}", image, release.display());
        }
        flip(&dir.path().join("node-bios.img"), 1_100_000, 1);
        assert_eq!(verify(dir.path(), "node-bios.img").code, 1);
    }
}

/// Seals of format 1 have no documents; those of later ones have them, and `verify` made them again above.
#[test]
fn the_documents_of_format_2_are_those_beside_the_image() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/2");
    for (image, name, mark) in [
        ("node.qcow2", "provenance", "urn:imgkit:build:v1"),
        (
            "node.seal",
            "spdx",
            "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64",
        ),
        ("node.tar.seal", "cdx", "GPL-3+ with GCC-exception"),
    ] {
        let Answer { code, json } = imgkit(&dir, &["show", image, "--document", name]);
        assert_eq!(code, 0, "{image}: {json}");
        assert_eq!(json["result"].to_string().matches(mark).count(), 1, "{json}");
        let file = fs::read(dir.join(format!("node.{name}.json"))).unwrap();
        let file: Value = serde_json::from_slice(&file).unwrap();
        let beside = if name == "provenance" {
            &file["predicate"]
        } else {
            &file
        };
        assert_eq!(&json["result"], beside, "{name}");
    }
}

#[test]
fn the_golden_images_have_the_formats_that_their_directories_name() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for format in 1..=2 {
        let shown = imgkit(&golden.join(format.to_string()), &["show", "node.qcow2"]).json;
        let found = &shown["result"]["statement"]["predicate"]["formatVersion"];
        assert_eq!(found, format, "{shown}");
    }
}
