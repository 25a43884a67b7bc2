//! Putting signatures and attestations beside an image, so that nobody else's are lost.

use super::{Change, Digest, Failure, Registry, in_repository, tag_beside};
use crate::oci::{Annotated, Descriptor, INDEX, MANIFEST};
use crate::reference::Repository;
use crate::sigstore::manifest::{self, CONFIG, EMPTY};
use crate::time::Time;

/// A bundle on its way into a registry.
#[derive(Clone, Copy, Debug)]
pub struct NewBundle<'a> {
    /// Its media type.
    pub media_type: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The predicate type of the statement in it.
    pub predicate_type: &'a str,
}

impl Registry {
    /// Adds a layer to the manifest under a tag beside an image.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry cannot be reached or written; a refusal (MALFORMED) when what is under the tag is
    /// no manifest of that kind.
    pub fn attach_layer(
        &self,
        repository: &Repository,
        image: &Digest,
        suffix: &str,
        layer: &Annotated,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let tag = tag_beside(image, suffix);
        let subject = in_repository(repository, &tag)?.to_string();
        self.put_blob(repository, &layer.descriptor.media_type, bytes)?;
        self.change_tagged(repository, &tag, |there| {
            let Some(extended) = manifest::with_layer(&subject, there, layer)? else {
                return Ok(Change::None);
            };
            self.put_blob(repository, CONFIG, &extended.config)?;
            Ok(Change::To(MANIFEST.to_owned(), extended.manifest))
        })
    }

    /// Puts a bundle whose subject is an image, and lists it under the fallback tag where the registry does not list it itself.
    /// Returns its manifest.
    ///
    /// # Errors
    /// As [`Registry::attach_layer`].
    pub fn attach_bundle(
        &self,
        repository: &Repository,
        image: &Descriptor,
        bundle: NewBundle<'_>,
        now: Time,
    ) -> Result<Descriptor, Failure> {
        let blob = self.put_blob(repository, bundle.media_type, bundle.bytes)?;
        let (kind, empty) = EMPTY;
        self.put_blob(repository, kind, empty)?;
        let bytes = manifest::of_bundle(&blob, image, bundle.predicate_type, now);
        let listed = manifest::listed(&bytes, bundle.media_type, bundle.predicate_type, now);
        self.attach_referrer(repository, &image.digest, &bytes, &listed)?;
        Ok(listed.descriptor)
    }

    /// Puts a manifest that refers to an image, and lists it where the registry does not do so itself.
    ///
    /// # Errors
    /// As [`Registry::attach_layer`].
    pub fn attach_referrer(
        &self,
        repository: &Repository,
        image: &Digest,
        manifest: &[u8],
        listed: &Annotated,
    ) -> Result<(), Failure> {
        if self.put_referrer(repository, &listed.descriptor.media_type, manifest)? {
            return Ok(());
        }
        let tag = tag_beside(image, "");
        let subject = in_repository(repository, &tag)?.to_string();
        self.change_tagged(repository, &tag, |there| {
            let list = manifest::with_referrer(&subject, there, listed)?;
            Ok(list.map_or(Change::None, |list| Change::To(INDEX.to_owned(), list)))
        })
    }
}
