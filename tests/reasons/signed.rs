//! What counts as signed: by a delegated role, by a bare digest, and under an input's own name.

use super::common::node::{NOW, Node};
use super::{accepted, all_refused, refused};

/// Builds sealed images of all formats, and asserts that each is verified offline.
fn built_and_verified(node: &Node, out: &str) {
    node.build_sealed(out);
    for image in ["node-bios.img", "node.qcow2", "node.seal", "node.tar.seal"] {
        let answer = node.verify(&format!("{out}/{image}"));
        assert_eq!(answer.code, 0, "{image}: {}", answer.json);
    }
}

/// A node with another collection, `crew`, whose delegated roles `team` and `specs` sign.
fn with_crew() -> Node {
    let node = accepted();
    let roles = ["--role", "team", "--role", "specs=spec/*,spec/*/*"];
    node.good(&[&["trust", "init", "crew", "--at", NOW][..], &roles].concat());
    node.edit("policy.yml", "roots:\n", "roots:\n  crew: keys/crew/root.json\n");
    node
}

fn crew_signs(node: &Node, role: &str, what: &[&str]) {
    let sign = ["trust", "sign", "--at", NOW, "--collection", "crew", "--role", role];
    node.good(&[&sign[..], what].concat());
}

/// Signs a file beside node.yml as the input `name`.
fn sign_input(node: &Node, file: &str, name: &str) {
    let name = format!("spec/{name}");
    let sign = ["trust", "sign", "--at", NOW, "--collection", "platform"];
    node.good(&[&sign[..], &["--file", file, "--name", &name]].concat());
}

const SPEC_SIGNED: &str = "spec:\n  signed: {root: platform}\nimage:\n";

#[test]
fn inputs_are_signed_by_a_delegated_role_where_the_policy_names_it() {
    let node = with_crew();
    node.edit("node.yml", "    contents: node\n", "    source: beside/conf\n");
    std::fs::create_dir(node.path("beside")).unwrap();
    node.write("beside/conf", "node");
    let spec = "spec:\n  signed: {root: crew, role: specs}\nimage:\n";
    node.edit("policy.yml", "image:\n", spec);
    let unsigned = [("UNSIGNED_INPUT", Some(10)), ("UNSIGNED_INPUT", Some(14))];
    all_refused(&node, &[], &unsigned);
    crew_signs(&node, "specs", &["--file", "node.yml", "--name", "spec/node.yml"]);
    refused(&node, &[], "UNSIGNED_INPUT", Some(14));
    crew_signs(&node, "specs", &["--file", "beside/conf", "--name", "spec/beside/conf"]);
    built_and_verified(&node, "out");
    node.edit("policy.yml", "role: specs", "role: team");
    all_refused(&node, &[], &[("WRONG_KEY", Some(10)), ("WRONG_KEY", Some(14))]);
}

#[test]
fn a_bare_digest_is_signed_by_the_delegated_role_that_names_it() {
    let node = with_crew();
    let svc = "local.test/svc:v1";
    node.good(&["lock", "--at", NOW, "node.yml"]);
    let lock: serde_json::Value = serde_json::from_slice(&std::fs::read(node.path("node.lock")).unwrap()).unwrap();
    let bare = format!("local.test/svc@{}", lock["images"][svc].as_str().unwrap());
    node.edit("node.yml", svc, &bare);
    let rule = "rules:\n  - match: local.test/svc\n    signed: {root: crew, role: team}\n    proved: true\n";
    node.edit("policy.yml", "rules:\n", rule);
    refused(&node, &[], "UNSIGNED", Some(11));
    // Another name for the same image, by another role, does not stand in the way.
    let layout = imgkit::store::layout::Layout::open(node.path("store")).unwrap();
    super::common::images::put(
        &layout,
        "local.test/svc:another",
        &[("bin/app", &super::noise(5, 60_000))],
    );
    crew_signs(&node, "targets", &["local.test/svc:another"]);
    refused(&node, &[], "WRONG_KEY", Some(11));
    crew_signs(&node, "team", &[svc]);
    built_and_verified(&node, "out");
}

/// A node whose specification names two files, both signed.
fn with_two_files() -> Node {
    let node = accepted();
    let two = "    source: a\n  - path: etc/other\n    source: b\n";
    node.edit("node.yml", "    contents: node\n", two);
    node.write("a", "of a");
    node.write("b", "of b");
    node.edit("policy.yml", "image:\n", SPEC_SIGNED);
    for name in ["node.yml", "a", "b"] {
        sign_input(&node, name, name);
    }
    node.good(&Node::build_args("signed", &["--format", "raw-bios"]));
    node
}

