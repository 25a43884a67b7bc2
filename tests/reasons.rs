//! Each reason code: a fixture that differs in one fault from a twin that is accepted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::images::noise;
use common::node::{Answer, NOW, Node};

/// Builds, and asserts that the one refusal has this code, at this line of node.yml.
fn refused(node: &Node, more: &[&str], code: &str, line: Option<u64>) {
    let answer = node.run(&Node::build_args(
        "refused",
        &[&["--format", "raw-bios"], more].concat(),
    ));
    assert_eq!((answer.code, answer.codes()), (1, vec![code]), "{}", answer.json);
    let refusal = &answer.json["refusals"][0];
    assert_eq!(refusal["place"]["line"].as_u64(), line, "{refusal}");
    for field in ["subject", "expected", "found", "advice"] {
        assert!(!refusal[field].as_str().unwrap().is_empty(), "{refusal}");
    }
    let left = fs::read_dir(node.path("refused")).unwrap().count();
    assert_eq!(left, 0, "a refused build leaves nothing");
}

/// A node whose build is accepted: every test's twin.
fn accepted() -> Node {
    let node = Node::new();
    node.good(&Node::build_args("accepted", &["--format", "raw-bios"]));
    node
}

#[test]
fn a_component_that_nobody_signed_is_unsigned() {
    let node = accepted();
    node.component("other", &[("bin/app", &noise(5, 100))]);
    node.edit("node.yml", "local.test/svc:v1", "local.test/other:v1");
    refused(&node, &[], "UNSIGNED", Some(11));
}

#[test]
fn other_bytes_under_a_signed_name_are_a_digest_mismatch() {
    let node = accepted();
    node.component("svc", &[("bin/app", &noise(6, 100))]);
    refused(&node, &[], "DIGEST_MISMATCH", Some(11));
}

