//! `imgkit sigstore initialize`: whom to trust, from a sigstore instance's TUF repository.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::trusted::state;
use crate::cli::web::WebArgs;
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::store::file::read_limited;

/// Fetches and keeps the newest trusted root of a sigstore instance, by TUF: verification then uses it.
#[derive(Debug, Args)]
pub(super) struct Initialize {
    /// The URL of the TUF repository [default: the one that was asked last, at first the public instance's]
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// The root.json to begin with, got in a safe way [default: the public instance's, as of this build]
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    #[command(flatten)]
    web: WebArgs,
}

impl Initialize {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let root = self.root.as_ref().map(|path| read_limited(path, limit::ROOT_BYTES));
        let root = root.transpose()?;
        let dir = state(context)?;
        let instance = dir.initialize(
            self.mirror.as_deref(),
            root.as_deref(),
            &self.web.options(),
            context.now()?,
        )?;
        let digest = Digest::sha256(&instance.trusted_root);
        let mut text = format!(
            "trusted root {digest}\n  from       {}\n  kept in    {}\n",
            instance.mirror,
            dir.path().display()
        );
        for standing in &instance.metadata {
            let _ = writeln!(
                text,
                "  {:<10} version {}, expires {}",
                standing.role, standing.version, standing.expires
            );
        }
        let json = json!({
            "trustedRoot": digest, "signingConfig": instance.signing_config.as_deref().map(Digest::sha256), "mirror": instance.mirror,
            "directory": dir.path(), "refreshed": instance.refreshed, "metadata": instance.metadata,
        });
        Ok(Report::new(text, json))
    }
}
