//! Attestations: in-toto statements about artifacts, and the predicates that are known by their type.
//!
//! - [`Statement`] reads and writes the statement; it says nothing about who signed it.
//! - [`predicate`] knows predicate types by cosign's short names, and checks the form of those that it knows.

pub mod image;
pub mod predicate;
mod statement;

pub use predicate::PredicateType;
pub use statement::{Statement, StatementError, Subject};

/// The payload type of in-toto statements in DSSE envelopes.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
