//! One test and more for each numbered step of the client's workflow.

use super::*;
use crate::limit;

/// Tells whether the first version was met where the second was trusted.
fn is_back_to_the_first(refused: &TrustError) -> bool {
    matches!(
        refused,
        TrustError::Rollback {
            expected: 2,
            found: 1,
            ..
        }
    )
}

/// Publishes root N + 1 with a change, signed by `keys`.
fn next_root(repository: &mut Repository, keys: &[u8], change: impl FnOnce(&mut Value)) {
    repository.forge("root", keys, |signed| {
        signed["version"] = (signed["version"].as_u64().unwrap() + 1).into();
        change(signed);
    });
}

fn set_role(signed: &mut Value, role: &str, numbers: &[u8], threshold: u32) {
    let ids: Vec<_> = numbers.iter().map(|number| key(*number).id()).collect();
    for number in numbers {
        signed["keys"][key(*number).id().as_str()] = key(*number).tuf_key().to_json().clone();
    }
    signed["roles"][role] = json!({ "keyids": ids, "threshold": threshold });
}

#[test]
fn a_fresh_collection_is_trusted() {
    let found = Repository::new().find("a").unwrap();
    assert!(found.check(b"a").is_ok());
    assert_eq!(found.evidence().role, "targets");
}

// 5.2
#[test]
fn refuses_a_pin_that_is_no_root_or_not_signed_by_itself() {
    let mut repository = Repository::new();
    let known = Known::default();
    let timestamp = repository.files.get("timestamp.json").unwrap().to_vec();
    for pin in [b"{}".to_vec(), timestamp] {
        let refused = lookup(&pin, &repository.files, &known, "a", start()).unwrap_err();
        assert!(matches!(refused, TrustError::Pin { .. }), "{refused}");
    }
    repository.forge("root", &[STRANGER], |_| ());
    assert!(matches!(repository.find("a"), Err(TrustError::Pin { .. })));
}

// 5.3.3
#[test]
fn walks_every_root_and_takes_no_later_one_across_a_gap() {
    let mut repository = Repository::new();
    let pin = repository.pin();
    next_root(&mut repository, &[ROOT, 11], |signed| {
        set_role(signed, "root", &[11], 1)
    });
    next_root(&mut repository, &[11, 12], |signed| set_role(signed, "root", &[12], 1));
    assert_eq!(repository.find("a").unwrap().evidence().root.version, 3);
    assert_eq!(repository.find("a").unwrap().evidence().root_keys, [key(12).id()]);
    let gap: Bundle = repository
        .files
        .files()
        .filter(|(name, _)| *name != "2.root.json")
        .collect();
    let found = lookup(&pin, &gap, &Known::default(), "a", start()).unwrap();
    assert_eq!(found.evidence().root.version, 1);
}

// 5.3.3
#[test]
fn a_root_that_is_too_long_is_refused() {
    let mut repository = Repository::new();
    next_root(&mut repository, &[ROOT], |signed| {
        signed["x"] = " ".repeat(limit::ROOT_BYTES).into()
    });
    assert!(matches!(repository.find("a"), Err(TrustError::Malformed { .. })));
}

// 5.3.4
#[test]
fn the_next_root_needs_the_old_keys_and_its_own() {
    for keys in [vec![11], vec![ROOT], vec![STRANGER], vec![]] {
        let mut repository = Repository::new();
        next_root(&mut repository, &keys, |signed| set_role(signed, "root", &[11], 1));
        let refused = repository.find("a").unwrap_err();
        let expected = matches!(refused, TrustError::WrongKey { .. } | TrustError::Unsigned { .. });
        assert!(expected, "{keys:?}: {refused}");
    }
}

