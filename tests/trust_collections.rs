//! `imgkit trust` through the binary: what owners of collections do, one by one and several together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::home::{Home, NOW};
use common::owner::Owner;
use imgkit::store::TrustDir;
use imgkit::time::Time;
use imgkit::trust::{Client, Known};
use serde_json::{Value, json};

impl Home {
    /// Signs a file with the content `content` under `name`.
    fn sign(&self, name: &str, content: &str, options: &[&str]) -> Value {
        let file = self.text("content");
        fs::write(&file, content).unwrap();
        self.good(&[&["sign", "--file", &file, "--name", name], options].concat())
    }

    fn signer_of(&self, name: &str) -> String {
        self.good(&["lookup", name])["evidence"]["role"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Returns the key files of a role.
    fn key_files(&self, role: &str) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.path("keys/c").join(role))
            .unwrap()
            .flatten()
            .map(|file| file.path())
            .collect();
        files.sort();
        files
    }

    fn key_id(&self, role: &str) -> String {
        self.key_files(role)[0]
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// Moves one of a role's keys to the key directory of somebody else.
    fn give_key(&self, role: &str, to: &str) {
        let file = self.key_files(role).remove(0);
        let dir = self.path(to).join("c").join(role);
        fs::create_dir_all(&dir).unwrap();
        fs::rename(&file, dir.join(file.file_name().unwrap())).unwrap();
    }

    fn names(&self) -> BTreeSet<String> {
        let pin = fs::read(self.path("keys/c/root.json")).unwrap();
        let dir = TrustDir::at(self.path("trust/c"));
        let now: Time = NOW.parse().unwrap();
        let mut client = Client::refresh(&pin, &Known::default(), &dir, now).unwrap();
        client.fetch_roles().unwrap();
        let roles = client.chain().signing_roles();
        roles
            .flat_map(|(_, signed)| signed.body().targets.keys().cloned())
            .collect()
    }
}

#[test]
fn names_are_looked_up_described_and_taken_out_again() {
    let home = Home::with_collection(&[]);
    home.sign("spec/a", "a", &["--custom", r#"{"z":1,"a":{"note":"<&>"}}"#]);
    let found = home.good(&["lookup", "spec/a"]);
    assert_eq!(found["signed"]["custom"], json!({"a":{"note":"<&>"},"z":1}));
    assert_eq!(found["signed"]["length"], 1);
    for bad in ["[1]", "x", r#"{"a":1.5}"#, r#"{"imgkit":{}}"#, r#"{"a":1,"a":2}"#] {
        let file = home.text("content");
        let output = home
            .command(&["sign", "--file", &file, "--name", "spec/b", "--custom", bad])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad}");
    }
    assert_eq!(
        home.good(&["unsign", "spec/a"])["removed"],
        json!([{"name":"spec/a","role":"targets"}])
    );
    assert_eq!(home.refused(&["lookup", "spec/a"]), "UNSIGNED");
    assert_eq!(home.run(&["unsign", "spec/a"]).0, 2);
}

#[test]
fn a_name_that_another_role_signs_as_well_is_told_of_when_it_is_taken_out() {
    let home = Home::with_collection(&["--role", "rel=spec/*"]);
    home.sign("spec/a", "a", &[]);
    home.sign("spec/a", "a", &["--role", "rel"]);
    let output = home.command(&["unsign", "spec/a"]).output().unwrap();
    let (code, json) = common::home::answer(&output);
    assert_eq!(code, 0, "{json}");
    assert_eq!(json["result"]["removed"], json!([{"name":"spec/a","role":"targets"}]));
    let left = json!([{"name":"spec/a","roles":["rel"],"problem":null}]);
    assert_eq!(json["result"]["stillSigned"], left);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("spec/a is still signed by rel"), "{told}");
    assert_eq!(home.signer_of("spec/a"), "rel");
    assert_eq!(home.good(&["unsign", "spec/a"])["stillSigned"], json!([]));
    assert_eq!(home.refused(&["lookup", "spec/a"]), "UNSIGNED");
}

#[test]
fn every_role_gets_new_keys_and_all_that_was_signed_stays() {
    let home = Home::with_collection(&["--role", "team=team/*", "--bins", "4"]);
    home.sign("spec/a", "a", &[]);
    home.sign("team/b", "b", &["--role", "team"]);
    let pin = fs::read(home.path("keys/c/root.json")).unwrap();
    for role in ["timestamp", "snapshot", "targets", "team", "seal", "root"] {
        let rotated = home.good(&["rotate", role]);
        assert_ne!(rotated["keys"], rotated["before"], "{role}");
        assert_eq!(home.signer_of("spec/a"), "targets", "{role}");
        assert_eq!(home.signer_of("team/b"), "team", "{role}");
    }
    home.sign("spec/c", "c", &[]);
    assert_eq!(fs::read(home.path("keys/c/root.json")).unwrap(), pin, "the pin stays");
    home.good(&["rotate", "targets", "--new", "3", "--threshold", "2"]);
    home.sign("spec/d", "d", &[]);
    assert_eq!(home.good(&["lookup", "spec/d"])["evidence"]["threshold"], 2);
    assert_eq!(home.run(&["rotate", "nobody"]).0, 2);
    assert_eq!(home.run(&["rotate", "targets", "--new", "1", "--threshold", "2"]).0, 2);
}

#[test]
fn roles_are_trusted_with_names_and_in_turn_trust_others() {
    let home = Home::with_collection(&[]);
    home.good(&[
        "delegate",
        "add",
        "team",
        "team/*",
        "team/sub/*",
        "--threshold",
        "2",
        "--new",
        "2",
    ]);
    home.good(&["delegate", "add", "sub", "team/sub/*", "--by", "team"]);
    home.sign("team/a", "a", &["--role", "team"]);
    home.sign("team/sub/b", "b", &["--role", "sub"]);
    let found = home.good(&["lookup", "team/sub/b"]);
    assert_eq!(found["evidence"]["path"].as_array().unwrap().len(), 2);
    let listed = home.good(&["delegate", "ls"])["roles"].clone();
    assert_eq!(
        (listed[1]["role"].as_str(), &listed[1]["threshold"]),
        (Some("team"), &json!(2))
    );
    assert_eq!(
        (listed[2]["role"].as_str(), listed[2]["by"].as_str()),
        (Some("sub"), Some("team"))
    );
    // Other names for a role that is there.
    home.good(&["delegate", "add", "team", "team/*"]);
    assert_eq!(home.refused(&["lookup", "team/sub/b"]), "UNSIGNED");
    home.good(&["delegate", "add", "team", "team/*", "team/sub/*"]);
    home.good(&["lookup", "team/sub/b"]);
    home.good(&["delegate", "rm", "team"]);
    assert_eq!(home.refused(&["lookup", "team/a"]), "UNSIGNED");
    assert_eq!(home.run(&["delegate", "rm", "team"]).0, 2);

    // A key whose private part is elsewhere: its role begins there.
    let other = Home::with_collection(&[]);
    other.good(&["inspect", "--keys-to", &other.text("public")]);
    let id = other.key_id("targets");
    let key = other.text(&format!("public/{id}.pem"));
    let added = home.good(&["delegate", "add", "away", "away/*", "--key", &key]);
    assert_eq!(added["begun"], false);
    fs::create_dir_all(home.path("keys/c/away")).unwrap();
    fs::copy(
        &other.key_files("targets")[0],
        home.path(&format!("keys/c/away/{id}.pem")),
    )
    .unwrap();
    home.good(&["renew", "away"]);
    home.sign("away/x", "x", &["--role", "away"]);
    assert_eq!(home.signer_of("away/x"), "away");
}

#[test]
fn keys_come_to_a_role_and_go_one_by_one() {
    let home = Home::with_collection(&[]);
    home.sign("spec/a", "a", &[]);
    let old = home.key_id("targets");
    home.good(&["signer", "add", "targets", "--new", "1"]);
    assert_eq!(home.key_files("targets").len(), 2);
    home.good(&["signer", "rm", "targets", &old[..8]]);
    assert_eq!(home.signer_of("spec/a"), "targets");
    let listed = home.good(&["signer", "ls"])["signers"].clone();
    let targets: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["role"] == "targets")
        .collect();
    assert_eq!(targets.len(), 1);
    assert_ne!(targets[0]["key"], json!(old));
    let last = targets[0]["key"].as_str().unwrap();
    assert_eq!(
        home.run(&["signer", "rm", "targets", last]).0,
        2,
        "a role without keys is none"
    );
    assert_eq!(home.run(&["signer", "rm", "targets", "0"]).0, 2);
}

