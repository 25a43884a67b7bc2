//! One role's name, trusted by several.

use std::collections::BTreeSet;

use super::*;
use crate::failure::Failure;
use crate::key::KeyId;
use crate::trust::Source;
use crate::trust::edit::{EditError, RoleInfo};
use crate::trust::history::{RoleChange, history};

const DEV: u8 = 7;
const QA: u8 = 8;
const INNER: u8 = 9;
const NEW: u8 = 10;

/// A collection in which `dev` and `qa` trust the role `inner`: `qa` to the key that signs as it, `dev` to `devs`.
fn twice(devs: &[u8]) -> Repository {
    twice_with("dev", devs)
}

/// The same with another name for `dev`.
fn twice_with(dev: &'static str, devs: &[u8]) -> Repository {
    let mut collection = Repository::collection();
    for (role, number, names) in [(dev, DEV, "d/*"), ("qa", QA, "q/*")] {
        collection.delegate(role, &spec(&[number], 1), &[names.into()]).unwrap();
        collection.begin(role, start()).unwrap();
    }
    let names = ["q/*".to_owned()];
    // Nobody is given a name that is taken: whoever wrote this used another tool.
    collection
        .delegate_by(dev, "other", &spec(devs, 1), &["d/*".into()], false)
        .unwrap();
    collection
        .delegate_by("qa", "inner", &spec(&[INNER, TEAM], 1), &names, false)
        .unwrap();
    collection.put_target("inner", "q/1", file(b"1"), start()).unwrap();
    let mut made = Repository::new();
    made.keys
        .extend([(dev, vec![DEV]), ("qa", vec![QA]), ("inner", vec![INNER])]);
    made.publish(&made.sign(collection, start()));
    made.forge_linked(dev, |signed| signed["delegations"]["roles"][0]["name"] = "inner".into());
    made
}

fn loaded(repository: &Repository) -> Collection<'_> {
    Collection::load(&repository.pin(), &repository.files).unwrap()
}

/// Returns whom each role that trusts `inner` trusts with it.
fn trusts(collection: &mut Collection<'_>) -> Vec<(String, Vec<u8>)> {
    let numbers = |role: &RoleInfo| {
        let mut known = vec![INNER, TEAM, NEW, STRANGER];
        known.retain(|number| role.keys.keyids().contains(&key(*number).id()));
        known
    };
    let trusted = collection.trusted_by("inner").unwrap();
    trusted
        .iter()
        .map(|role| (role.by.clone().unwrap(), numbers(role)))
        .collect()
}

fn by(roles: &[&str]) -> BTreeSet<Option<String>> {
    roles.iter().map(|role| Some((*role).to_owned())).collect()
}

#[test]
fn a_name_is_listed_for_each_who_trusts_it() {
    let repository = twice(&[INNER, TEAM]);
    let mut collection = loaded(&repository);
    collection.load_all().unwrap();
    let both = collection.trusts().into_iter().filter(|role| role.name == "inner");
    assert_eq!(both.filter_map(|role| role.by).collect::<Vec<_>>(), ["dev", "qa"]);
    assert_eq!(collection.roles().iter().filter(|role| role.name == "inner").count(), 1);
    assert_eq!(
        trusts(&mut loaded(&repository)),
        [
            ("dev".to_owned(), vec![INNER, TEAM]),
            ("qa".to_owned(), vec![INNER, TEAM])
        ]
    );
}

#[test]
fn other_keys_are_for_those_who_are_named() {
    for (named, left) in [(&["dev", "qa"][..], NEW), (&["dev"], INNER)] {
        let mut repository = twice(&[INNER, TEAM]);
        repository.keys.insert("inner", vec![INNER, NEW]);
        repository.change(days(1), |collection| {
            let work = |spec: &mut RoleSpec| {
                spec.keys.retain(|known| *known != key(INNER).tuf_key());
                spec.keys.push(key(NEW).tuf_key());
            };
            collection
                .rekey("inner", &by(named), true, days(1), &|_| true, &work)
                .unwrap();
        });
        let after = trusts(&mut loaded(&repository));
        assert_eq!(
            after[0],
            ("dev".to_owned(), vec![TEAM, NEW]),
            "each keeps its other keys"
        );
        assert!(after[1].1.contains(&left), "{named:?}: {after:?}");
    }
}

