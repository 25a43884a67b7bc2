//! Components that keys and identities signed as cosign does: admitted by a policy, proved on the finished disk, refused for a reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod names;
#[path = "../common/virtual_sigstore.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod virtual_sigstore;

use std::fs;

use common::forge::Forge;
use common::images::{noise, put, reference};
use common::node::{Answer, NOW, Node};
use common::registry::DockerRegistry;
use common::sigstore::client;
use imgkit::attest::{PredicateType, Statement, Subject};
use imgkit::digest::Digest;
use imgkit::key::{Algorithm, SigningKey};
use imgkit::oci::Descriptor;
use imgkit::sigstore::envelope::{self, Envelope};
use imgkit::sigstore::{bundle, manifest};
use imgkit::store::layout::Layout;
use imgkit::store::registry::NewBundle;
use imgkit::time::Time;
use serde_json::{Value, json};
use virtual_sigstore::{Content, IDENTITY, ISSUER, Order, SIGNED_AT, VirtualSigstore};

/// A node whose service comes from a registry.
struct Case {
    node: Node,
    registry: DockerRegistry,
    /// The service's name.
    name: String,
    image: Descriptor,
}

/// Who may sign the service, and what is demanded.
const SIGNERS: &str = "signers:\n  vendor: {key: vendor.pub}\n  other: {key: other.pub}\n";

impl Case {
    /// Pushes the service and leaves it unsigned; its rule demands `requirement`.
    fn new(requirement: &str) -> Self {
        Self::with_signers(SIGNERS, requirement)
    }

    fn with_signers(signers: &str, requirement: &str) -> Self {
        let node = Node::new();
        let registry = DockerRegistry::start();
        let name = format!("{}/team/svc:v1", registry.host());
        let image = push(&node, &name, 5);
        node.edit("node.yml", "local.test/svc:v1", &name);
        let pattern = format!("  - match: {}/team/*\n    {requirement}\n", registry.host());
        node.edit("policy.yml", "rules:\n", &format!("{signers}rules:\n{pattern}"));
        for key in ["vendor", "other"] {
            node.good(&["sigstore", "generate-key-pair", "--output-key-prefix", key]);
        }
        Self {
            node,
            registry,
            name,
            image,
        }
    }

    fn sign(&self, key: &str, more: &[&str]) {
        let key = format!("{key}.key");
        let args = [&["sigstore", "sign", &self.name, "--key", &key][..], more].concat();
        self.node.good(&args);
    }

    fn attest(&self, predicate: &Value) {
        self.node.write("predicate.json", &predicate.to_string());
        let args = ["--type", "slsaprovenance1", "--predicate", "predicate.json"];
        let args = [&["sigstore", "attest", &self.name, "--key", "vendor.key"][..], &args].concat();
        self.node.good(&args);
    }

    fn build(&self, out: &str) -> Answer {
        let key = self.node.seal_key().display().to_string();
        let fixed = ["build", "--policy", "policy.yml", "--at", NOW, "--out", out];
        let args = [&fixed[..], &["--format", "raw-bios", "--seal-key", &key, "node.yml"]].concat();
        self.node.run(&args)
    }

    /// Tells whether a build took the image into its store.
    fn is_pulled(&self) -> bool {
        let store = Layout::open(self.node.path("store")).unwrap();
        store.document(&reference(&self.name)).unwrap().is_some()
    }

    fn built(&self, out: &str) {
        let answer = self.build(out);
        assert_eq!(answer.code, 0, "{}", answer.json);
    }

    /// The codes for which a build is refused.
    fn refused(&self) -> Vec<String> {
        let answer = self.build("refused");
        assert_eq!(answer.code, 1, "{}", answer.json);
        answer.codes().into_iter().map(str::to_owned).collect()
    }
}

fn push(node: &Node, name: &str, seed: u64) -> Descriptor {
    let layout = Layout::open_or_create(node.path("made")).unwrap();
    let image = put(&layout, "r.example/svc:v1", &[("bin/app", &noise(seed, 60_000))]);
    client()
        .push(&layout, &reference("r.example/svc:v1"), &reference(name), &())
        .unwrap();
    image
}

