//! What lies beside an image, judged: which of it are signatures or attestations of this very image by whom is asked for.
//!
//! - Every piece is looked at; what does not count is kept with its reason.
//! - Tags, manifests and annotations lead to bytes and prove nothing; what counts is what a given key or identity signed.
//! - An identity has to prove itself by a bundle: the older forms hold no proof that a log has the signature.
//! - A bundle is an image's signature only when it states nothing but cosign's own predicate type: a signed provenance is none,
//!   whatever type it claims.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::bundle::{Artifact, Bundle, BundleError, NotVerified};
use super::certificate::{CertificateEvidence, Demand, Signer, TrustedRoot};
use super::envelope::{self, Envelope};
use super::payload::{self, Payload};
use super::signature;
use crate::attest::{Statement, predicate::COSIGN_SIGN};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::key::PublicKey;
use crate::oci::Annotated;
use crate::time::Time;

/// How a signature or attestation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A Sigstore bundle.
    Bundle,
    /// A DSSE envelope around a statement.
    Envelope,
    /// Something that nobody signed, or signed in a form that is not sigstore's.
    Other,
    /// A simple-signing payload with its signature in an annotation.
    Simple,
}

impl Form {
    /// Tells the form by a layer's media type.
    pub fn of(media_type: &str) -> Self {
        match media_type {
            payload::MEDIA_TYPE => Self::Simple,
            envelope::MEDIA_TYPE => Self::Envelope,
            _ if media_type.starts_with("application/vnd.dev.sigstore.bundle") => Self::Bundle,
            _ => Self::Other,
        }
    }

    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Envelope => "envelope",
            Self::Other => "other",
            Self::Simple => "simple",
        }
    }
}

/// One piece beside an image, as it was found.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// How it is written.
    pub form: Form,
    /// The manifest that it is a layer of.
    pub manifest: Digest,
    /// The layer.
    pub layer: Annotated,
    /// Its bytes, or why they could not be had.
    pub bytes: Result<Vec<u8>, Failure>,
}

/// What a piece claims to be; nothing of it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// An attestation with this predicate type.
    Attestation(String),
    /// Something in another form.
    Other,
    /// A bill of materials that nobody signed.
    Sbom,
    /// A signature of the image.
    Signature,
}

impl Claim {
    /// Returns its name in reports, and the predicate type if there is one.
    pub fn words(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Attestation(kind) => ("attestation", Some(kind)),
            Self::Other => ("other", None),
            Self::Sbom => ("sbom", None),
            Self::Signature => ("signature", None),
        }
    }
}

impl Attachment {
    /// Reads what the piece claims to be.
    pub fn claim(&self) -> Claim {
        let statement = match self.form {
            Form::Other => return Claim::Other,
            Form::Simple => return Claim::Signature,
            Form::Bundle | Form::Envelope => self.statement(),
        };
        match statement {
            Some(statement) if statement.predicate_type() == COSIGN_SIGN => Claim::Signature,
            Some(statement) => Claim::Attestation(statement.predicate_type().to_owned()),
            None => Claim::Other,
        }
    }

    /// Reads when it was signed, where what is signed says so.
    pub fn time(&self) -> Option<Time> {
        let bytes = self.bytes.as_ref().ok().filter(|_| self.form == Form::Simple)?;
        Payload::parse(bytes).ok()?.time()
    }

    fn statement(&self) -> Option<Statement> {
        self.envelope(self.bytes.as_ref().ok()?).ok()?.statement().ok()
    }

    /// Reads the envelope of an attestation or a bundle.
    fn envelope(&self, bytes: &[u8]) -> Result<Envelope, BundleError> {
        match self.form {
            Form::Bundle => Bundle::parse(bytes)?.into_envelope(),
            _ => Ok(Envelope::parse(bytes)?),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// Attestations with this predicate type.
    Attestation(&'a str),
    /// Signatures of the image.
    Signature,
}

/// Who has to have signed.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// An identity that an issuer vouches for.
    Identity {
        /// The identity and its issuer.
        signer: &'a Signer,
        /// The authorities and logs that count.
        root: &'a TrustedRoot,
        /// How many logs and witnesses of the time there have to be.
        demand: Demand,
        /// The present: nothing may have been signed later.
        now: Time,
    },
    /// One of these keys.
    Keys(&'a [PublicKey]),
}

impl By<'_> {
    fn words(&self) -> String {
        match self {
            Self::Identity { signer, .. } => signer.to_string(),
            Self::Keys(_) => "one of the given keys".to_owned(),
        }
    }
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// An identity, proved.
    Identity(Box<CertificateEvidence>),
    /// A key.
    Key(Box<PublicKey>),
}

impl std::fmt::Display for Author {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity(evidence) => write!(f, "{}, says {}", evidence.identity(), evidence.issuer()),
            Self::Key(key) => signature::fingerprint(key).fmt(f),
        }
    }
}

