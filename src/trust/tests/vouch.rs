//! One name that several trust, of which one, `evil`, puts his own file in the place of another's; `evil` has the keys of snapshot
//! and timestamp, or whoever publishes does it blindly.

use std::collections::BTreeSet;

use super::owner::sign_with;
use super::*;
use crate::trust::edit::{Draft, EditError, Lost};

const EVIL: u8 = 7;
const OTHER: u8 = 8;
const NEW: u8 = 9;

/// A collection in which `evil` is trusted with `ext/*` and lists the role `team` as one of `keys`, of which `threshold` must sign.
fn listed(keys: &[u8], threshold: u32) -> Repository {
    let mut collection = Repository::collection();
    collection
        .delegate("evil", &spec(&[EVIL], 1), &["ext/*".into()])
        .unwrap();
    collection.begin("evil", start()).unwrap();
    let names = ["team/*".to_owned()];
    let mut made = spec(keys, 1);
    made.threshold = threshold;
    collection.delegate_by("evil", "other", &made, &names, false).unwrap();
    let mut repository = Repository::new();
    repository.keys.insert("evil", vec![EVIL]);
    repository.publish(&repository.sign(collection, start()));
    repository.forge_linked("evil", |signed| {
        signed["delegations"]["roles"][0]["name"] = "team".into()
    });
    repository
}

/// The same once `evil` has put his own file in the place of the role's, signed by `by`.
fn taken(keys: &[u8], by: u8) -> Repository {
    let mut repository = listed(keys, 1);
    repository.forge("team", &[by], |signed| {
        signed["version"] = 2.into();
        signed["targets"]["team/evil"] = json!({ "length": 1, "hashes": Hashes::sha256(b"e") });
    });
    repository.relink();
    assert!(matches!(repository.find("team/b"), Err(TrustError::WrongKey { .. })));
    repository
}

fn loaded(repository: &Repository) -> Collection<'_> {
    Collection::load(&repository.pin(), &repository.files).unwrap()
}

fn doubtful(done: Result<Publication, EditError>) {
    assert!(
        matches!(&done, Err(EditError::Doubtful { role, by }) if role == "team" && by == "targets"),
        "{done:?}"
    );
}

#[test]
fn a_key_signs_nothing_that_somebody_else_put_in_its_roles_place() {
    // Whether `evil` lists the role's own key beside his, or only his.
    for keys in [&[EVIL, TEAM][..], &[EVIL]] {
        let repository = taken(keys, EVIL);
        let mut collection = loaded(&repository);
        assert!(collection.is_doubtful("team").unwrap());
        collection.put_target("team", "team/c", file(b"c"), days(1)).unwrap();
        let done = sign_with(collection, &[TEAM, SNAPSHOT, TIMESTAMP], days(1));
        doubtful(done);
        let mut collection = loaded(&repository);
        collection.renew("team").unwrap();
        let staged = collection.draft("c", &[], days(1));
        assert!(matches!(&staged, Err(EditError::Doubtful { .. })), "{staged:?}");
    }
}

#[test]
fn a_key_of_an_inner_role_signs_nothing_that_somebody_nearer_to_the_top_put_in_its_place() {
    const INNER: u8 = 11;
    for first in ["dev", "evil"] {
        let mut collection = Repository::collection();
        let second = if first == "dev" { "evil" } else { "dev" };
        for role in [first, second] {
            let (number, names) = if role == "dev" { (10, "d/*") } else { (EVIL, "ext/*") };
            collection.delegate(role, &spec(&[number], 1), &[names.into()]).unwrap();
            collection.begin(role, start()).unwrap();
        }
        let names = ["d/*".to_owned()];
        collection
            .delegate_by("dev", "inner", &spec(&[INNER], 1), &names, false)
            .unwrap();
        collection
            .delegate_by("evil", "other", &spec(&[EVIL, INNER], 1), &names, false)
            .unwrap();
        collection.put_target("inner", "d/x", file(b"x"), start()).unwrap();
        let mut repository = Repository::new();
        repository
            .keys
            .extend([("dev", vec![10]), ("evil", vec![EVIL]), ("inner", vec![INNER])]);
        repository.publish(&repository.sign(collection, start()));
        repository.forge_linked("evil", |signed| {
            signed["delegations"]["roles"][0]["name"] = "inner".into()
        });
        repository.forge("inner", &[EVIL], |signed| signed["version"] = 2.into());
        repository.relink();
        let mut collection = loaded(&repository);
        collection.renew("inner").unwrap();
        let done = sign_with(collection, &[INNER, SNAPSHOT, TIMESTAMP], days(1));
        assert!(
            matches!(&done, Err(EditError::Doubtful { role, by }) if role == "inner" && by == "dev"),
            "{first}: {done:?}"
        );
    }
}

