//! `imgkit trust` through the binary, where two roles trust one name, each to keys and with a threshold of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::fs;

use common::home::Home;
use common::owner::Owner;
use imgkit::store::TrustDir;
use imgkit::trust::edit::Collection;
use serde_json::json;

/// A collection in which `qa` trusts `inner` where one of its two keys signs, and `dev` where both do.
struct Twice {
    home: Home,
    /// The ids of the two keys.
    keys: Vec<String>,
}

impl Twice {
    fn new() -> Self {
        let home = Home::with_collection(&["--role", "dev=d/*", "--role", "qa=q/*"]);
        home.good(&["delegate", "add", "inner", "q/*", "--by", "qa", "--new", "2"]);
        home.good(&[
            "sign",
            "--file",
            &home.file("1", "1"),
            "--name",
            "q/1",
            "--role",
            "inner",
        ]);
        home.good(&["inspect", "--keys-to", &home.text("public")]);
        let files = fs::read_dir(home.path("keys/c/inner")).unwrap();
        let mut keys: Vec<_> = files
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        keys.sort();
        let [one, two] = [0, 1].map(|key: usize| home.text(&format!("public/{}.pem", keys[key])));
        let add = ["delegate", "add", "other", "d/*", "--by", "dev", "--threshold", "2"];
        home.good(&[&add[..], &["--key", &one, "--key", &two]].concat());
        // imgkit gives nobody a name that is taken: other tools do.
        let owner = Owner::at(home.dir(), "c", &["dev"]);
        owner.forge("dev", owner.key("dev"), |dev| {
            dev["delegations"]["roles"][0]["name"] = "inner".into();
        });
        // Nothing that one key signed would be signed for `dev`, who wants both, unseen.
        assert_eq!(home.run(&["renew", "inner"]).0, 2);
        home.good(&["witness", "inner", "--yes"]);
        Self { home, keys }
    }

    /// The same for somebody who has not the keys of `dev`.
    fn without_dev() -> Self {
        let twice = Self::new();
        fs::rename(twice.home.path("keys/c/dev"), twice.home.path("elsewhere")).unwrap();
        twice
    }

    /// Whom each trusts with the name: how many must sign, and of which keys.
    fn trusts(&self) -> Vec<(String, u32, Vec<String>)> {
        let pin = fs::read(self.home.path("keys/c/root.json")).unwrap();
        let dir = TrustDir::at(self.home.path("trust/c"));
        let trusted = Collection::load(&pin, &dir).unwrap().trusted_by("inner").unwrap();
        let trust = |role: imgkit::trust::edit::RoleInfo| {
            let mut ids: Vec<_> = role.keys.keyids().iter().map(ToString::to_string).collect();
            ids.sort();
            (role.by.unwrap(), role.keys.threshold(), ids)
        };
        trusted.into_iter().map(trust).collect()
    }

    /// Runs a command that changes what one of the two says, and the other, whose keys are elsewhere, does not.
    fn changes_half(&self, command: &[&str]) {
        let before = self.trusts();
        let (code, json) = self.home.run(command);
        assert_eq!(code, 1, "{command:?}: {json}");
        assert_eq!(
            json["result"]["stillTrusted"],
            json!([{ "role": "inner", "by": "dev" }]),
            "{json}"
        );
        let after = self.trusts();
        assert_eq!(after[0], before[0], "{command:?}");
        assert_ne!(after.get(1), before.get(1), "{command:?}");
    }
}

