//! Each step of the client's workflow, and what the real client lets through.

use super::simulator::*;
use super::*;

fn refused<T: std::fmt::Debug>(result: Result<T, TrustError>) -> TrustError {
    result.unwrap_err()
}

fn role_of(repository: &Repository, name: &str) -> Result<String, TrustError> {
    let target = repository.fresh()?.target(name)?;
    Ok(target.evidence().role.clone())
}

#[test]
fn names_are_found_where_docker_and_notary_find_them() {
    let repository = Repository::new();
    assert_eq!(role_of(&repository, "a").unwrap(), "targets");
    assert_eq!(role_of(&repository, "both").unwrap(), RELEASES);
    assert_eq!(role_of(&repository, "r").unwrap(), RELEASES);
    assert_eq!(role_of(&repository, "bin/x").unwrap(), "targets/alice");
    // 11g: a role says nothing of names outside its paths.
    assert!(matches!(
        refused(role_of(&repository, "out")),
        TrustError::Absent { .. }
    ));
    let mut client = repository.fresh().unwrap();
    assert_eq!(client.fetch_roles().unwrap(), []);
    let names: Vec<_> = client
        .chain()
        .list()
        .unwrap()
        .iter()
        .map(|target| target.name().to_owned())
        .collect();
    assert_eq!(names, ["a", "bin/x", "both", "r"]);
}

#[test]
fn content_is_compared_as_it_streams() {
    let target = Repository::new().fresh().unwrap().target("both").unwrap();
    let check = |parts: &[&[u8]]| {
        let mut check = target.check();
        parts.iter().for_each(|part| check.update(part));
        check.finish()
    };
    assert_eq!(check(&[b"rel", b"eases"]), Ok(()));
    assert!(check(&[b"releasex"]).is_err());
    assert!(check(&[b"rel"]).is_err());
}

#[test]
fn roots_are_walked_version_by_version() {
    let mut repository = Repository::new();
    let pin = NotaryPin::Root(repository.served.0["1.root.json"].clone());
    let first_key = NotaryPin::Key(repository.root_keys[0].key.id().clone());
    let before = repository.known();
    repository.rotate_root(RootKey::good());
    repository.rotate_root(RootKey::good());
    repository.version = 2;
    repository.publish();
    for pin in [&pin, &first_key, &NotaryPin::UnsafeFirstUse] {
        let client = repository.client(pin, before.clone()).unwrap();
        assert_eq!(client.chain().newest_root().version(), 3);
    }
    // 09f: the server withholds those between.
    repository.served.0.remove("2.root.json");
    let gap = refused(repository.client(&pin, before.clone()));
    assert_eq!(
        gap,
        TrustError::Version {
            role: "root".into(),
            expected: 2,
            found: 3
        }
    );
    // A server that hands out version 3 where 2 is asked for.
    let third = repository.served.0["3.root.json"].clone();
    repository.served.0.insert("2.root.json".into(), third);
    let jump = refused(repository.client(&NotaryPin::UnsafeFirstUse, before));
    assert!(
        matches!(
            jump,
            TrustError::Version {
                expected: 2,
                found: 3,
                ..
            }
        ),
        "{jump}"
    );
}

#[test]
fn a_root_that_the_old_or_the_new_key_did_not_sign_is_refused() {
    let mut repository = Repository::new();
    let pin = NotaryPin::Root(repository.served.0["1.root.json"].clone());
    let stranger = RootKey::good();
    // Signed by itself and a key that the first root does not know.
    repository.root_keys.clear();
    repository.root_keys.push(stranger);
    repository.rotate_root(RootKey::good());
    repository.publish();
    let error = refused(repository.client(&pin, NotaryKnown::default()));
    assert!(matches!(error, TrustError::WrongKey { .. }), "{error}");
}

