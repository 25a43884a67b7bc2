//! The past of a collection: its snapshots from the first to the present one, and what each of them changed.
//!
//! - A version is believed when keys that some root of the chain gave its role signed it; for a delegated role, those that its
//!   delegator of that time gave it. What the snapshot says of it has to fit as well.
//! - Old metadata prove who signed what, not that nobody threw a version away: versions that are not there are named.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::chain::{AtTargets, Chain, check_described, top_level_keys};
use super::document::Unverified;
use super::metadata::{MetaFile, Root, Snapshot, TargetFile, Targets};
use super::role_keys::RoleKeys;
use super::search::{delegated_keys, delegates_in_bins};
use super::{Source, TrustError, names};
use crate::key::KeyId;
use crate::limit;

/// One snapshot, and what it changed.
#[derive(Clone, Debug, Serialize)]
pub struct Epoch {
    /// The snapshot's version.
    pub version: u64,
    /// When its signer says that it was signed; only imgkit writes that down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
    /// Who signed the snapshot.
    pub signers: Vec<KeyId>,
    /// The roles that changed.
    pub roles: Vec<RoleChange>,
    /// Why it is not known, if it is not: its file is not there, or not what it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// What one version of a role changed.
#[derive(Clone, Debug, Serialize)]
pub struct RoleChange {
    /// The role.
    pub role: String,
    /// Its new version.
    pub version: u64,
    /// Who signed it.
    pub signers: Vec<KeyId>,
    /// Names that it did not sign before.
    pub added: Vec<String>,
    /// Names that it no longer signs.
    pub removed: Vec<String>,
    /// Names that stand for something else.
    pub moved: Vec<String>,
    /// Whether nobody trusts the role any more: the version is the last one then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Why it is not known, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// Walks a collection's snapshots up to version `until`, the present one if there is none; also returns what every role said
/// then.
///
/// # Errors
/// [`TrustError::Source`] when files cannot be read; [`TrustError::Malformed`] when there are more snapshots than anybody lists.
pub fn history(
    chain: &Chain<AtTargets>,
    mut source: impl Source,
    until: Option<u64>,
) -> Result<(Vec<Epoch>, BTreeMap<String, Targets>), TrustError> {
    let present = chain.snapshot().version();
    let until = until.unwrap_or(present).min(present);
    if until > limit::SNAPSHOTS_LISTED {
        let problem = format!("more than {} snapshots", limit::SNAPSHOTS_LISTED);
        return Err(TrustError::malformed("snapshot", problem));
    }
    let mut past = Past {
        roots: roots(chain)?,
        source: &mut source,
        meta: BTreeMap::new(),
        bodies: BTreeMap::new(),
        delegating: BTreeSet::new(),
        stirred: false,
    };
    let mut epochs = Vec::new();
    for version in 1..=until {
        epochs.push(past.epoch(version)?);
    }
    Ok((epochs, past.bodies))
}

struct Past<'a, S> {
    roots: Vec<Root>,
    source: &'a mut S,
    meta: BTreeMap<String, MetaFile>,
    bodies: BTreeMap<String, Targets>,
    /// The roles whose bodies delegate: few, where bins are many.
    delegating: BTreeSet<String>,
    /// Whether somebody trusts others than before this epoch.
    stirred: bool,
}

impl<S: Source> Past<'_, S> {
    fn epoch(&mut self, version: u64) -> Result<Epoch, TrustError> {
        let mut epoch = Epoch {
            version,
            signed: None,
            signers: Vec::new(),
            roles: Vec::new(),
            unknown: None,
        };
        let file = names::file_name("snapshot", Some(version));
        let Some(bytes) = self.fetch(&file, limit::SNAPSHOT_BYTES)? else {
            epoch.unknown = Some(format!("{file} is not there"));
            return Ok(epoch);
        };
        let snapshot = match self.top_level::<Snapshot>("snapshot", &file, &bytes, version) {
            Ok((body, signers)) => {
                epoch.signers = signers;
                body
            }
            Err(error) => {
                epoch.unknown = Some(error.to_string());
                return Ok(epoch);
            }
        };
        let signed = snapshot.extra.get(super::metadata::SIGNED_AT);
        epoch.signed = signed.and_then(|signed| signed.as_str()).map(str::to_owned);
        let changed = snapshot
            .meta
            .iter()
            .filter(|(name, meta)| self.meta.get(*name) != Some(meta));
        let mut changed: BTreeSet<String> = changed
            .filter_map(|(name, _)| name.strip_suffix(".json"))
            .map(str::to_owned)
            .collect();
        self.meta.clone_from(&snapshot.meta);
        // Whoever delegates comes first; what does not count for him may for another who is yet to be read.
        let mut refused = BTreeSet::new();
        loop {
            let may_count = |role: &&String| *role == "targets" || !self.delegators(role, &changed).is_empty();
            let mut next = changed.difference(&refused);
            let Some(role) = next.find(may_count).cloned() else {
                break;
            };
            let change = self.change(&role, &changed)?;
            if change.unknown.is_some() {
                refused.insert(role);
                continue;
            }
            changed.remove(&role);
            epoch.roles.push(change);
            if let Some(body) = self.bodies.get(&role) {
                refused.retain(|refused| body.delegation(refused).is_none());
            }
        }
        for role in changed {
            let change = self.change(&role, &BTreeSet::new())?;
            epoch.roles.push(change);
        }
        if std::mem::take(&mut self.stirred) {
            epoch.roles.extend(self.leave_out());
        }
        Ok(epoch)
    }

