//! The directory in which Notary's client and docker keep keys and what they trusted (`~/.docker/trust`).
//!
//! - `private/KEY.key`: private keys, encrypted, 0600 in directories of 0700, named by the key's canonical id.
//! - `tuf/GUN/metadata/ROLE.json`: what was last trusted of a collection; `notary` goes on from it, and so does imgkit.
//! - What another command, or Notary's own client, wrote meanwhile is not written over by something older. What a command has read
//!   itself it has judged, and may replace: a role that was delegated anew begins at version 1.
//! - What is read here is verified again like what a server sent; only that nothing gets older rests on it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::file::{Lock, NewFile, cannot, read_limited};
use crate::failure::Failure;
use crate::key::{NotaryKeyInfo, Passphrase, SigningKey};
use crate::limit;
use crate::trust::notary::{NotaryKey, NotaryKnown, is_delegated_role};

/// A trust directory of docker's layout.
#[derive(Clone, Debug)]
pub struct DockerTrust {
    dir: PathBuf,
    /// The files of collections that were read or written through this, as they were then.
    seen: Arc<Mutex<BTreeMap<PathBuf, Stamp>>>,
}

/// What tells two states of a file apart: inode, time of the last change in nanoseconds, length.
type Stamp = (u64, i64, i64, u64);

/// A private key's file.
#[derive(Clone, Debug)]
pub struct NotaryKeyFile {
    path: PathBuf,
    text: String,
    info: NotaryKeyInfo,
}

impl NotaryKeyFile {
    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what the file says of its key.
    pub fn info(&self) -> &NotaryKeyInfo {
        &self.info
    }

    /// Opens the key.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the passphrase does not open it.
    pub fn open(&self, passphrase: &Passphrase) -> Result<SigningKey, Failure> {
        let key = SigningKey::from_notary_pem(&self.text, passphrase);
        key.map_err(|error| Failure::malformed(self.path.display(), error))
    }
}

