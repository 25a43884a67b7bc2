//! Other keys for roles.

use serde_json::Value;

use super::delegate::drop_unused_keys;
use super::{Collection, EditError, RoleSpec};
use crate::key::{KeyId, TufKey};
use crate::time::Time;
use crate::trust::metadata::{Revoked, Role};
use crate::trust::names;
use crate::trust::role_keys::RoleKeys;

impl Collection<'_> {
    /// Gives a role new keys, and its bins with it; what it signs has to be signed by these.
    ///
    /// The next root is signed by the keys of the present one as well. Keys that a delegated role loses are revoked as of `now`.
    ///
    /// # Errors
    /// [`EditError`] when the role does not exist, the threshold cannot be met, or a key was revoked before.
    pub fn rotate(&mut self, role: &str, spec: &RoleSpec, now: Time) -> Result<(), EditError> {
        self.find(role)?;
        let parts = self.parts_of(role)?;
        self.replace_keys(role, spec, now)?;
        self.sign_again(role, &parts, spec, now)
    }

    /// Marks a role whose keys were replaced to be signed anew, and gives them to its parts as well.
    pub(super) fn sign_again(
        &mut self,
        role: &str,
        parts: &[String],
        spec: &RoleSpec,
        now: Time,
    ) -> Result<(), EditError> {
        if role == "root" || role == "timestamp" || role == "snapshot" || self.held.contains_key(role) {
            self.touch(role);
        }
        for part in parts {
            self.replace_part(part, spec, now)?;
        }
        Ok(())
    }

    /// Gives a part of a role its new keys; what it signed, if anything, is to be signed by these.
    pub(super) fn replace_part(&mut self, part: &str, spec: &RoleSpec, now: Time) -> Result<(), EditError> {
        self.replace_keys(part, spec, now)?;
        if self.held.contains_key(part) {
            self.touch(part);
        }
        Ok(())
    }

    /// Gives a role new keys, and leaves what it signed as it is: it counts if enough of the new keys signed it already. Whether it
    /// is trusted now does not matter.
    ///
    /// # Errors
    /// As [`Collection::rotate`].
    pub fn replace_keys(&mut self, role: &str, spec: &RoleSpec, now: Time) -> Result<(), EditError> {
        match names::TOP_LEVEL.contains(&role) {
            true => self.replace_keys_by(None, role, spec, now),
            false => {
                let by = self.delegator(role)?;
                self.replace_keys_by(Some(&by), role, spec, now)
            }
        }
    }

    /// Does the same on behalf of one of the roles that trust the role; of the root, where `by` names none.
    ///
    /// # Errors
    /// As [`Collection::rotate`].
    pub fn replace_keys_by(
        &mut self,
        by: Option<&str>,
        role: &str,
        spec: &RoleSpec,
        now: Time,
    ) -> Result<(), EditError> {
        spec.check(role)?;
        match by {
            None => self.replace_top_level(role, spec),
            Some(by) => self.replace_delegated(by, role, spec, now),
        }
    }

    /// Returns the bins of a role, and theirs, with those that have no metadata yet: of bins in short, one stands for all of these. Those
    /// that have metadata are loaded then.
    ///
    /// # Errors
    /// [`EditError::Trust`] when one is not what its keys signed.
    pub fn parts_of(&mut self, role: &str) -> Result<Vec<String>, EditError> {
        let mut parts = Vec::new();
        let mut queue = vec![role.to_owned()];
        while let Some(by) = queue.pop() {
            let Some(body) = self.targets_of(&by) else { continue };
            for child in self.children(body) {
                if self.is_part(&by, &child) {
                    if self.hold(&by, &child)? {
                        queue.push(child.clone());
                    }
                    parts.push(child);
                }
            }
        }
        Ok(parts)
    }

    fn replace_top_level(&mut self, role: &str, spec: &RoleSpec) -> Result<(), EditError> {
        let no_role = || EditError::NoRole { role: role.to_owned() };
        let extra = self.root.roles.get(role).ok_or_else(no_role)?.extra.clone();
        let new = Role {
            keyids: spec.keyids(),
            threshold: spec.threshold,
            extra,
        };
        self.root.roles.insert(role.to_owned(), new);
        self.root.keys.extend(spec.objects());
        let roles = &self.root.roles;
        let used = |id: &KeyId| roles.values().any(|role| role.keyids.contains(id));
        self.root.keys.retain(|id, _| used(id));
        self.touch("root");
        Ok(())
    }

    fn replace_delegated(&mut self, by: &str, role: &str, spec: &RoleSpec, now: Time) -> Result<(), EditError> {
        let no_role = || EditError::NoRole { role: role.to_owned() };
        self.find(by)?;
        let old = self.keys_by(by, role).ok_or_else(no_role)?;
        self.check_not_revoked(by, role, &spec.keys)?;
        let delegations = self.delegations_mut(by)?;
        let bins = delegations.succinct_roles.as_mut().filter(|bins| bins.is_bin(role));
        let listed = delegations.roles.iter_mut().find(|other| other.name == role);
        // One set of keys is for all bins of a role.
        let (keyids, threshold) = match (listed, bins) {
            (Some(listed), _) => (&mut listed.keyids, &mut listed.threshold),
            (None, Some(bins)) => (&mut bins.keyids, &mut bins.threshold),
            (None, None) => return Err(no_role()),
        };
        (*keyids, *threshold) = (spec.keyids(), spec.threshold);
        delegations.keys.extend(spec.objects());
        let listed = delegations.roles.iter().any(|other| other.name == role);
        drop_unused_keys(delegations);
        // Bins have the keys of their role, whose own entry says which it lost.
        if listed {
            self.revoke(by, &old, &spec.keys, now)?;
        }
        self.touch(by);
        Ok(())
    }

    /// Refuses keys that `by` took from a role of this name: they never count again, also where the role itself was taken away since.
    pub(super) fn check_not_revoked(&self, by: &str, role: &str, keys: &[TufKey]) -> Result<(), EditError> {
        let taken = self.targets_of(by).into_iter().flat_map(|body| &body.revoked);
        for entry in taken.filter(|entry| entry.role == role) {
            let gone = TufKey::from_json(&entry.key).ok();
            // Whoever took it away may have known it by another id.
            let is_gone = |key: &TufKey| {
                key.id() == entry.keyid || gone.as_ref().is_some_and(|gone| gone.public() == key.public())
            };
            if keys.iter().any(is_gone) {
                return Err(EditError::Revoked {
                    role: role.to_owned(),
                    key: entry.keyid.clone(),
                });
            }
        }
        Ok(())
    }

    /// Returns those of a role's keys that imgkit cannot read, as who trusts it wrote them: other tools may.
    pub(super) fn unknown_keys(
        &self,
        by: Option<&str>,
        role: &str,
        keeps: &dyn Fn(&KeyId) -> bool,
    ) -> Vec<(KeyId, Value)> {
        let (keys, objects) = match by {
            None => (self.known_keys(role), Some(&self.root.keys)),
            Some(by) => {
                let body = self.targets_of(by);
                let delegations = body.and_then(|body| body.delegations.as_ref());
                (self.keys_by(by, role), delegations.map(|all| &all.keys))
            }
        };
        let Some((keys, objects)) = keys.zip(objects) else {
            return Vec::new();
        };
        let ids = keys.keyids().iter().filter(|id| keeps(id));
        let listed = ids.filter_map(|id| Some((id.clone(), objects.get(id)?.clone())));
        listed.filter(|(_, key)| TufKey::from_json(key).is_err()).collect()
    }

    /// Lists keys for a role, beside those that it was given.
    pub(super) fn put_back(
        &mut self,
        by: Option<&str>,
        role: &str,
        unknown: Vec<(KeyId, Value)>,
    ) -> Result<(), EditError> {
        if unknown.is_empty() {
            return Ok(());
        }
        let no_role = || EditError::NoRole { role: role.to_owned() };
        let (keyids, keys) = match by {
            None => {
                let found = self.root.roles.get_mut(role).ok_or_else(no_role)?;
                (&mut found.keyids, &mut self.root.keys)
            }
            Some(by) => {
                let delegations = self.delegations_mut(by)?;
                let bins = delegations.succinct_roles.as_mut().filter(|bins| bins.is_bin(role));
                let listed = delegations.roles.iter_mut().find(|other| other.name == role);
                let listed = listed.map(|listed| &mut listed.keyids);
                let keyids = listed.or_else(|| bins.map(|bins| &mut bins.keyids));
                (keyids.ok_or_else(no_role)?, &mut delegations.keys)
            }
        };
        for (id, key) in unknown {
            if !keyids.contains(&id) {
                keyids.push(id.clone());
            }
            keys.insert(id, key);
        }
        Ok(())
    }

    /// Writes down which keys a delegated role lost.
    pub(super) fn revoke(&mut self, by: &str, old: &RoleKeys, new: &[TufKey], now: Time) -> Result<(), EditError> {
        let held = self.held.get_mut(by);
        let held = held.ok_or_else(|| EditError::NoRole { role: by.to_owned() })?;
        let stays = |key: &TufKey| new.iter().any(|new| new.public() == key.public());
        let lost = old.keys().iter().filter(|(_, key)| !stays(key));
        for (keyid, key) in lost {
            held.body.revoked.push(Revoked {
                role: old.role().to_owned(),
                keyid: keyid.clone(),
                key: key.to_json().clone(),
                since: now,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::key::SigningKey;

    fn key(number: u8) -> TufKey {
        SigningKey::from_seed(&[number; 32]).unwrap().tuf_key()
    }

    fn spec(number: u8) -> RoleSpec {
        RoleSpec {
            keys: vec![key(number)],
            threshold: 1,
        }
    }

    /// The id of a key of tomorrow, and the key.
    fn unknown() -> (KeyId, Value) {
        let key = json!({ "keytype": "lattice", "scheme": "lattice-1", "keyval": { "public": "00" } });
        (KeyId::new("ab".repeat(32)).unwrap(), key)
    }

    /// A collection with the role `dev`; targets and `dev` have a key of tomorrow beside their own.
    fn collection() -> Collection<'static> {
        let mut made = Collection::new(&spec(1), &spec(2), &spec(3), &spec(4), Time::EPOCH).unwrap();
        made.delegate("dev", &spec(5), &["a/*".to_owned()]).unwrap();
        made.begin("dev", Time::EPOCH).unwrap();
        made.put_back(None, "targets", vec![unknown()]).unwrap();
        made.put_back(Some("targets"), "dev", vec![unknown()]).unwrap();
        made
    }

    /// Changes both roles' keys; returns the ids that they have then, and whether the unknown key is still written down for both.
    fn after(keeps: &dyn Fn(&KeyId) -> bool, work: &dyn Fn(&mut RoleSpec)) -> ([Vec<KeyId>; 2], bool) {
        let mut made = collection();
        for (role, by) in [("targets", None), ("dev", Some("targets".to_owned()))] {
            made.rekey(role, &BTreeSet::from([by]), true, Time::EPOCH, keeps, work)
                .unwrap();
        }
        let delegations = made.held["targets"].body.delegations.as_ref().unwrap();
        let ids = [
            made.root.roles["targets"].keyids.clone(),
            delegations.roles[0].keyids.clone(),
        ];
        let (id, key) = unknown();
        (
            ids,
            made.root.keys.get(&id) == Some(&key) && delegations.keys.get(&id) == Some(&key),
        )
    }

    #[test]
    fn a_key_of_an_unknown_kind_stays_where_a_role_gets_another_key() {
        let (ids, kept) = after(&|_| true, &|spec| spec.keys.push(key(9)));
        let with = |own: u8| vec![key(own).id(), key(9).id(), unknown().0];
        assert_eq!((ids, kept), ([with(2), with(5)], true));
    }

    #[test]
    fn a_key_of_an_unknown_kind_goes_where_it_is_taken_away() {
        let (ids, kept) = after(&|id| *id != unknown().0, &|_| {});
        assert_eq!((ids, kept), ([vec![key(2).id()], vec![key(5).id()]], false));
    }
}