#[test]
fn new_keys_sign_nothing_that_somebody_else_put_in_their_roles_place() {
    let repository = taken(&[EVIL], EVIL);
    let mut collection = loaded(&repository);
    let by = BTreeSet::from([Some("targets".to_owned())]);
    let work = |made: &mut RoleSpec| *made = spec(&[NEW], 1);
    collection.rekey("team", &by, true, days(1), &|_| false, &work).unwrap();
    doubtful(sign_with(collection, &[TARGETS, NEW, SNAPSHOT, TIMESTAMP], days(1)));
    // Who takes the old ones away without a word on what is published can.
    let mut collection = loaded(&repository);
    collection
        .rekey("team", &by, false, days(1), &|_| false, &work)
        .unwrap();
    let made = sign_with(collection, &[TARGETS, SNAPSHOT, TIMESTAMP], days(1)).unwrap();
    let names: Vec<_> = made.files().files().map(|(name, _)| name).collect();
    assert_eq!(names, ["2.targets.json", "2.snapshot.json", "timestamp.json"]);
}

#[test]
fn whoever_looked_at_it_signs_it_and_it_counts() {
    let mut repository = taken(&[EVIL], EVIL);
    let mut collection = loaded(&repository);
    collection.witness("team").unwrap();
    collection.remove_target("team", "team/evil", days(1)).unwrap();
    let made = sign_with(collection, &[TEAM, SNAPSHOT, TIMESTAMP], days(1)).unwrap();
    repository.publish(&made);
    assert!(repository.find("team/b").is_ok());
    assert!(matches!(repository.find("team/evil"), Err(TrustError::Absent { .. })));
    assert!(!loaded(&repository).is_doubtful("team").unwrap());
}

#[test]
fn what_was_looked_at_has_to_count_for_the_nearest_to_the_top() {
    let mut repository = taken(&[EVIL, TEAM], EVIL);
    repository.forge_linked("targets", |signed| {
        let roles = signed["delegations"]["roles"].as_array_mut().unwrap();
        let team = roles.iter_mut().find(|role| role["name"] == "team").unwrap();
        team["threshold"] = 2.into();
        let other = key(OTHER).tuf_key();
        team["keyids"].as_array_mut().unwrap().push(json!(other.id()));
        signed["delegations"]["keys"][other.id().to_string()] = other.to_json().clone();
    });
    let witnessed = |keys: &[u8]| {
        let mut collection = loaded(&repository);
        collection.witness("team").unwrap();
        sign_with(collection, &[keys, &[SNAPSHOT, TIMESTAMP]].concat(), days(1))
    };
    // For `evil` one of them would do.
    let done = witnessed(&[TEAM]);
    assert!(
        matches!(&done, Err(EditError::Keys { needed: 2, have: 1, .. })),
        "{done:?}"
    );
    witnessed(&[TEAM, OTHER]).unwrap();
}

#[test]
fn who_lists_anothers_role_keeps_nobody_from_signing_it() {
    for (keys, threshold) in [(&[EVIL][..], 1), (&[TEAM, OTHER], 2)] {
        let mut repository = listed(keys, threshold);
        repository.change(days(1), |collection| {
            collection.put_target("team", "team/c", file(b"c"), days(1)).unwrap();
        });
        assert!(repository.find_at("team/c", days(1)).is_ok());
        let distrusted = loaded(&repository).load_trusted().unwrap();
        let distrusted: Vec<_> = distrusted
            .iter()
            .map(|one| (one.role.as_str(), one.by.as_str()))
            .collect();
        assert_eq!(distrusted, [("team", "evil")]);
    }
}

