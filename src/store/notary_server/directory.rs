//! Collections in a directory, for one server.
//!
//! - `collections/SHA256(GUN)/log` has a line for each publication: what it counts is what its line is whole. Files are
//!   written before it, under their hashes, and are there only if a line names them.
//! - `changes` is the changefeed. A change is written before the line in the log that makes it true; when the server starts, a
//!   last change that never became true is cut off. So a server that is killed leaves the old collection or the new one.
//! - A line begins with a part of its own hash: one that was half written when the power went is seen, and cut off.
//! - `collections/…/keys` holds the server's private keys, sealed, or where they are in a token; `vault.pem` what they are sealed with,
//!   under the passphrase.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ready::Ready;
use super::record::{Change, ChangeQuery, Collection, HeldKey, Publication, Published, damaged};
use super::route::{Gun, HeldRole};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::key::KeyId;
use crate::limit;
use crate::store::file::{Lock, NewFile, cannot, read_limited};
use crate::time::Time;

const LOCK: &str = ".imgkit-serve.lock";
const VAULT: &str = "vault.pem";
const CHANGES: &str = "changes";
const COLLECTIONS: &str = "collections";
const LOG: &str = "log";

/// Where a line begins, and its JSON.
type Line<'a> = (u64, &'a [u8]);

/// How many hexadecimal digits of its hash a line begins with.
const CHECK_DIGITS: usize = 16;

/// A directory of collections that this process alone serves.
#[derive(Debug)]
pub(super) struct Directory {
    dir: PathBuf,
    /// Whoever writes holds it: publications go one after the other.
    changes: Mutex<Changes>,
    _lock: Lock,
}

/// The changefeed's file and where its lines begin.
#[derive(Debug)]
struct Changes {
    file: File,
    starts: Vec<u64>,
    end: u64,
}

/// A line of the changefeed's file.
#[derive(Debug, Serialize, Deserialize)]
struct ChangeLine {
    at: Time,
    gun: String,
    /// The timestamp's version and hash; `None` for a deletion.
    timestamp: Option<(u64, Digest)>,
}

/// A line of a collection's log.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    gun: String,
    at: Time,
    files: Vec<EntryFile>,
    /// The server's keys that the root names from here on.
    keys: Vec<KeyId>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EntryFile {
    role: String,
    version: u64,
    sha256: Digest,
}

