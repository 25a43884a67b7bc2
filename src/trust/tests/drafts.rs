//! Changes that several people sign, and what whoever carries them may do to them.

use serde_json::{Value, json};

use super::owner::sign_with;
use super::*;
use crate::key::Signer;
use crate::trust::edit::{Draft, EditError};

#[test]
fn a_draft_goes_round_until_enough_keys_signed() {
    let collection = Collection::new(
        &spec(&[1], 1),
        &spec(&[2, 7, 8], 2),
        &spec(&[3], 1),
        &spec(&[4], 1),
        start(),
    );
    let first = sign_with(collection.unwrap(), &[1, 2, 3, 4, 7], start()).unwrap();
    let files = first.files().clone();
    let pin = files.get("1.root.json").unwrap().to_vec();
    let load = || Collection::load(&pin, &files).unwrap();
    let draft_of = |collection: Collection<'_>, numbers: &[u8]| {
        let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
        let keys: Vec<_> = keys.iter().map(|key| key as &dyn Signer).collect();
        collection.draft("c", &keys, days(1)).unwrap()
    };
    let mut collection = load();
    collection.put_target("targets", "a", file(b"a"), days(1)).unwrap();
    let (draft, lacking) = draft_of(collection, &[2]);
    assert_eq!(
        (lacking[0].role.as_str(), lacking[0].needed, lacking[0].have),
        ("targets", 2, 1)
    );
    let sent = Draft::parse(&draft.to_bytes().unwrap()).unwrap();
    assert_eq!(sent, draft);
    // One who has neither signed nor the key changes nothing; the threshold stays.
    let mut collection = load();
    collection.adopt(&sent, days(2)).unwrap();
    let (again, lacking) = draft_of(collection, &[2, 9]);
    assert_eq!((again.roles(), lacking.len()), (draft.roles(), 1));
    let mut collection = load();
    collection.adopt(&again, days(2)).unwrap();
    assert!(matches!(
        sign_with(collection, &[3, 4], days(1)),
        Err(EditError::Keys { have: 1, .. })
    ));
    let mut collection = load();
    collection.adopt(&again, days(2)).unwrap();
    let (signed, lacking) = draft_of(collection, &[8, 3]);
    assert_eq!(lacking[0].role, "timestamp");
    let mut collection = load();
    collection.adopt(&signed, days(2)).unwrap();
    let made = sign_with(collection, &[4], days(2)).unwrap();
    let mut all = files.clone();
    made.files().files().for_each(|(name, bytes)| all.add(name, bytes));
    let found = lookup(&pin, &all, &Known::default(), "a", days(2)).unwrap();
    assert_eq!(found.evidence().keys.len(), 2);
    // What was published in the meantime is not overwritten.
    let mut late = Collection::load(&pin, &all).unwrap();
    assert!(matches!(
        late.adopt(&signed, days(2)),
        Err(EditError::Stale {
            published: 2,
            found: 2,
            ..
        })
    ));
}

#[test]
fn a_draft_that_was_changed_on_the_way_loses_its_signatures() {
    let repository = Repository::new();
    let mut collection = Collection::load(&repository.pin(), &repository.files).unwrap();
    collection.put_target("targets", "b", file(b"b"), days(1)).unwrap();
    let (draft, lacking) = collection
        .draft("c", &[&key(TARGETS), &key(SNAPSHOT), &key(TIMESTAMP)], days(1))
        .unwrap();
    assert!(lacking.is_empty());
    let text = String::from_utf8(draft.to_bytes().unwrap()).unwrap();
    let changed = Draft::parse(text.replace("\"b\":{", "\"c\":{").as_bytes()).unwrap();
    let mut collection = Collection::load(&repository.pin(), &repository.files).unwrap();
    collection.adopt(&changed, days(2)).unwrap();
    assert!(matches!(
        sign_with(collection, &[SNAPSHOT, TIMESTAMP], days(1)),
        Err(EditError::Keys { have: 0, .. })
    ));
}

