//! An image's flattened tree, every layer checked twice on the way: its blob's digest and its archive's diff id.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Source;
use super::layout::WrongBytes;
use crate::digest::Hasher;
use crate::failure::Failure;
use crate::format::layers::{LayerError, LayerProblem, flatten};
use crate::format::tar::TarError;
use crate::oci::{Descriptor, Image, Layer, digest_mismatch, malformed};
use crate::tree::Tree;
use crate::tree::contents::Sink;

/// Reads an image's layers to one tree; file contents go to `sink`. `subject` names the image in messages.
///
/// # Errors
/// [`Failure::Unavailable`] when a blob cannot be read or a content not be kept; a refusal (DIGEST_MISMATCH) when a layer is not
/// what manifest and config name; a refusal (MALFORMED) when it is, and is no archive that can be unpacked.
pub fn image_tree(source: &dyn Source, subject: &str, image: &Image, sink: &mut dyn Sink) -> Result<Tree, Failure> {
    let mut readers: Vec<LayerReader> = image
        .layers()
        .iter()
        .map(|layer| LayerReader::new(source, layer))
        .collect();
    let tree = flatten(readers.iter_mut(), sink);
    let tree = match tree {
        Ok(tree) => tree,
        Err(error) => return Err(explain(subject, &error, &mut readers)),
    };
    for reader in readers {
        reader.finish(subject)?;
    }
    Ok(tree)
}

/// Unpacks one layer; opened when it is first read, so that few files are open at once.
struct LayerReader<'a> {
    source: &'a dyn Source,
    layer: &'a Layer,
    unpacked: Option<Box<dyn Read + Send + 'a>>,
    /// Set when the blob was read to its end, where its digest is compared.
    blob_ended: Arc<AtomicBool>,
    hasher: Hasher,
    unopened: Option<Failure>,
}

impl<'a> LayerReader<'a> {
    fn new(source: &'a dyn Source, layer: &'a Layer) -> Self {
        Self {
            source,
            layer,
            unpacked: None,
            blob_ended: Arc::new(AtomicBool::new(false)),
            hasher: layer.diff_id.hasher(),
            unopened: None,
        }
    }

    fn open(&mut self) -> io::Result<Box<dyn Read + Send + 'a>> {
        match self.source.blob(&self.layer.descriptor) {
            Ok(blob) => self.layer.compression.reader(Watched {
                blob,
                ended: Arc::clone(&self.blob_ended),
            }),
            Err(failure) => {
                let error = io::Error::other(failure.to_string());
                self.unopened = Some(failure);
                Err(error)
            }
        }
    }

    /// Reads what an archive's reader leaves at the end, and compares both digests.
    fn finish(mut self, subject: &str) -> Result<(), Failure> {
        let digest = self.layer.descriptor.digest;
        if let Err(error) = io::copy(&mut self, &mut io::sink()) {
            if let Some(failure) = self.unopened.take() {
                return Err(failure);
            }
            judge_blob(self.source, subject, &self.layer.descriptor)?;
            return Err(of_io(subject, &format!("layer {digest}: {error}"), &error));
        }
        if !self.blob_ended.load(Ordering::Relaxed) {
            judge_blob(self.source, subject, &self.layer.descriptor)?;
            return Err(no_archive(
                subject,
                &format!("layer {digest} goes on after its archive's end"),
            ));
        }
        let found = self.hasher.finish();
        if found != self.layer.diff_id {
            let expected = format!("layer {digest} to unpack to {}, as the config says", self.layer.diff_id);
            return Err(digest_mismatch(subject, expected, found));
        }
        Ok(())
    }
}

impl Read for LayerReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut unpacked = match self.unpacked.take() {
            Some(unpacked) => unpacked,
            None => self.open()?,
        };
        let n = unpacked.read(buffer)?;
        self.unpacked = Some(unpacked);
        self.hasher.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

struct Watched<R> {
    blob: R,
    ended: Arc<AtomicBool>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.blob.read(buffer)?;
        if n == 0 && !buffer.is_empty() {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok(n)
    }
}

/// Says why a layer could not be read: bytes that are not those named explain everything that follows from them.
fn explain(subject: &str, error: &LayerError, readers: &mut [LayerReader]) -> Failure {
    let Some(reader) = readers.get_mut(error.layer) else {
        return no_archive(subject, &error.to_string());
    };
    if let Some(failure) = reader.unopened.take() {
        return failure;
    }
    if let Err(failure) = judge_blob(reader.source, subject, &reader.layer.descriptor) {
        return failure;
    }
    match &error.problem {
        LayerProblem::Content(cause) | LayerProblem::Archive(TarError::Io(cause)) => {
            of_io(subject, &error.to_string(), cause)
        }
        _ => no_archive(subject, &error.to_string()),
    }
}

/// Reads a whole blob to see whether its bytes are those that were named.
fn judge_blob(source: &dyn Source, subject: &str, descriptor: &Descriptor) -> Result<(), Failure> {
    let Err(error) = io::copy(&mut source.blob(descriptor)?, &mut io::sink()) else {
        return Ok(());
    };
    let wrong = error.get_ref().and_then(|inner| inner.downcast_ref::<WrongBytes>());
    Err(match wrong {
        Some(wrong) => wrong.refuse(subject),
        None => Failure::unavailable(subject, format!("cannot read blob {}: {error}", descriptor.digest)),
    })
}

/// Tells a broken archive from a broken disk.
fn of_io(subject: &str, text: &str, cause: &io::Error) -> Failure {
    match cause.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            no_archive(subject, text)
        }
        _ => Failure::unavailable(subject, text),
    }
}

fn no_archive(subject: &str, found: &str) -> Failure {
    malformed(
        subject,
        "layers that are whole tar archives with entries inside the image",
        found,
    )
}
