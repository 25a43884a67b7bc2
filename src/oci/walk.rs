//! The walk from the document that a reference names to the layers of one platform's image (law of the gate 3).

use super::{Descriptor, Document, ImageConfig, Index, Kind, Platform, check_digest, malformed};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::format::compress::Compression;

/// One platform's image: every document on the way to it, as bytes that were hashed, and what they say.
///
/// Only [`walk()`] makes one. Its layers' bytes are named, not held; who reads them hashes them against the descriptor and the diff id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    digest: Digest,
    index: Option<Vec<u8>>,
    manifest: Vec<u8>,
    manifest_digest: Digest,
    config_bytes: Vec<u8>,
    config: ImageConfig,
    layers: Vec<Layer>,
    blobs: Vec<Descriptor>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The layer's blob.
    pub descriptor: Descriptor,
    /// How the blob is compressed, by its media type.
    pub compression: Compression,
    /// Digest of the tar archive inside.
    pub diff_id: Digest,
}

impl Image {
    /// Returns the digest of the document that the reference named: the index's, or the manifest's if there is none.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the index's bytes, if the reference named one.
    pub fn index(&self) -> Option<&[u8]> {
        self.index.as_deref()
    }

    /// Returns the manifest's bytes.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// Returns the manifest's digest.
    pub fn manifest_digest(&self) -> &Digest {
        &self.manifest_digest
    }

    /// Returns the config's bytes.
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    /// Returns what the config says.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// Returns the layers, lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns the descriptors of what the manifest names: the config, then the layers.
    pub fn blobs(&self) -> &[Descriptor] {
        &self.blobs
    }
}

/// Walks from `document`, which must have the digest `expected`, to one platform's image.
///
/// `fetch` is asked for the manifest (when the document is an index) and the config; what it returns is measured and hashed
/// here, so it need not be trusted. `subject` names the image in messages.
///
/// # Errors
/// What `fetch` gave; a refusal (DIGEST_MISMATCH) when bytes are not those that were named; a refusal (MALFORMED) when a
/// document is not what it should be, no manifest or more than one is for `platform`, a layer is of unknown kind, or the config
/// contradicts index or manifest.
pub fn walk(
    subject: &str,
    document: Vec<u8>,
    expected: &Digest,
    platform: &Platform,
    fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, Failure>,
) -> Result<Image, Failure> {
    check_digest(subject, expected, &document)?;
    let (index, manifest_digest, manifest, parsed) = match Document::parse(subject, &document, None)? {
        Document::Manifest(parsed) => (None, *expected, document, parsed),
        Document::Index(list) => {
            let chosen = choose(subject, &list, platform)?;
            let bytes = checked(subject, chosen, fetch)?;
            // The media type in the index binds the manifest's own, so it is no index.
            let Document::Manifest(parsed) = Document::parse(subject, &bytes, Some(&chosen.media_type))? else {
                return Err(malformed(subject, "a manifest", "an index"));
            };
            (Some(document), chosen.digest, bytes, parsed)
        }
    };
    if parsed.config().kind() != Some(Kind::Config) {
        let found = &parsed.config().media_type;
        return Err(malformed(subject, "a container image's config", found));
    }
    let config_bytes = checked(subject, parsed.config(), fetch)?;
    let config = ImageConfig::parse(&format!("{subject} (config {})", parsed.config().digest), &config_bytes)?;
    if !platform.admits(&config.platform) {
        return Err(malformed(subject, format!("an image for {platform}"), config.platform));
    }
    if config.diff_ids.len() != parsed.layers().len() {
        let expected = format!("{} diff_ids in the config, one a layer", parsed.layers().len());
        return Err(malformed(subject, expected, config.diff_ids.len()));
    }
    let layers = parsed.layers().iter().zip(&config.diff_ids);
    let layers = layers.map(|(descriptor, diff_id)| match descriptor.kind() {
        Some(Kind::Layer(compression)) => Ok(Layer {
            descriptor: descriptor.clone(),
            compression,
            diff_id: *diff_id,
        }),
        _ => Err(malformed(
            subject,
            "layers that are tar archives, plain or with gzip or zstd",
            &descriptor.media_type,
        )),
    });
    let layers = layers.collect::<Result<_, _>>()?;
    let blobs = [parsed.config()].into_iter().chain(parsed.layers());
    Ok(Image {
        digest: *expected,
        index,
        manifest_digest,
        config_bytes,
        config,
        layers,
        blobs: blobs.cloned().collect(),
        manifest,
    })
}

/// Chooses the one manifest of an index for `platform`.
///
/// # Errors
/// A refusal (MALFORMED) when none or more than one is for it, or when any platform is listed twice.
pub fn choose<'a>(subject: &str, index: &'a Index, platform: &Platform) -> Result<&'a Descriptor, Failure> {
    let mut seen = std::collections::BTreeSet::new();
    for listed in index.manifests().iter().filter_map(|entry| entry.platform.as_ref()) {
        if !listed.is_nowhere() && !seen.insert(listed) {
            return Err(malformed(
                subject,
                "one manifest a platform",
                format!("two for {listed}"),
            ));
        }
    }
    let offers = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|listed| platform.admits(listed));
    let mut matching = index.manifests().iter().filter(offers);
    match (matching.next(), matching.next()) {
        (Some(one), None) if one.kind() == Some(Kind::Manifest) => Ok(one),
        (Some(one), None) => Err(malformed(subject, "a manifest", &one.media_type)),
        (Some(_), Some(_)) => Err(malformed(
            subject,
            format!("one manifest for {platform}"),
            "more than one",
        )),
        (None, _) => {
            let listed: Vec<String> = seen.iter().map(ToString::to_string).collect();
            let found = format!("manifests for [{}]", listed.join(", "));
            Err(malformed(subject, format!("a manifest for {platform}"), found))
        }
    }
}

/// Fetches what a descriptor names, and compares size and digest.
fn checked(
    subject: &str,
    descriptor: &Descriptor,
    fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, Failure>,
) -> Result<Vec<u8>, Failure> {
    let bytes = fetch(descriptor)?;
    let subject = format!("{subject} ({})", descriptor.digest);
    check_digest(&subject, &descriptor.digest, &bytes)?;
    if bytes.len() as u64 != descriptor.size {
        // The digest is right, so the document that names a size is what is wrong.
        let expected = format!("{} bytes, as its descriptor says", descriptor.size);
        return Err(malformed(&subject, expected, format!("{} bytes", bytes.len())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
