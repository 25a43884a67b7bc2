//! Bins, nested delegations, other keys and drafts, in the owner's hands and looked at as a client.

use std::cell::RefCell;

use super::*;
use crate::failure::Failure;
use crate::key::Signer;
use crate::trust::Source;
use crate::trust::edit::{Draft, EditError};

/// A place that remembers which files were read.
struct Watched<'a> {
    files: &'a Bundle,
    read: &'a RefCell<Vec<String>>,
}

impl Source for Watched<'_> {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let mut files = self.files;
        let found = files.file(name, max)?;
        if found.is_some() {
            self.read.borrow_mut().push(name.to_owned());
        }
        Ok(found)
    }
}

/// A collection with 16 bins and a role `team`.
fn binned() -> Repository {
    let mut collection = Repository::collection();
    collection.make_bins(4, start()).unwrap();
    Repository::of(collection)
}

fn sign_with(collection: Collection<'_>, numbers: &[u8], now: Time) -> Result<Publication, EditError> {
    let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
    let keys: Vec<_> = keys.iter().map(|key| key as &dyn Signer).collect();
    collection.sign(&keys, now)
}

#[test]
fn a_change_of_a_name_in_bins_reads_and_writes_one_bin() {
    let repository = binned();
    let read = RefCell::new(Vec::new());
    let source = Watched {
        files: &repository.files,
        read: &read,
    };
    let mut collection = Collection::load(&repository.pin(), source).unwrap();
    collection.put_target("targets", "x/y:1", file(b"y"), start()).unwrap();
    let made = repository.sign(collection, start());
    let mut read = read.into_inner();
    let bin = read.pop().unwrap();
    assert!(bin.starts_with("1.bin-"), "{bin}");
    let expected = [
        "1.root.json",
        "timestamp.json",
        "1.snapshot.json",
        "1.targets.json",
        "1.bins.json",
    ];
    assert_eq!(read, expected);
    let names: Vec<_> = made.files().files().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(
        names,
        [
            bin.replacen('1', "2", 1),
            "2.snapshot.json".into(),
            "timestamp.json".into()
        ]
    );
}

#[test]
fn a_bin_signs_as_the_role_whose_names_it_holds() {
    let mut repository = binned();
    repository.change(days(1), |collection| {
        for number in 0..40 {
            let name = format!("x/{number}:1");
            collection.put_target("targets", &name, file(b"x"), days(1)).unwrap();
        }
    });
    let found = repository.find("x/7:1").unwrap();
    assert_eq!(found.evidence().role, "targets");
    let path: Vec<_> = found.evidence().path.iter().map(|role| role.role.clone()).collect();
    assert_eq!(path.first().map(String::as_str), Some("bins"));
    assert_eq!(path.len(), 2);
    // What a look-up needs is in its bundle, and no other bin.
    assert_eq!(found.bundle().files().count(), 6);
    let again = lookup(&repository.pin(), found.bundle(), &Known::default(), "x/7:1", days(1)).unwrap();
    assert_eq!(again.evidence().role, "targets");
    // Names in the top level itself, and those of other roles, are found as before.
    assert_eq!(repository.find("a").unwrap().evidence().role, "targets");
    assert_eq!(repository.find("team/b").unwrap().evidence().role, "team");
    assert!(matches!(repository.find("x/99:1"), Err(TrustError::Absent { .. })));
    repository.change(days(2), |collection| {
        collection.remove_target("targets", "x/7:1", days(2)).unwrap()
    });
    assert!(matches!(repository.find("x/7:1"), Err(TrustError::Absent { .. })));
    let mut client = repository.client();
    client.fetch_roles().unwrap();
    let by_targets = client.chain().signing_roles().filter(|(role, _)| *role == "targets");
    assert_eq!(
        by_targets.map(|(_, signed)| signed.body().targets.len()).sum::<usize>(),
        40
    );
}

#[test]
fn a_bin_with_other_keys_signs_as_itself() {
    let mut collection = Repository::collection();
    collection.make_bins(4, start()).unwrap();
    collection.replace_keys("bin-0", &spec(&[TEAM], 1), start()).unwrap();
    assert_eq!(collection.signs_as("bin-0"), "bin-0");
    assert_eq!(collection.signs_as("bins"), "targets");
}

#[test]
fn other_keys_for_the_top_level_are_its_bins_keys_too() {
    let mut repository = binned();
    repository.change(days(1), |collection| {
        collection.put_target("targets", "x:1", file(b"x"), days(1)).unwrap()
    });
    repository.keys.insert("new", vec![21]);
    repository.change(days(2), |collection| {
        collection.rotate("targets", &spec(&[21], 1), days(2)).unwrap()
    });
    let found = repository.find("x:1").unwrap();
    assert_eq!(
        (found.evidence().role.as_str(), found.evidence().keys.clone()),
        ("targets", vec![key(21).id()])
    );
    repository.keys.remove("targets");
    repository.change(days(3), |collection| {
        collection.put_target("targets", "y:1", file(b"y"), days(3)).unwrap()
    });
    assert!(repository.find("y:1").is_ok());
}

