//! Bundles that are signed with a key, without a log: what cosign writes and reads with `--key`.

use serde_json::{Value, json};

use super::envelope::{Envelope, EnvelopeError};
use super::signature;
use crate::json::{self, Limits};
use crate::key::PublicKey;
use crate::limit;

/// The media type of a bundle.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Writes a bundle around an envelope.
pub fn write(envelope: &Envelope, key: &PublicKey) -> Vec<u8> {
    let bundle = json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": signature::hint(key) } },
        "dsseEnvelope": envelope.to_value(),
    });
    bundle.to_string().into_bytes()
}

/// Reads the envelope of a bundle.
///
/// # Errors
/// [`EnvelopeError`].
pub fn read(bytes: &[u8]) -> Result<Envelope, EnvelopeError> {
    let mut bundle = json::parse(bytes, Limits::any_number(limit::ENVELOPE_BYTES))?;
    let envelope = bundle.get_mut("dsseEnvelope").map(Value::take);
    Envelope::from_value(envelope.unwrap_or_default())
}
