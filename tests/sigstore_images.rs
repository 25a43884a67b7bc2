//! Signatures and attestations beside images: what real cosign and skopeo wrote, and what imgkit writes, in a real registry.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::home::answer;
use common::images::{self, reference};
use common::registry::{DockerRegistry, skopeo};
use common::{imgkit, succeed};
use imgkit::digest::Digest;
use imgkit::oci::Descriptor;
use imgkit::store::attached::Beside;
use imgkit::store::layout::Layout;
use imgkit::store::registry::{Credentials, Registry};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The image of the fixtures.
const IMAGE: &str = "sha256-00c3ff7895530356ba3ad7c58540e29b318da6e67527c8bc63914723119f202a";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/cosign")
        .join(name)
}

fn fixtures() -> DockerRegistry {
    DockerRegistry::with_data(&fixture("registry-data.tgz"))
}

/// Somebody who signs and verifies.
struct Person {
    home: TempDir,
}

impl Person {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Makes a key with openssl: `NAME.pem` and `NAME.pub`.
    fn key(&self, name: &str) -> (String, String) {
        let (private, public) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.pub")));
        let mut make = Command::new("openssl");
        make.args([
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
        ]);
        succeed(make.arg(&private));
        succeed(
            Command::new("openssl")
                .args(["pkey", "-pubout", "-in"])
                .arg(&private)
                .arg("-out")
                .arg(&public),
        );
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        (text(&private), text(&public))
    }

    /// Runs `imgkit --output json sigstore ARGS`.
    fn run(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = imgkit(self.home.path());
        command.args(["--output", "json", "sigstore"]).args(arguments);
        answer(&command.env("IMGKIT_PASSPHRASE", "secret").output().unwrap())
    }

    fn good(&self, arguments: &[&str]) -> Value {
        let (code, json) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {json}");
        json["result"].clone()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let (code, json) = self.run(arguments);
        assert_eq!(code, 1, "{arguments:?}: {json}");
        json["refusals"][0]["code"].as_str().unwrap().to_owned()
    }

    /// Pushes an image with one file to a registry.
    fn push(&self, registry: &DockerRegistry, name: &str, content: &str) -> (String, Descriptor) {
        let layout = Layout::open_or_create(self.path("made")).unwrap();
        let made = images::put(&layout, "r.example/a:1", &[("bin/x", content.as_bytes())]);
        let name = format!("{}/{name}", registry.host());
        client()
            .push(&layout, &reference("r.example/a:1"), &reference(&name), &())
            .unwrap();
        (name, made)
    }
}

fn client() -> Registry {
    Registry::new(Credentials::default()).unwrap()
}

fn document(name: &str) -> Value {
    serde_json::from_slice(&client().document(&reference(name)).unwrap().1).unwrap()
}

fn blob(repository: &str, described: &Value) -> Vec<u8> {
    let descriptor: Descriptor = serde_json::from_value(described.clone()).unwrap();
    client().blob(reference(repository).repository(), &descriptor).unwrap()
}

fn blob_json(repository: &str, described: &Value) -> Value {
    serde_json::from_slice(&blob(repository, described)).unwrap()
}

fn repository(name: &str) -> &str {
    name.rsplit_once(':').unwrap().0
}

/// The tag beside an image.
fn beside(name: &str, made: &Descriptor, suffix: &str) -> String {
    format!("{}:sha256-{}{suffix}", repository(name), made.digest.hex())
}

/// Replaces what differs from one image and signer to another, so that two documents can be compared in their form.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Number(_) => json!(0),
        Value::String(text) if text.starts_with("sha256:") => json!("digest"),
        Value::String(text) if text.len() > 64 && STANDARD.decode(text).is_ok() => json!("base64"),
        Value::String(text) if text.starts_with("20") && text.ends_with('Z') => json!("time"),
        other => other.clone(),
    }
}

