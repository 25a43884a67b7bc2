//! The owner's side: collections, changed in memory and signed.
//!
//! - What is loaded is verified from the owner's own pin, only that nothing counts as expired: who signs on top of a
//!   collection must not sign what somebody else put there.
//! - Metadata of delegated roles are loaded when a change needs them, so that a change of one bin costs one bin.
//! - A change marks roles; [`Collection::sign`] gives these new versions and expiries, signs them, and describes them in
//!   snapshot and timestamp. The result is checked as a client would before anybody sees it.
//! - What has too few signatures is no [`Publication`]: it is a [`Draft`], which others sign as well.

mod adopt;
mod bins;
mod change;
mod delegate;
mod draft;
mod envelope;
mod error;
mod keys;
mod roles;
mod sign;
mod trusts;
mod vouch;

pub use adopt::Drafted;
pub use bins::bins_for;
pub use draft::{Draft, Lacking};
pub use error::EditError;
pub use roles::RoleInfo;
pub use sign::{Lost, Publication};

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use serde_json::{Map, Value};

use super::bundle::Source;
use super::chain::{AtTargets, Chain, Known};
use super::client::Client;
use super::metadata::{Header, MetaFile, Role, Root, Snapshot, Targets, Timestamp};
use super::names;
use super::role_keys::RoleKeys;
use crate::digest::Digest;
use crate::key::{KeyId, TufKey};
use crate::time::{DAY, Time};
use envelope::Envelope;

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

/// A collection in its owner's hands; `'s` is how long its files can be read.
pub struct Collection<'s> {
    root: Root,
    snapshot: Snapshot,
    timestamp: Timestamp,
    /// The targets metadata that were needed so far, by role; the top level's always.
    held: BTreeMap<String, Held>,
    /// Roles to be signed anew.
    changed: BTreeSet<String>,
    /// Next versions that somebody signed already; one that changes again is no longer among them.
    prepared: BTreeMap<String, Envelope>,
    /// Those of them that nobody signs here: they count as they were signed.
    sealed: BTreeSet<String>,
    /// The keys that may sign for each role here, by their fingerprints; none where every key may sign for every role that has it.
    hands: Option<BTreeMap<String, BTreeSet<Digest>>>,
    /// How those whose documents a draft holds trust roles otherwise than before, each with the role: as they do is judged what is
    /// published.
    drafted: BTreeMap<(String, String), RoleKeys>,
    /// Roles that are new: what is published under their names is not theirs.
    fresh: BTreeSet<String>,
    /// Roles whose published metadata those who sign have seen, and vouch for anew.
    seen: BTreeSet<String>,
    /// Who trusts a role and for whom it need not count any more, each with the role.
    released: BTreeSet<(String, String)>,
    /// Roles that need not count for anybody.
    untrusted: BTreeSet<String>,
    /// Names that were put into roles: a client must find them in the outcome.
    put: BTreeSet<(String, String)>,
    /// The collection as it was loaded; none for a new one.
    published: Option<Client<Box<dyn Source + 's>>>,
}

/// Targets metadata of a role.
#[derive(Clone, Debug)]
struct Held {
    /// The role that delegates to it; none for the top level.
    by: Option<String>,
    body: Targets,
}

