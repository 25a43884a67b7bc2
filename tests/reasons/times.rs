//! The times of judgement (law of the gate 5): which one a build takes, and what today's metadata know that a seal does not.

use std::fs;

use imgkit::key::Passphrase;
use imgkit::store::KeyStore;

use super::accepted;
use super::common::images::noise;
use super::common::node::{Answer, NOW, Node, PASSPHRASE, answer};
use super::common::owner::{Owner, clock, key};
use super::trust::{copy_dir, rotate};

const RAW: [&str; 2] = ["--format", "raw-bios"];

const IMAGE: &str = "out/node-bios.img";

/// Makes the collection's metadata good by the clock as well.
fn renew(node: &Node) {
    node.good(&["trust", "renew", "root", "targets"]);
}

fn build(node: &Node, out: &str, more: &[&str]) {
    let key = node.seal_key().display().to_string();
    node.good(&Node::build_args(
        out,
        &[&RAW[..], &["--seal-key", &key], more].concat(),
    ));
}

fn fresh(node: &Node, image: &str, more: &[&str]) -> Answer {
    node.run(&[&["verify", "--fresh", "--policy", "policy.yml"], more, &[image]].concat())
}

fn assert_reasons(answer: &Answer, reasons: &[(&str, Option<u64>)]) {
    let code = i32::from(!reasons.is_empty());
    assert_eq!(
        (answer.code, answer.reasons()),
        (code, reasons.to_vec()),
        "{}",
        answer.json
    );
}

/// Keeps the collections as they are, for `--trust-dir`.
fn keep(node: &Node, dir: &str) {
    copy_dir(&node.path("trust/platform"), &node.path(dir).join("platform"));
}

#[test]
fn a_backdated_seal_by_a_key_that_was_rotated_since_is_revoked_by_todays_metadata() {
    let node = Node::new();
    let old = node.seal_key().display().to_string();
    renew(&node);
    keep(&node, "before");
    rotate(&Owner::of(&node, "platform", &["targets"]), "seal", 31);
    renew(&node);
    // The thief has the old key, and the metadata of the time when it counted.
    let thief = ["--trust-dir", "before", "--trust-state", "thief", "--seal-key", &old];
    node.good(&Node::build_args("out", &[&RAW[..], &thief].concat()));
    assert_reasons(&node.verify(IMAGE), &[]);
    assert_reasons(&fresh(&node, IMAGE, &[]), &[("REVOKED", Some(11))]);
    let store = KeyStore::at(node.path("newer"));
    let new = store.save("platform", "seal", &key(31), &Passphrase::new(PASSPHRASE).unwrap());
    let new = new.unwrap().display().to_string();
    node.good(&Node::build_args("new", &[&RAW[..], &["--seal-key", &new]].concat()));
    assert_reasons(&fresh(&node, "new/node-bios.img", &[]), &[]);
}

#[test]
fn metadata_older_than_the_seals_or_than_those_trusted_before_are_a_rollback() {
    let node = Node::new();
    renew(&node);
    build(&node, "first", &[]);
    keep(&node, "before");
    node.component("other", &[("bin/app", &noise(5, 100))]);
    node.good(&["trust", "sign", "local.test/other:v1"]);
    build(&node, "out", &[]);
    let older = |state| ["--trust-dir", "before", "--trust-state", state];
    assert_reasons(&fresh(&node, "first/node-bios.img", &older("one")), &[]);
    assert_reasons(&fresh(&node, IMAGE, &older("two")), &[("ROLLBACK", None)]);
    assert_reasons(&fresh(&node, "first/node-bios.img", &["--trust-state", "one"]), &[]);
    assert_reasons(
        &fresh(&node, "first/node-bios.img", &older("one")),
        &[("ROLLBACK", None)],
    );
}

#[test]
fn what_todays_metadata_no_longer_say_is_refused_at_its_line() {
    let node = Node::new();
    node.edit("policy.yml", "image:\n", "spec:\n  signed: {root: platform}\nimage:\n");
    let spec = ["trust", "sign", "--file", "node.yml", "--name", "spec/node.yml"];
    node.good(&spec);
    renew(&node);
    build(&node, "out", &[]);
    assert_reasons(&fresh(&node, IMAGE, &[]), &[]);
    node.component("svc", &[("bin/app", &noise(6, 100))]);
    node.good(&["trust", "sign", "local.test/svc:v1"]);
    assert_reasons(&node.verify(IMAGE), &[]);
    assert_reasons(&fresh(&node, IMAGE, &[]), &[("DIGEST_MISMATCH", Some(11))]);
    node.edit("node.yml", "contents: node", "contents: other");
    node.good(&spec);
    let both = [("DIGEST_MISMATCH", Some(9)), ("DIGEST_MISMATCH", Some(11))];
    assert_reasons(&fresh(&node, IMAGE, &[]), &both);
    build(&node, "again", &[]);
    assert_reasons(&fresh(&node, "again/node-bios.img", &[]), &[]);
}

