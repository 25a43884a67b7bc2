//! Bad input through `build`: blobs, caches, layers and specifications that are not what they claim to be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::images::{put_layer, reference, tar};
use common::node::{Answer, Node, flip};
use imgkit::digest::Digest;
use imgkit::store::layout::Layout;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A kind of damage, done to a file of this many bytes at least.
type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 4] = [
    ("flipped", |path| {
        let middle = usize::try_from(path.metadata().unwrap().len() / 2).unwrap();
        flip(path, middle, 5);
    }),
    ("cut", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    }),
    ("lengthened", |path| {
        let bytes = [fs::read(path).unwrap(), b"\0".to_vec()].concat();
        fs::write(path, bytes).unwrap();
    }),
    ("emptied", |path| fs::write(path, b"").unwrap()),
];

#[test]
fn every_damaged_blob_is_a_digest_mismatch_and_leaves_nothing() {
    let node = Node::new();
    let blobs = files_in(&node.path("store/blobs/sha256"));
    assert_eq!(blobs.len(), 12, "manifest, config and layer of each component");
    for blob in blobs {
        let whole = fs::read(&blob).unwrap();
        for (how, damage) in DAMAGES {
            // Nothing that was derived from whole blobs may stand in for them.
            let _ = fs::remove_dir_all(node.path("store/derived"));
            damage(&blob);
            let answer = node.run(&Node::build_args("out", &["--format", "raw-bios"]));
            let codes = answer.codes();
            assert_eq!(answer.code, 1, "{how} {blob:?}: {}", answer.json);
            assert!(
                !codes.is_empty() && codes.iter().all(|code| *code == "DIGEST_MISMATCH"),
                "{how} {blob:?}: {}",
                answer.json
            );
            assert!(answer.json["refusals"][0]["place"]["line"].is_u64(), "{}", answer.json);
            assert!(node.names("out").is_empty());
            assert_eq!(node.run(&["cache", "verify"]).code, 1, "{how} {blob:?}");
        }
        fs::remove_file(&blob).unwrap();
        let answer = node.run(&Node::build_args("out", &["--format", "raw-bios"]));
        assert_eq!(answer.code, 3, "a missing blob is not known: {}", answer.json);
        fs::write(&blob, whole).unwrap();
    }
    node.build_sealed("out");
}

#[test]
fn a_damaged_cache_costs_time_and_changes_nothing() {
    let node = Node::new();
    node.build_sealed("reference");
    for kind in ["files", "segments", "trees"] {
        let dir = node.path("store/derived").join(kind);
        let kept = files_in(&dir);
        assert!(!kept.is_empty(), "{kind}");
        let whole: Vec<_> = kept.iter().map(|path| fs::read(path).unwrap()).collect();
        for (how, damage) in DAMAGES {
            kept.iter().for_each(|path| damage(path));
            node.build_sealed("out");
            node.assert_same_files("out", "reference");
            for (path, bytes) in kept.iter().zip(&whole) {
                assert!(fs::read(path).unwrap() == *bytes, "{how} {path:?} was not made again");
            }
        }
        // Each is replaced by the next one: valid, and another.
        for (path, at) in kept.iter().zip(1..) {
            fs::write(path, &whole[at % whole.len()]).unwrap();
        }
        node.build_sealed("out");
        node.assert_same_files("out", "reference");
        for (path, bytes) in kept.iter().zip(&whole) {
            assert!(fs::read(path).unwrap() == *bytes, "{path:?} was not made again");
        }
    }
}

/// Tags an image of one layer, given as archive and as blob, and lets it in without a signature.
fn with_layer(node: &Node, media_type: &str, blob: &[u8], diff_id: Digest) -> Answer {
    let layout = Layout::open(node.path("store")).unwrap();
    let writer = layout.writer().unwrap();
    let manifest = put_layer(&writer, "amd64", (media_type, blob), diff_id);
    writer.tag(&reference("local.test/bad:v1"), &manifest).unwrap();
    drop(writer);
    node.run(&Node::build_args("out", &["--format", "raw-bios"]))
}

