//! What a collection says at one point: every name, and whom its roles trust.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::key::KeyId;
use crate::trust::edit::Collection;
use crate::trust::metadata::{DelegatedRole, Delegations, Root, SuccinctRoles, TargetFile, Targets};
use crate::trust::{TrustError, notary};

/// Everything that a collection's roles sign, but versions and expiries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    /// For each role and name, what is signed.
    pub(super) names: BTreeMap<(String, String), TargetFile>,
    /// For each role and the role that trusts it, who may sign as it, and what.
    pub(super) roles: BTreeMap<(String, String), Trusted>,
    /// For each role, the roles that it trusts with names, in the order in which they are asked.
    pub(super) orders: BTreeMap<String, Vec<String>>,
    /// For each role, what else its metadata say.
    pub(super) others: BTreeMap<String, Map<String, Value>>,
}

/// Who may sign as a role, and what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Trusted {
    /// How many of its keys must sign.
    pub(super) threshold: u32,
    /// Its keys, and their objects as they are written.
    pub(super) keys: BTreeMap<KeyId, Value>,
    pub(super) names: Names,
    /// Whether nobody after it is asked for its names.
    pub(super) terminating: bool,
    /// What else is written of it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) other: Map<String, Value>,
}

/// The names that a role is trusted with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Names {
    /// Those of the top level.
    All,
    /// Those that a pattern matches.
    Paths(Vec<String>),
    /// Those whose SHA-256 begins so.
    HashPrefixes(Vec<String>),
    /// All, in two to this power bins by their SHA-256.
    BinsOfBits(u32),
}

impl State {
    /// Takes what a collection says, as far as its roles are loaded.
    pub(super) fn of_loaded(collection: &Collection<'_>) -> Self {
        let mut state = Self::of_parts(collection.targets(), &|role| collection.signs_as(role));
        state.add_root(collection.root());
        state
    }