/// What a verification says of the service.
fn service(answer: &Answer) -> (&str, String) {
    assert_eq!(answer.code, 0, "{}", answer.json);
    let components = answer.json["result"]["components"].as_array().unwrap();
    let service = components
        .iter()
        .find(|component| component["reference"].as_str().unwrap().contains("/team/"))
        .unwrap();
    (service["state"].as_str().unwrap(), service["admitted"].to_string())
}

#[test]
fn a_component_that_a_key_signed_with_its_tree_is_proved_offline() {
    let case = Case::new("signed: vendor");
    case.node.edit(
        "policy.yml",
        "    signed: vendor",
        "    signed: vendor\n    proved: true",
    );
    case.sign("vendor", &[]);
    case.built("out");
    let Case { node, registry, .. } = case;
    drop(registry);
    let answer = node.verify_files("out/node-bios.img");
    let (state, admitted) = service(&answer);
    assert_eq!(state, "PROVED");
    assert!(admitted.contains("\"by\":\"attached\""), "{admitted}");
    // A summary names what it rests on: the seal, and what the seal keeps of the vendor's.
    node.good(&[
        "verify",
        "--policy",
        "policy.yml",
        "--vsa",
        "vsa.json",
        "out/node-bios.img",
    ]);
    let summary: Value = serde_json::from_slice(&fs::read(node.path("vsa.json")).unwrap()).unwrap();
    let rests_on = summary["predicate"]["inputAttestations"].as_array().unwrap();
    let names: Vec<_> = rests_on.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names[0], "seal");
    assert!(
        names.len() > 1 && names[1..].iter().all(|name| *name == "component"),
        "{names:?}"
    );
    let types = rests_on.iter().map(|one| one["mediaType"].as_str().unwrap());
    assert!(
        types
            .clone()
            .any(|kind| kind == "application/vnd.dev.cosign.simplesigning.v1+json"),
        "{rests_on:?}"
    );
    // Whoever pins another key does not take the disk.
    node.edit("policy.yml", "signed: vendor", "signed: other");
    let answer = node.verify_files("out/node-bios.img");
    assert_eq!((answer.code, answer.codes()), (1, vec!["WRONG_KEY"]));
}

#[test]
fn who_asks_no_registry_is_not_told_that_nobody_signed() {
    let case = Case::new("signed: vendor");
    let offline = || case.node.run(&Node::build_args("offline", &["--format", "tar"]));
    // The image is in the store from here on.
    assert_eq!(case.refused(), ["UNSIGNED"]);
    assert_eq!(offline().code, 3);
    case.sign("vendor", &["--no-tree"]);
    let answer = offline();
    assert_eq!(answer.code, 3, "{}", answer.json);
    case.built("out");
    let to = format!("oci:{}:{}", case.node.path("store").display(), case.name);
    case.node.good(&["sigstore", "copy", &case.name, &to]);
    assert_eq!(offline().code, 0, "{}", offline().json);
}

#[test]
fn what_nobody_or_somebody_else_signed_is_refused_and_told_apart() {
    let case = Case::new("signed: vendor");
    assert_eq!(case.refused(), ["UNSIGNED"]);
    assert!(!case.is_pulled(), "what is refused is not fetched");
    case.sign("other", &[]);
    assert_eq!(case.refused(), ["WRONG_KEY"]);
    case.sign("vendor", &[]);
    case.built("out");
    assert!(case.is_pulled());
    // Two signers are two keys.
    case.node.edit(
        "policy.yml",
        "signed: vendor",
        "signed: {by: [vendor, other], threshold: 2}",
    );
    case.built("both");
    fs::copy(case.node.path("vendor.pub"), case.node.path("other.pub")).unwrap();
    assert_eq!(case.refused(), ["THRESHOLD"]);
}

