//! The files of an upload, out of a `multipart/form-data` body (RFC 7578, RFC 2046 section 5.1).
//!
//! - The body is whole and bounded before it is read here; nothing is copied but file names.
//! - A body that is cut off, or has bytes that belong to no part, is refused.

use bytes::Bytes;

use crate::limit;

/// A part with its file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Empty when the part names no file.
    pub(super) filename: String,
    pub(super) content: Bytes,
}

/// Returns the boundary that a request's content type names.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters
        .split(';')
        .find_map(|parameter| parameter_of(parameter, "boundary"))?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    // RFC 2046: 1 to 70 characters.
    ((1..=70).contains(&value.len()) && value.bytes().all(legal)).then_some(value)
}

/// Splits a body at its boundary; `None` when it is malformed.
pub(super) fn parts(body: &Bytes, boundary: &str) -> Option<Vec<Part>> {
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = delimiter.as_bytes();
    let mut parts = Vec::new();
    // The first delimiter needs no line end before it.
    let mut at = delimiter.len() - 2;
    if !body.starts_with(delimiter.get(2..)?) {
        return None;
    }
    loop {
        let rest = body.get(at..)?;
        if rest.starts_with(b"--") {
            // Only a line end may follow the last boundary; Go writes one.
            return matches!(rest.get(2..)?, b"" | b"\r\n").then_some(parts);
        }
        if !rest.starts_with(b"\r\n") || parts.len() == limit::UPLOAD_PARTS {
            return None;
        }
        let end_of_head = find(rest, b"\r\n\r\n")?;
        let head = std::str::from_utf8(rest.get(2..end_of_head)?).ok()?;
        let start = at + end_of_head + 4;
        let length = find(body.get(start..)?, delimiter)?;
        parts.push(Part {
            filename: filename(head).unwrap_or_default(),
            content: body.slice(start..start + length),
        });
        at = start + length + delimiter.len();
    }
}

/// Finds the file name in a part's header.
fn filename(head: &str) -> Option<String> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let mut parameters = disposition.split(';').skip(1);
    parameters
        .find_map(|parameter| parameter_of(parameter, "filename"))
        .map(str::to_owned)
}

/// Reads `name=value` or `name="value"`; names of roles hold neither quotes nor semicolons.
fn parameter_of<'a>(parameter: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = parameter.trim().split_once('=')?;
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    found.eq_ignore_ascii_case(name).then_some(quoted.unwrap_or(value))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    loop {
        let found = from + haystack.get(from..)?.iter().position(|b| *b == first)?;
        if haystack.get(found..)?.starts_with(needle) {
            return Some(found);
        }
        from = found + 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const GO: &str = "--abc\r\nContent-Disposition: form-data; name=\"files\"; filename=\"root\"\r\n\
                      Content-Type: application/octet-stream\r\n\r\n{\"signed\":\r\n--ab}\r\n--abc\r\n\
                      Content-Disposition: form-data; name=\"files\"; filename=\"targets/x\"\r\n\r\n\r\n--abc--\r\n";

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let parts = parts(&Bytes::copy_from_slice(text.as_bytes()), "abc")?;
        let text = |part: Part| (part.filename, String::from_utf8(part.content.to_vec()).unwrap());
        Some(parts.into_iter().map(text).collect())
    }

    #[test]
    fn reads_what_go_writes() {
        let expected = [("root", "{\"signed\":\r\n--ab}"), ("targets/x", "")];
        let expected = expected.map(|(name, content)| (name.to_owned(), content.to_owned()));
        assert_eq!(read(GO).unwrap(), expected);
        assert_eq!(read("--abc--\r\n").unwrap(), []);
    }

    #[test]
    fn a_part_without_a_file_name_has_an_empty_one() {
        let text = "--abc\r\nContent-Disposition: form-data; name=\"files\"\r\n\r\nx\r\n--abc--";
        assert_eq!(read(text).unwrap(), [(String::new(), "x".to_owned())]);
    }

    #[test]
    fn refuses_what_is_cut_off_or_has_more() {
        for end in 0..GO.len() - 2 {
            // Up to `--abc--` every prefix is cut off.
            if !GO[..end].ends_with("--abc--") {
                assert_eq!(read(&GO[..end]), None, "{end}");
            }
        }
        assert_eq!(read(&format!("{GO}x")), None);
        assert_eq!(read(&format!("x{GO}")), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn finds_the_boundary_of_a_form_alone() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc"));
        assert_eq!(
            boundary("Multipart/Form-Data; charset=x; boundary=\"a b\""),
            Some("a b")
        );
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        for other in [
            "application/json",
            "multipart/mixed; boundary=a",
            "multipart/form-data; boundary=",
            &long,
        ] {
            assert_eq!(boundary(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn errors_are_fine_panics_are_not(text in "(--abc|\r\n|--|x|:|;|\"){0,30}") {
            let _ = read(&text);
        }
    }
}