#[test]
fn a_signed_input_stands_under_its_own_name_and_no_other() {
    let node = with_two_files();
    node.write("a", "of b");
    node.write("b", "of a");
    let swapped = [("DIGEST_MISMATCH", Some(14)), ("DIGEST_MISMATCH", Some(17))];
    all_refused(&node, &[], &swapped);
    node.write("a", "of a");
    node.write("b", "of a");
    refused(&node, &[], "DIGEST_MISMATCH", Some(17));
    node.write("b", "of b");
    node.good(&Node::build_args("again", &["--format", "raw-bios"]));
    // The specification has its file's name.
    std::fs::rename(node.path("node.yml"), node.path("other.yml")).unwrap();
    let mut args = Node::build_args("refused", &["--format", "raw-bios", "--name", "node"]);
    *args.last_mut().unwrap() = "other.yml";
    super::assert_refused(&node, &node.run(&args), &[("UNSIGNED_INPUT", Some(9))]);
    sign_input(&node, "other.yml", "other.yml");
    args.iter_mut().for_each(|arg| {
        if *arg == "refused" {
            *arg = "renamed";
        }
    });
    node.good(&args);
}

#[test]
fn an_input_that_no_signed_name_can_stand_for_is_unsigned() {
    let node = with_two_files();
    for path in ["../{dir}/a", "./a", "{dir}/a"] {
        let dir = match path.starts_with("..") {
            true => node.path("").file_name().unwrap().to_str().unwrap().to_owned(),
            false => node.path("").display().to_string(),
        };
        let path = path.replace("{dir}", dir.trim_end_matches('/'));
        node.edit("node.yml", "source: a\n", &format!("source: {path}\n"));
        sign_input(&node, "node.yml", "node.yml");
        refused(&node, &[], "UNSIGNED_INPUT", Some(14));
        node.edit("node.yml", &format!("source: {path}\n"), "source: a\n");
    }
    sign_input(&node, "node.yml", "node.yml");
    node.good(&Node::build_args("again", &["--format", "raw-bios"]));
}

#[test]
fn an_unsigned_input_reads_so_with_its_line_in_reports_and_at_its_extents() {
    let node = accepted();
    node.edit("node.yml", "    contents: node\n", "    source: beside\n");
    node.write("beside", "node");
    let args = node.sealed_args("out");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let built = node.good(&args);
    let lines = [
        "UNSIGNED INPUT node.yml (node.yml:1:1)",
        "UNSIGNED INPUT beside (node.yml:14:5)",
    ];
    for said in [
        node.text(&args),
        node.text(&["verify", "--policy", "policy.yml", "out/node.qcow2"]),
    ] {
        lines.iter().for_each(|line| assert!(said.contains(line), "{said}"));
    }
    let both = "UNSIGNED INPUT node.yml (node.yml:1:1), beside (node.yml:14:5)";
    for (image, owners) in [
        (
            "out/node-bios.img",
            &[
                "file GRUB.CFG, UNSIGNED INPUT node.yml (node.yml:1:1)",
                "initrd segment of generated files, BOTH",
            ][..],
        ),
        ("out/node.seal", &["initrd segment of generated files, BOTH"]),
        ("out/node.tar.seal", &["file node.tar, BOTH"]),
    ] {
        let report = node.verify(image).json["result"].take();
        for inputs in [&built["inputs"], &report["inputs"]] {
            let inputs = inputs.as_array().unwrap();
            let found: Vec<_> = inputs
                .iter()
                .map(|input| (input["state"].as_str(), input["place"]["line"].as_u64()))
                .collect();
            assert_eq!(
                found,
                [(Some("UNSIGNED INPUT"), Some(1)), (Some("UNSIGNED INPUT"), Some(14))]
            );
        }
        let marked: Vec<&str> = report["extents"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|extent| extent["ownerText"].as_str())
            .filter(|text| text.contains("UNSIGNED INPUT"))
            .collect();
        let mut owners: Vec<String> = owners.iter().map(|owner| owner.replace("BOTH", both)).collect();
        owners
            .iter()
            .for_each(|owner| assert!(report["bytesByOwner"][owner].is_u64(), "{owner}: {report}"));
        owners.sort();
        let mut marked: Vec<String> = marked.into_iter().map(str::to_owned).collect();
        marked.sort();
        assert_eq!(marked, owners, "{image}");
    }
    // The twin: signed, and no word of it.
    node.edit("policy.yml", "image:\n", SPEC_SIGNED);
    ["node.yml", "beside"]
        .iter()
        .for_each(|name| sign_input(&node, name, name));
    node.build_sealed("signed");
    let report = node.verify("signed/node-bios.img").json;
    assert_eq!(report["result"]["inputs"][1]["state"], "ADMITTED");
    assert!(!report.to_string().contains("UNSIGNED INPUT"), "{report}");
}
