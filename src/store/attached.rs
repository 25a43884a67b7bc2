//! Everything that is attached to an image, wherever it lies.
//!
//! - cosign's tags (`sha256-HEX.sig`, `.att`, `.sbom`) and referrers are both read; these are listed by who has the image, and under
//!   the fallback tag (`sha256-HEX`).
//! - That there is nothing is said only by who was asked and has nothing; a manifest that could not be had is kept as such.
//! - What is malformed is kept as such too, beside what is not: whoever can push a tag hides nothing, and denies nobody the rest.
//! - Bytes that are not those that were named are not what somebody signed, or did not: that is not known.
//! - No more is read than is allowed in all; what is left over is not known, and hides nothing.

mod pieces;

pub use pieces::{attachments, pieces};

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::digest::Digest;
use crate::failure::{Code, Failure};
use crate::limit;
use crate::oci::{Annotated, Annotations, Artifact, Descriptor, Kind, MANIFEST, Referrers, malformed};
use crate::reference::{Reference, Repository};
use crate::sigstore::attachment::{Attachment, Wanted};
use crate::sigstore::manifest::CREATED;
use crate::sigstore::payload;
use crate::store::registry::tag_beside;
use crate::store::several::several;

/// The suffixes of cosign's tags beside an image.
pub const SUFFIXES: [&str; 3] = [".sig", ".att", ".sbom"];

/// The suffix of the tag under which referrers are listed where a registry does not list them itself.
const FALLBACK: &str = "";

/// The annotations that are read: of a layer that is a signature, and of a manifest when it was made.
const ANNOTATIONS: [&str; 2] = [payload::SIGNATURE, CREATED];

/// Where an image lies together with what is attached to it.
pub trait Beside: Sync {
    /// Returns the documents under a tag of a repository: none, or several where several are kept apart by more than that. Each is
    /// described, with its bytes or why they cannot be had.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it could not be found out; a refusal when what is there is no document.
    fn tagged(&self, repository: &Repository, tag: &str) -> Result<Vec<Tagged>, Failure>;

    /// Lists what refers to a document, but for what the fallback tag lists; where the list breaks off, with what was read of it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when nobody answers.
    fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Referrers, Failure>;

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
    /// Its bytes and what they say (of annotations those that are read here), or why they could not be had, or what is wrong with them.
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

    /// Keeps what is wrong beside an image where there is no document; that has no digest, so the image's stands there.
    fn nothing(suffix: &'static str, image: &Digest, failure: Failure) -> Self {
        let descriptor = Descriptor {
            media_type: String::new(),
            digest: *image,
            size: 0,
            platform: None,
        };
        Self::unread(suffix, descriptor, failure)
    }

    /// Keeps that what lies under a tag is no document at all.
    fn nonsense(suffix: &'static str, image: &Digest, subject: &str, failure: Failure) -> Result<Self, Failure> {
        let failure = match (failure, suffix) {
            // What cannot be read of a list may name what counts.
            (failure @ Failure::Refused(_), FALLBACK) => Failure::unavailable(subject, failure),
            (failure @ Failure::Refused(_), _) => unless_damaged(subject, failure),
            // It is not known what lies there.
            (other, _) => return Err(other),
        };
        Ok(Self::nothing(suffix, image, failure))
    }
}

/// Takes a refusal of other bytes than were named for not knowing.
fn unless_damaged(subject: impl Display, failure: Failure) -> Failure {
    match &failure {
        Failure::Refused(refusals) if refusals.iter().any(|refusal| refusal.code == Code::DigestMismatch) => {
            Failure::unavailable(subject, failure)
        }
        _ => failure,
    }
}