impl Directory {
    /// Opens a directory, and makes it if it is missing.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written, or another server has it.
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        private_dir(&dir.join(COLLECTIONS))?;
        let lock = Lock::try_exclusive(&dir.join(LOCK))?;
        let lock = lock.ok_or_else(|| {
            let problem = "another server is using it; many servers need PostgreSQL (--store postgres://…)";
            Failure::unavailable(dir.display(), problem)
        })?;
        let store = Self {
            dir: dir.to_owned(),
            changes: Mutex::new(Changes::open(&dir.join(CHANGES))?),
            _lock: lock,
        };
        store.drop_untrue_change()?;
        Ok(store)
    }

    /// Returns the sealed master key, if there is one.
    pub(super) fn vault(&self) -> Result<Option<String>, Failure> {
        let path = self.dir.join(VAULT);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_limited(&path, limit::KEY_FILE_BYTES)?;
        let pem = String::from_utf8(bytes);
        pem.map(Some)
            .map_err(|_| Failure::malformed(path.display(), "it is not a key in PEM"))
    }

    pub(super) fn save_vault(&self, pem: &str) -> Result<(), Failure> {
        write_private(&self.dir.join(VAULT), pem.as_bytes())
    }

    /// Returns a collection as it is published; one without files when it is not.
    pub(super) fn collection(&self, gun: &Gun) -> Result<Collection, Failure> {
        let (entries, _) = self.log(gun)?;
        let mut newest: BTreeMap<&str, (&EntryFile, Time)> = BTreeMap::new();
        for entry in &entries {
            for file in &entry.files {
                newest.insert(&file.role, (file, entry.at));
            }
        }
        let read = |(role, (file, at)): (&str, (&EntryFile, Time))| {
            let ready = self.read(gun, file, at)?;
            Ok((role.to_owned(), Arc::new(ready)))
        };
        let files: Result<_, Failure> = newest.into_iter().map(read).collect();
        Ok(Collection::new(entries.len() as u64, files?))
    }

    /// Returns the file of a role, published at any time, that `wanted` picks.
    pub(super) fn find(
        &self,
        gun: &Gun,
        role: &str,
        wanted: impl Fn(u64, Digest) -> bool,
    ) -> Result<Option<Ready>, Failure> {
        let (entries, _) = self.log(gun)?;
        let files = entries
            .iter()
            .flat_map(|entry| entry.files.iter().map(move |file| (file, entry.at)));
        let mut found = files.filter(|(file, _)| file.role == role && wanted(file.version, file.sha256));
        found.next().map(|(file, at)| self.read(gun, file, at)).transpose()
    }

    /// Publishes all files or none.
    pub(super) fn publish(&self, publication: &Publication) -> Result<Published, Failure> {
        let gun = &publication.gun;
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let (entries, whole) = self.log(gun)?;
        if entries.len() as u64 != publication.base {
            return Ok(Published::Overtaken);
        }
        let dir = self.dir_of(gun);
        private_dir(&dir)?;
        let mut entry = Entry {
            gun: gun.to_string(),
            at: publication.at,
            files: Vec::new(),
            keys: publication.used.iter().cloned().collect(),
        };
        for file in &publication.files {
            let named = EntryFile {
                role: file.role.clone(),
                version: file.version,
                sha256: Digest::sha256(&file.bytes),
            };
            let path = self.file_path(gun, &named);
            let mut new = NewFile::beside(&path)?;
            new.write_all(&file.bytes)
                .map_err(|error| cannot("write", &path, &error))?;
            new.finish(&path)?;
            entry.files.push(named);
        }
        let timestamp = entry.files.iter().find(|file| file.role == "timestamp");
        let change = ChangeLine {
            at: publication.at,
            gun: gun.to_string(),
            timestamp: timestamp.map(|file| (file.version, file.sha256)),
        };
        changes.append(&change)?;
        let appended = self.append(gun, whole, &entry);
        if let Err(error) = appended {
            changes.drop_last()?;
            return Err(error);
        }
        Ok(Published::Done)
    }

    /// Deletes a collection with its history and keys; one that is not there is deleted as well.
    pub(super) fn delete(&self, gun: &Gun, at: Time) -> Result<(), Failure> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.dir_of(gun);
        if !dir.exists() {
            return Ok(());
        }
        let (entries, _) = self.log(gun)?;
        if !entries.is_empty() {
            changes.append(&ChangeLine {
                at,
                gun: gun.to_string(),
                timestamp: None,
            })?;
        }
        // With its name the collection is gone; what is left of a deletion that was killed is removed with the next.
        let gone = dir.with_extension("deleted");
        remove(&gone)?;
        let renamed = fs::rename(&dir, &gone).map_err(|error| cannot("rename", &dir, &error));
        if let Err(error) = renamed {
            if !entries.is_empty() {
                changes.drop_last()?;
            }
            return Err(error);
        }
        sync_dir(&self.dir.join(COLLECTIONS))?;
        remove(&gone)
    }

    /// Returns the server's keys for a collection, oldest first.
    pub(super) fn keys(&self, gun: &Gun) -> Result<Vec<HeldKey>, Failure> {
        let dir = self.dir_of(gun).join("keys");
        let listed = match fs::read_dir(&dir) {
            Ok(listed) => listed,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(cannot("list", &dir, &error)),
        };
        let (entries, _) = self.log(gun)?;
        let mut keys = Vec::new();
        for entry in listed.flatten() {
            let name = entry.file_name();
            let Some((role, id)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let role = match role {
                "snapshot" => HeldRole::Snapshot,
                "timestamp" => HeldRole::Timestamp,
                _ => continue,
            };
            let id = KeyId::new(id).map_err(|error| damaged(gun, error))?;
            keys.push(HeldKey {
                role,
                kept: read_limited(&entry.path(), limit::KEY_FILE_BYTES)?,
                used: entries.iter().any(|entry| entry.keys.contains(&id)),
                id,
            });
        }
        Ok(keys)
    }

    /// Keeps a new key.
    pub(super) fn add_key(&self, gun: &Gun, key: &HeldKey) -> Result<(), Failure> {
        let _turn = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.dir_of(gun).join("keys");
        private_dir(&dir)?;
        write_private(&dir.join(format!("{}.{}", key.role.name(), key.id)), &key.kept)?;
        for above in [self.dir_of(gun), self.dir.join(COLLECTIONS)] {
            sync_dir(&above)?;
        }
        Ok(())
    }

    /// Returns the collections whose timestamp was made before `time`.
    pub(super) fn older_than(&self, time: Time) -> Result<Vec<Gun>, Failure> {
        let dir = self.dir.join(COLLECTIONS);
        let listed = fs::read_dir(&dir).map_err(|error| cannot("list", &dir, &error))?;
        let mut guns = Vec::new();
        for entry in listed.flatten() {
            // A deletion that was killed left it.
            if entry.path().extension().is_some() {
                continue;
            }
            let (entries, _) = read_log(&entry.path().join(LOG)).map_err(|problem| {
                Failure::unavailable(
                    entry.path().display(),
                    format!("the server's store is damaged: {problem}"),
                )
            })?;
            // Every publication has a timestamp.
            if let Some(last) = entries.last().filter(|last| last.at < time) {
                guns.extend(Gun::new(&last.gun));
            }
        }
        Ok(guns)
    }

    /// Returns lines of the changefeed, oldest first.
    pub(super) fn changes(&self, query: &ChangeQuery) -> Result<Vec<Change>, Failure> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = changes.starts.len() as u64;
        let mut found = Vec::new();
        let mut take = |id: u64| -> Result<bool, Failure> {
            let line = changes.line(id)?;
            if query.gun.as_ref().is_none_or(|gun| gun.as_str() == line.gun) {
                found.push(change(id, line));
            }
            Ok(found.len() >= query.count)
        };
        // Ids count from 1.
        if query.back {
            let end = query.from.map_or(count, |from| from.saturating_sub(1).min(count));
            for id in (1..=end).rev() {
                if take(id)? {
                    break;
                }
            }
            found.reverse();
        } else {
            for id in query.from.unwrap_or(0).saturating_add(1)..=count {
                if take(id)? {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Says whether the directory can still be read.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let dir = self.dir.join(COLLECTIONS);
        fs::read_dir(&dir)
            .map(drop)
            .map_err(|error| cannot("list", &dir, &error))
    }

    /// Cuts off a last change that was written by a server which was killed before it became true.
    fn drop_untrue_change(&self) -> Result<(), Failure> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = changes.starts.len().checked_sub(1).map(|_| changes.starts.len() as u64) else {
            return Ok(());
        };
        let line = changes.line(line)?;
        let Some(gun) = Gun::new(&line.gun) else { return Ok(()) };
        let (entries, _) = self.log(&gun)?;
        let newest = entries
            .last()
            .and_then(|entry| entry.files.iter().find(|file| file.role == "timestamp"));
        let newest = newest.map(|file| (file.version, file.sha256));
        match line.timestamp == newest {
            true => Ok(()),
            false => changes.drop_last(),
        }
    }

    fn log(&self, gun: &Gun) -> Result<(Vec<Entry>, u64), Failure> {
        let (entries, whole) = read_log(&self.dir_of(gun).join(LOG)).map_err(|problem| damaged(gun, problem))?;
        match entries.iter().find(|entry| entry.gun != gun.as_str()) {
            Some(entry) => Err(damaged(gun, format!("its log is that of {}", entry.gun))),
            None => Ok((entries, whole)),
        }
    }

    /// Appends a line to a collection's log after what is whole of it: from then on it is published.
    fn append(&self, gun: &Gun, whole: u64, entry: &Entry) -> Result<(), Failure> {
        let dir = self.dir_of(gun);
        let path = dir.join(LOG);
        let bad = |error: &dyn std::fmt::Display| cannot("write", &path, error);
        let line = line(entry).map_err(|error| bad(&error))?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| bad(&error))?;
        let written = file
            .set_len(whole)
            .and_then(|()| file.write_all_at(&line, whole))
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            let _ = file.set_len(whole);
            return Err(bad(&error));
        }
        if whole == 0 {
            sync_dir(&dir)?;
            sync_dir(&self.dir.join(COLLECTIONS))?;
        }
        Ok(())
    }

    fn read(&self, gun: &Gun, file: &EntryFile, at: Time) -> Result<Ready, Failure> {
        let bytes = read_limited(&self.file_path(gun, file), limit::TARGETS_BYTES)?;
        match Digest::sha256(&bytes) == file.sha256 {
            true => Ok(Ready::new(Bytes::from(bytes), file.sha256, file.version, at)),
            false => Err(damaged(
                gun,
                format!("the file of {} is not what was published", file.role),
            )),
        }
    }

    fn dir_of(&self, gun: &Gun) -> PathBuf {
        let name = Digest::sha256(gun.as_str().as_bytes()).hex();
        self.dir.join(COLLECTIONS).join(name)
    }

    fn file_path(&self, gun: &Gun, file: &EntryFile) -> PathBuf {
        // A role's name has no `.`, so no two files share one.
        let role = file.role.replace('/', ".");
        self.dir_of(gun).join(format!("{}.{role}.json", file.sha256.hex()))
    }
}

