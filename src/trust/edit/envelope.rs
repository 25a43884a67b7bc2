//! The next version of a role's metadata, as far as it is signed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::EditError;
use crate::json;
use crate::key::{KeyId, Signer, TufKey};
use crate::trust::document::Unverified;
use crate::trust::metadata::{Body, Root, Snapshot, Targets, Timestamp};
use crate::trust::role_keys::{RoleKeys, Signature};
use crate::trust::{TrustError, names};

/// A document, and the signatures of it that are there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Envelope {
    pub(super) role: String,
    /// In memory once, however often a draft is handed on.
    pub(super) signed: Arc<Value>,
    message: Arc<[u8]>,
    pub(super) signatures: BTreeMap<KeyId, Vec<u8>>,
}

impl Envelope {
    /// Takes what a role's metadata are to say; nobody signed it yet.
    pub(super) fn new(role: &str, body: &impl Body) -> Result<Self, EditError> {
        let bad = |problem: &dyn ToString| TrustError::malformed(role, problem.to_string());
        let signed = serde_json::to_value(body).map_err(|error| bad(&error))?;
        Ok(Self::of(role, signed, BTreeMap::new())?)
    }

    /// Takes the signed part of a document, and signatures that are not checked here.
    pub(super) fn of(role: &str, signed: Value, signatures: BTreeMap<KeyId, Vec<u8>>) -> Result<Self, TrustError> {
        let message = json::canonical(&signed).map_err(|error| TrustError::malformed(role, error))?;
        Ok(Self {
            role: role.to_owned(),
            signed: signed.into(),
            message: message.into(),
            signatures,
        })
    }

    /// Returns the canonical form, which is what is signed.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Signs with those of `keys` that are a role's, each under the id that the role knows it by; signatures that are good stay.
    ///
    /// A document has one signature under an id. Where `roles` know different keys by the same one, the first of them comes first: who
    /// else trusts a role cannot keep its own keys from signing.
    pub(super) fn sign(&mut self, roles: &[RoleKeys], keys: &[&dyn Signer]) -> Result<(), EditError> {
        let mut known: BTreeMap<&KeyId, Vec<&TufKey>> = BTreeMap::new();
        for (id, key) in roles.iter().flat_map(RoleKeys::keys) {
            known.entry(id).or_default().push(key);
        }
        let mut signatures = BTreeMap::new();
        for (id, known) in known {
            let there = self.signatures.remove(id);
            for key in known {
                if let Some(sig) = there.as_ref().filter(|sig| key.verify(&self.message, sig).is_ok()) {
                    signatures.insert(id.clone(), sig.clone());
                    break;
                }
                if let Some(own) = keys.iter().find(|own| own.public() == key.public()) {
                    let sig = own
                        .sign(&self.message)
                        .map_err(|error| EditError::Signer { key: id.clone(), error })?;
                    signatures.insert(id.clone(), sig);
                    break;
                }
            }
        }
        self.signatures = signatures;
        Ok(())
    }

    /// Returns those of a role's keys that signed it.
    pub(super) fn good_signatures(&self, role: &RoleKeys) -> impl Iterator<Item = &KeyId> {
        let is_good = |id: &KeyId, sig: &[u8]| {
            let key = role.keys().get(id);
            key.is_some_and(|key| key.verify(&self.message, sig).is_ok())
        };
        let signatures = self.signatures.iter();
        signatures.filter_map(move |(id, sig)| is_good(id, sig).then_some(id))
    }

    /// Says what it lacks to be signed by enough keys of every one of `roles`.
    pub(super) fn lacking(&self, roles: &[RoleKeys]) -> Option<EditError> {
        let signatures = self.signatures();
        let lacks = |role: &&RoleKeys| role.check(&self.role, &self.message, &signatures).is_err();
        let role = roles.iter().find(lacks)?;
        let have = self.good_signatures(role).count();
        Some(EditError::Keys {
            role: self.role.clone(),
            needed: role.threshold(),
            have,
            keys: role.keyids().to_vec(),
        })
    }

    /// Writes the document with its signatures, after reading it as everybody else will.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, TrustError> {
        let signature = |(id, sig): (&KeyId, &Vec<u8>)| json!({ "keyid": id, "sig": hex::encode(sig) });
        let signatures: Vec<_> = self.signatures.iter().map(signature).collect();
        let envelope = json!({ "signatures": signatures, "signed": *self.signed });
        // The file itself is plain JSON: canonical JSON leaves the line feeds of keys in PEM as they are, which no parser takes.
        let bytes = envelope.to_string().into_bytes();
        let file = names::file_name(&self.role, None);
        match self.role.as_str() {
            "root" => Unverified::<Root>::parse(&file, &bytes, usize::MAX).map(|_| ()),
            "snapshot" => Unverified::<Snapshot>::parse(&file, &bytes, usize::MAX).map(|_| ()),
            "timestamp" => Unverified::<Timestamp>::parse(&file, &bytes, usize::MAX).map(|_| ()),
            _ => Unverified::<Targets>::parse(&file, &bytes, usize::MAX).map(|_| ()),
        }?;
        Ok(bytes)
    }

    /// Reads what it says, or its header.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, TrustError> {
        T::deserialize(&*self.signed).map_err(|error| TrustError::malformed(&*self.role, error))
    }

    fn signatures(&self) -> Vec<Signature> {
        let signature = |(keyid, sig): (&KeyId, &Vec<u8>)| Signature {
            keyid: keyid.clone(),
            sig: sig.clone(),
        };
        self.signatures.iter().map(signature).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::SigningKey;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    /// A role that knows a key by an id.
    fn knows(id: &KeyId, key: &SigningKey) -> RoleKeys {
        let objects = BTreeMap::from([(id.clone(), key.tuf_key().to_json().clone())]);
        RoleKeys::new("r", std::slice::from_ref(id), 1, &objects)
    }

    #[test]
    fn of_two_keys_under_one_id_the_roles_own_signs_and_stays() {
        let (own, stranger) = (key(1), key(2));
        let roles = [knows(&own.id(), &own), knows(&own.id(), &stranger)];
        let signed = |keys: &[&dyn Signer], envelope: &mut Envelope| {
            envelope.sign(&roles, keys).unwrap();
            let good = |role: &RoleKeys| envelope.good_signatures(role).next().is_some();
            roles.each_ref().map(good)
        };
        let mut envelope = Envelope::of("r", json!({ "a": 1 }), BTreeMap::new()).unwrap();
        assert_eq!(signed(&[], &mut envelope), [false, false]);
        // Where the own key is elsewhere, the other's signature stands there until that comes.
        assert_eq!(signed(&[&stranger], &mut envelope), [false, true]);
        assert_eq!(signed(&[], &mut envelope), [false, true]);
        assert_eq!(signed(&[&stranger, &own], &mut envelope), [true, false]);
        assert_eq!(signed(&[&stranger], &mut envelope), [true, false]);
        assert_eq!(envelope.lacking(&roles[..1]), None);
        // What neither made goes.
        envelope.signatures.insert(own.id(), vec![1]);
        assert_eq!(signed(&[], &mut envelope), [false, false]);
        assert!(envelope.signatures.is_empty());
    }
}
