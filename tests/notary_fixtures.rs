//! What Debian's Notary server and client wrote, and tampered variants of it (tests/fixtures/notary), through the binary.
//!
//! Each tree is served on the loopback, and judged at the time that its README names. The real client accepts seven of the
//! tampered ones; imgkit refuses those as well.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::server::{Answer, Request, Server};
use common::{imgkit, run};
use serde_json::{Value, json};
use tempfile::TempDir;

const AT: &str = "2026-11-23T00:00:00Z";
const APP: &str = "example.com/t/app";
const GOLDEN: &str = "example.com/golden/app";

fn fixture(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/notary")
        .join(name);
    assert!(
        dir.exists(),
        "{} is missing; it is part of the repository",
        dir.display()
    );
    dir
}

/// Serves a tree as a Notary server would; a file that is asked for by a hash is served whatever its hash is.
fn serve(gun: &'static str, dir: Arc<Mutex<PathBuf>>) -> Server {
    Server::start(move |_, request: &Request| {
        let file = request.path.strip_prefix(&format!("/v2/{gun}/_trust/tuf/"));
        let bytes = file.and_then(|file| read(&dir.lock().unwrap(), file));
        bytes.map_or_else(absent, Answer::ok)
    })
}

fn absent() -> Answer {
    let error = r#"{"errors":[{"code":"METADATA_NOT_FOUND","message":"no such metadata","detail":null}]}"#;
    Answer {
        body: error.into(),
        ..Answer::status(404)
    }
}

fn read(dir: &Path, file: &str) -> Option<Vec<u8>> {
    let plain = file.strip_suffix(".json")?;
    let plain = match plain.rsplit_once('.') {
        Some((role, hash)) if hash.len() == 64 => role,
        _ => plain,
    };
    // Every step of `ecdsa-app` has the roots of the last one, up to its own.
    let versions = fixture("ecdsa-app/17-del-removed/server/versions");
    let root = fs::read(dir.join("root.json")).unwrap_or_default();
    let root: Value = serde_json::from_slice(&root).unwrap_or_default();
    let newest = root.pointer("/signed/version").and_then(Value::as_u64).unwrap_or(0);
    let number = plain
        .strip_suffix(".root")
        .and_then(|number| number.parse::<u64>().ok());
    let shared = dir.starts_with(fixture("ecdsa-app")) && number.is_some_and(|number| number <= newest);
    let mut places = vec![
        dir.join(format!("{plain}.json")),
        dir.join("versions").join(format!("{plain}.json")),
    ];
    // What is asked for as `2.targets/releases` was kept as `targets/2.releases`.
    if let Some((number, role)) = plain.split_once('.')
        && let Some((above, word)) = role.rsplit_once('/')
    {
        places.push(dir.join("versions").join(above).join(format!("{number}.{word}.json")));
    }
    if shared {
        places.push(versions.join(format!("{plain}.json")));
    }
    places.into_iter().find_map(|path| fs::read(path).ok())
}

/// One who verifies: a home, and a trust directory in it.
struct Client {
    home: TempDir,
    server: Server,
    dir: Arc<Mutex<PathBuf>>,
    gun: &'static str,
}

impl Client {
    fn new(gun: &'static str, tree: &str) -> Self {
        let dir = Arc::new(Mutex::new(fixture(tree)));
        Self {
            home: tempfile::tempdir().unwrap(),
            server: serve(gun, Arc::clone(&dir)),
            dir,
            gun,
        }
    }

    fn turn_to(&self, tree: &str) {
        *self.dir.lock().unwrap() = fixture(tree);
    }

    fn trust_dir(&self) -> PathBuf {
        self.home.path().join("trust")
    }

    /// Lays down what a client had verified before.
    fn prime(&self, tree: &str) {
        let to = self.trust_dir().join("tuf").join(self.gun).join("metadata");
        copy(&fixture(tree), &to);
    }

    fn command(&self, words: &[&str], pin: &[&str], rest: &[&str]) -> (i32, Value, String) {
        let mut command = imgkit(self.home.path());
        command.args(["--output", "json", "trust"]).args(words);
        command.arg("--server").arg(format!("http://{}", self.server.host()));
        command
            .args(["--at", AT, "--trust-dir"])
            .arg(self.trust_dir())
            .args(pin);
        let (code, text) = run(command.arg(self.gun).args(rest));
        let json = text.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
        (code, json.unwrap_or_default(), text)
    }

