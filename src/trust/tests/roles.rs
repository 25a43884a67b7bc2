//! Metadata that say which role they are for, offered for another one by those who hold no key of it.

use serde_json::{Value, json};

use super::drafts::with_changed;
use super::*;
use crate::trust::edit::{Draft, EditError};
use crate::trust::history::history;

/// A collection with bins, in which `x` was signed: its bin is of version 2, and the top level of version 1.
fn binned() -> Repository {
    let mut collection = Repository::collection();
    collection.make_bins(2, start()).unwrap();
    let mut repository = Repository::of(collection);
    repository.change(start(), |collection| {
        collection.put_target("targets", "x", file(b"x"), start()).unwrap();
    });
    repository
}

/// The file that is a bin's second version, and the bin.
fn second_of_a_bin(repository: &Repository) -> (String, Vec<u8>) {
    let mut files = repository.files.files();
    let (name, bytes) = files.find(|(name, _)| name.starts_with("2.bin-")).unwrap();
    let role = name.strip_prefix("2.").unwrap().strip_suffix(".json").unwrap();
    (role.to_owned(), bytes.to_vec())
}

/// A collection in which one key has the roles `team`, now of version 2, and `other`, of version 1.
fn one_key_for_two() -> Repository {
    let mut collection = Repository::collection();
    let spec = spec(&[TEAM], 1);
    collection.delegate("other", &spec, &["other/*".into()]).unwrap();
    collection.put_target("other", "other/c", file(b"c"), start()).unwrap();
    let mut repository = Repository::of(collection);
    repository.keys.insert("other", vec![TEAM]);
    repository.change(start(), |collection| {
        collection.put_target("team", "team/b", file(b"2"), start()).unwrap();
    });
    repository
}

/// Takes the member away from every role's metadata, as an older imgkit made them.
fn as_of_old(repository: &mut Repository) {
    let roles = ["targets", "team", "other"];
    for role in roles {
        repository.forge_linked(role, |signed| {
            let gone = signed.as_object_mut().unwrap().remove("x-imgkit-role");
            assert_eq!(gone, Some(json!(role)));
        });
    }
}

/// A draft that holds `document`, which is published for some role, as that of `role`.
fn replayed(repository: &Repository, document: &[u8], role: &str) -> Draft {
    let collection = Collection::load(&repository.pin(), &repository.files).unwrap();
    let (empty, _) = collection.draft("c", &[], start()).unwrap();
    let mut draft: Value = serde_json::from_slice(&empty.to_bytes().unwrap()).unwrap();
    let document: Value = serde_json::from_slice(document).unwrap();
    let signatures = document["signatures"].as_array().unwrap().iter();
    let signatures: Map<_, _> = signatures
        .map(|one| (one["keyid"].as_str().unwrap().to_owned(), one["sig"].clone()))
        .collect();
    draft["documents"] = json!([{ "role": role, "signatures": signatures, "signed": document["signed"] }]);
    Draft::parse(draft.to_string().as_bytes()).unwrap()
}

fn is_other(error: &TrustError, expected: &str, found: &str) -> bool {
    let names = (expected.to_owned(), found.to_owned());
    matches!(error, TrustError::OtherRole { expected, found, .. } if (expected, found) == (&names.0, &names.1))
}

#[test]
fn every_role_says_in_what_it_signs_which_it_is() {
    let repository = binned();
    for (name, bytes) in repository.files.files() {
        let value: Value = serde_json::from_slice(bytes).unwrap();
        let role = name.split('.').rev().nth(1).unwrap();
        let expected = match role {
            "root" | "snapshot" | "timestamp" => &Value::Null,
            role => &json!(role),
        };
        assert_eq!(&value["signed"]["x-imgkit-role"], expected, "{name}");
    }
}

#[test]
fn refuses_a_bins_document_in_place_of_the_top_levels() {
    let mut repository = binned();
    let (bin, bytes) = second_of_a_bin(&repository);
    assert!(repository.find("team/b").is_ok());
    // Whoever has the keys of snapshot and timestamp needs no other.
    repository.files.add("2.targets.json", bytes);
    repository.relink();
    for name in ["x", "team/b"] {
        let refused = repository.find(name).unwrap_err();
        assert!(is_other(&refused, "targets", &bin), "{refused}");
    }
    let refused = repository.find("x").unwrap_err().to_string();
    let expected =
        format!("2.targets.json: expected metadata of the role `targets`, found some that say they are of `{bin}`");
    assert_eq!(refused, expected);
}

