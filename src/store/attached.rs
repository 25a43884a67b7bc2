//! Everything that is attached to an image, wherever it lies.
//!
//! - cosign's tags (`sha256-HEX.sig`, `.att`, `.sbom`) and referrers are both read; these are listed by who has the image, and under
//!   the fallback tag (`sha256-HEX`).
//! - That there is nothing is said only by who was asked and has nothing; a manifest that could not be had is kept as such.
//! - What is malformed is kept as such too, beside what is not: whoever can push a tag hides nothing, and denies nobody the rest.
//! - Each blob is fetched once, some at a time, and no more than is allowed in all.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::oci::{Annotated, Annotations, Artifact, Descriptor, Kind, MANIFEST, malformed, referrers};
use crate::reference::{Reference, Repository};
use crate::sigstore::attachment::{Attachment, Form, Wanted};
use crate::store::registry::tag_beside;
use crate::store::several::several;

/// The suffixes of cosign's tags beside an image.
pub const SUFFIXES: [&str; 3] = [".sig", ".att", ".sbom"];

/// The suffix of the tag under which referrers are listed where a registry does not list them itself.
const FALLBACK: &str = "";

/// Where an image lies together with what is attached to it.
pub trait Beside: Sync {
    /// Returns the documents under a tag of a repository: none, or several where several are kept apart by more than that. Each is
    /// described, with its bytes or why they cannot be had.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it could not be found out; a refusal when what is there is no document.
    fn tagged(&self, repository: &Repository, tag: &str) -> Result<Vec<Tagged>, Failure>;

    /// Lists what refers to a document, but for what the fallback tag lists.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it could not be found out; a refusal when what lists it is malformed.
    fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Annotated>, Failure>;

    /// Returns a document by its digest.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be had; a refusal when its bytes are others.
    fn document_bytes(&self, repository: &Repository, document: &Descriptor) -> Result<Vec<u8>, Failure>;

    /// Returns a blob.
    ///
    /// # Errors
    /// As [`Beside::document_bytes`].
    fn small_blob(&self, repository: &Repository, blob: &Descriptor) -> Result<Vec<u8>, Failure>;
}

/// A document under a tag, and its bytes.
pub type Tagged = (Descriptor, Result<Vec<u8>, Failure>);

/// What is looked for beside an image.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The image's name.
    pub reference: &'a Reference,
    /// The document that it stands for.
    pub document: &'a Digest,
    /// What kind of piece.
    pub wanted: Wanted<'a>,
    /// Tells whether pieces of one place suffice, so that the next one need not be asked.
    pub enough: &'a dyn Fn(&[Attachment]) -> bool,
}

/// A manifest that is attached to an image.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The suffix of the tag that it lies under, an empty one where it is a list of referrers that cannot be read; none for a referrer.
    pub suffix: Option<&'static str>,
    /// The manifest, as whoever named it describes it; the image that it lies beside where nobody could say what it is.
    pub listed: Annotated,
    /// Its bytes and what they say, or why they could not be had, or what is wrong with them.
    pub manifest: Result<(Vec<u8>, Artifact), Failure>,
}

/// Finds every manifest that is attached to a document.
///
/// # Errors
/// [`Failure::Unavailable`] when it could not be found out what there is.
pub fn attached(source: &dyn Beside, repository: &Repository, digest: &Digest) -> Result<Vec<Attached>, Failure> {
    find(source, repository, digest, &SUFFIXES)
}

/// Finds the manifests in which what is wanted can be: its tag's, and every referrer.
///
/// # Errors
/// As [`attached`].
pub fn attached_for(
    source: &dyn Beside,
    repository: &Repository,
    digest: &Digest,
    wanted: Wanted<'_>,
) -> Result<Vec<Attached>, Failure> {
    find(source, repository, digest, &[suffix(wanted)])
}

