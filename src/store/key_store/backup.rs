//! Backups: one file with all keys, references, the pin and the newest root signed offline of a collection, sealed under the keys'
//! passphrase.
//!
//! - Every key is opened before it is written, and again before it is restored: a backup that does not open is none.
//! - Nothing that is there is written over.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::reference::Reference;
use super::signed_root::{SIGNED, SignedRoot};
use super::{EXTENSION, KeyStore, PIN, REFERENCE, Secrets, write};
use crate::failure::Failure;
use crate::json::{self, Limits};
use crate::key::{KeyFile, KeyId, Passphrase, sealed_box};
use crate::limit;
use crate::store::file::read_limited;
use crate::time::Time;
use crate::trust::Chain;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    imgkit_key_backup: u32,
    collection: String,
    files: Vec<File>,
}

/// A file below the collection's directory.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// None for the pin, and for the newest root that was signed here.
    role: Option<String>,
    name: String,
    content: String,
}

impl Drop for File {
    fn drop(&mut self) {
        self.content.zeroize();
    }
}

impl KeyStore {
    /// Writes all of a collection's keys and its pin into one new file; returns what is in it.
    ///
    /// # Errors
    /// [`Failure`] when a key does not open, there is nothing to back up, or the file is there already.
    pub fn back_up(&self, collection: &str, to: &Path, secrets: &dyn Secrets) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        let mut paths = Vec::new();
        let mut add = |role: Option<&str>, path: PathBuf, max: usize| -> Result<(), Failure> {
            let content = String::from_utf8(read_limited(&path, max)?);
            let content = content.map_err(|_| Failure::malformed(path.display(), "it is not text"))?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            files.push(File {
                role: role.map(str::to_owned),
                name: name.unwrap_or_default(),
                content,
            });
            paths.push(path);
            Ok(())
        };
        for entry in self.list(collection)? {
            add(Some(&entry.role), entry.path, limit::KEY_FILE_BYTES)?;
        }
        let beside = [
            (self.pin(collection)?, limit::ROOT_BYTES),
            (self.path(&[collection, SIGNED])?, limit::KEY_FILE_BYTES),
        ];
        for (path, max) in beside {
            if path.exists() {
                add(None, path, max)?;
            }
        }
        if files.is_empty() {
            return Err(Failure::malformed(
                collection,
                "there are no keys of this collection here",
            ));
        }
        let passphrase = secrets.passphrase()?;
        for file in &files {
            check(file, &passphrase)?;
        }
        let document = Document {
            imgkit_key_backup: VERSION,
            collection: collection.to_owned(),
            files,
        };
        let about = |error: &dyn std::fmt::Display| Failure::unavailable(to.display(), error);
        let plain = Zeroizing::new(serde_json::to_vec(&document).map_err(|error| about(&error))?);
        let sealed = sealed_box::seal(&plain, &passphrase).map_err(|error| about(&error))?;
        if sealed.len() > limit::KEY_BACKUP_BYTES {
            return Err(about(&"the keys take more room than a backup may have"));
        }
        write(to, &sealed)?;
        Ok(paths)
    }

    /// Writes the files of a backup that are not here yet, as the collection `name` or the one that was backed up; returns its
    /// name, and the files. Of the newest root that was signed, here or before the backup, the later one stays.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the backup or a key in it does not open, or another file stands where one should be written;
    /// then nothing is written.
    pub fn restore(
        &self,
        from: &Path,
        name: Option<&str>,
        secrets: &dyn Secrets,
    ) -> Result<(String, Vec<PathBuf>), Failure> {
        let bad = |error: &dyn std::fmt::Display| Failure::malformed(from.display(), error);
        let sealed = read_limited(from, limit::KEY_BACKUP_BYTES)?;
        let passphrase = secrets.passphrase()?;
        let plain = sealed_box::open(&sealed, limit::KEY_BACKUP_BYTES, &passphrase).map_err(|error| bad(&error))?;
        let document: Document =
            json::decode(&plain, Limits::integers(limit::KEY_BACKUP_BYTES)).map_err(|error| bad(&error))?;
        if document.imgkit_key_backup != VERSION {
            return Err(bad(&"it is a backup of another version; use a newer imgkit"));
        }
        let collection = name.unwrap_or(&document.collection);
        let (mut new, mut roots) = (Vec::new(), Vec::new());
        for file in &document.files {
            check(file, &passphrase)?;
            let path = match file.role.as_deref() {
                Some(role) => self.path(&[collection, role, &file.name])?,
                None => self.path(&[collection, &file.name])?,
            };
            match path.symlink_metadata() {
                _ if file.is_signed_root() => roots.push((path, file)),
                Err(_) => new.push((path, file)),
                Ok(_) if read_limited(&path, limit::ROOT_BYTES)? == file.content.as_bytes() => {}
                Ok(_) => {
                    let problem = "another file than the backup's is there; move it away first";
                    return Err(Failure::malformed(path.display(), problem));
                }
            }
        }
        let mut written = Vec::new();
        for (path, file) in new {
            let names: Vec<_> = std::iter::once(collection).chain(file.role.as_deref()).collect();
            self.private_dir(&names)?;
            write(&path, file.content.as_bytes())?;
            written.push(path);
        }
        for (path, file) in roots {
            let signed = SignedRoot::parse(file.content.as_bytes()).map_err(|error| bad(&error))?;
            if self.recall_root(collection, &signed)? {
                written.push(path);
            }
        }
        Ok((collection.to_owned(), written))
    }
}

impl File {
    fn is_signed_root(&self) -> bool {
        self.role.is_none() && self.name == SIGNED
    }
}

/// Refuses a file that is not what its name says.
fn check(file: &File, passphrase: &Passphrase) -> Result<(), Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::malformed(format!("{} in the backup", file.name), error);
    if file.is_signed_root() {
        return SignedRoot::parse(file.content.as_bytes())
            .map(|_| ())
            .map_err(|error| bad(&error));
    }
    if file.role.is_none() {
        return match file.name == PIN && Chain::pinned(file.content.as_bytes(), Time::EPOCH).is_ok() {
            true => Ok(()),
            false => Err(bad(&"it is no root")),
        };
    }
    let (id, extension) = file.name.rsplit_once('.').unwrap_or_default();
    let named = KeyId::new(id).map_err(|error| bad(&error))?;
    match extension {
        EXTENSION => {
            let key = KeyFile::parse(&file.content).and_then(|key| key.open(Some(passphrase)));
            let key = key.map_err(|error| bad(&error))?;
            match key.id() == named {
                true => Ok(()),
                false => Err(bad(&format!(
                    "it holds the key {}, not the one it is named after",
                    key.id()
                ))),
            }
        }
        // What it refers to may be out of reach now.
        REFERENCE => Reference::parse(file.content.as_bytes())
            .map(|_| ())
            .map_err(|error| bad(&error)),
        _ => Err(bad(&"it is neither a key nor a reference to one")),
    }
}
