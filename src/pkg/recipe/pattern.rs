//! Patterns of paths: `*` and `?` within a component, `**` for any number of components, `[…]` for one of some characters.

use std::fmt;
use std::str::FromStr;

use glob::MatchOptions;

use crate::tree::TreePath;

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A pattern of paths in a tree, written without a leading slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(glob::Pattern);

impl Pattern {
    /// Tells whether the whole path matches; one that is not UTF-8 never does.
    pub fn matches(&self, path: &TreePath) -> bool {
        std::str::from_utf8(path.as_bytes()).is_ok_and(|path| self.0.matches_with(path, OPTIONS))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let bad = |what: String| PatternError(text.chars().take(200).collect(), what);
        if text.is_empty() || text.starts_with('/') || text.ends_with('/') {
            return Err(bad("it must be a path without slashes at its ends".to_owned()));
        }
        glob::Pattern::new(text)
            .map(Self)
            .map_err(|error| bad(error.msg.to_owned()))
    }
}

/// A text is no pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pattern of paths: {1}")]
pub struct PatternError(String, String);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_star_stays_within_a_component_and_two_do_not() {
        let matches = |pattern: &str, path: &str| {
            let pattern: Pattern = pattern.parse().unwrap();
            pattern.matches(&TreePath::parse(path).unwrap())
        };
        assert!(matches("usr/lib/*.so", "usr/lib/x.so"));
        assert!(!matches("usr/*.so", "usr/lib/x.so"));
        assert!(matches("usr/**/*.so", "usr/lib/a/x.so"));
        assert!(matches("**", "usr/lib/.hidden"));
        assert!(!matches("usr", "usr/lib"));
    }

    #[test]
    fn refuses_slashes_at_the_ends_and_broken_brackets() {
        for text in ["", "/usr", "usr/", "a[", "a/**b"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
