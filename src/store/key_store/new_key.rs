//! Keys that roles get: made here, copied from a file, or held by somebody else.

use std::path::PathBuf;

use super::reference::Reference;
use super::{KeyStore, REFERENCE, Secrets, open_any_key, write};
use crate::failure::Failure;
use crate::key::{KeySpec, PublicKey, Signer, SigningKey, TufKey};
use crate::limit;
use crate::store::file::read_limited;
use crate::store::pkcs11::TokenSigner;
use crate::store::plugin::PluginSigner;

const PUBLIC_LABEL: &str = "-----BEGIN PUBLIC KEY-----";

/// A key that a role shall get, ready to sign where its private half is at hand.
#[derive(Debug)]
pub struct NewKey {
    key: TufKey,
    kept: Kept,
}

/// Where the private half is, and what the store keeps of it.
#[derive(Debug)]
enum Kept {
    Private(Box<SigningKey>),
    /// It never leaves where it is.
    Behind(Box<dyn Signer>, Reference),
    /// It is in somebody else's hands.
    Elsewhere,
}

impl NewKey {
    /// Makes the key, or opens it where it is.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be made, read or opened.
    pub fn of(spec: &KeySpec, secrets: &dyn Secrets) -> Result<Self, Failure> {
        match spec {
            KeySpec::Generate(algorithm) => {
                let key = SigningKey::generate_as(*algorithm);
                Ok(key.map_err(|error| Failure::unavailable("a new key", error))?.into())
            }
            KeySpec::File(path) => {
                let bytes = read_limited(path, limit::KEY_FILE_BYTES)?;
                match bytes.trim_ascii_start().starts_with(PUBLIC_LABEL.as_bytes()) {
                    true => {
                        let public = PublicKey::from_pem(&String::from_utf8_lossy(&bytes));
                        let public = public.map_err(|error| Failure::malformed(path.display(), error))?;
                        Ok(Self {
                            key: TufKey::new(public),
                            kept: Kept::Elsewhere,
                        })
                    }
                    false => open_any_key(path, secrets).map(Self::from),
                }
            }
            KeySpec::Plugin(key) => {
                let signer = Box::new(PluginSigner::open(key)?);
                Ok(Self {
                    key: signer.tuf_key(),
                    kept: Kept::Behind(signer, Reference::Plugin(key.clone())),
                })
            }
            KeySpec::Token(uri) => {
                let uri = match (uri.module(), secrets.module()) {
                    (None, Some(module)) => uri.clone().through(module),
                    _ => uri.clone(),
                };
                let signer = Box::new(TokenSigner::open(&uri, secrets)?);
                Ok(Self {
                    key: signer.tuf_key(),
                    kept: Kept::Behind(signer, Reference::token(&uri)),
                })
            }
        }
    }

    /// Returns the public key as metadata name it.
    pub fn tuf_key(&self) -> &TufKey {
        &self.key
    }

    /// Returns what signs with it; nothing when somebody else holds it.
    pub fn signer(&self) -> Option<&dyn Signer> {
        match &self.kept {
            Kept::Private(key) => Some(key.as_ref()),
            Kept::Behind(signer, _) => Some(signer.as_ref()),
            Kept::Elsewhere => None,
        }
    }

    /// Turns it into what signs with it; nothing when somebody else holds it.
    pub fn into_signer(self) -> Option<Box<dyn Signer>> {
        match self.kept {
            Kept::Private(key) => Some(key),
            Kept::Behind(signer, _) => Some(signer),
            Kept::Elsewhere => None,
        }
    }
}

impl From<SigningKey> for NewKey {
    fn from(key: SigningKey) -> Self {
        Self {
            key: key.tuf_key(),
            kept: Kept::Private(Box::new(key)),
        }
    }
}

impl KeyStore {
    /// Keeps a role's key, or where it is, and returns the file; none when somebody else holds it. One that is kept already
    /// stays as it is, if it opens.
    ///
    /// # Errors
    /// As [`KeyStore::save`], and when there is no passphrase for it.
    pub fn keep(
        &self,
        collection: &str,
        role: &str,
        key: &NewKey,
        secrets: &dyn Secrets,
    ) -> Result<Option<PathBuf>, Failure> {
        if !matches!(key.kept, Kept::Elsewhere)
            && let Some(file) = self.find(collection, role, &key.key.id())?
        {
            return Self::open(&file, secrets).map(|_| Some(file));
        }
        match &key.kept {
            Kept::Private(private) => {
                let passphrase = secrets.new_passphrase()?;
                self.save(collection, role, private, &passphrase).map(Some)
            }
            Kept::Behind(signer, reference) => {
                let dir = self.private_dir(&[collection, role])?;
                let path = dir.join(format!("{}.{REFERENCE}", signer.id()));
                write(&path, &reference.write()?)?;
                Ok(Some(path))
            }
            Kept::Elsewhere => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::{Algorithm, Passphrase};

    #[test]
    fn keys_are_made_copied_or_only_named() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Passphrase::new("secret").unwrap();
        let store = KeyStore::at(dir.path().join("store"));
        let made = NewKey::of(&KeySpec::Generate(Algorithm::P256), &secrets).unwrap();
        let file = store.keep("c", "r", &made, &secrets).unwrap().unwrap();
        let copied = NewKey::of(&KeySpec::File(file.clone()), &secrets).unwrap();
        assert_eq!(copied.tuf_key(), made.tuf_key());
        let again = store.keep("c", "other", &copied, &secrets).unwrap().unwrap();
        assert_eq!(
            KeyStore::open(&again, &secrets).unwrap().public(),
            made.tuf_key().public()
        );
        // A second time it stays as it is, if it opens.
        assert_eq!(store.keep("c", "other", &made, &secrets).unwrap().unwrap(), again);
        std::fs::write(&again, "damaged").unwrap();
        assert!(store.keep("c", "other", &made, &secrets).is_err());
        let public = dir.path().join("public.pem");
        std::fs::write(&public, made.tuf_key().public().to_pem().unwrap()).unwrap();
        let named = NewKey::of(&KeySpec::File(public), &secrets).unwrap();
        assert_eq!(named.tuf_key(), made.tuf_key());
        assert!(named.signer().is_none());
        assert_eq!(store.keep("c", "third", &named, &secrets).unwrap(), None);
    }
}
