//! Whom a role trusts with names: listed roles (specification, section 4.5), or hashed bins written in short (TAP 15).
//!
//! - A role delegates in one form or in the other, never in both.
//! - Bins are not listed anywhere: which bin a name is in, and whether a role's name is a bin's, are computed. A look-up costs
//!   the same however many there are.
//! - Both forms give [`Delegation`], which is all that a search and a check of signatures need to know.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::metadata::role_problem;
use super::{names, pattern};
use crate::digest::Digest;
use crate::key::KeyId;

/// Whom a role trusts with names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Delegations {
    /// Key objects by id.
    pub keys: BTreeMap<KeyId, Value>,
    /// The roles, in the order in which they are asked; none when there are bins.
    pub roles: Vec<DelegatedRole>,
    /// Bins, instead of roles.
    pub succinct_roles: Option<SuccinctRoles>,
    /// Members that imgkit does not know.
    pub extra: Map<String, Value>,
}

/// Delegations as they are written: with exactly one of `roles` and `succinct_roles`.
#[derive(Serialize, Deserialize)]
struct Written {
    keys: BTreeMap<KeyId, Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    roles: Option<Vec<DelegatedRole>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    succinct_roles: Option<SuccinctRoles>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl TryFrom<Written> for Delegations {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match (&written.roles, &written.succinct_roles) {
            (Some(_), Some(_)) => Err("delegations have both roles and succinct_roles, expected one of them"),
            (None, None) => Err("delegations have neither roles nor succinct_roles, expected one of them"),
            _ => Ok(Self {
                keys: written.keys,
                roles: written.roles.unwrap_or_default(),
                succinct_roles: written.succinct_roles,
                extra: written.extra,
            }),
        }
    }
}

impl From<Delegations> for Written {
    fn from(delegations: Delegations) -> Self {
        let listed = delegations.succinct_roles.is_none() || !delegations.roles.is_empty();
        Self {
            keys: delegations.keys,
            roles: listed.then_some(delegations.roles),
            succinct_roles: delegations.succinct_roles,
            extra: delegations.extra,
        }
    }
}

impl Delegations {
    /// Returns the delegations that cover `target`, in the order in which they are asked.
    pub fn covering<'a>(&'a self, target: &'a str) -> impl Iterator<Item = Delegation<'a>> {
        let listed = self.roles.iter().filter(|role| role.covers(target));
        let bin = self.succinct_roles.as_ref();
        let bin = bin.map(|bins| bins.delegation(bins.bin_of(target)));
        listed.map(DelegatedRole::delegation).chain(bin)
    }

    /// Returns the delegation to the role `name`, if there is one.
    pub fn find<'a>(&'a self, name: &'a str) -> Option<Delegation<'a>> {
        let listed = self.roles.iter().find(|role| role.name == name);
        let bin = || {
            let bins = self.succinct_roles.as_ref()?;
            bins.is_bin(name).then(|| bins.delegation(name))
        };
        listed.map(DelegatedRole::delegation).or_else(bin)
    }

    /// Says what beyond its shape is wrong, if anything is.
    pub(super) fn problem(&self) -> Option<String> {
        if let Some(problem) = self.succinct_roles.as_ref().and_then(SuccinctRoles::problem) {
            return Some(problem);
        }
        let mut names = std::collections::BTreeSet::new();
        self.roles.iter().find_map(|role| {
            let problem = role.problem();
            problem.or_else(|| (!names.insert(&role.name)).then(|| format!("it delegates to `{}` twice", role.name)))
        })
    }
}