#[test]
fn new_keys_are_for_all_who_trust_a_role_and_each_keeps_its_threshold() {
    let twice = Twice::new();
    let before = twice.trusts();
    let expected = [("dev", 2), ("qa", 1)].map(|(by, needed)| (by.to_owned(), needed, twice.keys.clone()));
    assert_eq!(before, expected);
    let rotated = twice.home.good(&["rotate", "inner"]);
    assert_eq!(rotated["stillTrusted"], json!([]));
    let kept = json!([{ "by": "dev", "threshold": 2 }, { "by": "qa", "threshold": 1 }]);
    assert_eq!(rotated["thresholds"], kept);
    let after = twice.trusts();
    let thresholds: Vec<_> = after.iter().map(|(by, needed, _)| (by.as_str(), *needed)).collect();
    assert_eq!(thresholds, [("dev", 2), ("qa", 1)]);
    assert_eq!(after[0].2, after[1].2);
    assert!(after[0].2.iter().all(|key| !twice.keys.contains(key)), "{after:?}");
    let found = twice.home.good(&["lookup", "q/1"]);
    assert_eq!(found["evidence"]["role"], "inner");
}

#[test]
fn fewer_keys_than_one_who_trusts_a_role_asks_for_are_too_few() {
    let twice = Twice::new();
    let before = twice.trusts();
    for command in [
        &["rotate", "inner", "--new", "1"][..],
        &["signer", "rm", "inner", &twice.keys[0]],
    ] {
        let (code, json) = twice.home.run(command);
        assert_eq!(code, 2, "{command:?}: {json}");
        assert_eq!(twice.trusts(), before);
    }
    twice
        .home
        .good(&["signer", "rm", "inner", &twice.keys[0], "--threshold", "1"]);
    let left = vec![twice.keys[1].clone()];
    assert_eq!(twice.trusts(), ["dev", "qa"].map(|by| (by.to_owned(), 1, left.clone())));
}

#[test]
fn rotate_says_who_trusts_the_old_keys_still() {
    let twice = Twice::without_dev();
    twice.changes_half(&["rotate", "inner"]);
    twice.home.good(&["lookup", "q/1"]);
}

#[test]
fn signer_rm_says_who_trusts_the_key_still() {
    let twice = Twice::without_dev();
    twice.changes_half(&["signer", "rm", "inner", &twice.keys[0]]);
    twice.home.good(&["lookup", "q/1"]);
}

#[test]
fn signer_add_says_who_does_not_trust_the_key() {
    let twice = Twice::without_dev();
    twice.changes_half(&["signer", "add", "inner"]);
    twice.home.good(&["lookup", "q/1"]);
}

#[test]
fn revoke_says_who_trusts_the_key_still() {
    let twice = Twice::without_dev();
    let (code, asked) = twice.home.run(&["revoke", &twice.keys[0]]);
    let said = asked["error"]["problem"].as_str().unwrap();
    assert!(
        code == 2 && said.contains("STILL TRUSTED as before by dev, whose keys are not here: inner"),
        "{said}"
    );
    twice.changes_half(&["revoke", &twice.keys[0], "--yes"]);
    twice.home.good(&["lookup", "q/1"]);
}

#[test]
fn delegate_rm_says_who_trusts_the_role_still() {
    let twice = Twice::without_dev();
    twice.changes_half(&["delegate", "rm", "inner"]);
    assert_eq!(twice.home.refused(&["lookup", "q/1"]), "UNSIGNED");
}

#[test]
fn keys_are_listed_for_each_who_trusts_a_role() {
    let twice = Twice::new();
    for key in &twice.keys {
        let signers = twice.home.good(&["signer", "ls"])["signers"].clone();
        let by = signers
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["key"] == json!(key));
        let by: Vec<_> = by.map(|one| one["by"].as_str().unwrap().to_owned()).collect();
        assert_eq!(by, ["dev", "qa"]);
    }
    let roles = twice.home.good(&["inspect"])["roles"].clone();
    let inner = roles.as_array().unwrap().iter().filter(|one| one["role"] == "inner");
    let inner: Vec<_> = inner.map(|one| (one["by"].clone(), one["threshold"].clone())).collect();
    assert_eq!(inner, [(json!("dev"), json!(2)), (json!("qa"), json!(1))]);
    // One that a single role trusts is told of as before.
    let dev = roles.as_array().unwrap().iter().filter(|one| one["role"] == "dev");
    assert_eq!(dev.count(), 1);
}
