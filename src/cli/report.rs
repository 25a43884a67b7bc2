//! What a command prints in the end, as text or as JSON.

use std::borrow::Cow;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::Context;
use crate::failure::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// One JSON object
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
}

impl Report {
    /// Makes a report whose answer is yes.
    pub fn new(text: impl Into<String>, json: Value) -> Self {
        Self {
            text: text.into(),
            json,
            yes: true,
        }
    }
}

/// Prints `result` and says how the process ends: 0 yes, 1 refused, 2 wrong input, 3 could not find out.
pub(super) fn print(context: &Context, command: &str, result: Result<Report, Failure>) -> ExitCode {
    let code = match &result {
        Ok(report) => u8::from(!report.yes),
        Err(Failure::Refused(_)) => 1,
        Err(Failure::Malformed { .. }) => 2,
        Err(Failure::Unavailable { .. }) => 3,
    };
    let written = match context.output() {
        OutputFormat::Json => writeln!(io::stdout(), "{}", as_json(command, &result)),
        OutputFormat::Text => as_text(&result),
    };
    match written {
        // A reader that went away (`| head`) has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(3),
        _ => ExitCode::from(code),
    }
}

fn as_json(command: &str, result: &Result<Report, Failure>) -> Value {
    let (verdict, body) = match result {
        Ok(report) if report.yes => ("ok", json!({ "result": report.json })),
        Ok(report) => ("refused", json!({ "result": report.json })),
        Err(Failure::Refused(refusals)) => ("refused", json!({ "refusals": refusals })),
        Err(Failure::Malformed { subject, problem }) => (
            "malformed",
            json!({ "error": { "subject": subject, "problem": problem } }),
        ),
        Err(Failure::Unavailable { subject, problem }) => (
            "unavailable",
            json!({ "error": { "subject": subject, "problem": problem } }),
        ),
    };
    let mut all = json!({ "imgkit": env!("CARGO_PKG_VERSION"), "command": command, "verdict": verdict });
    if let (Some(all), Value::Object(body)) = (all.as_object_mut(), body) {
        all.extend(body);
    }
    all
}

fn as_text(result: &Result<Report, Failure>) -> io::Result<()> {
    match result {
        Ok(report) => io::stdout().write_all(printable(&report.text).as_bytes()),
        Err(Failure::Refused(refusals)) => {
            let mut err = io::stderr().lock();
            for refusal in refusals {
                writeln!(err, "imgkit: REFUSED {}", printable(&refusal.to_string()))?;
            }
            Ok(())
        }
        Err(failure) => writeln!(io::stderr(), "imgkit: {}", printable(&failure.to_string())),
    }
}

/// Escapes what a terminal would obey instead of show: names in images and documents are whatever somebody wrote there.
fn printable(text: &str) -> Cow<'_, str> {
    let is_shown = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
    let all_shown = |bytes: &[u8]| bytes.iter().fold(true, |all, byte| all & is_shown(byte));
    // By the piece, so that long lists are looked through at more than a byte at a time.
    if text.as_bytes().chunks(256).all(all_shown) {
        return Cow::Borrowed(text);
    }
    let obeyed = |c: char| {
        let turns_text_round = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (c.is_control() && c != '\n' && c != '\t') || turns_text_round
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
