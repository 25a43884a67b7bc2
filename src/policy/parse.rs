//! Reads a policy file.

use std::collections::BTreeMap;

use super::{Allow, ImageRequirement, Pattern, Policy, Requirement, Rule, Signers, SpecRequirement};
use crate::digest::Digest;
use crate::time::DAY;
use crate::yaml::{Document, Fields, Item, YamlError};

/// The version of the grammar.
const VERSION: u32 = 1;

/// The keys of `image:` whose demands refusals point at.
const IMAGE_KEYS: [&str; 5] = ["arch", "maxAge", "minEpoch", "name", "sealed"];

pub(super) fn policy(file: &str, bytes: &[u8]) -> Result<Policy, YamlError> {
    let document = Document::parse(file, bytes)?;
    document.root().fields("a policy", |fields| {
        let version = fields.required("version")?;
        if version.integer::<u32>()? != VERSION {
            return Err(version.invalid("this imgkit knows version 1 of the grammar; use a newer imgkit"));
        }
        let roots = roots(fields.required("roots")?)?;
        let rules = fields.required("rules")?.list_of(|item| rule(item, &roots))?;
        let spec_place = fields.optional("spec").map(|item| item.place());
        let spec = fields.maybe("spec", |item| spec(item, &roots))?;
        let image = match fields.optional("image") {
            Some(item) => image(item, &roots)?,
            None => ImageRequirement::default(),
        };
        Ok(Policy {
            digest: Digest::sha256(bytes),
            roots,
            rules,
            spec,
            spec_place,
            image,
        })
    })
}

fn roots(item: Item<'_>) -> Result<BTreeMap<String, String>, YamlError> {
    let mut roots = BTreeMap::new();
    for (name, _, path) in item.entries()? {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(plain) || name.starts_with('.') {
            return Err(path.invalid("a root's name is lower-case letters, digits, `-`, `_` and `.`"));
        }
        roots.insert(name.to_owned(), path.word()?.to_owned());
    }
    Ok(roots)
}

fn rule(item: Item<'_>, roots: &BTreeMap<String, String>) -> Result<Rule, YamlError> {
    item.fields("a rule", |fields| {
        let pattern = fields.required("match")?;
        let pattern = Pattern::parse(pattern.text()?).map_err(|error| pattern.invalid(error))?;
        let signed = fields.maybe("signed", |item| signers(item, roots, "targets"))?;
        let deny = fields.maybe("deny", |item| item.word().map(str::to_owned))?;
        let unsigned = fields.maybe("unsigned", |item| match item.word()? {
            "accept" => Ok(()),
            _ => Err(item.invalid("expected `accept`, the only word that admits an unsigned component")),
        })?;
        let requirement = match (signed, deny, unsigned) {
            (Some(signers), None, None) => Requirement::Signed(signers),
            (None, Some(reason), None) => Requirement::Denied { reason },
            (None, None, Some(())) => Requirement::Unsigned,
            _ => {
                return Err(item
                    .invalid("a rule has exactly one of `signed:`, `deny:` (with its reason) and `unsigned: accept`"));
            }
        };
        Ok(Rule {
            pattern,
            requirement,
            proved: fields.maybe("proved", |item| item.boolean())?.unwrap_or(false),
            allow: fields.maybe("allow", |item| item.list_of(allow))?.unwrap_or_default(),
            overrides: fields.maybe("overrides", overrides)?.unwrap_or(true),
            place: item.place(),
        })
    })
}

fn allow(item: Item<'_>) -> Result<Allow, YamlError> {
    Allow::parse(item.text()?)
        .ok_or_else(|| item.invalid("expected KIND:VALUE, for example capability:CAP_NET_ADMIN; `*` only in the value"))
}

fn overrides(item: Item<'_>) -> Result<bool, YamlError> {
    match item.text()? {
        "allow" => Ok(true),
        "refuse" => Ok(false),
        _ => Err(item.invalid("expected `allow` or `refuse`")),
    }
}

fn signers(item: Item<'_>, roots: &BTreeMap<String, String>, role: &str) -> Result<Signers, YamlError> {
    item.fields("signers", |fields| signers_of(fields, roots, role))
}

fn signers_of(fields: &mut Fields<'_>, roots: &BTreeMap<String, String>, role: &str) -> Result<Signers, YamlError> {
    let root = fields.required("root")?;
    let name = root.word()?;
    if !roots.contains_key(name) {
        let known: Vec<&str> = roots.keys().map(String::as_str).collect();
        return Err(root.invalid(format!(
            "no root is named `{name}`; `roots:` names: {}",
            known.join(", ")
        )));
    }
    let threshold = match fields.optional("threshold") {
        None => 1,
        Some(item) => match item.integer()? {
            0 => return Err(item.invalid("a threshold is at least 1")),
            threshold => threshold,
        },
    };
    let role = fields
        .maybe("role", |item| item.word().map(str::to_owned))?
        .unwrap_or_else(|| role.to_owned());
    Ok(Signers {
        root: name.to_owned(),
        role,
        threshold,
    })
}

