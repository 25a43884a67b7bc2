//! What a verifier remembers: the highest epoch of each image that it found good (law of the gate 7).
//!
//! `DIR/roots/SHA-256.json` are the root files of the collections whose images were found good; `DIR/SHA-256.epoch` has the
//! highest epoch of one image name under one of them. An image is remembered under every root file that it rests on, so that it is
//! found by any of them, through rotations and whatever a policy calls the collection.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::file::{Lock, NewFile, cannot, make_dir, read_limited};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::trust::Lineage;

/// Largest number in a file, with its newline.
const FILE_BYTES: usize = 32;

/// A directory with one small file for each root file and image name.
#[derive(Clone, Debug)]
pub struct Epochs {
    dir: PathBuf,
}

impl Epochs {
    /// Names the directory; it need not exist.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns the highest epoch seen of images of `name` under a collection; `None` when no such image was.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the memory cannot be read, [`Failure::Malformed`] when it holds something else.
    pub fn highest(&self, collection: &Lineage, name: &str) -> Result<Option<u64>, Failure> {
        let stored = self.stored_roots()?;
        let before = stored.iter().filter(|root| collection.continues(root, &stored));
        let mut highest = None;
        for root in collection.roots().iter().chain(before) {
            highest = highest.max(self.read(&self.path(root, name))?);
        }
        Ok(highest)
    }

    /// Remembers an epoch, if it is higher than the one remembered.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written.
    pub fn remember(&self, collection: &Lineage, name: &str, epoch: u64) -> Result<(), Failure> {
        make_dir(&self.roots())?;
        let _lock = Lock::exclusive(&self.dir.join(".lock"))?;
        for root in collection.roots() {
            let file = self.roots().join(format!("{}.json", Digest::sha256(root).hex()));
            if !file.exists() {
                write(&file, root)?;
            }
            let path = self.path(root, name);
            if self.read(&path)?.is_none_or(|highest| highest < epoch) {
                write(&path, format!("{epoch}\n").as_bytes())?;
            }
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Option<u64>, Failure> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot("read", path, &error)),
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&read_limited(path, FILE_BYTES)?).into_owned();
        let epoch = text.strip_suffix('\n').and_then(|text| text.parse().ok());
        epoch.map(Some).ok_or_else(|| {
            let problem = format!(
                "expected the epoch of an image, found {text:?}; restore the file or start a new state directory"
            );
            Failure::malformed(path.display(), problem)
        })
    }

    /// Reads the root files that are remembered; one that was changed is an error, not forgotten.
    fn stored_roots(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let dir = self.roots();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(cannot("read", &dir, &error)),
        };
        let mut roots = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| cannot("read", &dir, &error))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")) else {
                continue;
            };
            let root = read_limited(&path, limit::ROOT_BYTES)?;
            if Digest::sha256(&root).hex() != name {
                let problem = "it is not the root file that was remembered; restore it or start a new state directory";
                return Err(Failure::malformed(path.display(), problem));
            }
            roots.push(root);
        }
        roots.sort();
        Ok(roots)
    }

    fn roots(&self) -> PathBuf {
        self.dir.join("roots")
    }

    /// Names may hold anything, so files are named by a digest.
    fn path(&self, root: &[u8], name: &str) -> PathBuf {
        let digest = Digest::sha256(format!("{}\n{name}", Digest::sha256(root)).as_bytes());
        self.dir.join(format!("{}.epoch", digest.hex()))
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = NewFile::beside(path)?;
    file.write_all(bytes).map_err(|error| cannot("write", path, &error))?;
    file.finish(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::key::SigningKey;
    use crate::time::Time;
    use crate::trust::edit::{Collection, RoleSpec};

    /// The root files of a collection, each after the first a renewal of the one before.
    fn roots(seed: u8, count: usize) -> Vec<Vec<u8>> {
        let now: Time = "2026-11-23T00:00:00Z".parse().unwrap();
        let key = SigningKey::from_seed(&[seed; 32]).unwrap();
        let spec = RoleSpec {
            keys: vec![key.tuf_key()],
            threshold: 1,
        };
        let new = Collection::new(&spec, &spec, &spec, &spec, now).unwrap();
        let mut files = new.sign(&[&key], now).unwrap().files().clone();
        let pin = files.get("1.root.json").unwrap().to_vec();
        for version in 2..=count {
            let before = files.clone();
            let mut collection = Collection::load(&pin, &before).unwrap();
            collection.renew("root").unwrap();
            for (name, bytes) in collection.sign(&[&key], now).unwrap().files().files() {
                files.add(name, bytes);
            }
            assert!(files.get(&format!("{version}.root.json")).is_some());
        }
        let root = |version| files.get(&format!("{version}.root.json")).unwrap().to_vec();
        (1..=count).map(root).collect()
    }

    fn only(roots: &[Vec<u8>]) -> Lineage {
        Lineage::new(roots.to_vec(), Vec::new())
    }

    #[test]
    fn remembers_the_highest_epoch_of_each_name() {
        let dir = tempfile::tempdir().unwrap();
        let epochs = Epochs::at(dir.path().join("state"));
        let one = only(&roots(1, 1));
        assert_eq!(epochs.highest(&one, "node").unwrap(), None);
        epochs.remember(&one, "node", 3).unwrap();
        epochs.remember(&one, "node", 2).unwrap();
        assert_eq!(epochs.highest(&one, "node").unwrap(), Some(3));
        assert_eq!(epochs.highest(&one, "other").unwrap(), None);
        assert_eq!(
            epochs.highest(&only(&roots(2, 1)), "node").unwrap(),
            None,
            "another collection"
        );
    }

    #[test]
    fn a_collection_is_the_same_through_the_rotations_of_its_root() {
        let dir = tempfile::tempdir().unwrap();
        let epochs = Epochs::at(dir.path());
        let all = roots(1, 4);
        epochs.remember(&only(&all[..1]), "node", 3).unwrap();
        let highest = |lineage: &Lineage| epochs.highest(lineage, "node").unwrap();
        assert_eq!(
            highest(&only(&all[..2])),
            Some(3),
            "the old pin, a new root in the seal"
        );
        assert_eq!(highest(&only(&all[1..2])), Some(3), "the new root pinned");
        assert_eq!(highest(&only(&all[3..])), None, "nothing leads there");
        let on_the_way = Lineage::new(all[3..].to_vec(), all[..3].to_vec());
        assert_eq!(highest(&on_the_way), Some(3), "the seal has what lies between");
        epochs.remember(&on_the_way, "node", 5).unwrap();
        assert_eq!(highest(&only(&all)), Some(5), "the old pin again");
        let other = roots(2, 2);
        let claims = Lineage::new(other[1..].to_vec(), all.clone());
        assert_eq!(
            highest(&claims),
            None,
            "root files of others beside one's own make no difference"
        );
    }

    #[test]
    fn a_memory_that_was_damaged_is_an_error_not_a_blank() {
        let one = roots(1, 1);
        for file in [0, 1] {
            let dir = tempfile::tempdir().unwrap();
            let epochs = Epochs::at(dir.path());
            epochs.remember(&only(&one), "node", 3).unwrap();
            let root = epochs.roots().join(format!("{}.json", Digest::sha256(&one[0]).hex()));
            fs::write([epochs.path(&one[0], "node"), root][file].clone(), "x").unwrap();
            assert!(epochs.highest(&only(&one), "node").is_err());
        }
    }
}
