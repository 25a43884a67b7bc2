//! Private keys as encrypted PKCS#8 in PEM (RFC 5958, RFC 8018), which openssl reads and writes too.
//!
//! - Written with scrypt and AES-256-CBC. What the passphrase costs to try stands in the file, so reading bounds it before
//!   any of it is spent.
//! - Read with scrypt or PBKDF2.

use std::fmt;

use pkcs8::der::asn1::OctetString;
use pkcs8::der::pem::LineEnding;
use pkcs8::der::{Decode as _, SecretDocument};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::pkcs5::scrypt;
use pkcs8::{EncryptedPrivateKeyInfoOwned, EncryptedPrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::{KeyError, SigningKey};
use crate::limit;

const PEM_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// Cost of one try: N = 2^14, r = 8 (16 MiB, the most that openssl reads by default), p = 5, as OWASP advises for that memory.
const LOG_N: u8 = 14;
const BLOCK_SIZE: u32 = 8;
const PARALLELIZATION: u32 = 5;

/// A secret text that opens a private key; wiped when dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase.
    ///
    /// # Errors
    /// [`KeyError::Form`] when it is empty.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = Zeroizing::new(text.into());
        if text.is_empty() {
            return Err(KeyError::Form {
                expected: "a passphrase",
                found: "an empty one".into(),
            });
        }
        Ok(Self(text))
    }

    /// Returns the empty one, which others write keys under that they do not protect.
    pub(super) fn none() -> Self {
        Self(Zeroizing::default())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the text, for what must have it: a key derivation, a token.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

impl SigningKey {
    /// Writes the key encrypted under `passphrase`; it takes about a quarter of a second.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the kernel gives no salt.
    pub fn to_encrypted_pem(&self, passphrase: &Passphrase) -> Result<String, KeyError> {
        let cannot = |error: &dyn fmt::Display| KeyError::Form {
            expected: "a private key that can be written",
            found: error.to_string(),
        };
        let mut salt = [0; 16];
        let mut iv = [0; 16];
        for bytes in [&mut salt, &mut iv] {
            getrandom::fill(bytes).map_err(|error| KeyError::Randomness(error.to_string()))?;
        }
        let plain = self.to_pkcs8_der()?;
        let cost = scrypt::Params::new(LOG_N, BLOCK_SIZE, PARALLELIZATION).map_err(|error| cannot(&error))?;
        let parameters = Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).map_err(|error| cannot(&error))?;
        let data = parameters.encrypt(passphrase.0.as_bytes(), plain.as_bytes());
        let info = EncryptedPrivateKeyInfoOwned {
            encryption_algorithm: EncryptionScheme::from(parameters),
            encrypted_data: data
                .map_err(|error| cannot(&error))
                .and_then(|data| OctetString::new(data).map_err(|error| cannot(&error)))?,
        };
        let document = SecretDocument::try_from(info).map_err(|error| cannot(&error))?;
        let pem = document
            .to_pem(PEM_LABEL, LineEnding::LF)
            .map_err(|error| cannot(&error))?;
        Ok(pem.to_string())
    }

    /// Opens an encrypted key.
    ///
    /// # Errors
    /// [`KeyError::Form`] when the text is no encrypted key, [`KeyError::Cost`] when opening it would take more memory or
    /// time than allowed, [`KeyError::Passphrase`] when the passphrase does not open it.
    pub fn from_encrypted_pem(pem: &str, passphrase: &Passphrase) -> Result<Self, KeyError> {
        open_der(from_pem(pem)?.as_bytes(), passphrase)
    }
}

/// Opens an `EncryptedPrivateKeyInfo` (RFC 5958, section 3) in DER.
pub(super) fn open_der(der: &[u8], passphrase: &Passphrase) -> Result<SigningKey, KeyError> {
    let plain = decrypt_der(der, passphrase)?;
    let opened = SigningKey::from_pkcs8_der(plain.as_bytes());
    let opened = opened.or_else(|_| SigningKey::from_pkcs8_der(&as_version_1(plain.as_bytes())));
    // CBC without authentication: a wrong passphrase shows itself here as nonsense.
    opened.map_err(|error| match error {
        KeyError::Form { .. } => KeyError::Passphrase,
        other => other,
    })
}

/// Calls a `PrivateKeyInfo` version 1, which has no public key in the place where version 2 must have one (RFC 5958): Notary writes
/// version 2 without.
fn as_version_1(der: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut der = Zeroizing::new(der.to_vec());
    // The sequence's length takes one byte, or more, which the first then says.
    let at = match der.get(1) {
        Some(0x81) => 3,
        Some(0x82) => 4,
        _ => 2,
    };
    if let Some([2, 1, version]) = der.get_mut(at..at + 3) {
        *version = 0;
    }
    der
}

fn from_pem(pem: &str) -> Result<SecretDocument, KeyError> {
    if pem.len() > limit::KEY_FILE_BYTES {
        return Err(bad(&"it is longer than any supported key"));
    }
    let (label, document) = SecretDocument::from_pem(pem.trim()).map_err(|error| bad(&error))?;
    match label {
        PEM_LABEL => Ok(document),
        label => Err(bad(&format!("the label `{label}`"))),
    }
}

fn decrypt_der(der: &[u8], passphrase: &Passphrase) -> Result<SecretDocument, KeyError> {
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| bad(&error))?;
    let parameters = info
        .encryption_algorithm
        .pbes2()
        .ok_or_else(|| bad(&"another encryption than PBES2"))?;
    check_cost(parameters)?;
    info.decrypt(passphrase.0.as_bytes()).map_err(|_| KeyError::Passphrase)
}

