//! The server's private keys: sealed in its store, or in a token that they never leave.
//!
//! - What the store keeps of a key is either its sealed form ([`crate::key::Vault`]) or its id in the token; both lead to a key only
//!   for the collection and role that it was made for, and only if it is the key that it is named after.
//! - A server whose new keys are made in a token goes on with those that are sealed.

use std::sync::Arc;

use super::record::{HeldKey, damaged};
use super::route::{Gun, HeldRole};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::key::{Algorithm, KeyError, KeyId, PublicKey, Signer as _, SigningKey, Vault};
use crate::store::pkcs11::TokenKeys;
use crate::trust::notary::NotaryKey;

/// What stands before the id of a key in a token. A sealed key begins with 12 random bytes, which are never these.
const IN_TOKEN: &[u8] = b"imgkit token key 1:";

/// How many digits of a collection's hash a key's label has: tokens have little room for labels.
const LABEL_DIGITS: usize = 16;

/// What opens and makes the server's keys.
#[derive(Debug)]
pub(super) struct Keyring {
    pub(super) vault: Option<Vault>,
    pub(super) token: Option<Arc<TokenKeys>>,
    pub(super) algorithm: Algorithm,
}

/// Where a key is.
enum Place<'a> {
    Sealed(Box<SigningKey>),
    Token(&'a TokenKeys, &'a [u8], String),
}

impl Keyring {
    /// Makes a key: in the token, if there is one.
    pub(super) fn make(&self, gun: &Gun, role: HeldRole) -> Result<HeldKey, Failure> {
        let bad = |error: KeyError| Failure::unavailable("a new key", error);
        let name = |public: &PublicKey| {
            NotaryKey::plain(public.clone())
                .map(|key| key.id().clone())
                .map_err(bad)
        };
        let (id, kept) = match (&self.token, &self.vault) {
            (Some(_), _) if !matches!(self.algorithm, Algorithm::P256 | Algorithm::Ed25519) => {
                let problem = format!(
                    "keys of a server in a token are p256 or ed25519, not {}",
                    self.algorithm
                );
                return Err(Failure::malformed("a new key", problem));
            }
            (Some(token), _) => {
                let (in_token, public) = token.make(self.algorithm, &label(gun, role))?;
                (name(&public)?, [IN_TOKEN, in_token.as_slice()].concat())
            }
            (None, Some(vault)) => {
                let key = SigningKey::generate_as(self.algorithm).map_err(bad)?;
                let id = name(key.public())?;
                let sealed = vault.seal(&key, &context(gun, role, &id)).map_err(bad)?;
                (id, sealed)
            }
            (None, None) => return Err(Failure::unavailable("a new key", "there is nowhere to keep it")),
        };
        Ok(HeldKey {
            role,
            id,
            kept,
            used: false,
        })
    }

    /// Returns a key's public half.
    pub(super) fn public(&self, gun: &Gun, key: &HeldKey) -> Result<NotaryKey, Failure> {
        let public = match self.place(gun, key)? {
            Place::Sealed(key) => key.public().clone(),
            Place::Token(token, id, label) => token.public(id, &label)?,
        };
        let public = NotaryKey::plain(public).map_err(|error| Failure::unavailable(gun, error))?;
        match *public.id() == key.id {
            true => Ok(public),
            false => Err(damaged(
                gun,
                format!("what is kept of the key {} leads to another", key.id),
            )),
        }
    }

    /// Signs with a key and its usual scheme.
    pub(super) fn sign(&self, gun: &Gun, key: &HeldKey, message: &[u8]) -> Result<Vec<u8>, Failure> {
        match self.place(gun, key)? {
            Place::Sealed(key) => {
                let signed = key.sign_with(key.public().default_scheme(), message);
                signed.map_err(|error| Failure::unavailable(gun, error))
            }
            Place::Token(token, id, label) => {
                self.public(gun, key)?;
                token.sign(id, &label, message)
            }
        }
    }

    /// Takes a key out of the token for good, when nothing names it any more; sealed ones went with what they were kept in.
    pub(super) fn destroy(&self, gun: &Gun, key: &HeldKey) -> Result<(), Failure> {
        match key.kept.strip_prefix(IN_TOKEN).zip(self.token.as_ref()) {
            Some((id, token)) => token.destroy(id, &label(gun, key.role)),
            None => Ok(()),
        }
    }

    fn place<'a>(&'a self, gun: &Gun, key: &'a HeldKey) -> Result<Place<'a>, Failure> {
        let lacks = |problem: &str| {
            Err(Failure::unavailable(
                gun,
                format!("the server's {} key {problem}", key.role.name()),
            ))
        };
        match (key.kept.strip_prefix(IN_TOKEN), &self.token, &self.vault) {
            (Some(id), Some(token), _) => Ok(Place::Token(token, id, label(gun, key.role))),
            (Some(_), None, _) => lacks("is in a PKCS#11 token; start the server with --key-store"),
            (None, _, Some(vault)) => {
                let opened = vault.open(&key.kept, &context(gun, key.role, &key.id));
                opened
                    .map(|key| Place::Sealed(Box::new(key)))
                    .or_else(|error| lacks(&format!("does not open: {error}")))
            }
            (None, _, None) => lacks("is sealed, and the store has no vault; restore it from a backup"),
        }
    }
}

/// What a sealed key is for: one that is copied elsewhere does not open there.
fn context(gun: &Gun, role: HeldRole, id: &KeyId) -> String {
    format!("{}\n{id}\n{gun}", role.name())
}

/// The label of a key in the token: role and the beginning of SHA-256(GUN), by which a directory names the collection as well.
fn label(gun: &Gun, role: HeldRole) -> String {
    let hash = Digest::sha256(gun.as_str().as_bytes()).hex();
    let hash: String = hash.chars().take(LABEL_DIGITS).collect();
    format!("imgkit {} {hash}", role.name())
}