/// One role that another trusts with names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedRole {
    /// Its name.
    pub name: String,
    /// Its keys, each once.
    pub keyids: Vec<KeyId>,
    /// How many distinct ones must sign, from 1.
    pub threshold: u32,
    /// Whether nobody after this role is asked for the names it is trusted with.
    pub terminating: bool,
    /// Patterns of the names it is trusted with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paths: Option<Vec<String>>,
    /// Or the first digits of SHA-256 of these names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hash_prefixes: Option<Vec<String>>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl DelegatedRole {
    /// Returns the patterns, or hash prefixes, of the names that the role is trusted with.
    pub fn patterns(&self) -> Vec<String> {
        let either = self.paths.as_ref().or(self.path_hash_prefixes.as_ref());
        either.cloned().unwrap_or_default()
    }

    /// Tells whether the role is trusted with the name `target`.
    pub fn covers(&self, target: &str) -> bool {
        let by_pattern = |patterns: &Vec<String>| patterns.iter().any(|pattern| pattern::matches(pattern, target));
        let by_hash = |prefixes: &Vec<String>| {
            let hash = Digest::sha256(target.as_bytes()).hex();
            prefixes.iter().any(|prefix| hash.starts_with(prefix.as_str()))
        };
        self.paths.as_ref().is_some_and(by_pattern) || self.path_hash_prefixes.as_ref().is_some_and(by_hash)
    }

    fn delegation(&self) -> Delegation<'_> {
        Delegation {
            name: Cow::Borrowed(&self.name),
            keyids: &self.keyids,
            threshold: self.threshold,
            terminating: self.terminating,
        }
    }

    fn problem(&self) -> Option<String> {
        if let Some(problem) = name_problem(&self.name) {
            return Some(problem);
        }
        if self.paths.is_some() == self.path_hash_prefixes.is_some() {
            let name = &self.name;
            return Some(format!(
                "the role `{name}` has not exactly one of paths and path_hash_prefixes"
            ));
        }
        role_problem(&self.name, &self.keyids, self.threshold)
    }
}

/// Bins of names by the first bits of their SHA-256, all with the same keys (TAP 15).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccinctRoles {
    /// The keys of every bin, each once.
    pub keyids: Vec<KeyId>,
    /// How many distinct ones must sign a bin, from 1.
    pub threshold: u32,
    /// How many bits of the hash number the bins, 1 to 32: there are two to their power.
    pub bit_length: u32,
    /// What the bins' names begin with; `-` and the number in hexadecimal follow.
    pub name_prefix: String,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl SuccinctRoles {
    /// The bits that TAP 15 allows.
    const BITS: std::ops::RangeInclusive<u32> = 1..=32;

    /// Returns how many bins there are.
    pub fn bins(&self) -> u64 {
        1 << self.bit_length.min(*Self::BITS.end())
    }

    /// Returns the name of the bin with this number.
    pub fn bin(&self, number: u64) -> String {
        format!("{}-{number:0digits$x}", self.name_prefix, digits = self.digits())
    }

    /// Returns the name of the bin that `target` is in.
    pub fn bin_of(&self, target: &str) -> String {
        let first = match Digest::sha256(target.as_bytes()) {
            Digest::Sha256([a, b, c, d, ..]) => u32::from_be_bytes([a, b, c, d]),
            Digest::Sha512(_) => 0,
        };
        // Shifted as 64 bits, so that a shift by 32, which no legal bit length asks for, has a meaning.
        let shift = Self::BITS.end().saturating_sub(self.bit_length);
        self.bin(u64::from(first) >> shift)
    }

    /// Tells whether `name` is the name of one of the bins.
    pub fn is_bin(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.name_prefix.as_str());
        let number = rest.and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| {
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            number.len() == self.digits()
                && number.bytes().all(is_digit)
                && u64::from_str_radix(number, 16).is_ok_and(|number| number < self.bins())
        })
    }

    /// Returns how many hexadecimal digits the number of every bin has: those that the last one needs.
    fn digits(&self) -> usize {
        self.bit_length.div_ceil(4) as usize
    }

    fn delegation<'a>(&'a self, bin: impl Into<Cow<'a, str>>) -> Delegation<'a> {
        Delegation {
            name: bin.into(),
            keyids: &self.keyids,
            threshold: self.threshold,
            // TAP 15: a name that is not in its bin is nowhere.
            terminating: true,
        }
    }

    fn problem(&self) -> Option<String> {
        if !Self::BITS.contains(&self.bit_length) {
            return Some(format!(
                "its bins have bit_length {}, expected 1 to 32",
                self.bit_length
            ));
        }
        let last = self.bin(self.bins() - 1);
        name_problem(&last).or_else(|| role_problem(&last, &self.keyids, self.threshold))
    }
}

