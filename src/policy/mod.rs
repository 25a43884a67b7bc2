//! Policies: what may be built in, who may say so, and what a finished image must be.
//!
//! The grammar stands in `policy/README.md`. Rules are tried in order; the first that matches decides, and where none
//! matches, the answer is no.
//!
//! - A rule matches the normalised full name (`docker.io/library/x`), never a mirror or cache place.
//! - In patterns `*` does not cross `/`, nothing in a host or port is a wildcard, and `**` stands only at the end.
//! - What `forbid:` names is refused whatever the rules say.
//! - A policy is parsed into a [`Policy`] that cannot be wrong: every root and signer that is named exists, thresholds can be
//!   reached, and every rule that admits something says who vouches for it.
//! - Its own rules come before those of the files that it includes, and an environment's before all others.

mod allow;
mod condition;
mod findings;
pub mod foreign;
mod image;
mod parse;
mod pattern;
mod requirement;
mod root;
mod rule;
mod schema;
mod signer;
mod version;

pub use allow::Allow;
pub use condition::{Condition, ConditionError, Facts};
pub use findings::{Finding, FindingKind};
pub use image::{FORMATS, ImageRequirement, SpecRequirement};
pub use parse::age;
pub use parse::files::Environment;
pub use pattern::{Pattern, PatternError, Plain};
pub use requirement::{Demand, Requirement};
pub use root::Root;
pub use rule::{Decision, Forbidden, Rule};
pub use schema::schema;
pub use signer::{Binding, Signer, Signers, SigstoreSigner};
pub use version::{Version, VersionError};

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::failure::{Failure, Place};
use crate::reference::Reference;

/// A policy, read with the files that it includes.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    digest: Digest,
    environment: Option<String>,
    environments: Vec<String>,
    roots: BTreeMap<String, Named<Root>>,
    signers: BTreeMap<String, Named<Signer>>,
    forbidden: Vec<Forbidden>,
    rules: Vec<Rule>,
    spec: Option<(SpecRequirement, Place)>,
    image: ImageRequirement,
}

/// What a policy gives a name, and where.
#[derive(Clone, Debug, PartialEq)]
struct Named<T> {
    is: T,
    place: Place,
}

impl Policy {
    /// Reads a policy that includes nothing and has no environments; `file` is how errors name it.
    ///
    /// # Errors
    /// [`Failure::Malformed`] at the place of the first mistake.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Failure> {
        let (dir, name) = file.rsplit_once('/').unwrap_or(("", file));
        Self::load(dir, name, Environment::Named(None), &mut |inner| match inner == name {
            true => Ok(bytes.to_vec()),
            false => Err(Failure::malformed(inner, "cannot be included here")),
        })
    }

    /// Reads the policy `name` of the directory `dir`, what it includes, and the overlay of an environment.
    ///
    /// `read` is asked for files by their path inside `dir`, the policy first; they are `/`-separated and lead nowhere else.
    ///
    /// # Errors
    /// What `read` gave; [`Failure::Malformed`] at the place of the first mistake, and where the policy has environments and none
    /// of them is named.
    pub fn load(
        dir: &str,
        name: &str,
        environment: Environment<'_>,
        read: &mut dyn FnMut(&str) -> Result<Vec<u8>, Failure>,
    ) -> Result<Self, Failure> {
        parse::policy(dir, name, environment, read)
    }

    /// Returns the SHA-256 of the policy file; where it includes others or has an environment, that of a list of them all.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the environment whose overlay is in force.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// Returns the environments that the policy has overlays for.
    pub fn environments(&self) -> &[String] {
        &self.environments
    }

    /// Iterates over the trust roots by name.
    pub fn roots(&self) -> impl Iterator<Item = (&str, &Root)> {
        self.roots.iter().map(|(name, root)| (name.as_str(), &root.is))
    }

    /// Iterates over the named signers.
    pub fn signers(&self) -> impl Iterator<Item = (&str, &Signer)> {
        self.signers.iter().map(|(name, signer)| (name.as_str(), &signer.is))
    }

    /// Lists everybody whom the policy names to sign anything, with the policy's name of him where he has one.
    pub fn everybody(&self) -> Vec<(Option<&str>, Signer)> {
        let named = self.signers().map(|(name, by)| (Some(name), by.clone()));
        let in_rules = self.rules.iter().filter_map(|rule| match &rule.decision {
            Decision::Required(requirement) => Some(requirement.signers()),
            Decision::Denied { .. } | Decision::Unsigned => None,
        });
        let of_spec = self.spec().and_then(|spec| match spec {
            SpecRequirement::Signed(by) => Some(by),
            SpecRequirement::Digests(_) => None,
        });
        let roles = of_spec.into_iter().chain(&self.image.sealed);
        let roles = roles.map(|by| (None, Signer::Role(by.clone())));
        named.chain(in_rules.flatten()).chain(roles).collect()
    }

    /// Returns what no image may be, whatever the rules say.
    pub fn forbidden(&self) -> &[Forbidden] {
        &self.forbidden
    }

    /// Returns the first entry of `forbid:` that matches, if any does.
    pub fn forbids(&self, reference: &Reference) -> Option<&Forbidden> {
        self.forbidden
            .iter()
            .find(|forbidden| forbidden.pattern.matches(reference))
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
        self.spec.as_ref().map(|(spec, _)| spec)
    }

    /// Returns where the policy says what node.yml and its files must be.
    pub fn spec_place(&self) -> Option<&Place> {
        self.spec.as_ref().map(|(_, place)| place)
    }

    /// Returns what a finished image must be.
    pub fn image(&self) -> &ImageRequirement {
        &self.image
    }

    /// Returns the rules that admit components without any signature; a release build refuses a policy that has one.
    pub fn unsigned_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.decision == Decision::Unsigned)
    }

    /// Returns what is worth a second look: rules that nothing reaches, names that nothing uses, what admits more than it seems.
    pub fn findings(&self) -> Vec<Finding> {
        findings::of(self)
    }

    /// Returns which named signers are one, as far as `key` knows the fingerprints of their keys.
    pub fn same_keys(&self, key: &dyn Fn(&SigstoreSigner) -> Option<Digest>) -> Vec<Finding> {
        findings::same_keys(self, key)
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
