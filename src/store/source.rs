//! Where images come from.

use std::io::Read;

use super::attached::{Ask, pieces};
use super::layout::Layout;
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
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

    /// Refuses a reference whose tag stands for another document than its digest names (law of the gate 3); nobody is asked where it
    /// does not name both.
    ///
    /// # Errors
    /// A refusal (DIGEST_MISMATCH), also [`Failure::Unavailable`] when it cannot be found out what the tag stands for.
    fn check_tag(&self, reference: &Reference) -> Result<(), Failure>;

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

    fn check_tag(&self, reference: &Reference) -> Result<(), Failure> {
        let Some((tagged, digest)) = reference.both() else {
            return Ok(());
        };
        let found = self.named(&tagged)?.ok_or_else(|| not_here(self, &tagged))?;
        // Bytes are read where they are compared by another algorithm alone.
        if found.algorithm() == digest.algorithm() {
            return compare_digests(reference, digest, &found);
        }
        let (_, bytes) = self.document(&tagged)?.ok_or_else(|| not_here(self, &tagged))?;
        compare_tag(reference, digest, &bytes)
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

/// Compares the document that a reference's tag stands for with the digest that it names.
pub(super) fn compare_tag(reference: &Reference, named: &Digest, document: &[u8]) -> Result<(), Failure> {
    let mut hasher = named.hasher();
    hasher.update(document);
    compare_digests(reference, named, &hasher.finish())
}

fn compare_digests(reference: &Reference, named: &Digest, found: &Digest) -> Result<(), Failure> {
    if found == named {
        return Ok(());
    }
    let expected = format!("a tag that stands for the digest beside it, {named}");
    let found = format!("it stands for {found}");
    let advice =
        "write the digest that the tag stands for, or the tag that stands for the digest; a digest needs no tag";
    Err(Refusal::new(Code::DigestMismatch, reference, expected, found, advice).into())
}

/// Refuses a new name for a document behind which another digest than the document's is written.
pub(super) fn check_new_name(name: &Reference, document: &[u8]) -> Result<(), Failure> {
    let Some(named) = name.digest() else { return Ok(()) };
    let mut hasher = named.hasher();
    hasher.update(document);
    let found = hasher.finish();
    if found == *named {
        return Ok(());
    }
    let expected = format!("an image with the digest that its new name has, {named}");
    let advice = "leave the digest out of the new name, or name the image that has it";
    Err(Refusal::new(Code::DigestMismatch, name, expected, found, advice).into())
}

fn not_here(layout: &Layout, reference: &Reference) -> Failure {
    let problem = format!("it is not in the store {}; pull it first", layout.dir().display());
    Failure::unavailable(reference, problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_new_name_has_the_documents_digest_or_none() {
        let check = |name: &str| check_new_name(&name.parse().unwrap(), b"it");
        assert_eq!(check("r.example/b:v2"), Ok(()));
        assert_eq!(check(&format!("r.example/b:v2@{}", Digest::sha512(b"it"))), Ok(()));
        for name in ["r.example/b:v2", "r.example/b"] {
            let other = format!("{name}@{}", Digest::sha256(b"another"));
            assert!(matches!(check(&other), Err(Failure::Refused(_))), "{other}");
        }
    }

    #[test]
    fn a_tag_is_compared_by_the_algorithm_of_the_digest_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open_or_create(dir.path().join("store")).unwrap();
        let config = Descriptor::of("application/vnd.oci.image.config.v1+json", b"{}");
        let manifest = |layers: &[Descriptor]| {
            let manifest = serde_json::json!({
                "schemaVersion": 2, "mediaType": crate::oci::MANIFEST, "config": config, "layers": layers,
            });
            manifest.to_string().into_bytes()
        };
        let (here, other) = (manifest(&[]), manifest(std::slice::from_ref(&config)));
        let writer = layout.writer().unwrap();
        let document = writer.put(crate::oci::MANIFEST, &mut here.as_slice()).unwrap();
        writer.tag(&"r.example/a:v1".parse().unwrap(), &document).unwrap();
        let check = |name: &str, digest: Digest| layout.check_tag(&format!("{name}@{digest}").parse().unwrap());
        for digest in [Digest::sha256, Digest::sha512] {
            assert_eq!(check("r.example/a:v1", digest(&here)), Ok(()));
            assert!(matches!(
                check("r.example/a:v1", digest(&other)),
                Err(Failure::Refused(_))
            ));
            assert!(matches!(
                check("r.example/a:v2", digest(&here)),
                Err(Failure::Unavailable { .. })
            ));
            assert_eq!(
                check("r.example/a", digest(&other)),
                Ok(()),
                "no tag, nothing to compare"
            );
        }
    }
}
