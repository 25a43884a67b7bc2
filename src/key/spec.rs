//! How a command line names a key that a role shall get.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Algorithm, KeyError, PluginKey, TokenUri};

/// A key that a role shall get: a new one, or where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySpec {
    /// A private key in a file, which is copied into the key store; or a public key, whose private key is elsewhere.
    File(PathBuf),
    /// A new key.
    Generate(Algorithm),
    /// A key that a program signs with.
    Plugin(PluginKey),
    /// A key in a PKCS#11 token.
    Token(TokenUri),
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Generate(algorithm) => write!(f, "generate:{algorithm}"),
            Self::Plugin(key) => key.fmt(f),
            Self::Token(uri) => uri.fmt(f),
        }
    }
}

impl FromStr for KeySpec {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.split_once(':') {
            Some(("generate", algorithm)) => Ok(Self::Generate(algorithm.parse()?)),
            Some(("pkcs11", _)) => Ok(Self::Token(text.parse()?)),
            Some(("plugin", _)) => Ok(Self::Plugin(text.parse()?)),
            _ if text.ends_with(".pem") || text.ends_with(".key") || text.ends_with(".pub") || text.contains('/') => {
                Ok(Self::File(text.into()))
            }
            _ => Err(KeyError::Form {
                expected: "a key: FILE.pem (with a `/` if it has another ending), generate:ed25519|p256|p384|rsa3072|rsa4096, \
                           pkcs11:URI or plugin:COMMAND:KEYNAME",
                found: format!("`{}`", text.chars().take(80).collect::<String>().escape_debug()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn says_where_a_key_is_or_which_to_make() {
        let parse = |text: &str| text.parse::<KeySpec>();
        assert_eq!(parse("generate:p256"), Ok(KeySpec::Generate(Algorithm::P256)));
        assert_eq!(parse("root.pem"), Ok(KeySpec::File("root.pem".into())));
        assert_eq!(parse("./root"), Ok(KeySpec::File("./root".into())));
        assert!(parse("generate:dsa").is_err());
        assert!(parse("root").is_err());
        assert!(parse("plugin:sign").is_err());
        for text in [
            "generate:rsa4096",
            "/a/b.pem",
            "pkcs11:token=t;object=o",
            "plugin:/bin/sign:arn:aws:kms:1",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }
}
