//! Collections of Debian's real notary-server, imported with their delegated roles, and read as TUF collections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::process::Command;

use common::notary::{Keys, NotaryServer, PASSPHRASE};
use common::publisher::{DIGEST, GUN, Owner, answer, signing};
use common::{imgkit, succeed};
use serde_json::{Value, json};

/// Another content than [`DIGEST`], as long.
const OTHER: &str = "sha256:b155771cf43ecc9d481d33c7a3ee06b84d2d838be021ede4355893bab1fd1024";

/// A Notary collection, and the TUF collection that it is imported into.
struct Migration<'a> {
    owner: Owner<'a>,
}

impl<'a> Migration<'a> {
    fn of(server: &'a NotaryServer) -> Self {
        let owner = Owner::of(server);
        owner.good(&["init", GUN, "--new-root-key", "--server-managed"]);
        Self { owner }
    }

    /// Makes a key with openssl, lets Debian's client sign as `role` with it, and delegates to it; returns both files.
    fn delegate(&self, name: &str, role: &str, more: &[&str]) -> (String, String) {
        let (public, private) = self.owner.delegate(name);
        succeed(
            self.owner
                .notary(&["key", "import", &private, "--role", role])
                .env("NOTARY_DELEGATION_PASSPHRASE", PASSPHRASE),
        );
        let add = ["delegate", "add", GUN, role, "--key", &public];
        self.owner.good(&[&add, more].concat());
        (public, private)
    }

    /// Signs in another collection than [`GUN`], which is made where it is not there.
    fn sign_in(&self, gun: &str, name: &str, digest: &str) {
        if !self.owner.trust().join(format!("tuf/{gun}")).exists() {
            self.owner.good(&["init", gun, "--new-root-key", "--server-managed"]);
        }
        self.owner
            .good(&["sign", gun, name, "--digest", digest, "--length", "11"]);
    }

    /// Delegates a role of another collection for all names to a new key; returns its files.
    fn delegate_in(&self, gun: &str, name: &str, role: &str) -> (String, String) {
        let (public, private) = self.owner.delegate(name);
        self.owner.good(&["init", gun, "--new-root-key", "--server-managed"]);
        self.owner
            .good(&["delegate", "add", gun, role, "--key", &public, "--all-paths"]);
        (public, private)
    }

    fn sign(&self, role: &str, name: &str, digest: &str) {
        self.owner.good(&signing(role, name, digest));
    }

    fn import(&self, more: &[&str]) -> (i32, Value) {
        self.import_all(&[GUN], more)
    }

    fn import_all(&self, guns: &[&str], more: &[&str]) -> (i32, Value) {
        let words = [&["import", "notary"], guns, &["--into", "new", "--without-images"]].concat();
        let mut command = self.owner.command(&[&words, more].concat());
        answer(self.with_places(&mut command))
    }

    fn new_collection(&self, words: &[&str]) -> (i32, Value) {
        let mut command = imgkit(self.owner.home.path());
        command.env("IMGKIT_PASSPHRASE", PASSPHRASE);
        command
            .args(["--output", "json", "trust", "--collection", "new"])
            .args(words);
        answer(&mut command)
    }

    /// Imports from what the owner trusts already.
    fn with_places<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.arg("--trust-dir").arg(self.owner.trust())
    }

    /// Looks a name of the new collection up: the role that signed it, and the digest.
    fn lookup(&self, name: &str) -> (String, String) {
        let (code, json) = self.new_collection(&["lookup", name]);
        assert_eq!(code, 0, "{name}: {json}");
        let text = |pointer: &str| {
            json.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_else(|| panic!("{json}"))
        };
        (
            text("/result/evidence/role").to_owned(),
            text("/result/signed/digests/0").to_owned(),
        )
    }
}

/// The names that stayed behind.
fn left(report: &Value) -> Vec<&str> {
    let left = report["left"].as_array().unwrap().iter();
    left.map(|left| left["name"].as_str().unwrap()).collect()
}

fn found(role: &str, digest: &str) -> (String, String) {
    (role.to_owned(), digest.to_owned())
}

