//! What a statement says of an image beside its bytes, compared with what was judged and made again.
//!
//! Only what was made again is believed; but a statement that contradicts it is not one that anybody should sign or read.

use std::collections::BTreeMap;

use super::Verified;
use super::component::Component;
use super::image::Judged;
use super::seal::malformed;
use crate::config::spec::Spec;
use crate::failure::{Code, Failure, Refusal};
use crate::reference::Reference;
use crate::seal::statement::{ComponentRecord, Predicate, SegmentRecord};

impl Judged {
    /// Compares the statement's segments with those that the specification makes.
    pub(super) fn check_segments(&self, subject: &str) -> Result<(), Failure> {
        let planned = self.image.plan.segments.iter();
        let owners: Vec<String> = planned.map(|segment| segment.owner(&self.spec)).collect();
        same_segments(subject, &self.predicate().segments, &owners)
    }
}

/// Refuses a statement whose records are not those of the components and inputs that were judged.
pub(super) fn check_records(
    subject: &str,
    predicate: &Predicate,
    spec: &Spec,
    components: &BTreeMap<Reference, Verified<Component>>,
) -> Result<(), Failure> {
    let named: Vec<&str> = spec.sources().iter().map(|(name, ..)| *name).collect();
    let mut seen = Vec::new();
    for source in &predicate.sources {
        if !named.contains(&source.name.as_str()) || seen.contains(&source.name.as_str()) {
            let problem = format!(
                "it records the input `{}`, which its specification does not name, or twice",
                source.name
            );
            return Err(malformed(subject, problem));
        }
        seen.push(&source.name);
    }
    let mut records: BTreeMap<&Reference, &ComponentRecord> = BTreeMap::new();
    for record in &predicate.components {
        let again = records.insert(&record.reference, record).is_some();
        if again || !components.contains_key(&record.reference) {
            let expected = "one record for each component of its specification".to_owned();
            return Err(contradiction(subject, &record.reference, expected, Some(record)));
        }
    }
    for component in components.values() {
        let (manifest, tree) = (component.image().manifest_digest(), component.tree_digest());
        let record = records.get(component.reference()).copied();
        let same = |record: &ComponentRecord| {
            record.document == *component.image().digest() && record.manifest == *manifest && record.tree == *tree
        };
        if !record.is_some_and(same) {
            let expected = format!("its manifest {manifest} and tree {tree}");
            return Err(contradiction(subject, component.reference(), expected, record));
        }
    }
    match predicate.components.is_sorted_by_key(|record| &record.reference) {
        true => Ok(()),
        false => Err(malformed(
            subject,
            "its components are not in order of their references",
        )),
    }
}

fn contradiction(subject: &str, reference: &Reference, expected: String, found: Option<&ComponentRecord>) -> Failure {
    let found = match found {
        Some(record) => format!(
            "{} with manifest {} and tree {}",
            record.reference, record.manifest, record.tree
        ),
        None => "no record".to_owned(),
    };
    let advice = "get the image again; if it is sealed like this, the sealer signed what is not so";
    let subject = format!("record of {reference} in {subject}");
    Refusal::new(Code::DigestMismatch, subject, expected, found, advice).into()
}

/// Refuses segments other than `made`: as many, in this order, none of them empty.
///
/// An empty one would have no extent, and the next one's bytes would be compared in its stead.
fn same_segments(subject: &str, said: &[SegmentRecord], made: &[String]) -> Result<(), Failure> {
    let owners: Vec<&str> = said.iter().map(|record| record.owner.as_str()).collect();
    if owners == made && said.iter().all(|record| record.length > 0) {
        return Ok(());
    }
    let problem = format!(
        "its segments are `{}`, expected those that its specification makes, none of them empty: `{}`",
        owners.join("`, `"),
        made.join("`, `")
    );
    Err(malformed(subject, problem))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn refuses_segments_that_are_empty_or_not_the_specifications() {
        let said = |list: &[(&str, u64)]| {
            let record = |&(owner, length): &(&str, u64)| SegmentRecord {
                owner: owner.to_owned(),
                length,
            };
            let said: Vec<_> = list.iter().map(record).collect();
            same_segments("seal", &said, &["kernel".to_owned(), "init".to_owned()])
        };
        assert!(said(&[("kernel", 4), ("init", 4)]).is_ok());
        assert!(said(&[("kernel", 4), ("init", 0)]).is_err());
        assert!(said(&[("init", 4), ("kernel", 4)]).is_err());
        assert!(said(&[("kernel", 4)]).is_err());
    }
}
