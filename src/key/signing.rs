//! Private keys in memory.

use std::fmt;

use getrandom::SysRng;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::elliptic_curve::Generate as _;
use pkcs8::der::asn1::{ObjectIdentifier, OctetStringRef};
use pkcs8::der::{Decode as _, SecretDocument};
use pkcs8::spki::{AlgorithmIdentifierRef, EncodePublicKey as _};
use pkcs8::{EncodePrivateKey as _, PrivateKeyInfoRef};
use sha2::{Digest as _, Sha256, Sha384};
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, KeyId, PublicKey, Scheme, Signer, TufKey};

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What stands before the seed: `CurvePrivateKey ::= OCTET STRING` of 32 bytes (RFC 8410, section 7).
const SEED_HEADER: [u8; 2] = [0x04, 0x20];

/// A private key, in memory only for as long as it is needed.
///
/// ECDSA signatures are deterministic (RFC 6979), so that what is made twice is the same.
pub struct SigningKey {
    material: Material,
    public: PublicKey,
}

/// Each kind wipes itself when dropped.
enum Material {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Rsa(Box<rsa::PrivateKey>),
}

impl SigningKey {
    /// Makes a new Ed25519 key from the kernel's randomness.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the kernel has none.
    pub fn generate() -> Result<Self, KeyError> {
        Self::generate_as(Algorithm::Ed25519)
    }

    /// Makes a new key from the kernel's randomness; RSA takes seconds.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the kernel has none.
    pub fn generate_as(algorithm: Algorithm) -> Result<Self, KeyError> {
        let none = |error: &dyn fmt::Display| KeyError::Randomness(error.to_string());
        let rsa = |bits| rsa::PrivateKey::new(&mut SysRng, bits).map_err(|error| none(&error));
        match algorithm {
            Algorithm::Ed25519 => {
                let mut seed = Zeroizing::new([0; 32]);
                getrandom::fill(seed.as_mut_slice()).map_err(|error| none(&error))?;
                Self::from_seed(&seed)
            }
            Algorithm::P256 => Self::from_p256(&p256::SecretKey::try_generate().map_err(|error| none(&error))?),
            Algorithm::P384 => Self::from_p384(&p384::SecretKey::try_generate().map_err(|error| none(&error))?),
            Algorithm::Rsa3072 => Self::from_rsa(rsa(3072)?),
            Algorithm::Rsa4096 => Self::from_rsa(rsa(4096)?),
        }
    }