#[test]
fn a_signature_of_another_image_is_none_wherever_it_lies() {
    let case = Case::new("signed: vendor");
    case.sign("vendor", &["--form", "simple"]);
    let signature = format!(
        "{}:sha256-{}.sig",
        case.name.trim_end_matches(":v1"),
        case.image.digest.hex()
    );
    // Another image takes the name, and the signature is put beside it.
    case.node.good(&["cache", "rm", &case.name]);
    let other = push(&case.node, &case.name, 6);
    let (_, bytes) = client().document(&reference(&signature)).unwrap();
    let tag = format!("sha256-{}.sig", other.digest.hex());
    let repository = reference(&case.name).repository().clone();
    client()
        .put_document(&repository, Some(&tag), imgkit::oci::MANIFEST, &bytes)
        .unwrap();
    assert_eq!(case.refused(), ["DIGEST_MISMATCH"]);
}

#[test]
fn who_puts_nonsense_beside_an_image_denies_nobody_its_signature_and_is_told_of() {
    let case = Case::new("signed: vendor");
    let verify = || {
        case.node
            .run(&["policy", "verify", "--no-cache", "--policy", "policy.yml", &case.name])
    };
    let tag = imgkit::store::registry::tag_beside(&case.image.digest, ".sig");
    let list = json!({ "schemaVersion": 2, "mediaType": imgkit::oci::INDEX, "manifests": [] }).to_string();
    client()
        .put_document(
            reference(&case.name).repository(),
            Some(&tag),
            imgkit::oci::INDEX,
            list.as_bytes(),
        )
        .unwrap();
    let answer = verify();
    assert_eq!((answer.code, answer.codes()), (1, vec!["MALFORMED"]), "{}", answer.json);
    let found = answer.json["refusals"][0]["found"].as_str().unwrap();
    assert!(found.contains(&tag), "{found}");
    case.sign("vendor", &["--form", "bundle"]);
    assert_eq!(verify().code, 0);
    case.built("out");
    assert_eq!(service(&case.node.verify_files("out/node-bios.img")).0, "ASSERTED");
}

#[test]
fn a_registry_that_cannot_be_asked_says_nothing() {
    let case = Case::new("signed: vendor");
    case.sign("vendor", &[]);
    // The image is in the store; what is beside it is not.
    case.node.good(&["cache", "pull", &case.name]);
    let Case { node, registry, .. } = case;
    drop(registry);
    let args = [
        "build",
        "--policy",
        "policy.yml",
        "--at",
        NOW,
        "--out",
        "out",
        "node.yml",
    ];
    let answer = node.run(&args);
    assert_eq!(answer.code, 3, "{}", answer.json);
    assert!(!node.path("out/node.qcow2").exists());
}

#[test]
fn a_signed_digest_alone_is_asserted_until_the_tree_is_attested() {
    let case = Case::new("signed: vendor");
    case.sign("vendor", &["--no-tree"]);
    case.built("asserted");
    assert_eq!(service(&case.node.verify_files("asserted/node-bios.img")).0, "ASSERTED");
    case.node
        .edit("policy.yml", "signed: vendor", "signed: vendor\n    proved: true");
    assert_eq!(case.refused(), ["NOT_PROVED"]);
    let by_another = ["sigstore", "attest", &case.name, "--tree", "--key", "other.key"];
    case.node.good(&by_another);
    assert_eq!(case.refused(), ["NOT_PROVED"]);
    case.node
        .good(&["sigstore", "attest", &case.name, "--tree", "--key", "vendor.key"]);
    case.built("proved");
    assert_eq!(service(&case.node.verify_files("proved/node-bios.img")).0, "PROVED");
}

/// A provenance by a builder.
fn provenance(builder: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "urn:example:build", "externalParameters": { "ref": "refs/tags/v1" }, "internalParameters": {},
            "resolvedDependencies": [],
        },
        "runDetails": { "builder": { "id": builder }, "metadata": {}, "byproducts": [] },
    })
}

#[test]
fn an_attestation_has_to_say_what_the_policy_demands() {
    let condition = "predicate.runDetails.builder.id == 'urn:good' && image.tag == 'v1'";
    let attested = format!("attested: {{type: slsaprovenance1, by: vendor, condition: \"{condition}\"}}");
    let case = Case::new(&attested);
    assert_eq!(case.refused(), ["UNSIGNED"]);
    case.attest(&provenance("urn:bad"));
    assert_eq!(case.refused(), ["CONDITION"]);
    case.attest(&provenance("urn:good"));
    case.built("out");
    assert_eq!(service(&case.node.verify_files("out/node-bios.img")).0, "ASSERTED");
    // The same disk by a policy that wants another builder: what is sealed does not say so.
    case.node.edit("policy.yml", "urn:good", "urn:better");
    let answer = case.node.verify_files("out/node-bios.img");
    assert_eq!((answer.code, answer.codes()), (1, vec!["CONDITION"]));
}

