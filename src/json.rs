//! Strict JSON (RFC 8259) and canonical JSON (OLPC), for documents that somebody signed.
//!
//! - A reader refuses what two readers could understand differently: duplicate members at any depth, numbers that are no
//!   64-bit integers, bytes after the value, text that is not UTF-8, lone surrogates.
//! - Size and depth are bounded before anything is built of them ([`Limits`]), and so is how many arrays and objects there are: a few
//!   bytes of text can be hundreds in memory.
//! - [`canonical`] writes the one encoding that TUF signs: members sorted by their bytes, no white space, only `"` and `\`
//!   escaped, integers only.

mod plain;

pub use plain::Plain;

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use crate::limit;

/// What a document may cost and contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes.
    pub bytes: usize,
    /// Deepest nesting of arrays and objects; a plain value has depth 0.
    pub depth: usize,
    /// Whether numbers other than 64-bit integers are legal.
    pub numbers: Numbers,
}

impl Limits {
    /// Allows `bytes` bytes of JSON with integers only, nested no deeper than [`limit::JSON_DEPTH`].
    pub const fn integers(bytes: usize) -> Self {
        Self {
            bytes,
            depth: limit::JSON_DEPTH,
            numbers: Numbers::Integers,
        }
    }

    /// Allows the same with any number that a 64-bit float can hold.
    pub const fn any_number(bytes: usize) -> Self {
        Self {
            numbers: Numbers::Any,
            ..Self::integers(bytes)
        }
    }
}

/// Which numbers are legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Integers between -2^63 and 2^64-1, written without fraction or exponent.
    Integers,
    /// These and whatever a 64-bit float can hold.
    Any,
}

/// Reads one JSON value.
///
/// # Errors
/// [`JsonError`] when the bytes are not exactly one value within `limits`.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(JsonError::TooLong {
            limit: limits.bytes,
            found: bytes.len(),
        });
    }
    let found = Cell::new(None);
    let seed = Strict {
        limits,
        depth: 0,
        containers: &Cell::new(0),
        found: &found,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| found.take().unwrap_or_else(|| JsonError::Syntax(error.to_string())))
}

/// Reads one JSON value into a type.
///
/// # Errors
/// [`JsonError`] as [`parse`], and when the value has not the type's shape.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limits: Limits) -> Result<T, JsonError> {
    let value = parse(bytes, limits)?;
    serde_json::from_value(value).map_err(|error| JsonError::Shape(error.to_string()))
}

/// Writes a value as OLPC canonical JSON.
///
/// # Errors
/// [`JsonError::Number`] when a number is no integer.
pub fn canonical(value: &Value) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    write_canonical(value, &mut out)?;
    Ok(out)
}

/// Writes an object as [`canonical`] does, with `text`, which is canonical itself, in the place of what its member `name` is.
///
/// # Errors
/// As [`canonical`].
pub fn canonical_with(object: &Map<String, Value>, name: &str, text: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    write_members(object, &mut out, |member, value, out| match member == name {
        true => {
            out.extend_from_slice(text);
            Ok(())
        }
        false => write_canonical(value, out),
    })?;
    Ok(out)
}

/// Writes a text as [`canonical`] does.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Bytes that are not the JSON they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// One object names a member twice.
    #[error("the member `{0}` occurs twice in one object; expected once")]
    Duplicate(String),
    /// A number that is not a 64-bit integer.
    #[error("the number {0} is not a 64-bit integer; expected integers only")]
    Number(String),
    /// The value has not the expected members.
    #[error("not of the expected shape: {0}")]
    Shape(String),
    /// Not JSON, or more than one value.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// Arrays and objects are nested too deeply.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The deepest nesting allowed.
        limit: usize,
    },
    /// Too many arrays and objects.
    #[error("more than {limit} arrays and objects")]
    TooMany {
        /// The most allowed.
        limit: usize,
    },
    /// More bytes than allowed.
    #[error("{found} bytes long, expected at most {limit}")]
    TooLong {
        /// The most bytes allowed.
        limit: usize,
        /// How many there are.
        found: usize,
    },
}

/// Builds a [`Value`] while it checks; the reason of a refusal is left in `found`, as serde's errors carry only text.
#[derive(Clone, Copy)]
struct Strict<'a> {
    limits: Limits,
    depth: usize,
    /// How many arrays and objects were begun.
    containers: &'a Cell<usize>,
    found: &'a Cell<Option<JsonError>>,
}

impl Strict<'_> {
    /// Begins an array or object.
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let limit = self.limits.depth;
        if self.depth >= limit {
            return Err(self.refuse(JsonError::TooDeep { limit }));
        }
        let limit = limit::JSON_CONTAINERS;
        if self.containers.replace(self.containers.get().saturating_add(1)) >= limit {
            return Err(self.refuse(JsonError::TooMany { limit }));
        }
        let depth = self.depth + 1;
        Ok(Self { depth, ..self })
    }

    fn refuse<E: serde::de::Error>(self, error: JsonError) -> E {
        let text = E::custom(&error);
        self.found.set(Some(error));
        text
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    // serde_json offers every number that is no 64-bit integer, and `-0`, as a float.
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        match self.limits.numbers {
            Numbers::Any => Ok(value.into()),
            Numbers::Integers => Err(self.refuse(JsonError::Number(value.to_string()))),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(deeper)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match object.entry(name) {
                Entry::Occupied(other) => return Err(self.refuse(JsonError::Duplicate(other.key().clone()))),
                Entry::Vacant(place) => drop(place.insert(members.next_value_seed(deeper)?)),
            }
        }
        Ok(Value::Object(object))
    }
}

