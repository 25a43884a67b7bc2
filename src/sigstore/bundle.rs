//! Sigstore bundles (sigstore protobuf-specs, `sigstore_bundle.proto`): a signature and all that is needed to verify it.
//!
//! - Versions 0.1 to 0.3 are read, strictly: an unknown or doubled member, a second form of a number or of base64, both or neither of
//!   two alternatives are refused. 0.3 is written, and the same bundle has the same bytes.
//! - A bundle holds one signature: over a file ([`Content::Message`]) or over a DSSE envelope with one signature ([`Content::Envelope`]).
//! - What a bundle says of its key is a hint. [`Bundle::verify_with_keys`] takes the keys from its caller, and needs no log;
//!   [`certificate`](super::certificate) verifies bundles whose key is in a certificate.

pub mod detached;
mod read;
mod write;

pub use read::BundleError;

use std::fmt;

use super::envelope::{Envelope, EnvelopeError};
use super::signature;
use crate::attest::Statement;
use crate::digest::Digest;
use crate::failure::{Code, Refusal};
use crate::key::{KeyError, PublicKey, Signer};

/// The media type of a bundle of version 0.3, which imgkit writes.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A signature and what it takes to verify it, none of it checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    version: Version,
    material: Material,
    content: Content,
    entries: Vec<LogEntry>,
    timestamps: Vec<Vec<u8>>,
}

/// The version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.1: every log entry has a promise.
    V0_1,
    /// 0.2: every log entry has an inclusion proof.
    V0_2,
    /// 0.3: and there is one certificate, without its issuers.
    V0_3,
}

/// What says who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// A certificate, in DER.
    Certificate(Vec<u8>),
    /// A certificate and issuers above it, in DER; the first is the signer's.
    Chain(Vec<Vec<u8>>),
    /// A key that the verifier has: whoever made the bundle says which, unproved.
    Key {
        /// By convention the base64 of the SHA-256 of the key in DER.
        hint: String,
    },
}

/// What is signed, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An envelope with exactly one signature.
    Envelope(Envelope),
    /// A signature over the bytes of a file.
    Message {
        /// What the bundle says is the file's digest.
        digest: Option<MessageDigest>,
        /// The signature.
        signature: Vec<u8>,
    },
}

/// The digest of a signed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageDigest {
    /// The algorithm.
    pub algorithm: HashAlgorithm,
    /// The value, as long as the algorithm's are.
    pub value: Vec<u8>,
}

/// Algorithms of [`MessageDigest`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// An entry of a transparency log, as the bundle has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The entry's place in the log.
    pub index: u64,
    /// The log: the SHA-256 of its public key in DER.
    pub log_id: Vec<u8>,
    /// What the entry is: `hashedrekord`, `dsse`, `intoto`.
    pub kind: String,
    /// The version of that.
    pub version: String,
    /// When the log says it took the entry, in seconds since 1970; only a promise proves it.
    pub integrated_time: Option<i64>,
    /// The log's signature over entry, time and place (SET).
    pub promise: Option<Vec<u8>>,
    /// That the entry is in the log.
    pub proof: Option<InclusionProof>,
    /// The entry, as the log hashed it.
    pub body: Vec<u8>,
}

/// A proof that an entry is in a log of some size (RFC 6962, 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// The entry's place in the tree.
    pub index: u64,
    /// The tree's root.
    pub root: [u8; 32],
    /// How many entries the tree has.
    pub tree_size: u64,
    /// The hashes beside the way from the entry to the root.
    pub hashes: Vec<[u8; 32]>,
    /// The log's signed note that the tree of that size has that root.
    pub checkpoint: String,
}

/// What was signed, as the verifier has it.
#[derive(Clone, Copy, Debug)]
pub enum Artifact<'a> {
    /// All its bytes.
    Bytes(&'a [u8]),
    /// Its digest alone; Ed25519 signatures over files cannot be verified with it.
    Digest(&'a Digest),
}

/// What [`Bundle::verify_with_keys`] found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvidence {
    key: PublicKey,
    artifact: Option<Digest>,
    statement: Option<Statement>,
}

impl KeyEvidence {
    /// Returns the key that signed, one of the caller's.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Returns the digest that is signed; of a statement, the one of its subjects that was asked for.
    pub fn artifact(&self) -> Option<&Digest> {
        self.artifact.as_ref()
    }