    /// Forgets what roles said that nobody trusts any more.
    fn leave_out(&mut self) -> Vec<RoleChange> {
        let mut left: BTreeSet<&str> = self.bodies.keys().map(String::as_str).collect();
        left.remove("targets");
        let mut queue = VecDeque::from(["targets"]);
        while let Some(body) = queue.pop_front().and_then(|by| self.bodies.get(by)) {
            let trusted: Vec<_> = left
                .iter()
                .copied()
                .filter(|role| body.delegation(role).is_some())
                .collect();
            trusted.iter().for_each(|role| {
                left.remove(role);
            });
            queue.extend(trusted);
        }
        let gone: Vec<_> = left.into_iter().map(str::to_owned).collect();
        let mut changes = Vec::new();
        for role in gone {
            let Some(body) = self.bodies.remove(&role) else {
                continue;
            };
            self.delegating.remove(&role);
            changes.push(RoleChange {
                version: body.header.version,
                signers: Vec::new(),
                added: Vec::new(),
                removed: body.targets.into_keys().collect(),
                moved: Vec::new(),
                gone: true,
                unknown: None,
                role,
            });
        }
        changes
    }

    /// Reads the version of a role that the snapshot names, as those trust it who are not `unread`.
    fn change(&mut self, role: &str, unread: &BTreeSet<String>) -> Result<RoleChange, TrustError> {
        let meta = self.meta.get(&format!("{role}.json")).cloned();
        let version = meta.as_ref().map_or(0, |meta| meta.version);
        let mut change = RoleChange {
            role: role.to_owned(),
            version,
            signers: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
            moved: Vec::new(),
            gone: false,
            unknown: None,
        };
        let file = names::file_name(role, Some(version));
        let bytes = self.fetch(&file, limit::TARGETS_BYTES)?;
        let read = match (bytes, meta) {
            (Some(bytes), Some(meta)) => self.read(&file, &bytes, (role, &meta), unread),
            _ => Err(TrustError::Missing { file }),
        };
        match read {
            Ok((body, signers)) => {
                change.signers = signers;
                let none = BTreeMap::new();
                let before = self.bodies.get(role).map_or(&none, |body| &body.targets);
                let is_new = |name: &&String| !before.contains_key(*name);
                let has_moved =
                    |(name, file): &(&String, &TargetFile)| before.get(*name).is_some_and(|old| old != *file);
                change.added = body.targets.keys().filter(is_new).cloned().collect();
                change.moved = body
                    .targets
                    .iter()
                    .filter(has_moved)
                    .map(|(name, _)| name.clone())
                    .collect();
                change.removed = before
                    .keys()
                    .filter(|name| !body.targets.contains_key(*name))
                    .cloned()
                    .collect();
                let had = self.bodies.get(role).and_then(|body| body.delegations.as_ref());
                self.stirred |= had != body.delegations.as_ref();
                match body.delegations.is_some() {
                    true => self.delegating.insert(role.to_owned()),
                    false => self.delegating.remove(role),
                };
                self.bodies.insert(role.to_owned(), body);
            }
            Err(error) => change.unknown = Some(error.to_string()),
        }
        Ok(change)
    }

