//! The `hashes` of a file in Notary's dialect: algorithm to value in base64.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::Plain;
use crate::trust::TrustError;
use crate::trust::hashes::check;

/// Digests of one file by algorithm, sha256 or sha512 among them; those of other algorithms are kept and not checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct NotaryHashes(BTreeMap<String, String>);

impl NotaryHashes {
    /// Hashes `bytes` with SHA-256 and SHA-512, as Notary does for metadata.
    pub fn both(bytes: &[u8]) -> Self {
        Self::of([Digest::sha256(bytes), Digest::sha512(bytes)])
    }

    /// Writes digests, one of each algorithm.
    pub fn of(digests: impl IntoIterator<Item = Digest>) -> Self {
        let write = |digest: Digest| (digest.algorithm().to_owned(), STANDARD.encode(digest.as_bytes()));
        Self(digests.into_iter().map(write).collect())
    }

    /// Returns the digests that imgkit can check; there is at least one.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.0
            .iter()
            .filter_map(|(algorithm, value)| digest(algorithm, value).ok().flatten())
    }

    /// Reads the next value as strictly as deserialising it does; returns the digests that imgkit can check, at least one.
    pub(super) fn read(plain: &mut Plain<'_>) -> Option<[Option<Digest>; 2]> {
        let mut digests = [None; 2];
        plain.members(|plain, algorithm| {
            match digest(algorithm, plain.text()?).ok()? {
                Some(found @ Digest::Sha256(_)) => digests[0] = Some(found),
                Some(found @ Digest::Sha512(_)) => digests[1] = Some(found),
                None => {}
            }
            Some(())
        })?;
        digests.iter().any(Option::is_some).then_some(digests)
    }

    /// Returns SHA-256, if it is there.
    pub fn sha256(&self) -> Option<Digest> {
        self.digests().find(|digest| matches!(digest, Digest::Sha256(_)))
    }

    /// Compares `bytes` with every digest that imgkit knows.
    ///
    /// # Errors
    /// [`TrustError::Digest`] naming `subject`.
    pub fn check(&self, subject: &str, bytes: &[u8]) -> Result<(), TrustError> {
        check(self.digests(), subject, bytes)
    }
}

impl TryFrom<BTreeMap<String, String>> for NotaryHashes {
    type Error = String;

    fn try_from(hashes: BTreeMap<String, String>) -> Result<Self, String> {
        let mut known = 0;
        for (algorithm, value) in &hashes {
            known += usize::from(digest(algorithm, value)?.is_some());
        }
        match known {
            0 => Err("there is neither a sha256 nor a sha512 hash".to_owned()),
            _ => Ok(Self(hashes)),
        }
    }
}

/// Reads one member; `None` when the algorithm is not known.
fn digest(algorithm: &str, value: &str) -> Result<Option<Digest>, String> {
    let bad = || format!("`{}` is no {algorithm} hash in base64", value.escape_debug());
    Ok(match algorithm {
        "sha256" => Some(Digest::Sha256(decode(value).ok_or_else(bad)?)),
        "sha512" => Some(Digest::Sha512(decode(value).ok_or_else(bad)?)),
        _ => None,
    })
}

fn decode<const N: usize>(value: &str) -> Option<[u8; N]> {
    // Base64 comes in threes: a few bytes more than the longest hash has.
    let mut bytes = [0; 72];
    let length = STANDARD.decode_slice(value, &mut bytes).ok()?;
    bytes.get(..length)?.try_into().ok()
}
