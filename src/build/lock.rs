//! `node.lock`: what each reference stood for, and when that was judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::failure::Failure;
use crate::json;
use crate::limit;
use crate::reference::Reference;
use crate::time::Time;

const VERSION: u32 = 1;

/// A lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Lock {
    version: u32,
    /// The evaluation time.
    pub evaluated_at: Time,
    /// The digest of the document that each reference stood for.
    pub images: BTreeMap<Reference, Digest>,
}

impl Lock {
    /// Makes a lock.
    pub fn new(evaluated_at: Time, images: BTreeMap<Reference, Digest>) -> Self {
        Self {
            version: VERSION,
            evaluated_at,
            images,
        }
    }

    /// Reads a lock file; `file` is how errors name it.
    ///
    /// # Errors
    /// [`Failure::Malformed`] for anything but a lock file of this version.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Failure> {
        let limits = json::Limits {
            bytes: limit::LOCK_BYTES,
            depth: 4,
            numbers: json::Numbers::Integers,
        };
        let lock: Self = json::decode(bytes, limits).map_err(|error| Failure::malformed(file, error))?;
        match lock.version {
            VERSION => Ok(lock),
            other => {
                let problem =
                    format!("a lock file of version {other}, expected {VERSION}; make it again with `imgkit lock`");
                Err(Failure::malformed(file, problem))
            }
        }
    }

    /// Writes the lock file.
    pub fn encode(&self) -> Vec<u8> {
        // Keys are strings and no value can fail to be written.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Returns the reference pinned to what it stood for.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the lock does not know the reference, or knows it under another digest than it names.
    pub fn pin(&self, reference: &Reference) -> Result<Reference, Failure> {
        let digest = self.images.get(reference).ok_or_else(|| {
            Failure::malformed(
                reference,
                "the lock file does not name it; make it again with `imgkit lock`",
            )
        })?;
        match reference.pin(*digest) {
            Ok(pinned) => Ok(pinned.reference().clone()),
            Err(named) => Err(Failure::malformed(
                reference,
                format!("the lock file has {digest} for it, it names {named}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pins_what_it_knows_and_nothing_else() {
        let known: Reference = "r.example/a:v1".parse().unwrap();
        let digest = Digest::sha256(b"");
        let lock = Lock::new(Time::from_unix(0).unwrap(), BTreeMap::from([(known.clone(), digest)]));
        let read = Lock::parse("node.lock", &lock.encode()).unwrap();
        assert_eq!(read, lock);
        assert_eq!(read.pin(&known).unwrap().digest(), Some(&digest));
        assert!(read.pin(&"r.example/b:v1".parse().unwrap()).is_err());
        assert!(Lock::parse("node.lock", b"{}").is_err());
    }
}