// 5.3.4
#[test]
fn the_next_root_needs_both_thresholds() {
    let mut repository = Repository::new();
    next_root(&mut repository, &[ROOT, 11, 12], |signed| {
        set_role(signed, "root", &[11, 12], 2)
    });
    assert!(repository.find("a").is_ok());
    let mut few = repository.clone();
    next_root(&mut few, &[11, 13], |signed| set_role(signed, "root", &[13], 1));
    let refused = few.find("a").unwrap_err();
    assert!(
        matches!(
            refused,
            TrustError::Threshold {
                needed: 2,
                valid: 1,
                ..
            }
        ),
        "{refused}"
    );
}

// 5.3.5
#[test]
fn the_next_root_is_exactly_the_next_version() {
    let mut repository = Repository::new();
    let pin = repository.pin();
    next_root(&mut repository, &[ROOT], |_| ());
    next_root(&mut repository, &[ROOT], |_| ());
    let third = repository.files.get("3.root.json").unwrap().to_vec();
    repository.files.add("2.root.json", third);
    let refused = repository.find("a").unwrap_err();
    assert!(
        matches!(
            refused,
            TrustError::Version {
                expected: 2,
                found: 3,
                ..
            }
        ),
        "{refused}"
    );
    repository.files.add("2.root.json", pin);
    let refused = repository.find("a").unwrap_err();
    assert!(is_back_to_the_first(&refused), "{refused}");
}

// 5.3.6
#[test]
fn an_expired_root_on_the_way_does_not_matter() {
    let mut repository = Repository::new();
    next_root(&mut repository, &[ROOT], |signed| {
        signed["expires"] = "2020-01-01T00:00:00Z".into()
    });
    assert!(matches!(repository.find("a"), Err(TrustError::Expired { .. })));
    next_root(&mut repository, &[ROOT], |signed| {
        signed["expires"] = "2030-01-01T00:00:00Z".into()
    });
    assert!(repository.find("a").is_ok());
}

// 5.3.10
#[test]
fn the_newest_root_must_not_have_expired() {
    let refused = Repository::new().find_at("a", days(365)).unwrap_err();
    assert!(
        matches!(refused, TrustError::Expired { ref role, .. } if role.contains("root")),
        "{refused}"
    );
}

// 5.3.11
#[test]
fn what_was_trusted_under_a_lost_key_does_not_block_recovery() {
    let good = Repository::new();
    let mut attacked = good.clone();
    attacked.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["version"] = limit::METADATA_VERSION.into()
    });
    assert!(matches!(
        good.find_knowing(&attacked, "a"),
        Err(TrustError::Rollback { .. })
    ));
    let mut recovered = good.clone();
    next_root(&mut recovered, &[ROOT], |signed| {
        set_role(signed, "timestamp", &[14], 1)
    });
    recovered.keys.insert("timestamp", vec![14]);
    recovered.relink();
    assert!(recovered.find_knowing(&attacked, "a").is_ok());
}

// 5.3.11
#[test]
fn a_snapshot_that_ran_ahead_is_recovered_from_by_its_own_new_keys() {
    let good = Repository::new();
    let mut attacked = good.clone();
    attacked.forge_linked("snapshot", |signed| signed["version"] = 99_999.into());
    let after = |keys: &[u8]| {
        let mut repository = good.clone();
        next_root(&mut repository, &[ROOT], |signed| set_role(signed, "snapshot", keys, 1));
        repository.keys.insert("snapshot", vec![*keys.last().unwrap()]);
        repository.forge("timestamp", &[TIMESTAMP], |signed| signed["version"] = 9.into());
        repository.relink();
        repository.find_knowing(&attacked, "a")
    };
    after(&[14]).unwrap();
    // A key that is only added takes nothing from those that signed before.
    let refused = after(&[SNAPSHOT, 14]).unwrap_err();
    assert!(matches!(refused, TrustError::Rollback { .. }), "{refused}");
}

// 5.4.1
#[test]
fn a_missing_timestamp_cannot_be_found_out() {
    let mut repository = Repository::new();
    repository.files = repository
        .files
        .files()
        .filter(|(name, _)| *name != "timestamp.json")
        .collect();
    assert!(matches!(repository.find("a"), Err(TrustError::Missing { .. })));
}

