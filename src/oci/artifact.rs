//! Artifacts that belong to an image: manifests with annotated layers or a subject (image-spec 1.1, manifest.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Descriptor, Document, MANIFEST, from_json, malformed};
use crate::failure::Failure;

/// Words beside a document or a descriptor, by their names. They say nothing that anybody signed.
pub type Annotations = BTreeMap<String, String>;

/// A manifest with what makes it an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What it is: its `artifactType`, or else the media type of its config.
    pub kind: String,
    /// The config.
    pub config: Descriptor,
    /// Its parts in their order.
    pub layers: Vec<Annotated>,
    /// The document that it belongs to, if it says so.
    pub subject: Option<Descriptor>,
    /// What it is annotated with.
    pub annotations: Annotations,
}

/// A descriptor with its annotations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotated {
    /// What it describes.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// What is described, if it is an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What it is annotated with.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Annotated>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Annotations,
}

impl Artifact {
    /// Reads a manifest.
    ///
    /// # Errors
    /// As [`Document::parse`], and a refusal (MALFORMED) when it is an index.
    pub fn parse(subject: &str, bytes: &[u8]) -> Result<Self, Failure> {
        let Document::Manifest(_) = Document::parse(subject, bytes, Some(MANIFEST))? else {
            return Err(malformed(subject, "a manifest", "an index"));
        };
        let raw: Raw = from_json(subject, bytes, &["artifactType", "subject", "annotations"])?;
        let kind = raw.artifact_type.filter(|kind| !kind.is_empty());
        Ok(Self {
            kind: kind.unwrap_or_else(|| raw.config.media_type.clone()),
            config: raw.config,
            layers: raw.layers,
            subject: raw.subject,
            annotations: raw.annotations,
        })
    }

    /// Drops the annotations of the manifest and of its layers, but for those with these names.
    pub fn keep_annotations(&mut self, names: &[&str]) {
        let layers = self.layers.iter_mut().map(|layer| &mut layer.annotations);
        for annotations in layers.chain([&mut self.annotations]) {
            annotations.retain(|name, _| names.contains(&name.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn descriptor(media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", "0".repeat(64)), "size": 2 })
    }

    fn manifest() -> Value {
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor("application/vnd.oci.empty.v1+json"),
            "layers": [{
                "mediaType": "a/b", "digest": format!("sha256:{}", "0".repeat(64)), "size": 2, "annotations": { "k": "v" },
            }],
            "subject": descriptor(MANIFEST),
        })
    }

    fn with(name: &str, member: Value) -> Value {
        let mut manifest = manifest();
        manifest.as_object_mut().unwrap().insert(name.to_owned(), member);
        manifest
    }

    #[test]
    fn reads_annotations_and_subject() {
        let artifact = Artifact::parse("it", manifest().to_string().as_bytes()).unwrap();
        assert_eq!(artifact.kind, "application/vnd.oci.empty.v1+json");
        assert_eq!(artifact.layers.first().unwrap().annotations.get("k").unwrap(), "v");
        assert!(artifact.subject.is_some());
        let named = with("artifactType", json!("x/y"));
        assert_eq!(Artifact::parse("it", named.to_string().as_bytes()).unwrap().kind, "x/y");
    }

    #[test]
    fn refuses_annotations_that_occur_twice() {
        let twice = manifest().to_string().replace(r#""k":"v""#, r#""k":"v","k":"w""#);
        assert!(Artifact::parse("it", twice.as_bytes()).is_err());
    }

    #[test]
    fn refuses_a_manifest_of_a_hundred_thousand_layers() {
        let many = with("layers", json!(vec![descriptor("a/b"); 100_000]));
        assert!(Artifact::parse("it", many.to_string().as_bytes()).is_err());
    }

    #[test]
    fn only_the_annotations_that_are_read_are_kept() {
        let with = with("annotations", json!({ "k": "v", "other": "w" }));
        let mut artifact = Artifact::parse("it", with.to_string().as_bytes()).unwrap();
        artifact.keep_annotations(&["other"]);
        assert_eq!(artifact.annotations.keys().collect::<Vec<_>>(), ["other"]);
        assert!(artifact.layers.first().unwrap().annotations.is_empty());
    }
}
