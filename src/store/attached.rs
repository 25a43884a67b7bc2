//! Everything that is attached to an image, wherever it lies.
//!
//! - cosign's tags (`sha256-HEX.sig`, `.att`, `.sbom`) and referrers are both read.
//! - That there is nothing is said only by who was asked and has nothing; a manifest that could not be had is kept as such.

use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::oci::{Annotated, Artifact, Descriptor, MANIFEST, malformed};
use crate::reference::{Reference, Repository};
use crate::sigstore::attachment::{Attachment, Form, Wanted};
use crate::store::registry::tag_beside;

/// The suffixes of cosign's tags beside an image.
pub const SUFFIXES: [&str; 3] = [".sig", ".att", ".sbom"];

/// Where an image lies together with what is attached to it.
pub trait Beside {
    /// Returns the documents under a tag of a repository: none, or several where several are kept apart by more than that.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it could not be found out.
    fn tagged(&self, repository: &Repository, tag: &str) -> Result<Vec<Vec<u8>>, Failure>;

    /// Lists what refers to a document, each once.
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
    /// The suffix of the tag that it lies under; none for a referrer.
    pub suffix: Option<&'static str>,
    /// The manifest, as whoever named it describes it.
    pub listed: Annotated,
    /// Its bytes and what they say, or why they could not be had.
    pub manifest: Result<(Vec<u8>, Artifact), Failure>,
}

/// Finds every manifest that is attached to a document.
///
/// # Errors
/// [`Failure::Unavailable`] when it could not be found out what there is; a refusal when a list or a tag's document is malformed.
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
        self.suffix.is_none_or(|own| own == suffix(wanted))
    }
}

fn find(
    source: &dyn Beside,
    repository: &Repository,
    digest: &Digest,
    suffixes: &[&'static str],
) -> Result<Vec<Attached>, Failure> {
    let mut all = Vec::new();
    for suffix in suffixes.iter().copied() {
        let tag = tag_beside(digest, suffix);
        for bytes in source.tagged(repository, &tag)? {
            let artifact = Artifact::parse(&format!("{repository}:{tag}"), &bytes)?;
            all.push(Attached {
                suffix: Some(suffix),
                listed: Annotated {
                    descriptor: Descriptor::of(MANIFEST, &bytes),
                    artifact_type: None,
                    annotations: artifact.annotations.clone(),
                },
                manifest: Ok((bytes, artifact)),
            });
        }
    }
    let referrers = source.referrers(repository, digest)?;
    if referrers.len() > limit::ATTACHED_MANIFESTS {
        let expected = format!("at most {} referrers", limit::ATTACHED_MANIFESTS);
        return Err(malformed(&format!("{repository}@{digest}"), expected, referrers.len()));
    }
    for listed in referrers {
        let manifest = read_referrer(source, repository, digest, &listed);
        all.push(Attached {
            suffix: None,
            listed,
            manifest,
        });
    }
    Ok(all)
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
    let mut left = limit::ATTACHED_TOTAL_BYTES;
    let mut all: Vec<Attachment> = Vec::new();
    for manifest in attached {
        let digest = manifest.listed.descriptor.digest;
        let artifact = match &manifest.manifest {
            Ok((_, artifact)) => artifact,
            Err(failure) => {
                // A bundle can be whatever is asked for; what else a list says of a manifest that nobody saw excludes nothing.
                let kind = manifest.listed.artifact_type.as_deref().unwrap_or_default();
                let form = Some(Form::of(kind)).filter(|form| *form == Form::Bundle);
                all.push(Attachment {
                    form: form.unwrap_or(Form::Other),
                    manifest: digest,
                    layer: manifest.listed.clone(),
                    bytes: Err(failure.clone()),
                });
                continue;
            }
        };
        for layer in &artifact.layers {
            let form = Form::of(&layer.descriptor.media_type);
            let size = layer.descriptor.size;
            let bytes = match form {
                Form::Other => Ok(Vec::new()),
                _ if size > limit::ATTACHED_BYTES as u64 => {
                    let expected = format!("at most {} bytes", limit::ATTACHED_BYTES);
                    Err(malformed(&layer.descriptor.digest.to_string(), expected, size))
                }
                _ if size > left || all.len() >= limit::ATTACHED_LAYERS => Err(too_much(&layer.descriptor.digest)),
                _ => source.small_blob(repository, &layer.descriptor),
            };
            left = left.saturating_sub(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64));
            all.push(Attachment {
                form,
                manifest: digest,
                layer: layer.clone(),
                bytes,
            });
        }
    }
    all
}
