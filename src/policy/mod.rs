//! Policies: what may be built in, who may say so, and what a finished image must be.
//!
//! The grammar stands in `policy/README.md`. Rules are tried in order; the first that matches decides, and where none
//! matches, the answer is no.
//!
//! - A rule matches the normalised full name (`docker.io/library/x`), never a mirror or cache place.
//! - In patterns `*` does not cross `/`, nothing in a host or port is a wildcard, and `**` stands only at the end.
//! - A policy is parsed into a [`Policy`] that cannot be wrong: every root that is named exists, thresholds are at least 1.

mod allow;
mod parse;
mod pattern;

pub use allow::Allow;
pub use pattern::{Pattern, PatternError};

use std::collections::BTreeMap;

use crate::cmdline::Parameter;
use crate::digest::Digest;
use crate::failure::Place;
use crate::reference::Reference;
use crate::yaml::YamlError;

/// A policy file, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    digest: Digest,
    roots: BTreeMap<String, String>,
    rules: Vec<Rule>,
    spec: Option<SpecRequirement>,
    spec_place: Option<Place>,
    image: ImageRequirement,
}

impl Policy {
    /// Reads a policy; `file` is how errors name it.
    ///
    /// # Errors
    /// [`YamlError`] at the place of the first mistake.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, YamlError> {
        parse::policy(file, bytes)
    }

    /// Returns the SHA-256 of the policy file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Iterates over the trust roots: name, and path of the pinned root.json relative to the policy file.
    pub fn roots(&self) -> impl Iterator<Item = (&str, &str)> {
        self.roots.iter().map(|(name, path)| (name.as_str(), path.as_str()))
    }

    /// Returns the rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the first rule that matches, if any does.
    pub fn rule_for(&self, reference: &Reference) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.pattern.matches(reference))
    }

    /// Returns what node.yml and its files must be; `None` when the policy says nothing of them.
    pub fn spec(&self) -> Option<&SpecRequirement> {
        self.spec.as_ref()
    }

    /// Returns where the policy says what node.yml and its files must be.
    pub fn spec_place(&self) -> Option<&Place> {
        self.spec_place.as_ref()
    }

    /// Returns what a finished image must be.
    pub fn image(&self) -> &ImageRequirement {
        &self.image
    }

    /// Returns the rules that admit components without any signature; a release build refuses a policy that has one.
    pub fn unsigned_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .filter(|rule| rule.requirement == Requirement::Unsigned)
    }
}

/// One rule: which references, and what they need.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Which references it is about.
    pub pattern: Pattern,
    /// What admits one.
    pub requirement: Requirement,
    /// Whether the component must be proved on the finished disk against its own signer.
    pub proved: bool,
    /// What the component's own label may ask for.
    pub allow: Vec<Allow>,
    /// Whether a later part may replace one of the component's files.
    pub overrides: bool,
    /// Where the rule stands.
    pub place: Place,
}

/// What admits a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing does.
    Denied {
        /// Why, for the message.
        reason: String,
    },
    /// Signatures do.
    Signed(Signers),
    /// Nothing is needed; never in a release build.
    Unsigned,
}

/// Who has to sign, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signers {
    /// The policy's name of the trust root.
    pub root: String,
    /// The targets role: `targets`, or one that it delegates to.
    pub role: String,
    /// How many distinct keys of the role; at least 1, and never fewer than the metadata demand.
    pub threshold: u32,
}

/// What node.yml and the files it names must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecRequirement {
    /// One of these SHA-256 digests.
    Digests(Vec<Digest>),
    /// A signed target, `spec/NAME`.
    Signed(Signers),
}

/// What a finished image must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRequirement {
    /// Its name, if only one is good.
    pub name: Option<String>,
    /// Its architecture, if only one is good.
    pub arch: Option<String>,
    /// Who may seal it; without it no disk can be verified against this policy.
    pub sealed: Option<Signers>,
    /// Whether every component must be proved.
    pub proved: bool,
    /// The lowest epoch that is good.
    pub min_epoch: u64,
    /// How many seconds may lie between the build's evaluation and now.
    pub max_age: Option<i64>,
    /// Parameters of the kernel command line that are allowed besides the harmless ones.
    pub cmdline: Vec<Parameter>,
    /// Where each of these stands, by its key.
    pub(super) places: BTreeMap<&'static str, Place>,
}

impl ImageRequirement {
    /// Returns where the policy says what it does under `key`: `name`, `arch`, `sealed` …
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shipped_policy_reads() {
        let policy = Policy::parse("release.yml", include_bytes!("../../policy/release.yml")).unwrap();
        assert_eq!(policy.unsigned_rules().count(), 0);
        assert!(policy.image().sealed.is_some());
    }
}
