//! The `hashes` of a file: algorithm to hexadecimal value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::TrustError;
use crate::digest::Digest;

/// Digests of one file by algorithm; those of algorithms that imgkit does not know are kept and not checked.
///
/// Where it knows none of them, nothing is what they describe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Hashes(BTreeMap<String, String>);

impl Hashes {
    /// Hashes `bytes` with SHA-256.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::from(Digest::sha256(bytes))
    }

    /// Returns the digests that imgkit can check, SHA-256 first.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.0
            .iter()
            .filter_map(|(algorithm, hex)| digest(algorithm, hex).ok().flatten())
    }

    /// Returns every hash as `ALGORITHM:HEX`, those too that imgkit cannot check.
    pub fn written(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(algorithm, hex)| format!("{algorithm}:{hex}"))
    }

    /// Compares `bytes` with every digest that imgkit knows.
    ///
    /// # Errors
    /// [`TrustError::Digest`] naming `subject`.
    pub fn check(&self, subject: &str, bytes: &[u8]) -> Result<(), TrustError> {
        check(self.digests(), subject, bytes)
    }
}

/// Compares `bytes` with every one of some digests; without any, they are not what was meant.
pub(super) fn check(digests: impl Iterator<Item = Digest>, subject: &str, bytes: &[u8]) -> Result<(), TrustError> {
    let mut digests = digests.peekable();
    if digests.peek().is_none() {
        return Err(TrustError::Digest {
            subject: subject.to_owned(),
            expected: "a sha256 or sha512 hash".to_owned(),
            found: "hashes of other kinds alone".to_owned(),
        });
    }
    for expected in digests {
        let mut hasher = expected.hasher();
        hasher.update(bytes);
        let found = hasher.finish();
        if found != expected {
            return Err(TrustError::Digest {
                subject: subject.to_owned(),
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
    }
    Ok(())
}

impl From<Digest> for Hashes {
    fn from(digest: Digest) -> Self {
        std::iter::once(digest).collect()
    }
}

impl FromIterator<Digest> for Hashes {
    fn from_iter<I: IntoIterator<Item = Digest>>(digests: I) -> Self {
        let digests = digests.into_iter();
        Self(
            digests
                .map(|digest| (digest.algorithm().to_owned(), digest.hex()))
                .collect(),
        )
    }
}

impl TryFrom<BTreeMap<String, String>> for Hashes {
    type Error = String;

    fn try_from(hashes: BTreeMap<String, String>) -> Result<Self, String> {
        for (algorithm, hex) in &hashes {
            digest(algorithm, hex)?;
        }
        match hashes.is_empty() {
            true => Err("there is no hash".to_owned()),
            false => Ok(Self(hashes)),
        }
    }
}

/// Reads one member; `None` when the algorithm is not known.
fn digest(algorithm: &str, hex: &str) -> Result<Option<Digest>, String> {
    match algorithm {
        "sha256" | "sha512" => format!("{algorithm}:{hex}")
            .parse()
            .map(Some)
            .map_err(|error: crate::digest::DigestError| error.to_string()),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(json: &str) -> Result<Hashes, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_known_hash_must_fit() {
        let (sha256, sha512) = (Digest::sha256(b"a").hex(), Digest::sha512(b"b").hex());
        let both = read(&format!(r#"{{"sha256":"{sha256}","sha512":"{sha512}","md5":"x"}}"#)).unwrap();
        assert_eq!(both.digests().count(), 2);
        assert!(both.check("f", b"a").is_err());
        assert!(both.check("f", b"b").is_err());
        assert!(Hashes::sha256(b"a").check("f", b"a").is_ok());
    }

    #[test]
    fn nothing_is_what_unknown_hashes_describe() {
        assert!(read("{}").is_err());
        let md5 = read(r#"{"md5":"d41d8cd98f00b204e9800998ecf8427e"}"#).unwrap();
        assert_eq!(md5.digests().count(), 0);
        assert!(md5.check("f", b"").is_err());
        assert!(read(r#"{"sha256":"00"}"#).is_err());
    }
}
