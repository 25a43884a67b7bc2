//! Seals checked without imgkit, as the README says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::process::Command;

use common::node::{Node, flip};

fn openssl_takes(node: &Node, key: &str) -> bool {
    let output = Command::new("openssl")
        .args(["pkeyutl", "-verify", "-pubin", "-rawin", "-in", "seal/seal.pae"])
        .args([
            "-inkey",
            &format!("keys-out/{key}.pem"),
            "-sigfile",
            &format!("seal/{key}.sig"),
        ])
        .current_dir(node.path(""))
        .output()
        .expect("install the Debian package openssl");
    output.status.success()
}

#[test]
fn openssl_alone_checks_a_seal() {
    let node = Node::new();
    node.build_sealed("out");
    let inspected = node.good(&["trust", "inspect", "--keys-to", "keys-out"]);
    let roles = inspected["roles"].as_array().unwrap();
    let seal = roles.iter().find(|role| role["role"] == "seal").unwrap();
    let key = seal["keys"][0].as_str().unwrap();
    for image in [
        "out/node.qcow2",
        "out/node-bios.img",
        "out/node.seal",
        "out/node.tar.seal",
    ] {
        node.good(&["show", image, "--seal-to", "seal"]);
        assert!(openssl_takes(&node, key), "{image}");
        flip(&node.path("seal/seal.pae"), 100, 0);
        assert!(!openssl_takes(&node, key), "{image}, changed");
    }
}
