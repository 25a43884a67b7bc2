//! Signing what changed.

use super::{Collection, EditError, lifetime};
use crate::key::{Signer, TufKey};
use crate::time::Time;
use crate::trust::TrustError;
use crate::trust::bundle::Bundle;
use crate::trust::client::Client;
use crate::trust::metadata::{Body, MetaFile};
use crate::trust::role_keys::RoleKeys;
use crate::trust::{document, names};

/// New files of a collection, in the order in which they must get their names: the timestamp last.
///
/// Only [`Collection::sign`] makes one, after it was checked as a client would.
#[derive(Clone, Debug)]
pub struct Publication {
    files: Bundle,
}

impl Publication {
    /// Returns the files in order.
    pub fn files(&self) -> &Bundle {
        &self.files
    }
}

impl Collection {
    /// Signs every role that has to, with those of `keys` that are the role's; all new expiries count from `now`.
    ///
    /// # Errors
    /// [`EditError::Keys`] when too few of a role's keys are there, [`EditError::Trust`] when the outcome would not be
    /// trusted by a client that trusted the collection before.
    pub fn sign(mut self, keys: &[&dyn Signer], now: Time) -> Result<Publication, EditError> {
        let signer = Pen { keys, now };
        let roles = self.to_sign();
        let published = self.files.files().next().is_some();
        let mut files = Bundle::default();
        if roles.contains("root") {
            // The keys of root N and root N + 1 are the same, so that one set of signatures serves for both.
            let bytes = signer.sign(&self.role_keys("root")?, &mut self.root, published)?;
            files.add(names::file_name("root", Some(self.root.header.version)), bytes);
        }
        let versioned = self.root.consistent_snapshot;
        let file_name = |role: &str, version: u64| names::file_name(role, versioned.then_some(version));
        for role in &roles {
            let keys = self.role_keys(role)?;
            let meta = format!("{role}.json");
            let body = match role.as_str() {
                "root" | "snapshot" | "timestamp" => continue,
                "targets" => Some(&mut self.targets),
                _ => self.delegated.get_mut(role),
            };
            let body = body.ok_or_else(|| EditError::NoRole { role: role.clone() })?;
            let bytes = signer.sign(&keys, body, self.snapshot.meta.contains_key(&meta))?;
            let version = body.header.version;
            self.snapshot.meta.insert(meta, MetaFile::describe(version, &bytes));
            files.add(file_name(role, version), bytes);
        }
        if roles.contains("snapshot") {
            let bytes = signer.sign(&self.role_keys("snapshot")?, &mut self.snapshot, published)?;
            let version = self.snapshot.header.version;
            let meta = MetaFile::describe(version, &bytes);
            self.timestamp.meta.insert("snapshot.json".to_owned(), meta);
            files.add(file_name("snapshot", version), bytes);
        }
        if roles.contains("timestamp") {
            let bytes = signer.sign(&self.role_keys("timestamp")?, &mut self.timestamp, published)?;
            files.add(names::file_name("timestamp", None), bytes);
        }
        self.check(&files)?;
        Ok(Publication { files })
    }

    /// Goes through the outcome as a client would that trusted the collection as it was loaded.
    ///
    /// Expiry is left out: a renewal of one role must be possible while another, whose keys are elsewhere, has expired.
    fn check(&self, new: &Bundle) -> Result<(), TrustError> {
        let mut all = self.files.clone();
        for (name, bytes) in new.files() {
            all.add(name, bytes);
        }
        // The first file is the root that the collection was loaded from, or the first root of a new one.
        let pin = all.files().next().map_or(&[][..], |(_, bytes)| bytes);
        Client::refresh(pin, &self.known, &all, Time::EPOCH)?.fetch_roles()
    }
}

/// Private keys, and when signatures by them are made.
struct Pen<'a> {
    keys: &'a [&'a dyn Signer],
    now: Time,
}

impl Pen<'_> {
    /// Signs the next version of a document, or its first.
    fn sign<T: Body>(&self, role: &RoleKeys, body: &mut T, published: bool) -> Result<Vec<u8>, EditError> {
        let header = body.header_mut();
        header.version += u64::from(published);
        header.expires = self.now.plus(lifetime(role.role()));
        let owned = |key: &TufKey| self.keys.iter().find(|own| own.public() == key.public()).copied();
        let keys: Vec<_> = role
            .keys()
            .iter()
            .filter_map(|(id, key)| Some((id, owned(key)?)))
            .collect();
        if u32::try_from(keys.len()).is_ok_and(|have| have < role.threshold()) {
            return Err(EditError::Keys {
                role: role.role().to_owned(),
                needed: role.threshold(),
                have: keys.len(),
                keys: role.keyids().to_vec(),
            });
        }
        document::sign(body, &keys)
    }
}