/// A node whose service is an image that the policy lets in unsigned, so that its layers alone are judged.
fn admitting() -> Node {
    let node = Node::new();
    node.edit("node.yml", "local.test/svc:v1", "local.test/bad:v1");
    let rule = "rules:\n  - match: local.test/bad\n    unsigned: accept\n";
    node.edit("policy.yml", "rules:\n", rule);
    let good = tar(&[("bin/app", b"app")]);
    let answer = with_layer(&node, LAYER, &good, Digest::sha256(&good));
    assert_eq!(answer.code, 0, "the twin is accepted: {}", answer.json);
    fs::remove_dir_all(node.path("out")).unwrap();
    node
}

/// An archive with one file whose name is written as it is, and links before it.
fn archive(links: &[(&str, &str, tar::EntryType)], file: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let header = |name: &str, kind: tar::EntryType, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        // Builder::append_data would refuse what is tried here.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header
    };
    for (name, target, kind) in links {
        let mut header = header(name, *kind, 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        archive.append(&header, std::io::empty()).unwrap();
    }
    let mut header = header(file, tar::EntryType::Regular, 5);
    header.set_cksum();
    archive.append(&header, &b"hello"[..]).unwrap();
    archive.into_inner().unwrap()
}

#[test]
fn layers_that_reach_outside_their_image_are_refused() {
    let node = admitting();
    let outside = node.path("outside");
    fs::create_dir(&outside).unwrap();
    let target = outside.display().to_string();
    let link = tar::EntryType::Symlink;
    let hard = tar::EntryType::Link;
    let attempts = [
        ("a parent", archive(&[], "../../outside/file")),
        ("a parent within", archive(&[], "bin/../../outside/file")),
        (
            "an absolute link's target",
            archive(&[("way", &target, link)], "way/file"),
        ),
        (
            "a relative link's target",
            archive(&[("way", "../outside", link)], "way/file"),
        ),
        (
            "a hard link to a parent",
            archive(&[("way", "../../etc/passwd", hard)], "file"),
        ),
        (
            "a hard link to nothing",
            archive(&[("way", "etc/passwd", hard)], "file"),
        ),
    ];
    for (what, layer) in attempts {
        let answer = with_layer(&node, LAYER, &layer, Digest::sha256(&layer));
        assert_eq!(
            (answer.code, answer.codes()),
            (1, vec!["MALFORMED"]),
            "{what}: {}",
            answer.json
        );
        assert_eq!(answer.json["refusals"][0]["place"]["line"], 11, "{what}");
        assert!(
            node.names("out").is_empty() && node.names("outside").is_empty(),
            "{what}"
        );
    }
}

#[test]
fn a_layer_bomb_is_refused_before_it_is_unpacked() {
    let node = admitting();
    let size: u64 = 10 << 30;
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.write_all(&[0; 1024]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 4 << 20, "{} bytes unpack to 10 GiB", bomb.len());
    let began = std::time::Instant::now();
    let answer = with_layer(&node, &format!("{LAYER}+zstd"), &bomb, Digest::sha256(b"never reached"));
    assert_eq!((answer.code, answer.codes()), (1, vec!["MALFORMED"]), "{}", answer.json);
    assert!(began.elapsed().as_secs() < 30, "it was unpacked: {:?}", began.elapsed());
    assert!(node.names("out").is_empty());
}

#[test]
fn a_key_written_twice_is_nonsense_with_its_line() {
    let node = Node::new();
    for (from, to, line) in [
        (
            "    command: [/bin/app]\n",
            "    command: [/bin/app]\n    command: [/bin/sh]\n",
            13,
        ),
        ("kernel:\n", "kernel:\n  image: local.test/init:v1\n", 5),
        ("files:\n", "services: []\nfiles:\n", 13),
    ] {
        node.edit("node.yml", from, to);
        let answer = node.run(&Node::build_args("out", &[]));
        let error = answer.json["error"].to_string();
        assert_eq!(answer.code, 2, "{}", answer.json);
        assert!(error.contains(&format!("node.yml:{line}:")), "{error}");
        assert!(node.names("out").is_empty());
        node.edit("node.yml", to, from);
    }
    node.edit("policy.yml", "version: 1\n", "version: 1\nversion: 1\n");
    let answer = node.run(&Node::build_args("out", &[]));
    assert_eq!(answer.code, 2, "{}", answer.json);
    assert!(
        answer.json["error"].to_string().contains("policy.yml:2:"),
        "{}",
        answer.json
    );
}