#[test]
fn for_whom_a_role_does_not_count_any_more_is_said() {
    let mut repository = listed(&[TEAM, OTHER], 2);
    repository.keys.insert("team", vec![TEAM, OTHER]);
    repository.forge_linked("team", |_| {});
    let mut collection = loaded(&repository);
    assert!(collection.load_trusted().unwrap().is_empty());
    collection.renew("team").unwrap();
    let made = sign_with(collection, &[TEAM, SNAPSHOT, TIMESTAMP], days(1)).unwrap();
    let lost = Lost {
        role: "team".to_owned(),
        by: "evil".to_owned(),
    };
    assert_eq!(made.lost(), [lost]);
    let mut collection = loaded(&repository);
    collection.load_trusted().unwrap();
    collection.renew("team").unwrap();
    let made = sign_with(collection, &[TEAM, OTHER, SNAPSHOT, TIMESTAMP], days(1)).unwrap();
    assert!(made.lost().is_empty());
}

/// The draft without the document of a role.
fn without(draft: &Draft, role: &str) -> Draft {
    let mut value: Value = serde_json::from_slice(&draft.to_bytes().unwrap()).unwrap();
    let documents = value["documents"].as_array_mut().unwrap();
    documents.retain(|document| document["role"] != role);
    Draft::parse(value.to_string().as_bytes()).unwrap()
}

#[test]
fn a_draft_gives_nobody_a_name_that_is_taken() {
    let mut repository = Repository::new();
    repository.keys.insert("evil", vec![EVIL]);
    repository.change(start(), |collection| {
        collection
            .delegate("evil", &spec(&[EVIL], 1), &["ext/*".into()])
            .unwrap();
        collection.begin("evil", start()).unwrap();
    });
    let mut collection = loaded(&repository);
    let names = ["team/*".to_owned()];
    collection
        .delegate_by("evil", "other", &spec(&[EVIL], 1), &names, false)
        .unwrap();
    collection.begin("other", days(1)).unwrap();
    let keys = [key(EVIL)];
    let (draft, _) = collection.draft("c", &signers(&keys), days(1)).unwrap();
    let text = String::from_utf8(draft.to_bytes().unwrap()).unwrap();
    let draft = Draft::parse(text.replace("\"other\"", "\"team\"").as_bytes()).unwrap();
    let refused = loaded(&repository).adopt(&draft, days(1)).unwrap_err();
    assert!(
        matches!(&refused, EditError::Exists { role } if role == "team"),
        "{refused}"
    );
}

#[test]
fn a_draft_puts_nobodys_file_in_the_place_of_what_counts() {
    let repository = listed(&[EVIL], 1);
    let mut collection = loaded(&repository);
    collection.renew("team").unwrap();
    let (draft, _) = collection.draft("c", &[], days(1)).unwrap();
    let mut value: Value = serde_json::from_slice(&draft.to_bytes().unwrap()).unwrap();
    let documents = value["documents"].as_array_mut().unwrap();
    documents.retain(|document| document["role"] == "team");
    documents[0]["signed"]["targets"] = json!({});
    let message = json::canonical(&documents[0]["signed"]).unwrap();
    let sig = hex::encode(key(EVIL).sign(&message).unwrap());
    documents[0]["signatures"] = json!({ key(EVIL).id().to_string(): sig });
    let draft = Draft::parse(value.to_string().as_bytes()).unwrap();
    let mut collection = loaded(&repository);
    collection.adopt_signed(&draft, days(1)).unwrap();
    let done = sign_with(collection, &[SNAPSHOT, TIMESTAMP], days(1));
    assert!(matches!(&done, Err(EditError::Keys { have: 0, .. })), "{done:?}");
}

#[test]
fn a_draft_that_lost_a_role_on_its_way_is_not_published() {
    let repository = Repository::new();
    let mut collection = loaded(&repository);
    let by = BTreeSet::from([Some("targets".to_owned())]);
    let work = |made: &mut RoleSpec| *made = spec(&[NEW], 1);
    collection.rekey("team", &by, true, days(1), &|_| false, &work).unwrap();
    let keys = [TARGETS, NEW].map(key);
    let (draft, _) = collection.draft("c", &signers(&keys), days(1)).unwrap();
    let publish = |draft: &Draft, untrusted: &[&str]| {
        let mut collection = loaded(&repository);
        collection.adopt_signed(draft, days(1)).unwrap();
        untrusted.iter().for_each(|role| collection.leave_untrusted(role));
        sign_with(collection, &[SNAPSHOT, TIMESTAMP], days(1))
    };
    publish(&draft, &[]).unwrap();
    let less = without(&draft, "team");
    let done = publish(&less, &[]);
    assert!(
        matches!(&done, Err(EditError::Untrusted { role, by }) if role == "team" && by == "targets"),
        "{done:?}"
    );
    publish(&less, &["team"]).unwrap();
}

