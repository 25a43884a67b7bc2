//! Reads a policy: its files first, then the names that they give, then what they demand.

pub(super) mod files;
mod names;
mod requirement;
mod rule;

use std::collections::BTreeMap;

use super::{FORMATS, Forbidden, ImageRequirement, Policy, Rule, SpecRequirement};
use crate::failure::{Failure, Place};
use crate::yaml::{Fields, Item, YamlError};
use files::{Environment, PolicyFile};
use names::Names;
pub use requirement::age;

/// The version of the grammar.
const VERSION: u32 = 1;

/// The keys of `image:`.
const IMAGE_KEYS: [&str; 9] = [
    "arch", "cmdline", "formats", "maxAge", "minEpoch", "name", "profile", "proved", "sealed",
];

pub(super) fn policy(
    dir: &str,
    name: &str,
    environment: Environment<'_>,
    read: &mut dyn FnMut(&str) -> Result<Vec<u8>, Failure>,
) -> Result<Policy, Failure> {
    let files = files::read_all(dir, name, read)?;
    let names = Names::of(&files)?;
    let mut own = Overlay::default();
    let mut environments = BTreeMap::new();
    for (at, file) in files.iter().enumerate() {
        let part = part(file, at == 0, &names)?;
        own.append(part.own)?;
        for (name, place, overlay) in part.environments {
            if let Some((first, _)) = environments.insert(name.clone(), (place.clone(), overlay)) {
                return Err(twice(&place, "environments", &name, &first).into());
            }
        }
    }
    let known: Vec<String> = environments.keys().cloned().collect();
    let chosen = choose(dir, name, environment, &known)?;
    if let Some((_, overlay)) = chosen.and_then(|name| environments.remove(name)) {
        own = own.under(overlay);
    }
    Ok(Policy {
        digest: files::digest(&files, chosen),
        environment: chosen.map(str::to_owned),
        environments: known,
        roots: names.roots,
        signers: names.signers,
        forbidden: own.forbidden,
        rules: own.rules,
        spec: own.spec,
        image: own.image.map(|(image, _)| image).unwrap_or_default(),
    })
}

/// Finds the environment that is in force: one that is there must be named, so that none is forgotten.
fn choose<'e>(
    dir: &str,
    name: &str,
    environment: Environment<'e>,
    known: &[String],
) -> Result<Option<&'e str>, Failure> {
    let wrong = |problem: String| {
        let file = if dir.is_empty() {
            name.to_owned()
        } else {
            format!("{dir}/{name}")
        };
        Err(Failure::malformed(file, problem))
    };
    match environment {
        Environment::Base => Ok(None),
        Environment::Named(None) if known.is_empty() => Ok(None),
        Environment::Named(None) => wrong(format!(
            "the policy has the environments {}; name one with --environment",
            known.join(", ")
        )),
        Environment::Named(Some(name)) if known.iter().any(|known| known == name) => Ok(Some(name)),
        Environment::Named(Some(name)) if known.is_empty() => {
            wrong(format!("the policy has no environments, so none is named `{name}`"))
        }
        Environment::Named(Some(name)) => wrong(format!(
            "no environment is named `{name}`; `environments:` names: {}",
            known.join(", ")
        )),
    }
}

/// What one place of a policy demands: a file, or an environment.
#[derive(Default)]
struct Overlay {
    forbidden: Vec<Forbidden>,
    rules: Vec<Rule>,
    spec: Option<(SpecRequirement, Place)>,
    image: Option<(ImageRequirement, Place)>,
}

impl Overlay {
    /// Adds what an included file demands, behind what is there.
    fn append(&mut self, other: Self) -> Result<(), YamlError> {
        self.forbidden.extend(other.forbidden);
        self.rules.extend(other.rules);
        if let (Some((_, first)), Some((_, place))) = (&self.spec, &other.spec) {
            return Err(again(place, "spec", first));
        }
        if let (Some((_, first)), Some((_, place))) = (&self.image, &other.image) {
            return Err(again(place, "image", first));
        }
        self.spec = self.spec.take().or(other.spec);
        self.image = self.image.take().or(other.image);
        Ok(())
    }

    /// Puts an environment's demands before and over these.
    fn under(self, over: Self) -> Self {
        let image = match (self.image, over.image) {
            (Some((image, place)), Some((over, _))) => Some((image.overlaid(over), place)),
            (one, other) => other.or(one),
        };
        Self {
            forbidden: [over.forbidden, self.forbidden].concat(),
            rules: [over.rules, self.rules].concat(),
            spec: over.spec.or(self.spec),
            image,
        }
    }
}

