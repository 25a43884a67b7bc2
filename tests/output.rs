//! The object that `--output json` prints: one schema for yes, no and not knowing, in every command that reports.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::node::{NOW, Node};
use serde_json::Value;

const MEMBERS: [&str; 6] = ["command", "error", "imgkit", "refusals", "result", "verdict"];

/// A node that was built, with an unsigned component, a broken collection and a policy that is none beside it.
fn node() -> Node {
    let node = Node::new();
    let key = node.seal_key().display().to_string();
    node.good(&Node::build_args("out", &["--format", "raw-bios", "--seal-key", &key]));
    let image = fs::read(node.path("out/node-bios.img")).unwrap();
    let mut changed = image.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(node.path("changed.img"), changed).unwrap();
    node.component("evil", &[("bin/app", b"x")]);
    let text = fs::read_to_string(node.path("node.yml")).unwrap();
    node.write("evil.yml", &text.replace("local.test/svc:v1", "local.test/evil:v1"));
    node.write("bad.yml", "version: 1\nruels: []\n");
    node.write("other.yml", "version: 1\nroots: {}\nrules: []\n");
    node
}

/// Checks the members of an answer against each other and its exit code.
fn check(what: &str, code: i32, json: &Value) {
    let object = json.as_object().unwrap_or_else(|| panic!("{what}: no object"));
    let members: Vec<&String> = object.keys().collect();
    assert_eq!(members, MEMBERS, "{what}");
    let refusals = json["refusals"].as_array().unwrap();
    let (verdict, error) = (json["verdict"].as_str().unwrap(), json["error"]["code"].as_str());
    let shape = (code, verdict, refusals.is_empty(), error);
    let expected = match code {
        0 => (0, "ok", true, None),
        1 => (1, "refused", false, error),
        2 => (2, "malformed", true, Some("MALFORMED_INPUT")),
        3 => (3, "unavailable", true, Some("UNAVAILABLE")),
        other => panic!("{what}: {other}"),
    };
    assert_eq!(shape, expected, "{what}: {json}");
    for refusal in refusals {
        for member in ["code", "subject", "expected", "found", "advice"] {
            assert!(refusal[member].is_string(), "{what}: {member}: {refusal}");
        }
    }
    if error.is_some() {
        assert!(
            json["error"]["subject"].is_string() && json["error"]["problem"].is_string(),
            "{what}: {json}"
        );
    }
    assert!(code != 0 || !json["result"].is_null(), "{what}");
}

#[test]
fn every_command_answers_yes_and_no_with_the_same_members() {
    let node = node();
    let registry = common::registry::DockerRegistry::start();
    let unsigned = common::sigstore::Person::new().push(&registry, "team/a:1", "x").0;
    let absent = format!("{}/team/absent:1", registry.host());
    node.good(&["sigstore", "generate-key-pair", "--output-key-prefix", "own"]);
    let key = node.seal_key().display().to_string();
    let build = |spec: &'static str| {
        vec![
            "build",
            "--policy",
            "policy.yml",
            "--at",
            NOW,
            "--out",
            "again",
            "--format",
            "raw-bios",
            "--offline",
            "--seal-key",
            &key,
            spec,
        ]
    };
    let explain = |name: &'static str| {
        vec![
            "policy",
            "explain",
            "--offline",
            "--policy",
            "policy.yml",
            "--at",
            NOW,
            name,
        ]
    };
    let verify = |name: &'static str| {
        vec![
            "policy",
            "verify",
            "--offline",
            "--policy",
            "policy.yml",
            "--at",
            NOW,
            name,
        ]
    };
    let (svc, evil, gone) = ("local.test/svc:v1", "local.test/evil:v1", "local.test/absent:v1");
    for (code, args) in [
        (0, build("node.yml")),
        (1, build("evil.yml")),
        (3, build("nowhere.yml")),
        (2, build("bad.yml")),
        (0, vec!["verify", "--policy", "policy.yml", "out/node-bios.img"]),
        (1, vec!["verify", "--policy", "policy.yml", "changed.img"]),
        (3, vec!["verify", "--policy", "policy.yml", "absent.img"]),
        (2, vec!["verify", "--policy", "bad.yml", "out/node-bios.img"]),
        (0, vec!["show", "out/node-bios.img"]),
        (0, explain(svc)),
        (1, explain(evil)),
        (2, explain("A")),
        (0, explain("out/node-bios.img")),
        (0, verify(svc)),
        (1, verify(evil)),
        (1, [verify(svc), vec![evil, gone]].concat()),
        (2, vec!["policy", "check", "bad.yml"]),
        (0, vec!["policy", "check", "policy.yml"]),
        (0, vec!["trust", "verify", "--at", NOW, svc]),
        (1, vec!["trust", "verify", "--at", NOW, evil]),
        (0, vec!["trust", "lookup", "--at", NOW, svc]),
        (1, vec!["trust", "lookup", "--at", NOW, evil]),
        (0, vec!["sigstore", "tree", &unsigned]),
        (0, vec!["sigstore", "tree", &unsigned, "--policy", "other.yml"]),
        (3, vec!["sigstore", "tree", &absent]),
        (1, vec!["sigstore", "verify", &unsigned, "--key", "own.pub"]),
        (3, vec!["sigstore", "verify", &absent, "--key", "own.pub"]),
        (2, vec!["sigstore", "verify", &unsigned, "--key", "./policy.yml"]),
        (2, vec!["verify", "--polcy", "policy.yml", "out/node-bios.img"]),
        (2, vec!["trust", "lokup", svc]),
    ] {
        let answer = node.run(&args);
        let what = args.join(" ");
        assert_eq!(answer.code, code, "{what}: {}", answer.json);
        check(&what, code, &answer.json);
    }
}

