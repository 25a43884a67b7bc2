//! What is found beside an image that lies in memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;

/// An image's repository: documents by their digests, and what is listed.
#[derive(Default)]
struct Place {
    documents: BTreeMap<Digest, Vec<u8>>,
    listed: Referrers,
    asked: Mutex<Vec<Digest>>,
}

fn image() -> Digest {
    Digest::sha256(b"image")
}

impl Place {
    fn list(&mut self, bytes: &[u8], size: u64) {
        let mut descriptor = Descriptor::of(MANIFEST, bytes);
        descriptor.size = size;
        self.documents.insert(descriptor.digest, bytes.to_vec());
        self.listed.listed.push(Annotated {
            descriptor,
            artifact_type: None,
            annotations: Annotations::new(),
        });
    }

    fn found(&self) -> Vec<Attached> {
        attached(
            self,
            "r.example/a:1".parse::<Reference>().unwrap().repository(),
            &image(),
        )
        .unwrap()
    }
}

impl Beside for Place {
    fn tagged(&self, _: &Repository, _: &str) -> Result<Vec<Tagged>, Failure> {
        Ok(Vec::new())
    }

    fn referrers(&self, _: &Repository, _: &Digest) -> Result<Referrers, Failure> {
        Ok(self.listed.clone())
    }

    fn document_bytes(&self, _: &Repository, document: &Descriptor) -> Result<Vec<u8>, Failure> {
        self.asked.lock().unwrap().push(document.digest);
        let bytes = self.documents.get(&document.digest).cloned();
        bytes.ok_or_else(|| Failure::unavailable(document.digest, "gone"))
    }

    fn small_blob(&self, _: &Repository, blob: &Descriptor) -> Result<Vec<u8>, Failure> {
        let refusal = crate::oci::digest_mismatch("it", blob.digest, "other bytes");
        Err(refusal)
    }
}

/// A manifest with some annotations, and one layer with a signature.
fn manifest(annotations: Value) -> Vec<u8> {
    let blob = |kind: &str| json!({ "mediaType": kind, "digest": image(), "size": 2 });
    let mut layer = blob(payload::MEDIA_TYPE);
    layer["annotations"] = json!({ payload::SIGNATURE: "AAAA", "other": "x" });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": blob("x/y"), "layers": [layer], "subject": blob(MANIFEST),
        "annotations": annotations,
    });
    manifest.to_string().into_bytes()
}

#[test]
fn of_annotations_only_those_that_are_read_are_kept() {
    let mut place = Place::default();
    let bytes = manifest(json!({ CREATED: "2026-11-27T00:00:00Z", "other": "x" }));
    place.list(&bytes, bytes.len() as u64);
    let found = place.found();
    let (_, artifact) = found[0].manifest.as_ref().unwrap();
    assert_eq!(artifact.annotations.keys().collect::<Vec<_>>(), [CREATED]);
    let layer = &artifact.layers[0].annotations;
    assert_eq!(layer.keys().collect::<Vec<_>>(), [payload::SIGNATURE]);
}

#[test]
fn what_is_too_large_is_not_asked_for_and_hides_nothing_behind_it() {
    let mut place = Place::default();
    let largest = limit::REFERRER_BYTES as u64;
    place.list(b"too large", largest + 1);
    // All the room but for a little.
    let many = limit::ATTACHED_MANIFEST_BYTES / largest;
    for number in 1..many {
        place.list(&number.to_be_bytes(), largest);
    }
    place.list(b"most of the rest", largest - 1000);
    place.list(b"more than is left", 1001);
    let bytes = manifest(json!({}));
    assert!(bytes.len() <= 1000);
    place.list(&bytes, bytes.len() as u64);
    let found = place.found();
    let good = found.iter().filter(|one| one.manifest.is_ok());
    assert_eq!(good.count(), 1);
    let asked = place.asked.lock().unwrap();
    assert_eq!(asked.len() as u64, many + 1);
    for unread in [&b"too large"[..], b"more than is left"] {
        assert!(!asked.contains(&Digest::sha256(unread)));
    }
    let told: Vec<_> = found.iter().rev().take(2).collect();
    assert_eq!(told[0].listed.descriptor.digest, Digest::sha256(b"more than is left"));
    assert!(matches!(told[0].manifest, Err(Failure::Unavailable { .. })));
    assert_eq!(told[1].listed.descriptor.digest, Digest::sha256(b"too large"));
    assert!(matches!(told[1].manifest, Err(Failure::Refused(_))));
}

#[test]
fn one_that_is_not_read_stands_for_all() {
    let mut place = Place::default();
    for number in 0..=limit::ATTACHED_MANIFESTS + 2 {
        place.list(&number.to_be_bytes(), 8);
    }
    let found = place.found();
    assert_eq!(found.len(), limit::ATTACHED_MANIFESTS + 1);
    let Err(Failure::Unavailable { problem, .. }) = &found[limit::ATTACHED_MANIFESTS].manifest else {
        unreachable!("{found:?}");
    };
    assert!(problem.contains("nor 2 more"), "{problem}");
}

#[test]
fn what_is_wrong_with_a_list_stands_beside_what_it_names() {
    let mut place = Place::default();
    let bytes = manifest(json!({}));
    place.list(&bytes, bytes.len() as u64);
    place.listed.problems.push(malformed("it", "descriptors", "another"));
    let found = place.found();
    assert!(matches!(found[0].manifest, Err(Failure::Refused(_))));
    assert!(found[1].manifest.is_ok());
}

#[test]
fn a_blob_of_other_bytes_is_not_known_to_be_no_signature() {
    let mut place = Place::default();
    let bytes = manifest(json!({}));
    place.list(&bytes, bytes.len() as u64);
    let reference: Reference = "r.example/a:1".parse().unwrap();
    let pieces = attachments(&place, reference.repository(), &place.found());
    assert!(
        matches!(pieces[0].bytes, Err(Failure::Unavailable { .. })),
        "{pieces:?}"
    );
}
