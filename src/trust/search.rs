//! Looking up a name: the pre-order walk over delegated roles (specification, step 5.6.7).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::chain::{AtTargets, Chain, Wanted, check_described, check_version, meta_of, verify_targets};
use super::document::{Signed, Unverified};
use super::metadata::{DelegatedRole, Delegation, Snapshot, TargetFile, Targets, Timestamp};
use super::role_keys::RoleKeys;
use super::target::{Evidence, RoleMark, Target};
use super::{TrustError, names};
use crate::limit;

/// The most delegations of one role that a walk remembers: no more can be visited, even if as many again were before.
const REMEMBERED: usize = 2 * limit::DELEGATION_VISITS;

/// The metadata of a delegated role, checked against the keys that one delegating role gives it.
#[derive(Clone, Debug)]
pub(super) struct Delegated {
    by: String,
    role: String,
    keys: RoleKeys,
    targets: Signed<Targets>,
}

/// What a look-up has come to.
#[derive(Clone, Debug)]
pub enum Search {
    /// A role signed the name.
    Found(Box<Target>),
    /// Metadata of a delegated role are needed: fetch them, hand them to [`Chain::delegated`], and look up again.
    Wanted(WantedRole),
}

/// The same, before evidence is made of it.
pub(super) enum Walk<'a> {
    Found {
        file: &'a TargetFile,
        /// The delegated roles from the top level to the one that signed.
        path: Vec<&'a Delegated>,
        /// Every delegated role that was asked.
        asked: Vec<&'a Delegated>,
    },
    Wanted(WantedRole),
}

impl Walk<'_> {
    /// Returns the role that signed and what it said, if the walk came to an end.
    pub(super) fn end(&self) -> Option<(&str, &TargetFile)> {
        match self {
            Self::Found { file, path, .. } => Some((name_of_last(path), file)),
            Self::Wanted(_) => None,
        }
    }
}

/// A delegated role whose metadata a look-up needs; they are taken where it was asked for, and nowhere else.
#[derive(Clone, Debug)]
pub struct WantedRole {
    wanted: Wanted,
    by: String,
    keys: RoleKeys,
    snapshot: Arc<Signed<Snapshot>>,
}

impl WantedRole {
    /// Returns the role.
    pub fn role(&self) -> &str {
        self.keys.role()
    }

    /// Returns the role that delegates to it.
    pub(super) fn by(&self) -> &str {
        &self.by
    }

    /// Returns the file.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

/// A role to ask: the delegation that leads to it (`None` for the top level), and the delegated roles above it.
struct Step<'a> {
    delegation: Option<Delegation<'a>>,
    above: Vec<&'a Delegated>,
}

impl Chain<AtTargets> {
    /// Looks `name` up in the roles whose metadata are there.
    ///
    /// # Errors
    /// [`TrustError::Absent`] when no role that may sign the name does, and the reason why a role that has to be asked
    /// cannot be: a bad delegation is an error for the names that it covers.
    pub fn search(&self, name: &str) -> Result<Search, TrustError> {
        self.search_by(name, None)
    }

    /// Looks `name` up as [`Chain::search`] does; with a `role`, what others say is passed over. Whether it agrees with what
    /// prevails is the caller's to ask.
    ///
    /// # Errors
    /// As [`Chain::search`].
    pub(super) fn search_by(&self, name: &str, role: Option<&str>) -> Result<Search, TrustError> {
        Ok(match self.walk(name, role)? {
            Walk::Found { file, path, asked } => Search::Found(Box::new(self.found(name, file, &path, &asked))),
            Walk::Wanted(role) => Search::Wanted(role),
        })
    }

