//! Blobs on their way out of a layout.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::cannot;
use crate::digest::{Digest, Hasher};
use crate::failure::Failure;
use crate::oci::{Descriptor, digest_mismatch};

/// Reads a blob and fails at its end when the bytes are not those that its descriptor names.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    digest: Digest,
    size: u64,
    read: u64,
    hasher: Hasher,
}

impl BlobReader {
    pub(super) fn new(file: File, descriptor: &Descriptor) -> Self {
        Self {
            file,
            digest: descriptor.digest,
            size: descriptor.size,
            read: 0,
            hasher: descriptor.digest.hasher(),
        }
    }

    fn wrong(&self, found: Option<Digest>) -> io::Error {
        let wrong = WrongBytes {
            digest: self.digest,
            size: self.size,
            read: self.read,
            found,
        };
        io::Error::new(io::ErrorKind::InvalidData, wrong)
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read += n as u64;
        if self.read > self.size {
            return Err(self.wrong(None));
        }
        self.hasher.update(buffer.get(..n).unwrap_or_default());
        if n > 0 || buffer.is_empty() {
            return Ok(n);
        }
        let found = self.hasher.clone().finish();
        if found != self.digest || self.read != self.size {
            return Err(self.wrong(Some(found)));
        }
        Ok(0)
    }
}

/// A blob's bytes are not those that its descriptor names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {size} bytes with digest {digest}, found {}", describe(*read, *found))]
pub struct WrongBytes {
    /// The digest named.
    pub digest: Digest,
    /// The size named.
    pub size: u64,
    /// How many bytes were read.
    pub read: u64,
    /// Their digest, unless there were more than expected.
    pub found: Option<Digest>,
}

fn describe(read: u64, found: Option<Digest>) -> String {
    match found {
        Some(digest) => format!("{read} bytes with digest {digest}"),
        None => "more".to_owned(),
    }
}

impl WrongBytes {
    /// Makes the refusal of the blob at `place`.
    pub fn refuse(&self, place: &str) -> Failure {
        let expected = format!("{} bytes with digest {}", self.size, self.digest);
        digest_mismatch(place, expected, describe(self.read, self.found))
    }
}

/// Makes the failure of reading the blob at `path`: wrong bytes are a verdict, the rest is not knowing.
pub(super) fn failure(path: &Path, error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<WrongBytes>()) {
        Some(wrong) => wrong.refuse(&path.display().to_string()),
        None => cannot("read", path, error),
    }
}
