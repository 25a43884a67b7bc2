//! What a collection says at one point: every name, and whose keys count; and what two of them differ in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use crate::key::KeyId;
use crate::trust::edit::Collection;
use crate::trust::metadata::{TargetFile, Targets};

/// The names of a collection and the keys of its roles.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// For each role and name, what is signed.
    names: BTreeMap<(String, String), TargetFile>,
    /// For each role, its threshold, keys and patterns.
    roles: BTreeMap<String, (u32, BTreeSet<KeyId>, Vec<String>)>,
}

impl State {
    /// Takes what a collection says, as far as its roles are loaded.
    pub(super) fn of_loaded(collection: &Collection<'_>) -> Self {
        let mut state = Self::default();
        for role in collection.roles() {
            let targets = collection.targets_of(&role.name);
            for (name, file) in targets.into_iter().flat_map(|body| &body.targets) {
                state.names.insert((role.signs_as.clone(), name.clone()), file.clone());
            }
            if role.signs_as == role.name {
                let keys = role.keys.keyids().iter().cloned().collect();
                let of = (role.keys.threshold(), keys, role.patterns);
                state.roles.insert(role.name, of);
            }
        }
        state
    }
}

impl State {
    /// Takes the same, without the top level's keys.
    pub(super) fn of_delegated(collection: &Collection<'_>) -> Self {
        let mut state = Self::of_loaded(collection);
        state.roles.retain(|role, _| {
            collection
                .roles()
                .iter()
                .any(|other| other.name == *role && other.by.is_some())
        });
        state
    }

    /// Takes what the roles of a collection said at one point.
    pub(super) fn of_bodies(bodies: &BTreeMap<String, Targets>) -> Self {
        let mut state = Self::default();
        for (role, body) in bodies {
            for (name, file) in &body.targets {
                let signs_as = signs_as(bodies, role);
                state.names.insert((signs_as.to_owned(), name.clone()), file.clone());
            }
            for listed in body
                .delegations
                .iter()
                .flat_map(|all| &all.roles)
                .filter(|role| role.paths.is_some())
            {
                let of = (
                    listed.threshold,
                    listed.keyids.iter().cloned().collect(),
                    listed.patterns(),
                );
                state.roles.insert(listed.name.clone(), of);
            }
        }
        state
    }
}

/// Returns the role whose bin a role is, or the role itself.
fn signs_as<'a>(bodies: &'a BTreeMap<String, Targets>, role: &'a str) -> &'a str {
    let mut role = role;
    // Each step goes up one role; there are no more than all of them.
    for _ in 0..bodies.len() {
        let by_hash = |body: &&Targets| {
            let listed = body.delegations.iter().flat_map(|all| &all.roles);
            let mut listed = listed.filter(|other| other.name == role);
            let bins = body.delegations.as_ref().and_then(|all| all.succinct_roles.as_ref());
            listed.any(|other| other.paths.is_none()) || bins.is_some_and(|bins| bins.is_bin(role))
        };
        match bodies.iter().find(|(_, body)| by_hash(body)) {
            Some((by, _)) => role = by,
            None => break,
        }
    }
    role
}

/// A name as a role signs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Named {
    name: String,
    role: String,
}

/// What two states differ in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// Names that only the second signs.
    added: Vec<Named>,
    /// Names that only the first signs.
    removed: Vec<Named>,
    /// Names that stand for something else now.
    moved: Vec<Moved>,
    /// Roles that only the second has.
    roles_added: Vec<String>,
    /// Roles that only the first has.
    roles_removed: Vec<String>,
    /// Roles with other keys, thresholds or names.
    roles_changed: Vec<ChangedRole>,
}

/// A name that stands for something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Moved {
    name: String,
    role: String,
    before: TargetFile,
    after: TargetFile,
}

/// A role with other keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ChangedRole {
    role: String,
    threshold_before: u32,
    threshold: u32,
    keys_added: Vec<KeyId>,
    keys_removed: Vec<KeyId>,
    patterns: Vec<String>,
}

impl Difference {
    /// Compares two states.
    pub(super) fn between(before: &State, after: &State) -> Self {
        let named = |(role, name): &(String, String)| Named {
            name: name.clone(),
            role: role.clone(),
        };
        let mut difference = Self::default();
        for (key, file) in &after.names {
            match before.names.get(key) {
                None => difference.added.push(named(key)),
                Some(old) if old != file => difference.moved.push(Moved {
                    name: key.1.clone(),
                    role: key.0.clone(),
                    before: old.clone(),
                    after: file.clone(),
                }),
                Some(_) => {}
            }
        }
        let removed = before.names.keys().filter(|key| !after.names.contains_key(*key));
        difference.removed = removed.map(named).collect();
        for (role, (threshold, keys, patterns)) in &after.roles {
            match before.roles.get(role) {
                None => difference.roles_added.push(role.clone()),
                Some(old) if *old != (*threshold, keys.clone(), patterns.clone()) => {
                    difference.roles_changed.push(ChangedRole {
                        role: role.clone(),
                        threshold_before: old.0,
                        threshold: *threshold,
                        keys_added: keys.difference(&old.1).cloned().collect(),
                        keys_removed: old.1.difference(keys).cloned().collect(),
                        patterns: patterns.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        let gone = before.roles.keys().filter(|role| !after.roles.contains_key(*role));
        difference.roles_removed = gone.cloned().collect();
        difference
    }

    /// Writes it for people.
    pub(super) fn text(&self) -> String {
        let digest = |file: &TargetFile| file.hashes.digests().next().map(|digest| digest.to_string());
        let mut text = String::new();
        for Named { name, role } in &self.added {
            let _ = writeln!(text, "+ {} ({role})", name.escape_debug());
        }
        for Named { name, role } in &self.removed {
            let _ = writeln!(text, "- {} ({role})", name.escape_debug());
        }
        for Moved {
            name,
            role,
            before,
            after,
        } in &self.moved
        {
            let (before, after) = (digest(before).unwrap_or_default(), digest(after).unwrap_or_default());
            let _ = match before == after {
                true => writeln!(
                    text,
                    "~ {} ({role}): another description of {after}",
                    name.escape_debug()
                ),
                false => writeln!(text, "~ {} ({role}): {before} -> {after}", name.escape_debug()),
            };
        }
        for role in &self.roles_added {
            let _ = writeln!(text, "+ role {}", role.escape_debug());
        }
        for role in &self.roles_removed {
            let _ = writeln!(text, "- role {}", role.escape_debug());
        }
        for role in &self.roles_changed {
            let _ = writeln!(
                text,
                "~ role {}: {} keys must sign (before: {})",
                role.role.escape_debug(),
                role.threshold,
                role.threshold_before
            );
            for key in &role.keys_added {
                let _ = writeln!(text, "    + key {key}");
            }
            for key in &role.keys_removed {
                let _ = writeln!(text, "    - key {key}");
            }
            if !role.patterns.is_empty() {
                let _ = writeln!(text, "    names: {}", role.patterns.join(" ").escape_debug());
            }
        }
        if text.is_empty() {
            text.push_str("no name and no key differs\n");
        }
        text
    }
}
