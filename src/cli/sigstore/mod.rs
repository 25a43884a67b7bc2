//! `imgkit sigstore …`: signatures and attestations beside images, as cosign writes and reads them.

mod attest;
mod copy;
mod generate;
mod keys;
mod place;
mod sign;
mod tree;
mod verify;

use clap::{Args, Subcommand};

use super::lazy::{Chosen, Lazy};
use super::{Context, Report};
use crate::failure::Failure;

/// Signs and verifies images as cosign does.
#[derive(Debug, Args)]
pub(super) struct Sigstore {
    #[command(subcommand)]
    action: Chosen<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Sign what is stated of an image in a registry: a provenance, an SBOM, its tree digests
    Attest(Lazy<attest::Attest>),
    /// Copy an image with all its signatures and attestations: between registries, layouts and tar archives
    Copy(Lazy<copy::Copy>),
    /// Make a key pair in cosign's form
    GenerateKeyPair(Lazy<generate::GenerateKeyPair>),
    /// Sign an image in a registry
    Sign(Lazy<sign::Sign>),
    /// List what is attached to an image: signatures, attestations and the rest
    Tree(Lazy<tree::Tree>),
    /// Verify an image's signatures, or its attestations of a type, with public keys
    Verify(Lazy<verify::Verify>),
}

impl Sigstore {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        match &*self.action {
            Action::Attest(command) => command.run(context),
            Action::Copy(command) => command.run(context),
            Action::GenerateKeyPair(command) => command.run(context),
            Action::Sign(command) => command.run(context),
            Action::Tree(command) => command.run(context),
            Action::Verify(command) => command.run(context),
        }
    }
}
