//! The policy language by its commands: check, explain, prove, test; and what a build makes of requirements.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use common::images::{noise, put};
use common::node::{NOW, Node};
use imgkit::store::layout::Layout;
use serde_json::Value;

const SHIPPED: [&str; 3] = ["debug", "production", "release"];

fn shipped(name: &str) -> String {
    format!("{}/policy/{name}.yml", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command on files of the repository; returns its exit code and its JSON.
fn run(args: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgkit"));
    let output = command.args(["--output", "json"]).args(args).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), json)
}

#[test]
fn the_shipped_policies_decide_as_their_cases_say() {
    let cases = SHIPPED.map(|name| shipped(&format!("cases/{name}")));
    let args: Vec<&str> = ["policy", "test"]
        .into_iter()
        .chain(cases.iter().map(String::as_str))
        .collect();
    let (code, json) = run(&args);
    assert_eq!(code, 0, "{json:#}");
    let files = json["result"]["files"].as_array().unwrap();
    assert!(
        files
            .iter()
            .all(|file| file["outcomes"].as_array().unwrap().len() >= 10),
        "{json:#}"
    );
}

#[test]
fn a_case_that_comes_out_otherwise_fails_and_says_how() {
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(shipped("cases/release")).unwrap();
    let text = text.replace("policy: ../release.yml", &format!("policy: {}", shipped("release")));
    let changed = text.replacen("expect: UNSIGNED", "expect: admitted", 1);
    assert_ne!(text, changed);
    let file = dir.path().join("cases.yml");
    let test = |text: &str| {
        fs::write(&file, text).unwrap();
        run(&["policy", "test", file.to_str().unwrap()])
    };
    assert_eq!(test(&text).0, 0);
    let (code, json) = test(&changed);
    assert_eq!(code, 1, "{json:#}");
    let outcomes = json["result"]["files"][0]["outcomes"].as_array().unwrap();
    let bad: Vec<&Value> = outcomes.iter().filter(|outcome| outcome["good"] == false).collect();
    assert_eq!(bad.len(), 1);
    assert_eq!(bad[0]["found"], "UNSIGNED");
    assert!(bad[0]["reasons"][0]["demanded"]["place"]["line"].is_u64(), "{json:#}");
    for (from, to) in [
        ("expect: UNSIGNED", "expect: unsigned"),
        ("fault: expired", "fault: expierd"),
        ("component: docker.io", "componet: docker.io"),
    ] {
        assert!(text.contains(from));
        assert_eq!(test(&text.replacen(from, to, 1)).0, 2, "{to}");
    }
}

#[test]
fn the_shipped_policies_refuse_what_every_policy_has_to() {
    for name in SHIPPED {
        let (code, json) = run(&["policy", "prove", &shipped(name)]);
        assert_eq!(code, 0, "{name}: {json:#}");
        let proofs = json["result"]["proofs"].as_array().unwrap();
        let image = proofs.last().unwrap();
        assert_eq!(image["about"], "image");
        let found = |what: &str| {
            let trials = image["trials"].as_array().unwrap();
            let trial = trials.iter().find(|trial| trial["image"] == what);
            trial.unwrap_or_else(|| panic!("{name}, {what}: {image:#}"))["found"].clone()
        };
        assert_eq!(found("sealed as the policy asks"), "admitted");
        assert_eq!(found("not sealed"), "UNSIGNED");
        assert_eq!(found("sealed by another key"), "WRONG_KEY");
        assert_eq!(found("older than maxAge"), "EXPIRED");
        assert_eq!(found("rolled back below an epoch seen before"), "EPOCH");
        let twins = proofs.iter().flat_map(|proof| proof["trials"].as_array().unwrap());
        assert!(
            twins.filter(|trial| trial["image"] == "well signed").count() > 0,
            "{json:#}"
        );
    }
}

