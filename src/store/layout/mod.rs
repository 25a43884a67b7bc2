//! The local store: an OCI image layout directory (image-spec, image-layout.md) that other tools read and write as well.
//!
//! - Blobs are hashed whenever they are read, and written under their final name only after they were hashed.
//! - An image's name is the full normalised reference, in the annotation `org.opencontainers.image.ref.name` of `index.json`;
//!   entries that others made under other names are kept and not listed.
//! - Two locks keep processes apart: `blobs` is shared by all that write and held alone by the one that collects garbage, so
//!   what was written and is not tagged yet does not vanish; `index` is held alone while `index.json` is changed.
//! - Reading needs no lock and no right to write.

mod beside;
mod blob;
mod check;
mod collect;
mod index;
mod joined;
mod writer;

pub use blob::{BlobReader, WrongBytes};
pub use check::Check;
pub use collect::Removed;
pub use joined::Joined;
pub use writer::{BlobWriter, Writer};

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::json;

use super::file::{Lock, NewFile, cannot, make_dir, read_limited};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::json;
use crate::limit;
use crate::oci::{Descriptor, Document, Image};
use crate::reference::Reference;
use index::Index;

const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";
const BLOBS_LOCK: &str = ".imgkit-blobs.lock";
const INDEX_LOCK: &str = ".imgkit-index.lock";

/// An OCI image layout directory.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
    /// What each manifest that was read says it is about, and its kind: a digest's document never changes.
    subjects: Arc<Mutex<BTreeMap<Digest, Subject>>>,
}

/// What a manifest is about, and its kind; nothing of one that is about nothing.
type Subject = Option<(Digest, String)>;

