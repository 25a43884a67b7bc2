//! What two states of collections differ in, for people and for machines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

use super::states::{Names, State, Trusted};
use crate::key::KeyId;
use crate::trust::metadata::TargetFile;

/// A name as a role signs it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Named {
    name: String,
    role: String,
    file: TargetFile,
}

/// A name that stands for something else.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Moved {
    name: String,
    role: String,
    before: TargetFile,
    after: TargetFile,
}

/// A role that only one state has, or that it trusts otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct TrustedRole {
    role: String,
    /// The role that trusts it.
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Trusted>,
    #[serde(flatten)]
    trusted: Trusted,
}

/// Something of a role that is another in the second state.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Changed<T> {
    role: String,
    before: T,
    after: T,
}

/// What two states differ in.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Difference {
    /// Names that only the second signs.
    added: Vec<Named>,
    /// Names that only the first signs.
    removed: Vec<Named>,
    /// Names that stand for something else now.
    moved: Vec<Moved>,
    /// Roles that only the second has.
    roles_added: Vec<TrustedRole>,
    /// Roles that only the first has.
    roles_removed: Vec<TrustedRole>,
    /// Roles with other keys, thresholds or names.
    roles_changed: Vec<TrustedRole>,
    /// Roles that ask the roles they trust in another order.
    orders: Vec<Changed<Vec<String>>>,
    /// Roles whose metadata differ in what else they say.
    others: Vec<Changed<Map<String, Value>>>,
}

impl Difference {
    /// Compares two states.
    pub(super) fn between(before: &State, after: &State) -> Self {
        let mut difference = Self {
            added: only_in(&after.names, &before.names).map(named).collect(),
            removed: only_in(&before.names, &after.names).map(named).collect(),
            roles_added: only_in(&after.roles, &before.roles).map(trusted_role).collect(),
            roles_removed: only_in(&before.roles, &after.roles).map(trusted_role).collect(),
            ..Self::default()
        };
        for (key, file) in &after.names {
            if let Some(old) = before.names.get(key).filter(|old| *old != file) {
                difference.moved.push(Moved {
                    name: key.1.clone(),
                    role: key.0.clone(),
                    before: old.clone(),
                    after: file.clone(),
                });
            }
        }
        for (key, trusted) in &after.roles {
            if let Some(old) = before.roles.get(key).filter(|old| *old != trusted) {
                difference.roles_changed.push(TrustedRole {
                    before: Some(old.clone()),
                    ..trusted_role((key, trusted))
                });
            }
        }
        let none = Vec::new();
        for (role, after) in &after.orders {
            let before = before.orders.get(role).unwrap_or(&none);
            if !is_plain(before, after) {
                difference.orders.extend(changed(role, Some(before), after));
            }
        }
        let none = Map::new();
        let roles: BTreeSet<_> = before.others.keys().chain(after.others.keys()).collect();
        for role in roles {
            let (before, after) = (before.others.get(role), after.others.get(role).unwrap_or(&none));
            difference.others.extend(changed(role, before.or(Some(&none)), after));
        }
        difference
    }

    /// Tells whether the states are the same.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Writes it for people; `whole` with all that is said of each name.
    pub(super) fn text(&self, whole: bool) -> String {
        let mut text = String::new();
        for Named { name, role, file } in &self.added {
            let _ = writeln!(text, "+ {} ({role}): {}", shown(name), content(file));
            if whole {
                tell_custom(&mut text, "", file);
            }
        }
        for Named { name, role, .. } in &self.removed {
            let _ = writeln!(text, "- {} ({role})", shown(name));
        }
        for Moved {
            name,
            role,
            before,
            after,
        } in &self.moved
        {
            let (old, new) = (content(before), content(after));
            let _ = match old == new {
                true => writeln!(text, "~ {} ({role}): another description of {new}", shown(name)),
                false => writeln!(text, "~ {} ({role}): {old} -> {new}", shown(name)),
            };
            if whole {
                tell_custom(&mut text, "before: ", before);
                tell_custom(&mut text, "after: ", after);
            }
        }
        for added in &self.roles_added {
            let _ = writeln!(text, "+ role {}", shown(&added.role));
            added.tell(&mut text);
        }
        for removed in &self.roles_removed {
            let (role, by) = (shown(&removed.role), shown(&removed.by));
            let _ = writeln!(text, "- role {role}, trusted by {by}");
        }
        for changed in &self.roles_changed {
            let _ = writeln!(text, "~ role {}", shown(&changed.role));
            changed.tell(&mut text);
        }
        for Changed { role, after, .. } in &self.orders {
            let _ = writeln!(text, "~ role {}: asks in this order: {}", shown(role), listed(after));
        }
        for Changed { role, before, after } in &self.others {
            let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for name in names.into_iter().filter(|name| before.get(*name) != after.get(*name)) {
                let said = |all: &Map<String, Value>| all.get(name).map_or("nothing".to_owned(), Value::to_string);
                let (name, before, after) = (shown(name), said(before), said(after));
                let _ = writeln!(text, "~ role {}: {name}: {before} -> {after}", shown(role));
            }
        }
        if text.is_empty() {
            text.push_str("no name and no key differs\n");
        }
        text
    }
}

