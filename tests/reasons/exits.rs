//! Exit codes of what is no verdict: 2 for nonsense, 3 for what could not be found out.

use std::fs;

use super::accepted;
use super::common::images::{noise, put};
use super::common::node::{Answer, NOW, Node};
use super::common::registry::free_port;
use super::common::server::{Answer as Served, Server};
use imgkit::store::layout::Layout;

/// A node whose service is named in a registry and signed under that name; it is in the store.
fn from_registry(host: &str) -> Node {
    let node = Node::new();
    let name = format!("{host}/svc:v1");
    let layout = Layout::open(node.path("store")).unwrap();
    put(&layout, &name, &[("bin/app", &noise(5, 100))]);
    node.good(&["trust", "sign", "--at", NOW, &name]);
    node.edit("node.yml", "local.test/svc:v1", &name);
    let rule = format!("rules:\n  - match: {host}/svc\n    signed: {{root: platform}}\n");
    node.edit("policy.yml", "rules:\n", &rule);
    node.good(&online("stored"));
    node.good(&["pkg", "rm", &name]);
    node
}

/// The arguments of a build that asks registries.
fn online(out: &str) -> Vec<&str> {
    let mut args = Node::build_args(out, &["--format", "raw-bios"]);
    args.retain(|arg| *arg != "--offline");
    args
}

/// Asserts that it could not be found out, and what could not; nothing is left.
fn unavailable(node: &Node, answer: &Answer, subject: &str) {
    assert_eq!(
        (answer.code, &answer.json["verdict"]),
        (3, &"unavailable".into()),
        "{}",
        answer.json
    );
    let about = answer.json["error"].to_string();
    assert!(about.contains(subject), "{about}");
    assert!(node.names("refused").is_empty());
}

#[test]
fn an_unreachable_registry_is_not_an_unsigned_component() {
    let host = format!("127.0.0.1:{}", free_port());
    let node = from_registry(&host);
    unavailable(&node, &node.run(&online("refused")), "node.yml:11:");
}

#[test]
fn a_registry_that_answers_nonsense_is_not_an_unsigned_component() {
    for answer in [
        || Served::status(500),
        || Served::status(401),
        || Served::status(404),
        || Served::ok("<html>it works</html>"),
    ] {
        let server = Server::start(move |_, _| answer());
        let node = from_registry(server.host());
        unavailable(&node, &node.run(&online("refused")), server.host());
        assert!(!server.requests().is_empty());
    }
}

#[test]
fn files_that_are_not_what_they_should_be_are_malformed() {
    for (file, from, to) in [
        ("node.yml", "services:", "servics:"),
        ("node.yml", "kernel:", "kernel: ["),
        ("policy.yml", "version: 1", "version: 9"),
        ("policy.yml", "rules:", "rules: ["),
        ("node.lock", "evaluatedAt", "evaluated"),
        ("keys/platform/root.json", "signed", "sgined"),
    ] {
        let node = accepted();
        node.good(&["lock", "--at", NOW, "node.yml"]);
        let args = Node::build_args("refused", &["--format", "raw-bios", "--locked=node.lock"]);
        node.good(&args);
        fs::remove_dir_all(node.path("refused")).unwrap();
        node.edit(file, from, to);
        let answer = node.run(&args);
        assert_eq!(
            (answer.code, &answer.json["verdict"]),
            (2, &"malformed".into()),
            "{file}: {}",
            answer.json
        );
        assert!(node.names("refused").is_empty());
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_not_known_and_one_that_is_none_is_refused() {
    let node = Node::new();
    node.build_sealed("out");
    let good = fs::read(node.path("out/node-bios.img")).unwrap();
    fs::create_dir(node.path("directory.img")).unwrap();
    fs::write(node.path("noise.img"), noise(3, good.len())).unwrap();
    fs::write(node.path("noise.qcow2"), noise(3, good.len())).unwrap();
    for (image, code) in [
        ("out/node-bios.img", 0),
        ("absent.img", 3),
        ("absent.qcow2", 3),
        ("absent.seal", 3),
        ("directory.img", 3),
        ("noise.img", 1),
        ("noise.qcow2", 1),
        ("node.yml", 2),
    ] {
        let answer = node.verify(image);
        assert_eq!(answer.code, code, "{image}: {}", answer.json);
    }
    assert_eq!(node.verify("noise.img").codes(), ["UNSIGNED"]);
    assert_eq!(node.verify("noise.qcow2").codes(), ["MALFORMED"]);
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
