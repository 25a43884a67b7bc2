//! A metadata file of Notary's dialect that is made ([`Draft`]); it is read as TUF's are ([`Unverified`], [`Signed`]).
//!
//! - What is signed is the canonical form of what was read; how the file is laid out does not matter, but a member that
//!   occurs twice is refused, as two readers could take different ones.
//! - Files are written as Go writes them: canonical, with `<`, `>`, `&` and the line separators escaped.

use bytes::Bytes;

use super::key::{NotaryKey, NotarySignature};
use super::metadata::Body;
use super::wire;
use crate::key::KeyError;
use crate::limit;
use crate::trust::TrustError;
pub use crate::trust::document::{Signed, Unverified};

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
        Unverified::<T>::read(T::TYPE, bytes.clone(), longest(T::TYPE))?;
        Ok(bytes.into())
    }
}

/// Returns how many bytes readers take of a kind of metadata.
fn longest(kind: &str) -> usize {
    match kind {
        "Root" => limit::ROOT_BYTES,
        "Snapshot" => limit::SNAPSHOT_BYTES,
        "Timestamp" => limit::TIMESTAMP_BYTES,
        _ => limit::TARGETS_BYTES,
    }
}