// 5.4.2, 5.5.3, 5.6.3
#[test]
fn every_role_signs_with_its_own_key() {
    for role in ["timestamp", "snapshot", "targets"] {
        let mut repository = Repository::new();
        for other in [ROOT, TARGETS, SNAPSHOT, TIMESTAMP, SEAL, STRANGER] {
            if repository.keys[role] == [other] {
                continue;
            }
            let mut forged = repository.clone();
            forged.keys.insert(role, vec![other]);
            forged.forge(role, &[other], |_| ());
            forged.relink();
            let refused = forged.find("a").unwrap_err();
            assert!(
                matches!(refused, TrustError::WrongKey { .. }),
                "{role} by {other}: {refused}"
            );
        }
        repository.keys.insert(role, vec![]);
        repository.forge(role, &[], |_| ());
        repository.relink();
        assert!(
            matches!(repository.find("a"), Err(TrustError::Unsigned { .. })),
            "{role}"
        );
    }
}

// 5.4.3.1
#[test]
fn refuses_a_timestamp_older_than_the_trusted_one() {
    let old = Repository::new();
    let mut new = old.clone();
    new.change(days(1), |collection| collection.renew("timestamp").unwrap());
    assert!(new.find_knowing(&old, "a").is_ok());
    let refused = old.find_knowing(&new, "a").unwrap_err();
    assert!(is_back_to_the_first(&refused), "{refused}");
}

// 5.4.3.1
#[test]
fn refuses_another_timestamp_under_the_trusted_version() {
    let repository = Repository::new();
    let mut other = repository.clone();
    other.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["expires"] = "2027-01-01T00:00:00Z".into()
    });
    assert!(matches!(
        other.find_knowing(&repository, "a"),
        Err(TrustError::Digest { .. })
    ));
    assert!(repository.find_knowing(&repository, "a").is_ok());
}

// 5.4.3.2
#[test]
fn refuses_a_newer_timestamp_that_names_an_older_snapshot() {
    let old = Repository::new();
    let mut new = old.clone();
    new.change(days(1), |collection| collection.renew("snapshot").unwrap());
    let mut replayed = old.clone();
    replayed.forge("timestamp", &[TIMESTAMP], |signed| signed["version"] = 9.into());
    let refused = replayed.find_knowing(&new, "a").unwrap_err();
    assert!(
        matches!(refused, TrustError::Rollback { ref role, .. } if role == "snapshot"),
        "{refused}"
    );
}

// 5.4.4
#[test]
fn the_timestamp_must_not_have_expired() {
    let repository = Repository::new();
    assert!(repository.find_at("a", days(14).plus(-1)).is_ok());
    let refused = repository.find_at("a", days(14)).unwrap_err();
    assert!(
        matches!(refused, TrustError::Expired { ref role, .. } if role == "timestamp.json"),
        "{refused}"
    );
}

// 5.5.2
#[test]
fn the_snapshot_is_the_one_that_the_timestamp_describes() {
    let mut repository = Repository::new();
    repository.forge("snapshot", &[SNAPSHOT], |signed| signed["x"] = 1.into());
    assert!(matches!(repository.find("a"), Err(TrustError::Digest { .. })));
    let mut other = Repository::new();
    other.forge("snapshot", &[SNAPSHOT], |signed| {
        signed["expires"] = "2027-02-21T00:00:01Z".into()
    });
    let refused = other.find("a").unwrap_err();
    assert!(
        matches!(refused, TrustError::Digest { ref expected, .. } if expected.starts_with("sha256:")),
        "{refused}"
    );
}

// 5.5.4
#[test]
fn the_snapshot_has_the_version_that_the_timestamp_names() {
    let mut repository = Repository::new();
    let snapshot = repository.files.get("1.snapshot.json").unwrap().to_vec();
    repository.files.add("2.snapshot.json", snapshot);
    repository.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["meta"]["snapshot.json"] = json!({ "version": 2 });
    });
    let refused = repository.find("a").unwrap_err();
    assert!(is_back_to_the_first(&refused), "{refused}");
}

