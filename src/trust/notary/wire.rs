//! Metadata files as Go's `encoding/json` writes them: members sorted, no white space, characters that mean something in HTML
//! escaped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key::NotarySignature;
use crate::json;

/// Writes `{"signed":…,"signatures":[…]}`, in this order, without a newline; `signed` is canonical.
pub(super) fn envelope(signed: &[u8], signatures: &[NotarySignature]) -> Vec<u8> {
    let mut out = Vec::with_capacity(signed.len() + 512 * (1 + signatures.len()));
    out.extend_from_slice(b"{\"signed\":");
    escape(signed, &mut out);
    let mut list = b",\"signatures\":[".to_vec();
    for (at, signature) in signatures.iter().enumerate() {
        let members = [
            ("keyid", signature.keyid.as_str()),
            ("method", signature.method.as_str()),
            ("sig", &STANDARD.encode(&signature.sig)),
        ];
        list.extend_from_slice(if at > 0 { b",{" } else { b"{" });
        for (at, (name, text)) in members.into_iter().enumerate() {
            list.extend_from_slice(if at > 0 { b"," } else { b"" });
            json::write_text(name, &mut list);
            list.push(b':');
            json::write_text(text, &mut list);
        }
        list.push(b'}');
    }
    list.extend_from_slice(b"]}");
    escape(&list, &mut out);
    out
}

/// Writes canonical text as Go writes it: the same but for characters that only texts have in it.
fn escape(canonical: &[u8], out: &mut Vec<u8>) {
    let mut rest = canonical;
    while let Some(at) = rest
        .iter()
        .position(|byte| matches!(byte, 0..=0x1f | b'<' | b'>' | b'&' | 0xe2))
    {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        let (escaped, length) = match from {
            [b'\n', ..] => ("\\n".to_owned(), 1),
            [b'\r', ..] => ("\\r".to_owned(), 1),
            [b'\t', ..] => ("\\t".to_owned(), 1),
            [0xe2, 0x80, 0xa8, ..] => ("\\u2028".to_owned(), 3),
            [0xe2, 0x80, 0xa9, ..] => ("\\u2029".to_owned(), 3),
            [0xe2, ..] | [] => (String::new(), 0),
            [byte, ..] => (format!("\\u{byte:04x}"), 1),
        };
        out.extend_from_slice(escaped.as_bytes());
        // Of another character that begins with the same byte, that byte stands for itself.
        let kept = usize::from(length == 0);
        out.extend_from_slice(from.get(..kept).unwrap_or_default());
        rest = from.get(length.max(kept)..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}
