//! `imgkit sigstore sign-blob` and `sign-bundle`: sign a file.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use super::blob;
use super::signing::{Author, SigningOptions};
use super::verifier::add_identity;
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::sigstore::bundle::Bundle;
use crate::sigstore::signature::fingerprint;
use crate::store::sigstore_services::Unsigned;

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

/// Signs a file, with the command line of sigstore's conformance suite; exit 0 or 1.
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
    let subject = file.display().to_string();
    let digest = Digest::sha256(&bytes);
    let mut json = json!({ "file": file, "digest": digest, "bundle": bundle, "output": signature });
    let (signed, by) = match key.author(context)? {
        Author::Key(signer) => {
            let signed = Bundle::sign_file(&bytes, &*signer);
            let cannot = |error| Failure::unavailable(&subject, format!("it cannot be signed: {error}"));
            let by = fingerprint(signer.public());
            add(&mut json, "key", json!(by));
            (signed.map_err(cannot)?, by.to_string())
        }
        Author::Identity(identity) => {
            if bundle.is_none() {
                let problem = "give it: a signature by an identity cannot be verified without its certificate";
                return Err(Failure::malformed("--bundle", problem));
            }
            let (signed, evidence) = identity.sign(context, &subject, Unsigned::File(&bytes))?;
            add_identity(&mut json, identity.trusted(), &evidence);
            let by = format!("{}, says {}", evidence.identity(), evidence.issuer());
            (signed, by)
        }
    };
    let text = STANDARD.encode(signed.signature());
    add(&mut json, "signature", json!(text));
    if let Some(path) = bundle {
        blob::write(path, &signed.encode())?;
    }
    if let Some(path) = signature {
        blob::write(path, text.as_bytes())?;
    }
    context.say(&format!("signed {subject} with {by}"));
    let text = match (bundle, signature) {
        (None, None) => format!("{text}\n"),
        _ => String::new(),
    };
    Ok(Report::new(text, json))
}

fn add(json: &mut Value, name: &str, value: Value) {
    if let Some(members) = json.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}
