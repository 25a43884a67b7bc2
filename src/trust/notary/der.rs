//! The few DER values (X.690) that a certificate is written of.

use crate::time::Time;

/// The BOOLEAN true.
pub(super) const TRUE: [u8; 3] = [1, 1, 0xff];

/// The last second that a UTCTime can name: 2049-12-31T23:59:59Z.
const UTC_TIME_MAX: i64 = 2_524_607_999;

pub(super) fn sequence(items: &[&[u8]]) -> Vec<u8> {
    value(0x30, &items.concat())
}

pub(super) fn set(items: &[&[u8]]) -> Vec<u8> {
    value(0x31, &items.concat())
}

pub(super) fn explicit(number: u8, item: &[u8]) -> Vec<u8> {
    value(0xa0 | number, item)
}

pub(super) fn octets(content: &[u8]) -> Vec<u8> {
    value(4, content)
}

pub(super) fn utf8(text: &str) -> Vec<u8> {
    value(12, text.as_bytes())
}

pub(super) fn bits_with_unused(content: &[u8], unused: u8) -> Vec<u8> {
    value(3, &[&[unused], content].concat())
}

/// Writes a number that is not negative, big-endian.
pub(super) fn integer(number: &[u8]) -> Vec<u8> {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let digits = number.get(first..).unwrap_or_default();
    let sign: &[u8] = match digits.first() {
        Some(byte) if *byte < 0x80 => &[],
        _ => &[0],
    };
    value(2, &[sign, digits].concat())
}

/// RFC 5280, 4.1.2.5: UTCTime through 2049, GeneralizedTime after.
pub(super) fn time(time: Time) -> Vec<u8> {
    let digits: String = time.to_string().chars().filter(char::is_ascii_digit).collect();
    match time.unix() <= UTC_TIME_MAX {
        true => value(23, format!("{}Z", digits.get(2..).unwrap_or_default()).as_bytes()),
        false => value(24, format!("{digits}Z").as_bytes()),
    }
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let first = length.iter().position(|byte| *byte != 0).unwrap_or(length.len());
    let digits = length.get(first..).unwrap_or_default();
    let mut out = vec![tag];
    match content.len() {
        0..0x80 => out.push(content.len() as u8),
        _ => {
            out.push(0x80 | digits.len() as u8);
            out.extend(digits);
        }
    }
    out.extend(content);
    out
}
