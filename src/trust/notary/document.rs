//! A metadata file of Notary's dialect: read, not believed ([`Unverified`]); signed by enough keys ([`Signed`]); and made
//! ([`Draft`]).
//!
//! - What is signed is the canonical form of what was read; how the file is laid out does not matter, but a member that
//!   occurs twice is refused, as two readers could take different ones.
//! - Files are written as Go writes them: canonical, with `<`, `>`, `&` and the line separators escaped.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::key::{NotaryKey, NotarySignature};
use super::metadata::{Body, Header};
use super::wire;
use crate::json;
use crate::json::Limits;
use crate::key::KeyError;
use crate::key::KeyId;
use crate::limit;
use crate::time::Time;
use crate::trust::RoleKeys;
use crate::trust::TrustError;
use crate::trust::parts::Parts;

/// A metadata file whose signatures nobody has checked.
#[derive(Clone, Debug)]
pub struct Unverified<T> {
    role: String,
    bytes: Bytes,
    /// A part of the bytes where they are canonical.
    message: Bytes,
    signatures: Vec<NotarySignature>,
    body: T,
}

impl<T: Body> Unverified<T> {
    /// Reads the metadata of `role`, whose bytes are `bytes`.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] when they are more than `max` or not metadata of this kind in Notary's form.
    pub fn parse(role: &str, bytes: &[u8], max: usize) -> Result<Self, TrustError> {
        Self::read(role, Bytes::copy_from_slice(bytes), max)
    }

    /// Reads the same without a copy.
    ///
    /// # Errors
    /// As [`Unverified::parse`].
    pub fn read(role: &str, bytes: Bytes, max: usize) -> Result<Self, TrustError> {
        match Self::read_plain(role, &bytes, max) {
            Some(document) => Ok(document),
            None => Self::read_any(role, bytes, max),
        }
    }

    /// Reads a file that is canonical already, in one pass; what is not, or is refused, is left to [`Unverified::read_any`].
    pub(super) fn read_plain(role: &str, bytes: &Bytes, max: usize) -> Option<Self> {
        let parts = Parts::read(bytes, max, |plain| T::read(bytes, plain))?;
        let good = parts.body.header().kind == T::TYPE && problem(&parts.body).is_none();
        good.then_some(Self {
            role: role.to_owned(),
            bytes: bytes.clone(),
            message: parts.message,
            signatures: read_signatures(parts.signatures.as_array()).ok()?,
            body: parts.body,
        })
    }

    pub(super) fn read_any(role: &str, bytes: Bytes, max: usize) -> Result<Self, TrustError> {
        let bad = |problem: &dyn ToString| TrustError::malformed(role, problem.to_string());
        let mut envelope = json::parse(&bytes, Limits::integers(max)).map_err(|error| bad(&error))?;
        let signatures = envelope.get("signatures").and_then(Value::as_array);
        let signatures = read_signatures(signatures).map_err(|problem| bad(&problem))?;
        let signed = envelope.get_mut("signed").map(Value::take);
        let signed = signed.ok_or_else(|| bad(&"it has no member `signed`"))?;
        let message = json::canonical(&signed).map_err(|error| bad(&error))?;
        let kind = signed.get("_type").and_then(Value::as_str).unwrap_or_default();
        if kind != T::TYPE {
            let kind = kind.escape_debug();
            return Err(bad(&format!("its _type is `{kind}`, expected `{}`", T::TYPE)));
        }
        let body: T = serde_json::from_value(signed).map_err(|error| bad(&error))?;
        match problem(&body) {
            Some(problem) => Err(bad(&problem)),
            None => Ok(Self {
                role: role.to_owned(),
                bytes,
                message: message.into(),
                signatures,
                body,
            }),
        }
    }

    /// Checks the signatures against the keys of the document's role.
    ///
    /// # Errors
    /// As [`RoleKeys::check`].
    pub fn verify(self, keys: &RoleKeys<NotaryKey>) -> Result<Signed<T>, TrustError> {
        let signers = keys.check(&self.role, &self.message, &self.signatures)?;
        Ok(Signed {
            threshold: keys.threshold(),
            document: self,
            signers,
        })
    }

    /// Returns what the document claims, for those who check it against itself (a root) or answer for it (a server).
    pub fn unverified_body(&self) -> &T {
        &self.body
    }

    /// Returns the canonical form that is signed.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Returns the signatures as they stand there.
    pub fn signatures(&self) -> &[NotarySignature] {
        &self.signatures
    }
}

/// A metadata file that enough keys of its role signed.
#[derive(Clone, Debug)]
pub struct Signed<T> {
    document: Unverified<T>,
    signers: Vec<KeyId>,
    threshold: u32,
}

