//! Looking names up in a Notary collection, and listing all of them.
//!
//! - `targets/releases` is asked first, with what it delegates to, if the collection has it: what docker pulls by a tag is
//!   what stands there. Then the top level, then the roles it delegates to, in order, each before those after it.
//! - A role says nothing of names outside its own paths and those of the roles above it.
//! - A role that has to be asked and cannot be trusted is an error for the names it covers. The real client goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::ser::{Error as _, SerializeStruct as _};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::chain::{AtTargets, Described, NotaryChain, NotaryKnown, hashed, is_same, meta_of, read_described};
use super::document::{Signed, Unverified};
use super::file::{FileBrief, FileMeta};
use super::key::NotaryKey;
use super::metadata::{DelegatedRole, Snapshot, Targets, Timestamp, check_name};
use crate::digest::Digest;
use crate::digest::Hasher;
use crate::limit;
use crate::trust::Bundle;
use crate::trust::Evidence;
use crate::trust::Kept;
use crate::trust::RoleKeys;
use crate::trust::RoleMark;
use crate::trust::Target;
use crate::trust::TrustError;
use crate::trust::Wanted;
use crate::trust::metadata::TargetFile;
use crate::trust::search::check_same_snapshot;

/// The role in which docker keeps every signer's tags.
pub const RELEASES: &str = "targets/releases";

const TARGETS: &str = "targets";

/// A delegated role whose metadata are needed; they are taken where it was asked for, and nowhere else.
#[derive(Clone, Debug)]
pub struct NotaryWanted {
    wanted: Wanted,
    meta: FileMeta,
    keys: RoleKeys<NotaryKey>,
    snapshot: Arc<Signed<Snapshot>>,
}

impl NotaryWanted {
    /// Returns the file.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Returns the role.
    pub fn role(&self) -> &str {
        self.keys.role()
    }

    /// Compares the role's metadata with the length and the hashes that the snapshot names.
    ///
    /// # Errors
    /// [`TrustError::Digest`] when they are others.
    pub fn described(&self, bytes: impl Into<Bytes>) -> Result<Described, TrustError> {
        Described::new(self.role(), &self.meta, bytes.into())
    }
}

/// What a look-up has come to.
#[derive(Clone, Debug)]
pub enum NotarySearch {
    /// A role signed the name.
    Found(Box<NotaryTarget>),
    /// Metadata of a delegated role are needed: hand them to [`NotaryChain::delegated`], and look up again.
    Wanted(Box<NotaryWanted>),
}

/// A target that a role of the collection signed. Only a look-up makes one.
#[derive(Clone, Debug)]
pub struct NotaryTarget {
    name: String,
    digests: Vec<Digest>,
    length: u64,
    custom: Option<Value>,
    evidence: Evidence,
}

/// A target in a list, of which only what is asked for is built.
#[derive(Clone, Debug)]
pub struct Listed<'a> {
    name: &'a str,
    file: Kept<'a, FileMeta>,
    evidence: Arc<Evidence>,
}

impl<'a> Listed<'a> {
    /// Returns the name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the role that signed.
    pub fn role(&self) -> &str {
        &self.evidence.role
    }

    /// Returns length and digests.
    ///
    /// # Errors
    /// [`TrustError::Malformed`], which no collection that was read gives.
    pub fn brief(&self) -> Result<FileBrief, TrustError> {
        FileBrief::of(self.file).ok_or_else(|| unreadable(self.role(), self.name))
    }

    /// Builds the target.
    ///
    /// # Errors
    /// As [`Listed::brief`].
    pub fn target(&self) -> Result<NotaryTarget, TrustError> {
        let file = self.file.build().ok_or_else(|| unreadable(self.role(), self.name))?;
        Ok(NotaryTarget::new(self.name, file, Evidence::clone(&self.evidence)))
    }
}

fn unreadable(role: &str, name: &str) -> TrustError {
    TrustError::malformed(role, format!("what it says of `{name}` cannot be read"))
}

