//! What hostile metadata can cost, and that whatever is out of bounds is refused and not guessed at.

use super::*;
use crate::limit;

/// Rewrites a file as text, signatures and all.
fn rewrite(repository: &mut Repository, name: &str, change: impl FnOnce(String) -> String) {
    let text = String::from_utf8(repository.files.get(name).unwrap().to_vec()).unwrap();
    let changed = change(text.clone());
    assert_ne!(changed, text, "{name}");
    repository.files.add(name, changed.into_bytes());
}

#[test]
fn depth_bombs_end_early_in_every_file() {
    let bomb = |open: &str, close: &str| format!("{}{}", open.repeat(400_000), close.repeat(400_000));
    for bytes in [bomb("[", "]"), bomb("{\"a\":", "}"), "[".repeat(400_000)] {
        for name in ["2.root.json", "timestamp.json"] {
            let mut repository = Repository::new();
            repository.files.add(name, bytes.as_bytes());
            assert!(
                matches!(repository.find("a"), Err(TrustError::Malformed { .. })),
                "{name}"
            );
        }
    }
    // Under a good signature as well.
    let mut repository = Repository::new();
    let mut deep = json!(1);
    for _ in 0..limit::JSON_DEPTH {
        deep = json!([deep]);
    }
    repository.forge("timestamp", &[TIMESTAMP], |signed| signed["x"] = deep);
    assert!(matches!(repository.find("a"), Err(TrustError::Malformed { .. })));
}

#[test]
fn numbers_are_integers_that_every_reader_understands_alike() {
    for number in [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "1.0",
        "1e0",
        "01",
        "+1",
        "0x1",
        "-0",
        "18446744073709551616",
        "9007199254740992",
        "\"1\"",
        "null",
        "true",
        "[1]",
        "-1",
        "0",
    ] {
        let mut repository = Repository::new();
        rewrite(&mut repository, "timestamp.json", |text| {
            text.replacen("\"version\":1},\"", &format!("\"version\":{number}}},\""), 1)
                .replacen("\"version\":1}}", &format!("\"version\":{number}}}}}"), 1)
        });
        assert!(
            matches!(repository.find("a"), Err(TrustError::Malformed { .. })),
            "{number}"
        );
    }
    // As a role's own key would sign them: of what stands in members that nobody knows, too.
    for (member, value) in [
        ("version", json!(u64::MAX)),
        ("version", json!(i64::MIN)),
        ("x", json!(1.5)),
        ("expires", json!(1_800_000_000)),
        ("expires", json!("2027-01-01T00:00:00.5Z")),
        ("expires", json!("2027-01-01 00:00:00Z")),
        ("expires", json!("2027-02-30T00:00:00Z")),
        ("expires", json!("12027-01-01T00:00:00Z")),
    ] {
        let mut repository = Repository::new();
        let name = repository.newest("timestamp");
        let mut envelope = json::parse(repository.files.get(&name).unwrap(), Limits::integers(1 << 20)).unwrap();
        envelope["signed"][member] = value.clone();
        repository
            .files
            .add("timestamp.json", serde_json::to_vec(&envelope).unwrap());
        let refused = repository.find("a").unwrap_err();
        assert!(
            matches!(refused, TrustError::Malformed { .. }),
            "{member} {value}: {refused}"
        );
    }
}

#[test]
fn a_hundred_thousand_delegations_are_read_and_only_so_many_are_visited() {
    let mut repository = Repository::new();
    repository.forge_linked("targets", |signed| {
        let role = |number: u32, paths: &str| {
            json!({
                "name": format!("r{number}"), "keyids": [key(TEAM).id()], "threshold": 1, "terminating": false,
                "paths": [paths],
            })
        };
        let covering = (0..100_000).map(|number| role(number, if number % 1000 == 0 { "many/*" } else { "else/*" }));
        signed["delegations"]["roles"] = covering.collect();
    });
    // What the top level signs itself, and what nobody is trusted with, are answers.
    assert!(repository.find("a").is_ok());
    assert!(matches!(repository.find("b"), Err(TrustError::Absent { .. })));
    // A role that is trusted with a name and is not in the snapshot is an error for the name.
    assert!(matches!(repository.find("many/x"), Err(TrustError::Malformed { .. })));
}

