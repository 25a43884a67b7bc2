//! The command line: one file per command; the only reader of clock, environment and terminal.
//!
//! Results go to standard output, talk to standard error. With `--output json` every command that reports prints one
//! JSON object, on success and on failure. Exit codes: 0 yes, 1 refused, 2 wrong usage or configuration, 3 could not find out.

mod build;
mod cache;
mod completions;
mod context;
mod disk;
mod judge;
mod lazy;
mod passphrase;
mod pkg;
mod place;
mod policy;
mod quickstart;
mod report;
mod run;
mod seal;
mod seal_key;
mod sigstore;
mod store;
mod trust;
mod tuf;
mod usage;
mod verify;
mod vsa;
mod web;

pub use context::Context;
pub use report::{Output, OutputFormat, Outputs, Report};

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::failure::Failure;
use lazy::{Chosen, Lazy};

/// Signs, assembles and verifies immutable node images.
///
/// Components are OCI images signed with TUF metadata; `build` refuses any that a policy does not admit and
/// assembles a bootable disk, bit for bit reproducible, without root; `verify` checks a finished disk offline.
#[derive(Debug, Parser)]
#[command(name = "imgkit", version, max_term_width = 110)]
pub struct Cli {
    /// How results are printed: text, json, sarif or junit; FORMAT=PATH writes to a file, beside what is printed. May be repeated
    /// [default: text]
    #[arg(long, global = true, value_name = "FORMAT[=PATH]")]
    output: Vec<Output>,
    #[command(subcommand)]
    command: Chosen<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image whose every component satisfies a policy
    Build(Lazy<build::Build>),
    /// Look after the local store of images
    Cache(Lazy<cache::Cache>),
    /// Print a completion script for a shell
    Completions(Lazy<completions::Completions>),
    /// Write down what each image of a specification is now, and the time
    Lock(Lazy<build::LockCommand>),
    /// Write the manual pages into a directory
    Man(Lazy<completions::Man>),
    /// Make components of Debian packages or of a directory
    Pkg(Lazy<pkg::Pkg>),
    /// Check policies and explain what they decide
    Policy(Lazy<policy::PolicyCommand>),
    /// Do the whole main job in a directory of its own: components, signatures, disk, boot
    Quickstart(Lazy<quickstart::Quickstart>),
    /// Verify a disk and boot it in QEMU
    Run(Lazy<run::Run>),
    /// Seal an image in two phases
    Seal(Lazy<seal::SealCommand>),
    /// Show what an image says of itself, without judging
    Show(Lazy<verify::Show>),
    /// Sign and verify images as cosign does
    Sigstore(Lazy<sigstore::Sigstore>),
    /// Sign images and files, and look after the collections of signatures
    Trust(Lazy<trust::Trust>),
    /// Refresh metadata of any TUF repository, and download what they sign
    Tuf(Lazy<tuf::Tuf>),
    /// Verify a finished image, offline
    Verify(Lazy<verify::Verify>),
}

/// Runs the command that the process's arguments name.
pub fn run() -> ExitCode {
    let words = trust::respell(std::env::args_os().collect());
    let cli = match lazy::parse::<Cli>(words.clone()) {
        Ok(cli) => cli,
        Err(error) => return usage::print(&error, &words),
    };
    let outputs = match Outputs::new(cli.output) {
        Ok(outputs) => outputs,
        Err(problem) => {
            let error = Cli::command().error(clap::error::ErrorKind::ArgumentConflict, problem);
            return usage::print(&error, &words);
        }
    };
    let context = Context::new(outputs);
    let (name, result): (&str, Result<Report, Failure>) = match &*cli.command {
        Command::Build(command) => ("build", command.run(&context)),
        Command::Cache(command) => ("cache", command.run(&context)),
        Command::Completions(command) => ("completions", command.run()),
        Command::Lock(command) => ("lock", command.run(&context)),
        Command::Man(command) => ("man", command.run()),
        Command::Pkg(command) => ("pkg", command.run(&context)),
        Command::Policy(command) => ("policy", command.run(&context)),
        Command::Quickstart(command) => ("quickstart", command.run(&context)),
        Command::Run(command) => ("run", command.run(&context)),
        Command::Seal(command) => ("seal", command.run(&context)),
        Command::Show(command) => ("show", command.run()),
        Command::Sigstore(command) => ("sigstore", command.run(&context)),
        Command::Trust(command) => ("trust", command.run(&context)),
        Command::Tuf(command) => ("tuf", command.run(&context)),
        Command::Verify(command) => ("verify", command.run(&context)),
    };
    let code = report::print(&context, name, result);
    match &*cli.command {
        Command::Tuf(_) => tuf::exit_code(code),
        Command::Sigstore(command) if command.is_generic() => tuf::exit_code(code),
        _ => code,
    }
}
