//! Sigstore's statements, as cosign and skopeo write them: bytes, keys and `now` in, evidence out; no I/O.
//!
//! - [`attachment`]: what lies beside an image, judged.
//! - [`bundle`]: a signature with what it takes to verify it.
//! - [`certificate`]: bundles by an identity that a certificate proves.
//! - [`envelope`]: DSSE envelopes around statements.
//! - [`kept`]: signatures and attestations in a file of their own.
//! - [`keyless`]: signing by an identity: what services are asked and answer.
//! - [`manifest`]: the documents in a registry that hold signatures.
//! - [`payload`]: the simple-signing form, whose exact bytes are signed.
//! - [`signature`]: which key made a signature, in sigstore's schemes.
//! - A signature counts for the digest that the signed bytes name, whatever tag, manifest or annotation led to it.

pub mod attachment;
pub mod bundle;
pub mod certificate;
pub mod envelope;
pub mod kept;
pub mod keyless;
pub mod manifest;
pub mod payload;
pub mod signature;