// 5.5.5
#[test]
fn no_targets_go_back_or_disappear() {
    let old = Repository::new();
    let mut new = old.clone();
    new.change(days(1), |collection| collection.renew("team").unwrap());
    // The timestamp and the snapshot go on, the role's file goes back.
    let mut replayed = new.clone();
    let before = old.describe("team");
    replayed.forge("snapshot", &[SNAPSHOT], |signed| {
        signed["version"] = 3.into();
        signed["meta"]["team.json"] = before;
    });
    let meta = replayed.describe("snapshot");
    replayed.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["version"] = 3.into();
        signed["meta"]["snapshot.json"] = meta;
    });
    let refused = replayed.find_knowing(&new, "a").unwrap_err();
    assert!(
        matches!(refused, TrustError::Rollback { ref role, .. } if role == "team.json"),
        "{refused}"
    );
    replayed.forge("snapshot", &[SNAPSHOT], |signed| {
        signed["meta"].as_object_mut().unwrap().remove("team.json");
    });
    let meta = replayed.describe("snapshot");
    replayed.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["meta"]["snapshot.json"] = meta
    });
    let refused = replayed.find_knowing(&new, "a").unwrap_err();
    assert!(matches!(refused, TrustError::Rollback { found: 0, .. }), "{refused}");
}

// 5.5.6, 5.6.5
#[test]
fn snapshot_and_targets_must_not_have_expired() {
    for role in ["snapshot", "targets"] {
        let mut repository = Repository::new();
        repository.forge_linked(role, |signed| signed["expires"] = "2026-11-22T23:59:59Z".into());
        let refused = repository.find("a").unwrap_err();
        assert!(
            matches!(refused, TrustError::Expired { role: ref found, .. } if found.contains(role)),
            "{refused}"
        );
    }
}

// 5.6.2
#[test]
fn targets_are_those_that_the_snapshot_describes() {
    let mut repository = Repository::new();
    repository.forge("targets", &[TARGETS], |signed| signed["targets"] = json!({}));
    assert!(matches!(repository.find("a"), Err(TrustError::Digest { .. })));
}

// 5.6.4
#[test]
fn targets_have_the_version_that_the_snapshot_names() {
    let mut repository = Repository::new();
    let targets = repository.files.get("1.targets.json").unwrap().to_vec();
    repository.files.add("2.targets.json", targets);
    repository.forge("snapshot", &[SNAPSHOT], |signed| {
        signed["meta"]["targets.json"] = json!({ "version": 2 });
    });
    let meta = repository.describe("snapshot");
    repository.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["meta"]["snapshot.json"] = meta
    });
    let refused = repository.find("a").unwrap_err();
    assert!(is_back_to_the_first(&refused), "{refused}");
}

// 5.7.3
#[test]
fn a_target_has_the_length_and_hashes_that_were_signed() {
    let target = Repository::new().find("a").unwrap();
    assert!(matches!(target.check(b"b"), Err(TrustError::Digest { .. })));
    assert!(matches!(target.check(b"aa"), Err(TrustError::Digest { .. })));
    assert!(target.check(b"a").is_ok());
}