/// What somebody signed of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A simple-signing payload.
    Payload(Payload),
    /// An in-toto statement.
    Statement(Statement),
}

/// A good signature of the image by whom was asked for, and where it was found.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Which of the pieces it is.
    pub piece: usize,
    /// How it is written.
    pub form: Form,
    /// The manifest that it is a layer of.
    pub manifest: Digest,
    /// The layer's digest.
    pub layer: Digest,
    /// Who signed.
    pub author: Author,
    /// What was signed.
    pub content: Content,
    /// The image's digest.
    pub image: Digest,
}

impl Evidence {
    /// Returns the names that the signer gave this image; a statement gives other subjects others.
    pub fn names(&self) -> Vec<&str> {
        match &self.content {
            Content::Payload(payload) => vec![payload.identity()],
            Content::Statement(statement) => statement.names_of(&self.image).collect(),
        }
    }

    /// Returns when the signer says that it signed, where it says so.
    pub fn time(&self) -> Option<Time> {
        match &self.content {
            Content::Payload(payload) => payload.time(),
            Content::Statement(_) => None,
        }
    }

    /// Returns the statement, if one was signed.
    pub fn statement(&self) -> Option<&Statement> {
        match &self.content {
            Content::Payload(_) => None,
            Content::Statement(statement) => Some(statement),
        }
    }

    /// Describes for machines what was signed, but for a statement's predicate: its digests, and the names, times and types in it.
    pub fn signed(&self) -> Value {
        let statement = self.statement();
        let digests: Vec<String> = match &self.content {
            Content::Payload(payload) => vec![payload.digest().to_string()],
            Content::Statement(statement) => {
                let digests = statement.subjects().iter().flat_map(|subject| &subject.digest);
                digests.map(|(name, hex)| format!("{name}:{hex}")).collect()
            }
        };
        json!({
            "digests": digests, "names": self.names(), "time": self.time(),
            "predicateType": statement.map(Statement::predicate_type),
            "optional": match &self.content {
                Content::Payload(payload) => Some(payload.optional()),
                Content::Statement(_) => None,
            },
        })
    }

    /// Describes it for machines: what was signed, beside what was found of it.
    pub fn to_json(&self) -> Value {
        let mut signed = self.signed();
        if let Some(members) = signed.as_object_mut() {
            members.insert(
                "predicate".to_owned(),
                json!(self.statement().and_then(Statement::predicate)),
            );
        }
        json!({
            "form": self.form, "manifest": self.manifest, "layer": self.layer,
            "key": match &self.author {
                Author::Key(key) => Some(signature::fingerprint(key)),
                Author::Identity(_) => None,
            },
            "certificate": match &self.author {
                Author::Key(_) => None,
                Author::Identity(by) => Some(by.to_json()),
            },
            "signed": signed,
        })
    }
}

/// Why a piece does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Why, for machines.
    pub code: Code,
    /// How it is written.
    pub form: Form,
    /// The layer's digest.
    pub layer: Digest,
    /// Why, for people.
    pub reason: String,
}

/// What came of looking at everything beside an image.
#[derive(Debug)]
pub struct Judged {
    /// What counts.
    pub good: Vec<Evidence>,
    /// What claims to be what was asked for, and does not count.
    pub rejected: Vec<Rejected>,
    /// What could not be read.
    pub unknown: Vec<Failure>,
    by: String,
}