#[test]
fn another_root_under_the_same_version_is_refused() {
    let known = Repository::new().known();
    let other = Repository::new();
    // 09h: with and without a pin.
    let pin = NotaryPin::Root(other.served.0["root.json"].clone());
    let error = refused(other.client(&pin, known.clone()));
    assert!(matches!(error, TrustError::Digest { .. }), "{error}");
    assert!(other.client(&NotaryPin::UnsafeFirstUse, known.clone()).is_err());
    let key = NotaryPin::Key(other.root_keys[0].key.id().clone());
    assert!(other.client(&key, known).is_err());
}

#[test]
fn a_pinned_key_has_to_have_signed() {
    let repository = Repository::new();
    let good = NotaryPin::Key(repository.root_keys[0].key.id().clone());
    assert!(repository.client(&good, NotaryKnown::default()).is_ok());
    for other in [repository.root_keys[0].key.canonical_id(), key(TARGETS).0.id()] {
        let error = refused(repository.client(&NotaryPin::Key(other.clone()), NotaryKnown::default()));
        assert!(matches!(error, TrustError::WrongKey { .. }), "{error}");
    }
}

#[test]
fn certificates_are_for_the_collection_and_in_their_time() {
    let with = |key: RootKey| {
        let mut repository = Repository::new();
        repository.roots.clear();
        repository.root_keys.clear();
        repository.rotate_root(key);
        repository.publish();
        repository.fresh().map(|_| ())
    };
    let dates = (now(), now().plus(DAY));
    assert_eq!(with(RootKey::new("registry.example/team/*", dates)), Ok(()));
    let other = with(RootKey::new("registry.example/team/other", dates));
    assert!(matches!(other, Err(TrustError::Certificate { .. })), "{other:?}");
    let over = with(RootKey::new(GUN, (now().plus(-2 * DAY), now().plus(-1))));
    assert!(matches!(over, Err(TrustError::CertificateDates { .. })), "{over:?}");
    let early = with(RootKey::new(GUN, (now().plus(1), now().plus(DAY))));
    assert!(matches!(early, Err(TrustError::CertificateDates { .. })), "{early:?}");
}

#[test]
fn a_certificate_that_is_over_matters_in_the_newest_root_alone() {
    let mut repository = Repository::new();
    repository.roots.clear();
    repository.root_keys.clear();
    repository.rotate_root(RootKey::new(GUN, (now().plus(-2 * DAY), now().plus(-1))));
    repository.rotate_root(RootKey::good());
    repository.publish();
    let pin = NotaryPin::Root(repository.served.0["1.root.json"].clone());
    assert!(repository.client(&pin, NotaryKnown::default()).is_ok());
}

#[test]
fn nothing_gets_older_and_one_version_has_one_content() {
    let old = Repository::new();
    let mut new = Repository::new();
    new.roots = old.roots.clone();
    new.version = 2;
    new.targets.get_mut("targets").unwrap().0.header.version = 2;
    new.publish();
    let pin = NotaryPin::UnsafeFirstUse;
    assert!(new.client(&pin, old.known()).is_ok());
    let back = refused(old.client(&pin, new.known()));
    assert!(
        matches!(
            back,
            TrustError::Rollback {
                expected: 2,
                found: 1,
                ..
            }
        ),
        "{back}"
    );
    // 02b: targets alone go back, under newer snapshot and timestamp.
    let mut mixed = Repository::new();
    mixed.roots = old.roots.clone();
    mixed.version = 3;
    mixed.publish();
    let back = refused(mixed.client(&pin, new.known()));
    assert!(
        matches!(&back, TrustError::Rollback { role, .. } if role == "targets"),
        "{back}"
    );
    // 14c: another content under the same versions, validly signed.
    let mut other = Repository::new();
    other.roots = old.roots.clone();
    put(&mut other.targets.get_mut("targets").unwrap().0, "a", b"other");
    other.publish();
    let differs = refused(other.client(&pin, old.known()));
    assert!(matches!(differs, TrustError::Digest { .. }), "{differs}");
}

