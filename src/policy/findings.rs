//! What is worth a second look in a policy that reads well: it may say less, or more, than its author meant.

mod identities;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::{Decision, Pattern, Policy, Requirement, Rule, Signer, SigstoreSigner, SpecRequirement};
use crate::digest::Digest;
use crate::failure::Place;

/// One thing worth a second look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Where it stands, if it stands somewhere.
    pub place: Option<Place>,
    /// What it is.
    pub text: String,
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FindingKind {
    /// A rule admits every name of a host, or what nobody signed, or anybody.
    AdmitsEverything,
    /// A rule admits nothing, though it does not deny.
    AdmitsNothing,
    /// An expression's host is other hosts as well.
    LooseHost,
    /// What is refused by its tag is not by its digest alone.
    MissesDigests,
    /// The policy cannot judge finished images.
    NoSeal,
    /// Two named signers have one key: it counts once.
    SameKey,
    /// An earlier rule decides about all that this one matches.
    Unreachable,
    /// Nothing uses a name.
    Unused,
    /// A version is demanded beside which nobody vouches for tags: an image without the label is refused.
    VersionByLabel,
}

impl FindingKind {
    /// Tells whether the policy works otherwise than it reads, so that `policy check` says no.
    pub fn is_mistake(self) -> bool {
        matches!(
            self,
            Self::AdmitsNothing | Self::SameKey | Self::Unreachable | Self::Unused
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Lists what is worth a second look, in the order of the policy's text as far as it has one.
pub(super) fn of(policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, signer) in &policy.signers {
        if let Signer::Sigstore(SigstoreSigner::Identity { signer: by, .. }) = &signer.is {
            findings.extend(identities::of(name, by, &signer.place));
        }
    }
    for forbidden in &policy.forbidden {
        let what = format!("`forbid: {}`", forbidden.pattern);
        findings.extend(misses_digests(
            &what,
            &forbidden.pattern,
            &forbidden.place,
            &policy.rules,
        ));
    }
    for (at, rule) in policy.rules.iter().enumerate() {
        let (earlier, later) = policy.rules.split_at_checked(at).unwrap_or_default();
        findings.extend(unreachable(policy, rule, earlier));
        if let Decision::Denied { .. } = rule.decision {
            let what = format!("rule {} denies, but", rule.pattern);
            findings.extend(misses_digests(&what, &rule.pattern, &rule.place, later));
        }
        findings.extend(too_much_or_nothing(policy, rule));
        findings.extend(of_another_repository(policy, rule));
        findings.extend(by_label_alone(rule));
    }
    findings.extend(unused(policy));
    if policy.image.sealed.is_none() {
        findings.push(Finding {
            kind: FindingKind::NoSeal,
            place: None,
            text: "image: no `sealed:`, so no disk can be verified against this policy".to_owned(),
        });
    }
    findings
}

/// Lists the named signers whose files, by other names, hold one key; `key` returns the fingerprint of a signer's key.
pub(super) fn same_keys(policy: &Policy, key: &dyn Fn(&SigstoreSigner) -> Option<Digest>) -> Vec<Finding> {
    let mut first: BTreeMap<Digest, (&String, &Place)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (name, signer) in &policy.signers {
        let Signer::Sigstore(by) = &signer.is else { continue };
        let Some(key) = key(by) else { continue };
        match first.get(&key) {
            None => drop(first.insert(key, (name, &signer.place))),
            Some((other, place)) => findings.push(Finding {
                kind: FindingKind::SameKey,
                place: Some(signer.place.clone()),
                text: format!("signer {name} has the key of {other} ({place}): both together count once"),
            }),
        }
    }
    findings
}

fn about(kind: FindingKind, rule: &Rule, text: impl fmt::Display) -> Finding {
    Finding {
        kind,
        place: Some(rule.place.clone()),
        text: format!("rule {} {text}", rule.pattern),
    }
}

fn unreachable(policy: &Policy, rule: &Rule, earlier: &[Rule]) -> Option<Finding> {
    let decided = earlier.iter().find(|other| other.pattern.covers(&rule.pattern));
    if let Some(other) = decided {
        let text = format!(
            "is never reached: rule {} ({}) decides about all that it matches; put it before that",
            other.pattern, other.place
        );
        return Some(about(FindingKind::Unreachable, rule, text));
    }
    let mut forbidden = policy.forbidden.iter();
    let forbidden = forbidden.find(|forbidden| forbidden.pattern.covers(&rule.pattern))?;
    let text = format!(
        "is never reached: `forbid: {}` ({}) refuses all that it matches",
        forbidden.pattern, forbidden.place
    );
    Some(about(FindingKind::Unreachable, rule, text))
}

/// Finds what is refused by a tag, where a rule may admit the same image by its digest alone.
fn misses_digests(what: &str, pattern: &Pattern, place: &Place, rules: &[Rule]) -> Option<Finding> {
    let name = pattern.without_tag()?;
    let admits = |rule: &&Rule| !matches!(rule.decision, Decision::Denied { .. }) && rule.pattern.takes_digests();
    let rule = rules
        .iter()
        .filter(admits)
        .find(|rule| rule.pattern.may_meet(pattern))?;
    Some(Finding {
        kind: FindingKind::MissesDigests,
        place: Some(place.clone()),
        text: format!(
            "{what} does not match a bare digest, by which rule {} ({}) may admit the same image; to refuse it by every name: {name}",
            rule.pattern, rule.place
        ),
    })
}

/// Finds demands for the signature of a Notary collection in a rule about other repositories than the one that it speaks of.
fn of_another_repository(policy: &Policy, rule: &Rule) -> Vec<Finding> {
    let Decision::Required(requirement) = &rule.decision else {
        return Vec::new();
    };
    let signers = requirement.signers().into_iter();
    let foreign = signers.filter_map(|(_, by)| {
        let Signer::Role(by) = by else { return None };
        let gun = policy.roots.get(&by.root)?.is.gun.as_deref()?;
        let meets = Pattern::parse(gun).is_ok_and(|repository| rule.pattern.may_meet(&repository));
        let text = format!(
            "demands what nobody can sign: the Notary collection `{}` speaks of {gun} alone, which it does not match",
            by.root
        );
        (!meets).then(|| about(FindingKind::AdmitsNothing, rule, text))
    });
    foreign.collect()
}

/// Finds demands of a version that no tag can satisfy.
fn by_label_alone(rule: &Rule) -> Vec<Finding> {
    let Decision::Required(requirement) = &rule.decision else {
        return Vec::new();
    };
    let one = |version: &Requirement| Finding {
        place: Some(version.place.clone()),
        ..about(
            FindingKind::VersionByLabel,
            rule,
            "demands a version of images that have it in their label alone: no role of a root, and no key or identity with `names: \
             tag`, has to sign beside it and vouches for tags",
        )
    };
    requirement.by_label_alone().into_iter().map(one).collect()
}

fn too_much_or_nothing(policy: &Policy, rule: &Rule) -> Vec<Finding> {
    let must_prove = rule.proved || policy.image.proved;
    let unproved = match &rule.decision {
        Decision::Denied { .. } => return Vec::new(),
        Decision::Required(requirement) => !requirement.names_signers(),
        Decision::Unsigned => true,
    };
    let mut findings = Vec::new();
    if unproved && must_prove {
        let text =
            "admits nothing: `proved` is demanded, and it asks for no signature that something could be proved against";
        findings.push(about(FindingKind::AdmitsNothing, rule, text));
    }
    if rule.decision == Decision::Unsigned {
        let text = "admits unsigned components; `build --release` refuses this policy";
        findings.push(about(FindingKind::AdmitsEverything, rule, text));
    }
    if rule.pattern.is_whole_host() {
        findings.push(about(
            FindingKind::AdmitsEverything,
            rule,
            "admits every name of its host",
        ));
    }
    findings
}

fn unused(policy: &Policy) -> Vec<Finding> {
    let mut roots = BTreeSet::new();
    let mut signers = BTreeSet::new();
    for rule in &policy.rules {
        if let Decision::Required(requirement) = &rule.decision {
            for (name, by) in requirement.signers() {
                if let Signer::Role(by) = by {
                    roots.insert(by.root);
                }
                signers.extend(name);
            }
        }
    }
    let spec = match &policy.spec {
        Some((SpecRequirement::Signed(by), _)) => Some(by),
        _ => None,
    };
    for by in spec.into_iter().chain(&policy.image.sealed) {
        roots.insert(by.root.clone());
        let named = policy
            .signers
            .iter()
            .find(|(_, signer)| matches!(&signer.is, Signer::Role(role) if role == by));
        signers.extend(named.map(|(name, _)| name.as_str()));
    }
    let finding = |what: &str, name: &str, place: &Place| Finding {
        kind: FindingKind::Unused,
        place: Some(place.clone()),
        text: format!("{what} `{name}` is used by nothing"),
    };
    let idle = policy
        .signers
        .iter()
        .filter(|(name, _)| !signers.contains(name.as_str()));
    let mut findings: Vec<_> = idle.map(|(name, by)| finding("signer", name, &by.place)).collect();
    // A root that only an idle signer names is that signer's matter.
    roots.extend(policy.signers.values().filter_map(|signer| match &signer.is {
        Signer::Role(by) => Some(by.root.clone()),
        Signer::Sigstore(_) => None,
    }));
    let idle = policy.roots.iter().filter(|(name, _)| !roots.contains(*name));
    findings.extend(idle.map(|(name, root)| finding("root", name, &root.place)));
    findings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn findings(policy: &str) -> String {
        let policy = Policy::parse("p.yml", policy.as_bytes()).unwrap();
        let lines = policy.findings();
        let lines = lines.iter().map(|finding| format!("{:?} {finding}", finding.kind));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_policy_that_says_what_it_means_has_none() {
        let policy = "\
version: 1
roots: {platform: root.json}
signers: {team: {root: platform, role: team}}
rules:
  - {match: r.example/debug, deny: no}
  - {match: r.example/*, signed: team}
image: {sealed: {root: platform}}
";
        assert_eq!(findings(policy), "");
    }

    #[test]
    fn a_notary_collection_that_cannot_sign_what_a_rule_matches_is_found() {
        let policy = |pattern: &str| {
            findings(&format!(
                "version: 1\nroots: {{platform: root.json, app: {{gun: r.example/team/app, file: app.json}}}}\n\
                 rules:\n  - {{match: '{pattern}', signed: {{root: app}}}}\nimage: {{sealed: {{root: platform}}}}\n"
            ))
        };
        for good in ["r.example/team/app:v*", "r.example/team/*", "r.example/team/**"] {
            assert_eq!(policy(good), "", "{good}");
        }
        for bad in ["r.example/team/other", "r.example/team/app/*", "s.example/team/app"] {
            let found = policy(bad);
            assert!(found.contains("speaks of r.example/team/app alone"), "{bad}: {found}");
        }
    }

    #[test]
    fn what_is_refused_by_its_tag_alone_is_told_where_its_digest_may_be_admitted() {
        let policy = |refused: &str, rule: &str| {
            findings(&format!(
                "version: 1\nroots: {{r: root.json}}\n{refused}\n  - {{match: '{rule}', signed: {{root: r}}}}\nimage: {{sealed: {{root: r}}}}\n"
            ))
        };
        let forbid = |pattern: &str| format!("forbid: [{{match: '{pattern}', reason: no}}]\nrules:");
        let deny = |pattern: &str| format!("rules:\n  - {{match: '{pattern}', deny: no}}");
        for tagged in ["r.example/a:v1", "r.example/*:*", "r.example/**:latest"] {
            let (name, _) = tagged.rsplit_once(':').unwrap();
            for (refused, place) in [(forbid(tagged), "p.yml:3:10"), (deny(tagged), "p.yml:4:5")] {
                let found = policy(&refused, "r.example/a");
                assert!(found.starts_with(&format!("MissesDigests {place}: ")), "{found}");
                let advice = format!(
                    "rule r.example/a (p.yml:5:5) may admit the same image; to refuse it by every name: {name}"
                );
                assert!(found.ends_with(&advice), "{found}");
                // Where no rule takes a bare digest, none has to be refused.
                for rule in ["r.example/a:*", "r.example/b/c/d:v2"] {
                    let found = policy(&refused, rule);
                    assert!(!found.contains("MissesDigests"), "{found}");
                }
            }
        }
        assert_eq!(policy(&forbid("r.example/a/b"), "r.example/a"), "");
        assert_eq!(policy(&deny("r.example/b:v1"), "r.example/a"), "");
    }

    #[test]
    fn a_signer_who_is_anybody_is_found() {
        let policy = "\
version: 1
roots: {platform: root.json}
signers:
  ci: {identityRegExp: '.*', issuer: 'https://token.actions.githubusercontent.com'}
rules:
  - {match: r.example/*, signed: ci}
image: {sealed: {root: platform}}
";
        insta::assert_snapshot!(findings(policy), @"AdmitsEverything p.yml:4:3: signer `ci`: its identity /.*/ matches any e-mail address and any URI, so whomever the issuer knows can sign; write who may");
    }

    #[test]
    fn a_version_that_only_a_label_can_say_is_found_and_no_mistake() {
        let policy = |requirement: &str| {
            let text = format!(
                "version: 1\nroots: {{platform: root.json}}\nsigners: {{vendor: {{key: v.pub}}, named: {{key: n.pub, names: tag}}}}\n\
                 rules:\n  - match: r.example/a\n    {requirement}\nimage: {{sealed: {{root: platform}}}}\n"
            );
            let policy = Policy::parse("p.yml", text.as_bytes()).unwrap();
            let findings = policy.findings();
            let found = findings
                .iter()
                .filter(|finding| finding.kind == FindingKind::VersionByLabel);
            found
                .map(|finding| finding.place.as_ref().unwrap().column)
                .collect::<Vec<_>>()
        };
        assert!(!FindingKind::VersionByLabel.is_mistake());
        let none: [usize; 0] = [];
        for good in [
            "allOf: [{signed: {root: platform}}, {minVersion: v2}]",
            "allOf: [{signed: named}, {minVersion: v2}]",
            "allOf: [{attested: {type: spdxjson, by: named}}, {anyOf: [{minVersion: v2}, {signed: vendor}]}]",
            "atLeast: {of: 2, requirements: [{signed: named}, {minVersion: v2}]}",
            "allOf: [{anyOf: [{signed: vendor}, {signed: named}]}, {minVersion: v2}]",
        ] {
            assert_eq!(policy(good), none, "{good}");
        }
        assert_eq!(policy("allOf: [{signed: vendor}, {minVersion: v2}]"), [44]);
        // Whoever vouches in another alternative does not in this one.
        let other = "anyOf: [{signed: named}, {signed: vendor, minVersion: v2}]";
        assert_eq!(policy(other).len(), 1, "{other}");
    }

    #[test]
    fn each_kind_is_found_where_it_stands() {
        let policy = "\
version: 1
roots: {platform: root.json, idle: other.json}
signers:
  nobody: {root: platform, role: nobody}
forbid:
  - {match: r.example/secret/**, reason: not ours}
rules:
  - {match: r.example/**, signed: {root: platform}}
  - {match: r.example/a/b, signed: {root: platform}}
  - {match: r.example/secret/x, deny: no}
  - {match: s.example/a, unsigned: accept, proved: true}
  - {match: s.example/b, digestIn: ['sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'], proved: true}
";
        insta::assert_snapshot!(findings(policy));
    }
}
