//! A collection's metadata in a directory, which any web server or copy can serve as it is.
//!
//! - Files get their names one by one, each of them whole, the timestamp last: a reader, or a publisher that is killed, finds
//!   the old collection or the new one.
//! - Publishers take turns: who changes a collection holds its lock from reading it to publishing.
//! - Reading needs no lock and no right to write. Nothing read here is believed: [`crate::trust`] checks it.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::file::{Lock, NewFile, cannot, make_dir};
use crate::failure::Failure;
use crate::trust::edit::Publication;
use crate::trust::{Bundle, Source};

const LOCK: &str = ".imgkit-publish.lock";

/// The file that makes a publication the collection's present state.
const TIMESTAMP: &str = "timestamp.json";

/// A directory with the metadata of one collection.
#[derive(Clone, Debug)]
pub struct TrustDir {
    dir: PathBuf,
}

impl TrustDir {
    /// Names the directory; it need not exist.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Tells whether a collection was published here.
    pub fn is_published(&self) -> bool {
        self.dir.join(TIMESTAMP).exists()
    }

    /// Waits until nobody else publishes here, and makes the directory if it is missing.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written.
    pub fn publisher(&self) -> Result<Publisher<'_>, Failure> {
        make_dir(&self.dir)?;
        let lock = Lock::exclusive(&self.dir.join(LOCK))?;
        Ok(Publisher {
            collection: self,
            _lock: lock,
        })
    }
}

impl Source for &TrustDir {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.dir.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            // Before there is a directory there is nothing in it; where one was never named, nothing can be found out.
            Err(error) if error.kind() == ErrorKind::NotFound && self.dir.is_dir() => return Ok(None),
            Err(error) => return Err(cannot("open", &path, &error)),
        };
        let mut bytes = Vec::new();
        let read = file.take(max as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| cannot("read", &path, &error))?;
        Ok(Some(bytes))
    }
}

/// The right to publish in a directory; others wait until it is dropped.
#[derive(Debug)]
pub struct Publisher<'a> {
    collection: &'a TrustDir,
    _lock: Lock,
}

impl Publisher<'_> {
    /// Publishes what was made of the collection as it was read under this right.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when a file cannot be written; then the collection is as it was, but that a root that came
    /// with the publication may be there already, which clients take as well.
    pub fn publish(&self, publication: &Publication) -> Result<(), Failure> {
        // What a killed publisher left under the name of a version that no timestamp came to name is replaced.
        self.write(publication.files().files())
    }

    /// Takes files over that were published elsewhere, and were judged by their keys and against what is here.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn take_over(&self, files: &Bundle) -> Result<(), Failure> {
        let is_last = |name: &str| name == TIMESTAMP;
        self.write(files.files().filter(|(name, _)| !is_last(name)))?;
        self.write(files.files().filter(|(name, _)| is_last(name)))
    }

    fn write<'b>(&self, files: impl Iterator<Item = (&'b str, &'b [u8])>) -> Result<(), Failure> {
        let dir = &self.collection.dir;
        for (name, bytes) in files {
            let path = dir.join(name);
            let mut file = NewFile::beside(&path)?;
            file.write_all(bytes).map_err(|error| cannot("write", &path, &error))?;
            file.finish(&path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::key::SigningKey;
    use crate::time::Time;
    use crate::trust::edit::{Collection, RoleSpec};
    use crate::trust::{Client, Known, plain_file};

    fn now() -> Time {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32]).unwrap()
    }

    fn create(dir: &Path) -> (TrustDir, Vec<u8>) {
        let spec = RoleSpec {
            keys: vec![key().tuf_key()],
            threshold: 1,
        };
        let made = Collection::new(&spec, &spec, &spec, &spec, now()).unwrap();
        let made = made.sign(&[&key()], now()).unwrap();
        let trust = TrustDir::at(dir);
        trust.publisher().unwrap().publish(&made).unwrap();
        (trust, made.files().get("1.root.json").unwrap().to_vec())
    }

    fn put(trust: &TrustDir, pin: &[u8], name: &str) -> Result<(), Failure> {
        let publisher = trust.publisher()?;
        let mut collection = Collection::load(pin, trust).unwrap();
        let file = plain_file(name, name.as_bytes()).unwrap();
        collection.put_target("targets", name, file, now()).unwrap();
        publisher.publish(&collection.sign(&[&key()], now()).unwrap())
    }

    fn names(trust: &TrustDir, pin: &[u8]) -> Vec<String> {
        let client = Client::refresh(pin, &Known::default(), trust, now()).unwrap();
        client.chain().targets().body().targets.keys().cloned().collect()
    }

    #[test]
    fn what_is_published_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (trust, pin) = create(dir.path());
        assert!(trust.is_published());
        put(&trust, &pin, "a").unwrap();
        assert_eq!(names(&trust, &pin), ["a"]);
    }

    #[test]
    fn publishers_at_once_lose_no_update() {
        let dir = tempfile::tempdir().unwrap();
        let (trust, pin) = create(dir.path());
        std::thread::scope(|scope| {
            for publisher in 0..4 {
                let (trust, pin) = (&trust, &pin);
                scope.spawn(move || {
                    for round in 0..5 {
                        put(trust, pin, &format!("{publisher}-{round}")).unwrap();
                    }
                });
            }
        });
        assert_eq!(names(&trust, &pin).len(), 20);
    }

    #[test]
    fn a_publisher_killed_between_any_two_files_leaves_the_old_collection() {
        let dir = tempfile::tempdir().unwrap();
        let (trust, pin) = create(dir.path());
        put(&trust, &pin, "a").unwrap();
        let mut collection = Collection::load(&pin, &trust).unwrap();
        let file = plain_file("lost", b"lost").unwrap();
        collection.put_target("targets", "lost", file, now()).unwrap();
        collection.renew("root").unwrap();
        let lost = collection.sign(&[&key()], now()).unwrap();
        let count = lost.files().files().count();
        for written in 0..count {
            let again = tempfile::tempdir().unwrap();
            for entry in std::fs::read_dir(dir.path()).unwrap().flatten() {
                std::fs::copy(entry.path(), again.path().join(entry.file_name())).unwrap();
            }
            for (name, bytes) in lost.files().files().take(written) {
                std::fs::write(again.path().join(name), bytes).unwrap();
            }
            std::fs::write(again.path().join(".imgkit-x.partial"), b"half").unwrap();
            let left = TrustDir::at(again.path());
            assert_eq!(names(&left, &pin), ["a"], "after {written} files");
            // The next publisher goes over what was left.
            put(&left, &pin, "b").unwrap();
            assert_eq!(names(&left, &pin), ["a", "b"], "after {written} files");
        }
    }

    #[test]
    fn endless_files_are_read_up_to_their_bound() {
        let dir = tempfile::tempdir().unwrap();
        let (trust, pin) = create(dir.path());
        std::fs::remove_file(dir.path().join(TIMESTAMP)).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join(TIMESTAMP)).unwrap();
        let refused = Client::refresh(&pin, &Known::default(), &trust, now()).unwrap_err();
        assert!(matches!(refused.about("c"), Failure::Refused(_)));
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let (_, pin) = create(dir.path());
        let elsewhere = TrustDir::at(dir.path().join("none"));
        let unknown = Client::refresh(&pin, &Known::default(), &elsewhere, now()).unwrap_err();
        assert!(matches!(unknown.about("c"), Failure::Unavailable { .. }));
    }
}