#[test]
fn a_wrong_command_line_is_told_in_the_forms_it_asks_for() {
    let node = Node::new();
    let output = node
        .command(&["policy", "--output=junit=report.xml", "chek"])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    let problem = "unrecognized subcommand 'chek'";
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    check("policy chek", 2, &report);
    assert_eq!(
        (&report["command"], &report["error"]["problem"]),
        (&"policy".into(), &problem.into())
    );
    assert!(err.contains(problem), "{err}");
    let junit = fs::read_to_string(node.path("report.xml")).unwrap();
    assert!(junit.contains("unrecognized subcommand"), "{junit}");
    let bare = node.run(&["policy"]);
    assert_eq!(
        bare.json["error"]["problem"],
        "expected a subcommand; --help lists them"
    );
    // Conformance suites know two exit codes.
    assert_eq!(node.run(&["sigstore", "verify-bundle", "--bundel", "x"]).code, 1);
    assert_eq!(node.run(&["tuf", "refresh"]).code, 1);
    let same = ["--metadata-dir", "tuf", "--target-dir", "./tuf"];
    let options = [
        "--metadata-url",
        "http://127.0.0.1:1/",
        "--target-base-url",
        "http://127.0.0.1:1/",
        "--target-name",
        "root.json",
    ];
    fs::create_dir(node.path("tuf")).unwrap();
    let refused = node.run(&[&["tuf", "download"], &same[..], &options].concat());
    let problem = refused.json["error"]["problem"].as_str().unwrap();
    assert!(
        refused.code == 1 && problem.contains("another directory"),
        "{}",
        refused.json
    );
    assert_eq!(
        fs::read_dir(node.path("tuf")).unwrap().count(),
        0,
        "refused before anything is written"
    );
}

