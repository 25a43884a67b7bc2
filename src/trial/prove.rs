//! What every policy has to refuse, shown of this one: unsigned, wrongly signed, expired and rolled-back images.

use std::path::Path;

use serde::Serialize;

use super::disk::{Finished, SealedBy};
use super::{Fault, Given, LONG_AGO, OLDEST, Trial};
use crate::failure::{Failure, Place};
use crate::policy::{Decision, Demand, Policy, Requirement, Rule, Signer};
use crate::reference::Reference;
use crate::time::Time;
use crate::verify::Pins;

/// An epoch that is higher than any that a policy demands in earnest, and lower than the highest there is.
const EPOCH: u64 = 1 << 40;

/// What was shown of one rule, or of the image as a whole.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// The rule's pattern, or `image`.
    pub about: String,
    /// Where the policy says it.
    pub place: Option<Place>,
    /// The name of the images that were made up.
    pub reference: Option<String>,
    /// What was tried.
    pub trials: Vec<Shown>,
    /// What could not be tried, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_shown: Option<String>,
}

/// One thing that was tried.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// What was made up.
    pub image: &'static str,
    /// Whether it has to be admitted.
    pub expected: &'static str,
    /// `admitted`, reason codes, or why it could not be found out.
    pub found: String,
    /// Whether it came out as it has to.
    pub good: bool,
}

impl Shown {
    fn new(image: &'static str, admit: bool, verdict: &Result<(), Failure>) -> Self {
        let (found, good) = match verdict {
            Ok(()) => ("admitted".to_owned(), admit),
            Err(Failure::Refused(refusals)) => {
                let codes: Vec<String> = refusals.iter().map(|refusal| refusal.code.to_string()).collect();
                (codes.join(" "), !admit)
            }
            Err(failure) => (failure.to_string(), false),
        };
        Self {
            image,
            expected: if admit { "admitted" } else { "refused" },
            found,
            good,
        }
    }
}

/// Tries a policy; `known` is as [`Trial::new`] takes it, `scratch` where finished images are built for a moment.
///
/// # Errors
/// [`Failure`] when the trial itself cannot be made.
pub fn prove(policy: &Policy, at: Time, known: &Pins, scratch: &Path) -> Result<Vec<Proof>, Failure> {
    let trial = Trial::new(policy, at, known)?;
    let mut proofs = Vec::new();
    let mut admitted = None;
    for forbidden in policy.forbidden() {
        let reference = forbidden.pattern.names().next();
        proofs.push(trial.denied(&format!("forbid {}", forbidden.pattern), &forbidden.place, reference)?);
    }
    for rule in policy.rules() {
        let reference = decided_by(policy, rule);
        let proof = match &rule.decision {
            Decision::Denied { .. } => trial.denied(&rule.pattern.to_string(), &rule.place, reference)?,
            Decision::Required(requirement) => trial.required(rule, requirement, reference.as_ref())?,
            Decision::Unsigned => trial.unsigned(rule, reference.as_ref())?,
        };
        if proof.trials.first().is_some_and(|twin| twin.found == "admitted") && admitted.is_none() {
            admitted = decided_by(policy, rule);
        }
        proofs.push(proof);
    }
    proofs.push(trial.image(admitted.as_ref(), scratch)?);
    Ok(proofs)
}

/// Finds a name about which this rule decides, and nothing before it.
fn decided_by(policy: &Policy, rule: &Rule) -> Option<Reference> {
    let guns: Vec<&str> = match &rule.decision {
        Decision::Required(requirement) => guns(policy, requirement).collect(),
        Decision::Denied { .. } | Decision::Unsigned => Vec::new(),
    };
    // A Notary collection speaks of its own repository alone: with one, that is tried before others.
    let of_guns = rule.pattern.names().flat_map(|name| {
        let tag = name.tag().map(str::to_owned);
        guns.iter().filter_map(move |gun| match &tag {
            Some(tag) => format!("{gun}:{tag}").parse().ok(),
            None => None,
        })
    });
    let of_guns: Vec<Reference> = of_guns.filter(|name| rule.pattern.matches(name)).collect();
    let names = of_guns.into_iter().chain(rule.pattern.names());
    let mut free = names.filter(|reference| policy.forbids(reference).is_none());
    free.find(|reference| {
        policy
            .rule_for(reference)
            .is_some_and(|decides| decides.place == rule.place)
    })
}

