//! Keys and signatures as Notary writes them (its `tuf/data/keys.go`; docs/notary.md, "What is spoken").
//!
//! - A key object is `{"keytype":T,"keyval":{"private":null,"public":BASE64}}`; its id is SHA-256 of exactly that, canonical,
//!   and is computed, never taken over. Other members are refused: the real client drops them, and the id with them.
//! - The id of the key as plain `ecdsa` or `rsa` is its canonical id: it names key files, and is one for all certificates.
//! - How a signature is checked follows from the key; the `method` beside it has to say the same.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::certificate::Certificate;
use crate::key::KeyError;
use crate::key::KeyId;
use crate::key::KeyType;
use crate::key::PublicKey;
use crate::key::Scheme;
use crate::key::ecdsa;
use crate::limit;
use crate::trust::RoleKey;

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotaryKeyType {
    /// ECDSA, as SubjectPublicKeyInfo.
    Ecdsa,
    /// ECDSA, in a certificate.
    EcdsaX509,
    /// Ed25519, as 32 bytes.
    Ed25519,
    /// RSA, as SubjectPublicKeyInfo.
    Rsa,
    /// RSA, in a certificate.
    RsaX509,
}

impl NotaryKeyType {
    const ALL: [Self; 5] = [Self::Ecdsa, Self::EcdsaX509, Self::Ed25519, Self::Rsa, Self::RsaX509];

    /// Returns Notary's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::EcdsaX509 => "ecdsa-x509",
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
            Self::RsaX509 => "rsa-x509",
        }
    }
}

impl fmt::Display for NotaryKeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A public key of Notary's dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotaryKey {
    kind: NotaryKeyType,
    public: PublicKey,
    certificate: Option<Certificate>,
    object: Value,
    id: KeyId,
    canonical_id: KeyId,
}

impl NotaryKey {
    /// Names a key without a certificate.
    ///
    /// # Errors
    /// [`KeyError`], which no key that was read or made gives.
    pub fn plain(public: PublicKey) -> Result<Self, KeyError> {
        Self::of(public, None)
    }

    /// Names the key of a certificate in PEM.
    ///
    /// # Errors
    /// As [`Certificate::from_pem`]; [`KeyError::Unsupported`] for an Ed25519 key, which Notary has no such type for.
    pub fn x509(pem: &str) -> Result<Self, KeyError> {
        let certificate = Certificate::from_pem(pem.as_bytes())?;
        Self::of(certificate.public().clone(), Some((certificate, pem)))
    }

    fn of(public: PublicKey, certificate: Option<(Certificate, &str)>) -> Result<Self, KeyError> {
        let (plain, plain_object) = plain_object(&public);
        let canonical_id = object_id(&plain_object)?;
        let Some((certificate, pem)) = certificate else {
            return Ok(Self {
                kind: plain,
                public,
                certificate: None,
                id: canonical_id.clone(),
                canonical_id,
                object: plain_object,
            });
        };
        let kind = match plain {
            NotaryKeyType::Ecdsa => NotaryKeyType::EcdsaX509,
            NotaryKeyType::Rsa => NotaryKeyType::RsaX509,
            _ => return Err(KeyError::Unsupported(format!("{plain} in a certificate"))),
        };
        let object = object(kind, pem.as_bytes());
        Ok(Self {
            kind,
            public,
            certificate: Some(certificate),
            id: object_id(&object)?,
            canonical_id,
            object,
        })
    }

    /// Reads a key object.
    ///
    /// # Errors
    /// [`KeyError::Form`] when it is none, or not of its type; [`KeyError::Unsupported`] for types that imgkit does not have.
    pub fn from_json(object: &Value) -> Result<Self, KeyError> {
        let id = object_id(object)?;
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = NotaryKeyType::ALL
            .into_iter()
            .find(|kind| kind.name() == text("/keytype"));
        let kind = kind.ok_or_else(|| KeyError::Unsupported(text("/keytype").chars().take(64).collect()))?;
        let bytes = decode(text("/keyval/public"))?;
        let (public, certificate) = match kind {
            NotaryKeyType::Ed25519 => (PublicKey::from_ed25519(&bytes)?, None),
            NotaryKeyType::Ecdsa | NotaryKeyType::Rsa => (PublicKey::from_spki_der(&bytes)?, None),
            NotaryKeyType::EcdsaX509 | NotaryKeyType::RsaX509 => {
                let certificate = Certificate::from_pem(&bytes)?;
                (certificate.public().clone(), Some(certificate))
            }
        };
        let fits = match kind {
            NotaryKeyType::Ecdsa | NotaryKeyType::EcdsaX509 => {
                matches!(public.key_type(), KeyType::EcdsaP256 | KeyType::EcdsaP384)
            }
            NotaryKeyType::Ed25519 => public.key_type() == KeyType::Ed25519,
            NotaryKeyType::Rsa | NotaryKeyType::RsaX509 => public.key_type() == KeyType::Rsa,
        };
        if !fits {
            let found = format!("a key of type {} that says it is {kind}", public.key_type());
            return Err(form(found));
        }
        Ok(Self {
            canonical_id: object_id(&plain_object(&public).1)?,
            kind,
            public,
            certificate,
            object: object.clone(),
            id,
        })
    }

