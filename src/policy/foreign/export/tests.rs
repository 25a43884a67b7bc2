//! Exports, judged as containers-policy.json(5) says, against the policies that they were made of.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::super::{Beside, containers};
use super::*;
use crate::failure::Failure;
use crate::reference::Reference;

const HEAD: &str = "\
version: 1
roots:
  platform: root.json
signers:
  a: {key: a.pub}
  b: {key: b.pub}
  c: {key: c.pub, names: repository}
  d: {key: d.pub, names: tag}
  ci: {identity: ci@example.com, issuer: 'https://issuer.example'}
rules:
";

/// The file stands for the key in it.
fn key(file: &str) -> Option<String> {
    Some(file.to_owned())
}

/// A signature: the key, and the name that it gives the image: R stands for the image's repository, T for its tag.
type Signature<'a> = (&'a str, &'a str);

fn named(name: &str, image: &Reference) -> String {
    name.replace('R', &image.repository().to_string())
        .replace('T', image.tag().unwrap())
}

fn parsed(rules: &str) -> Policy {
    Policy::parse("p.yml", format!("{HEAD}{rules}").as_bytes()).unwrap()
}

/// Judges as containers-policy.json(5) says: the most specific scope decides.
fn admits_there(policy: &Value, image: &Reference, signatures: &[Signature<'_>]) -> bool {
    let scopes = policy["transports"]["docker"].as_object().unwrap();
    let repository = image.repository().to_string();
    let mut name = repository.as_str();
    let mut tried = vec![format!("{repository}:{}", image.tag().unwrap()), repository.clone()];
    while let Some((above, _)) = name.rsplit_once('/') {
        tried.push(above.to_owned());
        name = above;
    }
    let found = tried.iter().find_map(|scope| scopes.get(scope));
    let requirements = found.unwrap_or(&policy["default"]).as_array().unwrap();
    let holds = |requirement: &Value| match requirement["type"].as_str().unwrap() {
        "insecureAcceptAnything" => true,
        "sigstoreSigned" => {
            let identity = &requirement["signedIdentity"];
            let keys = requirement["keyDatas"].as_array().cloned();
            let keys = keys.unwrap_or_else(|| vec![requirement["keyData"].clone()]);
            signatures.iter().any(|(key, name)| {
                let name = named(name, image);
                let is_named = match identity["type"].as_str().unwrap() {
                    "exactRepository" => identity["dockerRepository"] == *name.split(':').next().unwrap(),
                    "matchRepository" => name.split(':').next() == Some(&repository),
                    "matchRepoDigestOrExact" => name == image.to_string(),
                    _ => false,
                };
                is_named && keys.contains(&json!(STANDARD.encode(key)))
            })
        }
        _ => false,
    };
    !requirements.is_empty() && requirements.iter().all(holds)
}

fn holds_here(requirement: &Requirement, image: &Reference, signatures: &[Signature<'_>]) -> bool {
    let holds = |part: &Requirement| holds_here(part, image, signatures);
    match &requirement.demand {
        Demand::AllOf(parts) => parts.iter().all(holds),
        Demand::AtLeast { of, among } => among.iter().filter(|part| holds(part)).count() >= *of,
        Demand::Signed {
            by: Signer::Sigstore(SigstoreSigner::Key { file, names }),
            ..
        } => {
            let counts = |(key, name): &Signature<'_>| key == file && names.takes(&[&named(name, image)], image);
            signatures.iter().any(counts)
        }
        _ => false,
    }
}

fn admits_here(policy: &Policy, image: &Reference, signatures: &[Signature<'_>]) -> bool {
    let forbidden = policy.forbids(image).is_some();
    !forbidden
        && policy.rule_for(image).is_some_and(|rule| match &rule.decision {
            Decision::Denied { .. } => false,
            Decision::Unsigned => true,
            Decision::Required(requirement) => !rule.proved && holds_here(requirement, image, signatures),
        })
}

const NAMES: [&str; 16] = [
    "r.example/app:v1",
    "r.example/app:v2",
    "r.example/app/x:v1",
    "r.example/app/x/y:v1",
    "r.example/team:v1",
    "r.example/team/a:v1",
    "r.example/team/a:v2",
    "r.example/team/a/b:v1",
    "r.example/team/a/debug:v1",
    "r.example/other:v1",
    "s.example/app:v1",
    "s.example/a/b/c:v1",
    "docker.io/linuxkit/init:v1",
    "docker.io/linuxkit/init/x:v1",
    "docker.io/library/alpine:v1",
    "docker.io/other/x:v1",
];

const SIGNATURES: [&[Signature<'static>]; 9] = [
    &[],
    &[("a.pub", "R")],
    &[("b.pub", "R")],
    &[("a.pub", "R"), ("b.pub", "R:T")],
    &[("a.pub", "r.example/app")],
    &[("c.pub", "R:other")],
    &[("d.pub", "R")],
    &[("d.pub", "R:T"), ("c.pub", "R")],
    &[("d.pub", "r.example/app:v1"), ("c.pub", "r.example/app")],
];

/// Every rule text, alone and behind and before each other.
const RULES: [&str; 20] = [
    "  - {match: r.example/app, signed: a}\n",
    "  - {match: 'r.example/app/**', signed: a}\n",
    "  - {match: 'r.example/app/**', signed: b}\n",
    "  - {match: 'r.example/app:v1', unsigned: accept}\n",
    "  - {match: 'r.example/app:v*', signed: b}\n",
    "  - {match: 'r.example/**', signed: {by: [a, b], threshold: 1}}\n",
    "  - {match: 'r.example/**', signed: {by: [a, b], threshold: 2}}\n",
    "  - {match: 'r.example/team/**', unsigned: accept}\n",
    "  - {match: 'r.example/team/*', signed: a}\n",
    "  - {match: 'r.example/*/a', deny: no}\n",
    "  - {match: r.example/team, unsigned: accept}\n",
    "  - {match: 'r.example/team/a/**', signed: b}\n",
    "  - {match: 's.example/**', unsigned: accept}\n",
    "  - {match: 's.example/a/**', deny: no}\n",
    "  - {match: 'docker.io/linuxkit/**', signed: a}\n",
    "  - {match: docker.io/library/alpine, signed: {root: platform}}\n",
    "  - {match: 'r.example/team/a', signed: a, proved: true}\n",
    "  - {match: r.example/app, signed: d}\n",
    "  - {match: 'r.example/**', anyOf: [{signed: c}, {signed: d}]}\n",
    "  - {match: r.example/team/a, allOf: [{signed: c}, {signed: d}]}\n",
];

#[test]
fn nothing_is_admitted_there_that_is_not_admitted_here() {
    let mut there = 0;
    let forbid = [
        "",
        "forbid:\n  - {match: 'r.example/**', reason: no}\n",
        "forbid:\n  - {match: 'r.example/*/*/debug', reason: no}\n",
    ];
    for one in RULES {
        for two in RULES {
            for three in ["", RULES[5], RULES[7], RULES[9]] {
                for forbid in forbid {
                    let policy = parsed(&format!("{one}{two}{three}{forbid}"));
                    let exported = export(&policy, &key);
                    for name in NAMES {
                        let image = name.parse().unwrap();
                        for signatures in SIGNATURES {
                            let admitted = admits_there(&exported.policy, &image, signatures);
                            let here = admits_here(&policy, &image, signatures);
                            let case =
                                || format!("{name} {signatures:?}\n{one}{two}{three}{forbid}{:#}", exported.policy);
                            // But for an image that was signed as one of the repository that lies above it.
                            let above = |(_, signed): &Signature<'_>| {
                                signed.starts_with("r.example/app") && name.starts_with("r.example/app/")
                            };
                            assert!(here || !admitted || signatures.iter().any(above), "{}", case());
                            // What is lost is told, but that each signature has to name the image's own repository.
                            let own = signatures.iter().all(|(_, name)| name.starts_with('R'));
                            let told = !exported.losses.is_empty();
                            assert!(admitted || !here || told || !own, "{}", case());
                            there += usize::from(admitted);
                        }
                    }
                }
            }
        }
    }
    assert!(there > 10_000, "{there}");
}

#[test]
fn what_comes_over_and_what_is_lost_are_pinned() {
    let policy = parsed(
        "  - {match: r.example/app, signed: a}
  - {match: 'r.example/both/**', allOf: [{signed: a}, {signed: b}]}
  - {match: r.example/both, signed: {by: [a, b], threshold: 2}}
  - {match: 'r.example/either/**', anyOf: [{signed: a}, {signed: b}, {signed: {root: platform}}]}
  - {match: r.example/either, signed: {by: [a, b], threshold: 1}}
  - {match: 'r.example/*/wild', signed: a}
  - {match: r.example/tuf, signed: {root: platform}}
  - {match: r.example/ci, signed: ci}
  - {match: r.example/young, signed: a, maxAge: 30d}
  - {match: r.example/proved, signed: a, proved: true}
  - {match: r.example/listed, digestIn: ['sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']}
  - {match: 's.example/**', unsigned: accept}
  - {match: t.example/open, unsigned: accept}
  - {match: 'u.example/team/**', signed: a}
  - {match: v.example/app, signed: d}
  - {match: 'w.example/**', signed: d}
",
    );
    let exported = export(&policy, &key);
    let losses: Vec<String> = exported.losses.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(format!(
        "{:#}\n{:#}\n{}",
        exported.policy,
        exported.registries,
        losses.join("\n")
    ));
}

/// The key that a file of the policies above stands for.
fn pem(file: &str) -> String {
    let fixtures = [
        include_str!("../../../../tests/fixtures/cosign/a.pub"),
        include_str!("../../../../tests/fixtures/cosign/b.pub"),
        include_str!("../../../../tests/fixtures/cosign/ck.pub"),
    ];
    fixtures[["a.pub", "b.pub", "d.pub"]
        .iter()
        .position(|known| *known == file)
        .unwrap()]
    .to_owned()
}

#[test]
fn what_is_exported_and_imported_again_decides_the_same() {
    let rules = [
        "  - {match: r.example/app, signed: a}\n",
        "  - {match: r.example/app, signed: d}\n  - {match: 'r.example/**', signed: a}\n",
        "  - {match: 'r.example/team/**', signed: a}\n  - {match: r.example/team, signed: a}\n",
        "  - {match: 'r.example/**', signed: {by: [a, b], threshold: 1}}\n",
        "  - {match: 'r.example/**', signed: {by: [a, d], threshold: 2}}\n",
        "  - {match: 'r.example/team/**', deny: no}\n  - {match: 'r.example/**', unsigned: accept}\n",
        "  - {match: 'r.example/app:v1', unsigned: accept}\n  - {match: 'docker.io/linuxkit/**', signed: b}\n",
    ];
    let mut admitted = 0;
    for rules in rules {
        let policy = parsed(rules);
        let exported = export(&policy, &|file| Some(pem(file)));
        let imported = {
            let beside = Beside {
                file: &|path| Err(Failure::unavailable(path, "no such file")),
                certificate_logs: &[],
            };
            containers("policy.json", exported.policy.to_string().as_bytes(), &beside).unwrap()
        };
        let again = Policy::parse("p.yml", imported.yaml.as_bytes()).unwrap();
        let file = |key: &str| {
            let found = imported.files.iter().find(|(_, known)| **known == pem(key));
            found.map_or_else(|| "absent".to_owned(), |(file, _)| file.clone())
        };
        let signatures = SIGNATURES
            .iter()
            .filter(|all| all.iter().all(|(key, _)| *key != "c.pub"));
        for signatures in signatures {
            let pems: Vec<(String, String, &str)> = signatures
                .iter()
                .map(|(key, name)| (pem(key), file(key), *name))
                .collect();
            let there: Vec<_> = pems.iter().map(|(pem, _, name)| (pem.as_str(), *name)).collect();
            let here: Vec<_> = pems.iter().map(|(_, file, name)| (file.as_str(), *name)).collect();
            for name in NAMES {
                let image: Reference = name.parse().unwrap();
                let expected = admits_there(&exported.policy, &image, &there);
                let found = admits_here(&again, &image, &here);
                // Below a repository nothing is taken that was signed as an image of it.
                let above = |(_, signed): &Signature<'_>| signed.starts_with("r.example/app");
                let narrower = name.starts_with("r.example/app/") && here.iter().any(above);
                assert!(
                    expected == found || (expected && narrower),
                    "{name} {here:?}\n{rules}\n{}",
                    imported.yaml
                );
                // And never more than at first.
                let first = admits_here(&policy, &image, signatures);
                assert!(first || !found, "{name} {here:?}\n{rules}\n{}", imported.yaml);
                admitted += usize::from(found);
            }
        }
    }
    assert!(admitted >= 100, "{admitted}");
}