    /// Takes what the roles of a collection said at one point, without the top level's keys.
    pub(super) fn of_bodies<'a>(bodies: impl IntoIterator<Item = (&'a str, &'a Targets)>) -> Self {
        let bodies: Vec<_> = bodies.into_iter().collect();
        let parts = Parts::of(&bodies);
        Self::of_parts(bodies.iter().copied(), &|role| parts.whole(role).to_owned())
    }

    /// Takes what roles say, under the names of those whose parts they are; the parts come last, as none may hide what its role says,
    /// nor be hidden by it.
    fn of_parts<'a>(bodies: impl Iterator<Item = (&'a str, &'a Targets)>, signs_as: &dyn Fn(&str) -> String) -> Self {
        let (whole, parts): (Vec<_>, Vec<_>) = bodies.partition(|(role, _)| signs_as(role) == *role);
        let mut state = Self::default();
        for (role, body) in whole.into_iter().chain(parts) {
            state.add(role, body, signs_as);
        }
        state
    }

    /// Takes what a root says.
    pub(super) fn of_root(root: &Root) -> Self {
        let mut state = Self::default();
        state.add_root(root);
        state
    }

    /// Takes what one role of a collection says.
    pub(super) fn of_role(collection: &Collection<'_>, role: &str) -> Self {
        let mut state = Self::default();
        if let Some(body) = collection.targets_of(role) {
            state.add(role, body, &|role| collection.signs_as(role));
        }
        state
    }

    /// Takes what one role of a collection says with all its parts.
    pub(super) fn of_whole(collection: &Collection<'_>, role: &str) -> Self {
        let signs_as = |role: &str| collection.signs_as(role);
        let parts = collection.targets().filter(|(part, _)| signs_as(part) == role);
        Self::of_parts(parts, &signs_as)
    }

    /// Takes what one role of a Notary collection says.
    ///
    /// # Errors
    /// [`TrustError::Malformed`], which no metadata that were read give: nothing is left out.
    pub(super) fn of_notary(role: &str, body: &notary::Targets) -> Result<Self, TrustError> {
        let mut state = Self::default();
        for (name, file) in body.targets.iter() {
            let unreadable = || TrustError::malformed(role, format!("what it says of `{name}` cannot be read"));
            let file = notary_file(file.build().ok_or_else(unreadable)?);
            state.names.insert((role.to_owned(), name.to_owned()), file);
        }
        let delegations = &body.delegations;
        for listed in &delegations.roles {
            // Beginnings of names, as messages write them.
            let paths = listed.paths.iter().map(|path| format!("{path}*")).collect();
            let trusted = Trusted {
                threshold: listed.threshold,
                keys: notary_objects(&listed.keyids, &delegations.keys),
                names: Names::Paths(paths),
                terminating: false,
                other: listed.extra.clone(),
            };
            state.roles.insert((listed.name.clone(), role.to_owned()), trusted);
        }
        let order = delegations.roles.iter().map(|listed| listed.name.clone()).collect();
        state.orders.insert(role.to_owned(), order);
        let mut other = body.extra.clone();
        if !delegations.extra.is_empty() {
            other.insert("delegations".to_owned(), Value::Object(delegations.extra.clone()));
        }
        state.others.insert(role.to_owned(), other);
        Ok(state)
    }

    /// Takes what the root of a Notary collection says.
    pub(super) fn of_notary_root(root: &notary::Root) -> Self {
        let mut state = Self::default();
        for (name, role) in &root.roles {
            let trusted = Trusted {
                threshold: role.threshold,
                keys: notary_objects(&role.keyids, &root.keys),
                names: Names::All,
                terminating: false,
                other: role.extra.clone(),
            };
            state.roles.insert((name.clone(), "root".to_owned()), trusted);
        }
        state.others.insert("root".to_owned(), root.extra.clone());
        state
    }

    fn add(&mut self, role: &str, body: &Targets, signs_as: &dyn Fn(&str) -> String) {
        let as_role = signs_as(role);
        for (name, file) in &body.targets {
            match self.names.entry((as_role.clone(), name.clone())) {
                Entry::Vacant(new) => drop(new.insert(file.clone())),
                // A bin that signs a name which its role, or another bin, signs too: neither may hide the other.
                Entry::Occupied(_) => drop(self.names.insert((role.to_owned(), name.clone()), file.clone())),
            }
        }
        // Under the names that these members have: no unknown one can have them. Which role it is for is not among what else is
        // said: whoever read it saw that it is this one.
        let mut other = body.extra.clone();
        if !body.revoked.is_empty() {
            other.insert("x-imgkit-revoked".to_owned(), json!(body.revoked));
        }
        if let Some(delegations) = &body.delegations {
            let mut unusual = delegations.extra.clone();
            // Its parts, bins by hash, are many and say nothing that the role does not: they are told of only where they change.
            let is_part = |listed: &&DelegatedRole| signs_as(&listed.name) != listed.name;
            let (parts, listed): (Vec<_>, Vec<_>) = delegations.roles.iter().partition(is_part);
            if !parts.is_empty() {
                unusual.insert("roles".to_owned(), json!(parts));
            }
            if !unusual.is_empty() {
                other.insert("delegations".to_owned(), Value::Object(unusual));
            }
            let order = delegations.roles.iter().map(|listed| listed.name.clone()).collect();
            self.orders.insert(role.to_owned(), order);
            let mut trust = |name: String, trusted| self.roles.insert((name, role.to_owned()), trusted);
            for listed in listed {
                trust(listed.name.clone(), Trusted::listed(listed, delegations));
            }
            if let Some(bins) = &delegations.succinct_roles {
                let name = format!("{}-*", bins.name_prefix);
                trust(name, Trusted::bins(bins, delegations));
            }
        }
        // Bins are too many to be told of one by one; what is not usual is told of each.
        if as_role == role || !other.is_empty() {
            self.others.insert(role.to_owned(), other);
        }
    }

    fn add_root(&mut self, root: &Root) {
        for (name, role) in &root.roles {
            let trusted = Trusted {
                threshold: role.threshold,
                keys: objects(&role.keyids, &root.keys),
                names: Names::All,
                terminating: false,
                other: role.extra.clone(),
            };
            self.roles.insert((name.clone(), "root".to_owned()), trusted);
        }
        let mut other = root.extra.clone();
        other.insert("consistent_snapshot".to_owned(), root.consistent_snapshot.into());
        self.others.insert("root".to_owned(), other);
    }
}

impl Trusted {
    fn listed(role: &DelegatedRole, all: &Delegations) -> Self {
        let names = match (&role.paths, &role.path_hash_prefixes) {
            (None, Some(prefixes)) => Names::HashPrefixes(prefixes.clone()),
            (paths, _) => Names::Paths(paths.clone().unwrap_or_default()),
        };
        Self {
            threshold: role.threshold,
            keys: objects(&role.keyids, &all.keys),
            names,
            terminating: role.terminating,
            other: role.extra.clone(),
        }
    }

    fn bins(bins: &SuccinctRoles, all: &Delegations) -> Self {
        Self {
            threshold: bins.threshold,
            keys: objects(&bins.keyids, &all.keys),
            names: Names::BinsOfBits(bins.bit_length),
            terminating: true,
            other: bins.extra.clone(),
        }
    }
}

/// Finds the objects of keys; one that is not there is `null`, and cannot sign.
fn objects(ids: &[KeyId], keys: &BTreeMap<KeyId, Value>) -> BTreeMap<KeyId, Value> {
    let object = |id: &KeyId| (id.clone(), keys.get(id).cloned().unwrap_or_default());
    ids.iter().map(object).collect()
}

