//! Whatever can sign: a key in memory, in a token, or behind a plugin.

use std::fmt;

use super::{KeyError, KeyId, PublicKey, Scheme, TufKey};

/// A private key that can be used, wherever it lies.
///
/// Signatures have the form of their [`Scheme`]; ECDSA's are in DER. [`ecdsa::to_fixed`](super::ecdsa::to_fixed) makes Notary's form of them.
pub trait Signer: fmt::Debug + Send + Sync {
    /// Returns the public key.
    fn public(&self) -> &PublicKey;

    /// Signs `message` (not its hash) with a scheme that fits the key.
    ///
    /// # Errors
    /// [`KeyError::Scheme`] when the scheme does not fit the key, or the signer cannot do it; [`KeyError::Signer`] when it
    /// could not be used; [`KeyError::Randomness`].
    fn sign_with(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Signs `message` with the key's [default scheme](PublicKey::default_scheme), the one that TUF metadata name.
    ///
    /// # Errors
    /// As [`Signer::sign_with`].
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.sign_with(self.public().default_scheme(), message)
    }

    /// Returns the public key as TUF metadata name it.
    fn tuf_key(&self) -> TufKey {
        TufKey::new(self.public().clone())
    }

    /// Returns the TUF key id.
    fn id(&self) -> KeyId {
        self.tuf_key().id()
    }
}