    /// Makes the Ed25519 key of a seed (RFC 8032, 5.1.5): for keys that are stored, and for tests with fixed keys.
    ///
    /// # Errors
    /// [`KeyError::Form`], which no seed is known to give.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey::from_ed25519(key.verifying_key().as_bytes())?;
        let material = Material::Ed25519(key);
        Ok(Self { material, public })
    }

    /// Reads a `PrivateKeyInfo` (PKCS#8, RFC 5958) in DER.
    ///
    /// # Errors
    /// [`KeyError::Form`] when it is none, or its parts do not fit each other; [`KeyError::Unsupported`] when it is for
    /// another algorithm.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::from_der(der).map_err(|error| bad(&error))?;
        let curve = info.algorithm.parameters_oid().ok();
        match (info.algorithm.oid, curve) {
            (ED25519, _) => {
                let seed = info.private_key.as_bytes().strip_prefix(&SEED_HEADER);
                let seed = seed.and_then(|seed| seed.try_into().ok());
                Self::from_seed(seed.ok_or_else(|| bad(&"its seed has not 32 bytes"))?)
            }
            (EC, Some(P256)) => Self::from_p256(&info.try_into().map_err(|error| bad(&error))?),
            (EC, Some(P384)) => Self::from_p384(&info.try_into().map_err(|error| bad(&error))?),
            (RSA, _) => Self::from_rsa(info.try_into().map_err(|error| bad(&error))?),
            (oid, curve) => {
                let curve = curve.map(|curve| format!(" with {curve}")).unwrap_or_default();
                Err(KeyError::Unsupported(format!("{oid}{curve}")))
            }
        }
    }

    /// Returns an Ed25519 key's seed.
    pub(super) fn seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        match &self.material {
            Material::Ed25519(key) => Some(Zeroizing::new(key.to_bytes())),
            _ => None,
        }
    }

    /// Writes the key as a `PrivateKeyInfo`, which is wiped when dropped.
    pub(super) fn to_pkcs8_der(&self) -> Result<SecretDocument, KeyError> {
        match &self.material {
            Material::Ed25519(key) => {
                let seed = Zeroizing::new(key.to_bytes());
                let private = Zeroizing::new([SEED_HEADER.as_slice(), seed.as_slice()].concat());
                // Without the public key it is version 1, which openssl 3.0 reads.
                let info = PrivateKeyInfoRef {
                    algorithm: AlgorithmIdentifierRef {
                        oid: ED25519,
                        parameters: None,
                    },
                    private_key: OctetStringRef::new(&private).map_err(|error| bad(&error))?,
                    public_key: None,
                };
                SecretDocument::encode_msg(&info).map_err(|error| bad(&error))
            }
            Material::P256(key) => p256::SecretKey::from(key).to_pkcs8_der().map_err(|error| bad(&error)),
            Material::P384(key) => p384::SecretKey::from(key).to_pkcs8_der().map_err(|error| bad(&error)),
            Material::Rsa(key) => key.to_pkcs8_der().map_err(|error| bad(&error)),
        }
    }

    pub(super) fn from_p256(key: &p256::SecretKey) -> Result<Self, KeyError> {
        let spki = key.public_key().to_public_key_der().map_err(|error| bad(&error))?;
        Ok(Self {
            material: Material::P256(key.into()),
            public: PublicKey::from_spki_der(spki.as_bytes())?,
        })
    }

    pub(super) fn from_p384(key: &p384::SecretKey) -> Result<Self, KeyError> {
        let spki = key.public_key().to_public_key_der().map_err(|error| bad(&error))?;
        Ok(Self {
            material: Material::P384(key.into()),
            public: PublicKey::from_spki_der(spki.as_bytes())?,
        })
    }

    pub(super) fn from_rsa(key: rsa::PrivateKey) -> Result<Self, KeyError> {
        let spki = key.as_public_key().to_public_key_der().map_err(|error| bad(&error))?;
        Ok(Self {
            public: PublicKey::from_spki_der(spki.as_bytes())?,
            material: Material::Rsa(Box::new(key)),
        })
    }

    /// Returns the public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the public key as TUF metadata name it.
    pub fn tuf_key(&self) -> TufKey {
        Signer::tuf_key(self)
    }

    /// Returns the TUF key id.
    pub fn id(&self) -> KeyId {
        Signer::id(self)
    }
}

impl Signer for SigningKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign_with(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        use ed25519_dalek::Signer as _;
        let cannot = |error: &dyn fmt::Display| KeyError::Signer(format!("cannot sign with {scheme}: {error}"));
        match (&self.material, scheme) {
            (Material::Ed25519(key), Scheme::Ed25519) => Ok(key.sign(message).to_bytes().to_vec()),
            (Material::P256(key), Scheme::EcdsaP256Sha256) => {
                let signature: Result<p256::ecdsa::DerSignature, _> = key.sign_prehash(&Sha256::digest(message));
                Ok(signature.map_err(|error| cannot(&error))?.as_bytes().to_vec())
            }
            (Material::P384(key), Scheme::EcdsaP384Sha384 | Scheme::EcdsaP384Sha256) => {
                let hash = match scheme {
                    Scheme::EcdsaP384Sha384 => Sha384::digest(message).to_vec(),
                    _ => Sha256::digest(message).to_vec(),
                };
                let signature: Result<p384::ecdsa::DerSignature, _> = key.sign_prehash(&hash);
                Ok(signature.map_err(|error| cannot(&error))?.as_bytes().to_vec())
            }
            (Material::Rsa(key), Scheme::RsaPssSha256) => {
                key.pss_sign::<Sha256>(message).map_err(|error| cannot(&error))
            }
            (Material::Rsa(key), Scheme::RsaPkcs1Sha256) => {
                let signature = key.sign(rsa::Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message));
                signature.map_err(|error| cannot(&error))
            }
            _ => Err(KeyError::Scheme {
                scheme,
                key: self.public.key_type(),
            }),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public)
    }
}

