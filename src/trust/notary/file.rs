//! How metadata describe a file: a metadata file, or a target.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::hashes::NotaryHashes;
use crate::digest::Digest;
use crate::json::Plain;
use crate::trust::Entry;
use crate::trust::Kept;

/// A file as other metadata name it: a metadata file, or a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// Its digests.
    pub hashes: NotaryHashes,
    /// Its length in bytes.
    pub length: u64,
    /// What the signer says of it beyond that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub custom: Option<Value>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl FileMeta {
    /// Describes a file by length, SHA-256 and SHA-512.
    pub fn describe(bytes: &[u8]) -> Self {
        Self::of(NotaryHashes::both(bytes), bytes.len() as u64)
    }

    /// Describes a file by digests and length.
    pub fn of(hashes: NotaryHashes, length: u64) -> Self {
        Self {
            hashes,
            length,
            custom: None,
            extra: Map::new(),
        }
    }
}

impl Entry for FileMeta {
    fn check(plain: &mut Plain<'_>) -> Option<()> {
        FileBrief::read(plain).map(drop)
    }
}

/// Length and digests of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileBrief {
    length: u64,
    digests: [Option<Digest>; 2],
}

impl FileBrief {
    /// Takes them from an entry, of which nothing else is built; `None` when it is none, as no table that was read has it.
    pub fn of(file: Kept<'_, FileMeta>) -> Option<Self> {
        match file {
            Kept::Text(text) => Self::read(&mut Plain::new(text)),
            Kept::Built(file) => {
                let mut digests = file.hashes.digests();
                Some(Self {
                    length: file.length,
                    digests: [digests.next(), digests.next()],
                })
            }
        }
    }

    fn read(plain: &mut Plain<'_>) -> Option<Self> {
        let (mut length, mut digests) = (None, None);
        plain.members(|plain, name| {
            match name {
                "length" => length = Some(plain.natural()?),
                "hashes" => digests = Some(NotaryHashes::read(plain)?),
                _ => drop(plain.value()?),
            }
            Some(())
        })?;
        Some(Self {
            length: length?,
            digests: digests?,
        })
    }

    /// Returns the length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the digests that the signer saw; there is at least one.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.digests.iter().flatten()
    }
}
