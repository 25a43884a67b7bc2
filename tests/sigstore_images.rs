//! Signatures and attestations beside images: what real cosign and skopeo wrote, and what imgkit writes, in a real registry.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::home::answer;
use common::images::reference;
use common::registry::DockerRegistry;
use common::sigstore::{IMAGE, Person, beside, blob, blob_json, client, document, fixture, fixtures, repository};
use common::token::{PIN, Token};
use common::{behind, imgkit, succeed};
use imgkit::attest::{PredicateType, Statement, Subject};
use imgkit::digest::Digest;
use imgkit::key::{Algorithm, SigningKey};
use imgkit::sigstore::bundle::{self, Bundle};
use imgkit::sigstore::envelope::{self, Envelope};
use imgkit::sigstore::manifest;
use imgkit::store::attached::attached;
use imgkit::store::layout::Layout;
use imgkit::store::registry::NewBundle;
use imgkit::store::{Source, image_tree};
use imgkit::time::Time;
use imgkit::tree::contents::HashOnly;
use imgkit::tree::list;
use serde_json::{Value, json};

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
    assert_eq!(
        skopeos["signatures"][0]["signed"]["names"][0],
        "127.0.0.1:15900/t/app:v1"
    );
    assert_eq!(skopeos["signatures"][0]["signed"]["time"], "2026-11-22T22:44:13Z");
    for (repository, form) in [("at1", "envelope"), ("at2", "bundle")] {
        let image = name(repository);
        let found = person.good(&[&["verify", &image, "--key", &a][..], &provenance].concat());
        assert_eq!(found["signatures"][0]["form"], form, "{repository}");
        let builder = found["signatures"][0]["signed"]["predicate"]["runDetails"]["builder"]["id"].as_str();
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
    assert_eq!(found["signatures"][0]["signed"]["predicate"], provenance);
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
    let signed = &found["signatures"][0]["signed"]["predicate"]["platforms"][0];
    assert_eq!(signed["manifest"], json!(made.digest));
    // The same digest as `trust sign` signs.
    let layout = Layout::open(person.path("made")).unwrap();
    let image = layout
        .image(&reference("r.example/a:1"), &"linux/amd64".parse().unwrap())
        .unwrap();
    let tree = image_tree(&layout, "it", &image, &mut HashOnly).unwrap();
    assert_eq!(signed["tree"], json!(list::digest(&tree)));
}

#[test]
fn referrers_of_a_repository_are_listed_by_the_client() {
    let registry = fixtures();
    let name = reference(&format!("{}/t/app3:v1", registry.host()));
    let digest: Digest = IMAGE.replacen('-', ":", 1).parse().unwrap();
    let found = attached(&client(), name.repository(), &digest).unwrap();
    assert_eq!(found.iter().filter(|manifest| manifest.suffix.is_none()).count(), 1);
}

#[test]
fn keys_of_cosigns_form_and_in_tokens_sign() {
    let registry = DockerRegistry::start();
    let mut person = Person::new();
    let token = Token::with_keys(&{
        let dir = person.path("token");
        fs::create_dir(&dir).unwrap();
        dir
    });
    person.set("SOFTHSM2_CONF", token.config());
    person.set("IMGKIT_PKCS11_PIN", PIN);
    let (name, _) = person.push(&registry, "team/a:1", "x");
    let prefix = person.path("own").to_str().unwrap().to_owned();
    let made = person.good(&["generate-key-pair", "--output-key-prefix", &prefix]);
    let pem = fs::read_to_string(made["private"].as_str().unwrap()).unwrap();
    assert!(
        pem.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"),
        "{pem}"
    );
    let (private, public) = (format!("{prefix}.key"), format!("{prefix}.pub"));
    let mut keys = vec![(private, public)];
    for kind in ["p256", "p384", "rsa", "ed25519"] {
        let public = person.path(&format!("{kind}.pub")).to_str().unwrap().to_owned();
        token.tool(
            "openssl",
            &["pkey", "-in", &format!("{kind}.p8"), "-pubout", "-out", &public],
        );
        keys.push((token.key(kind), public));
    }
    for (private, public) in keys {
        let (code, json) = person.run(&["verify", &name, "--key", &public]);
        assert_eq!(code, 1, "{json}");
        person.good(&["sign", &name, "--no-tree", "--key", &private]);
        let found = person.good(&["verify", &name, "--key", &public]);
        assert_eq!(found["signatures"].as_array().unwrap().len(), 2, "{private}");
    }
}

