//! Components for the gate, out of the store or a registry.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Mutex;

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
            spools: Mutex::default(),
        }
    }

    /// Returns the reference with the digest that the lock has for it, where there is a lock.
    fn pinned<'r>(&self, reference: &'r Reference) -> Result<Cow<'r, Reference>, Failure> {
        match self.lock {
            Some(lock) => lock.pin(reference).map(Cow::Owned),
            None => Ok(Cow::Borrowed(reference)),
        }
    }

    /// Returns the unpacked contents by the image's manifest, of images whose layers had to be read.
    pub fn into_spools(self) -> BTreeMap<Digest, Spool> {
        self.spools.into_inner().unwrap_or_default()
    }
}

impl Supply for FromStore<'_> {
    fn document(&self, reference: &Reference) -> Result<Digest, Failure> {
        self.source.digest(&*self.pinned(reference)?)
    }

    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure> {
        self.source.image(&*self.pinned(reference)?, platform)
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