#[test]
fn what_was_signed_lies_apart_from_what_was_found() {
    let node = node();
    let registry = common::registry::DockerRegistry::start();
    let name = common::sigstore::Person::new().push(&registry, "team/a:1", "x").0;
    node.good(&["sigstore", "generate-key-pair", "--output-key-prefix", "own"]);
    node.good(&["sigstore", "sign", &name, "--key", "own.key", "--form", "simple"]);
    let rule = format!("rules:\n  - match: {}/team/*\n    signed: own\n", registry.host());
    node.edit(
        "policy.yml",
        "rules:\n",
        &format!("signers:\n  own: {{key: own.pub}}\n{rule}"),
    );
    let svc = "local.test/svc:v1";
    let policy = |verb: &'static str, name: &str| {
        let args = [
            "policy",
            verb,
            "--policy",
            "policy.yml",
            "--at",
            "2100-01-01T00:00:00Z",
            name,
        ];
        node.good(&args)
    };
    let at = |verb: &'static str| node.good(&["policy", verb, "--offline", "--policy", "policy.yml", "--at", NOW, svc]);
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let (by_role, beside) = (
        "by custom digests expires length name",
        "by digests layer names optional predicateType time",
    );
    let signature = "digests names optional predicateType time";
    let verified = node.good(&["sigstore", "verify", &name, "--key", "own.pub"])["signatures"][0].clone();
    for (what, signed, expected) in [
        (
            "verify",
            node.good(&["verify", "--policy", "policy.yml", "out/node-bios.img"])["signed"].clone(),
            "arch cmdline epoch evaluatedAt name subject",
        ),
        (
            "policy verify, role",
            at("verify")["images"][0]["signed"][0].clone(),
            by_role,
        ),
        ("policy explain, role", at("explain")["signed"][0].clone(), by_role),
        (
            "policy verify, key",
            policy("verify", &name)["images"][0]["signed"][0].clone(),
            beside,
        ),
        (
            "policy explain, key",
            policy("explain", &name)["signed"][0].clone(),
            beside,
        ),
        (
            "trust lookup",
            node.good(&["trust", "lookup", "--at", NOW, svc])["signed"].clone(),
            "custom digests length",
        ),
        (
            "trust verify",
            node.good(&["trust", "verify", "--at", NOW, svc])["signed"].clone(),
            "custom digests length",
        ),
        (
            "sigstore verify",
            verified["signed"].clone(),
            "digests names optional predicate predicateType time",
        ),
        (
            "sigstore tree",
            node.good(&["sigstore", "tree", &name, "--policy", "policy.yml"])["documents"][0]["attached"][0]["signed"]
                .clone(),
            signature,
        ),
    ] {
        assert_eq!(members(&signed), expected, "{what}");
    }
    assert_eq!(members(&verified), "certificate form key layer manifest signed");
    assert_eq!(verified["signed"]["names"][0], *name);
    // Nobody was asked for, so nothing is known to be signed.
    let listed = node.good(&["sigstore", "tree", &name]);
    assert_eq!(listed["documents"][0]["attached"][0]["signed"], Value::Null);
    assert!(listed["documents"][0]["attached"][0]["claimed"]["time"].is_string());
}

#[test]
fn several_verdicts_tell_their_reasons_at_the_top_each_once() {
    let node = node();
    let all = [
        "local.test/svc:v1",
        "local.test/evil:v1",
        "other.test/a:v1",
        "local.test/absent:v1",
    ];
    let args = ["policy", "verify", "--offline", "--policy", "policy.yml", "--at", NOW];
    let answer = node.run(&[&args[..], &all].concat());
    assert_eq!(
        (answer.code, answer.codes()),
        (1, vec!["UNSIGNED", "NO_RULE", "UNSIGNED"]),
        "{}",
        answer.json
    );
    assert_eq!(answer.subjects(), [all[1], all[2], all[3]]);
    let below = answer.json["result"]["images"].as_array().unwrap().iter();
    let below: Vec<&Value> = below.flat_map(|image| image["refusals"].as_array().unwrap()).collect();
    assert_eq!(
        below,
        answer.json["refusals"].as_array().unwrap().iter().collect::<Vec<_>>()
    );
}

#[test]
fn what_could_not_be_found_out_is_told_beside_a_no() {
    let node = node();
    // Its collection is nowhere: whether anybody signed is not known.
    node.good(&["trust", "init", "elsewhere", "--at", NOW]);
    let rule = "rules:\n  - match: far.test/*\n    signed: {root: elsewhere}\n";
    node.edit("policy.yml", "rules:\n", rule);
    node.edit(
        "policy.yml",
        "roots:\n",
        "roots:\n  elsewhere: keys/elsewhere/root.json\n",
    );
    fs::remove_dir_all(node.path("trust/elsewhere")).unwrap();
    let args = [
        "policy",
        "verify",
        "--offline",
        "--policy",
        "policy.yml",
        "--at",
        NOW,
        "far.test/a:v1",
    ];
    let alone = node.run(&args);
    assert_eq!(
        (alone.code, &alone.json["verdict"]),
        (3, &Value::from("unavailable")),
        "{}",
        alone.json
    );
    check("alone", 3, &alone.json);
    let both = node.run(&[&args[..], &["local.test/evil:v1"]].concat());
    assert_eq!((both.code, both.codes()), (1, vec!["UNSIGNED"]), "{}", both.json);
    assert_eq!(both.json["error"], alone.json["error"]);
    let text = both.json["result"]["images"][0]["problem"].as_str().unwrap();
    assert!(text.starts_with("could not find out"), "{text}");
}