#[test]
fn delegated_roles_come_over_and_are_asked_in_notarys_order() {
    let server = NotaryServer::start(Keys::Local);
    let migration = Migration::of(&server);
    let (alice, alice_key) = migration.delegate("alice", "targets/a", &["--path", "tools/", "--path", "v"]);
    let (bob, _) = migration.delegate("bob", "targets/b", &["--all-paths"]);
    migration
        .owner
        .good(&["delegate", "add", GUN, "a", "--key", &bob, "--threshold", "2"]);
    succeed(
        &mut migration
            .owner
            .notary(&["key", "import", &alice_key, "--role", "targets/a/tools"]),
    );
    migration.owner.good(&["witness", GUN, "a", "--yes"]);
    let nested = [
        "delegate",
        "add",
        GUN,
        "targets/a/tools",
        "--key",
        &alice,
        "--path",
        "tools/x",
    ];
    migration.owner.good(&nested);
    migration.delegate("carol", "targets/releases", &["--all-paths"]);
    // Who is asked first of those that sign the same name; and names that one of them signs alone.
    for (role, name, digest) in [
        ("targets/b", "v1", DIGEST),
        ("targets/a", "v1", OTHER),
        ("targets/b", "v2", DIGEST),
        ("targets/a", "tools/one", DIGEST),
        ("targets/a/tools", "tools/x1", OTHER),
        ("targets/b", "tools/x1", DIGEST),
        ("targets", "both", OTHER),
        ("targets/releases", "both", DIGEST),
        ("targets", "top", DIGEST),
        ("targets/b", "top", DIGEST),
    ] {
        migration.sign(role, name, digest);
    }

    let (code, json) = migration.import(&["--key", &format!("b={bob}")]);
    assert_eq!(code, 0, "{json}");
    let report = &json["result"]["collections"][0];
    let remade: Vec<_> = report["remade"].as_array().unwrap().iter().collect();
    let of = |role: &Value| {
        json!([
            role["notary"],
            role["role"],
            role["by"],
            role["threshold"],
            role["made"]
        ])
    };
    let roles: Vec<_> = remade.iter().map(|role| of(role)).collect();
    assert_eq!(
        roles,
        [
            json!(["targets/releases", "releases", "targets", 1, 1]),
            json!(["targets", "owner", "targets", 1, 1]),
            json!(["targets/a", "a", "targets", 2, 2]),
            json!(["targets/a/tools", "a.tools", "a", 1, 1]),
            // Bob's public key was given: it is trusted, and the owner's new key signs.
            json!(["targets/b", "b", "targets", 1, 1]),
        ]
    );
    let name = |name: &str| format!("{GUN}{name}");
    for (asked, role, digest) in [
        (name(":v1"), "a", OTHER),
        (name(":v2"), "b", DIGEST),
        (name("/tools/one"), "a", DIGEST),
        (name("/tools/x1"), "a.tools", OTHER),
        (name(":both"), "releases", DIGEST),
        (name(":top"), "owner", DIGEST),
    ] {
        assert_eq!(migration.lookup(&asked), found(role, digest), "{asked}");
    }
    // What was signed the same is told of; what was signed otherwise, and does not count, stays behind.
    let target = |name: &str| {
        report["targets"]
            .as_array()
            .unwrap()
            .iter()
            .find(|target| target["notary"] == name)
            .unwrap()
    };
    assert_eq!(target("top")["alsoSignedBy"][0]["role"], "targets/b");
    assert_eq!(left(report), ["both", "tools/x1", "v1"], "{report}");

    // The owner sets policy as Notary had it: a role signs its own names alone, and two of its keys have to.
    let (_, roles) = migration.new_collection(&["delegate", "ls"]);
    let role = |name: &str| {
        let all = roles["result"]["roles"].as_array().unwrap();
        all.iter()
            .find(|role| role["role"] == name)
            .unwrap_or_else(|| panic!("{name}: {roles}"))
            .clone()
    };
    assert_eq!(
        (role("a")["threshold"].as_u64(), role("a.tools")["by"].as_str()),
        (Some(2), Some("a"))
    );
    assert_eq!(role("b")["keys"].as_array().unwrap().len(), 2);
    assert!(
        role("a")["patterns"]
            .as_array()
            .unwrap()
            .contains(&json!(format!("{GUN}/tools/*")))
    );

    // A second import finds its roles again, and what was signed elsewhere meanwhile moves.
    migration
        .owner
        .good(&["unsign", GUN, "both", "--role", "targets/releases"]);
    migration.sign("targets/b", "v3", OTHER);
    let (code, json) = migration.import(&[]);
    assert_eq!(code, 0, "{json}");
    assert_eq!(migration.lookup(&name(":both")), found("owner", OTHER));
    assert_eq!(migration.lookup(&name(":v3")), found("b", OTHER));
    assert_eq!(migration.lookup(&name(":v1")), found("a", OTHER));
}

