//! The documents in a registry that hold signatures and attestations, as cosign writes them.
//!
//! - A manifest under a tag beside the image has one layer for each signature; what is added leaves the others, and what else the
//!   manifest says, as it is. Its config lists the layers and says nothing more.
//! - A bundle has a manifest of its own, whose subject is the image; the index under the fallback tag lists it where the registry
//!   does not do so by itself.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::json::{self, Limits};
use crate::limit;
use crate::oci::{Annotated, Annotations, Artifact, Descriptor, INDEX, MANIFEST, Referrers, malformed};
use crate::time::Time;

/// The config of what has none (image-spec 1.1, "Guidance for an empty descriptor").
pub const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

/// The media type of the config of a manifest of signatures.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The annotation of an attestation's layer that names its predicate type.
pub const PREDICATE_TYPE: &str = "predicateType";

const BUNDLE_CONTENT: &str = "dev.sigstore.bundle.content";
const BUNDLE_PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";

/// The annotation that says when a manifest was made.
pub const CREATED: &str = "org.opencontainers.image.created";

/// A manifest with one more layer, and the config that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extended {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The config.
    pub config: Vec<u8>,
}

/// Adds a layer to a manifest of signatures or attestations, or begins one; nothing where it has this very layer.
///
/// # Errors
/// A refusal (MALFORMED) when what is there is no manifest, or is full.
pub fn with_layer(subject: &str, there: Option<&[u8]>, layer: &Annotated) -> Result<Option<Extended>, Failure> {
    with_layers(subject, there, std::slice::from_ref(layer))
}

/// Adds those of some layers that a manifest of signatures or attestations has not, or begins one; nothing where it has them all.
///
/// # Errors
/// As [`with_layer`].
pub fn with_layers(subject: &str, there: Option<&[u8]>, more: &[Annotated]) -> Result<Option<Extended>, Failure> {
    let mut new: Vec<&Annotated> = Vec::new();
    for layer in more {
        if !new.contains(&layer) {
            new.push(layer);
        }
    }
    let mut document = match there {
        None => Map::from_iter([
            ("schemaVersion".to_owned(), json!(2)),
            ("mediaType".to_owned(), json!(MANIFEST)),
            ("layers".to_owned(), json!([])),
        ]),
        Some(bytes) => {
            let artifact = Artifact::parse(subject, bytes)?;
            new.retain(|layer| !artifact.layers.contains(layer));
            if new.is_empty() {
                return Ok(None);
            }
            let count = artifact.layers.len() + new.len();
            if count > limit::LAYERS {
                let expected = format!("at most {} signatures", limit::LAYERS);
                return Err(malformed(subject, expected, count));
            }
            object(subject, bytes)?
        }
    };
    let Some(Value::Array(layers)) = document.get_mut("layers") else {
        return Err(malformed(subject, "an array `layers`", "none"));
    };
    for layer in new {
        layers.push(to_value(subject, layer)?);
    }
    let digests: Vec<Value> = layers.iter().filter_map(|layer| layer.get("digest").cloned()).collect();
    let config = config(&digests);
    let described = to_value(subject, &Descriptor::of(CONFIG, &config))?;
    document.insert("config".to_owned(), described);
    Ok(Some(Extended {
        manifest: Value::Object(document).to_string().into_bytes(),
        config,
    }))
}

/// Lists layers as the layers of an image, as cosign does.
fn config(digests: &[Value]) -> Vec<u8> {
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let config = json!({
        "architecture": "", "created": NEVER, "history": vec![json!({ "created": NEVER }); digests.len()], "os": "",
        "rootfs": { "type": "layers", "diff_ids": digests }, "config": {},
    });
    config.to_string().into_bytes()
}

/// Writes the manifest of a bundle around a statement about `subject`.
pub fn of_bundle(bundle: &Descriptor, subject: &Descriptor, predicate_type: &str, now: Time) -> Vec<u8> {
    let (kind, empty) = EMPTY;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": bundle.media_type,
        "config": Descriptor::of(kind, empty),
        "layers": [bundle],
        "subject": Descriptor { platform: None, ..subject.clone() },
        "annotations": bundle_annotations(predicate_type, now),
    });
    manifest.to_string().into_bytes()
}

/// Describes the manifest of a bundle as the list under the fallback tag has it.
pub fn listed(manifest: &[u8], artifact_type: &str, predicate_type: &str, now: Time) -> Annotated {
    Annotated {
        descriptor: Descriptor::of(MANIFEST, manifest),
        artifact_type: Some(artifact_type.to_owned()),
        annotations: bundle_annotations(predicate_type, now),
    }
}

fn bundle_annotations(predicate_type: &str, now: Time) -> Annotations {
    Annotations::from([
        (BUNDLE_CONTENT.to_owned(), "dsse-envelope".to_owned()),
        (BUNDLE_PREDICATE_TYPE.to_owned(), predicate_type.to_owned()),
        (CREATED.to_owned(), now.to_string()),
    ])
}

