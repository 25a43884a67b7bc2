//! A metadata file of either dialect: read, not believed ([`Unverified`]); then signed by enough keys ([`Signed`]).
//!
//! TUF and Notary differ in what a document's head says and in how signatures are written; what has to be true before either
//! is believed is here, once.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::TrustError;
use super::parts::Parts;
use super::role_keys::{RoleKey, RoleKeys};
use crate::digest::Digest;
use crate::json::{self, JsonError, Limits, Plain};
use crate::key::KeyId;
use crate::limit;
use crate::time::Time;

/// What is the same in [`Content`] for every kind of a dialect: header and keys.
macro_rules! headed {
    ($header:ty, $key:ty) => {
        type Header = $header;
        type Key = $key;

        fn header(&self) -> &$header {
            &self.header
        }

        fn header_mut(&mut self) -> &mut $header {
            &mut self.header
        }
    };
}
pub(in crate::trust) use headed;

/// The signed part of one kind of metadata.
pub trait Content: Clone + Serialize + DeserializeOwned {
    /// The `_type` of this kind.
    const TYPE: &'static str;

    /// What all kinds of the dialect have.
    type Header: Head;

    /// The dialect's keys, and with them its signatures.
    type Key: RoleKey + Clone + fmt::Debug;

    /// Returns what all kinds have.
    fn header(&self) -> &Self::Header;

    /// Returns the same, for editing.
    fn header_mut(&mut self) -> &mut Self::Header;

    /// Says what beyond its shape is wrong with this document, if anything is.
    fn problem(&self) -> Option<String>;

    /// Reads the document from the text that comes next in a file; `None` when it is not plain, or no such document.
    fn read(_file: &Bytes, plain: &mut Plain<'_>) -> Option<Self> {
        serde_json::from_str(plain.value()?).ok()
    }

    /// Writes the canonical form, which is what is signed.
    ///
    /// # Errors
    /// [`JsonError`] when there is none.
    fn canonical(&self) -> Result<Vec<u8>, JsonError> {
        let value = serde_json::to_value(self).map_err(|error| JsonError::Shape(error.to_string()))?;
        json::canonical(&value)
    }
}

/// What all kinds of metadata have in every dialect.
pub trait Head {
    /// Returns the kind, `_type`.
    fn kind(&self) -> &str;

    /// Returns the version.
    fn version(&self) -> u64;

    /// Returns from when on the document no longer counts.
    fn expires(&self) -> Time;

    /// Says what else is wrong with it, if anything is.
    fn problem(&self) -> Option<String> {
        None
    }
}

/// A metadata file whose signatures nobody has checked.
#[derive(Clone, Debug)]
pub struct Unverified<T: Content> {
    /// How messages name it: the file in TUF, the role in Notary's dialect.
    name: String,
    bytes: Bytes,
    /// A part of the bytes where they are canonical.
    message: Bytes,
    signatures: Vec<<T::Key as RoleKey>::Signature>,
    body: T,
}

impl<T: Content> Unverified<T> {
    /// Reads the metadata that messages call `name`, whose bytes are `bytes`.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] when they are more than `max` or not metadata of this kind in the dialect's form.
    pub fn parse(name: &str, bytes: &[u8], max: usize) -> Result<Self, TrustError> {
        Self::read(name, Bytes::copy_from_slice(bytes), max)
    }

    /// Reads the same without a copy.
    ///
    /// # Errors
    /// As [`Unverified::parse`].
    pub fn read(name: &str, bytes: Bytes, max: usize) -> Result<Self, TrustError> {
        match Self::read_plain(name, &bytes, max) {
            Some(document) => Ok(document),
            None => Self::read_any(name, bytes, max),
        }
    }

    /// Reads a file that is canonical already, in one pass; what is not, or is refused, is left to [`Unverified::read_any`].
    pub(super) fn read_plain(name: &str, bytes: &Bytes, max: usize) -> Option<Self> {
        let parts = Parts::read(bytes, max, |plain| T::read(bytes, plain))?;
        let good = parts.body.header().kind() == T::TYPE && problem(&parts.body).is_none();
        good.then_some(Self {
            name: name.to_owned(),
            bytes: bytes.clone(),
            message: parts.message,
            signatures: read_signatures::<T::Key>(parts.signatures.as_array()).ok()?,
            body: parts.body,
        })
    }