#[test]
fn a_statement_names_an_image_only_as_the_subject_that_it_is() {
    let signers = "signers:\n  vendor: {key: vendor.pub, names: tag}\n";
    let case = Case::with_signers(signers, "attested: {type: slsaprovenance1, by: vendor}");
    let key = SigningKey::generate_as(Algorithm::P256).unwrap();
    fs::write(case.node.path("vendor.pub"), key.public().to_pem().unwrap()).unwrap();
    let repository = reference(&case.name).repository().clone();
    let attest = |another: &str, image: &str| {
        let digest = Digest::sha256(b"another image");
        let subjects = [(another, &digest), (image, &case.image.digest)];
        let subjects = subjects.map(|(name, digest)| Subject::of(Some(name.to_owned()), digest));
        let kind: PredicateType = "slsaprovenance1".parse().unwrap();
        let statement = Statement::about(subjects.to_vec(), kind.uri(), provenance("urn:good"));
        let signed = Envelope::sign(&statement, &key).unwrap().to_value().to_string();
        let annotations = [(manifest::PREDICATE_TYPE, kind.uri())];
        let layer = manifest::layer(envelope::MEDIA_TYPE, signed.as_bytes(), &annotations);
        let put = client().attach_layer(&repository, &case.image.digest, ".att", &layer, signed.as_bytes());
        put.unwrap();
    };
    let elsewhere = case.name.replace("/svc:", "/elsewhere:");
    attest(&case.name, &elsewhere);
    assert_eq!(case.refused(), ["NAME"]);
    attest(&elsewhere, &case.name);
    case.built("out");
}

#[test]
fn whoever_holds_the_seal_key_cannot_make_up_what_others_signed() {
    let case = Case::new("signed: vendor");
    case.sign("vendor", &["--form", "simple"]);
    case.built("out");
    let node = &case.node;
    let disk = fs::read(node.path("out/node-bios.img")).unwrap();
    let forge = Forge::of(&disk, &node.extents("out/node-bios.img"));
    let key = node.opened_seal_key();
    let attached = forge.documents.keys().find(|name| name.starts_with("attached/"));
    let attached = attached.unwrap().clone();
    let reseal = |change: &dyn Fn(&mut Forge)| {
        let mut forge = forge.clone();
        change(&mut forge);
        fs::write(node.path("out/forged.img"), forge.seal(&key)).unwrap();
        let answer = node.verify_files("out/forged.img");
        (
            answer.code,
            answer.codes().into_iter().map(str::to_owned).collect::<Vec<_>>(),
        )
    };
    assert_eq!(reseal(&|_| {}).0, 0, "the untouched twin");
    let gone = reseal(&|forge| drop(forge.documents.remove(&attached)));
    assert_eq!(gone, (1, vec!["UNSIGNED".to_owned()]));
    let edited = |from: &str, to: &str| {
        reseal(&|forge| {
            let text = String::from_utf8(forge.documents[&attached].clone()).unwrap();
            assert!(text.contains(from), "{text}");
            forge
                .documents
                .insert(attached.clone(), text.replacen(from, to, 1).into_bytes());
        })
    };
    assert_eq!(edited("\"bytes\":\"", "\"bytes\":\"IA").1, ["MALFORMED"]);
    assert_eq!(edited("[{", "[ {").1, ["MALFORMED"]);
    assert_eq!(
        edited("\"signature\":\"ME", "\"signature\":\"MF"),
        (1, vec!["WRONG_KEY".to_owned()])
    );
}