#[test]
fn a_role_stays_trusted_where_another_trusts_its_name_to_a_stranger() {
    let repository = twice(&[STRANGER]);
    let mut collection = loaded(&repository);
    let distrusted = collection.load_trusted().unwrap();
    let [one] = distrusted.as_slice() else {
        panic!("{distrusted:?}")
    };
    assert_eq!((one.role.as_str(), one.by.as_str()), ("inner", "dev"));
    assert!(collection.targets_of("inner").unwrap().targets.contains_key("q/1"));
    assert!(repository.find("q/1").is_ok());
}

#[test]
fn the_past_of_a_role_is_known_where_another_lists_its_name_to_a_stranger() {
    // In either order in which the two are read.
    for stranger in ["dev", "zeta"] {
        let mut repository = twice_with(stranger, &[STRANGER]);
        repository.change(days(1), |collection| {
            collection.put_target("inner", "q/2", file(b"2"), days(1)).unwrap();
        });
        let client = repository.client();
        let (epochs, bodies) = history(client.chain(), &repository.files, None).unwrap();
        let unknown = |change: &&RoleChange| change.unknown.is_some();
        let roles = || epochs.iter().flat_map(|epoch| &epoch.roles);
        assert_eq!(roles().find(unknown).map(|change| &change.role), None);
        let added = roles()
            .filter(|change| change.role == "inner")
            .flat_map(|change| &change.added);
        assert_eq!(added.collect::<Vec<_>>(), ["q/1", "q/2"]);
        assert!(bodies["inner"].targets.contains_key("q/2"));
    }
}

#[test]
fn a_role_is_found_by_who_trusts_its_key_whoever_else_lists_its_name() {
    let repository = twice(&[STRANGER]);
    let mut collection = loaded(&repository);
    collection.renew("inner").unwrap();
    let made = repository.sign(collection, days(1));
    assert!(made.files().files().any(|(name, _)| name == "2.inner.json"));
}

#[test]
fn a_role_that_lists_itself_is_trusted_by_others_alone() {
    let mut repository = twice(&[STRANGER]);
    repository.forge_linked("qa", |signed| {
        let again = signed["delegations"]["roles"][0].clone();
        signed["delegations"]["roles"].as_array_mut().unwrap().push(again);
        signed["delegations"]["roles"][1]["name"] = "qa".into();
    });
    let mut collection = loaded(&repository);
    let trusted = collection.trusted_by("qa").unwrap();
    assert_eq!(
        trusted.iter().map(|role| role.by.as_deref()).collect::<Vec<_>>(),
        [Some("targets")]
    );
}

#[test]
fn a_role_is_signed_by_the_keys_of_those_whose_trust_was_changed() {
    let mut repository = twice(&[INNER]);
    // Its old key is lost, and who trusts it first is not changed.
    repository.keys.insert("inner", vec![NEW]);
    repository.change(days(1), |collection| {
        let work = |spec: &mut RoleSpec| spec.keys = vec![key(NEW).tuf_key()];
        let keeps = |_: &KeyId| true;
        collection
            .rekey("inner", &by(&["qa"]), true, days(1), &keeps, &work)
            .unwrap();
    });
    assert!(repository.find_at("q/1", days(1)).is_ok());
}

#[test]
fn the_bins_of_a_role_that_was_not_loaded_get_its_new_keys() {
    let mut collection = Repository::collection();
    collection.make_bins(1, start()).unwrap();
    let mut repository = Repository::of(collection);
    repository.keys.insert("bins", vec![NEW]);
    let before = loaded(&repository).role_keys("bins").unwrap();
    assert_eq!(before.keyids(), [key(TARGETS).id()]);
    repository.change(days(1), |collection| {
        let work = |spec: &mut RoleSpec| spec.keys = vec![key(NEW).tuf_key()];
        collection
            .rekey("bins", &by(&["targets"]), true, days(1), &|_| true, &work)
            .unwrap();
    });
    let mut after = loaded(&repository);
    after.load_all().unwrap();
    let bins = after.trusts().into_iter().filter(|role| role.name.starts_with("bin-"));
    let keys: Vec<_> = bins.map(|role| role.keys.keyids().to_vec()).collect();
    assert!(
        !keys.is_empty() && keys.iter().all(|keys| *keys == [key(NEW).id()]),
        "{keys:?}"
    );
}

