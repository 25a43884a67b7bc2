//! Media types, OCI's and Docker's, and what they stand for.

use crate::format::compress::Compression;

/// What a blob is, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An image's configuration.
    Config,
    /// A list of manifests, one a platform.
    Index,
    /// A tar archive that is one layer of a root file system.
    Layer(Compression),
    /// An image's config and layers.
    Manifest,
}

/// Media type of an OCI index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

const TYPES: &[(&str, Kind)] = &[
    (INDEX, Kind::Index),
    (MANIFEST, Kind::Manifest),
    ("application/vnd.oci.image.config.v1+json", Kind::Config),
    ("application/vnd.oci.image.layer.v1.tar", Kind::Layer(Compression::None)),
    (
        "application/vnd.oci.image.layer.v1.tar+gzip",
        Kind::Layer(Compression::Gzip),
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+zstd",
        Kind::Layer(Compression::Zstd),
    ),
    ("application/vnd.docker.distribution.manifest.list.v2+json", Kind::Index),
    ("application/vnd.docker.distribution.manifest.v2+json", Kind::Manifest),
    ("application/vnd.docker.container.image.v1+json", Kind::Config),
    (
        "application/vnd.docker.image.rootfs.diff.tar",
        Kind::Layer(Compression::None),
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        Kind::Layer(Compression::Gzip),
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        Kind::Layer(Compression::Zstd),
    ),
];

impl Kind {
    /// Looks a media type up; `None` for one that no image of ours is made of (an artifact's, a foreign layer's).
    pub fn of(media_type: &str) -> Option<Self> {
        let known = TYPES.iter().find(|(name, _)| *name == media_type);
        known.map(|(_, kind)| *kind)
    }

    /// Iterates over the media types of indexes and manifests, for asking a registry.
    pub fn documents() -> impl Iterator<Item = &'static str> {
        let documents = TYPES
            .iter()
            .filter(|(_, kind)| matches!(kind, Self::Index | Self::Manifest));
        documents.map(|(name, _)| *name)
    }
}
