//! The newest root that was signed here, offline, for each collection: `DIR/COLLECTION/root-signed.json`.
//!
//! - Who signs two roots of one version lets others show each reader a different one. The machine where the keys are sees no collection,
//!   and what a proposal says of the roots before it may have been cut back to the pin: so it has to remember by itself.
//! - The same root may be signed again, with another key.

use std::fmt;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::KeyStore;
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::json::{self, Limits};
use crate::limit;
use crate::store::file::{Lock, NewFile, cannot, read_limited};

pub(super) const SIGNED: &str = "root-signed.json";

/// A root: its version, and the SHA-256 of what is signed of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedRoot {
    version: u64,
    signed: Digest,
}

impl KeyStore {
    /// Writes down, before a root of a collection is signed here, which one that is.
    ///
    /// # Errors
    /// [`Code::Rollback`] where another root of its version, or a later one, was signed here; [`Failure`] when it cannot be read or
    /// written down.
    pub fn remember_root(&self, collection: &str, version: u64, signed: Digest) -> Result<(), Failure> {
        let dir = self.private_dir(&[collection])?;
        let path = dir.join(SIGNED);
        let _turn = Lock::of_dir(&dir)?;
        let new = SignedRoot { version, signed };
        match SignedRoot::read(&path)? {
            Some(old) if old == new => Ok(()),
            Some(old) if old.version >= version => Err(Refusal::new(
                Code::Rollback,
                format!("root version {version} of collection {collection}"),
                format!("a version after {}, the newest root that was signed here", old.version),
                format!("{signed}, where {} was signed as version {}", old.signed, old.version),
                format!(
                    "have the new root proposed on top of the one that was signed here; if that was never published and is to be \
                     given up, destroy every copy of its file, remove {}, and sign again",
                    path.display()
                ),
            )
            .into()),
            _ => new.write(&path),
        }
    }

    /// Takes what a backup says of the newest root that was signed, where none as new is known here; tells whether it did.
    pub(super) fn recall_root(&self, collection: &str, backed_up: &SignedRoot) -> Result<bool, Failure> {
        let dir = self.private_dir(&[collection])?;
        let path = dir.join(SIGNED);
        let _turn = Lock::of_dir(&dir)?;
        let newer = SignedRoot::read(&path)?.is_none_or(|here| here.version < backed_up.version);
        if newer {
            backed_up.write(&path)?;
        }
        Ok(newer)
    }
}

impl SignedRoot {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, impl fmt::Display + use<>> {
        json::decode(bytes, Limits::integers(limit::KEY_FILE_BYTES))
    }

    fn read(path: &Path) -> Result<Option<Self>, Failure> {
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let bytes = read_limited(path, limit::KEY_FILE_BYTES)?;
        let read = Self::parse(&bytes).map_err(|error| Failure::malformed(path.display(), error))?;
        Ok(Some(read))
    }

    fn write(&self, path: &Path) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(self).map_err(|error| Failure::unavailable(path.display(), error))?;
        let mut file = NewFile::private_beside(path)?;
        file.write_all(&bytes).map_err(|error| cannot("write", path, &error))?;
        file.finish(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn refuses_to_sign_two_roots_of_one_version_or_an_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::at(dir.path());
        let sign = |collection: &str, version, content: &[u8]| {
            store.remember_root(collection, version, Digest::sha256(content))
        };
        sign("c", 2, b"one").unwrap();
        sign("c", 2, b"one").unwrap();
        for (version, content) in [(2, b"two".as_slice()), (1, b"one"), (1, b"old")] {
            let refused = sign("c", version, content).unwrap_err();
            let said = refused.to_string();
            assert!(matches!(refused, Failure::Refused(_)), "{said}");
            assert!(said.contains("root-signed.json") && said.contains("after 2"), "{said}");
        }
        sign("other", 2, b"two").unwrap();
        sign("c", 3, b"three").unwrap();
        assert!(sign("c", 2, b"one").is_err());
        // What was written down and cannot be read stands in the way of signing.
        std::fs::write(dir.path().join("c").join(SIGNED), "{}").unwrap();
        assert!(matches!(sign("c", 4, b"four"), Err(Failure::Malformed { .. })));
    }
}
