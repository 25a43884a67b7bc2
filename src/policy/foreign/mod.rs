//! Policies of other tools, read as policies of ours: nothing that they demand is lost silently, and nothing is widened.
//!
//! - What can be said in this grammar is carried over; what cannot becomes `deny:`, and the report says so.
//! - Where no rule matches, the answer is no, whatever the other tool's default was.

mod containers;
mod notation;

pub use containers::containers;
pub use notation::notation;

use std::cmp::Reverse;

use serde_json::Value;

use super::Policy;
use crate::failure::Failure;
use crate::json::{Limits, Numbers};
use crate::limit;

/// A policy that was read from another tool's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The policy file.
    pub yaml: String,
    /// What could not be carried over, and what became of it.
    pub notes: Vec<String>,
}

/// What one rule decides.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Deny(String),
}

/// Rules as they are gathered, each with how specific its scope is.
#[derive(Default)]
struct Rules {
    rules: Vec<(Vec<String>, Verdict)>,
    notes: Vec<String>,
}

impl Rules {
    fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Adds what is decided about names that match `patterns`.
    fn add(&mut self, patterns: &[String], verdict: Verdict) {
        self.rules.push((patterns.to_vec(), verdict));
    }

    /// Writes the policy: longer scopes first, as the other tools try the most specific one first.
    fn finish(mut self, source: &str) -> Result<Imported, Failure> {
        let depth = |pattern: &String| {
            let path = pattern.trim_end_matches("/**");
            (
                path.contains(':') && path.rfind(':') > path.rfind('/'),
                path.matches('/').count(),
            )
        };
        let key = |(patterns, _): &(Vec<String>, Verdict)| Reverse(patterns.first().map(depth));
        self.rules.sort_by_key(key);
        let quoted = |text: &str| Value::from(text).to_string();
        let mut yaml = format!(
            "# Read from {source} by `imgkit policy import`; where no rule matches, the answer is no.\nversion: 1\n\nroots: {{}}\n\nrules:"
        );
        for (pattern, verdict) in self
            .rules
            .iter()
            .flat_map(|(patterns, verdict)| patterns.iter().map(move |pattern| (pattern, verdict)))
        {
            yaml.push_str(&format!("\n  - match: {}\n", quoted(pattern)));
            match verdict {
                Verdict::Accept => yaml.push_str("    unsigned: accept"),
                Verdict::Deny(reason) => yaml.push_str(&format!("    deny: {}", quoted(reason))),
            }
        }
        if self.rules.is_empty() {
            yaml.push_str(" []");
        }
        yaml.push('\n');
        // What is written is what is read: a scope that is no pattern after all is told here.
        Policy::parse(source, yaml.as_bytes())?;
        Ok(Imported {
            yaml,
            notes: self.notes,
        })
    }
}

fn parse(source: &str, bytes: &[u8]) -> Result<Value, Failure> {
    let limits = Limits {
        bytes: limit::POLICY_BYTES,
        depth: limit::YAML_DEPTH,
        numbers: Numbers::Integers,
    };
    crate::json::parse(bytes, limits).map_err(|error| Failure::malformed(source, error))
}