impl Layout {
    /// Opens a layout that exists; it may be one that this user cannot write.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be read; [`Failure::Malformed`] when it is no layout of version 1.0.0.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let dir = dir.into();
        let path = dir.join(MARKER);
        let bytes = read_limited(&path, 4096)?;
        let marker: Marker = json::decode(&bytes, json::Limits::integers(4096))
            .map_err(|error| Failure::malformed(path.display(), error))?;
        if marker.image_layout_version != "1.0.0" {
            let problem = format!(
                "expected imageLayoutVersion 1.0.0, found `{}`",
                marker.image_layout_version
            );
            return Err(Failure::malformed(path.display(), problem));
        }
        Ok(Self {
            dir,
            subjects: Arc::default(),
        })
    }

    /// Opens a layout, or makes an empty one where nothing is.
    ///
    /// # Errors
    /// As [`Layout::open`]; [`Failure::Unavailable`] when it cannot be made; [`Failure::Malformed`] when something else is there.
    pub fn open_or_create(dir: impl Into<PathBuf>) -> Result<Self, Failure> {
        let dir = dir.into();
        let marker = dir.join(MARKER);
        if !marker.exists() {
            make_dir(&dir)?;
            refuse_other_things(&dir)?;
            let _lock = Lock::exclusive(&dir.join(INDEX_LOCK))?;
            // Another process may have made it while this one waited; the marker comes last, so with it all is there.
            if !marker.exists() {
                make_dir(&dir.join("blobs/sha256"))?;
                if !dir.join(INDEX).exists() {
                    write_json(&dir.join(INDEX), &Index::default().to_bytes())?;
                }
                write_json(&marker, json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes())?;
            }
        }
        Self::open(dir)
    }

    /// Returns the layout's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts writing; what is written is safe from garbage collection while the writer lives.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the layout cannot be written.
    pub fn writer(&self) -> Result<Writer<'_>, Failure> {
        Writer::new(self)
    }

    /// Lists the tagged images by name.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] or [`Failure::Malformed`] when `index.json` cannot be read.
    pub fn list(&self) -> Result<Vec<(Reference, Descriptor)>, Failure> {
        let mut images = self.index()?.images();
        images.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(images)
    }

    /// Looks up the document that a reference names: its descriptor and its bytes, hashed. `None` when it is not here.
    ///
    /// A reference with a digest is looked up by that alone: the bytes are what they are, whatever name they are tagged with.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] or [`Failure::Malformed`] when the layout cannot be read; a refusal when the document's bytes are
    /// not those that the digest names, or not in the form of its media type.
    pub fn document(&self, reference: &Reference) -> Result<Option<(Descriptor, Vec<u8>)>, Failure> {
        if let Some(digest) = reference.digest() {
            let Some(mut descriptor) = self.here(digest) else {
                return Ok(None);
            };
            let bytes = self.blob_bytes(&descriptor, limit::DOCUMENT_BYTES)?;
            let document = Document::parse(&reference.to_string(), &bytes, None)?;
            document.media_type().clone_into(&mut descriptor.media_type);
            return Ok(Some((descriptor, bytes)));
        }
        let Some(descriptor) = self.index()?.find(reference) else {
            return Ok(None);
        };
        let bytes = self.blob_bytes(&descriptor, limit::DOCUMENT_BYTES)?;
        Document::parse(&reference.to_string(), &bytes, Some(&descriptor.media_type))?;
        Ok(Some((descriptor, bytes)))
    }

    /// Returns the digest that a name stands for here, whatever digest is written behind its tag; the document is not read.
    ///
    /// # Errors
    /// As [`Layout::list`].
    pub fn named(&self, reference: &Reference) -> Result<Option<Digest>, Failure> {
        let tagged = reference.both().map(|(tagged, _)| tagged);
        let found = self.index()?.find(tagged.as_ref().unwrap_or(reference));
        Ok(found.map(|document| document.digest))
    }

    /// Lists the blobs that are here, sorted by digest, as far as their names and sizes tell.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when they cannot be listed.
    pub fn blobs(&self) -> Result<Vec<Descriptor>, Failure> {
        Ok(self.digests()?.iter().filter_map(|digest| self.here(digest)).collect())
    }

    /// Opens a blob; the reader fails at its end when the bytes are not those that the descriptor names, so read to the end.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it is not here or cannot be opened.
    pub fn blob_reader(&self, descriptor: &Descriptor) -> Result<BlobReader, Failure> {
        let path = self.blob_path(&descriptor.digest);
        match File::open(&path) {
            Ok(file) => Ok(BlobReader::new(file, descriptor)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(cannot(
                "find it",
                &path,
                &"the store does not hold this blob; pull its image again",
            )),
            Err(error) => Err(cannot("open", &path, &error)),
        }
    }

    /// Reads a whole blob of at most `max` bytes, hashed.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be read; a refusal (DIGEST_MISMATCH) when its bytes are not those named;
    /// [`Failure::Malformed`] when it is longer than `max`.
    pub fn blob_bytes(&self, descriptor: &Descriptor, max: usize) -> Result<Vec<u8>, Failure> {
        if descriptor.size > max as u64 {
            let problem = format!("{} bytes long, expected at most {max}", descriptor.size);
            return Err(Failure::malformed(descriptor.digest, problem));
        }
        let mut bytes = Vec::new();
        let read = self.blob_reader(descriptor)?.read_to_end(&mut bytes);
        read.map_err(|error| blob::failure(&self.blob_path(&descriptor.digest), &error))?;
        Ok(bytes)
    }

    /// Tells whether a blob is here with the right bytes; reads it whole.
    pub fn is_intact(&self, descriptor: &Descriptor) -> bool {
        let reader = self.blob_reader(descriptor).ok();
        reader.is_some_and(|mut reader| std::io::copy(&mut reader, &mut std::io::sink()).is_ok())
    }

    /// Tells whether the bytes under a digest are those that it names; reads them all.
    pub fn is_whole(&self, digest: &Digest) -> bool {
        self.here(digest).is_some_and(|here| self.is_intact(&here))
    }

    /// Tells whether every blob that an image names is here, by name and size; reading one tells whether it is right.
    pub fn holds(&self, image: &Image) -> bool {
        let here = |blob: &Descriptor| self.here(&blob.digest).is_some_and(|here| here.size == blob.size);
        image.blobs().iter().all(here)
    }

    /// Tells whether something stands under a digest.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.here(digest).is_some()
    }

    /// Describes the file that stands under a digest, without a media type; `None` when there is none.
    fn here(&self, digest: &Digest) -> Option<Descriptor> {
        let meta = std::fs::metadata(self.blob_path(digest)).ok()?;
        meta.is_file().then(|| Descriptor {
            media_type: String::new(),
            digest: *digest,
            size: meta.len(),
            platform: None,
        })
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs_dir(digest.algorithm()).join(digest.hex())
    }

    fn blobs_dir(&self, algorithm: &str) -> PathBuf {
        self.dir.join("blobs").join(algorithm)
    }

    fn index(&self) -> Result<Index, Failure> {
        let path = self.dir.join(INDEX);
        let bytes = read_limited(&path, limit::LAYOUT_INDEX_BYTES)?;
        Index::parse(&bytes).map_err(|problem| Failure::malformed(path.display(), problem))
    }

    /// Changes `index.json`; one process at a time.
    fn change_index<T>(&self, change: impl FnOnce(&mut Index) -> T) -> Result<T, Failure> {
        let _lock = Lock::exclusive(&self.dir.join(INDEX_LOCK))?;
        let mut index = self.index()?;
        let result = change(&mut index);
        write_json(&self.dir.join(INDEX), &index.to_bytes())?;
        Ok(result)
    }
}

/// Refuses to make a layout among somebody's files; what a creation that was killed left behind is none.
fn refuse_other_things(dir: &Path) -> Result<(), Failure> {
    let entries = std::fs::read_dir(dir).map_err(|error| cannot("list", dir, &error))?;
    for entry in entries {
        let name = entry.map_err(|error| cannot("list", dir, &error))?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(".imgkit-") && !["blobs", INDEX, MARKER].contains(&&*name) {
            let problem = format!("it is no image store and holds other things (`{name}`); name an empty directory");
            return Err(Failure::malformed(dir.display(), problem));
        }
    }
    Ok(())
}

fn write_json(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = NewFile::beside(path)?;
    file.write_all(bytes).map_err(|error| cannot("write", path, &error))?;
    file.finish(path)
}

#[cfg(test)]
mod tests;
