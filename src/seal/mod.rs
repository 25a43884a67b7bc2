//! The seal: one signed statement about a whole image, with everything needed to check it offline.
//!
//! - The statement is an in-toto Statement v1 ([`statement`]) in a DSSE envelope ([`dsse`]).
//! - Beside it stands the [`evidence`]: the YAML, image documents, tree lists and trust metadata that the statement names by digest.
//! - Both lie in one extent of the disk, in one canonical encoding ([`container`]): parse, encode again, compare.
//! - A signature is checked before anything it signs is read; the trust metadata that says whose signature counts prove
//!   themselves from the root that the policy pins.

pub mod container;
pub mod dsse;
pub mod evidence;
pub mod statement;

pub use container::Sealed;
pub use dsse::Envelope;
pub use evidence::Evidence;
pub use statement::Statement;