fn again(place: &Place, key: &str, first: &Place) -> YamlError {
    let problem = format!("`{key}:` stands in another file of this policy already ({first}); keep one");
    invalid(place, problem)
}

fn twice(place: &Place, key: &str, name: &str, first: &Place) -> YamlError {
    let problem = format!("`{name}` stands under `{key}:` already ({first}); keep one");
    invalid(place, problem)
}

fn invalid(place: &Place, problem: String) -> YamlError {
    YamlError {
        place: place.clone(),
        problem: crate::yaml::Problem::Invalid(problem),
    }
}

/// What one file demands.
struct Part {
    own: Overlay,
    environments: Vec<(String, Place, Overlay)>,
}

fn part(file: &PolicyFile, is_top: bool, names: &Names) -> Result<Part, YamlError> {
    file.document.root().fields("a policy", |fields| {
        let version = fields.required("version")?;
        if version.integer::<u32>()? != VERSION {
            return Err(version.invalid("this imgkit knows version 1 of the grammar; use a newer imgkit"));
        }
        let alone = fields.optional("include").is_none() && is_top;
        // Both were read before; here they only have to be there.
        if alone {
            fields.required("roots")?;
        }
        fields.optional("roots");
        fields.optional("signers");
        if alone {
            fields.required("rules")?;
        }
        let own = overlay(fields, names)?;
        let environments = fields.maybe("environments", |item| {
            let one = |(name, place, item): (&str, Place, Item<'_>)| {
                names::check_name(name, &item)?;
                let overlay = item.fields("an environment", |fields| overlay(fields, names))?;
                Ok((name.to_owned(), place, overlay))
            };
            item.entries()?.map(one).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(Part {
            own,
            environments: environments.unwrap_or_default(),
        })
    })
}

fn overlay(fields: &mut Fields<'_>, names: &Names) -> Result<Overlay, YamlError> {
    let rules = fields.maybe("rules", |item| item.list_of(|item| rule::rule(item, names)))?;
    let forbidden = fields.maybe("forbid", |item| item.list_of(rule::forbidden))?;
    let spec = fields.maybe("spec", |item| Ok((spec(item, names)?, item.place())))?;
    let image = fields.maybe("image", |item| Ok((image(item, names)?, item.place())))?;
    Ok(Overlay {
        forbidden: forbidden.unwrap_or_default(),
        rules: rules.unwrap_or_default(),
        spec,
        image,
    })
}

fn spec(item: Item<'_>, names: &Names) -> Result<SpecRequirement, YamlError> {
    item.fields("a spec requirement", |fields| {
        let signed = fields.maybe("signed", |item| requirement::one_signer(item, names, "targets"))?;
        let digests = fields.maybe("digests", requirement::digests)?;
        match (signed, digests) {
            (Some(signers), None) => Ok(SpecRequirement::Signed(signers)),
            (None, Some(digests)) => Ok(SpecRequirement::Digests(digests)),
            _ => Err(item.invalid("`spec:` has exactly one of `signed:` and `digests:`")),
        }
    })
}

fn image(item: Item<'_>, names: &Names) -> Result<ImageRequirement, YamlError> {
    item.fields("an image requirement", |fields| {
        let word = |item: Item<'_>| item.word().map(str::to_owned);
        let places = IMAGE_KEYS
            .into_iter()
            .filter_map(|key| Some((key, fields.optional(key)?.place())));
        let places = places.collect();
        Ok(ImageRequirement {
            name: fields.maybe("name", word)?,
            arch: fields.maybe("arch", word)?,
            profile: fields.maybe("profile", |item| item.name("a profile").map(str::to_owned))?,
            formats: fields.maybe("formats", |item| item.list_of(format))?,
            sealed: fields.maybe("sealed", |item| requirement::one_signer(item, names, "seal"))?,
            proved: fields.maybe("proved", |item| item.boolean())?.unwrap_or(false),
            min_epoch: fields.maybe("minEpoch", |item| item.integer())?.unwrap_or(0),
            max_age: fields.maybe("maxAge", age)?,
            cmdline: fields
                .maybe("cmdline", |item| {
                    item.list_of(|item| item.word().and_then(|_| item.parse()))
                })?
                .unwrap_or_default(),
            places,
        })
    })
}

fn format(item: Item<'_>) -> Result<String, YamlError> {
    let text = item.text()?;
    match FORMATS.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(item.invalid(format!(
            "`{text}` is no form of images; expected one of {}",
            FORMATS.join(", ")
        ))),
    }
}

/// Finds a key of a mapping whose other keys are read later.
fn member<'a>(mapping: Item<'a>, key: &str) -> Result<Option<Item<'a>>, YamlError> {
    let found = mapping.entries()?.find(|(name, ..)| *name == key);
    Ok(found.map(|(.., item)| item))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Decision, Demand, Requirement, Signer, Signers};
    use super::*;
    use crate::time::DAY;

    const EVERYTHING: &str = "\
version: 1
roots: {platform: root.json, vendor: vendor.json}
signers:
  alice: {root: platform, role: alice}
  bob: {root: platform, role: bob, threshold: 2}
  vendor: {root: vendor}