    /// Returns the statement, where one was signed; it has the artifact among its subjects.
    pub fn statement(&self) -> Option<&Statement> {
        self.statement.as_ref()
    }
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// [`BundleError`] when it is too long or deep, or not of a known version's form.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        read::bundle(bytes)
    }

    /// Signs a statement with a key.
    ///
    /// # Errors
    /// As [`signature::sign`].
    pub fn sign_statement(statement: &Statement, signer: &dyn Signer) -> Result<Self, KeyError> {
        Ok(Self::by_key(signer.public(), Content::statement(statement, signer)?))
    }

    /// Signs a file with a key.
    ///
    /// # Errors
    /// As [`signature::sign`].
    pub fn sign_file(file: &[u8], signer: &dyn Signer) -> Result<Self, KeyError> {
        Ok(Self::by_key(signer.public(), Content::file(file, signer)?))
    }

    /// Makes a bundle of its parts.
    pub fn new(material: Material, content: Content, entries: Vec<LogEntry>, timestamps: Vec<Vec<u8>>) -> Self {
        Self {
            version: Version::V0_3,
            material,
            content,
            entries,
            timestamps,
        }
    }

    fn by_key(key: &PublicKey, content: Content) -> Self {
        let hint = signature::hint(key);
        Self::new(Material::Key { hint }, content, Vec::new(), Vec::new())
    }

    /// Writes the bundle; the same bundle has the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        write::bundle(self).to_string().into_bytes()
    }

    /// Returns the version of the format.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns what says who signed.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// Returns what is signed.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Returns the log entries.
    pub fn entries(&self) -> &[LogEntry] {
        &self.entries
    }

    /// Returns the RFC 3161 time stamps, in DER.
    pub fn timestamps(&self) -> &[Vec<u8>] {
        &self.timestamps
    }

    /// Returns the envelope, if one is signed; read its payload only once the bundle is verified.
    pub fn envelope(&self) -> Option<&Envelope> {
        match &self.content {
            Content::Envelope(envelope) => Some(envelope),
            Content::Message { .. } => None,
        }
    }

    /// Returns the envelope that is signed.
    ///
    /// # Errors
    /// [`BundleError::Form`] when a file is.
    pub fn into_envelope(self) -> Result<Envelope, BundleError> {
        match self.content {
            Content::Envelope(envelope) => Ok(envelope),
            Content::Message { .. } => Err(BundleError::Form("it signs the bytes of a file, not a statement")),
        }
    }

    /// Returns the signature.
    pub fn signature(&self) -> &[u8] {
        self.content.signature()
    }

    /// Checks that one of `keys` signed `artifact`: its bytes, or a statement that has it among its subjects.
    ///
    /// Log entries and time stamps are not looked at: they are no part of what a key proves.
    ///
    /// # Errors
    /// [`NotVerified`] when no key did, or the bundle is made for a certificate.
    pub fn verify_with_keys(&self, artifact: Artifact<'_>, keys: &[PublicKey]) -> Result<KeyEvidence, NotVerified> {
        let Material::Key { hint } = &self.material else {
            return Err(NotVerified {
                code: Code::WrongKey,
                expected: "a bundle that was signed with a key".to_owned(),
                found: "one that has a certificate".to_owned(),
                advice: "name the identity and issuer that are to have signed it, or ask the signer for a bundle by key",
            });
        };
        if let Content::Message { .. } = &self.content {
            // A file that the bundle does not name is told so, rather than that the key is wrong.
            self.about(artifact)?;
        }
        let key = self.signer(artifact, keys).ok_or_else(|| NotVerified {
            code: Code::WrongKey,
            expected: format!("a signature by one of {} keys given", keys.len()),
            found: format!(
                "none of them made it; the bundle's hint of its key is `{}`",
                hint.escape_debug()
            ),
            advice: "give the signer's public key; if it is that, what was signed is not this",
        })?;
        let statement = self.about(artifact)?;
        Ok(KeyEvidence {
            key: key.clone(),
            artifact: artifact.digest(),
            statement,
        })
    }

    /// Returns the one of `keys` that made the signature.
    fn signer<'a>(&self, artifact: Artifact<'_>, keys: &'a [PublicKey]) -> Option<&'a PublicKey> {
        match (&self.content, artifact) {
            (Content::Envelope(envelope), _) => envelope.made_by(keys),
            (Content::Message { signature, .. }, Artifact::Bytes(bytes)) => signature::made_by(keys, bytes, signature),
            (Content::Message { signature, .. }, Artifact::Digest(digest)) => {
                signature::made_by_digest(keys, digest, signature)
            }
        }
    }

    /// Checks that the signed content is about `artifact`, and returns the statement that says so.
    ///
    /// The signature over the content is not checked here.
    pub(super) fn about(&self, artifact: Artifact<'_>) -> Result<Option<Statement>, NotVerified> {
        match &self.content {
            Content::Message { digest: None, .. } => Ok(None),
            Content::Message {
                digest: Some(digest), ..
            } => digest.check(artifact).map(|()| None),
            Content::Envelope(envelope) => statement_about(envelope, artifact).map(Some),
        }
    }
}

