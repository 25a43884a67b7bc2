//! The documents about an image that are in its seal for others to read: made again, and compared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Verified;
use super::component::Component;
use super::disk::{SPANS, file_name};
use super::image::{SPEC, attached_name, document_name, tree_name};
use super::seal::malformed;
use crate::assemble::bios::{BOOT_IMAGE, file_of};
use crate::attest::image::{Document, ImageParts, Input, Part};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::oci::{PACKAGES, TOOLS, packages};
use crate::reference::Reference;
use crate::seal::Evidence;
use crate::seal::evidence::TRUST;
use crate::seal::statement::{InputRecord, Layout, Predicate};

/// The first version of seals that has documents.
const WITH_DOCUMENTS: u32 = 2;

/// Name of a document in the evidence.
pub fn attested_name(document: Document) -> String {
    format!("attest/{}", document.name())
}

/// Makes the documents about an image: provenance and bills of materials, by what its statement and its components say.
///
/// # Errors
/// A refusal (MALFORMED) when a component's label of packages is none.
pub fn documents(
    predicate: &Predicate,
    components: &BTreeMap<Reference, Verified<Component>>,
) -> Result<Vec<(Document, Value)>, Failure> {
    let mut parts = Vec::new();
    for component in components.values() {
        let subject = component.reference().to_string();
        let image = component.image();
        let listed = |label| packages(&subject, image.config(), label).map(Option::unwrap_or_default);
        parts.push(Part {
            reference: component.reference(),
            document: *image.digest(),
            manifest: *image.manifest_digest(),
            tree: *component.tree_digest(),
            packages: listed(PACKAGES)?,
            tools: listed(TOOLS)?,
        });
    }
    let image = ImageParts {
        name: &predicate.name,
        arch: &predicate.arch,
        epoch: predicate.epoch,
        evaluated_at: predicate.evaluated_at,
        policy: predicate.policy,
        spec: input(&predicate.spec),
        sources: predicate.sources.iter().map(input).collect(),
        components: parts,
    };
    Ok(Document::ALL.map(|document| (document, document.about(&image))).into())
}

fn input(record: &InputRecord) -> Input<'_> {
    Input {
        name: &record.name,
        digest: record.digest,
    }
}

/// Refuses a seal whose documents are not those that its statement and components make; seals of version 1 have none.
pub(super) fn check_documents(
    subject: &str,
    predicate: &Predicate,
    evidence: &Evidence,
    components: &BTreeMap<Reference, Verified<Component>>,
) -> Result<(), Failure> {
    let are_made = predicate.format_version >= WITH_DOCUMENTS;
    for (document, made) in documents(predicate, components)? {
        let made = are_made.then(|| made.to_string().into_bytes());
        let sealed = evidence.document(&attested_name(document));
        if sealed != made.as_deref() {
            let found = sealed.map_or("no such document", |_| "another one");
            let expected = match are_made {
                true => "the one that its statement and its components' packages make",
                false => "none in a seal of this version",
            };
            let advice = "get the image again; if it is sealed like this, the sealer signed what is not so";
            let subject = format!("{} document in {subject}", document.name());
            return Err(Refusal::new(Code::DigestMismatch, subject, expected, found, advice).into());
        }
    }
    Ok(())
}

/// Refuses evidence with a document that nothing asks for: what has no owner could be anything, and the sealer vouches for all of it.
///
/// Of trust metadata there may be more than this policy's look-ups meet: the builder's pinned other roots, perhaps.
pub(super) fn check_asked_for(
    subject: &str,
    predicate: &Predicate,
    evidence: &Evidence,
    components: &BTreeMap<Reference, Verified<Component>>,
) -> Result<(), Failure> {
    let mut asked: BTreeSet<String> = Document::ALL.map(attested_name).into();
    asked.insert(SPEC.to_owned());
    let on_disk = matches!(predicate.layout, Layout::Bios { .. });
    asked.extend(on_disk.then(|| SPANS.to_owned()));
    for component in components.values() {
        let image = component.image();
        let config = Digest::sha256(image.config_bytes());
        asked.extend([image.digest(), image.manifest_digest(), &config].map(document_name));
        asked.extend([attached_name(image.digest()), tree_name(component.tree_digest())]);
        // The boot loader's, which stands in the disk's first sector in part.
        let boot = file_of(component.tree(), BOOT_IMAGE).filter(|_| on_disk);
        asked.extend(boot.map(|(_, digest)| file_name(&digest)));
    }
    let mut names = evidence.iter().map(|(name, _)| name);
    match names.find(|name| !asked.contains(*name) && !name.starts_with(TRUST)) {
        Some(name) => {
            let start: String = name.chars().take(100).collect();
            let problem = format!("its evidence has a document {start:?} that nothing asks for");
            Err(malformed(subject, problem))
        }
        None => Ok(()),
    }
}
