//! Advisory locks between processes (`flock`), released when dropped or when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::cannot;
use crate::failure::Failure;

/// A lock that is held.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock at `path` alone; makes the file when it is missing.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the file cannot be made or locked.
    pub fn exclusive(path: &Path) -> Result<Self, Failure> {
        let file = open(path)?;
        file.lock().map_err(|error| cannot("lock", path, &error))?;
        Ok(Self { _file: file })
    }

    /// Waits for the lock at `path` together with others that share it; makes the file when it is missing.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the file cannot be made or locked.
    pub fn shared(path: &Path) -> Result<Self, Failure> {
        let file = open(path)?;
        file.lock_shared().map_err(|error| cannot("lock", path, &error))?;
        Ok(Self { _file: file })
    }

    /// As [`Lock::shared`], at a file that is there already and need not be writable: for what is read on a read-only file system.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the file is missing or cannot be locked.
    pub fn shared_to_read(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| cannot("open", path, &error))?;
        file.lock_shared().map_err(|error| cannot("lock", path, &error))?;
        Ok(Self { _file: file })
    }

    /// Waits for the lock of a directory alone: nothing is made in it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be opened or locked.
    pub fn of_dir(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| cannot("open", path, &error))?;
        file.lock().map_err(|error| cannot("lock", path, &error))?;
        Ok(Self { _file: file })
    }

    /// Takes the lock at `path` alone, or says `None` when another holds it now.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the file cannot be made or locked.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>, Failure> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(cannot("lock", path, &error)),
        }
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(|error| cannot("open", path, &error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_excludes_and_many_share() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let one = Lock::shared(&path).unwrap();
        let two = Lock::shared(&path).unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        let three = Lock::shared_to_read(&path).unwrap();
        drop((one, two));
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(three);
        assert!(Lock::shared_to_read(&dir.path().join("missing")).is_err());
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }
}
