//! Copying an image with everything that is attached to it: documents and blobs byte for byte, so that digests stay.
//!
//! - Of an index every manifest comes along, with what is attached to it.
//! - Nothing that is attached may be missing: a copy without a signature that could not be read is no copy.
//! - What the target has beside the image stays: signatures under a tag are merged, lists of referrers too.

use std::io::Read as _;

use super::attached::{Attached, Beside, attached};
use super::layout::{Layout, Writer};
use super::registry::{Change, Registry, in_repository, tag_beside};
use super::source::{Source as _, check_new_name};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::oci::{Annotated, Artifact, Descriptor, Document, INDEX, Kind, MANIFEST, malformed};
use crate::reference::{Reference, Repository};
use crate::sigstore::manifest::{self, CONFIG};

/// Where attached manifests and their blobs are put.
pub trait Shelf {
    /// Puts a blob.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written.
    fn put(&self, repository: &Repository, media_type: &str, bytes: &[u8]) -> Result<(), Failure>;

    /// Puts the manifest under a tag beside an image; where one is, its layers are added to that.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be written, or what is there is no such manifest.
    fn put_tag(&self, repository: &Repository, tag: &str, manifest: &[u8], layers: &[Annotated])
    -> Result<(), Failure>;

    /// Puts a manifest that refers to an image.
    ///
    /// # Errors
    /// As [`Shelf::put_tag`].
    fn put_referrer(
        &self,
        repository: &Repository,
        image: &Digest,
        manifest: &[u8],
        listed: &Annotated,
    ) -> Result<(), Failure>;
}

/// Copies everything attached to an image, and to the manifests that it lists; returns how many manifests came along.
///
/// # Errors
/// [`Failure`] when anything of it cannot be read or written.
pub fn copy_attached(
    source: &dyn Beside,
    from: &Repository,
    (document, bytes): (&Descriptor, &[u8]),
    target: &dyn Shelf,
    to: &Repository,
) -> Result<usize, Failure> {
    let mut digests = vec![document.digest];
    if let Document::Index(index) = Document::parse(&from.to_string(), bytes, None)? {
        digests.extend(index.manifests().iter().map(|manifest| manifest.digest));
    }
    let mut copied = 0;
    for digest in digests {
        for found in attached(source, from, &digest)? {
            copy_one(source, from, &digest, found, target, to)?;
            copied += 1;
        }
    }
    Ok(copied)
}

fn copy_one(
    source: &dyn Beside,
    from: &Repository,
    image: &Digest,
    found: Attached,
    target: &dyn Shelf,
    to: &Repository,
) -> Result<(), Failure> {
    let (bytes, _) = found.manifest?;
    // With all that it is annotated with.
    let artifact = Artifact::parse(&format!("{from}@{}", found.listed.descriptor.digest), &bytes)?;
    let blobs = artifact.layers.iter().map(|layer| &layer.descriptor);
    for blob in blobs.chain([&artifact.config]) {
        if blob.size > limit::ATTACHED_BYTES as u64 {
            let expected = format!("at most {} bytes", limit::ATTACHED_BYTES);
            return Err(malformed(&format!("{from}, {}", blob.digest), expected, blob.size));
        }
        target.put(to, &blob.media_type, &source.small_blob(from, blob)?)?;
    }
    match found.suffix {
        Some(suffix) => target.put_tag(to, &tag_beside(image, suffix), &bytes, &artifact.layers),
        None => {
            let listed = Annotated {
                descriptor: found.listed.descriptor,
                artifact_type: found.listed.artifact_type.or(Some(artifact.kind)),
                annotations: artifact.annotations,
            };
            target.put_referrer(to, image, &bytes, &listed)
        }
    }
}

/// What becomes of the manifest under a tag when the layers of another are added to it.
struct Merged {
    manifest: Vec<u8>,
    config: Option<Vec<u8>>,
}

fn merge(subject: &str, there: Option<&[u8]>, new: &[u8], layers: &[Annotated]) -> Result<Option<Merged>, Failure> {
    let Some(there) = there else {
        return Ok(Some(Merged {
            manifest: new.to_vec(),
            config: None,
        }));
    };
    let mut merged: Option<Merged> = None;
    for layer in layers {
        let present = merged.as_ref().map_or(there, |merged| &merged.manifest);
        if let Some(extended) = manifest::with_layer(subject, Some(present), layer)? {
            merged = Some(Merged {
                manifest: extended.manifest,
                config: Some(extended.config),
            });
        }
    }
    Ok(merged)
}

