//! What a command prints in the end: as text, as JSON, as SARIF, as JUnit's XML.

mod checks;
mod junit;
mod output;
mod sarif;

pub(super) use checks::{Check, MALFORMED_INPUT, State, UNAVAILABLE};
pub use output::{Output, Outputs};

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::Context;
use crate::failure::{Failure, Refusal};
use crate::store::file::NewFile;
use output::Form;

/// Who reads results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// People.
    Text,
    /// Machines.
    Json,
}

/// A command's result in both forms.
#[derive(Clone, Debug)]
pub struct Report {
    /// For people; ends with a newline unless empty.
    pub text: String,
    /// For machines.
    pub json: Value,
    /// Whether the answer is yes (exit code 0) or no (exit code 1).
    pub yes: bool,
    /// Why the answer is no, each reason once, where it is a verdict.
    pub refusals: Vec<Refusal>,
    /// What could not be found out first: where the answer is not no, nobody knows it (exit code 3).
    pub unknown: Option<Failure>,
    /// What was judged, one by one, where the command tells.
    pub(super) checks: Vec<Check>,
}

impl Report {
    /// Makes a report whose answer is yes.
    pub fn new(text: impl Into<String>, json: Value) -> Self {
        Self {
            text: text.into(),
            json,
            yes: true,
            refusals: Vec::new(),
            unknown: None,
            checks: Vec::new(),
        }
    }

    /// Makes a report of verdicts: no where one is no, else unknown where one could not be found out.
    pub fn of_verdicts<'a>(
        text: impl Into<String>,
        json: Value,
        verdicts: impl IntoIterator<Item = &'a Result<(), Failure>>,
    ) -> Self {
        let mut report = Self::new(text, json);
        for failure in verdicts.into_iter().filter_map(|verdict| verdict.as_ref().err()) {
            match failure {
                Failure::Refused(refusals) => {
                    report.yes = false;
                    report.refusals.extend_from_slice(refusals);
                }
                other => drop(report.unknown.get_or_insert_with(|| other.clone())),
            }
        }
        report
    }
}

/// Prints `result` and says how the process ends: 0 yes, 1 refused, 2 wrong input, 3 could not find out.
pub(super) fn print(context: &Context, command: &str, result: Result<Report, Failure>) -> ExitCode {
    let code = match &result {
        Ok(report) if !report.yes => 1,
        Ok(report) if report.unknown.is_some() => 3,
        Ok(_) => 0,
        Err(Failure::Refused(_)) => 1,
        Err(Failure::Malformed { .. }) => 2,
        Err(Failure::Unavailable { .. }) => 3,
    };
    let mut end: u8 = code;
    for output in context.outputs().iter() {
        let written = match (&output.path, output.form) {
            (None, Form::Text) => as_text(&result).map_err(|error| (error.kind(), error.to_string())),
            (None, form) => {
                let text = rendered(command, form, &result);
                let written = io::stdout().write_all(text.as_bytes());
                written.map_err(|error| (error.kind(), error.to_string()))
            }
            (Some(path), form) => put(path, &rendered(command, form, &result))
                .map_err(|failure| (io::ErrorKind::Other, failure.to_string())),
        };
        match written {
            Ok(()) => {}
            // A reader that went away (`| head`) has what it wanted.
            Err((io::ErrorKind::BrokenPipe, _)) => {}
            Err((_, problem)) => {
                context.say(&format!("the result could not be written: {problem}"));
                // A no stays a no, whoever is told.
                end = if code == 0 { 3 } else { code };
            }
        }
    }
    ExitCode::from(end)
}

/// Writes a report to a file, which has its name once it is whole.
fn put(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = NewFile::beside(path)?;
    let written = file.write_all(text.as_bytes());
    written.map_err(|error| Failure::unavailable(path.display(), error))?;
    file.finish(path)
}

fn rendered(command: &str, form: Form, result: &Result<Report, Failure>) -> String {
    match form {
        Form::Text => match result {
            Ok(report) => printable(&report.text).into_owned(),
            Err(failure) => format!("{}\n", printable(&failure.to_string())),
        },
        Form::Json => format!("{}\n", as_json(command, result)),
        Form::Sarif => format!("{:#}\n", sarif::write(&checks::of(command, result))),
        Form::Junit => junit::write(command, &checks::of(command, result)),
    }
}

/// Writes the object that every command prints, with the same members whatever came of it (docs/output.md).
fn as_json(command: &str, result: &Result<Report, Failure>) -> Value {
    let none: &[Refusal] = &[];
    let (verdict, body, refusals, problem) = match result {
        Ok(report) => {
            let verdict = match (report.yes, &report.unknown) {
                (false, _) => "refused",
                (true, Some(_)) => "unavailable",
                (true, None) => "ok",
            };
            (verdict, &report.json, &*report.refusals, report.unknown.as_ref())
        }
        Err(Failure::Refused(refusals)) => ("refused", &Value::Null, &**refusals, None),
        Err(failure @ Failure::Malformed { .. }) => ("malformed", &Value::Null, none, Some(failure)),
        Err(failure @ Failure::Unavailable { .. }) => ("unavailable", &Value::Null, none, Some(failure)),
    };
    json!({
        "imgkit": env!("CARGO_PKG_VERSION"), "command": command, "verdict": verdict, "result": body, "refusals": refusals,
        "error": problem.map(error),
    })
}

/// Describes what is wrong with the input, or could not be found out.
fn error(failure: &Failure) -> Value {
    match failure {
        Failure::Malformed { subject, problem } => {
            json!({ "code": MALFORMED_INPUT, "subject": subject, "problem": problem })
        }
        Failure::Unavailable { subject, problem } => {
            json!({ "code": UNAVAILABLE, "subject": subject, "problem": problem })
        }
        Failure::Refused(_) => Value::Null,
    }
}

fn as_text(result: &Result<Report, Failure>) -> io::Result<()> {
    match result {
        Ok(report) => io::stdout().write_all(printable(&report.text).as_bytes()),
        Err(Failure::Refused(refusals)) => {
            let mut err = io::stderr().lock();
            let word = match colour(err.is_terminal()) {
                true => "\x1b[1;31mREFUSED\x1b[0m",
                false => "REFUSED",
            };
            for refusal in refusals {
                writeln!(err, "imgkit: {word} {}", printable(&refusal.to_string()))?;
            }
            Ok(())
        }
        Err(failure) => writeln!(io::stderr(), "imgkit: {}", printable(&failure.to_string())),
    }
}

/// Tells whether a stream is written in colour: on a terminal alone, and not where the user wants none (no-color.org).
pub(super) fn colour(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Escapes what a terminal would obey instead of show: names in images and documents are whatever somebody wrote there.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let is_shown = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
    let all_shown = |bytes: &[u8]| bytes.iter().fold(true, |all, byte| all & is_shown(byte));
    // By the piece, so that long lists are looked through at more than a byte at a time.
    if text.as_bytes().chunks(256).all(all_shown) {
        return Cow::Borrowed(text);
    }
    let obeyed = |c: char| {
        let turns_text_round = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let ends_lines = matches!(c, '\u{2028}' | '\u{2029}');
        (c.is_control() && c != '\n' && c != '\t') || turns_text_round || ends_lines
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match obeyed(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_shown_names_and_never_obeys_them() {
        assert_eq!(printable("a\tb\n"), "a\tb\n");
        assert_eq!(printable("node\u{1b}[2K\rVERIFIED"), "node\\u{1b}[2K\\u{d}VERIFIED");
        assert_eq!(printable("\u{202e}lmy.edon"), "\\u{202e}lmy.edon");
    }
}