#[test]
fn whoever_puts_copies_of_a_signature_beside_it_changes_nothing_that_is_sealed() {
    let case = Case::new("signed: vendor");
    case.sign("vendor", &["--form", "bundle", "--no-tree"]);
    let node = &case.node;
    let sealed = |out: &str| {
        case.built(out);
        let disk = format!("{out}/node-bios.img");
        let forge = Forge::of(&fs::read(node.path(&disk)).unwrap(), &node.extents(&disk));
        let mut documents = forge.documents.into_iter();
        documents.find(|(name, _)| name.starts_with("attached/")).unwrap()
    };
    let first = sealed("first");
    let name = reference(&case.name);
    let wanted = imgkit::sigstore::attachment::Wanted::Signature;
    let there = imgkit::store::attached::pieces(&client(), name.repository(), &case.image.digest, wanted).unwrap();
    let good = there[0].bytes.clone().unwrap();
    for spaces in 1..=3 {
        let padded = [good.clone(), vec![b' '; spaces << 20]].concat();
        let copy = NewBundle {
            media_type: bundle::MEDIA_TYPE,
            bytes: &padded,
            predicate_type: imgkit::attest::predicate::COSIGN_SIGN,
        };
        client()
            .attach_bundle(name.repository(), &case.image, copy, Time::EPOCH)
            .unwrap();
    }
    assert_eq!(sealed("again"), first);
    assert_eq!(service(&node.verify_files("again/node-bios.img")).0, "ASSERTED");
    // An older seal may hold several.
    let disk = fs::read(node.path("again/node-bios.img")).unwrap();
    let mut forge = Forge::of(&disk, &node.extents("again/node-bios.img"));
    let all = imgkit::store::attached::pieces(&client(), name.repository(), &case.image.digest, wanted).unwrap();
    assert_eq!(all.len(), 4);
    let several = imgkit::sigstore::kept::write(&all);
    forge.documents.insert(first.0, several);
    fs::write(node.path("older.img"), forge.seal(&node.opened_seal_key())).unwrap();
    let answer = node.verify_files("older.img");
    assert_eq!(answer.code, 0, "{}", answer.json);
}

#[test]
fn an_identity_admits_by_a_bundle_that_its_log_has() {
    let sigstore = VirtualSigstore::new();
    let signers = format!("signers:\n  ci: {{identity: '{IDENTITY}', issuer: '{ISSUER}', trustedRoot: root.json}}\n");
    let case = Case::with_signers(&signers, "signed: ci");
    case.node.write("trusted.json", &sigstore.trusted_root().to_string());
    case.node
        .edit("policy.yml", "trustedRoot: root.json", "trustedRoot: trusted.json");
    assert_eq!(case.refused(), ["UNSIGNED"]);
    let kind = imgkit::attest::predicate::COSIGN_SIGN;
    let statement = Statement::new(Subject::of(None, &case.image.digest), kind, None);
    let bundle = sigstore
        .sign(&Order::of(Content::Statement(statement.encode())))
        .to_string();
    let new = NewBundle {
        media_type: bundle::MEDIA_TYPE,
        bytes: bundle.as_bytes(),
        predicate_type: kind,
    };
    let name = reference(&case.name);
    let now = Time::from_unix(SIGNED_AT + 60).unwrap();
    client()
        .attach_bundle(name.repository(), &case.image, new, now)
        .unwrap();
    case.built("out");
    let (state, admitted) = {
        let answer = case.node.verify_files("out/node-bios.img");
        let (state, admitted) = service(&answer);
        (state.to_owned(), admitted)
    };
    assert_eq!(state, "ASSERTED");
    assert!(admitted.contains(IDENTITY), "{admitted}");
    for (from, to, code) in [
        (ISSUER, "https://other.example", "IDENTITY"),
        (IDENTITY, "somebody@else.example", "IDENTITY"),
    ] {
        case.node.edit("policy.yml", from, to);
        let answer = case.node.verify_files("out/node-bios.img");
        assert_eq!((answer.code, answer.codes()), (1, vec![code]), "{}", answer.json);
        case.node.edit("policy.yml", to, from);
    }
    case.node
        .write("trusted.json", &VirtualSigstore::new().trusted_root().to_string());
    let answer = case.node.verify_files("out/node-bios.img");
    assert_eq!(
        (answer.code, answer.codes()),
        (1, vec!["NOT_LOGGED"]),
        "{}",
        answer.json
    );
}