#[test]
fn a_delegates_own_key_goes_on_signing_where_it_is_given() {
    let server = NotaryServer::start(Keys::Local);
    let migration = Migration::of(&server);
    let (_, private) = migration.delegate("alice", "targets/releases", &["--all-paths"]);
    migration.sign("targets/releases", "v1", DIGEST);
    let (code, json) = migration.import(&["--key", "targets/nobody=generate:p256"]);
    assert!(code == 2 && json.to_string().contains("targets/releases"), "{json}");
    let (code, json) = migration.import(&["--key", &format!("releases={private}")]);
    assert_eq!(code, 0, "{json}");
    let remade = &json["result"]["collections"][0]["remade"][0];
    assert_eq!(
        (&remade["made"], remade["keys"].as_array().unwrap().len()),
        (&json!(0), 1),
        "{json}"
    );
    assert_eq!(migration.lookup(&format!("{GUN}:v1")), found("releases", DIGEST));
}

#[test]
fn a_role_whose_name_the_specification_keeps_gets_another() {
    let server = NotaryServer::start(Keys::Local);
    let migration = Migration::of(&server);
    migration.delegate("mia", "targets/mirrors", &["--all-paths"]);
    migration.sign("targets/mirrors", "m1", DIGEST);
    let (code, json) = migration.import(&[]);
    assert_eq!(code, 0, "{json}");
    let role = format!("{}.mirrors", GUN.replace('/', "_"));
    assert_eq!(migration.lookup(&format!("{GUN}:m1")), found(&role, DIGEST));
}

#[test]
fn a_role_that_cannot_be_trusted_is_an_error_for_what_it_covers() {
    let server = NotaryServer::start(Keys::Local);
    let migration = Migration::of(&server);
    migration.delegate("alice", "targets/a", &["--path", "v"]);
    migration.delegate("bob", "targets/b", &["--all-paths"]);
    migration.sign("targets/a", "v1", DIGEST);
    migration.sign("targets/b", "v2", DIGEST);
    migration.sign("targets/b", "other", DIGEST);
    // Another key for alice's role, which did not sign what is published for it.
    let (carol, _) = migration.owner.delegate("carol");
    let ids = migration.owner.good(&["delegate", "ls", GUN]);
    let alice = ids["roles"][0]["keys"][0]["canonicalId"].as_str().unwrap().to_owned();
    succeed(
        &mut migration
            .owner
            .notary(&["delegation", "add", "-p", GUN, "targets/a", &carol]),
    );
    succeed(
        &mut migration
            .owner
            .notary(&["delegation", "remove", "-p", "-y", GUN, "targets/a", &alice]),
    );
    let (code, json) = migration.import(&[]);
    assert_eq!(code, 1, "{json}");
    let report = &json["result"]["collections"][0];
    assert_eq!(left(report), ["targets/a", "v2"], "{report}");
    assert_eq!(migration.lookup(&format!("{GUN}:other")), found("b", DIGEST));
    assert_eq!(migration.new_collection(&["lookup", &format!("{GUN}:v2")]).0, 1);
}

/// Another collection, whose name begins with [`GUN`].
const BELOW: &str = "r.example/team/app/b";

