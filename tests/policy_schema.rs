//! The published schema of policies, read by a public validator, beside the parser: what is shipped and shown is good for both, and what the
//! schema refuses the parser refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use imgkit::policy::{Environment, Policy};
use serde_json::{Value, json};

/// Judges YAML texts (`{"yaml": …}`) and values (`{"json": …}`); answers with each one's value, and whether it is valid.
const VALIDATOR: &str = "\
import json, sys, yaml, jsonschema
schema = json.load(open(sys.argv[1]))
validator = jsonschema.Draft202012Validator(schema)
validator.check_schema(schema)
for line in sys.stdin:
    asked = json.loads(line)
    value = yaml.safe_load(asked['yaml']) if 'yaml' in asked else asked['json']
    print(json.dumps([value, validator.is_valid(value)]))
";

/// What the validator says of each.
fn validated(asked: impl Iterator<Item = Value>) -> Vec<(Value, bool)> {
    let dir = tempfile::tempdir().unwrap();
    let schema = dir.path().join("schema.json");
    let printed = Command::new(env!("CARGO_BIN_EXE_imgkit"))
        .args(["policy", "schema"])
        .output()
        .unwrap();
    assert!(printed.status.success());
    fs::write(&schema, printed.stdout).unwrap();
    let input = dir.path().join("asked");
    let lines: Vec<String> = asked.map(|one| one.to_string()).collect();
    fs::write(&input, lines.join("\n")).unwrap();
    let mut child = Command::new(common::python(
        "python-jsonschema",
        &["jsonschema==4.25.1", "PyYAML==6.0.3"],
    ));
    child
        .args(["-c", VALIDATOR])
        .arg(schema)
        .stdin(fs::File::open(input).unwrap());
    let output = child.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the validator ended with {}", output.status);
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<_> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), lines.len());
    answers
}

/// What the parser says of a policy, whose files to include are there and empty.
fn parsed(text: &str) -> Result<(), String> {
    let mut read = |name: &str| match name {
        "p.yml" => Ok(text.as_bytes().to_vec()),
        _ => Ok(b"version: 1\n".to_vec()),
    };
    let policy = Policy::load("", "p.yml", Environment::Base, &mut read);
    policy.map(drop).map_err(|error| error.to_string())
}

/// A policy that has every key of the grammar.
const EVERYTHING: &str = "\
version: 1
include: [base.yml]
roots: {platform: root.json, alpine: {gun: docker.io/library/alpine, file: alpine.json}}
signers:
  alice: {root: platform, role: alice, threshold: 2}
  bob: {root: platform}
  vendor: {key: vendor.pub, names: tag}
  ci: {identity: 'https://ci.example/x', issuer: 'https://issuer.example', trustedRoot: t.json}
  any: {identityRegExp: '.*@example[.]com', issuerRegExp: 'https://i[.]example/.*'}
forbid: [{match: 'r.example/**:latest', reason: it moves}]
rules:
  - match: r.example/a
    signed: {by: [alice, bob], threshold: 2}
    maxAge: 12h
    minVersion: v1.2
    proved: true
    allow: ['capability:*']
    overrides: refuse
  - {match: r.example/b, anyOf: [{signed: alice}, {allOf: [{signed: vendor}]}]}
  - match: r.example/c
    atLeast: {of: 1, requirements: [{digestIn: ['sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']}]}
  - {match: r.example/d, attested: {type: slsaprovenance1, by: ci, condition: predicate.x == 1}}
  - {match: r.example/e, signed: {by: any}}
  - {match: docker.io/library/alpine, signed: {root: alpine, role: targets/releases}}
  - {match: r.example/f, deny: not yet}
  - {match: r.example/g, unsigned: accept}
spec: {signed: bob}
image:
  {name: node, arch: amd64, formats: [disk, tar], cmdline: [nokaslr], minEpoch: 0, maxAge: 90d, profile: production, proved: false, sealed: {root: platform}}