#[test]
fn a_tag_is_a_version_where_a_signer_vouches_for_it_and_a_disk_is_judged_alike() {
    let signers = format!("{SIGNERS}  tagged: {{key: vendor.pub, names: tag}}\n");
    let case = Case::with_signers(&signers, "signed: tagged\n    minVersion: v1");
    case.sign("vendor", &[]);
    case.built("out");
    assert_eq!(service(&case.node.verify_files("out/node-bios.img")).0, "PROVED");
    // The same signature by a signer of whom no name is wanted: nobody vouches for the tag.
    case.node.edit("policy.yml", "    signed: tagged", "    signed: vendor");
    assert_eq!(case.refused(), ["VERSION"]);
    let sealed = case.node.verify_files("out/node-bios.img");
    assert_eq!((sealed.code, sealed.codes()), (1, vec!["VERSION"]), "{}", sealed.json);
    let refusal = &sealed.json["refusals"][0];
    assert_eq!(refusal["demanded"]["requirement"], "version v1 or later", "{refusal}");
    assert!(
        refusal["found"].as_str().unwrap().contains("its tag says `v1`"),
        "{refusal}"
    );
    assert!(
        refusal["advice"].as_str().unwrap().contains("with the label"),
        "{refusal}"
    );
    let explained = case
        .node
        .run(&["policy", "explain", "--policy", "policy.yml", "out/node-bios.img"]);
    assert_eq!(explained.code, 1);
    assert_eq!(
        explained.codes(),
        ["VERSION", "VERSION"],
        "the image, and the component: {}",
        explained.json
    );
    let check = case.node.run(&["policy", "check", "policy.yml"]).json;
    let findings = check["result"]["findings"].as_array().unwrap();
    let found = findings.iter().filter(|finding| finding["kind"] == "versionByLabel");
    assert_eq!(found.count(), 1, "{check}");
}

