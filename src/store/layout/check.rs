//! Checking a whole layout: every blob hashed, every image's documents read.

use rayon::prelude::*;
use serde::Serialize;

use super::Layout;
use crate::digest::Digest;
use crate::failure::{Failure, Refusal};
use crate::limit;
use crate::oci::{Descriptor, Document, Image};
use crate::reference::Reference;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How many blobs were hashed.
    pub blobs: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many images are tagged.
    pub images: usize,
    /// Blobs and documents that are not what they should be.
    pub refusals: Vec<Refusal>,
    /// What could not be read or is not here.
    pub missing: Vec<String>,
}

impl Check {
    /// Tells whether everything is as it should be.
    pub fn is_good(&self) -> bool {
        self.refusals.is_empty() && self.missing.is_empty()
    }

    fn note(&mut self, failure: Failure) {
        match failure {
            Failure::Refused(refusals) => self.refusals.extend(refusals),
            other => self.missing.push(other.to_string()),
        }
    }
}

impl Layout {
    /// Hashes every blob, and reads every tagged image's documents down to the presence of its layers.
    ///
    /// Of an index at least one manifest must be here with all that it names; a store seldom holds every platform.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] or [`Failure::Malformed`] when the layout itself cannot be read.
    pub fn check(&self) -> Result<Check, Failure> {
        let digests = self.digests()?;
        let images = self.list()?;
        let hashed: Vec<Result<u64, Failure>> = digests.par_iter().map(|digest| self.hash(digest)).collect();
        let mut check = Check {
            blobs: digests.len(),
            bytes: 0,
            images: images.len(),
            refusals: Vec::new(),
            missing: Vec::new(),
        };
        for result in hashed {
            match result {
                Ok(bytes) => check.bytes += bytes,
                Err(failure) => check.note(failure),
            }
        }
        for (reference, descriptor) in images {
            if let Err(failure) = self.check_image(&reference, &descriptor) {
                check.note(failure);
            }
        }
        Ok(check)
    }

    fn hash(&self, digest: &Digest) -> Result<u64, Failure> {
        let Some(here) = self.here(digest) else {
            return Err(Failure::unavailable(
                digest,
                "it vanished while the store was checked; check again",
            ));
        };
        let copied = std::io::copy(&mut self.blob_reader(&here)?, &mut std::io::sink());
        copied.map_err(|error| super::blob::failure(&self.blob_path(digest), &error))
    }

    fn check_image(&self, reference: &Reference, root: &Descriptor) -> Result<(), Failure> {
        let subject = reference.to_string();
        match self.read_document(&subject, root)? {
            document @ Document::Manifest(_) => self.check_children(&subject, &document),
            Document::Index(index) => {
                let here = |manifest: &&Descriptor| self.here(&manifest.digest).is_some();
                let mut manifests = index.manifests().iter().filter(here).peekable();
                if manifests.peek().is_none() {
                    let problem = "none of the manifests that its index lists is in the store; pull it again";
                    return Err(Failure::unavailable(subject, problem));
                }
                manifests.try_for_each(|manifest| {
                    let document = self.read_document(&subject, manifest)?;
                    self.check_children(&subject, &document)
                })
            }
        }
    }

    fn read_document(&self, subject: &str, descriptor: &Descriptor) -> Result<Document, Failure> {
        let bytes = self.blob_bytes(descriptor, limit::DOCUMENT_BYTES)?;
        Document::parse(subject, &bytes, Some(&descriptor.media_type))
    }

    fn check_children(&self, subject: &str, document: &Document) -> Result<(), Failure> {
        document
            .children()
            .try_for_each(|child| self.check_size(subject, child))
    }

    /// Checks that every blob that an image names is here, in the size that it names; the bytes are checked when they are read.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when one is missing; a refusal (DIGEST_MISMATCH) when one is longer or shorter.
    pub fn check_sizes(&self, subject: &str, image: &Image) -> Result<(), Failure> {
        image.blobs().iter().try_for_each(|blob| self.check_size(subject, blob))
    }

    fn check_size(&self, subject: &str, blob: &Descriptor) -> Result<(), Failure> {
        match self.here(&blob.digest) {
            Some(here) if here.size == blob.size => Ok(()),
            Some(here) => {
                let expected = format!("{} of {} bytes", blob.digest, blob.size);
                Err(crate::oci::digest_mismatch(
                    subject,
                    expected,
                    format!("{} bytes", here.size),
                ))
            }
            None => {
                let problem = format!("its blob {} is not in the store; pull it again", blob.digest);
                Err(Failure::unavailable(subject, problem))
            }
        }
    }
}
