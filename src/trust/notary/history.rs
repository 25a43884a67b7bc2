//! What a collection said before: earlier versions of its root and of its targets, as far as the source still has them.
//!
//! Earlier versions are no longer trusted, so nothing is looked up in them; who signed them is told for the record.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::client::NotaryClient;
use super::document::{Signed, Unverified};
use super::file::FileMeta;
use super::key::NotaryKey;
use super::metadata::{Body, Targets};
use crate::key::KeyId;
use crate::limit;
use crate::time::Time;
use crate::trust::RoleKeys;
use crate::trust::Source;
use crate::trust::Table;
use crate::trust::TrustError;

/// One version of a role's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edition {
    /// The role.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// When it expired, or expires.
    pub expires: Time,
    /// The keys whose signatures are good, of all that any version of the collection gave to the role.
    pub signed_by: Vec<KeyId>,
    /// Names that are new in this version, or stand for something else than in the one before.
    pub changed: Vec<String>,
    /// Names that were in the version before.
    pub removed: Vec<String>,
}

/// One version of a role's metadata as it was come by.
enum Copy<T: Body> {
    /// A copy under its number, whose signatures nobody has checked.
    Numbered(Unverified<T>),
    /// The present version, where there is no copy under its number, and those by whose signatures the chain trusts it.
    Present(T, Vec<KeyId>),
}

impl<T: Body> Copy<T> {
    fn body(&self) -> &T {
        match self {
            Self::Numbered(document) => document.unverified_body(),
            Self::Present(body, _) => body,
        }
    }
}

/// What could be read of a collection's past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct History {
    /// Versions by role, oldest first.
    pub editions: Vec<Edition>,
    /// Versions that are no metadata, or that nobody signed who ever could.
    pub unreadable: Vec<String>,
}

impl<S: Source> NotaryClient<S> {
    /// Reads the versions before the present ones of the root, the top-level targets, and every delegated role that was
    /// fetched; at most [`limit::HISTORY_VERSIONS`] of each.
    ///
    /// # Errors
    /// [`TrustError::Source`] when the source cannot be read.
    pub fn history(&mut self) -> Result<History, TrustError> {
        let mut history = History::default();
        let root = self.chain().newest_root().clone();
        let roots = self.editions("root", &root, limit::ROOT_BYTES, &mut history)?;
        let mut keys: BTreeMap<String, BTreeMap<KeyId, NotaryKey>> = BTreeMap::new();
        for root in roots.iter().map(Copy::body) {
            for name in ["root", "targets"] {
                let given = root.role_keys(name).keys().clone();
                keys.entry(name.to_owned()).or_default().extend(given);
            }
        }
        for root in &roots {
            history.add("root", root, &keys, &BTreeSet::new(), &BTreeSet::new());
        }
        let present = self.chain().targets().clone();
        let delegated = self.chain().roles();
        let delegated: Vec<_> = delegated
            .map(|(role, signed)| (role.to_owned(), signed.clone()))
            .collect();
        let roles = std::iter::once(("targets".to_owned(), present)).chain(delegated);
        let mut all = Vec::new();
        for (role, present) in roles {
            let editions = self.editions::<Targets>(&role, &present, limit::TARGETS_BYTES, &mut history)?;
            all.push((role, editions));
        }
        for targets in all.iter().flat_map(|(_, editions)| editions).map(Copy::body) {
            for role in &targets.delegations.roles {
                let given = targets.delegations.role_keys(role).keys().clone();
                keys.entry(role.name.clone()).or_default().extend(given);
            }
        }
        for (role, editions) in &all {
            let mut before = &Table::<FileMeta>::default();
            for edition in editions {
                let now = &edition.body().targets;
                let changed = now.iter().filter(|(name, file)| before.get(name) != file.build());
                let changed = changed.map(|(name, _)| name.to_owned()).collect();
                let removed = before.keys().filter(|name| !now.contains_key(name));
                let removed = removed.map(str::to_owned).collect();
                history.add(role, edition, &keys, &changed, &removed);
                before = now;
            }
        }
        Ok(history)
    }

    /// Reads the versions of a role up to the present one, which is verified already.
    fn editions<T: Body>(
        &mut self,
        role: &str,
        present: &Signed<T>,
        max: usize,
        history: &mut History,
    ) -> Result<Vec<Copy<T>>, TrustError> {
        let newest = present.version();
        let first = newest.saturating_sub(limit::HISTORY_VERSIONS).max(1);
        let mut editions = Vec::new();
        for version in first..=newest {
            let file = format!("{version}.{role}.json");
            let Some(bytes) = self.source.file(&file, max).map_err(TrustError::Source)? else {
                continue;
            };
            match Unverified::<T>::parse(role, &bytes, max) {
                Ok(document) if document.unverified_body().header().version == version => {
                    editions.push(Copy::Numbered(document));
                }
                Ok(document) => {
                    let found = document.unverified_body().header().version;
                    history.unreadable.push(format!("{file}: it is version {found}"));
                }
                Err(error) => history.unreadable.push(format!("{file}: {error}")),
            }
        }
        if !editions.iter().any(|edition| edition.body().header().version == newest) {
            editions.push(Copy::Present(present.body().clone(), present.signers().to_vec()));
        }
        Ok(editions)
    }
}

impl History {
    fn add<T: Body>(
        &mut self,
        role: &str,
        edition: &Copy<T>,
        keys: &BTreeMap<String, BTreeMap<KeyId, NotaryKey>>,
        changed: &BTreeSet<String>,
        removed: &BTreeSet<String>,
    ) {
        let none = BTreeMap::new();
        let known = keys.get(role).unwrap_or(&none);
        let ids: Vec<_> = known.keys().cloned().collect();
        let keys = RoleKeys::of(role, &ids, 1, |id| known.get(id).cloned());
        let header = edition.body().header();
        let signed_by = match edition {
            Copy::Numbered(document) => match keys.check(role, document.message(), document.signatures()) {
                Ok(signers) => signers,
                Err(error) => {
                    self.unreadable.push(format!("{}.{role}.json: {error}", header.version));
                    return;
                }
            },
            Copy::Present(_, signers) => signers.clone(),
        };
        self.editions.push(Edition {
            role: role.to_owned(),
            version: header.version,
            expires: header.expires,
            signed_by,
            changed: changed.iter().cloned().collect(),
            removed: removed.iter().cloned().collect(),
        });
    }
}
