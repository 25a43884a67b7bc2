//! Today's metadata: is what was good when the image was built good still? (law of the gate 5)
//!
//! Embedded metadata are judged at an instant that the sealer wrote. Who stole a seal key can write one before the key was taken
//! from its role; today's metadata know of that.

use super::anchors::Anchors;
use super::component::Gate;
use super::image::{Offline, Question, collect, components};
use super::input::admit_inputs;
use super::seal::{Opened, check_signatures};
use crate::config::spec::Spec;
use crate::failure::{Failure, Refusal};
use crate::oci::Platform;
use crate::seal::Sealed;
use crate::time::Time;

/// Judges seal, inputs and components by today's metadata, at this moment.
///
/// # Errors
/// Refusals (REVOKED, UNSIGNED, DIGEST_MISMATCH …); ROLLBACK and EXPIRED where today's metadata are older than those in the seal or
/// than those trusted before, or past their time; and why they could not be found out.
pub(super) fn check(
    question: &Question<'_>,
    fresh: &Anchors,
    sealed: &Sealed,
    opened: &Opened,
    spec: &Spec,
) -> Result<(), Failure> {
    let Question {
        subject, policy, now, ..
    } = *question;
    fresh.check_not_older(&opened.anchors, sealed.evaluated_at, now)?;
    let predicate = &opened.statement.predicate;
    let mut refusals = Vec::new();
    if let Some(demand) = &policy.image().sealed {
        let role = fresh.role(subject, demand, now)?;
        let signers = check_signatures(subject, sealed, demand, role);
        let signers = signers.map_err(|failure| failure.at(policy.image().place("sealed")));
        collect(&mut refusals, signers.map(drop))?;
    }
    let platform = Platform::new("linux", &*predicate.arch);
    let gate = Gate {
        policy,
        anchors: fresh,
        at: now,
        platform: &platform,
    };
    let inputs = std::iter::once(&predicate.spec).chain(&predicate.sources);
    admit_inputs(&gate, spec, inputs, &mut refusals)?;
    let supply = Offline(&opened.statement, &opened.evidence);
    components(&gate, spec, &supply, &mut refusals)?;
    match refusals.is_empty() {
        true => Ok(()),
        false => Err(Failure::Refused(
            refusals.into_iter().map(|refusal| by_today(refusal, now)).collect(),
        )),
    }
}

/// Says by which metadata something is refused that the metadata in the seal let pass.
fn by_today(mut refusal: Refusal, now: Time) -> Refusal {
    refusal.expected = format!("{}, by the metadata of today, {now}", refusal.expected);
    refusal
}
