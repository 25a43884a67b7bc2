//! OCI images as documents: bytes in, checked types out, no I/O (image-spec 1.1; Docker's schema 2 under its own media types).
//!
//! - [`walk()`] goes index → platform manifest → config → layers and hashes each document it is handed (law of the gate 3), so the
//!   same function serves the store and, offline, the verifier with the bytes that a seal holds.
//! - A document is one thing: with both `manifests` and `layers`, with members that differ from known ones only in case (Go's
//!   parser takes them for the same), or with a media type that is not its descriptor's, it is refused.

mod artifact;
mod config;
mod descriptor;
mod document;
mod list;
mod media;
mod package;
mod platform;
mod walk;

pub use artifact::{Annotated, Annotations, Artifact};
pub use config::ImageConfig;
pub use descriptor::Descriptor;
pub use document::{Document, Index, Manifest};
pub use list::Referrers;
pub use media::{INDEX, Kind, MANIFEST};
pub use package::{PACKAGES, Package, TOOLS, packages};
pub use platform::{Platform, PlatformError};
pub use walk::{Image, Layer, choose, walk};

use std::fmt::Display;

use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::json;
use crate::limit;

/// Refuses a document that is not in its kind's form.
pub fn malformed(subject: &str, expected: impl Display, found: impl Display) -> Failure {
    let advice = "build or push the image again with a tool that follows the OCI image specification";
    Refusal::new(Code::Malformed, subject, expected, found, advice).into()
}

/// Refuses bytes that are not those that were named.
pub fn digest_mismatch(subject: &str, expected: impl Display, found: impl Display) -> Failure {
    let advice = "fetch the image again from a place you trust; these bytes are not the ones that its name stands for";
    Refusal::new(Code::DigestMismatch, subject, expected, found, advice).into()
}

/// Compares a document's bytes with the digest that named them.
fn check_digest(subject: &str, expected: &Digest, bytes: &[u8]) -> Result<(), Failure> {
    let mut hasher = expected.hasher();
    hasher.update(bytes);
    let found = hasher.finish();
    if found == *expected {
        return Ok(());
    }
    Err(digest_mismatch(
        subject,
        expected,
        format!("{found} ({} bytes)", bytes.len()),
    ))
}

/// Reads JSON into `T`, after refusing members of the outermost object that are a known one in other letters.
fn from_json<T: DeserializeOwned>(subject: &str, bytes: &[u8], known: &[&str]) -> Result<T, Failure> {
    let bad = |found: String| malformed(subject, "a JSON document of the image specification", found);
    let limits = json::Limits::any_number(limit::DOCUMENT_BYTES);
    let value = json::parse(bytes, limits).map_err(|error| bad(error.to_string()))?;
    for name in value.as_object().into_iter().flat_map(|members| members.keys()) {
        if known.iter().any(|k| name != k && name.eq_ignore_ascii_case(k)) {
            return Err(bad(format!("a member `{name}`, which some readers take for another")));
        }
    }
    serde_json::from_value(value).map_err(|error| bad(error.to_string()))
}