impl Shelf for Registry {
    fn put(&self, repository: &Repository, media_type: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.put_blob(repository, media_type, bytes).map(drop)
    }

    fn put_tag(&self, repository: &Repository, tag: &str, new: &[u8], layers: &[Annotated]) -> Result<(), Failure> {
        let subject = format!("{repository}:{tag}");
        self.change_tagged(repository, tag, |there| {
            let Some(merged) = merge(&subject, there, new, layers)? else {
                return Ok(Change::None);
            };
            if let Some(config) = &merged.config {
                self.put_blob(repository, CONFIG, config)?;
            }
            Ok(Change::To(MANIFEST.to_owned(), merged.manifest))
        })
    }

    fn put_referrer(
        &self,
        repository: &Repository,
        image: &Digest,
        manifest: &[u8],
        listed: &Annotated,
    ) -> Result<(), Failure> {
        self.attach_referrer(repository, image, manifest, listed)
    }
}

impl Shelf for Writer<'_> {
    fn put(&self, _repository: &Repository, media_type: &str, mut bytes: &[u8]) -> Result<(), Failure> {
        self.put(media_type, &mut bytes).map(drop)
    }

    fn put_tag(&self, repository: &Repository, tag: &str, new: &[u8], layers: &[Annotated]) -> Result<(), Failure> {
        let name = in_repository(repository, tag)?;
        let there = self.layout().document(&name)?;
        let Some(merged) = merge(
            &name.to_string(),
            there.as_ref().map(|(_, there)| &**there),
            new,
            layers,
        )?
        else {
            return Ok(());
        };
        if let Some(config) = merged.config {
            self.put(CONFIG, &mut config.as_slice())?;
        }
        let manifest = self.put(MANIFEST, &mut merged.manifest.as_slice())?;
        self.tag(&name, &manifest)
    }

    fn put_referrer(
        &self,
        repository: &Repository,
        image: &Digest,
        manifest: &[u8],
        listed: &Annotated,
    ) -> Result<(), Failure> {
        let mut manifest = manifest;
        self.put(&listed.descriptor.media_type, &mut manifest)?;
        let name = in_repository(repository, &tag_beside(image, ""))?;
        let there = self.layout().document(&name)?;
        let list = manifest::with_referrer(&name.to_string(), there.as_ref().map(|(_, there)| &**there), listed)?;
        let Some(list) = list else { return Ok(()) };
        let list = self.put(INDEX, &mut list.as_slice())?;
        self.tag(&name, &list)
    }
}

/// Copies an image from one layout to another, under a name there.
///
/// # Errors
/// [`Failure`] when anything of it is missing, has other bytes, or cannot be written.
pub fn copy_image(
    from: &Layout,
    name: &Reference,
    to: &Writer<'_>,
    new_name: &Reference,
) -> Result<Descriptor, Failure> {
    let absent = || Failure::unavailable(name, format!("it is not in the layout {}", from.dir().display()));
    let (root, bytes) = from.document(name)?.ok_or_else(absent)?;
    from.check_tag(name)?;
    check_new_name(new_name, &bytes)?;
    let mut next = vec![root.clone()];
    while let Some(descriptor) = next.pop() {
        if !matches!(descriptor.kind(), Some(Kind::Index | Kind::Manifest)) {
            to.put_exactly(&descriptor, &mut from.blob_reader(&descriptor)?)?;
            continue;
        }
        let bytes = match descriptor.digest == root.digest {
            true => bytes.clone(),
            false => {
                let mut bytes = Vec::new();
                let read = from.blob_reader(&descriptor)?.read_to_end(&mut bytes);
                read.map_err(|error| Failure::unavailable(descriptor.digest, error))?;
                bytes
            }
        };
        let document = Document::parse(&name.to_string(), &bytes, Some(&descriptor.media_type))?;
        next.extend(document.children().cloned());
        to.put_exactly(&descriptor, &mut bytes.as_slice())?;
    }
    to.tag(new_name, &root)?;
    Ok(root)
}