#[test]
fn documents_are_in_the_form_of_the_specification() {
    type Change = fn(&mut Value);
    let cases: [(&str, &str, Change); 12] = [
        ("targets", "_type", |signed| signed["_type"] = "Targets".into()),
        ("targets", "_type of another", |signed| {
            signed["_type"] = "snapshot".into()
        }),
        ("targets", "spec_version", |signed| {
            signed["spec_version"] = "2.0.0".into()
        }),
        ("targets", "no version", |signed| {
            drop(signed.as_object_mut().unwrap().remove("version"))
        }),
        ("timestamp", "version 0", |signed| signed["version"] = 0.into()),
        ("timestamp", "negative version", |signed| {
            signed["version"] = (-1).into()
        }),
        ("timestamp", "huge version", |signed| {
            signed["version"] = (1_u64 << 53).into()
        }),
        ("targets", "expires", |signed| {
            signed["expires"] = "2027-01-01T00:00:00+00:00".into()
        }),
        ("timestamp", "two files", |signed| {
            signed["meta"]["x.json"] = json!({ "version": 1 })
        }),
        ("targets", "no hash", |signed| {
            signed["targets"]["a"]["hashes"] = json!({})
        }),
        ("targets", "threshold 0", |signed| {
            signed["delegations"]["roles"][0]["threshold"] = 0.into()
        }),
        ("targets", "role root", |signed| {
            signed["delegations"]["roles"][0]["name"] = "root".into()
        }),
    ];
    for (role, case, change) in cases {
        let mut repository = Repository::new();
        let keys = repository.keys[role].clone();
        repository.forge(role, &keys, change);
        let name = repository.newest(role);
        if role == "targets" {
            // Where the version is gone the forgery has no version in its name.
            let bytes = repository.files.get(&name).unwrap().to_vec();
            repository.files.add(
                "1.targets.json",
                repository.files.get("targets.json").map_or(bytes, <[u8]>::to_vec),
            );
            repository.files = repository
                .files
                .files()
                .filter(|(name, _)| *name != "targets.json")
                .collect();
            repository.relink();
        }
        let refused = repository.find("a").unwrap_err();
        assert!(matches!(refused, TrustError::Malformed { .. }), "{case}: {refused}");
    }
}

#[test]
fn a_million_signatures_are_not_read() {
    let mut repository = Repository::new();
    let keys: Vec<u8> = vec![TIMESTAMP; limit::SIGNATURES + 1];
    repository.forge("timestamp", &keys, |_| ());
    assert!(matches!(repository.find("a"), Err(TrustError::Malformed { .. })));
    repository.forge("timestamp", &[TIMESTAMP, TIMESTAMP], |_| ());
    let refused = repository.find("a").unwrap_err();
    assert!(refused.to_string().contains("two signatures"), "{refused}");
}

#[test]
fn names_without_versions_serve_a_repository_without_consistent_snapshots() {
    let mut repository = Repository::new();
    repository.forge("root", &[ROOT], |signed| signed["consistent_snapshot"] = false.into());
    assert!(matches!(repository.find("a"), Err(TrustError::Missing { .. })));
    for role in ["snapshot", "targets", "team"] {
        let bytes = repository.files.get(&repository.newest(role)).unwrap().to_vec();
        repository.files.add(format!("{role}.json"), bytes);
    }
    assert!(repository.find("a").is_ok());
    assert!(repository.find("team/b").is_ok());
}

// 4.2: keys in PEM hold line feeds, which canonical JSON leaves as they are and a file's JSON may not.
#[test]
fn keys_of_every_kind_sign_a_collection_that_is_read_again() {
    use crate::key::Algorithm;
    let kinds = [Algorithm::P384, Algorithm::P256, Algorithm::Ed25519, Algorithm::Rsa3072];
    let keys = kinds.map(|kind| SigningKey::generate_as(kind).unwrap());
    let [root, targets, snapshot, timestamp] = keys.each_ref().map(|key| RoleSpec {
        keys: vec![key.tuf_key()],
        threshold: 1,
    });
    let mut made = Collection::new(&root, &targets, &snapshot, &timestamp, start()).unwrap();
    made.put_target("targets", "a", file(b"a"), start()).unwrap();
    let signers: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    let files = made.sign(&signers, start()).unwrap().files().clone();
    let pin = files.get("1.root.json").unwrap();
    let found = lookup(pin, &files, &Known::default(), "a", start()).unwrap();
    assert!(found.check(b"a").is_ok());
}
