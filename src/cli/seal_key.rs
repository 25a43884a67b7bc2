//! Which key seals, and opening it where it is.

use std::fmt;
use std::str::FromStr;

use super::Context;
use super::passphrase::PassphraseOptions;
use crate::failure::Failure;
use crate::key::{KeyError, KeySpec, Signer};
use crate::store::KeyStore;
use crate::store::key_store::NewKey;

/// A private key that exists: in a file, in a token, or behind a program.
#[derive(Clone, Debug)]
pub(super) struct SealKey(KeySpec);

impl FromStr for SealKey {
    type Err = KeyError;

    /// Reads how a command line names the key; what names no other place is a file, whatever its ending.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.split_once(':') {
            Some(("generate", _)) => Err(KeyError::Form {
                expected: "a key that the policy's root gives the seal role: a file, pkcs11:URI or plugin:COMMAND:KEYNAME",
                found: "a key that is yet to be made".to_owned(),
            }),
            Some(("pkcs11" | "plugin", _)) => text.parse().map(Self),
            _ => Ok(Self(KeySpec::File(text.into()))),
        }
    }
}

impl fmt::Display for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl SealKey {
    /// Opens the key; a passphrase or a PIN is asked for only where it is needed.
    pub(super) fn open(&self, context: &Context, passphrase: &PassphraseOptions) -> Result<Box<dyn Signer>, Failure> {
        let secrets = passphrase.asked(context);
        match &self.0 {
            // What a key directory keeps of a key that is elsewhere.
            KeySpec::File(path) if path.extension().is_some_and(|ending| ending == "json") => {
                KeyStore::open(path, &secrets)
            }
            spec => NewKey::of(spec, &secrets)?
                .into_signer()
                .ok_or_else(|| Failure::malformed(self, "it is a public key; sealing takes the private one")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_seal_key_is_one_that_exists() {
        let key = |text: &str| text.parse::<SealKey>();
        for text in ["seal", "a/seal.pem", "pkcs11:token=t;object=o", "plugin:sign:a:b"] {
            assert_eq!(key(text).unwrap().to_string(), text);
        }
        assert!(key("generate:p256").is_err());
        assert!(key("pkcs11:token=t").is_err());
        assert!(key("plugin:sign").is_err());
    }
}
