//! Who is asked for passphrases, and only when one is needed.

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
}

/// One passphrase for everything.
impl Secrets for Passphrase {
    fn passphrase(&self) -> Result<Passphrase, Failure> {
        Ok(self.clone())
    }

    fn new_passphrase(&self) -> Result<Passphrase, Failure> {
        Ok(self.clone())
    }
}
