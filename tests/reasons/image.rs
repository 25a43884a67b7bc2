//! Finished images that the verifier refuses.

use std::fs;

use serde_json::Value;

use super::accepted;
use super::common::node::{NOW, Node, flip};

/// Asserts how the accepted, sealed disk is judged after one change of the policy, and at which of its lines.
fn judged(from: &str, to: &str, code: &str, line: u64) {
    let node = Node::new();
    node.build_sealed("out");
    assert_eq!(node.verify("out/node.qcow2").code, 0);
    node.edit("policy.yml", from, to);
    let answer = node.verify("out/node.qcow2");
    assert_eq!(
        (answer.code, answer.reasons()),
        (1, vec![(code, Some(line))]),
        "{}",
        answer.json
    );
    assert_eq!(answer.json["refusals"][0]["place"]["file"], "policy.yml");
}

#[test]
fn an_image_that_is_not_the_one_the_policy_names_is_refused() {
    judged("name: node", "name: other", "NAME", 9);
    judged("arch: amd64", "arch: arm64", "ARCH", 10);
    judged("arch: amd64", "arch: amd64\n  minEpoch: 3", "EPOCH", 11);
    judged(
        "sealed: {root: platform}",
        "sealed: {root: platform, threshold: 2}",
        "THRESHOLD",
        11,
    );
    judged(
        "sealed: {root: platform}",
        "sealed: {root: platform, role: targets}",
        "WRONG_KEY",
        11,
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
fn an_image_that_is_too_old_is_expired() {
    let node = Node::new();
    let more = ["--format", "raw-bios", "--seal-key"];
    let key = node.seal_key().display().to_string();
    node.good(&Node::build_args("out", &[&more[..], &[&key]].concat()));
    node.edit("policy.yml", "image:\n", "image:\n  maxAge: 1h\n");
    let answer = node.verify("out/node-bios.img");
    let reasons = vec![("EXPIRED", Some(9))];
    assert_eq!((answer.code, answer.reasons()), (1, reasons), "{}", answer.json);
    node.edit("policy.yml", "maxAge: 1h", "maxAge: 36500d");
    assert_eq!(node.verify("out/node-bios.img").code, 0);
}

#[test]
fn an_unsafe_image_is_unsafe_whatever_the_policy_says_else() {
    let node = Node::new();
    node.build_sealed("safe");
    assert_eq!(node.verify("safe/node-bios.img").code, 0);
    node.component("svc", &[("bin/app", b"nobody signed this")]);
    let mut args = node.sealed_args("unsafe");
    args.insert(1, "--unsafe-accept-unsigned".into());
    node.good(&args.iter().map(String::as_str).collect::<Vec<_>>());
    for image in ["node-bios.img", "node.qcow2", "node.seal", "node.tar.seal"] {
        let answer = node.verify(&format!("unsafe/{image}"));
        let reasons = vec![("UNSAFE", None)];
        assert_eq!((answer.code, answer.reasons()), (1, reasons), "{}", answer.json);
    }
    // Without a policy nobody is known who may seal it: then not even that it is unsafe can be believed.
    args.retain(|arg| arg != "--policy" && arg != "policy.yml");
    node.good(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let answer = node.verify("unsafe/node-bios.img");
    let reasons = vec![("WRONG_KEY", Some(11))];
    assert_eq!((answer.code, answer.reasons()), (1, reasons), "{}", answer.json);
}

#[test]
fn an_image_without_a_seal_is_unsigned() {
    let node = accepted();
    let answer = node.verify("accepted/node-bios.img");
    assert_eq!(
        (answer.code, answer.reasons()),
        (1, vec![("UNSIGNED", Some(11))]),
        "{}",
        answer.json
    );
}

#[test]
fn a_changed_byte_is_a_bytes_mismatch_and_a_broken_container_malformed() {
    let node = Node::new();
    node.build_sealed("out");
    let last = fs::metadata(node.path("out/node-bios.img")).unwrap().len() - 1;
    for (image, byte, code) in [
        ("out/node-bios.img", last, "BYTES_MISMATCH"),
        ("out/node.qcow2", 0, "MALFORMED"),
    ] {
        assert_eq!(node.verify(image).code, 0, "the twin");
        flip(&node.path(image), usize::try_from(byte).unwrap(), 1);
        let answer = node.verify(image);
        assert_eq!(
            (answer.code, answer.reasons()),
            (1, vec![(code, None)]),
            "{}",
            answer.json
        );
        assert_eq!(answer.json["refusals"][0]["byte"], byte, "{}", answer.json);
    }
}

#[test]
fn a_signature_that_is_not_good_is_not_attached() {
    let node = Node::new();
    let key = node.seal_key().display().to_string();
    node.good(&Node::build_args(
        "out",
        &["--format", "raw-bios", "--seal-request", "request"],
    ));
    node.good(&["seal", "sign", "--seal-key", &key, "request"]);
    let image = "out/node-bios.img";
    node.good(&["seal", "attach", image, "request.sig"]);
    assert_eq!(node.verify(image).code, 0);
    let before = fs::read(node.path(image)).unwrap();
    let mut file: Value = serde_json::from_slice(&fs::read(node.path("request.sig")).unwrap()).unwrap();
    let sig = file["signatures"][0]["sig"].as_str().unwrap().to_owned();
    let other = if sig.starts_with('A') { "B" } else { "A" };
    file["signatures"][0]["sig"] = format!("{other}{}", &sig[1..]).into();
    node.write("bad.sig", &file.to_string());
    let answer = node.run(&["seal", "attach", image, "bad.sig"]);
    assert_eq!((answer.code, answer.codes()), (1, vec!["WRONG_KEY"]), "{}", answer.json);
    assert!(fs::read(node.path(image)).unwrap() == before, "the good seal stays");
}

#[test]
fn a_report_says_what_is_in_the_image_and_what_was_looked_at() {
    let node = Node::new();
    node.edit("policy.yml", "    proved: true\n", "");
    node.build_sealed("out");
    let boot = "local.test/boot:v1";
    for (image, state, word) in [
        ("out/node-bios.img", "ASSERTED", "kernel file"),
        ("out/node.seal", "ABSENT", "segments"),
        ("out/node.tar.seal", "ABSENT", "archive"),
    ] {
        for (more, state, components) in [
            (&[][..], state, "asserted"),
            (&["--files"], &state.replace("ASSERTED", "PROVED"), "proved"),
        ] {
            let args = [&["verify", "--policy", "policy.yml"], more, &[image]].concat();
            let report = node.good(&args);
            let found = report["components"].as_array().unwrap();
            let found = found.iter().find(|component| component["reference"] == boot).unwrap();
            assert_eq!(found["state"], state, "{image} {more:?}");
            let in_it = if state == "ABSENT" { 3 } else { 4 };
            assert_eq!(report[components], in_it, "{image} {more:?}: {report}");
            let unchecked = report["notChecked"].to_string();
            assert_eq!(unchecked.contains(word), more.is_empty(), "{image}: {unchecked}");
        }
    }
}