#[test]
fn a_rotated_timestamp_key_makes_old_memory_worthless() {
    // Fast-forward recovery: whoever had the key set the version as high as it goes.
    let mut attacked = Repository::new();
    attacked.version = limit::METADATA_VERSION;
    attacked.publish();
    let known = attacked.known();
    let mut recovered = Repository::new();
    recovered.roots = attacked.roots.clone();
    recovered.root_keys = attacked.root_keys;
    let mut root = recovered.roots[0].0.clone();
    root.header.version = 2;
    for (role, number) in [("timestamp", 40), ("snapshot", 41)] {
        root.keys.insert(key(number).0);
        root.roles
            .insert(role.into(), Role::of([key(number).0.id().clone()], 1));
    }
    recovered.add_root(root);
    recovered.publish();
    let mut snapshot = Unverified::<Snapshot>::parse("s", &recovered.served.0["snapshot.json"], 1 << 20).unwrap();
    let again = signed(snapshot.unverified_body(), 41);
    let timestamp = Timestamp::new(now().plus(DAY), FileMeta::describe(&again));
    recovered.served.0.insert("snapshot.json".into(), again.clone());
    recovered
        .served
        .0
        .insert("timestamp.json".into(), signed(&timestamp, 40));
    assert!(recovered.client(&NotaryPin::UnsafeFirstUse, known).is_ok());
    snapshot = Unverified::<Snapshot>::parse("s", &again, 1 << 20).unwrap();
    assert_eq!(snapshot.unverified_body().header.version, 1);
}

#[test]
fn expired_metadata_are_refused_in_every_role() {
    for role in ["targets", RELEASES, "targets/alice"] {
        let mut repository = Repository::new();
        repository.targets.get_mut(role).unwrap().0.header.expires = now();
        repository.publish();
        let name = if role == "targets/alice" { "bin/x" } else { "r" };
        let error = refused(role_of(&repository, name));
        assert!(
            matches!(&error, TrustError::Expired { role: found, .. } if found == role),
            "{error}"
        );
    }
    let mut repository = Repository::new();
    let mut root = repository.roots[0].0.clone();
    root.header.version = 2;
    root.header.expires = now();
    repository.add_root(root);
    repository.publish();
    let error = refused(repository.fresh());
    assert!(
        matches!(&error, TrustError::Expired { role, .. } if role == "root"),
        "{error}"
    );
}