/// What the signer says stands apart from what was found (docs/output.md).
impl Serialize for NotaryTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut target = serializer.serialize_struct("NotaryTarget", 3)?;
        target.serialize_field("name", &self.name)?;
        target.serialize_field("signed", &self.signed())?;
        target.serialize_field("evidence", &self.evidence)?;
        target.end()
    }
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.target().map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl NotaryTarget {
    fn new(name: &str, file: FileMeta, evidence: Evidence) -> Self {
        Self {
            name: name.to_owned(),
            digests: file.hashes.digests().collect(),
            length: file.length,
            custom: file.custom,
            evidence,
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the digests that the signer saw; there is at least one.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Returns what the signer says beyond that.
    pub fn custom(&self) -> Option<&Value> {
        self.custom.as_ref()
    }

    /// Returns all that the signer says of the name.
    pub fn signed(&self) -> Value {
        json!({ "digests": self.digests, "length": self.length, "custom": self.custom })
    }

    /// Returns who signed it, and under which metadata.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Turns it into a target of either dialect; `bundle` holds the metadata from which the look-up can be repeated.
    pub(super) fn with(self, bundle: Bundle) -> Target {
        Target {
            name: self.name,
            file: TargetFile {
                length: self.length,
                hashes: self.digests.into_iter().collect(),
                custom: self.custom,
                extra: Map::new(),
            },
            evidence: self.evidence,
            bundle,
        }
    }

    /// Begins to compare content with the target.
    pub fn check(&self) -> ContentCheck<'_> {
        ContentCheck {
            target: self,
            length: 0,
            hashers: self.digests.iter().map(Digest::hasher).collect(),
        }
    }
}

/// Content being compared with a target, as it streams by.
#[derive(Debug)]
pub struct ContentCheck<'a> {
    target: &'a NotaryTarget,
    length: u64,
    hashers: Vec<Hasher>,
}

impl ContentCheck<'_> {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.hashers.iter_mut().for_each(|hasher| hasher.update(bytes));
    }

    /// Ends the content.
    ///
    /// # Errors
    /// [`TrustError::Digest`] when length or a digest is another.
    pub fn finish(self) -> Result<(), TrustError> {
        let differ = |expected: String, found: String| TrustError::Digest {
            subject: format!("target {}", self.target.name),
            expected,
            found,
        };
        if self.length != self.target.length {
            let (expected, found) = (self.target.length, self.length);
            return Err(differ(format!("{expected} bytes"), format!("{found} bytes")));
        }
        for (expected, hasher) in self.target.digests.iter().zip(self.hashers) {
            let found = hasher.finish();
            if found != *expected {
                return Err(differ(expected.to_string(), found.to_string()));
            }
        }
        Ok(())
    }
}

/// A role of a collection, in the order in which a look-up asks them.
#[derive(Clone, Copy, Debug)]
pub struct AskedRole<'a> {
    /// Its name.
    pub name: &'a str,
    /// The role that delegates to it; itself for the top level.
    pub by: &'a str,
    /// What that one trusts it with; none for the top level.
    pub delegation: Option<&'a DelegatedRole>,
    /// What it signs, if that is there and trusted.
    pub signed: Option<&'a Signed<Targets>>,
    /// Whether the snapshot says that it signed anything.
    pub is_listed: bool,
}

/// A role to ask: its name, and the delegations that lead to it.
#[derive(Clone)]
struct Step<'a> {
    role: &'a str,
    path: Vec<&'a DelegatedRole>,
}

impl Step<'_> {
    /// Tells whether the role is trusted with a name, by every delegation on the way to it.
    fn covers(&self, name: &str) -> bool {
        self.path.iter().all(|delegation| delegation.covers(name))
    }
}

impl NotaryChain<AtTargets> {
    /// Looks `name` up in the roles whose metadata are there.
    ///
    /// # Errors
    /// [`TrustError::Absent`] when no role that may sign the name does, and the reason why a role that has to be asked
    /// cannot be.
    pub fn search(&self, name: &str) -> Result<NotarySearch, TrustError> {
        self.search_by(name, None)
    }