#[test]
fn a_key_that_others_list_under_another_id_signs() {
    let home = Home::with_collection(&["--role", "team=team/*"]);
    home.good(&["delegate", "add", "inner", "team/*", "--by", "team"]);
    let owner = Owner::at(home.dir(), "c", &["targets"]);
    let (own, listed) = (home.key_id("team"), "ab".repeat(32));
    owner.forge("targets", owner.key("targets"), |targets| {
        let text = targets["delegations"].to_string().replace(&own, &listed);
        targets["delegations"] = serde_json::from_str(&text).unwrap();
    });
    // What it signed was under its own id.
    assert_eq!(home.refused(&["lookup", "team/a"]), "WRONG_KEY");
    let (_, status) = home.run(&["signer", "ls"]);
    let signers = status["result"]["signers"].as_array().unwrap();
    let team = signers.iter().find(|signer| signer["role"] == "team").unwrap();
    assert!(team["key"] == listed && team["file"].is_string(), "{team}");
    home.good(&["witness", "team", "--yes"]);
    home.sign("team/a", "a", &["--role", "team"]);
    let signed = home.good(&["lookup", "team/a"]);
    assert_eq!(signed["evidence"]["keys"], json!([listed]));
    // A change that waits counts as seen by whoever signed it so.
    let change = home.text("change.json");
    for name in ["team/b", "team/c"] {
        let file = home.file("content", name);
        home.good(&[
            "stage", &change, "sign", "--file", &file, "--name", name, "--role", "team",
        ]);
    }
    home.good(&["publish", &change]);
    home.good(&["lookup", "team/c"]);
}

