//! Signing what changed.

use std::collections::BTreeSet;

use super::{NotaryCollection, notary_lifetime};
use crate::key::{KeyError, KeyType, Scheme, Signer};
use crate::limit;
use crate::time::Time;
use crate::trust::RoleKeys;
use crate::trust::edit::EditError;
use crate::trust::notary::chain::check_dates;
use crate::trust::notary::metadata::Body;
use crate::trust::notary::{Draft, FileMeta, NotaryKey, Root, Unverified};

/// New files of a collection, by role, to be posted together.
///
/// Only [`NotaryCollection::sign`] makes one.
#[derive(Clone, Debug)]
pub struct NotaryPublication {
    files: Vec<(String, Vec<u8>)>,
}

impl NotaryPublication {
    /// Returns the files by role.
    pub fn files(&self) -> &[(String, Vec<u8>)] {
        &self.files
    }

    /// Returns the roles that signed.
    pub fn roles(&self) -> BTreeSet<String> {
        self.files.iter().map(|(role, _)| role.clone()).collect()
    }
}

impl NotaryCollection {
    /// Signs every role that changed, with those of `keys` that are the role's; all new expiries count from `now`.
    ///
    /// The snapshot is signed as well where `keys` has its keys; otherwise it is left to the server.
    ///
    /// # Errors
    /// [`EditError::Keys`] when too few of a role's keys are there, [`EditError`] when what comes of it cannot be written, or is a root
    /// that nobody would trust at `now`.
    pub fn sign(mut self, keys: &[&dyn Signer], now: Time) -> Result<NotaryPublication, EditError> {
        let mut files = Vec::new();
        if self.changed.contains("root") {
            let own = self.root.role_keys("root");
            let old = self.published.as_ref().map(|root| root.body().role_keys("root"));
            let mut draft = next(
                self.root.clone(),
                "root",
                last(&self.root, self.published.is_some()),
                now,
            )?;
            // The keys of the published root vouch for the new one, and the new one's own keys for themselves.
            for role in old.iter().chain([&own]) {
                sign(&mut draft, role, keys)?;
            }
            let bytes = draft.write()?;
            let signed = Unverified::<Root>::parse("root", &bytes, limit::ROOT_BYTES)?.verify(&own)?;
            check_dates(&signed, now)?;
            files.push(("root".to_owned(), bytes));
        }
        for role in self
            .changed
            .iter()
            .filter(|role| !matches!(role.as_str(), "root" | "snapshot"))
        {
            let no_role = || EditError::NoRole { role: role.clone() };
            let body = self.targets.get(role).ok_or_else(no_role)?.clone();
            let last = match self.snapshot.meta.contains_key(role) {
                true => body.header.version,
                false => self.left_behind.get(role).copied().unwrap_or(0),
            };
            let mut draft = next(body, role, last, now)?;
            sign(&mut draft, &self.role_keys(role)?, keys)?;
            files.push((role.clone(), draft.write()?));
        }
        for (role, bytes) in &files {
            self.snapshot.meta.insert(role.clone(), FileMeta::describe(bytes));
        }
        let snapshot = self.root.role_keys("snapshot");
        if self.changed.contains("snapshot") || own_keys(&snapshot, keys).next().is_some() {
            let last = last(&self.snapshot, self.published.is_some());
            let mut draft = next(self.snapshot, "snapshot", last, now)?;
            sign(&mut draft, &snapshot, keys)?;
            files.push(("snapshot".to_owned(), draft.write()?));
        }
        Ok(NotaryPublication { files })
    }
}

/// Returns the last version of a document that has been published, or 0.
fn last<T: Body>(body: &T, published: bool) -> u64 {
    if published { body.header().version } else { 0 }
}

/// Begins the version of a document after `last`.
fn next<T: Body>(mut body: T, role: &str, last: u64, now: Time) -> Result<Draft<T>, EditError> {
    let header = body.header_mut();
    header.version = last.saturating_add(1);
    header.expires = now.plus(notary_lifetime(role));
    Ok(Draft::new(body)?)
}

/// Signs with every one of a role's keys that is at hand.
fn sign<T: Body>(draft: &mut Draft<T>, role: &RoleKeys<NotaryKey>, keys: &[&dyn Signer]) -> Result<(), EditError> {
    let mut have = 0;
    for (key, signer) in own_keys(role, keys) {
        let signed = draft.sign(key, |message| sign_with(signer, message));
        signed.map_err(|error| EditError::from(crate::trust::TrustError::malformed(role.role(), error.to_string())))?;
        have += 1;
    }
    if u32::try_from(have).is_ok_and(|have: u32| have < role.threshold()) {
        return Err(EditError::Keys {
            role: role.role().to_owned(),
            needed: role.threshold(),
            have,
            keys: role.keyids().to_vec(),
        });
    }
    Ok(())
}

/// Returns those of a role's keys that can be signed with.
fn own_keys<'a>(
    role: &'a RoleKeys<NotaryKey>,
    keys: &'a [&'a dyn Signer],
) -> impl Iterator<Item = (&'a NotaryKey, &'a dyn Signer)> {
    role.keys().values().filter_map(|key| {
        let signer = keys.iter().find(|signer| signer.public() == key.public())?;
        Some((key, *signer))
    })
}

/// Signs as Notary has it: ECDSA over SHA-256 on every curve.
fn sign_with(signer: &dyn Signer, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    match signer.public().key_type() {
        KeyType::EcdsaP384 => signer.sign_with(Scheme::EcdsaP384Sha256, message),
        _ => signer.sign(message),
    }
}