fn spec(item: Item<'_>, roots: &BTreeMap<String, String>) -> Result<SpecRequirement, YamlError> {
    item.fields("a spec requirement", |fields| {
        let signed = fields.maybe("signed", |item| signers(item, roots, "targets"))?;
        let digests = fields.maybe("digests", |item| item.list_of(|digest| digest.parse::<Digest>()))?;
        match (signed, digests) {
            (Some(signers), None) => Ok(SpecRequirement::Signed(signers)),
            (None, Some(digests)) => Ok(SpecRequirement::Digests(digests)),
            _ => Err(item.invalid("`spec:` has exactly one of `signed:` and `digests:`")),
        }
    })
}

fn image(item: Item<'_>, roots: &BTreeMap<String, String>) -> Result<ImageRequirement, YamlError> {
    item.fields("an image requirement", |fields| {
        let word = |item: Item<'_>| item.word().map(str::to_owned);
        let places = IMAGE_KEYS
            .into_iter()
            .filter_map(|key| Some((key, fields.optional(key)?.place())));
        let places = places.collect();
        Ok(ImageRequirement {
            name: fields.maybe("name", word)?,
            arch: fields.maybe("arch", word)?,
            sealed: fields.maybe("sealed", |item| signers(item, roots, "seal"))?,
            proved: fields.maybe("proved", |item| item.boolean())?.unwrap_or(false),
            min_epoch: fields.maybe("minEpoch", |item| item.integer())?.unwrap_or(0),
            max_age: fields.maybe("maxAge", age)?,
            cmdline: fields
                .maybe("cmdline", |item| item.list_of(|word| word.parse()))?
                .unwrap_or_default(),
            places,
        })
    })
}

/// Reads `90d`, `12h`: days or hours, as seconds.
fn age(item: Item<'_>) -> Result<i64, YamlError> {
    let text = item.text()?;
    let unit = match text.chars().last() {
        Some('d') => Some(DAY),
        Some('h') => Some(3600),
        _ => None,
    };
    let number = text
        .get(..text.len().saturating_sub(1))
        .and_then(|number| number.parse::<u32>().ok());
    match (unit, number) {
        (Some(unit), Some(number)) if number > 0 => Ok(i64::from(number) * unit),
        _ => Err(item.invalid("expected a number of days or hours, for example 90d or 12h")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "\
version: 1
roots:
  platform: ../keys/platform.root.json
rules:
  - match: r.example/platform/debug
    deny: debug tools stay out of production
  - match: r.example/platform/*
    signed: {root: platform, threshold: 2}
    proved: true
    allow: ['capability:*']
spec:
  signed: {root: platform}
image:
  name: node
  sealed: {root: platform}
  maxAge: 90d
  minEpoch: 4
";

    #[test]
    fn reads_every_part() {
        let policy = Policy::parse("p.yml", GOOD.as_bytes()).unwrap();
        let denied = policy
            .rule_for(&"r.example/platform/debug:v1".parse().unwrap())
            .unwrap();
        assert!(matches!(denied.requirement, Requirement::Denied { .. }));
        let rule = policy.rule_for(&"r.example/platform/init:v1".parse().unwrap()).unwrap();
        let signers = Signers {
            root: "platform".into(),
            role: "targets".into(),
            threshold: 2,
        };
        assert_eq!(rule.requirement, Requirement::Signed(signers));
        assert_eq!(policy.rule_for(&"r.example/other/init:v1".parse().unwrap()), None);
        assert_eq!(policy.image().sealed.as_ref().unwrap().role, "seal");
        assert_eq!(policy.image().max_age, Some(90 * DAY));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let mistakes = [
            ("version: 1", "version: 2"),
            ("    proved: true", "    prooved: true"),
            ("{root: platform, threshold: 2}", "{root: platfrom}"),
            ("threshold: 2", "threshold: 0"),
            (
                "    deny: debug tools stay out of production",
                "    deny: no\n    unsigned: accept",
            ),
            ("r.example/platform/*", "*"),
            ("90d", "90"),
            ("minEpoch: 4", "cmdline: ['root=$x']"),
            ("'capability:*'", "'*'"),
            ("image:\n", "imag:\n"),
        ];
        let errors = mistakes.map(|(from, to)| {
            assert!(GOOD.contains(from), "{from}");
            Policy::parse("p.yml", GOOD.replacen(from, to, 1).as_bytes())
                .unwrap_err()
                .to_string()
        });
        insta::assert_snapshot!(errors.join("\n"));
    }
}
