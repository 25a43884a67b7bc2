//! `imgkit sigstore …`: signatures and attestations beside images, as cosign writes and reads them.

mod attest;
mod blob;
mod copy;
mod gate;
mod generate;
mod initialize;
mod keys;
mod place;
mod sign;
mod sign_blob;
mod signing;
mod tree;
mod trusted;
mod verifier;
mod verify;
mod verify_blob;
mod verify_bundle;

pub(super) use trusted::read_trusted_root;

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
    /// Fetch whom to trust in a sigstore instance from its TUF repository, and keep it
    Initialize(Lazy<initialize::Initialize>),
    /// Sign an image in a registry
    Sign(Lazy<sign::Sign>),
    /// Sign a file
    SignBlob(Lazy<sign_blob::SignBlob>),
    /// Sign a file into a bundle; exit 0 or 1
    SignBundle(Lazy<sign_blob::SignBundle>),
    /// List what is attached to an image, and what a policy makes of each signature and attestation
    Tree(Lazy<tree::Tree>),
    /// Verify an image's signatures, or its attestations of a type, by key or by an identity
    Verify(Lazy<verify::Verify>),
    /// Verify a file's signature, by key or by an identity
    VerifyBlob(Lazy<verify_blob::VerifyBlob>),
    /// Verify any sigstore bundle offline, by an identity or by key; exit 0 or 1
    VerifyBundle(Lazy<verify_bundle::VerifyBundle>),
}

impl Sigstore {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        match &*self.action {
            Action::Attest(command) => command.run(context),
            Action::Copy(command) => command.run(context),
            Action::GenerateKeyPair(command) => command.run(context),
            Action::Initialize(command) => command.run(context),
            Action::Sign(command) => command.run(context),
            Action::SignBlob(command) => command.run(context),
            Action::SignBundle(command) => command.run(context),
            Action::Tree(command) => command.run(context),
            Action::Verify(command) => command.run(context),
            Action::VerifyBlob(command) => command.run(context),
            Action::VerifyBundle(command) => command.run(context),
        }
    }

    /// Tells whether the command ends with 0 or 1 alone, as sigstore's conformance suite has it.
    pub(super) fn is_generic(&self) -> bool {
        matches!(&*self.action, Action::SignBundle(_) | Action::VerifyBundle(_))
    }
}
