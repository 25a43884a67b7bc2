//! DSSE envelopes as sigstore's tools write them (secure-systems-lab DSSE 1.0.2): in any encoding, with any payload type.
//!
//! The seal's own envelopes have one canonical encoding and are read by [`crate::seal::dsse`]; the bytes that are signed are the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::signature;
use crate::attest::{PAYLOAD_TYPE, Statement, StatementError};
use crate::json::{self, JsonError, Limits};
use crate::key::{KeyError, PublicKey, Signer};
use crate::limit;
use crate::seal::dsse::pae;

/// The media type of an envelope that is a layer.
pub const MEDIA_TYPE: &str = "application/vnd.dsse.envelope.v1+json";

/// A payload with signatures over it, none of them checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    payload_type: String,
    payload: String,
    signatures: Vec<RawSignature>,
}

#[derive(Deserialize)]
struct RawSignature {
    sig: String,
}

impl Envelope {
    /// Wraps a statement, signed by `signer`.
    ///
    /// # Errors
    /// As [`signature::sign`].
    pub fn sign(statement: &Statement, signer: &dyn Signer) -> Result<Self, KeyError> {
        let mut envelope = Self {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: statement.encode(),
            signatures: Vec::new(),
        };
        let signed = signature::sign(signer, &envelope.pae())?;
        envelope.signatures.push(signed);
        Ok(envelope)
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is too long, not of the form, or has no signature or too many.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        Self::from_value(json::parse(bytes, Limits::any_number(limit::ENVELOPE_BYTES))?)
    }

    /// Reads an envelope that is a member of a document.
    ///
    /// # Errors
    /// As [`Envelope::parse`].
    pub fn from_value(value: Value) -> Result<Self, EnvelopeError> {
        let raw: Raw = serde_json::from_value(value).map_err(|error| JsonError::Shape(error.to_string()))?;
        let count = raw.signatures.len();
        if !(1..=limit::SIGNATURES).contains(&count) {
            return Err(EnvelopeError::Signatures(count));
        }
        let decode = |what, text: &str| STANDARD.decode(text).map_err(|_| EnvelopeError::Base64(what));
        let signatures = raw.signatures.iter().map(|raw| decode("signature", &raw.sig));
        Ok(Self {
            payload_type: raw.payload_type,
            payload: decode("payload", &raw.payload)?,
            signatures: signatures.collect::<Result<_, _>>()?,
        })
    }

    /// Writes the envelope as a JSON value; key ids are left empty, as cosign does.
    pub fn to_value(&self) -> Value {
        let signature = |sig: &Vec<u8>| json!({ "keyid": "", "sig": STANDARD.encode(sig) });
        json!({
            "payloadType": self.payload_type,
            "payload": STANDARD.encode(&self.payload),
            "signatures": self.signatures.iter().map(signature).collect::<Vec<_>>(),
        })
    }

    /// Returns the bytes that are signed.
    pub fn pae(&self) -> Vec<u8> {
        pae(&self.payload_type, &self.payload)
    }

    /// Returns the payload's type.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// Returns the payload; read it only once a signature is found good.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Returns the signatures.
    pub fn signatures(&self) -> &[Vec<u8>] {
        &self.signatures
    }

    /// Returns the first of `keys` that made any of the signatures.
    pub fn made_by<'a>(&self, keys: &'a [PublicKey]) -> Option<&'a PublicKey> {
        let pae = self.pae();
        let mut signatures = self.signatures.iter();
        signatures.find_map(|sig| signature::made_by(keys, &pae, sig))
    }

    /// Reads the payload as a statement.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is none.
    pub fn statement(&self) -> Result<Statement, EnvelopeError> {
        match self.payload_type == PAYLOAD_TYPE {
            true => Ok(Statement::parse(&self.payload)?),
            false => Err(EnvelopeError::Type(self.payload_type.chars().take(100).collect())),
        }
    }
}

/// Bytes that are no DSSE envelope, or one around something else than a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// A part is not base64.
    #[error("the envelope's {0} is not base64")]
    Base64(&'static str),
    /// It is not the JSON that it should be.
    #[error("no DSSE envelope: {0}")]
    Json(#[from] JsonError),
    /// It has no signature, or more than can be meant.
    #[error("the envelope has {0} signatures, expected 1 to {max}", max = limit::SIGNATURES)]
    Signatures(usize),
    /// What it holds is no statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// It holds something else.
    #[error("the envelope's payloadType is `{}`, expected `{PAYLOAD_TYPE}`", .0.escape_debug())]
    Type(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::attest::Subject;
    use crate::digest::Digest;
    use crate::key::{Algorithm, SigningKey};

    const CK: &str = include_str!("../../tests/fixtures/cosign/ck.pub");

    fn signed() -> (SigningKey, Envelope) {
        let key = SigningKey::generate_as(Algorithm::P256).unwrap();
        let statement = Statement::new(Subject::of(None, &Digest::sha256(b"x")), "urn:x:y", None);
        let envelope = Envelope::sign(&statement, &key).unwrap();
        (key, envelope)
    }

    #[test]
    fn reads_what_it_writes_and_knows_who_signed() {
        let (key, envelope) = signed();
        let read = Envelope::parse(envelope.to_value().to_string().as_bytes()).unwrap();
        assert_eq!(read, envelope);
        let keys = [PublicKey::from_pem(CK).unwrap(), key.public().clone()];
        assert_eq!(read.made_by(&keys), keys.last());
        assert!(read.statement().unwrap().is_about(&Digest::sha256(b"x")));
    }

    #[test]
    fn a_changed_payload_or_type_is_signed_by_nobody() {
        let (key, envelope) = signed();
        let keys = [key.public().clone()];
        assert!(envelope.made_by(&keys).is_some());
        let mut payload = envelope.clone();
        payload.payload.push(b' ');
        assert_eq!(payload.made_by(&keys), None);
        let mut kind = envelope;
        kind.payload_type.push('x');
        assert_eq!(kind.made_by(&keys), None);
        assert!(matches!(kind.statement(), Err(EnvelopeError::Type(_))));
    }

    #[test]
    fn refuses_other_forms() {
        let good = signed().1.to_value().to_string();
        for (from, to) in [
            ("\"sig\":", "\"sig\":\"!\",\"x\":"),
            ("\"payload\":\"", "\"payload\":\"!"),
            ("\"signatures\":[", "\"signatures\":[],\"x\":["),
            ("\"payload\":\"", "\"payload\":\"\",\"payload\":\""),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good);
            assert!(Envelope::parse(changed.as_bytes()).is_err(), "{changed}");
        }
    }
}
