//! The header `Link` (RFC 8288), by which a registry names the next page of a list.
//!
//! A header that cannot be read is none that says "no next page": a list must not end early.

use reqwest::header::{HeaderMap, LINK};

/// Returns the URL of the next page, as it is written; none where no link leads to one.
///
/// # Errors
/// The header that cannot be read.
pub(super) fn next_page(headers: &HeaderMap) -> Result<Option<String>, String> {
    for header in headers.get_all(LINK) {
        let bad = || {
            String::from_utf8_lossy(header.as_bytes())
                .chars()
                .take(200)
                .collect::<String>()
        };
        let mut rest = header.to_str().map_err(|_| bad())?;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            let link = rest.strip_prefix('<').and_then(|link| link.split_once('>'));
            let (url, parameters) = link.ok_or_else(bad)?;
            let is_next;
            (is_next, rest) = relation(parameters).ok_or_else(bad)?;
            if is_next {
                return Ok(Some(url.to_owned()));
            }
        }
    }
    Ok(None)
}

/// Reads a link's parameters: whether it leads to the next page, and what follows the link.
fn relation(mut rest: &str) -> Option<(bool, &str)> {
    let mut first: Option<bool> = None;
    loop {
        rest = rest.trim_start();
        let Some(parameter) = rest.strip_prefix(';') else {
            let ends = rest.is_empty() || rest.starts_with(',');
            return ends.then_some((first.unwrap_or(false), rest));
        };
        let parameter = parameter.trim_start();
        let end = parameter.find(['=', ';', ',']).unwrap_or(parameter.len());
        let (name, after) = parameter.split_at(end);
        let value;
        (value, rest) = match after.strip_prefix('=') {
            Some(text) => value_of(text.trim_start())?,
            None => (String::new(), after),
        };
        if name.trim_end().eq_ignore_ascii_case("rel") {
            let is_next = || value.split_whitespace().any(|one| one.eq_ignore_ascii_case("next"));
            // Section 3.3: a second one is ignored.
            first = first.or_else(|| Some(is_next()));
        }
    }
}

/// Reads a parameter's value, in quotes or without; returns what follows it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Some({
            let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
            let (value, rest) = text.split_at(end);
            (value.to_owned(), rest)
        });
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn next(links: &[&str]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for link in links {
            headers.append(LINK, link.parse().unwrap());
        }
        next_page(&headers)
    }

    #[test]
    fn the_next_page_is_read_however_it_is_written() {
        for links in [
            &["<b>; rel=\"next\""][..],
            &["<b>;rel=next"],
            &["<b> ; REL = Next ;x"],
            &["<a>; rel=\"prev\", <b>; rel=next"],
            &[
                "<a,b>; rel=first",
                "<b>; title=\"\\\"; rel=prev, <c>\"; rel=\"last next\"",
            ],
            &["<b>; rel=next; rel=prev"],
        ] {
            assert_eq!(next(links), Ok(Some("b".to_owned())), "{links:?}");
        }
        assert_eq!(
            next(&["</v2/a?last=x,y>; rel=next"]),
            Ok(Some("/v2/a?last=x,y".to_owned()))
        );
        for links in [
            &[][..],
            &[""],
            &["<a>"],
            &["<a>; rel=prev, ,"],
            &["<a>; rel=nextish; title=next"],
            &["<a>; rel=prev; rel=next"],
        ] {
            assert_eq!(next(links), Ok(None), "{links:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_no_link() {
        for link in [
            "a",
            "<a; rel=next",
            "<a>; rel=\"next",
            "<a> rel=next",
            "<a>; rel=\"prev\" b",
        ] {
            assert!(next(&[link]).is_err(), "{link}");
        }
    }

    proptest! {
        #[test]
        fn errors_are_fine_panics_are_not(text in "[<>;,=\" \\\\a-z]{0,40}") {
            let _ = next(&[&text]);
        }
    }
}