    /// Returns the key object.
    pub fn to_json(&self) -> &Value {
        &self.object
    }

    /// Returns how the key is written.
    pub fn key_type(&self) -> NotaryKeyType {
        self.kind
    }

    /// Returns the id that metadata know the key by.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Returns the id of the same key without a certificate.
    pub fn canonical_id(&self) -> &KeyId {
        &self.canonical_id
    }

    /// Returns the certificate, if the key has one.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Returns the public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the method that the key signs with.
    pub fn method(&self) -> Method {
        match self.kind {
            NotaryKeyType::Ecdsa | NotaryKeyType::EcdsaX509 => Method::Ecdsa,
            NotaryKeyType::Ed25519 => Method::EdDsa,
            NotaryKeyType::Rsa | NotaryKeyType::RsaX509 => Method::RsaPss,
        }
    }

    /// Makes the signature of what a signer gave: ECDSA over SHA-256 in DER, Ed25519, or RSASSA-PSS over SHA-256.
    ///
    /// # Errors
    /// [`KeyError::Form`] when it is none, [`KeyError::Signature`] when it is not by this key over `message`.
    pub fn signature(&self, message: &[u8], raw: &[u8]) -> Result<NotarySignature, KeyError> {
        let sig = match self.method() {
            Method::Ecdsa => ecdsa::to_fixed(self.public.key_type(), raw)?,
            _ => raw.to_vec(),
        };
        let signature = NotarySignature {
            keyid: self.id.clone(),
            method: self.method().name().to_owned(),
            sig,
        };
        match self.is_good(message, &signature) {
            true => Ok(signature),
            false => Err(KeyError::Signature(self.public.default_scheme())),
        }
    }
}

impl RoleKey for NotaryKey {
    type Signature = NotarySignature;

    fn read_signature(signature: &Value) -> Result<NotarySignature, String> {
        let text = |name| signature.get(name).and_then(Value::as_str);
        let (Some(keyid), Some(method), Some(sig)) = (text("keyid"), text("method"), text("sig")) else {
            return Err("a signature has no keyid, method or sig".to_owned());
        };
        let keyid = KeyId::new(keyid).map_err(|error| error.to_string())?;
        let sig = STANDARD.decode(sig);
        Ok(NotarySignature {
            sig: sig.map_err(|_| format!("the signature by {keyid} is not base64"))?,
            method: method.to_owned(),
            keyid,
        })
    }

    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn claimed(signature: &NotarySignature) -> &KeyId {
        &signature.keyid
    }

    fn is_good(&self, message: &[u8], signature: &NotarySignature) -> bool {
        let sig = signature.sig.as_slice();
        let good = match (Method::read(&signature.method), self.method()) {
            (Some(Method::Ecdsa), Method::Ecdsa) => self.public.verify_fixed(message, sig),
            (Some(Method::EdDsa), Method::EdDsa) => self.public.verify(Scheme::Ed25519, message, sig),
            (Some(Method::RsaPss), Method::RsaPss) => self.public.verify(Scheme::RsaPssSha256, message, sig),
            (Some(Method::RsaPkcs1), Method::RsaPss) => self.public.verify(Scheme::RsaPkcs1Sha256, message, sig),
            _ => return false,
        };
        good.is_ok()
    }
}

/// How a signature was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// ECDSA over SHA-256 on any curve, r‖s of fixed width.
    Ecdsa,
    /// Ed25519 over the message itself.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 over SHA-256; verified, never made.
    RsaPkcs1,
    /// RSASSA-PSS over SHA-256, salt of 32 bytes.
    RsaPss,
}

