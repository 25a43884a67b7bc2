//! Paths inside a tree.

use std::borrow::Borrow;
use std::fmt;

use crate::limit;

/// A relative path of one or more components, as bytes, that cannot leave its tree.
///
/// No component is empty, `.` or `..`, and there is no NUL byte and no leading or trailing slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Box<[u8]>);

impl TreePath {
    /// Reads a path as archives write it: a leading `./` or `/` and a trailing `/` are dropped.
    ///
    /// # Errors
    /// [`PathError`] for an empty path, `..`, `.` or empty components, NUL, or one that is too long.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let full = bytes.as_ref();
        let mut bytes = full;
        while let Some(rest) = bytes.strip_prefix(b"./").or_else(|| bytes.strip_prefix(b"/")) {
            bytes = rest;
        }
        let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
        let bad = |what| PathError {
            path: escape(full.get(..200).unwrap_or(full)),
            what,
        };
        if bytes.len() > limit::PATH_BYTES {
            return Err(bad("is longer than 4095 bytes"));
        }
        if bytes.contains(&0) {
            return Err(bad("has a NUL byte"));
        }
        for part in bytes.split(|b| *b == b'/') {
            match part {
                b"" => return Err(bad("has an empty component")),
                b"." => return Err(bad("has a `.` component")),
                b".." => return Err(bad("has a `..` component")),
                part if part.len() > limit::NAME_BYTES => {
                    return Err(bad("has a component longer than 255 bytes"));
                }
                _ => {}
            }
        }
        Ok(Self(bytes.into()))
    }

    /// Returns the path's bytes, without slashes at its ends.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the last component.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }

    /// Returns the directory that holds this path; `None` at the top of the tree.
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|b| *b == b'/')?;
        self.0.get(..slash).map(|parent| Self(parent.into()))
    }

    /// Iterates over the directories above this path, outermost first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let slashes = self.0.iter().enumerate().filter(|(_, b)| **b == b'/');
        slashes.filter_map(|(at, _)| self.0.get(..at).map(|parent| Self(parent.into())))
    }

    /// Puts `below` under this path.
    ///
    /// # Errors
    /// [`PathError`] when the two together are too long.
    pub fn join(&self, below: &Self) -> Result<Self, PathError> {
        Self::parse([self.as_bytes(), b"/", below.as_bytes()].concat())
    }

    /// Tells whether this path lies strictly below `directory`.
    pub fn is_below(&self, directory: &Self) -> bool {
        let rest = self.0.strip_prefix(directory.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    /// Returns the bounds of what lies below this path: from `path/` up to `path0`, as `0` follows `/` in ASCII.
    pub(super) fn range_below(&self) -> (Vec<u8>, Vec<u8>) {
        ([self.as_bytes(), b"/"].concat(), [self.as_bytes(), b"0"].concat())
    }

    /// Returns this path relative to `directory`; `None` when it does not lie below it.
    pub fn relative_to(&self, directory: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(directory.as_bytes())?;
        rest.strip_prefix(b"/").map(|rest| Self(rest.into()))
    }
}

/// Paths sort as their bytes do.
impl Borrow<[u8]> for TreePath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A path that may not stand in a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path `{path}` {what}; expected a relative path without `.` and `..` components")]
pub struct PathError {
    path: String,
    what: &'static str,
}

/// Writes bytes as printable ASCII without spaces: everything outside `!`–`~`, and the backslash, as `\xNN`.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' | 0..=b' ' | 0x7f.. => text.push_str(&format!("\\x{byte:02x}")),
            _ => text.push(char::from(byte)),
        }
    }
    text
}

/// Reads what [`escape`] wrote; `None` for anything else.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'\\' {
            let (hex, tail) = tail.strip_prefix(b"x")?.split_at_checked(2)?;
            let mut value = [0];
            hex::decode_to_slice(hex, &mut value).ok()?;
            bytes.extend(value);
            rest = tail;
        } else {
            bytes.push(byte);
        }
    }
    (escape(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn drops_what_archives_add() {
        assert_eq!(TreePath::parse("./a/b/").unwrap().as_bytes(), b"a/b");
        assert_eq!(TreePath::parse("/a").unwrap().as_bytes(), b"a");
    }

    #[test]
    fn refuses_paths_that_leave_the_tree() {
        for path in ["", "/", "..", "a/..", "a/../b", "a//b", "a/./b", "a\0b", "./.."] {
            assert!(TreePath::parse(path).is_err(), "{path:?}");
        }
        assert!(TreePath::parse("x/".repeat(3000)).is_err());
        assert!(TreePath::parse("x".repeat(256)).is_err());
    }

    #[test]
    fn knows_what_lies_above_and_below() {
        let path = TreePath::parse("a/b/c").unwrap();
        let above: Vec<String> = path.ancestors().map(|p| p.to_string()).collect();
        assert_eq!(above, ["a", "a/b"]);
        assert!(path.is_below(&TreePath::parse("a").unwrap()));
        assert!(!TreePath::parse("ab").unwrap().is_below(&TreePath::parse("a").unwrap()));
        assert_eq!(
            path.relative_to(&TreePath::parse("a").unwrap()).unwrap().as_bytes(),
            b"b/c"
        );
    }

    #[test]
    fn escapes_are_reversible_and_canonical() {
        let odd = b"a b\\\n\xff";
        assert_eq!(escape(odd), "a\\x20b\\x5c\\x0a\\xff");
        assert_eq!(unescape(&escape(odd)).unwrap(), odd);
        assert_eq!(unescape("\\x41"), None, "a letter needs no escape");
        assert_eq!(unescape("\\x0A"), None, "digits are lower case");
    }
}
