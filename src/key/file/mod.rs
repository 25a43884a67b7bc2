//! Private key files as others write them: openssl, Notary, cosign.
//!
//! - One private key in a file; openssl's `EC PARAMETERS` beside it are passed over.
//! - cosign's form may have an empty passphrase, which is tried where there is none.
//! - Notary's headers (`role:`, `gun:`) are read and say nothing of the key.
//! - openssl's old encryption (`Proc-Type: 4,ENCRYPTED`) derives its key with one round of MD5: it is refused, with the command
//!   that turns the file into a good one.

mod pem;

use pkcs8::der::Decode as _;
use pkcs8::der::pem::LineEnding;
use rsa::pkcs1;
use zeroize::Zeroizing;

use super::{KeyError, Passphrase, SigningKey, encrypted, sealed_box};
use crate::limit;

/// The label of cosign's keys; older versions wrote another.
const COSIGN: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";

const OLD_ENCRYPTION: &str = "openssl's old encryption (Proc-Type, DEK-Info), which is weak; turn it into a good one with \
                              `openssl pkey -in FILE -aes256 -out NEW.pem` and read that";

/// A private key file, not opened yet.
#[derive(Debug)]
pub struct KeyFile {
    form: Form,
    role: Option<String>,
    gun: Option<String>,
}

/// What a label says of the bytes below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pkcs8,
    EncryptedPkcs8,
    Sec1,
    Pkcs1,
    /// 32 bytes of the public key, 32 of the seed, 32 of the public key again.
    NotaryEd25519,
    Cosign,
}

/// The bytes, which are wiped when dropped.
struct Form {
    kind: Kind,
    bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl KeyFile {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`KeyError`] when it holds no private key in a form that is read, or more than one.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.len() > limit::KEY_FILE_BYTES {
            return Err(bad("it is longer than any supported key"));
        }
        let mut found = None;
        for block in pem::blocks(text)? {
            let kind = match block.label {
                "EC PARAMETERS" => continue,
                "PRIVATE KEY" => Kind::Pkcs8,
                "ENCRYPTED PRIVATE KEY" => Kind::EncryptedPkcs8,
                "EC PRIVATE KEY" => Kind::Sec1,
                "RSA PRIVATE KEY" => Kind::Pkcs1,
                "ED25519 PRIVATE KEY" => Kind::NotaryEd25519,
                COSIGN | "ENCRYPTED COSIGN PRIVATE KEY" => Kind::Cosign,
                label => return Err(bad(&format!("the label `{}`", label.escape_debug()))),
            };
            if block.header("Proc-Type").is_some() || block.header("DEK-Info").is_some() {
                return Err(KeyError::Unsupported(OLD_ENCRYPTION.to_owned()));
            }
            let file = Self {
                role: block.header("role").map(str::to_owned),
                gun: block.header("gun").map(str::to_owned),
                form: Form {
                    kind,
                    bytes: block.decode()?,
                },
            };
            if found.replace(file).is_some() {
                return Err(bad("several keys; put each into a file of its own"));
            }
        }
        found.ok_or_else(|| bad("no PEM (`-----BEGIN … PRIVATE KEY-----`)"))
    }

    /// Returns the role that Notary wrote beside the key.
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// Returns the collection that Notary wrote beside the key.
    pub fn gun(&self) -> Option<&str> {
        self.gun.as_deref()
    }

    /// Opens the key; one that is not encrypted needs no passphrase.
    ///
    /// # Errors
    /// [`KeyError::Passphrase`] when there is no passphrase for an encrypted key, or it does not open it; others when opening it
    /// would cost more than allowed, or the key is of a type that imgkit does not have.
    pub fn open(&self, passphrase: Option<&Passphrase>) -> Result<SigningKey, KeyError> {
        let bytes = self.form.bytes.as_slice();
        let passphrase = || passphrase.ok_or(KeyError::Passphrase);
        match self.form.kind {
            Kind::Pkcs8 => SigningKey::from_pkcs8_der(bytes),
            Kind::EncryptedPkcs8 => encrypted::open_der(bytes, passphrase()?),
            Kind::Sec1 => sec1(bytes),
            Kind::Pkcs1 => {
                let key = pkcs1::RsaPrivateKeyRef::from_der(bytes).map_err(|error| bad(&error.to_string()))?;
                SigningKey::from_rsa(key.try_into().map_err(|error: pkcs1::Error| bad(&error.to_string()))?)
            }
            Kind::NotaryEd25519 => notary_ed25519(bytes),
            Kind::Cosign => {
                let none = Passphrase::none();
                let plain = sealed_box::open(bytes, limit::KEY_FILE_BYTES, passphrase().unwrap_or(&none))?;
                SigningKey::from_pkcs8_der(&plain)
            }
        }
    }
}

