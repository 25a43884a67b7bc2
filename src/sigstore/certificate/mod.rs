//! Bundles whose key is in a certificate: somebody proved an identity to a certificate authority, and signed within minutes.
//!
//! What is verified, for one bundle and one trusted root; all of it has to hold:
//! - The certificate comes from a trusted authority, was valid at **every** proved time, is for signing code, has one identity, and
//!   a trusted certificate-transparency log saw it (SCT).
//! - Identity and issuer are those that were asked for: exactly, or by an expression that has to match all of it.
//! - The signature is good, over this artifact or a statement that has it among its subjects.
//! - Each log entry is in a trusted log: inclusion proof, checkpoint of **that** log, and promise where there is one; and it is the
//!   entry of this very signature, certificate and digest.
//! - Times are an RFC 3161 authority's, or a log's where its promise is good. None lies after `now`.
//! - As many different logs and witnesses of the time as [`Demand`] says.
//!
//! The crate `sigstore-verify` does the larger part, with this crate's cryptography; it is given the bundle as [`Bundle::encode`] writes
//! what was read, so that nothing can mean different things to two readers. What it leaves open is in `log` and `profile`. It reads
//! the machine's clock itself, to refuse what lies in the future; `now` is checked beside that.

mod crypto;
mod identity;
mod log;
mod made;
mod profile;
mod root;

pub use identity::{IdentityError, Matcher, Signer};
pub use made::Parts;
pub use root::{TrustedRoot, TrustedRootError};

use std::num::NonZeroUsize;

use sigstore_verify::types as theirs;
use sigstore_verify::{Error, VerificationPolicy};

use super::bundle::{Artifact, Bundle, Material, NotVerified};
use crate::attest::Statement;
use crate::digest::Digest;
use crate::failure::Code;
use crate::time::Time;

/// How many witnesses there have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Different transparency logs that have the signature.
    pub logs: NonZeroUsize,
    /// Different witnesses of the time: RFC 3161 authorities, and logs by their promise.
    pub times: NonZeroUsize,
}

impl Default for Demand {
    /// One log and one witness of the time.
    fn default() -> Self {
        Self {
            logs: NonZeroUsize::MIN,
            times: NonZeroUsize::MIN,
        }
    }
}

/// What was found good, all of it proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateEvidence {
    identity: String,
    issuer: String,
    certificate: Digest,
    entries: Vec<Logged>,
    times: Vec<WitnessedTime>,
    statement: Option<Statement>,
}

/// An entry that is in a log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Logged {
    /// The log's URL in the trusted root.
    pub log: String,
    /// The entry's place, as the log counts; in its own shard where no promise binds the place in all of it.
    pub index: u64,
    /// What the entry is: `hashedrekord 0.0.1`.
    pub kind: String,
}

/// When the signature was there, by somebody's word.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct WitnessedTime {
    /// The witness: a log's or an authority's URL in the trusted root.
    pub by: String,
    /// The time.
    pub time: String,
}

impl CertificateEvidence {
    /// Returns the signer's identity: an address or a URI.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns who vouches for the identity: an OpenID Connect issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the certificate's digest.
    pub fn certificate(&self) -> &Digest {
        &self.certificate
    }

    /// Returns the proved log entries: one at least.
    pub fn entries(&self) -> &[Logged] {
        &self.entries
    }

    /// Returns the proved times: one at least.
    pub fn times(&self) -> &[WitnessedTime] {
        &self.times
    }

    /// Describes it for machines.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "identity": self.identity, "issuer": self.issuer, "certificate": self.certificate, "entries": self.entries,
            "times": self.times,
        })
    }

    /// Returns the statement, where one was signed; it has the artifact among its subjects.
    pub fn statement(&self) -> Option<&Statement> {
        self.statement.as_ref()
    }
}