#[test]
fn a_root_is_signed_offline_from_nothing_but_the_file() {
    let mut repository = Repository::new();
    let files = repository.files.clone();
    let mut collection = Collection::load(&repository.pin(), &files).unwrap();
    collection.replace_keys("targets", &spec(&[21], 1), days(1)).unwrap();
    let (draft, lacking) = collection.draft("c", &[], days(1)).unwrap();
    assert_eq!((draft.roles(), lacking.len()), (vec![("root".to_owned(), 2)], 1));
    let mut offline = Draft::parse(&draft.to_bytes().unwrap()).unwrap();
    let pin = repository.pin();
    assert_eq!(
        offline.sign_root(Some(&pin), &[&key(STRANGER)], days(1)).unwrap().len(),
        1
    );
    assert!(
        offline
            .sign_root(Some(b"another root"), &[&key(ROOT)], days(1))
            .is_err()
    );
    assert!(
        offline
            .sign_root(Some(&pin), &[&key(ROOT)], days(1))
            .unwrap()
            .is_empty()
    );
    let mut collection = Collection::load(&pin, &files).unwrap();
    collection.adopt_root(&offline, days(2)).unwrap();
    let made = sign_with(collection, &[21, SNAPSHOT, TIMESTAMP], days(2)).unwrap();
    repository.publish(&made);
    assert_eq!(repository.find("a").unwrap().evidence().keys, [key(21).id()]);
}

/// A draft in which the document of `role` says something else; who changed it signs it with `by`.
pub(super) fn with_changed(
    draft: &Draft,
    role: &str,
    by: Option<&SigningKey>,
    change: impl FnOnce(&mut Value),
) -> Draft {
    let mut value: Value = serde_json::from_slice(&draft.to_bytes().unwrap()).unwrap();
    let documents = value["documents"].as_array_mut().unwrap();
    let document = documents.iter_mut().find(|document| document["role"] == role).unwrap();
    change(&mut document["signed"]);
    let message = json::canonical(&document["signed"]).unwrap();
    document["signatures"] = match by {
        Some(key) => json!({ key.id().to_string(): hex::encode(key.sign(&message).unwrap()) }),
        None => json!({}),
    };
    Draft::parse(value.to_string().as_bytes()).unwrap()
}

/// A draft with one name more, signed by everybody.
fn signed(mut collection: Collection<'_>) -> Draft {
    collection.put_target("targets", "b", file(b"b"), days(1)).unwrap();
    let keys = [TARGETS, SNAPSHOT, TIMESTAMP].map(key);
    collection.draft("c", &signers(&keys), days(1)).unwrap().0
}

#[test]
fn a_snapshot_or_timestamp_that_nobody_signed_is_made_anew() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let draft = signed(load());
    let keys = |role| if role == "snapshot" { SNAPSHOT } else { TIMESTAMP };
    let expiry = |draft: &Draft, role: &str| {
        let mut collection = load();
        collection.adopt(draft, days(1)).unwrap();
        let made = sign_with(collection, &[TARGETS, SNAPSHOT, TIMESTAMP], days(1)).unwrap();
        let name = if role == "snapshot" {
            "2.snapshot.json"
        } else {
            "timestamp.json"
        };
        let value: Value = serde_json::from_slice(made.files().get(name).unwrap()).unwrap();
        value["signed"]["expires"].as_str().unwrap().to_owned()
    };
    for role in ["snapshot", "timestamp"] {
        let usual = expiry(&draft, role);
        let soon = |signed: &mut Value| signed["expires"] = json!("2026-11-26T00:00:00Z");
        let by_owner = with_changed(&draft, role, Some(&key(keys(role))), soon);
        assert_eq!(
            expiry(&by_owner, role),
            "2026-11-26T00:00:00Z",
            "what a key of the role signed stays"
        );
        for by in [None, Some(&key(STRANGER))] {
            assert_eq!(expiry(&with_changed(&draft, role, by, soon), role), usual);
        }
        let adopt = |draft: &Draft| load().adopt(draft, days(1)).unwrap_err();
        for by in [None, Some(&key(keys(role)))] {
            let late = with_changed(&draft, role, by, |signed| {
                signed["expires"] = json!("2999-01-01T00:00:00Z")
            });
            assert!(matches!(adopt(&late), EditError::Expiry { .. }));
            let more = with_changed(&draft, role, by, |signed| signed["x"] = json!(1));
            assert!(matches!(adopt(&more), EditError::Draft(TrustError::Malformed { .. })));
        }
    }
}

