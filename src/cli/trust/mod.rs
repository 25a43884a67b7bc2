//! `imgkit trust …`: collections of signed names, their keys, and what they say of an image.

mod airgap;
mod change;
mod chosen;
mod collections;
mod delegate;
mod difference;
mod doctor;
mod drafting;
mod history;
mod init;
mod key;
mod list;
mod lookup;
mod notary;
mod revoke;
mod root;
mod rotate;
mod serve;
mod sign;
mod signer;
mod stage;
mod states;
mod status;
mod trusting;
mod unsign;
mod verify;
mod witness;
mod word;

use clap::{Args, Subcommand};

use super::lazy::{Chosen, Lazy};
use super::{Context, Report};
use crate::failure::Failure;
use collections::TrustOptions;
pub(super) use notary::respell;
pub(super) use sign::{describe, resolver};

/// Signs images and files, and looks after collections.
#[derive(Debug, Args)]
pub(super) struct Trust {
    #[command(subcommand)]
    action: Chosen<Action>,
    #[command(flatten)]
    options: TrustOptions,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write what look-ups need into one file, to be carried over an air gap
    Export(Lazy<airgap::Export>),
    /// Check such a file against the pin, and take it over; `import notary …` takes a collection over from a Notary server
    Import(Lazy<airgap::Import>),
    /// Write all keys of a collection, and its pin, into one encrypted file
    Backup(Lazy<key::Backup>),
    /// Add this machine's signatures to a staged change
    Cosign(Lazy<stage::Cosign>),
    /// Look after the roles that are trusted with names
    Delegate(Lazy<delegate::Delegate>),
    /// Show what two collections, or two versions of one, differ in
    Diff(Lazy<history::Diff>),
    /// Say what is broken, and which command mends it; exit 1 when something is
    Doctor(Lazy<doctor::Doctor>),
    /// Show who signed what when
    History(Lazy<history::History>),
    /// Make a collection with new keys
    Init(Lazy<init::Init>),
    /// Show a collection's roles, keys, versions and expiries
    Inspect(Lazy<list::Inspect>),
    /// Look after private keys
    Key(Lazy<key::Key>),
    /// Show what a collection says of a name
    Lookup(Lazy<lookup::Lookup>),
    /// List what a collection signs
    Ls(Lazy<list::Ls>),
    /// Change collections on a Notary server; also spelled by --server behind these commands
    Notary(Lazy<notary::Notary>),
    /// Publish a staged change that enough keys signed
    Publish(Lazy<stage::Publish>),
    /// Sign again, with later expiries, what is due: also metadata that have expired
    Renew(Lazy<status::Renew>),
    /// Take a key that is lost or stolen from every role
    Revoke(Lazy<revoke::Revoke>),
    /// Make a new root with keys that are offline
    Root(Lazy<root::RootCommand>),
    /// Give a role new keys
    Rotate(Lazy<rotate::Rotate>),
    /// Serve collections to `notary` and `docker trust`: the Notary server's HTTP API
    Serve(Lazy<serve::Serve>),
    /// Put the keys of a backup back that are not here
    Restore(Lazy<key::Restore>),
    /// Sign images, or a file
    Sign(Lazy<sign::Sign>),
    /// Look after the keys of roles
    Signer(Lazy<signer::Signer>),
    /// Write a change to a file, for others to sign, instead of publishing it
    Stage(Lazy<stage::Stage>),
    /// Say when a collection's metadata expire; exit 1 when some are due for renewal
    Status(Lazy<status::Status>),
    /// Take names out of a collection
    Unsign(Lazy<unsign::Unsign>),
    /// Check an image, or a file, against what a collection says of it
    Verify(Lazy<verify::Verify>),
    /// Sign what a role says already, also when those who signed it no longer may
    Witness(Lazy<witness::Witness>),
}

impl Trust {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        self.action.run(context, &self.options)
    }
}

impl Action {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        match self {
            Self::Cosign(command) => command.run(context, options),
            Self::Delegate(command) => command.run(context, options),
            Self::Diff(command) => command.run(context, options),
            Self::Doctor(command) => command.run(context, options),
            Self::History(command) => command.run(context, options),
            Self::Revoke(command) => command.run(context, options),
            Self::Witness(command) => command.run(context, options),
            Self::Backup(command) => command.run(context, options),
            Self::Key(command) => command.run(context, options),
            Self::Restore(command) => command.run(context, options),
            Self::Export(command) => command.run(context, options),
            Self::Import(command) => command.run(context, options),
            Self::Init(command) => command.run(context, options),
            Self::Inspect(command) => command.run(context, options),
            Self::Lookup(command) => command.run(context, options),
            Self::Ls(command) => command.run(context, options),
            Self::Notary(command) => command.run(context, options),
            Self::Publish(command) => command.run(context, options),
            Self::Renew(command) => command.run(context, options),
            Self::Root(command) => command.run(context, options),
            Self::Rotate(command) => command.run(context, options),
            Self::Serve(command) => command.run(context, options),
            Self::Sign(command) => command.run(context, options),
            Self::Signer(command) => command.run(context, options),
            Self::Stage(command) => command.run(context, options),
            Self::Status(command) => command.run(context, options),
            Self::Unsign(command) => command.run(context, options),
            Self::Verify(command) => command.run(context, options),
        }
    }

    /// Tells whether the command changes a collection, so that the change can be staged.
    fn changes(&self) -> bool {
        if let Self::Root(command) = self {
            return command.finishes();
        }
        matches!(
            self,
            Self::Delegate(_)
                | Self::Renew(_)
                | Self::Revoke(_)
                | Self::Rotate(_)
                | Self::Sign(_)
                | Self::Signer(_)
                | Self::Unsign(_)
                | Self::Witness(_)
        )
    }
}
