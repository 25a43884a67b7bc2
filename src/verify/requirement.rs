//! Requirements, judged: whether each holds, what was found, and what would satisfy it.
//!
//! - A signature counts only where role, threshold, document, platform and tree are those that were signed.
//! - A tag is a version only where somebody vouches for it who has to hold with the requirement ([`version`]).
//! - `atLeast` counts signers by distinct keys: one key under two names is one signer.
//! - What could not be found out neither holds nor fails: an `anyOf` beside it may hold all the same, and where none does, the
//!   answer is that it could not be found out.

mod chosen;
mod sigstore;
mod version;
mod weighed;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::anchors::Admitted;
use super::component::{Gate, Supply, check_signed_document, check_signed_image, tree_mismatch};
use crate::digest::Digest;
use crate::failure::{Code, Demanded, Failure, Place, Refusal};
use crate::key::KeyId;
use crate::oci::Image;
use crate::policy::{Demand, Requirement, Rule, Signer, Signers};
use crate::reference::Reference;
use crate::sigstore::attachment::Wanted;
use crate::tree::Tree;
pub(super) use sigstore::Piece;
use sigstore::{Asked, Found};
use version::Vouched;
pub use weighed::{Stand, Weighed, Weight};

/// Whether a requirement holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It holds.
    Met,
    /// It does not.
    Unmet,
    /// It could not be found out.
    Unknown,
}

/// What was found of one requirement.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// What is demanded, in words.
    pub requirement: String,
    /// Where the policy demands it.
    pub place: Place,
    /// Whether it holds.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// Why it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What would satisfy it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The requirements that it is put together from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Answer>,
    /// Whose signatures it counts.
    #[serde(skip)]
    witnesses: BTreeSet<Witness>,
    /// Whether those who signed vouch for the tag as well; `Unmet` where it does not hold.
    #[serde(skip)]
    tag: Outcome,
    /// Whether each of the parts has to hold.
    #[serde(skip)]
    is_all: bool,
    #[serde(skip)]
    failure: Option<Failure>,
}

/// One who signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Witness {
    /// An identity, and its issuer.
    Identity(String, String),
    /// A key by its fingerprint, wherever and by whatever id it is named.
    Key(Digest),
}

/// What a requirement rests on.
#[derive(Clone, Debug, Default)]
pub(super) struct Support {
    /// What roles of collections signed.
    pub(super) roles: Vec<Admitted>,
    /// What keys and identities signed.
    pub(super) pieces: Vec<Piece>,
    /// The tree digest that one of the signers signed, if one did.
    pub(super) tree: Option<Digest>,
}

impl Answer {
    fn new(requirement: &Requirement, outcome: Outcome, found: impl Into<String>) -> Self {
        Self {
            requirement: requirement.to_string(),
            place: requirement.place.clone(),
            outcome,
            found: found.into(),
            code: None,
            advice: None,
            parts: Vec::new(),
            witnesses: BTreeSet::new(),
            tag: Outcome::Unmet,
            is_all: false,
            failure: None,
        }
    }

    /// Makes the answer of what cannot be judged yet.
    fn not_yet(requirement: &Requirement) -> Self {
        Self::new(requirement, Outcome::Met, "not looked at yet")
    }

    /// Makes the answer of a refusal or of not knowing; wrong input of the user's stays a failure.
    fn failed(requirement: &Requirement, failure: Failure) -> Result<Self, Failure> {
        let mut answer = match &failure {
            Failure::Malformed { .. } => return Err(failure),
            Failure::Unavailable { subject, problem } => {
                Self::new(requirement, Outcome::Unknown, format!("{subject}: {problem}"))
            }
            Failure::Refused(refusals) => {
                let mut answer = Self::new(requirement, Outcome::Unmet, Self::found_in(refusals));
                answer.code = refusals.first().map(|refusal| refusal.code);
                answer.advice = refusals.first().map(|refusal| refusal.advice.clone());
                answer
            }
        };
        answer.failure = Some(failure);
        Ok(answer)
    }

