//! Public keys of every supported algorithm.

use std::fmt;
use std::hash::{Hash, Hasher};

use ring::signature as ring_signature;
use spki::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use spki::der::pem::LineEnding;
use spki::der::{Decode, Document, Encode, Reader};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::{KeyError, Scheme, ecdsa, prehashed};
use crate::digest::Digest;
use crate::limit;

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

const PEM_LABEL: &str = "PUBLIC KEY";

/// A public key, checked for form when it was read.
///
/// Two keys are equal when their SubjectPublicKeyInfo is, whatever text they were read from.
#[derive(Clone)]
pub struct PublicKey {
    material: Material,
    spki: Vec<u8>,
}

#[derive(Clone)]
enum Material {
    Ed25519(ed25519_dalek::VerifyingKey),
    /// An uncompressed point.
    EcdsaP256(Vec<u8>),
    EcdsaP384(Vec<u8>),
    /// An `RSAPublicKey` in DER.
    Rsa(Vec<u8>),
}

/// The algorithm that a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 to 8192 bits.
    Rsa,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::Ed25519 => "Ed25519",
            Self::Rsa => "RSA",
        })
    }
}

impl PublicKey {
    /// Makes a key of the 32 bytes of an Ed25519 public key.
    ///
    /// # Errors
    /// [`KeyError::Form`] when they are no point of the curve, or one of small order.
    pub fn from_ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        let bad = |found: &str| form("an Ed25519 public key", found);
        let array = bytes.try_into().map_err(|_| bad("it has not 32 bytes"))?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(array).map_err(|_| bad("no point of the curve"))?;
        if key.is_weak() {
            return Err(bad("a point of small order"));
        }
        let algorithm = AlgorithmIdentifierRef {
            oid: ED25519,
            parameters: None,
        };
        let spki = SubjectPublicKeyInfoRef {
            algorithm,
            subject_public_key: BitStringRef::from_bytes(bytes).map_err(|error| bad(&error.to_string()))?,
        };
        Ok(Self {
            material: Material::Ed25519(key),
            spki: spki.to_der().map_err(|error| bad(&error.to_string()))?,
        })
    }

    /// Makes an ECDSA key of an uncompressed point (SEC 1, 2.3.3), as older TUF metadata write it in hexadecimal.
    ///
    /// # Errors
    /// [`KeyError::Form`] when the bytes are no such point, or `key_type` has none.
    pub fn from_ecdsa_point(key_type: KeyType, point: &[u8]) -> Result<Self, KeyError> {
        let bad = |found: &str| form("an uncompressed point", found);
        let curve = match key_type {
            KeyType::EcdsaP256 => &P256,
            KeyType::EcdsaP384 => &P384,
            KeyType::Ed25519 | KeyType::Rsa => return Err(bad("a key of another type")),
        };
        let spki = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef {
                oid: EC,
                parameters: Some(AnyRef::from(curve)),
            },
            subject_public_key: BitStringRef::from_bytes(point).map_err(|error| bad(&error.to_string()))?,
        };
        Self::from_spki_der(&spki.to_der().map_err(|error| bad(&error.to_string()))?)
    }

    /// Makes an RSA key of its numbers, big-endian.
    ///
    /// # Errors
    /// As [`PublicKey::from_spki_der`].
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let bad = |error: spki::der::Error| form("an RSA public key", &error.to_string());
        let numbers = rsa::pkcs1::RsaPublicKeyRef {
            modulus: UintRef::new(modulus).map_err(bad)?,
            public_exponent: UintRef::new(exponent).map_err(bad)?,
        };
        let key = numbers.to_der().map_err(bad)?;
        Self::from_parts(RSA, Some(AnyRef::NULL), &key)
    }

    /// Makes a key of the point that a PKCS#11 token has for it: a DER OCTET STRING, or bare as some tokens have it. The curve
    /// is told by the point's length.
    ///
    /// # Errors
    /// As [`PublicKey::from_spki_der`].
    pub fn from_token_point(edwards: bool, point: &[u8]) -> Result<Self, KeyError> {
        let inner = <&OctetStringRef>::from_der(point).map(|inner| inner.as_bytes());
        let bytes = inner.unwrap_or(point);
        match (edwards, bytes.len()) {
            (true, 32) => Self::from_ed25519(bytes),
            (false, 65) => Self::from_parts(EC, Some(AnyRef::from(&P256)), bytes),
            (false, 97) => Self::from_parts(EC, Some(AnyRef::from(&P384)), bytes),
            (_, length) => Err(KeyError::Unsupported(format!("with points of {length} bytes"))),
        }
    }

    fn from_parts(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, key: &[u8]) -> Result<Self, KeyError> {
        let bad = |error: spki::der::Error| form("a SubjectPublicKeyInfo", &error.to_string());
        let info = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid, parameters },
            subject_public_key: BitStringRef::from_bytes(key).map_err(bad)?,
        };
        Self::from_spki_der(&info.to_der().map_err(bad)?)
    }

    /// Reads a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) in DER.
    ///
    /// # Errors
    /// [`KeyError`] when the bytes are none, or the key is of another type or size than imgkit verifies with.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let bad = |found: &str| form("a SubjectPublicKeyInfo", found);
        if der.len() > limit::PUBLIC_KEY_BYTES {
            return Err(bad("it is longer than any supported key"));
        }
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|error| bad(&error.to_string()))?;
        let key = info.subject_public_key.as_bytes();
        let key = key.ok_or_else(|| bad("its bit string is not made of bytes"))?;
        let curve = info.algorithm.parameters_oid().ok();
        let material = match (info.algorithm.oid, curve) {
            (ED25519, _) if info.algorithm.parameters.is_none() => return Self::from_ed25519(key),
            (EC, Some(P256)) => Material::EcdsaP256(point(key, 32)?),
            (EC, Some(P384)) => Material::EcdsaP384(point(key, 48)?),
            (RSA, _) if info.algorithm.parameters == Some(AnyRef::NULL) => Material::Rsa(rsa(key)?),
            (oid, curve) => {
                let curve = curve.map(|curve| format!(" with {curve}")).unwrap_or_default();
                return Err(KeyError::Unsupported(format!("{oid}{curve}")));
            }
        };
        Ok(Self {
            material,
            spki: der.to_vec(),
        })
    }

    /// Reads a SubjectPublicKeyInfo in PEM (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// As [`PublicKey::from_spki_der`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let bad = |found: &str| form("a public key in PEM", found);
        if pem.len() > 2 * limit::PUBLIC_KEY_BYTES {
            return Err(bad("it is longer than any supported key"));
        }
        let (label, der) = Document::from_pem(pem.trim()).map_err(|error| bad(&error.to_string()))?;
        if label != PEM_LABEL {
            return Err(bad(&format!("its label is `{label}`")));
        }
        Self::from_spki_der(der.as_bytes())
    }

    /// Returns the SubjectPublicKeyInfo in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Returns the SHA-256 of the SubjectPublicKeyInfo: the same for one key, however it is named or wrapped.
    pub fn fingerprint(&self) -> Digest {
        Digest::sha256(&self.spki)
    }

    /// Writes the SubjectPublicKeyInfo in PEM, as `openssl pkeyutl -verify -pubin` reads it.
    ///
    /// # Errors
    /// [`KeyError::Form`], which no key that was read or made here gives.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let bad = |error: spki::der::Error| form("a SubjectPublicKeyInfo", &error.to_string());
        let document = Document::try_from(self.spki.as_slice()).map_err(bad)?;
        document.to_pem(PEM_LABEL, LineEnding::LF).map_err(bad)
    }

    /// Returns the key's 32 bytes if it is for Ed25519.
    pub fn ed25519_bytes(&self) -> Option<[u8; 32]> {
        match &self.material {
            Material::Ed25519(key) => Some(key.to_bytes()),
            _ => None,
        }
    }

    /// Returns the algorithm that the key is for.
    pub fn key_type(&self) -> KeyType {
        match self.material {
            Material::EcdsaP256(_) => KeyType::EcdsaP256,
            Material::EcdsaP384(_) => KeyType::EcdsaP384,
            Material::Ed25519(_) => KeyType::Ed25519,
            Material::Rsa(_) => KeyType::Rsa,
        }
    }

    /// Returns the scheme that this key signs with unless somebody says otherwise.
    pub fn default_scheme(&self) -> Scheme {
        match self.material {
            Material::EcdsaP256(_) => Scheme::EcdsaP256Sha256,
            Material::EcdsaP384(_) => Scheme::EcdsaP384Sha384,
            Material::Ed25519(_) => Scheme::Ed25519,
            Material::Rsa(_) => Scheme::RsaPssSha256,
        }
    }

    /// Checks that `signature` was made with `scheme` by this key over `message`.
    ///
    /// # Errors
    /// [`KeyError::Scheme`] when the scheme does not fit the key, [`KeyError::Signature`] when the signature is not good.
    pub fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let bad = KeyError::Signature(scheme);
        let (algorithm, key): (&dyn ring_signature::VerificationAlgorithm, &[u8]) = match (&self.material, scheme) {
            (Material::Ed25519(key), Scheme::Ed25519) => {
                let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| bad.clone())?;
                return key.verify_strict(message, &signature).map_err(|_| bad);
            }
            (Material::EcdsaP256(key), Scheme::EcdsaP256Sha256) => (&ring_signature::ECDSA_P256_SHA256_ASN1, key),
            (Material::EcdsaP384(key), Scheme::EcdsaP384Sha256) => (&ring_signature::ECDSA_P384_SHA256_ASN1, key),
            (Material::EcdsaP384(key), Scheme::EcdsaP384Sha384) => (&ring_signature::ECDSA_P384_SHA384_ASN1, key),
            (Material::Rsa(key), Scheme::RsaPssSha256) => (&ring_signature::RSA_PSS_2048_8192_SHA256, key),
            (Material::Rsa(key), Scheme::RsaPkcs1Sha256) => (&ring_signature::RSA_PKCS1_2048_8192_SHA256, key),
            _ => {
                return Err(KeyError::Scheme {
                    scheme,
                    key: self.key_type(),
                });
            }
        };
        let key = ring_signature::UnparsedPublicKey::new(algorithm, key);
        key.verify(message, signature).map_err(|_| bad)
    }

    /// Checks that `signature` was made with `scheme` by this key over a message with this digest, by the scheme's hash.
    ///
    /// # Errors
    /// [`KeyError::Scheme`] when the scheme does not fit the key, or signs no digests (Ed25519); [`KeyError::Signature`] when the
    /// signature is not good.
    pub fn verify_digest(&self, scheme: Scheme, digest: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let length = if scheme == Scheme::EcdsaP384Sha384 { 48 } else { 32 };
        let is_good = match (&self.material, scheme) {
            (Material::EcdsaP256(key), Scheme::EcdsaP256Sha256) => prehashed::p256_is_good(key, digest, signature),
            (Material::EcdsaP384(key), Scheme::EcdsaP384Sha256 | Scheme::EcdsaP384Sha384) => {
                prehashed::p384_is_good(key, digest, signature)
            }
            (Material::Rsa(key), Scheme::RsaPssSha256) => prehashed::rsa_pss_is_good(key, digest, signature),
            (Material::Rsa(key), Scheme::RsaPkcs1Sha256) => prehashed::rsa_pkcs1_is_good(key, digest, signature),
            _ => {
                return Err(KeyError::Scheme {
                    scheme,
                    key: self.key_type(),
                });
            }
        };
        match is_good && digest.len() == length {
            true => Ok(()),
            false => Err(KeyError::Signature(scheme)),
        }
    }

    /// Checks an ECDSA signature r‖s of fixed width over SHA-256 of the message, whatever the curve (Notary v1's `ecdsa`).
    ///
    /// # Errors
    /// [`KeyError::Scheme`] when the key is not for ECDSA, [`KeyError::Signature`] when the signature is not good.
    pub fn verify_fixed(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let bad = KeyError::Signature(Scheme::EcdsaP256Sha256);
        let (algorithm, key, coordinate): (&dyn ring_signature::VerificationAlgorithm, &[u8], usize) =
            match &self.material {
                Material::EcdsaP256(key) => (&ring_signature::ECDSA_P256_SHA256_ASN1, key, 32),
                Material::EcdsaP384(key) => (&ring_signature::ECDSA_P384_SHA256_ASN1, key, 48),
                _ => {
                    return Err(KeyError::Scheme {
                        scheme: Scheme::EcdsaP256Sha256,
                        key: self.key_type(),
                    });
                }
            };
        if signature.len() != 2 * coordinate {
            return Err(bad);
        }
        let (r, s) = signature.split_at(coordinate);
        let key = ring_signature::UnparsedPublicKey::new(algorithm, key);
        key.verify(message, &ecdsa::to_der(r, s)).map_err(|_| bad)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spki.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key_type(), hex::encode(&self.spki))
    }
}