impl Changes {
    fn open(path: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(|error| cannot("open", path, &error))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|error| cannot("read", path, &error))?;
        let (lines, whole) = whole_lines(&bytes).map_err(|problem| Failure::unavailable(path.display(), problem))?;
        file.set_len(whole).map_err(|error| cannot("write", path, &error))?;
        Ok(Self {
            file,
            starts: lines.into_iter().map(|(start, _)| start).collect(),
            end: whole,
        })
    }

    fn append(&mut self, change: &ChangeLine) -> Result<(), Failure> {
        let bad =
            |error: &dyn std::fmt::Display| Failure::unavailable("the changefeed", format!("cannot write: {error}"));
        let line = line(change).map_err(|error| bad(&error))?;
        let written = self
            .file
            .write_all_at(&line, self.end)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let _ = self.file.set_len(self.end);
            return Err(bad(&error));
        }
        self.starts.push(self.end);
        self.end += line.len() as u64;
        Ok(())
    }

    fn drop_last(&mut self) -> Result<(), Failure> {
        let Some(start) = self.starts.pop() else { return Ok(()) };
        self.end = start;
        let cut = self.file.set_len(start).and_then(|()| self.file.sync_data());
        cut.map_err(|error| Failure::unavailable("the changefeed", format!("cannot write: {error}")))
    }

    /// Returns the line of an id, from 1.
    fn line(&self, id: u64) -> Result<ChangeLine, Failure> {
        let bad =
            |problem: &dyn std::fmt::Display| Failure::unavailable("the changefeed", format!("cannot read: {problem}"));
        let at = usize::try_from(id - 1).map_err(|error| bad(&error))?;
        let start = self
            .starts
            .get(at)
            .copied()
            .ok_or_else(|| bad(&"there is no such change"))?;
        let end = self.starts.get(at + 1).copied().unwrap_or(self.end);
        let mut bytes = vec![0; usize::try_from(end - start).map_err(|error| bad(&error))?];
        self.file
            .read_exact_at(&mut bytes, start)
            .map_err(|error| bad(&error))?;
        let text = bytes.get(CHECK_DIGITS + 1..).unwrap_or_default();
        serde_json::from_slice(text).map_err(|error| bad(&error))
    }
}

