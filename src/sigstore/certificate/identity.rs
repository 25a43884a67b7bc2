//! Who is to have signed: an identity and the issuer that vouches for it.

use std::fmt;

use regex_lite::Regex;

use crate::failure::Code;
use crate::limit;
use crate::sigstore::bundle::NotVerified;

/// An identity and its issuer; both have to match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signer {
    identity: Matcher,
    issuer: Matcher,
}

/// A text, or an expression for some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matcher {
    /// This text and no other.
    Exact(String),
    /// Every text that the expression matches from its first to its last character.
    Pattern(Pattern),
}

/// A regular expression that matches whole texts only.
#[derive(Clone, Debug)]
pub struct Pattern {
    whole: Regex,
    text: String,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl Signer {
    /// Makes the signer whose identity and issuer these match.
    pub fn new(identity: Matcher, issuer: Matcher) -> Self {
        Self { identity, issuer }
    }

    /// Returns what the identity has to match.
    pub fn identity(&self) -> &Matcher {
        &self.identity
    }

    /// Returns what the issuer has to match.
    pub fn issuer(&self) -> &Matcher {
        &self.issuer
    }

    /// Checks that a certificate's identity and issuer are the signer's.
    ///
    /// # Errors
    /// [`NotVerified`] when one is not.
    pub fn check(&self, identity: &str, issuer: &str) -> Result<(), NotVerified> {
        if self.identity.matches(identity) && self.issuer.matches(issuer) {
            return Ok(());
        }
        Err(NotVerified {
            code: Code::Identity,
            expected: self.to_string(),
            found: format!("{}, says {}", identity.escape_debug(), issuer.escape_debug()),
            advice: "ask whoever should have signed it to sign it; if the one who did may sign, name that identity and issuer",
        })
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, says {}", self.identity, self.issuer)
    }
}

impl Matcher {
    /// Makes one of a regular expression, which has to match all of a text.
    ///
    /// # Errors
    /// [`IdentityError`] when it is none, or too long.
    pub fn pattern(text: &str) -> Result<Self, IdentityError> {
        let bad = |problem: String| IdentityError {
            text: text.chars().take(100).collect(),
            problem,
        };
        if text.len() > limit::IDENTITY_PATTERN_BYTES {
            return Err(bad(format!("longer than {} bytes", limit::IDENTITY_PATTERN_BYTES)));
        }
        // By itself first: `a)|(b` would be one only between the brackets that anchor it, and escape them.
        Regex::new(text).map_err(|error| bad(error.to_string()))?;
        let whole = Regex::new(&format!("^(?:{text})$")).map_err(|error| bad(error.to_string()))?;
        Ok(Self::Pattern(Pattern {
            whole,
            text: text.to_owned(),
        }))
    }

    /// Makes one that matches each of these texts and no other.
    ///
    /// # Errors
    /// As [`Matcher::pattern`].
    pub fn any_of(texts: &[String]) -> Result<Self, IdentityError> {
        match texts {
            [text] => Ok(Self::Exact(text.clone())),
            texts => {
                let escaped: Vec<String> = texts.iter().map(|text| regex_lite::escape(text)).collect();
                Self::pattern(&escaped.join("|"))
            }
        }
    }

    /// Tells whether it matches all of a text.
    pub fn matches(&self, found: &str) -> bool {
        match self {
            Self::Exact(text) => text == found,
            Self::Pattern(pattern) => found.len() <= limit::IDENTITY_BYTES && pattern.whole.is_match(found),
        }
    }

    /// Returns the expression as it was written, where it is one.
    pub fn expression(&self) -> Option<&str> {
        match self {
            Self::Exact(_) => None,
            Self::Pattern(pattern) => Some(&pattern.text),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "{}", text.escape_debug()),
            Self::Pattern(pattern) => write!(f, "/{}/", pattern.text.escape_debug()),
        }
    }
}

/// A text that is no regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no regular expression for identities: {problem}", .text.escape_debug())]
pub struct IdentityError {
    text: String,
    problem: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn exact_is_exact() {
        let matcher = Matcher::Exact("a@example.com".to_owned());
        assert!(matcher.matches("a@example.com"));
        for other in ["A@example.com", "aa@example.com", "a@example.comm", ""] {
            assert!(!matcher.matches(other), "{other}");
        }
    }

    #[test]
    fn an_expression_matches_all_of_a_text_or_nothing() {
        let matcher = Matcher::pattern("a|ab@example\\.com").unwrap();
        assert!(matcher.matches("a") && matcher.matches("ab@example.com"));
        for other in ["ab", "xa", "ab@example.com.evil", "evil\na", "a\n", "ab@exampleXcom"] {
            assert!(!matcher.matches(other), "{other:?}");
        }
        // With a flag that makes `^` and `$` match at every line of its own group.
        let lines = Matcher::pattern("(?m)^a$").unwrap();
        assert!(lines.matches("a") && !lines.matches("evil\na\n") && !lines.matches("a\nevil"));
    }

    #[test]
    fn nothing_escapes_the_anchors() {
        for text in ["a)|(?:b", "(", "(?x) a # ", "a{1001}{1001}"] {
            let matcher = Matcher::pattern(text);
            assert!(matcher.is_err() || !matcher.unwrap().matches("xb"), "{text}");
        }
        assert!(Matcher::pattern("a)|(?:b").is_err());
        assert!(Matcher::pattern(&"a".repeat(5000)).is_err());
    }
}