#[test]
fn no_document_of_a_draft_counts_for_longer_than_one_made_now() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let mut collection = load();
    collection.put_target("targets", "b", file(b"b"), days(1)).unwrap();
    collection.renew("root").unwrap();
    let (draft, _) = collection.draft("c", &[], days(1)).unwrap();
    load().adopt(&draft, days(1)).unwrap();
    for role in ["root", "targets"] {
        let late = with_changed(&draft, role, None, |signed| {
            signed["expires"] = json!("2999-01-01T00:00:00Z")
        });
        assert!(matches!(load().adopt(&late, days(1)), Err(EditError::Expiry { role: found, .. }) if found == role));
    }
}

#[test]
fn a_key_under_the_id_of_another_is_signed_by_nobody() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let mut collection = load();
    collection.replace_keys("targets", &spec(&[21], 1), days(1)).unwrap();
    collection.replace_keys("team", &spec(&[22], 1), days(1)).unwrap();
    let (draft, _) = collection.draft("c", &[], days(1)).unwrap();
    load().adopt(&draft, days(1)).unwrap();
    let mut collection = load();
    collection.replace_keys("targets", &spec(&[21], 1), days(1)).unwrap();
    let (root_alone, _) = collection.draft("c", &[], days(1)).unwrap();
    let mut offline = draft.clone();
    assert!(
        offline
            .sign_root(Some(&repository.pin()), &[&key(ROOT)], days(1))
            .unwrap()
            .is_empty()
    );
    let swap = |keys: &mut Value, number: u8| {
        keys[key(number).id().to_string()] = key(STRANGER).tuf_key().to_json().clone();
    };
    // A new key, and one that is published already.
    for number in [21, ROOT] {
        let mut swapped = with_changed(&draft, "root", None, |signed| swap(&mut signed["keys"], number));
        let refused =
            |error: EditError| matches!(error, EditError::ForeignId { found, .. } if found == key(number).id());
        assert!(refused(load().adopt(&swapped, days(1)).unwrap_err()));
        let alone = with_changed(&root_alone, "root", None, |signed| swap(&mut signed["keys"], number));
        assert!(refused(load().adopt_root(&alone, days(1)).unwrap_err()));
        assert!(refused(
            swapped
                .sign_root(Some(&repository.pin()), &[&key(ROOT)], days(1))
                .unwrap_err()
        ));
    }
    for number in [22, SEAL] {
        let swapped = with_changed(&draft, "targets", None, |signed| {
            swap(&mut signed["delegations"]["keys"], number);
        });
        let refused = load().adopt(&swapped, days(1)).unwrap_err();
        assert!(matches!(refused, EditError::ForeignId { found, .. } if found == key(number).id()));
    }
}

/// A draft with one more document, which nobody signed.
fn with_one_more(draft: &Draft, role: &str, signed: &Value) -> String {
    let mut value: Value = serde_json::from_slice(&draft.to_bytes().unwrap()).unwrap();
    let documents = value["documents"].as_array_mut().unwrap();
    documents.push(json!({ "role": role, "signatures": {}, "signed": signed }));
    value.to_string()
}

fn document(draft: &Draft, role: &str) -> Value {
    let value: Value = serde_json::from_slice(&draft.to_bytes().unwrap()).unwrap();
    let mut documents = value["documents"].as_array().unwrap().iter();
    documents.find(|document| document["role"] == role).unwrap()["signed"].clone()
}

