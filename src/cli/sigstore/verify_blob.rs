//! `imgkit sigstore verify-blob`: verifies a file's signature, by key or by an identity.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::blob;
use super::verifier::{Verifier, VerifierOptions};
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::limit;
use crate::sigstore::bundle::{Artifact, detached};
use crate::sigstore::signature::{fingerprint, made_by};
use crate::store::file::read_limited;

/// Verifies a file's signature, by key or by an identity.
#[derive(Debug, Args)]
pub(super) struct VerifyBlob {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    verifier: VerifierOptions,
    /// The sigstore bundle with the signature
    #[arg(long, value_name = "FILE", required_unless_present = "signature")]
    bundle: Option<PathBuf>,
    /// The signature: in base64 or as it is, or cosign's older bundle with nothing else in it
    #[arg(long, value_name = "FILE", conflicts_with = "bundle", requires = "key")]
    signature: Option<PathBuf>,
}

impl VerifyBlob {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let subject = self.file.display();
        let verifier = self.verifier.read(context)?;
        let bytes = blob::file(&self.file)?;
        let key = match (&self.bundle, &self.signature, &verifier) {
            (Some(path), _, Verifier::Identity(..)) => {
                let bundle = blob::bundle(path)?;
                return verifier.judge(&subject.to_string(), &bundle, Artifact::Bytes(&bytes), context.now()?);
            }
            (Some(path), _, Verifier::Keys(keys)) => {
                let verified = blob::bundle(path)?.verify_with_keys(Artifact::Bytes(&bytes), keys);
                let evidence = verified.map_err(|refused| refused.refusal(subject))?;
                evidence.key().clone()
            }
            (None, Some(path), Verifier::Keys(keys)) => {
                let signature = detached::signature(&read_limited(path, limit::ATTACHED_BYTES)?);
                let signature = signature.map_err(|error| Failure::malformed(path.display(), error))?;
                made_by(keys, &bytes, &signature).cloned().ok_or_else(|| {
                    Refusal::new(
                        Code::WrongKey,
                        subject,
                        format!("a signature over it by one of {} keys given", keys.len()),
                        format!("none of them made the one in {}", path.display()),
                        "give the signer's public key; if it is that, the file is not the one that was signed",
                    )
                })?
            }
            (None, ..) => {
                return Err(Failure::malformed(
                    "--bundle",
                    "give a bundle, or a signature and --key",
                ));
            }
        };
        let (digest, key) = (Digest::sha256(&bytes), fingerprint(&key));
        let text = format!(
            "VERIFIED {}\n  digest  {digest}\n  key     {key}\n",
            self.file.display()
        );
        Ok(Report::new(
            text,
            json!({ "file": self.file, "digest": digest, "key": key }),
        ))
    }
}
