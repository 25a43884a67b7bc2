//! The owner's side of Notary's dialect: whole collections, changed in memory and signed.
//!
//! - What is changed was verified as a client verifies it, only that nothing counts as expired: nobody signs on top of what somebody
//!   else put there.
//! - What has expired is signed again, or nothing on top of it is published ([`NotaryCollection::check_fresh`]).
//! - What is published and cannot be trusted is neither changed nor begun anew: one who may sign for the role witnesses it first.
//! - A change marks roles; [`NotaryCollection::sign`] gives these new versions and expiries, and signs them. The timestamp is
//!   the server's; so is the snapshot where the server holds its key.
//! - Root keys are given by the caller, never made here.
//! - What the real client could not sign again (docs/notary.md, "Custom data") is refused before it is signed.

mod change;
mod custom;
mod sign;

pub use custom::check_custom;
pub use sign::NotaryPublication;

use std::collections::{BTreeMap, BTreeSet};

use super::chain::{AtTargets, NotaryChain};
use super::metadata::Snapshot;
use super::{Certificate, NotaryKey, Role, Root, Signed, Targets, Unverified, is_delegated_role};
use crate::time::{DAY, Time};
use crate::trust::edit::EditError;
use crate::trust::{Mark, RoleKeys, TrustError};

/// The top-level role that signs names.
const TARGETS: &str = "targets";

/// How long new metadata of a role count, in seconds, as the real client has it: root 10 years, the others 3.
pub fn notary_lifetime(role: &str) -> i64 {
    match role {
        "root" => 3650 * DAY,
        _ => 3 * 365 * DAY,
    }
}

/// How long before their expiry metadata of a role are due for renewal, in seconds: a quarter of their lifetime.
pub fn notary_margin(role: &str) -> i64 {
    notary_lifetime(role) / 4
}

/// The first keys of a collection, one for each role.
#[derive(Clone, Debug)]
pub struct FirstKeys {
    /// The root's, in a certificate for the collection.
    pub root: NotaryKey,
    /// The targets'.
    pub targets: NotaryKey,
    /// The snapshot's: the owner's or the server's.
    pub snapshot: NotaryKey,
    /// The server's.
    pub timestamp: NotaryKey,
}

/// A whole collection in the hands of somebody who may sign for some of its roles.
#[derive(Clone, Debug)]
pub struct NotaryCollection {
    gun: String,
    root: Root,
    /// The root as it is published, if one is.
    published: Option<Signed<Root>>,
    /// Metadata by role: `targets`, and delegated roles that have some.
    targets: BTreeMap<String, Targets>,
    /// What is published for roles that cannot be trusted, where it is to be signed anew.
    unvouched: BTreeMap<String, Unverified<Targets>>,
    snapshot: Snapshot,
    /// The last versions of roles that signed something before they were taken away.
    left_behind: BTreeMap<String, u64>,
    /// Roles to be signed anew.
    changed: BTreeSet<String>,
}

impl NotaryCollection {
    /// Makes a new collection that signs nothing yet.
    pub fn new(gun: &str, keys: FirstKeys, now: Time) -> Self {
        let mut root = Root::new(now);
        for (role, key) in [
            ("root", keys.root),
            (TARGETS, keys.targets),
            ("snapshot", keys.snapshot),
            ("timestamp", keys.timestamp),
        ] {
            root.roles.insert(role.to_owned(), Role::of([key.id().clone()], 1));
            root.keys.insert(key);
        }
        Self {
            gun: gun.to_owned(),
            root,
            published: None,
            targets: BTreeMap::from([(TARGETS.to_owned(), Targets::new(now))]),
            unvouched: BTreeMap::new(),
            snapshot: Snapshot::new(now, BTreeMap::new()),
            left_behind: BTreeMap::new(),
            changed: ["root", TARGETS].map(str::to_owned).into(),
        }
    }

