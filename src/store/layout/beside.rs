//! What is attached to images of a layout.
//!
//! - A tag is that of an entry's whole name, or the name alone, as other tools write it: what lies there is bound to its image by
//!   the digest in it, not by the name.
//! - Referrers are what the fallback tag's index lists, and the manifests without a name in `index.json` whose subject is the image.

use super::{Layout, Subject};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::oci::{Annotated, Annotations, Artifact, Descriptor, Kind, Referrers};
use crate::reference::Repository;
use crate::store::attached::{Beside, Tagged};

impl Layout {
    /// Returns the document under a digest, or nothing.
    fn small(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failure> {
        self.blob_bytes(descriptor, limit::DOCUMENT_BYTES)
    }

    /// Returns what a manifest is about, and its kind; nothing where it is about nothing or cannot be read.
    fn subject(&self, manifest: &Descriptor) -> Subject {
        if let Ok(known) = self.subjects.lock()
            && let Some(subject) = known.get(&manifest.digest)
        {
            return subject.clone();
        }
        let bytes = self.small(manifest).ok()?;
        let artifact = Artifact::parse(&manifest.digest.to_string(), &bytes).ok();
        let subject = artifact.and_then(|artifact| Some((artifact.subject?.digest, artifact.kind)));
        if let Ok(mut known) = self.subjects.lock() {
            known.insert(manifest.digest, subject.clone());
        }
        subject
    }
}

impl Beside for Layout {
    fn tagged(&self, _repository: &Repository, tag: &str) -> Result<Vec<Tagged>, Failure> {
        let found = self.index()?.ending_in(tag);
        let read = |descriptor: Descriptor| {
            let bytes = self.small(&descriptor);
            (descriptor, bytes)
        };
        Ok(found.into_iter().map(read).collect())
    }

    fn referrers(&self, _repository: &Repository, digest: &Digest) -> Result<Referrers, Failure> {
        let mut all = Referrers::default();
        for root in self.index()?.unnamed() {
            if root.kind() != Some(Kind::Manifest) {
                continue;
            }
            // Another image's manifest that is broken says nothing of this one.
            if let Some((subject, kind)) = self.subject(&root)
                && subject == *digest
            {
                all.listed.push(Annotated {
                    descriptor: root,
                    artifact_type: Some(kind),
                    annotations: Annotations::new(),
                });
            }
        }
        Ok(all)
    }

    fn document_bytes(&self, _repository: &Repository, document: &Descriptor) -> Result<Vec<u8>, Failure> {
        self.small(document)
    }

    fn small_blob(&self, _repository: &Repository, blob: &Descriptor) -> Result<Vec<u8>, Failure> {
        self.blob_bytes(blob, limit::ATTACHED_BYTES)
    }
}