impl SigningKey {
    /// Writes the key as cosign does, sealed under `passphrase`, which may be empty; it takes about a fifth of a second.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the kernel gives none.
    pub fn to_cosign_pem(&self, passphrase: &Passphrase) -> Result<Zeroizing<String>, KeyError> {
        let sealed = sealed_box::seal(self.to_pkcs8_der()?.as_bytes(), passphrase)?;
        let pem = pkcs8::der::pem::encode_string(COSIGN, LineEnding::LF, &sealed);
        pem.map(Zeroizing::new).map_err(|error| bad(&error.to_string()))
    }
}

/// Opens an `ECPrivateKey` (SEC 1, C.4), whose curve is named in it or told by its length.
fn sec1(der: &[u8]) -> Result<SigningKey, KeyError> {
    match (p256::SecretKey::from_sec1_der(der), p384::SecretKey::from_sec1_der(der)) {
        (Ok(key), _) => SigningKey::from_p256(&key),
        (Err(_), Ok(key)) => SigningKey::from_p384(&key),
        (Err(_), Err(_)) => Err(KeyError::Unsupported("of this EC key".to_owned())),
    }
}

fn notary_ed25519(bytes: &[u8]) -> Result<SigningKey, KeyError> {
    let (public, rest) = bytes
        .split_at_checked(32)
        .ok_or_else(|| bad("an Ed25519 key of another length"))?;
    let (seed, again) = rest
        .split_at_checked(32)
        .ok_or_else(|| bad("an Ed25519 key of another length"))?;
    let key = SigningKey::from_seed(seed.try_into().map_err(|_| bad("an Ed25519 key of another length"))?)?;
    match key.public().ed25519_bytes() {
        Some(bytes) if bytes == *public && bytes == *again => Ok(key),
        _ => Err(bad("an Ed25519 key whose halves do not fit each other")),
    }
}

fn bad(found: &str) -> KeyError {
    KeyError::Form {
        expected: "a private key in PEM (PKCS#8, SEC 1, PKCS#1, Notary's or cosign's)",
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::PublicKey;

    fn spki(body: &str) -> PublicKey {
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        PublicKey::from_pem(&pem).unwrap()
    }

    #[test]
    fn what_is_written_in_cosigns_form_is_read_back() {
        let key = SigningKey::generate_as(super::super::Algorithm::P256).unwrap();
        let passphrase = Passphrase::new("secret").unwrap();
        let pem = key.to_cosign_pem(&passphrase).unwrap();
        let opened = KeyFile::parse(&pem).unwrap().open(Some(&passphrase)).unwrap();
        assert_eq!(opened.public(), key.public());
    }

    // What the public halves are was found with other software: testdata/README.md.
    #[test]
    fn keys_that_cosign_wrote_open_with_their_passphrases_alone() {
        let mut ed25519 = [0; 32];
        hex::decode_to_slice(
            "d303f1e483d81713a0c971a151484798b1f14f2bd28a5e198463e2fd0e9e28ed",
            &mut ed25519,
        )
        .unwrap();
        let keys = [
            (
                include_str!("../testdata/cosign-old-label.key"),
                Some("hello"),
                spki(
                    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECYtspttZZ7e9PMd8wyU2CWDlpEXN\n\
                     bqTve0ZBuOXu9xTjtm7Z107cVLCCk96Ma4D0tesnKeCPwrcspLz7GNZJSw==",
                ),
            ),
            (
                include_str!("../testdata/cosign-new-label.key"),
                Some("hello"),
                spki(
                    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE7z9gA/tqa9iHt/f9F3ulyVi4lwqU\n\
                     LfHWfhG2mK4eyJ8LDcLstb+VVhxj3pkMjc3fNo+sSfiIY2NLR7c+DG1V4w==",
                ),
            ),
            (
                include_str!("../testdata/cosign-no-passphrase.key"),
                None,
                spki(
                    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEGmsWpZNuu+SUX70n3lVK4JLsaoV7\n\
                     T+rhea2rQUu29EQiatoLB06QdsmSd+GsQGlQzfcDtsKPzb+B2zLggrWZjg==",
                ),
            ),
            (
                include_str!("../testdata/sigstore-rs-p256.key"),
                Some("123"),
                spki(
                    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEI3sxu+p/GFrJyfgmSWr4qMzwbnd/\n\
                     pRAShSG6tHcrlhBSoRCAiVYOoQR7514Uz6ft2tQlnoJLHmHcFqqy0/ERJA==",
                ),
            ),
            (
                include_str!("../testdata/sigstore-rs-ed25519.key"),
                Some("123"),
                PublicKey::from_ed25519(&ed25519).unwrap(),
            ),
        ];
        for (pem, passphrase, public) in keys {
            let file = KeyFile::parse(pem).unwrap();
            let right = passphrase.map(|text| Passphrase::new(text).unwrap());
            assert_eq!(*file.open(right.as_ref()).unwrap().public(), public);
            let wrong = Passphrase::new("wrong").unwrap();
            assert!(matches!(file.open(Some(&wrong)), Err(KeyError::Passphrase)));
            if right.is_some() {
                assert!(matches!(file.open(None), Err(KeyError::Passphrase)));
            }
        }
    }
}
