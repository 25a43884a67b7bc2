//! Removing images, and the blobs that no image needs any more.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{BLOBS_LOCK, Layout, cannot};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::json;
use crate::limit;
use crate::reference::Reference;
use crate::store::file::{Lock, remove_stale};

/// What a removal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// How many names were taken away.
    pub names: usize,
    /// How many blobs went.
    pub blobs: usize,
    /// How many bytes they had.
    pub bytes: u64,
    /// Whether blobs were left where they are because another process is writing; the next removal takes them.
    pub busy: bool,
}

impl Layout {
    /// Takes names away, and then the blobs that nothing names any more.
    ///
    /// What is still needed is found by a rule that errs on the safe side: every digest that stands anywhere in a needed
    /// document is needed.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when a name is not here or the layout cannot be written; a refusal (DIGEST_MISMATCH) when a document
    /// that is still named was changed: then names are gone and no blob is.
    pub fn remove(&self, references: &[Reference]) -> Result<Removed, Failure> {
        let index = self.index()?;
        for reference in references {
            if index.find(reference).is_none() {
                let problem = format!("it is not in the store {}; nothing was removed", self.dir.display());
                return Err(Failure::unavailable(reference, problem));
            }
        }
        let names = self.change_index(|index| references.iter().filter(|name| index.remove(name)).count())?;
        let mut removed = Removed {
            names,
            blobs: 0,
            bytes: 0,
            busy: false,
        };
        match Lock::try_exclusive(&self.dir.join(BLOBS_LOCK))? {
            Some(_lock) => self.collect(&mut removed)?,
            None => removed.busy = true,
        }
        Ok(removed)
    }

    /// Removes unneeded blobs; the caller holds the blobs' lock alone.
    fn collect(&self, removed: &mut Removed) -> Result<(), Failure> {
        let needed = self.needed()?;
        for digest in self.digests()? {
            let path = self.blob_path(&digest);
            if needed.contains(&digest) {
                continue;
            }
            let bytes = self.here(&digest).map_or(0, |here| here.size);
            fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
            removed.blobs += 1;
            removed.bytes += bytes;
        }
        remove_stale(&self.blobs_dir("sha256"));
        Ok(())
    }

    /// Finds everything that can be reached from `index.json`.
    fn needed(&self) -> Result<BTreeSet<Digest>, Failure> {
        let mut needed = BTreeSet::new();
        let mut next: Vec<Digest> = self.index()?.roots().iter().map(|root| root.digest).collect();
        while let Some(digest) = next.pop() {
            if !needed.insert(digest) {
                continue;
            }
            // What is longer is no document; what is absent (another platform's manifest) names nothing.
            let Some(here) = self
                .here(&digest)
                .filter(|here| here.size <= limit::DOCUMENT_BYTES as u64)
            else {
                continue;
            };
            let bytes = self.blob_bytes(&here, limit::DOCUMENT_BYTES)?;
            if let Ok(document) = json::parse(&bytes, json::Limits::any_number(limit::DOCUMENT_BYTES)) {
                digests_in(&document, &mut next);
            }
        }
        Ok(needed)
    }

    /// Lists the blobs that are here.
    pub(super) fn digests(&self) -> Result<Vec<Digest>, Failure> {
        let mut digests = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let dir = self.blobs_dir(algorithm);
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(cannot("list", &dir, &error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| cannot("list", &dir, &error))?;
                let name = entry.file_name();
                let digest = name.to_str().map(|hex| format!("{algorithm}:{hex}").parse::<Digest>());
                digests.extend(digest.and_then(Result::ok));
            }
        }
        digests.sort();
        Ok(digests)
    }
}

/// Finds every text in `value` that is a digest; depth is bounded by the parser.
fn digests_in(value: &Value, found: &mut Vec<Digest>) {
    match value {
        Value::String(text) => found.extend(text.parse::<Digest>().ok()),
        Value::Array(items) => items.iter().for_each(|item| digests_in(item, found)),
        Value::Object(members) => members.values().for_each(|member| digests_in(member, found)),
        _ => {}
    }
}
