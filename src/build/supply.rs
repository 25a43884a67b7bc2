//! Components for the gate, out of the store or a registry.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Lock;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::oci::{Image, Platform};
use crate::reference::Reference;
use crate::sigstore::attachment::Attachment;
use crate::store::attached::Ask;
use crate::store::derived::Derived;
use crate::store::spool::Spool;
use crate::store::{Source, image_tree};
use crate::tree::contents::HashOnly;
use crate::tree::{Tree, list};
use crate::verify::Supply;

/// Images from a [`Source`], with trees from their signed lists where those are at hand.
pub struct FromStore<'a> {
    source: &'a dyn Source,
    derived: &'a Derived,
    lock: Option<&'a Lock>,
    /// What names stand for, so that each stands for one document however often its registry is asked.
    documents: Mutex<BTreeMap<Reference, Digest>>,
    /// What was unpacked on the way, so that no layer is unpacked twice.
    spools: Mutex<BTreeMap<Digest, Spool>>,
}

impl<'a> FromStore<'a> {
    /// Takes images from `source`; those that `lock` names, by the digests in it.
    pub fn new(source: &'a dyn Source, derived: &'a Derived, lock: Option<&'a Lock>) -> Self {
        Self {
            source,
            derived,
            lock,
            documents: Mutex::default(),
            spools: Mutex::default(),
        }
    }

    /// Returns the digest of the document that a name stands for: by the lock where there is one, which compared tags with digests
    /// when it was made; else by the source, for which a tag and a digest have to stand for the same.
    fn digest(&self, reference: &Reference) -> Result<Digest, Failure> {
        let locked = self.lock.map(|lock| lock.pin(reference)).transpose()?;
        if let Some(digest) = locked.as_ref().and_then(Reference::digest) {
            return Ok(*digest);
        }
        let known = || self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known().get(reference) {
            return Ok(*digest);
        }
        self.source.check_tag(reference)?;
        let digest = match reference.digest() {
            Some(digest) => *digest,
            None => self.source.digest(reference)?,
        };
        Ok(*known().entry(reference.clone()).or_insert(digest))
    }

    /// Returns the unpacked contents by the image's manifest, of images whose layers had to be read.
    pub fn into_spools(self) -> BTreeMap<Digest, Spool> {
        self.spools.into_inner().unwrap_or_default()
    }
}

impl Supply for FromStore<'_> {
    fn document(&self, reference: &Reference) -> Result<Digest, Failure> {
        self.digest(reference)
    }

    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure> {
        let pinned = reference.pin(self.digest(reference)?);
        let pinned = pinned.map_err(|named| Failure::malformed(reference, format!("it names {named}")))?;
        self.source.image(pinned.reference(), platform)
    }

    fn attached(&self, ask: &Ask<'_>) -> Result<Vec<Attachment>, Failure> {
        self.source.attached(ask)
    }

    fn tree(&self, subject: &str, image: &Image, signed: Option<&Digest>) -> Result<Tree, Failure> {
        // A list with the signed digest is what the signer signed, wherever it was kept.
        let known = signed.and_then(|digest| self.derived.tree_list(digest));
        if let Some(tree) = known.and_then(|bytes| list::parse(&bytes).ok()) {
            return Ok(tree);
        }
        let mut spool = Spool::within(self.derived.scratch())?;
        let tree = image_tree(self.source, subject, image, &mut spool)?;
        let text = list::write(&tree);
        self.derived
            .keep_tree_list(&Digest::sha256(text.as_bytes()), text.as_bytes());
        // Without it the layers are unpacked once more, no worse.
        if let Ok(mut spools) = self.spools.lock() {
            spools.insert(*image.manifest_digest(), spool);
        }
        Ok(tree)
    }
}

/// Computes an image's tree without keeping contents, for signing.
///
/// # Errors
/// [`Failure`] as [`image_tree`].
pub fn tree_of(source: &dyn Source, subject: &str, image: &Image) -> Result<Tree, Failure> {
    image_tree(source, subject, image, &mut HashOnly)
}
