//! Platforms: operating system, architecture and its variant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on, in Go's names: `linux/amd64`, `linux/arm64`, `linux/arm/v7`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    os: String,
    architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
}

impl Platform {
    /// Makes a platform without variant.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            variant: None,
            os_version: None,
        }
    }

    /// Returns the operating system.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// Returns the architecture.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Tells whether something for `offered` is what one who wants this platform gets.
    ///
    /// The variant that is each architecture's first counts as none (`arm64/v8`, `amd64/v1`); other variants are equal or no match.
    pub fn admits(&self, offered: &Self) -> bool {
        let same = self.os == offered.os && self.architecture == offered.architecture;
        same && self.variant_beyond_first() == offered.variant_beyond_first()
    }

    fn variant_beyond_first(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) | (_, Some("")) => None,
            (_, variant) => variant,
        }
    }

    /// Tells whether this marks something that runs nowhere: builders list attestations as `unknown/unknown`.
    pub(super) fn is_nowhere(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let is_word = |word: &&str| -> bool {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
            !word.is_empty() && word.len() <= 32 && word.bytes().all(good)
        };
        let words: Vec<&str> = text.split('/').collect();
        match words.as_slice() {
            [os, architecture] if words.iter().all(is_word) => Ok(Self::new(*os, *architecture)),
            [os, architecture, variant] if words.iter().all(is_word) => Ok(Self {
                variant: Some((*variant).to_owned()),
                ..Self::new(*os, *architecture)
            }),
            _ => Err(PlatformError(text.chars().take(100).collect())),
        }
    }
}

/// A text is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform; expected OS/ARCHITECTURE[/VARIANT], for example linux/amd64")]
pub struct PlatformError(String);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn first_variants_count_as_none_and_others_do_not() {
        assert!(platform("linux/arm64").admits(&platform("linux/arm64/v8")));
        assert!(platform("linux/amd64/v1").admits(&platform("linux/amd64")));
        assert!(!platform("linux/amd64").admits(&platform("linux/amd64/v3")));
        assert!(!platform("linux/arm/v6").admits(&platform("linux/arm/v7")));
        assert!(!platform("linux/amd64").admits(&platform("linux/arm64")));
    }

    #[test]
    fn refuses_what_is_not_two_or_three_words() {
        for text in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/amd64/v1/x",
            "Linux/amd64",
            "linux/a b",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