/// Looks at every piece: is it what is wanted, of the document `image`, and did `by` sign it?
pub fn judge(attachments: &[Attachment], image: &Digest, by: By<'_>, wanted: Wanted<'_>) -> Judged {
    let mut judged = Judged {
        good: Vec::new(),
        rejected: Vec::new(),
        unknown: Vec::new(),
        by: by.words(),
    };
    for (piece, attachment) in attachments.iter().enumerate() {
        let wrong_form = match (attachment.form, wanted) {
            // What could not be had at all, or is malformed as a whole, may be in any form.
            (Form::Other, _) => attachment.bytes.is_ok(),
            (Form::Simple, wanted) => wanted != Wanted::Signature,
            (Form::Envelope, wanted) => wanted == Wanted::Signature,
            (Form::Bundle, _) => false,
        };
        if wrong_form {
            continue;
        }
        let bytes = match &attachment.bytes {
            Ok(bytes) => bytes,
            Err(unknown @ Failure::Unavailable { .. }) => {
                judged.unknown.push(unknown.clone());
                continue;
            }
            Err(failure) => {
                let no = No::Bad(failure.to_string());
                judged.rejected.push(no.about(attachment));
                continue;
            }
        };
        match read(attachment, bytes, image, by, wanted) {
            Ok((author, content)) => judged.good.push(Evidence {
                piece,
                form: attachment.form,
                manifest: attachment.manifest,
                layer: attachment.layer.descriptor.digest,
                author,
                content,
                image: *image,
            }),
            Err(No::OtherKind) => {}
            Err(no) => judged.rejected.push(no.about(attachment)),
        }
    }
    judged
}

/// Why one piece is not it.
enum No {
    Bad(String),
    Image(String),
    Key,
    NotVerified(NotVerified),
    /// It is not of the kind that is asked for.
    OtherKind,
}

impl No {
    fn about(self, attachment: &Attachment) -> Rejected {
        let (code, reason) = match self {
            Self::Bad(reason) => (Code::Malformed, reason),
            Self::Image(found) => (Code::DigestMismatch, format!("it is about another image: {found}")),
            Self::Key | Self::OtherKind => (Code::WrongKey, "none of the given keys signed it".to_owned()),
            Self::NotVerified(why) => (why.code, why.to_string()),
        };
        Rejected {
            code,
            form: attachment.form,
            layer: attachment.layer.descriptor.digest,
            reason,
        }
    }
}

fn bad(problem: impl ToString) -> No {
    No::Bad(problem.to_string())
}

fn read(
    attachment: &Attachment,
    bytes: &[u8],
    image: &Digest,
    by: By<'_>,
    wanted: Wanted<'_>,
) -> Result<(Author, Content), No> {
    match (by, attachment.form) {
        (By::Keys(keys), Form::Simple) => read_simple(attachment, bytes, image, keys),
        (By::Keys(keys), _) => {
            let envelope = attachment.envelope(bytes).map_err(bad)?;
            read_envelope(&envelope, image, keys, wanted)
        }
        (
            By::Identity {
                signer,
                root,
                demand,
                now,
            },
            Form::Bundle,
        ) => {
            let bundle = Bundle::parse(bytes).map_err(bad)?;
            let envelope = bundle.envelope();
            let envelope = envelope.ok_or_else(|| bad("it signs the bytes of a file, not a statement"))?;
            let statement = envelope.statement().map_err(bad)?;
            if !is_wanted(&statement, wanted)? {
                return Err(No::OtherKind);
            }
            if !statement.is_about(image) {
                return Err(other_image(&statement));
            }
            let proved = bundle.verify_with_certificate(Artifact::Digest(image), root, signer, demand, now);
            let evidence = proved.map_err(No::NotVerified)?;
            Ok((Author::Identity(Box::new(evidence)), Content::Statement(statement)))
        }
        (By::Identity { .. }, form) => Err(No::NotVerified(NotVerified {
            code: Code::NotLogged,
            expected: "a bundle, which proves that a log has the signature".to_owned(),
            found: format!("an older form, {}, without that proof", form.name()),
            advice: "have it signed again, with bundles: `imgkit sigstore sign`, or cosign from version 3",
        })),
    }
}

