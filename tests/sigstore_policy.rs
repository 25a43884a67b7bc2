//! `sigstore tree --policy`: what a policy makes of each piece beside an image, and that the gate counts the same ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/virtual_sigstore.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod virtual_sigstore;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::home::answer;
use common::images::reference;
use common::registry::DockerRegistry;
use common::sigstore::{Person, beside, client, document, fixture, fixtures};
use common::{imgkit, succeed};
use imgkit::attest::{Statement, Subject};
use imgkit::digest::Digest;
use imgkit::key::Passphrase;
use imgkit::oci::Descriptor;
use imgkit::sigstore::{bundle, manifest, payload, signature};
use imgkit::store::key_store::open_key;
use imgkit::store::registry::NewBundle;
use imgkit::time::Time;
use imgkit::tree::described::{self, PlatformTarget};
use serde_json::{Value, json};
use virtual_sigstore::{Content, IDENTITY, ISSUER, Order, SIGNED_AT, VirtualSigstore};

/// A person with an image in a registry, and policies about it.
struct Case {
    person: Person,
    registry: DockerRegistry,
    name: String,
    image: Descriptor,
    keys: BTreeMap<&'static str, String>,
}

impl Case {
    fn new() -> Self {
        let registry = DockerRegistry::start();
        let person = Person::new();
        let (name, image) = person.push(&registry, "team/a:1", "x");
        let keys = ["vendor", "other"].map(|key| (key, person.key(key).0)).into();
        Self {
            person,
            registry,
            name,
            image,
            keys,
        }
    }

    fn sign(&self, key: &str, more: &[&str]) {
        let args = [&["sign", &self.name, "--key", &self.keys[key]][..], more].concat();
        self.person.good(&args);
    }

    fn attest(&self, key: &str, kind: &str, predicate: &Value) {
        let file = self.person.path("predicate.json");
        fs::write(&file, predicate.to_string()).unwrap();
        let file = file.to_str().unwrap();
        let what = ["--type", kind, "--predicate", file, "--form", "bundle"];
        let args = [&["attest", &self.name, "--key", &self.keys[key]][..], &what].concat();
        self.person.good(&args);
    }

