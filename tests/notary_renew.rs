//! Collections whose metadata expire, renewed by imgkit on Debian's real notary-server and on its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::notary::{Keys, NotaryServer, PASSPHRASE};
use common::publisher::{DIGEST, GUN, answer, listed, names};
use common::serve::{Setup, TrustServer};
use common::{imgkit, in_home, succeed};
use imgkit::key::{Passphrase, Signer as _, SigningKey};
use imgkit::limit;
use imgkit::store::docker_trust::DockerTrust;
use imgkit::store::notary_client::{NotaryClient, Posted};
use imgkit::store::registry::Credentials;
use imgkit::time::Time;
use imgkit::trust::RoleKeys;
use imgkit::trust::notary::{Body, Draft, FileMeta, NotaryKey, Root, Snapshot, Targets, Unverified};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How soon what is to expire does: long enough to be published before.
const SOON: i64 = 8;

const DAY: i64 = 86_400;

fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Time::from_unix(i64::try_from(now).unwrap()).unwrap()
}

/// One who publishes on any server.
struct Owner {
    home: TempDir,
    url: String,
    ca: PathBuf,
    at: Option<Time>,
}

impl Owner {
    fn new(url: &str, ca: &Path) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            url: url.to_owned(),
            ca: ca.to_owned(),
            at: None,
        }
    }

    fn trust(&self) -> PathBuf {
        self.home.path().join(".docker/trust")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = imgkit(self.home.path());
        command.env("IMGKIT_PASSPHRASE", PASSPHRASE).stdin(Stdio::null());
        command.args(["--output", "json", "trust"]).args(words);
        command.args(["--server", &self.url, "--ca-cert"]).arg(&self.ca);
        if let Some(at) = self.at {
            command.arg("--at").arg(at.to_string());
        }
        command
    }

    fn run(&self, words: &[&str]) -> (i32, Value) {
        answer(&mut self.command(words))
    }

    fn good(&self, words: &[&str]) -> Value {
        let (code, json) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {json}");
        json["result"].clone()
    }

    fn sign(&self, name: &str, more: &[&str]) -> Value {
        let words = ["sign", GUN, name, "--digest", DIGEST, "--length", "11"];
        self.good(&[&words, more].concat())
    }

    /// Refused for one reason: its code, and all that was said.
    fn refused(&self, words: &[&str]) -> (String, String) {
        let output = self.command(words).output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {json}");
        let code = json["refusals"][0]["code"].as_str().unwrap().to_owned();
        (code, format!("{json} {}", String::from_utf8(output.stderr).unwrap()))
    }

    /// What Debian's client, with this trust directory, lists.
    fn listed(&self) -> Vec<(String, String)> {
        let mut command = in_home(Path::new("notary"), self.home.path());
        command.args(["-s", &self.url, "--tlscacert"]).arg(&self.ca);
        command
            .arg("-d")
            .arg(self.trust())
            .args(["list", GUN])
            .stdin(Stdio::null());
        listed(&mut command)
    }

    /// Delegates to a new key, which is here.
    fn delegate(&self, role: &str) {
        let path = |name: &str| self.home.path().join(name).to_str().unwrap().to_owned();
        let (private, public) = (path("key"), path("pub"));
        let mut openssl = Command::new("openssl");
        succeed(openssl.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &private]));
        let mut openssl = Command::new("openssl");
        succeed(openssl.args(["ec", "-in", &private, "-pubout", "-out", &public]));
        let mut import = in_home(Path::new("notary"), self.home.path());
        import
            .env("NOTARY_DELEGATION_PASSPHRASE", PASSPHRASE)
            .arg("-d")
            .arg(self.trust());
        succeed(
            import
                .args(["key", "import", &private, "--role", role])
                .stdin(Stdio::null()),
        );
        self.good(&["delegate", "add", GUN, role, "--key", &public, "--all-paths"]);
    }

    fn read<T: Body>(&self, role: &str) -> T {
        let path = self.trust().join(format!("tuf/{GUN}/metadata/{role}.json"));
        let document = Unverified::<T>::parse(role, &fs::read(path).unwrap(), limit::TARGETS_BYTES).unwrap();
        document.unverified_body().clone()
    }

    /// Publishes roles as they are, with expiries that come soon, and waits for them; a root keeps its certificate.
    fn expire(&self, roles: &[&str]) {
        let at = now().plus(SOON);
        let keys = DockerTrust::at(self.trust()).keys().unwrap();
        let passphrase = Passphrase::new(PASSPHRASE).unwrap();
        let keys: Vec<SigningKey> = keys.iter().map(|file| file.open(&passphrase).unwrap()).collect();
        let root: Root = self.read("root");
        let top: Targets = self.read("targets");
        let mut files = BTreeMap::new();
        for role in roles {
            let bytes = match *role {
                "root" => soon(root.clone(), &root.role_keys("root"), &keys, at),
                "snapshot" => continue,
                "targets" => soon(top.clone(), &root.role_keys(role), &keys, at),
                _ => {
                    let delegation = top.delegations.role(role).unwrap();
                    let own = top.delegations.role_keys(delegation);
                    soon(self.read::<Targets>(role), &own, &keys, at)
                }
            };
            files.insert((*role).to_owned(), bytes);
        }
        if roles.contains(&"snapshot") {
            let mut snapshot: Snapshot = self.read("snapshot");
            for (role, bytes) in &files {
                snapshot.meta.insert(role.clone(), FileMeta::describe(bytes));
            }
            let bytes = soon(snapshot, &root.role_keys("snapshot"), &keys, at);
            files.insert("snapshot".to_owned(), bytes);
        }
        let ca = fs::read(&self.ca).unwrap();
        let server = NotaryClient::new(&self.url, Some(&ca), Credentials::default()).unwrap();
        let files: Vec<_> = files.into_iter().collect();
        assert_eq!(server.publish(GUN, &files).unwrap(), Posted::Accepted);
        // What is read last is kept: it is all that is left once a server has no timestamp any more.
        self.good(&["verify", GUN]);
        while now() <= at {
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Takes the root's key elsewhere, as one who keeps it offline does; returns where it was, and what it is.
    fn take_away(&self, role: &str) -> (PathBuf, Vec<u8>) {
        let keys = DockerTrust::at(self.trust()).keys().unwrap();
        let path = keys
            .iter()
            .find(|file| file.info().role == role)
            .unwrap()
            .path()
            .to_owned();
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        (path, bytes)
    }
}

fn soon<T: Body>(mut body: T, role: &RoleKeys<NotaryKey>, keys: &[SigningKey], at: Time) -> Vec<u8> {
    body.header_mut().version += 1;
    body.header_mut().expires = at;
    let mut draft = Draft::new(body).unwrap();
    for key in role.keys().values() {
        if let Some(signer) = keys.iter().find(|signer| signer.public() == key.public()) {
            draft.sign(key, |message| signer.sign(message)).unwrap();
        }
    }
    draft.write().unwrap()
}

/// What is expired is signed again; nothing of it is lost, for imgkit and for Debian's client.
fn everything_is_renewed(owner: &Owner, expired: i32) {
    owner.good(&["init", GUN, "--new-root-key"]);
    owner.sign("v1", &[]);
    owner.delegate("targets/releases");
    owner.sign("r1", &["--role", "releases"]);
    assert_eq!(owner.good(&["renew", GUN])["renewed"], json!([]), "nothing is due");
    owner.expire(&["root", "targets", "targets/releases", "snapshot"]);
    let (code, json) = owner.run(&["verify", GUN]);
    assert_eq!(code, expired, "{json}");

    let renewed = owner.good(&["renew", GUN]);
    assert_eq!(
        renewed["renewed"],
        json!(["root", "snapshot", "targets", "targets/releases"])
    );
    assert_eq!(renewed["keysMissing"], json!([]));
    assert_eq!(renewed["pins"], json!([]), "the root's certificate is good for long");
    owner.good(&["verify", GUN]);
    let mut all = owner.listed();
    all.sort();
    assert_eq!(names(&all), ["r1", "v1"]);
    assert_eq!(owner.good(&["renew", GUN])["renewed"], json!([]));
    assert_eq!(
        owner.good(&["renew", GUN, "targets"])["renewed"],
        json!(["snapshot", "targets"])
    );
    assert_eq!(owner.good(&["renew", GUN, "snapshot"])["renewed"], json!(["snapshot"]));
    let (code, json) = owner.run(&["renew", GUN, "timestamp"]);
    assert!(code == 2 && json.to_string().contains("the server signs"), "{json}");
    // Without the snapshot's key, which nobody else has, nothing is published.
    owner.take_away("snapshot");
    let (code, json) = owner.run(&["renew", GUN, "--margin", "2000"]);
    assert_eq!(code, 1, "{json}");
    let result = &json["result"];
    assert_eq!(
        (&result["renewed"], &result["keysMissing"]),
        (&json!([]), &json!(["snapshot"]))
    );
    let (code, json) = owner.run(&["renew", GUN, "nobody"]);
    let advice = format!("imgkit trust delegate ls --server {} {GUN}", owner.url);
    assert!(code == 2 && json.to_string().contains(&advice), "{json}");
}

#[test]
fn everything_is_renewed_on_debians_server() {
    let server = NotaryServer::start(Keys::Local);
    // With its root expired that server has neither timestamp nor snapshot once these have expired.
    everything_is_renewed(&Owner::new(&server.url(), &server.ca()), 3);
}

#[test]
fn everything_is_renewed_on_imgkits_server() {
    let setup = Setup::in_directory();
    let server = setup.start(&[]);
    everything_is_renewed(&Owner::new(server.url(), server.ca()), 1);
}

/// Changes sign again what has expired, where its keys are here; where they are not, nothing is published.
fn changes_mend_what_has_expired(owner: &Owner) {
    owner.good(&["init", GUN, "--new-root-key", "--server-managed"]);
    owner.sign("v1", &[]);
    owner.delegate("targets/releases");
    owner.sign("r1", &["--role", "releases"]);
    owner.expire(&["root", "targets", "targets/releases"]);
    let (root, bytes) = owner.take_away("root");
    for change in [
        &[
            "sign", GUN, "v2", "--role", "targets", "--digest", DIGEST, "--length", "11",
        ][..],
        &[
            "sign", GUN, "r2", "--role", "releases", "--digest", DIGEST, "--length", "11",
        ],
        &["unsign", GUN, "v1"],
        &["delegate", "rm", GUN, "releases"],
        &["witness", GUN, "releases", "--yes"],
    ] {
        let (code, said) = owner.refused(change);
        assert_eq!(code, "EXPIRED", "{said}");
        assert!(said.contains("imgkit trust renew"), "{said}");
        assert!(
            said.contains("nothing is published, as nobody would trust it: root has expired"),
            "{said}"
        );
    }
    let (code, json) = owner.run(&["rotate", GUN, "targets"]);
    assert!(
        code == 2 && json.to_string().contains("signing as `root` needs 1"),
        "{json}"
    );
    let keys = fs::read_dir(owner.trust().join("private")).unwrap().count();
    assert_eq!(keys, 2, "no key is made for what cannot be published");

    fs::write(root, bytes).unwrap();
    let signed = owner.sign("r2", &["--role", "releases"]);
    assert_eq!(signed["rolesSigned"], json!(["root", "targets", "targets/releases"]));
    owner.good(&["verify", GUN]);
    let mut all = owner.listed();
    all.sort();
    assert_eq!(names(&all), ["r1", "r2", "v1"]);

    owner.expire(&["targets"]);
    let rotated = owner.good(&["rotate", GUN, "root", "--new-root-key"]);
    assert_eq!(rotated["rolesSigned"], json!(["root", "targets"]));
    owner.good(&["verify", GUN]);
    assert_eq!(owner.listed().len(), 3);
}

#[test]
fn changes_mend_what_has_expired_on_debians_server() {
    let server = NotaryServer::start(Keys::Signer);
    changes_mend_what_has_expired(&Owner::new(&server.url(), &server.ca()));
}

#[test]
fn changes_mend_what_has_expired_on_imgkits_server() {
    let setup = Setup::in_directory();
    let server = setup.start(&[]);
    changes_mend_what_has_expired(&Owner::new(server.url(), server.ca()));
}

#[test]
fn each_renews_what_he_has_the_keys_of() {
    let setup = Setup::in_directory();
    let server = setup.start(&[]);
    let owner = Owner::new(server.url(), server.ca());
    owner.good(&["init", GUN, "--new-root-key", "--server-managed"]);
    owner.sign("v1", &[]);
    owner.expire(&["root", "targets"]);
    let root = owner.take_away("root");
    let (code, json) = owner.run(&["renew", GUN]);
    assert_eq!(code, 1, "{json}");
    assert_eq!(json["result"]["renewed"], json!(["targets"]));
    assert_eq!(json["result"]["keysMissing"], json!(["root"]));
    let targets = owner.take_away("targets");
    fs::write(root.0, root.1).unwrap();
    assert_eq!(owner.good(&["renew", GUN])["renewed"], json!(["root"]));
    owner.good(&["verify", GUN]);
    fs::write(targets.0, targets.1).unwrap();
    owner.sign("v2", &[]);
    // The server signs the snapshot, which is due as well.
    let renewed = owner.good(&["renew", GUN, "--margin", "2000"]);
    assert_eq!(renewed["renewed"], json!(["targets"]));
}

/// Starts imgkit's server, some days from now.
fn in_days(setup: &Setup, days: i64) -> TrustServer {
    // Not behind `faketime` itself, which would be killed in the place of the server.
    let library = succeed(Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]));
    let mut command = setup.command(&setup.tls());
    command
        .env("LD_PRELOAD", library.trim())
        .env("FAKETIME", format!("+{days}d"));
    setup.spawn(&mut command)
}