#[test]
fn a_policy_that_admits_the_unsigned_is_not_proved() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lax.yml");
    let text = "version: 1\nroots: {r: root.json}\nrules:\n  - {match: r.example/**, unsigned: accept}\nimage: {sealed: {root: r}}\n";
    fs::write(&file, text).unwrap();
    let (code, json) = run(&["policy", "prove", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{json:#}");
    assert_eq!(json["result"]["proofs"][0]["trials"][0]["found"], "admitted");
}

#[test]
fn a_rule_that_admits_the_unsigned_is_found_behind_others() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lax.yml");
    let prove = |rules: &str| {
        let text = format!("version: 1\nroots: {{r: root.json}}\nrules:\n{rules}image: {{sealed: {{root: r}}}}\n");
        fs::write(&file, text).unwrap();
        run(&["policy", "prove", file.to_str().unwrap()])
    };
    let strict = "  - {match: r.example/x, deny: no}\n  - {match: r.example/y, signed: {root: r}}\n";
    let (code, json) = prove(&format!("{strict}  - {{match: r.example/*, signed: {{root: r}}}}\n"));
    assert_eq!(code, 0, "{json:#}");
    for proof in json["result"]["proofs"].as_array().unwrap() {
        assert!(!proof["trials"].as_array().unwrap().is_empty(), "{proof:#}");
    }
    for lax in [
        "{match: r.example/*, unsigned: accept}",
        "{match: 'r.example/*:v1', unsigned: accept}",
    ] {
        let (code, json) = prove(&format!("{strict}  - {lax}\n"));
        assert_eq!(code, 1, "{lax}: {json:#}");
    }
    // Whatever name it is about: bare digests, here.
    let tagged = "  - {match: 'r.example/*:*', signed: {root: r}}\n  - {match: r.example/*, unsigned: accept}\n";
    let (code, json) = prove(tagged);
    assert_eq!(code, 1, "{json:#}");
}

#[test]
fn an_image_of_times_to_come_is_not_young() {
    let dir = tempfile::tempdir().unwrap();
    let rule = "{match: r.example/a, signed: {root: r}, maxAge: 30d}";
    let policy = format!("version: 1\nroots: {{r: root.json}}\nrules:\n  - {rule}\n");
    fs::write(dir.path().join("p.yml"), policy).unwrap();
    let file = dir.path().join("cases.yml");
    let case = |more: &str| {
        let who = "component: r.example/a:v1, signed: [{root: r}]";
        let text = format!("version: 1\npolicy: p.yml\ncases:\n  - {{name: it, {who}{more}}}\n");
        fs::write(&file, text).unwrap();
        run(&["policy", "test", file.to_str().unwrap()])
    };
    for (more, expected) in [
        (", expect: admitted", 0),
        (", created: 2020-01-01T00:00:00Z, expect: EXPIRED", 0),
        (", created: 2199-01-01T00:00:00Z, expect: EXPIRED", 0),
    ] {
        let (code, json) = case(more);
        assert_eq!(code, expected, "{more}: {json:#}");
    }
}

#[test]
fn check_says_no_to_a_policy_that_does_not_say_what_it_means() {
    let node = Node::new();
    let check = || node.run(&["policy", "check", "policy.yml"]);
    let good = check();
    assert_eq!(good.code, 0, "{}", good.json);
    assert_eq!(good.json["result"]["findings"].as_array().unwrap().len(), 0);
    let rule = "  - match: local.test/svc\n    signed: {root: platform}\nimage:\n";
    node.edit("policy.yml", "image:\n", rule);
    let unreachable = check();
    assert_eq!(unreachable.code, 1, "{}", unreachable.json);
    let finding = &unreachable.json["result"]["findings"][0];
    assert_eq!(
        (&finding["kind"], &finding["place"]["line"]),
        (&"unreachable".into(), &8.into())
    );
    node.edit("policy.yml", "    proved: true\n", "    proovd: true\n");
    let mistyped = check();
    assert_eq!(mistyped.code, 2);
    assert!(
        mistyped.json.to_string().contains("did you mean `proved`?"),
        "{}",
        mistyped.json
    );
}

#[test]
fn a_policy_is_checked_out_of_a_pipe_in_each_of_its_environments() {
    let text = "version: 1\nroots: {}\nrules: [{match: r.example/a, deny: no}]\nenvironments: {one: {}, two: {}}\n";
    let mut check = Command::new(env!("CARGO_BIN_EXE_imgkit"));
    check.args(["--output", "json", "policy", "check", "/dev/stdin"]);
    let mut check = check.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{json}");
    let environments = json["result"]["environments"].as_array().unwrap();
    let rules = environments.iter().map(|one| one["rules"].as_array().unwrap().len());
    assert_eq!(rules.collect::<Vec<_>>(), [1, 1], "{json}");
}

#[test]
fn explain_says_what_was_found_of_each_requirement_and_ends_as_the_gate_decides() {
    let node = Node::new();
    let either = "    anyOf: [{signed: {root: platform, role: team}}, {signed: {root: platform}}]\n";
    node.edit("policy.yml", "    signed: {root: platform}\n", either);
    let explain = |more: &[&str]| {
        let args = [
            "policy",
            "explain",
            "--policy",
            "policy.yml",
            "--at",
            NOW,
            "--offline",
            "--arch",
            "amd64",
        ];
        node.run(&[&args[..], more].concat())
    };
    let admitted = explain(&["local.test/svc:v1"]);
    assert_eq!(admitted.code, 0, "{}", admitted.json);
    let requirement = &admitted.json["result"]["requirement"];
    let outcomes: Vec<&str> = [&requirement["parts"][0], &requirement["parts"][1], requirement]
        .map(|answer| answer["outcome"].as_str().unwrap())
        .into();
    assert_eq!(outcomes, ["unmet", "met", "met"]);
    assert_eq!(requirement["parts"][0]["code"], "WRONG_KEY");
    node.component("svc", &[("bin/app", b"another")]);
    let changed = explain(&["local.test/svc:v1"]);
    assert_eq!(changed.code, 1, "{}", changed.json);
    let part = &changed.json["result"]["requirement"]["parts"][1];
    assert_eq!(
        (&part["outcome"], &part["code"]),
        (&"unmet".into(), &"DIGEST_MISMATCH".into())
    );
    assert!(part["advice"].as_str().unwrap().contains("have them signed"));
    let nowhere = explain(&["local.test/svc:v1", "--trust-dir", "nowhere"]);
    assert_eq!(
        nowhere.code, 3,
        "what cannot be found out is not unsigned: {}",
        nowhere.json
    );
    assert_eq!(nowhere.json["result"]["verdict"], "unknown");
    let unknown = explain(&["other.test/svc:v1"]);
    assert_eq!(unknown.json["result"]["refusals"][0]["code"], "NO_RULE");
}

#[test]
fn explain_judges_each_component_of_a_finished_disk() {
    let node = Node::new();
    node.build_sealed("out");
    let explain = |image: &str| node.run(&["policy", "explain", "--policy", "policy.yml", image]);
    for image in ["out/node.qcow2", "out/node.tar.seal"] {
        let admitted = explain(image);
        assert_eq!(admitted.code, 0, "{}", admitted.json);
        assert_eq!(admitted.json["result"]["subjects"].as_array().unwrap().len(), 5);
    }
    node.edit(
        "policy.yml",
        "signed: {root: platform}\n",
        "signed: {root: platform}\n    minVersion: v2\n",
    );
    let refused = explain("out/node.qcow2");
    assert_eq!(refused.code, 1, "{}", refused.json);
    for subject in &refused.json["result"]["subjects"].as_array().unwrap()[1..] {
        assert_eq!(subject["refusals"][0]["code"], "VERSION", "{subject}");
        assert_eq!(subject["refusals"][0]["demanded"]["place"]["line"], 7, "{subject}");
    }
}

#[test]
fn an_environment_has_to_be_named_and_what_it_forbids_is_refused_on_a_finished_disk() {
    let node = Node::new();
    node.build_sealed("out");
    let overlay =
        "environments:\n  production:\n    forbid: [{match: local.test/svc, reason: no services here}]\n  lab: {}\n";
    let policy = fs::read_to_string(node.path("policy.yml")).unwrap();
    node.write("policy.yml", &format!("{policy}{overlay}"));
    let verify = |more: &[&str]| node.run(&[&["verify", "--policy", "policy.yml"], more, &["out/node.qcow2"]].concat());
    let unnamed = verify(&[]);
    assert_eq!(unnamed.code, 2, "{}", unnamed.json);
    assert!(
        unnamed
            .json
            .to_string()
            .contains("lab, production; name one with --environment"),
        "{}",
        unnamed.json
    );
    assert_eq!(verify(&["--environment", "lab"]).code, 0);
    let production = verify(&["--environment", "production"]);
    assert_eq!(production.codes(), ["DENIED"], "{}", production.json);
    assert_eq!(production.json["refusals"][0]["found"], "no services here");
    let checked = node.good(&["policy", "check", "policy.yml"]);
    assert_eq!(checked["environments"].as_array().unwrap().len(), 2);
}

#[test]
fn an_included_file_decides_and_is_part_of_the_digest_and_no_link_leads_elsewhere() {
    let node = Node::new();
    let policy = fs::read_to_string(node.path("policy.yml")).unwrap();
    fs::create_dir(node.path("rules")).unwrap();
    let rules = "version: 1\nrules:\n  - match: local.test/*\n    signed: {root: platform}\n    proved: true\n";
    node.write("rules/all.yml", rules);
    let (head, rest) = policy.split_once("rules:").unwrap();
    let image = rest.find("image:").unwrap();
    node.write(
        "policy.yml",
        &format!("{head}include: [rules/all.yml]\n{}", &rest[image..]),
    );
    node.build_sealed("out");
    let digest = || node.good(&["policy", "check", "policy.yml"])["digest"].clone();
    let before = digest();
    node.edit("rules/all.yml", "proved: true\n", "minVersion: v2\n");
    assert_ne!(digest(), before);
    let refused = node.verify("out/node.qcow2");
    assert_eq!(refused.codes(), ["VERSION"; 4], "{}", refused.json);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("all.yml"), rules).unwrap();
    fs::remove_file(node.path("rules/all.yml")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("all.yml"), node.path("rules/all.yml")).unwrap();
    let led_away = node.verify("out/node.qcow2");
    assert_eq!(led_away.code, 2, "{}", led_away.json);
    node.edit("policy.yml", "rules/all.yml", "../all.yml");
    assert_eq!(node.verify("out/node.qcow2").code, 2);
}