#[test]
fn a_new_root_is_signed_by_the_keys_of_the_old_one() {
    let mut repository = Repository::new();
    let files = repository.files.clone();
    let rotated = || {
        let mut collection = Collection::load(&repository.pin(), &files).unwrap();
        collection.rotate("root", &spec(&[21, 22], 2), days(1)).unwrap();
        collection
    };
    let lacking = sign_with(rotated(), &[21, 22], days(1)).unwrap_err();
    assert!(
        matches!(lacking, EditError::Keys { ref role, needed: 1, have: 0, .. } if role == "root"),
        "{lacking}"
    );
    let lacking = sign_with(rotated(), &[ROOT, 21], days(1)).unwrap_err();
    assert!(
        matches!(lacking, EditError::Keys { needed: 2, have: 1, .. }),
        "{lacking}"
    );
    let made = sign_with(rotated(), &[ROOT, 21, 22], days(1)).unwrap();
    repository.publish(&made);
    assert_eq!(repository.find("a").unwrap().evidence().root_keys.len(), 2);
}

#[test]
fn a_delegated_role_delegates_in_turn() {
    let mut repository = Repository::new();
    repository.keys.insert("sub", vec![21]);
    repository.change(days(1), |collection| {
        let patterns = ["team/sub/*".to_owned()];
        collection
            .delegate_by("team", "sub", &spec(&[21], 1), &patterns, false)
            .unwrap();
        collection
            .set_patterns("team", &["team/*".to_owned(), "team/sub/*".to_owned()])
            .unwrap();
        collection.put_target("sub", "team/sub/x", file(b"x"), days(1)).unwrap();
        let refused = collection.put_target("sub", "team/x", file(b"x"), days(1)).unwrap_err();
        assert!(matches!(refused, EditError::NotCovered { .. }), "{refused}");
    });
    let found = repository.find("team/sub/x").unwrap();
    assert_eq!(
        (found.evidence().role.as_str(), found.evidence().path.len()),
        ("sub", 2)
    );
    repository.change(days(2), |collection| collection.renew("sub").unwrap());
    assert!(repository.find("team/sub/x").is_ok());
    let files = repository.files.clone();
    let mut collection = Collection::load(&repository.pin(), &files).unwrap();
    collection.load_all().unwrap();
    let names: Vec<_> = collection
        .roles()
        .into_iter()
        .skip(4)
        .map(|role| (role.name, role.by.unwrap()))
        .collect();
    let of = |name: &str, by: &str| (name.to_owned(), by.to_owned());
    assert_eq!(names, [of("seal", "targets"), of("team", "targets"), of("sub", "team")]);
    collection.undelegate("team", days(3)).unwrap();
    repository.publish(&repository.sign(collection, days(3)));
    assert!(matches!(repository.find("team/sub/x"), Err(TrustError::Absent { .. })));
    // A role of the same name begins where the old one ended: no version is ever used twice.
    repository.keys.insert("team", vec![23]);
    repository.change(days(4), |collection| {
        collection
            .delegate("team", &spec(&[23], 1), &["team/*".to_owned()])
            .unwrap();
        collection.put_target("team", "team/new", file(b"n"), days(4)).unwrap();
    });
    assert_eq!(repository.find("team/new").unwrap().evidence().role_mark().version, 3);
}

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
    assert_eq!(offline.sign_root(Some(&pin), &[&key(STRANGER)]).unwrap().len(), 1);
    assert!(offline.sign_root(Some(b"another root"), &[&key(ROOT)]).is_err());
    assert!(offline.sign_root(Some(&pin), &[&key(ROOT)]).unwrap().is_empty());
    let mut collection = Collection::load(&pin, &files).unwrap();
    collection.adopt_root(&offline, days(2)).unwrap();
    let made = sign_with(collection, &[21, SNAPSHOT, TIMESTAMP], days(2)).unwrap();
    repository.publish(&made);
    assert_eq!(repository.find("a").unwrap().evidence().keys, [key(21).id()]);
}

/// A draft in which the document of `role` says something else; who changed it signs it with `by`.
fn with_changed(draft: &Draft, role: &str, by: Option<&SigningKey>, change: impl FnOnce(&mut Value)) -> Draft {
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

#[test]
fn a_snapshot_or_timestamp_that_nobody_signed_is_made_anew() {
    let repository = Repository::new();
    let load = || Collection::load(&repository.pin(), &repository.files).unwrap();
    let mut collection = load();
    collection.put_target("targets", "b", file(b"b"), days(1)).unwrap();
    let signed = [TARGETS, SNAPSHOT, TIMESTAMP].map(key);
    let (draft, _) = collection.draft("c", &signers(&signed), days(1)).unwrap();
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
            assert!(matches!(adopt(&more), EditError::Trust(TrustError::Malformed { .. })));
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
    let mut offline = draft.clone();
    assert!(
        offline
            .sign_root(Some(&repository.pin()), &[&key(ROOT)])
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
        assert!(refused(load().adopt_root(&swapped, days(1)).unwrap_err()));
        assert!(refused(
            swapped.sign_root(Some(&repository.pin()), &[&key(ROOT)]).unwrap_err()
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