/// Returns the repositories of the Notary collections whose roles a requirement names.
fn guns<'p>(policy: &'p Policy, requirement: &Requirement) -> impl Iterator<Item = &'p str> {
    let roots: Vec<String> = requirement
        .signers()
        .into_iter()
        .filter_map(|(_, by)| match by {
            Signer::Role(by) => Some(by.root),
            Signer::Sigstore(_) => None,
        })
        .collect();
    let named = policy
        .roots()
        .filter(move |(name, _)| roots.iter().any(|root| root == name));
    named.filter_map(|(_, root)| root.gun.as_deref())
}

impl Trial<'_> {
    /// Shows that an image which everybody signed whom the policy names is denied.
    fn denied(&self, about: &str, place: &Place, reference: Option<Reference>) -> Result<Proof, Failure> {
        let everybody = self.keys.all();
        let given = Given {
            signed: everybody,
            ..Given::default()
        };
        let trials = match &reference {
            Some(reference) => vec![Shown::new(
                "signed by everybody",
                false,
                &self.component(reference, &given)?,
            )],
            None => Vec::new(),
        };
        Ok(proof(about.to_owned(), place, reference.as_ref(), trials))
    }

    fn required(
        &self,
        rule: &Rule,
        requirement: &Requirement,
        reference: Option<&Reference>,
    ) -> Result<Proof, Failure> {
        let Some(reference) = reference else {
            return Ok(proof(rule.pattern.to_string(), &rule.place, None, Vec::new()));
        };
        let good = self.well_signed(requirement);
        let with = |fault| Given {
            fault: Some(fault),
            ..good.clone()
        };
        let unsigned = Given {
            signed: Vec::new(),
            attached: Vec::new(),
            attested: Vec::new(),
            ..good.clone()
        };
        let twin = self.component(reference, &good)?;
        let leaves = requirement.leaves();
        let any = |is: fn(&Demand) -> bool| leaves.iter().any(|leaf| is(&leaf.demand));
        let mut not_shown = Vec::new();
        let mut trials = Vec::new();
        if twin.is_ok() || !any(cannot_be_made_up) {
            trials.push(Shown::new("well signed", true, &twin));
        } else {
            not_shown.push(
                "that a good one is admitted: it has to have a listed digest, or an attestation that says what no made-up one does",
            );
        }
        let mut tries = vec![
            ("unsigned", unsigned),
            ("wrongly signed", with(Fault::WrongKey)),
            ("another one than was signed", with(Fault::OtherImage)),
        ];
        // The word of a key or an identity stands for ever; only what else is demanded of the image can make it old.
        let timeless = any(is_timeless);
        if timeless && !any(|demand| matches!(demand, Demand::MaxAge(_))) {
            not_shown.push("that an expired one is refused: what keys and identities sign does not expire, and no `maxAge` is demanded");
        } else {
            let mut expired = with(Fault::Expired);
            expired.created = timeless.then(|| self.at.plus(-LONG_AGO));
            tries.push(("signed, but expired", expired));
        }
        if timeless && !any(|demand| matches!(demand, Demand::MinVersion(_))) {
            not_shown.push(
                "that a rolled-back one is refused: what keys and identities sign stays good, and no `minVersion` is demanded",
            );
        } else {
            let mut rolled_back = with(Fault::RolledBack);
            if timeless {
                rolled_back.version = Some(OLDEST.to_owned());
            }
            tries.push(("signed, but rolled back", rolled_back));
        }
        for (image, given) in tries {
            trials.push(Shown::new(image, false, &self.component(reference, &given)?));
        }
        let mut proof = proof(rule.pattern.to_string(), &rule.place, Some(reference), trials);
        proof.not_shown = (!not_shown.is_empty()).then(|| not_shown.join("; "));
        Ok(proof)
    }

    /// Shows what a rule does that asks for nothing: it admits what it must not, whether or not a name is found that it decides about.
    fn unsigned(&self, rule: &Rule, reference: Option<&Reference>) -> Result<Proof, Failure> {
        let verdict = match reference {
            Some(reference) => self.component(reference, &Given::default())?,
            None => Ok(()),
        };
        let trials = vec![Shown::new("unsigned", false, &verdict)];
        Ok(proof(rule.pattern.to_string(), &rule.place, reference, trials))
    }

    /// Shows what the policy does with finished images.
    fn image(&self, reference: Option<&Reference>, scratch: &Path) -> Result<Proof, Failure> {
        let image = self.policy.image();
        let mut proof = Proof {
            about: "image".to_owned(),
            place: image.place("sealed").cloned(),
            reference: reference.map(ToString::to_string),
            trials: Vec::new(),
            not_shown: None,
        };
        let (Some(demand), Some(reference)) = (&image.sealed, reference) else {
            let lacks = if image.sealed.is_none() {
                "the policy does not say who may seal"
            } else {
                "no component is admitted"
            };
            proof.not_shown = Some(format!("anything about finished images: {lacks}"));
            return Ok(proof);
        };
        let epoch = image.min_epoch.max(EPOCH);
        let finished = match Finished::build(self, reference, self.at, epoch, scratch) {
            Ok(finished) => finished,
            Err(failure) => {
                proof.not_shown = Some(format!("anything about finished images: {failure}"));
                return Ok(proof);
            }
        };
        let mut show = |image, admit, by, now, seen| {
            proof
                .trials
                .push(Shown::new(image, admit, &finished.verdict(by, now, seen)));
        };
        let now = self.at;
        show("sealed as the policy asks", true, SealedBy::Role, now, None);
        show("not sealed", false, SealedBy::Nobody, now, None);
        show("sealed by another key", false, SealedBy::Stranger, now, None);
        if demand.threshold > 1 {
            show("sealed by one key too few", false, SealedBy::TooFew, now, None);
        }
        show(
            "rolled back below an epoch seen before",
            false,
            SealedBy::Role,
            now,
            Some(epoch + 1),
        );
        show("of the future", false, SealedBy::Role, now.plus(-3600), None);
        if let Some(most) = image.max_age {
            show("older than maxAge", false, SealedBy::Role, now.plus(most + 1), None);
        }
        if image.max_age.is_none() {
            proof.not_shown = Some("that an old image is refused: the policy has no `maxAge`".to_owned());
        }
        Ok(proof)
    }
}

/// Tells whether no made-up image may be able to satisfy a demand.
fn cannot_be_made_up(demand: &Demand) -> bool {
    matches!(
        demand,
        Demand::Attested { condition: Some(_), .. } | Demand::DigestIn(_)
    )
}

/// Tells whether what satisfies a demand does so for ever.
fn is_timeless(demand: &Demand) -> bool {
    let sigstore = |by: &Signer| matches!(by, Signer::Sigstore(_));
    match demand {
        Demand::Attested { .. } => true,
        Demand::Signed { by, .. } => sigstore(by),
        _ => false,
    }
}

fn proof(about: String, place: &Place, reference: Option<&Reference>, trials: Vec<Shown>) -> Proof {
    let not_shown = reference
        .is_none()
        .then(|| "anything: no name was found about which this decides".to_owned());
    Proof {
        about,
        place: Some(place.clone()),
        reference: reference.map(ToString::to_string),
        trials,
        not_shown,
    }
}