#[test]
fn people_read_what_is_attached_and_who_signed() {
    let registry = fixtures();
    let person = Person::new();
    let mut shown = String::new();
    for (command, image) in [
        ("tree", "app"),
        ("tree", "app3"),
        ("tree", "at1"),
        ("tree", "at2"),
        ("verify", "app"),
    ] {
        let name = format!("{}/t/{image}:v1", registry.host());
        let mut imgkit = imgkit(&person.path(""));
        imgkit.args(["sigstore", command, &name, "--key"]).arg(fixture("a.pub"));
        shown += &format!("$ imgkit sigstore {command} HOST/t/{image}:v1 --key a.pub\n");
        shown += &succeed(&mut imgkit).replace(registry.host(), "HOST");
    }
    insta::assert_snapshot!(shown);
}

/// Runs `imgkit sigstore verify NAME --type custom --key KEY` with that many bytes of memory of its own at most.
fn verify_within(person: &Person, bytes: u64, name: &str, key: &str) -> (i32, Value) {
    let mut command = imgkit(&person.path(""));
    command.args([
        "--output", "json", "sigstore", "verify", name, "--type", "custom", "--key", key,
    ]);
    let mut command = behind(&["prlimit", &format!("--data={bytes}")], &command);
    answer(&command.output().unwrap())
}

#[test]
fn an_attestation_of_a_hundred_thousand_subjects_is_refused_by_the_bound_in_bounded_memory() {
    let registry = DockerRegistry::start();
    let person = Person::new();
    let key = SigningKey::generate_as(Algorithm::P256).unwrap();
    let public = person.path("many.pub");
    fs::write(&public, key.public().to_pem().unwrap()).unwrap();
    let public = public.to_str().unwrap();
    let memory = 256 << 20;
    for (count, form, expected) in [
        (1_024, "envelope", 0),
        (1_024, "bundle", 0),
        (100_000, "envelope", 1),
        (100_000, "bundle", 1),
    ] {
        let (name, made) = person.push(&registry, &format!("{form}{count}/a:1"), "x");
        let image = reference(&name);
        let mut subjects = vec![Subject::of(None, &made.digest)];
        subjects.extend((1..count).map(|n: u32| Subject::of(None, &Digest::sha256(&n.to_be_bytes()))));
        let kind: PredicateType = "custom".parse().unwrap();
        let statement = Statement::about(subjects, kind.uri(), json!({}));
        match form {
            "envelope" => {
                let signed = Envelope::sign(&statement, &key).unwrap().to_value().to_string();
                let annotations = [(manifest::PREDICATE_TYPE, kind.uri())];
                let media_type = envelope::MEDIA_TYPE;
                let layer = manifest::layer(media_type, signed.as_bytes(), &annotations);
                let put = client().attach_layer(image.repository(), &made.digest, ".att", &layer, signed.as_bytes());
                put.unwrap();
            }
            _ => {
                let bytes = Bundle::sign_statement(&statement, &key).unwrap().encode();
                let bundle = NewBundle {
                    media_type: bundle::MEDIA_TYPE,
                    bytes: &bytes,
                    predicate_type: kind.uri(),
                };
                client()
                    .attach_bundle(image.repository(), &made, bundle, Time::EPOCH)
                    .unwrap();
            }
        }
        let (code, json) = verify_within(&person, memory, &name, public);
        assert_eq!(code, expected, "{form} {count}: {json}");
        if expected == 1 {
            let refusal = &json["refusals"][0];
            assert_eq!(refusal["code"], "MALFORMED", "{form}: {json}");
            assert!(
                json.to_string().contains("100000 subjects, expected 1 to 1024"),
                "{form}: {json}"
            );
        }
    }
}