/// Returns the suffix of the tag in which what is wanted can be.
fn suffix(wanted: Wanted<'_>) -> &'static str {
    match wanted {
        Wanted::Attestation(_) => ".att",
        Wanted::Signature => ".sig",
    }
}

impl Attached {
    /// Tells whether what is wanted is looked for in it.
    pub fn can_hold(&self, wanted: Wanted<'_>) -> bool {
        self.suffix.is_none_or(|own| own == FALLBACK || own == suffix(wanted))
    }

    /// Keeps why a document under a tag cannot be read, or what is wrong with it.
    fn unread(suffix: &'static str, descriptor: Descriptor, failure: Failure) -> Self {
        Self {
            suffix: Some(suffix),
            listed: Annotated {
                descriptor,
                artifact_type: None,
                annotations: Annotations::new(),
            },
            manifest: Err(failure),
        }
    }

    /// Keeps that what lies beside an image is no document at all; it has no digest, so the image's stands there.
    fn nonsense(suffix: &'static str, image: &Digest, failure: Failure) -> Result<Self, Failure> {
        let descriptor = Descriptor {
            media_type: String::new(),
            digest: *image,
            size: 0,
            platform: None,
        };
        match failure {
            Failure::Refused(_) => Ok(Self::unread(suffix, descriptor, failure)),
            // It is not known what lies there.
            other => Err(other),
        }
    }
}

fn find(
    source: &dyn Beside,
    repository: &Repository,
    digest: &Digest,
    suffixes: &[&'static str],
) -> Result<Vec<Attached>, Failure> {
    let mut all = Vec::new();
    let mut listed = match source.referrers(repository, digest) {
        Ok(listed) => listed,
        Err(failure) => {
            all.push(Attached::nonsense(FALLBACK, digest, failure)?);
            Vec::new()
        }
    };
    for suffix in suffixes.iter().copied().chain([FALLBACK]) {
        let tag = tag_beside(digest, suffix);
        let subject = format!("{repository}:{tag}");
        let tagged = match source.tagged(repository, &tag) {
            Ok(tagged) => tagged,
            Err(failure) => {
                all.push(Attached::nonsense(suffix, digest, failure)?);
                continue;
            }
        };
        for (descriptor, bytes) in tagged {
            let read = bytes.and_then(|bytes| match suffix {
                FALLBACK => {
                    listed.extend(referrers(&subject, &bytes)?);
                    Ok(None)
                }
                _ => Ok(Some((Artifact::parse(&subject, &bytes)?, bytes))),
            });
            match read {
                Ok(None) => {}
                Ok(Some((artifact, bytes))) => all.push(Attached {
                    suffix: Some(suffix),
                    listed: Annotated {
                        descriptor: Descriptor::of(MANIFEST, &bytes),
                        artifact_type: None,
                        annotations: artifact.annotations.clone(),
                    },
                    manifest: Ok((bytes, artifact)),
                }),
                Err(failure) => all.push(Attached::unread(suffix, descriptor, failure)),
            }
        }
    }
    let referrers = each_once(listed);
    let read = referrers.get(..limit::ATTACHED_MANIFESTS).unwrap_or(&referrers);
    let manifests = several(read, |listed| read_referrer(source, repository, digest, listed));
    let left = referrers.len() - read.len();
    let unread = || {
        let problem = format!(
            "it was not read, nor {} more, as more than {} manifests refer to the image; have the others deleted",
            left - 1,
            limit::ATTACHED_MANIFESTS
        );
        Err(Failure::unavailable(format!("{repository}@{digest}"), problem))
    };
    let manifests = manifests.into_iter().chain((left > 0).then(unread));
    all.extend(referrers.iter().zip(manifests).map(|(listed, manifest)| Attached {
        suffix: None,
        listed: listed.clone(),
        manifest,
    }));
    Ok(all)
}

/// Takes each referrer once, with what whoever listed it again annotates it with where the first did not.
///
/// One that is listed with another length is another one: nobody hides a manifest by listing it wrongly.
fn each_once(listed: Vec<Annotated>) -> Vec<Annotated> {
    let mut places = BTreeMap::new();
    let mut all: Vec<Annotated> = Vec::new();
    for referrer in listed {
        let Descriptor { digest, size, .. } = referrer.descriptor;
        let place = *places.entry((digest, size)).or_insert(all.len());
        match all.get_mut(place) {
            Some(first) if first.annotations.is_empty() => first.annotations = referrer.annotations,
            Some(_) => {}
            None => all.push(referrer),
        }
    }
    all
}

fn read_referrer(
    source: &dyn Beside,
    repository: &Repository,
    digest: &Digest,
    listed: &Annotated,
) -> Result<(Vec<u8>, Artifact), Failure> {
    let subject = format!("{repository}@{}", listed.descriptor.digest);
    let bytes = source.document_bytes(repository, &listed.descriptor);
    // Other bytes than are listed are not what somebody signed, or did not: that is not known.
    let bytes = bytes.map_err(|failure| Failure::unavailable(&subject, failure))?;
    let artifact = Artifact::parse(&subject, &bytes)?;
    match &artifact.subject {
        Some(about) if about.digest == *digest => Ok((bytes, artifact)),
        other => {
            let found = other
                .as_ref()
                .map_or("none".to_owned(), |about| about.digest.to_string());
            Err(malformed(
                &subject,
                format!("a manifest whose subject is {digest}"),
                found,
            ))
        }
    }
}

/// Says that something was not looked at.
fn too_much(layer: &Digest) -> Failure {
    let (bytes, layers) = (limit::ATTACHED_TOTAL_BYTES, limit::ATTACHED_LAYERS);
    let problem = format!(
        "it was not read, as more than {bytes} bytes, or {layers} pieces, are attached to the image in all; have the others deleted"
    );
    Failure::unavailable(layer, problem)
}

/// Reads the signatures and attestations among which what is wanted can be.
///
/// # Errors
/// As [`attached`].
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
        let bytes = several(&new, |(_, blob)| self.source.small_blob(self.repository, blob));
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
