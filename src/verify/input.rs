//! Inputs that are no components: node.yml and the files beside it that it names (law of the gate 8).

use serde::Serialize;

use super::anchors::Admitted;
use super::component::Gate;
use super::image::collect;
use crate::config::spec::Spec;
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::policy::SpecRequirement;
use crate::seal::statement::InputRecord;
use crate::trust::Bundle;

/// How an input that is no component was admitted.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InputVerdict {
    /// The input's path as the build was given it.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// What vouches for it; `None` is an UNSIGNED INPUT.
    pub admitted_by: Option<String>,
    /// The policy's name of the trust root and the metadata from which the look-up can be repeated, where one was made.
    #[serde(skip)]
    pub metadata: Option<(String, Bundle)>,
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
        let mut named = spec.sources().into_iter();
        let place = match at {
            0 => gate.policy.spec_place(),
            _ => named.find(|(name, ..)| *name == input.name).map(|(.., place)| place),
        };
        let verdict = admit(gate, input).map(|verdict| verdicts.push(verdict));
        collect(refusals, verdict.map_err(|failure| failure.at(place)))?;
    }
    Ok(verdicts)
}

fn admit(gate: &Gate<'_>, InputRecord { name, digest, .. }: &InputRecord) -> Result<InputVerdict, Failure> {
    let mut metadata = None;
    let admitted_by = match gate.policy.spec() {
        None => None,
        Some(SpecRequirement::Digests(digests)) if digests.contains(digest) => {
            Some("a digest in the policy".to_owned())
        }
        Some(SpecRequirement::Digests(_)) => {
            let advice = "use the specification that was approved, or have the new one approved";
            let expected = "one of the digests that the policy lists under `spec:`";
            return Err(Refusal::new(Code::UnsignedInput, name, expected, digest, advice).into());
        }
        Some(SpecRequirement::Signed(demand)) => {
            let Admitted { target, demand } = gate.anchors.input(name, demand, digest, gate.at)?;
            metadata = Some((demand.root.clone(), target.bundle().clone()));
            Some(format!(
                "role `{}` of root `{}` ({})",
                demand.role,
                demand.root,
                target.name()
            ))
        }
    };
    Ok(InputVerdict {
        name: name.clone(),
        digest: *digest,
        admitted_by,
        metadata,
    })
}
