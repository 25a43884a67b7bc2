//! In-toto statements (in-toto attestation framework, spec/v1/statement.md).
//!
//! - A statement without a subject is about nothing, and refused; so is one with more than [`limit::STATEMENT_SUBJECTS`].
//! - A subject is an artifact by its digest; its name is only shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::json::{self, JsonError, Limits};
use crate::limit;

const V1: &str = "https://in-toto.io/Statement/v1";

/// The older version, which cosign 2 still writes: its members have the same names.
const V0_1: &str = "https://in-toto.io/Statement/v0.1";

/// What somebody states of artifacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    subjects: Vec<Subject>,
    predicate_type: String,
    predicate: Option<Value>,
}

/// One artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is called, if it is called anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its digests in hexadecimal, by algorithm.
    pub digest: BTreeMap<String, String>,
}

impl Subject {
    /// Makes the subject that has a digest.
    pub fn of(name: Option<String>, digest: &Digest) -> Self {
        Self {
            name,
            digest: BTreeMap::from([(digest.algorithm().to_owned(), digest.hex())]),
        }
    }

    /// Tells whether it is the artifact with this digest.
    fn is(&self, digest: &Digest) -> bool {
        self.digest.get(digest.algorithm()) == Some(&digest.hex())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Option<Value>,
}

impl Statement {
    /// Makes a statement about one artifact.
    pub fn new(subject: Subject, predicate_type: impl Into<String>, predicate: Option<Value>) -> Self {
        Self {
            subjects: vec![subject],
            predicate_type: predicate_type.into(),
            predicate,
        }
    }

    /// Makes a statement about several artifacts, one at least.
    pub fn about(subjects: Vec<Subject>, predicate_type: impl Into<String>, predicate: Value) -> Self {
        Self {
            subjects,
            predicate_type: predicate_type.into(),
            predicate: Some(predicate),
        }
    }

    /// Reads a statement.
    ///
    /// # Errors
    /// [`StatementError`] when it is too long, not JSON, has a member twice, is of another type, or has no subject or too many.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let raw: Raw = json::decode(bytes, Limits::any_number(limit::ENVELOPE_BYTES))?;
        if raw.kind != V1 && raw.kind != V0_1 {
            return Err(StatementError::Type(raw.kind.chars().take(100).collect()));
        }
        let count = raw.subject.len();
        if !(1..=limit::STATEMENT_SUBJECTS).contains(&count) {
            return Err(StatementError::Subjects(count));
        }
        if raw.subject.iter().any(|subject| subject.digest.is_empty()) {
            return Err(StatementError::NoDigest);
        }
        Ok(Self {
            subjects: raw.subject,
            predicate_type: raw.predicate_type,
            predicate: raw.predicate,
        })
    }

    /// Iterates over the names that it gives the artifact with this digest.
    pub fn names_of(&self, digest: &Digest) -> impl Iterator<Item = &str> {
        let subjects = self.subjects.iter().filter(move |subject| subject.is(digest));
        subjects.filter_map(|subject| subject.name.as_deref())
    }

    /// Writes the statement; the same statement has the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut statement = json!({ "_type": V1, "subject": self.subjects, "predicateType": self.predicate_type });
        if let (Some(members), Some(predicate)) = (statement.as_object_mut(), &self.predicate) {
            members.insert("predicate".to_owned(), predicate.clone());
        }
        statement.to_string().into_bytes()
    }

    /// Tells whether the artifact with this digest is among the subjects.
    pub fn is_about(&self, digest: &Digest) -> bool {
        self.subjects.iter().any(|subject| subject.is(digest))
    }

    /// Returns the subjects: one at least.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// Returns the predicate's type, a URI.
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// Returns the predicate, if there is one.
    pub fn predicate(&self) -> Option<&Value> {
        self.predicate.as_ref()
    }
}

/// Bytes that are no in-toto statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// They are not the JSON that they should be.
    #[error("no in-toto statement: {0}")]
    Json(#[from] JsonError),
    /// A subject has no digest.
    #[error("a subject of the statement has no digest, expected one for each")]
    NoDigest,
    /// There is no subject, or more than can be meant.
    #[error("the statement has {0} subjects, expected 1 to {max}", max = limit::STATEMENT_SUBJECTS)]
    Subjects(usize),
    /// They are something else.
    #[error("the statement's _type is `{}`, expected `{V1}`", .0.escape_debug())]
    Type(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn subject() -> Subject {
        Subject::of(Some("r.example/a".to_owned()), &Digest::sha256(b"image"))
    }

    #[test]
    fn reads_what_it_writes() {
        let statement = Statement::new(subject(), "https://example.com/p", Some(json!({ "a": [1.5, "x"] })));
        let bytes = statement.encode();
        assert_eq!(Statement::parse(&bytes).unwrap(), statement);
        assert!(statement.is_about(&Digest::sha256(b"image")));
        assert!(!statement.is_about(&Digest::sha256(b"other")));
        assert!(!statement.is_about(&Digest::sha512(b"image")));
    }

    #[test]
    fn a_name_is_that_of_its_own_subject() {
        let other = Subject::of(Some("r.example/b".to_owned()), &Digest::sha256(b"other"));
        let statement = Statement::about(vec![subject(), other], "https://example.com/p", json!({}));
        let names = |content: &[u8]| statement.names_of(&Digest::sha256(content)).collect::<Vec<_>>();
        assert_eq!(names(b"image"), ["r.example/a"]);
        assert_eq!(names(b"other"), ["r.example/b"]);
        assert!(names(b"third").is_empty());
    }

    #[test]
    fn cosigns_own_statement_has_no_predicate() {
        let text = r#"{"_type":"https://in-toto.io/Statement/v1", "subject":[{"digest":{"sha256":"00"}}], "predicateType":"https://sigstore.dev/cosign/sign/v1"}"#;
        let statement = Statement::parse(text.as_bytes()).unwrap();
        assert_eq!(statement.predicate(), None);
        assert_eq!(statement.subjects().len(), 1);
    }

    #[test]
    fn refuses_statements_about_nothing_and_about_everything() {
        let with = |subjects: Vec<Subject>| Statement {
            subjects,
            ..Statement::new(subject(), "t", None)
        };
        assert_eq!(
            Statement::parse(&with(Vec::new()).encode()),
            Err(StatementError::Subjects(0))
        );
        let most = with(vec![subject(); limit::STATEMENT_SUBJECTS]);
        assert!(Statement::parse(&most.encode()).is_ok());
        let many = with(vec![subject(); 100_000]);
        assert_eq!(Statement::parse(&many.encode()), Err(StatementError::Subjects(100_000)));
        let no_digest = Subject {
            name: None,
            digest: BTreeMap::new(),
        };
        assert_eq!(
            Statement::parse(&with(vec![subject(), no_digest]).encode()),
            Err(StatementError::NoDigest)
        );
    }

    #[test]
    fn refuses_other_types_and_members_that_occur_twice() {
        let good = String::from_utf8(Statement::new(subject(), "t", None).encode()).unwrap();
        for (from, to) in [
            ("Statement/v1", "Statement/v2"),
            ("\"subject\":", "\"subject\":[],\"subject\":"),
            ("\"predicateType\":\"t\"", "\"predicateType\":1"),
            ("\"sha256\":", "\"sha256\":\"00\",\"sha256\":"),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good);
            assert!(Statement::parse(changed.as_bytes()).is_err(), "{changed}");
        }
    }
}