    /// Looks `name` up as [`Chain::search_by`] does, and makes no evidence of it.
    pub(super) fn walk<'a>(&'a self, name: &'a str, by: Option<&str>) -> Result<Walk<'a>, TrustError> {
        names::check_target_name(name)?;
        let mut visited = BTreeSet::new();
        let mut asked = Vec::new();
        // Roles yet to be asked, the next one last.
        let mut steps = vec![Step {
            delegation: None,
            above: Vec::new(),
        }];
        while let Some(Step { delegation, mut above }) = steps.pop() {
            // 5.6.7.1: a role is visited once, and so many roles at most.
            let role = delegation.as_ref().map_or("targets", |delegation| &delegation.name);
            if !visited.insert(role.to_owned()) {
                continue;
            }
            if visited.len() > limit::DELEGATION_VISITS {
                let problem = format!("a look-up would visit more than {} roles", limit::DELEGATION_VISITS);
                return Err(TrustError::malformed("delegations", problem));
            }
            if let Some(delegation) = delegation {
                match self.loaded(&delegation.name, &above) {
                    Some(delegated) => {
                        above.push(delegated);
                        asked.push(delegated);
                    }
                    None => return self.want(&delegation, &above).map(Walk::Wanted),
                }
            }
            let targets = self.last_of(&above);
            let counts = by.is_none_or(|by| self.signs_as(&above).0 == by);
            if let Some(file) = targets.body().targets.get(name).filter(|_| counts) {
                let path = above;
                return Ok(Walk::Found { file, path, asked });
            }
            // 5.6.7.2: then the roles that it trusts with the name, in order; after a terminating one nobody is asked.
            let mut next = Vec::new();
            for delegation in targets.body().covering(name).take(REMEMBERED) {
                let last = delegation.terminating;
                next.push(Step {
                    delegation: Some(delegation),
                    above: above.clone(),
                });
                if last {
                    steps.clear();
                    break;
                }
            }
            steps.extend(next.into_iter().rev());
        }
        Err(TrustError::Absent {
            target: name.to_owned(),
        })
    }

    /// Takes the metadata of a delegated role.
    ///
    /// # Errors
    /// [`TrustError`] when they are not what the snapshot names, not signed by the role's keys, or past their time; or when they
    /// are wanted by other metadata than these.
    pub fn delegated(&mut self, wanted: WantedRole, bytes: &[u8]) -> Result<(), TrustError> {
        self.check_asked(&wanted)?;
        let WantedRole { wanted, by, keys, .. } = wanted;
        let meta = meta_of(&self.state.snapshot, keys.role())?;
        let targets = verify_targets(&wanted, meta, &keys, bytes, self.now)?;
        let role = keys.role().to_owned();
        self.state.delegated.push(Delegated {
            by,
            role,
            keys,
            targets,
        });
        Ok(())
    }

    /// Returns the file under a role's name, whoever trusts the role: none where the snapshot names none.
    pub(super) fn wanted_by_name(&self, role: &str) -> Option<Wanted> {
        let meta = meta_of(&self.state.snapshot, role).ok()?;
        Some(self.wanted_file(role, meta, limit::TARGETS_BYTES))
    }

    /// Reads the metadata of a role as one who trusts it to `keys`: for those who change whom they trust.
    pub(super) fn read_as(&self, wanted: &Wanted, keys: &RoleKeys, bytes: &[u8]) -> Result<Targets, TrustError> {
        let meta = meta_of(&self.state.snapshot, keys.role())?;
        let signed = verify_targets(wanted, meta, keys, bytes, self.now)?;
        Ok(signed.body().clone())
    }

    /// Reads the metadata of a role as the snapshot names them, whoever signed them: for those who sign them anew. Also tells whether
    /// nobody did but keys that were taken from the role.
    pub(super) fn unvouched(
        &self,
        wanted: &Wanted,
        keys: &RoleKeys,
        bytes: &[u8],
    ) -> Result<(Targets, bool), TrustError> {
        let role = keys.role();
        let meta = meta_of(&self.state.snapshot, role)?;
        check_described(&wanted.file, meta, bytes)?;
        let targets = Unverified::<Targets>::parse(&wanted.file, bytes, wanted.max)?;
        let body = targets.unverified_body();
        body.check_role(&wanted.file, role)?;
        check_version(role, meta.version, body.header.version)?;
        Ok((body.clone(), targets.is_signed_by_revoked_alone(keys)))
    }

