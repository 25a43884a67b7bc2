//! Files as sigstore's commands sign and verify them.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::digest::Digest;
use crate::disk::Stream;
use crate::failure::Failure;
use crate::limit;
use crate::sigstore::bundle::{Artifact, Bundle};
use crate::store::file::{FileAt, NewFile, read_limited};
use crate::tree::contents::hash_to;

/// A file, or the digest of one.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// A digest alone.
    Digest(Digest),
    /// A file.
    File(PathBuf),
}

impl FromStr for Given {
    type Err = std::convert::Infallible;

    /// Reads `sha256:HEX` and `sha512:HEX` as digests, and everything else as a file's name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::File(text.into()), Self::Digest))
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What was given, read.
pub(super) enum Held {
    Bytes(Vec<u8>),
    Digest(Digest),
}

impl Given {
    /// Reads the file, if it is one.
    pub(super) fn read(&self) -> Result<Held, Failure> {
        match self {
            Self::Digest(digest) => Ok(Held::Digest(*digest)),
            Self::File(path) => file(path).map(Held::Bytes),
        }
    }
}

impl Held {
    pub(super) fn artifact(&self) -> Artifact<'_> {
        match self {
            Self::Bytes(bytes) => Artifact::Bytes(bytes),
            Self::Digest(digest) => Artifact::Digest(digest),
        }
    }
}

/// Reads a file that is signed.
pub(super) fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    read_limited(path, limit::SIGNED_BLOB_BYTES)
}

/// Hashes a file, of whatever length.
pub(super) fn digest(path: &Path) -> Result<Digest, Failure> {
    let file = FileAt::open(path)?;
    let hashed = hash_to(&mut Stream::new(&file), &mut io::sink());
    let (_, digest) = hashed.map_err(|error| Failure::unavailable(path.display(), error))?;
    Ok(digest)
}

/// Reads a bundle.
pub(super) fn bundle(path: &Path) -> Result<Bundle, Failure> {
    let bytes = read_limited(path, limit::ATTACHED_BYTES)?;
    Bundle::parse(&bytes).map_err(|error| Failure::malformed(path.display(), error))
}

/// Writes a file, whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = NewFile::beside(path)?;
    file.write_all(bytes)
        .map_err(|error| Failure::unavailable(path.display(), error))?;
    file.finish(path)
}