fn statement_about(envelope: &Envelope, artifact: Artifact<'_>) -> Result<Statement, NotVerified> {
    let statement = envelope.statement().map_err(|error: EnvelopeError| NotVerified {
        code: Code::Malformed,
        expected: "an in-toto statement about it".to_owned(),
        found: error.to_string(),
        advice: "ask the signer for a statement that names what it is about",
    })?;
    let digests = match artifact {
        Artifact::Digest(digest) => vec![*digest],
        // Statements name their subjects by either.
        Artifact::Bytes(bytes) => vec![Digest::sha256(bytes), Digest::sha512(bytes)],
    };
    match digests.iter().any(|digest| statement.is_about(digest)) {
        true => Ok(statement),
        false => Err(NotVerified {
            code: Code::DigestMismatch,
            expected: format!(
                "a statement about {}",
                digests.first().map(ToString::to_string).unwrap_or_default()
            ),
            found: format!("one about {} other artifacts", statement.subjects().len()),
            advice: "verify what was signed, or ask the signer to sign this",
        }),
    }
}

impl Content {
    /// Signs a file.
    ///
    /// # Errors
    /// As [`signature::sign`].
    pub fn file(file: &[u8], signer: &dyn Signer) -> Result<Self, KeyError> {
        Ok(Self::Message {
            digest: Some(MessageDigest::of(file)),
            signature: signature::sign(signer, file)?,
        })
    }

    /// Signs a statement.
    ///
    /// # Errors
    /// As [`signature::sign`].
    pub fn statement(statement: &Statement, signer: &dyn Signer) -> Result<Self, KeyError> {
        Envelope::sign(statement, signer).map(Self::Envelope)
    }

    /// Returns the signature.
    pub fn signature(&self) -> &[u8] {
        match self {
            Self::Envelope(envelope) => envelope.signatures().first().map(Vec::as_slice).unwrap_or_default(),
            Self::Message { signature, .. } => signature,
        }
    }
}

impl LogEntry {
    /// Reads an entry by itself, in the form that bundles have it in; it has to have a proof.
    ///
    /// # Errors
    /// [`BundleError`] when it is not of that form.
    pub fn from_value(value: serde_json::Value) -> Result<Self, BundleError> {
        read::log_entry(value)
    }
}

impl Artifact<'_> {
    /// Returns the artifact's digest: the one given, or SHA-256.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Bytes(bytes) => Some(Digest::sha256(bytes)),
            Self::Digest(digest) => Some(**digest),
        }
    }
}

impl MessageDigest {
    /// Hashes a file with SHA-256.
    pub fn of(file: &[u8]) -> Self {
        Self {
            algorithm: HashAlgorithm::Sha256,
            value: HashAlgorithm::Sha256.hash(file),
        }
    }

    fn check(&self, artifact: Artifact<'_>) -> Result<(), NotVerified> {
        let found = match artifact {
            Artifact::Bytes(bytes) => Some(self.algorithm.hash(bytes)),
            Artifact::Digest(digest) if digest.algorithm() == self.algorithm.name() => Some(digest.as_bytes().to_vec()),
            Artifact::Digest(_) => None,
        };
        if found.as_deref() == Some(&self.value) {
            return Ok(());
        }
        Err(NotVerified {
            code: Code::DigestMismatch,
            expected: format!(
                "{}:{}, which the bundle signs",
                self.algorithm.name(),
                hex::encode(&self.value)
            ),
            found: match found {
                Some(found) => format!("{}:{}", self.algorithm.name(), hex::encode(found)),
                None => "a digest of another algorithm".to_owned(),
            },
            advice: "verify the file that was signed, or ask the signer to sign this one",
        })
    }
}

impl HashAlgorithm {
    /// Returns the name in digests: `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns how many bytes a digest has.
    fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Hashes `bytes`.
    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        use sha2::Digest as _;
        match self {
            Self::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            Self::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
        }
    }
}

/// Why a bundle does not prove what was asked: a verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub struct NotVerified {
    /// Why, for machines.
    pub code: Code,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// What to do.
    pub advice: &'static str,
}

