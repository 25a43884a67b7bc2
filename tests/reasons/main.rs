//! Each reason code: a fixture that differs in one fault from a twin that is accepted.
//!
//! Code, line of node.yml or policy.yml and exit status are those of the JSON answer; BOOT_FAILED needs QEMU and is in `vm.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod build;
mod exits;
mod image;
mod memory;
mod release;
mod sealing;
mod signed;
mod times;
mod trust;

use common::images::noise;
use common::node::{Answer, Node};

/// The lines of node.yml that name components, in its order.
const EVERY_COMPONENT: [u64; 4] = [2, 4, 8, 11];

/// Builds, and asserts that the one refusal has this code, at this line.
fn refused(node: &Node, more: &[&str], code: &str, line: Option<u64>) {
    all_refused(node, more, &[(code, line)]);
}

/// Builds, and asserts that the refusals have these codes, at these lines, and that nothing is left.
fn all_refused(node: &Node, more: &[&str], reasons: &[(&str, Option<u64>)]) {
    let args = Node::build_args("refused", &[&["--format", "raw-bios"], more].concat());
    assert_refused(node, &node.run(&args), reasons);
}

/// Asserts that a build into `refused` had these refusals and left nothing.
fn assert_refused(node: &Node, answer: &Answer, reasons: &[(&str, Option<u64>)]) {
    assert_eq!(
        (answer.code, answer.reasons()),
        (1, reasons.to_vec()),
        "{}",
        answer.json
    );
    for refusal in answer.json["refusals"].as_array().unwrap() {
        for field in ["subject", "expected", "found", "advice"] {
            assert!(!refusal[field].as_str().unwrap().is_empty(), "{refusal}");
        }
    }
    assert!(node.names("refused").is_empty(), "a refused build leaves nothing");
}

/// A node whose build is accepted: every test's twin.
fn accepted() -> Node {
    let node = Node::new();
    node.good(&Node::build_args("accepted", &["--format", "raw-bios"]));
    node
}