environments: {production: {image: {maxAge: 30d}, forbid: [], rules: [], spec: {digests: ['sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']}}}
";

/// The policies that are shipped, shown in the documentation, and kept for ever.
fn shown() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["debug", "production", "release"].map(|name| format!("policy/{name}.yml"));
    let kept = [1, 2].map(|version| format!("tests/golden/{version}/policy.yml"));
    let read = |name: String| (name.clone(), fs::read_to_string(root.join(&name)).unwrap());
    let mut all: Vec<(String, String)> = files.into_iter().chain(kept).map(read).collect();
    let readme = fs::read_to_string(root.join("policy/README.md")).unwrap();
    let blocks = readme
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let policies: Vec<&str> = blocks.filter(|block| block.contains("\nrules:")).collect();
    assert_eq!(policies.len(), 1);
    all.extend(policies.into_iter().map(|text| ("README".to_owned(), text.to_owned())));
    all.push(("everything".to_owned(), EVERYTHING.to_owned()));
    all
}

#[test]
fn what_is_shipped_and_shown_is_good_for_schema_and_parser() {
    let shown = shown();
    let answers = validated(shown.iter().map(|(_, text)| json!({ "yaml": text })));
    for ((name, text), (_, valid)) in shown.iter().zip(answers) {
        assert!(valid, "{name}");
        assert_eq!(parsed(text), Ok(()), "{name}");
    }
}

#[test]
fn mistakes_are_refused_by_schema_and_parser() {
    let mistakes = [
        ("maxAge: 12h", "maxAge: 12"),
        ("maxAge: 12h", "maxAge: 12m"),
        ("signed: {by: [alice", "sgined: {by: [alice"),
        ("of: 1", "of: 0"),
        ("threshold: 2}\n    maxAge", "threshold: 0}\n    maxAge"),
        ("role: alice, threshold: 2", "role: alice, threshold: '2'"),
        ("formats: [disk", "formats: [iso"),
        ("formats: [disk, tar]", "formats: disk"),
        ("version: 1", "version: 2"),
        ("version: 1", "version: '1'"),
        ("spec: {signed: bob}", "spec: {}"),
        ("spec: {digests: [", "spec: {signed: bob, digests: ["),
        ("production:", "Production:"),
        ("reason: it moves", "because: it moves"),
        (", reason: it moves", ""),
        ("proved: true", "proved: yes please"),
        ("unsigned: accept", "unsigned: true"),
        ("unsigned: accept", "unsigned: accept, deny: not yet"),
        ("unsigned: accept", "unsigned: accept, signed: bob"),
        (", unsigned: accept", ""),
        ("deny: not yet", "deny: not yet, signed: bob"),
        ("anyOf: [{signed: alice}", "anyOf: [{}"),
        ("allOf: [{signed: vendor}]", "allOf: []"),
        ("key: vendor.pub", "key: vendor.pub, identity: x"),
        ("key: vendor.pub", "key: vendor.pub, root: platform"),
        ("names: tag", "names: digest"),
        ("identity: 'https://ci.example/x', ", ""),
        ("identity: 'https://ci.example/x'", "identity: x, identityRegExp: x"),
        (", issuer: 'https://issuer.example'", ""),
        ("file: alpine.json", "files: alpine.json"),
        ("allow: ['capability:*']", "allow: 'capability:*'"),
        ("overrides: refuse", "overrides: false"),
        ("type: slsaprovenance1, ", ""),
        ("'sha256:e3b0", "'sha256:e3b"),
        ("match: r.example/a\n", "match: '*'\n"),
    ];
    let mistaken = mistakes.map(|(from, to)| {
        assert!(EVERYTHING.contains(from), "{from}");
        EVERYTHING.replacen(from, to, 1)
    });
    let answers = validated(mistaken.iter().map(|text| json!({ "yaml": text })));
    let mut taken = Vec::new();
    for (((_, to), text), (_, valid)) in mistakes.iter().zip(&mistaken).zip(answers) {
        if valid || parsed(text).is_ok() {
            taken.push((to, valid, parsed(text)));
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
}

/// Every place in a value, as JSON pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{number}"), all);
            }
        }
        Value::Object(entries) => {
            for (key, item) in entries {
                places(item, &format!("{at}/{key}"), all);
            }
        }
        _ => {}
    }
}

