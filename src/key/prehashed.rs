//! Signatures over a message of which only the digest is at hand.
//!
//! Whoever has the message verifies it itself ([`PublicKey::verify`](super::PublicKey::verify)): that is several times faster.
//! Keys are as in a SubjectPublicKeyInfo: an uncompressed point, an `RSAPublicKey` in DER. ECDSA signatures are in DER.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use sha2::{Sha256, Sha384, Sha512};

/// Tells whether an ECDSA signature on P-256 is good.
pub fn p256_is_good(point: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point);
    let signature = p256::ecdsa::Signature::from_der(signature);
    matches!((key, signature), (Ok(key), Ok(signature)) if key.verify_prehash(digest, &signature).is_ok())
}

/// Tells whether an ECDSA signature on P-384 is good.
pub fn p384_is_good(point: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point);
    let signature = p384::ecdsa::Signature::from_der(signature);
    matches!((key, signature), (Ok(key), Ok(signature)) if key.verify_prehash(digest, &signature).is_ok())
}

/// Tells whether an RSASSA-PKCS1-v1_5 signature is good; the digest's length says which of SHA-256, SHA-384 and SHA-512 it is.
pub fn rsa_pkcs1_is_good(key: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    rsa::PublicKey::from_pkcs1_der(key).is_ok_and(|key| {
        let verified = match digest.len() {
            32 => key.pkcs1v15_verify_prehash::<Sha256>(digest, signature),
            48 => key.pkcs1v15_verify_prehash::<Sha384>(digest, signature),
            64 => key.pkcs1v15_verify_prehash::<Sha512>(digest, signature),
            _ => return false,
        };
        verified.is_ok()
    })
}

/// Tells whether an RSASSA-PSS signature is good, as [`rsa_pkcs1_is_good`]; the salt is as long as the digest.
pub fn rsa_pss_is_good(key: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    rsa::PublicKey::from_pkcs1_der(key).is_ok_and(|key| {
        let verified = match digest.len() {
            32 => key.pss_verify_prehash::<Sha256>(digest, signature),
            48 => key.pss_verify_prehash::<Sha384>(digest, signature),
            64 => key.pss_verify_prehash::<Sha512>(digest, signature),
            _ => return false,
        };
        verified.is_ok()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sha2::Digest as _;

    use super::super::{PublicKey, Scheme};
    use super::*;

    #[test]
    fn what_openssl_signed_is_good_by_its_digest_alone() {
        let message = include_bytes!("testdata/message");
        let (short, long) = (Sha256::digest(message).to_vec(), Sha384::digest(message).to_vec());
        let cases: [(&str, &[u8], Scheme, &[u8]); 4] = [
            (
                include_str!("testdata/p256.pem"),
                include_bytes!("testdata/p256.sig"),
                Scheme::EcdsaP256Sha256,
                &short,
            ),
            (
                include_str!("testdata/p384.pem"),
                include_bytes!("testdata/p384.sig"),
                Scheme::EcdsaP384Sha384,
                &long,
            ),
            (
                include_str!("testdata/rsa.pem"),
                include_bytes!("testdata/rsa-pss.sig"),
                Scheme::RsaPssSha256,
                &short,
            ),
            (
                include_str!("testdata/rsa.pem"),
                include_bytes!("testdata/rsa-pkcs1.sig"),
                Scheme::RsaPkcs1Sha256,
                &short,
            ),
        ];
        for (pem, signature, scheme, digest) in cases {
            let key = PublicKey::from_pem(pem).unwrap();
            assert_eq!(key.verify_digest(scheme, digest, signature), Ok(()), "{scheme}");
            let mut other = digest.to_vec();
            *other.first_mut().unwrap() ^= 1;
            assert!(key.verify_digest(scheme, &other, signature).is_err(), "{scheme}");
            assert!(key.verify_digest(scheme, &[], signature).is_err(), "{scheme}");
            let mut changed = signature.to_vec();
            *changed.last_mut().unwrap() ^= 1;
            assert!(key.verify_digest(scheme, digest, &changed).is_err(), "{scheme}");
        }
    }
}
