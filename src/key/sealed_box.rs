//! Bytes sealed under a passphrase: a NaCl secretbox whose key scrypt derives, as JSON. cosign keeps its private keys so, and
//! imgkit the backups of keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use pkcs8::pkcs5::scrypt;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{KeyError, Passphrase, encrypted};
use crate::json::{self, Limits};

/// Cost of one try: N = 2^16, r = 8 (64 MiB), p = 1, as cosign has it.
const COST: Params = Params { n: 1 << 16, r: 8, p: 1 };

const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";

#[derive(Serialize, Deserialize)]
struct Document {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Seals bytes under a passphrase.
///
/// # Errors
/// [`KeyError::Randomness`] when the kernel has none.
pub fn seal(plain: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, KeyError> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    for bytes in [salt.as_mut_slice(), nonce.as_mut_slice()] {
        getrandom::fill(bytes).map_err(|error| KeyError::Randomness(error.to_string()))?;
    }
    let secretbox = derive(COST, &salt, passphrase)?;
    let ciphertext = secretbox.encrypt(&nonce.into(), plain);
    let document = Document {
        kdf: Kdf {
            name: KDF.to_owned(),
            params: COST,
            salt: STANDARD.encode(salt),
        },
        cipher: Cipher {
            name: CIPHER.to_owned(),
            nonce: STANDARD.encode(nonce),
        },
        ciphertext: STANDARD.encode(ciphertext.map_err(|error| bad(&error.to_string()))?),
    };
    serde_json::to_vec(&document).map_err(|error| bad(&error.to_string()))
}

/// Opens what was sealed, at most `max` bytes of it.
///
/// # Errors
/// [`KeyError::Form`] when it is nothing sealed so, [`KeyError::Cost`] when opening it would cost more than allowed,
/// [`KeyError::Passphrase`] when the passphrase does not open it.
pub fn open(sealed: &[u8], max: usize, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let document: Document = json::decode(sealed, Limits::integers(max)).map_err(|error| bad(&error.to_string()))?;
    if document.kdf.name != KDF || document.cipher.name != CIPHER {
        let (kdf, cipher) = (document.kdf.name.escape_debug(), document.cipher.name.escape_debug());
        return Err(KeyError::Unsupported(format!("{kdf} with {cipher}")));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|error| bad(&error.to_string()));
    let nonce: Result<[u8; 24], _> = decode(&document.cipher.nonce)?.try_into();
    let nonce = nonce.map_err(|_| bad("a nonce that has not 24 bytes"))?;
    let secretbox = derive(document.kdf.params, &decode(&document.kdf.salt)?, passphrase)?;
    let opened = secretbox.decrypt(&nonce.into(), decode(&document.ciphertext)?.as_slice());
    opened.map(Zeroizing::new).map_err(|_| KeyError::Passphrase)
}

fn derive(cost: Params, salt: &[u8], passphrase: &Passphrase) -> Result<XSalsa20Poly1305, KeyError> {
    encrypted::check_scrypt(cost.n, cost.r.into(), cost.p.into())?;
    let log = u8::try_from(cost.n.ilog2());
    let log = log.map_err(|error| bad(&error.to_string()))?;
    let parameters = scrypt::Params::new(log, cost.r, cost.p).map_err(|error| bad(&error.to_string()))?;
    let mut key = Zeroizing::new([0; 32]);
    let derived = scrypt::scrypt(passphrase.text().as_bytes(), salt, &parameters, key.as_mut_slice());
    derived.map_err(|error| bad(&error.to_string()))?;
    Ok(XSalsa20Poly1305::new(key.as_slice().into()))
}

fn bad(found: &str) -> KeyError {
    KeyError::Form {
        expected: "JSON of a NaCl secretbox with a key by scrypt",
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn opens_with_the_passphrase_only_and_unchanged() {
        let passphrase = Passphrase::new("secret").unwrap();
        let sealed = seal(b"content", &passphrase).unwrap();
        assert_eq!(open(&sealed, 4096, &passphrase).unwrap().as_slice(), b"content");
        assert!(!String::from_utf8_lossy(&sealed).contains("content"));
        let wrong = Passphrase::new("wrong").unwrap();
        assert_eq!(open(&sealed, 4096, &wrong).unwrap_err(), KeyError::Passphrase);
        assert!(open(&sealed, 10, &passphrase).is_err());
    }

    #[test]
    fn refuses_costs_that_would_exhaust_the_reader() {
        let passphrase = Passphrase::new("secret").unwrap();
        let sealed = String::from_utf8(seal(b"content", &passphrase).unwrap()).unwrap();
        for (n, p, expected_cost) in [
            ("1099511627776", 1, true),
            ("0", 1, true),
            ("65535", 1, false),
            ("1", 1, false),
            ("1", 2_097_151, true),
            ("2", u32::MAX, true),
        ] {
            let hostile = sealed.replace("\"N\":65536", &format!("\"N\":{n}"));
            let hostile = hostile.replace("\"p\":1", &format!("\"p\":{p}"));
            let refused = open(hostile.as_bytes(), 4096, &passphrase).unwrap_err();
            assert_eq!(
                matches!(refused, KeyError::Cost { .. }),
                expected_cost,
                "{n} {p}: {refused}"
            );
        }
    }
}
