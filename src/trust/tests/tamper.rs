//! Whatever single byte of a valid collection is changed: refused, or without effect on what is found.

use super::*;
use crate::key::Signer as _;
use proptest::prelude::*;

/// Returns what matters of an answer: what was signed, by whom.
fn answer(repository: &Repository, pin: &[u8], name: &str) -> Option<Value> {
    let found = lookup(pin, &repository.files, &Known::default(), name, start()).ok()?;
    let digests: Vec<_> = found.digests().collect();
    let evidence = found.evidence();
    Some(json!([
        digests,
        found.length(),
        found.custom(),
        evidence.role,
        evidence.keys
    ]))
}

fn two_roots() -> Repository {
    let mut repository = Repository::new();
    repository.change(days(1), |collection| collection.renew("root").unwrap());
    repository
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_byte_never_changes_what_is_found(file in 0..6_usize, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let good = two_roots();
        let pin = good.pin();
        let names: Vec<String> = good.files.files().map(|(name, _)| name.to_owned()).collect();
        let name = &names[file % names.len()];
        let mut bytes = good.files.get(name).unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let mut bad = good.clone();
        bad.files.add(name.clone(), bytes);
        for target in ["a", "team/b"] {
            let expected = answer(&good, &pin, target);
            prop_assert!(expected.is_some());
            let found = answer(&bad, &pin, target);
            prop_assert!(found.is_none() || found == expected, "{name} at {at}: {found:?}");
        }
        // A name that nobody signed stays unsigned.
        prop_assert!(answer(&bad, &pin, "team/c").is_none());
    }

    #[test]
    fn a_removed_or_doubled_byte_never_changes_what_is_found(file in 0..6_usize, at in any::<prop::sample::Index>(), double in any::<bool>()) {
        let good = two_roots();
        let pin = good.pin();
        let names: Vec<String> = good.files.files().map(|(name, _)| name.to_owned()).collect();
        let name = &names[file % names.len()];
        let mut bytes = good.files.get(name).unwrap().to_vec();
        let at = at.index(bytes.len());
        match double {
            true => bytes.insert(at, bytes[at]),
            false => drop(bytes.remove(at)),
        }
        let mut bad = good.clone();
        bad.files.add(name.clone(), bytes);
        let found = answer(&bad, &pin, "team/b");
        prop_assert!(found.is_none() || found == answer(&good, &pin, "team/b"), "{name} at {at}: {found:?}");
    }
}

#[test]
fn every_cut_of_every_file_is_refused() {
    let good = two_roots();
    let pin = good.pin();
    let names: Vec<String> = good.files.files().map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().filter(|name| *name != "1.root.json") {
        let bytes = good.files.get(name).unwrap();
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let mut bad = good.clone();
            bad.files.add(name.clone(), &bytes[..length]);
            assert!(answer(&bad, &pin, "team/b").is_none(), "{name} cut to {length}");
        }
    }
}

/// A repository with every form of delegation: listed roles, one by hash prefixes, one nested that delegates to bins.
fn every_form() -> Repository {
    let mut repository = two_roots();
    let empty = repository.files.get("1.team.json").unwrap().to_vec();
    let id = key(TEAM).id();
    let object = key(TEAM).tuf_key().to_json().clone();
    let bin: crate::trust::metadata::SuccinctRoles = serde_json::from_value(json!({
        "keyids": [id], "threshold": 1, "bit_length": 4, "name_prefix": "bin",
    }))
    .unwrap();
    let bin_of_c = bin.bin_of("deep/c");
    repository.forge("targets", &[TARGETS], |signed| {
        let role = |name: &str, names: &str, values: Value| {
            json!({ "name": name, "keyids": [id], "threshold": 1, "terminating": true, names: values })
        };
        let roles = signed["delegations"]["roles"].as_array_mut().unwrap();
        roles.push(role("outer", "paths", json!(["deep/*"])));
        // SHA-256 of "hashed" begins with c5.
        let prefix = &crate::digest::Digest::sha256(b"hashed").hex()[..6];
        roles.push(role("prefixes", "path_hash_prefixes", json!([prefix])));
    });
    for (name, targets, bins) in [
        ("outer", None, true),
        ("prefixes", Some("hashed"), false),
        (bin_of_c.as_str(), Some("deep/c"), false),
    ] {
        repository.files.add(format!("1.{name}.json"), empty.clone());
        repository.forge(name, &[TEAM], |signed| {
            let signs = |name: &str| json!({ name: file(name.as_bytes()) });
            signed["targets"] = targets.map_or(json!({}), signs);
            if bins {
                signed["delegations"] = json!({ "keys": { id.as_str(): object }, "succinct_roles": bin });
            }
        });
    }
    let others = ["outer", "prefixes", &bin_of_c].map(|role| (format!("{role}.json"), repository.describe(role)));
    repository.forge("snapshot", &[SNAPSHOT], |signed| {
        signed["meta"].as_object_mut().unwrap().extend(others);
    });
    repository.relink();
    repository
}

const NAMES: [&str; 4] = ["a", "team/b", "hashed", "deep/c"];