#[test]
fn todays_metadata_past_their_time_are_expired_and_none_is_not_known() {
    let node = Node::new();
    build(&node, "out", &[]);
    fs::create_dir(node.path("empty")).unwrap();
    let answer = fresh(&node, IMAGE, &["--trust-dir", "empty"]);
    assert_eq!(
        (answer.code, &answer.json["verdict"]),
        (3, &"unavailable".into()),
        "{}",
        answer.json
    );
    let owner = Owner::of(&node, "platform", &[]);
    owner.forge("timestamp", owner.key("timestamp"), |timestamp| {
        timestamp["expires"] = "2026-11-22T00:00:00Z".into()
    });
    let answer = fresh(&node, IMAGE, &[]);
    assert!(
        answer.code == 1 && answer.codes().iter().all(|code| *code == "EXPIRED"),
        "{}",
        answer.json
    );
    renew(&node);
    assert_reasons(&fresh(&node, IMAGE, &[]), &[]);
}

#[test]
fn every_report_says_which_of_the_three_times_was_judged() {
    let node = Node::new();
    renew(&node);
    build(&node, "out", &[]);
    let verify = ["verify", "--policy", "policy.yml", IMAGE];
    let times = node.verify(IMAGE).json["result"]["times"].take();
    assert_eq!(times["embeddedMetadataAt"], NOW);
    assert!(
        times["maxAge"].is_null() && times["todaysMetadataAt"].is_null(),
        "{times}"
    );
    let text = node.text(&verify);
    for part in [
        "embedded metadata judged at 2026-11-23T00:00:00Z",
        "no maxAge is demanded",
        "today's metadata not judged",
    ] {
        assert!(text.contains(part), "{text}");
    }
    node.edit("policy.yml", "image:\n", "image:\n  maxAge: 36500d\n");
    let times = fresh(&node, IMAGE, &[]).json["result"]["times"].take();
    assert_eq!(times["maxAge"], 36_500_u64 * 86_400);
    assert_eq!(times["todaysMetadataAt"], times["ageAt"]);
    let text = node.text(&[&verify[..3], &["--fresh", IMAGE]].concat());
    assert!(
        text.contains("within maxAge of 876000 hours; today's metadata judged at"),
        "{text}"
    );
    assert!(!text.contains("whether today's"), "{text}");
}

#[test]
fn a_build_judges_at_the_option_else_the_environment_else_the_lock() {
    let node = accepted();
    let [lock, environment, option] = ["2026-11-23T03:00:00Z", "2026-11-23T02:00:00Z", "2026-11-23T01:00:00Z"];
    node.good(&["lock", "--at", lock, "node.yml"]);
    let key = node.seal_key().display().to_string();
    let seconds = environment.parse::<imgkit::time::Time>().unwrap().unix().to_string();
    for (at, epoch, expected) in [
        (true, true, option),
        (true, false, option),
        (false, true, environment),
        (false, false, lock),
    ] {
        let at = if at { &["--at", option][..] } else { &[] };
        let args = [
            "build",
            "--offline",
            "--policy",
            "policy.yml",
            "--out",
            "out",
            "--locked",
            "--seal-key",
            &key,
        ];
        let mut command = node.command(&[&args[..], &RAW, at, &["--", "node.yml"]].concat());
        if epoch {
            command.env("SOURCE_DATE_EPOCH", &seconds);
        }
        let built = answer(&mut command);
        assert_eq!(built.json["result"]["evaluatedAt"], expected, "{}", built.json);
        let shown = node.good(&["show", IMAGE]);
        assert_eq!(shown["statement"]["predicate"]["evaluatedAt"], expected);
    }
}

#[test]
fn an_image_that_was_evaluated_in_the_future_is_refused() {
    let node = Node::new();
    renew(&node);
    let key = node.seal_key().display().to_string();
    for (seconds, reasons) in [(86_400, &[("EXPIRED", None)][..]), (-60, &[])] {
        let at = clock().plus(seconds).to_string();
        let more = [&RAW[..], &["--seal-key", &key]].concat();
        let mut args = Node::build_args("out", &more);
        args.iter_mut().filter(|arg| **arg == NOW).for_each(|arg| *arg = &at);
        node.good(&args);
        assert_reasons(&node.verify(IMAGE), reasons);
    }
}
