//! The documents about an image that are in its seal for others to read: made again, and compared.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Verified;
use super::component::Component;
use crate::attest::image::{Document, ImageParts, Input, Part};
use crate::failure::{Code, Failure, Refusal};
use crate::oci::{PACKAGES, TOOLS, packages};
use crate::reference::Reference;
use crate::seal::Evidence;
use crate::seal::statement::{InputRecord, Predicate};

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
