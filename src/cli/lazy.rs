//! Command lines of which only what is asked for is set up: a command pays for its own options, not for everybody's.

use std::cell::RefCell;
use std::ffi::OsString;
use std::ops::Deref;

use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id, Parser, Subcommand};

thread_local! {
    /// The words of the command line that is being parsed, while only what they name is set up; else all of it is at once.
    static WORDS: RefCell<Option<Vec<OsString>>> = const { RefCell::new(None) };
}

/// Parses a command line.
///
/// # Errors
/// As [`Parser::try_parse_from`]: help, and what is wrong, knows all commands.
pub(super) fn parse<T: Parser>(words: Vec<OsString>) -> Result<T, Error> {
    WORDS.set(Some(words.clone()));
    let parsed = T::try_parse_from(&words);
    WORDS.take();
    parsed.or_else(|_| T::try_parse_from(words))
}

/// Subcommands, of which those are set up that the command line names; all of them where it names none.
#[derive(Clone, Debug)]
pub(super) struct Chosen<T>(T);

impl<T> Deref for Chosen<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: FromArgMatches> FromArgMatches for Chosen<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Subcommand> Subcommand for Chosen<T> {
    fn augment_subcommands(command: Command) -> Command {
        choose(command, T::augment_subcommands)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        choose(command, T::augment_subcommands_for_update)
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}

fn choose(command: Command, augment: fn(Command) -> Command) -> Command {
    let all = augment(Command::new("all"));
    let is_named = |subcommand: &&Command| {
        let mut names = std::iter::once(subcommand.get_name()).chain(subcommand.get_all_aliases());
        names.any(|name| WORDS.with_borrow(|words| words.iter().flatten().any(|word| word == name)))
    };
    let named: Vec<_> = all.get_subcommands().filter(is_named).cloned().collect();
    match named.is_empty() {
        true => augment(command),
        false => command.subcommands(named),
    }
}

/// The arguments `T` of one subcommand of many, set up when it is chosen.
#[derive(Clone, Debug)]
pub(super) struct Lazy<T>(Box<T>);

impl<T> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: FromArgMatches> FromArgMatches for Lazy<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(|arguments| Self(Box::new(arguments)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Lazy<T> {
    fn group_id() -> Option<Id> {
        T::group_id()
    }

    fn augment_args(command: Command) -> Command {
        match WORDS.with_borrow(Option::is_some) {
            true => command.defer(|command| described_as_before(command, T::augment_args)),
            false => T::augment_args(command),
        }
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

/// Sets up arguments; what the list of subcommands said of the subcommand stays its description.
fn described_as_before(command: Command, augment: fn(Command) -> Command) -> Command {
    let (about, long) = (command.get_about().cloned(), command.get_long_about().cloned());
    let command = augment(command);
    command
        .about(Resettable::from(about))
        .long_about(Resettable::from(long))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_command_line_means_what_it_means_to_all_commands() {
        Cli::command().debug_assert();
        for line in [
            "imgkit trust ls",
            "imgkit trust --trust-dir ls sign r.example/a:v1",
            "imgkit --output json trust notary --server https://n lookup a v1",
            "imgkit trust notary ls --role sign verify",
            "imgkit tuf --metadata-dir d init root.json",
            "imgkit policy --output text",
            "imgkit trust lokup x",
            "imgkit trust help lookup",
            "imgkit help trust notary sign",
            "imgkit trust lookup --help",
            "imgkit trust",
            "imgkit",
        ] {
            let show = |parsed: Result<Cli, Error>| match parsed {
                Ok(cli) => format!("{cli:?}"),
                Err(error) => error.to_string(),
            };
            assert_eq!(
                show(parse(words(line))),
                show(Cli::try_parse_from(words(line))),
                "{line}"
            );
        }
    }
}
