//! `imgkit sigstore generate-key-pair`: a key in cosign's own form.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::passphrase::PassphraseOptions;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::{Algorithm, KeyError, SigningKey};
use crate::sigstore::signature::fingerprint;
use crate::store::key_store::write_new;

/// Makes a key pair for cosign and imgkit: PREFIX.key, encrypted as cosign does, and PREFIX.pub.
#[derive(Debug, Args)]
pub(super) struct GenerateKeyPair {
    /// What both files' names begin with
    #[arg(long, value_name = "PREFIX", default_value = "cosign")]
    output_key_prefix: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseOptions,
}

impl GenerateKeyPair {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let file = |ending: &str| {
            let mut name = self.output_key_prefix.clone().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        let (private, public) = (file(".key"), file(".pub"));
        let about = |error: KeyError| Failure::unavailable(private.display(), error);
        let passphrase = self.passphrase.new_one(context)?;
        // The only kind that cosign makes.
        let key = SigningKey::generate_as(Algorithm::P256).map_err(about)?;
        let pem = key.to_cosign_pem(&passphrase).map_err(about)?;
        write_new(&private, pem.as_bytes())?;
        write_new(&public, key.public().to_pem().map_err(about)?.as_bytes())?;
        let print = fingerprint(key.public());
        let text = format!(
            "made the key {print}: {} (encrypted), {}\n",
            private.display(),
            public.display()
        );
        Ok(Report::new(
            text,
            json!({ "key": print, "private": private, "public": public }),
        ))
    }
}
