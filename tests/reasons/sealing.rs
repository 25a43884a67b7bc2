//! Seals that several keys have to sign.

use std::fs;

use super::common::node::{NOW, Node};

#[test]
fn two_of_three_seal_keys_are_enough_and_one_is_not() {
    let node = Node::new();
    node.good(&["trust", "init", "sealers", "--threshold", "seal=2/3", "--at", NOW]);
    node.edit("policy.yml", "roots:\n", "roots:\n  sealers: keys/sealers/root.json\n");
    node.edit(
        "policy.yml",
        "sealed: {root: platform}",
        "sealed: {root: sealers, threshold: 2}",
    );
    let formats = super::common::node::FORMATS.map(|format| ["--format", format]).concat();
    node.good(&Node::build_args(
        "out",
        &[&formats[..], &["--seal-request", "request"]].concat(),
    ));
    let keys = fs::read_dir(node.path("keys/sealers/seal")).unwrap();
    let mut keys: Vec<String> = keys.map(|key| key.unwrap().path().display().to_string()).collect();
    keys.sort();
    assert_eq!(keys.len(), 3);
    for (key, out) in keys.iter().zip(["one.sig", "two.sig", "three.sig"]) {
        node.good(&["seal", "sign", "--seal-key", key, "--out", out, "request"]);
    }
    for (file, pair) in [
        ("node-bios.img", ["one.sig", "two.sig"]),
        ("node.qcow2", ["three.sig", "one.sig"]),
        ("node.seal", ["two.sig", "three.sig"]),
        ("node.tar.seal", ["two.sig", "one.sig"]),
    ] {
        let image = format!("out/{file}");
        // One key counts once, however often it signs.
        node.good(&["seal", "attach", &image, pair[0], pair[0]]);
        let answer = node.verify(&image);
        assert_eq!(
            (answer.code, answer.reasons()),
            (1, vec![("THRESHOLD", Some(12))]),
            "{}",
            answer.json
        );
        node.good(&["seal", "attach", &image, pair[1]]);
        let answer = node.verify(&image);
        assert_eq!(answer.code, 0, "{}", answer.json);
        let seal = &answer.json["result"]["seal"];
        assert_eq!(
            (seal["keys"].as_array().unwrap().len(), &seal["threshold"]),
            (2, &2.into()),
            "{seal}"
        );
    }
}