#[test]
fn two_of_three_named_signers_admit_and_prove_a_component() {
    let node = Node::new();
    let roles = ["alice", "bob", "carol"];
    let options = roles.iter().flat_map(|role| ["--role", role]);
    let init: Vec<&str> = ["trust", "init", "crew", "--at", NOW]
        .into_iter()
        .chain(options)
        .collect();
    node.good(&init);
    let signers: String = roles
        .iter()
        .map(|role| format!("  {role}: {{root: crew, role: {role}}}\n"))
        .collect();
    node.edit(
        "policy.yml",
        "roots:\n",
        &format!("signers:\n{signers}roots:\n  crew: keys/crew/root.json\n"),
    );
    let rule =
        "rules:\n  - match: local.test/svc\n    proved: true\n    signed: {by: [alice, bob, carol], threshold: 2}\n";
    node.edit("policy.yml", "rules:\n", rule);
    let build = |out| node.run(&Node::build_args(out, &["--format", "tar"]));
    let sign = |role| {
        node.good(&[
            "trust",
            "sign",
            "--at",
            NOW,
            "--collection",
            "crew",
            "--role",
            role,
            "local.test/svc:v1",
        ])
    };
    assert_eq!(build("none").codes(), ["UNSIGNED"]);
    sign("bob");
    let one = build("one");
    assert_eq!(one.codes(), ["THRESHOLD"], "{}", one.json);
    assert_eq!(one.json["refusals"][0]["demanded"]["place"]["line"], 12, "{}", one.json);
    // Bob comes before Carol in the root's order, so his word prevails; she signs the very same with him.
    sign("carol");
    node.build_sealed("two");
    let verified = node.verify("two/node.qcow2");
    assert_eq!(verified.code, 0, "{}", verified.json);
    let components = verified.json["result"]["components"].as_array().unwrap();
    let svc = components
        .iter()
        .find(|component| component["reference"] == "local.test/svc:v1")
        .unwrap();
    assert_eq!(svc["state"], "PROVED");
    assert_eq!(svc["admitted"]["role"], "bob");
    assert_eq!(svc["admitted"]["also"][0]["role"], "carol");
}

