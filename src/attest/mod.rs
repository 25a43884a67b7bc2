//! Attestations: in-toto statements about artifacts, and the predicates that are known by their type.
//!
//! - [`Statement`] reads and writes the statement; it says nothing about who signed it.
//! - [`predicate`] knows predicate types by cosign's short names, and checks the form of those that it knows.
//! - [`image`] makes the documents about a built image, [`vsa`] what a verification of one comes to.

pub mod image;
pub mod predicate;
mod statement;
mod uri;
pub mod vsa;

pub use predicate::PredicateType;
pub use statement::{Statement, StatementError, Subject};
pub use uri::Uri;

use serde_json::{Value, json};

use crate::digest::Digest;

/// The payload type of in-toto statements in DSSE envelopes.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Writes a digest as in-toto's DigestSet.
fn digests(digest: &Digest) -> Value {
    json!({ digest.algorithm(): digest.hex() })
}
