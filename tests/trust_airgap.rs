//! Files that carry collections and images over an air gap: written, read without a network, and refused when they are not right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use common::images::{numbers, put};
use common::node::Node;
use common::places::User;
use imgkit::digest::Digest;
use imgkit::oci::{Annotated, Artifact, MANIFEST};
use imgkit::reference::Reference;
use imgkit::sigstore::{manifest, payload};
use imgkit::store::layout::Layout;
use serde_json::json;

const IMAGE: &str = "local.test/team/app:v1";

/// A user with the collection `c` that signs an image and a file.
fn owner() -> User {
    let user = User::new();
    let layout = Layout::open_or_create(common::store_in(user.home.path())).unwrap();
    put(&layout, IMAGE, &[("bin/app", b"app")]);
    user.good(&["init", "c", "--role", "ci=spec/*"]);
    let file = user.file("f", "x");
    user.good(&["sign", IMAGE]);
    user.good(&["sign", "--file", &file, "--name", "spec/f", "--role", "ci"]);
    user
}

/// Somebody who has the owner's root and nothing else.
fn other(owner: &User) -> User {
    let other = User::new();
    fs::copy(owner.pin("c"), other.path("root.json")).unwrap();
    other.file("f", "x");
    other
}

fn export(owner: &User, name: &str, more: &[&str]) -> String {
    let file = owner.path(name).to_str().unwrap().to_owned();
    owner.good(&[&["export", &file], more].concat());
    file
}

/// Runs a command of somebody who has no network.
fn offline(user: &User, args: &[&str]) -> (i32, serde_json::Value) {
    let pin = user.path("root.json").to_str().unwrap().to_owned();
    let command = user.command(&[args, &["--collection", "c", "--pin", &pin]].concat());
    let answer = common::node::answer(&mut common::behind(
        &["unshare", "--user", "--map-root-user", "--net"],
        &command,
    ));
    (answer.code, answer.json)
}

fn good(user: &User, args: &[&str]) {
    let (code, json) = offline(user, args);
    assert_eq!(code, 0, "{args:?}: {json}");
}

fn refused(user: &User, args: &[&str]) -> String {
    let (code, json) = offline(user, args);
    assert_eq!(code, 1, "{args:?}: {json}");
    json["refusals"][0]["code"].as_str().unwrap().to_owned()
}

/// The files of a user's collection.
fn collection(user: &User) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(user.path(".local/share/imgkit/trust/c"))
        .into_iter()
        .flatten()
        .flatten();
    let named = entries.map(|entry| {
        (
            entry.file_name().into_string().unwrap(),
            fs::read(entry.path()).unwrap(),
        )
    });
    named.filter(|(name, _)| !name.starts_with('.')).collect()
}

#[test]
fn a_collection_and_its_images_cross_an_air_gap() {
    let owner = owner();
    let file = export(&owner, "all.tar", &["--all", "--with-images"]);
    let again = export(&owner, "again.tar", &["--all", "--with-images"]);
    assert!(
        fs::read(&file).unwrap() == fs::read(&again).unwrap(),
        "the same content gives the same bytes"
    );
    let other = other(&owner);
    good(&other, &["import", &file]);
    good(&other, &["import", &file]);
    let (taken, all) = (collection(&other), collection(&owner));
    assert!(
        taken.len() >= 5 && taken.iter().all(|(name, bytes)| all.get(name) == Some(bytes)),
        "as they were published"
    );
    good(&other, &["verify", IMAGE]);
    good(&other, &["ls"]);
    let signed = other.path("f").to_str().unwrap().to_owned();
    good(&other, &["verify", "spec/f", "--file", &signed]);
    // A layout that other tools read as well.
    let mut skopeo = common::registry::skopeo();
    let inspected = common::succeed(skopeo.args(["inspect", "--raw", &format!("oci-archive:{file}:{IMAGE}")]));
    assert!(inspected.contains("\"layers\""), "{inspected}");
}

