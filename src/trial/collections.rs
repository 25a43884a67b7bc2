//! Throw-away collections: for each root of a policy one in which the roles that the policy names have keys.

use std::collections::BTreeMap;

use super::{Fault, Given, LONG_AGO};
use crate::failure::Failure;
use crate::key::{PublicKey, SigningKey};
use crate::policy::{Policy, Signer, Signers, SigstoreSigner};
use crate::time::Time;
use crate::trust::edit::{Collection, RoleSpec};
use crate::trust::metadata::TargetFile;
use crate::trust::{Bundle, Known};
use crate::verify::{Anchor, Metadata};

/// The role of one whom no policy names.
pub(super) const STRANGER: &str = "somebody-else";

pub(super) const TARGETS: &str = "targets";

/// Keys for the roles of each root.
pub(super) struct Keys {
    /// By root and role.
    roles: BTreeMap<(String, String), Vec<SigningKey>>,
    /// Of those who sign beside images.
    sigstore: Vec<(SigstoreSigner, SigningKey)>,
    /// Of roots, snapshots and timestamps, and of `targets` where the policy asks nothing of it.
    owner: SigningKey,
    stranger: SigningKey,
}

impl Keys {
    /// Makes as many keys for each role as the policy ever asks of it.
    pub(super) fn of(policy: &Policy) -> Result<Self, Failure> {
        let mut roles: BTreeMap<(String, String), Vec<SigningKey>> = BTreeMap::new();
        let mut sigstore: Vec<(SigstoreSigner, SigningKey)> = Vec::new();
        for (_, by) in policy.everybody() {
            match by {
                Signer::Role(Signers { root, role, threshold }) => {
                    let keys = roles.entry((root, role)).or_default();
                    while keys.len() < threshold as usize {
                        keys.push(generate()?);
                    }
                }
                Signer::Sigstore(by) if sigstore.iter().any(|(known, _)| *known == by) => {}
                Signer::Sigstore(by) => sigstore.push((by, generate()?)),
            }
        }
        Ok(Self {
            roles,
            sigstore,
            owner: generate()?,
            stranger: generate()?,
        })
    }

