//! `imgkit trust` through the binary: the life of a collection, its keys, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::home::{Home, NOW, PASSPHRASE, answer};
use imgkit::key::{Signer, SigningKey};
use imgkit::oci::Descriptor;
use imgkit::reference::Reference;
use imgkit::store::layout::Layout;
use serde_json::json;

impl Home {
    /// Puts an image for this machine into the store whose only file has `content`.
    fn image(&self, name: &str, content: &str) {
        let layout = Layout::open_or_create(self.path("store")).unwrap();
        let writer = layout.writer().unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, "file", content.as_bytes()).unwrap();
        let layer = tar.into_inner().unwrap();
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            _ => "arm64",
        };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [imgkit::digest::Digest::sha256(&layer)] },
        });
        let put = |kind: &str, bytes: &[u8]| -> Descriptor {
            let media_type = format!("application/vnd.oci.image.{kind}");
            writer.put(&media_type, &mut &*bytes).unwrap()
        };
        let layer = put("layer.v1.tar", &layer);
        let config = put("config.v1+json", config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [layer],
        });
        let manifest = put("manifest.v1+json", manifest.to_string().as_bytes());
        let name: Reference = name.parse().unwrap();
        writer.tag(&name, &manifest).unwrap();
    }
}

#[test]
fn an_image_is_signed_and_verified_down_to_its_tree() {
    let home = Home::with_collection(&[]);
    let name = "r.example/a:v1";
    home.image(name, "one");
    assert_eq!(home.refused(&["verify", name]), "UNSIGNED");
    home.good(&["sign", name]);
    let verified = home.good(&["verify", name]);
    assert_eq!(verified["evidence"]["role"], "targets");
    assert_eq!(verified["evidence"]["judgedAt"], NOW);
    let listed = home.good(&["ls"]);
    let custom = &listed["targets"][0]["target"]["custom"]["imgkit"];
    assert_eq!(listed["targets"][0]["name"], name);
    assert_eq!(
        custom["platforms"][0]["tree"],
        verified["found"]["image"]["platforms"][0]["tree"]
    );
    home.image(name, "two");
    assert_eq!(home.refused(&["verify", name]), "DIGEST_MISMATCH");
    home.good(&["sign", name]);
    home.good(&["verify", name]);
    let (code, _) = home.run(&["sign", &format!("r.example/a@sha256:{}", "0".repeat(64))]);
    assert_eq!(code, 3, "an image that is not to be had is not unsigned");
}

#[test]
fn a_file_is_signed_by_a_role_that_may() {
    let home = Home::with_collection(&["--role", "specs=spec/*", "--role", "team"]);
    let file = home.file("node.yml", "kernel: x\n");
    home.good(&["sign", "--file", &file, "--name", "spec/node.yml", "--role", "specs"]);
    let verified = home.good(&["verify", "spec/node.yml", "--file", &file]);
    assert_eq!(verified["evidence"]["role"], "specs");
    let other = home.file("other.yml", "kernel: y\n");
    assert_eq!(
        home.refused(&["verify", "spec/node.yml", "--file", &other]),
        "DIGEST_MISMATCH"
    );
    assert_eq!(
        home.refused(&["verify", "spec/other.yml", "--file", &other]),
        "UNSIGNED"
    );
    for (name, role) in [("elsewhere/x", "specs"), ("spec/../x", "targets"), ("spec/x", "nobody")] {
        let (code, json) = home.run(&["sign", "--file", &file, "--name", name, "--role", role]);
        assert_eq!(code, 2, "{name} {role}: {json}");
    }
    home.image("r.example/deep/er/a:v1", "one");
    home.good(&["sign", "r.example/deep/er/a:v1", "--role", "team"]);
    assert_eq!(
        home.good(&["verify", "r.example/deep/er/a:v1"])["evidence"]["role"],
        "team"
    );
}

