//! `imgkit sigstore verify-bundle`: verifies any sigstore bundle, offline, with the command line of sigstore's conformance suite.

use std::path::PathBuf;

use clap::Args;

use super::blob::{self, Given};
use super::verifier::VerifierOptions;
use crate::cli::{Context, Report};
use crate::failure::Failure;

/// Verifies a bundle, by an identity or by key, offline; exit 0 or 1.
#[derive(Debug, Args)]
pub(super) struct VerifyBundle {
    /// What was signed: a file, or sha256:HEX
    artifact: Given,
    /// The bundle
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    #[command(flatten)]
    verifier: VerifierOptions,
}

impl VerifyBundle {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let verifier = self.verifier.read(context)?;
        let bundle = blob::bundle(&self.bundle)?;
        let held = self.artifact.read()?;
        verifier.judge(&self.artifact.to_string(), &bundle, held.artifact(), context.now()?)
    }
}