impl DockerTrust {
    /// Takes the directory `dir`, which may not exist yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            seen: Arc::default(),
        }
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Finds the file of a key, if the directory has it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be read.
    pub fn key(&self, key: &NotaryKey) -> Result<Option<NotaryKeyFile>, Failure> {
        let path = self.key_path(key);
        match path.try_exists() {
            Ok(false) => Ok(None),
            Ok(true) => {
                let bytes = read_limited(&path, limit::KEY_FILE_BYTES)?;
                let text = String::from_utf8(bytes);
                let text = text.map_err(|_| Failure::malformed(path.display(), "it is no key file: not text"))?;
                let info = NotaryKeyInfo::read(&text);
                Ok(Some(NotaryKeyFile { path, text, info }))
            }
            Err(error) => Err(cannot("read", &path, &error)),
        }
    }

    /// Lists the keys' files by name.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the directory cannot be read.
    pub fn keys(&self) -> Result<Vec<NotaryKeyFile>, Failure> {
        let dir = self.dir.join("private");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(cannot("read", &dir, &error)),
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "key"));
        paths.sort();
        let read = |path: PathBuf| {
            let text = String::from_utf8(read_limited(&path, limit::KEY_FILE_BYTES)?);
            let text = text.map_err(|_| Failure::malformed(path.display(), "it is no key file: not text"))?;
            let info = NotaryKeyInfo::read(&text);
            Ok(NotaryKeyFile { path, text, info })
        };
        paths.into_iter().map(read).collect()
    }

    /// Keeps a new private key; one that is there already stays as it is.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written.
    pub fn save_key(
        &self,
        key: &SigningKey,
        info: &NotaryKeyInfo,
        passphrase: &Passphrase,
    ) -> Result<PathBuf, Failure> {
        let bad = |error: crate::key::KeyError| Failure::malformed("the new key", error);
        let public = NotaryKey::plain(key.public().clone()).map_err(bad)?;
        let path = self.key_path(&public);
        if path.exists() {
            return Ok(path);
        }
        let text = key.to_notary_pem(info, passphrase).map_err(bad)?;
        make_private_dir(path.parent().unwrap_or(&self.dir))?;
        let mut file = NewFile::private_beside(&path)?;
        file.write_all(text.as_bytes())
            .map_err(|error| cannot("write", &path, &error))?;
        file.finish(&path)?;
        Ok(path)
    }

    /// Returns what was trusted of a collection before.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be read, or `gun` cannot name directories.
    pub fn known(&self, gun: &str) -> Result<NotaryKnown, Failure> {
        let dir = self.metadata(gun)?;
        let read = |role: &str, max| {
            let path = dir.join(format!("{role}.json"));
            // Before it is read: what changes while it is read was not seen.
            match self.saw(&path)? {
                true => read_limited(&path, max).map(Some),
                false => Ok(None),
            }
        };
        let mut known = NotaryKnown {
            root: read("root", limit::ROOT_BYTES)?,
            timestamp: read("timestamp", limit::TIMESTAMP_BYTES)?,
            snapshot: read("snapshot", limit::SNAPSHOT_BYTES)?,
            ..NotaryKnown::default()
        };
        for role in std::iter::once("targets".to_owned()).chain(delegated(&dir, "targets")) {
            if let Some(bytes) = read(&role, limit::TARGETS_BYTES)? {
                known.targets.insert(role, bytes.into());
            }
        }
        Ok(known)
    }

    /// Returns a file of a collection by the name that it has on a server, with its hash or version in it. Of a role there is the
    /// last trusted file alone, of the root the newest. One of more than `max` bytes is not read.
    ///
    /// # Errors
    /// As [`DockerTrust::known`].
    pub fn file(&self, gun: &str, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let stem = name.strip_suffix(".json").unwrap_or(name);
        let (role, version) = match stem.split_once('.') {
            Some((version, "root")) => ("root", Some(version)),
            Some((role, _hash)) => (role, None),
            None => (stem, None),
        };
        let is_role = ["root", "timestamp", "snapshot", "targets"].contains(&role) || is_delegated_role(role);
        let path = self.metadata(gun)?.join(format!("{role}.json"));
        if !is_role || stamp(&path)?.is_none() {
            return Ok(None);
        }
        let bytes = read_limited(&path, max.min(limit::TARGETS_BYTES))?;
        let is_wanted =
            version.is_none_or(|wanted| version_of(&bytes).is_some_and(|found| found.to_string() == wanted));
        Ok(is_wanted.then_some(bytes))
    }

    /// Remembers what is trusted of a collection now, by role; the timestamp last, as everything else follows from it. Where
    /// somebody else wrote since this was read ([`DockerTrust::known`]), and what they wrote is newer, theirs stays.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be written, or `gun` cannot name directories.
    pub fn remember(&self, gun: &str, files: &[(String, &[u8])]) -> Result<(), Failure> {
        let dir = self.metadata(gun)?;
        make_private_dir(&dir)?;
        let _lock = Lock::exclusive(&dir.join(".imgkit.lock"))?;
        let mut files: Vec<_> = files.iter().collect();
        files.sort_by_key(|(role, _)| (role == "timestamp", role != "root"));
        for (role, bytes) in files {
            let path = dir.join(format!("{role}.json"));
            if !self.unchanged(&path)? && !is_newer(bytes, &path)? {
                continue;
            }
            make_private_dir(path.parent().unwrap_or(&dir))?;
            let mut file = NewFile::private_beside(&path)?;
            file.write_all(bytes).map_err(|error| cannot("write", &path, &error))?;
            file.finish(&path)?;
            self.saw(&path)?;
        }
        Ok(())
    }

    /// Notes the state that a file is in; `false` where there is none.
    fn saw(&self, path: &Path) -> Result<bool, Failure> {
        let found = stamp(path)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(stamp) => seen.insert(path.to_owned(), stamp),
            None => seen.remove(path),
        };
        Ok(found.is_some())
    }

    /// Tells whether a file is as it was seen here.
    fn unchanged(&self, path: &Path) -> Result<bool, Failure> {
        let now = stamp(path)?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(now.as_ref() == seen.get(path))
    }

    /// Forgets a collection; its keys stay.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be removed, or `gun` cannot name directories.
    pub fn forget(&self, gun: &str) -> Result<(), Failure> {
        let dir = self.metadata(gun)?;
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot("remove", &dir, &error)),
            _ => Ok(()),
        }
    }

    fn key_path(&self, key: &NotaryKey) -> PathBuf {
        self.dir.join("private").join(format!("{}.key", key.canonical_id()))
    }

    fn metadata(&self, gun: &str) -> Result<PathBuf, Failure> {
        let fits = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
        match gun.split('/').all(fits) {
            true => Ok(self.dir.join("tuf").join(gun).join("metadata")),
            false => {
                let problem = "it cannot name a collection; expected HOST/PATH without empty parts, `.` or `..`";
                Err(Failure::malformed(gun, problem))
            }
        }
    }
}

/// What is read of metadata to see how old they are.
#[derive(Deserialize)]
struct File {
    signed: Numbered,
}

#[derive(Deserialize)]
struct Numbered {
    version: u64,
}

fn stamp(path: &Path) -> Result<Option<Stamp>, Failure> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("read", path, &error)),
    }
}

/// Tells whether a role's metadata have a higher version than those in a file, which may be gone.
fn is_newer(bytes: &[u8], path: &Path) -> Result<bool, Failure> {
    if stamp(path)?.is_none() {
        return Ok(true);
    }
    let known = read_limited(path, limit::TARGETS_BYTES)?;
    Ok(version_of(bytes) > version_of(&known))
}

/// Reads the version of metadata that were verified, or will be: nothing but an order rests on it, and large files are gone
/// through fast.
fn version_of(bytes: &[u8]) -> Option<u64> {
    let file = serde_json::from_slice::<File>(bytes).ok()?;
    Some(file.signed.version)
}

/// Finds the delegated roles below `role` that have a file.
fn delegated(dir: &Path, role: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.join(role)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let below = format!("{role}/{}", name.strip_suffix(".json").unwrap_or(name));
        if !is_delegated_role(&below) {
            continue;
        }
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => found.extend(delegated(dir, &below)),
            false => found.push(below),
        }
    }
    found.sort();
    found
}

