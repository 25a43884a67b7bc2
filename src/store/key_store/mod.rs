//! Private keys as encrypted PKCS#8 files, `DIR/COLLECTION/ROLE/KEYID.pem`, or as references to tokens and programs that hold
//! them, `KEYID.json`; beside `DIR/COLLECTION/root.json`, the pin, and `root-signed.json`, the newest root that was signed offline.
//!
//! - Files are 0600 in directories of 0700; a key is never on the disk unencrypted.
//! - A file's name is its key's id; a file that holds another key is refused.

mod backup;
mod new_key;
mod reference;
mod secrets;
mod signed_root;

pub use new_key::NewKey;
pub use secrets::Secrets;

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, linkat};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::key::{KeyError, KeyFile, KeyId, Passphrase, Signer, SigningKey};
use crate::limit;
use crate::store::file::{NewFile, cannot, read_limited};
use reference::Reference;
use zeroize::Zeroizing;

const EXTENSION: &str = "pem";
const REFERENCE: &str = "json";
const PIN: &str = "root.json";

/// A directory of private keys, for any number of collections.
#[derive(Clone, Debug)]
pub struct KeyStore {
    dir: PathBuf,
}

impl KeyStore {
    /// Names the directory; it need not exist.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a key, encrypted under `passphrase`, and returns its file.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when collection or role cannot be directory names; [`Failure::Unavailable`] when it cannot be
    /// written.
    pub fn save(
        &self,
        collection: &str,
        role: &str,
        key: &SigningKey,
        passphrase: &Passphrase,
    ) -> Result<PathBuf, Failure> {
        let dir = self.private_dir(&[collection, role])?;
        let path = dir.join(format!("{}.{EXTENSION}", key.id()));
        let pem = key.to_encrypted_pem(passphrase);
        let pem = pem.map_err(|error| Failure::unavailable(path.display(), error))?;
        write(&path, pem.as_bytes())?;
        Ok(path)
    }

    /// Returns the file of a role's key, if it is here. For names that no file can have none is kept: others choose ids, and roles
    /// below their own.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the collection cannot be a file name.
    pub fn find(&self, collection: &str, role: &str, id: &KeyId) -> Result<Option<PathBuf>, Failure> {
        if !is_plain(role) || !is_plain(id.as_str()) {
            return self.path(&[collection]).map(|_| None);
        }
        for extension in [EXTENSION, REFERENCE] {
            let path = self.path(&[collection, role, &format!("{id}.{extension}")])?;
            if path.is_file() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Lists a collection's keys by role and id.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the collection cannot be a directory name; [`Failure::Unavailable`] when a directory cannot
    /// be read.
    pub fn list(&self, collection: &str) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        for role in children(&self.path(&[collection])?)? {
            if !role.is_dir() {
                continue;
            }
            for path in children(&role)? {
                let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
                let (Some(role), Some(file)) = (name(&role), name(&path)) else {
                    continue;
                };
                if let Some((id, EXTENSION | REFERENCE)) = file.rsplit_once('.')
                    && let Ok(id) = KeyId::new(id)
                {
                    entries.push(Entry { role, id, path });
                }
            }
        }
        Ok(entries)
    }

    /// Says where an entry's key is.
    ///
    /// # Errors
    /// [`Failure`] when its file cannot be read.
    pub fn place_of(&self, entry: &Entry) -> Result<String, Failure> {
        if entry.is_file() {
            return Ok("encrypted file".to_owned());
        }
        let reference = read_reference(&entry.path)?;
        Ok(reference.spec().map(|spec| spec.to_string()).unwrap_or_default())
    }

    /// Opens the key in a file named by its id.
    ///
    /// # Errors
    /// As [`open_key`], and [`Failure::Malformed`] when the file holds another key.
    pub fn open(path: &Path, secrets: &dyn Secrets) -> Result<Box<dyn Signer>, Failure> {
        let key: Box<dyn Signer> = match path.extension().and_then(|extension| extension.to_str()) {
            Some(REFERENCE) => read_reference(path)?.open(secrets)?,
            _ => Box::new(open_key(path, &secrets.passphrase()?)?),
        };
        let id = key.id();
        match path.file_stem().and_then(|name| name.to_str()) == Some(id.as_str()) {
            true => Ok(key),
            false => Err(Failure::malformed(
                path.display(),
                format!("it leads to the key {id}, not the one it is named after"),
            )),
        }
    }

    /// Keeps the root that this collection's owner trusts, from which every other is reached.
    ///
    /// # Errors
    /// As [`KeyStore::save`].
    pub fn save_pin(&self, collection: &str, root: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.private_dir(&[collection])?.join(PIN);
        write(&path, root)?;
        Ok(path)
    }

    /// Returns the file in which the root of a collection is kept; it may not be there.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the collection cannot be a directory name.
    pub fn pin(&self, collection: &str) -> Result<PathBuf, Failure> {
        self.path(&[collection, PIN])
    }

    /// Makes a directory below the store, and those above it, that only their owner may enter.
    fn private_dir(&self, names: &[&str]) -> Result<PathBuf, Failure> {
        let dir = self.path(names)?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| cannot("make the directory", &dir, &error))?;
        Ok(dir)
    }

