//! Sigstore's statements, as cosign and skopeo write them: bytes, keys and `now` in, evidence out; no I/O.
//!
//! - [`envelope`]: DSSE envelopes around statements.
//! - [`payload`]: the simple-signing form, whose exact bytes are signed.
//! - [`signature`]: which key made a signature, in sigstore's schemes.
//! - A signature counts for the digest that the signed bytes name, whatever tag, manifest or annotation led to it.

pub mod envelope;
pub mod payload;
pub mod signature;