    /// Takes over what a client verified: the top level, and the delegated roles whose metadata it has.
    pub fn of(chain: &NotaryChain<AtTargets>) -> Self {
        let mut targets: BTreeMap<_, _> = chain
            .roles()
            .map(|(role, signed)| (role.to_owned(), signed.body().clone()))
            .collect();
        targets.insert(TARGETS.to_owned(), chain.targets().body().clone());
        let root = chain.newest_root();
        Self {
            gun: chain.gun().to_owned(),
            published: Some(root.clone()),
            root: root.body().clone(),
            targets,
            unvouched: BTreeMap::new(),
            snapshot: chain.snapshot().body().clone(),
            left_behind: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Returns the collection's name.
    pub fn gun(&self) -> &str {
        &self.gun
    }

    /// Returns the roles that have targets metadata, with them.
    pub fn roles(&self) -> impl Iterator<Item = (&str, &Targets)> {
        self.targets.iter().map(|(role, targets)| (role.as_str(), targets))
    }

    /// Returns the roles that are to be signed anew, the snapshot left out.
    pub fn to_sign(&self) -> &BTreeSet<String> {
        &self.changed
    }

    /// Returns the delegated roles that are signed for the first time, as far as the snapshot says: one that was taken away and added
    /// again may have left a file behind, above whose version it goes on ([`NotaryCollection::set_left_behind`]).
    pub fn beginning(&self) -> impl Iterator<Item = &str> {
        let delegated = self.changed.iter().map(String::as_str);
        delegated.filter(|role| is_delegated_role(role) && !self.is_listed(role))
    }

    /// Has a role that begins anew go on above `version`: who knew that would refuse an older one.
    pub fn set_left_behind(&mut self, role: &str, version: u64) {
        self.left_behind.insert(role.to_owned(), version);
    }

    /// Returns a role's keys, whether the role has metadata yet or not.
    ///
    /// # Errors
    /// [`EditError::NoRole`].
    pub fn role_keys(&self, role: &str) -> Result<RoleKeys<NotaryKey>, EditError> {
        if self.root.roles.contains_key(role) {
            return Ok(self.root.role_keys(role));
        }
        let parent = above(role).ok_or_else(|| no_role(role))?;
        let parent = self.targets.get(parent).ok_or_else(|| match self.is_listed(parent) {
            true => self.absent(parent),
            false => no_role(role),
        })?;
        let delegation = parent.delegations.role(role).ok_or_else(|| no_role(role))?;
        Ok(parent.delegations.role_keys(delegation))
    }

    /// Returns the root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Returns what a role signs, if it has metadata.
    pub fn targets_of(&self, role: &str) -> Option<&Targets> {
        self.targets.get(role)
    }

    /// Tells whether somebody published metadata for a delegated role, whether they can be trusted or not.
    fn is_listed(&self, role: &str) -> bool {
        is_delegated_role(role) && self.snapshot.meta.contains_key(role)
    }

    /// Says why a role without metadata here has none: what others published is never begun anew.
    fn absent(&self, role: &str) -> EditError {
        match self.is_listed(role) {
            true => EditError::Unvouched { role: role.to_owned() },
            false => no_role(role),
        }
    }

    /// Returns the keys with which the next root has to be signed besides its own: those of the published one.
    pub fn published_root_keys(&self) -> Option<RoleKeys<NotaryKey>> {
        self.published.as_ref().map(|root| root.body().role_keys("root"))
    }

    /// Returns version and expiry of what everybody but the server signs: root, snapshot and targets, then delegated roles.
    pub fn marks(&self) -> impl Iterator<Item = (&str, Mark)> {
        let top = [("root", &self.root.header), ("snapshot", &self.snapshot.header)];
        let targets = self.targets.iter().map(|(role, body)| (role.as_str(), &body.header));
        top.into_iter()
            .chain(targets)
            .map(|(role, header)| (role, header.into()))
    }

    /// Returns from when on too few certificates of the root's keys are in their time.
    pub fn certificates_end(&self) -> Time {
        let keys = self.root.role_keys("root");
        let certificates = keys.keys().values().filter_map(NotaryKey::certificate);
        let mut ends: Vec<_> = certificates.map(Certificate::not_after).collect();
        ends.sort_by(|one, other| other.cmp(one));
        let last = usize::try_from(keys.threshold())
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        ends.get(last).copied().unwrap_or(Time::EPOCH)
    }

    /// Returns the roles without which nobody trusts at `now` what is signed, as they have expired and are not signed again: the root
    /// (also where its certificates are over), the top-level targets, and those above a role that is signed.
    pub fn in_the_way(&self, now: Time) -> Vec<String> {
        let is_above = |role: &str| {
            let below = format!("{role}/");
            self.changed.iter().any(|signed| signed.starts_with(&below))
        };
        // Whoever publishes has the snapshot signed again.
        let needed = self.marks().filter(|(role, mark)| match *role {
            "root" => self.certificates_end() <= now || (mark.expires <= now && !self.changed.contains("root")),
            "snapshot" => false,
            role => mark.expires <= now && !self.changed.contains(role) && (role == TARGETS || is_above(role)),
        });
        needed.map(|(role, _)| role.to_owned()).collect()
    }

    /// Refuses what nobody would trust at `now` once it is signed: [`NotaryCollection::in_the_way`].
    ///
    /// # Errors
    /// [`TrustError::Expired`]; [`TrustError::CertificateDates`].
    pub fn check_fresh(&self, now: Time) -> Result<(), TrustError> {
        let in_the_way = self.in_the_way(now);
        let Some((role, mark)) = self
            .marks()
            .find(|(role, _)| in_the_way.iter().any(|other| other == role))
        else {
            return Ok(());
        };
        let keys = self.root.role_keys("root");
        for certificate in keys
            .keys()
            .values()
            .filter_map(NotaryKey::certificate)
            .filter(|_| role == "root")
        {
            certificate.check_dates(now)?;
        }
        Err(TrustError::Expired {
            role: role.to_owned(),
            version: mark.version,
            expires: mark.expires,
            now,
        })
    }
}

fn no_role(role: &str) -> EditError {
    EditError::NoRole { role: role.to_owned() }
}

/// Returns the role that delegates to a delegated role.
fn above(role: &str) -> Option<&str> {
    role.rsplit_once('/').map(|(above, _)| above)
}
