//! Raw signatures in the schemes of sigstore's tools.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;
use crate::key::{KeyError, KeyType, PublicKey, Scheme, Signer};

/// Returns the schemes in which sigstore's tools sign with a key of this type; imgkit signs in the first.
///
/// cosign hashes with SHA-256 whatever the curve, its newer signing configurations with SHA-384 on P-384; RSA is PKCS #1 v1.5.
pub fn schemes(key: KeyType) -> &'static [Scheme] {
    match key {
        KeyType::EcdsaP256 => &[Scheme::EcdsaP256Sha256],
        KeyType::EcdsaP384 => &[Scheme::EcdsaP384Sha256, Scheme::EcdsaP384Sha384],
        KeyType::Ed25519 => &[Scheme::Ed25519],
        KeyType::Rsa => &[Scheme::RsaPkcs1Sha256],
    }
}

/// Checks that `signature` is by `key` over `message`, in one of the key's [`schemes`].
///
/// # Errors
/// [`KeyError::Signature`] when it is not.
pub fn verify(key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
    let mut refused = KeyError::Signature(key.default_scheme());
    for scheme in schemes(key.key_type()) {
        match key.verify(*scheme, message, signature) {
            Ok(()) => return Ok(()),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Returns the first of `keys` that made `signature` over `message`.
pub fn made_by<'a>(keys: &'a [PublicKey], message: &[u8], signature: &[u8]) -> Option<&'a PublicKey> {
    keys.iter().find(|key| verify(key, message, signature).is_ok())
}

/// Returns the first of `keys` that made `signature` over a message with this digest; Ed25519 does not sign digests.
pub fn made_by_digest<'a>(keys: &'a [PublicKey], digest: &Digest, signature: &[u8]) -> Option<&'a PublicKey> {
    let by = |key: &&PublicKey| {
        let mut schemes = schemes(key.key_type()).iter();
        schemes.any(|scheme| key.verify_digest(*scheme, digest.as_bytes(), signature).is_ok())
    };
    keys.iter().find(by)
}

/// Signs `message` in the first of the key's [`schemes`].
///
/// # Errors
/// As [`Signer::sign_with`].
pub fn sign(signer: &dyn Signer, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    let schemes = schemes(signer.public().key_type());
    let scheme = schemes.first().copied();
    signer.sign_with(scheme.unwrap_or_else(|| signer.public().default_scheme()), message)
}

/// Returns a key's name in reports: the SHA-256 of its SubjectPublicKeyInfo in DER.
pub fn fingerprint(key: &PublicKey) -> Digest {
    key.fingerprint()
}

/// Returns the hint by which a bundle names a key: the base64 of its [`fingerprint`].
pub fn hint(key: &PublicKey) -> String {
    STANDARD.encode(fingerprint(key).as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::{Algorithm, SigningKey};

    #[test]
    fn what_every_kind_of_key_signs_is_found_to_be_its_own() {
        let algorithms = [Algorithm::Ed25519, Algorithm::P256, Algorithm::P384];
        let keys: Vec<SigningKey> = algorithms
            .iter()
            .map(|algorithm| SigningKey::generate_as(*algorithm).unwrap())
            .collect();
        let public: Vec<PublicKey> = keys.iter().map(|key| key.public().clone()).collect();
        for key in &keys {
            let signature = sign(key, b"message").unwrap();
            assert_eq!(made_by(&public, b"message", &signature), Some(key.public()));
            assert_eq!(made_by(&public, b"other", &signature), None);
        }
    }

    #[test]
    fn the_hint_is_the_one_that_cosign_writes() {
        let key = PublicKey::from_pem(include_str!("../../tests/fixtures/cosign/ck.pub")).unwrap();
        assert_eq!(hint(&key), "PPE4I0/xGGHAyRDd/HjlOszmMcRKQi4vPS+zMWW4Sxc=");
    }
}
