//! Requirements of keys and identities: what lies beside an image, and what it says of the image's trees.
//!
//! - What a key or an identity signed is about a digest, and never expires; a policy that needs more asks a role. About a name it is
//!   only where the policy wants that of a key (`names:`).
//! - A tree digest counts only where the same signer signed it: in the payload of its signature, or in an attestation of its own.
//! - Of what the same signer signed a few pieces are enough, and no copies ([`chosen`](super::chosen)).

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;

use super::chosen::{few_of_each, without_copies};
use super::{Answer, Facts, Outcome, Witness};
use crate::attest::PredicateType;
use crate::attest::predicate::TREE;
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::policy::{self, Condition, Requirement, SigstoreSigner};
use crate::sigstore::attachment::{Attachment, Author, Content, Evidence, Judged, Rejected, Wanted, judge};
use crate::sigstore::payload;
use crate::sigstore::signature::fingerprint;
use crate::store::attached::Ask;
use crate::tree::described;
use crate::verify::component::tree_mismatch;

/// A good signature or attestation, with the piece that holds it.
#[derive(Clone, Debug)]
pub(in crate::verify) struct Piece {
    /// What was found good.
    pub(in crate::verify) evidence: Evidence,
    /// As it was found.
    pub(in crate::verify) attachment: Attachment,
}

impl Piece {
    /// What makes it another one than the next: the same bytes can be signed by several, and lie in several places.
    pub(super) fn key(&self) -> (Digest, Option<String>) {
        key(&self.attachment)
    }
}

/// What tells a piece from others: its layer, and its signature where that lies in an annotation.
pub(super) fn key(piece: &Attachment) -> (Digest, Option<String>) {
    let signature = piece.layer.annotations.get(payload::SIGNATURE);
    (piece.layer.descriptor.digest, signature.cloned())
}

/// What came of looking at pieces for one signer.
pub(super) struct Counted {
    /// What was found of each.
    pub(super) judged: Judged,
    /// Those that count.
    pub(super) good: Vec<Piece>,
}

impl Counted {
    /// Tells whether none of them is of the kind that was asked for.
    pub(super) fn is_of_another_kind(&self) -> bool {
        let Judged {
            good,
            rejected,
            unknown,
            ..
        } = &self.judged;
        good.is_empty() && rejected.is_empty() && unknown.is_empty()
    }
}

/// What was asked of whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    by: SigstoreSigner,
    /// The predicate type of an attestation; none for a signature.
    kind: Option<String>,
    condition: Option<String>,
}

/// What was found, of one question.
pub(super) type Found = Result<Rc<[Piece]>, Failure>;