    /// Returns the keys of a top-level role, or of one that the top level delegates to.
    ///
    /// # Errors
    /// [`TrustError::NoRole`].
    pub fn role_keys(&self, role: &str) -> Result<RoleKeys, TrustError> {
        if names::is_top_level(role) {
            return Ok(self.top_level_keys(role));
        }
        let targets = self.state.targets.body();
        let found = targets.delegation(role);
        let found = found.map(|delegation| delegated_keys(targets, &delegation));
        found.ok_or_else(|| TrustError::NoRole { role: role.to_owned() })
    }

    /// Returns the top-level targets.
    pub fn targets(&self) -> &Signed<Targets> {
        &self.state.targets
    }

    /// Returns the snapshot.
    pub fn snapshot(&self) -> &Signed<Snapshot> {
        &self.state.snapshot
    }

    /// Returns the timestamp.
    pub fn timestamp(&self) -> &Signed<Timestamp> {
        &self.state.timestamp
    }

    /// Returns the metadata of delegated roles that were handed in, by role.
    pub fn roles(&self) -> impl Iterator<Item = (&str, &Signed<Targets>)> {
        let delegated = self.state.delegated.iter();
        delegated.map(|delegated| (delegated.role.as_str(), &delegated.targets))
    }

    /// Returns the same, each by the role as which it signs: a bin signs as the role that it is a part of.
    pub fn signing_roles(&self) -> impl Iterator<Item = (Cow<'_, str>, &Signed<Targets>)> {
        let top = std::iter::once((Cow::Borrowed("targets"), self.targets()));
        let delegated = self.state.delegated.iter();
        top.chain(delegated.map(|delegated| {
            let path = self.path_to(delegated);
            (self.signs_as(&path).0, &delegated.targets)
        }))
    }

    /// Returns the roles that are delegated to by those whose metadata are there, that have metadata, and whose metadata were
    /// not handed in: once they are, there may be more.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] when there are more than anybody lists.
    pub fn missing_roles(&self) -> Result<Vec<WantedRole>, TrustError> {
        if self.state.delegated.len() > limit::COLLECTION_ROLES {
            let problem = format!("there are more than {} roles to list", limit::COLLECTION_ROLES);
            return Err(TrustError::malformed("delegations", problem));
        }
        let meta = &self.state.snapshot.body().meta;
        let loaded: BTreeSet<_> = self
            .state
            .delegated
            .iter()
            .map(|role| (role.by.as_str(), role.role.as_str()))
            .collect();
        let mut missing = Vec::new();
        let paths = std::iter::once(Vec::new()).chain(self.state.delegated.iter().map(|role| self.path_to(role)));
        // No look-up visits what lies deeper.
        let paths = paths.filter(|path| path.len() + 1 < limit::DELEGATION_VISITS);
        for path in paths {
            // What a role above it or itself is named again below it was reached already.
            let targets = self.last_of(&path).body();
            let by = name_of_last(&path);
            let listed = delegations(targets).map(|role| role.name.as_str());
            let listed = listed.filter(|name| meta.contains_key(&format!("{name}.json")));
            // Of bins, those that are published are looked at, not those that there could be.
            let bins = targets.delegations.as_ref().and_then(|all| all.succinct_roles.as_ref());
            let bins = bins.into_iter().flat_map(|bins| {
                let published = meta.keys().filter_map(|file| file.strip_suffix(".json"));
                published.filter(|name| bins.is_bin(name))
            });
            let names = listed.chain(bins).filter(|name| !loaded.contains(&(by, *name)));
            let names = names.filter(|name| *name != by && !path.iter().any(|above| above.role == *name));
            for delegation in names.filter_map(|name| targets.delegation(name)) {
                missing.push(self.want(&delegation, &path)?);
            }
        }
        Ok(missing)
    }

    /// Returns what is needed next to have the metadata of the role at the end of `path`, which begins below the top level;
    /// nothing when they are there, or when there are none.
    ///
    /// # Errors
    /// [`TrustError::Malformed`], which no snapshot that was read gives.
    pub(super) fn wanted_on(&self, path: &[String]) -> Result<Option<WantedRole>, TrustError> {
        let mut above = Vec::new();
        for name in path {
            if let Some(delegated) = self.loaded(name, &above) {
                above.push(delegated);
                continue;
            }
            let published = self.state.snapshot.body().meta.contains_key(&format!("{name}.json"));
            let delegation = self.last_of(&above).body().delegation(name).filter(|_| published);
            return delegation.map(|delegation| self.want(&delegation, &above)).transpose();
        }
        Ok(None)
    }