/// Refuses parameters before they cost anything, and those that the decoder's arithmetic does not expect.
fn check_cost(parameters: &Parameters) -> Result<(), KeyError> {
    match &parameters.kdf {
        Kdf::Scrypt(cost) => check_scrypt(cost.cost_parameter, cost.block_size.into(), cost.parallelization.into()),
        Kdf::Pbkdf2(cost) => bound("iterations", cost.iteration_count.into(), limit::PBKDF2_ITERATIONS),
        other => Err(KeyError::Unsupported(other.oid().to_string())),
    }
}

/// Refuses what scrypt would cost with these parameters before it costs anything, and what RFC 7914 (section 6) excludes: N has to be
/// a power of two above 1, and what it says of p, `p <= (2^32 - 1) * 32 / (128 * r)`, the bound of memory says already.
pub(super) fn check_scrypt(n: u64, r: u64, p: u64) -> Result<(), KeyError> {
    // One block is 128 * r bytes: N of them are mixed, one after the other, into each of p.
    let block = r.saturating_mul(128);
    bound(
        "scrypt memory",
        block.saturating_mul(n.saturating_add(p)),
        limit::SCRYPT_MEMORY,
    )?;
    bound(
        "scrypt work",
        block.saturating_mul(n).saturating_mul(p),
        limit::SCRYPT_WORK,
    )?;
    match n > 1 && n.is_power_of_two() {
        true => Ok(()),
        false => Err(KeyError::Form {
            expected: "scrypt with a cost N that is a power of two above 1",
            found: format!("N = {n}"),
        }),
    }
}

fn bound(what: &'static str, found: u64, limit: u64) -> Result<(), KeyError> {
    match found {
        1.. if found <= limit => Ok(()),
        _ => Err(KeyError::Cost { what, limit, found }),
    }
}

fn bad(found: &dyn fmt::Display) -> KeyError {
    KeyError::Form {
        expected: "an encrypted private key in PEM (PKCS#8, scrypt or PBKDF2)",
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::PublicKey;
    use pkcs8::der::Encode as _;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text).unwrap()
    }

    #[test]
    fn opens_with_the_passphrase_only() {
        let key = SigningKey::generate().unwrap();
        let pem = key.to_encrypted_pem(&passphrase("correct horse")).unwrap();
        let opened = SigningKey::from_encrypted_pem(&pem, &passphrase("correct horse")).unwrap();
        assert_eq!(opened.public(), key.public());
        let refused = SigningKey::from_encrypted_pem(&pem, &passphrase("wrong horse"));
        assert_eq!(refused.unwrap_err(), KeyError::Passphrase);
    }

    #[test]
    fn opens_what_openssl_wrote() {
        let public = PublicKey::from_pem(include_str!("testdata/ed25519.pem")).unwrap();
        for pem in [
            include_str!("testdata/ed25519-scrypt.pem"),
            include_str!("testdata/ed25519-pbkdf2.pem"),
        ] {
            let key = SigningKey::from_encrypted_pem(pem, &passphrase("secret")).unwrap();
            assert_eq!(key.public(), &public);
        }
    }

    /// Opens openssl's key with other parameters of scrypt.
    fn open_at(n: u64, r: u16, p: u16) -> KeyError {
        let (_, document) = SecretDocument::from_pem(include_str!("testdata/ed25519-scrypt.pem")).unwrap();
        let info = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).unwrap();
        let mut parameters = info.encryption_algorithm.pbes2().unwrap().clone();
        let mut cost = *parameters.kdf.scrypt().unwrap();
        (cost.cost_parameter, cost.block_size, cost.parallelization) = (n, r, p);
        parameters.kdf = Kdf::Scrypt(cost);
        let hostile = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: parameters.into(),
            encrypted_data: info.encrypted_data,
        };
        let hostile = SecretDocument::try_from(hostile.to_der().unwrap()).unwrap();
        let pem = hostile.to_pem(PEM_LABEL, LineEnding::LF).unwrap();
        SigningKey::from_encrypted_pem(&pem, &passphrase("secret")).unwrap_err()
    }

    #[test]
    fn refuses_parameters_that_would_exhaust_the_reader() {
        for (n, r, p) in [
            (0, 8, 1),
            (1 << 40, 8, 1),
            (u64::MAX, 65_535, 65_535),
            (1 << 14, 8, 65_535),
            (1 << 14, 0, 1),
            (1 << 14, 8, 0),
            // The results of p take memory too, however little is mixed into each.
            (2, 128, 65_535),
        ] {
            let refused = open_at(n, r, p);
            assert!(matches!(refused, KeyError::Cost { .. }), "{n} {r} {p}: {refused}");
        }
    }

    #[test]
    fn a_cost_is_a_power_of_two_above_1() {
        for n in [1, 3, (1 << 14) - 1] {
            let refused = open_at(n, 8, 1);
            assert!(matches!(refused, KeyError::Form { .. }), "{n}: {refused}");
        }
    }

    #[test]
    fn the_bounds_of_scrypt_admit_what_others_write() {
        for (n, r, p) in [
            (1 << 14, 8, 1),
            (1 << 16, 8, 1),
            (1 << 17, 8, 1),
            (1 << 18, 8, 1),
            (1 << 15, 8, 3),
        ] {
            assert_eq!(check_scrypt(n, r, p), Ok(()), "{n} {r} {p}");
        }
        // Gigabytes of results, and what 64 bits do not hold.
        assert!(check_scrypt(1, 8, 2_097_151).is_err() && check_scrypt(2, 1 << 32, 1 << 32).is_err());
    }

    #[test]
    fn an_empty_passphrase_is_none() {
        assert!(Passphrase::new("").is_err());
        assert_eq!(format!("{:?}", passphrase("secret")), "Passphrase");
    }
}
