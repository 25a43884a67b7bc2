//! Inputs that are no components: node.yml and the files beside it that it names (law of the gate 8).

use std::fmt;

use serde::Serialize;

use super::component::Gate;
use super::image::collect;
use crate::config::spec::Spec;
use crate::digest::Digest;
use crate::failure::{Code, Failure, Place, Refusal};
use crate::policy::SpecRequirement;
use crate::seal::statement::InputRecord;
use crate::trust::Bundle;

/// Whether anybody vouches for an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum InputState {
    /// The policy's `spec:` does.
    #[serde(rename = "ADMITTED")]
    Admitted,
    /// Nobody does, and the policy does not ask.
    #[serde(rename = "UNSIGNED INPUT")]
    Unsigned,
}

/// How an input that is no component was admitted.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InputVerdict {
    /// Whether anybody vouches for it.
    pub state: InputState,
    /// The input's path as the build was given it.
    pub name: String,
    /// Where the specification names it; its own first line for the specification itself.
    pub place: Place,
    /// Its digest.
    pub digest: Digest,
    /// What vouches for it.
    pub admitted_by: Option<String>,
    /// The policy's name of the trust root and the metadata from which the look-up can be repeated, where one was made.
    #[serde(skip)]
    pub metadata: Option<(String, Bundle)>,
}

impl InputVerdict {
    fn new(place: Place, input: &InputRecord, admitted: Option<Vouched>) -> Self {
        let state = match admitted {
            Some(_) => InputState::Admitted,
            None => InputState::Unsigned,
        };
        let (admitted_by, metadata) = admitted.map(|vouched| (vouched.by, vouched.metadata)).unzip();
        Self {
            state,
            name: input.name.clone(),
            place,
            digest: input.digest,
            admitted_by,
            metadata: metadata.flatten(),
        }
    }
}

impl fmt::Display for InputVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, place, digest) = (&self.name, &self.place, self.digest.short());
        match &self.admitted_by {
            Some(by) => write!(f, "INPUT {name} ({place}) {digest} {by}"),
            None => write!(f, "UNSIGNED INPUT {name} ({place}) {digest}"),
        }
    }
}

/// What vouches for an input.
struct Vouched {
    by: String,
    metadata: Option<(String, Bundle)>,
}

/// Says what vouches for each of `inputs`: the specification first, then the files that it names. Refusals are collected.
///
/// A refusal (UNSIGNED_INPUT, DIGEST_MISMATCH …) stands where the specification names the file; about the specification itself,
/// where the policy says what it has to be.
///
/// # Errors
/// The first failure that is not a refusal.
pub fn admit_inputs<'a>(
    gate: &Gate<'_>,
    spec: &Spec,
    inputs: impl IntoIterator<Item = &'a InputRecord>,
    refusals: &mut Vec<Refusal>,
) -> Result<Vec<InputVerdict>, Failure> {
    let mut verdicts = Vec::new();
    for (at, input) in inputs.into_iter().enumerate() {
        let named = place(spec, at, input);
        let blamed = match at {
            0 => gate.policy.spec_place().cloned(),
            _ => Some(named.clone()),
        };
        let vouched = vouched(gate, input).map_err(|failure| failure.at(blamed.as_ref()));
        let verdict = vouched.map(|vouched| verdicts.push(InputVerdict::new(named, input, vouched)));
        collect(refusals, verdict)?;
    }
    Ok(verdicts)
}

/// Says of each of `inputs`, the specification first, that nothing vouches for it, as nothing was asked.
pub fn unjudged_inputs<'a>(spec: &Spec, inputs: impl IntoIterator<Item = &'a InputRecord>) -> Vec<InputVerdict> {
    let inputs = inputs.into_iter().enumerate();
    inputs
        .map(|(at, input)| InputVerdict::new(place(spec, at, input), input, None))
        .collect()
}

/// Finds where an input is named; `at` is 0 for the specification itself.
fn place(spec: &Spec, at: usize, input: &InputRecord) -> Place {
    let mut named = spec.sources().into_iter();
    let named = named.find(|(name, ..)| at > 0 && *name == input.name);
    named.map_or_else(
        || Place {
            file: input.name.clone(),
            line: 1,
            column: 1,
        },
        |(.., place)| place.clone(),
    )
}

fn vouched(gate: &Gate<'_>, InputRecord { name, digest, .. }: &InputRecord) -> Result<Option<Vouched>, Failure> {
    let (by, metadata) = match gate.policy.spec() {
        None => return Ok(None),
        Some(SpecRequirement::Digests(digests)) if digests.contains(digest) => {
            ("a digest in the policy".to_owned(), None)
        }
        Some(SpecRequirement::Digests(_)) => {
            let advice = "use the specification that was approved, or have the new one approved";
            let expected = "one of the digests that the policy lists under `spec:`";
            return Err(Refusal::new(Code::UnsignedInput, name, expected, digest, advice).into());
        }
        Some(SpecRequirement::Signed(demand)) => {
            let target = gate.anchors.input(name, demand, digest, gate.at)?;
            let by = format!("role `{}` of root `{}` ({})", demand.role, demand.root, target.name());
            (by, Some((demand.root.clone(), target.bundle().clone())))
        }
    };
    Ok(Some(Vouched { by, metadata }))
}
