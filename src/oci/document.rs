//! Indexes and manifests (image-spec, image-index.md and manifest.md).

use serde::Deserialize;

use super::media::{INDEX, MANIFEST};
use super::{Descriptor, Kind, from_json, malformed};
use crate::failure::Failure;
use crate::limit;

/// A document that a reference can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// A list of manifests.
    Index(Index),
    /// One image, or another artifact.
    Manifest(Manifest),
}

/// A list of manifests, one a platform; it never lists another index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    media_type: String,
    manifests: Vec<Descriptor>,
}

impl Index {
    /// Returns the manifests in their order.
    pub fn manifests(&self) -> &[Descriptor] {
        &self.manifests
    }
}

/// A config and the layers it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    media_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Manifest {
    /// Returns the config's descriptor.
    pub fn config(&self) -> &Descriptor {
        &self.config
    }

    /// Returns the layers' descriptors, lowest first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.layers
    }
}

impl Document {
    /// Reads a document; `declared` is the media type under which it was named, where one was.
    ///
    /// # Errors
    /// A refusal (MALFORMED) when it is too long, not JSON, neither or both of the two kinds, lists an index, or calls itself
    /// something else than `declared`.
    pub fn parse(subject: &str, bytes: &[u8], declared: Option<&str>) -> Result<Self, Failure> {
        let raw: Raw = from_json(subject, bytes, MEMBERS)?;
        if raw.schema_version != 2 {
            return Err(malformed(subject, "schemaVersion 2", raw.schema_version));
        }
        let document = match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) => {
                let media_type = media_type(subject, raw.media_type, declared, INDEX, Kind::Index)?;
                Self::Index(Index { media_type, manifests })
            }
            (None, Some(config), Some(layers)) => {
                let media_type = media_type(subject, raw.media_type, declared, MANIFEST, Kind::Manifest)?;
                Self::Manifest(Manifest {
                    media_type,
                    config,
                    layers,
                })
            }
            (manifests, config, layers) => {
                let has = |name, there| if there { name } else { "" };
                let found = [
                    has("manifests", manifests.is_some()),
                    has("config", config.is_some()),
                    has("layers", layers.is_some()),
                ];
                let found: Vec<&str> = found.into_iter().filter(|name| !name.is_empty()).collect();
                let expected = "either `manifests`, or `config` and `layers`";
                return Err(malformed(subject, expected, format!("[{}]", found.join(", "))));
            }
        };
        document.check_children(subject)?;
        Ok(document)
    }

    /// Returns the document's media type.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Index(index) => &index.media_type,
            Self::Manifest(manifest) => &manifest.media_type,
        }
    }

    /// Iterates over what the document names: manifests, or the config and then the layers.
    pub fn children(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, rest) = match self {
            Self::Index(index) => (None, &index.manifests),
            Self::Manifest(manifest) => (Some(&manifest.config), &manifest.layers),
        };
        config.into_iter().chain(rest)
    }

    fn check_children(&self, subject: &str) -> Result<(), Failure> {
        let most = match self {
            Self::Index(_) => limit::INDEX_MANIFESTS,
            // One more for the config.
            Self::Manifest(_) => limit::LAYERS + 1,
        };
        let count = self.children().count();
        if count > most {
            return Err(malformed(subject, format!("at most {most} descriptors"), count));
        }
        for child in self.children() {
            let largest = match child.kind() {
                Some(Kind::Index) => {
                    return Err(malformed(subject, "manifests or blobs", "an index inside a document"));
                }
                Some(Kind::Config | Kind::Manifest) => limit::DOCUMENT_BYTES as u64,
                _ => limit::BLOB_BYTES,
            };
            if child.size > largest {
                let expected = format!("{} of at most {largest} bytes", child.digest);
                return Err(malformed(subject, expected, format!("{} bytes", child.size)));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

const MEMBERS: &[&str] = &["schemaVersion", "mediaType", "manifests", "config", "layers"];

/// Agrees on a media type between what the document says, what its descriptor said, and the kind that its members show.
///
/// Only OCI's two may be left out of the document.
fn media_type(
    subject: &str,
    own: Option<String>,
    declared: Option<&str>,
    default: &str,
    kind: Kind,
) -> Result<String, Failure> {
    let own = own.unwrap_or_else(|| default.to_owned());
    if let Some(declared) = declared
        && declared != own
    {
        let expected = format!("media type {declared}, as its descriptor says");
        return Err(malformed(subject, expected, own));
    }
    if Kind::of(&own) != Some(kind) {
        return Err(malformed(subject, format!("the media type of a {kind:?}"), own));
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use serde_json::{Value, json};

    fn descriptor(media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", "0".repeat(64)), "size": 2 })
    }

    fn manifest() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")],
        })
    }

    fn index() -> Value {
        json!({ "schemaVersion": 2, "manifests": [descriptor(MANIFEST)] })
    }

    fn parse(value: &Value, declared: Option<&str>) -> Result<Document, Failure> {
        Document::parse("it", value.to_string().as_bytes(), declared)
    }

    fn with(mut value: Value, name: &str, member: Value) -> Value {
        value.as_object_mut().unwrap().insert(name.to_owned(), member);
        value
    }

    #[test]
    fn reads_both_kinds_and_names_their_children() {
        let document = parse(&manifest(), Some(MANIFEST)).unwrap();
        assert_eq!(document.children().count(), 2);
        assert_eq!(document.media_type(), MANIFEST);
        assert!(matches!(parse(&index(), None), Ok(Document::Index(_))));
    }

    #[test]
    fn refuses_what_is_two_things_at_once() {
        for twofold in [
            with(manifest(), "manifests", json!([])),
            with(index(), "layers", json!([])),
            with(
                index(),
                "config",
                descriptor("application/vnd.oci.image.config.v1+json"),
            ),
            with(index(), "Layers", json!([])),
            with(manifest(), "MANIFESTS", json!([])),
        ] {
            assert!(matches!(parse(&twofold, None), Err(Failure::Refused(_))), "{twofold}");
        }
    }

    #[test]
    fn refuses_another_media_type_than_its_descriptors() {
        assert!(parse(&manifest(), Some(INDEX)).is_err());
        assert!(parse(&index(), Some(MANIFEST)).is_err());
        assert!(parse(&with(manifest(), "mediaType", json!(INDEX)), None).is_err());
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        let mut silent = manifest();
        silent.as_object_mut().unwrap().remove("mediaType");
        // OCI lets a document leave its media type out, Docker does not.
        assert!(parse(&silent, Some(MANIFEST)).is_ok());
        assert!(parse(&silent, Some(docker)).is_err());
    }

    #[test]
    fn any_changed_or_missing_byte_is_an_error_or_a_document() {
        for good in [manifest().to_string(), index().to_string()] {
            for at in 0..good.len() {
                for byte in [0, b'"', b'{', b'9', 0xff] {
                    let mut bytes = good.clone().into_bytes();
                    bytes.splice(at..=at, [byte]);
                    // What it is does not matter here; that it is said without panic does.
                    let _ = Document::parse("it", &bytes, None);
                }
                let cut = good.as_bytes().iter().take(at).copied().collect::<Vec<u8>>();
                assert!(Document::parse("it", &cut, None).is_err());
            }
        }
    }

    #[test]
    fn refuses_nested_indexes_old_schemas_and_huge_claims() {
        assert!(parse(&with(index(), "manifests", json!([descriptor(INDEX)])), None).is_err());
        assert!(parse(&with(manifest(), "schemaVersion", json!(1)), None).is_err());
        let huge = with(descriptor(MANIFEST), "size", json!(u64::MAX));
        assert!(parse(&with(index(), "manifests", json!([huge])), None).is_err());
        let many: Vec<Value> = (0..=limit::LAYERS).map(|_| descriptor("x/y")).collect();
        assert!(parse(&with(manifest(), "layers", json!(many)), None).is_err());
        assert!(Document::parse("it", &vec![b' '; limit::DOCUMENT_BYTES + 1], None).is_err());
        assert!(Document::parse("it", b"[]", None).is_err());
        let twice = index().to_string().replacen('{', r#"{"manifests":[],"#, 1);
        assert!(Document::parse("it", twice.as_bytes(), None).is_err());
    }
}
