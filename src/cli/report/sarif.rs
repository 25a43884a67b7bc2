//! SARIF 2.1.0 (OASIS), which code hosts show beside the lines that it names.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::checks::{Check, State};

/// Writes checks as one run: what is bad as errors, what is good as passed, what is unknown as notes that the run is not whole.
pub(super) fn write(checks: &[Check]) -> Value {
    let mut rules = BTreeSet::new();
    let mut results = Vec::new();
    let mut notes = Vec::new();
    for check in checks {
        let (rule, kind, level, text) = match &check.state {
            State::Good => ("GOOD", "pass", "none", check.name.as_str()),
            State::Bad { code, text } => (code.as_str(), "fail", "error", text.as_str()),
            State::Unknown { code, text } => {
                let mut note = json!({ "level": "error", "message": { "text": text }, "descriptor": { "id": code } });
                if let (Some(note), Some(locations)) = (note.as_object_mut(), locations(check)) {
                    note.insert("locations".to_owned(), locations);
                }
                notes.push(note);
                continue;
            }
        };
        rules.insert(rule);
        let mut result = json!({ "ruleId": rule, "kind": kind, "level": level, "message": { "text": text } });
        if let (Some(result), Some(locations)) = (result.as_object_mut(), locations(check)) {
            result.insert("locations".to_owned(), locations);
        }
        results.push(result);
    }
    let rules: Vec<Value> = rules.into_iter().map(|id| json!({ "id": id })).collect();
    let invocation = json!({ "executionSuccessful": notes.is_empty(), "toolExecutionNotifications": notes });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "imgkit", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "invocations": [invocation],
            "results": results,
        }],
    })
}

fn locations(check: &Check) -> Option<Value> {
    let place = check.place.as_ref()?;
    Some(json!([{ "physicalLocation": {
        "artifactLocation": { "uri": uri(&place.file) },
        "region": { "startLine": place.line, "startColumn": place.column },
    } }]))
}

/// Writes a path as a relative or `file:` URI (RFC 3986): what is not unreserved or `/` is percent-encoded.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        assert_eq!(uri("policy/a b#1.yml"), "policy/a%20b%231.yml");
        assert_eq!(uri("/etc/p.yml"), "file:///etc/p.yml");
    }
}
