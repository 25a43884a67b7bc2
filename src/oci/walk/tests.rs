//! An image in memory, and its twins with one fault each.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::failure::Code;
use crate::oci::media::{INDEX, MANIFEST};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Blobs by digest, and the document that the walk starts from.
struct World {
    blobs: BTreeMap<Digest, Vec<u8>>,
    root: Vec<u8>,
}

impl World {
    /// Makes an index over a manifest over a config; the closures change each before it is hashed.
    fn new(config: impl Fn(&mut Value), manifest: impl Fn(&mut Value), index: impl Fn(&mut Value)) -> Self {
        let mut blobs = BTreeMap::new();
        let mut add = |mut value: Value, change: &dyn Fn(&mut Value), media_type: &str| {
            change(&mut value);
            let bytes = value.to_string().into_bytes();
            let descriptor = serde_json::to_value(Descriptor::of(media_type, &bytes)).unwrap();
            blobs.insert(Digest::sha256(&bytes), bytes.clone());
            (bytes, descriptor)
        };
        let diff = Digest::sha256(b"tar");
        let (_, config) = add(
            json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [diff] } }),
            &config,
            CONFIG,
        );
        let layer = serde_json::to_value(Descriptor::of(LAYER, b"layer")).unwrap();
        let (_, mut entry) = add(
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] }),
            &manifest,
            MANIFEST,
        );
        entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        let (root, _) = add(
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }),
            &index,
            INDEX,
        );
        Self { blobs, root }
    }

    fn walk(&self) -> Result<Image, Failure> {
        let digest = Digest::sha256(&self.root);
        let platform = "linux/amd64".parse().unwrap();
        walk("it", self.root.clone(), &digest, &platform, &mut |descriptor| {
            Ok(self.blobs[&descriptor.digest].clone())
        })
    }

    fn code(&self) -> Code {
        match self.walk() {
            Err(Failure::Refused(refusals)) => refusals[0].code,
            other => panic!("{other:?}"),
        }
    }
}

fn same(_: &mut Value) {}

#[test]
fn walks_from_index_to_layers() {
    let world = World::new(same, same, same);
    let image = world.walk().unwrap();
    assert_eq!(image.digest(), &Digest::sha256(&world.root));
    assert_eq!(image.index(), Some(world.root.as_slice()));
    assert_eq!(image.manifest_digest(), &Digest::sha256(image.manifest()));
    assert_eq!(image.layers()[0].diff_id, Digest::sha256(b"tar"));
    assert_eq!(image.layers()[0].compression, Compression::Gzip);
    assert_eq!(image.blobs().len(), 2);
}

#[test]
fn a_manifest_alone_is_its_own_document() {
    let mut world = World::new(same, same, same);
    world.root = world.walk().unwrap().manifest().to_vec();
    let image = world.walk().unwrap();
    assert_eq!(image.index(), None);
    assert_eq!(image.digest(), image.manifest_digest());
}

#[test]
fn refuses_any_document_with_another_byte() {
    let world = World::new(same, same, same);
    let image = world.walk().unwrap();
    for digest in [image.manifest_digest(), &image.blobs()[0].digest] {
        let mut changed = World::new(same, same, same);
        changed.blobs.get_mut(digest).unwrap().push(b' ');
        assert_eq!(changed.code(), Code::DigestMismatch);
    }
    let platform = "linux/amd64".parse().unwrap();
    let other = Digest::sha256(b"other");
    assert!(walk("it", world.root, &other, &platform, &mut |_| unreachable!()).is_err());
}

#[test]
fn refuses_a_wrong_size_even_under_the_right_digest() {
    let world = World::new(same, |manifest| manifest["config"]["size"] = json!(1), same);
    assert_eq!(world.code(), Code::Malformed);
    let world = World::new(same, same, |index| index["manifests"][0]["size"] = json!(1));
    assert_eq!(world.code(), Code::Malformed);
}

#[test]
fn refuses_two_manifests_for_one_platform() {
    let twice = |index: &mut Value| {
        let mut entry = index["manifests"][0].clone();
        entry["digest"] = json!(Digest::sha256(b"other"));
        index["manifests"].as_array_mut().unwrap().push(entry);
    };
    assert_eq!(World::new(same, same, twice).code(), Code::Malformed);
    // Another one that differs in what counts as no variant is as ambiguous.
    let variant = |index: &mut Value| {
        twice(index);
        index["manifests"][1]["platform"]["variant"] = json!("v1");
    };
    assert_eq!(World::new(same, same, variant).code(), Code::Malformed);
    let elsewhere = |index: &mut Value| {
        twice(index);
        index["manifests"][1]["platform"]["architecture"] = json!("arm64");
    };
    assert!(World::new(same, same, elsewhere).walk().is_ok());
}

#[test]
fn refuses_a_platform_that_is_not_there_or_not_the_configs() {
    let elsewhere = |index: &mut Value| index["manifests"][0]["platform"]["architecture"] = json!("arm64");
    assert_eq!(World::new(same, same, elsewhere).code(), Code::Malformed);
    let nowhere = |index: &mut Value| {
        index["manifests"][0].as_object_mut().unwrap().remove("platform");
    };
    assert_eq!(World::new(same, same, nowhere).code(), Code::Malformed);
    let lies = |config: &mut Value| config["architecture"] = json!("arm64");
    assert_eq!(World::new(lies, same, same).code(), Code::Malformed);
}

#[test]
fn refuses_a_media_type_that_is_not_the_descriptors() {
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let other = |index: &mut Value| index["manifests"][0]["mediaType"] = json!(docker);
    assert_eq!(World::new(same, same, other).code(), Code::Malformed);
}

#[test]
fn refuses_layers_of_unknown_kind_and_configs_of_artifacts() {
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let layer = |manifest: &mut Value| manifest["layers"][0]["mediaType"] = json!(foreign);
    assert_eq!(World::new(same, layer, same).code(), Code::Malformed);
    let artifact = |manifest: &mut Value| manifest["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json");
    assert_eq!(World::new(same, artifact, same).code(), Code::Malformed);
}

#[test]
fn refuses_more_or_fewer_diff_ids_than_layers() {
    let none = |config: &mut Value| config["rootfs"]["diff_ids"] = json!([]);
    assert_eq!(World::new(none, same, same).code(), Code::Malformed);
}

#[test]
fn attestations_that_run_nowhere_do_not_disturb() {
    let attested = |index: &mut Value| {
        for name in ["one", "two"] {
            let mut entry = index["manifests"][0].clone();
            entry["digest"] = json!(Digest::sha256(name.as_bytes()));
            entry["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
            index["manifests"].as_array_mut().unwrap().push(entry);
        }
    };
    assert!(World::new(same, same, attested).walk().is_ok());
}