fn form(expected: &'static str, found: &str) -> KeyError {
    KeyError::Form {
        expected,
        found: found.into(),
    }
}

fn point(key: &[u8], coordinate: usize) -> Result<Vec<u8>, KeyError> {
    // SEC 1, 2.3.3: 04, x, y. Whether it lies on the curve is checked at each use.
    if key.len() == 1 + 2 * coordinate && key.first() == Some(&4) {
        Ok(key.to_vec())
    } else {
        Err(form("an uncompressed point", "another length or encoding"))
    }
}

fn rsa(key: &[u8]) -> Result<Vec<u8>, KeyError> {
    // RFC 8017, A.1.1: SEQUENCE { modulus INTEGER, publicExponent INTEGER }.
    let bad = |found: &str| form("an RSA public key of 2048 to 8192 bits", found);
    let not_der = |error: spki::der::Error| bad(&error.to_string());
    let sequence = AnyRef::from_der(key).map_err(not_der)?;
    let numbers = sequence.sequence(|reader| Ok::<_, spki::der::Error>((reader.decode()?, reader.decode()?)));
    let (modulus, _exponent): (UintRef<'_>, UintRef<'_>) = numbers.map_err(not_der)?;
    match modulus.as_bytes().len() * 8 {
        2048..=8192 => Ok(key.to_vec()),
        bits => Err(bad(&format!("one of {bits} bits"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// RFC 8032, 7.1, test 2.
    const ED25519_KEY: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    const ED25519_SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                                     085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

    fn ed25519() -> PublicKey {
        PublicKey::from_ed25519(&hex::decode(ED25519_KEY).unwrap()).unwrap()
    }

    #[test]
    fn verifies_the_rfcs_ed25519_signature_and_no_other() {
        let signature = hex::decode(ED25519_SIGNATURE).unwrap();
        let verify = |message: &[u8], signature: &[u8]| ed25519().verify(Scheme::Ed25519, message, signature);
        assert_eq!(verify(&[0x72], &signature), Ok(()));
        assert_eq!(verify(&[0x73], &signature), Err(KeyError::Signature(Scheme::Ed25519)));
        assert!(verify(&[0x72], signature.get(1..).unwrap()).is_err());
        assert!(verify(&[0x72], &[signature.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn refuses_a_weak_ed25519_key() {
        let mut one = [0; 32];
        *one.first_mut().unwrap() = 1;
        assert!(PublicKey::from_ed25519(&one).is_err());
        assert!(PublicKey::from_ed25519(&[0; 31]).is_err());
    }

    #[test]
    fn pem_and_der_come_back_equal() {
        let key = ed25519();
        assert_eq!(PublicKey::from_pem(&key.to_pem().unwrap()).unwrap(), key);
        assert_eq!(PublicKey::from_spki_der(key.spki_der()).unwrap(), key);
        assert!(PublicKey::from_spki_der(&[key.spki_der(), &[0]].concat()).is_err());
        let private = key.to_pem().unwrap().replace("PUBLIC", "PRIVATE");
        assert!(PublicKey::from_pem(&private).is_err());
    }

    #[test]
    fn a_scheme_that_does_not_fit_is_refused_before_any_arithmetic() {
        let refused = ed25519().verify(Scheme::RsaPssSha256, b"", b"");
        assert!(matches!(refused, Err(KeyError::Scheme { .. })));
    }

    #[test]
    fn every_key_type_verifies_what_openssl_signed() {
        // Made with openssl 3.0: `genpkey`, `pkeyutl -sign -rawin`; see testdata/README.md.
        let message = include_bytes!("testdata/message");
        let cases: [(&str, &[u8], Scheme); 4] = [
            (
                include_str!("testdata/p256.pem"),
                include_bytes!("testdata/p256.sig"),
                Scheme::EcdsaP256Sha256,
            ),
            (
                include_str!("testdata/p384.pem"),
                include_bytes!("testdata/p384.sig"),
                Scheme::EcdsaP384Sha384,
            ),
            (
                include_str!("testdata/rsa.pem"),
                include_bytes!("testdata/rsa-pss.sig"),
                Scheme::RsaPssSha256,
            ),
            (
                include_str!("testdata/rsa.pem"),
                include_bytes!("testdata/rsa-pkcs1.sig"),
                Scheme::RsaPkcs1Sha256,
            ),
        ];
        for (pem, signature, scheme) in cases {
            let key = PublicKey::from_pem(pem).unwrap();
            assert_eq!(key.key_type(), scheme.key_type());
            assert_eq!(key.verify(scheme, message, signature), Ok(()), "{scheme}");
            assert!(key.verify(scheme, b"another", signature).is_err(), "{scheme}");
            assert_eq!(key.to_pem().unwrap(), pem);
        }
    }

    #[test]
    fn refuses_small_rsa_keys_and_unknown_curves() {
        let small = PublicKey::from_pem(include_str!("testdata/rsa-1024.pem"));
        assert!(matches!(small, Err(KeyError::Form { .. })), "{small:?}");
        let curve = PublicKey::from_pem(include_str!("testdata/secp256k1.pem"));
        assert!(matches!(curve, Err(KeyError::Unsupported(_))), "{curve:?}");
    }
}