    /// Returns the keys of a role.
    pub(super) fn of_role(&self, root: &str, role: &str) -> &[SigningKey] {
        let keys = self.roles.get(&(root.to_owned(), role.to_owned()));
        keys.map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the key that stands in for one who signs beside images.
    pub(super) fn of_sigstore(&self, by: &SigstoreSigner) -> Option<&SigningKey> {
        let mut all = self.sigstore.iter();
        all.find(|(known, _)| known == by).map(|(_, key)| key)
    }

    /// Returns the public keys of all who sign beside images.
    pub(super) fn public(&self) -> Vec<(SigstoreSigner, PublicKey)> {
        let all = self.sigstore.iter();
        all.map(|(by, key)| (by.clone(), key.public().clone())).collect()
    }

    /// Lists everybody, with all keys.
    pub(super) fn all(&self) -> Vec<(String, String, u32)> {
        let roles = self.roles.iter();
        let all = roles.map(|((root, role), keys)| {
            (
                root.clone(),
                role.clone(),
                u32::try_from(keys.len()).unwrap_or(u32::MAX),
            )
        });
        all.collect()
    }

    /// Lists the roles of a root that the policy names, those above others first, with their keys.
    pub(super) fn roles_of(&self, root: &str) -> impl Iterator<Item = (&str, &[SigningKey])> {
        let roles = self.roles.iter().filter(move |((of, _), _)| of == root);
        roles.map(|((_, role), keys)| (role.as_str(), keys.as_slice()))
    }

    /// Returns the key of whatever the policy asks nothing of.
    pub(super) fn owner(&self) -> &SigningKey {
        &self.owner
    }

    pub(super) fn stranger(&self) -> &SigningKey {
        &self.stranger
    }

    /// Makes a root's collection in which the targets are signed as it is given.
    pub(super) fn anchor(
        &self,
        root: &str,
        targets: &BTreeMap<String, TargetFile>,
        given: &Given,
        at: Time,
    ) -> Result<Anchor, Failure> {
        let begin = match given.fault {
            Some(Fault::Expired) => at.plus(-LONG_AGO),
            _ => at,
        };
        let files = self.collection(root, targets, given, begin)?;
        let pin = files.get("1.root.json").unwrap_or_default().to_vec();
        let known = match given.fault {
            Some(Fault::RolledBack) => self.newer(root, &pin, &files, at)?,
            _ => Known::default(),
        };
        Ok(Anchor {
            pin,
            metadata: Metadata::Bundle(files),
            known,
        })
    }

    fn collection(
        &self,
        root: &str,
        targets: &BTreeMap<String, TargetFile>,
        given: &Given,
        begin: Time,
    ) -> Result<Bundle, Failure> {
        let cannot = |error: crate::trust::edit::EditError| error.about(&format!("made-up collection `{root}`"));
        let wrong = given.fault == Some(Fault::WrongKey);
        let owner = spec(std::slice::from_ref(&self.owner));
        let own = self.of_role(root, TARGETS);
        let own = if own.is_empty() {
            std::slice::from_ref(&self.owner)
        } else {
            own
        };
        let mut collection = Collection::new(&owner, &spec(own), &owner, &owner, begin).map_err(cannot)?;
        let names: Vec<String> = targets.keys().cloned().collect();
        let mut signers: Vec<&dyn crate::key::Signer> = vec![&self.owner];
        for (role, keys) in self.roles_of(root) {
            let signed = given.signed.iter().find(|(of, by, _)| of == root && by == role);
            let signed = signed.filter(|_| !wrong).map(|(.., number)| *number as usize);
            if role != TARGETS {
                collection.delegate(role, &spec(keys), &names).map_err(cannot)?;
                collection.begin(role, begin).map_err(cannot)?;
            }
            if signed.is_some() {
                for (name, file) in targets {
                    let put = collection.put_target(role, name, file.clone(), begin);
                    put.map_err(cannot)?;
                }
            }
            let number = signed.unwrap_or(1).max(1);
            signers.extend(keys.iter().take(number).map(|key| key as &dyn crate::key::Signer));
        }
        if wrong {
            let stranger = spec(std::slice::from_ref(&self.stranger));
            collection.delegate(STRANGER, &stranger, &names).map_err(cannot)?;
            collection.begin(STRANGER, begin).map_err(cannot)?;
            for (name, file) in targets {
                let put = collection.put_target(STRANGER, name, file.clone(), begin);
                put.map_err(cannot)?;
            }
            signers.push(&self.stranger);
        }
        let signed = collection.sign(&signers, begin).map_err(cannot)?;
        Ok(signed.files().clone())
    }

    /// Signs the next version of a collection, and remembers that as what was trusted before.
    fn newer(&self, root: &str, pin: &[u8], files: &Bundle, at: Time) -> Result<Known, Failure> {
        let cannot = |error: crate::trust::edit::EditError| error.about(&format!("made-up collection `{root}`"));
        let mut collection = Collection::load(pin, files).map_err(cannot)?;
        collection.renew(TARGETS).map_err(cannot)?;
        let mut signers: Vec<&dyn crate::key::Signer> = vec![&self.owner];
        signers.extend(
            self.of_role(root, TARGETS)
                .iter()
                .map(|key| key as &dyn crate::key::Signer),
        );
        let next = collection.sign(&signers, at).map_err(cannot)?;
        let file = |name: &str| next.files().get(name).map(<[u8]>::to_vec);
        Ok(Known {
            roots: Vec::new(),
            timestamp: file("timestamp.json"),
            snapshot: file("2.snapshot.json"),
        })
    }
}

pub(super) fn generate() -> Result<SigningKey, Failure> {
    SigningKey::generate().map_err(|error| Failure::unavailable("a throw-away key", error))
}

/// A role whose metadata one key may sign: how many have to is the policy's to say.
fn spec(keys: &[SigningKey]) -> RoleSpec {
    RoleSpec {
        keys: keys.iter().map(SigningKey::tuf_key).collect(),
        threshold: 1,
    }
}