/// Makes a directory, and those above it, for their owner alone.
fn make_private_dir(path: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| cannot("make the directory", path, &error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::Algorithm;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_for_their_owner_alone_and_are_found_by_their_id() {
        let dir = tempfile::tempdir().unwrap();
        let trust = DockerTrust::at(dir.path().join("trust"));
        let key = SigningKey::generate_as(Algorithm::P256).unwrap();
        let passphrase = Passphrase::new("open").unwrap();
        let info = NotaryKeyInfo {
            role: "root".to_owned(),
            gun: None,
        };
        let path = trust.save_key(&key, &info, &passphrase).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let public = NotaryKey::plain(crate::key::Signer::public(&key).clone()).unwrap();
        let found = trust.key(&public).unwrap().unwrap();
        assert_eq!(found.info(), &info);
        assert!(found.open(&passphrase).is_ok());
        assert_eq!(trust.keys().unwrap().len(), 1);
    }

    #[test]
    fn what_was_trusted_is_remembered_by_role_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let trust = DockerTrust::at(dir.path());
        let files = ["timestamp", "root", "targets", "targets/a", "targets/a/b"];
        let files: Vec<_> = files.iter().map(|role| ((*role).to_owned(), role.as_bytes())).collect();
        trust.remember("r.example/a", &files).unwrap();
        let known = trust.known("r.example/a").unwrap();
        assert_eq!(known.root.as_deref(), Some(&b"root"[..]));
        assert_eq!(
            known.targets.keys().collect::<Vec<_>>(),
            ["targets", "targets/a", "targets/a/b"]
        );
        trust.forget("r.example/a").unwrap();
        assert!(trust.known("r.example/a").unwrap().root.is_none());
        assert!(trust.known("../a").is_err());
    }

    /// Remembers roles with these versions, each with who says so.
    fn remember(trust: &DockerTrust, who: &str, versions: &[(&str, u64)]) {
        let file = |(role, version): &(&str, u64)| {
            let bytes = format!(r#"{{"signed":{{"version":{version},"who":"{who}"}},"signatures":[]}}"#);
            ((*role).to_owned(), bytes.into_bytes())
        };
        let files: Vec<_> = versions.iter().map(file).collect();
        let files: Vec<_> = files
            .iter()
            .map(|(role, bytes)| (role.clone(), bytes.as_slice()))
            .collect();
        trust.remember("a/b", &files).unwrap();
    }

    /// What is remembered: versions with who said so.
    fn remembered(trust: &DockerTrust, roles: &[&str]) -> Vec<String> {
        let dir = trust.metadata("a/b").unwrap();
        let read = |role: &&str| {
            let file = fs::read(dir.join(format!("{role}.json"))).unwrap();
            let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
            let at = |name: &str| file.pointer(&format!("/signed/{name}")).unwrap();
            let (version, who) = (at("version"), at("who"));
            format!("{role} {version} {}", who.as_str().unwrap())
        };
        roles.iter().map(read).collect()
    }

    #[test]
    fn a_slow_command_does_not_put_older_metadata_back() {
        let dir = tempfile::tempdir().unwrap();
        let (slow, quick) = (DockerTrust::at(dir.path()), DockerTrust::at(dir.path()));
        let roles = ["root", "timestamp", "snapshot", "targets", "targets/a"];
        let all = |versions: [u64; 5]| roles.into_iter().zip(versions).collect::<Vec<_>>();
        remember(&quick, "first", &all([1, 4, 4, 4, 3]));
        slow.known("a/b").unwrap();
        remember(&quick, "quick", &all([1, 6, 5, 5, 9]));
        remember(&slow, "slow", &all([1, 5, 5, 6, 8]));
        let expected = [
            "root 1 quick",
            "timestamp 6 quick",
            "snapshot 5 quick",
            "targets 6 slow",
            "targets/a 9 quick",
        ];
        assert_eq!(remembered(&slow, &roles), expected);
    }

    #[test]
    fn what_a_command_has_seen_it_may_replace_by_lower_versions() {
        let dir = tempfile::tempdir().unwrap();
        let before = DockerTrust::at(dir.path());
        remember(
            &before,
            "before",
            &[("root", 1), ("timestamp", 90), ("targets", 4), ("targets/a", 9)],
        );
        // The root was rotated first; then the timestamp's stolen key was replaced, and the role delegated anew.
        let command = DockerTrust::at(dir.path());
        command.known("a/b").unwrap();
        remember(&command, "now", &[("root", 2), ("targets", 5)]);
        let next = DockerTrust::at(dir.path());
        next.known("a/b").unwrap();
        remember(&next, "next", &[("timestamp", 1), ("targets/a", 1)]);
        let roles = ["root", "timestamp", "targets", "targets/a"];
        let expected = ["root 2 now", "timestamp 1 next", "targets 5 now", "targets/a 1 next"];
        assert_eq!(remembered(&next, &roles), expected);
    }
}
