//! JSON as Go writes it (`json.MarshalIndent` with four spaces), so that generated files equal LinuxKit's byte for byte.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// Writes `value`; only types of this module come here, whose maps have text keys and whose numbers are integers.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    // Writing such values to memory cannot fail.
    if value.serialize(&mut serializer).is_err() {
        bytes.clear();
    }
    escape_as_go(&bytes)
}

/// Go writes these characters of strings, which nothing else in JSON has, as escapes.
fn escape_as_go(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, rest.get(..3)) {
            (b'<', _) => out.extend(b"\\u003c"),
            (b'>', _) => out.extend(b"\\u003e"),
            (b'&', _) => out.extend(b"\\u0026"),
            (_, Some(b"\xe2\x80\xa8")) => out.extend(b"\\u2028"),
            (_, Some(b"\xe2\x80\xa9")) => out.extend(b"\\u2029"),
            _ => {
                out.push(byte);
                rest = tail;
                continue;
            }
        }
        let width = if byte == 0xe2 { 3 } else { 1 };
        rest = rest.get(width..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_does() {
        let value = serde_json::json!({ "a": ["<&>\u{2028}é\u{80}"], "b": {}, "c": [] });
        let text = "{\n    \"a\": [\n        \"\\u003c\\u0026\\u003e\\u2028é\u{80}\"\n    ],\n    \"b\": {},\n    \"c\": []\n}";
        assert_eq!(String::from_utf8_lossy(&encode(&value)), text);
    }
}
