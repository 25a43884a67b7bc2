//! Each check alone refuses its class of change, and without both nothing does (law of the disk 2).

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::build::{Format, Judge, Request, build};
use crate::config::spec::Spec;
use crate::disk::extents::{Extent, Extents, Owner};
use crate::failure::{Code, Refusal};
use crate::key::SigningKey;
use crate::oci::Platform;
use crate::policy::Policy;
use crate::seal::Statement;
use crate::store::derived::Derived;
use crate::store::layout::{Layout, Writer};
use crate::time::Time;
use crate::tree::contents::Memory;
use crate::tree::{Entry, TreePath};
use crate::trust::edit::{Collection, RoleSpec};
use crate::trust::{Bundle, Known};
use crate::verify::{Anchor, Anchors, Metadata, Pins};

const SPEC: &str = "\
boot: {image: local.test/boot:v1}
kernel: {image: local.test/kernel:v1, tar: none}
init: [local.test/init:v1]
files:
  - {path: etc/node, contents: node}
";

const POLICY: &str = "\
version: 1
roots: {platform: root.json}
rules:
  - {match: local.test/*, unsigned: accept}
image:
  sealed: {root: platform, role: targets}
";

const NEITHER: Checks = Checks {
    regeneration: false,
    merkle: false,
};

const REGENERATION: Checks = Checks {
    regeneration: true,
    ..NEITHER
};

const MERKLE: Checks = Checks {
    merkle: true,
    ..NEITHER
};

/// A sealed disk with its policy, in memory.
struct Fixture {
    policy: Policy,
    pins: Pins,
    now: Time,
    disk: Vec<u8>,
    extents: Vec<Extent>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now: Time = "2026-11-23T00:00:00Z".parse().unwrap();
        let store = Layout::open_or_create(dir.path().join("store")).unwrap();
        let writer = store.writer().unwrap();
        put(
            &writer,
            "boot",
            &[("boot.img", &noise(512)), ("core.img", &noise(30_000))],
        );
        put(&writer, "kernel", &[("kernel", &noise(20_000))]);
        put(&writer, "init", &[("init", &noise(10_000)), ("app", &noise(20_001))]);
        drop(writer);
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let metadata = collection(&key, now);
        let pin = metadata.files().find(|(name, _)| *name == "1.root.json").unwrap().1;
        let pins = Pins {
            roots: BTreeMap::from([("platform".to_owned(), pin.to_vec())]),
            ..Pins::default()
        };
        let anchor = Anchor {
            pin: pin.to_vec(),
            metadata: Metadata::Bundle(metadata.clone()),
            known: Known::default(),
        };
        let anchors = Anchors::new(BTreeMap::from([("platform".to_owned(), anchor)]), &pins);
        let policy = Policy::parse("policy.yml", POLICY.as_bytes()).unwrap();
        let derived = Derived::new(dir.path().join("derived"), dir.path());
        let request = Request {
            spec_name: "node.yml",
            spec_bytes: SPEC.as_bytes(),
            spec: &Spec::parse("node.yml", SPEC.as_bytes()).unwrap(),
            name: "node",
            epoch: 0,
            at: now,
            platform: &Platform::new("linux", "amd64"),
            judge: Judge::Policy {
                policy: &policy,
                anchors: &anchors,
            },
            seal_key: Some(&key),
            formats: &[Format::RawBios],
            level: 3,
            out: dir.path(),
            base: Path::new(""),
            pins: &pins,
            now,
            progress: &(),
        };
        build(&request, &store, &derived, None).unwrap();
        let disk = std::fs::read(dir.path().join("node-bios.img")).unwrap();
        let mut fixture = Self {
            policy,
            pins,
            now,
            disk,
            extents: Vec::new(),
        };
        let report = fixture.check(fixture.disk.clone(), NEITHER).unwrap();
        fixture.extents = report.extents.into_iter().map(|report| report.extent).collect();
        fixture
    }

    fn check(&self, disk: Vec<u8>, checks: Checks) -> Result<DiskReport, Failure> {
        self.check_compared(disk, checks, &nothing)
    }

    fn check_compared(&self, disk: Vec<u8>, checks: Checks, compared: &Compared<'_>) -> Result<DiskReport, Failure> {
        let question = Question {
            subject: "disk",
            policy: &self.policy,
            pins: &self.pins,
            now: self.now,
            files: true,
            fresh: None,
            memory: None,
        };
        check(&question, Arc::new(disk), checks, compared)
    }

    /// Verifies the disk with one bit in the middle of an extent flipped.
    fn flipped(&self, extent: &Extent, checks: Checks) -> Result<DiskReport, Failure> {
        let mut disk = self.disk.clone();
        disk[middle(extent) as usize] ^= 8;
        self.check(disk, checks)
    }

    /// Asserts that a check alone accepts the disk, and refuses a flip in each extent but the seal by owner and byte.
    fn refuses_flips_everywhere(&self, checks: Checks) {
        self.check(self.disk.clone(), checks).unwrap();
        for extent in self.extents.iter().filter(|extent| extent.owner != Owner::Seal) {
            let Err(Failure::Refused(refusals)) = self.flipped(extent, checks) else {
                panic!("a flip in {} is accepted", extent.owner);
            };
            let [Refusal { subject, byte, .. }] = &refusals[..] else {
                panic!("{refusals:?}");
            };
            let expected = (format!("{} of disk", extent.owner), Some(middle(extent)));
            assert_eq!((subject.clone(), *byte), expected, "{refusals:?}");
        }
    }
}

fn middle(extent: &Extent) -> u64 {
    extent.offset + extent.length / 2
}

fn noise(length: u32) -> Vec<u8> {
    let byte = |at: u32| (at.wrapping_add(length).wrapping_mul(2_654_435_761) >> 24) as u8;
    (0..length).map(byte).collect()
}

/// Puts an image of these files into a store.
fn put(writer: &Writer<'_>, name: &str, files: &[(&str, &[u8])]) {
    let mut contents = Memory::default();
    let entry = |(path, content): &(&str, &[u8])| {
        contents.add(content.to_vec());
        (TreePath::parse(path).unwrap(), Entry::file(0o755, content))
    };
    let tree = files.iter().map(entry).collect();
    let mut archive = Vec::new();
    crate::format::tar::write_tar(&tree, &contents, Time::EPOCH, &mut archive).unwrap();
    let document = |kind: &str, bytes: &[u8]| {
        let media_type = format!("application/vnd.oci.image.{kind}");
        writer.put(&media_type, &mut &*bytes).unwrap()
    };
    let layer = document("layer.v1.tar", &archive);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
    });
    let config = document("config.v1+json", config.to_string().as_bytes());
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": manifest, "config": config, "layers": [layer] });
    let manifest = document("manifest.v1+json", manifest.to_string().as_bytes());
    let reference = format!("local.test/{name}:v1").parse().unwrap();
    writer.tag(&reference, &manifest).unwrap();
}

/// Makes a collection of which one key has all roles.
fn collection(key: &SigningKey, now: Time) -> Bundle {
    let spec = RoleSpec {
        keys: vec![key.tuf_key()],
        threshold: 1,
    };
    let collection = Collection::new(&spec, &spec, &spec, &spec, now).unwrap();
    collection.sign(&[key], now).unwrap().files().clone()
}

#[test]
fn what_is_made_again_refuses_flips_everywhere_alone() {
    Fixture::new().refuses_flips_everywhere(REGENERATION);
}

#[test]
fn the_merkle_root_refuses_flips_everywhere_alone() {
    Fixture::new().refuses_flips_everywhere(MERKLE);
}

#[test]
fn without_both_checks_flips_are_accepted() {
    let fixture = Fixture::new();
    let read_before = |owner: &Owner, offset: u64| match owner {
        // The locator and the core image are read on the way to what is compared.
        Owner::Locator | Owner::Seal => true,
        Owner::BootCode { .. } => offset > 0,
        _ => false,
    };
    for extent in &fixture.extents {
        let refused = fixture.flipped(extent, NEITHER).is_err();
        assert_eq!(refused, read_before(&extent.owner, extent.offset), "{}", extent.owner);
    }
}

#[test]
fn a_seal_that_was_changed_is_refused_whatever_else_is_checked() {
    let fixture = Fixture::new();
    let seal = fixture
        .extents
        .iter()
        .find(|extent| extent.owner == Owner::Seal)
        .unwrap();
    for at in [0, 20, 70, 3000, seal.length - 1] {
        let mut disk = fixture.disk.clone();
        disk[(seal.offset + at) as usize] ^= 1;
        let Err(Failure::Refused(refusals)) = fixture.check(disk, NEITHER) else {
            panic!("byte {at} of the seal");
        };
        assert_eq!(refusals[0].subject, "seal of disk");
        assert_ne!(refusals[0].code, Code::BytesMismatch);
    }
}

#[test]
fn a_segment_that_was_compared_has_to_be_the_same_bytes_on_the_disk() {
    let fixture = Fixture::new();
    let of_segments = |extent: &&Extent| matches!(extent.owner, Owner::Segment { .. });
    let segments: Vec<&Extent> = fixture.extents.iter().filter(of_segments).collect();
    let digest = |extent: &&Extent| {
        let range = extent.offset as usize..(extent.offset + extent.length) as usize;
        Digest::sha256(&fixture.disk[range])
    };
    let digests: Vec<Digest> = segments.iter().map(digest).collect();
    let spec = Spec::parse("node.yml", SPEC.as_bytes()).unwrap();
    let check = |wrong: Option<usize>| {
        let compared = |segment: &Segment| {
            let component = segment.owner(&spec);
            let owner = Owner::Segment { component };
            let at = segments.iter().position(|extent| extent.owner == owner)?;
            Some(match wrong == Some(at) {
                true => Digest::sha256(b"other bytes"),
                false => digests[at],
            })
        };
        fixture.check_compared(fixture.disk.clone(), REGENERATION, &compared)
    };
    check(None).unwrap();
    for (at, extent) in segments.iter().enumerate() {
        let Err(Failure::Refused(refusals)) = check(Some(at)) else {
            panic!("{} has other bytes", extent.owner);
        };
        assert_eq!(refusals[0].subject, format!("{} of disk", extent.owner));
    }
}

#[test]
fn a_part_that_changed_between_check_and_seal_is_found_though_nobody_judges() {
    let fixture = Fixture::new();
    let guest: Arc<dyn ReadAt> = Arc::new(fixture.disk.clone());
    let (_, sealed) = read_seal("disk", &guest).unwrap();
    let statement = Statement::decode(sealed.envelope.payload()).unwrap();
    let extents = Extents::new(guest.len(), fixture.extents.clone()).unwrap();
    let digest = |extent: &Extent| {
        let range = extent.offset as usize..(extent.offset + extent.length) as usize;
        Digest::sha256(&fixture.disk[range])
    };
    let kernel = |extent: &&Extent| matches!(&extent.owner, Owner::File { name } if name == "KERNEL");
    let kernel = digest(fixture.extents.iter().find(kernel).unwrap());
    let segments = fixture.extents.iter();
    let segments = segments.filter(|extent| matches!(extent.owner, Owner::Segment { .. }));
    let segments: Vec<_> = segments.map(|extent| Some(digest(extent))).collect();
    let check = |kernel, segments: &[_]| {
        let segments = segments.iter().copied();
        unjudged("disk", &guest, &extents, &statement, Some(kernel), segments).map_err(|failure| failure.to_string())
    };
    check(kernel, &segments).unwrap();
    let other = Digest::sha256(b"other bytes");
    assert!(check(other, &segments).unwrap_err().contains("KERNEL of disk"));
    for at in 0..segments.len() {
        let mut changed = segments.clone();
        changed[at] = Some(other);
        assert!(
            check(kernel, &changed)
                .unwrap_err()
                .contains("changed between check and use")
        );
    }
}