    /// Looks up what `role` alone says of `name`, or the role whose word prevails where none is given.
    ///
    /// # Errors
    /// As [`NotaryChain::search`].
    pub(super) fn search_by(&self, name: &str, role: Option<&str>) -> Result<NotarySearch, TrustError> {
        check_name(name)?;
        let mut visited = BTreeSet::new();
        let mut steps = self.first_steps();
        while let Some(step) = steps.pop() {
            if !step.covers(name) || !visited.insert(step.role) {
                continue;
            }
            let Some(targets) = self.loaded(step.role) else {
                return Ok(NotarySearch::Wanted(Box::new(self.want(&step)?)));
            };
            let is_asked = role.is_none_or(|role| role == step.role);
            if let Some(kept) = targets.body().targets.kept(name).filter(|_| is_asked) {
                // What is there and cannot be built is an error, never absent: another role must not be asked instead.
                let file = kept.build().ok_or_else(|| unreadable(step.role, name))?;
                let target = NotaryTarget::new(name, file, self.evidence(&step));
                return Ok(NotarySearch::Found(Box::new(target)));
            }
            steps.append(&mut steps_below(&step, targets));
        }
        Err(TrustError::Absent {
            target: name.to_owned(),
        })
    }

    /// Returns the delegated roles whose metadata have to be handed in before [`NotaryChain::list`] is complete.
    ///
    /// Roles that the snapshot does not list are not among them: [`NotaryChain::unlisted`].
    ///
    /// # Errors
    /// [`TrustError`] when a delegation is not one that Notary has.
    pub fn missing_roles(&self) -> Result<Vec<NotaryWanted>, TrustError> {
        let mut missing = Vec::new();
        self.walk(|step, targets| {
            if targets.is_none() && self.is_listed(step.role) {
                missing.push(self.want(step)?);
            }
            Ok(())
        })?;
        Ok(missing)
    }

    /// Returns the roles that are delegated to, and that nobody has signed as far as the snapshot says.
    ///
    /// # Errors
    /// As [`NotaryChain::missing_roles`].
    pub fn unlisted(&self) -> Result<Vec<String>, TrustError> {
        let mut unlisted = Vec::new();
        self.walk(|step, _| {
            if !self.is_listed(step.role) {
                unlisted.push(step.role.to_owned());
            }
            Ok(())
        })?;
        Ok(unlisted)
    }

