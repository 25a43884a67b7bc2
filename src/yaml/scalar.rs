//! Resolution of plain scalars, as Go's yaml.v3 resolves them into an untyped value (`resolve.go`).

use super::Value;

/// Resolves a plain scalar without a tag.
pub(super) fn resolve(plain: &str) -> Value {
    match plain {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(plain).unwrap_or_else(|| Value::Text(plain.to_owned())),
    }
}

/// Reads a number; timestamps are not numbers and stay text.
fn number(plain: &str) -> Option<Value> {
    let first = plain.bytes().next()?;
    if !first.is_ascii_digit() && !matches!(first, b'+' | b'-' | b'.') {
        return None;
    }
    let digits = plain.replace('_', "");
    integer(&digits)
        .map(Value::Integer)
        .or_else(|| is_float(&digits).then(|| Value::Number(plain.to_owned())))
}

/// Go's `strconv.ParseInt(s, 0, 64)`, and `ParseUint`: `0x`, `0o`, `0b`, and a leading zero is octal too.
fn integer(text: &str) -> Option<i128> {
    let (negative, magnitude) = match text.as_bytes() {
        [b'-', ..] => (true, text.get(1..)?),
        [b'+', ..] => (false, text.get(1..)?),
        _ => (false, text),
    };
    let prefix = magnitude.get(..2).map(str::to_ascii_lowercase);
    let (digits, radix) = match prefix.as_deref() {
        Some("0x") => (magnitude.get(2..)?, 16),
        Some("0o") => (magnitude.get(2..)?, 8),
        Some("0b") => (magnitude.get(2..)?, 2),
        Some(prefix) if prefix.starts_with('0') => (magnitude.get(1..)?, 8),
        _ => (magnitude, 10),
    };
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    // 64 bits, as Go has them; more than that is a float there.
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -value } else { value };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, and the infinities and not-a-numbers.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_is_good = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_is_good = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa_is_good && exponent_is_good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_go_does() {
        let text = |text: &str| Value::Text(text.to_owned());
        let number = |text: &str| Value::Number(text.to_owned());
        for (plain, value) in [
            ("yes", text("yes")),
            ("off", text("off")),
            ("True", Value::Bool(true)),
            ("tRue", text("tRue")),
            ("~", Value::Null),
            ("0644", Value::Integer(0o644)),
            ("0o644", Value::Integer(0o644)),
            ("0x1F", Value::Integer(31)),
            ("-0b11", Value::Integer(-3)),
            ("1_000", Value::Integer(1000)),
            ("0", Value::Integer(0)),
            ("+7", Value::Integer(7)),
            ("18446744073709551615", Value::Integer(18_446_744_073_709_551_615)),
            ("18446744073709551616", number("18446744073709551616")),
            ("089", number("089")),
            ("1.5", number("1.5")),
            ("1e3", number("1e3")),
            (".5", number(".5")),
            ("-.inf", number("-.inf")),
            ("2026-11-23", text("2026-11-23")),
            ("1.2.3", text("1.2.3")),
            ("-", text("-")),
            ("--1", text("--1")),
            ("+", text("+")),
            ("0x", text("0x")),
            (".", text(".")),
            ("22/tcp", text("22/tcp")),
        ] {
            assert_eq!(resolve(plain), value, "{plain}");
        }
    }
}