/// Every key that stands somewhere, with a value that it has there.
fn keys(value: &Value, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| keys(item, all)),
        Value::Object(entries) => {
            for (key, item) in entries {
                all.insert(key.clone(), item.clone());
                keys(item, all);
            }
        }
        _ => {}
    }
}

/// What stands in a place, changed in every way of which something could come.
fn changed(value: &Value, known: &BTreeMap<String, Value>) -> Vec<Value> {
    let plain = json!([null, true, 0, -1, 1, 2, 1.5, "", "x", "X y", [], {}, ["x"], {"x": 1}]);
    let mut all: Vec<Value> = plain.as_array().unwrap().clone();
    all.push(json!([value]));
    match value {
        Value::String(text) => {
            let texts = [
                format!("{text} "),
                format!(" {text}"),
                format!("+{text}"),
                format!("{text}+x"),
                format!("{text}\n"),
                format!("0{text}"),
                text.to_uppercase(),
                text[..text.len() / 2].to_owned(),
            ];
            all.extend(texts.map(Value::from));
        }
        Value::Array(items) => {
            all.push(items.get(1..).unwrap_or_default().into());
            all.push([items.as_slice(), items.as_slice()].concat().into());
        }
        Value::Object(entries) => {
            for key in entries.keys() {
                let mut fewer = entries.clone();
                fewer.remove(key);
                all.push(fewer.into());
            }
            for (key, item) in known.iter().filter(|(key, _)| !entries.contains_key(*key)) {
                let mut more = entries.clone();
                more.insert(key.clone(), item.clone());
                all.push(more.into());
            }
        }
        _ => {}
    }
    all
}

#[test]
fn what_the_schema_refuses_the_parser_refuses() {
    let (base, valid) = validated([json!({ "yaml": EVERYTHING })].into_iter()).remove(0);
    assert!(valid);
    assert_eq!(parsed(&base.to_string()), Ok(()));
    let (mut all, mut known) = (Vec::new(), BTreeMap::new());
    places(&base, "", &mut all);
    keys(&base, &mut known);
    let mut mutants = Vec::new();
    for place in &all {
        for other in changed(base.pointer(place).unwrap(), &known) {
            let mut mutant = base.clone();
            *mutant.pointer_mut(place).unwrap() = other;
            mutants.push((place, mutant));
        }
    }
    let answers = validated(mutants.iter().map(|(_, mutant)| json!({ "json": mutant })));
    let mut refused = 0;
    let mut lax = Vec::new();
    let mut wrong = Vec::new();
    for ((place, mutant), (_, valid)) in mutants.iter().zip(answers) {
        let found = mutant.pointer(place).unwrap();
        match (valid, parsed(&mutant.to_string())) {
            (false, Ok(())) => wrong.push(format!("{place}: {found}")),
            (false, Err(_)) => refused += 1,
            (true, Err(error)) => lax.push(format!("{place}: {found}: {error}")),
            (true, Ok(())) => {}
        }
    }
    assert!(
        refused > 3000 && lax.len() < 200,
        "{refused} refused by both, {} by the parser",
        lax.len()
    );
    // What a schema cannot say is which names there are, and what texts mean; which keys there are, and of which kind, it says.
    let of_form = [
        " needs the key ",
        "known keys:",
        "exactly one of",
        "expected a list",
        "expected a mapping",
        "expected text",
        "expected an integer",
    ];
    lax.retain(|error| of_form.iter().any(|words| error.contains(words)));
    assert!(lax.is_empty(), "only the parser refuses:\n{}", lax.join("\n"));
    assert!(wrong.is_empty(), "only the schema refuses:\n{}", wrong.join("\n"));
}
