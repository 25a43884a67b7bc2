//! `imgkit policy`: one file for each of its commands.

mod check;
mod explain;
mod export;
mod gate;
mod import;
mod prove;
mod schema;
mod test;
mod verify;

use std::path::Path;

use clap::{Args, Subcommand};

use super::{Context, Report};
use crate::failure::Failure;
use crate::limit;
use crate::policy::{Environment, Policy};
use crate::store::file::{read_inside, read_limited};

/// Checks policies and explains what they decide.
#[derive(Debug, Args)]
pub(super) struct PolicyCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a policy and print what it admits, in each of its environments
    Check(check::Check),
    /// Say which rule decides about an image or a finished disk, what was found of each requirement, and what would satisfy it
    Explain(Box<explain::Explain>),
    /// Write a policy for tools that pull images; what they cannot demand is rejected, and said
    Export(export::Export),
    /// Read another tool's policy as one of ours; what cannot be carried over is denied, and said
    Import(import::Import),
    /// Show with throw-away keys that the policy refuses images that are unsigned, wrongly signed, expired or rolled back
    Prove(prove::Prove),
    /// Print the grammar of policies as JSON Schema (draft 2020-12)
    Schema,
    /// Judge made-up images, and compare with what is expected
    Test(test::Test),
    /// Say whether the policy admits images; a verdict is kept as long as what it rests on, and no longer than a day
    Verify(Box<verify::Verify>),
}

impl PolicyCommand {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        match &self.action {
            Action::Check(command) => command.run(),
            Action::Explain(command) => command.run(context),
            Action::Export(command) => command.run(context),
            Action::Import(command) => command.run(context),
            Action::Prove(command) => command.run(context),
            Action::Schema => Ok(schema::run()),
            Action::Test(command) => command.run(context),
            Action::Verify(command) => command.run(context),
        }
    }
}

/// Reads the policy at `path`, what it includes from its own directory, and the overlay of an environment.
pub(super) fn read(path: &Path, environment: Environment<'_>) -> Result<Policy, Failure> {
    of_bytes(path, &read_limited(path, limit::POLICY_BYTES)?, environment)
}

/// Reads the policy whose file has these bytes, as [`read`]; a pipe gives them once.
fn of_bytes(path: &Path, bytes: &[u8], environment: Environment<'_>) -> Result<Policy, Failure> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    Policy::load(&dir.display().to_string(), &name, environment, &mut |inner| {
        // The policy itself may be a link; what it includes may not lead elsewhere.
        match *inner == *name {
            true => Ok(bytes.to_vec()),
            false => read_inside(dir, inner, limit::POLICY_BYTES),
        }
    })
}
