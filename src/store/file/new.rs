//! Files that get their name only when they are whole (rule 6 of the house).
//!
//! - Bytes go to a temporary name in the same directory; [`NewFile::finish`] syncs, renames and syncs the directory.
//! - Dropped before that, the temporary file is removed. A process that is killed leaves one behind: each is locked by its
//!   writer, so one whose lock is free has no writer any more, and [`remove_stale`] takes it away.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use super::{FileAt, cannot};
use crate::failure::Failure;

const PREFIX: &str = ".imgkit-";
const SUFFIX: &str = ".partial";

/// How often a temporary file may be mistaken for a dead writer's before its creation gives up.
const ATTEMPTS: usize = 16;

/// A file under way.
#[derive(Debug)]
pub struct NewFile {
    temp: NamedTempFile,
}

impl NewFile {
    /// Starts a file in the directory of `path`, and removes there what killed processes left.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the directory cannot be written.
    pub fn beside(path: &Path) -> Result<Self, Failure> {
        let dir = parent(path);
        remove_stale(dir);
        Self::within(dir)
    }

    /// Starts a file in `dir`, readable by everyone whom the umask admits.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the directory cannot be written.
    pub fn within(dir: &Path) -> Result<Self, Failure> {
        Self::with_mode(dir, 0o666)
    }

    /// Starts a file in the directory of `path` that its owner alone may read: for private keys.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the directory cannot be written.
    pub fn private_beside(path: &Path) -> Result<Self, Failure> {
        Self::with_mode(parent(path), 0o600)
    }

    fn with_mode(dir: &Path, mode: u32) -> Result<Self, Failure> {
        for _ in 0..ATTEMPTS {
            let temp = Builder::new()
                .prefix(PREFIX)
                .suffix(SUFFIX)
                .permissions(Permissions::from_mode(mode))
                .tempfile_in(dir)
                .map_err(|error| cannot("write into", dir, &error))?;
            let locked = temp.as_file().lock().and_then(|()| temp.as_file().metadata());
            let links = locked
                .map_err(|error| cannot("lock a new file in", dir, &error))?
                .nlink();
            // Between creation and lock another process may have taken the file for a dead writer's.
            if links > 0 {
                return Ok(Self { temp });
            }
        }
        Err(cannot("write into", dir, &"another process keeps removing new files"))
    }

    /// Opens what was written so far, for checking it before it gets its name.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the temporary file cannot be opened again.
    pub fn reopen(&self) -> Result<FileAt, Failure> {
        let again = self.temp.reopen().and_then(FileAt::of);
        again.map_err(|error| cannot("open again", self.temp.path(), &error))
    }

    /// Returns the open file, for positioned writes and [`File::set_len`].
    pub fn as_file(&self) -> &File {
        self.temp.as_file()
    }

    /// Gives the file its name, in the directory it was started in; one that had the name is replaced.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when syncing or renaming fails; then nothing has changed under that name.
    pub fn finish(self, path: &Path) -> Result<(), Failure> {
        let synced = self.temp.as_file().sync_all();
        synced.map_err(|error| cannot("write", path, &error))?;
        self.name(path)?;
        // The name itself is on the disk only when its directory is.
        let dir = File::open(parent(path)).and_then(|dir| dir.sync_all());
        dir.map_err(|error| cannot("sync the directory of", path, &error))
    }

    /// Gives the file its name, as [`NewFile::finish`], without waiting for the disk: for what is checked at each use and can be
    /// made again.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when renaming fails.
    pub fn name(self, path: &Path) -> Result<(), Failure> {
        // A device or a pipe is nobody's to replace, and root could.
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let found = "something else than a file is there; name a new file, or one to replace";
            return Err(cannot("write", path, &found));
        }
        let named = self.temp.persist(path);
        named
            .map(drop)
            .map_err(|error| cannot("give the name", path, &error.error))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temp.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temp.as_file_mut().flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.temp.as_file_mut().seek(to)
    }
}

/// Removes temporary files in `dir` whose writer is gone; what cannot be removed stays, as it harms nobody.
pub fn remove_stale(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if !name.starts_with(PREFIX.as_bytes()) || !name.ends_with(SUFFIX.as_bytes()) {
            continue;
        }
        let Ok(file) = OpenOptions::new().write(true).open(entry.path()) else {
            continue;
        };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::ReadAt;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"old").unwrap();
        let mut file = NewFile::beside(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let mut buffer = [0; 3];
        file.reopen().unwrap().read_exact_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"new");
        file.finish(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        let file = NewFile::beside(&path).unwrap();
        let error = file.finish(&path).unwrap_err().to_string();
        assert!(error.contains("something else than a file"), "{error}");
        assert_eq!(names(dir.path()), ["link"]);
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(NewFile::beside(&dir.path().join("f")).unwrap());
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn removes_a_dead_writers_file_and_leaves_a_living_ones() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".imgkit-dead.partial"), b"half").unwrap();
        fs::write(dir.path().join(".imgkit-notes"), b"mine").unwrap();
        let mut living = NewFile::beside(&dir.path().join("f")).unwrap();
        remove_stale(dir.path());
        assert_eq!(names(dir.path()).len(), 2);
        living.write_all(b"whole").unwrap();
        living.finish(&dir.path().join("f")).unwrap();
        assert_eq!(names(dir.path()), [".imgkit-notes", "f"]);
    }

    #[test]
    fn a_private_file_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        NewFile::private_beside(&path).unwrap().finish(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
