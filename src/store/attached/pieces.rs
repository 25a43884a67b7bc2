//! What lies in the manifests that are attached to an image: each blob is fetched once, some at a time, and no more than is allowed
//! in all.

use std::collections::{BTreeMap, BTreeSet};

use super::{Attached, Beside, attached_for, unless_damaged};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::oci::{Descriptor, Kind, malformed};
use crate::reference::Repository;
use crate::sigstore::attachment::{Attachment, Form, Wanted};
use crate::store::several::several;

/// Reads the signatures and attestations among which what is wanted can be.
///
/// # Errors
/// As [`super::attached`].
pub fn pieces(
    source: &dyn Beside,
    repository: &Repository,
    digest: &Digest,
    wanted: Wanted<'_>,
) -> Result<Vec<Attachment>, Failure> {
    let found = attached_for(source, repository, digest, wanted)?;
    Ok(attachments(source, repository, &found))
}

/// Reads the signatures and attestations in manifests; what is in another form is named and not read.
pub fn attachments(source: &dyn Beside, repository: &Repository, attached: &[Attached]) -> Vec<Attachment> {
    let mut all: Vec<Attachment> = Vec::new();
    // Of what is to be fetched it is known only then whether it is there.
    let mut fetched = Fetched {
        source,
        repository,
        left: limit::ATTACHED_TOTAL_BYTES,
        known: BTreeMap::new(),
        batch: Vec::new(),
        reserved: 0,
    };
    for manifest in attached {
        let digest = manifest.listed.descriptor.digest;
        let artifact = match &manifest.manifest {
            Ok((_, artifact)) => artifact,
            Err(failure) => {
                all.push(unread(manifest, failure));
                continue;
            }
        };
        for layer in &artifact.layers {
            let form = Form::of(&layer.descriptor.media_type);
            let size = layer.descriptor.size;
            let at = all.len();
            all.push(Attachment {
                form,
                manifest: digest,
                layer: layer.clone(),
                bytes: Ok(Vec::new()),
            });
            let bad = match form {
                Form::Other => continue,
                _ if size > limit::ATTACHED_BYTES as u64 => {
                    let expected = format!("at most {} bytes", limit::ATTACHED_BYTES);
                    malformed(&layer.descriptor.digest.to_string(), expected, size)
                }
                _ if at < limit::ATTACHED_LAYERS && fetched.takes(at, size, &mut all) => continue,
                _ => too_much(&layer.descriptor.digest),
            };
            if let Some(piece) = all.get_mut(at) {
                piece.bytes = Err(bad);
            }
        }
    }
    fetched.fetch(&mut all);
    all
}

/// Says that something was not looked at.
fn too_much(layer: &Digest) -> Failure {
    let (bytes, layers) = (limit::ATTACHED_TOTAL_BYTES, limit::ATTACHED_LAYERS);
    let problem = format!(
        "it was not read, as more than {bytes} bytes, or {layers} pieces, are attached to the image in all; have the others deleted"
    );
    Failure::unavailable(layer, problem)
}

/// Says of a manifest that could not be read, or is malformed, that it is beside the image.
fn unread(manifest: &Attached, failure: &Failure) -> Attachment {
    // A bundle can be whatever is asked for; what else a list says of a manifest that nobody saw excludes nothing.
    let kind = manifest.listed.artifact_type.as_deref().unwrap_or_default();
    let form = Some(Form::of(kind)).filter(|form| *form == Form::Bundle);
    // What is listed as no manifest (an index, an artifact of other tools) holds no signature: it is of another form, and not wrong.
    let is_other = manifest.suffix.is_none() && manifest.listed.descriptor.kind() != Some(Kind::Manifest);
    Attachment {
        form: form.unwrap_or(Form::Other),
        manifest: manifest.listed.descriptor.digest,
        layer: manifest.listed.clone(),
        bytes: match failure {
            Failure::Refused(_) if is_other => Ok(Vec::new()),
            failure => Err(failure.clone()),
        },
    }
}

/// What is fetched of the layers beside an image: each blob once, and no more than [`limit::ATTACHED_TOTAL_BYTES`] for all layers.
struct Fetched<'a> {
    source: &'a dyn Beside,
    repository: &'a Repository,
    /// How many bytes more may be held.
    left: u64,
    /// For each blob and length, the first piece that has its bytes.
    known: BTreeMap<(Digest, u64), usize>,
    /// The pieces that wait to be fetched.
    batch: Vec<usize>,
    /// How many bytes they will be, if all of them are there.
    reserved: u64,
}

impl Fetched<'_> {
    /// Has a piece of this size fetched with others; tells whether it may be.
    fn takes(&mut self, piece: usize, size: u64, all: &mut [Attachment]) -> bool {
        if size > self.left.saturating_sub(self.reserved) {
            // What was claimed to be there may be less.
            self.fetch(all);
        }
        let takes = size <= self.left;
        if takes {
            self.reserved += size;
            self.batch.push(piece);
        }
        takes
    }

    /// Fetches what waits, some at a time.
    fn fetch(&mut self, all: &mut [Attachment]) {
        let batch = std::mem::take(&mut self.batch);
        self.reserved = 0;
        let described = |at: &usize| Some((*at, all.get(*at)?.layer.descriptor.clone()));
        let mut seen: BTreeSet<(Digest, u64)> = self.known.keys().copied().collect();
        let wanted: Vec<(usize, Descriptor)> = batch.iter().filter_map(described).collect();
        let new = wanted.iter().filter(|(_, blob)| seen.insert((blob.digest, blob.size)));
        let new: Vec<(usize, Descriptor)> = new.cloned().collect();
        let fetch = |blob: &Descriptor| {
            let bytes = self.source.small_blob(self.repository, blob);
            bytes.map_err(|failure| unless_damaged(blob.digest, failure))
        };
        let bytes = several(&new, |(_, blob)| fetch(blob));
        for ((at, blob), bytes) in new.into_iter().zip(bytes) {
            self.known.insert((blob.digest, blob.size), at);
            if let Some(piece) = all.get_mut(at) {
                piece.bytes = bytes;
            }
        }
        for (at, blob) in wanted {
            let first = self.known.get(&(blob.digest, blob.size)).filter(|first| **first != at);
            let known = first.and_then(|first| all.get(*first)).map(|piece| piece.bytes.clone());
            let Some(piece) = all.get_mut(at) else { continue };
            if let Some(known) = known {
                piece.bytes = known;
            }
            let length = piece.bytes.as_ref().map_or(0, Vec::len);
            self.left = self.left.saturating_sub(length as u64);
        }
    }
}
