//! The owner's side: whole collections, changed in memory and signed.
//!
//! - What is loaded is verified from the owner's own pin, only that nothing counts as expired: who signs on top of a
//!   collection must not sign what somebody else put there.
//! - A change marks roles; [`Collection::sign`] gives these new versions and expiries, signs them, and describes them in
//!   snapshot and timestamp. The result is checked as a client would before anybody sees it.

mod change;
mod error;
mod sign;

pub use error::EditError;
pub use sign::Publication;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::bundle::{Bundle, Source};
use super::chain::Known;
use super::client::Client;
use super::metadata::{DelegatedRole, Header, Revoked, Role, Root, Snapshot, Targets, Timestamp};
use super::names;
use super::role_keys::RoleKeys;
use super::search::{delegated_keys, delegations};
use super::target::Mark;
use crate::key::{KeyId, TufKey};
use crate::time::{DAY, Time};

/// How long new metadata of a role count, in seconds: root a year, targets and snapshot 90 days, timestamp 14 days.
pub fn lifetime(role: &str) -> i64 {
    match role {
        "root" => 365 * DAY,
        "timestamp" => 14 * DAY,
        _ => 90 * DAY,
    }
}

/// How long before their expiry metadata of a role are due for renewal, in seconds: a quarter of their lifetime.
pub fn margin(role: &str) -> i64 {
    lifetime(role) / 4
}

/// A role's keys and how many of them must sign.
#[derive(Clone, Debug)]
pub struct RoleSpec {
    /// The keys, each once.
    pub keys: Vec<TufKey>,
    /// How many must sign, at least 1 and at most as many as there are.
    pub threshold: u32,
}

/// A whole collection in its owner's hands.
#[derive(Clone, Debug)]
pub struct Collection {
    root: Root,
    targets: Targets,
    /// Roles that the top level delegates to and that have metadata.
    delegated: BTreeMap<String, Targets>,
    snapshot: Snapshot,
    timestamp: Timestamp,
    /// Roles to be signed anew.
    changed: BTreeSet<String>,
    /// The files as they were loaded, none for a new collection; the first is the pinned root.
    files: Bundle,
    /// What a client that saw these files remembers of them.
    known: Known,
}

impl Collection {
    /// Makes a new collection that signs nothing yet.
    ///
    /// # Errors
    /// [`EditError::Threshold`] when a role has fewer keys than must sign.
    pub fn new(
        root: &RoleSpec,
        targets: &RoleSpec,
        snapshot: &RoleSpec,
        timestamp: &RoleSpec,
        now: Time,
    ) -> Result<Self, EditError> {
        let header = |role| Header::new(role, now.plus(lifetime(role)));
        let specs = [
            ("root", root),
            ("targets", targets),
            ("snapshot", snapshot),
            ("timestamp", timestamp),
        ];
        let mut keys = BTreeMap::new();
        let mut roles = BTreeMap::new();
        for (name, spec) in specs {
            spec.check(name)?;
            keys.extend(spec.objects());
            let role = Role {
                keyids: spec.keyids(),
                threshold: spec.threshold,
                extra: Map::new(),
            };
            roles.insert(name.to_owned(), role);
        }
        Ok(Self {
            root: Root {
                header: header("root"),
                consistent_snapshot: true,
                keys,
                roles,
                extra: Map::new(),
            },
            targets: new_targets(now),
            delegated: BTreeMap::new(),
            snapshot: Snapshot {
                header: header("snapshot"),
                meta: BTreeMap::new(),
                extra: Map::new(),
            },
            timestamp: Timestamp {
                header: header("timestamp"),
                meta: BTreeMap::new(),
                extra: Map::new(),
            },
            changed: names::TOP_LEVEL.into_iter().map(str::to_owned).collect(),
            files: Bundle::default(),
            known: Known::default(),
        })
    }

