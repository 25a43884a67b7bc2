//! A collection and images in one file, to be carried over an air gap: a tar archive that is an OCI layout.
//!
//! - The collection has the form that it has in a registry ([`super::trust_oci`]): an index, pages, files, all of them blobs.
//! - The same content gives the same bytes: members are sorted, and have neither times nor owners.
//! - What is opened is hashed before anybody sees it, and proves nothing by that: metadata are judged by [`crate::trust`], and
//!   images count as far as those name their digests.
//! - The archive is read strictly: regular files with the names of a layout, each once.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Source as Images;
use super::file::cannot;
use super::trust_oci::{COLLECTION, METADATA, TrustFiles};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::format::tar::{Kind, Reader, TarError};
use crate::json as strict;
use crate::limit;
use crate::oci::{Descriptor, Document, INDEX};
use crate::reference::Reference;
use crate::trust::{Bundle, Source};

const MARKER: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
const LIST: &str = "index.json";
const NAME: &str = "org.opencontainers.image.ref.name";
const TARGETS: &str = "org.imgkit.trust.targets";
const WHOLE: &str = "org.imgkit.trust.whole";

/// What is put into one file.
#[derive(Debug, Default)]
pub struct Parcel {
    /// Blobs in memory, or where only a descriptor stands, those of the images' source.
    blobs: BTreeMap<Digest, (Descriptor, Option<Vec<u8>>)>,
    entries: Vec<Value>,
}

impl Parcel {
    /// Starts with a collection's metadata, the names whose look-ups they are for, and whether these are all.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when they are too many for the form.
    pub fn new(metadata: &Bundle, targets: &BTreeSet<String>, whole: bool) -> Result<Self, Failure> {
        let mut parcel = Self::default();
        let mut files = TrustFiles::default();
        for (name, bytes) in metadata.files() {
            files.add(name, parcel.put(METADATA, bytes.to_vec()));
        }
        let mut put = |media_type: &str, bytes: Vec<u8>| parcel.put(media_type, bytes);
        let index = files.write(&mut put)?;
        let targets = json!(targets).to_string();
        parcel.entries.push(json!({
            "mediaType": index.media_type, "artifactType": COLLECTION, "digest": index.digest, "size": index.size,
            "annotations": { TARGETS: targets, WHOLE: whole.to_string() },
        }));
        Ok(parcel)
    }

    /// Adds a blob from memory.
    pub fn put(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let blob = Descriptor::of(media_type, &bytes);
        self.blobs.insert(blob.digest, (blob.clone(), Some(bytes)));
        blob
    }

    /// Adds a document under the digest that names it.
    pub fn document(&mut self, digest: &Digest, media_type: &str, bytes: &[u8]) -> Descriptor {
        let blob = Descriptor {
            digest: *digest,
            ..Descriptor::of(media_type, bytes)
        };
        self.blobs.insert(blob.digest, (blob.clone(), Some(bytes.to_vec())));
        blob
    }

    /// Adds a blob that the images' source has.
    pub fn blob(&mut self, blob: &Descriptor) {
        self.blobs.entry(blob.digest).or_insert_with(|| (blob.clone(), None));
    }

    /// Names a document.
    pub fn name(&mut self, reference: &str, document: &Descriptor) {
        self.entries.push(json!({
            "mediaType": document.media_type, "digest": document.digest, "size": document.size,
            "annotations": { NAME: reference },
        }));
    }

    /// Writes the archive; blobs that are not in memory come from `images`.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written, or a blob cannot be read; a refusal when a blob has other bytes.
    pub fn write(&self, subject: &Path, images: &dyn Images, out: &mut dyn Write) -> Result<(), Failure> {
        let failed = |error: io::Error| cannot("write", subject, &error);
        let mut archive = tar::Builder::new(out);
        let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries }).to_string();
        member(&mut archive, MARKER.0, MARKER.1.len() as u64, &mut &*MARKER.1).map_err(failed)?;
        member(&mut archive, LIST, list.len() as u64, &mut list.as_bytes()).map_err(failed)?;
        for (blob, bytes) in self.blobs.values() {
            let name = format!("blobs/{}/{}", blob.digest.algorithm(), blob.digest.hex());
            match bytes {
                Some(bytes) => member(&mut archive, &name, blob.size, &mut bytes.as_slice()),
                None => member(&mut archive, &name, blob.size, &mut images.blob(blob)?),
            }
            .map_err(failed)?;
        }
        archive.into_inner().map(drop).map_err(failed)
    }
}