impl TrustedRole {
    /// Says for people who may sign and what, and what of that was otherwise before.
    fn tell(&self, text: &mut String) {
        let Self {
            trusted, by, before, ..
        } = self;
        let was = before.as_ref().map(|before| format!(" (before: {})", before.threshold));
        let (threshold, was) = (trusted.threshold, was.unwrap_or_default());
        let _ = writeln!(text, "    threshold {threshold}{was}, trusted by {}", shown(by));
        let none = BTreeMap::new();
        let old = before.as_ref().map_or(&none, |before| &before.keys);
        for (id, object) in &trusted.keys {
            // Ids are what people compare, and TUF leaves open what they are.
            let foreign = match KeyId::of(object) {
                Ok(own) if own == *id => String::new(),
                Ok(own) => format!(", which is NOT its own id: the key is {own}"),
                Err(_) => ", under which there is NO KEY".to_owned(),
            };
            let _ = match old.get(id) {
                None => writeln!(text, "    + key {id}{foreign}"),
                Some(other) if other != object => writeln!(text, "    ~ key {id}: ANOTHER KEY under this id{foreign}"),
                Some(_) => Ok(()),
            };
        }
        for id in old.keys().filter(|id| !trusted.keys.contains_key(*id)) {
            let _ = writeln!(text, "    - key {id}");
        }
        let _ = match &trusted.names {
            Names::All => Ok(()),
            Names::Paths(patterns) => writeln!(text, "    names: {}", listed(patterns)),
            Names::HashPrefixes(prefixes) => writeln!(text, "    names whose SHA-256 begins with {}", listed(prefixes)),
            Names::BinsOfBits(bits) => writeln!(text, "    all names, in bins by {bits} bits of their SHA-256"),
        };
        let was = before.as_ref().is_some_and(|before| before.terminating);
        let _ = match (trusted.terminating, was) {
            (true, _) => writeln!(text, "    terminating: nobody after it is asked for these names"),
            (false, true) => writeln!(text, "    no longer terminating: others are asked after it"),
            (false, false) => Ok(()),
        };
        if !trusted.other.is_empty() {
            let _ = writeln!(text, "    {}", Value::Object(trusted.other.clone()));
        }
    }
}

/// Returns what only the first of two maps has.
fn only_in<'a, K: Ord, V>(these: &'a BTreeMap<K, V>, not: &'a BTreeMap<K, V>) -> impl Iterator<Item = (&'a K, &'a V)> {
    these.iter().filter(|(key, _)| !not.contains_key(*key))
}

fn named(((role, name), file): (&(String, String), &TargetFile)) -> Named {
    Named {
        name: name.clone(),
        role: role.clone(),
        file: file.clone(),
    }
}

fn trusted_role(((role, by), trusted): (&(String, String), &Trusted)) -> TrustedRole {
    TrustedRole {
        role: role.clone(),
        by: by.clone(),
        before: None,
        trusted: trusted.clone(),
    }
}

fn changed<T: Clone + PartialEq>(role: &str, before: Option<&T>, after: &T) -> Option<Changed<T>> {
    let before = before.filter(|before| *before != after)?;
    Some(Changed {
        role: role.to_owned(),
        before: before.clone(),
        after: after.clone(),
    })
}

/// Tells whether an order follows from another one: with roles taken away, or one more that is asked last.
fn is_plain(before: &[String], after: &[String]) -> bool {
    let kept: BTreeSet<_> = after.iter().collect();
    let stay: Vec<_> = before.iter().filter(|role| kept.contains(role)).collect();
    after.len() <= stay.len() + 1 && after.iter().take(stay.len()).eq(stay)
}