    /// Says what refusals found.
    fn found_in(refusals: &[Refusal]) -> String {
        let found: Vec<&str> = refusals.iter().map(|refusal| refusal.found.as_str()).collect();
        found.join("; ")
    }

    /// Gives the verdict about `subject`, which `rule` decides about.
    pub(super) fn verdict(&self, subject: &str, rule: &Rule) -> Result<(), Failure> {
        match self.outcome {
            Outcome::Met => Ok(()),
            Outcome::Unmet => Err(Failure::Refused(self.refusals(subject, rule))),
            Outcome::Unknown => {
                let failure = self.unknown().cloned();
                Err(failure.unwrap_or_else(|| Failure::unavailable(subject, &self.found)))
            }
        }
    }

    /// Finds the first thing that could not be found out.
    fn unknown(&self) -> Option<&Failure> {
        let own = self.failure.as_ref().filter(|_| self.outcome == Outcome::Unknown);
        own.or_else(|| self.parts.iter().find_map(Self::unknown))
    }

    fn refusals(&self, subject: &str, rule: &Rule) -> Vec<Refusal> {
        if self.is_all {
            let unmet = self.parts.iter().filter(|part| part.outcome == Outcome::Unmet);
            return unmet.flat_map(|part| part.refusals(subject, rule)).collect();
        }
        let mut refusals = match &self.failure {
            Some(Failure::Refused(refusals)) => refusals.clone(),
            _ => {
                let advice = self.advice.as_deref().unwrap_or_default();
                let code = self.code.unwrap_or(Code::Requirements);
                vec![Refusal::new(code, subject, &self.requirement, &self.found, advice)]
            }
        };
        for refusal in &mut refusals {
            refusal.demanded = Some(Demanded {
                rule: rule.pattern.to_string(),
                requirement: self.requirement.clone(),
                place: self.place.clone(),
            });
        }
        refusals
    }
}

