//! Collections in a directory, for one server.
//!
//! - `collections/SHA256(GUN)/log` has a line for each publication: what it counts is what its line is whole. Files are
//!   written before it, under their hashes, and are there only if a line names them.
//! - A deletion gives the collection's directory the name `….deleted`; what is left of it is removed at once, or by the next look.
//! - `changes` is the changefeed. A change is written before the line in the log, or the name, that makes it true; when the server
//!   starts, a last change that never became true is cut off. So a server that is killed leaves the old collection or the new one.
//! - A line begins with a part of its own hash: one that was half written when the power went is seen, and cut off.
//! - `collections/…/keys` holds the server's private keys, sealed, or where they are in a token; `vault.pem` what they are sealed with,
//!   under the passphrase.

mod changes;
mod log;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::ready::Ready;
use super::record::{Change, ChangeQuery, Collection, HeldKey, Publication, Published, ReadRoles, damaged};
use super::route::{Gun, HeldRole};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::key::KeyId;
use crate::limit;
use crate::store::file::{Lock, NewFile, cannot, read_limited, remove_stale};
use crate::time::Time;
use changes::{ChangeLine, Changes, change, read_change};
use log::{Entry, EntryFile, Log, Logs, OpenLog, read_log};

const LOCK: &str = ".imgkit-serve.lock";
const VAULT: &str = "vault.pem";
const CHANGES: &str = "changes";
const COLLECTIONS: &str = "collections";
const LOG: &str = "log";

/// The extension of a collection's directory once it is deleted.
const DELETED: &str = "deleted";

/// The longest name of a file on Linux, in bytes: where a role's name makes a longer one, its hash stands there.
const FILE_NAME_BYTES: usize = 255;

/// A directory of collections that this process alone serves.
#[derive(Debug)]
pub(super) struct Directory {
    dir: PathBuf,
    /// Whoever writes holds it: publications go one after the other.
    changes: Mutex<Changes>,
    logs: Mutex<Logs>,
    _lock: Lock,
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
        let changes = Changes::open(&dir.join(CHANGES))?;
        // The name of a new one is on the disk before its first line.
        sync_dir(dir)?;
        let store = Self {
            dir: dir.to_owned(),
            changes: Mutex::new(changes),
            logs: Mutex::default(),
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

    /// Returns a collection as it is published; one without files when it is not. Of roles that were taken away it has no more than a
    /// version.
    pub(super) fn collection(&self, gun: &Gun) -> Result<Collection, Failure> {
        let (entries, _) = self.log(gun)?;
        let mut newest: BTreeMap<&str, (&EntryFile, Time)> = BTreeMap::new();
        for entry in entries.iter() {
            for file in &entry.files {
                newest.insert(&file.role, (file, entry.at));
            }
        }
        let snapshot = newest.get("snapshot").map(|(file, at)| self.read(gun, file, *at));
        let snapshot = snapshot.transpose()?;
        let roles = ReadRoles::by(snapshot.as_ref().map(|file| file.body().as_ref()));
        let (mut files, mut behind) = (BTreeMap::new(), BTreeMap::new());
        for (role, (file, at)) in newest {
            match roles.has(role) {
                true => drop(files.insert(role.to_owned(), Arc::new(self.read(gun, file, at)?))),
                false => drop(behind.insert(role.to_owned(), (file.sha256, file.version))),
            }
        }
        Ok(Collection::new(entries.len() as u64, files, behind))
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
        remove_stale(&dir);
        for file in &publication.files {
            let named = EntryFile {
                role: file.role.clone(),
                version: file.version,
                sha256: Digest::sha256(&file.bytes),
            };
            let path = self.file_path(gun, &named);
            let mut new = NewFile::within(&dir)?;
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
        let log = self.open_log(gun, whole)?;
        changes.append(&change)?;
        let appended = log.append(&entry);
        self.forget_log(gun);
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
        let gone = dir.with_extension(DELETED);
        // What is left of another deletion stands in the way: that is found out before anything is told.
        remove(&gone)?;
        if !dir.exists() {
            return Ok(());
        }
        let (entries, _) = self.log(gun)?;
        let is_told = !entries.is_empty();
        if is_told {
            changes.append(&ChangeLine {
                at,
                gun: gun.to_string(),
                timestamp: None,
            })?;
        }
        // With its name the collection is gone.
        let renamed = fs::rename(&dir, &gone).map_err(|error| cannot("rename", &dir, &error));
        let renamed = renamed.and_then(|()| sync_dir(&self.dir.join(COLLECTIONS)));
        self.forget_log(gun);
        if let Err(error) = renamed {
            // Whoever is told of a failure finds the collection, and no change. Where it does not come back, it is deleted.
            let _ = fs::rename(&gone, &dir);
            if is_told && dir.exists() {
                changes.drop_last()?;
            }
            return Err(error);
        }
        // Deleted it is; what cannot be removed now, the next look for old timestamps removes or reports.
        let _ = remove(&gone);
        Ok(())
    }

    /// Returns the server's keys for a collection.
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

    /// Returns the collections whose timestamp was made before `time`, and what is wrong with those that cannot be read; finishes
    /// deletions that were killed.
    pub(super) fn older_than(&self, time: Time) -> Result<Vec<Result<Gun, Failure>>, Failure> {
        let dir = self.dir.join(COLLECTIONS);
        let listed = fs::read_dir(&dir).map_err(|error| cannot("list", &dir, &error))?;
        let mut guns = Vec::new();
        for entry in listed.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == DELETED) {
                // A deletion that is under way holds the lock: this one was killed.
                let _turn = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
                guns.extend(remove(&entry.path()).err().map(Err));
                continue;
            }
            match read_log(&entry.path().join(LOG)) {
                Ok((entries, _)) => {
                    // Every publication has a timestamp.
                    let last = entries.last().filter(|last| last.at < time);
                    guns.extend(last.and_then(|last| Gun::new(&last.gun)).map(Ok));
                }
                Err(problem) => guns.push(Err(damaged(entry.path().display(), problem))),
            }
        }
        Ok(guns)
    }

