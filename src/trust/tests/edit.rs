//! The owner's side: what is made is trusted, and what would not be is refused.

use super::*;
use crate::trust::edit::EditError;
use crate::trust::metadata::Root;

#[test]
fn lifetimes_are_those_of_the_house() {
    let repository = Repository::new();
    let mut collection = Collection::load(&repository.pin(), &repository.files).unwrap();
    collection.load_all().unwrap();
    let expiries: Vec<_> = collection
        .marks()
        .into_iter()
        .map(|(role, mark)| (role, mark.expires))
        .collect();
    let expected = [
        ("root", 365),
        ("targets", 90),
        ("snapshot", 90),
        ("timestamp", 14),
        ("team", 90),
    ];
    assert_eq!(expiries, expected.map(|(role, count)| (role.to_owned(), days(count))));
}

#[test]
fn only_what_changed_is_signed_anew() {
    let mut repository = Repository::new();
    repository.change(days(1), |collection| {
        collection.put_target("team", "team/c", file(b"c"), days(1)).unwrap()
    });
    let names: Vec<_> = repository.files.files().map(|(name, _)| name).collect();
    for name in ["2.team.json", "2.snapshot.json", "timestamp.json"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for name in ["2.root.json", "2.targets.json"] {
        assert!(!names.contains(&name), "{names:?}");
    }
    assert!(repository.find("team/c").is_ok());
    assert!(repository.find("team/b").is_ok());
    repository.change(days(2), |collection| {
        collection.remove_target("team", "team/c", days(2)).unwrap()
    });
    assert!(matches!(repository.find("team/c"), Err(TrustError::Absent { .. })));
}

#[test]
fn unknown_members_survive_an_edit() {
    let mut repository = Repository::new();
    repository.forge_linked("targets", |signed| {
        signed["x-other-tool"] = json!({ "z": [1, "ä"] });
        signed["targets"]["a"]["x-note"] = 7.into();
        signed["delegations"]["roles"][0]["x-owner"] = "ops".into();
    });
    repository.change(days(1), |collection| {
        collection.put_target("targets", "c", file(b"c"), days(1)).unwrap()
    });
    let bytes = repository.files.get("2.targets.json").unwrap();
    let signed = &json::parse(bytes, Limits::integers(1 << 20)).unwrap()["signed"];
    assert_eq!(signed["x-other-tool"], json!({ "z": [1, "ä"] }));
    assert_eq!(signed["targets"]["a"]["x-note"], 7);
    assert_eq!(signed["delegations"]["roles"][0]["x-owner"], "ops");
}

#[test]
fn an_expired_collection_is_renewed() {
    let mut repository = Repository::new();
    let later = days(400);
    assert!(matches!(
        repository.find_at("a", later),
        Err(TrustError::Expired { .. })
    ));
    repository.change(later, |collection| {
        collection.load_all().unwrap();
        for (role, _) in collection.marks() {
            collection.renew(&role).unwrap();
        }
    });
    assert!(repository.find_at("a", later).is_ok());
    assert!(repository.find_at("team/b", later).is_ok());
    let root: Value = serde_json::from_slice(repository.files.get("2.root.json").unwrap()).unwrap();
    assert!(serde_json::from_value::<Root>(root["signed"].clone()).is_ok());
}

#[test]
fn nothing_is_signed_on_top_of_what_the_owner_did_not_sign() {
    let mut repository = Repository::new();
    repository.forge("targets", &[STRANGER], |signed| {
        signed["targets"]["evil"] = serde_json::to_value(file(b"evil")).unwrap();
    });
    repository.relink();
    let refused = Collection::load(&repository.pin(), &repository.files).unwrap_err();
    assert!(
        matches!(refused, EditError::Trust(TrustError::WrongKey { .. })),
        "{refused}"
    );
}

#[test]
fn says_which_keys_are_missing() {
    let (targets, snapshot) = (key(TARGETS), key(SNAPSHOT));
    let refused = Repository::collection()
        .sign(&[&targets, &snapshot], start())
        .unwrap_err();
    assert!(
        matches!(refused, EditError::Keys { ref role, have: 0, .. } if role == "root"),
        "{refused}"
    );
}

#[test]
fn thresholds_can_be_met_and_are() {
    let one = |number| spec(&[number], 1);
    let make = |targets: &RoleSpec| Collection::new(&one(1), targets, &one(3), &one(4), start());
    assert!(matches!(make(&spec(&[2], 2)), Err(EditError::Threshold { .. })));
    assert!(matches!(make(&spec(&[2, 2], 2)), Err(EditError::Twice { .. })));
    assert!(matches!(make(&spec(&[2], 0)), Err(EditError::Threshold { .. })));
    let made = || {
        let mut collection = make(&spec(&[2, 7, 8], 2)).unwrap();
        collection.put_target("targets", "a", file(b"a"), start()).unwrap();
        collection
    };
    let keys = [1, 2, 3, 4, 7].map(key);
    let few = signers(keys.iter().take(4));
    assert!(matches!(
        made().sign(&few, start()),
        Err(EditError::Keys { needed: 2, have: 1, .. })
    ));
    let all = signers(&keys);
    let made = made().sign(&all, start()).unwrap();
    let files = made.files();
    let found = lookup(
        files.get("1.root.json").unwrap(),
        files,
        &Known::default(),
        "a",
        start(),
    )
    .unwrap();
    assert_eq!((found.evidence().threshold, found.evidence().keys.len()), (2, 2));
}

#[test]
fn a_role_is_not_asked_to_sign_what_it_may_not_or_what_would_not_be_found() {
    let mut collection = Repository::collection();
    let mut put_as = |role: &str, name: &str, bytes: &[u8]| collection.put_target(role, name, file(bytes), start());
    let mut put = |role: &str, name: &str| put_as(role, name, b"x");
    assert!(matches!(put("team", "other"), Err(EditError::NotCovered { .. })));
    assert!(matches!(put("nobody", "other"), Err(EditError::NoRole { .. })));
    assert!(matches!(put("snapshot", "other"), Err(EditError::NoRole { .. })));
    assert!(matches!(put("targets", "a//b"), Err(EditError::Trust(_))));
    put("targets", "team/x").unwrap();
    put("team", "team/x").unwrap();
    assert!(matches!(
        put_as("team", "team/x", b"y"),
        Err(EditError::Shadowed { .. })
    ));
    assert!(matches!(
        collection.delegate("team", &spec(&[9], 1), &[]),
        Err(EditError::Exists { .. })
    ));
    assert!(matches!(
        collection.delegate("root", &spec(&[9], 1), &[]),
        Err(EditError::Exists { .. })
    ));
}

#[test]
fn a_role_that_has_begun_is_asked_and_one_that_has_not_cannot_be() {
    let mut repository = Repository::new();
    repository.keys.insert("new", vec![21]);
    repository.change(days(1), |collection| {
        collection.delegate("new", &spec(&[21], 1), &["new/*".into()]).unwrap()
    });
    assert!(matches!(repository.find("new/x"), Err(TrustError::Malformed { .. })));
    repository.change(days(1), |collection| collection.begin("new", days(1)).unwrap());
    assert!(matches!(repository.find("new/x"), Err(TrustError::Absent { .. })));
}

#[test]
fn a_revoked_key_does_not_come_back() {
    let mut repository = Repository::new();
    repository.change(days(1), |collection| {
        collection.rotate("seal", &spec(&[15], 1), days(1)).unwrap()
    });
    let mut collection = Collection::load(&repository.pin(), &repository.files).unwrap();
    let refused = collection.rotate("seal", &spec(&[SEAL], 1), days(2)).unwrap_err();
    assert!(matches!(refused, EditError::Revoked { .. }), "{refused}");
}

#[test]
fn files_come_with_the_timestamp_last() {
    let publication = Repository::new().sign(Repository::collection(), start());
    let names: Vec<_> = publication.files().files().map(|(name, _)| name).collect();
    let expected = [
        "1.root.json",
        "1.targets.json",
        "1.team.json",
        "1.snapshot.json",
        "timestamp.json",
    ];
    assert_eq!(names, expected);
}
