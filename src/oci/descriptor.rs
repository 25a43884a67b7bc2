//! Descriptors: a blob's media type, digest and size (image-spec, descriptor.md).

use serde::{Deserialize, Serialize};

use super::{Kind, Platform};
use crate::digest::Digest;

/// Names a blob: what it is, its digest and its size in bytes.
///
/// Members that say nothing about the bytes (`annotations`, `urls`, `data`) are not kept: bytes come from where the image came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type, as written.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Where a manifest's image runs, when an index lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Describes `bytes` under a media type, with SHA-256.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.into(),
            digest: Digest::sha256(bytes),
            size: bytes.len() as u64,
            platform: None,
        }
    }

    /// Returns what the media type stands for, if it is one of an image.
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(&self.media_type)
    }
}
