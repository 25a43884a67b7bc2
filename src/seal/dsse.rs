//! DSSE envelopes (secure-systems-lab DSSE 1.0.2) in one canonical form.
//!
//! What is signed is `PAE(type, payload)`: `DSSEv1 LEN(type) type LEN(payload) payload`. The envelope is canonical JSON, its
//! signatures sorted by key id, one for each key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::key::{KeyError, TufKey};
use crate::limit;

/// The payload type of in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// An envelope: a payload and signatures over it, none of them checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    /// The signing key's TUF key id.
    pub keyid: String,
    /// The signature over [`Envelope::pae`].
    pub sig: Vec<u8>,
}

impl Envelope {
    /// Wraps a payload that nobody signed yet.
    pub fn unsigned(payload: Vec<u8>) -> Self {
        Self {
            payload,
            signatures: Vec::new(),
        }
    }

    /// Adds a signature, or replaces the one by the same key.
    pub fn attach(&mut self, signature: Signature) {
        self.signatures.retain(|other| other.keyid != signature.keyid);
        self.signatures.push(signature);
        self.signatures.sort();
    }

    /// Adds a signature that is good by `key`, or replaces the one by the same key.
    ///
    /// # Errors
    /// [`KeyError`] when the signature is not good; then the envelope is as it was.
    pub fn attach_by(&mut self, key: &TufKey, sig: Vec<u8>) -> Result<(), KeyError> {
        key.verify(&self.pae(), &sig)?;
        self.attach(Signature {
            keyid: key.id().to_string(),
            sig,
        });
        Ok(())
    }

    /// Returns the payload; read it only once the signatures are found good.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Returns the signatures, sorted by key id.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Returns the bytes that are signed.
    pub fn pae(&self) -> Vec<u8> {
        pae(IN_TOTO, &self.payload)
    }

    /// Writes the envelope as canonical JSON.
    pub fn encode(&self) -> Vec<u8> {
        let signature = |s: &Signature| json!({ "keyid": s.keyid, "sig": STANDARD.encode(&s.sig) });
        let envelope = json!({
            "payload": STANDARD.encode(&self.payload),
            "payloadType": IN_TOTO,
            "signatures": self.signatures.iter().map(signature).collect::<Vec<_>>(),
        });
        // serde_json's maps are sorted and every string here is plain ASCII, so this is canonical JSON.
        envelope.to_string().into_bytes()
    }

    /// Reads an envelope; anything but what [`Envelope::encode`] writes is refused.
    ///
    /// # Errors
    /// [`EnvelopeError`] saying what is not as it should be.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > limit::ENVELOPE_BYTES {
            return Err(EnvelopeError("it is larger than 16 MiB"));
        }
        let envelope: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|_| EnvelopeError("it is not a JSON object"))?;
        let text = |map: &Map<String, Value>, name| map.get(name).and_then(Value::as_str).map(str::to_owned);
        let binary = |map: &Map<String, Value>, name| text(map, name).and_then(|text| STANDARD.decode(text).ok());
        if text(&envelope, "payloadType").as_deref() != Some(IN_TOTO) {
            return Err(EnvelopeError("its payloadType is not application/vnd.in-toto+json"));
        }
        let payload = binary(&envelope, "payload").ok_or(EnvelopeError("its payload is not base64"))?;
        let mut decoded = Self::unsigned(payload);
        let signatures = envelope.get("signatures").and_then(Value::as_array);
        for signature in signatures.ok_or(EnvelopeError("it has no signatures"))? {
            let parts = signature
                .as_object()
                .and_then(|s| Some((text(s, "keyid")?, binary(s, "sig")?)));
            let (keyid, sig) = parts.ok_or(EnvelopeError("a signature has no keyid or sig"))?;
            if decoded.signatures.len() >= limit::SIGNATURES {
                return Err(EnvelopeError("it has more than 256 signatures"));
            }
            decoded.signatures.push(Signature { keyid, sig });
        }
        let distinct = decoded.signatures.windows(2).all(|pair| match pair {
            [a, b] => a.keyid < b.keyid,
            _ => true,
        });
        if !distinct || decoded.encode() != bytes {
            return Err(EnvelopeError("it is not in its canonical encoding"));
        }
        Ok(decoded)
    }
}

/// Returns DSSE's pre-authentication encoding of a payload.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Bytes that are no DSSE envelope in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the seal's DSSE envelope: {0}")]
pub struct EnvelopeError(&'static str);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn signature(keyid: &str) -> Signature {
        Signature {
            keyid: keyid.into(),
            sig: vec![7; 64],
        }
    }

    #[test]
    fn pae_is_the_specifications_example() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), expected);
    }

    #[test]
    fn reads_what_it_writes_with_signatures_in_order() {
        let mut envelope = Envelope::unsigned(b"payload".to_vec());
        envelope.attach(signature("b"));
        envelope.attach(signature("a"));
        envelope.attach(signature("b"));
        assert_eq!(envelope.signatures().len(), 2);
        assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
    }

    #[test]
    fn refuses_every_other_encoding() {
        let mut envelope = Envelope::unsigned(b"payload".to_vec());
        envelope.attach(signature("a"));
        let good = String::from_utf8(envelope.encode()).unwrap();
        for (from, to) in [
            ("{\"payload\"", "{ \"payload\""),
            ("\"signatures\"", "\"more\":1,\"signatures\""),
            ("in-toto+json", "in-toto"),
            ("\"keyid\":\"a\"", "\"keyid\":\"a\",\"keyid\":\"a\""),
            ("cGF5bG9hZA==", "cGF5bG9hZB=="),
            ("cGF5bG9hZA==", "cGF5bG9hZA"),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good);
            assert!(Envelope::decode(changed.as_bytes()).is_err(), "{changed}");
        }
    }
}
