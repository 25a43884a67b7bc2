//! Keys as TUF metadata write them (specification, section 4.2).

use std::fmt;

use serde_json::{Value, json};

use super::{KeyError, PublicKey, Scheme};
use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::limit;

/// A TUF key id: SHA-256 of the key object in hexadecimal when imgkit made it, otherwise an opaque name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Makes a key id of a text.
    ///
    /// # Errors
    /// [`KeyError::Form`] when it is empty, too long, or has characters that cannot be shown.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        if (1..=limit::KEY_ID_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err(KeyError::Form {
                expected: "a key id of printable characters",
                found: format!("`{}`", text.chars().take(80).collect::<String>().escape_debug()),
            })
        }
    }

    /// Returns the id that a key object has by itself: SHA-256 of its canonical JSON, in hexadecimal.
    ///
    /// # Errors
    /// [`JsonError`] when it has no canonical form.
    pub fn of(object: &Value) -> Result<Self, JsonError> {
        Ok(Self(Digest::sha256(&json::canonical(object)?).hex()))
    }

    /// Returns the id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first 12 characters, for people; never for comparison.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(text).map_err(serde::de::Error::custom)
    }
}

/// A public key with the one scheme that it may be used with, as metadata name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TufKey {
    public: PublicKey,
    scheme: Scheme,
    /// As it was read, members that imgkit does not know included: the id is over all of them.
    object: Value,
}

impl TufKey {
    /// Names a key with its default scheme.
    pub fn new(public: PublicKey) -> Self {
        let scheme = public.default_scheme();
        let (key_type, text) = match public.ed25519_bytes() {
            Some(bytes) => ("ed25519", hex::encode(bytes)),
            // Every key here was read or made, so that it can be written: `to_pem` does not fail.
            None if scheme == Scheme::RsaPssSha256 => ("rsa", public.to_pem().unwrap_or_default()),
            None => ("ecdsa", public.to_pem().unwrap_or_default()),
        };
        let object = json!({ "keytype": key_type, "scheme": scheme.name(), "keyval": { "public": text } });
        Self { public, scheme, object }
    }

