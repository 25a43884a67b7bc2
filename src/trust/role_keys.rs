//! The one check of signatures, for root, delegations and everything else that a role's keys sign.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use serde_json::Value;

use super::TrustError;
use super::metadata::Revoked;
use crate::digest::Digest;
use crate::key::{KeyId, PublicKey, TufKey};
use crate::time::Time;

/// A signature and the key that it claims to be by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The claimed key.
    pub keyid: KeyId,
    /// The signature.
    pub sig: Vec<u8>,
}

/// A key as a dialect of TUF names it: what [`RoleKeys::check`] has to know of one.
pub trait RoleKey {
    /// A signature as the dialect writes it.
    type Signature: Clone + fmt::Debug + PartialEq;

    /// Reads a signature of a metadata file.
    ///
    /// # Errors
    /// What is missing or wrong.
    fn read_signature(signature: &Value) -> Result<Self::Signature, String>;

    /// Returns the public key: however it is named, it counts once.
    fn public(&self) -> &PublicKey;

    /// Returns the id of the key that a signature claims to be by.
    fn claimed(signature: &Self::Signature) -> &KeyId;

    /// Tells whether `signature` is by this key over `message`.
    fn is_good(&self, message: &[u8], signature: &Self::Signature) -> bool;
}

impl RoleKey for TufKey {
    type Signature = Signature;

    fn read_signature(signature: &Value) -> Result<Signature, String> {
        let text = |name| signature.get(name).and_then(Value::as_str);
        let (Some(keyid), Some(sig)) = (text("keyid"), text("sig")) else {
            return Err("a signature has no keyid or sig".to_owned());
        };
        Ok(Signature {
            keyid: KeyId::new(keyid).map_err(|error| error.to_string())?,
            // What is no hexadecimal signs nothing; enough others may (signers under way leave "").
            sig: hex::decode(sig).unwrap_or_default(),
        })
    }

    fn public(&self) -> &PublicKey {
        self.public()
    }

    fn claimed(signature: &Signature) -> &KeyId {
        &signature.keyid
    }

    fn is_good(&self, message: &[u8], signature: &Signature) -> bool {
        self.verify(message, &signature.sig).is_ok()
    }
}

/// Since when a key no longer counts for a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Since this version of the root, which no longer lists it.
    Root(u64),
    /// Since the time that the role's delegator wrote down.
    Time(Time),
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(version) => write!(f, "by version {version} of the root"),
            Self::Time(time) => write!(f, "at {time}"),
        }
    }
}

/// A key that a root took from a top-level role which an earlier root of the chain gave it.
#[derive(Clone, Debug)]
pub(super) struct Retired<K = TufKey> {
    role: String,
    keyid: KeyId,
    key: K,
    root: u64,
}

/// The keys of one role, how many of them must sign, and those that were taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleKeys<K = TufKey> {
    role: String,
    threshold: u32,
    keyids: Vec<KeyId>,
    keys: BTreeMap<KeyId, K>,
    revoked: BTreeMap<KeyId, (K, Since)>,
}

impl RoleKeys {
    /// Collects a role's keys from the `keys` beside it; one that is missing or of an unknown kind cannot sign.
    pub(super) fn new(role: &str, keyids: &[KeyId], threshold: u32, keys: &BTreeMap<KeyId, Value>) -> Self {
        let read = |id: &KeyId| TufKey::from_json(keys.get(id)?).ok();
        Self::of(role, keyids, threshold, read)
    }

    /// Adds the keys that were taken from the role: they no longer count, wherever else they are named for it.
    pub(super) fn with_revoked(mut self, revoked: &[Revoked]) -> Self {
        for entry in revoked.iter().filter(|entry| entry.role == self.role) {
            let Ok(key) = TufKey::from_json(&entry.key) else {
                continue;
            };
            self.keys.retain(|_, other| other.public() != key.public());
            self.revoked
                .insert(entry.keyid.clone(), (key, Since::Time(entry.since)));
        }
        self
    }

    /// Returns the id by which a key's owner knows it, and keeps it: whoever trusts it may list it under another.
    pub fn own_id(&self, listed: &KeyId) -> KeyId {
        self.keys.get(listed).map_or_else(|| listed.clone(), TufKey::id)
    }

    /// Returns those of all of the role's keys, each once, in the order in which they are listed.
    pub fn own_ids(&self) -> impl Iterator<Item = KeyId> {
        let mut seen = HashSet::new();
        let ids = self.keyids.iter().map(|listed| self.own_id(listed));
        ids.filter(move |id| seen.insert(id.clone()))
    }

    /// Tells whether the keys of `others` could sign as the role.
    pub(super) fn could_be_met_by(&self, others: &[&Self]) -> bool {
        let theirs = |key: &&TufKey| {
            let mut keys = others.iter().flat_map(|other| other.keys.values());
            keys.any(|other| other.public() == key.public())
        };
        let distinct: HashSet<_> = self.keys.values().filter(theirs).map(TufKey::public).collect();
        u32::try_from(distinct.len()).is_ok_and(|count| count >= self.threshold)
    }

