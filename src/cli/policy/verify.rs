//! `imgkit policy verify REF…`: whether a policy admits images, for those who deploy them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::super::report::{Check, State, UNAVAILABLE};
use super::super::{Context, Report};
use super::gate::{GateOptions, Ready};
use crate::digest::Digest;
use crate::failure::{Failure, Refusal};
use crate::reference::Reference;
use crate::seal::statement::Admission;
use crate::store::verdicts::{Kept, Verdicts};
use crate::time::{DAY, Time};
use crate::verify::{Explanation, Standing, Supply as _};

/// Verifies images.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The images' names
    #[arg(value_name = "REF", required = true)]
    images: Vec<Reference>,
    /// Judge every image anew, even where an earlier verdict holds still
    #[arg(long)]
    no_cache: bool,
    #[command(flatten)]
    gate: GateOptions,
}

/// What was found of one image.
enum Found {
    Kept(Box<Kept>),
    Judged(Box<Explanation>),
}

impl Verify {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let ready = self.gate.ready(context)?.asking_first();
        // A verdict of another time is nobody's but whoever asks for it.
        let is_kept = !self.no_cache && !self.gate.is_of_another_time();
        let today = ready.anchors.today()?;
        let kept = match is_kept {
            true => verdicts(context, &ready, &today, &ready.anchors.trusted_before())?.load(),
            false => BTreeMap::new(),
        };
        let supply = ready.supply();
        let gate = ready.gate();
        let judge = |image: &Reference| -> Result<(Reference, Found), Failure> {
            if let Some(kept) = kept.get(&image.to_string())
                && let Ok(document) = supply.document(image)
                && kept.holds(&document, ready.at)
            {
                return Ok((image.clone(), Found::Kept(Box::new(kept.clone()))));
            }
            let explanation = gate.verdict(image, &supply)?;
            Ok((image.clone(), Found::Judged(Box::new(explanation))))
        };
        let found: Vec<(Reference, Found)> = self.images.par_iter().map(judge).collect::<Result<_, _>>()?;
        self.gate.trust.remember(context, &ready.anchors, ready.at)?;
        if is_kept && let Err(failure) = self.keep(context, &ready, &today, &found) {
            context.warn(&format!("the verdicts are not kept: {failure}"));
        }
        Ok(report(&found))
    }

    /// Keeps what was admitted, unless somebody published meanwhile: then it may rest on what is no longer so.
    fn keep(
        &self,
        context: &Context,
        ready: &Ready,
        today: &Digest,
        found: &[(Reference, Found)],
    ) -> Result<(), Failure> {
        let admitted = found.iter().filter_map(|(image, found)| {
            let Found::Judged(explanation) = found else { return None };
            let standing = explanation.standing.as_ref()?;
            // What never expires is judged anew once a day.
            let most = ready.at.plus(DAY);
            let kept = Kept {
                document: standing.document,
                admitted: standing.admitted.clone(),
                signed: standing.signed.clone(),
                judged_at: ready.at,
                until: standing.until.map_or(most, |until| until.min(most)),
            };
            Some((image.to_string(), kept))
        });
        let admitted: BTreeMap<String, Kept> = admitted.collect();
        if admitted.is_empty() {
            return Ok(());
        }
        // What was just trusted is what will have been trusted before.
        let anchors = self.gate.trust.anchors(context, &ready.pins)?;
        match anchors.today()? == *today {
            true => verdicts(context, ready, today, &anchors.trusted_before())?.keep(admitted, ready.at),
            false => Ok(()),
        }
    }
}

/// Names the verdicts that rest on the same: policy, what it pins, today's metadata, what was trusted before, platform, release.
fn verdicts(context: &Context, ready: &Ready, today: &Digest, trusted_before: &Digest) -> Result<Verdicts, Failure> {
    let basis = format!(
        "imgkit {} policy {} today {today} before {trusted_before} platform {}",
        env!("CARGO_PKG_VERSION"),
        ready.policy.digest(),
        ready.platform,
    );
    let dir = context.xdg_dir("STATE", ".local/state")?.join("verdicts");
    Ok(Verdicts::at(dir, Digest::sha256(basis.as_bytes())))
}

