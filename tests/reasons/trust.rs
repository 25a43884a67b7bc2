//! Trust metadata that a build refuses: keys that were taken away, states that are older, files past their time.

use std::fs;
use std::path::Path;

use imgkit::key::Passphrase;
use imgkit::store::KeyStore;
use imgkit::trust::edit::RoleSpec;
use serde_json::Value;

use super::common::images::noise;
use super::common::node::{NOW, Node, PASSPHRASE};
use super::common::owner::{Owner, key, now};
use super::{EVERY_COMPONENT, accepted, all_refused, refused};

const RAW: [&str; 2] = ["--format", "raw-bios"];

/// Publishes new keys for a delegated role: of those before, none counts any longer.
pub(super) fn rotate(owner: &Owner, role: &str, number: u8) {
    let new = key(number);
    let spec = RoleSpec {
        keys: vec![new.tuf_key()],
        threshold: 1,
    };
    owner.change(&[&new], |collection| collection.rotate(role, &spec, now()).unwrap());
}

#[test]
fn a_component_whose_signer_lost_its_key_is_revoked() {
    let node = accepted();
    node.good(&["trust", "init", "crew", "--role", "team", "--at", NOW]);
    let sign = ["trust", "sign", "--at", NOW, "--collection", "crew", "--role", "team"];
    node.good(&[&sign[..], &["local.test/svc:v1"]].concat());
    node.edit("policy.yml", "roots:\n", "roots:\n  crew: keys/crew/root.json\n");
    let rule = "rules:\n  - match: local.test/svc\n    signed: {root: crew, role: team}\n";
    node.edit("policy.yml", "rules:\n", rule);
    node.good(&Node::build_args("team", &RAW));
    let owner = Owner::of(&node, "crew", &["targets", "team"]);
    rotate(&owner, "team", 21);
    node.good(&Node::build_args("rotated", &RAW));
    // The same words, signed by the key that the team had.
    owner.forge("team", owner.key("team"), |_| ());
    refused(&node, &[], "REVOKED", Some(11));
}

#[test]
fn metadata_by_a_key_that_a_newer_root_dropped_are_revoked() {
    let node = accepted();
    let owner = Owner::of(&node, "platform", &["root", "targets"]);
    let new = key(22);
    owner.forge("root", owner.key("root"), |root| {
        root["roles"]["targets"]["keyids"] = vec![new.id().to_string()].into();
        root["keys"][new.id().as_str()] = new.tuf_key().to_json().clone();
    });
    all_refused(&node, &[], &EVERY_COMPONENT.map(|line| ("REVOKED", Some(line))));
    owner.forge("targets", &new, |_| ());
    node.good(&Node::build_args("rotated", &RAW));
}

#[test]
fn later_seals_by_a_rotated_key_are_revoked_and_earlier_ones_stay() {
    let node = Node::new();
    let old = node.seal_key().display().to_string();
    let build = |out: &str, more: &[&str]| node.run(&Node::build_args(out, &[&RAW[..], more].concat()));
    assert_eq!(build("before", &["--seal-key", &old]).code, 0);
    rotate(&Owner::of(&node, "platform", &["targets"]), "seal", 23);
    let store = KeyStore::at(node.path("newer"));
    let new = store.save("platform", "seal", &key(23), &Passphrase::new(PASSPHRASE).unwrap());
    let new = new.unwrap().display().to_string();

    // The build verifies what it sealed before that has a name.
    let answer = build("refused", &["--seal-key", &old]);
    let reasons = vec![("REVOKED", Some(11))];
    assert_eq!((answer.code, answer.reasons()), (1, reasons.clone()), "{}", answer.json);
    assert!(node.names("refused").is_empty());

    for (key, code, reasons) in [(&old, 1, reasons), (&new, 0, vec![])] {
        assert_eq!(build("after", &["--seal-request", "request"]).code, 0);
        node.good(&["seal", "sign", "--seal-key", key, "request"]);
        node.good(&["seal", "attach", "after/node-bios.img", "request.sig"]);
        let answer = node.verify("after/node-bios.img");
        assert_eq!((answer.code, answer.reasons()), (code, reasons), "{}", answer.json);
    }
    assert_eq!(
        node.verify("before/node-bios.img").code,
        0,
        "what was right stays right"
    );
}

pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn an_older_state_of_a_collection_than_the_last_build_trusted_is_a_rollback() {
    let node = accepted();
    let (collection, kept) = (node.path("trust/platform"), node.path("kept"));
    copy_dir(&collection, &kept);
    node.component("other", &[("bin/app", &noise(5, 100))]);
    node.good(&["trust", "sign", "--at", NOW, "local.test/other:v1"]);
    node.good(&Node::build_args("newer", &RAW));
    fs::remove_dir_all(&collection).unwrap();
    fs::rename(&kept, &collection).unwrap();
    all_refused(&node, &[], &EVERY_COMPONENT.map(|line| ("ROLLBACK", Some(line))));
    // Who never saw the newer state cannot tell.
    node.good(&Node::build_args(
        "unaware",
        &[&RAW[..], &["--trust-state", "elsewhere"]].concat(),
    ));
}

#[test]
fn a_root_that_was_trusted_stays_trusted_when_it_is_withheld() {
    let node = accepted();
    let owner = Owner::of(&node, "platform", &["root", "targets"]);
    let new = key(24);
    let collection = node.path("trust/platform");
    copy_dir(&collection, &node.path("kept"));
    owner.forge("root", owner.key("root"), |root| {
        root["roles"]["targets"]["keyids"] = vec![new.id().to_string()].into();
        root["keys"][new.id().as_str()] = new.tuf_key().to_json().clone();
    });
    owner.forge("targets", &new, |_| ());
    node.good(&Node::build_args("newer", &RAW));
    fs::remove_file(collection.join("2.root.json")).unwrap();
    node.good(&Node::build_args("withheld", &RAW));
    let elsewhere = ["--trust-state", "elsewhere"];
    all_refused(
        &node,
        &elsewhere,
        &EVERY_COMPONENT.map(|line| ("WRONG_KEY", Some(line))),
    );
}

#[test]
fn each_kind_of_metadata_past_its_time_is_expired() {
    let node = accepted();
    let owner = Owner::of(&node, "platform", &["root", "targets"]);
    for role in ["timestamp", "snapshot", "targets", "root"] {
        let forge = |expires: &str| owner.forge(role, owner.key(role), |signed| signed["expires"] = expires.into());
        forge("2026-11-22T00:00:00Z");
        all_refused(&node, &[], &EVERY_COMPONENT.map(|line| ("EXPIRED", Some(line))));
        forge("2026-11-24T00:00:00Z");
        node.good(&Node::build_args(role, &RAW));
    }
}

#[test]
fn metadata_that_are_none_are_malformed() {
    let node = accepted();
    let owner = Owner::of(&node, "platform", &["targets"]);
    owner.forge("targets", owner.key("targets"), |targets| {
        targets["expires"] = "soon".into()
    });
    all_refused(&node, &[], &EVERY_COMPONENT.map(|line| ("MALFORMED", Some(line))));
    owner.forge("targets", owner.key("targets"), |targets| {
        targets["expires"] = "2026-11-24T00:00:00Z".into();
    });
    node.good(&Node::build_args("good", &RAW));
    let svc = "local.test/svc:v1";
    owner.forge("targets", owner.key("targets"), |targets| {
        targets["targets"][svc]["custom"] = Value::Null;
    });
    let answer = node.run(&Node::build_args("refused", &RAW));
    assert_eq!(
        (answer.code, answer.reasons()),
        (1, vec![("MALFORMED", Some(11))]),
        "{}",
        answer.json
    );
}