#[test]
fn a_role_is_signed_for_all_who_trust_it() {
    let mut repository = twice(&[STRANGER]);
    repository.keys.insert("inner", vec![INNER, STRANGER]);
    repository.forge_linked("inner", |_| {});
    let mut collection = loaded(&repository);
    collection.load_all().unwrap();
    collection.renew("inner").unwrap();
    let made = repository.sign(collection, days(1));
    let mut files = made.files().files();
    let (_, bytes) = files.find(|(name, _)| *name == "2.inner.json").unwrap();
    let signed: Value = serde_json::from_slice(bytes).unwrap();
    let signatures = signed["signatures"].as_array().unwrap();
    for number in [INNER, STRANGER] {
        let id = json!(key(number).id());
        assert!(
            signatures.iter().any(|one| one["keyid"] == id),
            "{number}: {signatures:?}"
        );
    }
}

/// A place where one role's metadata cannot be read.
struct Without<'a>(&'a Bundle, &'static str);

impl Source for Without<'_> {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        match name.contains(self.1) {
            true => Err(Failure::unavailable(name, "503")),
            false => self.0.file(name, max),
        }
    }
}

#[test]
fn a_name_is_new_only_where_everybody_could_be_asked() {
    let repository = twice(&[INNER]);
    let mut collection = Collection::load(&repository.pin(), Without(&repository.files, ".qa.json")).unwrap();
    let refused = collection.check_new("new").unwrap_err();
    assert!(
        matches!(&refused, EditError::Trust(error) if !error.is_verdict()),
        "{refused}"
    );
    loaded(&repository).check_new("new").unwrap();
}

#[test]
fn a_revoked_key_does_not_come_back_under_another_id() {
    let mut repository = twice(&[INNER]);
    repository.forge_linked("qa", |signed| {
        signed["x-imgkit-revoked"] = json!([{
            "role": "inner", "keyid": "ab".repeat(32), "key": key(NEW).tuf_key().to_json(), "since": "2026-01-01T00:00:00Z",
        }]);
    });
    let work = |spec: &mut RoleSpec| spec.keys = vec![key(NEW).tuf_key()];
    let refused = loaded(&repository).rekey("inner", &by(&["qa"]), true, days(1), &|_| true, &work);
    assert!(matches!(refused, Err(EditError::Revoked { .. })), "{refused:?}");
}

#[test]
fn who_is_loaded_already_is_asked_whom_he_trusts() {
    // Only `qa` trusts `inner` to keys that signed it.
    let repository = twice(&[STRANGER]);
    let mut collection = loaded(&repository);
    collection.find("qa").unwrap();
    let distrusted = collection.load_trusted().unwrap();
    assert!(distrusted.iter().all(|one| one.by == "dev"), "{distrusted:?}");
    assert!(collection.targets_of("inner").is_some());
}

#[test]
fn parts_that_nobody_signed_yet_get_the_new_keys_of_their_role() {
    let old = key(TARGETS).tuf_key();
    let by_hash = json!({
        "roles": [{ "name": "half", "keyids": [old.id()], "threshold": 1, "terminating": false, "path_hash_prefixes": ["0"] }],
        "keys": { old.id().as_str(): old.to_json() },
    });
    let short = json!({
        "succinct_roles": { "keyids": [old.id()], "threshold": 1, "bit_length": 2, "name_prefix": "bin" },
        "keys": { old.id().as_str(): old.to_json() },
    });
    for delegations in [by_hash, short] {
        let mut repository = Repository::new();
        repository.forge_linked("targets", |signed| signed["delegations"] = delegations.clone());
        repository.keys.insert("targets", vec![TARGETS, NEW]);
        repository.change(days(1), |collection| {
            let work = |spec: &mut RoleSpec| spec.keys = vec![key(NEW).tuf_key()];
            let by = BTreeSet::from([None]);
            collection
                .rekey("targets", &by, true, days(1), &|_| false, &work)
                .unwrap();
        });
        let bytes = repository.files.get(&repository.newest("targets")).unwrap().to_vec();
        let signed = json::parse(&bytes, Limits::integers(1 << 20)).unwrap()["signed"]["delegations"].clone();
        assert!(signed.to_string().contains(key(NEW).id().as_str()), "{signed}");
        let keyids = [&signed["roles"][0]["keyids"], &signed["succinct_roles"]["keyids"]];
        assert!(
            keyids
                .iter()
                .all(|ids| ids.is_null() || **ids == json!([key(NEW).id()])),
            "{signed}"
        );
    }
}
