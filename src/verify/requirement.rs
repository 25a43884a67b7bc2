//! Requirements, judged: whether each holds, what was found, and what would satisfy it.
//!
//! - A signature counts only where role, threshold, document, platform and tree are those that were signed.
//! - `atLeast` counts signers by distinct keys: one key under two names is one signer.
//! - What could not be found out neither holds nor fails: an `anyOf` beside it may hold all the same, and where none does, the
//!   answer is that it could not be found out.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::anchors::Admitted;
use super::component::{Gate, check_signed_image, tree_mismatch};
use crate::digest::Digest;
use crate::failure::{Code, Demanded, Failure, Place, Refusal};
use crate::key::KeyId;
use crate::oci::Image;
use crate::policy::{Demand, Requirement, Rule, Signers, Version};
use crate::reference::Reference;
use crate::tree::Tree;

/// The label in which an image names its version (image-spec, annotations.md).
const VERSION_LABEL: &str = "org.opencontainers.image.version";

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
    /// The keys whose signatures it counts, by the SHA-256 of what they are: ids are each root's own.
    #[serde(skip)]
    keys: BTreeSet<Digest>,
    /// Whether each of the parts has to hold.
    #[serde(skip)]
    is_all: bool,
    #[serde(skip)]
    failure: Option<Failure>,
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
            keys: BTreeSet::new(),
            is_all: false,
            failure: None,
        }
    }

    /// Makes the answer of a refusal or of not knowing; wrong input of the user's stays a failure.
    fn failed(requirement: &Requirement, failure: Failure) -> Result<Self, Failure> {
        let mut answer = match &failure {
            Failure::Malformed { .. } => return Err(failure),
            Failure::Unavailable { subject, problem } => {
                Self::new(requirement, Outcome::Unknown, format!("{subject}: {problem}"))
            }
            Failure::Refused(refusals) => {
                let found: Vec<&str> = refusals.iter().map(|refusal| refusal.found.as_str()).collect();
                let mut answer = Self::new(requirement, Outcome::Unmet, found.join("; "));
                answer.code = refusals.first().map(|refusal| refusal.code);
                answer.advice = refusals.first().map(|refusal| refusal.advice.clone());
                answer
            }
        };
        answer.failure = Some(failure);
        Ok(answer)
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

/// What is known of a component while it is judged; images and trees are looked at once they are at hand.
pub(super) struct Facts<'a> {
    pub(super) gate: &'a Gate<'a>,
    pub(super) reference: &'a Reference,
    pub(super) image: Option<&'a Image>,
    pub(super) tree: Option<(&'a Tree, Digest)>,
    looked_up: RefCell<BTreeMap<Signers, Result<Admitted, Failure>>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(gate: &'a Gate<'a>, reference: &'a Reference) -> Self {
        Self {
            gate,
            reference,
            image: None,
            tree: None,
            looked_up: RefCell::default(),
        }
    }

    /// Judges a requirement by what is at hand. What needs an image or tree that is not is taken to hold: it is judged again.
    ///
    /// # Errors
    /// Wrong input of the user's: a pinned root that is none, say.
    pub(super) fn judge(&self, requirement: &Requirement) -> Result<Answer, Failure> {
        let subject = self.reference.to_string();
        match &requirement.demand {
            Demand::AllOf(parts) => self.all_of(requirement, parts),
            Demand::AtLeast { of, among } => self.at_least(requirement, *of, among),
            Demand::Signed { by, .. } => match self.signature(&subject, by) {
                Ok(admitted) => {
                    let evidence = admitted.target.evidence();
                    let keys: BTreeSet<&KeyId> = evidence.keys.iter().collect();
                    let names: Vec<&str> = keys.iter().map(|key| key.short()).collect();
                    let found = format!("signed by {} of role `{}`", names.join(", "), evidence.role);
                    Ok(Answer {
                        keys: evidence.public_keys.clone(),
                        ..Answer::new(requirement, Outcome::Met, found)
                    })
                }
                Err(failure) => Answer::failed(requirement, failure),
            },
            Demand::DigestIn(digests) => self.with_image(requirement, |image| {
                let found = image.digest().to_string();
                match digests.contains(image.digest()) {
                    true => Ok(found),
                    false => {
                        let advice = "use an image that was approved, or have this one approved";
                        Err((Code::DigestMismatch, found, advice))
                    }
                }
            }),
            Demand::MaxAge(most) => self.with_image(requirement, |image| {
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
            Demand::MinVersion(least) => self.with_image(requirement, |image| version(self.reference, image, least)),
        }
    }

    /// Lists the signatures that were found to hold, each once, in the order in which the requirement names them.
    pub(super) fn signatures(&self, requirement: &Requirement) -> Vec<Admitted> {
        let subject = self.reference.to_string();
        let mut seen = BTreeSet::new();
        let named = requirement.signers().into_iter();
        let once = named.filter(|(_, by)| seen.insert((*by).clone()));
        once.filter_map(|(_, by)| self.signature(&subject, by).ok()).collect()
    }

    fn all_of(&self, requirement: &Requirement, parts: &[Requirement]) -> Result<Answer, Failure> {
        let parts = self.parts(parts)?;
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
            keys: parts.iter().flat_map(|part| part.keys.iter().cloned()).collect(),
            is_all: true,
            code: common_code(&unmet),
            advice: (!advice.is_empty()).then(|| advice.join("; ")),
            ..Answer::new(requirement, outcome, found)
        }
        .of(parts))
    }

    fn at_least(&self, requirement: &Requirement, of: usize, among: &[Requirement]) -> Result<Answer, Failure> {
        let parts = self.parts(among)?;
        let with = |outcomes: &[Outcome]| distinct(parts.iter().filter(|part| outcomes.contains(&part.outcome)));
        let met = with(&[Outcome::Met]);
        let outcome = match met >= of {
            true => Outcome::Met,
            false if with(&[Outcome::Met, Outcome::Unknown]) >= of => Outcome::Unknown,
            false => Outcome::Unmet,
        };
        let holding = parts.iter().filter(|part| part.outcome == Outcome::Met);
        let holding_keys = holding.clone().flat_map(|part| part.keys.iter().cloned()).collect();
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
        answer.keys = holding_keys;
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

    fn parts(&self, parts: &[Requirement]) -> Result<Vec<Answer>, Failure> {
        parts.iter().map(|part| self.judge(part)).collect()
    }

    fn with_image(
        &self,
        requirement: &Requirement,
        judge: impl FnOnce(&Image) -> Result<String, (Code, String, &'static str)>,
    ) -> Result<Answer, Failure> {
        let Some(image) = self.image else {
            return Ok(Answer::new(requirement, Outcome::Met, "not looked at yet"));
        };
        Ok(match judge(image) {
            Ok(found) => Answer::new(requirement, Outcome::Met, found),
            Err((code, found, advice)) => Answer {
                code: Some(code),
                advice: Some(advice.to_owned()),
                ..Answer::new(requirement, Outcome::Unmet, found)
            },
        })
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
        if let Some(image) = self.image {
            let signed = check_signed_image(subject, &admitted, image, self.gate.platform)?;
            if let Some((tree, digest)) = &self.tree
                && *digest != signed
            {
                return Err(tree_mismatch(subject, &signed, tree));
            }
        }
        Ok(admitted)
    }
}

impl Answer {
    fn of(mut self, parts: Vec<Self>) -> Self {
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

/// Compares an image's version, by its label, else by its tag, with the least that is good.
fn version(reference: &Reference, image: &Image, least: &Version) -> Result<String, (Code, String, &'static str)> {
    let advice = "use a newer version";
    let label = image.config().labels.get(VERSION_LABEL).map(String::as_str);
    let (whence, text) = match (label, reference.tag()) {
        (Some(label), _) => ("its label says", label),
        (None, Some(tag)) => ("its tag says", tag),
        (None, None) => {
            let found = format!("no label {VERSION_LABEL}, and no tag");
            return Err((
                Code::Version,
                found,
                "name it by its tag, or have it made with the label",
            ));
        }
    };
    let found = format!("{whence} `{}`", text.chars().take(64).collect::<String>());
    match text.parse::<Version>() {
        Ok(version) if version.is_at_least(least) => Ok(found),
        Ok(_) => Err((Code::Version, found, advice)),
        Err(_) => Err((Code::Version, format!("{found}, which is no version"), advice)),
    }
}

/// Counts answers, those with signatures by distinct keys: as many as can each be given a key of their own. What could not be found
/// out counts as if it could: it may have keys beyond those that are known.
fn distinct<'a>(answers: impl Iterator<Item = &'a Answer>) -> usize {
    let is_signed = |answer: &&Answer| answer.outcome == Outcome::Met && !answer.keys.is_empty();
    let (signed, other): (Vec<&Answer>, Vec<&Answer>) = answers.partition(is_signed);
    let mut taken: BTreeMap<&Digest, usize> = BTreeMap::new();
    let given = (0..signed.len()).filter(|at| give(&signed, *at, &mut taken, &mut BTreeSet::new()));
    other.len() + given.count()
}

/// Gives an answer a key, moving others to other keys of theirs where that helps (augmenting paths).
fn give<'a>(
    signed: &[&'a Answer],
    at: usize,
    taken: &mut BTreeMap<&'a Digest, usize>,
    tried: &mut BTreeSet<&'a Digest>,
) -> bool {
    let Some(answer) = signed.get(at) else { return false };
    for key in &answer.keys {
        if tried.insert(key) {
            let holder = taken.get(key).copied();
            if holder.is_none_or(|holder| give(signed, holder, taken, tried)) {
                taken.insert(key, at);
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::anchors::{Anchor, Metadata};
    use super::*;
    use crate::key::{KeyError, PublicKey, Scheme, Signer, SigningKey, TufKey};
    use crate::oci::Platform;
    use crate::policy::Policy;
    use crate::time::Time;
    use crate::trust::edit::{Collection, RoleSpec};
    use crate::trust::{ImageTarget, Known};

    fn place() -> Place {
        Place {
            file: "p.yml".to_owned(),
            line: 1,
            column: 1,
        }
    }

    fn of(demand: Demand) -> Requirement {
        Requirement { demand, place: place() }
    }

    /// A key under another id than it has: its object says more.
    #[derive(Debug)]
    struct Renamed(SigningKey);

    impl Signer for Renamed {
        fn public(&self) -> &PublicKey {
            self.0.public()
        }

        fn sign_with(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
            self.0.sign_with(scheme, message)
        }

        fn tuf_key(&self) -> TufKey {
            let mut object = self.0.tuf_key().to_json().clone();
            object.as_object_mut().unwrap().insert("x".into(), 1.into());
            TufKey::from_json(&object).unwrap()
        }
    }

    fn now() -> Time {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    const NAME: &str = "r.example/a:v1";

    /// A collection in which one key signs [`NAME`].
    fn signed_by(signer: &dyn Signer) -> Anchor {
        let spec = RoleSpec {
            keys: vec![signer.tuf_key()],
            threshold: 1,
        };
        let mut collection = Collection::new(&spec, &spec, &spec, &spec, now()).unwrap();
        let image = ImageTarget {
            document: Digest::sha256(b"a"),
            length: 1,
            platforms: Vec::new(),
        };
        let put = collection.put_target("targets", NAME, image.to_file(), now());
        put.unwrap();
        let files = collection.sign(&[signer], now()).unwrap().files().clone();
        Anchor {
            pin: files.get("1.root.json").unwrap().to_vec(),
            metadata: Metadata::Bundle(files),
            known: Known::default(),
        }
    }

    fn signed(root: &str) -> Requirement {
        of(Demand::Signed {
            name: None,
            by: Signers {
                root: root.to_owned(),
                role: "targets".to_owned(),
                threshold: 1,
            },
        })
    }

    /// Judges a requirement of [`NAME`], of which no image is at hand.
    fn judged(anchors: Vec<(&str, Anchor)>, requirement: &Requirement) -> Outcome {
        let anchors = anchors.into_iter().map(|(name, anchor)| (name.to_owned(), anchor));
        let gate = Gate {
            policy: &Policy::parse("p.yml", b"version: 1\nroots: {}\nrules: []\n").unwrap(),
            anchors: &anchors.collect(),
            at: now(),
            platform: &Platform::new("linux", "amd64"),
        };
        let reference = NAME.parse().unwrap();
        Facts::new(&gate, &reference).judge(requirement).unwrap().outcome
    }

    fn two_of(among: Vec<Requirement>) -> Requirement {
        of(Demand::AtLeast { of: 2, among })
    }

    #[test]
    fn one_key_under_two_ids_in_two_roots_is_one_signer() {
        let key = |number: u8| SigningKey::from_seed(&[number; 32]).unwrap();
        let both = two_of(vec![signed("a"), signed("b")]);
        let twice = |other: &dyn Signer| vec![("a", signed_by(&key(1))), ("b", signed_by(other))];
        assert_eq!(judged(twice(&key(2)), &both), Outcome::Met);
        assert_ne!(key(1).id(), Renamed(key(1)).id());
        assert_eq!(judged(twice(&Renamed(key(1))), &both), Outcome::Unmet);
    }

    #[test]
    fn what_could_not_be_found_out_may_have_a_key_of_its_own() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let anchors = || vec![("a", signed_by(&key)), ("b", nowhere())];
        let both = of(Demand::AllOf(vec![signed("a"), signed("b")]));
        assert_eq!(judged(anchors(), &both), Outcome::Unknown);
        // If `b` signed it, with a key of its own, both hold.
        assert_eq!(judged(anchors(), &two_of(vec![both, signed("a")])), Outcome::Unknown);
    }

    fn nowhere() -> Anchor {
        Anchor {
            pin: Vec::new(),
            metadata: Metadata::Nowhere,
            known: Known::default(),
        }
    }

    #[test]
    fn signers_count_by_keys_of_their_own() {
        let key = |number: u8| Digest::sha256(&[number]);
        let requirement = of(Demand::MaxAge(1));
        let count = |signers: &[&[u8]]| {
            let answer = |numbers: &&[u8]| Answer {
                keys: numbers.iter().map(|number| key(*number)).collect(),
                ..Answer::new(&requirement, Outcome::Met, "")
            };
            let answers: Vec<Answer> = signers.iter().map(answer).collect();
            distinct(answers.iter())
        };
        assert_eq!(count(&[&[1], &[2], &[3]]), 3);
        assert_eq!(count(&[&[1], &[1]]), 1, "one key under two names");
        assert_eq!(count(&[&[1, 2], &[1]]), 2);
        assert_eq!(count(&[&[1], &[1, 2], &[2, 3], &[3]]), 3);
        assert_eq!(count(&[&[], &[1], &[1]]), 2, "what needs no key counts as it is");
    }
}
