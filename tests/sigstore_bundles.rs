//! Bundles and signatures over files at the command line, and in the hands of other clients: npm's, PyPI's and openssl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;
#[path = "common/virtual_sigstore.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod virtual_sigstore;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::home::answer;
use common::{imgkit, installed, run, succeed};
use serde_json::{Value, json};
use tempfile::TempDir;
use virtual_sigstore::{Content, IDENTITY, ISSUER, Order, VirtualSigstore};

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/cosign/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A directory with a file that is signed, and keys of openssl's.
struct Desk {
    home: TempDir,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let desk = Self { home };
        fs::write(desk.path("file"), "what is signed").unwrap();
        fs::write(desk.path("other"), "what is not").unwrap();
        for name in ["a", "b"] {
            let (private, public) = (desk.path(&format!("{name}.pem")), desk.path(&format!("{name}.pub")));
            let make = [
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-out",
            ];
            succeed(Command::new("openssl").args(make).arg(&private));
            let public_half = ["pkey", "-pubout", "-in"];
            succeed(
                Command::new("openssl")
                    .args(public_half)
                    .arg(&private)
                    .arg("-out")
                    .arg(&public),
            );
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs `imgkit --output json sigstore ARGS` in the directory.
    fn run(&self, arguments: &str) -> (i32, Value) {
        let mut command = imgkit(self.home.path());
        command
            .current_dir(self.home.path())
            .args(["--output", "json", "sigstore"]);
        answer(&command.args(arguments.split(' ')).output().unwrap())
    }

    fn good(&self, arguments: &str) -> Value {
        let (code, json) = self.run(arguments);
        assert_eq!(code, 0, "{arguments}: {json}");
        json["result"].clone()
    }

    fn refused(&self, arguments: &str) -> String {
        let (code, json) = self.run(arguments);
        assert_eq!(code, 1, "{arguments}: {json}");
        json["refusals"][0]["code"].as_str().unwrap_or("none").to_owned()
    }
}

#[test]
fn a_file_is_signed_and_verified_in_every_form() {
    let desk = Desk::new();
    let signed = desk.good("sign-blob file --key a.pem --bundle bundle.json --output-signature sig");
    assert_eq!(
        fs::read_to_string(desk.path("sig")).unwrap(),
        signed["signature"].as_str().unwrap()
    );
    desk.good("sign-bundle file --key a.pem --bundle again.json");
    assert_eq!(
        fs::read(desk.path("bundle.json")).unwrap(),
        fs::read(desk.path("again.json")).unwrap(),
        "the same file signed twice is the same bundle"
    );
    let digest = signed["digest"].as_str().unwrap().to_owned();
    let with = [
        ("verify-blob", "--bundle bundle.json", "file"),
        ("verify-blob", "--signature sig", "file"),
        ("verify-bundle", "--bundle bundle.json", "file"),
        ("verify-bundle", "--bundle bundle.json", digest.as_str()),
    ];
    for (command, signature, file) in with {
        let verified = desk.good(&format!("{command} {file} --key b.pub --key a.pub {signature}"));
        assert_eq!(verified["key"], signed["key"], "{command} {signature}");
        assert_eq!(
            desk.refused(&format!("{command} {file} --key b.pub {signature}")),
            "WRONG_KEY"
        );
        desk.refused(&format!("{command} other --key a.pub {signature}"));
    }
}

#[test]
fn cosigns_own_files_verify_with_their_key_alone() {
    let desk = Desk::new();
    let (blob, ck, b) = (fixture("blob"), fixture("ck.pub"), fixture("b.pub"));
    for form in ["blob.sig", "blob.bundle"] {
        let form = fixture(form);
        desk.good(&format!("verify-blob {blob} --key {ck} --signature {form}"));
        assert_eq!(
            desk.refused(&format!("verify-blob {blob} --key {b} --signature {form}")),
            "WRONG_KEY"
        );
    }
    let image = "sha256:00c3ff7895530356ba3ad7c58540e29b318da6e67527c8bc63914723119f202a";
    let bundle = fixture("app3.bundle.json");
    let verified = desk.good(&format!("verify-bundle {image} --key {ck} --bundle {bundle}"));
    assert_eq!(
        verified["signed"]["predicateType"],
        "https://sigstore.dev/cosign/sign/v1"
    );
    desk.refused(&format!("verify-bundle {image} --key {b} --bundle {bundle}"));
    desk.refused(&format!("verify-bundle {blob} --key {ck} --bundle {bundle}"));
}

#[test]
fn the_generic_commands_end_with_0_or_1() {
    let desk = Desk::new();
    fs::write(desk.path("bundle.json"), "{}").unwrap();
    for arguments in [
        "verify-bundle file --key a.pub --bundle bundle.json",
        "verify-bundle file --key a.pub --bundle missing",
        "verify-bundle missing --key a.pub --bundle bundle.json",
        "sign-bundle missing --key a.pem --bundle out.json",
    ] {
        assert_eq!(desk.run(arguments).0, 1, "{arguments}");
    }
    assert_eq!(desk.run("verify-blob file --key a.pub --bundle bundle.json").0, 2);
    assert_eq!(desk.run("verify-blob file --key a.pub --bundle missing").0, 3);
}

#[test]
fn a_bundle_of_a_gigabyte_is_not_read() {
    let desk = Desk::new();
    let file = fs::File::create(desk.path("huge.json")).unwrap();
    file.set_len(1 << 30).unwrap();
    let (code, json) = desk.run("verify-blob file --key a.pub --bundle huge.json");
    assert_eq!(code, 2, "{json}");
    assert!(json["error"]["problem"].as_str().unwrap().contains("bytes"), "{json}");
}

#[test]
fn openssl_verifies_what_is_signed() {
    let desk = Desk::new();
    desk.good("sign-blob file --key a.pem --output-signature sig");
    let decode = ["base64", "-d", "-A", "-in", "sig", "-out", "sig.der"];
    succeed(Command::new("openssl").current_dir(desk.home.path()).args(decode));
    let by = |key: &str| {
        let verify = ["dgst", "-sha256", "-verify", key, "-signature", "sig.der", "file"];
        run(Command::new("openssl").current_dir(desk.home.path()).args(verify)).0
    };
    assert_eq!(by("a.pub"), 0);
    assert_ne!(by("b.pub"), 0);
    // And the other way round: bytes as openssl writes them.
    let sign = ["dgst", "-sha256", "-sign", "b.pem", "-out", "by-openssl", "file"];
    succeed(Command::new("openssl").current_dir(desk.home.path()).args(sign));
    desk.good("verify-blob file --key b.pub --signature by-openssl");
    desk.refused("verify-blob file --key a.pub --signature by-openssl");
}

/// Returns a directory in which npm has installed its registry's own verifier of bundles.
fn node() -> PathBuf {
    installed("npm-sigstore", &["@sigstore/verify@3.1.1"], |dir, packages| {
        let mut install = Command::new("npm");
        install
            .current_dir(dir)
            .args(["install", "--silent", "--no-audit", "--no-fund"]);
        succeed(install.args(packages));
    })
}

#[test]
fn npms_client_verifies_bundles_by_key_and_refuses_changed_ones() {
    let (desk, node) = (Desk::new(), node());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sigstore/verify.js");
    let by_npm = |bundle: &str, key: &str, file: Option<&str>| {
        let mut command = Command::new("node");
        command
            .current_dir(&node)
            .arg(&script)
            .args([desk.path(bundle), desk.path(key)]);
        run(command.args(file.map(|file| desk.path(file)))).0 == 0
    };
    desk.good("sign-blob file --key a.pem --bundle bundle.json");
    assert!(by_npm("bundle.json", "a.pub", Some("file")));
    assert!(!by_npm("bundle.json", "b.pub", Some("file")));
    assert!(!by_npm("bundle.json", "a.pub", Some("other")));
    let statement = imgkit::attest::Statement::new(
        imgkit::attest::Subject::of(None, &imgkit::digest::Digest::sha256(b"what is signed")),
        "https://example.com/predicate",
        Some(json!({})),
    );
    let key = imgkit::key::SigningKey::generate_as(imgkit::key::Algorithm::P256).unwrap();
    fs::write(desk.path("c.pub"), key.public().to_pem().unwrap()).unwrap();
    let bundle = imgkit::sigstore::bundle::Bundle::sign_statement(&statement, &key)
        .unwrap()
        .encode();
    fs::write(desk.path("statement.json"), &bundle).unwrap();
    assert!(by_npm("statement.json", "c.pub", None));
    desk.good("verify-bundle file --key c.pub --bundle statement.json");
    let mut changed: Value = serde_json::from_slice(&bundle).unwrap();
    changed["dsseEnvelope"]["payloadType"] = json!("application/vnd.in-toto+jsom");
    fs::write(desk.path("changed.json"), changed.to_string()).unwrap();
    assert!(!by_npm("changed.json", "c.pub", None));
    desk.refused("verify-bundle file --key c.pub --bundle changed.json");
}

/// Returns a Python that has PyPI's `sigstore`.
fn python() -> PathBuf {
    common::python("python-sigstore", &["sigstore==4.5.1"])
}

/// The configuration with which PyPI's client trusts a sigstore.
fn python_config(sigstore: &VirtualSigstore) -> Value {
    json!({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": sigstore.trusted_root(),
        "signingConfig": {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "rekorTlogConfig": { "selector": "ANY" }, "tsaConfig": { "selector": "ANY" },
        },
    })
}

#[test]
fn pypis_client_and_imgkit_agree_on_bundles_by_identity() {
    let (desk, python, sigstore) = (Desk::new(), python(), VirtualSigstore::new());
    let write = |name: &str, value: &Value| fs::write(desk.path(name), value.to_string()).unwrap();
    write("root.json", &sigstore.trusted_root());
    write("config.json", &python_config(&sigstore));
    let by_python = |bundle: &str, identity: &str, file: &str| {
        let mut command = Command::new(&python);
        command.current_dir(desk.home.path()).env("HOME", desk.home.path());
        command.args([
            "-m",
            "sigstore",
            "--trust-config",
            "config.json",
            "verify",
            "identity",
            "--offline",
        ]);
        command.args([
            "--cert-identity",
            identity,
            "--cert-oidc-issuer",
            ISSUER,
            "--bundle",
            bundle,
            file,
        ]);
        run(&mut command)
    };
    let by_imgkit = |bundle: &str, identity: &str, file: &str| {
        let signer = format!("--certificate-identity {identity} --certificate-oidc-issuer {ISSUER}");
        desk.run(&format!(
            "verify-bundle {file} --bundle {bundle} --trusted-root root.json {signer}"
        ))
    };
    let file = Order::file(b"what is signed");
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1", "predicate": {},
        "subject": [{ "name": "file", "digest": { "sha256": imgkit::digest::Digest::sha256(b"what is signed").hex() } }],
    });
    let dsse = Order::of(Content::Statement(statement.to_string().into_bytes()));
    for (form, order) in [("v1", file.clone()), ("v2", file.v2()), ("dsse", dsse)] {
        let good = sigstore.sign(&order);
        // As imgkit writes it, not as it was made.
        let read = imgkit::sigstore::bundle::Bundle::parse(good.to_string().as_bytes()).unwrap();
        fs::write(desk.path("bundle.json"), read.encode()).unwrap();
        let agree = |yes: bool, what: &str, bundle: &str, identity: &str, file: &str| {
            let (code, said) = by_python(bundle, identity, file);
            assert_eq!(code == 0, yes, "{form}: {what}: PyPI's: {said}");
            let (code, said) = by_imgkit(bundle, identity, file);
            assert_eq!(code == 0, yes, "{form}: {what}: imgkit: {said}");
        };
        agree(true, "as it is", "bundle.json", IDENTITY, "file");
        agree(false, "another identity", "bundle.json", "other@example.com", "file");
        agree(false, "another file", "bundle.json", IDENTITY, "other");
        let mut forged = good.clone();
        forged["verificationMaterial"]["tlogEntries"] =
            sigstore.sign(&order)["verificationMaterial"]["tlogEntries"].clone();
        write("forged.json", &forged);
        agree(false, "another entry", "forged.json", IDENTITY, "file");
    }
}

/// Writes a bundle by identity, what it signs and what to trust, for benches/sigstore.sh.
#[test]
#[ignore = "writes what benches/sigstore.sh measures"]
fn sample() {
    let (dir, sigstore) = (
        PathBuf::from(std::env::var_os("IMGKIT_SAMPLE").unwrap()),
        VirtualSigstore::new(),
    );
    let write = |name: &str, value: &Value| fs::write(dir.join(name), value.to_string()).unwrap();
    fs::write(dir.join("file"), "what is signed").unwrap();
    write("bundle.json", &sigstore.sign(&Order::file(b"what is signed")));
    write("root.json", &sigstore.trusted_root());
    write("config.json", &python_config(&sigstore));
}
