//! `imgkit trust notary …`, also spelled `imgkit trust … --server URL`: collections on a Notary server.
//!
//! Keys and what was trusted lie where docker and notary have them, `~/.docker/trust`, so that each can go on from the others.

mod content;
mod delegate;
mod delete;
mod import;
mod init;
mod passphrases;
mod read;
mod renew;
mod rotate;
mod session;
mod sign;
mod witness;

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::TrustOptions;
use crate::cli::lazy::{Chosen, Lazy};
use crate::cli::{Context, Report};
use crate::failure::Failure;

/// Commands that `trust` has for its own collections as well, and that `--server` makes commands of this module.
const ALSO_OF_TRUST: [&str; 11] = [
    "delegate", "delete", "init", "lookup", "ls", "renew", "rotate", "sign", "unsign", "verify", "witness",
];

/// Changes collections on a Notary server.
#[derive(Debug, Args)]
pub(super) struct Notary {
    #[command(subcommand)]
    action: Chosen<Action>,
    #[command(flatten)]
    options: ServerOptions,
}

/// Which server, and how it and the collection are trusted.
#[derive(Clone, Debug, Args)]
struct ServerOptions {
    /// The Notary server: https://HOST[:PORT]
    #[arg(long, global = true, value_name = "URL", env = "DOCKER_CONTENT_TRUST_SERVER")]
    server: Option<String>,
    /// The dialect of the collection, which is Notary's
    #[arg(long, global = true, value_name = "DIALECT", value_parser = ["notary"], hide = true)]
    dialect: Option<String>,
    /// Trust whatever root the server has now, of a collection that the trust directory does not know
    #[arg(long, global = true)]
    unsafe_trust_on_first_use: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Trust others with names, or no longer, or list who is trusted
    Delegate(Lazy<delegate::Delegate>),
    /// Delete a collection with its history from the server
    Delete(Lazy<delete::Delete>),
    /// Sign what collections say anew, as a TUF collection; also spelled `imgkit trust import notary`
    Import(Lazy<import::Import>),
    /// Make a collection
    Init(Lazy<init::Init>),
    /// Show what a collection says of a name
    Lookup(Lazy<read::Lookup>),
    /// List what a collection signs
    Ls(Lazy<read::Ls>),
    /// Sign again, with later expiries, what is due: also metadata that have expired
    Renew(Lazy<renew::Renew>),
    /// Give a role a new key, or have the server hold it
    Rotate(Lazy<rotate::Rotate>),
    /// Sign names: images, files, or any digests
    Sign(Lazy<sign::Sign>),
    /// Remove names
    Unsign(Lazy<sign::Unsign>),
    /// Check a collection, a name, or a file
    Verify(Lazy<read::Verify>),
    /// Sign roles again as they are, with today's keys and later expiries
    Witness(Lazy<witness::Witness>),
}

impl Notary {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let session = || session::Session::open(context, options, &self.options);
        match &*self.action {
            Action::Delegate(command) => command.run(&session()?),
            Action::Delete(command) => command.run(&session()?),
            Action::Import(command) => command.run(context, options, &self.options),
            Action::Init(command) => command.run(&session()?),
            Action::Lookup(command) => command.run(&session()?),
            Action::Ls(command) => command.run(&session()?),
            Action::Renew(command) => command.run(&session()?),
            Action::Rotate(command) => command.run(&session()?),
            Action::Sign(command) => command.run(&session()?),
            Action::Unsign(command) => command.run(&session()?),
            Action::Verify(command) => command.run(&session()?),
            Action::Witness(command) => command.run(&session()?),
        }
    }
}

/// Turns `trust COMMAND … --server URL` (or `--dialect notary`) into `trust notary COMMAND …`, and `trust import notary` into
/// `trust notary import`.
pub(in crate::cli) fn respell(arguments: Vec<OsString>) -> Vec<OsString> {
    let at = arguments
        .windows(3)
        .position(|words| *words == ["trust", "import", "notary"].map(OsString::from));
    if let Some(at) = at {
        let mut respelled = arguments;
        respelled.swap(at + 1, at + 2);
        return respelled;
    }
    let is = |argument: &OsString, text: &str| argument == text;
    let before_end: Vec<_> = arguments.iter().take_while(|argument| !is(argument, "--")).collect();
    let asks_for_it = before_end.iter().enumerate().any(|(at, argument)| {
        let text = argument.to_string_lossy();
        let next = before_end.get(at + 1);
        text == "--server"
            || text.starts_with("--server=")
            || text == "--dialect=notary"
            || (text == "--dialect" && next.is_some_and(|next| is(next, "notary")))
    });
    let trust = before_end.iter().position(|argument| is(argument, "trust"));
    let command = trust.and_then(|trust| {
        let commands = before_end.iter().skip(trust + 1);
        let found = commands
            .clone()
            .position(|argument| ALSO_OF_TRUST.iter().any(|name| is(argument, name)));
        // A command of `trust` that is written before it is the command.
        let others = commands.take(found?).any(|argument| is(argument, "notary"));
        (!others).then_some(trust)
    });
    let Some(trust) = command.filter(|_| asks_for_it) else {
        return arguments;
    };
    let mut respelled = arguments;
    respelled.insert(trust + 1, "notary".into());
    respelled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respelled(text: &str) -> String {
        let arguments = respell(text.split(' ').map(OsString::from).collect());
        let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn a_server_makes_commands_of_trust_commands_of_notary() {
        assert_eq!(
            respelled("imgkit trust sign --server https://n a v1"),
            "imgkit trust notary sign --server https://n a v1"
        );
        assert_eq!(
            respelled("imgkit --output json trust --at 2026-01-01T00:00:00Z init --dialect notary a"),
            "imgkit --output json trust notary --at 2026-01-01T00:00:00Z init --dialect notary a"
        );
        assert_eq!(
            respelled("imgkit trust renew --server=https://n a targets"),
            "imgkit trust notary renew --server=https://n a targets"
        );
        assert_eq!(
            respelled("imgkit trust import notary --server https://n a --into b"),
            "imgkit trust notary import --server https://n a --into b"
        );
        for same in [
            "imgkit trust sign r.example/a:v1",
            "imgkit trust notary sign --server https://n a v1",
            "imgkit trust status --server https://n a",
            "imgkit trust sign r.example/a:v1 -- --server",
            "imgkit build --server x",
        ] {
            assert_eq!(respelled(same), same);
        }
    }
}