impl Bundle {
    /// Checks that `signer` signed `artifact`: its bytes, or a statement that has it among its subjects.
    ///
    /// # Errors
    /// [`NotVerified`] when anything of what the [module](self) lists does not hold.
    pub fn verify_with_certificate(
        &self,
        artifact: Artifact<'_>,
        root: &TrustedRoot,
        signer: &Signer,
        demand: Demand,
        now: Time,
    ) -> Result<CertificateEvidence, NotVerified> {
        let certificate = match self.material() {
            Material::Certificate(der) => der,
            Material::Chain(chain) => chain.first().ok_or_else(|| malformed("the chain is empty"))?,
            Material::Key { .. } => {
                return Err(NotVerified {
                    code: Code::Identity,
                    expected: format!("a certificate for {signer}"),
                    found: "a bundle that was signed with a key".to_owned(),
                    advice: "give the public key that is to have signed it, or ask the signer for a bundle with a certificate",
                });
            }
        };
        profile::check(certificate)?;
        // Whose statement it is matters only if it is about this; a plain answer comes first.
        let statement = self.about(artifact)?;
        let text = String::from_utf8(self.encode()).map_err(|error| malformed(&error.to_string()))?;
        let bundle = theirs::Bundle::from_json(&text).map_err(|error| malformed(&error.to_string()))?;
        let given = their_artifact(artifact)?;
        let found = root
            .verifier()
            .verify(given, &bundle, &VerificationPolicy::any_identity())
            .map_err(|error| reason(&error))?;
        let whole = found.certificate_verified() && found.sct_verified() && found.tlog_verified();
        let (Some(identity), Some(issuer), true) = (found.identity(), found.issuer(), whole) else {
            return Err(NotVerified {
                code: Code::Certificate,
                expected: "a certificate with an identity and its issuer".to_owned(),
                found: "one without".to_owned(),
                advice: "ask the signer for a bundle by a certificate authority that writes both",
            });
        };
        signer.check(identity.as_str(), issuer)?;
        let entries = log::prove(self, root)?;
        let times = log::times(self, root, &entries, now)?;
        enough(
            "transparency logs",
            demand.logs,
            entries.iter().map(|entry| entry.log.as_str()),
        )?;
        enough(
            "witnesses of the time",
            demand.times,
            times.iter().map(|time| time.by.as_str()),
        )?;
        Ok(CertificateEvidence {
            identity: identity.as_str().to_owned(),
            issuer: issuer.to_owned(),
            certificate: Digest::sha256(certificate),
            entries,
            times,
            statement,
        })
    }
}

/// Checks that there are as many different witnesses as there have to be.
fn enough<'a>(what: &str, demand: NonZeroUsize, found: impl Iterator<Item = &'a str>) -> Result<(), NotVerified> {
    let found: std::collections::BTreeSet<&str> = found.collect();
    match found.len() >= demand.get() {
        true => Ok(()),
        false => Err(NotVerified {
            code: Code::Threshold,
            expected: format!("{demand} different {what}"),
            found: format!("{}", found.len()),
            advice: "ask the signer for a bundle with as many",
        }),
    }
}

fn their_artifact<'a>(artifact: Artifact<'a>) -> Result<theirs::Artifact<'a>, NotVerified> {
    let digest = match artifact {
        Artifact::Bytes(bytes) => return Ok(theirs::Artifact::from_blob(bytes)),
        Artifact::Digest(digest) => digest,
    };
    let algorithm = match digest {
        Digest::Sha256(_) => theirs::HashAlgorithm::Sha2256,
        Digest::Sha512(_) => theirs::HashAlgorithm::Sha2512,
    };
    let digest = theirs::ArtifactDigest::new(algorithm, digest.as_bytes().to_vec());
    digest
        .map(theirs::Artifact::from_digest)
        .map_err(|error| malformed(&error.to_string()))
}

fn malformed(found: &str) -> NotVerified {
    NotVerified {
        code: Code::Malformed,
        expected: "a sigstore bundle with a certificate".to_owned(),
        found: found.to_owned(),
        advice: "ask the signer for another bundle",
    }
}

/// Says in the house's words what `sigstore-verify` refused.
fn reason(error: &Error) -> NotVerified {
    use sigstore_verify::CertificateError;
    let (code, expected, advice) = match error {
        Error::Certificate(CertificateError::NotYetValid { .. } | CertificateError::Expired { .. }) => (
            Code::Expired,
            "a signature made while its certificate was valid",
            "ask the signer to sign again: certificates are valid for minutes",
        ),
        Error::Certificate(CertificateError::Sct(_)) => (
            Code::Certificate,
            "a certificate that a trusted certificate-transparency log saw",
            "check that the trusted root is the signer's; if it is, treat the certificate as forged",
        ),
        Error::Certificate(_) => (
            Code::Certificate,
            "a certificate for signing code that a trusted authority issued",
            "check that the trusted root is the signer's; if it is, treat the certificate as forged",
        ),
        Error::TransparencyLog(_) => (
            Code::NotLogged,
            "an entry of a trusted transparency log for this very signature",
            "check that the trusted root is the signer's; if it is, treat the bundle as forged",
        ),
        Error::Timestamp(_) => (
            Code::Timestamp,
            "a proof by a trusted authority or log of when the signature was there",
            "check that the trusted root is the signer's; if it is, treat the bundle as forged",
        ),
        Error::ArtifactMismatch(_) => (
            Code::DigestMismatch,
            "a signature over this artifact",
            "verify what was signed, or ask the signer to sign this",
        ),
        Error::SignatureInvalid(_) => (
            Code::WrongKey,
            "a good signature by the certificate's key",
            "fetch the bundle again; if it stays so, treat it as forged",
        ),
        _ => (
            Code::Malformed,
            "a sigstore bundle with a certificate, a log entry and a signature",
            "ask the signer for another bundle",
        ),
    };
    NotVerified {
        code,
        expected: expected.to_owned(),
        found: error.to_string(),
        advice,
    }
}