#[test]
fn a_file_for_one_name_has_what_its_look_up_needs() {
    let owner = owner();
    let image = export(&owner, "image.tar", &["local.test/team/app:v1"]);
    let here = other(&owner);
    good(&here, &["import", &image]);
    let (code, json) = offline(&here, &["verify", "spec/f", "--file", here.path("f").to_str().unwrap()]);
    assert_eq!(
        (code, &json["verdict"]),
        (3, &json!("unavailable")),
        "the role's metadata did not come along: {json}"
    );
    let spec = export(&owner, "spec.tar", &["spec/f"]);
    good(&here, &["import", &spec]);
    good(&here, &["verify", "spec/f", "--file", here.path("f").to_str().unwrap()]);
    assert!(fs::metadata(&spec).unwrap().len() < fs::metadata(&image).unwrap().len());
    let absent = owner.path("none.tar").to_str().unwrap().to_owned();
    assert_eq!(
        owner.refused(&["export", &absent, "local.test/team/none:v1"]),
        "UNSIGNED"
    );
    assert!(!Path::new(&absent).exists());
    assert_eq!(owner.run(&["export", &absent]).0, 2);
}

#[test]
fn a_file_that_would_expire_too_soon_is_not_written() {
    let owner = owner();
    let file = owner.path("a.tar").to_str().unwrap().to_owned();
    let (code, json) = owner.run(&["export", &file, "--all", "--expires-days", "30"]);
    assert_eq!((code, &json["refusals"][0]["code"]), (1, &json!("EXPIRED")));
    assert!(
        json["refusals"][0]["found"]
            .as_str()
            .unwrap()
            .contains("2026-12-07T00:00:00Z"),
        "{json}"
    );
    assert!(!Path::new(&file).exists());
    owner.good(&["export", &file, "--all", "--expires-days", "10"]);
    let other = other(&owner);
    assert_eq!(
        refused(&other, &["import", &file, "--at", "2026-12-08T00:00:00Z"]),
        "EXPIRED"
    );
    assert!(collection(&other).is_empty());
}

#[test]
fn nothing_older_takes_the_place_of_something_newer() {
    let owner = owner();
    let old = export(&owner, "old.tar", &["--all"]);
    let signed = owner.path("f").to_str().unwrap().to_owned();
    owner.good(&["sign", "--file", &signed, "--name", "new"]);
    owner.good(&["renew", "root"]);
    let new = export(&owner, "new.tar", &["--all"]);
    let state = ".local/state/imgkit/trusted";
    let trust = ".local/share/imgkit/trust";
    for forgotten in [None, Some(state), Some(trust)] {
        let here = other(&owner);
        good(&here, &["import", &old]);
        good(&here, &["import", &new]);
        let before = collection(&here);
        if let Some(forgotten) = forgotten {
            fs::remove_dir_all(here.path(forgotten)).unwrap();
        }
        assert_eq!(refused(&here, &["import", &old]), "ROLLBACK", "without {forgotten:?}");
        match forgotten == Some(trust) {
            true => assert!(collection(&here).is_empty()),
            false => assert!(collection(&here) == before),
        }
    }
    // Who pinned a later root takes the file as well.
    let here = other(&owner);
    fs::copy(
        owner.path(".local/share/imgkit/trust/c/2.root.json"),
        here.path("root.json"),
    )
    .unwrap();
    good(&here, &["import", &new]);
}

#[test]
fn another_root_than_the_pinned_one_is_refused() {
    let (owner, stranger) = (owner(), owner());
    let file = export(&stranger, "a.tar", &["--all"]);
    let other = other(&owner);
    assert_eq!(refused(&other, &["import", &file]), "DIGEST_MISMATCH");
    assert!(collection(&other).is_empty());
    assert!(!common::store_in(other.home.path()).join("index.json").exists());
}

