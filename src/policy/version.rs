//! Versions of components, for `minVersion:`.

use std::fmt;
use std::str::FromStr;

/// A version: `[v]N[.N[.N]][-PRE]`, ordered as Semantic Versioning 2.0.0 (section 11) orders; parts that are absent are 0.
#[derive(Clone, Debug)]
pub struct Version {
    text: String,
    value: semver::Version,
}

impl Version {
    /// Tells whether this version is `least` or later.
    pub fn is_at_least(&self, least: &Self) -> bool {
        self.value.cmp_precedence(&least.value).is_ge()
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Version {}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let bad = || VersionError(text.chars().take(64).collect());
        let plain = text.strip_prefix('v').unwrap_or(text);
        let core = plain.find(['-', '+']).unwrap_or(plain.len());
        let (numbers, rest) = plain.split_at(core);
        let absent = 2_usize.checked_sub(numbers.matches('.').count()).ok_or_else(bad)?;
        let whole = format!("{numbers}{}{rest}", ".0".repeat(absent));
        let value = semver::Version::parse(&whole).map_err(|_| bad())?;
        Ok(Self {
            text: text.to_owned(),
            value,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no version; expected up to three numbers with points, `v` before and `-PRERELEASE` after them allowed"
)]
pub struct VersionError(String);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers_and_a_prerelease_comes_before_its_release() {
        let order = ["1", "1.2.0-rc.1", "v1.2", "1.2.3", "v1.10.0", "2"];
        let order = order.map(|text| text.parse::<Version>().unwrap());
        for pair in order.windows(2) {
            let [low, high] = pair else { unreachable!() };
            assert!(high.is_at_least(low) && !low.is_at_least(high), "{low} {high}");
        }
        assert!(
            "v1.2"
                .parse::<Version>()
                .unwrap()
                .is_at_least(&"1.2.0".parse().unwrap())
        );
    }

    #[test]
    fn refuses_what_has_no_order() {
        for bad in ["", "latest", "v", "1.2.3.4", "1..2", "01.2", "1.2-", "-1"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
