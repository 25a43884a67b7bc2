//! Where the bytes of a tree's files come from.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::digest::Digest;

/// A store of file contents by digest; readers may trust that what comes out was hashed on its way in.
pub trait Contents: Sync {
    /// Opens the content with this SHA-256, or says `NotFound`.
    ///
    /// # Errors
    /// `NotFound` when it is not here, or what reading it gave.
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + '_>>;
}

/// Contents held in memory: for generated files, which are small.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: BTreeMap<Digest, Vec<u8>>,
}

impl Memory {
    /// Keeps `content` and returns its digest.
    pub fn add(&mut self, content: Vec<u8>) -> Digest {
        let digest = Digest::sha256(&content);
        self.files.insert(digest, content);
        digest
    }

    /// Looks a content up.
    pub fn content(&self, digest: &Digest) -> Option<&[u8]> {
        self.files.get(digest).map(Vec::as_slice)
    }
}

impl Contents for Memory {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + '_>> {
        match self.files.get(digest) {
            Some(content) => Ok(Box::new(content.as_slice())),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("no content {digest}"))),
        }
    }
}

/// Takes file contents in, while a tree is read.
pub trait Sink {
    /// Reads `content` to its end and returns its size and SHA-256.
    ///
    /// # Errors
    /// What reading or keeping it gave.
    fn take(&mut self, content: &mut dyn Read) -> io::Result<(u64, Digest)>;
}

/// Hashes contents and keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct HashOnly;

impl Sink for HashOnly {
    fn take(&mut self, content: &mut dyn Read) -> io::Result<(u64, Digest)> {
        hash_to(content, &mut io::sink())
    }
}

impl Sink for Memory {
    fn take(&mut self, content: &mut dyn Read) -> io::Result<(u64, Digest)> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64, self.add(bytes)))
    }
}

/// Copies `content` to `out` and returns its size and SHA-256.
///
/// # Errors
/// What reading or writing gave.
pub fn hash_to(content: &mut dyn Read, out: &mut dyn Write) -> io::Result<(u64, Digest)> {
    let mut hasher = crate::digest::Hasher::sha256();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let n = match content.read(&mut buffer) {
            Ok(0) => return Ok((size, hasher.finish())),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let chunk = buffer.get(..n).unwrap_or_default();
        hasher.update(chunk);
        out.write_all(chunk)?;
        size += n as u64;
    }
}