/// What is known of a component while it is judged; documents, images and trees are looked at once they are at hand.
pub(super) struct Facts<'a> {
    pub(super) gate: &'a Gate<'a>,
    pub(super) reference: &'a Reference,
    supply: &'a dyn Supply,
    /// The digest of the document that the reference stands for.
    document: Option<Digest>,
    image: Option<&'a Image>,
    pub(super) tree: Option<(&'a Tree, Digest)>,
    looked_up: RefCell<BTreeMap<Signers, Result<Admitted, Failure>>>,
    attached: RefCell<BTreeMap<Asked, Found>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(gate: &'a Gate<'a>, reference: &'a Reference, supply: &'a dyn Supply) -> Self {
        Self {
            gate,
            reference,
            supply,
            document: None,
            image: None,
            tree: None,
            looked_up: RefCell::default(),
            attached: RefCell::default(),
        }
    }

    /// Takes the digest of the document that the reference stands for.
    pub(super) fn has_document(&mut self, document: Digest) {
        if self.document.replace(document).is_some_and(|before| before != document) {
            // The name was moved meanwhile: what lies beside another document says nothing of this one.
            self.attached.borrow_mut().clear();
        }
    }

    /// Takes the image that the reference names.
    pub(super) fn has_image(&mut self, image: &'a Image) {
        self.has_document(*image.digest());
        self.image = Some(image);
    }

    /// Judges a requirement by what is at hand. What needs a document, image or tree that is not is taken to hold: it is judged again.
    ///
    /// # Errors
    /// Wrong input of the user's: a pinned root that is none, say.
    pub(super) fn judge(&self, requirement: &Requirement) -> Result<Answer, Failure> {
        self.judge_beside(requirement, &Vouched::No)
    }

    /// Judges a requirement beside others that have to hold with it; `tag` is what these say of the tag.
    fn judge_beside(&self, requirement: &Requirement, tag: &Vouched) -> Result<Answer, Failure> {
        let mut answer = self.judge_one(requirement, tag)?;
        if requirement.demand.binds_tag() && self.reference.tag().is_some() {
            answer.tag = answer.outcome;
        }
        Ok(answer)
    }

    fn judge_one(&self, requirement: &Requirement, tag: &Vouched) -> Result<Answer, Failure> {
        let subject = self.reference.to_string();
        match &requirement.demand {
            Demand::AllOf(parts) => self.all_of(requirement, parts, tag),
            Demand::AtLeast { of, among } => self.at_least(requirement, *of, among, tag),
            Demand::Attested {
                kind, by, condition, ..
            } => self.attested(requirement, kind, by, condition.as_ref()),
            Demand::Signed {
                by: Signer::Sigstore(by),
                ..
            } => self.signed(requirement, by),
            Demand::Signed {
                by: Signer::Role(by), ..
            } => match self.signature(&subject, by) {
                Ok(admitted) => {
                    let evidence = admitted.target.evidence();
                    let keys: BTreeSet<&KeyId> = evidence.keys.iter().collect();
                    let names: Vec<&str> = keys.iter().map(|key| key.short()).collect();
                    let found = format!("signed by {} of role `{}`", names.join(", "), evidence.role);
                    Ok(Answer {
                        witnesses: evidence.public_keys.iter().copied().map(Witness::Key).collect(),
                        ..Answer::new(requirement, Outcome::Met, found)
                    })
                }
                Err(failure) => Answer::failed(requirement, failure),
            },
            Demand::DigestIn(digests) => with(requirement, self.document, |document| {
                let found = document.to_string();
                match digests.contains(&document) {
                    true => Ok(found),
                    false => {
                        let advice = "use an image that was approved, or have this one approved";
                        Err((Code::DigestMismatch, found, advice))
                    }
                }
            }),
            Demand::MaxAge(most) => with(requirement, self.image, |image| {
                let Some(created) = image.config().created else {
                    let found = "its config does not say when it was created".to_owned();
                    return Err((Code::Expired, found, "have it made with its time of creation"));
                };
                let found = format!("created {created}; it is judged at {}", self.gate.at);
                match self.gate.at.unix() - created.unix() {
                    // Whoever claims a time to come would be young for as long as they like.
                    ..0 => Err((Code::Expired, found, "have it made with the time at which it is made")),
                    age if age > *most => Err((Code::Expired, found, "have it made again")),
                    _ => Ok(found),
                }
            }),
            Demand::MinVersion(least) => self.version(requirement, least, tag),
        }
    }

    /// Collects the signatures and attestations that were found to hold, each once, in the order in which the requirement names
    /// them.
    pub(super) fn support(&self, requirement: &Requirement) -> Support {
        let subject = self.reference.to_string();
        let mut support = Support::default();
        let mut trees = Vec::new();
        for leaf in requirement.leaves() {
            match &leaf.demand {
                Demand::Signed {
                    by: Signer::Role(by), ..
                } if !support.roles.iter().any(|admitted| admitted.demand == *by) => {
                    let Ok(admitted) = self.signature(&subject, by) else {
                        continue;
                    };
                    let signed = self
                        .image
                        .map(|image| check_signed_image(&subject, &admitted, image, self.gate.platform));
                    trees.extend(signed.and_then(Result::ok).flatten());
                    support.roles.push(admitted);
                }
                Demand::Signed {
                    by: Signer::Sigstore(by),
                    ..
                } => {
                    if let Ok((pieces, tree)) = self.signature_with_tree(by) {
                        support.pieces.extend(pieces);
                        trees.extend(tree);
                    }
                }
                Demand::Attested {
                    kind, by, condition, ..
                } => {
                    let condition = condition.as_ref();
                    let pieces = self.pieces(by, Wanted::Attestation(kind.uri()), condition);
                    let said = pieces.ok().and_then(|pieces| self.saying(&pieces, condition).ok());
                    support.pieces.extend(said.unwrap_or_default());
                }
                _ => {}
            }
        }
        let mut seen = BTreeSet::new();
        support.pieces.retain(|piece| seen.insert(piece.key()));
        support.tree = trees.into_iter().next();
        support
    }

    fn all_of(&self, requirement: &Requirement, parts: &[Requirement], tag: &Vouched) -> Result<Answer, Failure> {
        let parts = self.together(parts, tag)?;
        let is = |outcome| parts.iter().any(|part| part.outcome == outcome);
        let outcome = match (is(Outcome::Unmet), is(Outcome::Unknown)) {
            (true, _) => Outcome::Unmet,
            (false, true) => Outcome::Unknown,
            (false, false) => Outcome::Met,
        };
        let met = parts.iter().filter(|part| part.outcome == Outcome::Met).count();
        let unmet: Vec<&Answer> = parts.iter().filter(|part| part.outcome == Outcome::Unmet).collect();
        let found = format!("{met} of {} hold{}", parts.len(), listed(&unmet));
        let advice: Vec<&str> = unmet.iter().filter_map(|part| part.advice.as_deref()).collect();
        Ok(Answer {
            witnesses: parts.iter().flat_map(|part| part.witnesses.iter().cloned()).collect(),
            is_all: true,
            code: common_code(&unmet),
            advice: (!advice.is_empty()).then(|| advice.join("; ")),
            ..Answer::new(requirement, outcome, found)
        }
        .of(parts))
    }

    fn at_least(
        &self,
        requirement: &Requirement,
        of: usize,
        among: &[Requirement],
        tag: &Vouched,
    ) -> Result<Answer, Failure> {
        let parts = match requirement.demand.needs_all() {
            true => self.together(among, tag)?,
            false => self.parts(among, tag)?,
        };
        let with = |outcomes: &[Outcome]| distinct(parts.iter().filter(|part| outcomes.contains(&part.outcome)));
        let met = with(&[Outcome::Met]);
        let outcome = match met >= of {
            true => Outcome::Met,
            false if with(&[Outcome::Met, Outcome::Unknown]) >= of => Outcome::Unknown,
            false => Outcome::Unmet,
        };
        let holding = parts.iter().filter(|part| part.outcome == Outcome::Met);
        let witnesses = holding
            .clone()
            .flat_map(|part| part.witnesses.iter().cloned())
            .collect();
        let unmet: Vec<&Answer> = parts.iter().filter(|part| part.outcome == Outcome::Unmet).collect();
        let mut found = match of {
            1 => "none holds".to_owned(),
            _ => format!("{met} of {} hold", parts.len()),
        };
        if outcome == Outcome::Met {
            found = format!("{met} of {} hold", parts.len());
        } else if holding.count() > met {
            found.push_str(" by distinct keys");
        }
        found.push_str(&listed(&unmet));
        let mut answer = Answer::new(requirement, outcome, found);
        answer.witnesses = witnesses;
        if outcome == Outcome::Unmet {
            answer.code = match met {
                0 => common_code(&unmet),
                _ => Some(Code::Threshold),
            };
            let missing = of - met;
            let ways: BTreeSet<&str> = unmet.iter().filter_map(|part| part.advice.as_deref()).collect();
            let ways: Vec<&str> = ways.into_iter().collect();
            answer.advice = Some(match ways.as_slice() {
                [] => "have it signed by others as well, with keys of their own".to_owned(),
                [way] => format!("{way} ({missing} more must hold)"),
                ways => format!("{missing} more must hold, by one of: {}", ways.join("; ")),
            });
        }
        Ok(answer.of(parts))
    }

    /// Judges requirements of which not each has to hold: what one's signers say of the tag is not the others' matter.
    fn parts(&self, parts: &[Requirement], tag: &Vouched) -> Result<Vec<Answer>, Failure> {
        parts.iter().map(|part| self.judge_beside(part, tag)).collect()
    }

    /// Judges requirements that hold together alone: whoever vouches for the tag in one does so for all.
    fn together(&self, parts: &[Requirement], tag: &Vouched) -> Result<Vec<Answer>, Failure> {
        let answers = self.parts(parts, tag)?;
        let vouched = Vouched::of(&answers);
        if vouched.outcome() == Outcome::Unmet || tag.outcome() == Outcome::Met {
            return Ok(answers);
        }
        // Who was asked is not asked again; only what may rest on the tag is judged anew.
        let judged = parts.iter().zip(answers);
        let again = judged.map(|(part, answer)| match part.has_version() {
            true => self.judge_beside(part, &vouched),
            false => Ok(answer),
        });
        again.collect()
    }

    /// Looks a signature up, and compares it with as much of the image as is at hand.
    fn signature(&self, subject: &str, by: &Signers) -> Result<Admitted, Failure> {
        let known = self.looked_up.borrow().get(by).cloned();
        let admitted = match known {
            Some(known) => known,
            None => {
                let found = self.gate.anchors.image(self.reference, by, self.gate.at);
                self.looked_up.borrow_mut().insert(by.clone(), found.clone());
                found
            }
        }?;
        if let (Some(document), None) = (&self.document, self.image) {
            check_signed_document(subject, &admitted, document)?;
        }
        if let Some(image) = self.image {
            let signed = check_signed_image(subject, &admitted, image, self.gate.platform)?;
            if let (Some((tree, digest)), Some(signed)) = (&self.tree, &signed)
                && digest != signed
            {
                return Err(tree_mismatch(subject, signed, tree));
            }
        }
        Ok(admitted)
    }
}

