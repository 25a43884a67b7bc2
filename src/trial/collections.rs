//! Throw-away collections: for each root of a policy one in which the roles that the policy names have keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stand_ins::{Pinned, StandIns, generate};
use super::{Fault, Given, LONG_AGO};
use crate::failure::Failure;
use crate::key::{PublicKey, SigningKey};
use crate::policy::{Policy, Signer, Signers, SigstoreSigner};
use crate::time::Time;
use crate::trust::edit::{Collection, RoleSpec};
use crate::trust::metadata::TargetFile;
use crate::trust::{Bundle, Known};
use crate::verify::{Anchor, Metadata, Pins};

/// The role of one whom no policy names.
pub(super) const STRANGER: &str = "somebody-else";

pub(super) const TARGETS: &str = "targets";

/// Keys for the roles of each root.
pub(super) struct Keys {
    /// By root and role.
    roles: BTreeMap<(String, String), Vec<Arc<SigningKey>>>,
    /// Which collection each root pins.
    pinned: BTreeMap<String, Pinned>,
    /// Of those who sign beside images.
    sigstore: Vec<(SigstoreSigner, Arc<SigningKey>)>,
    /// Of roots, snapshots and timestamps, and of `targets` where the policy asks nothing of it.
    owner: SigningKey,
    stranger: SigningKey,
}

impl Keys {
    /// Makes as many keys for each role as the policy ever asks of it, or as it is known to have.
    pub(super) fn of(policy: &Policy, known: &Pins) -> Result<Self, Failure> {
        let mut asked: BTreeMap<(String, String), u32> = BTreeMap::new();
        let mut sigstore: Vec<(SigstoreSigner, Arc<SigningKey>)> = Vec::new();
        let mut stand_ins = StandIns::new(known);
        for (_, by) in policy.everybody() {
            match by {
                Signer::Role(Signers { root, role, threshold }) => {
                    let most = asked.entry((root, role)).or_default();
                    *most = threshold.max(*most);
                }
                Signer::Sigstore(by) if sigstore.iter().any(|(known, _)| *known == by) => {}
                Signer::Sigstore(by) => {
                    let key = stand_ins.of_sigstore(&by)?;
                    sigstore.push((by, key));
                }
            }
        }
        let pinned: BTreeMap<String, Pinned> = policy
            .roots()
            .map(|(name, root)| (name.to_owned(), stand_ins.pinned(name, root)))
            .collect();
        let mut roles = BTreeMap::new();
        for ((root, role), least) in asked {
            // Every root that is named is pinned.
            let Some(collection) = pinned.get(&root) else { continue };
            let keys = stand_ins.of_role(&root, collection, &role, least as usize)?;
            roles.insert((root, role), keys);
        }
        Ok(Self {
            roles,
            pinned,
            sigstore,
            owner: generate()?,
            stranger: generate()?,
        })
    }

    /// Returns the keys of a role.
    pub(super) fn of_role(&self, root: &str, role: &str) -> Vec<&SigningKey> {
        let keys = self.roles.get(&(root.to_owned(), role.to_owned()));
        keys.into_iter().flatten().map(Arc::as_ref).collect()
    }

    /// Returns how many keys a role has.
    pub(super) fn number(&self, root: &str, role: &str) -> u32 {
        u32::try_from(self.of_role(root, role).len()).unwrap_or(u32::MAX)
    }

    /// Returns how many of a role's keys signed, by whatever name its collection is called; `None` where none did.
    pub(super) fn signed(&self, given: &Given, root: &str, role: &str) -> Option<usize> {
        if given.fault == Some(Fault::WrongKey) {
            return None;
        }
        let is_same = |of: &String| self.pinned.get(of) == self.pinned.get(root);
        let signed = given.signed.iter().filter(|(of, by, _)| is_same(of) && by == role);
        signed.map(|(.., number)| *number as usize).max()
    }

    /// Returns the key that stands in for one who signs beside images.
    pub(super) fn of_sigstore(&self, by: &SigstoreSigner) -> Option<&SigningKey> {
        let mut all = self.sigstore.iter();
        all.find(|(known, _)| known == by).map(|(_, key)| &**key)
    }

    /// Returns the public keys of all who sign beside images.
    pub(super) fn public(&self) -> Vec<(SigstoreSigner, PublicKey)> {
        let all = self.sigstore.iter();
        all.map(|(by, key)| (by.clone(), key.public().clone())).collect()
    }

    /// Lists everybody, with all keys.
    pub(super) fn all(&self) -> Vec<(String, String, u32)> {
        let roles = self.roles.keys();
        let all = roles.map(|(root, role)| (root.clone(), role.clone(), self.number(root, role)));
        all.collect()
    }

    /// Lists the roles of a root that the policy names, those above others first, with their keys.
    pub(super) fn roles_of(&self, root: &str) -> impl Iterator<Item = (&str, Vec<&SigningKey>)> {
        let roles = self.roles.keys().filter(move |(of, _)| of == root);
        roles.map(|(of, role)| (role.as_str(), self.of_role(of, role)))
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
        let owner = spec(&[&self.owner]);
        let mut own = self.of_role(root, TARGETS);
        if own.is_empty() {
            own.push(&self.owner);
        }
        let mut collection = Collection::new(&owner, &spec(&own), &owner, &owner, begin).map_err(cannot)?;
        let names: Vec<String> = targets.keys().cloned().collect();
        let mut signers: Vec<&dyn crate::key::Signer> = vec![&self.owner];
        for (role, keys) in self.roles_of(root) {
            let signed = self.signed(given, root, role);
            if role != TARGETS {
                collection.delegate(role, &spec(&keys), &names).map_err(cannot)?;
                collection.begin(role, begin).map_err(cannot)?;
            }
            if signed.is_some() {
                for (name, file) in targets {
                    let put = collection.put_target(role, name, file.clone(), begin);
                    put.map_err(cannot)?;
                }
            }
            let number = signed.unwrap_or(1).max(1);
            signers.extend(keys.into_iter().take(number).map(|key| key as &dyn crate::key::Signer));
        }
        if wrong {
            let stranger = spec(&[&self.stranger]);
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
        let own = self.of_role(root, TARGETS).into_iter();
        signers.extend(own.map(|key| key as &dyn crate::key::Signer));
        let next = collection.sign(&signers, at).map_err(cannot)?;
        let file = |name: &str| next.files().get(name).map(<[u8]>::to_vec);
        Ok(Known {
            roots: Vec::new(),
            timestamp: file("timestamp.json"),
            snapshot: file("2.snapshot.json"),
        })
    }
}

/// A role whose metadata one key may sign: how many have to is the policy's to say.
fn spec(keys: &[&SigningKey]) -> RoleSpec {
    RoleSpec {
        keys: keys.iter().map(|key| key.tuf_key()).collect(),
        threshold: 1,
    }
}
