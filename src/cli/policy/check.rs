//! `imgkit policy check FILE`: what a policy admits, and what in it is worth a second look.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::super::report::{self, State};
use super::super::{Report, judge};
use super::of_bytes;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::policy::{Environment, Finding, Policy};
use crate::store::file::read_limited;

/// Checks a policy.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The policy file
    file: PathBuf,
}

impl Check {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let bytes = read_limited(&self.file, limit::POLICY_BYTES)?;
        let read = |environment| of_bytes(&self.file, &bytes, environment);
        let base = read(Environment::Base)?;
        let mut text = format!("{}: {}\n", self.file.display(), base.digest());
        let pins = judge::pins(&self.file, &base)?;
        for (name, root) in base.roots() {
            let notary = pins.notary.get(name).map(|pin| &pin.root);
            let digest = pins.roots.get(name).or(notary).map(|pin| Digest::sha256(pin));
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "root {name}: {root}, {}",
                digest.map(|digest| digest.to_string()).unwrap_or_default()
            );
        }
        for (name, by) in base.signers() {
            let _ = writeln!(text, "signer {name}: {by}");
        }
        // Where there are environments, one of them is always in force.
        let mut environments: Vec<Environment<'_>> = base
            .environments()
            .iter()
            .map(|name| Environment::Named(Some(name)))
            .collect();
        if environments.is_empty() {
            environments.push(Environment::Base);
        }
        let mut good = true;
        let mut checked = Vec::new();
        let mut checks = Vec::new();
        for environment in environments {
            let policy = read(environment)?;
            let mut findings = policy.findings();
            findings.extend(policy.same_keys(&|by| pins.fingerprint(by)));
            if let Some(name) = policy.environment() {
                let _ = writeln!(text, "environment {name}: {}", policy.digest());
            }
            text.push_str(&describe(&policy, &findings));
            checks.extend(
                findings
                    .iter()
                    .filter(|finding| finding.kind.is_mistake())
                    .map(|finding| report::Check {
                        name: finding.text.clone(),
                        place: finding.place.clone(),
                        state: State::Bad {
                            code: format!("{:?}", finding.kind),
                            text: finding.to_string(),
                        },
                    }),
            );
            good &= !findings.iter().any(|finding| finding.kind.is_mistake());
            checked.push(as_json(&policy, &findings));
        }
        let roots: serde_json::Map<_, _> = base
            .roots()
            .map(|(name, root)| {
                let shown = match &root.gun {
                    None => json!(root.file),
                    Some(gun) => json!({ "file": root.file, "gun": gun }),
                };
                (name.to_owned(), shown)
            })
            .collect();
        let signers: serde_json::Map<_, _> = base
            .signers()
            .map(|(name, by)| (name.to_owned(), by.to_string().into()))
            .collect();
        let mut json = json!({ "digest": base.digest(), "roots": roots, "signers": signers });
        if let Some(all) = json.as_object_mut() {
            match checked.as_mut_slice() {
                [Value::Object(only)] if base.environments().is_empty() => all.append(only),
                _ => drop(all.insert("environments".to_owned(), checked.into())),
            }
        }
        Ok(Report {
            yes: good,
            checks,
            ..Report::new(text, json)
        })
    }
}

fn describe(policy: &Policy, findings: &[Finding]) -> String {
    let mut text = String::new();
    for forbidden in policy.forbidden() {
        let _ = writeln!(
            text,
            "forbid (line {}): {} {}",
            forbidden.place.line, forbidden.pattern, forbidden.reason
        );
    }
    for (number, rule) in policy.rules().iter().enumerate() {
        let (admits, misses) = rule.pattern.examples();
        let _ = writeln!(
            text,
            "rule {} ({}): {} {rule}",
            number + 1,
            place(&rule.place),
            rule.pattern
        );
        let _ = writeln!(text, "  matches         {}", admits.join(", "));
        let _ = writeln!(text, "  does not match  {}", misses.join(", "));
    }
    if let Some(by) = &policy.image().sealed {
        let _ = writeln!(text, "image: sealed by {by}");
    }
    for finding in findings {
        let word = if finding.kind.is_mistake() { "mistake" } else { "note" };
        let _ = writeln!(text, "{word}: {finding}");
    }
    text
}

fn place(place: &crate::failure::Place) -> String {
    let file = Path::new(&place.file)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    format!("{}:{}", file.unwrap_or_default(), place.line)
}

fn as_json(policy: &Policy, findings: &[Finding]) -> Value {
    let rules = policy.rules().iter().map(|rule| {
        let (admits, misses) = rule.pattern.examples();
        json!({
            "place": rule.place, "line": rule.place.line, "match": rule.pattern.to_string(), "demands": rule.to_string(),
            "matches": admits, "doesNotMatch": misses,
        })
    });
    let forbidden = policy.forbidden().iter();
    let forbidden = forbidden.map(|forbidden| {
        json!({ "place": forbidden.place, "match": forbidden.pattern.to_string(), "reason": forbidden.reason })
    });
    json!({
        "environment": policy.environment(), "digest": policy.digest(), "rules": rules.collect::<Vec<_>>(),
        "forbid": forbidden.collect::<Vec<_>>(), "canVerifyDisks": policy.image().sealed.is_some(), "findings": findings,
    })
}