#[test]
fn a_signer_of_one_collection_never_signs_for_another() {
    let server = NotaryServer::start(Keys::Local);
    let migration = Migration::of(&server);
    let (_, alice) = migration.delegate_in(BELOW, "alice", "releases");
    let (bob, _) = migration.owner.delegate("bob");
    migration
        .owner
        .good(&["delegate", "add", GUN, "releases", "--key", &bob, "--all-paths"]);
    let (code, json) = migration.import_all(&[BELOW], &["--key", &format!("releases={alice}")]);
    assert_eq!(code, 0, "{json}");
    let patterns = || {
        let (_, roles) = migration.new_collection(&["delegate", "ls"]);
        let all = roles["result"]["roles"].as_array().unwrap().clone();
        let of = |name: &str| {
            all.iter()
                .find(|role| role["role"] == name)
                .map(|role| role["patterns"].clone())
        };
        (
            of("releases").unwrap(),
            of(&format!("{}.releases", GUN.replace('/', "_"))),
        )
    };
    let (alices, _) = patterns();
    // Twice: the second finds the role that the first made.
    for _ in 0..2 {
        let (code, json) = migration.import(&[]);
        assert_eq!(code, 0, "{json}");
        let (same, others) = patterns();
        assert_eq!(same, alices);
        assert!(others.unwrap().as_array().unwrap().contains(&json!(format!("{GUN}:*"))));
    }
}

#[test]
fn a_name_never_becomes_an_image_of_another_collection() {
    let server = NotaryServer::start(Keys::Local);
    let migration = Migration::of(&server);
    migration.sign_in(BELOW, "v1", DIGEST);
    migration.sign_in(GUN, "b:v1", OTHER);
    migration.sign_in(GUN, "b/c", OTHER);
    let (code, json) = migration.import_all(&[GUN, BELOW], &[]);
    assert_eq!(code, 0, "{json}");
    let reports = &json["result"]["collections"];
    assert_eq!(
        (left(&reports[0]), left(&reports[1]).len()),
        (vec!["b:v1"], 0),
        "{json}"
    );
    assert_eq!(migration.lookup(&format!("{BELOW}:v1")), found("targets", DIGEST));
    assert_eq!(migration.lookup(&format!("{BELOW}/c")), found("targets", OTHER));
}

#[test]
fn what_another_source_signs_stays_and_what_an_import_signed_is_updated() {
    let server = NotaryServer::start(Keys::Local);
    let migration = Migration::of(&server);
    migration.sign_in(BELOW, "x y", DIGEST);
    migration.sign_in(GUN, "b/x y", OTHER);
    migration.sign_in(GUN, "v1", DIGEST);
    migration.sign_in(GUN, "v2", DIGEST);
    let (code, json) = migration.import_all(&[BELOW, GUN], &[]);
    assert_eq!(code, 0, "{json}");
    let report = &json["result"]["collections"][1];
    assert_eq!(left(report), ["b/x y"], "{json}");
    assert!(report["left"][0]["reason"].as_str().unwrap().contains(BELOW), "{json}");
    assert_eq!(report["targets"].as_array().unwrap().len(), 2, "{json}");
    assert_eq!(migration.lookup(&format!("{BELOW}/x y")), found("targets", DIGEST));
    // By hand, as `trust sign` does for an image.
    let content = migration.owner.file("content", "by hand");
    let name = format!("{GUN}:v2");
    let (code, signed) = migration.new_collection(&["sign", "--file", &content, "--name", &name]);
    assert_eq!(code, 0, "{signed}");
    let by_hand = migration.lookup(&name);
    migration.sign_in(GUN, "v1", OTHER);
    migration.sign_in(GUN, "v2", OTHER);
    let (code, json) = migration.import(&[]);
    assert_eq!(code, 0, "{json}");
    assert_eq!(left(&json["result"]["collections"][0]), ["b/x y", "v2"], "{json}");
    assert_eq!(migration.lookup(&name), by_hand);
    assert_eq!(migration.lookup(&format!("{GUN}:v1")), found("targets", OTHER));
}

#[test]
fn the_short_and_the_long_form_of_a_name_are_two_collections() {
    let server = NotaryServer::start(Keys::Local);
    let migration = Migration::of(&server);
    migration.sign_in("docker.io/library/alpine", "v1", DIGEST);
    migration.sign_in("alpine", "v1", OTHER);
    for guns in [&["docker.io/library/alpine"], &["alpine"]] {
        let (code, json) = migration.import_all(guns, &[]);
        assert_eq!(code, 0, "{json}");
    }
    let name = "docker.io/library/alpine:v1";
    assert_eq!(migration.lookup(name), found("targets", DIGEST));
}
