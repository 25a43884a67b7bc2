//! What a generic TUF client keeps: trusted metadata by role, and the artifacts that it fetched.
//!
//! - `ROLE.json` is the newest trusted metadata of a role, byte for byte as it was served; names are percent-encoded.
//! - Files get their names when they are whole, artifacts when they were checked against what is signed of them.
//! - One client at a time uses the directory; others wait.
//! - Artifacts have a directory of their own: their names are anybody's who signs, `root.json` as well.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::file::{Lock, NewFile, cannot, make_dir, open_to_end};
use super::http::Web;
use crate::digest::{Digest, Hasher};
use crate::failure::Failure;
use crate::limit;
use crate::trust::{Cache, Target, encoded, file_name};

const LOCK: &str = ".imgkit-tuf.lock";

/// How much of an artifact is hashed at a time.
const PIECE: usize = 64 << 10;

/// A directory with the metadata that a client trusts.
#[derive(Debug)]
pub struct TufDir {
    dir: PathBuf,
    _lock: Lock,
}

impl TufDir {
    /// Opens the directory, which is made if it is missing, and waits until no other client uses it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Failure> {
        let dir = dir.into();
        make_dir(&dir)?;
        let lock = Lock::exclusive(&dir.join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }

    /// Opens the directory to read it, beside others that do, once no client changes it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it is missing, or cannot be locked.
    pub fn open_to_read(dir: impl Into<PathBuf>) -> Result<Self, Failure> {
        let dir = dir.into();
        let lock = Lock::shared_to_read(&dir.join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }
}

impl Cache for TufDir {
    fn load(&mut self, role: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        at_most(&file_in(&self.dir, role, file_name(role, None))?, max)
    }

    fn store(&mut self, role: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = file_in(&self.dir, role, file_name(role, None))?;
        let mut file = NewFile::beside(&path)?;
        file.write_all(bytes).map_err(|error| cannot("write", &path, &error))?;
        file.finish(&path)
    }
}

/// Refuses to put artifacts where the trusted metadata are, by whatever path: one that is named `root.json` would take the root's
/// place. A directory inside the other is good enough, as no name leads out of it or into it.
///
/// # Errors
/// [`Failure::Malformed`] when both are one directory.
pub fn check_apart(metadata: &Path, artifacts: &Path) -> Result<(), Failure> {
    let place = |dir: &Path| dir.metadata().ok().map(|dir| (dir.dev(), dir.ino()));
    let same = place(metadata).is_some_and(|dir| place(artifacts) == Some(dir));
    match same || metadata == artifacts {
        true => Err(Failure::malformed(
            artifacts.display(),
            "the trusted metadata are in this directory, and an artifact named `root.json` would take the place of the trusted \
             root; name another directory for artifacts",
        )),
        false => Ok(()),
    }
}

/// Returns where what is called `subject` is kept, if its encoded name can be a file's.
fn file_in(dir: &Path, subject: &str, name: String) -> Result<PathBuf, Failure> {
    match name.len() <= limit::NAME_BYTES {
        true => Ok(dir.join(name)),
        false => Err(Failure::unavailable(
            format!("`{}`", subject.escape_debug()),
            format!(
                "its file would have a name of {} bytes (percent-encoded), and a file's has at most {}; nothing of it is kept; have it \
                 signed under a shorter name",
                name.len(),
                limit::NAME_BYTES
            ),
        )),
    }
}

/// Reads a file, of a longer one `max + 1` bytes; nothing where there is none.
fn at_most(path: &Path, max: usize) -> Result<Option<Vec<u8>>, Failure> {
    let file = match open_to_end(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot("open", path, &error)),
    };
    let mut bytes = Vec::new();
    let read = file.take(max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| cannot("read", path, &error))?;
    Ok(Some(bytes))
}

/// What became of an artifact.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Its file.
    pub path: PathBuf,
    /// Whether it was fetched; otherwise it was there as it is signed.
    pub fetched: bool,
}

