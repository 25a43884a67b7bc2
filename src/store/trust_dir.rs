//! A collection's metadata in a directory, which any web server or copy can serve as it is.
//!
//! - A publication is made whole beside the collection; one more name, and it counts. Then its files get their own names, the
//!   timestamp last, the roots just before it. Who is killed in between, or finds no room, leaves the old collection or the new
//!   one; what is left to be named, the next publisher names.
//! - Publishers take turns: who changes a collection holds its lock from reading it to publishing.
//! - Reading needs no lock and no right to write. Nothing read here is believed: [`crate::trust`] checks it.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::file::{Lock, NewFile, cannot, make_dir, open_to_end};
use crate::failure::Failure;
use crate::trust::edit::Publication;
use crate::trust::{Bundle, Source, root_version};

const LOCK: &str = ".imgkit-publish.lock";

/// Where a publication is made, and the name in it that makes it count.
pub const NEXT: &str = ".imgkit-next";
const COUNTS: &str = ".counts";

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
        self.dir.join(TIMESTAMP).exists() || self.dir.join(NEXT).join(COUNTS).exists()
    }

    /// Tells whether there are files that count and have not got their own names yet.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be found out.
    pub fn is_unsettled(&self) -> Result<bool, Failure> {
        let counts = self.dir.join(NEXT).join(COUNTS);
        counts.try_exists().map_err(|error| cannot("look at", &counts, &error))
    }

    /// Waits until nobody else publishes here, and makes the directory if it is missing.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written.
    pub fn publisher(&self) -> Result<Publisher<'_>, Failure> {
        make_dir(&self.dir)?;
        let lock = Lock::exclusive(&self.dir.join(LOCK))?;
        let publisher = Publisher {
            collection: self,
            _lock: lock,
        };
        if self.is_unsettled()? {
            publisher.settle()?;
        }
        Ok(publisher)
    }
}

impl Source for &TrustDir {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.dir.join(name);
        let next = match self.is_unsettled()? {
            true => open(&self.dir.join(NEXT).join(name))?,
            false => None,
        };
        // What is not there any more has its name by now.
        let file = match next {
            Some(file) => file,
            None => match open(&path)? {
                Some(file) => file,
                // Before there is a directory there is nothing in it; where one was never named, nothing can be found out.
                None if self.dir.is_dir() => return Ok(None),
                None => return Err(cannot("open", &path, &"there is no such directory")),
            },
        };
        let mut bytes = Vec::new();
        let read = file.take(max as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| cannot("read", &path, &error))?;
        Ok(Some(bytes))
    }
}