    /// Returns the metadata of the role at the end of `path`, if they were handed in.
    pub(super) fn role_on(&self, path: &[String]) -> Option<&Signed<Targets>> {
        let mut above = Vec::new();
        for name in path {
            above.push(self.loaded(name, &above)?);
        }
        Some(self.last_of(&above))
    }

    /// Returns the evidence for what the top-level targets say.
    pub fn evidence(&self) -> Evidence {
        self.evidence_of(&[])
    }

    /// Finds a delegated role's metadata, if they were handed in for this delegation.
    fn loaded(&self, role: &str, above: &[&Delegated]) -> Option<&Delegated> {
        let by = name_of_last(above);
        let mut loaded = self.state.delegated.iter();
        loaded.find(|delegated| delegated.role == role && delegated.by == by)
    }

    fn want(&self, delegation: &Delegation<'_>, above: &[&Delegated]) -> Result<WantedRole, TrustError> {
        let meta = meta_of(&self.state.snapshot, &delegation.name)?;
        Ok(WantedRole {
            wanted: self.wanted_file(&delegation.name, meta, limit::TARGETS_BYTES),
            by: name_of_last(above).to_owned(),
            keys: delegated_keys(self.last_of(above).body(), delegation),
            snapshot: Arc::clone(&self.state.snapshot),
        })
    }

    /// Refuses what was asked for by another snapshot, or by a role that gives other keys than the one here.
    fn check_asked(&self, wanted: &WantedRole) -> Result<(), TrustError> {
        let role = wanted.keys.role();
        let here = &self.state.snapshot;
        check_same_snapshot(
            role,
            (wanted.snapshot.version(), wanted.snapshot.bytes()),
            (here.version(), here.bytes()),
        )?;
        let top = (wanted.by == "targets").then_some(&*self.state.targets);
        let delegated = self.state.delegated.iter().filter(|other| other.role == wanted.by);
        let mut by = top.into_iter().chain(delegated.map(|other| &other.targets));
        let gives = |by: &Signed<Targets>| {
            let delegation = by.body().delegation(role);
            delegation.is_some_and(|delegation| delegated_keys(by.body(), &delegation) == wanted.keys)
        };
        match by.any(gives) {
            true => Ok(()),
            false => Err(TrustError::malformed(
                role,
                format!("it is wanted with keys that {} does not give it", wanted.by),
            )),
        }
    }

    /// Returns the delegated roles from the top level to one whose metadata were handed in.
    fn path_to<'a>(&'a self, delegated: &'a Delegated) -> Vec<&'a Delegated> {
        let mut path = vec![delegated];
        let mut last = delegated;
        while last.by != "targets" {
            // Whoever delegates was handed in before: so the walk goes back in the list, and ends.
            let Some(by) = self.state.delegated.iter().find(|other| other.role == last.by) else {
                break;
            };
            if path.iter().any(|other| other.role == by.role) {
                break;
            }
            path.push(by);
            last = by;
        }
        path.reverse();
        path
    }