/// Adds a referrer to the list under a fallback tag, or begins one; nothing where it is listed.
///
/// # Errors
/// A refusal (MALFORMED) when what is there is no list.
pub fn with_referrer(subject: &str, there: Option<&[u8]>, referrer: &Annotated) -> Result<Option<Vec<u8>>, Failure> {
    let mut document = match there {
        None => Map::from_iter([
            ("schemaVersion".to_owned(), json!(2)),
            ("mediaType".to_owned(), json!(INDEX)),
            ("manifests".to_owned(), json!([])),
        ]),
        Some(bytes) => {
            let is_it = |other: &Annotated| other.descriptor.digest == referrer.descriptor.digest;
            if Referrers::parse(subject, bytes)?.listed.iter().any(is_it) {
                return Ok(None);
            }
            object(subject, bytes)?
        }
    };
    let Some(Value::Array(manifests)) = document.get_mut("manifests") else {
        return Err(malformed(subject, "an array `manifests`", "none"));
    };
    manifests.push(to_value(subject, referrer)?);
    Ok(Some(Value::Object(document).to_string().into_bytes()))
}

fn object(subject: &str, bytes: &[u8]) -> Result<Map<String, Value>, Failure> {
    match json::parse(bytes, Limits::any_number(limit::DOCUMENT_BYTES)) {
        Ok(Value::Object(document)) => Ok(document),
        _ => Err(malformed(subject, "a JSON object", "something else")),
    }
}

fn to_value(subject: &str, value: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::malformed(subject, error))
}

/// Makes the layer of a signature in the simple-signing form, or of an attestation.
pub fn layer(media_type: &str, bytes: &[u8], annotations: &[(&str, &str)]) -> Annotated {
    let annotations = annotations.iter();
    Annotated {
        descriptor: Descriptor::of(media_type, bytes),
        artifact_type: None,
        annotations: annotations
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sigstore::payload;

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn another_signature_leaves_the_others_and_everything_else_as_they_are() {
        let one = layer(payload::MEDIA_TYPE, b"1", &[(payload::SIGNATURE, "a")]);
        let two = layer(payload::MEDIA_TYPE, b"2", &[(payload::SIGNATURE, "b")]);
        let first = with_layer("it", None, &one).unwrap().unwrap();
        let mut more = parsed(&first.manifest);
        more.as_object_mut()
            .unwrap()
            .insert("annotations".to_owned(), json!({ "k": "v" }));
        let second = with_layer("it", Some(more.to_string().as_bytes()), &two)
            .unwrap()
            .unwrap();
        let artifact = Artifact::parse("it", &second.manifest).unwrap();
        assert_eq!(artifact.layers, [one.clone(), two.clone()]);
        assert_eq!(artifact.annotations.get("k").unwrap(), "v");
        assert_eq!(artifact.config, Descriptor::of(CONFIG, &second.config));
        let listed = parsed(&second.config);
        let digests = json!([one.descriptor.digest, two.descriptor.digest]);
        assert_eq!(listed.pointer("/rootfs/diff_ids"), Some(&digests));
        assert_eq!(with_layer("it", Some(&second.manifest), &one).unwrap(), None);
    }

    #[test]
    fn of_several_layers_those_are_added_that_are_not_there_each_once() {
        let layer = |bytes: &[u8]| layer(payload::MEDIA_TYPE, bytes, &[]);
        let (one, two, three) = (layer(b"1"), layer(b"2"), layer(b"3"));
        let there = with_layers("it", None, &[one.clone(), two.clone()]).unwrap().unwrap();
        let more = [three.clone(), two.clone(), three.clone()];
        let more = with_layers("it", Some(&there.manifest), &more).unwrap().unwrap();
        assert_eq!(
            Artifact::parse("it", &more.manifest).unwrap().layers,
            [one.clone(), two, three]
        );
        assert_eq!(with_layers("it", Some(&more.manifest), &[one]).unwrap(), None);
        let many: Vec<_> = (0..=limit::LAYERS).map(|n| layer(n.to_string().as_bytes())).collect();
        let full = with_layers("it", Some(&there.manifest), &many).map(drop);
        assert!(full.is_err_and(|full| full.to_string().contains("at most 1024 signatures")));
    }

    #[test]
    fn two_signatures_over_the_same_payload_are_two() {
        let one = layer(payload::MEDIA_TYPE, b"1", &[(payload::SIGNATURE, "a")]);
        let two = layer(payload::MEDIA_TYPE, b"1", &[(payload::SIGNATURE, "b")]);
        let first = with_layer("it", None, &one).unwrap().unwrap();
        let second = with_layer("it", Some(&first.manifest), &two).unwrap().unwrap();
        assert_eq!(Artifact::parse("it", &second.manifest).unwrap().layers.len(), 2);
    }

    #[test]
    fn a_referrer_is_listed_once_beside_the_others() {
        let entry = |bytes: &[u8]| listed(bytes, "a/b", "t", Time::EPOCH);
        let first = with_referrer("it", None, &entry(b"1")).unwrap().unwrap();
        let second = with_referrer("it", Some(&first), &entry(b"2")).unwrap().unwrap();
        let listed = parsed(&second);
        let entries = [entry(b"1"), entry(b"2")].map(|entry| serde_json::to_value(entry).unwrap());
        assert_eq!(listed.get("manifests"), Some(&json!(entries)));
        assert_eq!(with_referrer("it", Some(&second), &entry(b"1")).unwrap(), None);
        assert!(with_referrer("it", Some(b"[]"), &entry(b"1")).is_err());
    }
}