fn change(id: u64, line: ChangeLine) -> Change {
    let (version, sha256) = line
        .timestamp
        .map_or((0, String::new()), |(version, digest)| (version, digest.hex()));
    Change {
        id: id.to_string(),
        at: line.at,
        gun: line.gun,
        version,
        category: if sha256.is_empty() {
            Change::DELETION
        } else {
            Change::UPDATE
        },
        sha256,
    }
}

/// Writes a line: a part of the hash of its JSON, a space, the JSON.
fn line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_string(value)?;
    let mut line = check_digits(json.as_bytes());
    line.push(' ');
    line.push_str(&json);
    line.push('\n');
    Ok(line.into_bytes())
}

fn check_digits(json: &[u8]) -> String {
    Digest::sha256(json).hex().chars().take(CHECK_DIGITS).collect()
}

/// Returns where each whole line begins, its JSON, and where the last one ends; only what follows the last may be damaged.
fn whole_lines(bytes: &[u8]) -> Result<(Vec<Line<'_>>, u64), String> {
    let mut lines = Vec::new();
    let mut end = 0;
    let mut damaged = false;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let json = line.strip_suffix(b"\n").and_then(|line| line.get(CHECK_DIGITS + 1..));
        let json = json.filter(|json| line.starts_with(check_digits(json).as_bytes()));
        match json {
            Some(_) if damaged => return Err(format!("the line before byte {end} is damaged")),
            Some(json) => {
                lines.push((end, json));
                end += line.len() as u64;
            }
            None => damaged = true,
        }
    }
    Ok((lines, end))
}