const ON_TRIAL: &str = "\
version: 1
roots: {}
signers:
  vendor: {key: vendor.pub}
  tagger: {key: tagger.pub, names: tag}
  ci: {identityRegExp: 'https://forge.example/acme/.*', issuer: https://forge.example}
rules:
  - match: r.example/apps/*
    signed: vendor
    attested: {type: slsaprovenance1, by: ci, condition: predicate.level >= 3}
  - match: r.example/tools/*
    signed: vendor
    maxAge: 90d
    minVersion: v2
  - match: r.example/plain/*
    signed: vendor
  - match: r.example/tagged/*
    signed: tagger
    minVersion: v2
";

const CASES: &str = "\
version: 1
policy: policy.yml
cases:
  - name: signed and attested
    component: r.example/apps/a:v1
    signed: [vendor]
    attested: [{by: ci, type: slsaprovenance1, predicate: {level: 3}}]
    expect: admitted
  - name: attested at too low a level
    component: r.example/apps/a:v1
    signed: [vendor]
    attested: [{by: ci, type: slsaprovenance1, predicate: {level: 2}}]
    expect: CONDITION
  - name: attested by another than has to
    component: r.example/apps/a:v1
    signed: [vendor]
    attested: [{by: vendor, type: slsaprovenance1, predicate: {level: 3}}]
    expect: WRONG_KEY
  - name: not attested
    component: r.example/apps/a:v1
    signed: [vendor]
    expect: UNSIGNED
  - name: not signed
    component: r.example/apps/a:v1
    attested: [{by: ci, type: slsaprovenance1, predicate: {level: 3}}]
    expect: UNSIGNED
  - name: another image was signed
    component: r.example/plain/a:v1
    signed: [vendor]
    fault: otherImage
    expect: DIGEST_MISMATCH
  - name: a version that the label says
    component: r.example/tools/a:v1
    signed: [vendor]
    imageVersion: v2.1
    expect: admitted
  - name: a version that nobody vouches for
    component: r.example/tools/a:v3
    signed: [vendor]
    expect: VERSION
  - name: a version that the signer vouches for
    component: r.example/tagged/a:v3
    signed: [tagger]
    expect: admitted
  - name: too old a version that the signer vouches for
    component: r.example/tagged/a:v1
    signed: [tagger]
    expect: VERSION
";

#[test]
fn policies_of_keys_and_identities_are_tested_and_proved() {
    let node = Node::new();
    node.write("policy.yml", ON_TRIAL);
    node.write("cases.yml", CASES);
    let outcomes = node.good(&["policy", "test", "cases.yml"]);
    assert_eq!(outcomes["files"][0]["outcomes"].as_array().unwrap().len(), 10);
    let proof = node.good(&["policy", "prove", "policy.yml"]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&proof["proofs"]).unwrap());
}

#[test]
fn a_trial_counts_a_key_under_two_names_as_the_gate_does() {
    let signers = "signers:\n  vendor: {key: vendor.pub}\n  second: {key: second.pub}\n";
    let case = Case::with_signers(signers, "signed: {by: [vendor, second], threshold: 2}");
    let node = &case.node;
    let tried = |expect: &str| {
        let case = format!(
            "{{name: both, component: '{}', signed: [vendor, second], expect: {expect}}}",
            case.name
        );
        node.write(
            "cases.yml",
            &format!("version: 1\npolicy: policy.yml\ncases: [{case}]\n"),
        );
        node.run(&["policy", "test", "cases.yml"]).code
    };
    let proved = || {
        let answer = node.run(&["policy", "prove", "policy.yml"]);
        let twin = &answer.json["result"]["proofs"][0]["trials"][0];
        assert_eq!(twin["image"], "well signed", "{}", answer.json);
        (answer.code, twin["found"].as_str().unwrap().to_owned())
    };
    // The same key, in a file of other bytes.
    let vendor = fs::read_to_string(node.path("vendor.pub")).unwrap();
    node.write("second.pub", &vendor.replace('\n', "\r\n"));
    case.sign("vendor", &[]);
    assert_eq!(case.refused(), ["THRESHOLD"]);
    assert_eq!(tried("THRESHOLD"), 0);
    assert_eq!(tried("admitted"), 1);
    assert_eq!(proved(), (1, "THRESHOLD".to_owned()));
    let same_keys = || {
        let answer = node.run(&["policy", "check", "policy.yml"]);
        let findings = answer.json["result"]["findings"].as_array().unwrap().clone();
        let same = findings.iter().filter(|finding| finding["kind"] == "sameKey").count();
        (answer.code, same)
    };
    assert_eq!(same_keys(), (1, 1));
    let other = fs::read_to_string(node.path("other.pub")).unwrap();
    node.write("second.pub", &other);
    case.sign("other", &[]);
    case.built("both");
    assert_eq!(same_keys().1, 0);
    assert_eq!(tried("admitted"), 0);
    assert_eq!(proved(), (0, "admitted".to_owned()));
    // A file that is there is read, and has to be a key.
    node.write("second.pub", "no key");
    assert_eq!(tried("admitted"), 2);
}

#[test]
fn what_is_refused_by_its_name_or_digest_is_explained_without_being_fetched() {
    let listed = "digestIn: ['sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']";
    let case = Case::new(listed);
    let explain = |name: &str| {
        let args = ["policy", "explain", "--policy", "policy.yml", "--at", NOW, name];
        let answer = case.node.run(&args);
        assert_eq!(answer.code, 1, "{}", answer.json);
        answer.codes().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let demand = |from: &str, to: &str| case.node.edit("policy.yml", from, to);
    assert_eq!(explain(&case.name), ["DIGEST_MISMATCH"]);
    demand(listed, "signed: vendor");
    assert_eq!(explain(&case.name), ["UNSIGNED"]);
    let other = case.name.replace("/team/", "/elsewhere/");
    assert_eq!(explain(&other), ["NO_RULE"]);
    let pattern = format!("{}/team/svc", case.registry.host());
    demand(
        "rules:\n",
        &format!("forbid: [{{match: '{pattern}', reason: no}}]\nrules:\n"),
    );
    assert_eq!(explain(&case.name), ["DENIED"]);
    assert!(!case.is_pulled());
    // What only the image says is looked at, to be told with the rest.
    demand(&format!("match: '{pattern}'"), "match: r.example/x");
    demand("signed: vendor", "signed: vendor\n    minVersion: v1");
    assert_eq!(explain(&case.name), ["UNSIGNED"]);
    assert!(case.is_pulled());
}
