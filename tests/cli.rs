//! Commands that judge nothing: what an image says of itself, completions, manual pages; and options that could be misread.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::process::Command;

use common::node::{NOW, Node};

fn text(node: &Node, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgkit"));
    let output = command.args(args).current_dir(node.path("")).output().unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn show_lists_components_and_their_files_and_says_that_it_judges_nothing() {
    let node = Node::new();
    node.build_sealed("out");
    for image in [
        "out/node.qcow2",
        "out/node-bios.img",
        "out/node.seal",
        "out/node.tar.seal",
    ] {
        let shown = node.good(&["show", image]);
        assert_eq!(shown["judged"], false, "{image}");
        let trees = shown["trees"].as_array().unwrap();
        let svc = trees
            .iter()
            .find(|tree| tree["reference"] == "local.test/svc:v1")
            .unwrap();
        assert_eq!(
            (svc["files"].as_u64(), svc["bytes"].as_u64()),
            (Some(1), Some(60_000)),
            "{image}"
        );
        let text = text(&node, &["show", "--files", image]);
        assert!(text.contains("NOT JUDGED"), "{text}");
        assert!(
            text.lines()
                .any(|line| line.trim_start().starts_with("f 0644 0 0 60000 ") && line.ends_with("bin/app")),
            "{text}"
        );
    }
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let node = Node::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&node, &["completions", shell]);
        assert!(script.contains("quickstart") && script.contains("verify"), "{shell}");
    }
    text(&node, &["man", "pages"]);
    let page = fs::read_to_string(node.path("pages/imgkit-verify.1")).unwrap();
    assert!(page.contains("policy"), "{page}");
}

#[test]
fn locked_without_a_value_leaves_the_specification_its_name() {
    let node = Node::new();
    node.good(&["lock", "--at", NOW, "node.yml"]);
    node.good(&[
        "build",
        "--offline",
        "--policy",
        "policy.yml",
        "--format",
        "tar",
        "--out",
        "out",
        "--locked",
        "node.yml",
    ]);
    assert!(node.path("out/node.tar").exists());
}