#[test]
fn every_row_of_the_fixtures_holds() {
    let registry = fixtures();
    let person = Person::new();
    let key = |name: &str| fixture(name).to_str().unwrap().to_owned();
    let (a, ck, b) = (key("a.pub"), key("ck.pub"), key("b.pub"));
    let name = |repository: &str| format!("{}/t/{repository}:v1", registry.host());
    let provenance = ["--type", "slsaprovenance1"];
    for (repository, key, form) in [
        ("app", &a, "simple"),
        ("app2", &ck, "simple"),
        ("app4", &ck, "simple"),
        ("rs1", &ck, "simple"),
        ("app3", &ck, "bundle"),
    ] {
        let image = name(repository);
        let found = person.good(&["verify", &image, "--key", &b, "--key", key]);
        assert_eq!(found["signatures"][0]["form"], form, "{repository}");
        assert_eq!(
            person.refused(&["verify", &image, "--key", &b]),
            "WRONG_KEY",
            "{repository}"
        );
        let attested = person.refused(&[&["verify", &image, "--key", key][..], &provenance].concat());
        assert_eq!(attested, "UNSIGNED", "{repository}");
    }
    let skopeos = person.good(&["verify", &name("app"), "--key", &a]);
    assert_eq!(skopeos["signatures"][0]["identity"], "127.0.0.1:15900/t/app:v1");
    assert_eq!(skopeos["signatures"][0]["time"], "2026-11-22T22:44:13Z");
    for (repository, form) in [("at1", "envelope"), ("at2", "bundle")] {
        let image = name(repository);
        let found = person.good(&[&["verify", &image, "--key", &a][..], &provenance].concat());
        assert_eq!(found["signatures"][0]["form"], form, "{repository}");
        let builder = found["signatures"][0]["predicate"]["runDetails"]["builder"]["id"].as_str();
        assert_eq!(builder, Some("https://example.com/imgkit@0.1"), "{repository}");
        // Real cosign takes this one for a signature of the image.
        assert_eq!(
            person.refused(&["verify", &image, "--key", &a]),
            "UNSIGNED",
            "{repository}"
        );
        let other = person.refused(&[&["verify", &image, "--key", &b][..], &provenance].concat());
        assert_eq!(other, "WRONG_KEY", "{repository}");
        let kind = person.refused(&["verify", &image, "--key", &a, "--type", "vsa"]);
        assert_eq!(kind, "UNSIGNED", "{repository}");
    }
    // It calls itself a signature, in its annotation and in what is signed, and is a provenance.
    assert_eq!(person.refused(&["verify", &name("at3"), "--key", &a]), "MALFORMED");
}