fn open(path: &Path) -> Result<Option<File>, Failure> {
    match open_to_end(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("open", path, &error)),
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
    /// [`Failure::Unavailable`] when a file cannot be written; then the collection is the old one, or where only names were
    /// missing the new one.
    pub fn publish(&self, publication: &Publication) -> Result<(), Failure> {
        self.take_over(publication.files())
    }

    /// Takes files over that were published elsewhere, and were judged by their keys and against what is here.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn take_over(&self, files: &Bundle) -> Result<(), Failure> {
        self.prepare(files)?;
        NewFile::within(&self.next())?.finish(&self.next().join(COUNTS))?;
        self.settle()
    }

    fn next(&self) -> PathBuf {
        self.collection.dir.join(NEXT)
    }

    /// Writes all files beside the collection, in place of what a killed publisher left there.
    fn prepare(&self, files: &Bundle) -> Result<(), Failure> {
        let next = self.next();
        match std::fs::remove_dir_all(&next) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot("remove", &next, &error)),
            _ => make_dir(&next)?,
        }
        for (name, bytes) in files.files() {
            let path = next.join(name);
            let mut file = NewFile::within(&next)?;
            file.write_all(bytes).map_err(|error| cannot("write", &path, &error))?;
            file.finish(&path)?;
        }
        Ok(())
    }

    /// Gives the files of a publication that counts their own names.
    fn settle(&self) -> Result<(), Failure> {
        let (dir, next) = (&self.collection.dir, self.next());
        for name in self.unsettled()? {
            let (from, to) = (next.join(&name), dir.join(&name));
            std::fs::rename(&from, &to).map_err(|error| cannot("give the name", &to, &error))?;
        }
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| cannot("sync", dir, &error))?;
        // Last, so that whatever is not done until here is done again.
        let removed = std::fs::remove_dir_all(&next);
        removed.map_err(|error| cannot("remove", &next, &error))
    }

    /// Returns the names that are still to be given, in the order for readers who see nothing but names.
    fn unsettled(&self) -> Result<Vec<String>, Failure> {
        let next = self.next();
        let entries = std::fs::read_dir(&next).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.map_err(|error| cannot("read", &next, &error))?;
        let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        let order = |name: &str| match name {
            TIMESTAMP => (2, 0),
            name => match root_version(name) {
                Some(version) => (1, version),
                None => (0, 0),
            },
        };
        names.sort_by_cached_key(|name| (order(name), name.clone()));
        Ok(names)
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

    /// A publication that puts `lost`, and gives all roles another key.
    fn with_other_keys(trust: &TrustDir, pin: &[u8]) -> (SigningKey, Bundle) {
        let other = SigningKey::from_seed(&[8; 32]).unwrap();
        let spec = RoleSpec {
            keys: vec![other.tuf_key()],
            threshold: 1,
        };
        let mut collection = Collection::load(pin, trust).unwrap();
        for role in ["root", "targets", "snapshot", "timestamp"] {
            collection.rotate(role, &spec, now()).unwrap();
        }
        let file = plain_file("lost", b"lost").unwrap();
        collection.put_target("targets", "lost", file, now()).unwrap();
        let made = collection.sign(&[&key(), &other], now()).unwrap();
        (other, made.files().clone())
    }

    fn copy_of(dir: &Path) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    #[test]
    fn a_publisher_killed_before_its_publication_counts_leaves_the_old_collection() {
        let dir = tempfile::tempdir().unwrap();
        let (trust, pin) = create(dir.path());
        put(&trust, &pin, "a").unwrap();
        let (_, lost) = with_other_keys(&trust, &pin);
        for written in 0..=lost.files().count() {
            let again = copy_of(dir.path());
            let left = TrustDir::at(again.path());
            let mut some = Bundle::default();
            for (name, bytes) in lost.files().take(written) {
                some.add(name, bytes);
            }
            left.publisher().unwrap().prepare(&some).unwrap();
            std::fs::write(again.path().join(NEXT).join(".imgkit-x.partial"), b"half").unwrap();
            assert_eq!(names(&left, &pin), ["a"], "after {written} files");
            // The next publisher goes over what was left.
            put(&left, &pin, "b").unwrap();
            assert_eq!(names(&left, &pin), ["a", "b"], "after {written} files");
            assert!(!again.path().join(NEXT).exists());
        }
    }

    #[test]
    fn a_publisher_killed_between_any_two_names_leaves_the_new_collection() {
        let dir = tempfile::tempdir().unwrap();
        let (trust, pin) = create(dir.path());
        put(&trust, &pin, "a").unwrap();
        let (other, lost) = with_other_keys(&trust, &pin);
        for named in 0..=lost.files().count() {
            let again = copy_of(dir.path());
            let left = TrustDir::at(again.path());
            let publisher = left.publisher().unwrap();
            publisher.prepare(&lost).unwrap();
            let next = again.path().join(NEXT);
            std::fs::write(next.join(COUNTS), b"").unwrap();
            let order = publisher.unsettled().unwrap();
            assert!(
                order.ends_with(&["2.root.json".to_owned(), TIMESTAMP.to_owned()]),
                "{order:?}"
            );
            for name in order.iter().take(named) {
                std::fs::rename(next.join(name), again.path().join(name)).unwrap();
            }
            drop(publisher);
            assert!(left.is_published());
            assert_eq!(names(&left, &pin), ["a", "lost"], "after {named} names");
            // The next publisher gives the other names before it goes on, with the keys that are good now.
            let publisher = left.publisher().unwrap();
            let mut collection = Collection::load(&pin, &left).unwrap();
            let file = plain_file("b", b"b").unwrap();
            collection.put_target("targets", "b", file, now()).unwrap();
            publisher.publish(&collection.sign(&[&other], now()).unwrap()).unwrap();
            assert_eq!(names(&left, &pin), ["a", "b", "lost"], "after {named} names");
            assert!(!next.exists());
        }
    }

    /// A directory in which somebody publishes when a reader has read the roots.
    struct Meanwhile<'a>(&'a TrustDir, Option<Bundle>);

    impl Source for Meanwhile<'_> {
        fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
            if let Some(files) = self.1.take_if(|_| name == TIMESTAMP) {
                self.0.publisher()?.take_over(&files)?;
            }
            (&mut &*self.0).file(name, max)
        }
    }

    #[test]
    fn a_reader_during_a_publication_with_other_keys_reads_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let (trust, pin) = create(dir.path());
        let (_, new) = with_other_keys(&trust, &pin);
        let reader = Meanwhile(&trust, Some(new));
        let client = Client::refresh(&pin, &Known::default(), reader, now()).unwrap();
        assert_eq!(client.chain().newest_root().version(), 2);
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