    pub(super) fn read_any(name: &str, bytes: Bytes, max: usize) -> Result<Self, TrustError> {
        let bad = |problem: &dyn ToString| TrustError::malformed(name, problem.to_string());
        let mut envelope = json::parse(&bytes, Limits::integers(max)).map_err(|error| bad(&error))?;
        let signatures = envelope.get("signatures").and_then(Value::as_array);
        let signatures = read_signatures::<T::Key>(signatures).map_err(|problem| bad(&problem))?;
        let signed = envelope.get_mut("signed").map(Value::take);
        let signed = signed.ok_or_else(|| bad(&"it has no member `signed`"))?;
        // Section 4.2.1: the signature is over the canonical form of what was read, unknown members included.
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
                name: name.to_owned(),
                bytes,
                message: message.into(),
                signatures,
                body,
            }),
        }
    }

    /// Tells whether nobody signed it but keys that were taken from its role.
    pub(super) fn is_signed_by_revoked_alone(&self, keys: &RoleKeys<T::Key>) -> bool {
        keys.only_revoked_signed(&self.message, &self.signatures)
    }

    /// Checks the signatures against the keys of the document's role.
    ///
    /// # Errors
    /// As [`RoleKeys::check`].
    pub fn verify(self, keys: &RoleKeys<T::Key>) -> Result<Signed<T>, TrustError> {
        let signers = keys.check(&self.name, &self.message, &self.signatures)?;
        Ok(Signed {
            threshold: keys.threshold(),
            public_keys: keys.public_keys(&signers),
            document: self,
            signers,
        })
    }

    /// Returns what the document claims, for those who check it against itself (a root), make it, or answer for it.
    pub fn unverified_body(&self) -> &T {
        &self.body
    }

    /// Returns the canonical form that is signed.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Returns the signatures as they stand there.
    pub fn signatures(&self) -> &[<T::Key as RoleKey>::Signature] {
        &self.signatures
    }
}

/// A metadata file that enough keys of its role signed.
#[derive(Clone, Debug)]
pub struct Signed<T: Content> {
    document: Unverified<T>,
    signers: Vec<KeyId>,
    public_keys: BTreeSet<Digest>,
    threshold: u32,
}

impl<T: Content> Signed<T> {
    /// Returns what the document says.
    pub fn body(&self) -> &T {
        &self.document.body
    }

    /// Returns what all kinds have.
    pub fn header(&self) -> &T::Header {
        self.document.body.header()
    }

    /// Returns the version.
    pub fn version(&self) -> u64 {
        self.header().version()
    }

    /// Returns how messages name it: the file as it was read in TUF, the role in Notary's dialect.
    pub fn name(&self) -> &str {
        &self.document.name
    }

    /// Returns the bytes as they were served.
    pub fn bytes(&self) -> &[u8] {
        &self.document.bytes
    }

    /// Returns the keys whose signatures counted.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// Returns the same keys, each by the SHA-256 of its SubjectPublicKeyInfo in DER: an id is what one root calls a key.
    pub fn public_keys(&self) -> &BTreeSet<Digest> {
        &self.public_keys
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
    pub fn verify_also(self, keys: &RoleKeys<T::Key>) -> Result<Self, TrustError> {
        self.document.verify(keys)
    }

    /// Tells whether two documents say the same, whoever signed them.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.document.message == other.document.message
    }

    /// Refuses a document that is past its time at `now` (steps 5.3.10, 5.4.4, 5.5.6, 5.6.5).
    ///
    /// # Errors
    /// [`TrustError::Expired`].
    pub fn check_not_expired(&self, now: Time) -> Result<(), TrustError> {
        let expires = self.header().expires();
        match expires > now {
            true => Ok(()),
            false => Err(TrustError::Expired {
                role: self.document.name.clone(),
                version: self.version(),
                expires,
                now,
            }),
        }
    }
}

/// Says what is wrong with a document of the right kind and shape, if anything is.
fn problem<T: Content>(body: &T) -> Option<String> {
    let header = body.header();
    if let Some(problem) = header.problem() {
        return Some(problem);
    }
    match (1..=limit::METADATA_VERSION).contains(&header.version()) {
        false => Some(format!("its version is {}, expected 1 to 2^53 - 1", header.version())),
        true => body.problem(),
    }
}

fn read_signatures<K: RoleKey>(signatures: Option<&Vec<Value>>) -> Result<Vec<K::Signature>, String> {
    let signatures = signatures.ok_or("it has no list `signatures`")?;
    if signatures.len() > limit::SIGNATURES {
        return Err(format!("it has more than {} signatures", limit::SIGNATURES));
    }
    let mut seen = BTreeSet::new();
    let mut read = Vec::new();
    for signature in signatures {
        let signature = K::read_signature(signature)?;
        let keyid = K::claimed(&signature);
        if !seen.insert(keyid.clone()) {
            return Err(format!("it has two signatures by {keyid}"));
        }
        read.push(signature);
    }
    Ok(read)
}
