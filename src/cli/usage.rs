//! What is wrong with a command line, told in the forms that the line itself asks for.

use std::ffi::OsString;
use std::process::ExitCode;

use super::report::{self, Outputs};
use super::{Context, tuf};
use crate::failure::Failure;

/// Prints help, or what is wrong with the command line `words` (the program's name first), and returns the exit code.
///
/// People read it on standard error, whatever else is asked for: nobody knows yet who reads.
pub(super) fn print(error: &clap::Error, words: &[OsString]) -> ExitCode {
    // Talk that nobody reads is no reason to fail otherwise.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let (named, outputs) = read(words);
    let command = named.first().copied().unwrap_or_default();
    let text = error.to_string();
    let problem = text
        .split("\n\n")
        .next()
        .and_then(|first| first.strip_prefix("error: "));
    // Where the whole help stands for what is wrong.
    let problem = problem.unwrap_or("expected a subcommand; --help lists them");
    let failure = Failure::malformed("the command line", problem);
    let code = report::print(&Context::new(outputs), command, Err(failure));
    match (command, named.get(1)) {
        ("tuf", _) | ("sigstore", Some(&("sign-bundle" | "verify-bundle"))) => tuf::exit_code(code),
        _ => code,
    }
}

/// Returns the words that are no options, and where machines are to find the result.
fn read(words: &[OsString]) -> (Vec<&str>, Outputs) {
    let (mut named, mut outputs) = (Vec::new(), Vec::new());
    let mut words = words.iter().skip(1).filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let output = match word.strip_prefix("--output") {
            Some("") => words.next(),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        outputs.extend(output.and_then(|output| output.parse().ok()));
        if !word.starts_with('-') {
            named.push(word);
        }
    }
    (named, Outputs::for_machines(outputs))
}
