//! What a verifier remembers: the highest epoch of each image that it found good (law of the gate 7).

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use super::file::{Lock, NewFile, cannot, make_dir, read_limited};
use crate::digest::Digest;
use crate::failure::Failure;

/// Largest number in a file, with its newline.
const FILE_BYTES: usize = 32;

/// A directory with one small file for each trust root and image name.
#[derive(Clone, Debug)]
pub struct Epochs {
    dir: PathBuf,
}

impl Epochs {
    /// Names the directory; it need not exist.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns the highest epoch seen; `None` when no such image was.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the memory cannot be read, [`Failure::Malformed`] when it holds something else.
    pub fn highest(&self, root: &str, name: &str) -> Result<Option<u64>, Failure> {
        let path = self.path(root, name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot("read", &path, &error)),
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&read_limited(&path, FILE_BYTES)?).into_owned();
        let epoch = text.strip_suffix('\n').and_then(|text| text.parse().ok());
        epoch.map(Some).ok_or_else(|| {
            let problem = format!(
                "expected the epoch of an image, found {text:?}; restore the file or start a new state directory"
            );
            Failure::malformed(path.display(), problem)
        })
    }

    /// Remembers an epoch, if it is higher than the one remembered.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written.
    pub fn remember(&self, root: &str, name: &str, epoch: u64) -> Result<(), Failure> {
        make_dir(&self.dir)?;
        let _lock = Lock::exclusive(&self.dir.join(".lock"))?;
        if self.highest(root, name)?.is_some_and(|highest| highest >= epoch) {
            return Ok(());
        }
        let path = self.path(root, name);
        let mut file = NewFile::beside(&path)?;
        writeln!(file, "{epoch}").map_err(|error| cannot("write", &path, &error))?;
        file.finish(&path)
    }

    /// Names may hold anything, so files are named by a digest.
    fn path(&self, root: &str, name: &str) -> PathBuf {
        let digest = Digest::sha256(format!("{root}\n{name}").as_bytes());
        self.dir.join(format!("{}.epoch", digest.hex()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn remembers_the_highest_epoch_of_each_name() {
        let dir = tempfile::tempdir().unwrap();
        let epochs = Epochs::at(dir.path().join("state"));
        assert_eq!(epochs.highest("r", "node").unwrap(), None);
        epochs.remember("r", "node", 3).unwrap();
        epochs.remember("r", "node", 2).unwrap();
        assert_eq!(epochs.highest("r", "node").unwrap(), Some(3));
        assert_eq!(epochs.highest("r", "other").unwrap(), None);
    }

    #[test]
    fn a_memory_that_was_damaged_is_an_error_not_a_blank() {
        let dir = tempfile::tempdir().unwrap();
        let epochs = Epochs::at(dir.path());
        epochs.remember("r", "node", 3).unwrap();
        fs::write(epochs.path("r", "node"), "x").unwrap();
        assert!(epochs.highest("r", "node").is_err());
    }
}