    /// Loads a collection from its files, from the root that its owner pinned; expired metadata load as well.
    ///
    /// # Errors
    /// [`EditError::Trust`] when the files are not what the collection's keys signed.
    pub fn load(pin: &[u8], source: impl Source) -> Result<Self, EditError> {
        // At the earliest time there is nothing has expired: the owner may renew what has.
        let mut client = Client::refresh(pin, &Known::default(), source, Time::EPOCH)?;
        client.fetch_roles()?;
        let chain = client.chain();
        let mut files = chain.files().clone();
        let mut delegated = BTreeMap::new();
        for (role, signed) in chain.roles() {
            files.add(signed.file(), signed.bytes());
            delegated.insert(role.to_owned(), signed.body().clone());
        }
        Ok(Self {
            root: chain.newest_root().body().clone(),
            targets: chain.targets().body().clone(),
            delegated,
            snapshot: chain.snapshot().body().clone(),
            timestamp: chain.timestamp().body().clone(),
            changed: BTreeSet::new(),
            known: Known {
                roots: Vec::new(),
                timestamp: Some(chain.timestamp().bytes().to_vec()),
                snapshot: Some(chain.snapshot().bytes().to_vec()),
            },
            files,
        })
    }

    /// Returns version and expiry of every role that has metadata, the top level first.
    pub fn marks(&self) -> Vec<(String, Mark)> {
        let top = [
            ("root", &self.root.header),
            ("targets", &self.targets.header),
            ("snapshot", &self.snapshot.header),
            ("timestamp", &self.timestamp.header),
        ];
        let delegated = self.delegated.iter().map(|(role, body)| (role.as_str(), &body.header));
        let all = top.into_iter().chain(delegated);
        all.map(|(role, header)| (role.to_owned(), header.into())).collect()
    }

    /// Returns the names of all roles: the top level, then those it delegates to, in order.
    pub fn role_names(&self) -> Vec<String> {
        let delegated = delegations(&self.targets).map(|delegation| delegation.name.as_str());
        names::TOP_LEVEL
            .into_iter()
            .chain(delegated)
            .map(str::to_owned)
            .collect()
    }

    /// Returns the patterns, or hash prefixes, of the names that a delegated role is trusted with.
    pub fn patterns(&self, role: &str) -> Vec<String> {
        let found = delegations(&self.targets).find(|delegation| delegation.name == role);
        found.map(DelegatedRole::patterns).unwrap_or_default()
    }

    /// Returns the keys that were taken from delegated roles.
    pub fn revoked(&self) -> &[Revoked] {
        &self.targets.revoked
    }

    /// Returns the keys of a role.
    ///
    /// # Errors
    /// [`EditError::NoRole`].
    pub fn role_keys(&self, role: &str) -> Result<RoleKeys, EditError> {
        if let Some(found) = self.root.roles.get(role) {
            return Ok(RoleKeys::new(role, &found.keyids, found.threshold, &self.root.keys));
        }
        let found = self.targets.delegation(role);
        let found = found.map(|delegation| delegated_keys(&self.targets, &delegation));
        found.ok_or_else(|| EditError::NoRole { role: role.to_owned() })
    }

    /// Returns the roles that have to sign because of the changes so far, snapshot and timestamp included.
    pub fn to_sign(&self) -> BTreeSet<String> {
        let mut roles = self.changed.clone();
        let only = |names: &[&str]| roles.iter().all(|role| names.contains(&role.as_str()));
        let (snapshot, timestamp) = (!only(&["root", "timestamp"]), !only(&["root"]));
        roles.extend(snapshot.then(|| "snapshot".to_owned()));
        roles.extend(timestamp.then(|| "timestamp".to_owned()));
        roles
    }
}

impl RoleSpec {
    /// Refuses a threshold that no signatures, or none that could ever be made, would meet.
    fn check(&self, role: &str) -> Result<(), EditError> {
        let distinct: HashSet<_> = self.keys.iter().map(TufKey::public).collect();
        let keys = u32::try_from(distinct.len()).unwrap_or(u32::MAX);
        match (1..=keys).contains(&self.threshold) && distinct.len() == self.keys.len() {
            true => Ok(()),
            false => Err(EditError::Threshold {
                role: role.to_owned(),
                threshold: self.threshold,
                keys,
            }),
        }
    }

    fn keyids(&self) -> Vec<KeyId> {
        self.keys.iter().map(TufKey::id).collect()
    }

    fn objects(&self) -> impl Iterator<Item = (KeyId, Value)> {
        self.keys.iter().map(|key| (key.id(), key.to_json().clone()))
    }
}

/// Makes targets metadata that sign nothing.
fn new_targets(now: Time) -> Targets {
    Targets {
        header: Header::new("targets", now.plus(lifetime("targets"))),
        targets: BTreeMap::new(),
        delegations: None,
        revoked: Vec::new(),
        extra: Map::new(),
    }
}
