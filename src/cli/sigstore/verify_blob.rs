//! `imgkit sigstore verify-blob`: verifies a file's signature, by key or by an identity, or a statement about it, by key.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::blob;
use super::verifier::{Verifier, VerifierOptions};
use crate::attest::PredicateType;
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::key::PublicKey;
use crate::limit;
use crate::sigstore::bundle::{Artifact, detached};
use crate::sigstore::envelope::{Envelope, EnvelopeError};
use crate::sigstore::signature::{fingerprint, made_by};
use crate::store::file::read_limited;

/// Verifies a file's signature, by key or by an identity, or what somebody signed about it, by key.
#[derive(Debug, Args)]
pub(super) struct VerifyBlob {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    verifier: VerifierOptions,
    /// The sigstore bundle with the signature
    #[arg(long, value_name = "FILE", required_unless_present_any = ["signature", "attestation"])]
    bundle: Option<PathBuf>,
    /// The signature: in base64 or as it is, or cosign's older bundle with nothing else in it
    #[arg(long, value_name = "FILE", conflicts_with = "bundle", requires = "key")]
    signature: Option<PathBuf>,
    /// A signed statement about the file, a DSSE envelope; it is shown, and is for others to judge
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "signature"], requires = "key")]
    attestation: Option<PathBuf>,
    /// The type that the statement's predicate must be of: vsa or another short name of cosign's, or a URI
    #[arg(long = "type", value_name = "TYPE", requires = "attestation")]
    kind: Option<PredicateType>,
}

impl VerifyBlob {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let subject = self.file.display();
        let verifier = self.verifier.read(context)?;
        if let (Some(path), Verifier::Keys(keys)) = (&self.attestation, &verifier) {
            return self.attested(path, keys);
        }
        let bytes = blob::file(&self.file)?;
        let key = match (&self.bundle, &self.signature, &verifier) {
            (Some(path), _, Verifier::Identity(..)) => {
                let bundle = blob::bundle(path)?;
                return verifier.judge(&subject.to_string(), &bundle, Artifact::Bytes(&bytes), context.now()?);
            }
            (Some(path), _, Verifier::Keys(keys)) => {
                let verified = blob::bundle(path)?.verify_with_keys(Artifact::Bytes(&bytes), keys);
                let evidence = verified.map_err(|refused| refused.refusal(&subject))?;
                evidence.key().clone()
            }
            (None, Some(path), Verifier::Keys(keys)) => {
                let signature = detached::signature(&read_limited(path, limit::ATTACHED_BYTES)?);
                let signature = signature.map_err(|error| Failure::malformed(path.display(), error))?;
                let key = made_by(keys, &bytes, &signature);
                key.cloned().ok_or_else(|| self.by_nobody(path, keys.len()))?
            }
            (None, ..) => {
                return Err(Failure::malformed(
                    "--bundle",
                    "give a bundle, or a signature and --key",
                ));
            }
        };
        let (digest, key) = (Digest::sha256(&bytes), fingerprint(&key));
        let text = format!("VERIFIED {subject}\n  digest  {digest}\n  key     {key}\n");
        Ok(Report::new(
            text,
            json!({ "file": self.file, "digest": digest, "key": key }),
        ))
    }

    /// Verifies that one of `keys` signed the statement in an envelope, and that it is about the file.
    fn attested(&self, path: &Path, keys: &[PublicKey]) -> Result<Report, Failure> {
        let subject = self.file.display();
        let bad = |error: EnvelopeError| Failure::malformed(path.display(), error);
        let envelope = Envelope::parse(&read_limited(path, limit::ENVELOPE_BYTES)?).map_err(bad)?;
        let key = envelope.made_by(keys).ok_or_else(|| self.by_nobody(path, keys.len()))?;
        let statement = envelope.statement().map_err(bad)?;
        let digest = blob::digest(&self.file)?;
        if !statement.is_about(&digest) {
            let expected = format!("a statement about {digest}");
            let advice = "give the statement about this file; if it is that, the file is not the one that it is about";
            let found = "one about something else";
            return Err(Refusal::new(Code::DigestMismatch, subject, expected, found, advice).into());
        }
        let kind = statement.predicate_type();
        if let Some(wanted) = self.kind.as_ref().filter(|wanted| wanted.uri() != kind) {
            let expected = format!("a statement of type {wanted}");
            let advice = "give the statement of that type";
            return Err(Refusal::new(Code::Unsigned, subject, expected, format!("one of type {kind}"), advice).into());
        }
        let key = fingerprint(key);
        let text = format!("VERIFIED {subject}\n  digest  {digest}\n  key     {key}\n  states  {kind}\n");
        let json = json!({
            "file": self.file, "digest": digest, "key": key,
            "signed": { "predicateType": kind, "predicate": statement.predicate() },
        });
        Ok(Report::new(text, json))
    }

    fn by_nobody(&self, path: &Path, keys: usize) -> Refusal {
        Refusal::new(
            Code::WrongKey,
            self.file.display(),
            format!("a signature over it by one of {keys} keys given"),
            format!("none of them made the one in {}", path.display()),
            "give the signer's public key; if it is that, the file is not the one that was signed",
        )
    }
}