#[test]
fn status_says_what_is_due_and_renew_mends_it() {
    let home = Home::with_collection(&[]);
    let file = home.file("f", "x");
    home.good(&["sign", "--file", &file, "--name", "spec/f"]);
    home.good(&["status"]);
    let (code, status) = home.run(&["status", "--at", "2026-12-05T00:00:00Z"]);
    assert_eq!(code, 1);
    assert_eq!(status["result"]["roles"][3]["role"], "timestamp");
    assert_eq!(status["result"]["roles"][3]["state"], "due");
    let late = ["--at", "2028-01-01T00:00:00Z"];
    let verify: Vec<_> = [&["verify", "spec/f", "--file", &file][..], &late].concat();
    assert_eq!(home.refused(&verify), "EXPIRED");
    let renewed = home.good(&[&["renew"][..], &late].concat());
    assert_eq!(renewed["renewed"], json!(["root", "snapshot", "targets", "timestamp"]));
    home.good(&verify);
    home.good(&[&["status"][..], &late].concat());
    assert_eq!(home.good(&[&["renew"][..], &late].concat())["renewed"], json!([]));
}

#[test]
fn a_root_key_that_is_elsewhere_does_not_keep_the_rest_from_being_renewed() {
    let home = Home::with_collection(&[]);
    fs::rename(home.path("keys/c/root"), home.path("backup")).unwrap();
    let (code, json) = home.run(&["renew", "--at", "2028-01-01T00:00:00Z"]);
    assert_eq!(code, 1, "{json}");
    assert_eq!(json["result"]["keysMissing"], json!(["root"]));
    assert_eq!(json["result"]["renewed"], json!(["snapshot", "targets", "timestamp"]));
    let (code, json) = home.run(&["renew", "root"]);
    assert_eq!(code, 2, "{json}");
}

#[test]
fn a_threshold_is_met_or_the_missing_keys_are_named() {
    let home = Home::with_collection(&["--threshold", "targets=2/3"]);
    let file = home.file("f", "x");
    home.good(&["sign", "--file", &file, "--name", "spec/f"]);
    let verified = home.good(&["verify", "spec/f", "--file", &file]);
    assert_eq!(verified["evidence"]["threshold"], 2);
    assert_eq!(verified["evidence"]["keys"].as_array().unwrap().len(), 2);
    let keys: Vec<_> = fs::read_dir(home.path("keys/c/targets")).unwrap().flatten().collect();
    assert_eq!(keys.len(), 3);
    for key in keys.iter().take(2) {
        fs::remove_file(key.path()).unwrap();
    }
    let (code, json) = home.run(&["sign", "--file", &file, "--name", "spec/g"]);
    assert_eq!(code, 2);
    assert!(
        json["error"]["problem"]
            .as_str()
            .unwrap()
            .contains("needs 2 of the keys"),
        "{json}"
    );
}

#[test]
fn a_changed_or_older_collection_is_refused() {
    let home = Home::with_collection(&[]);
    let file = home.file("f", "x");
    let old = fs::read(home.path("trust/c/timestamp.json")).unwrap();
    home.good(&["sign", "--file", &file, "--name", "spec/f"]);
    let verify = ["verify", "spec/f", "--file", &file];
    let path = home.path("trust/c/2.targets.json");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("spec/f", "spec/e")).unwrap();
    assert_eq!(home.refused(&verify), "DIGEST_MISMATCH");
    let (code, _) = home.run(&["sign", "--file", &file, "--name", "spec/g"]);
    assert_eq!(code, 1, "nothing is signed on top of it");
    fs::write(&path, good).unwrap();
    let timestamp = home.path("trust/c/timestamp.json");
    let new = fs::read_to_string(&timestamp).unwrap();
    fs::write(&timestamp, new.replace("\"version\":2}", "\"version\":3}")).unwrap();
    assert_eq!(home.refused(&verify), "WRONG_KEY");
    fs::write(&timestamp, old).unwrap();
    assert_eq!(home.refused(&verify), "UNSIGNED", "the old collection does not name it");
    fs::remove_file(&timestamp).unwrap();
    let (code, json) = home.run(&[&verify[..], &["--collection", "c"]].concat());
    assert_eq!((code, &json["verdict"]), (3, &json!("unavailable")));
}