impl Facts<'_> {
    /// Judges whether a key or an identity signed the image.
    pub(super) fn signed(&self, requirement: &Requirement, by: &SigstoreSigner) -> Result<Answer, Failure> {
        if self.document.is_none() {
            return Ok(Answer::not_yet(requirement));
        }
        let signed = match self.image {
            Some(_) => self.signature_with_tree(by),
            None => self
                .pieces(by, Wanted::Signature, None)
                .map(|pieces| (pieces.to_vec(), None)),
        };
        match signed {
            Ok((pieces, tree)) => {
                let found = match tree {
                    Some(tree) => format!("{}, and its tree {}", listed(&pieces), tree.short()),
                    None => listed(&pieces),
                };
                Ok(Answer {
                    witnesses: pieces.iter().map(|piece| witness(&piece.evidence)).collect(),
                    ..Answer::new(requirement, Outcome::Met, found)
                })
            }
            Err(failure) => Answer::failed(requirement, failure),
        }
    }

    /// Judges whether there is an attestation of the image that says what it has to.
    pub(super) fn attested(
        &self,
        requirement: &Requirement,
        kind: &PredicateType,
        by: &SigstoreSigner,
        condition: Option<&Condition>,
    ) -> Result<Answer, Failure> {
        if self.document.is_none() {
            return Ok(Answer::not_yet(requirement));
        }
        match self.attestations(requirement, kind.uri(), by, condition) {
            Ok(good) => Ok(Answer {
                witnesses: good.iter().map(|piece| witness(&piece.evidence)).collect(),
                ..Answer::new(requirement, Outcome::Met, listed(&good))
            }),
            Err(failure) => Answer::failed(requirement, failure),
        }
    }

    /// Returns the attestations that say what they have to.
    ///
    /// # Errors
    /// A refusal where there are none (CONDITION where they say otherwise); why it could not be found out.
    pub(super) fn attestations(
        &self,
        requirement: &Requirement,
        kind: &str,
        by: &SigstoreSigner,
        condition: Option<&Condition>,
    ) -> Result<Vec<Piece>, Failure> {
        let pieces = self.pieces(by, Wanted::Attestation(kind), condition)?;
        self.saying(&pieces, condition).map_err(|found| {
            let advice = "use an image of which it is attested, or have it attested if it is so";
            Refusal::new(Code::Condition, self.reference, requirement, found, advice).into()
        })
    }

    /// Keeps the attestations that say what they have to, a few by each key or identity.
    ///
    /// # Errors
    /// What they say instead, where none does.
    pub(super) fn saying(&self, pieces: &[Piece], condition: Option<&Condition>) -> Result<Vec<Piece>, String> {
        let Some(condition) = condition else {
            return Ok(few_of_each(pieces.to_vec()));
        };
        let mut good = Vec::new();
        let mut why = Vec::new();
        for piece in pieces {
            match self.holds(condition, &piece.evidence) {
                Ok(true) => good.push(piece.clone()),
                Ok(false) => why.push(format!("{} says otherwise", piece.evidence.layer.short())),
                Err(problem) => why.push(format!("{} cannot be told: {problem}", piece.evidence.layer.short())),
            }
        }
        match good.is_empty() {
            true => Err(why.join("; ")),
            false => Ok(few_of_each(good)),
        }
    }

    fn holds(&self, condition: &Condition, evidence: &Evidence) -> Result<bool, String> {
        let statement = evidence.statement().ok_or("no statement")?;
        let subject = statement.subjects().iter();
        let subject = subject.map(|subject| json!({ "name": subject.name, "digest": subject.digest }));
        condition.holds(&policy::Facts {
            predicate_type: statement.predicate_type(),
            predicate: statement.predicate().unwrap_or(&serde_json::Value::Null),
            subject: subject.collect(),
            image: json!({
                "reference": self.reference.to_string(), "repository": self.reference.repository().to_string(),
                "tag": self.reference.tag(), "digest": self.document,
            }),
        })
    }

    /// Returns a signer's signatures of the image, one by each of his keys, and the tree digest that he signed, if he signed any.
    ///
    /// # Errors
    /// A refusal where there are none, or he signed another tree; why it could not be found out.
    pub(super) fn signature_with_tree(&self, by: &SigstoreSigner) -> Result<(Vec<Piece>, Option<Digest>), Failure> {
        let signatures = self.pieces(by, Wanted::Signature, None)?;
        let mut trees: Vec<(Piece, Digest)> = self.trees(&signatures);
        if trees.is_empty() {
            match self.pieces(by, Wanted::Attestation(TREE), None) {
                Ok(attested) => trees = self.trees(&attested),
                // He signed the digest alone.
                Err(Failure::Refused(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        let Some((piece, signed)) = trees.first().cloned() else {
            return Ok((few_of_each(signatures.to_vec()), None));
        };
        let (piece, signed) = match &self.tree {
            None => (piece, signed),
            // Signatures stay when trees are written in another way: one that fits is enough.
            Some((tree, digest)) => match trees.into_iter().find(|(_, signed)| signed == digest) {
                Some(fitting) => fitting,
                None => return Err(tree_mismatch(&self.reference.to_string(), &signed, tree)),
            },
        };
        let is_signature = signatures.iter().any(|other| other.key() == piece.key());
        let pieces = match is_signature {
            // It stands for all that its key signed.
            true => few_of_each([&[piece], &*signatures].concat()),
            false => [few_of_each(signatures.to_vec()), vec![piece]].concat(),
        };
        Ok((pieces, Some(signed)))
    }

    /// Reads the tree digests of the image's platform that pieces hold.
    fn trees(&self, pieces: &[Piece]) -> Vec<(Piece, Digest)> {
        let platform = self.gate.platform.to_string();
        let read = |piece: &Piece| {
            let described = match &piece.evidence.content {
                Content::Payload(payload) => payload.optional().get(described::MEMBER),
                Content::Statement(statement) if statement.predicate_type() == TREE => statement.predicate(),
                Content::Statement(_) => None,
            };
            let platforms = described::from_value(described?).ok()?;
            let manifest = self.image?.manifest_digest();
            let own = platforms
                .into_iter()
                .find(|entry| entry.platform == platform && entry.manifest == *manifest)?;
            Some((piece.clone(), own.tree))
        };
        pieces.iter().filter_map(read).collect()
    }

    /// Finds what a signer signed of the image: in the first place that has what says what it has to, else in the last.
    pub(super) fn pieces(&self, by: &SigstoreSigner, wanted: Wanted<'_>, condition: Option<&Condition>) -> Found {
        let asked = Asked {
            by: by.clone(),
            kind: match wanted {
                Wanted::Attestation(kind) => Some(kind.to_owned()),
                Wanted::Signature => None,
            },
            condition: condition.map(|condition| condition.text().to_owned()),
        };
        let known = self.attached.borrow().get(&asked).cloned();
        if let Some(known) = known {
            return known;
        }
        let found = self.find(by, wanted, condition);
        self.attached.borrow_mut().insert(asked, found.clone());
        found
    }

    fn find(&self, by: &SigstoreSigner, wanted: Wanted<'_>, condition: Option<&Condition>) -> Found {
        let subject = self.reference.to_string();
        let document = self.document_at_hand()?;
        let enough = RefCell::new(None);
        let is_enough = |pieces: &[Attachment]| {
            // Whether the signer's file was read does not hang on the place.
            let good = self
                .look(pieces, by, wanted)
                .map_or_else(|_| Vec::new(), |counted| counted.good);
            let is = !good.is_empty() && self.saying(&good, condition).is_ok();
            if is {
                *enough.borrow_mut() = Some(good);
            }
            is
        };
        let last = self.supply.attached(&Ask {
            reference: self.reference,
            document,
            wanted,
            enough: &is_enough,
        })?;
        if let Some(good) = enough.take() {
            return Ok(good.into());
        }
        let Counted { judged, good } = self.look(&last, by, wanted)?;
        judged.verdict(&subject, wanted)?;
        Ok(good.into())
    }

    /// Looks at pieces: which of them count as a signer's, of this image and under the name that the policy wants.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the signer's file was not read; why the image's digest is not known.
    pub(super) fn look(
        &self,
        pieces: &[Attachment],
        by: &SigstoreSigner,
        wanted: Wanted<'_>,
    ) -> Result<Counted, Failure> {
        let binding = by.names();
        let document = self.document_at_hand()?;
        let by = self.gate.anchors.pins().by(by, self.gate.at)?;
        let mut judged = judge(pieces, document, by, wanted);
        let is_other = |evidence: &mut Evidence| !binding.takes(&evidence.names(), self.reference);
        let other_names: Vec<Evidence> = judged.good.extract_if(.., is_other).collect();
        let other_names = other_names.iter().map(|evidence| Rejected {
            code: Code::Name,
            form: evidence.form,
            layer: evidence.layer,
            reason: format!(
                "it names {}, not {}",
                match evidence.names().as_slice() {
                    [] => "nothing".to_owned(),
                    names => names.join(" and "),
                },
                binding.wanted(self.reference)
            ),
        });
        judged.rejected.extend(other_names);
        let good = judged
            .good
            .iter()
            .filter_map(|evidence| Some((evidence, pieces.get(evidence.piece)?)));
        let good = without_copies(good.collect());
        Ok(Counted { judged, good })
    }

    fn document_at_hand(&self) -> Result<&Digest, Failure> {
        let absent = || Failure::unavailable(self.reference, "its digest is not known");
        self.document.as_ref().ok_or_else(absent)
    }
}

/// Says who signed, and where it was found.
fn listed(pieces: &[Piece]) -> String {
    let one = |Piece { evidence, .. }: &Piece| {
        format!(
            "{} {} by {}",
            evidence.form.name(),
            evidence.layer.short(),
            evidence.author
        )
    };
    pieces.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Returns who signed.
pub(super) fn witness(evidence: &Evidence) -> Witness {
    match &evidence.author {
        Author::Key(key) => Witness::Key(fingerprint(key)),
        Author::Identity(by) => Witness::Identity(by.identity().to_owned(), by.issuer().to_owned()),
    }
}