/// Says for people what a name stands for.
fn content(file: &TargetFile) -> String {
    // Those too that imgkit does not check: other clients do, or check nothing else.
    let hashes: Vec<_> = file.hashes.written().map(|hash| shown(&hash)).collect();
    format!("{} ({} bytes)", hashes.join(" "), file.length)
}

fn tell_custom(text: &mut String, when: &str, file: &TargetFile) {
    if let Some(custom) = &file.custom {
        let _ = writeln!(text, "    {when}{custom}");
    }
    if !file.extra.is_empty() {
        let _ = writeln!(text, "    {when}{}", Value::Object(file.extra.clone()));
    }
}

fn listed(all: &[String]) -> String {
    all.iter().map(|one| shown(one)).collect::<Vec<_>>().join(" ")
}

/// Returns a name as people should see it: in quotes where it could be taken for more than a name, or for another one. Letters beyond
/// ASCII are written by their numbers: some look like others, and some like nothing.
pub(super) fn shown(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/:@+%=*?[]{}^$~!,".contains(c);
    match !name.is_empty() && name.chars().all(is_plain) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.escape_default()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::digest::Digest;
    use crate::trust::metadata::Targets;

    /// What a top level says that trusts two roles, changed by `change`.
    fn state(change: impl FnOnce(&mut Value)) -> State {
        let target = |content: &str, custom: Value| {
            let hash = Digest::sha256(content.as_bytes()).hex();
            json!({ "length": content.len(), "hashes": { "sha256": hash }, "custom": custom })
        };
        let role = |name: &str| {
            let paths = [format!("{name}/*")];
            json!({ "name": name, "keyids": ["k1"], "threshold": 1, "terminating": false, "paths": paths })
        };
        let mut body = json!({
            "_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": "2027-01-01T00:00:00Z",
            "targets": { "a": target("a", json!({ "tree": 1 })), "b": target("b", json!(null)) },
            "delegations": {
                "keys": { "k1": { "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": "11" } } },
                "roles": [role("one"), role("two")],
            },
        });
        change(&mut body);
        let body: Targets = serde_json::from_value(body).unwrap();
        State::of_bodies([("targets", &body)])
    }

    fn text(change: impl FnOnce(&mut Value)) -> String {
        Difference::between(&state(|_| ()), &state(change)).text(true)
    }

    #[test]
    fn the_same_twice_is_no_difference() {
        assert_snapshot!(text(|_| ()), @"no name and no key differs");
    }

    #[test]
    fn that_metadata_say_which_role_they_are_for_is_no_difference() {
        assert_snapshot!(text(|body| body["x-imgkit-role"] = json!("targets")), @"no name and no key differs");
    }

    #[test]
    fn names_are_told_with_all_that_is_said_of_them() {
        assert_snapshot!(text(|body| {
            let targets = &mut body["targets"];
            targets["new\n"] = targets["a"].clone();
            targets["a"]["custom"]["tree"] = json!(2);
            targets["b"]["length"] = json!(7);
        }), @r#"
        + "new\n" (targets): sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb (1 bytes)
            {"tree":1}
        ~ a (targets): another description of sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb (1 bytes)
            before: {"tree":1}
            after: {"tree":2}
        ~ b (targets): sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d (1 bytes) -> sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d (7 bytes)
        "#);
    }

    #[test]
    fn whoever_is_asked_first_and_last_is_told() {
        assert_snapshot!(text(|body| {
            let roles = &mut body["delegations"]["roles"];
            roles[1]["terminating"] = json!(true);
            let mut three = roles[0].clone();
            three["name"] = json!("three");
            roles.as_array_mut().unwrap().insert(0, three);
        }), @r#"
        + role three
            threshold 1, trusted by targets
            + key k1, which is NOT its own id: the key is b3d10a845b4686a8939825e33ce1dda993e7be29058f97218893a7fe0341f182
            names: one/*
        ~ role two
            threshold 1 (before: 1), trusted by targets
            names: two/*
            terminating: nobody after it is asked for these names
        ~ role targets: asks in this order: three one two
        "#);
    }

    #[test]
    fn another_key_under_the_same_id_is_told() {
        let swap = |body: &mut Value| body["delegations"]["keys"]["k1"]["keyval"]["public"] = json!("22");
        assert_snapshot!(text(swap), @r#"
        ~ role one
            threshold 1 (before: 1), trusted by targets
            ~ key k1: ANOTHER KEY under this id, which is NOT its own id: the key is d33c952007b2aa693de6d33707e86c6dc97a12fc3a55a891146e7d4f852b03e8
            names: one/*
        ~ role two
            threshold 1 (before: 1), trusted by targets
            ~ key k1: ANOTHER KEY under this id, which is NOT its own id: the key is d33c952007b2aa693de6d33707e86c6dc97a12fc3a55a891146e7d4f852b03e8
            names: two/*
        "#);
    }

    #[test]
    fn other_patterns_and_thresholds_are_told() {
        assert_snapshot!(text(|body| {
            let roles = &mut body["delegations"]["roles"];
            roles[1] = json!({ "name": "two", "keyids": [], "threshold": 2, "terminating": false, "paths": ["x", "two/*"] });
        }), @r#"
        ~ role two
            threshold 2 (before: 1), trusted by targets
            - key k1
            names: x two/*
        "#);
    }

    #[test]
    fn bins_for_everything_are_told_before_they_hold_anything() {
        assert_snapshot!(text(|body| {
            let delegations = body["delegations"].as_object_mut().unwrap();
            delegations.remove("roles");
            let bins = json!({ "keyids": ["k1"], "threshold": 1, "bit_length": 4, "name_prefix": "bin" });
            delegations.insert("succinct_roles".to_owned(), bins);
        }), @r#"
        + role bin-*
            threshold 1, trusted by targets
            + key k1, which is NOT its own id: the key is b3d10a845b4686a8939825e33ce1dda993e7be29058f97218893a7fe0341f182
            all names, in bins by 4 bits of their SHA-256
            terminating: nobody after it is asked for these names
        - role one, trusted by targets
        - role two, trusted by targets
        "#);
    }

    #[test]
    fn a_role_that_two_trust_is_told_of_for_each() {
        let by_both = |key: &str| {
            let body = |name: &str, key: &str| {
                let role =
                    json!({ "name": name, "keyids": [key], "threshold": 1, "terminating": false, "paths": ["*"] });
                let body = json!({
                    "_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": "2027-01-01T00:00:00Z",
                    "targets": {}, "delegations": { "keys": {}, "roles": [role] },
                });
                serde_json::from_value::<Targets>(body).unwrap()
            };
            State::of_bodies([("dev", &body("team", key)), ("targets", &body("team", "k1"))])
        };
        assert_snapshot!(Difference::between(&by_both("k1"), &by_both("k2")).text(true), @r#"
        ~ role team
            threshold 1 (before: 1), trusted by dev
            + key k2, which is NOT its own id: the key is 74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b
            - key k1
            names: *
        "#);
    }

    #[test]
    fn a_bin_by_hash_that_is_taken_away_is_told() {
        let bins = |prefixes: &[&str]| {
            let bin = |prefix: &&str| {
                json!({ "name": format!("bin-{prefix}"), "keyids": [], "threshold": 1, "terminating": true,
                    "path_hash_prefixes": [prefix] })
            };
            let bins: Vec<_> = prefixes.iter().map(bin).collect();
            state(|body| body["delegations"]["roles"] = json!(bins))
        };
        let text = Difference::between(&bins(&["0", "8"]), &bins(&["0"])).text(true);
        assert!(
            text.starts_with("~ role targets: delegations: ") && text.contains("bin-8"),
            "{text}"
        );
    }

    #[test]
    fn keys_that_are_no_longer_revoked_and_members_of_others_are_told() {
        let revoked = json!([{ "role": "one", "keyid": "k9", "key": {}, "since": "2026-01-01T00:00:00Z" }]);
        let before = state(|body| body["x-imgkit-revoked"] = revoked);
        let after = state(|body| body["x"] = json!("y"));
        assert_snapshot!(Difference::between(&before, &after).text(true), @r#"
        ~ role targets: x: nothing -> "y"
        ~ role targets: x-imgkit-revoked: [{"key":{},"keyid":"k9","role":"one","since":"2026-01-01T00:00:00Z"}] -> nothing
        "#);
    }

    #[test]
    fn one_role_more_behind_the_others_changes_no_order() {
        let more = |body: &mut Value| {
            let roles = body["delegations"]["roles"].as_array_mut().unwrap();
            let mut three = roles[0].clone();
            three["name"] = json!("three");
            roles.push(three);
        };
        assert!(!text(more).contains("order"));
    }
}
