//! URIs as attestations name things by: never opened, only compared.

use std::fmt;
use std::str::FromStr;

/// A URI (RFC 3986): a scheme, and something behind its colon, in printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri(String);

impl Uri {
    /// Returns its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Uri {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic());
        match text.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) && !rest.is_empty() && plain => Ok(Self(text.to_owned())),
            _ => Err("expected a URI"),
        }
    }
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_has_a_scheme_and_no_blanks() {
        for text in ["https://example.com/x", "urn:x:y", "pkg:generic/node@3?arch=amd64"] {
            assert_eq!(text.parse::<Uri>().map(|uri| uri.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "node", "a: b", ":x", "x:", "1x:y", "a/b:c", "x:\u{e9}"] {
            assert!(text.parse::<Uri>().is_err(), "{text}");
        }
    }
}