fn report(found: &[(Reference, Found)]) -> Report {
    let mut text = String::new();
    for (image, found) in found {
        // Writing to a String cannot fail.
        let _ = match found {
            Found::Kept(kept) => writeln!(
                text,
                "{image}  ADMITTED {} {}; judged {}",
                kept.document.short(),
                kept.admitted,
                kept.judged_at
            ),
            Found::Judged(explanation) => match (&explanation.verdict, &explanation.standing) {
                (Ok(()), Some(standing)) => {
                    writeln!(
                        text,
                        "{image}  ADMITTED {} {}",
                        standing.document.short(),
                        standing.admitted
                    )
                }
                (Ok(()), None) => writeln!(text, "{image}  ADMITTED"),
                (Err(Failure::Refused(refusals)), _) => writeln!(text, "{image}  REFUSED").and_then(|()| {
                    refusals
                        .iter()
                        .try_for_each(|refusal| describe_refusal(&mut text, refusal))
                }),
                (Err(failure), _) => writeln!(text, "{image}  UNKNOWN\n  {failure}"),
            },
        };
    }
    let json = json!({ "images": found.iter().map(|(image, found)| as_json(image, found)).collect::<Vec<_>>() });
    let verdicts = found.iter().filter_map(|(_, found)| match found {
        Found::Judged(explanation) => Some(&explanation.verdict),
        Found::Kept(_) => None,
    });
    Report {
        checks: found.iter().flat_map(|(image, found)| checks(image, found)).collect(),
        ..Report::of_verdicts(text, json, verdicts)
    }
}

/// Describes a refusal below the image's line.
pub(super) fn describe_refusal(text: &mut String, refusal: &Refusal) -> std::fmt::Result {
    let Refusal {
        code,
        expected,
        found,
        advice,
        ..
    } = refusal;
    writeln!(
        text,
        "  {code}\n    expected: {expected}\n    found:    {found}\n    to do:    {advice}"
    )
}

fn as_json(image: &Reference, found: &Found) -> Value {
    let admitted =
        |document: &Digest, admitted: &Admission, signed: &[Value], judged_at: Option<Time>, until: Option<Time>| {
            json!({
                "reference": image, "verdict": "admitted", "document": document, "admitted": admitted, "signed": signed,
                "refusals": [], "judgedBefore": judged_at, "until": until,
            })
        };
    match found {
        Found::Kept(kept) => admitted(
            &kept.document,
            &kept.admitted,
            &kept.signed,
            Some(kept.judged_at),
            Some(kept.until),
        ),
        Found::Judged(explanation) => match (&explanation.verdict, &explanation.standing) {
            (Ok(()), Some(standing)) => {
                let Standing {
                    document,
                    admitted: by,
                    signed,
                    until,
                } = standing;
                admitted(document, by, signed, None, *until)
            }
            (Err(Failure::Refused(refusals)), _) => {
                json!({ "reference": image, "verdict": "refused", "refusals": refusals })
            }
            (verdict, _) => json!({
                "reference": image, "verdict": "unknown", "refusals": [],
                "problem": verdict.as_ref().err().map(ToString::to_string),
            }),
        },
    }
}

fn checks(image: &Reference, found: &Found) -> Vec<Check> {
    let Found::Judged(explanation) = found else {
        return vec![Check::good(image.to_string(), None)];
    };
    explanation_checks(explanation)
}

/// Lists the verdict about an image for other tools' formats.
pub(super) fn explanation_checks(explanation: &Explanation) -> Vec<Check> {
    let place = explanation.rule.as_ref().map(|rule| rule.place.clone());
    match &explanation.verdict {
        Ok(()) => vec![Check::good(&explanation.subject, place)],
        Err(Failure::Refused(refusals)) => refusals.iter().map(Check::refused).collect(),
        Err(failure) => vec![Check {
            name: explanation.subject.clone(),
            place,
            state: State::Unknown {
                code: UNAVAILABLE,
                text: failure.to_string(),
            },
        }],
    }
}