/// Writes one member that says nothing but its name and content.
pub(super) fn member(
    archive: &mut tar::Builder<&mut dyn Write>,
    name: &str,
    size: u64,
    content: &mut dyn Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    // Read to its end, where a reader of blobs says what it found.
    let mut counted = Counted { content, read: 0 };
    archive.append_data(&mut header, name, &mut counted)?;
    match counted.read == size {
        true => Ok(()),
        false => {
            let problem = format!("{name} has {} bytes, expected {size}", counted.read);
            Err(io::Error::new(io::ErrorKind::InvalidData, problem))
        }
    }
}

struct Counted<'a> {
    content: &'a mut dyn Read,
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.content.read(buffer)?;
        self.read += n as u64;
        Ok(n)
    }
}

/// An archive whose blobs were hashed, and whose lists were read.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    /// Where each blob's bytes begin, and how many they are.
    blobs: BTreeMap<Digest, (u64, u64)>,
    files: TrustFiles,
    targets: BTreeSet<String>,
    whole: bool,
    images: Vec<(Reference, Descriptor)>,
}

impl Opened {
    /// Reads an archive from its beginning to its end.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be read; a refusal when it is not in the form of a parcel, or a blob is not what
    /// its name says.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let subject = path.display().to_string();
        let file = File::open(path).map_err(|error| cannot("open", path, &error))?;
        if !file.metadata().is_ok_and(|meta| meta.is_file()) {
            return Err(Failure::malformed(
                subject,
                "it is no regular file, which is read more than once",
            ));
        }
        let (blobs, list) = members(&subject, file)?;
        let mut opened = Self {
            path: path.to_owned(),
            blobs,
            files: TrustFiles::default(),
            targets: BTreeSet::new(),
            whole: false,
            images: Vec::new(),
        };
        opened.list(&subject, &list)?;
        Ok(opened)
    }

    /// Reads `index.json`, and the collection's own lists.
    fn list(&mut self, subject: &str, list: &[u8]) -> Result<(), Failure> {
        let bad = |found: &str| malformed(subject, "index.json with one collection and named images", found);
        let list = strict::parse(list, strict::Limits::any_number(limit::LAYOUT_INDEX_BYTES));
        let list = list.map_err(|error| bad(&error.to_string()))?;
        let entries = list
            .get("manifests")
            .and_then(Value::as_array)
            .ok_or_else(|| bad("no list"))?;
        let mut collection = None;
        for entry in entries {
            let found: Descriptor = serde_json::from_value(entry.clone()).map_err(|error| bad(&error.to_string()))?;
            let annotation = |name: &str| entry.get("annotations")?.get(name)?.as_str();
            if entry.get("artifactType").and_then(Value::as_str) == Some(COLLECTION) {
                let targets = annotation(TARGETS).and_then(|text| serde_json::from_str(text).ok());
                self.targets = targets.ok_or_else(|| bad("a collection without the names that it was packed for"))?;
                self.whole = annotation(WHOLE) == Some("true");
                if collection.replace(found).is_some() {
                    return Err(bad("two collections"));
                }
            } else {
                let name = annotation(NAME).and_then(|name| name.parse().ok());
                self.images
                    .push((name.ok_or_else(|| bad("an image without a name"))?, found));
            }
        }
        let collection = collection.ok_or_else(|| bad("no collection"))?;
        let files = TrustFiles::read(subject, &collection, &mut |blob| {
            self.bytes(blob, limit::DOCUMENT_BYTES)
        })?;
        self.files = files;
        Ok(())
    }

    /// Returns the names whose look-ups the metadata are for.
    pub fn targets(&self) -> &BTreeSet<String> {
        &self.targets
    }

    /// Tells whether the metadata are the whole collection.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Returns the images' documents by their names.
    pub fn images(&self) -> &[(Reference, Descriptor)] {
        &self.images
    }

    /// Tells whether a blob is in the archive.
    pub fn has(&self, blob: &Descriptor) -> bool {
        self.blobs.get(&blob.digest).is_some_and(|(_, size)| *size == blob.size)
    }

    /// Reads a blob of at most `max` bytes.
    ///
    /// # Errors
    /// A refusal when the archive does not have it, it is longer, or its bytes are others; [`Failure::Unavailable`] when it
    /// cannot be read.
    pub fn bytes(&self, blob: &Descriptor, max: usize) -> Result<Vec<u8>, Failure> {
        let subject = self.path.display().to_string();
        if blob.size > max as u64 {
            let found = format!("{} of {} bytes", blob.digest, blob.size);
            return Err(malformed(&subject, &format!("at most {max} bytes"), &found));
        }
        let mut bytes = Vec::new();
        let read = self.reader(blob)?.read_to_end(&mut bytes);
        read.map_err(|error| cannot("read", &self.path, &error))?;
        let mut hasher = blob.digest.hasher();
        hasher.update(&bytes);
        let found = hasher.finish();
        match found == blob.digest {
            true => Ok(bytes),
            false => Err(wrong(&subject, &blob.digest, &found)),
        }
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// As [`Opened::bytes`]; what is read is not hashed again.
    pub fn reader(&self, blob: &Descriptor) -> Result<impl Read, Failure> {
        let subject = self.path.display().to_string();
        let found = self.blobs.get(&blob.digest).filter(|(_, size)| *size == blob.size);
        let Some((start, size)) = found else {
            return Err(malformed(&subject, &format!("the blob {} in it", blob.digest), "none"));
        };
        let mut file = File::open(&self.path).map_err(|error| cannot("open", &self.path, &error))?;
        file.seek(SeekFrom::Start(*start))
            .map_err(|error| cannot("read", &self.path, &error))?;
        Ok(file.take(*size))
    }

    /// Returns every blob that an image's document leads to and that is here, each once, the document last; and whether all are.
    ///
    /// # Errors
    /// As [`Opened::bytes`]; a refusal when a document is not in its form.
    pub fn image_blobs(&self, name: &Reference, document: &Descriptor) -> Result<(Vec<Descriptor>, bool), Failure> {
        let mut blobs = Vec::new();
        let mut whole = true;
        let mut documents = vec![document.clone()];
        // What is listed again and again is read once.
        let (mut read, mut seen) = (BTreeSet::new(), BTreeSet::new());
        while let Some(next) = documents.pop() {
            if !read.insert((next.digest, next.media_type.clone())) {
                continue;
            }
            let bytes = self.bytes(&next, limit::DOCUMENT_BYTES)?;
            match Document::parse(&name.to_string(), &bytes, Some(&next.media_type))? {
                Document::Index(index) => {
                    let here = index.manifests().iter().filter(|manifest| self.has(manifest));
                    documents.extend(here.cloned());
                }
                Document::Manifest(manifest) => {
                    for blob in [manifest.config()].into_iter().chain(manifest.layers()) {
                        match self.has(blob) {
                            true if seen.insert(blob.digest) => blobs.push(blob.clone()),
                            true => {}
                            false => whole = false,
                        }
                    }
                }
            }
            blobs.push(next);
        }
        blobs.reverse();
        blobs.sort_by_key(|blob| blob.digest == document.digest);
        Ok((blobs, whole))
    }
}

