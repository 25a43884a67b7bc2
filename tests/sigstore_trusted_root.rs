//! `sigstore initialize`: whom to trust, from an instance's TUF repository; and verification that then uses it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;
#[path = "common/virtual_sigstore.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod virtual_sigstore;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::home::answer;
use common::sigstore_operator::Operator;
use common::{imgkit, succeed};
use imgkit::digest::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;
use virtual_sigstore::{IDENTITY, ISSUER, Order, VirtualSigstore};

fn publish_root(operator: &Operator, sigstore: &VirtualSigstore) {
    operator.publish("trusted_root.json", &sigstore.trusted_root().to_string());
}

/// Who verifies: has a file, and a bundle over it by an instance.
struct Desk {
    home: TempDir,
}

impl Desk {
    fn with_bundle_of(sigstore: &VirtualSigstore) -> Self {
        let desk = Self {
            home: tempfile::tempdir().unwrap(),
        };
        fs::write(desk.path("file"), "what is signed").unwrap();
        let bundle = sigstore.sign(&Order::file(b"what is signed"));
        fs::write(desk.path("bundle.json"), bundle.to_string()).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = imgkit(self.home.path());
        command.current_dir(self.home.path());
        command.args(["--output", "json", "sigstore"]).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, Value) {
        answer(&self.command(arguments).output().unwrap())
    }

    fn initialize(&self, operator: &Operator) -> (i32, Value) {
        self.run(&["initialize", "--mirror", &operator.url(), "--root", &operator.root()])
    }

    fn verify(&self) -> (i32, Value) {
        self.run(&VERIFY)
    }

    /// What is kept, all of it.
    fn kept(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn files(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(dir)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
            {
                match entry.is_dir() {
                    true => files(&entry, found),
                    false => found.push((entry.clone(), fs::read(&entry).unwrap())),
                }
            }
        }
        let mut found = Vec::new();
        files(&self.path(".local/state"), &mut found);
        found.sort();
        found
    }
}

const VERIFY: [&str; 8] = [
    "verify-blob",
    "file",
    "--bundle",
    "bundle.json",
    "--certificate-identity",
    IDENTITY,
    "--certificate-oidc-issuer",
    ISSUER,
];

fn code(answer: &(i32, Value)) -> (i32, &str) {
    (answer.0, answer.1["refusals"][0]["code"].as_str().unwrap_or("none"))
}

#[test]
fn what_was_fetched_is_trusted_from_then_on_and_the_report_says_so() {
    let (sigstore, operator) = (VirtualSigstore::new(), Operator::new());
    publish_root(&operator, &VirtualSigstore::new());
    operator.publish("signing_config.v0.2.json", "{}");
    let desk = Desk::with_bundle_of(&sigstore);
    // Before, the public instance's root of this build counts.
    assert_eq!(desk.verify().0, 1);
    let (exit, first) = desk.initialize(&operator);
    assert_eq!(exit, 0, "{first}");
    // The instance's root of yesterday is not the one that the bundle is under.
    assert_eq!(desk.verify().0, 1);
    publish_root(&operator, &sigstore);
    let (exit, json) = desk.run(&["initialize"]);
    assert_eq!(exit, 0, "{json}");
    let text = sigstore.trusted_root().to_string();
    assert_eq!(
        json["result"]["trustedRoot"],
        json!(Digest::sha256(text.as_bytes()).to_string())
    );
    assert_ne!(json["result"]["trustedRoot"], first["result"]["trustedRoot"]);
    assert!(json["result"]["signingConfig"].is_string());
    let (exit, verified) = desk.verify();
    assert_eq!(exit, 0, "{verified}");
    let result = &verified["result"];
    assert_eq!(result["trustedRoot"], json["result"]["trustedRoot"]);
    let from = &result["trustedRootFrom"];
    assert_eq!(
        (&from["kind"], &from["mirror"]),
        (&json!("initialized"), &json!(operator.url()))
    );
    assert_eq!(from["metadata"], json["result"]["metadata"]);
    assert_eq!(from["refreshed"], json["result"]["refreshed"]);
    // Offline: nothing is asked for verifying.
    let asked = operator.server.requests().len();
    let (exit, json) = desk.run(&[&["verify-bundle"], &VERIFY[1..]].concat());
    assert_eq!(exit, 0, "{json}");
    assert_eq!(operator.server.requests().len(), asked);
    // A root that is named goes before what is kept.
    fs::write(
        desk.path("other.json"),
        VirtualSigstore::new().trusted_root().to_string(),
    )
    .unwrap();
    assert_eq!(
        desk.run(&[&VERIFY[..], &["--trusted-root", "other.json"]].concat()).0,
        1
    );
}

