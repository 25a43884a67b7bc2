//! Dates in HTTP's headers (RFC 9110, 5.6.7).

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::time::Time;

/// Writes a time as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn write(time: Time) -> String {
    match Timestamp::from_second(time.unix()) {
        Ok(time) => time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        // No time between 1970 and 9999 is outside of jiff's range.
        Err(_) => String::new(),
    }
}

/// Reads a date; what is none is `None`, as the RFC has such headers ignored.
pub(super) fn read(text: &str) -> Option<Time> {
    let time = DateTimeParser::new().parse_timestamp(text).ok()?;
    Time::from_unix(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn writes_and_reads_the_specifications_example() {
        let time: Time = "1994-11-06T08:49:37Z".parse().unwrap();
        assert_eq!(write(time), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(read(&write(time)), Some(time));
        assert_eq!(read("yesterday"), None);
    }
}