    fn path(&self, names: &[&str]) -> Result<PathBuf, Failure> {
        let mut path = self.dir.clone();
        for name in names {
            if !is_plain(name) {
                let problem = "expected letters, digits, `.`, `_` and `-`, not beginning with `.`, as it names a file";
                return Err(Failure::malformed(name.escape_debug(), problem));
            }
            path.push(name);
        }
        Ok(path)
    }
}

/// Tells whether a name can name a file here.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

/// A key in the store.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The role.
    pub role: String,
    /// The key.
    pub id: KeyId,
    /// Its file, or the reference to it.
    pub path: PathBuf,
}

impl Entry {
    /// Tells whether the private key itself is in the file.
    pub fn is_file(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == EXTENSION)
    }
}

/// Reads a private key file of any form that is read, without opening it.
///
/// # Errors
/// [`Failure`] when it cannot be read, or holds no private key.
pub fn read_key_file(path: &Path) -> Result<KeyFile, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::malformed(path.display(), error);
    let bytes = Zeroizing::new(read_limited(path, limit::KEY_FILE_BYTES)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| bad(&"it is not a key in PEM"))?;
    KeyFile::parse(text).map_err(|error| bad(&error))
}

/// Opens a private key file of any form that is read; its passphrase is asked for only if it has one.
///
/// # Errors
/// As [`read_key_file`], and when the passphrase does not open it.
pub fn open_any_key(path: &Path, secrets: &dyn Secrets) -> Result<SigningKey, Failure> {
    let file = read_key_file(path)?;
    let opened = match file.open(None) {
        Err(KeyError::Passphrase) => file.open(Some(&secrets.passphrase()?)),
        other => other,
    };
    opened.map_err(|error| Failure::malformed(path.display(), error))
}

/// Writes a private file that is not there yet.
///
/// # Errors
/// [`Failure`] when it is there, or cannot be written.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, bytes)
}

/// Writes encrypted keys in the place of what is in their files: of all or, where there is no room for one of them, of none.
///
/// # Errors
/// [`Failure::Unavailable`] when one cannot be written.
pub fn replace_keys(keys: &[(&Path, String)]) -> Result<(), Failure> {
    let mut files = Vec::new();
    for (path, pem) in keys {
        let mut file = NewFile::private_beside(path)?;
        file.write_all(pem.as_bytes())
            .map_err(|error| cannot("write", path, &error))?;
        files.push(file);
    }
    let mut files = files.into_iter().zip(keys);
    files.try_for_each(|(file, (path, _))| file.finish(path))
}

fn read_reference(path: &Path) -> Result<Reference, Failure> {
    let bytes = read_limited(path, limit::KEY_FILE_BYTES)?;
    Reference::parse(&bytes).map_err(|error| Failure::malformed(path.display(), error))
}

/// Lists a directory in order; one that is not there has nothing in it.
fn children(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot("list", dir, &error)),
    };
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(|error| cannot("list", dir, &error))?;
    paths.sort();
    Ok(paths)
}

/// Opens an encrypted private key in a file.
///
/// # Errors
/// [`Failure::Unavailable`] when the file cannot be read; [`Failure::Malformed`] when it is no encrypted key, or the passphrase
/// does not open it.
pub fn open_key(path: &Path, passphrase: &Passphrase) -> Result<SigningKey, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::malformed(path.display(), error);
    let file = read_key_file(path)?;
    file.open(Some(passphrase)).map_err(|error| bad(&error))
}

/// Writes a file that is not there yet.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => return Err(is_there(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("look for", path, &error)),
    }
    let mut file = NewFile::private_beside(path)?;
    file.write_all(bytes).map_err(|error| cannot("write", path, &error))?;
    finish_new(file, path)
}

