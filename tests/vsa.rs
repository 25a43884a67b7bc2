//! Verification summaries: what they say of good and of refused images, and who can read them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::node::{Answer, Node, flip};
use common::registry::DockerRegistry;
use common::sigstore::Person;
use common::{python, succeed};
use imgkit::attest::Statement;
use imgkit::digest::Digest;
use serde_json::{Value, json};

const TYPE: &str = "https://slsa.dev/verification_summary/v1";

/// Verifies an image with a summary in `vsa.json`.
fn verify(node: &Node, image: &str, more: &[&str]) -> Answer {
    let fixed = ["verify", "--policy", "policy.yml", "--vsa", "vsa.json"];
    node.run(&[&fixed, more, &[image]].concat())
}

fn read(node: &Node, name: &str) -> Value {
    serde_json::from_slice(&fs::read(node.path(name)).unwrap()).unwrap()
}

fn sha256(node: &Node, name: &str) -> String {
    Digest::sha256(&fs::read(node.path(name)).unwrap()).hex()
}

/// Makes a key with openssl: `NAME.pem` and `NAME.pub`.
fn key(node: &Node, name: &str) {
    let (private, public) = (node.path(&format!("{name}.pem")), node.path(&format!("{name}.pub")));
    let curve = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
    ];
    succeed(Command::new("openssl").args(curve).arg(&private));
    let mut public_half = Command::new("openssl");
    succeed(
        public_half
            .args(["pkey", "-pubout", "-in"])
            .arg(&private)
            .arg("-out")
            .arg(&public),
    );
}

#[test]
fn a_good_image_is_named_by_its_content_and_its_file() {
    let node = Node::new();
    node.build_sealed("out");
    let answer = verify(&node, "out/node.qcow2", &["--files"]);
    assert_eq!(answer.code, 0, "{}", answer.json);
    let summary = &answer.json["result"]["summary"];
    assert_eq!(summary["path"], "vsa.json");
    assert_eq!(summary["key"], Value::Null);

    let statement = read(&node, "vsa.json");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], TYPE);
    let content = &answer.json["result"]["signed"]["subject"][0];
    assert!(content["digest"]["imgkitContentV1"].is_string(), "{content}");
    let file = json!({ "name": "node.qcow2", "digest": { "sha256": sha256(&node, "out/node.qcow2") } });
    assert_eq!(statement["subject"], json!([content, file]));

    let predicate = &statement["predicate"];
    assert_eq!(predicate["verificationResult"], "PASSED");
    assert_eq!(
        predicate["verifiedLevels"],
        json!(["SLSA_BUILD_LEVEL_0", "IMGKIT_COMPONENTS_PROVED"])
    );
    assert_eq!(predicate["verifier"]["id"], "urn:imgkit:verifier:local");
    assert_eq!(predicate["resourceUri"], "pkg:generic/node@0?arch=amd64");
    assert_eq!(predicate["policy"]["uri"], "urn:imgkit:policy:policy.yml");
    assert_eq!(predicate["policy"]["digest"]["sha256"], sha256(&node, "policy.yml"));
    assert_eq!(predicate["timeVerified"], answer.json["result"]["times"]["ageAt"]);
    node.good(&["show", "out/node.qcow2", "--seal-to", "seal"]);
    let seal = &predicate["inputAttestations"];
    assert_eq!(seal[0]["digest"]["sha256"], sha256(&node, "seal/seal.dsse.json"));
    assert_eq!(seal.as_array().unwrap().len(), 1);

    // One content in three forms; the files of a set are its subjects.
    verify(&node, "out/node-bios.img", &[]);
    assert_eq!(&read(&node, "vsa.json")["subject"][0], content);
    verify(&node, "out/node.seal", &[]);
    let set = read(&node, "vsa.json")["subject"].take();
    let names: Vec<_> = set
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["node-kernel", "node-initrd.img", "node-cmdline"]);
    for name in names {
        let digest = sha256(&node, &format!("out/{name}"));
        assert!(set.to_string().contains(&digest), "{name}");
    }
}