#[test]
fn the_passphrase_comes_from_a_descriptor_or_the_environment_and_is_never_asked_for_without_a_terminal() {
    let home = Home::new();
    let (code, json) = answer(
        &home
            .command(&["init", "c"])
            .env_remove("IMGKIT_PASSPHRASE")
            .output()
            .unwrap(),
    );
    assert_eq!(code, 2);
    assert!(
        json["error"]["problem"].as_str().unwrap().contains("IMGKIT_PASSPHRASE"),
        "{json}"
    );
    assert!(
        !home.path("trust/c").exists() && !home.path("keys/c").exists(),
        "nothing half made"
    );

    let from_fd = |arguments: &[&str], text: &str| {
        let mut command = home.command(&[arguments, &["--passphrase-fd", "0"]].concat());
        let command = command
            .env_remove("IMGKIT_PASSPHRASE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        answer(&child.wait_with_output().unwrap())
    };
    assert_eq!(from_fd(&["init", "c"], "from a pipe\n").0, 0);
    assert_eq!(from_fd(&["renew", "timestamp"], "from a pipe").0, 0);
    let (code, json) = from_fd(&["renew", "timestamp"], "another\n");
    assert_eq!(code, 2, "{json}");
    assert!(
        json["error"]["problem"].as_str().unwrap().contains("passphrase"),
        "{json}"
    );
    let (code, _) = home.run(&["init", "c"]);
    assert_eq!(code, 2, "a collection is never made twice");
}

#[test]
fn private_keys_are_encrypted_and_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::with_collection(&[]);
    let mut keys = 0;
    for role in fs::read_dir(home.path("keys/c")).unwrap().flatten() {
        if !role.path().is_dir() {
            continue;
        }
        assert_eq!(role.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        for key in fs::read_dir(role.path()).unwrap().flatten() {
            assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            let text = fs::read_to_string(key.path()).unwrap();
            assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
            keys += 1;
        }
    }
    assert_eq!(keys, 5);
}

#[test]
fn publishers_at_once_lose_no_update_and_one_that_is_killed_breaks_nothing() {
    let home = Home::with_collection(&[]);
    let file = home.file("f", "x");
    let sign = |name: &str| {
        let mut command = home.command(&["sign", "--file", &file, "--name", name]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let names: Vec<_> = (0..4).map(|number| format!("spec/{number}")).collect();
    let all: Vec<_> = names.iter().map(|name| sign(name)).collect();
    for mut child in all {
        assert!(child.wait().unwrap().success());
    }
    let listed = |home: &Home| home.good(&["ls"])["targets"].as_array().unwrap().len();
    assert_eq!(listed(&home), 4);
    for round in 0..6 {
        let before = listed(&home);
        let mut child = sign(&format!("spec/killed-{round}"));
        std::thread::sleep(Duration::from_millis(80 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let after = listed(&home);
        assert!(
            after == before || after == before + 1,
            "round {round}: {before} then {after}"
        );
    }
    let mut last = sign("spec/last");
    assert!(last.wait().unwrap().success());
}

#[test]
fn openssl_alone_checks_a_signature_and_opens_a_key() {
    let home = Home::with_collection(&[]);
    let key = SigningKey::generate().unwrap();
    let public = home.file("public.pem", &key.public().to_pem().unwrap());
    let message = home.file("message", "what is signed");
    fs::write(home.path("signature"), key.sign(b"what is signed").unwrap()).unwrap();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(home.dir()).output();
        output.expect("openssl is installed")
    };
    let verify = |message: &str| {
        let fixed = [
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            &public,
            "-rawin",
            "-sigfile",
            "signature",
            "-in",
            message,
        ];
        openssl(&fixed).status.success()
    };
    assert!(verify(&message));
    assert!(!verify(&home.file("other", "what is not")));
    let seal = only_file(&home.path("keys/c/seal"));
    let opened = openssl(&[
        "pkey",
        "-in",
        seal.to_str().unwrap(),
        "-passin",
        &format!("pass:{PASSPHRASE}"),
        "-pubout",
    ]);
    assert!(opened.status.success(), "{opened:?}");
    let public = imgkit::key::PublicKey::from_pem(std::str::from_utf8(&opened.stdout).unwrap()).unwrap();
    let id = imgkit::key::TufKey::new(public).id();
    assert_eq!(seal.file_stem().unwrap().to_str().unwrap(), id.as_str());
}

fn only_file(dir: &Path) -> PathBuf {
    let mut files = fs::read_dir(dir).unwrap().flatten();
    let only = files.next().unwrap().path();
    assert!(files.next().is_none());
    only
}
