//! `imgkit policy prove FILE`: shows with throw-away keys what the policy refuses.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::judge::{EnvironmentOption, pins_at_hand};
use super::super::report::{Check, State};
use super::super::{Context, Report};
use crate::failure::Failure;
use crate::trial::prove::prove;

/// Proves a policy.
#[derive(Debug, Args)]
pub(super) struct Prove {
    /// The policy file
    file: PathBuf,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl Prove {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let policy = self.environment.policy(&self.file)?;
        let known = pins_at_hand(&self.file, &policy)?;
        let proofs = prove(&policy, context.now()?, &known, &context.scratch_dir())?;
        let mut text = String::new();
        let mut checks = Vec::new();
        for proof in &proofs {
            let place = proof
                .place
                .as_ref()
                .map(|place| format!(" ({place})"))
                .unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}{place}", proof.about);
            for shown in &proof.trials {
                let mut check = Check::good(format!("{}: {}", proof.about, shown.image), proof.place.clone());
                if !shown.good {
                    check.state = State::Bad {
                        code: "UNEXPECTED".to_owned(),
                        text: format!("it has to be {}, found {}", shown.expected, shown.found),
                    };
                }
                checks.push(check);
                let word = if shown.good { "ok " } else { "NO " };
                let _ = writeln!(text, "  {word} {}: {}", shown.image, shown.found);
            }
            if let Some(what) = &proof.not_shown {
                let _ = writeln!(text, "  not shown: {what}");
            }
        }
        let good = proofs.iter().flat_map(|proof| &proof.trials).all(|shown| shown.good);
        let _ = writeln!(
            text,
            "{}",
            match good {
                true => "the policy refuses what has to be refused, as far as it is shown above",
                false => "the policy does not refuse all that has to be refused; see the lines with NO",
            }
        );
        let json = json!({ "policy": policy.digest(), "environment": policy.environment(), "proofs": proofs });
        Ok(Report {
            yes: good,
            checks,
            ..Report::new(text, json)
        })
    }
}
