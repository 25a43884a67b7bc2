//! Who is asked for passphrases, and only when one is needed.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::key::Passphrase;

/// Whoever knows the secrets that open keys; `cli` asks a person, tests know them.
pub trait Secrets: Sync {
    /// Returns the passphrase of private keys that exist.
    ///
    /// # Errors
    /// [`Failure`] when there is none.
    fn passphrase(&self) -> Result<Passphrase, Failure>;

    /// Returns the passphrase for private keys that are written.
    ///
    /// # Errors
    /// [`Failure`] when there is none.
    fn new_passphrase(&self) -> Result<Passphrase, Failure>;

    /// Returns the PIN of a token.
    ///
    /// # Errors
    /// [`Failure`] when there is none.
    fn pin(&self, token: &str) -> Result<Passphrase, Failure>;

    /// Returns the PKCS#11 library to use, if one was named apart from the key's place.
    fn module(&self) -> Option<PathBuf>;
}

/// One passphrase for everything.
impl Secrets for Passphrase {
    fn passphrase(&self) -> Result<Passphrase, Failure> {
        Ok(self.clone())
    }

    fn new_passphrase(&self) -> Result<Passphrase, Failure> {
        Ok(self.clone())
    }

    fn pin(&self, _token: &str) -> Result<Passphrase, Failure> {
        Ok(self.clone())
    }

    fn module(&self) -> Option<PathBuf> {
        None
    }
}
