//! `imgkit policy check FILE` and `imgkit policy explain REF`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::Report;
use crate::failure::{Code, Failure, Refusal};
use crate::limit;
use crate::policy::{Policy, Requirement, Rule};
use crate::reference::Reference;
use crate::store::file::read_limited;

/// Checks policies and explains what they decide.
#[derive(Debug, Args)]
pub(super) struct PolicyCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a policy file and print what it admits
    Check {
        /// The policy file
        file: PathBuf,
    },
    /// Say which rule decides about a reference, and what it demands
    Explain {
        /// The image's name
        reference: Reference,
        /// The policy file
        #[arg(long, default_value = "policy/release.yml")]
        policy: PathBuf,
    },
}

impl PolicyCommand {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        match &self.action {
            Action::Check { file } => check(file, &read(file)?),
            Action::Explain { reference, policy } => explain(reference, &read(policy)?),
        }
    }
}

/// Reads the policy at `path`.
pub(super) fn read(path: &Path) -> Result<Policy, Failure> {
    let bytes = read_limited(path, limit::POLICY_BYTES)?;
    Ok(Policy::parse(&path.display().to_string(), &bytes)?)
}

fn check(file: &Path, policy: &Policy) -> Result<Report, Failure> {
    let mut text = format!("{}: {}\n", file.display(), policy.digest());
    for (name, path) in policy.roots() {
        let pinned = file.parent().unwrap_or(Path::new("")).join(path);
        let bytes = read_limited(&pinned, limit::POLICY_BYTES)?;
        let _ = writeln!(text, "root {name}: {path}, {}", crate::digest::Digest::sha256(&bytes));
    }
    let mut rules = Vec::new();
    for (number, rule) in policy.rules().iter().enumerate() {
        let (admits, misses) = rule.pattern.examples();
        let demand = demand(rule);
        let _ = writeln!(
            text,
            "rule {} (line {}): {} {demand}",
            number + 1,
            rule.place.line,
            rule.pattern
        );
        let _ = writeln!(text, "  matches         {}", admits.join(", "));
        let _ = writeln!(text, "  does not match  {}", misses.join(", "));
        rules.push(json!({
            "line": rule.place.line, "match": rule.pattern.to_string(), "demands": demand,
            "matches": admits, "doesNotMatch": misses,
        }));
    }
    let image = policy.image();
    match &image.sealed {
        Some(by) => {
            let _ = writeln!(
                text,
                "image: sealed by {} of {}'s role `{}`",
                by.threshold, by.root, by.role
            );
        }
        None => text.push_str("image: no `sealed:`, so no disk can be verified against this policy\n"),
    }
    for rule in policy.unsigned_rules() {
        let _ = writeln!(
            text,
            "note: {} admits unsigned components; `build --release` refuses this policy",
            rule.place
        );
    }
    let roots: serde_json::Map<_, _> = policy
        .roots()
        .map(|(name, path)| (name.to_owned(), path.into()))
        .collect();
    let json =
        json!({ "digest": policy.digest(), "roots": roots, "rules": rules, "canVerifyDisks": image.sealed.is_some() });
    Ok(Report::new(text, json))
}

fn explain(reference: &Reference, policy: &Policy) -> Result<Report, Failure> {
    let Some(rule) = policy.rule_for(reference) else {
        let patterns: Vec<String> = policy.rules().iter().map(|rule| rule.pattern.to_string()).collect();
        let expected = format!("a rule that matches, one of: {}", patterns.join(", "));
        let advice = "use a component that the policy knows, or ask the policy's owner for a rule";
        return Err(Refusal::new(Code::NoRule, reference, expected, "none does", advice).into());
    };
    let demand = demand(rule);
    let text = format!("{reference}\n  rule {} ({})\n  {demand}\n", rule.pattern, rule.place);
    let json =
        json!({ "reference": reference, "rule": rule.pattern.to_string(), "place": rule.place, "demands": demand });
    let yes = !matches!(rule.requirement, Requirement::Denied { .. });
    Ok(Report { text, json, yes })
}

fn demand(rule: &Rule) -> String {
    let mut text = match &rule.requirement {
        Requirement::Denied { reason } => return format!("is denied: {reason}"),
        Requirement::Signed(by) => {
            format!(
                "signed by {} of the keys of {}'s role `{}`",
                by.threshold, by.root, by.role
            )
        }
        Requirement::Unsigned => "accepted without a signature".to_owned(),
    };
    if rule.proved {
        text.push_str(", proved on the disk");
    }
    if !rule.overrides {
        text.push_str(", no file replaced");
    }
    if !rule.allow.is_empty() {
        let allow: Vec<String> = rule.allow.iter().map(ToString::to_string).collect();
        let _ = write!(text, ", may ask for {}", allow.join(" "));
    }
    text
}