#[test]
fn a_draft_holds_one_document_of_a_role() {
    let repository = Repository::new();
    let mut collection = Collection::load(&repository.pin(), &repository.files).unwrap();
    collection.renew("root").unwrap();
    let (draft, _) = collection.draft("c", &[], days(1)).unwrap();
    let twice = with_one_more(&draft, "root", &document(&draft, "root"));
    let refused = Draft::parse(twice.as_bytes()).unwrap_err().to_string();
    assert!(refused.contains("two documents of the role `root`"), "{refused}");
}

#[test]
fn a_new_root_takes_along_nothing_that_it_would_have_signed_anew() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let mut collection = load();
    collection.put_target("targets", "wicked", file(b"w"), days(1)).unwrap();
    let wicked = document(&collection.draft("c", &[], days(1)).unwrap().0, "targets");
    let mut collection = load();
    collection.replace_keys("targets", &spec(&[21], 1), days(1)).unwrap();
    let (draft, lacking) = collection.draft("c", &[&key(ROOT)], days(1)).unwrap();
    assert!(lacking.iter().all(|lacking| lacking.role != "root"));
    load().adopt_root(&draft, days(1)).unwrap();
    let more = Draft::parse(with_one_more(&draft, "targets", &wicked).as_bytes()).unwrap();
    let refused = load().adopt_root(&more, days(1)).unwrap_err().to_string();
    assert!(refused.contains("`targets` beside the root"), "{refused}");
}

#[test]
fn a_root_of_another_kind_version_or_with_other_roles_is_signed_by_nobody() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let mut collection = load();
    collection.renew("root").unwrap();
    let (draft, _) = collection.draft("c", &[], days(1)).unwrap();
    let mut good = draft.clone();
    assert!(
        good.sign_root(Some(&repository.pin()), &[&key(ROOT)], days(1))
            .unwrap()
            .is_empty()
    );
    let role = document(&draft, "root")["roles"]["targets"].clone();
    let changes: [fn(&mut Value, Value); 3] = [
        |root, role| root["roles"]["team"] = role,
        |root, _| root["_type"] = json!("targets"),
        |root, _| root["spec_version"] = json!("9"),
    ];
    for change in changes {
        let mut wicked = with_changed(&draft, "root", None, |root| change(root, role.clone()));
        assert!(load().adopt(&wicked, days(1)).is_err());
        assert!(
            wicked
                .sign_root(Some(&repository.pin()), &[&key(ROOT)], days(1))
                .is_err()
        );
    }
}

#[test]
fn what_is_published_is_what_others_signed() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let mut collection = load();
    collection.put_target("targets", "b", file(b"b"), days(1)).unwrap();
    let (unsigned, _) = collection.draft("c", &[], days(1)).unwrap();
    let all = [TARGETS, SNAPSHOT, TIMESTAMP];
    let mut collection = load();
    collection.adopt(&unsigned, days(1)).unwrap();
    assert!(sign_with(collection, &all, days(1)).is_ok());
    let mut collection = load();
    collection.adopt_signed(&unsigned, days(1)).unwrap();
    assert!(!collection.to_sign_here().contains("targets"));
    assert!(matches!(
        sign_with(collection, &all, days(1)),
        Err(EditError::Keys { have: 0, .. })
    ));
}

