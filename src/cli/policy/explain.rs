//! `imgkit policy explain REF|DISK`: which rule decides, what was found of each requirement, what would satisfy it.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::super::disk::{DiskArg, Opened};
use super::super::{Context, Report};
use super::gate::GateOptions;
use super::verify::{describe_refusal, explanation_checks};
use crate::failure::Failure;
use crate::policy::Rule;
use crate::reference::Reference;
use crate::verify::disk::read_seal;
use crate::verify::{Answer, Explanation, Outcome, Question, explain_seal};

/// Explains a decision.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The image's name; or a finished disk (.img, .raw, .qcow2), or the .seal of a set of files
    #[arg(value_name = "REF|DISK")]
    subject: String,
    #[command(flatten)]
    gate: GateOptions,
}

impl Explain {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        match DiskArg::named(Path::new(&self.subject)) {
            Some(disk) => self.disk(context, &disk),
            None => self.reference(context),
        }
    }

    fn reference(&self, context: &Context) -> Result<Report, Failure> {
        let reference: Reference = self.subject.parse().map_err(|error| {
            let problem = format!("{error}; a disk is named by its file, ending in .img, .raw, .qcow2 or .seal");
            Failure::malformed(&self.subject, problem)
        })?;
        let ready = self.gate.ready(context)?;
        Ok(report(&[ready.gate().explain(&reference, &ready.supply())?]))
    }

    fn disk(&self, context: &Context, disk: &DiskArg) -> Result<Report, Failure> {
        let (policy, pins) = self.gate.policy()?;
        let subject = disk.subject();
        let sealed = match disk.open()? {
            Opened::Disk(guest) => read_seal(&subject, &guest)?.1,
            Opened::Files(sealed, _) => *sealed,
        };
        let question = Question {
            subject: &subject,
            policy: &policy,
            pins: &pins,
            now: context.now()?,
            files: false,
            fresh: None,
            memory: None,
        };
        Ok(report(&explain_seal(&question, &sealed)?))
    }
}

fn report(explanations: &[Explanation]) -> Report {
    let mut text = String::new();
    for explanation in explanations {
        describe(&mut text, explanation);
    }
    let json: Vec<Value> = explanations.iter().map(as_json).collect();
    let json = match <[Value; 1]>::try_from(json) {
        Ok([only]) => only,
        Err(all) => json!({ "subjects": all }),
    };
    Report {
        checks: explanations.iter().flat_map(explanation_checks).collect(),
        ..Report::of_verdicts(text, json, explanations.iter().map(|explanation| &explanation.verdict))
    }
}

fn word_of(explanation: &Explanation) -> &'static str {
    match &explanation.verdict {
        Ok(()) => "ADMITTED",
        Err(Failure::Refused(_)) => "REFUSED",
        Err(_) => "UNKNOWN",
    }
}

fn describe(text: &mut String, explanation: &Explanation) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}  {}", explanation.subject, word_of(explanation));
    if let Some(rule) = &explanation.rule {
        let Rule { pattern, place, .. } = rule;
        let _ = writeln!(text, "  rule {pattern} ({place}): {rule}");
    }
    if let Some(answer) = &explanation.answer {
        describe_answer(text, answer, 1);
    }
    match &explanation.verdict {
        Ok(()) => {}
        Err(Failure::Refused(refusals)) => {
            let _ = refusals.iter().try_for_each(|refusal| describe_refusal(text, refusal));
        }
        Err(failure) => {
            let _ = writeln!(text, "  {failure}");
        }
    }
}

fn describe_answer(text: &mut String, answer: &Answer, depth: usize) {
    let word = match answer.outcome {
        Outcome::Met => "yes",
        Outcome::Unmet => "no ",
        Outcome::Unknown => "?  ",
    };
    let margin = "  ".repeat(depth);
    let _ = writeln!(text, "{margin}{word} {} ({})", answer.requirement, answer.place);
    if answer.parts.is_empty() {
        let _ = writeln!(text, "{margin}    found: {}", answer.found);
        if let Some(advice) = &answer.advice {
            let _ = writeln!(text, "{margin}    to do: {advice}");
        }
    }
    for part in &answer.parts {
        describe_answer(text, part, depth + 1);
    }
}

fn as_json(explanation: &Explanation) -> Value {
    let rule = explanation.rule.as_ref();
    let refusals = match &explanation.verdict {
        Err(Failure::Refused(refusals)) => json!(refusals),
        _ => json!([]),
    };
    let problem = match &explanation.verdict {
        Err(failure @ Failure::Unavailable { .. }) => Some(failure.to_string()),
        _ => None,
    };
    json!({
        "reference": explanation.subject,
        "rule": rule.map(|rule| rule.pattern.to_string()),
        "place": rule.map(|rule| &rule.place),
        "demands": rule.map(ToString::to_string),
        "verdict": word_of(explanation).to_lowercase(),
        "requirement": explanation.answer,
        "signed": explanation.standing.as_ref().map(|standing| &standing.signed),
        "refusals": refusals, "problem": problem,
    })
}