#[test]
fn a_draft_that_lost_a_bin_on_its_way_is_not_published() {
    let mut collection = Repository::collection();
    collection.make_bins(1, start()).unwrap();
    let repository = Repository::of(collection);
    let mut collection = loaded(&repository);
    let by = BTreeSet::from([None]);
    let work = |made: &mut RoleSpec| *made = spec(&[NEW], 1);
    collection
        .rekey("targets", &by, true, days(1), &|_| false, &work)
        .unwrap();
    let keys = [ROOT, TARGETS, NEW].map(key);
    let (draft, lacking) = collection.draft("c", &signers(&keys), days(1)).unwrap();
    assert!(lacking.iter().all(|one| one.role == "snapshot"), "{lacking:?}");
    let publish = |draft: &Draft| {
        let mut collection = loaded(&repository);
        collection.adopt_signed(draft, days(1)).unwrap();
        sign_with(collection, &[SNAPSHOT, TIMESTAMP], days(1))
    };
    publish(&draft).unwrap();
    let bin = draft
        .roles()
        .into_iter()
        .map(|(role, _)| role)
        .find(|role| role.starts_with("bin-"));
    let done = publish(&without(&draft, &bin.unwrap()));
    assert!(
        matches!(&done, Err(EditError::Untrusted { by, .. }) if by == "bins"),
        "{done:?}"
    );
}

