//! `policy verify`: the gate's verdict about images, and how long it is kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::node::Node;
use serde_json::Value;

const POLICY: &str = "\
version: 1
roots: {clock: keys/clock/root.json}
rules:
  - match: local.test/*
    signed: {root: clock}
";

const NAMES: [&str; 2] = ["local.test/init:v1", "local.test/svc:v1"];

/// A node whose components are signed today.
fn node() -> Node {
    let node = Node::new();
    node.good(&["trust", "init", "clock"]);
    node.good(&["trust", "sign", "--collection", "clock", NAMES[0], NAMES[1]]);
    node.write("policy.yml", POLICY);
    node
}

fn verify(node: &Node, more: &[&str]) -> (i32, Value) {
    let args = ["policy", "verify", "--offline", "--policy", "policy.yml"];
    let answer = node.run(&[&args[..], more, &NAMES].concat());
    (answer.code, answer.json)
}

/// Verifies images that have to be admitted; tells of each whether an earlier verdict was taken.
fn kept(node: &Node, more: &[&str]) -> Vec<bool> {
    let (code, json) = verify(node, more);
    assert_eq!(code, 0, "{json}");
    let images = json["result"]["images"].as_array().unwrap();
    images.iter().map(|image| !image["judgedBefore"].is_null()).collect()
}

/// The codes of all refusals, image by image.
fn codes(json: &Value) -> Vec<&str> {
    let images = json["result"]["images"].as_array().unwrap();
    let refusals = images.iter().flat_map(|image| image["refusals"].as_array().unwrap());
    refusals.map(|refusal| refusal["code"].as_str().unwrap()).collect()
}

#[test]
fn a_verdict_is_kept_until_something_changes_that_it_rests_on() {
    let node = node();
    assert_eq!(kept(&node, &[]), [false, false]);
    assert_eq!(kept(&node, &[]), [true, true]);
    assert_eq!(kept(&node, &["--no-cache"]), [false, false]);
    // The policy.
    node.edit("policy.yml", "local.test/*", "local.test/**");
    assert_eq!(kept(&node, &[]), [false, false]);
    assert_eq!(kept(&node, &[]), [true, true]);
    // The collection.
    node.good(&["trust", "sign", "--collection", "clock", NAMES[0]]);
    assert_eq!(kept(&node, &[]), [false, false]);
    // The image under a name.
    node.component("svc", &[("bin/app", b"another")]);
    let (code, json) = verify(&node, &[]);
    assert_eq!(code, 1);
    assert_eq!(codes(&json), ["DIGEST_MISMATCH"], "{json}");
}

#[test]
fn a_collection_that_goes_back_is_noticed_though_a_verdict_was_kept() {
    let node = node();
    let copy = |from: &str, to: &str| {
        for entry in fs::read_dir(node.path(from)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::create_dir_all(node.path(to)).unwrap();
                fs::copy(&path, node.path(to).join(path.file_name().unwrap())).unwrap();
            }
        }
    };
    copy("trust/clock", "before");
    assert_eq!(kept(&node, &[]), [false, false]);
    node.good(&["trust", "sign", "--collection", "clock", NAMES[0]]);
    assert_eq!(kept(&node, &[]), [false, false]);
    copy("before", "trust/clock");
    let (code, json) = verify(&node, &[]);
    assert_eq!(code, 1, "{json}");
    assert_eq!(codes(&json), ["ROLLBACK", "ROLLBACK"], "{json}");
}

#[test]
fn what_is_refused_is_judged_anew_and_all_is_told_in_one_answer() {
    let node = node();
    node.good(&["trust", "unsign", "--collection", "clock", NAMES[1]]);
    for _ in 0..2 {
        let (code, json) = verify(&node, &[]);
        assert_eq!(code, 1, "{json}");
        let text = json.to_string();
        assert!(
            text.contains("\"verdict\":\"admitted\"") && text.contains("UNSIGNED"),
            "{json}"
        );
    }
    node.good(&["trust", "sign", "--collection", "clock", NAMES[1]]);
    assert_eq!(kept(&node, &[]), [false, false]);
}