/// Puts a target's content into `dir` as one file, unless it is there as it is signed.
///
/// `served_as` are the names under which the server of `web` may have it, as [`crate::trust::Updater::served_as`] says.
///
/// # Errors
/// [`Failure::Unavailable`] when it cannot be fetched or written; a refusal when it is not what was signed.
pub fn fetch_artifact(web: &Web, target: &Target, served_as: &[String], dir: &Path) -> Result<Artifact, Failure> {
    let subject = format!("target {}", target.name());
    make_dir(dir)?;
    let path = file_in(dir, target.name(), encoded(target.name()))?;
    if is_there(&path, target)? {
        return Ok(Artifact { path, fetched: false });
    }
    let mut failure = Failure::unavailable(&subject, "no hash of it is known by which it could be fetched");
    for name in served_as {
        let start = || Checked::beside(&path, target);
        // 5.7.3: of at most as many bytes as are signed.
        match web.download(&url_path(name), target.length(), start) {
            Ok(artifact) => {
                artifact.finish(&subject, &path, target)?;
                return Ok(Artifact { path, fetched: true });
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Reads an artifact that was fetched, and checks that it is what is signed.
///
/// # Errors
/// [`Failure::Unavailable`] when it cannot be read; a refusal when it is something else.
pub fn read_artifact(target: &Target, dir: &Path) -> Result<Vec<u8>, Failure> {
    let path = file_in(dir, target.name(), encoded(target.name()))?;
    let max = usize::try_from(target.length()).unwrap_or(usize::MAX - 1);
    let bytes = at_most(&path, max)?.ok_or_else(|| Failure::unavailable(path.display(), "it is missing"))?;
    let checked = target.check(&bytes);
    checked.map_err(|error| error.about(&path.display().to_string()))?;
    Ok(bytes)
}

/// Tells whether the file at `path` is what was signed.
fn is_there(path: &Path, target: &Target) -> Result<bool, Failure> {
    let mut file = match open_to_end(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(cannot("open", path, &error)),
    };
    let length = file.metadata().map_err(|error| cannot("read", path, &error))?.len();
    if length != target.length() {
        return Ok(false);
    }
    let mut checked = Checked::new(io::sink(), target);
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece).map_err(|error| cannot("read", path, &error))?;
        match piece.get(..read).filter(|piece| !piece.is_empty()) {
            Some(piece) => checked.take(piece),
            None => return Ok(checked.end(target).is_ok()),
        }
    }
}

/// A file under way with the hashes of what was written.
struct Checked<W> {
    file: W,
    length: u64,
    hashers: Vec<(Digest, Hasher)>,
}

impl<W> Checked<W> {
    fn new(file: W, target: &Target) -> Self {
        Self {
            file,
            length: 0,
            hashers: target.digests().map(|digest| (digest, digest.hasher())).collect(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.hashers.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
    }

    /// Returns the file if what was written is what was signed, and else what was expected and found.
    fn end(self, target: &Target) -> Result<W, (String, String)> {
        if self.length != target.length() {
            let longer = if self.length > target.length() { "more" } else { "fewer" };
            return Err((
                format!("{} bytes", target.length()),
                format!("{longer} ({})", self.length),
            ));
        }
        if self.hashers.is_empty() {
            return Err((
                "a sha256 or sha512 hash".to_owned(),
                "hashes of other kinds alone".to_owned(),
            ));
        }
        for (expected, hasher) in self.hashers {
            let found = hasher.finish();
            if found != expected {
                return Err((expected.to_string(), found.to_string()));
            }
        }
        Ok(self.file)
    }
}

impl Checked<NewFile> {
    fn beside(path: &Path, target: &Target) -> Result<Self, Failure> {
        Ok(Self::new(NewFile::beside(path)?, target))
    }

    /// Gives the file its name if it is what was signed (step 5.7.3).
    fn finish(self, subject: &str, path: &Path, target: &Target) -> Result<(), Failure> {
        let file = self.end(target);
        let file = file.map_err(|(expected, found)| {
            crate::trust::TrustError::Digest {
                subject: subject.to_owned(),
                expected,
                found,
            }
            .about(subject)
        })?;
        file.finish(path)
    }
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.take(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a target's name as the path of a URL (RFC 3986, 3.3): `/` stays, and what may stand in a part of a path does, but for
/// `+`, which stores of objects take for a space.
fn url_path(name: &str) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => path.push(byte.into()),
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b',' | b';' | b'=' | b':' | b'@' => {
                path.push(byte.into())
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keeps_the_newest_of_each_role_in_one_file_each() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = TufDir::open(dir.path().join("new")).unwrap();
        assert_eq!(kept.load("../role", 10).unwrap(), None);
        kept.store("../role", b"1").unwrap();
        kept.store("../role", b"22").unwrap();
        assert_eq!(kept.load("../role", 10).unwrap().unwrap(), b"22");
        assert_eq!(kept.load("../role", 0).unwrap().unwrap(), b"2");
        let names = std::fs::read_dir(dir.path().join("new")).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["%2E.%2Frole.json", LOCK]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn artifacts_have_another_directory_than_the_trusted_metadata() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("metadata/inside")).unwrap();
        std::os::unix::fs::symlink(at("metadata"), at("link")).unwrap();
        for same in ["metadata", "metadata/", "./metadata", "metadata/inside/..", "link"] {
            let refused = check_apart(&at("metadata"), &at(same)).unwrap_err();
            assert!(matches!(refused, Failure::Malformed { .. }), "{same}: {refused}");
        }
        for other in ["metadata/inside", "new", ""] {
            assert!(check_apart(&at("metadata"), &at(other)).is_ok(), "{other}");
        }
        assert!(check_apart(&at("new"), &at("new")).is_err());
    }

    #[test]
    fn a_name_that_no_file_can_have_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = TufDir::open(dir.path()).unwrap();
        // Each `/` is three bytes of a file's name.
        let long = "a/".repeat(70);
        let refused = kept.load(&long, 10).unwrap_err().to_string();
        assert!(
            refused.contains("285 bytes") && refused.contains("shorter name"),
            "{refused}"
        );
        assert!(kept.store(&long, b"1").is_err());
    }

    #[test]
    fn names_of_targets_become_paths_of_urls() {
        assert_eq!(url_path("docker.io/library/alpine:3"), "docker.io/library/alpine:3");
        assert_eq!(url_path("a b/c+d?e#f%é"), "a%20b/c%2Bd%3Fe%23f%25%C3%A9");
    }
}