#[test]
fn a_blob_that_was_changed_in_the_store_is_a_digest_mismatch() {
    let node = accepted();
    fs::remove_dir_all(node.path("store/derived")).unwrap();
    let blobs = fs::read_dir(node.path("store/blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let largest = blobs.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    common::node::flip(&largest, 1000, 3);
    refused(&node, &[], "DIGEST_MISMATCH", Some(11));
}

#[test]
fn a_component_that_no_rule_matches_has_no_rule() {
    let node = accepted();
    node.edit(
        "policy.yml",
        "local.test/*",
        "local.test/[a-z]".replace("[a-z]", "x").as_str(),
    );
    let answer = node.run(&Node::build_args("refused", &["--format", "raw-bios"]));
    assert_eq!(
        (answer.code, answer.codes()),
        (1, vec!["NO_RULE"; 4]),
        "all are listed: {}",
        answer.json
    );
}

#[test]
fn a_component_that_a_rule_denies_is_denied() {
    let node = accepted();
    node.edit(
        "policy.yml",
        "rules:\n",
        "rules:\n  - match: local.test/svc\n    deny: not here\n",
    );
    refused(&node, &[], "DENIED", Some(11));
}

#[test]
fn a_role_that_did_not_sign_is_the_wrong_key() {
    let node = accepted();
    node.edit(
        "policy.yml",
        "rules:\n",
        "rules:\n  - match: local.test/svc\n    signed: {root: platform, role: team}\n",
    );
    refused(&node, &[], "WRONG_KEY", Some(11));
}

#[test]
fn too_few_signers_are_a_threshold() {
    let node = accepted();
    let rule = "rules:\n  - match: local.test/svc\n    signed: {root: platform, threshold: 2}\n";
    node.edit("policy.yml", "rules:\n", rule);
    refused(&node, &[], "THRESHOLD", Some(11));
}

#[test]
fn metadata_past_their_time_are_expired() {
    let node = accepted();
    let answer = node.run(&[
        "build",
        "--offline",
        "--policy",
        "policy.yml",
        "--at",
        "2026-12-20T00:00:00Z",
        "--out",
        "refused",
        "--format",
        "raw-bios",
        "node.yml",
    ]);
    assert_eq!(
        (answer.code, answer.codes()),
        (1, vec!["EXPIRED"; 4]),
        "{}",
        answer.json
    );
}

#[test]
fn what_a_label_asks_for_without_leave_is_a_privilege() {
    let node = accepted();
    node.edit(
        "node.yml",
        "    command: [/bin/app]\n",
        "    command: [/bin/app]\n    capabilities: [CAP_KILL]\n",
    );
    node.good(&Node::build_args("yaml", &["--format", "raw-bios"]));
    // The same wish in the image's own label, which nobody granted.
    let rootfs = node.path("rootfs/bin");
    fs::create_dir_all(&rootfs).unwrap();
    fs::write(rootfs.join("app"), b"app").unwrap();
    let label = "org.mobyproject.config={\"capabilities\":[\"CAP_SYS_ADMIN\"]}";
    node.good(&["pkg", "pack", "rootfs", "--tag", "local.test/svc:v1", "--label", label]);
    node.good(&["trust", "sign", "--at", NOW, "local.test/svc:v1"]);
    node.edit("node.yml", "    capabilities: [CAP_KILL]\n", "");
    refused(&node, &[], "PRIVILEGE", Some(11));
    node.edit(
        "policy.yml",
        "    proved: true\n",
        "    proved: true\n    allow: ['capability:CAP_SYS_*']\n",
    );
    node.good(&Node::build_args("allowed", &["--format", "raw-bios"]));
}

#[test]
fn a_replaced_file_is_an_override_where_the_rule_forbids_it() {
    let node = accepted();
    node.edit("node.yml", "  - path: etc/node\n", "  - path: etc/motd\n");
    node.good(&Node::build_args("allowed", &["--format", "raw-bios"]));
    node.edit(
        "policy.yml",
        "    proved: true\n",
        "    proved: true\n    overrides: refuse\n",
    );
    refused(&node, &[], "OVERRIDE", Some(8));
}

#[test]
fn a_command_line_that_turns_checks_off_is_refused() {
    let node = accepted();
    node.edit("node.yml", "console=ttyS0", "console=ttyS0 init=/bin/sh");
    refused(&node, &[], "CMDLINE", Some(6));
}

#[test]
fn a_specification_that_nobody_signed_is_an_unsigned_input_where_the_policy_says_so() {
    let node = accepted();
    node.edit("policy.yml", "image:\n", "spec:\n  signed: {root: platform}\nimage:\n");
    refused(&node, &[], "UNSIGNED_INPUT", Some(9));
    node.good(&[
        "trust",
        "sign",
        "--at",
        NOW,
        "--file",
        "node.yml",
        "--name",
        "spec/node.yml",
    ]);
    node.good(&Node::build_args("signed", &["--format", "raw-bios"]));
}

/// Asserts how the accepted, sealed disk is judged after one change of the policy.
fn judged(from: &str, to: &str, code: &str) {
    let node = Node::new();
    node.build_sealed("out");
    assert_eq!(node.verify("out/node.qcow2").code, 0);
    node.edit("policy.yml", from, to);
    let Answer { code: exit, json } = node.verify("out/node.qcow2");
    assert_eq!((exit, json["refusals"][0]["code"].as_str()), (1, Some(code)), "{json}");
}

#[test]
fn an_image_that_is_not_the_one_the_policy_names_is_refused() {
    judged("name: node", "name: other", "NAME");
    judged("arch: amd64", "arch: arm64", "ARCH");
    judged("arch: amd64", "arch: amd64\n  minEpoch: 3", "EPOCH");
    judged(
        "sealed: {root: platform}",
        "sealed: {root: platform, threshold: 2}",
        "THRESHOLD",
    );
    judged(
        "sealed: {root: platform}",
        "sealed: {root: platform, role: targets}",
        "WRONG_KEY",
    );
}

#[test]
fn a_seal_by_a_key_that_may_not_seal_is_the_wrong_key() {
    let node = Node::new();
    node.good(&["trust", "init", "strangers", "--at", NOW]);
    let key = |of: &str| {
        let mut keys = fs::read_dir(node.path("keys").join(of)).unwrap();
        keys.next().unwrap().unwrap().path().display().to_string()
    };
    let request = [
        "--format",
        "raw-bios",
        "--format",
        "kernel+initrd",
        "--seal-request",
        "request",
    ];
    for (number, (of, code)) in [
        ("platform/seal", None),
        ("platform/targets", Some("WRONG_KEY")),
        ("strangers/seal", Some("WRONG_KEY")),
    ]
    .into_iter()
    .enumerate()
    {
        let out = number.to_string();
        node.good(&Node::build_args(&out, &request));
        node.good(&["seal", "sign", "--seal-key", &key(of), "request"]);
        for file in ["node-bios.img", "node.seal"] {
            let image = format!("{out}/{file}");
            let waiting = node.verify(&image);
            assert_eq!(
                (waiting.code, waiting.codes()),
                (1, vec!["UNSIGNED"]),
                "{}",
                waiting.json
            );
            node.good(&["seal", "attach", &image, "request.sig"]);
            let answer = node.verify(&image);
            let expected = (i32::from(code.is_some()), code.into_iter().collect::<Vec<_>>());
            assert_eq!((answer.code, answer.codes()), expected, "{}", answer.json);
            assert!(
                answer
                    .subjects()
                    .iter()
                    .all(|subject| *subject == format!("seal of {image}"))
            );
        }
    }
}

#[test]
fn unsafe_and_unsealed_images_are_refused() {
    let node = Node::new();
    let key = node.seal_key().display().to_string();
    let build = [
        "build",
        "--offline",
        "--unsafe-accept-unsigned",
        "--at",
        NOW,
        "--format",
        "raw-bios",
        "--seal-key",
        &key,
        "--out",
        "unsafe",
        "node.yml",
    ];
    node.good(&build);
    let answer = node.verify("unsafe/node-bios.img");
    assert_eq!((answer.code, answer.codes()), (1, vec!["WRONG_KEY"]), "{}", answer.json);
    node.good(&Node::build_args("unsealed", &["--format", "raw-bios"]));
    let answer = node.verify("unsealed/node-bios.img");
    assert_eq!((answer.code, answer.codes()), (1, vec!["UNSIGNED"]), "{}", answer.json);
}

#[test]
fn not_knowing_is_neither_yes_nor_no() {
    let node = accepted();
    node.edit("node.yml", "local.test/svc:v1", "local.test/absent:v1");
    node.edit(
        "policy.yml",
        "rules:\n",
        "rules:\n  - match: local.test/absent\n    unsigned: accept\n",
    );
    assert_eq!(
        node.run(&Node::build_args("refused", &["--format", "raw-bios"])).code,
        3
    );
    assert_eq!(
        node.run(&[
            "build",
            "--policy",
            "policy.yml",
            "--at",
            NOW,
            "--out",
            "refused",
            "absent.yml"
        ])
        .code,
        3
    );
    node.edit("policy.yml", "version: 1", "version: 9");
    assert_eq!(node.run(&Node::build_args("refused", &[])).code, 2);
    assert_eq!(
        node.run(&["build", "--offline", "--at", NOW, "node.yml"]).code,
        2,
        "no policy, no build"
    );
}