    /// Returns the roles in the order in which they are asked; of those that could not be trusted, none of the roles below.
    ///
    /// # Errors
    /// As [`NotaryChain::missing_roles`].
    pub fn asked(&self) -> Result<Vec<AskedRole<'_>>, TrustError> {
        let mut asked = Vec::new();
        self.walk(|step, signed| {
            asked.push(AskedRole {
                name: step.role,
                by: match step.path.as_slice() {
                    [.., by, _] => &by.name,
                    _ => TARGETS,
                },
                delegation: step.path.last().copied(),
                signed,
                is_listed: self.is_listed(step.role),
            });
            Ok(())
        })?;
        Ok(asked)
    }

    /// Lists every name that a look-up would find in the roles whose metadata are there, by name.
    ///
    /// # Errors
    /// As [`NotaryChain::missing_roles`].
    pub fn list(&self) -> Result<Vec<Listed<'_>>, TrustError> {
        let mut found = self.statements()?;
        found.dedup_by_key(|listed| listed.name);
        Ok(found)
    }

    /// Lists what every role whose metadata are there says of the names it is trusted with, by name; of one name, what counts
    /// comes first, and what roles that are asked later say follows.
    ///
    /// # Errors
    /// As [`NotaryChain::missing_roles`].
    pub fn statements(&self) -> Result<Vec<Listed<'_>>, TrustError> {
        let mut found = Vec::new();
        self.walk(|step, targets| {
            let Some(targets) = targets else { return Ok(()) };
            let evidence = Arc::new(self.evidence(step));
            let table = &targets.body().targets;
            found.reserve(table.most());
            let covered = table.iter().filter(|(name, _)| step.covers(name));
            found.extend(covered.map(|(name, file)| Listed {
                name,
                file,
                evidence: Arc::clone(&evidence),
            }));
            Ok(())
        })?;
        // The sort keeps the order in which roles are asked.
        found.sort_by_key(|listed| listed.name);
        Ok(found)
    }

    /// Returns the delegated roles' metadata that were trusted before, if they are those that are wanted.
    pub fn cached(&self, wanted: &NotaryWanted) -> Option<Described> {
        let known = self.known.targets.get(wanted.role())?;
        wanted.described(known.clone()).ok()
    }

    /// Takes the metadata of a delegated role.
    ///
    /// # Errors
    /// [`TrustError`] when they are not signed by the role's keys, past their time, or older than what was trusted before; when they
    /// are wanted by other metadata than these; or when they delegate to more roles than the collection has room for.
    pub fn delegated(&mut self, wanted: &NotaryWanted, targets: Described) -> Result<(), TrustError> {
        let meta = self.asked_for(wanted)?;
        // The snapshot names what the delegating role says by its hash, so that the keys are those of this collection as well.
        let targets = self.verify_targets(targets, meta, &wanted.keys)?;
        self.check_room(wanted.role(), targets.body())?;
        self.state.delegated.insert(wanted.role().to_owned(), targets);
        Ok(())
    }

    /// Refuses a role that delegates to more others than there is room for beside those that stand in what is there already: it is
    /// that role's fault, not the collection's.
    fn check_room(&self, role: &str, targets: &Targets) -> Result<(), TrustError> {
        let others = self.state.delegated.iter().filter(|(other, _)| other.as_str() != role);
        let others = others
            .map(|(_, signed)| signed.body())
            .chain([self.state.targets.body()]);
        let count = |targets: &Targets| targets.delegations.roles.len();
        let all = others.map(count).sum::<usize>() + count(targets);
        match count(targets) > 0 && all > limit::DELEGATED_ROLES {
            true => {
                let most = limit::DELEGATED_ROLES;
                let problem =
                    format!("with those that it delegates to, the collection has {all} roles, at most {most} are read");
                Err(TrustError::malformed(role, problem))
            }
            false => Ok(()),
        }
    }

    /// Reads the metadata of a delegated role as the snapshot names them, whoever signed them: for those who sign them anew.
    pub(super) fn unvouched(
        &self,
        wanted: &NotaryWanted,
        targets: Described,
    ) -> Result<Unverified<Targets>, TrustError> {
        read_described(targets, self.asked_for(wanted)?, wanted.role())
    }

    /// Returns what the snapshot says of a role that is wanted, if these are the metadata by which it is.
    fn asked_for(&self, wanted: &NotaryWanted) -> Result<&FileMeta, TrustError> {
        let (role, here) = (wanted.role(), &self.state.snapshot);
        check_same_snapshot(
            role,
            (wanted.snapshot.version(), wanted.snapshot.bytes()),
            (here.version(), here.bytes()),
        )?;
        meta_of(here, role)
    }

    /// Returns the top-level targets.
    pub fn targets(&self) -> &Signed<Targets> {
        &self.state.targets
    }

    /// Returns the snapshot.
    pub fn snapshot(&self) -> &Signed<Snapshot> {
        &self.state.snapshot
    }

    /// Returns everything that was verified, by role.
    pub fn files(&self) -> Vec<(String, &[u8])> {
        let top = [
            ("root", self.root.bytes()),
            ("snapshot", self.state.snapshot.bytes()),
            (TARGETS, self.state.targets.bytes()),
            ("timestamp", self.state.timestamp.bytes()),
        ];
        let delegated = self.roles().map(|(role, targets)| (role, targets.bytes()));
        let all = delegated.chain(top);
        all.map(|(role, bytes)| (role.to_owned(), bytes)).collect()
    }

    /// Returns the same as what was trusted before, for those who come later.
    pub fn as_known(&self) -> NotaryKnown {
        let targets = self.roles().map(|(role, signed)| (role, signed.bytes()));
        let targets = targets.chain([(TARGETS, self.state.targets.bytes())]);
        NotaryKnown {
            root: Some(self.root.bytes().to_vec()),
            timestamp: Some(self.state.timestamp.bytes().to_vec()),
            snapshot: Some(self.state.snapshot.bytes().to_vec()),
            targets: targets
                .map(|(role, bytes)| (role.to_owned(), Bytes::copy_from_slice(bytes)))
                .collect(),
        }
    }

    /// Returns the timestamp.
    pub fn timestamp(&self) -> &Signed<Timestamp> {
        &self.state.timestamp
    }

    /// Returns the metadata of delegated roles that were handed in, by role.
    pub fn roles(&self) -> impl Iterator<Item = (&str, &Signed<Targets>)> {
        self.state
            .delegated
            .iter()
            .map(|(role, targets)| (role.as_str(), targets))
    }

    /// Visits every role in the order in which it is asked, `targets` first or after `targets/releases`.
    fn walk<'a>(
        &'a self,
        mut visit: impl FnMut(&Step<'a>, Option<&'a Signed<Targets>>) -> Result<(), TrustError>,
    ) -> Result<(), TrustError> {
        let mut visited = BTreeSet::new();
        let mut steps = self.first_steps();
        while let Some(step) = steps.pop() {
            if !visited.insert(step.role) {
                continue;
            }
            let targets = self.loaded(step.role);
            visit(&step, targets)?;
            if let Some(targets) = targets {
                steps.append(&mut steps_below(&step, targets));
            }
        }
        Ok(())
    }

    /// Returns the roles that are asked before any other, the first one last.
    fn first_steps(&self) -> Vec<Step<'_>> {
        let top = Step {
            role: TARGETS,
            path: Vec::new(),
        };
        // One that nobody ever signed says nothing yet; one that was there before and is withheld now does.
        let releases = self.state.targets.body().delegations.role(RELEASES);
        let releases = releases.filter(|_| self.is_listed(RELEASES) || self.was_listed(RELEASES));
        let releases = releases.map(|role| Step {
            role: &role.name,
            path: vec![role],
        });
        std::iter::once(top).chain(releases).collect()
    }

    fn loaded(&self, role: &str) -> Option<&Signed<Targets>> {
        match role {
            TARGETS => Some(&self.state.targets),
            _ => self.state.delegated.get(role),
        }
    }

    fn is_listed(&self, role: &str) -> bool {
        self.state.snapshot.body().meta.contains_key(role)
    }

    /// Tells whether a role's metadata were trusted before just as these bytes.
    pub fn was_known(&self, role: &str, bytes: &[u8]) -> bool {
        let known = match role {
            "root" => self.known.root.as_deref(),
            "timestamp" => self.known.timestamp.as_deref(),
            "snapshot" => self.known.snapshot.as_deref(),
            role => self.known.targets.get(role).map(Bytes::as_ref),
        };
        known.is_some_and(|known| is_same(known, bytes))
    }

    /// Tells whether the snapshot that was trusted before listed a role.
    fn was_listed(&self, role: &str) -> bool {
        let known = self.known.snapshot.as_deref();
        let known = known.and_then(|known| Unverified::<Snapshot>::parse("", known, limit::SNAPSHOT_BYTES).ok());
        known.is_some_and(|known| known.unverified_body().meta.contains_key(role))
    }

    fn want(&self, step: &Step<'_>) -> Result<NotaryWanted, TrustError> {
        let meta = meta_of(&self.state.snapshot, step.role)?;
        let above = match step.path.as_slice() {
            [.., above, _] => self.state.delegated.get(&above.name),
            _ => Some(&self.state.targets),
        };
        let delegation = step.path.last();
        let (Some(above), Some(delegation)) = (above, delegation) else {
            return Err(TrustError::NoRole {
                role: step.role.to_owned(),
            });
        };
        Ok(NotaryWanted {
            wanted: hashed(step.role, meta, limit::TARGETS_BYTES),
            meta: meta.clone(),
            keys: above.body().delegations.role_keys(delegation),
            snapshot: Arc::clone(&self.state.snapshot),
        })
    }

    fn evidence(&self, step: &Step<'_>) -> Evidence {
        let signed = self.loaded(step.role).unwrap_or(&self.state.targets);
        let on_path = step.path.iter().filter_map(|delegation| {
            let header = self.state.delegated.get(&delegation.name)?.header();
            Some(RoleMark {
                role: delegation.name.clone(),
                mark: header.into(),
            })
        });
        Evidence {
            role: step.role.to_owned(),
            threshold: signed.threshold(),
            keys: signed.signers().to_vec(),
            public_keys: signed.public_keys().clone(),
            root_keys: self.root.body().role_keys("root").keyids().to_vec(),
            root: self.root.header().into(),
            timestamp: self.state.timestamp.header().into(),
            snapshot: self.state.snapshot.header().into(),
            targets: self.state.targets.header().into(),
            path: on_path.collect(),
            judged_at: self.now,
        }
    }
}

/// Returns the roles that a role delegates to, the first one last.
fn steps_below<'a>(step: &Step<'a>, targets: &'a Signed<Targets>) -> Vec<Step<'a>> {
    let below = targets.body().delegations.roles.iter().map(|delegation| Step {
        role: &delegation.name,
        path: step.path.iter().copied().chain([delegation]).collect(),
    });
    below.rev().collect()
}