#[test]
fn a_key_signs_for_no_role_that_somebody_else_gave_it() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let mut collection = load();
    // The key of the top level's targets is given to another role.
    collection.replace_keys("team", &spec(&[TARGETS], 1), days(1)).unwrap();
    collection.put_target("team", "team/x", file(b"x"), days(1)).unwrap();
    let (draft, _) = collection.draft("c", &[], days(1)).unwrap();
    let signed = |hands: &[(&str, u8)]| {
        let mut collection = load();
        collection.adopt(&draft, days(1)).unwrap();
        let prints = |number| [key(number).public().fingerprint()].into();
        let hands = hands.iter().map(|(role, number)| ((*role).to_owned(), prints(*number)));
        collection.only_with(hands.collect());
        let (draft, _) = collection.draft("c", &[&key(TARGETS)], days(1)).unwrap();
        let value: Value = serde_json::from_slice(&draft.to_bytes().unwrap()).unwrap();
        let documents = value["documents"].as_array().unwrap().iter();
        let signed = documents.filter(|document| document["signatures"] != json!({}));
        signed
            .map(|document| document["role"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(signed(&[("targets", TARGETS), ("team", TARGETS)]), ["targets", "team"]);
    assert_eq!(signed(&[("targets", TARGETS)]), ["targets"]);
    assert!(signed(&[]).is_empty());
}

#[test]
fn a_snapshot_that_has_expired_or_was_signed_in_the_future_is_made_anew() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let draft = signed(load());
    let taken = |draft: &Draft| {
        let mut collection = load();
        collection.adopt(draft, days(1)).unwrap();
        collection
            .drafted()
            .unwrap()
            .iter()
            .any(|drafted| drafted.role == "snapshot")
    };
    assert!(taken(&draft));
    let by = key(SNAPSHOT);
    let changed = |name: &str, value: Time| {
        with_changed(&draft, "snapshot", Some(&by), |signed| {
            signed[name] = json!(value.to_string())
        })
    };
    assert!(taken(&changed("expires", days(2))));
    assert!(!taken(&changed("expires", days(1))));
    assert!(!taken(&changed("x-imgkit-signed", days(2))));
}

#[test]
fn what_has_expired_is_neither_signed_nor_published() {
    let repository = Repository::new();
    let pin = repository.pin();
    let load = || Collection::load(&pin, &repository.files).unwrap();
    let draft = signed(load());
    load().adopt(&draft, days(91).plus(-1)).unwrap();
    let is_of =
        |error: &EditError, role: &str| matches!(error, EditError::Expired { role: found, .. } if found == role);
    for refused in [load().adopt(&draft, days(91)), load().adopt_signed(&draft, days(91))] {
        let refused = refused.unwrap_err();
        assert!(is_of(&refused, "targets"), "{refused}");
    }
    let mut collection = load();
    collection.renew("root").unwrap();
    let (mut root, _) = collection.draft("c", &[&key(ROOT)], days(1)).unwrap();
    load().adopt_root(&root, days(366).plus(-1)).unwrap();
    let refused = load().adopt_root(&root, days(366)).unwrap_err();
    assert!(is_of(&refused, "root"), "{refused}");
    assert!(
        refused.to_string().contains("expired at 2027-11-24T00:00:00Z"),
        "{refused}"
    );
    let refused = root.sign_root(Some(&pin), &[&key(ROOT)], days(366)).unwrap_err();
    assert!(is_of(&refused, "root"), "{refused}");
}

#[test]
fn roles_that_a_draft_delegates_to_are_taken_in_whatever_order_they_come() {
    let repository = Repository::new();
    let mut collection = Collection::load(&repository.pin(), &repository.files).unwrap();
    let mut by = "team".to_owned();
    for name in ["z", "y", "x", "a"] {
        let pattern = ["team/*".to_owned()];
        collection
            .delegate_by(&by, name, &spec(&[21], 1), &pattern, false)
            .unwrap();
        collection
            .put_target(name, &format!("team/{name}"), file(b"f"), days(1))
            .unwrap();
        by = name.to_owned();
    }
    let (draft, _) = collection.draft("c", &[], days(1)).unwrap();
    let mut collection = Collection::load(&repository.pin(), &repository.files).unwrap();
    collection.adopt(&draft, days(1)).unwrap();
    assert_eq!(collection.drafted().unwrap().len(), 5);
}

#[test]
fn what_a_role_says_is_what_was_shown_of_it() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let shown = load()
        .targets()
        .map(|(role, body)| (role.to_owned(), body.clone()))
        .collect();
    load().check_shown(&shown).unwrap();
    let mut later = load();
    later.put_target("targets", "b", file(b"b"), days(1)).unwrap();
    assert!(matches!(later.check_shown(&shown), Err(EditError::Moved { role }) if role == "targets"));
}
