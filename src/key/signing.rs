//! Private keys.

use std::fmt;

use zeroize::Zeroizing;

use super::{KeyError, KeyId, PublicKey, TufKey};

/// A private key, in memory only for as long as it is needed.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// Makes a new Ed25519 key from the kernel's randomness.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the kernel has none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|error| KeyError::Randomness(error.to_string()))?;
        Self::from_seed(&seed)
    }

    /// Makes the Ed25519 key of a seed (RFC 8032, 5.1.5): for keys that are stored, and for tests with fixed keys.
    ///
    /// # Errors
    /// [`KeyError::Form`], which no seed is known to give.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey::from_ed25519(key.verifying_key().as_bytes())?;
        Ok(Self { key, public })
    }

    /// Returns the public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the public key as TUF metadata name it.
    pub fn tuf_key(&self) -> TufKey {
        TufKey::new(self.public.clone())
    }

    /// Returns the TUF key id.
    pub fn id(&self) -> KeyId {
        self.tuf_key().id()
    }

    /// Signs `message` with the key's [default scheme](PublicKey::default_scheme).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        use ed25519_dalek::Signer as _;
        self.key.sign(message).to_bytes().to_vec()
    }

    /// Returns the seed, for storing it encrypted.
    pub(super) fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::Scheme;

    #[test]
    fn signs_what_its_public_key_verifies() {
        let key = SigningKey::generate().unwrap();
        let signature = key.sign(b"message");
        assert_eq!(key.public().verify(Scheme::Ed25519, b"message", &signature), Ok(()));
        let other = SigningKey::generate().unwrap();
        assert!(other.public().verify(Scheme::Ed25519, b"message", &signature).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::from_seed(&[0x5a; 32]).unwrap();
        let text = format!("{key:?}");
        assert!(!text.contains("5a5a5a") && !text.contains("90, 90"), "{text}");
    }
}
