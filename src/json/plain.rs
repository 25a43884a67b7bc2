//! JSON that is its own canonical form already: read in one pass, and nothing built of it.
//!
//! - What is read here the strict reader takes as well, and [`canonical`](super::canonical) would write again byte for byte:
//!   no white space, members in ascending order (so that none occurs twice), only `"` and `\` escaped, integers only.
//! - Everything else is `None`, which is no verdict: whoever gets it asks the strict reader, and has its reason.

use std::ops::Range;

use crate::limit;

/// Most digits of a number that is read here: as many always fit into 64 bits.
const DIGITS: usize = 18;

/// A reader's way through a plain text.
#[derive(Clone, Debug)]
pub struct Plain<'a> {
    text: &'a str,
    at: usize,
    /// How many more levels may be entered.
    depth: usize,
    /// How many more arrays and objects may be begun.
    containers: usize,
}

impl<'a> Plain<'a> {
    /// Begins at the start of `text`, which may be nested as deeply, and hold as many arrays and objects, as any document.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: limit::JSON_DEPTH,
            containers: limit::JSON_CONTAINERS,
        }
    }

    /// Returns how many bytes were read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Returns a part of the text.
    pub fn between(&self, range: Range<usize>) -> Option<&'a str> {
        self.text.get(range)
    }

    /// Tells whether everything was read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Reads a value, and returns its text.
    pub fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        match self.peek()? {
            b'"' => self.escaped()?,
            b'{' => self.members(|plain, _| plain.value().map(drop))?,
            b'[' => self.items()?,
            b'n' => self.word("null")?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            _ => self.integer()?,
        }
        self.text.get(start..self.at)
    }

    /// Reads an object; `each` reads the value of the member it is given.
    pub fn members(&mut self, mut each: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        let mut before = None;
        self.members_in_any_order(|plain, name| {
            if before.is_some_and(|before| before >= name) {
                return None;
            }
            before = Some(name);
            each(plain, name)
        })
    }

    /// Reads an object that need not be canonical itself; that no member occurs twice is for `each` to see to.
    pub fn members_in_any_order(&mut self, mut each: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.enter(b'{')?;
        if self.take(b'}').is_none() {
            loop {
                let name = self.text()?;
                self.take(b':')?;
                each(self, name)?;
                if self.take(b',').is_none() {
                    self.take(b'}')?;
                    break;
                }
            }
        }
        self.depth += 1;
        Some(())
    }

    /// Reads a text without escapes.
    pub fn text(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let start = self.at;
        self.at += self.rest().iter().position(|byte| is_special(*byte))?;
        let text = self.text.get(start..self.at)?;
        self.take(b'"')?;
        Some(text)
    }

    /// Reads an integer that is not negative.
    pub fn natural(&mut self) -> Option<u64> {
        let start = self.at;
        self.integer()?;
        self.text.get(start..self.at)?.parse().ok()
    }

    /// Reads `null`, if that comes next.
    pub fn null(&mut self) -> Option<()> {
        self.word("null")
    }

    fn items(&mut self) -> Option<()> {
        self.enter(b'[')?;
        if self.take(b']').is_none() {
            loop {
                self.value()?;
                if self.take(b',').is_none() {
                    self.take(b']')?;
                    break;
                }
            }
        }
        self.depth += 1;
        Some(())
    }

    fn escaped(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            self.at += self.rest().iter().position(|byte| is_special(*byte))?;
            if self.take(b'"').is_some() {
                return Some(());
            }
            self.take(b'\\')?;
            let escaped = self.peek().filter(|byte| matches!(byte, b'"' | b'\\'))?;
            self.take(escaped)?;
        }
    }

    fn integer(&mut self) -> Option<()> {
        let negative = self.take(b'-').is_some();
        let rest = self.rest();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let leads = rest.first() == Some(&b'0') && (digits > 1 || negative);
        let goes_on = matches!(rest.get(digits), Some(b'.' | b'e' | b'E'));
        if leads || goes_on || !(1..=DIGITS).contains(&digits) {
            return None;
        }
        self.at += digits;
        Some(())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    fn enter(&mut self, open: u8) -> Option<()> {
        self.depth = self.depth.checked_sub(1)?;
        self.containers = self.containers.checked_sub(1)?;
        self.take(open)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Limits, canonical, parse};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn is_plain(text: &str) -> bool {
        let mut plain = Plain::new(text);
        plain.value().is_some() && plain.is_at_end()
    }

    #[test]
    fn canonical_text_is_plain_and_other_text_is_not() {
        for good in [
            r#"{"a":[1,-2,{"b":null,"c":true}],"b":"\"\\é","é":{}}"#,
            "[]",
            "0",
            "false",
            "\"\u{7f}\"",
        ] {
            assert!(is_plain(good), "{good}");
        }
        for other in [
            "",
            " 1",
            "1 ",
            "[1,]",
            "[1 ,2]",
            "{\"b\":1,\"a\":1}",
            "{\"a\":1,\"a\":1}",
            "{\"\\\\\":1}",
            "\"\\u0061\"",
            "\"\\n\"",
            "\"\n\"",
            "\"\\/\"",
            "-0",
            "01",
            "1.0",
            "1e3",
            "1234567890123456789",
            "-",
            "nul",
            "\"",
            "\"a\\",
            "{",
            "{\"a\"}",
            "{\"a\":}",
        ] {
            assert!(!is_plain(other), "{other}");
        }
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_plain(&nested(limit::JSON_DEPTH)) && !is_plain(&nested(limit::JSON_DEPTH + 1)));
    }

    /// Any value with integers only.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-c\\\\\"é]{0,2}", inner, 0..5).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_plain_the_strict_reader_takes_as_its_own_canonical_form(value in values(), cut in any::<prop::sample::Index>(), byte in any::<char>()) {
            let mut text = String::from_utf8(canonical(&value).unwrap()).unwrap();
            for _ in 0..2 {
                if is_plain(&text) {
                    let read = parse(text.as_bytes(), Limits::integers(usize::MAX)).unwrap();
                    prop_assert_eq!(String::from_utf8(canonical(&read).unwrap()).unwrap(), text.clone());
                }
                // And the same with one character of it another.
                let at = cut.index(text.chars().count());
                text = text.chars().enumerate().map(|(n, c)| if n == at { byte } else { c }).collect();
            }
        }
    }
}