#[test]
fn years_later_all_is_renewed_with_a_new_certificate_for_the_root_key() {
    let setup = Setup::in_directory();
    let mut owner = {
        let server = setup.start(&[]);
        let owner = Owner::new(server.url(), server.ca());
        owner.good(&["init", GUN, "--new-root-key", "--server-managed"]);
        owner.sign("v1", &[]);
        owner
    };
    let pinned = owner.home.path().join("pinned.json");
    fs::copy(owner.trust().join(format!("tuf/{GUN}/metadata/root.json")), &pinned).unwrap();
    for (days, change) in [(4_000, "renew"), (8_000, "sign"), (12_000, "rotate")] {
        let server = in_days(&setup, days);
        owner.url = server.url().to_owned();
        owner.at = Some(now().plus(days * DAY));
        let (code, said) = owner.refused(&["verify", GUN]);
        assert!(code == "EXPIRED", "{said}");
        match change {
            "renew" => {
                let renewed = owner.good(&["renew", GUN]);
                assert_eq!(renewed["renewed"], json!(["root", "targets"]));
                let id: Root = owner.read("root");
                let ids = id.role_keys("root").keyids().to_vec();
                assert_eq!(renewed["pins"], json!(ids));
                owner.good(&["verify", GUN, "--pin", ids[0].as_str()]);
            }
            "sign" => drop(owner.sign("v2", &[])),
            _ => drop(owner.good(&["rotate", GUN, "targets"])),
        }
        owner.good(&["verify", GUN]);
        // Who pinned the first root goes on: each root vouches for the next.
        let pin = pinned.to_str().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let dir = elsewhere.path().to_str().unwrap();
        owner.good(&["verify", GUN, "v1", "--pin", pin, "--trust-dir", dir]);
    }
}

