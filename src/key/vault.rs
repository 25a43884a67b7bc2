//! Private keys sealed for a machine that opens many of them at any time: a server's.
//!
//! - One master key seals them all (AES-256-GCM, RFC 5116), so that the passphrase's cost is paid once, when the server starts.
//! - The master key is an Ed25519 private key in a file like any other here, encrypted under the passphrase, which openssl can
//!   change; the sealing key is derived from it (HKDF with SHA-256, RFC 5869), and it signs nothing.
//! - What is sealed opens only for what it was sealed for: its context is authenticated with it.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use super::{KeyError, Passphrase, SigningKey};

/// What the sealing key is derived for; another number means another way of sealing.
const PURPOSE: &[u8] = b"imgkit vault 1: AES-256-GCM";

/// What opens and seals private keys.
pub struct Vault {
    key: LessSafeKey,
}

impl Vault {
    /// Makes a new one, and its encrypted form to be kept.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the kernel has none.
    pub fn create(passphrase: &Passphrase) -> Result<(Self, String), KeyError> {
        let master = SigningKey::generate()?;
        let pem = master.to_encrypted_pem(passphrase)?;
        Ok((Self::of(&master)?, pem))
    }

    /// Opens one that was kept.
    ///
    /// # Errors
    /// As [`SigningKey::from_encrypted_pem`], and [`KeyError::Form`] when it is a key of another type.
    pub fn unlock(pem: &str, passphrase: &Passphrase) -> Result<Self, KeyError> {
        Self::of(&SigningKey::from_encrypted_pem(pem, passphrase)?)
    }

    fn of(master: &SigningKey) -> Result<Self, KeyError> {
        let seed = master.seed().ok_or_else(|| bad("a key of another type than Ed25519"))?;
        let derived = Salt::new(HKDF_SHA256, &[]).extract(seed.as_slice());
        let key = derived.expand(&[PURPOSE], &AES_256_GCM).map(UnboundKey::from);
        let key = key.map_err(|_| bad("one that no key can be derived from"))?;
        Ok(Self {
            key: LessSafeKey::new(key),
        })
    }

    /// Seals a private key for `context`.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the kernel has none.
    pub fn seal(&self, key: &SigningKey, context: &str) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_LEN];
        // 2^32 keys could be sealed before a random nonce is likely to come twice (NIST SP 800-38D, 8.3).
        getrandom::fill(&mut nonce).map_err(|error| KeyError::Randomness(error.to_string()))?;
        let plain = key.to_pkcs8_der()?;
        // Encrypted in place, so nothing readable is left behind.
        let mut sealed = plain.as_bytes().to_vec();
        let (unique, context) = (Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()));
        let tag = self.key.seal_in_place_separate_tag(unique, context, &mut sealed);
        let tag = tag.map_err(|_| bad("one that is too long"))?;
        Ok([nonce.as_slice(), sealed.as_slice(), tag.as_ref()].concat())
    }

    /// Opens a private key that was sealed for `context`.
    ///
    /// # Errors
    /// [`KeyError::Form`] when it was not, or was changed since.
    pub fn open(&self, sealed: &[u8], context: &str) -> Result<SigningKey, KeyError> {
        let wrong = || bad("bytes that this vault did not seal for this purpose");
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let context = Aad::from(context.as_bytes());
        let plain = self
            .key
            .open_in_place(nonce, context, &mut bytes)
            .map_err(|_| wrong())?;
        SigningKey::from_pkcs8_der(plain)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

fn bad(found: &str) -> KeyError {
    KeyError::Form {
        expected: "a sealed private key",
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::Algorithm;

    #[test]
    fn what_is_sealed_opens_with_the_passphrase_and_for_its_context_alone() {
        let passphrase = Passphrase::new("correct horse").unwrap();
        let (vault, pem) = Vault::create(&passphrase).unwrap();
        for algorithm in [Algorithm::P256, Algorithm::Ed25519] {
            let key = SigningKey::generate_as(algorithm).unwrap();
            let sealed = vault.seal(&key, "timestamp of a").unwrap();
            let again = Vault::unlock(&pem, &passphrase).unwrap();
            assert_eq!(again.open(&sealed, "timestamp of a").unwrap().public(), key.public());
            assert!(again.open(&sealed, "timestamp of b").is_err());
            let (other, _) = Vault::create(&passphrase).unwrap();
            assert!(other.open(&sealed, "timestamp of a").is_err());
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                *changed.get_mut(at).unwrap() ^= 1;
                assert!(vault.open(&changed, "timestamp of a").is_err(), "{at}");
                assert!(vault.open(sealed.get(..at).unwrap(), "timestamp of a").is_err(), "{at}");
            }
        }
        let wrong = Passphrase::new("wrong").unwrap();
        assert_eq!(Vault::unlock(&pem, &wrong).unwrap_err(), KeyError::Passphrase);
    }
}
