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
  ar: {key: a.pub, names: repository}
  ax: {key: ax.pub}
  ci: {identity: ci@example.com, issuer: 'https://issuer.example'}
rules:
";

/// The file stands for the key in it; ax.pub is a copy of a.pub.
fn key(file: &str) -> Option<String> {
    Some(if file == "ax.pub" { "a.pub" } else { file }.to_owned())
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

/// The keys by which a requirement holds; none where it does not.
fn holds_here(requirement: &Requirement, image: &Reference, signatures: &[Signature<'_>]) -> Option<BTreeSet<String>> {
    let parts = |parts: &[Requirement]| -> Vec<_> {
        let held = parts.iter().map(|part| holds_here(part, image, signatures));
        held.collect()
    };
    match &requirement.demand {
        Demand::AllOf(all) => {
            let all: Option<Vec<_>> = parts(all).into_iter().collect();
            all.map(|keys| keys.into_iter().flatten().collect())
        }
        Demand::AtLeast { of, among } => {
            let held: Vec<_> = parts(among).into_iter().flatten().collect();
            (distinct(&held, &BTreeSet::new()) >= *of).then(|| held.into_iter().flatten().collect())
        }
        Demand::Signed {
            by: Signer::Sigstore(SigstoreSigner::Key { file, names }),
            ..
        } => {
            let file = key(file).unwrap();
            let counts = |(key, name): &Signature<'_>| *key == file && names.takes(&[&named(name, image)], image);
            signatures.iter().any(counts).then(|| BTreeSet::from([file]))
        }
        _ => None,
    }
}

/// Counts how many can each be given a key of their own, beside those that are taken.
fn distinct(held: &[BTreeSet<String>], taken: &BTreeSet<String>) -> usize {
    let Some((first, rest)) = held.split_first() else {
        return 0;
    };
    let with = first.difference(taken).map(|key| {
        let taken = taken.iter().chain([key]).cloned().collect();
        1 + distinct(rest, &taken)
    });
    with.chain([distinct(rest, taken)]).max().unwrap()
}

fn admits_here(policy: &Policy, image: &Reference, signatures: &[Signature<'_>]) -> bool {
    let forbidden = policy.forbids(image).is_some();
    !forbidden
        && policy.rule_for(image).is_some_and(|rule| match &rule.decision {
            Decision::Denied { .. } => false,
            // Nobody signed a tree.
            _ if rule.proved || policy.image().proved => false,
            Decision::Unsigned => true,
            Decision::Required(requirement) => holds_here(requirement, image, signatures).is_some(),
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
const RULES: [&str; 23] = [
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
    "  - {match: r.example/app, signed: {by: [a, ax], threshold: 2}}\n",
    "  - {match: r.example/team, unsigned: accept, proved: true}\n",
    "  - {match: 'r.example/team/*', atLeast: {of: 2, requirements: [{signed: a}, {signed: {by: [a, b], threshold: 1}}]}}\n",
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

/// Of distinct keys.
#[test]
fn each_of_several_signers_signs_with_a_key_of_its_own() {
    let either = "{signed: {by: [a, b], threshold: 1}}";
    let of = |of: usize, parts: &str| format!("atLeast: {{of: {of}, requirements: [{parts}]}}");
    let alone: [&[Signature<'_>]; 3] = [
        &[("a.pub", "R:T")],
        &[("b.pub", "R:T")],
        &[("a.pub", "R:T"), ("a.pub", "R:T")],
    ];
    let image = "r.example/app:v1".parse().unwrap();
    for demand in [
        of(2, &format!("{either}, {either}")),
        of(2, &format!("{{signed: a}}, {either}")),
        of(2, "{signed: a}, {signed: ax}"),
        of(2, "{allOf: [{signed: b}, {signed: a}]}, {signed: ar}"),
        "signed: {by: [a, ax], threshold: 2}".to_owned(),
        "signed: {by: [a, ar], threshold: 2}".to_owned(),
        "signed: {by: [a, b, ax], threshold: 3}".to_owned(),
        format!("allOf: [{{{}}}, {{signed: b}}]", of(2, "{signed: a}, {signed: ax}")),
    ] {
        let policy = parsed(&format!("  - {{match: r.example/app, {demand}}}\n"));
        let exported = export(&policy, &key);
        for signatures in alone {
            assert!(!admits_here(&policy, &image, signatures), "{demand}");
            assert!(
                !admits_there(&exported.policy, &image, signatures),
                "{demand} {signatures:?}"
            );
        }
        let losses: Vec<String> = exported.losses.iter().map(ToString::to_string).collect();
        assert!(
            losses.len() == 1 && losses[0].contains("distinct keys"),
            "{demand}: {losses:?}"
        );
        assert_eq!(
            exported.policy["transports"]["docker"]["r.example/app"][0]["type"],
            "reject"
        );
    }
    // Where no key is another's as well, and where nobody asks for that, all of them are asked for.
    for demand in [
        of(2, "{signed: a}, {signed: b}"),
        "signed: {by: [ax, b], threshold: 2}".to_owned(),
        format!("allOf: [{either}, {{signed: ar}}, {{signed: b}}]"),
    ] {
        let exported = export(&parsed(&format!("  - {{match: r.example/app, {demand}}}\n")), &key);
        assert_eq!(exported.losses, [], "{demand}");
        let both = [("a.pub", "R:T"), ("b.pub", "R:T")];
        assert!(admits_there(&exported.policy, &image, &both), "{demand}");
        for signatures in alone {
            assert!(
                !admits_there(&exported.policy, &image, signatures),
                "{demand} {signatures:?}"
            );
        }
    }
}

#[test]
fn what_has_to_be_proved_comes_not_over_whoever_says_so() {
    let proved = "  - {match: r.example/app, RULE, proved: true}\n";
    let image = "  - {match: r.example/app, RULE}\nimage:\n  proved: true\n";
    for rule in ["signed: a", "unsigned: accept"] {
        let wanted = |text: &str| {
            let exported = export(&parsed(&text.replace("RULE", rule)), &key);
            let signatures = [("a.pub", "R:T")];
            let admitted = admits_there(&exported.policy, &"r.example/app:v1".parse().unwrap(), &signatures);
            let told = exported.losses.iter().any(|loss| loss.reason.starts_with("proved:"));
            (admitted, told)
        };
        let free = image
            .replace("true", "false")
            .replace("RULE}", "RULE}\n  - {match: 'r.example/app/**', RULE}");
        assert_eq!(wanted(&free), (true, false), "{rule}");
        assert_eq!(wanted(proved), (false, true), "{rule}");
        assert_eq!(wanted(image), (false, true), "{rule}");
    }
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
  - {match: x.example/twice, signed: {by: [a, ax], threshold: 2}}
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