    fn read(
        &self,
        file: &str,
        bytes: &[u8],
        (role, meta): (&str, &MetaFile),
        unread: &BTreeSet<String>,
    ) -> Result<(Targets, Vec<KeyId>), TrustError> {
        check_described(file, meta, bytes)?;
        if role == "targets" {
            let (body, signers) = self.top_level::<Targets>(role, file, bytes, meta.version)?;
            body.check_role(file, role)?;
            return Ok((body, signers));
        }
        let mut refused = TrustError::NoRole { role: role.to_owned() };
        // Whoever else lists the name, to keys of his own choice, stands in nobody's way; the nearest to the top level says why not.
        for (nth, by) in self.delegators(role, unread).into_iter().enumerate() {
            let Some(delegation) = by.delegation(role) else {
                continue;
            };
            let keys = delegated_keys(by, &delegation);
            match Unverified::<Targets>::parse(file, bytes, limit::TARGETS_BYTES)?.verify(&keys) {
                Ok(signed) => {
                    signed.body().check_role(file, role)?;
                    return Ok((signed.body().clone(), signed.signers().to_vec()));
                }
                Err(error) if nth == 0 => refused = error,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// Checks a document of the top level against the keys that some root gave its role, the newest first.
    fn top_level<T: super::metadata::Body>(
        &self,
        role: &str,
        file: &str,
        bytes: &[u8],
        version: u64,
    ) -> Result<(T, Vec<KeyId>), TrustError> {
        let mut refused = TrustError::NoRole { role: role.to_owned() };
        for root in self.roots.iter().rev() {
            let keys: RoleKeys = top_level_keys(root, role);
            match Unverified::<T>::parse(file, bytes, bytes.len())?.verify(&keys) {
                Ok(signed) if signed.version() == version => {
                    return Ok((signed.body().clone(), signed.signers().to_vec()));
                }
                Ok(signed) => {
                    refused = TrustError::Version {
                        role: role.to_owned(),
                        expected: version,
                        found: signed.version(),
                    };
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Returns what those say who trust a role and are reached from the top level, the nearest to it first, and before them the one
    /// whose bin it is; without those of them which are yet to be read.
    fn delegators(&self, role: &str, unread: &BTreeSet<String>) -> Vec<&Targets> {
        let mut found = Vec::new();
        let (mut seen, mut queue) = (BTreeSet::from(["targets"]), VecDeque::from(["targets"]));
        while let Some(name) = queue.pop_front() {
            let Some(body) = self.bodies.get(name).filter(|_| !unread.contains(name)) else {
                continue;
            };
            // Nobody vouches for himself.
            if name != role && body.delegation(role).is_some() {
                found.push(body);
            }
            // Only those are of interest who delegate themselves, and they are few.
            let next = self.delegating.iter().map(String::as_str);
            queue.extend(next.filter(|name| body.delegation(name).is_some() && seen.insert(name)));
        }
        found.sort_by_key(|body| !delegates_in_bins(body, role));
        found
    }

    fn fetch(&mut self, file: &str, max: usize) -> Result<Option<Vec<u8>>, TrustError> {
        self.source.file(file, max).map_err(TrustError::Source)
    }
}

/// Returns the roots of the chain, which were checked one by one.
fn roots(chain: &Chain<AtTargets>) -> Result<Vec<Root>, TrustError> {
    let files = chain.files().root_files();
    let read = |(name, bytes): (&str, &[u8])| {
        Unverified::<Root>::parse(name, bytes, limit::ROOT_BYTES).map(|root| root.unverified_body().clone())
    };
    files.map(read).collect()
}
