//! Private keys as Notary and `docker trust` keep them (docs/notary.md, "Key files"): encrypted PKCS#8 in PEM, with
//! the role, and the collection where the key is for one, as headers.
//!
//! - Written with PBKDF2 over HMAC-SHA-1 with 2,048 iterations and AES-256-CBC: the only form that Notary's own client opens.
//!   imgkit's own key files ([`SigningKey::to_encrypted_pem`]) cost an attacker far more to try.

use pkcs8::EncryptedPrivateKeyInfoOwned;
use pkcs8::der::SecretDocument;
use pkcs8::der::asn1::OctetString;
use pkcs8::der::pem::LineEnding;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{EncryptionScheme as Cipher, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt};

use super::file::KeyFile;
use super::{KeyError, Passphrase, SigningKey};

const PEM_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// What Notary's own client writes and reads.
const ITERATIONS: u32 = 2048;

/// What a key file says of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotaryKeyInfo {
    /// `root`, `targets`, `snapshot`, `delegation`, a delegated role, or a signer's name.
    pub role: String,
    /// The collection that the key is for; none for root and delegation keys.
    pub gun: Option<String>,
}

impl NotaryKeyInfo {
    /// Reads the headers of a key file; what is none has none.
    pub fn read(text: &str) -> Self {
        let file = KeyFile::parse(text).ok();
        let header = |of: fn(&KeyFile) -> Option<&str>| file.as_ref().and_then(of).map(str::to_owned);
        Self {
            role: header(KeyFile::role).unwrap_or_default(),
            gun: header(KeyFile::gun),
        }
    }
}

impl SigningKey {
    /// Writes the key as Notary's key files have it.
    ///
    /// # Errors
    /// [`KeyError::Randomness`]; [`KeyError::Form`] when a header would not be one line.
    pub fn to_notary_pem(&self, info: &NotaryKeyInfo, passphrase: &Passphrase) -> Result<String, KeyError> {
        let bad = |error: &dyn ToString| KeyError::Form {
            expected: "a private key that can be written",
            found: error.to_string(),
        };
        let mut salt = [0; 8];
        let mut iv = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| KeyError::Randomness(error.to_string()))?;
        getrandom::fill(&mut iv).map_err(|error| KeyError::Randomness(error.to_string()))?;
        let parameters = Parameters {
            kdf: Kdf::Pbkdf2(Pbkdf2Params {
                salt: Salt::new(salt).map_err(|error| bad(&error))?,
                iteration_count: ITERATIONS,
                key_length: None,
                prf: Pbkdf2Prf::HmacWithSha1,
            }),
            encryption: Cipher::Aes256Cbc { iv },
        };
        let plain = self.to_pkcs8_der()?;
        let data = parameters
            .encrypt(passphrase.as_bytes(), plain.as_bytes())
            .map_err(|error| bad(&error))?;
        let info_der = EncryptedPrivateKeyInfoOwned {
            encryption_algorithm: EncryptionScheme::from(parameters),
            encrypted_data: OctetString::new(data).map_err(|error| bad(&error))?,
        };
        let document = SecretDocument::try_from(info_der).map_err(|error| bad(&error))?;
        let pem = document
            .to_pem(PEM_LABEL, LineEnding::LF)
            .map_err(|error| bad(&error))?;
        let (first, rest) = pem.split_once('\n').ok_or_else(|| bad(&"no PEM"))?;
        let gun = info.gun.iter().map(|gun| ("gun", gun.as_str()));
        let mut headers = String::new();
        for (name, value) in gun.chain([("role", info.role.as_str())]) {
            if value.is_empty() || value.chars().any(char::is_control) {
                return Err(bad(&format!("the {name} `{}`", value.escape_debug())));
            }
            headers.push_str(&format!("{name}: {value}\n"));
        }
        Ok(format!("{first}\n{headers}\n{rest}"))
    }

    /// Opens a Notary key file.
    ///
    /// # Errors
    /// As [`SigningKey::from_encrypted_pem`].
    pub fn from_notary_pem(text: &str, passphrase: &Passphrase) -> Result<Self, KeyError> {
        KeyFile::parse(text)?.open(Some(passphrase))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::Algorithm;

    #[test]
    fn opens_what_notary_wrote() {
        let text = include_str!("testdata/notary-delegation.key");
        assert_eq!(NotaryKeyInfo::read(text).role, "targets/releases");
        let passphrase = Passphrase::new("a passphrase of tests").unwrap();
        let key = SigningKey::from_notary_pem(text, &passphrase).unwrap();
        assert_eq!(key.public().key_type(), crate::key::KeyType::EcdsaP256);
    }

    #[test]
    fn a_key_comes_back_with_its_headers() {
        let key = SigningKey::generate_as(Algorithm::P256).unwrap();
        let passphrase = Passphrase::new("open").unwrap();
        let info = NotaryKeyInfo {
            role: "targets".to_owned(),
            gun: Some("r.example/a".to_owned()),
        };
        let text = key.to_notary_pem(&info, &passphrase).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\ngun: r.example/a\nrole: targets\n\nMI"));
        assert_eq!(NotaryKeyInfo::read(&text), info);
        let read = SigningKey::from_notary_pem(&text, &passphrase).unwrap();
        assert_eq!(read.public(), key.public());
        let wrong = SigningKey::from_notary_pem(&text, &Passphrase::new("other").unwrap());
        assert_eq!(wrong.unwrap_err(), KeyError::Passphrase);
        let two_lines = NotaryKeyInfo {
            role: "a\nb".to_owned(),
            gun: None,
        };
        assert!(key.to_notary_pem(&two_lines, &passphrase).is_err());
    }
}
