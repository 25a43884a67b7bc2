//! Patterns over normalised references: `HOST/PATH[:TAG]`.

use std::fmt;

use crate::limit;
use crate::reference::Reference;

/// A pattern that matches references.
///
/// The host (with port) is literal. In each part of the path `*` matches any run of characters but `/`; `**` as the last part
/// matches one or more parts. A tag pattern may follow after `:`; without one every tag, and a bare digest, matches.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    host: String,
    parts: Vec<String>,
    rest: bool,
    tag: Option<String>,
}

/// What wildcards of a name, and of its tag, are filled with.
const FILLINGS: [(&str, &str); 5] = [
    ("x", "1"),
    ("y", "2"),
    ("made-up", "made-up"),
    ("0", "0"),
    ("some.name", "4.5"),
];

/// What a pattern without wildcards inside names is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain<'a> {
    /// Everything below a name: a host, or a part of a path.
    Below(String),
    /// One repository.
    Repository(String),
    /// One tag of a repository.
    Tag(String, &'a str),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] when it is not of the form above.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let bad = |problem| PatternError {
            pattern: text.chars().take(200).collect(),
            problem,
        };
        if text.len() > limit::REFERENCE_BYTES {
            return Err(bad("it is longer than 1024 bytes"));
        }
        let (host, path) = text
            .split_once('/')
            .ok_or_else(|| bad("it names no host; write the full name, for example docker.io/library/alpine"))?;
        if !host.contains(['.', ':']) && host != "localhost" {
            return Err(bad(
                "its first part is no host; write the full name, for example docker.io/linuxkit/init",
            ));
        }
        let host_is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
        if !host.chars().all(host_is_plain) {
            return Err(bad("a host or port has no wildcards and no upper case"));
        }
        // As references are normalised: a pattern that is not would match none, and forbid none.
        if matches!(host, "index.docker.io" | "registry-1.docker.io") {
            return Err(bad("names of this registry begin with docker.io/; write that"));
        }
        if host == "docker.io" && path != "**" && !path.contains('/') {
            return Err(bad(
                "no name has one part after docker.io/; Docker's own images are docker.io/library/NAME",
            ));
        }
        let (path, tag) = match path.split_once(':') {
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (path, None),
        };
        let tag_is_good = |tag: &String| {
            !tag.is_empty()
                && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-*".contains(c))
                && !tag.contains("**")
        };
        if tag.as_ref().is_some_and(|tag| !tag_is_good(tag)) {
            return Err(bad(
                "what follows `:` is no tag pattern; letters, digits, `.`, `_`, `-` and single `*`",
            ));
        }
        let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        let rest = parts.last().is_some_and(|last| last == "**");
        if rest {
            parts.pop();
        }
        let part_is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-*".contains(c);
        for part in &parts {
            if part.contains("**") {
                return Err(bad("`**` stands only as the whole last part"));
            }
            if part.is_empty() || !part.chars().all(part_is_plain) {
                return Err(bad(
                    "each part of the path is lower-case letters, digits, `.`, `_`, `-` and `*`",
                ));
            }
        }
        Ok(Self {
            text: text.to_owned(),
            host: host.to_owned(),
            parts,
            rest,
            tag,
        })
    }

    /// Tells whether `reference` matches.
    pub fn matches(&self, reference: &Reference) -> bool {
        let repository = reference.repository();
        if repository.host() != self.host {
            return false;
        }
        let parts: Vec<&str> = repository.path().split('/').collect();
        let enough = match self.rest {
            true => parts.len() > self.parts.len(),
            false => parts.len() == self.parts.len(),
        };
        let tag_matches = match (&self.tag, reference.tag()) {
            (None, _) => true,
            (Some(pattern), Some(tag)) => glob(pattern, tag),
            (Some(_), None) => false,
        };
        enough && tag_matches && self.parts.iter().zip(parts).all(|(pattern, part)| glob(pattern, part))
    }

    /// Tells whether this pattern matches all that `other` matches; where that is hard to say, it says no.
    pub fn covers(&self, other: &Self) -> bool {
        // The other's wildcards are characters that only a wildcard of this one matches.
        let tags = match (&self.tag, &other.tag) {
            (None, _) => true,
            (Some(own), Some(other)) => glob(own, other),
            (Some(_), None) => false,
        };
        let shortest = other.parts.len() + usize::from(other.rest);
        let enough = match self.rest {
            true => shortest > self.parts.len(),
            false => !other.rest && shortest == self.parts.len(),
        };
        let parts = self.parts.iter().zip(&other.parts).all(|(own, other)| glob(own, other));
        self.host == other.host && tags && enough && parts
    }

    /// Tells whether one name may match both this pattern and `other`; where that is hard to say, it says yes.
    pub fn may_meet(&self, other: &Self) -> bool {
        let meet = |one: &str, two: &str| match (one.contains('*'), two.contains('*')) {
            (true, true) => true,
            (true, false) => glob(one, two),
            (false, _) => glob(two, one),
        };
        let tags = match (&self.tag, &other.tag) {
            (Some(one), Some(two)) => meet(one, two),
            _ => true,
        };
        let reaches = |one: &Self, two: &Self| two.rest || two.parts.len() > one.parts.len();
        let enough = match (self.rest, other.rest) {
            (true, _) => reaches(self, other),
            (_, true) => reaches(other, self),
            (false, false) => self.parts.len() == other.parts.len(),
        };
        let parts = self.parts.iter().zip(&other.parts).all(|(one, two)| meet(one, two));
        self.host == other.host && tags && enough && parts
    }

    /// Returns the one name that it is about, with all below it where it ends in `**`; none where it has other wildcards.
    pub fn plain(&self) -> Option<Plain<'_>> {
        let name = match self.parts.as_slice() {
            [] => self.host.clone(),
            parts => format!("{}/{}", self.host, parts.join("/")),
        };
        match (&self.tag, self.rest) {
            _ if name.contains('*') => None,
            (None, true) => Some(Plain::Below(name)),
            (None, false) => Some(Plain::Repository(name)),
            (Some(tag), false) if !tag.contains('*') => Some(Plain::Tag(name, tag)),
            (Some(_), _) => None,
        }
    }

    /// Tells whether it matches every name of its host.
    pub fn is_whole_host(&self) -> bool {
        self.rest && self.parts.is_empty() && self.tag.is_none()
    }

    /// Tells whether a bare digest may match.
    pub fn takes_digests(&self) -> bool {
        self.tag.is_none()
    }

    /// Returns the pattern as it would be without its tag; none where it has no tag.
    pub fn without_tag(&self) -> Option<&str> {
        let tag = self.tag.as_ref()?;
        self.text.strip_suffix(tag)?.strip_suffix(':')
    }

    /// Returns names that the pattern admits, and near misses that it does not, for people to read.
    pub fn examples(&self) -> (Vec<String>, Vec<String>) {
        let plain = |word: &str| self.fill(word, "1");
        let mut admits = vec![plain("x")];
        let mut misses = Vec::new();
        if self.rest {
            admits.push(format!(
                "{}/y",
                plain("x")
                    .rsplit_once(':')
                    .map_or(plain("x"), |(name, _)| name.to_owned())
            ));
            misses.push(format!("{}/{}", self.host, self.parts.join("/").replace('*', "x")));
        } else {
            misses.push(format!("{}/{}/y", self.host, self.parts.join("/").replace('*', "x")));
        }
        misses.push(plain("x").replacen(&self.host, &format!("{}.evil.example", self.host.replace(':', "-")), 1));
        admits.retain(|name| name.parse().is_ok_and(|reference| self.matches(&reference)));
        misses.retain(|name| name.parse().is_ok_and(|reference| !self.matches(&reference)));
        (admits, misses)
    }

    /// Returns names that the pattern matches, unlike enough that what else matches one need not match all.
    pub fn names(&self) -> impl Iterator<Item = Reference> {
        let filled = FILLINGS.iter().map(|(word, tag)| self.fill(word, tag));
        let deeper = FILLINGS.iter().filter(|_| self.rest);
        let deeper = deeper.map(|(word, tag)| self.fill(&format!("{word}/{word}"), tag));
        let names = filled.chain(deeper).filter_map(|name| name.parse().ok());
        names.filter(|reference| self.matches(reference))
    }

    /// Puts a word, or a path, in the place of the wildcards.
    fn fill(&self, word: &str, tag_part: &str) -> String {
        let plain = word.split('/').next().unwrap_or_default();
        let mut parts: Vec<String> = self.parts.iter().map(|part| part.replace('*', plain)).collect();
        if self.rest {
            parts.push(word.to_owned());
        }
        let tag = self.tag.as_deref().unwrap_or("v*").replace('*', tag_part);
        format!("{}/{}:{tag}", self.host, parts.join("/"))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

/// A text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a pattern for references: {problem}")]
pub struct PatternError {
    pattern: String,
    problem: &'static str,
}

/// Matches `text` against a pattern in which `*` stands for any run of characters.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn matches(pattern: &str, reference: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(&reference.parse().unwrap())
    }

    #[test]
    fn a_star_does_not_cross_a_slash() {
        assert!(matches("r.example/team/*", "r.example/team/a:v1"));
        assert!(!matches("r.example/team/*", "r.example/team/a/b:v1"));
        assert!(!matches("r.example/team/*", "r.example/team:v1"));
        assert!(matches("r.example/t*m/a", "r.example/team/a"));
    }

    #[test]
    fn two_stars_match_one_part_or_more() {
        assert!(matches("r.example/team/**", "r.example/team/a/b:v1"));
        assert!(!matches("r.example/team/**", "r.example/team:v1"));
        assert!(!matches("r.example/team/**", "r.example/teamx/a:v1"));
    }

    #[test]
    fn two_patterns_meet_where_one_name_matches_both() {
        let meet = |one: &str, two: &str| {
            let [one, two] = [one, two].map(|text| Pattern::parse(text).unwrap());
            assert_eq!(one.may_meet(&two), two.may_meet(&one), "{one} {two}");
            one.may_meet(&two)
        };
        for (one, two) in [
            ("r.example/**", "r.example/a/b:v1"),
            ("r.example/*/b", "r.example/a/*"),
            ("r.example/a:v*", "r.example/a"),
            ("r.example/a/**", "r.example/**"),
            ("r.example/a*/x", "r.example/ab/**"),
        ] {
            assert!(meet(one, two), "{one} {two}");
        }
        for (one, two) in [
            ("r.example/**", "s.example/**"),
            ("r.example/a/**", "r.example/a"),
            ("r.example/a", "r.example/*/b"),
            ("r.example/a:v*", "r.example/a:w1"),
            ("r.example/a/**", "r.example/b/**"),
        ] {
            assert!(!meet(one, two), "{one} {two}");
        }
    }

    #[test]
    fn hosts_are_literal_and_names_are_normalised() {
        assert!(matches("docker.io/library/alpine", "alpine:3"));
        assert!(!matches("r.example/a", "r.example.evil/a"));
        assert!(matches("127.0.0.1:5000/a/*", "127.0.0.1:5000/a/b"));
        assert!(!matches("127.0.0.1:5000/a/*", "127.0.0.1:5001/a/b"));
    }

    #[test]
    fn a_tag_pattern_needs_a_tag() {
        let digest = crate::digest::Digest::sha256(b"");
        assert!(matches("r.example/a:v*", "r.example/a:v1"));
        assert!(!matches("r.example/a:v*", "r.example/a:w1"));
        assert!(!matches("r.example/a:v*", &format!("r.example/a@{digest}")));
        assert!(matches("r.example/a", &format!("r.example/a@{digest}")));
    }

    #[test]
    fn a_pattern_covers_another_only_where_every_name_of_it_matches() {
        let covers = |one: &str, other: &str| Pattern::parse(one).unwrap().covers(&Pattern::parse(other).unwrap());
        for (one, other) in [
            ("r.example/**", "r.example/a/*"),
            ("r.example/a/**", "r.example/a/b/**"),
            ("r.example/a/**", "r.example/a/**"),
            ("r.example/a*", "r.example/ab*:v1"),
            ("r.example/a:v*", "r.example/a:v1*"),
        ] {
            assert!(covers(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("r.example/a/**", "r.example/**"),
            ("r.example/a/b/**", "r.example/a/**"),
            ("r.example/*", "r.example/**"),
            ("r.example/a*", "r.example/*"),
            ("r.example/a:v1", "r.example/a"),
            ("r.example/**", "s.example/a"),
            ("r.example/**:v1", "r.example/a"),
        ] {
            assert!(!covers(one, other), "{one} {other}");
        }
        assert!(Pattern::parse("r.example/**").unwrap().is_whole_host());
        assert!(!Pattern::parse("r.example/a/**").unwrap().is_whole_host());
    }

    #[test]
    fn refuses_patterns_that_no_normalised_name_matches() {
        for never in [
            "docker.io/alpine",
            "docker.io/*",
            "docker.io/busybox:*",
            "index.docker.io/library/debian",
            "registry-1.docker.io/library/debian",
        ] {
            let error = Pattern::parse(never).unwrap_err().to_string();
            assert!(error.contains("docker.io/"), "{error}");
        }
        for good in ["docker.io/**", "docker.io/library/*", "docker.io/*/alpine:3"] {
            assert!(Pattern::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn refuses_patterns_that_mean_more_than_they_say() {
        for bad in [
            "*",
            "**",
            "*/a",
            "r.*/a",
            "r.example:*/a",
            "r.example/**/a",
            "r.example/a**",
            "team/a",
            "r.example/",
            "r.example/A",
            "r.example/a:",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_match_and_differ() {
        for (text, least) in [
            ("r.example/team/*", 5),
            ("r.example/**", 10),
            ("r.example/a:*", 5),
            ("r.example/a:v1", 1),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            let names: std::collections::BTreeSet<Reference> = pattern.names().collect();
            assert!(names.len() >= least, "{text}: {names:?}");
            assert!(names.iter().all(|name| pattern.matches(name)));
        }
    }

    #[test]
    fn examples_are_true() {
        for text in [
            "r.example/team/*",
            "r.example/team/**",
            "r.example/a:v*",
            "127.0.0.1:5000/x/y",
        ] {
            let (admits, misses) = Pattern::parse(text).unwrap().examples();
            assert!(
                !admits.is_empty() && !misses.is_empty(),
                "{text}: {admits:?} {misses:?}"
            );
        }
    }
}