#[test]
fn a_form_that_the_policy_does_not_admit_is_neither_built_nor_verified() {
    let node = Node::new();
    node.build_sealed("out");
    node.edit("policy.yml", "  name: node\n", "  name: node\n  formats: [tar]\n");
    let built = node.run(&Node::build_args("again", &["--format", "raw-bios"]));
    assert_eq!(built.reasons(), [("FORMAT", Some(10))], "{}", built.json);
    assert_eq!(node.verify("out/node.qcow2").codes(), ["FORMAT"]);
    assert_eq!(node.verify("out/node.seal").codes(), ["FORMAT"]);
    assert_eq!(node.verify("out/node.tar.seal").code, 0);
}

#[test]
fn an_image_of_another_profile_or_of_none_is_neither_built_nor_verified() {
    let node = Node::new();
    node.build_sealed("plain");
    node.edit("policy.yml", "  name: node\n", "  name: node\n  profile: production\n");
    let spec = fs::read_to_string(node.path("node.yml")).unwrap();
    for (profile, found) in [("", "none"), ("profile: debug\n", "`debug`")] {
        node.write("node.yml", &format!("{spec}{profile}"));
        let built = node.run(&Node::build_args("again", &["--format", "raw-bios"]));
        assert_eq!(built.reasons(), [("PROFILE", Some(10))], "{}", built.json);
        assert!(built.json["refusals"][0]["found"].as_str().unwrap().contains(found));
    }
    for image in ["node.qcow2", "node.seal", "node.tar.seal"] {
        assert_eq!(
            node.verify(&format!("plain/{image}")).reasons(),
            [("PROFILE", Some(10))]
        );
    }
    node.write("node.yml", &format!("{spec}profile: production\n"));
    node.build_sealed("out");
    let verified = node.verify("out/node.qcow2");
    assert_eq!(verified.code, 0, "{}", verified.json);
    assert_eq!(verified.json["result"]["signed"]["profile"], "production");
    node.edit("policy.yml", "profile: production", "profile: debug");
    assert_eq!(node.verify("out/node.qcow2").codes(), ["PROFILE"]);
}