    /// Reads a key object: hexadecimal or PEM for Ed25519 and ECDSA, PEM for RSA.
    ///
    /// # Errors
    /// [`KeyError`] when members are missing, the key is not of its type, or type or scheme are not supported.
    pub fn from_json(object: &Value) -> Result<Self, KeyError> {
        let text = |pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).ok_or(KeyError::Form {
                expected: "a TUF key with keytype, scheme and keyval.public",
                found: format!("an object without {pointer}"),
            })
        };
        let scheme: Scheme = text("/scheme")?.parse()?;
        let key_type = text("/keytype")?;
        let fits = match scheme {
            Scheme::Ed25519 => key_type == "ed25519",
            // Older metadata repeat the scheme as the type.
            Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha384 => key_type == "ecdsa" || key_type == scheme.name(),
            Scheme::RsaPkcs1Sha256 | Scheme::RsaPssSha256 => key_type == "rsa",
            Scheme::EcdsaP384Sha256 => false,
        };
        if !fits {
            return Err(KeyError::Unsupported(format!("{key_type} with scheme {scheme}")));
        }
        let value = text("/keyval/public")?;
        let public = match (scheme, hex::decode(value)) {
            (Scheme::Ed25519, Ok(bytes)) => PublicKey::from_ed25519(&bytes)?,
            // Older metadata have the point itself.
            (Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha384, Ok(bytes)) => {
                PublicKey::from_ecdsa_point(scheme.key_type(), &bytes)?
            }
            _ => PublicKey::from_pem(value)?,
        };
        if public.key_type() != scheme.key_type() {
            let key = public.key_type();
            return Err(KeyError::Scheme { scheme, key });
        }
        Ok(Self {
            public,
            scheme,
            object: object.clone(),
        })
    }

    /// Returns the key object.
    pub fn to_json(&self) -> &Value {
        &self.object
    }

    /// Returns SHA-256 of the key object's canonical JSON, in hexadecimal.
    pub fn id(&self) -> KeyId {
        // A key object that was read strictly, or made here, has no floats: its canonical form exists.
        KeyId::of(&self.object).unwrap_or_else(|_| KeyId(String::new()))
    }

    /// Returns the public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Checks that `signature` was made by this key with its scheme over `message`.
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        self.public.verify(self.scheme, message, signature)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::SigningKey;

    #[test]
    fn the_id_is_the_hash_of_the_canonical_object() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap().tuf_key();
        let canonical = format!(
            r#"{{"keytype":"ed25519","keyval":{{"public":"{}"}},"scheme":"ed25519"}}"#,
            hex::encode(key.public().ed25519_bytes().unwrap())
        );
        assert_eq!(key.id().as_str(), Digest::sha256(canonical.as_bytes()).hex());
    }

    #[test]
    fn unknown_members_are_kept_and_are_part_of_the_id() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap().tuf_key();
        let mut object = key.to_json().clone();
        object.as_object_mut().unwrap().insert("x-note".into(), "mine".into());
        let read = TufKey::from_json(&object).unwrap();
        assert_eq!(read.to_json(), &object);
        assert_ne!(read.id(), key.id());
        assert_eq!(read.public(), key.public());
    }

    #[test]
    fn every_form_of_the_specification_is_read() {
        let pem = |keytype: &str, scheme: &str, pem: &str| {
            TufKey::from_json(&json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": pem}}))
        };
        let p256 = include_str!("testdata/p256.pem");
        assert!(pem("ecdsa", "ecdsa-sha2-nistp256", p256).is_ok());
        assert!(pem("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", p256).is_ok());
        assert!(pem("ecdsa", "ecdsa-sha2-nistp384", include_str!("testdata/p384.pem")).is_ok());
        assert!(pem("rsa", "rsassa-pss-sha256", include_str!("testdata/rsa.pem")).is_ok());
        assert!(pem("ed25519", "ed25519", include_str!("testdata/ed25519.pem")).is_ok());
        assert!(pem("ecdsa", "ecdsa-sha2-nistp384", p256).is_err());
        assert!(pem("rsa", "ecdsa-sha2-nistp256", p256).is_err());
        assert!(pem("dsa", "dsa", p256).is_err());
        assert!(TufKey::from_json(&json!({"keytype": "rsa"})).is_err());
        for text in [p256, include_str!("testdata/rsa.pem")] {
            let made = TufKey::new(PublicKey::from_pem(text).unwrap());
            assert_eq!(TufKey::from_json(made.to_json()).unwrap(), made);
        }
    }

    #[test]
    fn a_point_in_hexadecimal_is_the_key_that_pem_has() {
        for (scheme, pem, length) in [
            ("ecdsa-sha2-nistp256", include_str!("testdata/p256.pem"), 65),
            ("ecdsa-sha2-nistp384", include_str!("testdata/p384.pem"), 97),
        ] {
            let expected = PublicKey::from_pem(pem).unwrap();
            let der = expected.spki_der();
            let point = hex::encode(der.get(der.len() - length..).unwrap());
            let read = |text: &str| {
                TufKey::from_json(&json!({"keytype": scheme, "scheme": scheme, "keyval": {"public": text}}))
            };
            assert_eq!(read(&point).unwrap().public(), &expected);
            for bad in [
                "",
                "04",
                point.get(2..).unwrap(),
                &format!("{point}00"),
                &point.replacen("04", "02", 1),
            ] {
                assert!(read(bad).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn a_key_id_can_be_shown() {
        assert!(KeyId::new("").is_err());
        assert!(KeyId::new("a\u{1b}[31m").is_err());
        assert!(KeyId::new("a".repeat(limit::KEY_ID_BYTES + 1)).is_err());
        assert_eq!(KeyId::new("opaque").unwrap().short(), "opaque");
    }
}