    fn first(&self, words: &[&str], rest: &[&str]) -> (i32, Value, String) {
        self.command(words, &["--unsafe-trust-on-first-use"], rest)
    }

    fn names(&self) -> Vec<String> {
        let (code, json, text) = self.first(&["ls"], &[]);
        assert_eq!(code, 0, "{text}");
        let targets = json["result"]["targets"].as_array().unwrap();
        targets
            .iter()
            .map(|target| target["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn code_of(json: &Value) -> String {
    json["refusals"][0]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn every_tampered_tree_is_refused_with_its_reason_and_every_valid_one_verifies() {
    // Case, and the reason code; none where the tree is valid.
    let cases = [
        ("00-valid", ""),
        ("01-valid-primed", ""),
        ("02-rollback-timestamp", "ROLLBACK"),
        ("02b-rollback-targets-only", "ROLLBACK"),
        ("03-expired-timestamp", "EXPIRED"),
        ("03c-expired-targets", "EXPIRED"),
        ("03d-expired-root", "EXPIRED"),
        ("04-no-signature-targets", "UNSIGNED"),
        ("04b-wrong-key-targets", "WRONG_KEY"),
        ("05-threshold-2-of-2-one-sig", "THRESHOLD"),
        ("05b-threshold-2-of-2-ok", ""),
        // One key's signature twice: no document of the dialect's has that.
        ("05c-threshold-2-dup-sig", "MALFORMED"),
        ("06-swapped-snapshot", "DIGEST_MISMATCH"),
        ("07-bitflip-targets", "DIGEST_MISMATCH"),
        ("08-whitespace-targets", ""),
        ("08c-dup-key", "MALFORMED"),
        ("08e-trailing-garbage", "MALFORMED"),
        ("09-root-rotation-ok", ""),
        ("09b-root-rotation-missing-old", "WRONG_KEY"),
        ("09f-root-gap", "DIGEST_MISMATCH"),
        ("10-root-bad-cn", "WRONG_KEY"),
        ("10b-root-raw-key", "WRONG_KEY"),
        ("10c-root-cert-expired", "EXPIRED"),
        ("11-deleg-ok", ""),
        ("11b-deleg-wrong-signer", "WRONG_KEY"),
        ("11c-deleg-expired", "EXPIRED"),
        ("11g-deleg-outside-paths", ""),
        ("12-keytypes-ed25519", ""),
        ("13-keyid-mismatch", "MALFORMED"),
        ("13b-no-sha256", "MALFORMED"),
        ("13f-long-length", "DIGEST_MISMATCH"),
        ("14c-ts-rollback-same-version-diff", "DIGEST_MISMATCH"),
        ("15-lookup-path-traversal", "MALFORMED"),
        ("16-pin-cert-ok", ""),
    ];
    let mut wrong = Vec::new();
    for (case, reason) in cases {
        let client = Client::new(APP, &format!("tampered/{case}/server"));
        let before = format!("tampered/{case}/client-cache-before");
        if Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/notary")
            .join(&before)
            .is_dir()
        {
            client.prime(&before);
        }
        let (code, json, text) = client.first(&["verify"], &[]);
        let expected = if reason.is_empty() { 0 } else { 1 };
        if (code, code_of(&json).as_str()) != (expected, reason) {
            wrong.push(format!("{case}: exit {code}: {text}"));
        }
        // What was refused is not remembered.
        let remembered = client.trust_dir().join("tuf").join(APP).join("metadata/timestamp.json");
        if reason.is_empty()
            != fs::read(&remembered)
                .is_ok_and(|bytes| read(&fixture(&format!("tampered/{case}/server")), "timestamp.json") == Some(bytes))
        {
            wrong.push(format!("{case}: remembered"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_bad_delegation_refuses_the_names_it_covers_and_no_others() {
    for case in ["11b-deleg-wrong-signer", "11c-deleg-expired"] {
        let client = Client::new(APP, &format!("tampered/{case}/server"));
        // `targets/releases` is asked first and covers every name.
        let (code, _, text) = client.first(&["lookup"], &["r1"]);
        assert_eq!(code, 1, "{case}: {text}");
        assert_eq!(client.first(&["ls"], &[]).0, 1, "{case}");
    }
    let client = Client::new(APP, "tampered/11g-deleg-outside-paths/server");
    let names = client.names();
    assert!(!names.contains(&"r1".to_owned()), "{names:?}");
    let (code, json, text) = client.first(&["verify"], &["r1"]);
    assert_eq!((code, code_of(&json).as_str()), (1, "UNSIGNED"), "{text}");
    assert_eq!(client.first(&["verify"], &["v1"]).0, 0);
}

#[test]
fn pins_are_a_root_or_the_id_of_its_key_with_the_certificate() {
    let client = Client::new(APP, "tampered/16-pin-cert-ok/server");
    let root = fixture("tampered/16-pin-cert-ok/server/root.json");
    let root = root.to_str().unwrap();
    let json: Value = serde_json::from_slice(&fs::read(root).unwrap()).unwrap();
    let id = json["signed"]["roles"]["root"]["keyids"][0].as_str().unwrap();
    for pin in [root, id] {
        let (code, _, text) = client.command(&["verify"], &["--pin", pin], &["v1"]);
        assert_eq!(code, 0, "{text}");
    }
    let other = fixture("rootcert/server/root.json");
    let (code, _, text) = client.command(&["verify"], &["--pin", other.to_str().unwrap()], &["v1"]);
    assert_eq!(code, 2, "{text}");
    let (code, json, text) = client.command(&["verify"], &["--pin", &"0".repeat(64)], &["v1"]);
    assert_eq!((code, code_of(&json).as_str()), (1, "WRONG_KEY"), "{text}");
    // 16d: without a pin nothing is trusted, unless it was before.
    let fresh = Client::new(APP, "tampered/16d-disable-tofu/server");
    let (code, _, text) = fresh.command(&["verify"], &[], &["v1"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("--pin") && !text.contains("unsafe"), "{text}");
}

#[test]
fn every_step_of_a_real_collections_life_verifies_after_the_one_before() {
    let client = Client::new(GOLDEN, "ecdsa-app/00-init/server");
    let mut steps: Vec<_> = fs::read_dir(fixture("ecdsa-app"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    steps.sort();
    assert_eq!(steps.len(), 19);
    for step in steps {
        let step = step.to_str().unwrap();
        client.turn_to(&format!("ecdsa-app/{step}/server"));
        let (code, _, text) = client.first(&["verify"], &[]);
        assert_eq!(code, 0, "{step}: {text}");
    }
    // The first root, pinned, leads to the seventh.
    let pin = fixture("ecdsa-app/17-del-removed/server/versions/1.root.json");
    let (code, json, text) = client.command(&["lookup"], &["--pin", pin.to_str().unwrap()], &["v1"]);
    assert!(code == 0 || code_of(&json) == "UNSIGNED", "{text}");
    // An older state is noticed.
    client.turn_to("ecdsa-app/12-nested/server");
    let (code, json, text) = client.first(&["verify"], &[]);
    assert_eq!((code, code_of(&json).as_str()), (1, "ROLLBACK"), "{text}");
}

#[test]
fn other_key_types_verify() {
    let trees = [
        ("rsa-root-p8", "example.com/golden/rsa2"),
        ("rootcert", "example.com/golden/certroot3"),
        ("ed25519-server-ecdsa", "example.com/golden/ed"),
        ("ed25519-server-rsa-root", "example.com/golden/rsaroot"),
    ];
    for (tree, gun) in trees {
        let client = Client::new(gun, &format!("{tree}/server"));
        assert_eq!(client.names(), ["v1", "v2"], "{tree}");
        let (code, _, text) = client.first(&["verify"], &["v1"]);
        assert_eq!(code, 0, "{tree}: {text}");
    }
    // Another collection's root stands for none but its own.
    let gun = "example.com/golden/other";
    let client = Client::new(gun, "rootcert/server");
    let (code, json, text) = client.first(&["verify"], &[]);
    assert_eq!((code, code_of(&json).as_str()), (1, "WRONG_KEY"), "{text}");
}

#[test]
fn a_file_is_compared_with_what_was_signed() {
    let client = Client::new(APP, "tampered/00-valid/server");
    let (_, json, text) = client.first(&["lookup"], &["v1"]);
    assert_eq!(json["result"]["signed"]["length"], 14, "{text}");
    let file = client.home.path().join("file");
    let verify = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        client.first(&["verify", "--file", file.to_str().unwrap()], &["v1"])
    };
    let digest = json["result"]["signed"]["digests"][0].as_str().unwrap();
    assert!(
        digest.starts_with("sha256:9d90a4faa72bd308530d16c6e0c187b6183e65f63e6fa0ff3667c7ec3cd3d5a8"),
        "{digest}"
    );
    assert_eq!(json["result"]["evidence"]["role"], "targets");
    let (code, json, text) = client.first(&["verify"], &["v1"]);
    assert_eq!(code, 0, "{text}");
    let result = &json["result"];
    assert_eq!(
        (&result["name"], &result["found"]),
        (&"v1".into(), &json!({ "file": null }))
    );
    assert!(result["signed"]["digests"][0].is_string() && result["evidence"]["keys"][0].is_string());
    for other in [&b"content of v2\n"[..], b"", b"content of v1\nand more"] {
        let (code, json, text) = verify(other);
        assert_eq!((code, code_of(&json).as_str()), (1, "DIGEST_MISMATCH"), "{text}");
        let found = json["refusals"][0]["found"].as_str().unwrap();
        assert_eq!(found.starts_with("more than 14 bytes"), other.len() > 14, "{found}");
    }
}

#[test]
fn not_there_is_unsigned_and_not_reached_is_unknown() {
    let client = Client::new(APP, "tampered");
    let (code, json, text) = client.first(&["verify"], &[]);
    assert_eq!((code, code_of(&json).as_str()), (1, "UNSIGNED"), "{text}");
    // A page of somebody else's is no word of the server's.
    let home = tempfile::tempdir().unwrap();
    for (answer, expected) in [(404, 3), (503, 3), (302, 3)] {
        let server = Server::start(move |_, _| Answer::status(answer));
        let mut command = imgkit(home.path());
        command.args(["trust", "verify", "--unsafe-trust-on-first-use", "--server"]);
        command.arg(format!("http://{}", server.host())).args(["--at", AT, APP]);
        let (code, text) = run(&mut command);
        assert_eq!(code, expected, "{answer}: {text}");
    }
}

#[test]
fn nothing_is_written_outside_the_trust_directory() {
    let client = Client::new(APP, "tampered/11-deleg-ok/server");
    let (code, _, text) = client.first(&["verify"], &[]);
    assert_eq!(code, 0, "{text}");
    let entries: Vec<_> = fs::read_dir(client.home.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(entries, ["trust"]);
    let metadata = client.trust_dir().join("tuf").join(APP).join("metadata");
    for file in ["root", "snapshot", "targets", "timestamp", "targets/releases"] {
        let kept = fs::read(metadata.join(format!("{file}.json"))).unwrap();
        assert_eq!(
            Some(kept),
            read(&fixture("tampered/11-deleg-ok/server"), &format!("{file}.json")),
            "{file}"
        );
    }
}

#[test]
fn what_has_not_changed_is_not_fetched_again() {
    let client = Client::new(APP, "tampered/11-deleg-ok/server");
    assert_eq!(client.first(&["verify"], &[]).0, 0);
    let before = client.server.requests().len();
    assert_eq!(client.first(&["verify"], &[]).0, 0);
    let again: Vec<_> = client
        .server
        .requests()
        .into_iter()
        .skip(before)
        .map(|request| request.path)
        .collect();
    assert_eq!(again.len(), 2, "{again:?}");
}

#[test]
fn a_collection_is_imported_with_its_delegations_and_history() {
    let client = Client::new(GOLDEN, "ecdsa-app/17-del-removed/server");
    let home = client.home.path();
    let into = format!("dir:{}", home.join("new").display());
    let keys = home.join("keys");
    let own = |words: &[&str]| {
        let mut command = imgkit(home);
        command.env("IMGKIT_PASSPHRASE", "a passphrase of tests");
        command
            .args(["--output", "json", "trust"])
            .args(words)
            .arg("--key-dir")
            .arg(&keys);
        command
    };
    let mut command = own(&["import", "notary", "--unsafe-trust-on-first-use", "--without-images"]);
    command.arg("--server").arg(format!("http://{}", client.server.host()));
    command.args(["--at", AT, "--trust-dir"]).arg(client.trust_dir());
    let (code, text) = run(command.args(["--into", &into, GOLDEN]));
    assert_eq!(code, 0, "{text}");
    let json: Value = text.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    let collection = &json["result"]["collections"][0];
    let imported = collection["targets"].as_array().unwrap();
    assert!(!imported.is_empty(), "{text}");
    for target in imported {
        assert!(target["signedBy"]["keys"][0].is_string(), "{target}");
    }
    // A backslash stands in no name of imgkit's own: told of, not lost.
    let left = collection["left"].as_array().unwrap();
    assert!(
        left.iter().any(|left| left["name"].as_str().unwrap().contains('\\')),
        "{text}"
    );
    let roles: Vec<_> = collection["roles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| role["role"].as_str().unwrap())
        .collect();
    assert!(roles.contains(&"targets/releases"), "{roles:?}");
    let editions = collection["history"]["editions"].as_array().unwrap();
    for version in 1..=7 {
        assert!(
            editions
                .iter()
                .any(|edition| edition["role"] == "root" && edition["version"] == version),
            "{version}"
        );
    }
    let released = editions.iter().filter(|edition| edition["role"] == "targets/releases");
    assert!(released.count() >= 2, "{text}");
    assert!(
        editions.iter().all(|edition| edition["signedBy"][0].is_string()),
        "{text}"
    );
    // Root keys were made: where the pin is, and what to do with them, is said.
    assert!(json["result"]["new"]["pin"].is_string(), "{text}");

    // The new collection says the same, under its own keys.
    let (code, text) = run(own(&["ls"]).args(["--collection", &into]));
    assert_eq!(code, 0, "{text}");
    let listed: Value = text.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    let listed = listed["result"]["targets"].as_array().unwrap();
    assert_eq!(listed.len(), imported.len());
    for target in imported {
        let found = listed.iter().find(|found| found["name"] == target["name"]).unwrap();
        let digest = format!("sha256:{}", found["target"]["hashes"]["sha256"].as_str().unwrap());
        assert_eq!(target["digest"], digest.as_str());
        assert_eq!(found["target"]["custom"]["notary"]["gun"], GOLDEN);
    }

    // The same from what docker's directory kept, without a server.
    let second = format!("dir:{}", home.join("second").display());
    client.first(&["verify"], &[]);
    let mut command = own(&["import", "notary", "--without-images", "--at", AT]);
    let (code, text) = run(command
        .arg("--trust-dir")
        .arg(client.trust_dir())
        .args(["--into", &second, GOLDEN]));
    assert_eq!(code, 0, "{text}");
    // No version has a copy under its number there: who signed is who the present ones are trusted by.
    let json: Value = text.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    let editions = json["result"]["collections"][0]["history"]["editions"]
        .as_array()
        .unwrap();
    assert!(editions.len() >= 3, "{text}");
    assert!(
        editions.iter().all(|edition| edition["signedBy"][0].is_string()),
        "{text}"
    );

    let third = format!("dir:{}", home.join("third").display());
    let mut command = imgkit(home);
    command.env("IMGKIT_PASSPHRASE", "a passphrase of tests");
    command.args([
        "trust",
        "import",
        "notary",
        "--without-images",
        "--at",
        AT,
        "--into",
        &third,
        GOLDEN,
    ]);
    command
        .arg("--trust-dir")
        .arg(client.trust_dir())
        .arg("--key-dir")
        .arg(&keys);
    let (code, text) = run(&mut command);
    assert!(
        code == 0 && text.contains("Now back up the root key") && text.contains("Pin the root"),
        "{text}"
    );
}