#[test]
fn older_metadata_are_refused_and_what_was_trusted_stays() {
    let (sigstore, operator) = (VirtualSigstore::new(), Operator::new());
    publish_root(&operator, &VirtualSigstore::new());
    let old = tempfile::tempdir().unwrap();
    succeed(Command::new("cp").arg("-a").arg(operator.metadata()).arg(old.path()));
    publish_root(&operator, &sigstore);
    let desk = Desk::with_bundle_of(&sigstore);
    assert_eq!(desk.initialize(&operator).0, 0);
    assert_eq!(desk.verify().0, 0);
    let kept = desk.kept();
    fs::remove_dir_all(operator.metadata()).unwrap();
    succeed(
        Command::new("cp")
            .arg("-a")
            .arg(old.path().join("c"))
            .arg(operator.metadata()),
    );
    assert_eq!(code(&desk.run(&["initialize"])), (1, "ROLLBACK"));
    // Naming the root again begins no second history.
    assert_eq!(code(&desk.initialize(&operator)), (1, "ROLLBACK"));
    assert_eq!(desk.kept(), kept);
    assert_eq!(desk.verify().0, 0);
}

#[test]
fn a_root_that_was_replaced_by_its_owner_is_followed() {
    let (sigstore, operator) = (VirtualSigstore::new(), Operator::new());
    publish_root(&operator, &VirtualSigstore::new());
    let desk = Desk::with_bundle_of(&sigstore);
    let first = desk.initialize(&operator).1;
    operator.trust(&["rotate", "root"]);
    publish_root(&operator, &sigstore);
    // Whether the first root is named again or not; somebody who begins now begins with it, too.
    let late = Desk::with_bundle_of(&sigstore);
    for (desk, arguments) in [
        (&desk, vec!["initialize".to_owned()]),
        (
            &desk,
            vec!["initialize".to_owned(), "--root".to_owned(), operator.root()],
        ),
        (
            &late,
            vec![
                "initialize".to_owned(),
                "--mirror".to_owned(),
                operator.url(),
                "--root".to_owned(),
                operator.root(),
            ],
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, json) = desk.run(&arguments);
        assert_eq!(code, 0, "{arguments:?}: {json}");
        let root = |json: &Value| json["result"]["metadata"][0]["version"].as_u64().unwrap();
        assert!(root(&json) > root(&first), "{json}");
        assert_eq!(desk.verify().0, 0);
    }
}

#[test]
fn a_wrong_root_is_refused_and_leaves_nothing() {
    let (sigstore, operator, other) = (VirtualSigstore::new(), Operator::new(), Operator::new());
    publish_root(&operator, &sigstore);
    let desk = Desk::with_bundle_of(&sigstore);
    let wrong = desk.run(&["initialize", "--mirror", &operator.url(), "--root", &other.root()]);
    assert_eq!(code(&wrong), (1, "WRONG_KEY"), "{}", wrong.1);
    // The public instance's root does not sign this repository.
    let public = desk.run(&["initialize", "--mirror", &operator.url()]);
    assert_eq!(public.0, 1, "{}", public.1);
    assert_eq!(desk.kept(), []);
    assert_eq!(desk.initialize(&operator).0, 0);
    // Nor does it replace the one that it began with.
    let wrong = desk.run(&["initialize", "--root", &other.root()]);
    assert_eq!(code(&wrong), (1, "WRONG_KEY"), "{}", wrong.1);
    assert_eq!(desk.verify().0, 0);
}

