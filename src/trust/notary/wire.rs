//! Metadata files as Go's `encoding/json` writes them: members sorted, no white space, characters that mean something in HTML
//! escaped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::key::NotarySignature;
use crate::json::JsonError;

/// Writes `{"signed":…,"signatures":[…]}`, in this order, without a newline.
pub(super) fn envelope(signed: &Value, signatures: &[NotarySignature]) -> Result<Vec<u8>, JsonError> {
    let mut out = String::from("{\"signed\":");
    write(signed, &mut out)?;
    out.push_str(",\"signatures\":[");
    for (at, signature) in signatures.iter().enumerate() {
        let members = [
            ("keyid", signature.keyid.as_str()),
            ("method", signature.method.as_str()),
            ("sig", &STANDARD.encode(&signature.sig)),
        ];
        out.push_str(if at > 0 { ",{" } else { "{" });
        for (at, (name, text)) in members.into_iter().enumerate() {
            out.push_str(if at > 0 { "," } else { "" });
            write_text(name, &mut out);
            out.push(':');
            write_text(text, &mut out);
        }
        out.push('}');
    }
    out.push_str("]}");
    Ok(out.into_bytes())
}

fn write(value: &Value, out: &mut String) -> Result<(), JsonError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) if number.is_f64() => return Err(JsonError::Number(number.to_string())),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (at, (name, member)) in members.into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_text(name, out);
                out.push(':');
                write(member, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => out.push_str(&format!("\\u{:04x}", c as u32)),
            _ => out.push(c),
        }
    }
    out.push('"');
}
