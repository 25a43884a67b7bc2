//! `imgkit policy test CASES.yml`: whether a policy decides as its author expects.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::super::judge::pins_at_hand;
use super::super::report::{Check, State};
use super::super::{Context, Report};
use super::read;
use crate::failure::Failure;
use crate::limit;
use crate::policy::Environment;
use crate::store::file::read_limited;
use crate::time::Time;
use crate::trial::cases::{Cases, Outcome};

/// Tests a policy.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// The files of cases
    #[arg(value_name = "CASES.YML", required = true)]
    files: Vec<PathBuf>,
    /// The time at which everything is judged [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
}

impl Test {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let at = self.at.map_or_else(|| context.now(), Ok)?;
        let mut text = String::new();
        let mut all = Vec::new();
        let mut checks = Vec::new();
        for file in &self.files {
            let bytes = read_limited(file, limit::POLICY_BYTES)?;
            let cases = Cases::parse(&file.display().to_string(), &bytes)?;
            let path = file.parent().unwrap_or(Path::new("")).join(&cases.policy);
            let policy = read(&path, Environment::Named(cases.environment.as_deref()))?;
            let outcomes = cases.run(&policy, at, &pins_at_hand(&path, &policy)?)?;
            let _ = writeln!(text, "{}", file.display());
            for outcome in &outcomes {
                checks.push(check(outcome));
                let word = if outcome.good { "ok  " } else { "FAIL" };
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {word} {} ({})", outcome.name, outcome.place);
                if !outcome.good {
                    let _ = writeln!(
                        text,
                        "       expected: {}\n       found:    {}",
                        outcome.expected, outcome.found
                    );
                    for reason in &outcome.reasons {
                        let _ = writeln!(text, "       {reason}");
                    }
                }
            }
            all.push(json!({ "cases": file, "policy": policy.digest(), "outcomes": outcomes }));
            if outcomes.is_empty() {
                return Err(Failure::malformed(
                    file.display(),
                    "it has no cases, so nothing is tested",
                ));
            }
        }
        let outcomes = || all.iter().filter_map(|file| file["outcomes"].as_array()).flatten();
        let failed = outcomes().filter(|outcome| outcome["good"] == false).count();
        let _ = writeln!(text, "{} cases, {failed} failed", outcomes().count());
        Ok(Report {
            yes: failed == 0,
            checks,
            ..Report::new(text, json!({ "judgedAt": at, "files": all }))
        })
    }
}

fn check(outcome: &Outcome) -> Check {
    let mut check = Check::good(&outcome.name, Some(outcome.place.clone()));
    if !outcome.good {
        let reasons = outcome.reasons.iter().map(|reason| format!("\n{reason}"));
        let text = format!(
            "expected {}, found {}{}",
            outcome.expected,
            outcome.found,
            reasons.collect::<String>()
        );
        check.state = State::Bad {
            code: "UNEXPECTED".to_owned(),
            text,
        };
    }
    check
}
