//! What a policy pins: the files that it names, read and checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::failure::Failure;
use crate::key::PublicKey;
use crate::policy::SigstoreSigner;
use crate::sigstore::attachment::By;
use crate::sigstore::certificate::{Demand, TrustedRoot};
use crate::time::Time;

/// A Notary collection as a policy pins it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotaryPin {
    /// Its GUN: the full name of a repository.
    pub gun: String,
    /// The pinned root.json.
    pub root: Vec<u8>,
}

/// The files that a policy names.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    /// The pinned root.json files by the policy's names of the roots.
    pub roots: BTreeMap<String, Vec<u8>>,
    /// The Notary collections among the policy's roots, by its names.
    pub notary: BTreeMap<String, NotaryPin>,
    /// The keys of signers. An identity has none but on trial, where one stands in for it.
    pub keys: Vec<(SigstoreSigner, PublicKey)>,
    /// Trusted roots by the policy's paths of their files; the public instance's, where a signer names none, by `None`.
    pub trusted_roots: BTreeMap<Option<String>, Arc<TrustedRoot>>,
}

impl Pins {
    /// Hands out what tells these keys and authorities from others.
    pub(super) fn identify(&self, add: &mut dyn FnMut(&[u8])) {
        for (by, key) in &self.keys {
            add(by.to_string().as_bytes());
            add(key.fingerprint().as_bytes());
        }
        for (file, root) in &self.trusted_roots {
            add(file.as_deref().unwrap_or_default().as_bytes());
            add(root.digest().as_bytes());
        }
    }

    /// Returns the fingerprint of a signer's key.
    pub fn fingerprint(&self, signer: &SigstoreSigner) -> Option<Digest> {
        let known = self.keys.iter().find(|(known, _)| known == signer);
        known.map(|(_, key)| key.fingerprint())
    }

    /// Returns whose signatures count as a signer's.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the signer's file was not read.
    pub(super) fn by<'a>(&'a self, signer: &'a SigstoreSigner, now: Time) -> Result<By<'a>, Failure> {
        let absent = || Failure::malformed(signer, "its file was not read");
        if let Some((_, key)) = self.keys.iter().find(|(known, _)| known == signer) {
            return Ok(By::Keys(std::slice::from_ref(key)));
        }
        match signer {
            SigstoreSigner::Key { .. } => Err(absent()),
            SigstoreSigner::Identity {
                signer, trusted_root, ..
            } => {
                let root = self.trusted_roots.get(trusted_root).ok_or_else(absent)?;
                let demand = Demand::default();
                Ok(By::Identity {
                    signer,
                    root,
                    demand,
                    now,
                })
            }
        }
    }
}
