//! Policies of other tools, read as policies of ours, and ours written as theirs: nothing that they demand is lost silently, and
//! nothing is widened, but for what `export` says.
//!
//! - What can be said in this grammar is carried over; what cannot becomes `deny:`, and the report says so.
//! - Where no rule matches, the answer is no, whatever the other tool's default was.

mod containers;
mod export;
mod fulcio;
mod notation;
mod sigstore;

pub use containers::containers;
pub use export::{Exported, Loss, export};
pub use notation::notation;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Binding, Policy};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::json::{Limits, Numbers};
use crate::key::PublicKey;
use crate::limit;

/// A policy that was read from another tool's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The policy file.
    pub yaml: String,
    /// The keys that were in it, in PEM, and the trusted roots that were made of it, by the names of the files beside the policy
    /// that it looks for them in.
    pub files: BTreeMap<String, String>,
    /// What could not be carried over, and what became of it.
    pub notes: Vec<String>,
}

/// What one rule decides.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Deny(String),
    /// A signature for each, by one of its keys.
    Signed(Vec<Vec<Key>>),
}

/// What is read beside another tool's policy.
pub struct Beside<'a> {
    /// Reads a file that the policy names by its whole path.
    pub file: &'a dyn Fn(&str) -> Result<Vec<u8>, Failure>,
    /// The keys of the certificate-transparency logs of which one has to have seen a signer's certificate: the other tools ask for
    /// none, and no identity is taken without.
    pub certificate_logs: &'a [PublicKey],
}

/// A signer that another tool's policy names: a key in a file, or an identity under the trusted root in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    file: String,
    /// What is in the file, where it is written beside the policy.
    content: Option<String>,
    names: Binding,
    identity: Option<Identity>,
}

/// An identity that another tool's policy names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    email: String,
    issuer: String,
}

impl Key {
    /// Returns what the policy calls it.
    fn name(&self) -> String {
        let binding = Binding::WORDS.iter().find(|(_, binding)| *binding == self.names);
        let (kind, hash) = match &self.identity {
            None => ("key", Digest::sha256(self.file.as_bytes())),
            Some(Identity { email, issuer }) => {
                let whole = Value::from(vec![self.file.as_str(), email, issuer]).to_string();
                ("identity", Digest::sha256(whole.as_bytes()))
            }
        };
        format!("{kind}-{}-{}", hash.short(), binding.map_or("any", |(word, _)| word))
    }
}

/// Rules as they are gathered, each with how specific its scope is.
#[derive(Default)]
struct Rules {
    /// By pattern.
    rules: BTreeMap<String, Verdict>,
    notes: Vec<String>,
}

impl Rules {
    fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Adds what is decided about names that match `pattern`.
    fn add(&mut self, pattern: String, verdict: Verdict) {
        self.rules.insert(pattern, verdict);
    }

    /// Denies a repository with its tags, whatever has been decided about them.
    fn deny_repository(&mut self, repository: &str, reason: &str) {
        let verdict = Verdict::Deny(reason.to_owned());
        let own = self.rules.iter_mut();
        for (_, decided) in own.filter(|(pattern, _)| without_tag(pattern) == repository) {
            *decided = verdict.clone();
        }
        self.add(repository.to_owned(), verdict);
    }

    /// Writes the policy: longer scopes first, as the other tools try the most specific one first.
    fn finish(self, source: &str) -> Result<Imported, Failure> {
        let depth = |pattern: &str| {
            let name = pattern.trim_end_matches("/**");
            (without_tag(name) != name, name.matches('/').count())
        };
        let mut rules: Vec<(String, Verdict)> = self.rules.into_iter().collect();
        rules.sort_by_key(|(pattern, _)| Reverse(depth(pattern)));
        let quoted = |text: &str| Value::from(text).to_string();
        let signed = rules.iter().filter_map(|(_, verdict)| match verdict {
            Verdict::Signed(all) => Some(all.iter().flatten()),
            Verdict::Accept | Verdict::Deny(_) => None,
        });
        let signers: BTreeSet<&Key> = signed.flatten().collect();
        let mut yaml = format!(
            "# Read from {source} by `imgkit policy import`; where no rule matches, the answer is no.\nversion: 1\n\nroots: {{}}\n"
        );
        if !signers.is_empty() {
            yaml.push_str("\nsigners:\n");
        }
        let mut files = BTreeMap::new();
        for key in signers {
            let names = Binding::WORDS.iter().find(|(_, binding)| *binding == key.names);
            let names = names.map(|(word, _)| format!(", names: {word}"));
            let (name, file) = (key.name(), quoted(&key.file));
            let names = names.unwrap_or_default();
            yaml.push_str(&match &key.identity {
                None => format!("  {name}: {{key: {file}{names}}}\n"),
                Some(Identity { email, issuer }) => {
                    let (email, issuer) = (quoted(email), quoted(issuer));
                    format!("  {name}: {{identity: {email}, issuer: {issuer}, trustedRoot: {file}{names}}}\n")
                }
            });
            files.extend(key.content.clone().map(|content| (key.file.clone(), content)));
        }
        yaml.push_str("\nrules:");
        for (pattern, verdict) in &rules {
            yaml.push_str(&format!("\n  - match: {}\n", quoted(pattern)));
            match verdict {
                Verdict::Accept => yaml.push_str("    unsigned: accept"),
                Verdict::Deny(reason) => yaml.push_str(&format!("    deny: {}", quoted(reason))),
                Verdict::Signed(all) => {
                    let one = |keys: &Vec<Key>| {
                        let names: Vec<String> = keys.iter().map(Key::name).collect();
                        match names.as_slice() {
                            [name] => format!("signed: {name}"),
                            names => format!("signed: {{by: [{}], threshold: 1}}", names.join(", ")),
                        }
                    };
                    match all.as_slice() {
                        [only] => yaml.push_str(&format!("    {}", one(only))),
                        all => {
                            let all: Vec<String> = all.iter().map(|keys| format!("{{{}}}", one(keys))).collect();
                            yaml.push_str(&format!("    allOf: [{}]", all.join(", ")));
                        }
                    }
                }
            }
        }
        if rules.is_empty() {
            yaml.push_str(" []");
        }
        yaml.push('\n');
        // What is written is what is read: a scope that is no pattern after all is told here.
        Policy::parse(source, yaml.as_bytes())?;
        Ok(Imported {
            yaml,
            files,
            notes: self.notes,
        })
    }
}

/// Returns a scope without its tag; a host's port is none.
fn without_tag(scope: &str) -> &str {
    match scope.rsplit_once(':') {
        Some((name, tag)) if name.contains('/') && !tag.contains('/') => name,
        _ => scope,
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