#[test]
fn cases_and_proofs_know_profiles() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("p.yml");
    let image = "image: {profile: production, maxAge: 30d, formats: [tar], sealed: {root: r}}";
    let text =
        format!("version: 1\nroots: {{r: root.json}}\nrules: [{{match: r.example/*, signed: {{root: r}}}}]\n{image}\n");
    fs::write(&policy, text).unwrap();
    let cases = dir.path().join("cases.yml");
    let text = "version: 1\npolicy: p.yml\ncases:\n  - {name: debug, image: {profile: debug}, expect: PROFILE}\n  \
                - {name: the one, image: {profile: production}, expect: admitted}\n  - {name: it, image: {}, expect: admitted}\n";
    fs::write(&cases, text).unwrap();
    let (code, json) = run(&["policy", "test", cases.to_str().unwrap()]);
    assert_eq!(code, 0, "{json:#}");
    let (code, json) = run(&["policy", "prove", policy.to_str().unwrap()]);
    assert_eq!(code, 0, "{json:#}");
    let proofs = json["result"]["proofs"].as_array().unwrap();
    let image = proofs.iter().find(|proof| proof["about"] == "image").unwrap();
    assert_eq!(image["notShown"], Value::Null, "{image:#}");
}

#[test]
fn ten_components_are_refused_for_ten_reasons_in_one_build() {
    let node = Node::new();
    let layout = Layout::open(node.path("store")).unwrap();
    let names = [
        "denied", "nobody", "team", "two", "changed", "old", "stale", "listed", "either",
    ];
    let mut listed = String::new();
    for (at, name) in (50..).zip(names) {
        let document = put(
            &layout,
            &format!("local.test/{name}:v1"),
            &[("bin/app", &noise(at, 100))],
        );
        if name == "listed" {
            listed = document.digest.to_string();
        }
        if !["nobody", "listed"].contains(&name) {
            node.good(&[
                "trust",
                "sign",
                "--at",
                NOW,
                "--collection",
                "platform",
                &format!("local.test/{name}:v1"),
            ]);
        }
    }
    node.component("changed", &[("bin/app", b"not what was signed")]);
    put(&layout, "other.test/stranger:v1", &[("bin/app", b"x")]);
    let rules = format!(
        "rules:
  - {{match: local.test/denied, deny: it is on the list}}
  - {{match: local.test/team, signed: {{root: platform, role: team}}}}
  - {{match: local.test/two, signed: {{root: platform, threshold: 2}}}}
  - {{match: local.test/old, signed: {{root: platform}}, minVersion: v2.1}}
  - {{match: local.test/stale, signed: {{root: platform}}, maxAge: 90d}}
  - {{match: local.test/listed, digestIn: ['{listed}'], proved: true}}
  - match: local.test/either
    anyOf:
      - {{signed: {{root: platform, role: team}}}}
      - {{signed: {{root: platform}}, minVersion: v3}}
"
    );
    node.edit("policy.yml", "rules:\n", &rules);
    let mut services = String::from("services:\n");
    for name in names
        .map(|name| format!("local.test/{name}"))
        .iter()
        .map(String::as_str)
        .chain(["other.test/stranger"])
    {
        let service = name.rsplit('/').next().unwrap();
        services.push_str(&format!(
            "  - {{name: {service}, image: '{name}:v1', command: [/bin/app]}}\n"
        ));
    }
    node.edit("node.yml", "services:\n", &services);
    let refused = node.run(&Node::build_args("refused", &["--format", "tar"]));
    assert_eq!(refused.code, 1, "{}", refused.json);
    let refusals = refused.json["refusals"].as_array().unwrap();
    let mut codes = refused.codes();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!((refusals.len(), codes.len()), (10, 10), "{}", refused.json);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let lines = refusals.iter().map(|refusal| {
        let demanded = &refusal["demanded"];
        format!(
            "{} {} (node.yml:{})\n  expected: {}\n  found:    {}\n  demanded: {} (policy.yml:{}), by rule {}\n  to do:    {}",
            text(&refusal["code"]),
            text(&refusal["subject"]),
            refusal["place"]["line"],
            text(&refusal["expected"]),
            text(&refusal["found"]),
            text(&demanded["requirement"]),
            demanded["place"]["line"],
            text(&demanded["rule"]),
            text(&refusal["advice"]),
        )
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn one_run_writes_every_form_of_its_answer_and_both_yes_and_no_have_them() {
    let node = Node::new();
    node.build_sealed("out");
    let outputs = [
        "--output",
        "json",
        "--output",
        "json=r.json",
        "--output",
        "sarif=r.sarif",
        "--output",
        "junit=r.xml",
    ];
    let verify = || {
        let args = [
            &["verify", "--policy", "policy.yml"],
            &outputs[..],
            &["out/node.tar.seal"],
        ]
        .concat();
        let answer = node.run(&args);
        let json = |name: &str| serde_json::from_slice::<Value>(&fs::read(node.path(name)).unwrap()).unwrap();
        assert_eq!(json("r.json"), answer.json);
        (answer, json("r.sarif"), fs::read_to_string(node.path("r.xml")).unwrap())
    };
    let (yes, sarif, junit) = verify();
    assert_eq!(yes.code, 0, "{}", yes.json);
    assert_eq!(yes.json["refusals"], Value::Array(Vec::new()));
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert!(
        results.iter().all(|result| result["kind"] == "pass") && results.len() > 5,
        "{sarif:#}"
    );
    assert!(junit.contains("failures=\"0\" errors=\"0\""), "{junit}");
    node.edit(
        "policy.yml",
        "signed: {root: platform}\n",
        "signed: {root: platform}\n    minVersion: v2\n",
    );
    let (no, sarif, junit) = verify();
    assert_eq!(no.code, 1, "{}", no.json);
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let found: Vec<_> = results
        .iter()
        .map(|result| (&result["ruleId"], &result["level"]))
        .collect();
    assert_eq!(found, [(&"VERSION".into(), &"error".into()); 4], "{sarif:#}");
    let location = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "node.yml");
    assert!(junit.contains("failures=\"4\""), "{junit}");
    let script =
        "import sys, xml.etree.ElementTree as t; print(len(t.parse(sys.argv[1]).getroot().findall('.//failure')))";
    let read = Command::new("python3")
        .args(["-c", script])
        .arg(node.path("r.xml"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&read.stdout).trim(),
        "4",
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let both = node.run(&["--output", "text", "policy", "schema"]);
    assert_eq!(both.code, 2, "two results cannot both go to standard output");
}

#[test]
fn another_tools_policy_is_read_and_checked_as_one_of_ours() {
    let node = Node::new();
    let theirs = r#"{"default": [{"type": "reject"}], "transports": {"docker": {
        "local.test/svc": [{"type": "insecureAcceptAnything"}],
        "local.test/svc/signed": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k.gpg"}]}}}"#;
    node.write("policy.json", theirs);
    let imported = node.good(&["policy", "import", "containers", "policy.json", "--out", "imported.yml"]);
    assert_eq!(imported["notCarriedOver"].as_array().unwrap().len(), 1, "{imported:#}");
    let checked = node.good(&["policy", "check", "imported.yml"]);
    let demands: Vec<&str> = checked["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["demands"].as_str().unwrap())
        .collect();
    assert_eq!(demands.len(), 4, "{demands:?}");
    assert!(
        demands[..2].iter().all(|demand| demand.starts_with("is denied")),
        "{demands:?}"
    );
    node.write("policy.json", "{}");
    assert_eq!(node.run(&["policy", "import", "containers", "policy.json"]).code, 2);
}