fn read_log(path: &Path) -> Result<(Vec<Entry>, u64), String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error.to_string()),
    };
    let (lines, whole) = whole_lines(&bytes)?;
    let entries = lines.into_iter().map(|(_, json)| serde_json::from_slice(json));
    let entries: Result<_, _> = entries.collect();
    Ok((entries.map_err(|error| error.to_string())?, whole))
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = NewFile::private_beside(path)?;
    file.write_all(bytes).map_err(|error| cannot("write", path, &error))?;
    file.finish(path)
}

fn private_dir(path: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| cannot("make the directory", path, &error))
}

fn sync_dir(path: &Path) -> Result<(), Failure> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(|error| cannot("sync", path, &error))
}

fn remove(dir: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot("remove", dir, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::trust::notary::NewFile;

    fn gun() -> Gun {
        Gun::new("example.com/a/b").unwrap()
    }

    fn publication(base: u64, version: u64) -> Publication {
        let file = |role: &str| NewFile {
            role: role.into(),
            version,
            bytes: format!("{role} {version}").into_bytes(),
        };
        Publication {
            gun: gun(),
            base,
            files: vec![file("targets"), file("targets/x"), file("timestamp")],
            used: BTreeSet::new(),
            at: Time::EPOCH.plus(i64::try_from(version).unwrap()),
        }
    }

    fn log_of(dir: &Path) -> PathBuf {
        let name = Digest::sha256(gun().as_str().as_bytes()).hex();
        dir.join(COLLECTIONS).join(name).join(LOG)
    }

    fn versions(store: &Directory) -> (u64, Vec<(String, u64)>) {
        let collection = store.collection(&gun()).unwrap();
        let version = |role: &str| collection.file(role).map(|file| (role.to_owned(), file.version()));
        let roles = ["targets", "targets/x", "timestamp"];
        (
            collection.revision,
            roles.iter().filter_map(|role| version(role)).collect(),
        )
    }

    fn all(query: (i64, i64)) -> ChangeQuery {
        ChangeQuery::new(None, query.0, query.1)
    }

    #[test]
    fn publications_follow_each_other_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::open(dir.path()).unwrap();
        assert!(matches!(store.publish(&publication(0, 1)).unwrap(), Published::Done));
        assert!(matches!(
            store.publish(&publication(0, 2)).unwrap(),
            Published::Overtaken
        ));
        assert!(matches!(store.publish(&publication(1, 5)).unwrap(), Published::Done));
        assert!(Directory::open(dir.path()).is_err(), "another server has it");
        drop(store);
        let store = Directory::open(dir.path()).unwrap();
        let (revision, files) = versions(&store);
        assert_eq!((revision, files.len()), (2, 3));
        assert!(files.iter().all(|(_, version)| *version == 5));
        let old = store
            .find(&gun(), "targets/x", |version, _| version == 1)
            .unwrap()
            .unwrap();
        assert_eq!(old.body().as_ref(), b"targets/x 1");
        assert!(
            store
                .find(&gun(), "targets", |version, _| version == 2)
                .unwrap()
                .is_none()
        );
        assert_eq!(store.older_than(Time::EPOCH.plus(6)).unwrap(), [gun()]);
        assert_eq!(store.older_than(Time::EPOCH.plus(5)).unwrap(), []);
        store.delete(&gun(), Time::EPOCH).unwrap();
        store.delete(&gun(), Time::EPOCH).unwrap();
        assert_eq!(versions(&store), (0, Vec::new()));
        let told = store.changes(&all((0, 10))).unwrap();
        assert_eq!(told.iter().map(|change| change.version).collect::<Vec<_>>(), [1, 5, 0]);
        let last = store.changes(&all((0, -1))).unwrap();
        assert_eq!((last[0].id.as_str(), last[0].category), ("3", Change::DELETION));
        assert_eq!(store.changes(&all((3, -5))).unwrap().len(), 2);
        assert_eq!(store.changes(&all((2, 5))).unwrap().len(), 1);
    }

    #[test]
    fn a_publication_that_was_killed_at_any_byte_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::open(dir.path()).unwrap();
        store.publish(&publication(0, 1)).unwrap();
        let whole = fs::read(log_of(dir.path())).unwrap();
        store.publish(&publication(1, 2)).unwrap();
        drop(store);
        let after = fs::read(log_of(dir.path())).unwrap();
        let changes = fs::read(dir.path().join(CHANGES)).unwrap();
        for end in (whole.len()..after.len()).step_by(7) {
            // The change stands there already, the line only in part.
            fs::write(log_of(dir.path()), &after[..end]).unwrap();
            fs::write(dir.path().join(CHANGES), &changes).unwrap();
            let store = Directory::open(dir.path()).unwrap();
            let (revision, files) = versions(&store);
            assert_eq!((revision, files[0].1), (1, 1), "{end}");
            assert_eq!(store.changes(&all((0, 10))).unwrap().len(), 1, "{end}");
            assert!(matches!(store.publish(&publication(1, 3)).unwrap(), Published::Done));
            assert_eq!(versions(&store).1[0].1, 3, "{end}");
        }
    }

    #[test]
    fn a_change_that_was_written_in_part_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::open(dir.path()).unwrap();
        store.publish(&publication(0, 1)).unwrap();
        drop(store);
        let path = dir.path().join(CHANGES);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(b"0123456789abcdef {\"at\"");
        fs::write(&path, &bytes).unwrap();
        let store = Directory::open(dir.path()).unwrap();
        assert_eq!(store.changes(&all((0, 10))).unwrap().len(), 1);
        store.publish(&publication(1, 2)).unwrap();
        assert_eq!(store.changes(&all((0, 10))).unwrap().len(), 2);
    }

    #[test]
    fn what_was_changed_on_the_disk_is_not_served() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::open(dir.path()).unwrap();
        store.publish(&publication(0, 1)).unwrap();
        let file = fs::read_dir(log_of(dir.path()).parent().unwrap()).unwrap().flatten();
        let file = file
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|ext| ext == "json"));
        fs::write(file.unwrap(), b"other").unwrap();
        assert!(matches!(store.collection(&gun()), Err(Failure::Unavailable { .. })));
        // A damaged line before a whole one is no torn end.
        store.publish(&publication(1, 2)).unwrap();
        let mut log = fs::read(log_of(dir.path())).unwrap();
        log[20] ^= 1;
        fs::write(log_of(dir.path()), &log).unwrap();
        assert!(store.keys(&gun()).is_ok(), "there are no keys to read");
        assert!(matches!(store.collection(&gun()), Err(Failure::Unavailable { .. })));
    }
}
