//! `imgkit trust …`: collections of signed names, their keys, and what they say of an image.

mod airgap;
mod collections;
mod init;
mod key;
mod list;
mod notary;
mod serve;
mod sign;
mod status;
mod verify;

use clap::{Args, Subcommand};

use super::{Context, Report};
use crate::failure::Failure;
use collections::TrustOptions;
pub(super) use notary::respell;

/// Signs images and files, and looks after collections.
#[derive(Debug, Args)]
pub(super) struct Trust {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: TrustOptions,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write what look-ups need into one file, to be carried over an air gap
    Export(airgap::Export),
    /// Check such a file against the pin, and take it over
    Import(airgap::Import),
    /// Write all keys of a collection, and its pin, into one encrypted file
    Backup(key::Backup),
    /// Make a collection with new keys
    Init(init::Init),
    /// Show a collection's roles, keys, versions and expiries
    Inspect(list::Inspect),
    /// Look after private keys
    Key(key::Key),
    /// List what a collection signs
    Ls(list::Ls),
    /// Change collections on a Notary server; also spelled by --server behind these commands
    Notary(notary::Notary),
    /// Sign again, with later expiries, what is due: also metadata that have expired
    Renew(status::Renew),
    /// Serve collections to `notary` and `docker trust`: the Notary server's HTTP API
    Serve(Box<serve::Serve>),
    /// Put the keys of a backup back that are not here
    Restore(key::Restore),
    /// Sign images, or a file
    Sign(sign::Sign),
    /// Say when a collection's metadata expire; exit 1 when some are due for renewal
    Status(status::Status),
    /// Check an image, or a file, against what a collection says of it
    Verify(verify::Verify),
}

impl Trust {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let options = &self.options;
        match &self.action {
            Action::Export(command) => command.run(context, options),
            Action::Import(command) => command.run(context, options),
            Action::Backup(command) => command.run(context, options),
            Action::Init(command) => command.run(context, options),
            Action::Key(command) => command.run(context, options),
            Action::Restore(command) => command.run(context, options),
            Action::Inspect(command) => command.run(context, options),
            Action::Ls(command) => command.run(context, options),
            Action::Notary(command) => command.run(context, options),
            Action::Renew(command) => command.run(context, options),
            Action::Serve(command) => command.run(context, options),
            Action::Sign(command) => command.run(context, options),
            Action::Status(command) => command.run(context, options),
            Action::Verify(command) => command.run(context, options),
        }
    }
}
