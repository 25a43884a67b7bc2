//! Where images come from.

use std::io::Read;

use super::attached::{Ask, pieces};
use super::layout::Layout;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::oci::{Descriptor, Image, Platform, walk};
use crate::reference::Reference;
use crate::sigstore::attachment::Attachment;

/// Gives images and the blobs that they name, all of them hashed as they are read.
pub trait Source: Sync {
    /// Returns the digest of the document that a reference stands for.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be found out.
    fn digest(&self, reference: &Reference) -> Result<Digest, Failure>;

    /// Finds the image that a reference names, for one platform.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be found or read; a refusal when a document on the way is not what it should be.
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure>;

    /// Opens a blob of an image; reading fails at the end when the bytes are not those that the descriptor names.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it is not here or cannot be opened.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Failure>;

    /// Gives what lies beside an image, of the kind that is wanted: from the first place that has `enough`, else from the last.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it could not be found out; a refusal when what lists it is malformed.
    fn attached(&self, ask: &Ask<'_>) -> Result<Vec<Attachment>, Failure>;
}

impl Source for Layout {
    fn digest(&self, reference: &Reference) -> Result<Digest, Failure> {
        let document = self.document(reference)?;
        let (descriptor, _) = document.ok_or_else(|| not_here(self, reference))?;
        Ok(descriptor.digest)
    }

    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure> {
        let document = self.document(reference)?;
        let (descriptor, bytes) = document.ok_or_else(|| not_here(self, reference))?;
        let mut fetch = |child: &Descriptor| self.blob_bytes(child, limit::DOCUMENT_BYTES);
        walk(&reference.to_string(), bytes, &descriptor.digest, platform, &mut fetch)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Failure> {
        Ok(Box::new(self.blob_reader(descriptor)?))
    }

    fn attached(&self, ask: &Ask<'_>) -> Result<Vec<Attachment>, Failure> {
        pieces(self, ask.reference.repository(), ask.document, ask.wanted)
    }
}

fn not_here(layout: &Layout, reference: &Reference) -> Failure {
    let problem = format!("it is not in the store {}; pull it first", layout.dir().display());
    Failure::unavailable(reference, problem)
}
