//! How people name the place of a collection.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Context;
use crate::failure::Failure;
use crate::store::{TrustDir, TrustPlace};

/// A collection as it is named: in the directory of collections, or by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CollectionName {
    /// By its name in the directory of collections.
    Name(String),
    /// By its own directory.
    Directory(PathBuf),
}

impl CollectionName {
    /// Returns the place; `base` is the directory of collections.
    pub(super) fn place(&self, _context: &Context, base: &Path) -> Result<TrustPlace, Failure> {
        match self {
            Self::Name(name) => Ok(TrustDir::at(base.join(name)).into()),
            Self::Directory(dir) => Ok(TrustDir::at(dir).into()),
        }
    }

    /// Returns the name under which the collection's keys and pin are kept: its own, or one made of its place.
    pub(super) fn key_name(&self) -> Result<String, Failure> {
        match self {
            Self::Name(name) => Ok(name.clone()),
            Self::Directory(dir) => {
                let dir = std::path::absolute(dir);
                let dir = dir.map_err(|error| Failure::malformed(self, format!("has no absolute path: {error}")))?;
                let dir: PathBuf = dir.components().collect();
                Ok(file_name(&dir.to_string_lossy()))
            }
        }
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Directory(dir) => write!(f, "dir:{}", dir.display()),
        }
    }
}

impl FromStr for CollectionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(dir) = text.strip_prefix("dir:") {
            return match dir.is_empty() {
                true => Err("expected a directory behind `dir:`".to_owned()),
                false => Ok(Self::Directory(dir.into())),
            };
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        match !text.is_empty() && !text.starts_with('.') && text.bytes().all(plain) {
            true => Ok(Self::Name(text.to_owned())),
            false => Err(
                "expected a name of letters, digits, `.`, `_` and `-`, not beginning with `.`, or dir:PATH".to_owned(),
            ),
        }
    }
}

/// Makes a file name of a place: what file names do not hold becomes `_`.
fn file_name(place: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let name: String = place.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    name.trim_start_matches(['.', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_that_could_lead_elsewhere_is_none() {
        for bad in ["", ".", "..", "a/b", "/a", "dir:", "a:b", "a b"] {
            assert!(bad.parse::<CollectionName>().is_err(), "{bad}");
        }
        assert_eq!("a.b-c_1".parse(), Ok(CollectionName::Name("a.b-c_1".to_owned())));
    }

    #[test]
    fn the_keys_of_a_place_have_one_name_however_it_is_written() {
        let name = |text: &str| text.parse::<CollectionName>().unwrap().key_name().unwrap();
        assert_eq!(name("dir:/srv/trust/./a"), "srv_trust_a");
        assert_eq!(name("dir:/srv/trust/a/"), "srv_trust_a");
        assert_eq!(name("platform"), "platform");
    }
}
