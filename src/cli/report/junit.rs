//! JUnit's XML, as test reporters of build servers read it.

use std::fmt::Write as _;

use super::checks::{Check, State};

/// Writes the checks of a command as one suite.
pub(super) fn write(command: &str, checks: &[Check]) -> String {
    let count = |is: fn(&State) -> bool| checks.iter().filter(|check| is(&check.state)).count();
    let failures = count(|state| matches!(state, State::Bad { .. }));
    let errors = count(|state| matches!(state, State::Unknown { .. }));
    let (tests, suite) = (checks.len(), quoted(&format!("imgkit {command}")));
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{suite}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">"
    );
    for check in checks {
        let name = quoted(&check.name);
        let mut case = format!("    <testcase classname=\"{suite}\" name=\"{name}\"");
        if let Some(place) = &check.place {
            let _ = write!(case, " file=\"{}\" line=\"{}\"", quoted(&place.file), place.line);
        }
        let (element, code, text) = match &check.state {
            State::Good => {
                let _ = writeln!(xml, "{case}/>");
                continue;
            }
            State::Bad { code, text } => ("failure", code.as_str(), text),
            State::Unknown { code, text } => ("error", *code, text),
        };
        let (code, text) = (quoted(code), quoted(text));
        let _ = writeln!(
            xml,
            "{case}>\n      <{element} type=\"{code}\" message=\"{code}\">{text}</{element}>\n    </testcase>"
        );
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Writes text so that it is text in XML 1.0, in elements and attributes alike; characters that XML has none of are shown as escapes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => quoted.push_str("&amp;"),
            '<' => quoted.push_str("&lt;"),
            '>' => quoted.push_str("&gt;"),
            '"' => quoted.push_str("&quot;"),
            '\n' => quoted.push_str("&#10;"),
            '\t' => quoted.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => quoted.extend(c.escape_unicode()),
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Place;

    #[test]
    fn each_check_is_a_case_and_text_stays_text() {
        let place = Place {
            file: "a&b.yml".to_owned(),
            line: 3,
            column: 1,
        };
        let state = |state| Check {
            name: "r.example/<a>\u{1b}".to_owned(),
            place: Some(place.clone()),
            state,
        };
        let checks = [
            Check::good("good", None),
            state(State::Bad {
                code: "UNSIGNED".to_owned(),
                text: "expected \"x\"\nfound ]]>".to_owned(),
            }),
            state(State::Unknown {
                code: "UNAVAILABLE",
                text: "no answer".to_owned(),
            }),
        ];
        insta::assert_snapshot!(write("verify", &checks));
    }
}