#[test]
fn refuses_a_roles_document_in_place_of_anothers_with_the_same_key() {
    let mut repository = one_key_for_two();
    let bytes = repository.files.get("2.team.json").unwrap().to_vec();
    repository.files.add("2.other.json", bytes);
    repository.relink();
    let refused = repository.find("other/c").unwrap_err();
    assert!(is_other(&refused, "other", "team"), "{refused}");
    assert!(
        repository.find("team/b").is_ok(),
        "who does not ask it is not concerned"
    );
    // Nor is it anybody's to sign anew, whoever signed it.
    let witnessed = |repository: &Repository| {
        let mut collection = Collection::load(&repository.pin(), &repository.files).unwrap();
        collection.witness("other").unwrap_err()
    };
    assert!(matches!(witnessed(&repository), EditError::Trust(error) if is_other(&error, "other", "team")));
    repository.forge("other", &[STRANGER], |signed| signed["x-imgkit-role"] = json!("team"));
    repository.relink();
    assert!(matches!(witnessed(&repository), EditError::Trust(error) if is_other(&error, "other", "team")));
}

#[test]
fn the_past_of_a_role_is_not_anothers() {
    let mut repository = one_key_for_two();
    let bytes = repository.files.get("2.team.json").unwrap().to_vec();
    repository.files.add("2.other.json", bytes);
    repository.relink();
    let client = repository.client();
    let (epochs, bodies) = history(client.chain(), &repository.files, None).unwrap();
    let last = epochs.last().unwrap().roles.iter();
    let unknown: Vec<_> = last
        .filter_map(|change| Some((change.role.as_str(), change.unknown.clone()?)))
        .collect();
    assert!(
        matches!(unknown.as_slice(), [("other", why)] if why.contains("say they are of `team`")),
        "{unknown:?}"
    );
    assert!(bodies["other"].targets.contains_key("other/c"));
}

#[test]
fn refuses_a_draft_with_what_another_role_signed() {
    let repository = binned();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let (bin, bytes) = second_of_a_bin(&repository);
    let draft = replayed(&repository, &bytes, "targets");
    let refused = load().adopt(&draft, start()).unwrap_err();
    assert!(
        matches!(&refused, EditError::Draft(error) if is_other(error, "targets", &bin)),
        "{refused}"
    );
    // Nor without the member, where the role said before which it is.
    let silent = with_changed(&draft, "targets", Some(&key(TARGETS)), |signed| {
        signed.as_object_mut().unwrap().remove("x-imgkit-role");
    });
    let refused = load().adopt(&silent, start()).unwrap_err().to_string();
    assert!(refused.contains("does not say which role it is for"), "{refused}");
    let repository = one_key_for_two();
    let bytes = repository.files.get("2.team.json").unwrap();
    let draft = replayed(&repository, bytes, "other");
    let mut collection = Collection::load(&repository.pin(), &repository.files).unwrap();
    let refused = collection.adopt(&draft, start()).unwrap_err();
    assert!(
        matches!(&refused, EditError::Draft(error) if is_other(error, "other", "team")),
        "{refused}"
    );
}

#[test]
fn refuses_a_new_roles_draft_that_does_not_say_which_it_is() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let mut collection = load();
    collection.put_target("seal", "seal/x", file(b"x"), start()).unwrap();
    let (draft, _) = collection.draft("c", &[&key(SEAL)], start()).unwrap();
    load().adopt(&draft, start()).unwrap();
    let silent = with_changed(&draft, "seal", Some(&key(SEAL)), |signed| {
        signed.as_object_mut().unwrap().remove("x-imgkit-role");
    });
    let refused = load().adopt(&silent, start()).unwrap_err().to_string();
    assert!(refused.contains("does not say which role it is for"), "{refused}");
}

#[test]
fn takes_what_does_not_say_it_as_before() {
    let mut repository = one_key_for_two();
    as_of_old(&mut repository);
    for name in ["a", "team/b", "other/c"] {
        repository.find(name).unwrap();
    }
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let mut collection = load();
    collection.put_target("other", "other/d", file(b"d"), start()).unwrap();
    let (draft, _) = collection.draft("c", &[], start()).unwrap();
    let silent = with_changed(&draft, "other", Some(&key(TEAM)), |signed| {
        signed.as_object_mut().unwrap().remove("x-imgkit-role");
    });
    load().adopt(&silent, start()).unwrap();
    // What is, word for word, what another role says is not taken even so.
    let bytes = repository.files.get("2.team.json").unwrap();
    let draft = replayed(&repository, bytes, "other");
    let mut collection = load();
    collection.load_all().unwrap();
    let refused = collection.adopt(&draft, start()).unwrap_err().to_string();
    assert!(
        refused.contains("what the role `team` says, word for word"),
        "{refused}"
    );
    // Signed again, it says it.
    let mut repository = repository.clone();
    repository.change(start(), |collection| collection.renew("other").unwrap());
    let value: Value = serde_json::from_slice(repository.files.get("2.other.json").unwrap()).unwrap();
    assert_eq!(value["signed"]["x-imgkit-role"], "other");
}

#[test]
fn what_is_no_name_of_a_role_is_refused() {
    for says in [Value::Null, json!(1), json!(["team"]), json!("")] {
        let mut repository = Repository::new();
        repository.forge_linked("team", |signed| signed["x-imgkit-role"] = says.clone());
        assert!(repository.find("a").is_ok());
        assert!(repository.find("team/b").is_err(), "{says}");
    }
}
