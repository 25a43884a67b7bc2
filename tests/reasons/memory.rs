//! What `verify --state` remembers, it remembers of a collection: not of its name in a policy, nor of one state of its root.

use std::fs;

use super::common::node::{Answer, NOW, Node};
use super::common::owner::Owner;

fn build(node: &Node, out: &str, epoch: &str) -> String {
    let key = node.seal_key().display().to_string();
    let more = ["--format", "raw-bios", "--epoch", epoch, "--seal-key", &key];
    node.good(&Node::build_args(out, &more));
    format!("{out}/node-bios.img")
}

fn verify(node: &Node, image: &str) -> Answer {
    node.run(&["verify", "--policy", "policy.yml", "--state", "state", image])
}

fn accepts(node: &Node, image: &str) {
    let answer = verify(node, image);
    assert_eq!(answer.code, 0, "{}", answer.json);
}

fn refuses(node: &Node, image: &str) {
    let answer = verify(node, image);
    assert_eq!((answer.code, answer.codes()), (1, vec!["EPOCH"]), "{}", answer.json);
}

#[test]
fn an_older_epoch_is_refused_whatever_the_policy_calls_the_root() {
    let node = Node::new();
    let (older, newer) = (build(&node, "older", "3"), build(&node, "newer", "5"));
    accepts(&node, &older);
    accepts(&node, &newer);
    refuses(&node, &older);
    let policy = fs::read_to_string(node.path("policy.yml")).unwrap();
    let renamed = policy
        .replace("platform:", "other:")
        .replace("root: platform", "root: other");
    node.write("policy.yml", &renamed);
    refuses(&node, &older);
    accepts(&node, &newer);
}

#[test]
fn an_older_epoch_is_refused_when_the_root_was_rotated_and_pinned_anew() {
    let node = Node::new();
    let (older, newer) = (build(&node, "older", "3"), build(&node, "newer", "5"));
    accepts(&node, &newer);
    let owner = Owner::of(&node, "platform", &["root"]);
    owner.forge("root", owner.key("root"), |_| ());
    fs::copy(
        node.path("trust/platform/2.root.json"),
        node.path("keys/platform/2.json"),
    )
    .unwrap();
    // An image whose seal has the new root, under the old pin and then under the new one.
    let rotated = build(&node, "rotated", "4");
    refuses(&node, &rotated);
    node.edit("policy.yml", "keys/platform/root.json", "keys/platform/2.json");
    for image in [&older, &rotated] {
        assert_eq!(node.verify(image).code, 0, "without memory");
        refuses(&node, image);
    }
    accepts(&node, &newer);
}

#[test]
fn another_collection_of_the_same_name_is_another() {
    let node = Node::new();
    let newer = build(&node, "newer", "5");
    accepts(&node, &newer);
    node.good(&["trust", "init", "strangers", "--at", NOW]);
    let sign = ["trust", "sign", "--at", NOW, "--collection", "strangers"];
    let names = ["boot", "init", "kernel", "svc"].map(|name| format!("local.test/{name}:v1"));
    node.good(&[&sign[..], &names.each_ref().map(String::as_str)].concat());
    node.edit("policy.yml", "keys/platform/root.json", "keys/strangers/root.json");
    let mut keys = fs::read_dir(node.path("keys/strangers/seal")).unwrap();
    let key = keys.next().unwrap().unwrap().path().display().to_string();
    let more = ["--format", "raw-bios", "--epoch", "1", "--seal-key", &key];
    node.good(&Node::build_args("theirs", &more));
    accepts(&node, "theirs/node-bios.img");
    node.edit("policy.yml", "keys/strangers/root.json", "keys/platform/root.json");
    refuses(&node, &build(&node, "older", "4"));
}