fn read_simple(
    attachment: &Attachment,
    bytes: &[u8],
    image: &Digest,
    keys: &[PublicKey],
) -> Result<(Author, Content), No> {
    let annotation = attachment.layer.annotations.get(payload::SIGNATURE);
    let signature = annotation.ok_or_else(|| bad("it has no signature in its annotations"))?;
    let signature = STANDARD.decode(signature.trim());
    let signature = signature.map_err(|_| bad("its signature is not base64"))?;
    let key = signature::made_by(keys, bytes, &signature).ok_or(No::Key)?;
    let payload = Payload::parse(bytes).map_err(bad)?;
    match payload.digest() == image {
        true => Ok((Author::Key(Box::new(key.clone())), Content::Payload(payload))),
        false => Err(No::Image(payload.digest().to_string())),
    }
}

fn read_envelope(
    envelope: &Envelope,
    image: &Digest,
    keys: &[PublicKey],
    wanted: Wanted<'_>,
) -> Result<(Author, Content), No> {
    let key = envelope.made_by(keys);
    let statement = envelope.statement().map_err(bad);
    // What kind it is is read before the key is judged, for the reason alone: a provenance by another key is no failed signature.
    if let Ok(statement) = &statement
        && !is_wanted(statement, wanted)?
    {
        return Err(No::OtherKind);
    }
    let (key, statement) = (key.ok_or(No::Key)?, statement?);
    match statement.is_about(image) {
        true => Ok((Author::Key(Box::new(key.clone())), Content::Statement(statement))),
        false => Err(other_image(&statement)),
    }
}

fn other_image(statement: &Statement) -> No {
    let subjects = statement.subjects().iter().flat_map(|subject| &subject.digest);
    let subjects: Vec<String> = subjects.take(3).map(|(name, hex)| format!("{name}:{hex}")).collect();
    No::Image(subjects.join(", "))
}

fn is_wanted(statement: &Statement, wanted: Wanted<'_>) -> Result<bool, No> {
    let is_empty = statement.predicate().is_none_or(|predicate| match predicate {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        _ => false,
    });
    match wanted {
        Wanted::Attestation(kind) => Ok(statement.predicate_type() == kind),
        Wanted::Signature if statement.predicate_type() != COSIGN_SIGN => Ok(false),
        Wanted::Signature if is_empty => Ok(true),
        Wanted::Signature => Err(bad(
            "it calls itself a signature and states a predicate; expected one without",
        )),
    }
}

impl Judged {
    /// Returns what counts, of the image that is called `subject`.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when nothing counts and not everything could be read; a refusal when everything was: UNSIGNED where
    /// nothing claims to be what was asked for, else why what does is not it.
    pub fn verdict(self, subject: &str, wanted: Wanted<'_>) -> Result<Vec<Evidence>, Failure> {
        if !self.good.is_empty() {
            return Ok(self.good);
        }
        if let Some(unknown) = self.unknown.into_iter().next() {
            return Err(unknown);
        }
        let (expected, sign) = match wanted {
            Wanted::Signature => (
                format!("a signature by {}", self.by),
                "sign it with `imgkit sigstore sign`".to_owned(),
            ),
            Wanted::Attestation(kind) => (
                format!("an attestation of type {kind} by {}", self.by),
                format!("attest it with `imgkit sigstore attest --type {kind}`"),
            ),
        };
        const FIRST: [Code; 5] = [
            Code::Name,
            Code::DigestMismatch,
            Code::WrongKey,
            Code::Identity,
            Code::Malformed,
        ];
        let codes: Vec<Code> = self.rejected.iter().map(|rejected| rejected.code).collect();
        let first = FIRST.into_iter().find(|code| codes.contains(code));
        let code = first.or(codes.first().copied());
        let Some(code) = code else {
            let found = "nothing of that kind beside the image";
            return Err(Refusal::new(Code::Unsigned, subject, expected, found, sign).into());
        };
        let found: Vec<String> = self
            .rejected
            .iter()
            .take(SHOWN)
            .map(|rejected| {
                format!(
                    "{} {}: {}",
                    rejected.form.name(),
                    rejected.layer.short(),
                    rejected.reason
                )
            })
            .collect();
        let more = match self.rejected.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let advice = format!("ask for whom is to have signed it, or {sign}");
        Err(Refusal::new(code, subject, expected, found.join("; ") + &more, advice).into())
    }
}

/// How many rejected pieces a refusal names.
const SHOWN: usize = 8;
