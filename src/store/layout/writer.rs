//! Blobs and names on their way into a layout.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::blob::WrongBytes;
use super::{BLOBS_LOCK, Layout, cannot};
use crate::digest::{Digest, Hasher};
use crate::failure::Failure;
use crate::limit;
use crate::oci::Descriptor;
use crate::reference::Reference;
use crate::store::file::{Lock, NewFile, make_dir, remove_stale};
use crate::tree::contents::hash_to;

/// Writes into a layout; while it lives no garbage is collected.
#[derive(Debug)]
pub struct Writer<'a> {
    layout: &'a Layout,
    _lock: Lock,
}

impl<'a> Writer<'a> {
    pub(super) fn new(layout: &'a Layout) -> Result<Self, Failure> {
        let lock = Lock::shared(&layout.dir.join(BLOBS_LOCK))?;
        remove_stale(&layout.blobs_dir("sha256"));
        Ok(Self { layout, _lock: lock })
    }

    /// Returns the layout.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Keeps `content`, whatever it is, and describes it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be read or written.
    pub fn put(&self, media_type: &str, content: &mut dyn Read) -> Result<Descriptor, Failure> {
        let dir = self.layout.blobs_dir("sha256");
        make_dir(&dir)?;
        let mut file = NewFile::within(&dir)?;
        let (size, digest) = hash_to(content, &mut file).map_err(|error| cannot("write a blob into", &dir, &error))?;
        file.finish(&self.layout.blob_path(&digest))?;
        Ok(Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
        })
    }

    /// Keeps `content` if it is what `descriptor` names.
    ///
    /// # Errors
    /// A refusal (DIGEST_MISMATCH) when it is not; [`Failure::Unavailable`] when it cannot be read or written.
    pub fn put_exactly(&self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<(), Failure> {
        let mut blob = self.start(descriptor)?;
        // One byte more than named is enough to know.
        let mut content = content.take(descriptor.size.saturating_add(1));
        io::copy(&mut content, &mut blob).map_err(|error| cannot("write", &blob.path, &error))?;
        blob.finish()
    }

    /// Starts a blob that arrives in pieces.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when nothing can be written; [`Failure::Malformed`] when it is to be larger than any blob may be.
    pub fn start(&self, descriptor: &Descriptor) -> Result<BlobWriter, Failure> {
        if descriptor.size > limit::BLOB_BYTES {
            let problem = format!("{} bytes long, expected at most {}", descriptor.size, limit::BLOB_BYTES);
            return Err(Failure::malformed(descriptor.digest, problem));
        }
        let dir = self.layout.blobs_dir(descriptor.digest.algorithm());
        make_dir(&dir)?;
        Ok(BlobWriter {
            file: NewFile::within(&dir)?,
            path: self.layout.blob_path(&descriptor.digest),
            digest: descriptor.digest,
            size: descriptor.size,
            written: 0,
            hasher: descriptor.digest.hasher(),
        })
    }

    /// Names a document that is here; another one that had the name loses it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] or [`Failure::Malformed`] when `index.json` cannot be read or written.
    pub fn tag(&self, reference: &Reference, document: &Descriptor) -> Result<(), Failure> {
        self.layout.change_index(|index| index.set(reference, document))
    }
}

/// A blob under way; it counts only once [`BlobWriter::finish`] found it to be what was named.
#[derive(Debug)]
pub struct BlobWriter {
    file: NewFile,
    path: PathBuf,
    digest: Digest,
    size: u64,
    written: u64,
    hasher: Hasher,
}

impl BlobWriter {
    /// Returns how many bytes have been written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Returns how many bytes are still missing.
    pub fn missing(&self) -> u64 {
        self.size.saturating_sub(self.written)
    }

    /// Checks size and digest and gives the blob its name.
    ///
    /// # Errors
    /// A refusal (DIGEST_MISMATCH) when they are not what was named; [`Failure::Unavailable`] when it cannot be written.
    pub fn finish(self) -> Result<(), Failure> {
        let found = self.hasher.finish();
        if found != self.digest || self.written != self.size {
            let wrong = WrongBytes {
                digest: self.digest,
                size: self.size,
                read: self.written,
                found: (self.written <= self.size).then_some(found),
            };
            return Err(wrong.refuse(&format!("blob {}", self.digest)));
        }
        self.file.finish(&self.path)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..n).unwrap_or_default());
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