/// A draft of a change, as it comes to the next who works on it.
fn draft_of(repository: &Repository, numbers: &[u8], work: impl FnOnce(&mut Collection<'_>)) -> Draft {
    let mut collection = loaded(repository);
    work(&mut collection);
    let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
    let (draft, _) = collection.draft("c", &signers(&keys), days(1)).unwrap();
    draft
}

#[test]
fn what_a_revoked_key_said_is_not_signed_again_unseen_in_a_draft() {
    let repository = Repository::new();
    let draft = draft_of(&repository, &[TARGETS], |collection| {
        let by = BTreeSet::from([Some("targets".to_owned())]);
        let work = |made: &mut RoleSpec| *made = spec(&[NEW], 1);
        collection
            .rekey("team", &by, false, days(1), &|_| false, &work)
            .unwrap();
    });
    let adopted = || {
        let mut collection = loaded(&repository);
        collection.adopt(&draft, days(1)).unwrap();
        collection
    };
    let refused = adopted().renew("team").unwrap_err();
    assert!(
        matches!(refused, EditError::Trust(TrustError::Revoked { .. })),
        "{refused}"
    );
    let refused = adopted().put_target("team", "team/c", file(b"c"), days(1)).unwrap_err();
    assert!(
        matches!(refused, EditError::Trust(TrustError::Revoked { .. })),
        "{refused}"
    );
    assert!(!adopted().witness("team").unwrap());
    let mut collection = adopted();
    collection.begin_anew("team", days(1)).unwrap();
    assert!(collection.targets_of("team").unwrap().targets.is_empty());
}

#[test]
fn a_role_that_is_added_again_in_a_draft_says_nothing_of_what_was() {
    let repository = Repository::new();
    let removed = draft_of(&repository, &[TARGETS], |collection| {
        collection.undelegate("team", days(1)).unwrap();
    });
    let mut collection = loaded(&repository);
    collection.adopt(&removed, days(1)).unwrap();
    assert!(collection.load_trusted().unwrap().is_empty());
    assert!(collection.targets_of("team").is_none(), "it is nobody's");
    collection
        .delegate("team", &spec(&[NEW], 1), &["team/*".into()])
        .unwrap();
    collection.begin("team", days(1)).unwrap();
    assert!(collection.targets_of("team").unwrap().targets.is_empty());
    let made = sign_with(collection, &[TARGETS, NEW, SNAPSHOT, TIMESTAMP], days(1)).unwrap();
    assert!(made.files().files().any(|(name, _)| name == "2.team.json"));
}

/// A collection with bins, and a role `name` that has bins of its own under their names, with the key `number`.
fn binned(name: &'static str, number: u8) -> Repository {
    let mut collection = Repository::collection();
    collection.make_bins(1, start()).unwrap();
    let mut repository = Repository::of(collection);
    // Roles cannot be added beside bins by imgkit: other tools do.
    repository.forge_linked("targets", |signed| {
        let evil = key(EVIL).tuf_key();
        signed["delegations"]["keys"][evil.id().to_string()] = evil.to_json().clone();
        let listed =
            json!({ "name": name, "keyids": [evil.id()], "threshold": 1, "terminating": false, "paths": ["ext/*"] });
        signed["delegations"]["roles"].as_array_mut().unwrap().insert(0, listed);
    });
    repository.keys.insert(name, vec![EVIL]);
    repository.change(start(), |collection| collection.begin(name, start()).unwrap());
    repository.forge_linked(name, |signed| {
        let lists = key(number).tuf_key();
        let bins = json!({ "keyids": [lists.id()], "threshold": 1, "bit_length": 1, "name_prefix": "bin" });
        signed["delegations"] = json!({ "keys": { lists.id().to_string(): lists.to_json() }, "succinct_roles": bins });
    });
    repository
}

#[test]
fn bins_stay_their_roles_whoever_lists_their_names() {
    // Listed, and loaded, before the role of the bins or after it.
    for (name, number) in [("evil", TARGETS), ("evil", EVIL), ("an-evil", TARGETS)] {
        let repository = binned(name, number);
        let mut collection = loaded(&repository);
        collection.load_trusted().unwrap();
        for bin in ["bin-0", "bin-1"] {
            assert_eq!(collection.signs_as(bin), "targets", "{number}");
        }
        let of_targets = collection
            .trusts()
            .into_iter()
            .filter(|role| role.by.as_deref() == Some("bins"));
        let of_targets: Vec<_> = of_targets.map(|role| role.signs_as).collect();
        assert_eq!(of_targets, ["targets", "targets"]);
        let mut collection = loaded(&repository);
        let by = BTreeSet::from([None]);
        let work = |made: &mut RoleSpec| *made = spec(&[NEW], 1);
        collection.load_trusted().unwrap();
        collection
            .rekey("targets", &by, true, days(1), &|_| false, &work)
            .unwrap();
        let made = sign_with(collection, &[ROOT, TARGETS, NEW, SNAPSHOT, TIMESTAMP], days(1)).unwrap();
        let bins = made.files().files().filter(|(name, _)| name.contains(".bin-"));
        for (name, bytes) in bins {
            let signed: Value = serde_json::from_slice(bytes).unwrap();
            let mut signatures = signed["signatures"].as_array().unwrap().iter();
            assert!(
                signatures.any(|one| one["keyid"] == json!(key(NEW).id())),
                "{name}: {signed}"
            );
        }
        let draft = draft_of(&repository, &[TARGETS], |collection| {
            collection.put_target("targets", "x", file(b"x"), days(1)).unwrap();
        });
        let mut collection = loaded(&repository);
        collection.adopt(&draft, days(1)).unwrap();
        let bins = draft.roles().into_iter().filter(|(role, _)| role.starts_with("bin-"));
        for (bin, _) in bins {
            assert_eq!(collection.signs_as(&bin), "targets", "{name}");
        }
    }
}

#[test]
fn a_draft_gives_nobody_the_names_of_anothers_bins() {
    let mut collection = Repository::collection();
    collection.make_bins(1, start()).unwrap();
    let mut repository = Repository::of(collection);
    repository.change(start(), |collection| {
        collection.put_target("team", "team/c", file(b"c"), start()).unwrap();
    });
    let draft = draft_of(&repository, &[], |collection| collection.renew("team").unwrap());
    let draft = drafts::with_changed(&draft, "team", Some(&key(TEAM)), |signed| {
        let lists = key(TARGETS).tuf_key();
        let bins = json!({ "keyids": [lists.id()], "threshold": 1, "bit_length": 1, "name_prefix": "bin" });
        signed["delegations"] = json!({ "keys": { lists.id().to_string(): lists.to_json() }, "succinct_roles": bins });
    });
    let refused = loaded(&repository).adopt(&draft, days(1)).unwrap_err();
    assert!(
        matches!(&refused, EditError::Exists { role } if role.starts_with("bin-")),
        "{refused}"
    );
}