impl Source for &Opened {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let Some(file) = self.files.get(name) else {
            return Ok(None);
        };
        self.bytes(file, max).map(Some)
    }
}

/// Where blobs lie in an archive: at which byte each begins, and how many it has.
type Blobs = BTreeMap<Digest, (u64, u64)>;

/// Reads all members: hashes the blobs, and keeps `index.json`.
fn members(subject: &str, file: File) -> Result<(Blobs, Vec<u8>), Failure> {
    let bad = |found: String| {
        malformed(
            subject,
            "a tar archive that is an OCI layout, as `trust export` writes",
            &found,
        )
    };
    let position = Cell::new(0);
    let mut input = At {
        file: io::BufReader::new(file),
        position: &position,
    };
    let mut archive = Reader::new(&mut input);
    let mut blobs = BTreeMap::new();
    let (mut list, mut marker) = (None, None);
    let unread = |error: TarError| match error {
        TarError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Failure::unavailable(subject, format!("cannot be read: {error}"))
        }
        error => bad(error.to_string()),
    };
    while let Some(member) = archive.next_member().map_err(unread)? {
        let name = String::from_utf8_lossy(&member.path).into_owned();
        let size = match member.kind {
            Kind::File(size) => size,
            // Other tools write the directories too.
            Kind::Directory if ["blobs", "blobs/sha256", "blobs/sha512"].contains(&name.trim_end_matches('/')) => {
                continue;
            }
            _ => return Err(bad(format!("`{}`, which is no regular file", name.escape_debug()))),
        };
        let twice = || bad(format!("`{}` twice", name.escape_debug()));
        if let Some(digest) = blob_name(&name) {
            let start = position.get();
            let mut hasher = digest.hasher();
            let mut buffer = [0; 1 << 16];
            loop {
                let n = archive.read(&mut buffer).map_err(|error| unread(error.into()))?;
                if n == 0 {
                    break;
                }
                hasher.update(buffer.get(..n).unwrap_or_default());
            }
            let found = hasher.finish();
            if found != digest {
                return Err(wrong(subject, &digest, &found));
            }
            if blobs.insert(digest, (start, size)).is_some() {
                return Err(twice());
            }
            if blobs.len() > limit::PARCEL_BLOBS {
                return Err(bad(format!("more than {} blobs", limit::PARCEL_BLOBS)));
            }
            continue;
        }
        let (kept, most) = match &*name {
            LIST => (&mut list, limit::LAYOUT_INDEX_BYTES),
            "oci-layout" => (&mut marker, 4096),
            _ => return Err(bad(format!("`{}`, which no layout has", name.escape_debug()))),
        };
        if size > most as u64 {
            return Err(bad(format!("`{name}` of {size} bytes; at most {most} are read")));
        }
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).map_err(|error| unread(error.into()))?;
        if kept.replace(bytes).is_some() {
            return Err(twice());
        }
    }
    let version = marker.and_then(|marker| serde_json::from_slice::<Value>(&marker).ok());
    if version.as_ref().and_then(|version| version.get("imageLayoutVersion")) != Some(&json!("1.0.0")) {
        return Err(bad("no oci-layout of version 1.0.0".to_owned()));
    }
    let list = list.ok_or_else(|| bad("no index.json".to_owned()))?;
    Ok((blobs, list))
}

/// A file that is read from its beginning, and where it is read.
struct At<'a> {
    file: io::BufReader<File>,
    position: &'a Cell<u64>,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.position.set(self.position.get() + n as u64);
        Ok(n)
    }
}

/// Returns the digest that a blob's name in a layout says.
pub(super) fn blob_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

fn malformed(subject: &str, expected: &str, found: &str) -> Failure {
    let advice = "have the file written and carried again; if it stays so, somebody changed it on the way";
    Refusal::new(Code::Malformed, subject, expected, found, advice).into()
}

fn wrong(subject: &str, expected: &Digest, found: &Digest) -> Failure {
    let advice = "have the file carried again; if it stays so, somebody changed it on the way";
    Refusal::new(
        Code::DigestMismatch,
        subject,
        format!("a blob {expected}"),
        found,
        advice,
    )
    .into()
}