    /// Writes the policy: who signs, and what is demanded of the image.
    fn policy(&self, signers: &str, rule: &str) -> String {
        let pattern = format!("{}/team/*", self.registry.host());
        let text = format!("version: 1\nroots: {{}}\nsigners:\n{signers}rules:\n  - match: '{pattern}'\n    {rule}\n");
        let path = self.person.path("policy.yml");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn tree(&self, policy: &str) -> (i32, Value) {
        self.person.run(&["tree", &self.name, "--policy", policy])
    }

    /// What the policy makes of each piece: its kind and form, the verdict, and the reasons against it.
    fn told(&self, policy: &str) -> Vec<String> {
        let (code, json) = self.tree(policy);
        assert_eq!(code, 0, "{json}");
        let mut told: Vec<String> = pieces(&json).iter().map(told_of).collect();
        told.sort();
        told
    }

    /// The layers that the gate itself counts.
    fn counted(&self, policy: &str) -> BTreeSet<String> {
        let mut command = imgkit(&self.person.path(""));
        command.args([
            "--output",
            "json",
            "policy",
            "verify",
            "--no-cache",
            "--policy",
            policy,
            &self.name,
        ]);
        let (code, json) = answer(&command.output().unwrap());
        assert_eq!(code, 0, "{json}");
        let admitted = json["result"]["images"][0]["admitted"]["attached"].as_array().unwrap();
        admitted
            .iter()
            .map(|one| one["layer"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The layers of which it is said that the policy takes them.
    fn taken(&self, policy: &str) -> BTreeSet<String> {
        let json = self.tree(policy).1;
        let taken = pieces(&json)
            .into_iter()
            .filter(|piece| piece["policy"]["verdict"] == "taken");
        taken.map(|piece| piece["layer"].as_str().unwrap().to_owned()).collect()
    }
}

fn pieces(json: &Value) -> Vec<Value> {
    json["result"]["documents"][0]["attached"].as_array().unwrap().clone()
}

fn told_of(piece: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let requirements = piece["policy"]["requirements"].as_array().unwrap();
    let codes = requirements.iter().filter_map(|one| one["code"].as_str());
    let words = [
        text(&piece["kind"]),
        text(&piece["form"]),
        text(&piece["policy"]["verdict"]),
    ];
    words
        .iter()
        .map(String::as_str)
        .chain(codes)
        .collect::<Vec<_>>()
        .join(" ")
}

const KEYS: &str = "  vendor: {key: vendor.pub}\n  other: {key: other.pub}\n  named: {key: vendor.pub, names: tag}\n";

#[test]
fn each_piece_is_taken_or_not_for_a_reason_and_the_gate_counts_the_same() {
    let case = Case::new();
    case.sign("vendor", &[]);
    case.sign("other", &["--form", "simple"]);
    case.attest("vendor", "custom", &json!({ "level": 3 }));
    case.attest("vendor", "custom", &json!({ "level": 1 }));
    case.attest("other", "custom", &json!({ "level": 3 }));
    case.attest("vendor", "openvex", &json!({}));
    let attested = "attested: {type: custom, by: vendor, condition: predicate.level >= 2}";
    let policy = case.policy(KEYS, &format!("signed: vendor\n    {attested}"));
    assert_eq!(
        case.told(&policy),
        [
            "attestation bundle notAsked",
            "attestation bundle refused CONDITION",
            "attestation bundle refused WRONG_KEY",
            "attestation bundle taken",
            "signature bundle taken",
            "signature simple refused WRONG_KEY",
            "signature simple taken",
        ]
    );
    let taken = case.taken(&policy);
    assert_eq!(taken.len(), 3);
    assert_eq!(taken, case.counted(&policy));

    // Every requirement says its own: what one signer's does not take, another's may.
    let policy = case.policy(KEYS, "signed: {by: [vendor, other], threshold: 2}");
    assert_eq!(case.taken(&policy), case.counted(&policy));
    let (_, json) = case.tree(&policy);
    let signature = pieces(&json)
        .into_iter()
        .find(|piece| piece["form"] == "simple")
        .unwrap();
    let by: Vec<_> = signature["policy"]["requirements"].as_array().unwrap().iter().collect();
    let by: Vec<_> = by
        .iter()
        .map(|one| (one["signer"].as_str().unwrap(), one["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(by, [("vendor", "taken"), ("other", "refused")]);
    let line = json["result"]["policy"]["place"]["line"].as_u64();
    assert_eq!(
        (line, &json["result"]["policy"]["refusals"]),
        (Some(8), &Value::Null),
        "{json}"
    );
}

#[test]
fn a_signature_that_names_another_image_is_not_taken_where_names_count() {
    let case = Case::new();
    case.sign("vendor", &["--form", "simple", "--identity", "r.example/other:1"]);
    assert_eq!(
        case.told(&case.policy(KEYS, "signed: vendor")),
        ["signature simple taken"]
    );
    assert_eq!(
        case.told(&case.policy(KEYS, "signed: named")),
        ["signature simple refused NAME"]
    );
}

#[test]
fn a_signature_is_for_an_images_name_or_it_is_not_made() {
    let case = Case::new();
    let key = &case.keys["vendor"];
    for name in [
        "r.example/a:1\n",
        "r.example/\u{1b}[2Ja:1",
        "no name",
        "",
        "r.example/A:1",
        "r.example/a:1:2",
    ] {
        let (code, json) = case.person.run(&["sign", &case.name, "--key", key, "--identity", name]);
        assert_eq!(code, 2, "{name:?}: {json}");
    }
    assert_eq!(
        case.person.run(&["tree", &case.name]).1["result"]["documents"][0]["attached"],
        json!([])
    );
    case.sign("vendor", &["--form", "simple", "--identity", "alpine"]);
    let piece = pieces(&case.person.run(&["tree", &case.name, "--key", key]).1).remove(0);
    assert!(piece.to_string().contains("\"alpine\""), "{piece}");
}

#[test]
fn a_tree_that_the_signer_attested_is_taken_with_his_signature_alone() {
    let case = Case::new();
    case.person.good(&[
        "attest",
        &case.name,
        "--tree",
        "--key",
        &case.keys["vendor"],
        "--form",
        "bundle",
    ]);
    let policy = case.policy(KEYS, "signed: vendor");
    // Nobody signed the image, so what is said of its tree admits nothing.
    assert_eq!(case.told(&policy), ["attestation bundle refused UNSIGNED"]);
    case.sign("vendor", &["--no-tree", "--form", "bundle"]);
    assert_eq!(
        case.told(&policy),
        ["attestation bundle taken", "signature bundle taken"]
    );
    assert_eq!(case.taken(&policy), case.counted(&policy));
    // Another's word about the tree is none of the signer's.
    let policy = case.policy(KEYS, "signed: other");
    assert_eq!(
        case.told(&policy),
        [
            "attestation bundle refused WRONG_KEY",
            "signature bundle refused WRONG_KEY"
        ]
    );
}

#[test]
fn a_signature_of_another_tree_is_taken_only_beside_one_that_fits() {
    let case = Case::new();
    let key = open_key(Path::new(&case.keys["vendor"]), &Passphrase::new("secret").unwrap()).unwrap();
    let wrong = PlatformTarget {
        platform: "linux/amd64".to_owned(),
        manifest: case.image.digest,
        tree: Digest::sha256(b"another tree"),
    };
    let mut optional = payload::made_at(Time::EPOCH);
    optional.insert(described::MEMBER.to_owned(), described::to_value(&[wrong]));
    let payload = payload::Payload::new(&case.name, &case.image.digest, optional);
    let signed = STANDARD.encode(signature::sign(&key, payload.bytes()).unwrap());
    let layer = manifest::layer(payload::MEDIA_TYPE, payload.bytes(), &[(payload::SIGNATURE, &signed)]);
    let repository = reference(&case.name).repository().clone();
    client()
        .attach_layer(&repository, &case.image.digest, ".sig", &layer, payload.bytes())
        .unwrap();
    let policy = case.policy(KEYS, "signed: vendor");
    assert_eq!(case.told(&policy), ["signature simple refused TREE_MISMATCH"]);
    case.sign("vendor", &["--form", "simple"]);
    assert_eq!(case.told(&policy), ["signature simple taken", "signature simple taken"]);
    assert_eq!(case.taken(&policy), case.counted(&policy));
}

#[test]
fn identities_are_taken_by_their_bundles_alone() {
    let case = Case::new();
    let sigstore = VirtualSigstore::new();
    fs::write(case.person.path("trusted.json"), sigstore.trusted_root().to_string()).unwrap();
    case.sign("vendor", &["--form", "simple"]);
    let kind = imgkit::attest::predicate::COSIGN_SIGN;
    let statement = Statement::new(Subject::of(None, &case.image.digest), kind, None);
    let signed = sigstore
        .sign(&Order::of(Content::Statement(statement.encode())))
        .to_string();
    let new = NewBundle {
        media_type: bundle::MEDIA_TYPE,
        bytes: signed.as_bytes(),
        predicate_type: kind,
    };
    let now = Time::from_unix(SIGNED_AT + 60).unwrap();
    let repository = reference(&case.name).repository().clone();
    client().attach_bundle(&repository, &case.image, new, now).unwrap();
    let signer =
        |identity: &str| format!("  ci: {{identity: '{identity}', issuer: '{ISSUER}', trustedRoot: trusted.json}}\n");
    let policy = case.policy(&signer(IDENTITY), "signed: ci");
    assert_eq!(
        case.told(&policy),
        ["signature bundle taken", "signature simple refused NOT_LOGGED"]
    );
    assert_eq!(case.taken(&policy), case.counted(&policy));
    let (_, json) = case.tree(&policy);
    let bundle = pieces(&json)
        .into_iter()
        .find(|piece| piece["form"] == "bundle")
        .unwrap();
    assert_eq!(bundle["certificate"]["identity"], IDENTITY);
    let policy = case.policy(&signer("somebody@else.example"), "signed: ci");
    assert_eq!(
        case.told(&policy),
        [
            "signature bundle refused IDENTITY",
            "signature simple refused NOT_LOGGED"
        ]
    );
}

/// What is done to an order.
type Change<'a> = &'a dyn Fn(Order) -> Order;

/// Text in PEM.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The part of a trusted root that lies there, decoded.
fn part(root: &Value, pointer: &str) -> Vec<u8> {
    STANDARD
        .decode(root.pointer(pointer).unwrap().as_str().unwrap())
        .unwrap()
}

#[test]
fn an_identity_of_podmans_policy_is_imported_and_admits_no_more_than_there() {
    let case = Case::new();
    let sigstore = VirtualSigstore::new();
    let root = sigstore.trusted_root();
    let authorities = [0, 1].map(|at| {
        let certificate = format!("/certificateAuthorities/0/certChain/certificates/{at}/rawBytes");
        pem("CERTIFICATE", &part(&root, &certificate))
    });
    let log = pem("PUBLIC KEY", &part(&root, "/tlogs/0/publicKey/rawBytes"));
    fs::write(case.person.path("ca.pem"), authorities.concat()).unwrap();
    fs::write(
        case.person.path("ct.pub"),
        pem("PUBLIC KEY", &part(&root, "/ctlogs/0/publicKey/rawBytes")),
    )
    .unwrap();
    let host = case.registry.host();
    let written = |email: &str, identity: &str| {
        let fulcio = json!({ "caPath": case.person.path("ca.pem"), "oidcIssuer": ISSUER, "subjectEmail": email });
        let mut signed =
            json!({ "type": "sigstoreSigned", "fulcio": fulcio, "rekorPublicKeyData": STANDARD.encode(&log) });
        if !identity.is_empty() {
            signed["signedIdentity"] = json!({ "type": identity });
        }
        let docker = json!({ format!("{host}/team"): [signed] });
        let policy = json!({ "default": [{ "type": "reject" }], "transports": { "docker": docker } });
        fs::write(case.person.path("policy.json"), policy.to_string()).unwrap();
    };
    let import = |more: &[&str]| -> Value {
        let mut command = imgkit(&case.person.path(""));
        command.current_dir(case.person.path(""));
        command.args([
            "--output",
            "json",
            "policy",
            "import",
            "containers",
            "policy.json",
            "--out",
            "p.yml",
        ]);
        let (code, json) = answer(&command.args(more).output().unwrap());
        assert_eq!(code, 0, "{json}");
        json["result"].clone()
    };
    let kind = imgkit::attest::predicate::COSIGN_SIGN;
    let put = |image: &str, document: &Descriptor, named: Option<&str>, order: Change<'_>| {
        let statement = Statement::new(Subject::of(named.map(str::to_owned), &document.digest), kind, None);
        let signed = sigstore
            .sign(&order(Order::of(Content::Statement(statement.encode()))))
            .to_string();
        let new = NewBundle {
            media_type: bundle::MEDIA_TYPE,
            bytes: signed.as_bytes(),
            predicate_type: kind,
        };
        let now = Time::from_unix(SIGNED_AT + 60).unwrap();
        let repository = reference(image).repository().clone();
        client().attach_bundle(&repository, document, new, now).unwrap();
    };
    let judged = |image: &str| {
        let mut command = imgkit(&case.person.path(""));
        command.current_dir(case.person.path(""));
        command.args([
            "--output",
            "json",
            "policy",
            "verify",
            "--no-cache",
            "--policy",
            "p.yml",
            image,
        ]);
        let (code, json) = answer(&command.output().unwrap());
        (code, json["refusals"][0]["code"].as_str().unwrap_or("none").to_owned())
    };
    let refused = |code: &str| (1, code.to_owned());
    let push = |name: &str| case.person.push(&case.registry, name, name);

    // Without the log's key nothing of it is carried over.
    written(IDENTITY, "");
    let imported = import(&[]);
    assert!(
        imported["notCarriedOver"].to_string().contains("--ct-log-key"),
        "{imported}"
    );
    assert_eq!(imported["files"], json!({}));
    let (image, document) = push("team/a:1");
    put(&image, &document, Some(&image), &|order| order);
    assert_eq!(judged(&image), refused("DENIED"));

    let key = ["--ct-log-key", "ct.pub"];
    let imported = import(&key);
    assert!(
        imported["notCarriedOver"].to_string().contains("older form"),
        "{imported}"
    );
    assert_eq!(judged(&image), (0, "none".to_owned()));
    // The same image and signature under another name: podman wants the name, and so it is here.
    let elsewhere = format!("{host}/team/b:1");
    case.person.good(&["copy", &image, &elsewhere]);
    assert_eq!(judged(&elsewhere), refused("NAME"));
    let (unnamed, document) = push("team/unnamed:1");
    put(&unnamed, &document, None, &|order| order);
    assert_eq!(judged(&unnamed), refused("NAME"));
    // Somebody else, another issuer, a certificate that no log saw, another authority's.
    let somebody = |order: Order| Order {
        identity: vec![virtual_sigstore::email("somebody@else.example")],
        ..order
    };
    let issuer = |order: Order| Order {
        issuer: Some("https://other.example".to_owned()),
        ..order
    };
    let unseen = |order: Order| Order { sct: false, ..order };
    let orders: [(&str, Change<'_>, &str); 3] = [
        ("team/somebody:1", &somebody, "IDENTITY"),
        ("team/issuer:1", &issuer, "IDENTITY"),
        ("team/unseen:1", &unseen, "CERTIFICATE"),
    ];
    for (name, order, code) in orders {
        let (image, document) = push(name);
        put(&image, &document, Some(&image), order);
        assert_eq!(judged(&image), refused(code), "{name}");
    }
    written("somebody@else.example", "");
    import(&key);
    assert_eq!(judged(&image), refused("IDENTITY"));
    // Whatever the tag, where policy.json says so.
    let (other, document) = push("team/c:1");
    put(&other, &document, Some(&format!("{host}/team/c:2")), &|order| order);
    written(IDENTITY, "");
    import(&key);
    assert_eq!(judged(&other), refused("NAME"));
    written(IDENTITY, "matchRepository");
    import(&key);
    assert_eq!(judged(&other), (0, "none".to_owned()));
}

#[test]
fn where_no_rule_takes_anything_that_is_said() {
    let case = Case::new();
    case.sign("vendor", &["--form", "simple"]);
    let denied = case.policy(KEYS, "deny: nobody looks after it");
    assert_eq!(case.told(&denied), ["signature simple notAsked"]);
    let (_, json) = case.tree(&denied);
    assert_eq!(json["result"]["policy"]["demands"], "is denied: nobody looks after it");
    fs::write(&denied, "version: 1\nroots: {}\nrules: []\n").unwrap();
    let (code, json) = case.tree(&denied);
    let refusal = &json["result"]["policy"]["refusals"][0];
    assert_eq!((code, &refusal["code"]), (0, &json!("NO_RULE")), "{json}");
    assert_eq!(told_of(&pieces(&json)[0]), "signature simple notAsked");
}

#[test]
fn what_cannot_be_read_is_not_known_to_be_refused() {
    let case = Case::new();
    case.sign("vendor", &["--form", "simple"]);
    let policy = case.policy(KEYS, "signed: vendor");
    assert_eq!(case.told(&policy), ["signature simple taken"], "the untouched twin");
    let manifest = document(&beside(&case.name, &case.image, ".sig"));
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    fs::remove_file(case.registry.blob_file(layer.strip_prefix("sha256:").unwrap())).unwrap();
    let (code, json) = case.tree(&policy);
    assert_eq!(
        (code, told_of(&pieces(&json)[0]).as_str()),
        (3, "signature simple unknown"),
        "{json}"
    );
}

#[test]
fn a_policy_is_not_asked_beside_a_key() {
    let case = Case::new();
    let policy = case.policy(KEYS, "signed: vendor");
    let mut command = imgkit(&case.person.path(""));
    command.args([
        "sigstore",
        "tree",
        &case.name,
        "--policy",
        &policy,
        "--key",
        "vendor.pub",
    ]);
    assert_eq!(command.output().unwrap().status.code(), Some(2));
}

#[test]
fn people_read_what_the_policy_makes_of_each() {
    let registry = fixtures();
    let person = Person::new();
    for key in ["a.pub", "ck.pub"] {
        fs::copy(fixture(key), person.path(key)).unwrap();
    }
    let host = registry.host();
    let text = format!(
        "version: 1\nroots: {{}}\nsigners:\n  a: {{key: a.pub}}\n  ck: {{key: ck.pub}}\nrules:\n  - match: {host}/t/app*\n    \
         signed: a\n  - match: {host}/t/at1\n    signed: a\n    attested: {{type: slsaprovenance1, by: a, condition: 'has(predicate.x)'}}\n  \
         - match: {host}/t/at2\n    attested: {{type: slsaprovenance1, by: a}}\n"
    );
    fs::write(person.path("policy.yml"), text).unwrap();
    let mut shown = String::new();
    for image in ["app", "app3", "at1", "at2", "rs1"] {
        let mut command = imgkit(&person.path(""));
        command.current_dir(person.path(""));
        let name = format!("{host}/t/{image}:v1");
        command.args(["sigstore", "tree", &name, "--policy", "policy.yml"]);
        shown += &format!("$ imgkit sigstore tree HOST/t/{image}:v1 --policy policy.yml\n");
        shown += &succeed(&mut command).replace(host, "HOST");
    }
    insta::assert_snapshot!(shown);
}