forbid:
  - {match: r.example/**:latest, reason: a tag that moves}
rules:
  - match: r.example/a
    signed: {by: [alice, bob, vendor], threshold: 2}
  - match: r.example/b
    anyOf:
      - {signed: alice, maxAge: 12h}
      - allOf: [{signed: bob}, {minVersion: v1.2}]
  - match: r.example/c
    atLeast:
      of: 2
      requirements:
        - digestIn: ['sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']
        - signed: {by: vendor}
image: {sealed: vendor, formats: [disk]}
environments:
  production:
    forbid: [{match: r.example/debug/**, reason: out of production}]
    image: {minEpoch: 7, profile: production, proved: true}
  staging:
    rules: [{match: r.example/a, deny: not yet}]
";

    /// A policy with a Notary collection, and `more` beside it.
    fn notary(root: &str, more: &str) -> Result<Policy, String> {
        let mut text = format!("version: 1\nroots:\n  tuf: root.json\n  alpine: {root}\n{more}");
        if !more.contains("rules:") {
            text.push_str("rules: [{match: r.example/x, deny: no}]\n");
        }
        Policy::parse("p/p.yml", text.as_bytes()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_root_with_a_gun_is_a_notary_collection() {
        let root = "{gun: docker.io/library/alpine, file: keys/alpine.json}";
        let more =
            "rules:\n  - match: docker.io/library/alpine:*\n    signed: {root: alpine, role: targets/releases}\n";
        let policy = notary(root, more).unwrap();
        let (_, found) = policy.roots().find(|(name, _)| *name == "alpine").unwrap();
        assert_eq!(found.file, "keys/alpine.json");
        assert_eq!(found.gun.as_deref(), Some("docker.io/library/alpine"));
        let decision = policy.rules().first().map(|rule| &rule.decision);
        let Some(Decision::Required(required)) = decision else {
            unreachable!()
        };
        let by = Signers {
            root: "alpine".to_owned(),
            role: "targets/releases".to_owned(),
            threshold: 1,
        };
        let demand = Demand::Signed {
            name: None,
            by: Signer::Role(by),
        };
        assert_eq!(required.demand, demand);
    }

    #[test]
    fn a_gun_is_a_repository_written_in_full() {
        for (gun, full) in [
            ("alpine", "docker.io/library/alpine"),
            ("docker.io/alpine", "docker.io/library/alpine"),
            ("r.example/a:v1", "r.example/a"),
        ] {
            let error = notary(&format!("{{gun: '{gun}', file: a.json}}"), "").unwrap_err();
            assert!(error.contains("full name"), "{error}");
            assert!(error.contains(&format!("`{full}`")), "{error}");
        }
        for (root, expected) in [
            ("{gun: r.example/A, file: a.json}", "r.example/A"),
            ("{gun: r.example/a}", "file"),
            ("{file: a.json}", "gun"),
        ] {
            let error = notary(root, "").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_notary_collection_has_the_roles_of_its_dialect_and_signs_images_alone() {
        let root = "{gun: r.example/a, file: a.json}";
        for (more, expected) in [
            ("signers: {a: {root: alpine, role: alice}}\n", "targets/releases"),
            ("spec: {signed: {root: alpine}}\n", "r.example/a"),
            ("signers: {a: {root: alpine}}\nspec: {signed: a}\n", "r.example/a"),
            (
                "image: {sealed: {root: alpine, role: targets/seal}}\n",
                "a role of a TUF root",
            ),
            (
                "signers: {a: {root: alpine}}\nimage: {sealed: a}\n",
                "a role of a TUF root",
            ),
        ] {
            let error = notary(root, more).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(error.starts_with("p/p.yml"), "{error}");
        }
        assert!(notary(root, "spec: {signed: {root: tuf}}\nimage: {sealed: {root: tuf}}\n").is_ok());
    }

    fn in_environment(environment: Environment<'_>) -> Result<Policy, Failure> {
        Policy::load("", "p.yml", environment, &mut |_| Ok(EVERYTHING.as_bytes().to_vec()))
    }

    #[test]
    fn requirements_are_put_together() {
        let policy = in_environment(Environment::Base).unwrap();
        let rules: Vec<String> = policy.rules().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(rules.join("\n"));
        assert_eq!(policy.image().sealed.as_ref().unwrap().root, "vendor");
        assert!(policy.forbids(&"r.example/x/y:latest".parse().unwrap()).is_some());
        assert!(policy.forbids(&"r.example/x/y:v1".parse().unwrap()).is_none());
    }

    #[test]
    fn an_environment_comes_first_and_changes_the_digest() {
        let production = in_environment(Environment::Named(Some("production"))).unwrap();
        let image = production.image();
        assert_eq!((image.min_epoch, image.proved), (7, true));
        assert_eq!(image.profile.as_deref(), Some("production"));
        assert_eq!(image.formats.as_deref(), Some(&["disk".to_owned()][..]));
        assert_eq!(production.forbidden().len(), 2);
        let staging = in_environment(Environment::Named(Some("staging"))).unwrap();
        let decision = &staging.rule_for(&"r.example/a:v1".parse().unwrap()).unwrap().decision;
        assert!(matches!(decision, Decision::Denied { .. }));
        let base = in_environment(Environment::Base).unwrap();
        assert_eq!(base.environments(), ["production", "staging"]);
        assert_ne!(production.digest(), staging.digest());
        assert_ne!(production.digest(), base.digest());
    }

    #[test]
    fn no_environment_is_forgotten_or_made_up() {
        let none = in_environment(Environment::Named(None)).unwrap_err().to_string();
        assert!(
            none.contains("production, staging; name one with --environment"),
            "{none}"
        );
        let other = in_environment(Environment::Named(Some("prod")))
            .unwrap_err()
            .to_string();
        assert!(other.contains("no environment is named `prod`"), "{other}");
    }

    #[test]
    fn mistakes_in_requirements_are_named_with_their_place() {
        let mistakes = [
            ("by: [alice, bob, vendor], threshold: 2", "by: [alice, bob, vendor]"),
            (
                "by: [alice, bob, vendor], threshold: 2",
                "by: [alice, bob, vendor], threshold: 4",
            ),
            ("by: [alice, bob, vendor]", "by: [alice, alice, vendor]"),
            ("by: [alice, bob, vendor]", "by: [alise, bob, vendor]"),
            ("role: alice", "role: bob, threshold: 2"),
            ("{signed: alice, maxAge: 12h}", "{maxAge: 12h}"),
            ("{minVersion: v1.2}", "{minVersion: latest}"),
            ("{minVersion: v1.2}", "{minVersoin: v1.2}"),
            ("of: 2\n", "of: 3\n"),
            ("formats: [disk]", "formats: [iso]"),
            ("image: {minEpoch: 7", "image: {minEpoc: 7"),
            ("reason: a tag that moves", "because: a tag that moves"),
            ("  production:", "  Production:"),
        ];
        let errors = mistakes.map(|(from, to)| {
            assert!(EVERYTHING.contains(from), "{from}");
            let text = EVERYTHING.replacen(from, to, 1);
            let read = Policy::load("", "p.yml", Environment::Base, &mut |_| Ok(text.clone().into_bytes()));
            read.unwrap_err().to_string()
        });
        insta::assert_snapshot!(errors.join("\n"));
    }

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
        assert!(matches!(denied.decision, Decision::Denied { .. }));
        let rule = policy.rule_for(&"r.example/platform/init:v1".parse().unwrap()).unwrap();
        let signers = Signers {
            root: "platform".into(),
            role: "targets".into(),
            threshold: 2,
        };
        let Decision::Required(Requirement { demand, .. }) = &rule.decision else {
            unreachable!("{rule}")
        };
        assert_eq!(
            *demand,
            Demand::Signed {
                name: None,
                by: Signer::Role(signers)
            }
        );
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
            ("minEpoch: 4", "profile: production and staging"),
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