/// A role that another trusts with names, as either form of delegation gives it.
#[derive(Clone, Debug)]
pub struct Delegation<'a> {
    /// The role's name.
    pub name: Cow<'a, str>,
    /// Its keys, each once.
    pub keyids: &'a [KeyId],
    /// How many distinct ones must sign.
    pub threshold: u32,
    /// Whether nobody after this role is asked for the names it is trusted with.
    pub terminating: bool,
}

fn name_problem(name: &str) -> Option<String> {
    let bad = names::is_top_level(name) || !names::is_role(name);
    bad.then(|| format!("`{}` cannot be a delegated role's name", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn bins(bit_length: u32) -> SuccinctRoles {
        serde_json::from_value(json!({
            "keyids": ["k"], "threshold": 1, "bit_length": bit_length, "name_prefix": "bin",
        }))
        .unwrap()
    }

    #[test]
    fn a_name_is_in_the_bin_that_its_hash_begins_with() {
        // SHA-256 of "a" begins with ca978112.
        for (bits, bin) in [
            (1, "bin-1"),
            (4, "bin-c"),
            (5, "bin-19"),
            (8, "bin-ca"),
            (14, "bin-32a5"),
            (32, "bin-ca978112"),
        ] {
            assert_eq!(bins(bits).bin_of("a"), bin);
            assert!(bins(bits).is_bin(bin));
            assert_eq!(bins(bits).problem(), None);
        }
        assert_eq!(bins(14).bin(0), "bin-0000");
        assert_eq!(bins(32).bins(), 1 << 32);
    }

    #[test]
    fn only_the_names_that_can_come_about_are_bins() {
        for name in [
            "bin-20", "bin-1f0", "bin-f", "bin-1F", "bin-+1", "bin", "bin1f", "xbin-1f", "bin--1",
        ] {
            assert!(!bins(5).is_bin(name), "{name}");
        }
        assert!(bins(5).is_bin("bin-1f") && bins(5).is_bin("bin-00"));
    }

    #[test]
    fn bins_out_of_bounds_are_refused() {
        for bits in [0, 33, u32::MAX] {
            assert!(bins(bits).problem().is_some(), "{bits}");
        }
        let long = SuccinctRoles {
            name_prefix: "x".repeat(crate::limit::ROLE_NAME_BYTES),
            ..bins(8)
        };
        assert!(long.problem().is_some());
        let unsigned = SuccinctRoles {
            threshold: 0,
            ..bins(8)
        };
        assert!(unsigned.problem().is_some());
    }

    #[test]
    fn one_form_is_written_and_the_other_is_not() {
        let read = |text: Value| serde_json::from_value::<Delegations>(text);
        let bin = json!({"keyids": ["k"], "threshold": 1, "bit_length": 8, "name_prefix": "b", "x": 1});
        for good in [
            json!({"keys": {}, "roles": [], "y": 2}),
            json!({"keys": {}, "succinct_roles": bin}),
        ] {
            let delegations = read(good.clone()).unwrap();
            assert_eq!(serde_json::to_value(&delegations).unwrap(), good);
        }
        for bad in [
            json!({"keys": {}}),
            json!({"keys": {}, "roles": [], "succinct_roles": bin}),
            json!({"roles": []}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn four_thousand_million_bins_cost_no_more_than_two() {
        let many = Delegations {
            succinct_roles: Some(bins(32)),
            ..Delegations::default()
        };
        let covering: Vec<_> = many.covering("a").collect();
        assert_eq!(covering.len(), 1);
        assert!(covering.iter().all(|bin| bin.terminating && bin.name == "bin-ca978112"));
        assert!(many.find("bin-00000000").is_some() && many.find("bin-0").is_none());
    }
}
