//! What the deciding rule makes of each piece beside an image: whether the gate counts it, for what, else why not.
//!
//! - A piece is taken only where it is among those that the gate itself counts for a requirement, judged with everything that lies
//!   beside the image.
//! - Why another one is not is what the same judgement says of it alone; what is of no kind that a requirement asks for, or good and not needed
//!   beside what is taken, has no answer.

use super::sigstore::{Counted, Piece, key};
use super::{Answer, Facts};
use crate::attest::predicate::TREE;
use crate::failure::{Code, Failure, Place, Refusal};
use crate::policy::{Condition, Demand, Requirement, Rule, Signer, SigstoreSigner};
use crate::sigstore::attachment::{Attachment, Evidence, Wanted};

/// What a policy makes of what lies beside an image.
#[derive(Clone, Debug)]
pub struct Weighed {
    /// The rule that decides, or why none does: none matches, or the image is forbidden.
    pub rule: Result<Rule, Vec<Refusal>>,
    /// Of each piece, in their order, the requirements of the rule that ask for its kind.
    pub pieces: Vec<Vec<Weight>>,
}

/// What one requirement makes of one piece.
#[derive(Clone, Debug)]
pub struct Weight {
    /// The requirement, in words.
    pub requirement: String,
    /// Where the policy demands it.
    pub place: Place,
    /// The policy's name of the signer, where it has one.
    pub signer: Option<String>,
    /// What was signed and by whom, where it is by whom the requirement names.
    pub evidence: Option<Evidence>,
    /// What comes of it.
    pub stand: Stand,
}

/// What comes of a piece at a requirement.
#[derive(Clone, Debug)]
pub enum Stand {
    /// The gate does not count it.
    Refused {
        /// Why, for machines.
        code: Code,
        /// Why, for people.
        found: String,
    },
    /// The gate counts it.
    Taken,
    /// It could not be found out.
    Unknown(Failure),
}

impl Stand {
    fn refused(refusals: &[Refusal]) -> Self {
        Self::Refused {
            code: refusals.first().map_or(Code::Requirements, |refusal| refusal.code),
            found: Answer::found_in(refusals),
        }
    }

    fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Refused(refusals) => Self::refused(refusals),
            other => Self::Unknown(other.clone()),
        }
    }
}

/// A requirement of a key or an identity.
struct Asking<'a> {
    by: &'a SigstoreSigner,
    wanted: Wanted<'a>,
    condition: Option<&'a Condition>,
}

impl Facts<'_> {
    /// Says of each piece what each of the requirements of keys and identities makes of it.
    ///
    /// # Errors
    /// Wrong input of the user's, as [`Facts::judge`].
    pub(in crate::verify) fn weigh(
        &self,
        requirement: &Requirement,
        pieces: &[Attachment],
    ) -> Result<Vec<Vec<Weight>>, Failure> {
        let mut all = vec![Vec::new(); pieces.len()];
        for leaf in requirement.leaves() {
            let (name, asking) = match &leaf.demand {
                Demand::Signed {
                    name,
                    by: Signer::Sigstore(by),
                } => {
                    let wanted = Wanted::Signature;
                    (
                        name,
                        Asking {
                            by,
                            wanted,
                            condition: None,
                        },
                    )
                }
                Demand::Attested {
                    kind,
                    name,
                    by,
                    condition,
                } => {
                    let (wanted, condition) = (Wanted::Attestation(kind.uri()), condition.as_ref());
                    (name, Asking { by, wanted, condition })
                }
                _ => continue,
            };
            let counted = match asking.wanted {
                Wanted::Signature => self.signature_with_tree(asking.by).map(|(pieces, _)| pieces),
                Wanted::Attestation(kind) => self.attestations(leaf, kind, asking.by, asking.condition),
            };
            if let Err(failure @ Failure::Malformed { .. }) = counted {
                return Err(failure);
            }
            for (piece, weights) in pieces.iter().zip(&mut all) {
                if let Some((stand, evidence)) = self.stand(piece, &asking, &counted)? {
                    weights.push(Weight {
                        requirement: leaf.to_string(),
                        place: leaf.place.clone(),
                        signer: name.clone(),
                        evidence,
                        stand,
                    });
                }
            }
        }
        Ok(all)
    }

    /// Says what one requirement makes of a piece; nothing where it asks for no such thing, or needs no more of it.
    fn stand(
        &self,
        piece: &Attachment,
        asking: &Asking<'_>,
        counted: &Result<Vec<Piece>, Failure>,
    ) -> Result<Option<(Stand, Option<Evidence>)>, Failure> {
        if let Ok(counted) = counted
            && let Some(counted) = counted.iter().find(|counted| counted.key() == key(piece))
        {
            return Ok(Some((Stand::Taken, Some(counted.evidence.clone()))));
        }
        let alone = |wanted| self.look(std::slice::from_ref(piece), asking.by, wanted);
        let mut looked = alone(asking.wanted)?;
        // A signer of the image may sign its tree in an attestation of its own.
        if looked.is_of_another_kind() && asking.wanted == Wanted::Signature {
            looked = alone(Wanted::Attestation(TREE))?;
        }
        let Counted { judged, good } = looked;
        if let Some(unknown) = judged.unknown.first() {
            return Ok(Some((Stand::Unknown(unknown.clone()), None)));
        }
        if let Some(rejected) = judged.rejected.first() {
            let (code, found) = (rejected.code, rejected.reason.clone());
            return Ok(Some((Stand::Refused { code, found }, None)));
        }
        let Some(by) = good.first().map(|piece| piece.evidence.clone()) else {
            return Ok(None);
        };
        if let Err(found) = self.saying(&good, asking.condition) {
            let code = Code::Condition;
            return Ok(Some((Stand::Refused { code, found }, Some(by))));
        }
        // Good by itself: what stands against it is what lies beside it, or it is not needed.
        let against = counted.as_ref().err().map(Stand::of);
        Ok(against.map(|stand| (stand, Some(by))))
    }
}
