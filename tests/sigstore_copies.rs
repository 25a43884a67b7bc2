//! Images that are copied with everything attached to them: between registries, layouts and archives, by imgkit and by skopeo.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::images::{self, reference};
use common::registry::{DockerRegistry, skopeo};
use common::sigstore::{IMAGE, Person, beside, blob, client, document, fixture, fixtures, repository};
use common::succeed;
use imgkit::digest::Digest;
use imgkit::oci::Descriptor;
use imgkit::store::layout::Layout;
use serde_json::{Value, json};

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

/// Who gets a copy takes it for what its name says (law of the gate 3).
#[test]
fn a_copy_is_refused_whose_tag_stands_for_another_digest_than_is_named_beside_it() {
    let (registry, person) = (DockerRegistry::start(), Person::new());
    let layout = Layout::open_or_create(person.path("layout")).unwrap();
    let old = images::put(&layout, "r.example/a:v1", &[("x", b"old")]);
    let new = images::put(&layout, "r.example/a:v2", &[("x", b"new")]);
    let (dir, host) = (person.path("layout"), registry.host());
    let from = |name: &str, image: &Descriptor| format!("oci:{}:r.example/a:{name}@{}", dir.display(), image.digest);
    let archive = format!("oci-archive:{}", person.path("a.tar").display());
    let other = format!("oci:{}", person.path("other").display());
    let target = format!("{host}/t/b:v2");
    for to in [&target, &other, &archive] {
        assert_eq!(
            person.refused(&["copy", &from("v2", &old), to]),
            "DIGEST_MISMATCH",
            "{to}"
        );
        assert_eq!(person.run(&["copy", &from("v3", &old), to]).0, 3, "{to}");
        let named = format!(
            "{to}{}@{}",
            if to == &target { "" } else { ":r.example/b:v2" },
            old.digest
        );
        assert_eq!(
            person.refused(&["copy", &from("v2", &new), &named]),
            "DIGEST_MISMATCH",
            "{named}"
        );
    }
    assert!(client().find_document(&reference(&target)).unwrap().is_none());
    assert!(
        !person.path("other/index.json").exists()
            || Layout::open(person.path("other")).unwrap().list().unwrap().is_empty()
    );
    assert!(!person.path("a.tar").exists());
    let push = client().push(
        &layout,
        &reference(&format!("r.example/a:v2@{}", old.digest)),
        &reference(&target),
        &(),
    );
    assert!(push.is_err());
    person.good(&["copy", &from("v2", &new), &format!("{target}@{}", new.digest)]);
    assert_eq!(registry.skopeo_digest("t/b:v2"), new.digest.to_string());
}

/// cosign's `attach sbom`: a manifest of one layer under a tag of its own, which nobody signs.
fn attach_sbom(name: &str, made: &Descriptor, bytes: &[u8]) {
    let layer = imgkit::sigstore::manifest::layer("spdx+json", bytes, &[]);
    let image = reference(name);
    client()
        .attach_layer(image.repository(), &made.digest, ".sbom", &layer, bytes)
        .unwrap();
}

#[test]
fn an_sbom_that_nobody_signed_is_listed_and_copied_and_proves_nothing() {
    let (one, two) = (DockerRegistry::start(), DockerRegistry::start());
    let person = Person::new();
    let (name, made) = person.push(&one, "a:1", "x");
    let key = person.key("k");
    let sbom = br#"{"spdxVersion":"SPDX-2.3"}"#;
    attach_sbom(&name, &made, sbom);
    let layout = format!("oci:{}", person.path("layout").display());
    let archive = format!("oci-archive:{}", person.path("image.tar").display());
    let other = format!("{}/mirror/b:2", two.host());
    for (from, to) in [(&name, &layout), (&layout, &archive), (&archive, &other)] {
        person.good(&["copy", from, to]);
        let tree = person.good(&["tree", to, "--key", &key.1]);
        assert_eq!(kinds(&tree).len(), 1, "{to}: {tree}");
        let piece = &tree["documents"][0]["attached"][0];
        assert_eq!(
            (&piece["kind"], &piece["mediaType"], &piece["signer"]),
            (&json!("sbom"), &json!("spdx+json"), &Value::Null),
            "{to}"
        );
        assert_eq!(piece["layer"], json!(Digest::sha256(sbom)), "{to}");
        assert_eq!(person.refused(&["verify", to, "--key", &key.1]), "UNSIGNED", "{to}");
        let stated = person.refused(&["verify", to, "--type", "spdxjson", "--key", &key.1]);
        assert_eq!(stated, "UNSIGNED", "{to}");
    }
    let tag = beside(&other, &made, ".sbom");
    assert_eq!(document(&tag), document(&beside(&name, &made, ".sbom")));
    assert_eq!(blob(&other, &document(&tag)["layers"][0]), sbom);
    // Beside a signature it takes nothing from it.
    person.good(&["sign", &name, "--no-tree", "--key", &key.0]);
    person.good(&["copy", &name, &other]);
    person.good(&["verify", &other, "--key", &key.1]);
    assert_eq!(kinds(&person.good(&["tree", &other, "--key", &key.1])).len(), 3);
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
            let mut command = skopeo();
            command.args(["copy", "-q", "--all", "--src-tls-verify=false", &from, &between]);
            succeed(&mut command);
            let mut command = skopeo();
            command.args(["copy", "-q", "--all", "--dest-tls-verify=false", &between, &to]);
            succeed(&mut command);
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
        let mut command = skopeo();
        command.args(["copy", "-q", "--all", "--dest-tls-verify=false", &from, &to]);
        succeed(&mut command);
    }
    person.good(&["verify", &format!("{}/again/app3:v1", two.host()), "--key", &ck]);
}

#[test]
fn referrers_that_other_tools_list_without_a_name_are_found() {
    let registry = fixtures();
    let person = Person::new();
    let ck = fixture("ck.pub").to_str().unwrap().to_owned();
    let layout = format!("oci:{}:r.example/app3:v1", person.path("layout").display());
    person.good(&["copy", &format!("{}/t/app3:v1", registry.host()), &layout]);
    let path = person.path("layout/index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let entries = index["manifests"].as_array_mut().unwrap();
    let is_list = |entry: &Value| entry["mediaType"] == "application/vnd.oci.image.index.v1+json";
    let at = entries.iter().position(is_list).unwrap();
    let list = entries.remove(at);
    fs::write(&path, index.to_string()).unwrap();
    assert_eq!(person.refused(&["verify", &layout, "--key", &ck]), "UNSIGNED");

    let digest = list["digest"].as_str().unwrap().replacen(':', "/", 1);
    let list: Value = serde_json::from_slice(&fs::read(person.path("layout/blobs").join(digest)).unwrap()).unwrap();
    index["manifests"]
        .as_array_mut()
        .unwrap()
        .push(list["manifests"][0].clone());
    fs::write(&path, index.to_string()).unwrap();
    person.good(&["verify", &layout, "--key", &ck]);
}
