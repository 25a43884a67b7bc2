//! `imgkit sigstore sign-blob` and `sign-bundle`: sign a file.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::json;

use super::blob;
use super::keys::SigningOptions;
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::sigstore::bundle::Bundle;
use crate::sigstore::signature::fingerprint;

/// Signs a file.
#[derive(Debug, Args)]
pub(super) struct SignBlob {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    key: SigningOptions,
    /// Write a sigstore bundle, version 0.3: the signature, and which key made it
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Write the signature alone, in base64 [default without --bundle: on standard output]
    #[arg(long, value_name = "FILE")]
    output_signature: Option<PathBuf>,
}

/// Signs a file, with the command line of sigstore's conformance suite as far as it needs no identity; exit 0 or 1.
#[derive(Debug, Args)]
pub(super) struct SignBundle {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    key: SigningOptions,
    /// The bundle that is written
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
}

impl SignBlob {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        sign(
            context,
            &self.file,
            &self.key,
            self.bundle.as_deref(),
            self.output_signature.as_deref(),
        )
    }
}

impl SignBundle {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        sign(context, &self.file, &self.key, Some(&self.bundle), None)
    }
}

fn sign(
    context: &Context,
    file: &Path,
    key: &SigningOptions,
    bundle: Option<&Path>,
    signature: Option<&Path>,
) -> Result<Report, Failure> {
    let bytes = blob::file(file)?;
    let signer = key.signer(context)?;
    let signed = Bundle::sign_file(&bytes, &*signer);
    let signed =
        signed.map_err(|error| Failure::unavailable(file.display(), format!("it cannot be signed: {error}")))?;
    let text = STANDARD.encode(signed.signature());
    if let Some(path) = bundle {
        blob::write(path, &signed.encode())?;
    }
    if let Some(path) = signature {
        blob::write(path, text.as_bytes())?;
    }
    let key = fingerprint(signer.public());
    context.say(&format!("signed {} with {key}", file.display()));
    let json = json!({
        "file": file, "digest": Digest::sha256(&bytes), "key": key, "signature": text, "bundle": bundle, "output": signature,
    });
    let text = match (bundle, signature) {
        (None, None) => format!("{text}\n"),
        _ => String::new(),
    };
    Ok(Report::new(text, json))
}
