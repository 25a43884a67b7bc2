//! Files that say where a key is that never leaves its token or service: `KEYID.json`.

use serde::{Deserialize, Serialize};

use super::Secrets;
use crate::failure::Failure;
use crate::json::{self, Limits};
use crate::key::{KeySpec, PluginKey, Signer, TokenUri};
use crate::limit;
use crate::store::pkcs11::TokenSigner;
use crate::store::plugin::PluginSigner;

/// Where a key is; no secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reference {
    Pkcs11(Token),
    Plugin(PluginKey),
}

/// A place in a token, as RFC 7512 writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    uri: String,
}

impl Reference {
    /// Refers to a key in a token.
    pub(super) fn token(uri: &TokenUri) -> Self {
        Self::Pkcs11(Token { uri: uri.to_string() })
    }

    /// Reads a reference file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let read: Self =
            json::decode(bytes, Limits::integers(limit::KEY_FILE_BYTES)).map_err(|error| error.to_string())?;
        if let Self::Pkcs11(token) = &read {
            token.uri.parse::<TokenUri>().map_err(|error| error.to_string())?;
        }
        Ok(read)
    }

    /// Writes a reference file.
    pub(super) fn write(&self) -> Result<Vec<u8>, Failure> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Failure::malformed("a key's place", error))?;
        Ok(format!("{text}\n").into_bytes())
    }

    /// Reaches the key.
    pub(super) fn open(&self, secrets: &dyn Secrets) -> Result<Box<dyn Signer>, Failure> {
        match self {
            Self::Pkcs11(token) => {
                let uri: Result<TokenUri, _> = token.uri.parse();
                let uri = uri.map_err(|error| Failure::malformed(&token.uri, error))?;
                let uri = match secrets.module() {
                    Some(module) => uri.through(module),
                    None => uri,
                };
                Ok(Box::new(TokenSigner::open(&uri, secrets)?))
            }
            Self::Plugin(key) => Ok(Box::new(PluginSigner::open(key)?)),
        }
    }

    /// Returns how a command line names the key.
    pub(super) fn spec(&self) -> Option<KeySpec> {
        match self {
            Self::Pkcs11(token) => token.uri.parse().ok().map(KeySpec::Token),
            Self::Plugin(key) => Some(KeySpec::Plugin(key.clone())),
        }
    }
}