impl<'s> Collection<'s> {
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
        let root = Root {
            header: header("root"),
            consistent_snapshot: true,
            keys,
            roles,
            extra: Map::new(),
        };
        let snapshot = Snapshot {
            header: header("snapshot"),
            meta: BTreeMap::new(),
            extra: Map::new(),
        };
        let timestamp = Timestamp {
            header: header("timestamp"),
            meta: BTreeMap::new(),
            extra: Map::new(),
        };
        let mut collection = Self::of(root, snapshot, timestamp, new_targets(now));
        collection.changed = names::TOP_LEVEL.into_iter().map(str::to_owned).collect();
        Ok(collection)
    }

    /// Takes a top level of which nothing was changed.
    fn of(root: Root, snapshot: Snapshot, timestamp: Timestamp, targets: Targets) -> Self {
        let top = Held {
            by: None,
            body: targets,
        };
        Self {
            root,
            snapshot,
            timestamp,
            held: BTreeMap::from([("targets".to_owned(), top)]),
            changed: BTreeSet::new(),
            prepared: BTreeMap::new(),
            sealed: BTreeSet::new(),
            hands: None,
            drafted: BTreeMap::new(),
            fresh: BTreeSet::new(),
            seen: BTreeSet::new(),
            released: BTreeSet::new(),
            untrusted: BTreeSet::new(),
            put: BTreeSet::new(),
            published: None,
        }
    }

    /// Loads a collection's top level from its files, from the root that its owner pinned; expired metadata load as well.
    ///
    /// The rest is read from `source` when it is needed.
    ///
    /// # Errors
    /// [`EditError::Trust`] when the files are not what the collection's keys signed.
    pub fn load(pin: &[u8], source: impl Source + 's) -> Result<Self, EditError> {
        Self::load_after(pin, &Known::default(), source)
    }

    /// Loads a collection as [`Collection::load`] does, if it is not older than what is `known` of it.
    ///
    /// # Errors
    /// As [`Collection::load`].
    pub fn load_after(pin: &[u8], known: &Known, source: impl Source + 's) -> Result<Self, EditError> {
        // At the earliest time there is nothing has expired: the owner may renew what has.
        let source: Box<dyn Source + 's> = Box::new(source);
        let client = Client::refresh(pin, known, source, Time::EPOCH)?;
        let chain = client.chain();
        let (root, snapshot) = (chain.newest_root().body().clone(), chain.snapshot().body().clone());
        let (timestamp, targets) = (chain.timestamp().body().clone(), chain.targets().body().clone());
        let mut collection = Self::of(root, snapshot, timestamp, targets);
        collection.published = Some(client);
        Ok(collection)
    }

    /// Returns the roles that have to sign because of the changes so far, snapshot and timestamp included.
    pub fn to_sign(&self) -> BTreeSet<String> {
        let mut roles: BTreeSet<_> = self.changed.iter().chain(self.prepared.keys()).cloned().collect();
        let only = |names: &[&str]| roles.iter().all(|role| names.contains(&role.as_str()));
        let (snapshot, timestamp) = (!only(&["root", "timestamp"]), !only(&["root"]));
        roles.extend(snapshot.then(|| "snapshot".to_owned()));
        roles.extend(timestamp.then(|| "timestamp".to_owned()));
        roles
    }

    /// Returns those of them whose keys sign here: not those that count as others signed them ([`Collection::adopt_signed`]).
    pub fn to_sign_here(&self) -> BTreeSet<String> {
        &self.to_sign() - &self.sealed
    }

    /// Lets the keys of `hands`, by role, sign for no other role: a role that somebody else gave one of them is not its holder's.
    pub fn only_with(&mut self, hands: BTreeMap<String, BTreeSet<Digest>>) {
        self.hands = Some(hands);
    }

    /// Lets a change make a role count for nobody, till its keys sign it: else such a change is refused.
    pub fn leave_untrusted(&mut self, role: &str) {
        self.untrusted.insert(role.to_owned());
    }

    /// Returns the root as it is with the changes so far.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Returns the collection as it was loaded; none for a new one.
    pub fn published(&self) -> Option<&Chain<AtTargets>> {
        self.published.as_ref().map(Client::chain)
    }

    /// Marks a role to be signed anew; what was signed of its next version no longer is.
    fn touch(&mut self, role: &str) {
        self.changed.insert(role.to_owned());
        self.prepared.remove(role);
        self.sealed.remove(role);
    }

    /// Returns what the published snapshot says of a role.
    fn meta(&self, role: &str) -> Option<&MetaFile> {
        let published = self.published.as_ref()?;
        published.chain().snapshot().body().meta.get(&format!("{role}.json"))
    }
}

impl fmt::Debug for Collection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held: Vec<_> = self.held.keys().collect();
        f.debug_struct("Collection")
            .field("held", &held)
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

impl RoleSpec {
    /// Takes the present keys of a role.
    pub fn of(keys: &RoleKeys) -> Self {
        Self {
            keys: keys.keys().values().cloned().collect(),
            threshold: keys.threshold(),
        }
    }

    /// Refuses a threshold that no signatures, or none that could ever be made, would meet.
    fn check(&self, role: &str) -> Result<(), EditError> {
        let distinct: HashSet<_> = self.keys.iter().map(TufKey::public).collect();
        if distinct.len() < self.keys.len() {
            return Err(EditError::Twice { role: role.to_owned() });
        }
        let keys = u32::try_from(distinct.len()).unwrap_or(u32::MAX);
        match (1..=keys).contains(&self.threshold) {
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
        role: None,
        extra: Map::new(),
    }
}