impl Method {
    const ALL: [Self; 4] = [Self::Ecdsa, Self::EdDsa, Self::RsaPkcs1, Self::RsaPss];

    /// Returns Notary's name of the method.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::EdDsa => "eddsa",
            Self::RsaPkcs1 => "rsapkcs1v15",
            Self::RsaPss => "rsapss",
        }
    }

    /// Reads a method's name, in any case as the real client does; `None` when imgkit does not have it.
    fn read(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.name().eq_ignore_ascii_case(name))
    }
}

/// A signature, the key that it claims to be by, and how it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotarySignature {
    /// The claimed key.
    pub keyid: KeyId,
    /// The method as it was written.
    pub method: String,
    /// The signature.
    pub sig: Vec<u8>,
}

/// Key objects by id, each id computed; keys of types that imgkit does not have are kept, and cannot sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<KeyId, (Value, Option<NotaryKey>)>);

impl Keys {
    /// Returns the key of an id, if it can sign.
    pub fn get(&self, id: &KeyId) -> Option<&NotaryKey> {
        self.0.get(id).and_then(|(_, key)| key.as_ref())
    }

    /// Adds a key.
    pub fn insert(&mut self, key: NotaryKey) {
        self.0.insert(key.id.clone(), (key.object.clone(), Some(key)));
    }

    /// Removes a key.
    pub fn remove(&mut self, id: &KeyId) {
        self.0.remove(id);
    }

    /// Returns all ids in order.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.0.keys()
    }

    /// Returns the keys that can sign, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &NotaryKey> {
        self.0.values().filter_map(|(_, key)| key.as_ref())
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, (object, _))| (id, object)))
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let objects = BTreeMap::<KeyId, Value>::deserialize(deserializer)?;
        if objects.len() > limit::ROLE_KEYS {
            return Err(D::Error::custom(format!("it has more than {} keys", limit::ROLE_KEYS)));
        }
        let mut keys = BTreeMap::new();
        for (id, object) in objects {
            let computed = object_id(&object).map_err(D::Error::custom)?;
            if computed != id {
                return Err(D::Error::custom(format!(
                    "the id of key {id} is not its hash, which is {computed}"
                )));
            }
            // A key that cannot be read cannot sign; whether enough others do is the threshold's question.
            let key = NotaryKey::from_json(&object).ok();
            keys.insert(id, (object, key));
        }
        Ok(Self(keys))
    }
}

/// Computes the id of a key object, of any type.
fn object_id(object: &Value) -> Result<KeyId, KeyError> {
    let members = |value: Option<&Value>| value.and_then(Value::as_object).map_or(0, serde_json::Map::len);
    let is_key = members(Some(object)) == 2
        && members(object.get("keyval")) == 2
        && object.get("keytype").is_some_and(Value::is_string)
        && object.pointer("/keyval/private").is_some_and(Value::is_null)
        && object.pointer("/keyval/public").is_some_and(Value::is_string);
    if !is_key {
        return Err(form("another object".to_owned()));
    }
    KeyId::of(object).map_err(|error| form(error.to_string()))
}

fn plain_object(public: &PublicKey) -> (NotaryKeyType, Value) {
    let (kind, bytes) = match public.key_type() {
        KeyType::EcdsaP256 | KeyType::EcdsaP384 => (NotaryKeyType::Ecdsa, public.spki_der().to_vec()),
        KeyType::Ed25519 => {
            let bytes = public.ed25519_bytes().unwrap_or_default();
            (NotaryKeyType::Ed25519, bytes.to_vec())
        }
        KeyType::Rsa => (NotaryKeyType::Rsa, public.spki_der().to_vec()),
    };
    (kind, object(kind, &bytes))
}

fn object(kind: NotaryKeyType, public: &[u8]) -> Value {
    json!({ "keytype": kind.name(), "keyval": { "private": null, "public": STANDARD.encode(public) } })
}

fn decode(text: &str) -> Result<Vec<u8>, KeyError> {
    STANDARD
        .decode(text)
        .map_err(|error| form(format!("no base64: {error}")))
}

fn form(found: String) -> KeyError {
    KeyError::Form {
        expected: "a Notary key: keytype, and keyval with private null and public in base64",
        found,
    }
}