#[test]
fn what_the_summary_names_can_be_chosen_and_text_says_where_it_is() {
    let node = Node::new();
    node.build_sealed("out");
    let text = node.text(&[
        "verify",
        "--policy",
        "policy.yml",
        "--vsa",
        "vsa.json",
        "--vsa-verifier-id",
        "https://example.com/gate",
        "--vsa-resource",
        "https://example.com/node.qcow2",
        "--vsa-policy",
        "https://example.com/policy.yml",
        "out/node.qcow2",
    ]);
    let line = text.lines().last().unwrap();
    assert_eq!(
        line,
        "  summary of https://example.com/node.qcow2 in vsa.json, not signed"
    );
    let predicate = read(&node, "vsa.json")["predicate"].take();
    assert_eq!(predicate["verifier"]["id"], "https://example.com/gate");
    assert_eq!(predicate["resourceUri"], "https://example.com/node.qcow2");
    assert_eq!(predicate["policy"]["uri"], "https://example.com/policy.yml");
    // Usage, before anything is done.
    for wrong in [
        ["--vsa-resource", "node.qcow2"],
        ["--vsa-verifier-id", "a b"],
        ["--vsa-key", "generate:p256"],
    ] {
        assert_eq!(verify(&node, "out/node.qcow2", &wrong).code, 2, "{wrong:?}");
    }
    let alone = [
        "verify",
        "--policy",
        "policy.yml",
        "--vsa-key",
        "k.pem",
        "out/node.qcow2",
    ];
    assert_eq!(node.run(&alone).code, 2);
}

#[test]
fn a_refused_image_is_named_by_its_own_bytes_and_not_by_the_seal_it_carries() {
    let node = Node::new();
    node.build_sealed("out");
    let good = verify(&node, "out/node-bios.img", &[]);
    let content = good.json["result"]["signed"]["subject"][0]["digest"]["imgkitContentV1"]
        .as_str()
        .unwrap();
    flip(&node.path("out/node-bios.img"), 1_100_000, 1);
    let refused = verify(
        &node,
        "out/node-bios.img",
        &["--vsa-resource", "https://example.com/node"],
    );
    assert_eq!((refused.code, refused.codes()), (1, vec!["BYTES_MISMATCH"]));
    let statement = read(&node, "vsa.json");
    let file = json!({ "name": "node-bios.img", "digest": { "sha256": sha256(&node, "out/node-bios.img") } });
    assert_eq!(statement["subject"], json!([file]));
    assert!(!statement.to_string().contains(content));
    let predicate = &statement["predicate"];
    assert_eq!(predicate["verificationResult"], "FAILED");
    assert_eq!(predicate["verifiedLevels"], json!(["FAILED"]));
    assert_eq!(predicate["resourceUri"], "https://example.com/node");
    assert_eq!(predicate["inputAttestations"].as_array().unwrap().len(), 1);

    // One that is no disk of ours at all, a container that hides something, a set with a file too many.
    node.write("other.img", &"x".repeat(1 << 21));
    assert_eq!(verify(&node, "other.img", &[]).code, 1);
    let predicate = read(&node, "vsa.json")["predicate"].take();
    assert_eq!(predicate["inputAttestations"], Value::Null);
    assert_eq!(predicate["resourceUri"], "pkg:generic/other.img");
    flip(&node.path("out/node.qcow2"), 105, 1);
    assert_eq!(verify(&node, "out/node.qcow2", &[]).code, 1);
    assert_eq!(
        read(&node, "vsa.json")["subject"][0]["digest"]["sha256"],
        sha256(&node, "out/node.qcow2")
    );
    node.write("out/node-ucode.cpio", "more");
    assert_eq!(verify(&node, "out/node.seal", &[]).code, 1);
    let set = read(&node, "vsa.json")["subject"].take();
    let names: Vec<_> = set
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "node.seal",
            "node-cmdline",
            "node-initrd.img",
            "node-kernel",
            "node-ucode.cpio"
        ]
    );
}

#[test]
fn nothing_is_written_where_it_could_not_be_found_out_or_the_input_is_wrong() {
    let node = Node::new();
    node.build_sealed("out");
    node.write("vsa.json", "as it was");
    assert_eq!(verify(&node, "out/absent.img", &[]).code, 3);
    // The clock is right and the collection is away: today's metadata cannot be had.
    let fresh = ["--fresh", "--trust-dir", "nowhere"];
    assert_eq!(verify(&node, "out/node.qcow2", &fresh).code, 3);
    node.edit("policy.yml", "version: 1", "version: 9");
    assert_eq!(verify(&node, "out/node.qcow2", &[]).code, 2);
    assert_eq!(fs::read_to_string(node.path("vsa.json")).unwrap(), "as it was");
    // A place that cannot be written: a good image's answer is lost (3), a refusal stays one.
    node.edit("policy.yml", "version: 9", "version: 1");
    let elsewhere = [
        "verify",
        "--policy",
        "policy.yml",
        "--vsa",
        "nowhere/vsa.json",
        "out/node.qcow2",
    ];
    assert_eq!(node.run(&elsewhere).code, 3);
    flip(&node.path("out/node.qcow2"), 700_000, 1);
    assert_eq!(node.run(&elsewhere).code, 1);
}

