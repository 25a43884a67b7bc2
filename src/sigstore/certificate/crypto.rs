//! The cryptography of `sigstore-verify`, by ring: the crate's own choice would build a second library of the same primitives.

use std::sync::Once;

use ring::{digest, signature};
use sigstore_verify::crypto::{CryptoProvider, Error, HashContext, SigningScheme, install_default_provider};
use sigstore_verify::types::HashAlgorithm;

use crate::key::prehashed;

/// Makes `sigstore-verify` use ring; whoever uses the crate calls this first.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    // Another provider would have to be installed by somebody else in this process; there is nobody.
    ONCE.call_once(|| _ = install_default_provider(&Ring));
}

#[derive(Debug)]
struct Ring;

struct Hash(digest::Context);

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>, Error> {
        let algorithm = match algorithm {
            HashAlgorithm::Sha2256 => &digest::SHA256,
            HashAlgorithm::Sha2384 => &digest::SHA384,
            HashAlgorithm::Sha2512 => &digest::SHA512,
            _ => return Err(Error::UnsupportedAlgorithm(algorithm.to_string())),
        };
        Ok(Box::new(Hash(digest::Context::new(algorithm))))
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<(), Error> {
        let algorithm: &dyn signature::VerificationAlgorithm = match scheme {
            SigningScheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            SigningScheme::EcdsaP256Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
            SigningScheme::EcdsaP384Sha256 => &signature::ECDSA_P384_SHA256_ASN1,
            SigningScheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
            SigningScheme::Ed25519 => &signature::ED25519,
            SigningScheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
            SigningScheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
            SigningScheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
            SigningScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            SigningScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            SigningScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            _ => return Err(Error::UnsupportedAlgorithm(scheme.name().to_owned())),
        };
        let key = signature::UnparsedPublicKey::new(algorithm, key);
        key.verify(data, signature).map_err(|_| not_good(scheme))
    }

    // ring verifies no digests.
    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let is_good = match scheme {
            SigningScheme::EcdsaP256Sha256 | SigningScheme::EcdsaP256Sha384 => prehashed::p256_is_good,
            SigningScheme::EcdsaP384Sha256 | SigningScheme::EcdsaP384Sha384 => prehashed::p384_is_good,
            SigningScheme::RsaPkcs1Sha256 | SigningScheme::RsaPkcs1Sha384 | SigningScheme::RsaPkcs1Sha512 => {
                prehashed::rsa_pkcs1_is_good
            }
            SigningScheme::RsaPssSha256 | SigningScheme::RsaPssSha384 | SigningScheme::RsaPssSha512 => {
                prehashed::rsa_pss_is_good
            }
            _ => return Err(Error::UnsupportedAlgorithm(scheme.name().to_owned())),
        };
        match is_good(key, digest, signature) {
            true => Ok(()),
            false => Err(not_good(scheme)),
        }
    }
}

fn not_good(scheme: SigningScheme) -> Error {
    Error::Verification(format!("the {} signature is not good", scheme.name()))
}