#[test]
fn what_is_written_has_the_form_of_cosigns_and_openssl_verifies_it() {
    let fixtures = fixtures();
    let registry = DockerRegistry::start();
    let person = Person::new();
    let (private, public) = person.key("k");
    let (name, made) = person.push(&registry, "team/a:1", "x");
    person.good(&["sign", &name, "--key", &private]);
    let found = person.good(&["verify", &name, "--key", &public]);
    let forms: BTreeSet<&str> = found["signatures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|signature| signature["form"].as_str().unwrap())
        .collect();
    assert_eq!(forms, BTreeSet::from(["bundle", "simple"]));

    // The tag: cosign's in t/app2.
    let ours = document(&beside(&name, &made, ".sig"));
    let theirs = format!("{}/t/app2:{IMAGE}.sig", fixtures.host());
    assert_eq!(shape(&ours), shape(&document(&theirs)));
    let config = blob_json(&name, &ours["config"]);
    assert_eq!(shape(&config), shape(&blob_json(&theirs, &document(&theirs)["config"])));
    assert_eq!(config["rootfs"]["diff_ids"][0], ours["layers"][0]["digest"]);
    let payload = blob(&name, &ours["layers"][0]);
    let said: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(said["critical"]["identity"]["docker-reference"], name);
    assert_eq!(said["critical"]["image"]["docker-manifest-digest"], json!(made.digest));
    // skopeo's has the same members in `optional`; beside them are the tree digests.
    let tree = &said["optional"]["imgkit"]["platforms"][0]["tree"];
    assert!(tree.as_str().unwrap().starts_with("sha256:"), "{said}");
    openssl_verifies(
        &person,
        &public,
        &payload,
        ours["layers"][0]["annotations"]["dev.cosignproject.cosign/signature"].as_str(),
    );

    // The bundle: cosign's in t/app3, listed under the fallback tag as this registry has no referrers API.
    let list = document(&beside(&name, &made, ""));
    let entry = &list["manifests"][0];
    let theirs = format!("{}/t/at2:{IMAGE}", fixtures.host());
    let mut expected = shape(&document(&theirs)["manifests"][0]);
    expected["annotations"] = shape(&json!({
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
        "org.opencontainers.image.created": "2026-01-01T00:00:00Z",
    }));
    assert_eq!(shape(entry), expected);
    let ours = document(&format!("{}@{}", repository(&name), entry["digest"].as_str().unwrap()));
    let theirs = format!("{}/t/app3:{IMAGE}", fixtures.host());
    let listed = document(&theirs)["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let theirs = format!("{}/t/app3@{listed}", fixtures.host());
    let mut expected = shape(&document(&theirs));
    // cosign 2.6.5 writes an artifactType into the config's descriptor, where the specification has none.
    expected["config"].as_object_mut().unwrap().remove("artifactType");
    assert_eq!(shape(&ours), expected);
    assert_eq!(ours["subject"]["digest"], json!(made.digest));
    let bundle = blob_json(&name, &ours["layers"][0]);
    let mut expected = shape(&blob_json(&theirs, &document(&theirs)["layers"][0]));
    expected["dsseEnvelope"]["signatures"][0]["keyid"] = json!("");
    expected["verificationMaterial"] = bundle["verificationMaterial"].clone();
    assert_eq!(shape(&bundle), expected);
    let envelope = &bundle["dsseEnvelope"];
    let statement = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    let said: Value = serde_json::from_slice(&statement).unwrap();
    assert_eq!(said["subject"], json!([{ "digest": { "sha256": made.digest.hex() } }]));
    let pae = [
        format!("DSSEv1 28 application/vnd.in-toto+json {} ", statement.len()).as_bytes(),
        &statement,
    ]
    .concat();
    openssl_verifies(&person, &public, &pae, envelope["signatures"][0]["sig"].as_str());
}

/// Asks openssl, which must say yes, and no after a changed byte.
fn openssl_verifies(person: &Person, public: &str, message: &[u8], signature: Option<&str>) {
    let (signed, sig) = (person.path("message"), person.path("sig"));
    fs::write(&sig, STANDARD.decode(signature.unwrap()).unwrap()).unwrap();
    let ask = || {
        let mut openssl = Command::new("openssl");
        openssl
            .args(["dgst", "-sha256", "-verify", public, "-signature"])
            .arg(&sig)
            .arg(&signed);
        openssl.output().unwrap().status.success()
    };
    fs::write(&signed, message).unwrap();
    assert!(ask());
    fs::write(&signed, [message, b" "].concat()).unwrap();
    assert!(!ask());
}

#[test]
fn signing_again_adds_nothing_and_another_key_adds_one() {
    let registry = DockerRegistry::start();
    let person = Person::new();
    let (name, made) = person.push(&registry, "team/a:1", "x");
    let keys = [person.key("one"), person.key("two")];
    for (private, _) in &keys {
        person.good(&["sign", &name, "--no-tree", "--key", private]);
        let again = person.good(&["sign", &name, "--no-tree", "--key", private]);
        assert_eq!(again["written"], json!([]));
    }
    for (_, public) in &keys {
        let found = person.good(&["verify", &name, "--key", public]);
        assert_eq!(found["signatures"].as_array().unwrap().len(), 2);
    }
    assert_eq!(
        document(&beside(&name, &made, ".sig"))["layers"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        document(&beside(&name, &made, ""))["manifests"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn two_who_sign_at_once_lose_neither_signature_in_fifty_rounds() {
    const LANES: usize = 10;
    const ROUNDS: usize = 5;
    let registry = DockerRegistry::start();
    let person = Person::new();
    let (one, two) = (person.key("one"), person.key("two"));
    let lane = |lane: usize| {
        for round in 0..ROUNDS {
            let content = format!("{lane} {round}");
            let own = Person::new();
            let (name, _) = own.push(&registry, &format!("lane{lane}/a:{round}"), &content);
            let sign = |key: &(String, String)| own.good(&["sign", &name, "--no-tree", "--key", &key.0]);
            std::thread::scope(|scope| {
                let other = scope.spawn(|| sign(&two));
                sign(&one);
                other.join().unwrap();
            });
            for (_, public) in [&one, &two] {
                let found = own.good(&["verify", &name, "--key", public]);
                let found = found["signatures"].as_array().unwrap();
                assert_eq!(found.len(), 2, "{name}: {found:?}");
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..LANES {
            scope.spawn(move || lane(number));
        }
    });
}

#[test]
fn a_signature_of_another_image_is_none_of_this() {
    let registry = fixtures();
    let person = Person::new();
    let ck = fixture("ck.pub").to_str().unwrap().to_owned();
    let (name, made) = person.push(&registry, "t/app2:other", "x");
    // Whoever can write the repository puts the good signature of one image beside another.
    let (found, bytes) = client()
        .document(&reference(&format!("{}/t/app2:{IMAGE}.sig", registry.host())))
        .unwrap();
    let tag = format!("sha256-{}.sig", made.digest.hex());
    let target = reference(&name);
    client()
        .put_document(target.repository(), Some(&tag), &found.media_type, &bytes)
        .unwrap();
    assert_eq!(person.refused(&["verify", &name, "--key", &ck]), "DIGEST_MISMATCH");
}

#[test]
fn attestations_are_written_in_both_forms_and_found_by_their_type() {
    let registry = DockerRegistry::start();
    let person = Person::new();
    let (private, public) = person.key("k");
    let (name, made) = person.push(&registry, "team/a:1", "x");
    let predicate = person.path("p.json");
    let provenance = json!({
        "buildDefinition": { "buildType": "https://example.com/b", "externalParameters": {} },
        "runDetails": { "builder": { "id": "https://example.com/i" } },
    });
    fs::write(&predicate, provenance.to_string()).unwrap();
    let file = predicate.to_str().unwrap();
    let attest = [
        "attest",
        &name,
        "--predicate",
        file,
        "--type",
        "slsaprovenance1",
        "--key",
        &private,
    ];
    assert_eq!(person.good(&attest)["written"], json!(["envelope", "bundle"]));
    assert_eq!(person.good(&attest)["written"], json!([]));
    let found = person.good(&["verify", &name, "--type", "slsaprovenance1", "--key", &public]);
    assert_eq!(found["signatures"].as_array().unwrap().len(), 2);
    assert_eq!(found["signatures"][0]["predicate"], provenance);
    assert_eq!(person.refused(&["verify", &name, "--key", &public]), "UNSIGNED");

    let fixtures = fixtures();
    let theirs = format!("{}/t/at1:{IMAGE}.att", fixtures.host());
    let ours = document(&beside(&name, &made, ".att"));
    assert_eq!(shape(&ours), shape(&document(&theirs)));
    let envelope = blob_json(&name, &ours["layers"][0]);
    assert_eq!(
        shape(&envelope),
        shape(&blob_json(&theirs, &document(&theirs)["layers"][0]))
    );

    fs::write(&predicate, "{}").unwrap();
    let (code, json) = person.run(&attest);
    assert_eq!(code, 2, "{json}");
    let tree = person.good(&["attest", &name, "--tree", "--key", &private]);
    assert_eq!(tree["predicateType"], "urn:imgkit:tree:v1");
    let found = person.good(&["verify", &name, "--type", "tree", "--key", &public]);
    let signed = &found["signatures"][0]["predicate"]["platforms"][0];
    assert_eq!(signed["manifest"], json!(made.digest));
    // The same digest as `trust sign` signs.
    assert!(signed["tree"].as_str().unwrap().parse::<Digest>().is_ok());
}

#[test]
fn referrers_of_a_repository_are_listed_by_the_client() {
    let registry = fixtures();
    let name = reference(&format!("{}/t/app3:v1", registry.host()));
    let digest: Digest = IMAGE.replacen('-', ":", 1).parse().unwrap();
    let found = client().referrers(name.repository(), &digest).unwrap();
    assert_eq!(found.len(), 1);
}

/// What is attached, by `tree`, and what a copy of it has.
fn kinds(tree: &Value) -> Vec<(String, String, bool)> {
    let documents = tree["documents"].as_array().unwrap().iter();
    let pieces = documents.flat_map(|document| document["attached"].as_array().unwrap());
    let mut kinds: Vec<_> = pieces
        .map(|piece| {
            let text = |name: &str| piece[name].as_str().unwrap().to_owned();
            (text("kind"), text("form"), piece["signer"].is_string())
        })
        .collect();
    kinds.sort();
    kinds
}

/// A registry with an image of two platforms that is signed and attested by `k`, and its manifest for amd64 as well.
fn signed_index(person: &Person, registry: &DockerRegistry) -> (String, Descriptor) {
    let layout = Layout::open_or_create(person.path("made")).unwrap();
    let made = images::put_index(&layout, "r.example/a:1", &[("bin/x", b"x")]);
    let name = format!("{}/team/a:1", registry.host());
    client()
        .push(&layout, &reference("r.example/a:1"), &reference(&name), &())
        .unwrap();
    let (private, _) = person.key("k");
    person.good(&["sign", &name, "--platform", "linux/amd64", "--key", &private]);
    person.good(&[
        "attest",
        &name,
        "--tree",
        "--platform",
        "linux/arm64",
        "--key",
        &private,
    ]);
    let manifest = document(&name)["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let member = format!("{}@{manifest}", repository(&name));
    person.good(&["sign", &member, "--no-tree", "--key", &private]);
    (name, made)
}

#[test]
fn the_tree_lists_everything_and_copies_have_all_of_it() {
    let (one, two) = (DockerRegistry::start(), DockerRegistry::start());
    let person = Person::new();
    let (name, made) = signed_index(&person, &one);
    let public = person.path("k.pub").to_str().unwrap().to_owned();
    let shown = kinds(&person.good(&["tree", &name, "--key", &public]));
    let (signature, attestation) = ("signature".to_owned(), "attestation".to_owned());
    let expected = vec![
        (attestation.clone(), "bundle".to_owned(), true),
        (attestation, "envelope".to_owned(), true),
        (signature.clone(), "bundle".to_owned(), true),
        (signature.clone(), "bundle".to_owned(), true),
        (signature.clone(), "simple".to_owned(), true),
        (signature, "simple".to_owned(), true),
    ];
    assert_eq!(shown, expected);

    let layout = format!("oci:{}", person.path("layout").display());
    let archive = format!("oci-archive:{}", person.path("image.tar").display());
    let other = format!("{}/mirror/b:2", two.host());
    for (from, to) in [(&name, &layout), (&layout, &archive), (&archive, &other)] {
        let copied = person.good(&["copy", from, to]);
        assert_eq!(copied["digest"], json!(made.digest), "{to}");
        assert_eq!(kinds(&person.good(&["tree", to, "--key", &public])), expected, "{to}");
        let found = person.good(&["verify", to, "--key", &public]);
        assert_eq!(found["signatures"].as_array().unwrap().len(), 2, "{to}");
        person.good(&["verify", to, "--type", "tree", "--key", &public]);
    }
    assert_eq!(two.skopeo_digest("mirror/b:2"), made.digest.to_string());
    let tags = [
        beside(&name, &made, ".sig"),
        beside(&name, &made, ".att"),
        beside(&name, &made, ""),
    ];
    for tag in tags {
        let mirrored = tag.replacen(
            &format!("{}/team/a", one.host()),
            &format!("{}/mirror/b", two.host()),
            1,
        );
        let digest = |name: &str| client().document(&reference(name)).unwrap().0.digest;
        assert_eq!(digest(&tag), digest(&mirrored), "{tag}");
    }
    // The same again changes nothing, and an archive has the same bytes.
    let packed = fs::read(person.path("image.tar")).unwrap();
    person.good(&["copy", &layout, &archive]);
    assert_eq!(fs::read(person.path("image.tar")).unwrap(), packed);
    person.good(&["copy", &name, &other]);
    assert_eq!(kinds(&person.good(&["tree", &other, "--key", &public])), expected);
}

#[test]
fn what_the_target_has_beside_the_image_stays() {
    let (one, two) = (DockerRegistry::start(), DockerRegistry::start());
    let person = Person::new();
    let (mine, theirs) = (person.key("mine"), person.key("theirs"));
    let (name, _) = person.push(&one, "a:1", "x");
    let (mirror, _) = person.push(&two, "a:1", "x");
    person.good(&["sign", &name, "--no-tree", "--key", &mine.0]);
    person.good(&["sign", &mirror, "--no-tree", "--key", &theirs.0]);
    person.good(&["copy", &name, &mirror]);
    for (_, public) in [mine, theirs] {
        let found = person.good(&["verify", &mirror, "--key", &public]);
        assert_eq!(found["signatures"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn signatures_survive_skopeo_between_registry_and_layout() {
    let (one, two) = (fixtures(), DockerRegistry::start());
    let person = Person::new();
    let ck = fixture("ck.pub").to_str().unwrap().to_owned();
    let dir = person.path("skopeos");
    for (image, tag) in [("app2", format!("{IMAGE}.sig")), ("app3", IMAGE.to_owned())] {
        for tag in ["v1", &tag] {
            let from = format!("docker://{}/t/{image}:{tag}", one.host());
            let between = format!("oci:{}:t/{image}:{tag}", dir.display());
            let to = format!("docker://{}/t/{image}:{tag}", two.host());
            let mut skopeo = skopeo();
            skopeo.args(["copy", "-q", "--all", "--src-tls-verify=false", &from, &between]);
            succeed(&mut skopeo);
            let mut skopeo = common::registry::skopeo();
            skopeo.args(["copy", "-q", "--all", "--dest-tls-verify=false", &between, &to]);
            succeed(&mut skopeo);
        }
        let copied = format!("{}/t/{image}:v1", two.host());
        person.good(&["verify", &copied, "--key", &ck]);
    }
    // And what imgkit put into a layout, skopeo takes to a registry.
    let ours = format!("oci:{}:r.example/app3:v1", person.path("ours").display());
    person.good(&["copy", &format!("{}/t/app3:v1", one.host()), &ours]);
    person.good(&["verify", &ours, "--key", &ck]);
    for tag in ["v1", IMAGE] {
        let from = format!("oci:{}:r.example/app3:{tag}", person.path("ours").display());
        let to = format!("docker://{}/again/app3:{tag}", two.host());
        let mut skopeo = skopeo();
        skopeo.args(["copy", "-q", "--all", "--dest-tls-verify=false", &from, &to]);
        succeed(&mut skopeo);
    }
    person.good(&["verify", &format!("{}/again/app3:v1", two.host()), "--key", &ck]);
}
