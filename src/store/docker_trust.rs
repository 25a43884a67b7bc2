//! The directory in which Notary's client and docker keep keys and what they trusted (`~/.docker/trust`).
//!
//! - `private/KEY.key`: private keys, encrypted, 0600 in directories of 0700, named by the key's canonical id.
//! - `tuf/GUN/metadata/ROLE.json`: what was last trusted of a collection; `notary` goes on from it, and so does imgkit.
//! - Nothing is written over by something older: two commands at once, or Notary's own client, may have been there meanwhile.
//! - What is read here is verified again like what a server sent; only that nothing gets older rests on it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

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
}

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
        Self { dir: dir.into() }
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
            match path.try_exists() {
                Ok(true) => read_limited(&path, max).map(Some),
                Ok(false) => Ok(None),
                Err(error) => Err(cannot("read", &path, &error)),
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

    /// Remembers what is trusted of a collection now, by role; the timestamp last, as everything else follows from it. Where what
    /// is remembered is newer, it stays; below a role that is newer, versions may begin again.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be written, or `gun` cannot name directories.
    pub fn remember(&self, gun: &str, files: &[(String, &[u8])]) -> Result<(), Failure> {
        let dir = self.metadata(gun)?;
        make_private_dir(&dir)?;
        let _lock = Lock::exclusive(&dir.join(".imgkit.lock"))?;
        let mut files: Vec<_> = files.iter().collect();
        // Who delegates comes before the role, so that it is judged first.
        files.sort_by_key(|(role, _)| (role == "timestamp", role != "root", role.matches('/').count()));
        let mut judged = BTreeMap::new();
        for (role, bytes) in files {
            let path = dir.join(format!("{role}.json"));
            let age = match above(role).find_map(|above| judged.get(above)) {
                Some(Ordering::Equal) | None => age(bytes, &path)?,
                Some(decided) => *decided,
            };
            judged.insert(role.as_str(), age);
            if age != Ordering::Greater {
                continue;
            }
            make_private_dir(path.parent().unwrap_or(&dir))?;
            let mut file = NewFile::private_beside(&path)?;
            file.write_all(bytes).map_err(|error| cannot("write", &path, &error))?;
            file.finish(&path)?;
        }
        Ok(())
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

/// Compares a role's bytes with those that are remembered of it, by version.
fn age(bytes: &[u8], path: &Path) -> Result<Ordering, Failure> {
    let known = match path.try_exists() {
        Ok(true) => read_limited(path, limit::TARGETS_BYTES)?,
        Ok(false) => return Ok(Ordering::Greater),
        Err(error) => return Err(cannot("read", path, &error)),
    };
    // Both were verified, or will be: nothing but the order rests on this, and large files are gone through fast.
    let version = |bytes: &[u8]| {
        serde_json::from_slice::<File>(bytes)
            .ok()
            .map(|file| file.signed.version)
    };
    match known == bytes {
        true => Ok(Ordering::Equal),
        false => Ok(version(bytes).cmp(&version(&known))),
    }
}

/// Names the roles that a role's keys come from, the closest first.
fn above(role: &str) -> impl Iterator<Item = &str> {
    let delegating = std::iter::successors(Some(role), |role| role.rsplit_once('/').map(|(above, _)| above));
    delegating.skip(1).chain((role != "root").then_some("root"))
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
        // Two commands: the slow one read the collection first and remembers it last.
        let (slow, quick) = (DockerTrust::at(dir.path()), DockerTrust::at(dir.path()));
        let roles = ["root", "timestamp", "snapshot", "targets", "targets/a", "targets/a/b"];
        let all = |versions: [u64; 6]| roles.into_iter().zip(versions).collect::<Vec<_>>();
        remember(&quick, "quick", &all([1, 6, 5, 4, 3, 1]));
        remember(&slow, "slow", &all([1, 5, 4, 4, 3, 1]));
        let expected = roles.iter().zip([1, 6, 5, 4, 3, 1]);
        let expected: Vec<_> = expected
            .map(|(role, version)| format!("{role} {version} quick"))
            .collect();
        assert_eq!(remembered(&slow, &roles), expected);
        // What is newer is taken, and what was not there; another content of the same version is not.
        remember(&slow, "slow", &[("timestamp", 7), ("snapshot", 5), ("targets/c", 1)]);
        let expected = ["timestamp 7 slow", "snapshot 5 quick", "targets/c 1 slow"];
        assert_eq!(remembered(&slow, &["timestamp", "snapshot", "targets/c"]), expected);

        // Below a newer role versions begin again: a delegation that was made anew.
        remember(&slow, "anew", &[("targets", 5), ("targets/a", 1)]);
        assert_eq!(
            remembered(&slow, &["targets", "targets/a"]),
            ["targets 5 anew", "targets/a 1 anew"]
        );
        remember(&quick, "old", &[("targets", 4), ("targets/a", 9), ("targets/a/b", 9)]);
        assert_eq!(
            remembered(&slow, &["targets/a", "targets/a/b"]),
            ["targets/a 1 anew", "targets/a/b 1 quick"]
        );
        // And below a newer root: timestamp and snapshot after a recovery from keys that were stolen.
        remember(&slow, "recovered", &all([2, 1, 1, 1, 1, 1]));
        assert!(
            remembered(&slow, &roles)
                .iter()
                .all(|file| file.ends_with(" recovered"))
        );
        remember(&quick, "old", &all([1, 90, 90, 90, 90, 90]));
        assert!(
            remembered(&slow, &roles)
                .iter()
                .all(|file| file.ends_with(" recovered"))
        );
    }
}