fn find(
    source: &dyn Beside,
    repository: &Repository,
    digest: &Digest,
    suffixes: &[&'static str],
) -> Result<Vec<Attached>, Failure> {
    let mut all = Vec::new();
    let mut listed = source.referrers(repository, digest)?;
    for suffix in suffixes.iter().copied().chain([FALLBACK]) {
        let tag = tag_beside(digest, suffix);
        let subject = format!("{repository}:{tag}");
        let tagged = match source.tagged(repository, &tag) {
            Ok(tagged) => tagged,
            Err(failure) => {
                all.push(Attached::nonsense(suffix, digest, &subject, failure)?);
                continue;
            }
        };
        for (descriptor, bytes) in tagged {
            let bytes = bytes.map_err(|failure| unless_damaged(&subject, failure));
            let read = bytes.and_then(|bytes| match suffix {
                FALLBACK => {
                    listed.add(&subject, Referrers::parse(&subject, &bytes)?);
                    Ok(None)
                }
                _ => Ok(Some((parse(&subject, &bytes)?, bytes))),
            });
            match read {
                Ok(None) => {}
                Ok(Some((artifact, bytes))) => all.push(Attached {
                    suffix: Some(suffix),
                    listed: Annotated {
                        descriptor: Descriptor::of(MANIFEST, &bytes),
                        artifact_type: None,
                        annotations: Annotations::new(),
                    },
                    manifest: Ok((bytes, artifact)),
                }),
                Err(failure) => all.push(Attached::unread(suffix, descriptor, failure)),
            }
        }
    }
    let problems = listed.problems.into_iter();
    all.extend(problems.map(|problem| Attached::nothing(FALLBACK, digest, problem)));
    let (sized, too_large) = each_once(listed.listed)
        .into_iter()
        .partition(|referrer| referrer.descriptor.size <= limit::REFERRER_BYTES as u64);
    let (read, left) = within_bounds(sized);
    let manifests = several(&read, |listed| read_referrer(source, repository, digest, listed));
    let referrer = |(listed, manifest)| Attached {
        suffix: None,
        listed,
        manifest,
    };
    all.extend(read.into_iter().zip(manifests).map(referrer));
    let subject = |first: &Annotated| format!("{repository}@{}", first.descriptor.digest);
    if let Some((first, more)) = first_of(too_large) {
        let expected = format!("a manifest of at most {} bytes", limit::REFERRER_BYTES);
        let found = format!("{} bytes, and {more} more that are too large", first.descriptor.size);
        let failure = malformed(&subject(&first), expected, found);
        all.push(referrer((first, Err(failure))));
    }
    if let Some((first, more)) = first_of(left) {
        let problem = format!(
            "it was not read, nor {more} more, as of what refers to the image {} manifests are read, of {} bytes in all; have the others \
             deleted",
            limit::ATTACHED_MANIFESTS,
            limit::ATTACHED_MANIFEST_BYTES
        );
        let failure = Failure::unavailable(subject(&first), problem);
        all.push(referrer((first, Err(failure))));
    }
    Ok(all)
}

/// Takes the first for all that are not read, one that is listed as a manifest where there is one, and says how many more there are.
fn first_of(mut referrers: Vec<Annotated>) -> Option<(Annotated, usize)> {
    let more = referrers.len().checked_sub(1)?;
    let is_manifest = |listed: &Annotated| listed.descriptor.kind() == Some(Kind::Manifest);
    let at = referrers.iter().position(is_manifest).unwrap_or(0);
    Some((referrers.swap_remove(at), more))
}

/// Parts what is read of referrers from what is too much: one that does not fit leaves room for a smaller one behind it.
fn within_bounds(referrers: Vec<Annotated>) -> (Vec<Annotated>, Vec<Annotated>) {
    let (mut count, mut left) = (0, limit::ATTACHED_MANIFEST_BYTES);
    referrers.into_iter().partition(|referrer| {
        let size = referrer.descriptor.size;
        let fits = count < limit::ATTACHED_MANIFESTS && size <= left;
        if fits {
            count += 1;
            left -= size;
        }
        fits
    })
}

/// Reads a manifest, and keeps what is used of it.
fn parse(subject: &str, bytes: &[u8]) -> Result<Artifact, Failure> {
    let mut artifact = Artifact::parse(subject, bytes)?;
    artifact.keep_annotations(&ANNOTATIONS);
    Ok(artifact)
}

/// Takes each referrer once.
///
/// One that is listed with another length is another one: nobody hides a manifest by listing it wrongly.
fn each_once(mut listed: Vec<Annotated>) -> Vec<Annotated> {
    let mut seen = BTreeSet::new();
    listed.retain(|Annotated { descriptor, .. }| seen.insert((descriptor.digest, descriptor.size)));
    listed
}

fn read_referrer(
    source: &dyn Beside,
    repository: &Repository,
    digest: &Digest,
    listed: &Annotated,
) -> Result<(Vec<u8>, Artifact), Failure> {
    let subject = format!("{repository}@{}", listed.descriptor.digest);
    let bytes = source.document_bytes(repository, &listed.descriptor);
    let bytes = bytes.map_err(|failure| Failure::unavailable(&subject, failure))?;
    let artifact = parse(&subject, &bytes)?;
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

#[cfg(test)]
mod tests;