#[test]
fn a_signed_summary_is_read_by_openssl_and_by_verify_blob() {
    let node = Node::new();
    node.build_sealed("out");
    key(&node, "gate");
    key(&node, "other");
    let signed = verify(&node, "out/node.qcow2", &["--vsa-key", "gate.pem"]);
    assert_eq!(signed.code, 0, "{}", signed.json);
    assert!(
        signed.json["result"]["summary"]["key"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    let envelope = read(&node, "vsa.json");
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let payload = decode(&envelope["payload"]);
    let statement = Statement::parse(&payload).unwrap();
    assert_eq!(statement.predicate().unwrap()["verificationResult"], "PASSED");

    // DSSE's pre-authentication encoding, written out.
    let head = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len());
    fs::write(node.path("pae"), [head.as_bytes(), &payload].concat()).unwrap();
    fs::write(node.path("sig"), decode(&envelope["signatures"][0]["sig"])).unwrap();
    let takes = || {
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256", "-verify", "gate.pub", "-signature", "sig", "pae"]);
        openssl.current_dir(node.path("")).output().unwrap().status.success()
    };
    assert!(takes());
    flip(&node.path("pae"), 100, 0);
    assert!(!takes());

    let blob = |key: &str, file: &str, more: &[&str]| {
        let fixed = ["sigstore", "verify-blob", "--attestation", "vsa.json", "--key", key];
        node.run(&[&fixed, more, &[file]].concat())
    };
    let read = blob("gate.pub", "out/node.qcow2", &["--type", "vsa"]);
    assert_eq!(read.code, 0, "{}", read.json);
    assert_eq!(
        read.json["result"]["signed"]["predicate"]["verificationResult"],
        "PASSED"
    );
    assert_eq!(blob("other.pub", "out/node.qcow2", &[]).codes(), ["WRONG_KEY"]);
    assert_eq!(blob("gate.pub", "out/node-bios.img", &[]).codes(), ["DIGEST_MISMATCH"]);
    assert_eq!(
        blob("gate.pub", "out/node.qcow2", &["--type", "spdx"]).codes(),
        ["UNSIGNED"]
    );
}

#[test]
fn attest_attaches_a_summary_to_an_image() {
    let node = Node::new();
    node.build_sealed("out");
    verify(&node, "out/node.qcow2", &[]);
    let person = Person::new();
    let registry = DockerRegistry::start();
    let (image, _) = person.push(&registry, "node/disk:v1", "content");
    let (private, public) = person.key("gate");
    let predicate = read(&node, "vsa.json")["predicate"].take();
    let path = person.path("predicate.json");
    fs::write(&path, predicate.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let attest = [
        "attest",
        "--key",
        &private,
        "--type",
        "vsa",
        "--predicate",
        path,
        &image,
    ];
    person.good(&attest);
    let found = person.good(&["verify", "--key", &public, "--type", "vsa", &image]);
    assert_eq!(found["signatures"][0]["signed"]["predicate"], predicate);
    fs::write(path, predicate.to_string().replace("PASSED", "PERHAPS")).unwrap();
    assert_eq!(person.run(&attest).0, 2);
}

/// The binding of VSA predicates in the library cannot read one that is right (it takes `verifiedLevels` for a text, as its .proto
/// does), so the library judges the statement and the parts that are resource descriptors.
#[test]
fn the_in_toto_library_takes_the_statement_and_its_descriptors() {
    let node = Node::new();
    node.build_sealed("out");
    verify(&node, "out/node.qcow2", &[]);
    let python = python("in-toto-attestation", &["in-toto-attestation==0.9.3"]);
    let script = "\
import json, sys
import google.protobuf.json_format as pb
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
import in_toto_attestation.v1.statement_pb2 as spb
import in_toto_attestation.v1.resource_descriptor_pb2 as rpb
raw = json.load(open(sys.argv[1]))
Statement.copy_from_pb(pb.ParseDict(raw, spb.Statement())).validate()
for descriptor in [raw['predicate']['policy'], *raw['predicate']['inputAttestations']]:
    ResourceDescriptor.copy_from_pb(pb.ParseDict(descriptor, rpb.ResourceDescriptor())).validate()";
    let takes = |name: &str| {
        let output = Command::new(&python)
            .args(["-c", script])
            .arg(node.path(name))
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (good, said) = takes("vsa.json");
    assert!(good, "{said}");
    let text = fs::read_to_string(node.path("vsa.json")).unwrap();
    for (from, to) in [("\"digest\":", "\"digests\":"), ("Statement/v1", "Statement/v9")] {
        node.write("broken.json", &text.replace(from, to));
        assert!(!takes("broken.json").0, "{to}");
    }
}
