//! Extended attributes as text: `NAME=HEX` in a tree list, and lines `PATH NAME=HEX` for archives that have no room for them.
//!
//! Path and name are escaped as in a tree list; `=` in a name is `\x3d`. A line has one form only.

use super::path::{escape, unescape};
use super::{PathError, TreePath};
use crate::limit;

/// Where init looks for the lines of attributes that a cpio archive cannot hold.
pub const FILE: &str = "etc/imgkit/xattrs";

/// One attribute of one path; attributes sort by path, then by name, as their lines stand in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute {
    /// Whose attribute it is.
    pub path: TreePath,
    /// Its full name (`security.capability`).
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl Attribute {
    /// Writes the line, without its end.
    pub fn line(&self) -> String {
        format!("{} {}", self.path, write(&self.name, &self.value))
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    /// [`XattrError`] for anything that [`Attribute::line`] does not write, and for what Linux has no room for.
    pub fn parse(line: &str) -> Result<Self, XattrError> {
        let (path, attribute) = line.split_once(' ').ok_or(XattrError::Form)?;
        let path = TreePath::parse(unescape(path).ok_or(XattrError::Form)?)?;
        let (name, value) = parse(attribute).ok_or(XattrError::Form)?;
        let attribute = Self { path, name, value };
        if attribute.line() != line {
            return Err(XattrError::Form);
        }
        if !(1..=limit::XATTR_NAME_BYTES).contains(&attribute.name.len()) || attribute.name.contains(&0) {
            return Err(XattrError::Name(attribute.name.len()));
        }
        if attribute.value.len() > limit::XATTR_BYTES {
            return Err(XattrError::Value(attribute.value.len()));
        }
        Ok(attribute)
    }
}

/// A line is not the attribute of any path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XattrError {
    /// It has another form.
    #[error("expected `PATH NAME=HEX` as a tree list escapes it")]
    Form,
    /// The name is empty, has a NUL byte, or is too long.
    #[error(
        "the attribute's name has {0} bytes or a NUL among them; expected 1 to {max} without",
        max = limit::XATTR_NAME_BYTES
    )]
    Name(usize),
    /// The path leaves the tree.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The value is too long.
    #[error("the attribute's value has {0} bytes; expected at most {max}", max = limit::XATTR_BYTES)]
    Value(usize),
}

/// Writes `NAME=HEX`.
pub(super) fn write(name: &[u8], value: &[u8]) -> String {
    format!("{}={}", escape(name).replace('=', "\\x3d"), hex::encode(value))
}

/// Reads `NAME=HEX`; the caller compares what it writes again.
pub(super) fn parse(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (name, value) = text.split_once('=')?;
    let name = unescape(&name.replace("\\x3d", "="))?;
    Some((name, hex::decode(value).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let odd = Attribute {
            path: TreePath::parse("usr/bin/a b").unwrap(),
            name: b"user.a=b\n".to_vec(),
            value: vec![1, 0xff],
        };
        assert_eq!(odd.line(), "usr/bin/a\\x20b user.a\\x3db\\x0a=01ff");
        assert_eq!(Attribute::parse(&odd.line()).unwrap(), odd);
        let empty = "x user.empty=";
        assert_eq!(Attribute::parse(empty).unwrap().value, b"");
    }

    #[test]
    fn refuses_every_other_form() {
        for line in [
            "",
            "bin/ping",
            "bin/ping security.capability",
            "bin/ping  security.capability=01",
            "bin/ping security.capability=0",
            "bin/ping security.capability=0A",
            "bin/ping security.capability=01 user.a=02",
            "bin/ping security.capability=01\r",
            "/bin/ping security.capability=01",
            "./bin/ping security.capability=01",
            "bin/p\\x69ng security.capability=01",
        ] {
            assert_eq!(Attribute::parse(line), Err(XattrError::Form), "{line}");
        }
    }

    #[test]
    fn refuses_paths_that_leave_the_tree() {
        let found = Attribute::parse("../etc/shadow user.a=01");
        assert!(matches!(found, Err(XattrError::Path(_))), "{found:?}");
    }

    #[test]
    fn refuses_what_linux_has_no_room_for() {
        let name = |name: &str| Attribute::parse(&format!("x {name}=01"));
        assert_eq!(name(""), Err(XattrError::Name(0)));
        assert_eq!(name("user.\\x00"), Err(XattrError::Name(6)));
        assert!(name(&"n".repeat(255)).is_ok());
        assert_eq!(name(&"n".repeat(256)), Err(XattrError::Name(256)));
        let value = |bytes: usize| Attribute::parse(&format!("x user.a={}", "00".repeat(bytes)));
        assert!(value(65_536).is_ok());
        assert_eq!(value(65_537), Err(XattrError::Value(65_537)));
    }
}