#[test]
fn a_million_signatures_cost_no_checks_of_signatures() {
    let mut repository = Repository::new();
    let one = json!({ "keyid": key(STRANGER).id(), "sig": "00".repeat(64) });
    let name = repository.newest("targets");
    let mut envelope = json::parse(repository.files.get(&name).unwrap(), Limits::integers(1 << 20)).unwrap();
    envelope["signatures"] = vec![one; 1_000_000].into();
    let bytes = json::canonical(&envelope).unwrap();
    // Longer than the snapshot says, and than any targets may be.
    assert!(bytes.len() > limit::TARGETS_BYTES);
    repository.files.add(name, bytes);
    assert!(repository.find("a").is_err());
    // Within the bound of bytes it is the number that is refused.
    envelope["signatures"] = (0..=limit::SIGNATURES)
        .map(|number| json!({ "keyid": format!("k{number}"), "sig": "00" }))
        .collect();
    repository
        .files
        .add("1.targets.json", json::canonical(&envelope).unwrap());
    repository.relink();
    assert!(matches!(repository.find("a"), Err(TrustError::Malformed { .. })));
}

#[test]
fn keys_of_the_wrong_type_sign_nothing_and_stand_in_no_ones_way() {
    let good = key(TARGETS).tuf_key().to_json().clone();
    let public = good["keyval"]["public"].clone();
    let p256 = include_str!("../../key/testdata/p256.pem");
    let strange = [
        json!(null),
        json!("key"),
        json!([]),
        json!({}),
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": 1 } }),
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": "" } }),
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": "00".repeat(32) } }),
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": "ff".repeat(100_000) } }),
        json!({ "keytype": "rsa", "scheme": "ed25519", "keyval": { "public": public } }),
        json!({ "keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": { "public": p256 } }),
        json!({ "keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp384", "keyval": { "public": p256 } }),
        json!({ "keytype": "sphincs", "scheme": "sphincs-shake-128s", "keyval": { "public": public } }),
    ];
    for (number, object) in strange.into_iter().enumerate() {
        let with_threshold = |threshold: u32| {
            let mut repository = Repository::new();
            let object = object.clone();
            repository.forge("root", &[ROOT], |signed| {
                signed["keys"]["strange"] = object;
                signed["roles"]["targets"]["keyids"]
                    .as_array_mut()
                    .unwrap()
                    .push("strange".into());
                signed["roles"]["targets"]["threshold"] = threshold.into();
            });
            let name = repository.newest("targets");
            let mut envelope = json::parse(repository.files.get(&name).unwrap(), Limits::integers(1 << 20)).unwrap();
            let mine = envelope["signatures"][0]["sig"].clone();
            let entry = json!({ "keyid": "strange", "sig": mine });
            envelope["signatures"].as_array_mut().unwrap().push(entry);
            repository.files.add(name, serde_json::to_vec(&envelope).unwrap());
            repository.relink();
            repository.find("a")
        };
        assert!(with_threshold(1).is_ok(), "{number}");
        let refused = with_threshold(2).unwrap_err();
        assert!(
            matches!(refused, TrustError::Threshold { valid: 1, .. }),
            "{number}: {refused}"
        );
    }
}

#[test]
fn thresholds_and_lists_of_keys_out_of_bounds_are_refused() {
    for (threshold, keyids) in [
        (json!(0), json!(["a"])),
        (json!(-1), json!(["a"])),
        (json!(1_u64 << 32), json!(["a"])),
        (json!("1"), json!(["a"])),
        (json!(1), json!(["a", "a"])),
        (json!(1), json!("a")),
        (json!(1), json!([""])),
        (json!(1), json!(["a".repeat(limit::KEY_ID_BYTES + 1)])),
        (json!(1), json!([1])),
    ] {
        let mut repository = Repository::new();
        repository.forge_linked("targets", |signed| {
            signed["delegations"]["roles"][0]["threshold"] = threshold.clone();
            signed["delegations"]["roles"][0]["keyids"] = keyids.clone();
        });
        let refused = repository.find("a").unwrap_err();
        assert!(
            matches!(refused, TrustError::Malformed { .. }),
            "{threshold} {keyids}: {refused}"
        );
    }
    // More signatures than there are keys can be asked for; they are never there.
    let mut repository = Repository::new();
    repository.forge_linked("targets", |signed| {
        signed["delegations"]["roles"][1]["threshold"] = u32::MAX.into()
    });
    assert!(matches!(repository.find("team/b"), Err(TrustError::Threshold { .. })));
}