#[test]
fn a_bad_delegation_is_an_error_for_what_it_covers() {
    // 11b: signed by the wrong key.
    let mut repository = Repository::new();
    repository.targets.get_mut("targets/alice").unwrap().1 = RELEASES_KEY;
    repository.publish();
    let error = refused(role_of(&repository, "bin/y"));
    assert!(matches!(error, TrustError::WrongKey { .. }), "{error}");
    assert_eq!(role_of(&repository, "a").unwrap(), "targets");
    let bad = repository.fresh().unwrap().fetch_roles().unwrap();
    assert_eq!(
        bad.iter().map(|(role, _)| role.as_str()).collect::<Vec<_>>(),
        ["targets/alice"]
    );
    // 11d: its file is missing.
    let mut repository = Repository::new();
    repository.served.0.remove("targets/alice.json");
    let error = refused(role_of(&repository, "bin/x"));
    assert!(matches!(error, TrustError::Missing { .. }), "{error}");
    // 11i: the snapshot does not list it.
    let mut repository = Repository::new();
    repository.hidden.push("targets/alice".into());
    repository.publish();
    let error = refused(role_of(&repository, "bin/x"));
    assert!(matches!(error, TrustError::Unlisted { .. }), "{error}");
    assert_eq!(role_of(&repository, "a").unwrap(), "targets");
    // 11e, 11f: too few of its keys signed.
    let mut repository = Repository::new();
    let top = &mut repository.targets.get_mut("targets").unwrap().0;
    top.delegations.keys.insert(key(50).0);
    top.delegations.roles[0].threshold = 2;
    top.delegations.roles[0].keyids.push(key(50).0.id().clone());
    repository.publish();
    let error = refused(role_of(&repository, "bin/x"));
    assert!(
        matches!(
            error,
            TrustError::Threshold {
                needed: 2,
                valid: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn releases_that_were_seen_and_are_withheld_are_missed() {
    let mut repository = Repository::new();
    let known = repository.known();
    repository.hidden.push(RELEASES.into());
    repository.version = 2;
    repository.publish();
    // Whoever never saw them takes what the top level says; whoever did knows that something is wrong.
    assert_eq!(role_of(&repository, "both").unwrap(), "targets");
    let mut client = repository.client(&NotaryPin::UnsafeFirstUse, known).unwrap();
    assert!(matches!(refused(client.target("both")), TrustError::Unlisted { .. }));
    assert_eq!(client.chain().unlisted().unwrap(), [RELEASES]);
}

#[test]
fn a_role_is_trusted_with_no_more_than_those_above_it() {
    let mut repository = Repository::new();
    let alice = &mut repository.targets.get_mut("targets/alice").unwrap().0;
    alice.delegations.keys.insert(key(60).0);
    alice.delegations.roles = vec![delegated("targets/alice/qa", 60, &[""])];
    let mut qa = Targets::new(now().plus(DAY));
    put(&mut qa, "bin/qa", b"q");
    put(&mut qa, "stolen", b"s");
    repository.targets.insert("targets/alice/qa".into(), (qa, 60));
    repository.publish();
    assert_eq!(role_of(&repository, "bin/qa").unwrap(), "targets/alice/qa");
    assert!(matches!(
        refused(role_of(&repository, "stolen")),
        TrustError::Absent { .. }
    ));
    // A role that delegates elsewhere than below itself is none that Notary has.
    let alice = &mut repository.targets.get_mut("targets/alice").unwrap().0;
    alice.delegations.roles[0].name = "targets/releases".into();
    repository.publish();
    assert!(matches!(
        refused(role_of(&repository, "bin/qa")),
        TrustError::Malformed { .. }
    ));
}

#[test]
fn the_same_root_with_other_signatures_is_the_same_root() {
    let mut repository = Repository::new();
    // The root alone: the snapshot that names it under other digests is another one.
    let known = NotaryKnown {
        root: repository.known().root,
        ..NotaryKnown::default()
    };
    let root = repository.roots[0].0.clone();
    repository.roots.clear();
    repository.add_root(root);
    repository.publish();
    assert_ne!(known.root.as_ref(), repository.served.0.get("root.json"));
    assert!(repository.client(&NotaryPin::UnsafeFirstUse, known).is_ok());
}

#[test]
fn names_have_backslashes_and_lead_nowhere() {
    for good in [r"a \ <&> b", "dir/x", r"a\b"] {
        assert_eq!(check_name(good), Ok(()), "{good}");
    }
    for bad in [r"a\..\b", "a/../b", "..", "/a", "", "a\n"] {
        assert!(check_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_empty_server_has_no_collection() {
    let mut repository = Repository::new();
    let pin = NotaryPin::Root(repository.served.0["root.json"].clone());
    repository.served.0.clear();
    for pin in [pin, NotaryPin::UnsafeFirstUse] {
        let error = refused(repository.client(&pin, NotaryKnown::default()));
        assert!(matches!(error, TrustError::NoCollection { .. }), "{error}");
    }
}

#[test]
fn metadata_are_taken_where_they_were_asked_for_and_nowhere_else() {
    let repository = Repository::new();
    let mut newer = Repository::new();
    newer.version = 2;
    let (alice, _) = newer.targets.get_mut("targets/alice").unwrap();
    alice.header.version = 2;
    put(alice, "bin/y", b"y");
    newer.publish();
    let chain = |repository: &Repository| repository.fresh().unwrap().into_chain();
    let (mut before, mut after) = (chain(&repository), chain(&newer));
    let wanted = |chain: &NotaryChain<AtTargets>| {
        let missing = chain.missing_roles().unwrap().into_iter();
        missing
            .filter(|wanted| wanted.role() == "targets/alice")
            .last()
            .unwrap()
    };
    let bytes = |repository: &Repository| repository.served.0["targets/alice.json"].clone();
    let (old, new) = (wanted(&before), wanted(&after));
    let described = old.described(bytes(&repository)).unwrap();
    let refused = |result| assert!(matches!(result, Err(TrustError::Malformed { .. })), "{result:?}");
    refused(after.delegated(&old, described.clone()));
    refused(after.delegated(&new, described.clone()));
    refused(before.delegated(&new, new.described(bytes(&newer)).unwrap()));
    assert!(after.roles().next().is_none() && before.roles().next().is_none());
    before.delegated(&old, described).unwrap();
    after.delegated(&new, new.described(bytes(&newer)).unwrap()).unwrap();
}

#[test]
fn the_top_level_is_compared_with_its_own_snapshot() {
    let repository = Repository::new();
    let mut newer = Repository::new();
    newer.version = 2;
    newer.targets.get_mut("targets").unwrap().0.header.version = 2;
    newer.publish();
    let at_snapshot = |repository: &Repository| {
        let file = |name: &str| repository.served.0[name].clone();
        let chain = NotaryChain::pinned(GUN, &file("root.json"), NotaryKnown::default(), now()).unwrap();
        let chain = chain.timestamp(&file("timestamp.json")).unwrap();
        (chain.snapshot(&file("snapshot.json")).unwrap(), file("targets.json"))
    };
    let ((before, old), (after, new)) = (at_snapshot(&repository), at_snapshot(&newer));
    let described = before.described(old).unwrap();
    let refused = after.clone().targets(described.clone());
    assert!(matches!(refused, Err(TrustError::Malformed { .. })), "{refused:?}");
    before.targets(described).unwrap();
    let described = after.described(new).unwrap();
    after.targets(described).unwrap();
}

#[test]
fn a_role_that_delegates_to_others_names_or_to_too_many_is_bad_alone() {
    let names = |count: usize| (0..count).map(|number| format!("targets/alice/s{number}")).collect();
    let most = limit::DELEGATED_ROLES - 2;
    let cases: [(Vec<String>, &str); 2] = [
        (vec!["targets/elsewhere".into()], "not directly below it"),
        (names(most + 1), "the collection has 1025 roles, at most 1024"),
    ];
    for (names, expected) in cases {
        let mut repository = Repository::new();
        let alice = &mut repository.targets.get_mut("targets/alice").unwrap().0;
        alice.delegations.keys.insert(key(ALICE).0);
        alice.delegations.roles = names.iter().map(|name| delegated(name, ALICE, &["bin/"])).collect();
        repository.publish();
        let mut client = repository.fresh().unwrap();
        let bad = client.fetch_roles().unwrap();
        assert_eq!(bad.len(), 1);
        assert!(
            bad[0].0 == "targets/alice" && bad[0].1.to_string().contains(expected),
            "{bad:?}"
        );
        assert_eq!(client.chain().list().unwrap().len(), 3);
        let error = refused(role_of(&repository, "bin/x"));
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(role_of(&repository, "a").unwrap(), "targets");
        // Whoever delegated to it can take it away.
        let mut collection = edit::NotaryCollection::of(client.chain());
        collection.undelegate("targets/alice").unwrap();
    }
    let mut repository = Repository::new();
    let alice = &mut repository.targets.get_mut("targets/alice").unwrap().0;
    alice.delegations.keys.insert(key(ALICE).0);
    let names: Vec<String> = names(most);
    alice.delegations.roles = names.iter().map(|name| delegated(name, ALICE, &["bin/"])).collect();
    repository.publish();
    assert_eq!(repository.fresh().unwrap().fetch_roles().unwrap(), []);
}
