//! The next version of a role's metadata, as far as it is signed.

use std::collections::BTreeMap;

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
    pub(super) signed: Value,
    message: Vec<u8>,
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
            signed,
            message,
            signatures,
        })
    }

    /// Returns the canonical form, which is what is signed.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Signs with those of `keys` that are a role's, each under the id that the role knows it by; signatures that are good stay.
    pub(super) fn sign(&mut self, roles: &[RoleKeys], keys: &[&dyn Signer]) -> Result<(), EditError> {
        let known: BTreeMap<&KeyId, &TufKey> = roles.iter().flat_map(RoleKeys::keys).collect();
        let message = &self.message;
        self.signatures
            .retain(|id, sig| known.get(id).is_some_and(|key| key.verify(message, sig).is_ok()));
        for (id, key) in known {
            if self.signatures.contains_key(id) {
                continue;
            }
            if let Some(own) = keys.iter().find(|own| own.public() == key.public()) {
                let sig = own
                    .sign(message)
                    .map_err(|error| EditError::Signer { key: id.clone(), error })?;
                self.signatures.insert(id.clone(), sig);
            }
        }
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
        let envelope = json!({ "signatures": signatures, "signed": self.signed });
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
        serde_json::from_value(self.signed.clone()).map_err(|error| TrustError::malformed(&*self.role, error))
    }

    fn signatures(&self) -> Vec<Signature> {
        let signature = |(keyid, sig): (&KeyId, &Vec<u8>)| Signature {
            keyid: keyid.clone(),
            sig: sig.clone(),
        };
        self.signatures.iter().map(signature).collect()
    }
}