impl NotVerified {
    /// Makes the refusal of `subject` for this reason.
    pub fn refusal(&self, subject: impl fmt::Display) -> Refusal {
        Refusal::new(self.code, subject, &self.expected, &self.found, self.advice)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::attest::Subject;
    use crate::key::{Algorithm, SigningKey};

    const APP3: &[u8] = include_bytes!("../../tests/fixtures/cosign/app3.bundle.json");
    const ATT: &[u8] = include_bytes!("../../tests/fixtures/cosign/att.bundle.json");
    const IMAGE: &str = "sha256:00c3ff7895530356ba3ad7c58540e29b318da6e67527c8bc63914723119f202a";

    fn public(pem: &str) -> Vec<PublicKey> {
        vec![PublicKey::from_pem(pem).unwrap()]
    }

    fn ck() -> Vec<PublicKey> {
        public(include_str!("../../tests/fixtures/cosign/ck.pub"))
    }

    #[test]
    fn cosigns_bundles_verify_with_their_keys_and_no_other() {
        let image: Digest = IMAGE.parse().unwrap();
        let artifact = Artifact::Digest(&image);
        let a = public(include_str!("../../tests/fixtures/cosign/a.pub"));
        let b = public(include_str!("../../tests/fixtures/cosign/b.pub"));
        for (bytes, key, other) in [(APP3, &ck(), &a), (ATT, &a, &ck())] {
            let bundle = Bundle::parse(bytes).unwrap();
            let evidence = bundle.verify_with_keys(artifact, key).unwrap();
            assert_eq!(evidence.key(), key.first().unwrap());
            assert_eq!(
                evidence.statement().unwrap().predicate_type(),
                crate::attest::predicate::COSIGN_SIGN
            );
            for wrong in [other, &b] {
                let refused = bundle.verify_with_keys(artifact, wrong).unwrap_err();
                assert_eq!(refused.code, Code::WrongKey);
            }
            let another = Digest::sha256(b"another image");
            let refused = bundle.verify_with_keys(Artifact::Digest(&another), key).unwrap_err();
            assert_eq!(refused.code, Code::DigestMismatch);
        }
    }

    #[test]
    fn every_kind_of_key_signs_files_and_statements() {
        let file = b"a file".as_slice();
        let digest = Digest::sha256(file);
        for algorithm in [Algorithm::Ed25519, Algorithm::P256, Algorithm::P384, Algorithm::Rsa3072] {
            let key = SigningKey::generate_as(algorithm).unwrap();
            let keys = [key.public().clone()];
            let statement = Statement::new(Subject::of(None, &digest), "urn:x:y", None);
            for bundle in [
                Bundle::sign_file(file, &key).unwrap(),
                Bundle::sign_statement(&statement, &key).unwrap(),
            ] {
                let bundle = Bundle::parse(&bundle.encode()).unwrap();
                let evidence = bundle.verify_with_keys(Artifact::Bytes(file), &keys).unwrap();
                assert_eq!(evidence.artifact(), Some(&digest), "{algorithm}");
                let refused = bundle.verify_with_keys(Artifact::Bytes(b"another"), &keys);
                assert!(refused.is_err(), "{algorithm}");
                let by_digest = bundle.verify_with_keys(Artifact::Digest(&digest), &keys);
                // Ed25519 signs the file itself.
                let can = bundle.envelope().is_some() || algorithm != Algorithm::Ed25519;
                assert_eq!(by_digest.is_ok(), can, "{algorithm}");
                let another = Digest::sha256(b"another");
                assert!(bundle.verify_with_keys(Artifact::Digest(&another), &keys).is_err());
            }
        }
    }

    #[test]
    fn a_digest_that_the_bundle_names_has_to_be_the_files() {
        let key = SigningKey::generate_as(Algorithm::P256).unwrap();
        let keys = [key.public().clone()];
        let mut bundle = Bundle::sign_file(b"a file", &key).unwrap();
        assert!(bundle.verify_with_keys(Artifact::Bytes(b"a file"), &keys).is_ok());
        if let Content::Message { digest, .. } = &mut bundle.content {
            *digest = Some(MessageDigest::of(b"another"));
        }
        let refused = bundle.verify_with_keys(Artifact::Bytes(b"a file"), &keys).unwrap_err();
        assert_eq!(refused.code, Code::DigestMismatch);
    }

    #[test]
    fn a_bundle_with_a_certificate_proves_nothing_about_keys() {
        let key = SigningKey::generate_as(Algorithm::P256).unwrap();
        let keys = [key.public().clone()];
        let mut bundle = Bundle::sign_file(b"a file", &key).unwrap();
        bundle.material = Material::Certificate(vec![0x30]);
        let refused = bundle.verify_with_keys(Artifact::Bytes(b"a file"), &keys).unwrap_err();
        assert_eq!(refused.code, Code::WrongKey);
    }
}