/// Another machine of the owner's, with all keys and nothing of what was trusted.
fn with_the_keys_of(owner: &Owner) -> Owner {
    let other = Owner::new(&owner.url, &owner.ca);
    let (from, to) = (owner.trust().join("private"), other.trust().join("private"));
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    other
}

#[test]
fn what_has_expired_and_was_never_seen_here_is_shown_before_it_is_signed_again() {
    let setup = Setup::in_directory();
    let server = setup.start(&[]);
    let owner = Owner::new(server.url(), server.ca());
    owner.good(&["init", GUN, "--new-root-key", "--server-managed"]);
    owner.sign("v1", &[]);
    let root = owner.trust().join(format!("tuf/{GUN}/metadata/root.json"));
    let pin = ["--pin", root.to_str().unwrap()];
    let (other, third) = (with_the_keys_of(&owner), with_the_keys_of(&owner));
    // Whoever reads as an owner remembers it, as those do who look names up.
    other.good(&[&["delegate", "ls", GUN][..], &pin].concat());
    let remembered: Targets = other.read("targets");
    assert!(remembered.targets.iter().any(|(name, _)| name == "v1"));
    owner.expire(&["targets"]);
    let sign = ["sign", GUN, "v2", "--digest", DIGEST, "--length", "11"];
    for _ in 0..2 {
        for words in [&["renew", GUN][..], &["renew", GUN, "targets"], &sign] {
            let (code, json) = third.run(&[words, &pin].concat());
            assert!(
                code == 2 && json.to_string().contains("never had it"),
                "{words:?}: {json}"
            );
        }
    }
    let (_, json) = third.run(&[&["renew", GUN][..], &pin].concat());
    assert!(json.to_string().contains("v1"), "{json}");
    third.good(&[&["renew", GUN, "--yes"][..], &pin].concat());
    third.good(&[&sign[..], &pin].concat());
    owner.good(&["verify", GUN, "v2"]);
}