    /// Returns the role as which the last of a path signs, and whose keys count.
    ///
    /// A role that is given names by their hash alone, with the keys and the threshold of the role that delegates, is a part of
    /// that role: what it signs, these keys signed, as if it stood in the role's own metadata.
    fn signs_as<'a>(&self, path: &[&'a Delegated]) -> (Cow<'a, str>, RoleKeys) {
        let mut role = Cow::Borrowed("targets");
        let mut keys = self.top_level_keys("targets");
        for (depth, delegated) in path.iter().enumerate() {
            let by = self.last_of(path.get(..depth).unwrap_or_default()).body();
            if !(delegates_by_hash(by, &delegated.role) && delegated.keys.same_as(&keys)) {
                role = self.called(delegated);
                keys = delegated.keys.clone();
            }
        }
        (role, keys)
    }

    /// Returns the name under which a delegated role counts: a name that the top level gives is that of the keys it gives it, and any
    /// other role that somebody below calls so is another one.
    fn called<'a>(&self, delegated: &'a Delegated) -> Cow<'a, str> {
        let top = self.state.targets.body();
        let given = top.delegation(&delegated.role);
        match given.is_none_or(|given| delegated_keys(top, &given).same_as(&delegated.keys))
            || delegated.by == "targets"
        {
            true => Cow::Borrowed(&delegated.role),
            false => Cow::Owned(format!("{}, as {} calls it", delegated.role, delegated.by)),
        }
    }

    fn last_of<'a>(&'a self, path: &[&'a Delegated]) -> &'a Signed<Targets> {
        path.last().map_or(&self.state.targets, |delegated| &delegated.targets)
    }

    fn found(&self, name: &str, file: &TargetFile, path: &[&Delegated], asked: &[&Delegated]) -> Target {
        let mut bundle = self.files.clone();
        // Every role that was asked, not only those on the path: that none before signed the name is part of the proof.
        for delegated in asked {
            bundle.add(delegated.targets.name(), delegated.targets.bytes());
        }
        Target {
            name: name.to_owned(),
            file: file.clone(),
            evidence: self.evidence_of(path),
            bundle,
        }
    }

    fn evidence_of(&self, path: &[&Delegated]) -> Evidence {
        let signed = self.last_of(path);
        let mark = |delegated: &&Delegated| RoleMark {
            role: delegated.role.clone(),
            mark: delegated.targets.header().into(),
        };
        Evidence {
            root_keys: self.top_level_keys("root").keyids().to_vec(),
            role: self.signs_as(path).0.into_owned(),
            threshold: signed.threshold(),
            keys: signed.signers().to_vec(),
            public_keys: signed.public_keys().clone(),
            root: self.root.header().into(),
            timestamp: self.state.timestamp.header().into(),
            snapshot: self.state.snapshot.header().into(),
            targets: self.state.targets.header().into(),
            path: path.iter().map(mark).collect(),
            judged_at: self.now,
        }
    }
}

/// Refuses a role's metadata that were asked for by another snapshot than the one here, each given by version and bytes.
pub(super) fn check_same_snapshot(role: &str, asked: (u64, &[u8]), here: (u64, &[u8])) -> Result<(), TrustError> {
    match std::ptr::eq(asked.1, here.1) || asked == here {
        true => Ok(()),
        false => Err(TrustError::malformed(
            role,
            format!("snapshot {} asks for it, and snapshot {} is trusted", asked.0, here.0),
        )),
    }
}

fn name_of_last<'a>(path: &[&'a Delegated]) -> &'a str {
    path.last().map_or("targets", |delegated| &delegated.role)
}

/// Returns the listed delegations of a role in order; bins are not listed.
pub(super) fn delegations(targets: &Targets) -> impl Iterator<Item = &DelegatedRole> {
    targets.delegations.iter().flat_map(|delegations| &delegations.roles)
}

/// Tells whether a role is given names by their hash alone.
pub(super) fn delegates_by_hash(by: &Targets, role: &str) -> bool {
    let listed = delegations(by).find(|delegation| delegation.name == role);
    listed.map_or_else(|| delegates_in_bins(by, role), |listed| listed.paths.is_none())
}

/// Tells whether a role is one of the bins that another delegates to in short.
pub(super) fn delegates_in_bins(by: &Targets, role: &str) -> bool {
    let bins = by.delegations.as_ref().and_then(|all| all.succinct_roles.as_ref());
    bins.is_some_and(|bins| bins.is_bin(role))
}

/// Returns the keys that a role gives a role it delegates to, less those that it took from it.
pub(super) fn delegated_keys(by: &Targets, delegation: &Delegation<'_>) -> RoleKeys {
    let none = std::collections::BTreeMap::new();
    let keys = by.delegations.as_ref().map_or(&none, |delegations| &delegations.keys);
    RoleKeys::new(&delegation.name, delegation.keyids, delegation.threshold, keys).with_revoked(&by.revoked)
}