fn notary_objects(ids: &[KeyId], keys: &notary::Keys) -> BTreeMap<KeyId, Value> {
    let object = |id: &KeyId| {
        (
            id.clone(),
            keys.get(id).map(|key| key.to_json().clone()).unwrap_or_default(),
        )
    };
    ids.iter().map(object).collect()
}

/// Describes a file of Notary's as TUF does; digests that only others can check are told of as they stand there.
fn notary_file(file: notary::FileMeta) -> TargetFile {
    let mut extra = file.extra;
    let all = serde_json::to_value(&file.hashes).unwrap_or_default();
    if all
        .as_object()
        .is_some_and(|all| all.len() > file.hashes.digests().count())
    {
        extra.insert("hashes".to_owned(), all);
    }
    TargetFile {
        length: file.length,
        hashes: file.hashes.digests().collect(),
        custom: file.custom,
        extra,
    }
}

/// The roles that others delegate to by hash: their parts.
struct Parts<'a> {
    /// For each listed one, the role that it is a part of.
    listed: BTreeMap<&'a str, &'a str>,
    /// Roles with bins in short.
    bins: Vec<(&'a str, &'a SuccinctRoles)>,
}

impl<'a> Parts<'a> {
    fn of(bodies: &[(&'a str, &'a Targets)]) -> Self {
        let delegations = || {
            bodies
                .iter()
                .filter_map(|(by, body)| Some((*by, body.delegations.as_ref()?)))
        };
        let listed = delegations().flat_map(|(by, all)| all.roles.iter().map(move |role| (by, role)));
        let listed = listed.filter(|(_, role)| role.paths.is_none());
        Self {
            listed: listed.map(|(by, role)| (role.name.as_str(), by)).collect(),
            bins: delegations()
                .filter_map(|(by, all)| Some((by, all.succinct_roles.as_ref()?)))
                .collect(),
        }
    }

    /// Returns the role that a role is a part of, or the role itself.
    fn whole<'r>(&self, role: &'r str) -> &'r str
    where
        'a: 'r,
    {
        let mut role = role;
        // Each step goes up one role; there are no more than all of them.
        for _ in 0..=self.listed.len() + self.bins.len() {
            let bins = || self.bins.iter().find(|(_, bins)| bins.is_bin(role)).map(|(by, _)| *by);
            match self.listed.get(role).copied().or_else(bins) {
                Some(by) => role = by,
                None => break,
            }
        }
        role
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::trust::difference::Difference;

    #[test]
    fn neither_a_role_nor_its_bin_hides_what_the_other_says_of_a_name() {
        let body = |length: u64, more: Value| -> Targets {
            let file = json!({ "length": length, "hashes": { "sha256": "00".repeat(32) } });
            let mut body = json!({
                "_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": "2027-01-01T00:00:00Z",
                "targets": { "prod/app": file },
            });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(body).unwrap()
        };
        let bins = json!({ "delegations": {
            "keys": {}, "succinct_roles": { "keyids": ["k"], "threshold": 1, "bit_length": 1, "name_prefix": "bin" },
        } });
        let (top, bin) = (body(1, bins), body(2, json!({})));
        for order in [
            [("bin-0", &bin), ("targets", &top)],
            [("targets", &top), ("bin-0", &bin)],
        ] {
            let state = State::of_bodies(order);
            let told: Vec<_> = state
                .names
                .iter()
                .map(|((role, _), file)| (role.as_str(), file.length))
                .collect();
            assert_eq!(told, [("bin-0", 2), ("targets", 1)]);
        }
    }

    #[test]
    fn all_that_notary_says_of_a_name_is_told() {
        let hashes = json!({ "sha256": "yXghEvu9rvHGqYvQSMO4onjbsMBIYYH5RoRBAYTBwb8=", "new": "eA==" });
        let body = json!({
            "_type": "Targets", "version": 1, "expires": "2027-01-01T00:00:00Z",
            "targets": { "a\n": { "length": 1, "hashes": hashes, "custom": [1], "more": 2 } },
            "delegations": { "keys": {}, "roles": [{ "name": "targets/b", "keyids": [], "threshold": 1, "paths": ["x/"] }] },
        });
        let body: notary::Targets = serde_json::from_value(body).unwrap();
        let state = State::of_notary("targets", &body).unwrap();
        let text = Difference::between(&State::default(), &state).text(true);
        for told in [
            r#""a\n" (targets): sha256:c97821"#,
            "[1]",
            r#""new":"eA==""#,
            r#""more":2"#,
            "role targets/b",
            "x/*",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }
}