    /// Tells whether the same keys count as for another role, and as many of them must sign.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.threshold == other.threshold && self.keys == other.keys && !self.keys.is_empty()
    }
}

impl<K: RoleKey + Clone> RoleKeys<K> {
    /// Collects a role's keys; one that `read` does not know cannot sign.
    pub(super) fn of(role: &str, keyids: &[KeyId], threshold: u32, read: impl Fn(&KeyId) -> Option<K>) -> Self {
        let read = |id: &KeyId| Some((id.clone(), read(id)?));
        Self {
            role: role.to_owned(),
            threshold,
            keyids: keyids.to_vec(),
            keys: keyids.iter().filter_map(read).collect(),
            revoked: BTreeMap::new(),
        }
    }

    /// Adds the keys that roots took from the role; one that the newest root gives it again counts.
    pub(super) fn with_retired(mut self, retired: &[Retired<K>]) -> Self {
        for entry in retired.iter().filter(|entry| entry.role == self.role) {
            let since = Since::Root(entry.root);
            self.revoked.insert(entry.keyid.clone(), (entry.key.clone(), since));
        }
        self
    }

    /// Returns the keys that are no longer the role's by version `root` of the root, which says `next` of it.
    pub(super) fn retired_by<'a>(&'a self, next: &'a Self, root: u64) -> impl Iterator<Item = Retired<K>> + 'a {
        let stays = |key: &K| next.keys.values().any(|other| other.public() == key.public());
        let lost = self.keys.iter().filter(move |(_, key)| !stays(key));
        lost.map(move |(keyid, key)| Retired {
            role: self.role.clone(),
            keyid: keyid.clone(),
            key: key.clone(),
            root,
        })
    }

    /// Returns the role's name.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Returns how many distinct keys must sign.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Returns the ids of the role's keys, those of unknown kind included.
    pub fn keyids(&self) -> &[KeyId] {
        &self.keyids
    }

    /// Returns the keys that can sign, by id.
    pub fn keys(&self) -> &BTreeMap<KeyId, K> {
        &self.keys
    }

    /// Returns the SHA-256 of the SubjectPublicKeyInfo in DER of the keys with these ids: the same for a key, whatever its ids.
    pub(super) fn public_keys(&self, ids: &[KeyId]) -> BTreeSet<Digest> {
        let keys = ids.iter().filter_map(|id| self.keys.get(id));
        keys.map(|key| Digest::sha256(key.public().spki_der())).collect()
    }

    /// Tells whether somebody signed `message`, and nobody but keys that were taken from the role.
    pub(super) fn only_revoked_signed(&self, message: &[u8], signatures: &[K::Signature]) -> bool {
        let is_revoked = |signature: &K::Signature| {
            let taken = self.revoked.get(K::claimed(signature));
            taken.is_some_and(|(key, _)| key.is_good(message, signature))
        };
        !signatures.is_empty() && signatures.iter().all(is_revoked)
    }