fn bad(found: &dyn fmt::Display) -> KeyError {
    KeyError::Form {
        expected: "a private key (PKCS#8) for Ed25519, ECDSA on P-256 or P-384, or RSA of 2048 to 8192 bits",
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::ecdsa;

    /// One key of each type; RSA's is fixed, as making one takes seconds.
    fn keys() -> Vec<SigningKey> {
        let ec = [Algorithm::Ed25519, Algorithm::P256, Algorithm::P384]
            .map(|algorithm| SigningKey::generate_as(algorithm).unwrap());
        let (_, rsa) = SecretDocument::from_pem(include_str!("testdata/rsa-private.pem")).unwrap();
        let rsa = SigningKey::from_pkcs8_der(rsa.as_bytes()).unwrap();
        ec.into_iter().chain([rsa]).collect()
    }

    #[test]
    fn signs_what_its_public_key_verifies() {
        for (key, other) in keys().iter().zip(keys()) {
            let scheme = key.public().default_scheme();
            let signature = key.sign(b"message").unwrap();
            assert_eq!(key.public().verify(scheme, b"message", &signature), Ok(()), "{scheme}");
            assert!(key.public().verify(scheme, b"another", &signature).is_err(), "{scheme}");
            let fits = other.public().verify(scheme, b"message", &signature).is_ok();
            assert_eq!(fits, scheme == Scheme::RsaPssSha256, "{scheme}");
        }
    }

    #[test]
    fn signs_with_every_scheme_of_its_type_and_no_other() {
        for key in keys() {
            let kind = key.public().key_type();
            for scheme in Scheme::EVERY {
                match key.sign_with(scheme, b"message") {
                    Ok(signature) => {
                        assert_eq!(key.public().verify(scheme, b"message", &signature), Ok(()), "{scheme}")
                    }
                    Err(error) => assert_eq!(error, KeyError::Scheme { scheme, key: kind }),
                }
                assert_eq!(
                    key.sign_with(scheme, b"").is_ok(),
                    scheme.key_type() == kind,
                    "{scheme}"
                );
            }
        }
    }

    #[test]
    fn signs_as_notary_does_whatever_the_curve() {
        let cases = [
            (Algorithm::P256, Scheme::EcdsaP256Sha256, 64),
            (Algorithm::P384, Scheme::EcdsaP384Sha256, 96),
        ];
        for (algorithm, scheme, length) in cases {
            let key = SigningKey::generate_as(algorithm).unwrap();
            let der = key.sign_with(scheme, b"message").unwrap();
            let fixed = ecdsa::to_fixed(key.public().key_type(), &der).unwrap();
            assert_eq!(fixed.len(), length);
            assert_eq!(key.public().verify_fixed(b"message", &fixed), Ok(()));
        }
    }

    #[test]
    fn every_key_comes_back_from_its_pkcs8_form() {
        for key in keys() {
            let der = key.to_pkcs8_der().unwrap();
            let read = SigningKey::from_pkcs8_der(der.as_bytes()).unwrap();
            assert_eq!(read.public(), key.public());
            let cut = der.as_bytes().get(1..).unwrap();
            assert!(SigningKey::from_pkcs8_der(cut).is_err());
        }
    }

    #[test]
    fn a_new_rsa_key_has_the_size_that_was_asked_for() {
        let key = SigningKey::generate_as(Algorithm::Rsa3072).unwrap();
        assert!((416..=430).contains(&key.public().spki_der().len()));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::from_seed(&[0x5a; 32]).unwrap();
        let text = format!("{key:?}");
        assert!(!text.contains("5a5a5a") && !text.contains("90, 90"), "{text}");
    }
}