impl<T: Body> Signed<T> {
    /// Returns what the document says.
    pub fn body(&self) -> &T {
        &self.document.body
    }

    /// Returns what all kinds have.
    pub fn header(&self) -> &Header {
        self.document.body.header()
    }

    /// Returns the version.
    pub fn version(&self) -> u64 {
        self.header().version
    }

    /// Returns the role whose metadata these are.
    pub fn role(&self) -> &str {
        &self.document.role
    }

    /// Returns the bytes as they were served.
    pub fn bytes(&self) -> &[u8] {
        &self.document.bytes
    }

    /// Returns the keys whose signatures counted.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// Returns how many keys had to sign.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Returns the document as it was read.
    pub fn document(&self) -> &Unverified<T> {
        &self.document
    }

    /// Checks the signatures against further keys (a root's against its own).
    ///
    /// # Errors
    /// As [`RoleKeys::check`].
    pub fn verify_also(self, keys: &RoleKeys<NotaryKey>) -> Result<Self, TrustError> {
        self.document.verify(keys)
    }

    /// Tells whether two documents say the same, whoever signed them.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.document.message == other.document.message
    }

    /// Refuses a document that is past its time at `now`.
    ///
    /// # Errors
    /// [`TrustError::Expired`].
    pub fn check_not_expired(&self, now: Time) -> Result<(), TrustError> {
        let header = self.header();
        match header.expires > now {
            true => Ok(()),
            false => Err(TrustError::Expired {
                role: self.document.role.clone(),
                version: header.version,
                expires: header.expires,
                now,
            }),
        }
    }
}

/// A metadata file being signed.
#[derive(Clone, Debug)]
pub struct Draft<T> {
    body: T,
    message: Vec<u8>,
    signatures: Vec<NotarySignature>,
}

impl<T: Body> Draft<T> {
    /// Begins with what the document says.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] when it has no canonical form.
    pub fn new(body: T) -> Result<Self, TrustError> {
        let message = body
            .canonical()
            .map_err(|error| TrustError::malformed(T::TYPE, error))?;
        Ok(Self {
            body,
            message,
            signatures: Vec::new(),
        })
    }

    /// Returns what is to be signed.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Returns what the document says.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// Has `key` sign; `sign` gives ECDSA over SHA-256 in DER, Ed25519, or RSASSA-PSS over SHA-256. A key signs once.
    ///
    /// # Errors
    /// Those of `sign`, and [`KeyError::Signature`] when what it gave is not by `key`.
    pub fn sign(
        &mut self,
        key: &NotaryKey,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, KeyError>,
    ) -> Result<(), KeyError> {
        let signature = key.signature(&self.message, &sign(&self.message)?)?;
        self.signatures.retain(|other| other.keyid != signature.keyid);
        self.signatures.push(signature);
        Ok(())
    }

    /// Writes the file as the real client and server write it.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] when it is none that would be read again.
    pub fn write(&self) -> Result<Vec<u8>, TrustError> {
        let bytes = Bytes::from(wire::envelope(&self.message, &self.signatures));
        Unverified::<T>::read(T::TYPE, bytes.clone(), usize::MAX)?;
        Ok(bytes.into())
    }
}

/// Says what is wrong with a document of the right kind and shape, if anything is.
fn problem<T: Body>(body: &T) -> Option<String> {
    let version = body.header().version;
    match (1..=limit::METADATA_VERSION).contains(&version) {
        false => Some(format!("its version is {version}, expected 1 to 2^53 - 1")),
        true => body.problem(),
    }
}

fn read_signatures(signatures: Option<&Vec<Value>>) -> Result<Vec<NotarySignature>, String> {
    let signatures = signatures.ok_or("it has no list `signatures`")?;
    if signatures.len() > limit::SIGNATURES {
        return Err(format!("it has more than {} signatures", limit::SIGNATURES));
    }
    let mut seen = BTreeSet::new();
    let mut read = Vec::new();
    for signature in signatures {
        let text = |name| signature.get(name).and_then(Value::as_str);
        let (Some(keyid), Some(method), Some(sig)) = (text("keyid"), text("method"), text("sig")) else {
            return Err("a signature has no keyid, method or sig".to_owned());
        };
        let keyid = KeyId::new(keyid).map_err(|error| error.to_string())?;
        let sig = STANDARD.decode(sig);
        let sig = sig.map_err(|_| format!("the signature by {keyid} is not base64"))?;
        if !seen.insert(keyid.clone()) {
            return Err(format!("it has two signatures by {keyid}"));
        }
        read.push(NotarySignature {
            keyid,
            method: method.to_owned(),
            sig,
        });
    }
    Ok(read)
}
