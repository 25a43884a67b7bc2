//! A metadata file: read, not believed ([`Unverified`]); then signed by enough keys ([`Signed`]).

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use super::TrustError;
use super::metadata::{Body, Header};
use super::parts::Parts;
use super::role_keys::{RoleKeys, Signature};
use crate::json::{self, Limits};
use crate::key::KeyId;
use crate::limit;
use crate::time::Time;

/// A metadata file whose signatures nobody has checked; only its version can be asked for, to know what to fetch.
#[derive(Clone, Debug)]
pub struct Unverified<T> {
    file: String,
    bytes: Bytes,
    /// A part of the bytes where they are canonical.
    message: Bytes,
    signatures: Vec<Signature>,
    body: T,
}

impl<T: Body> Unverified<T> {
    /// Reads `file`, whose bytes are `bytes`.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] when they are more than `max` or not metadata of this kind in the form of the
    /// specification, version 1.
    pub fn parse(file: &str, bytes: &[u8], max: usize) -> Result<Self, TrustError> {
        let bytes = Bytes::copy_from_slice(bytes);
        match Self::read_plain(file, &bytes, max) {
            Some(document) => Ok(document),
            None => Self::read_any(file, bytes, max),
        }
    }

    /// Reads a file that is canonical already, in one pass; what is not, or is refused, is left to [`Unverified::read_any`].
    pub(super) fn read_plain(file: &str, bytes: &Bytes, max: usize) -> Option<Self> {
        let parts = Parts::read(bytes, max, |plain| serde_json::from_str::<T>(plain.value()?).ok())?;
        let good = parts.body.header().kind == T::TYPE && problem(&parts.body).is_none();
        good.then_some(Self {
            file: file.to_owned(),
            bytes: bytes.clone(),
            message: parts.message,
            signatures: read_signatures(parts.signatures.as_array()).ok()?,
            body: parts.body,
        })
    }

    pub(super) fn read_any(file: &str, bytes: Bytes, max: usize) -> Result<Self, TrustError> {
        let bad = |problem: &dyn ToString| TrustError::malformed(file, problem.to_string());
        let mut envelope = json::parse(&bytes, Limits::integers(max)).map_err(|error| bad(&error))?;
        let signatures = envelope.get("signatures").and_then(Value::as_array);
        let signatures = read_signatures(signatures).map_err(|problem| bad(&problem))?;
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
                file: file.to_owned(),
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
    pub fn verify(self, keys: &RoleKeys) -> Result<Signed<T>, TrustError> {
        let signers = keys.check(&self.file, &self.message, &self.signatures)?;
        Ok(Signed {
            threshold: keys.threshold(),
            document: self,
            signers,
        })
    }

    #[cfg(test)]
    pub(super) fn says_and_is_signed_as(&self, other: &Self) -> bool {
        self.message == other.message && self.signatures == other.signatures
    }

    /// Returns what the document says, for those who check it against itself (a root) or make it (the editor).
    pub(super) fn body(&self) -> &T {
        &self.body
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

    /// Returns the file's name as it was read.
    pub fn file(&self) -> &str {
        &self.document.file
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

    /// Checks the signatures against further keys (a root's against its own).
    ///
    /// # Errors
    /// As [`RoleKeys::check`].
    pub fn verify_also(self, keys: &RoleKeys) -> Result<Self, TrustError> {
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
        let header = self.header();
        match header.expires > now {
            true => Ok(()),
            false => Err(TrustError::Expired {
                role: self.document.file.clone(),
                version: header.version,
                expires: header.expires,
                now,
            }),
        }
    }
}

/// Says what is wrong with a document of the right kind and shape, if anything is.
fn problem<T: Body>(body: &T) -> Option<String> {
    let header = body.header();
    if !header.spec_version.starts_with("1.") {
        let found = header.spec_version.escape_debug();
        return Some(format!("its spec_version is `{found}`, expected 1.x"));
    }
    match (1..=limit::METADATA_VERSION).contains(&header.version) {
        false => Some(format!("its version is {}, expected 1 to 2^53 - 1", header.version)),
        true => body.problem(),
    }
}

fn read_signatures(signatures: Option<&Vec<Value>>) -> Result<Vec<Signature>, String> {
    let signatures = signatures.ok_or("it has no list `signatures`")?;
    if signatures.len() > limit::SIGNATURES {
        return Err(format!("it has more than {} signatures", limit::SIGNATURES));
    }
    let mut seen = BTreeSet::new();
    let mut read = Vec::new();
    for signature in signatures {
        let text = |name| signature.get(name).and_then(Value::as_str);
        let (Some(keyid), Some(sig)) = (text("keyid"), text("sig")) else {
            return Err("a signature has no keyid or sig".to_owned());
        };
        let keyid = KeyId::new(keyid).map_err(|error| error.to_string())?;
        // What is no hexadecimal signs nothing; enough others may (signers under way leave "").
        let sig = hex::decode(sig).unwrap_or_default();
        if !seen.insert(keyid.clone()) {
            return Err(format!("it has two signatures by {keyid}"));
        }
        read.push(Signature { keyid, sig });
    }
    Ok(read)
}