/// Collects the paths of all values within one.
fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
    let mut member = |name: &str, value: &Value| {
        let path = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        all.push(path.clone());
        paths(value, &path, all);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| member(name, value)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(at, value)| member(&at.to_string(), value)),
        _ => {}
    }
}

/// Changes the value at a path in one of several ways; says whether anything changed.
fn mutate(document: &mut Value, path: &str, way: usize) -> bool {
    let before = document.clone();
    let (above, last) = path.rsplit_once('/').unwrap();
    let last = last.replace("~1", "/").replace("~0", "~");
    let parent = document.pointer_mut(above).unwrap();
    match (way, parent) {
        (0, Value::Object(members)) => drop(members.remove(&last)),
        (0, Value::Array(items)) => drop(items.remove(last.parse().unwrap())),
        // Under another name; once more.
        (1, Value::Object(members)) => {
            let value = members.remove(&last).unwrap();
            members.insert(format!("{last}x"), value);
        }
        (1, Value::Array(items)) => items.push(items[last.parse::<usize>().unwrap()].clone()),
        (_, parent) => {
            let value = match parent {
                Value::Object(members) => &mut members[&last],
                Value::Array(items) => &mut items[last.parse::<usize>().unwrap()],
                _ => return false,
            };
            *value = match (way, &*value) {
                (2, _) => Value::Null,
                (3, Value::Number(number)) => (number.as_u64().unwrap() + 1).into(),
                (3, Value::String(text)) if text.ends_with('0') => format!("{}1", &text[..text.len() - 1]).into(),
                (3, Value::String(text)) if !text.is_empty() => format!("{}0", &text[..text.len() - 1]).into(),
                (3, Value::Bool(value)) => (!value).into(),
                (4, Value::Number(_)) => u64::MAX.into(),
                (4, Value::String(_)) => "".into(),
                (4, Value::Array(_)) => json!([]),
                (4, Value::Object(_)) => json!({}),
                (5, Value::String(text)) => json!([text]),
                (5, Value::Number(number)) => number.to_string().into(),
                (5, other) => json!([other]),
                _ => return false,
            };
        }
    }
    *document != before
}

const WAYS: usize = 6;

#[test]
fn every_form_of_delegation_is_found_before_it_is_changed() {
    let good = every_form();
    let pin = good.pin();
    assert!(NAMES.iter().all(|name| answer(&good, &pin, name).is_some()));
    let names: Vec<_> = good.files.files().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names.len(), 9, "{names:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    // Whoever has no key changes any field of any file: nothing else is found than before, or nothing.
    #[test]
    fn a_changed_field_never_changes_what_is_found(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), way in 0..WAYS) {
        let good = every_form();
        let pin = good.pin();
        let names: Vec<String> = good.files.files().map(|(name, _)| name.to_owned()).collect();
        let name = &names[file.index(names.len())];
        let mut document = json::parse(good.files.get(name).unwrap(), Limits::integers(1 << 20)).unwrap();
        let mut all = Vec::new();
        paths(&document, "", &mut all);
        let path = &all[at.index(all.len())];
        prop_assume!(mutate(&mut document, path, way));
        let mut bad = good.clone();
        bad.files.add(name.clone(), serde_json::to_vec(&document).unwrap());
        for target in NAMES {
            let found = answer(&bad, &pin, target);
            prop_assert!(found.is_none() || found == answer(&good, &pin, target), "{name} {path} {way}: {found:?}");
        }
        prop_assert!(answer(&bad, &pin, "deep/unsigned").is_none(), "{name} {path} {way}");
    }

    // Whoever has the key of a delegated role alone, and signs what was changed, changes what that role is trusted with at most.
    #[test]
    fn a_role_that_was_broken_into_changes_its_own_names_at_most(at in any::<prop::sample::Index>(), way in 0..WAYS, relink in any::<bool>()) {
        let good = every_form();
        let pin = good.pin();
        let bytes = good.files.get("1.prefixes.json").unwrap();
        let mut document = json::parse(bytes, Limits::integers(1 << 20)).unwrap();
        let mut all = Vec::new();
        paths(&document["signed"], "/signed", &mut all);
        prop_assume!(mutate(&mut document, &all[at.index(all.len())], way));
        let mut bad = good.clone();
        bad.files.add("1.prefixes.json", serde_json::to_vec(&document).unwrap());
        let Ok(message) = json::canonical(&document["signed"]) else { return Ok(()) };
        let sig = hex::encode(key(TEAM).sign(&message).unwrap());
        document["signatures"] = json!([{ "keyid": key(TEAM).id(), "sig": sig }]);
        bad.files.add("1.prefixes.json", serde_json::to_vec(&document).unwrap());
        if relink {
            // The online keys sign whatever they are given.
            let meta = bad.describe("prefixes");
            bad.forge("snapshot", &[SNAPSHOT], |signed| signed["meta"]["prefixes.json"] = meta);
            bad.relink();
        }
        for target in ["a", "team/b", "deep/c"] {
            // A snapshot that names what cannot be is no snapshot.
            let found = answer(&bad, &pin, target);
            let none = relink && found.is_none();
            prop_assert!(none || found == answer(&good, &pin, target), "{target}: {found:?}");
        }
    }
}
