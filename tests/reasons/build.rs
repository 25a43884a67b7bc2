//! Components and inputs that a build refuses.

use std::fs;

use imgkit::trust::ImageTarget;

use super::common::images::noise;
use super::common::node::{NOW, Node, flip};
use super::common::owner::{Owner, now};
use super::{EVERY_COMPONENT, accepted, all_refused, assert_refused, refused};

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
    flip(&largest, 1000, 3);
    refused(&node, &[], "DIGEST_MISMATCH", Some(11));
}

#[test]
fn a_component_that_no_rule_matches_has_no_rule() {
    let node = accepted();
    node.edit("policy.yml", "local.test/*", "local.test/x");
    all_refused(&node, &[], &EVERY_COMPONENT.map(|line| ("NO_RULE", Some(line))));
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
    let mut args = Node::build_args("refused", &["--format", "raw-bios"]);
    args.iter_mut()
        .filter(|arg| **arg == NOW)
        .for_each(|arg| *arg = "2026-12-20T00:00:00Z");
    let answer = node.run(&args);
    assert_refused(&node, &answer, &EVERY_COMPONENT.map(|line| ("EXPIRED", Some(line))));
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
fn what_every_part_of_init_has_alike_is_no_override() {
    let node = accepted();
    node.component("tools", &[("bin/tool", &noise(7, 100))]);
    node.good(&["trust", "sign", "--at", NOW, "local.test/tools:v1"]);
    node.edit(
        "node.yml",
        "  - local.test/init:v1\n",
        "  - local.test/init:v1\n  - local.test/tools:v1\n",
    );
    node.edit(
        "policy.yml",
        "    proved: true\n",
        "    proved: true\n    overrides: refuse\n",
    );
    let built = node.good(&Node::build_args("alike", &["--format", "raw-bios"]));
    assert_eq!(built["overrides"], serde_json::json!([]));
    node.component("tools", &[("bin/tool", &noise(7, 100)), ("etc/motd", b"mine")]);
    node.good(&["trust", "sign", "--at", NOW, "local.test/tools:v1"]);
    refused(&node, &[], "OVERRIDE", Some(8));
}

#[test]
fn a_component_of_init_that_brings_a_container_asks_for_a_privilege() {
    let node = accepted();
    for (files, privilege) in [
        (
            vec![
                ("init", noise(4, 30_000)),
                ("containers/services/evil/config.json", b"{}".to_vec()),
            ],
            true,
        ),
        (vec![("init", noise(4, 30_000)), ("containers", b"file".to_vec())], true),
        (
            vec![("init", noise(4, 30_000)), ("containers.d/x", b"file".to_vec())],
            false,
        ),
    ] {
        let files: Vec<_> = files
            .iter()
            .map(|(path, content)| (*path, content.as_slice()))
            .collect();
        node.component("init", &files);
        node.good(&["trust", "sign", "--at", NOW, "local.test/init:v1"]);
        match privilege {
            true => refused(&node, &[], "PRIVILEGE", Some(8)),
            false => drop(node.good(&Node::build_args("other", &["--format", "raw-bios"]))),
        }
    }
}

#[test]
fn an_image_that_its_own_policy_would_refuse_is_not_made_whoever_seals_it() {
    let node = accepted();
    let line = |text: &str| {
        let policy = fs::read_to_string(node.path("policy.yml")).unwrap();
        let at = policy.lines().position(|line| line.trim_start().starts_with(text));
        at.map(|at| at as u64 + 1)
    };
    node.edit("policy.yml", "  name: node\n", "  name: other\n  minEpoch: 2\n");
    let expected = [("NAME", line("name:")), ("EPOCH", line("minEpoch:"))];
    all_refused(&node, &["--seal-request", "request.json"], &expected);
    assert!(!node.path("request.json").exists());
    all_refused(&node, &[], &expected);
    node.good(&Node::build_args(
        "named",
        &["--name", "other", "--epoch", "2", "--format", "raw-bios"],
    ));
    all_refused(
        &node,
        &["--name", "other", "--epoch", "2", "--arch", "arm64"],
        &[
            ("ARCH", line("arch:")),
            ("MALFORMED", Some(2)),
            ("MALFORMED", Some(4)),
            ("MALFORMED", Some(8)),
            ("MALFORMED", Some(11)),
        ],
    );
}

#[test]
fn a_component_is_refused_on_every_line_that_names_it() {
    let node = accepted();
    node.component("other", &[("bin/app", b"other")]);
    node.edit("node.yml", "local.test/svc:v1", "local.test/other:v1");
    let second = "  - name: again\n    image: local.test/other:v1\n    command: [/bin/app]\nfiles:\n";
    node.edit("node.yml", "files:\n", second);
    all_refused(&node, &[], &[("UNSIGNED", Some(11)), ("UNSIGNED", Some(14))]);
}

#[test]
fn what_is_refused_is_said_although_something_else_could_not_be_found_out() {
    let node = accepted();
    node.edit("node.yml", "console=ttyS0", "console=ttyS0 init=/bin/sh");
    node.good(&["cache", "rm", "local.test/svc:v1"]);
    refused(&node, &[], "CMDLINE", Some(6));
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

/// Signs another tree for a component than its image has.
fn sign_tree(node: &Node, tree_of: impl FnOnce(&ImageTarget, &ImageTarget) -> imgkit::digest::Digest) {
    let owner = Owner::of(node, "platform", &["targets"]);
    let (svc, init) = (owner.image("local.test/svc:v1"), owner.image("local.test/init:v1"));
    let mut forged = svc.clone();
    forged.platforms[0].tree = tree_of(&svc, &init);
    owner.change(&[], |collection| {
        let file = forged.to_file();
        collection
            .put_target("targets", "local.test/svc:v1", file, now())
            .unwrap();
    });
}

#[test]
fn another_tree_than_the_signed_one_is_a_tree_mismatch() {
    let node = accepted();
    sign_tree(&node, |_, _| imgkit::digest::Digest::sha256(b"another"));
    refused(&node, &[], "TREE_MISMATCH", Some(11));
    sign_tree(&node, |_, init| init.platforms[0].tree);
    // The list of that tree is in the store: what the layers unpack to decides.
    refused(&node, &[], "TREE_MISMATCH", Some(11));
}

#[test]
fn a_component_that_nobody_signed_is_not_proved() {
    for (from, to, code) in [
        (
            "    proved: true\n",
            "    unsigned: accept\n    proved: true\n",
            Some("NOT_PROVED"),
        ),
        ("    proved: true\n", "    unsigned: accept\n", None),
    ] {
        let node = accepted();
        node.edit("policy.yml", "    signed: {root: platform}\n", "");
        node.edit("policy.yml", from, to);
        match code {
            Some(code) => all_refused(&node, &[], &EVERY_COMPONENT.map(|line| (code, Some(line)))),
            None => {
                node.good(&Node::build_args("unproved", &["--format", "raw-bios"]));
                node.edit("policy.yml", "image:\n", "image:\n  proved: true\n");
                all_refused(&node, &[], &EVERY_COMPONENT.map(|line| ("NOT_PROVED", Some(line))));
            }
        }
    }
}

#[test]
fn a_file_that_nobody_signed_is_an_unsigned_input_at_its_line() {
    let node = accepted();
    node.edit("node.yml", "    contents: node\n", "    source: beside\n");
    node.write("beside", "node");
    let sign = |name: &str| {
        let target = format!("spec/{name}");
        node.good(&["trust", "sign", "--at", NOW, "--file", name, "--name", &target]);
    };
    sign("node.yml");
    node.edit("policy.yml", "image:\n", "spec:\n  signed: {root: platform}\nimage:\n");
    refused(&node, &[], "UNSIGNED_INPUT", Some(14));
    sign("beside");
    node.good(&Node::build_args("signed", &["--format", "raw-bios"]));
}

#[test]
fn every_refusal_of_a_build_is_in_one_answer() {
    let node = accepted();
    node.component("init", &[("init", b"other")]);
    node.component("other", &[("bin/app", b"other")]);
    node.edit("node.yml", "local.test/svc:v1", "local.test/other:v1");
    node.edit("node.yml", "console=ttyS0", "console=ttyS0 init=/bin/sh");
    node.edit(
        "policy.yml",
        "rules:\n",
        "rules:\n  - match: local.test/kernel\n    deny: not here\n",
    );
    let expected = [
        ("CMDLINE", Some(6)),
        ("DENIED", Some(4)),
        ("DIGEST_MISMATCH", Some(8)),
        ("UNSIGNED", Some(11)),
    ];
    all_refused(&node, &[], &expected);
}
