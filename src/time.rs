//! Points in time, to the second, as TUF and in-toto write them (RFC 3339, UTC).
//!
//! Nothing here reads a clock: `now` is always an argument, read once by the command line.

use std::fmt;
use std::str::FromStr;

/// Seconds in a day, for lifetimes of metadata.
pub const DAY: i64 = 86_400;

/// A point in time in whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// The earliest time: 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// Latest time that can be written with a four-digit year: 9999-12-31T23:59:59Z.
    const MAX: i64 = 253_402_300_799;

    /// Makes a time of seconds since the epoch.
    ///
    /// # Errors
    /// [`TimeError`] before 1970 or after the year 9999.
    pub fn from_unix(seconds: i64) -> Result<Self, TimeError> {
        if (0..=Self::MAX).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(TimeError(seconds.to_string()))
        }
    }

    /// Returns seconds since the epoch.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Adds seconds (which may be negative), staying within the years 1970 to 9999.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds).clamp(0, Self::MAX))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%SZ")),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = TimeError;

    /// Reads RFC 3339 with any offset; fractions of a second are cut off.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let bad = || TimeError(text.chars().take(64).collect());
        let time: jiff::Timestamp = text.parse().map_err(|_| bad())?;
        Self::from_unix(time.as_second()).map_err(|_| bad())
    }
}

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text or number is no time between the years 1970 and 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time; expected RFC 3339 between 1970 and 9999, for example 2026-11-23T00:00:00Z")]
pub struct TimeError(String);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn writes_utc_seconds() {
        let time: Time = "2026-11-23T01:00:00.9+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-23T00:00:00Z");
        assert_eq!(time.plus(14 * DAY).to_string(), "2026-12-07T00:00:00Z");
    }

    #[test]
    fn refuses_nonsense_and_times_before_1970() {
        assert!("yesterday".parse::<Time>().is_err());
        assert!("1969-12-31T23:59:59Z".parse::<Time>().is_err());
        assert!(Time::from_unix(-1).is_err());
    }
}