#[test]
fn metadata_past_their_time_are_not_used() {
    let (sigstore, operator) = (VirtualSigstore::new(), Operator::new());
    publish_root(&operator, &sigstore);
    let desk = Desk::with_bundle_of(&sigstore);
    assert_eq!(desk.initialize(&operator).0, 0);
    let later = |arguments: &[&str]| {
        let command = desk.command(arguments);
        let mut command = common::behind(&["faketime", "-f", "+400d"], &command);
        answer(
            &command
                .output()
                .expect("faketime is missing; install it: sudo apt-get install faketime"),
        )
    };
    let expired = later(&VERIFY);
    assert_eq!(code(&expired), (1, "EXPIRED"), "{}", expired.1);
    assert!(
        expired.1["refusals"][0]["advice"]
            .as_str()
            .unwrap()
            .contains("sigstore initialize")
    );
    assert_eq!(code(&later(&["initialize"])), (1, "EXPIRED"));
    // A root that is named needs none.
    fs::write(desk.path("root.json"), sigstore.trusted_root().to_string()).unwrap();
    let named = later(&[&VERIFY[..], &["--trusted-root", "root.json"]].concat());
    assert_eq!(named.0, 0, "{}", named.1);
    assert_eq!(desk.verify().0, 0);
}

#[test]
fn a_root_that_is_not_the_signed_one_is_refused_where_it_is_served_and_where_it_is_kept() {
    let (sigstore, operator) = (VirtualSigstore::new(), Operator::new());
    publish_root(&operator, &sigstore);
    let desk = Desk::with_bundle_of(&sigstore);
    let files = operator.home.path().join("files");
    let served = fs::read_dir(&files).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&served).unwrap();
    let evil = VirtualSigstore::new().trusted_root().to_string();
    fs::write(&served, &evil).unwrap();
    let refused = desk.initialize(&operator);
    assert_eq!(code(&refused), (1, "DIGEST_MISMATCH"), "{}", refused.1);
    assert_eq!(desk.kept(), []);
    fs::write(&served, good).unwrap();
    assert_eq!(desk.initialize(&operator).0, 0);
    assert_eq!(desk.verify().0, 0);
    let kept = desk.path(".local/state/imgkit/sigstore/targets/trusted_root.json");
    fs::write(&kept, evil).unwrap();
    assert_eq!(code(&desk.verify()), (1, "DIGEST_MISMATCH"));
    fs::remove_file(kept).unwrap();
    assert_eq!(desk.verify().0, 3);
    assert_eq!(desk.run(&["initialize"]).0, 0);
    assert_eq!(desk.verify().0, 0);
}

#[test]
fn a_repository_that_does_not_answer_or_has_no_root_for_us_is_not_found_out() {
    let (sigstore, operator) = (VirtualSigstore::new(), Operator::new());
    operator.publish("something.json", "{}");
    let desk = Desk::with_bundle_of(&sigstore);
    let absent = desk.initialize(&operator);
    assert_eq!(absent.0, 3, "{}", absent.1);
    let down = desk.run(&[
        "initialize",
        "--mirror",
        "http://127.0.0.1:1",
        "--root",
        &operator.root(),
    ]);
    assert_eq!((down.0, &down.1["verdict"]), (3, &json!("unavailable")));
    assert_eq!(desk.kept(), []);
}

#[test]
fn the_public_root_is_the_one_of_the_crate() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--offline", "--locked"]);
    // Where nothing but this package was ever built, the crates of other systems are not there.
    command.arg(format!(
        "--filter-platform={}-unknown-linux-gnu",
        std::env::consts::ARCH
    ));
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"] == "sigstore-trust-root")
        .unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    let theirs = fs::read(manifest.with_file_name("repository/tuf_root.json")).unwrap();
    assert_eq!(imgkit::store::sigstore_dir::PUBLIC_ROOT, theirs);
}

#[test]
fn what_is_kept_can_be_read_where_nothing_can_be_written() {
    let (sigstore, operator) = (VirtualSigstore::new(), Operator::new());
    publish_root(&operator, &sigstore);
    let desk = Desk::with_bundle_of(&sigstore);
    assert_eq!(desk.initialize(&operator).0, 0);
    let state = desk.path(".local/state");
    let script = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@""#;
    let command = desk.command(&VERIFY);
    let mut mounted = common::in_mounts_of_its_own(&desk.path(""));
    mounted.args(["sh", "-c", script, "sh"]).arg(&state);
    mounted.arg(command.get_program()).args(command.get_args());
    mounted.current_dir(desk.path(""));
    let (code, json) = answer(&mounted.output().unwrap());
    assert_eq!(code, 0, "{json}");
    assert_eq!(json["result"]["trustedRootFrom"]["kind"], "initialized");
}