/// Judges a requirement by what it looks at, once that is at hand.
fn with<T>(
    requirement: &Requirement,
    looked_at: Option<T>,
    judge: impl FnOnce(T) -> Result<String, (Code, String, &'static str)>,
) -> Result<Answer, Failure> {
    let Some(looked_at) = looked_at else {
        return Ok(Answer::not_yet(requirement));
    };
    Ok(match judge(looked_at) {
        Ok(found) => Answer::new(requirement, Outcome::Met, found),
        Err((code, found, advice)) => Answer {
            code: Some(code),
            advice: Some(advice.to_owned()),
            ..Answer::new(requirement, Outcome::Unmet, found)
        },
    })
}

impl Answer {
    fn of(mut self, parts: Vec<Self>) -> Self {
        self.tag = match (self.outcome, Vouched::of(&parts).outcome()) {
            (Outcome::Met, tag) => tag,
            (Outcome::Unmet, _) | (_, Outcome::Unmet) => Outcome::Unmet,
            (Outcome::Unknown, _) => Outcome::Unknown,
        };
        self.parts = parts;
        self
    }
}

/// Says of each requirement that does not hold why.
fn listed(unmet: &[&Answer]) -> String {
    let why = |part: &&Answer| {
        let code = part.code.unwrap_or(Code::Requirements);
        format!("; {}: {code}, {}", part.requirement, part.found)
    };
    unmet.iter().map(why).collect()
}

/// Returns the code of all that does not hold, where it is one.
fn common_code(unmet: &[&Answer]) -> Option<Code> {
    let codes: BTreeSet<Code> = unmet.iter().filter_map(|part| part.code).collect();
    match codes.len() {
        0 | 1 => codes.first().copied(),
        _ => Some(Code::Requirements),
    }
}

/// Counts answers, those with signatures by distinct keys: as many as can each be given a key of their own. What could not be found
/// out counts as if it could: it may have keys beyond those that are known.
fn distinct<'a>(answers: impl Iterator<Item = &'a Answer>) -> usize {
    let is_signed = |answer: &&Answer| answer.outcome == Outcome::Met && !answer.witnesses.is_empty();
    let (signed, other): (Vec<&Answer>, Vec<&Answer>) = answers.partition(is_signed);
    let mut taken: BTreeMap<&Witness, usize> = BTreeMap::new();
    let given = (0..signed.len()).filter(|at| give(&signed, *at, &mut taken, &mut BTreeSet::new()));
    other.len() + given.count()
}

/// Gives an answer a key, moving others to other keys of theirs where that helps (augmenting paths).
fn give<'a>(
    signed: &[&'a Answer],
    at: usize,
    taken: &mut BTreeMap<&'a Witness, usize>,
    tried: &mut BTreeSet<&'a Witness>,
) -> bool {
    let Some(answer) = signed.get(at) else { return false };
    for witness in &answer.witnesses {
        if tried.insert(witness) {
            let holder = taken.get(witness).copied();
            if holder.is_none_or(|holder| give(signed, holder, taken, tried)) {
                taken.insert(witness, at);
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests;