/// A tar archive of these members, each with its type.
fn archive(members: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, content) in members {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn files_that_are_not_what_was_written_are_refused_and_leave_nothing() {
    let owner = owner();
    let file = export(&owner, "good.tar", &["--all", "--with-images"]);
    let good_bytes = fs::read(&file).unwrap();
    let user = other(&owner);
    let bad = user.path("bad.tar").to_str().unwrap().to_owned();
    let refuse = |bytes: &[u8], what: &str| {
        fs::write(&bad, bytes).unwrap();
        let (code, json) = offline(&user, &["import", &bad]);
        assert_eq!((code, &json["verdict"]), (1, &json!("refused")), "{what}: {json}");
        assert!(collection(&user).is_empty(), "{what}");
        assert!(
            !common::store_in(user.home.path()).join("index.json").exists(),
            "{what}"
        );
        json["refusals"][0]["code"].as_str().unwrap().to_owned()
    };
    for part in [
        0,
        1,
        100,
        511,
        512,
        1024,
        1500,
        good_bytes.len() / 2,
        good_bytes.len() - 1024,
    ] {
        assert_eq!(refuse(&good_bytes[..part], &format!("cut at {part}")), "MALFORMED");
    }
    let marker: (&str, u8, &[u8]) = ("oci-layout", b'0', br#"{"imageLayoutVersion":"1.0.0"}"#);
    let list: (&str, u8, &[u8]) = ("index.json", b'0', br#"{"schemaVersion":2,"manifests":[]}"#);
    for (what, members) in [
        ("a parent", vec![marker, list, ("../../etc/passwd", b'0', b"root")]),
        (
            "a parent among blobs",
            vec![marker, list, ("blobs/sha256/../../x", b'0', b"root")],
        ),
        ("an absolute name", vec![marker, list, ("/etc/passwd", b'0', b"root")]),
        ("a symlink", vec![marker, list, ("blobs/sha256", b'2', b"")]),
        ("a hard link", vec![marker, list, ("blobs", b'1', b"")]),
        ("a device", vec![marker, list, ("blobs/sha256/x", b'3', b"")]),
        ("another file", vec![marker, list, ("README", b'0', b"hello")]),
        ("a list twice", vec![marker, list, list]),
        ("a marker twice", vec![marker, marker, list]),
        ("no list", vec![marker]),
        ("no marker", vec![list]),
        ("no collection", vec![marker, list]),
        (
            "another version",
            vec![("oci-layout", b'0', br#"{"imageLayoutVersion":"2"}"#), list],
        ),
        ("no JSON", vec![marker, ("index.json", b'0', b"[[[[")]),
    ] {
        assert_eq!(refuse(&archive(&members), what), "MALFORMED", "{what}");
    }
    let zeros = vec![0; 5000];
    let twice = format!("blobs/sha256/{}", Digest::sha256(b"x").hex());
    assert_eq!(
        refuse(
            &archive(&[marker, list, (&twice, b'0', b"x"), (&twice, b'0', b"x")]),
            "a blob twice"
        ),
        "MALFORMED"
    );
    assert_eq!(
        refuse(&archive(&[marker, list, (&twice, b'0', b"y")]), "another blob"),
        "DIGEST_MISMATCH"
    );
    assert_eq!(
        refuse(&archive(&[marker, list, (&twice, b'0', &zeros)]), "a longer blob"),
        "DIGEST_MISMATCH"
    );
    let mut huge = archive(&[marker, list, (&twice, b'0', b"x")]);
    let header = 4 * 512;
    huge[header + 124..header + 136].copy_from_slice(b"77777777777\0");
    let sum: u32 = (0..512)
        .map(|at| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(huge[header + at])
            }
        })
        .sum();
    huge[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(refuse(&huge, "a huge member"), "MALFORMED");
    let (code, _) = offline(&user, &["import", "/dev/zero"]);
    assert_eq!(code, 2);
    let (code, _) = offline(&user, &["import", user.path("none").to_str().unwrap()]);
    assert_eq!(code, 3);
}

/// Adds to a file a manifest with one layer of `text`, under cosign's tag for `image` in a repository.
fn with_signature(file: &[u8], repository: &str, image: &Digest, text: &[u8]) -> Vec<u8> {
    let mut members = Vec::new();
    let mut read = tar::Archive::new(file);
    for entry in read.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        members.push((entry.path().unwrap().to_str().unwrap().to_owned(), bytes));
    }
    let (_, manifest, config) = signature(text);
    let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", Digest::sha256(bytes).hex()), bytes.to_vec());
    members.extend([blob(text), blob(&manifest), blob(&config)]);
    let (_, list) = members.iter_mut().find(|(name, _)| name == "index.json").unwrap();
    let mut index: serde_json::Value = serde_json::from_slice(list).unwrap();
    let name = format!("{repository}:sha256-{}.sig", image.hex());
    index["manifests"].as_array_mut().unwrap().push(json!({
        "mediaType": MANIFEST, "digest": Digest::sha256(&manifest), "size": manifest.len(),
        "annotations": { "org.opencontainers.image.ref.name": name },
    }));
    *list = index.to_string().into_bytes();
    let members: Vec<_> = members
        .iter()
        .map(|(name, bytes)| (name.as_str(), b'0', bytes.as_slice()))
        .collect();
    archive(&members)
}

/// Makes a manifest of signatures with one layer: that, its bytes, and its config.
fn signature(text: &[u8]) -> (Annotated, Vec<u8>, Vec<u8>) {
    let layer = manifest::layer(payload::MEDIA_TYPE, text, &[]);
    let made = manifest::with_layer("it", None, &layer).unwrap().unwrap();
    (layer, made.manifest, made.config)
}

#[test]
fn a_file_takes_no_signature_away_and_brings_none_for_other_repositories() {
    let owner = owner();
    let bare = fs::read(export(&owner, "bare.tar", &["--all", "--with-images"])).unwrap();
    let layout = Layout::open(common::store_in(owner.home.path())).unwrap();
    let (document, _) = layout.document(&IMAGE.parse().unwrap()).unwrap().unwrap();
    let image = document.digest;
    let (good_layer, good_manifest, config) = signature(b"good");
    let writer = layout.writer().unwrap();
    writer.put(payload::MEDIA_TYPE, &mut &b"good"[..]).unwrap();
    writer.put("x", &mut config.as_slice()).unwrap();
    let put = writer.put(MANIFEST, &mut good_manifest.as_slice()).unwrap();
    let repository = IMAGE.rsplit_once(':').unwrap().0;
    let tag: Reference = format!("{repository}:sha256-{}.sig", image.hex()).parse().unwrap();
    writer.tag(&tag, &put).unwrap();
    drop(writer);
    let file = fs::read(export(&owner, "good.tar", &["--all", "--with-images"])).unwrap();

    let user = other(&owner);
    let at = user.path("in.tar").to_str().unwrap().to_owned();
    fs::write(&at, with_signature(&file, "local.test/other", &image, b"evil")).unwrap();
    assert_eq!(refused(&user, &["import", &at]), "UNSIGNED");
    fs::write(&at, &file).unwrap();
    good(&user, &["import", &at]);
    fs::write(&at, with_signature(&bare, repository, &image, b"evil")).unwrap();
    let (code, json) = offline(&user, &["import", &at]);
    assert_eq!(
        (code, &json["result"]["joined"]),
        (0, &json!([tag.to_string()])),
        "{json}"
    );
    let store = Layout::open(common::store_in(user.home.path())).unwrap();
    let (_, bytes) = store.document(&tag).unwrap().unwrap();
    let (evil_layer, ..) = signature(b"evil");
    assert_eq!(Artifact::parse("it", &bytes).unwrap().layers, [good_layer, evil_layer]);
}

#[test]
fn a_flipped_byte_is_refused_or_changes_nothing() {
    let owner = owner();
    let good_bytes = fs::read(export(&owner, "good.tar", &["--all"])).unwrap();
    let fine = other(&owner);
    good(&fine, &["import", owner.path("good.tar").to_str().unwrap()]);
    let expected = collection(&fine);
    let mut refusals = 0;
    for at in numbers(11, 120).into_iter().map(|number| number % good_bytes.len()) {
        let user = other(&owner);
        let mut bytes = good_bytes.clone();
        bytes[at] ^= 0x10;
        let file = user.path("bad.tar");
        fs::write(&file, bytes).unwrap();
        let pin = user.path("root.json").to_str().unwrap().to_owned();
        let (code, json) = user.run(&["import", file.to_str().unwrap(), "--collection", "c", "--pin", &pin]);
        match code {
            0 => assert!(collection(&user) == expected, "byte {at}"),
            1 => {
                refusals += 1;
                assert!(collection(&user).is_empty(), "byte {at}: {json}");
            }
            _ => panic!("byte {at}: {code} {json}"),
        }
    }
    assert!(refusals > 60, "{refusals}");
}

#[test]
fn a_build_works_from_an_imported_file_without_a_network() {
    let node = Node::new();
    node.good(&[
        "trust",
        "export",
        "all.tar",
        "--all",
        "--with-images",
        "--at",
        common::node::NOW,
    ]);
    let elsewhere = |args: &[&str]| {
        let mut command = node.command(args);
        command
            .env("IMGKIT_STORE", node.path("store2"))
            .env("IMGKIT_TRUST_DIR", node.path("trust2"));
        common::node::answer(&mut common::behind(
            &["unshare", "--user", "--map-root-user", "--net"],
            &command,
        ))
    };
    let key = node.seal_key().display().to_string();
    let before = elsewhere(&Node::build_args("out", &["--seal-key", &key]));
    assert_eq!(before.code, 3, "{}", before.json);
    let imported = elsewhere(&[
        "trust",
        "import",
        "all.tar",
        "--collection",
        "platform",
        "--at",
        common::node::NOW,
    ]);
    assert_eq!(imported.code, 0, "{}", imported.json);
    let built = elsewhere(&Node::build_args("out", &["--seal-key", &key]));
    assert_eq!(built.code, 0, "{}", built.json);
    node.good(&Node::build_args("reference", &["--seal-key", &key]));
    node.assert_same_files("out", "reference");
}