    /// Returns lines of the changefeed, oldest first.
    pub(super) fn changes(&self, query: &ChangeQuery) -> Result<Vec<Change>, Failure> {
        // What stands there now stays: publishers need not wait while it is read.
        let (file, places) = {
            let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
            (Arc::clone(&changes.file), changes.places(query))
        };
        let read = |(id, place)| Ok(change(id, read_change(&file, place)?));
        places.into_iter().map(read).collect()
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
        let Some(last) = changes.place(changes.starts.len() as u64) else {
            return Ok(());
        };
        let line = read_change(&changes.file, last)?;
        let Some(gun) = Gun::new(&line.gun) else { return Ok(()) };
        let Ok((entries, _)) = self.log(&gun) else {
            // Nobody can tell whether it became true. The collection answers with what is wrong with it; the others go on.
            return Ok(());
        };
        let newest = entries
            .last()
            .and_then(|entry| entry.files.iter().find(|file| file.role == "timestamp"));
        let newest = newest.map(|file| (file.version, file.sha256));
        match line.timestamp == newest {
            true => Ok(()),
            false => changes.drop_last(),
        }
    }

    /// Returns a collection's log and where what is whole of it ends, from memory where possible.
    fn log(&self, gun: &Gun) -> Result<Log, Failure> {
        let changed = {
            let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(log) = logs.of.get(gun) {
                return Ok(log.clone());
            }
            logs.changed
        };
        let (entries, whole) = read_log(&self.dir_of(gun).join(LOG)).map_err(|problem| damaged(gun, problem))?;
        if let Some(entry) = entries.iter().find(|entry| entry.gun != gun.as_str()) {
            return Err(damaged(gun, format!("its log is that of {}", entry.gun)));
        }
        let log = (Arc::new(entries), whole);
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.put(gun, &log, changed);
        Ok(log)
    }

    /// Forgets a collection's log, which changes.
    fn forget_log(&self, gun: &Gun) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.forget(gun);
    }

    /// Opens a collection's log for a line after what is whole of it. Its name is on the disk before that: what failed after the
    /// line would be told as failed, and be there.
    fn open_log(&self, gun: &Gun, whole: u64) -> Result<OpenLog, Failure> {
        let dir = self.dir_of(gun);
        let path = dir.join(LOG);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| cannot("open", &path, &error))?;
        if whole == 0 {
            sync_dir(&dir)?;
            sync_dir(&self.dir.join(COLLECTIONS))?;
        }
        Ok(OpenLog { path, file, whole })
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
        let name = |role: &str| format!("{}.{role}.json", file.sha256.hex());
        let plain = name(&file.role.replace('/', "."));
        let name = match plain.len() <= FILE_NAME_BYTES {
            true => plain,
            false => name(&Digest::sha256(file.role.as_bytes()).hex()),
        };
        self.dir_of(gun).join(name)
    }
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
mod tests;
