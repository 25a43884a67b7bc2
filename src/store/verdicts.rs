//! Verdicts that hold still: what a policy admitted, until what that rests on expires.
//!
//! - `DIR/SHA-256.json` has the verdicts of one basis: policy, pinned files, trust metadata, platform, release. Any of them changed
//!   is another file.
//! - Only yes is kept: whoever was refused is judged anew, as something may have been mended.
//! - The directory is trusted as the programs of its owner are; what is built or booted is never judged by it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::{Lock, NewFile, cannot, make_dir, read_limited};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::seal::statement::Admission;
use crate::time::Time;

/// One image that was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Kept {
    /// The document that its name stood for.
    pub document: Digest,
    /// What admitted it.
    pub admitted: Admission,
    /// What its signers signed, for machines.
    pub signed: Vec<Value>,
    /// When it was judged.
    pub judged_at: Time,
    /// From when on it has to be judged anew.
    pub until: Time,
}

impl Kept {
    /// Tells whether the verdict holds for this document at `now`.
    pub fn holds(&self, document: &Digest, now: Time) -> bool {
        self.document == *document && self.judged_at <= now && now < self.until
    }
}

/// The verdicts of one basis, by the images' names.
#[derive(Clone, Debug)]
pub struct Verdicts {
    dir: PathBuf,
    basis: Digest,
}

impl Verdicts {
    /// Names the verdicts of a basis; the directory need not exist.
    pub fn at(dir: impl Into<PathBuf>, basis: Digest) -> Self {
        let dir = dir.into();
        Self { dir, basis }
    }

    /// Reads the verdicts. What cannot be read is as if it were not there: the images are judged anew.
    pub fn load(&self) -> BTreeMap<String, Kept> {
        let bytes = read_limited(&self.path(), limit::VERDICTS_BYTES).ok();
        let kept = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        kept.unwrap_or_default()
    }

    /// Adds verdicts, and drops those that no longer hold at `now`.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when they cannot be written.
    pub fn keep(&self, new: BTreeMap<String, Kept>, now: Time) -> Result<(), Failure> {
        make_dir(&self.dir)?;
        let _lock = Lock::exclusive(&self.dir.join(".lock"))?;
        let mut all = self.load();
        all.extend(new);
        all.retain(|_, kept| now < kept.until);
        let path = self.path();
        let bytes = serde_json::to_vec(&all).unwrap_or_default();
        if bytes.len() > limit::VERDICTS_BYTES {
            return Ok(());
        }
        let mut file = NewFile::private_beside(&path)?;
        file.write_all(&bytes).map_err(|error| cannot("write", &path, &error))?;
        file.finish(&path)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.json", self.basis.hex()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn time(seconds: i64) -> Time {
        Time::from_unix(1_700_000_000 + seconds).unwrap()
    }

    fn kept(until: i64) -> Kept {
        Kept {
            document: Digest::sha256(b"a"),
            admitted: Admission::ListedDigest { rule: "r".to_owned() },
            signed: Vec::new(),
            judged_at: time(0),
            until: time(until),
        }
    }

    #[test]
    fn a_verdict_holds_for_its_document_and_its_time() {
        let (own, other) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        assert!(kept(10).holds(&own, time(0)) && kept(10).holds(&own, time(9)));
        assert!(!kept(10).holds(&own, time(10)));
        assert!(!kept(10).holds(&own, time(-1)), "of times to come");
        assert!(!kept(10).holds(&other, time(5)));
    }

    #[test]
    fn what_is_kept_is_found_under_its_basis_until_it_expires() {
        let dir = tempfile::tempdir().unwrap();
        let of = |basis: &[u8]| Verdicts::at(dir.path().join("v"), Digest::sha256(basis));
        let one = |name: &str, until| BTreeMap::from([(name.to_owned(), kept(until))]);
        of(b"x").keep(one("a", 10), time(0)).unwrap();
        of(b"x").keep(one("b", 20), time(5)).unwrap();
        assert_eq!(of(b"x").load().len(), 2);
        assert!(of(b"y").load().is_empty());
        of(b"x").keep(BTreeMap::new(), time(15)).unwrap();
        assert_eq!(of(b"x").load().into_keys().collect::<Vec<_>>(), ["b"]);
        std::fs::write(of(b"x").path(), b"{\"a\": 1}").unwrap();
        assert!(of(b"x").load().is_empty(), "what is changed is judged anew");
    }
}