    /// Checks that enough distinct keys of the role signed `message`, and returns the ids of those that did.
    ///
    /// A key counts once, whatever ids it is known by. `subject` names what is signed in errors.
    ///
    /// # Errors
    /// [`TrustError::Unsigned`], [`TrustError::WrongKey`], [`TrustError::Threshold`], or [`TrustError::Revoked`] when it
    /// would have been enough but for keys that were taken from the role.
    pub fn check(&self, subject: &str, message: &[u8], signatures: &[K::Signature]) -> Result<Vec<KeyId>, TrustError> {
        if signatures.is_empty() {
            return Err(TrustError::Unsigned {
                role: subject.to_owned(),
                needed: self.threshold,
            });
        }
        let mut signers: HashSet<&PublicKey> = HashSet::new();
        let mut valid = Vec::new();
        let mut revoked = Vec::new();
        for signature in signatures {
            let claimed = K::claimed(signature);
            if let Some(key) = self.keys.get(claimed) {
                if !signers.contains(key.public()) && key.is_good(message, signature) {
                    signers.insert(key.public());
                    valid.push(claimed.clone());
                }
            } else if let Some((key, since)) = self.revoked.get(claimed)
                && key.is_good(message, signature)
            {
                revoked.push((claimed.clone(), *since));
            }
        }
        let enough = |count: usize| u32::try_from(count).is_ok_and(|count| count >= self.threshold);
        if enough(valid.len()) {
            return Ok(valid);
        }
        match revoked.first() {
            Some((key, since)) if enough(valid.len() + revoked.len()) => Err(TrustError::Revoked {
                role: subject.to_owned(),
                key: key.clone(),
                since: *since,
            }),
            _ if valid.is_empty() => Err(TrustError::WrongKey {
                role: subject.to_owned(),
                expected: self.keyids.clone(),
                found: signatures.iter().map(K::claimed).cloned().collect(),
            }),
            _ => Err(TrustError::Threshold {
                role: subject.to_owned(),
                needed: self.threshold,
                valid: u32::try_from(valid.len()).unwrap_or(u32::MAX),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::{Signer, SigningKey};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    fn role(keys: &[&SigningKey], threshold: u32) -> RoleKeys {
        let ids: Vec<_> = keys.iter().map(|key| key.id()).collect();
        let objects = keys
            .iter()
            .map(|key| (key.id(), key.tuf_key().to_json().clone()))
            .collect();
        RoleKeys::new("r", &ids, threshold, &objects)
    }

    fn sign(key: &SigningKey) -> Signature {
        Signature {
            keyid: key.id(),
            sig: key.sign(b"message").unwrap(),
        }
    }

    #[test]
    fn enough_distinct_keys_are_enough() {
        let (a, b) = (key(1), key(2));
        let signed = role(&[&a, &b], 2).check("r", b"message", &[sign(&a), sign(&b)]);
        assert_eq!(signed.unwrap(), [a.id(), b.id()]);
    }

    #[test]
    fn one_key_under_two_ids_counts_once() {
        let a = key(1);
        let mut alias = a.tuf_key().to_json().clone();
        alias.as_object_mut().unwrap().insert("x".into(), 1.into());
        let other = TufKey::from_json(&alias).unwrap().id();
        let objects = BTreeMap::from([(a.id(), a.tuf_key().to_json().clone()), (other.clone(), alias)]);
        let keys = RoleKeys::new("r", &[a.id(), other.clone()], 2, &objects);
        let second = Signature {
            keyid: other,
            ..sign(&a)
        };
        let refused = keys.check("r", b"message", &[sign(&a), second]).unwrap_err();
        assert!(
            matches!(
                refused,
                TrustError::Threshold {
                    needed: 2,
                    valid: 1,
                    ..
                }
            ),
            "{refused}"
        );
    }

    #[test]
    fn says_why_it_is_not_enough() {
        let (a, b, c) = (key(1), key(2), key(3));
        let keys = role(&[&a, &b], 2);
        let why = |signatures: &[Signature]| keys.check("r", b"message", signatures).unwrap_err();
        assert!(matches!(why(&[]), TrustError::Unsigned { .. }));
        assert!(matches!(why(&[sign(&c)]), TrustError::WrongKey { .. }));
        assert!(matches!(why(&[sign(&c), sign(&a)]), TrustError::Threshold { .. }));
        let forged = Signature {
            keyid: a.id(),
            ..sign(&c)
        };
        assert!(matches!(why(&[forged]), TrustError::WrongKey { .. }));
    }

    #[test]
    fn a_revoked_key_is_named_and_never_counts() {
        let (a, b) = (key(1), key(2));
        let since = Time::from_unix(1_700_000_000).unwrap();
        let taken = Revoked {
            role: "r".into(),
            keyid: a.id(),
            key: a.tuf_key().to_json().clone(),
            since,
        };
        let keys = role(&[&a, &b], 1).with_revoked(std::slice::from_ref(&taken));
        let refused = keys.check("r", b"message", &[sign(&a)]).unwrap_err();
        assert_eq!(
            refused,
            TrustError::Revoked {
                role: "r".into(),
                key: a.id(),
                since: Since::Time(since)
            }
        );
        assert!(keys.check("r", b"message", &[sign(&b)]).is_ok());
        let forged = Signature {
            keyid: a.id(),
            ..sign(&b)
        };
        assert!(matches!(
            keys.check("r", b"message", &[forged]),
            Err(TrustError::WrongKey { .. })
        ));
        let elsewhere = Revoked {
            role: "other".into(),
            ..taken
        };
        assert!(
            role(&[&a], 1)
                .with_revoked(&[elsewhere])
                .check("r", b"message", &[sign(&a)])
                .is_ok()
        );
    }

    #[test]
    fn only_what_nobody_else_signed_is_signed_by_revoked_keys_alone() {
        let (a, b, c) = (key(1), key(2), key(3));
        let taken = |key: &SigningKey| Revoked {
            role: "r".into(),
            keyid: key.id(),
            key: key.tuf_key().to_json().clone(),
            since: Time::EPOCH,
        };
        let keys = role(&[&c], 1).with_revoked(&[taken(&a), taken(&b)]);
        let alone = |signatures: &[Signature]| keys.only_revoked_signed(b"message", signatures);
        assert!(alone(&[sign(&a)]) && alone(&[sign(&a), sign(&b)]));
        assert!(!alone(&[]));
        assert!(!alone(&[sign(&a), sign(&c)]), "a key that counts");
        assert!(!alone(&[sign(&a), sign(&key(4))]), "a stranger's");
        let broken = Signature {
            sig: vec![1],
            ..sign(&a)
        };
        assert!(!alone(&[broken]));
    }
}