/// Gives a file its name, unless somebody else gave one that name meanwhile.
fn finish_new(file: NewFile, path: &Path) -> Result<(), Failure> {
    let synced = file.as_file().sync_all();
    synced.map_err(|error| cannot("write", path, &error))?;
    let open = format!("/proc/self/fd/{}", file.as_file().as_raw_fd());
    match linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        // The name is on the disk when its directory is; the temporary one goes with `file`.
        Ok(()) => {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            let dir = dir.unwrap_or(Path::new("."));
            let synced = File::open(dir).and_then(|dir| dir.sync_all());
            synced.map_err(|error| cannot("sync the directory of", path, &error))
        }
        Err(Errno::EXIST) => Err(is_there(path)),
        // Not every file system has hard links: there nothing but the look before tells.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOENT) => file.finish(path),
        Err(error) => Err(cannot("give the name", path, &error)),
    }
}

fn is_there(path: &Path) -> Failure {
    Failure::malformed(path.display(), "it is there already; move it away first")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn passphrase() -> Passphrase {
        Passphrase::new("secret").unwrap()
    }

    #[test]
    fn keys_are_for_their_owner_alone_and_open_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::at(dir.path().join("keys"));
        let key = SigningKey::generate().unwrap();
        let path = store.save("c", "targets", &key, &passphrase()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        for dir in path.ancestors().skip(1).take(3) {
            assert_eq!(mode(dir), 0o700, "{}", dir.display());
        }
        assert_eq!(store.find("c", "targets", &key.id()).unwrap(), Some(path.clone()));
        assert_eq!(KeyStore::open(&path, &passphrase()).unwrap().public(), key.public());
        let wrong = Passphrase::new("wrong").unwrap();
        assert!(matches!(KeyStore::open(&path, &wrong), Err(Failure::Malformed { .. })));
    }

    #[test]
    fn all_files_of_keys_are_replaced_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a.pem", "b.pem", "gone/c.pem"].map(|name| dir.path().join(name));
        let keys: Vec<_> = paths.iter().map(|path| (path.as_path(), "new".to_owned())).collect();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        std::fs::write(&paths[0], "old").unwrap();
        std::fs::write(&paths[1], "old").unwrap();
        replace_keys(&keys).unwrap_err();
        assert_eq!([read(&paths[0]), read(&paths[1])], ["old", "old"]);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing is left behind"
        );
        replace_keys(keys.get(..2).unwrap()).unwrap();
        assert_eq!([read(&paths[0]), read(&paths[1])], ["new", "new"]);
    }

    #[test]
    fn a_key_under_another_keys_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::at(dir.path());
        let path = store
            .save("c", "r", &SigningKey::generate().unwrap(), &passphrase())
            .unwrap();
        let other = path.with_file_name(format!("{}.pem", SigningKey::generate().unwrap().id()));
        std::fs::rename(&path, &other).unwrap();
        assert!(matches!(
            KeyStore::open(&other, &passphrase()),
            Err(Failure::Malformed { .. })
        ));
        assert!(open_key(&other, &passphrase()).is_ok());
    }

    #[test]
    fn nothing_leaves_the_store_or_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::at(dir.path());
        for name in ["..", "a/b", "", ".hidden", "a\0"] {
            assert!(store.pin(name).is_err(), "{name}");
        }
        store.save_pin("c", b"one").unwrap();
        assert!(store.save_pin("c", b"two").is_err());
        assert_eq!(std::fs::read(store.pin("c").unwrap()).unwrap(), b"one");
    }

    #[test]
    fn a_file_that_another_writes_meanwhile_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.json");
        let mut late = NewFile::private_beside(&path).unwrap();
        late.write_all(b"the loser's").unwrap();
        write_new(&path, b"the winner's").unwrap();
        let refused = finish_new(late, &path).unwrap_err();
        assert!(matches!(refused, Failure::Malformed { .. }), "{refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"the winner's");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let names = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 1, "no temporary file is left");
    }

    #[test]
    fn of_many_who_write_one_pin_one_does() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let store = KeyStore::at(dir.path().join(round.to_string()));
            let write = |text: &'static [u8]| store.save_pin("c", text).is_ok().then_some(text);
            let done: Vec<_> = std::thread::scope(|scope| {
                let writers = [&b"one"[..], b"two", b"three", b"four"].map(|text| scope.spawn(move || write(text)));
                writers
                    .into_iter()
                    .filter_map(|writer| writer.join().unwrap())
                    .collect()
            });
            assert_eq!(done.len(), 1, "round {round}");
            assert_eq!(
                std::fs::read(store.pin("c").unwrap()).unwrap(),
                done[0],
                "round {round}"
            );
        }
    }
}