fn write_canonical(value: &Value, out: &mut Vec<u8>) -> Result<(), JsonError> {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        Value::Number(number) if number.is_f64() => return Err(JsonError::Number(number.to_string())),
        Value::Number(number) => out.extend(number.to_string().bytes()),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                write_comma(at, out);
                write_canonical(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => write_members(members, out, |_, member, out| write_canonical(member, out))?,
    }
    Ok(())
}

fn write_members(
    members: &Map<String, Value>,
    out: &mut Vec<u8>,
    write: impl Fn(&str, &Value, &mut Vec<u8>) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    // Sorted here, whatever order the map keeps: byte order of UTF-8 is the order of code points.
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(name, _)| *name);
    out.push(b'{');
    for (at, (name, member)) in members.into_iter().enumerate() {
        write_comma(at, out);
        write_text(name, out);
        out.push(b':');
        write(name, member, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_comma(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const LIMITS: Limits = Limits {
        bytes: 100,
        depth: 3,
        numbers: Numbers::Integers,
    };

    #[test]
    fn reads_what_is_plain() {
        let text = br#" {"a": [1, -2, 18446744073709551615, "\u00e9\ud83d\ude00"], "b": {"a": null}} "#;
        let expected = json!({"a": [1, -2, u64::MAX, "é😀"], "b": {"a": null}});
        assert_eq!(parse(text, LIMITS).unwrap(), expected);
    }

    #[test]
    fn refuses_a_member_that_occurs_twice_at_any_depth() {
        let twice = |text: &[u8]| parse(text, LIMITS).unwrap_err();
        assert_eq!(twice(br#"{"a":1,"a":1}"#), JsonError::Duplicate("a".into()));
        assert_eq!(
            twice(br#"[{"b":{"a":1,"\u0061":2}}]"#),
            JsonError::Duplicate("a".into())
        );
    }

    #[test]
    fn refuses_numbers_that_are_no_integers() {
        for number in [
            "1.0",
            "1e3",
            "-0",
            "18446744073709551616",
            "-9223372036854775809",
            "1E400",
        ] {
            let text = format!("[{number}]");
            assert!(parse(text.as_bytes(), LIMITS).is_err(), "{number}");
        }
        assert_eq!(
            parse(b"1.5", Limits::any_number(10)).unwrap(),
            json!(1.5),
            "unless they are allowed"
        );
        assert!(parse(b"1e400", Limits::any_number(10)).is_err());
        assert!(parse(b"NaN", Limits::any_number(10)).is_err());
    }

    #[test]
    fn refuses_what_is_too_deep_too_much_or_too_long() {
        assert!(parse(b"[[[1]]]", LIMITS).is_ok());
        assert_eq!(parse(b"[[{\"a\":[]}]]", LIMITS), Err(JsonError::TooDeep { limit: 3 }));
        let bomb = vec![b'['; 100_000];
        assert_eq!(
            parse(&bomb, Limits::integers(1 << 20)),
            Err(JsonError::TooDeep {
                limit: limit::JSON_DEPTH
            })
        );
        let many = format!("[{}]", "[],".repeat(limit::JSON_CONTAINERS - 2) + "[]");
        assert!(parse(many.as_bytes(), Limits::integers(many.len())).is_ok());
        let more = many.replacen("[]", "[[]]", 1);
        let limit = limit::JSON_CONTAINERS;
        assert_eq!(
            parse(more.as_bytes(), Limits::integers(more.len())),
            Err(JsonError::TooMany { limit })
        );
        let long = vec![b' '; 101];
        assert_eq!(parse(&long, LIMITS), Err(JsonError::TooLong { limit: 100, found: 101 }));
    }

    #[test]
    fn refuses_other_bytes() {
        let texts: [&[u8]; 9] = [
            b"",
            b"1 2",
            b"{}x",
            b"\"\xff\"",
            b"\"\\ud800\"",
            b"\"\\ud800\\u0041\"",
            b"\"a\nb\"",
            b"\xef\xbb\xbf{}",
            b"[1,]",
        ];
        for text in texts {
            assert!(parse(text, LIMITS).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn decodes_into_types_without_forgetting_duplicates() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Point {
            x: i64,
        }
        assert_eq!(decode::<Point>(br#"{"x":1,"y":2}"#, LIMITS), Ok(Point { x: 1 }));
        assert!(decode::<Point>(br#"{"x":1,"y":2,"y":2}"#, LIMITS).is_err());
        assert!(matches!(
            decode::<Point>(br#"{"x":"1"}"#, LIMITS),
            Err(JsonError::Shape(_))
        ));
    }

    #[test]
    fn canonical_form_is_the_specifications() {
        let value = json!({"b": [true, null, -1], "a": "\"\\/\n\té", "B": {}, "é": u64::MAX});
        let expected = "{\"B\":{},\"a\":\"\\\"\\\\/\n\té\",\"b\":[true,null,-1],\"é\":18446744073709551615}";
        assert_eq!(String::from_utf8(canonical(&value).unwrap()).unwrap(), expected);
        assert!(canonical(&json!([1.5])).is_err());
    }

    proptest! {
        #[test]
        fn errors_are_fine_panics_are_not(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes, LIMITS);
        }

        #[test]
        fn agrees_with_serde_json_on_what_it_writes(text in ".*", number in any::<i64>()) {
            let value = json!({ "text": text, "number": number, "list": [text] });
            let bytes = value.to_string().into_bytes();
            prop_assert_eq!(parse(&bytes, Limits::integers(1 << 20)).unwrap(), value);
        }
    }
}