#[test]
fn a_change_waits_for_enough_signatures() {
    let home = Home::with_collection(&["--threshold", "targets=2/2"]);
    home.give_key("targets", "bob");
    let bob = home.text("bob");
    let bob = [("IMGKIT_KEY_DIR", bob.as_str())];
    fs::copy(home.path("keys/c/root.json"), home.path("bob/c/root.json")).unwrap();
    let change = home.text("change.json");
    let file = home.text("content");
    fs::write(&file, "a").unwrap();
    let staged = home.good(&["stage", &change, "sign", "--file", &file, "--name", "spec/a"]);
    assert_eq!(staged["staged"]["lacking"][0]["have"], 1);
    home.good(&["stage", &change, "sign", "--file", &file, "--name", "spec/b"]);
    assert!(home.names().is_empty(), "nothing is published yet");
    assert_eq!(home.refused(&["publish", &change]), "THRESHOLD");
    let (code, asked) = home.run_with(&["cosign", &change], &bob);
    assert_eq!(code, 2, "without a terminal nobody is asked: {asked}");
    let said = asked["error"]["problem"].as_str().unwrap();
    assert!(
        said.contains("+ spec/a (targets)") && said.contains("+ spec/b (targets)"),
        "{said}"
    );
    home.good_with(&["cosign", &change, "--yes"], &bob);
    home.good(&["publish", &change]);
    assert_eq!(home.names(), ["spec/a", "spec/b"].map(str::to_owned).into());
    assert_eq!(
        home.good(&["lookup", "spec/a"])["evidence"]["keys"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let (code, stale) = home.run(&["publish", &change]);
    assert_eq!(code, 2, "{stale}");
    assert_eq!(home.run(&["stage", &change, "ls"]).0, 2);
}

#[test]
fn what_others_put_into_a_file_is_signed_by_nobody_who_has_not_seen_it() {
    let home = Home::with_collection(&["--role", "team=team/*"]);
    let change = home.text("change.json");
    let file = home.file("content", "a");
    let stage = |name: &str| home.run(&["stage", &change, "sign", "--file", &file, "--name", name]);
    assert_eq!(stage("spec/a").0, 0);
    assert_eq!(stage("spec/b").0, 0, "one's own change is added to");
    let honest = fs::read_to_string(&change).unwrap();

    // Whoever carries the file adds a name, and makes a role the last that is asked.
    let wicked = honest
        .replace("\"spec/a\":{", "\"spec/a\":{\"custom\":{\"x\":1},")
        .replace("\"terminating\":false", "\"terminating\":true");
    fs::write(&change, &wicked).unwrap();
    assert_eq!(home.refused(&["publish", &change]), "THRESHOLD");
    let (code, unseen) = stage("spec/c");
    assert_eq!(code, 2, "{unseen}");
    assert!(unseen["error"]["problem"].as_str().unwrap().contains("cosign"));
    assert_eq!(fs::read_to_string(&change).unwrap(), wicked, "nothing was signed");
    assert!(home.names().is_empty());
    let (_, asked) = home.run(&["cosign", &change]);
    let said = asked["error"]["problem"].as_str().unwrap();
    for part in [
        "targets version 2, expires 20",
        "signed by nobody",
        "{\"x\":1}",
        "terminating",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    // Who has seen it may sign it; the rest follows.
    let signed = home.good(&["cosign", &change, "--yes"]);
    assert_eq!(signed["difference"]["added"][0]["file"]["custom"], json!({"x": 1}));
    assert_eq!(stage("spec/c").0, 0);
    let published = home.good(&["publish", &change]);
    assert_eq!(published["rolesSigned"], json!(["snapshot", "timestamp"]));
    assert_eq!(home.names().len(), 3);
}

#[test]
fn a_change_that_brings_a_role_its_first_key_here_signs_nothing_that_nobody_here_saw() {
    for (role, name, bring) in [
        ("targets", "spec/x", &["rotate", "targets"][..]),
        ("team", "team/x", &["rotate", "team"]),
        ("team", "team/x", &["signer", "add", "team"]),
    ] {
        let home = Home::with_collection(&["--role", "team=team/*"]);
        home.sign("team/a", "a", &["--role", "team"]);
        let change = home.text("change.json");
        let file = home.file("content", "a");
        home.good(&[
            "stage", &change, "sign", "--file", &file, "--name", name, "--role", role,
        ]);
        let mut draft: Value = serde_json::from_slice(&fs::read(&change).unwrap()).unwrap();
        let documents = draft["documents"].as_array_mut().unwrap();
        documents.retain(|document| document["role"] == role);
        documents[0]["signatures"] = json!({});
        fs::write(&change, draft.to_string()).unwrap();
        fs::rename(home.path(&format!("keys/c/{role}")), home.path("elsewhere")).unwrap();
        let (code, unseen) = home.run(&[&["stage", change.as_str()], bring].concat());
        assert_eq!(code, 2, "{bring:?}: {unseen}");
        assert!(
            unseen["error"]["problem"].as_str().unwrap().contains("cosign"),
            "{unseen}"
        );
        assert_eq!(
            fs::read_to_string(&change).unwrap(),
            draft.to_string(),
            "nothing was signed"
        );
    }
}

#[test]
fn snapshots_of_several_keys_are_cosigned_after_what_they_follow_from() {
    let home = Home::with_collection(&["--threshold", "snapshot=2/2"]);
    home.give_key("snapshot", "bob");
    let bob = home.text("bob");
    let bob = [("IMGKIT_KEY_DIR", bob.as_str())];
    fs::copy(home.path("keys/c/root.json"), home.path("bob/c/root.json")).unwrap();
    let change = home.text("change.json");
    let file = home.file("content", "a");
    home.good(&["stage", &change, "sign", "--file", &file, "--name", "spec/a"]);
    assert_eq!(home.refused(&["publish", &change]), "THRESHOLD");
    home.good_with(&["cosign", &change, "--yes"], &bob);
    home.good(&["publish", &change]);
    assert_eq!(home.names(), ["spec/a".to_owned()].into());
}

#[test]
fn a_root_is_made_with_keys_that_are_offline() {
    let home = Home::with_collection(&["--threshold", "root=2/2"]);
    home.sign("spec/a", "a", &[]);
    home.give_key("root", "alice");
    home.give_key("root", "bob");
    for who in ["alice", "bob"] {
        fs::copy(home.path("keys/c/root.json"), home.path(&format!("{who}/c/root.json"))).unwrap();
    }
    let file = home.text("root-2.json");
    let proposed = home.good(&["root", "propose", &file, "--role", "targets"]);
    assert_eq!(proposed["lacking"][0]["needed"], 2);
    assert_eq!(home.run(&["root", "finish", &file]).0, 2, "nobody signed it");
    for who in ["alice", "bob"] {
        let keys = home.text(who);
        // No collection there: only the file, the pin, and the key.
        let offline = [("IMGKIT_KEY_DIR", keys.as_str()), ("IMGKIT_TRUST_DIR", "/none")];
        let (code, asked) = home.run_with(&["root", "sign", &file], &offline);
        assert_eq!(code, 2, "it asks first");
        let said = asked["error"]["problem"].as_str().unwrap();
        assert!(said.contains("~ role targets") && said.contains("    - key "), "{said}");
        home.good_with(&["root", "sign", &file, "--yes"], &offline);
    }
    let old = home.good(&["lookup", "spec/a"])["evidence"].clone();
    home.good(&["root", "finish", &file]);
    let new = home.good(&["lookup", "spec/a"])["evidence"].clone();
    assert_ne!(new["keys"], old["keys"]);
    assert_eq!(new["root"]["version"], 2);
    // A proposal that is the same root again with a later expiry.
    let file = home.text("root-3.json");
    home.good(&["root", "propose", &file, "--at", "2027-06-01T00:00:00Z"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("2028-05-31"), "{text}");
}

#[test]
fn nobody_signs_two_roots_of_one_version() {
    let home = Home::with_collection(&[]);
    let [one, two] = ["one.json", "two.json"].map(|name| home.text(name));
    home.good(&["root", "propose", &one, "--role", "snapshot"]);
    home.good(&["root", "propose", &two, "--role", "timestamp"]);
    home.good(&["root", "sign", &one, "--yes"]);
    assert_eq!(home.refused(&["root", "sign", &two, "--yes"]), "ROLLBACK");
    home.good(&["root", "sign", &one, "--yes"]);
    home.good(&["root", "finish", &one]);
    home.good(&["root", "propose", &home.text("three.json"), "--role", "timestamp"]);
    home.good(&["root", "sign", &home.text("three.json"), "--yes"]);
}

#[test]
fn what_has_expired_is_published_by_nobody() {
    let home = Home::with_collection(&[]);
    let [change, root] = ["change.json", "root.json"].map(|name| home.text(name));
    let file = home.file("content", "a");
    home.good(&["stage", &change, "sign", "--file", &file, "--name", "spec/a"]);
    home.good(&["root", "propose", &root]);
    home.good(&["root", "sign", &root, "--yes"]);
    for command in [
        ["publish", &change].as_slice(),
        &["cosign", &change, "--yes"],
        &["root", "finish", &root],
    ] {
        let (code, refused) = home.run(&[command, &["--at", "2028-01-01T00:00:00Z"]].concat());
        let problem = refused["error"]["problem"].as_str().unwrap();
        assert!(code == 2 && problem.contains("expired at 202"), "{problem}");
    }
    home.good(&["publish", &change]);
}

#[test]
fn a_private_key_in_place_of_a_revoked_one_signs_the_rest_again() {
    let home = Home::with_collection(&["--role", "team=team/*"]);
    home.sign("team/a", "a", &["--role", "team"]);
    home.sign("spec/b", "b", &[]);
    for (role, name) in [("team", "team/a"), ("targets", "spec/b")] {
        let file = home.text(&format!("new-{role}.pem"));
        home.good(&["key", "generate", &file]);
        let lost = home.key_id(role);
        let (code, asked) = home.run(&["revoke", &lost, "--key", &file]);
        let said = asked["error"]["problem"].as_str().unwrap();
        assert!(
            code == 2 && said.contains(&format!("signed again, what {role} says:\n+ {name} ({role}): sha256:")),
            "{said}"
        );
        let revoked = home.good(&["revoke", &lost, "--key", &file, "--yes"]);
        let expected = (&json!([]), &json!([name]));
        assert_eq!((&revoked["noLongerTrusted"], &revoked["signedAgain"]), expected);
        assert_eq!(home.signer_of(name), role);
        let kept = fs::read_dir(home.path("keys/c").join(role)).unwrap().count();
        assert_eq!(kept, 2, "the new key is kept beside the old one");
    }
    // The revoked key itself, in a file that was kept, is no replacement.
    let signed = home.good(&["lookup", "spec/b"]);
    let last = signed["evidence"]["keys"][0].as_str().unwrap();
    for key in ["new-targets.pem", &format!("keys/c/targets/{last}.pem")] {
        let (code, refused) = home.run(&["revoke", last, "--key", &home.text(key), "--yes"]);
        let text = refused.to_string();
        assert!(code == 2 && text.contains("the one that is revoked"), "{text}");
    }
    // The public half of another can be trusted, but signs nothing here.
    home.good(&["key", "generate", &home.text("third.pem")]);
    let public = home.text("third.pub");
    let (code, refused) = home.run(&["revoke", last, "--key", &public, "--yes"]);
    assert!(code == 2 && refused.to_string().contains("0 are here"), "{refused}");
    let signed = home.good(&["lookup", "team/a"]);
    let last = signed["evidence"]["keys"][0].as_str().unwrap();
    let revoked = home.good(&["revoke", last, "--key", &public, "--yes"]);
    assert_eq!(revoked["noLongerTrusted"], json!(["team/a"]));
    // While that role waits for its owner, another key can still be taken away, and from the waiting role as well.
    let signed = home.good(&["lookup", "spec/b"]);
    let lost = signed["evidence"]["keys"][0].as_str().unwrap();
    let revoke = |key: &str| {
        let (code, revoked) = home.run(&["revoke", key, "--new", "1", "--yes"]);
        assert_eq!(code, 1, "what the waiting role says was not looked into: {revoked}");
        assert_eq!(revoked["result"]["distrusted"][0]["role"], "team");
        revoked["result"].clone()
    };
    assert_eq!(revoke(lost)["signedAgain"], json!(["spec/b"]));
    assert_eq!(home.signer_of("spec/b"), "targets");
    assert_eq!(home.refused(&["lookup", "team/a"]), "REVOKED");
    let id = home.good(&["key", "export-public", &public])["keyid"].clone();
    let revoked = revoke(id.as_str().unwrap());
    assert_eq!(
        (&revoked["roles"], &revoked["signedAgain"]),
        (&json!(["team"]), &json!([]))
    );
    home.good(&["witness", "team", "--yes"]);
    assert_eq!(home.signer_of("team/a"), "team");
}

#[test]
fn a_lost_key_is_taken_from_every_role_after_saying_what_that_means() {
    let home = Home::with_collection(&["--role", "team=team/*", "--threshold", "team=1/2"]);
    home.sign("team/a", "a", &["--role", "team"]);
    home.good(&["delegate", "add", "inner", "team/inner/*", "--by", "team"]);
    let lost = home.key_id("team");
    home.sign("spec/b", "b", &[]);
    let (code, asked) = home.run(&["revoke", &lost]);
    assert_eq!(code, 2);
    let said = asked["error"]["problem"].as_str().unwrap();
    assert!(
        said.contains("signed again, what team says:\n+ team/a (team): sha256:") && !said.contains("spec/b"),
        "{said}"
    );
    let revoked = home.good(&["revoke", &lost, "--yes"]);
    assert_eq!(
        (&revoked["roles"], &revoked["noLongerTrusted"]),
        (&json!(["team"]), &json!([]))
    );
    assert_eq!(home.signer_of("team/a"), "team");

    // The last key of a role goes only against another.
    let last = home.good(&["lookup", "team/a"])["evidence"]["keys"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(home.run(&["revoke", &last, "--yes"]).0, 2);
    let other = Home::with_collection(&[]);
    other.good(&["inspect", "--keys-to", &other.text("public")]);
    let id = other.key_id("targets");
    let key = other.text(&format!("public/{id}.pem"));
    let revoked = home.good(&["revoke", &last, "--key", &key, "--yes"]);
    assert_eq!(
        revoked["noLongerTrusted"],
        json!(["team/a"]),
        "the new key is elsewhere"
    );
    assert_eq!(home.refused(&["lookup", "team/a"]), "REVOKED");
    home.good(&["lookup", "spec/b"]);
    let (code, sick) = home.run(&["doctor"]);
    assert_eq!(code, 1);
    let finding = &sick["result"]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["subject"] == "team")
        .unwrap();
    assert!(
        finding["mend"].as_str().unwrap().contains("trust witness team"),
        "{sick}"
    );

    // Where the new key is, somebody looks at what was signed, and signs it.
    fs::copy(
        &other.key_files("targets")[0],
        home.path(&format!("keys/c/team/{id}.pem")),
    )
    .unwrap();
    let (code, asked) = home.run(&["witness", "team"]);
    assert_eq!(code, 2, "it asks first");
    let said = asked["error"]["problem"].as_str().unwrap();
    assert!(said.contains("+ team/a (team): sha256:"), "{said}");
    assert!(
        said.contains("+ role inner") && said.contains("names: team/inner/*"),
        "{said}"
    );
    let witnessed = home.good(&["witness", "team", "--yes"]);
    assert_eq!(
        (&witnessed["vouchedBefore"], &witnessed["names"]),
        (&json!(false), &json!(["team/a"]))
    );
    assert_eq!(home.signer_of("team/a"), "team");
    assert_eq!(home.run(&["doctor"]).0, 0);

    // A key of the top level needs another in its place.
    let targets = home.key_id("targets");
    assert_eq!(home.run(&["revoke", &targets, "--yes"]).0, 2);
    home.good(&["revoke", &targets, "--new", "1", "--yes"]);
    assert_eq!(home.signer_of("spec/b"), "targets");
}

#[test]
fn the_past_is_told_and_verified() {
    let home = Home::with_collection(&["--bins", "4", "--role", "team=team/*"]);
    home.sign("spec/a", "a", &["--at", "2026-11-24T00:00:00Z"]);
    home.sign("spec/a", "b", &["--at", "2026-11-25T00:00:00Z"]);
    home.sign("team/c", "c", &["--role", "team"]);
    let copied = |from: &str, to: &str| {
        let copied = Command::new("cp")
            .arg("-r")
            .args([home.path(from), home.path(to)])
            .status();
        assert!(copied.unwrap().success());
    };
    copied("trust/c", "then");
    home.good(&["rotate", "targets"]);
    home.good(&["unsign", "spec/a"]);
    copied("then", "trust/then");
    copied("keys/c", "keys/then");
    let difference = home.good(&["diff", "then", "c"])["difference"].clone();
    fs::remove_dir_all(home.path("keys/then")).unwrap();
    fs::remove_dir_all(home.path("trust/then")).unwrap();
    assert_eq!(difference["removed"][0]["name"], "spec/a");
    let changed = difference["rolesChanged"].as_array().unwrap();
    let by_root = changed.iter().find(|role| role["by"] == "root").unwrap();
    assert_eq!(by_root["role"], "targets", "{changed:?}");
    let history = home.good(&["history"]);
    assert_eq!(history["complete"], true, "{history}");
    let snapshots = history["snapshots"].as_array().unwrap();
    assert_eq!(snapshots.len(), 6);
    assert_eq!(snapshots[1]["signed"], "2026-11-24T00:00:00Z");
    assert_eq!(snapshots[1]["roles"][0]["added"], json!(["spec/a"]));
    assert_eq!(snapshots[2]["roles"][0]["moved"], json!(["spec/a"]));
    assert_ne!(snapshots[1]["roles"][0]["signers"], snapshots[5]["roles"][0]["signers"]);
    assert_eq!(
        home.good(&["history", "team/c"])["snapshots"].as_array().unwrap().len(),
        1
    );
    let difference = home.good(&["diff", "@2", "@4"])["difference"].clone();
    assert_eq!(difference["moved"][0]["name"], "spec/a");
    let added = &difference["added"][0];
    assert_eq!((&added["name"], &added["role"]), (&json!("team/c"), &json!("team")));
    assert_eq!(added["file"]["length"], 1);
    assert_eq!(
        home.good(&["diff", "c@4", "c"])["difference"]["removed"][0]["name"],
        "spec/a"
    );
    let same = home.good(&["diff", "@6", "c"])["difference"].clone();
    let differs = |all: &Value| !all.as_array().unwrap().is_empty();
    assert!(!same.as_object().unwrap().values().any(differs), "{same}");
    assert_eq!(home.run(&["diff", "@2", "@9"]).0, 3);
    // What was thrown away is said to be unknown, and what was changed is no proof.
    fs::remove_file(home.path("trust/c/2.snapshot.json")).unwrap();
    assert_eq!(home.good(&["history"])["complete"], false);
    assert_eq!(home.run(&["diff", "@2", "c"]).0, 3);
}

#[test]
fn what_is_broken_is_said_with_the_command_that_mends_it() {
    let home = Home::with_collection(&[]);
    home.sign("spec/a", "a", &[]);
    home.good(&["rotate", "timestamp"]);
    home.good(&["rotate", "timestamp"]);
    let doctor = |arguments: &[&str]| {
        let (code, json) = home.run(&[&["doctor"], arguments].concat());
        let findings = json["result"]["findings"].as_array();
        let findings = findings.unwrap_or_else(|| panic!("{json}")).clone();
        let broken = findings.into_iter().filter(|finding| finding["weight"] == "broken");
        let mends: Vec<_> = broken
            .map(|finding| finding["mend"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(code, i32::from(!mends.is_empty()), "{json}");
        mends.join("\n")
    };
    assert_eq!(doctor(&[]), "");
    assert!(doctor(&["--at", "2027-01-01T00:00:00Z"]).contains("imgkit trust renew timestamp"));
    let key = home.key_files("targets").remove(0);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(doctor(&[]).contains("chmod 600"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let broken = |file: &str, mend: &str| {
        let path = home.path(file);
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(doctor(&["--collection", "c"]).contains(mend), "{file}");
        fs::write(&path, &good).unwrap();
    };
    broken("trust/c/2.targets.json", "put the file back");
    broken("trust/c/2.root.json", "2.root.json");
    broken("keys/c/root.json", "--pin");
    assert_eq!(doctor(&[]), "");
}

#[test]
fn names_in_bins_are_names_like_others() {
    let home = Home::with_collection(&["--bins", "auto:1000"]);
    for name in ["spec/a", "spec/b", "deep/er/still/c"] {
        home.sign(name, name, &[]);
        assert_eq!(home.signer_of(name), "targets");
    }
    assert_eq!(home.names().len(), 3);
    assert_eq!(
        home.good(&["ls", "--role", "targets"])["targets"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let written = fs::read_dir(home.path("trust/c")).unwrap().flatten();
    let names: Vec<_> = written
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("1.bin-")).count(), 64);
    let due = ["--at", "2027-02-15T00:00:00Z"];
    assert_eq!(home.run(&[&["status"][..], &due].concat()).0, 1);
    home.good(&[&["renew"][..], &due].concat());
    home.good(&[&["status"][..], &due].concat());
    home.good(&[&["lookup", "spec/a"][..], &due].concat());
    home.good(&["unsign", "spec/a"]);
    assert_eq!(home.names().len(), 2);
    for bad in ["1", "3", "auto:x", "32768"] {
        let output = home.command(&["init", "d", "--bins", bad]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad}");
    }
}

/// Issue 3: 50 rounds of two publishers at once.
#[test]
fn of_two_publishers_at_once_both_succeed() {
    let home = Home::with_collection(&["--bins", "4"]);
    let file = home.text("content");
    fs::write(&file, "x").unwrap();
    for round in 0..50 {
        let start = |who: &str| {
            let name = format!("spec/{round}-{who}");
            let mut command = home.command(&["sign", "--file", &file, "--name", &name]);
            command.stdout(Stdio::null()).spawn().unwrap()
        };
        for mut publisher in [start("a"), start("b")] {
            assert!(publisher.wait().unwrap().success(), "round {round}");
        }
    }
    assert_eq!(home.names().len(), 100);
}

/// Issue 3: kill -9 at random points of publish, 200 rounds.
#[test]
fn a_publisher_that_is_killed_leaves_the_old_collection_or_the_new_one() {
    let home = Home::with_collection(&["--bins", "4"]);
    let file = home.text("content");
    fs::write(&file, "x").unwrap();
    let start = std::time::Instant::now();
    home.good(&["sign", "--file", &file, "--name", "spec/first"]);
    let whole = start.elapsed();
    let mut names = home.names();
    // The same pseudo-random points with every run (a linear congruence), most of them late, where files are written.
    let mut random: u64 = 42;
    let mut changed = 0;
    for round in 0..200 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let part = f64::from(u32::try_from(random >> 40).unwrap()) / f64::from(1u32 << 24);
        let name = format!("spec/{round}");
        let mut command = home.command(&["sign", "--file", &file, "--name", &name]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(0.4 + 0.8 * part));
        let _ = child.kill();
        child.wait().unwrap();
        let now = home.names();
        let mut new = names.clone();
        new.insert(name);
        assert!(now == names || now == new, "round {round}");
        changed += u32::from(now == new);
        names = now;
    }
    assert!((1..200).contains(&changed), "{changed} of 200 came through");
    home.sign("spec/last", "x", &[]);
    std::thread::sleep(Duration::ZERO);
}
