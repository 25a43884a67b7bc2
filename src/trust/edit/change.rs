//! Changes of a collection; nothing is signed by them yet.

use serde_json::Map;

use super::{Collection, EditError, RoleSpec, new_targets};
use crate::time::Time;
use crate::trust::metadata::{DelegatedRole, Revoked, TargetFile, Targets};
use crate::trust::names;
use crate::trust::search::delegations;

impl Collection {
    /// Names a target in a role: adds it, or replaces what the role said of it before.
    ///
    /// # Errors
    /// [`EditError`] when the role does not exist or may not sign the name, or another role that is asked first signs it.
    pub fn put_target(&mut self, role: &str, name: &str, file: TargetFile, now: Time) -> Result<(), EditError> {
        names::check_target_name(name)?;
        if let Some(delegation) = delegations(&self.targets).find(|delegation| delegation.name == role) {
            if !delegation.covers(name) {
                return Err(EditError::NotCovered {
                    role: role.to_owned(),
                    target: name.to_owned(),
                    patterns: delegation.patterns().join(" "),
                });
            }
            if let Some(by) = self.asked_before(role, name) {
                return Err(EditError::Shadowed {
                    role: role.to_owned(),
                    by,
                    target: name.to_owned(),
                });
            }
        }
        self.role_mut(role, now)?.targets.insert(name.to_owned(), file);
        self.changed.insert(role.to_owned());
        Ok(())
    }

    /// Removes a target from a role.
    ///
    /// # Errors
    /// [`EditError`] when the role does not exist or does not sign the name.
    pub fn remove_target(&mut self, role: &str, name: &str, now: Time) -> Result<(), EditError> {
        let removed = self.role_mut(role, now)?.targets.remove(name);
        removed.ok_or_else(|| EditError::NoTarget {
            role: role.to_owned(),
            target: name.to_owned(),
        })?;
        self.changed.insert(role.to_owned());
        Ok(())
    }

    /// Trusts a new role with the names that `patterns` match.
    ///
    /// It has no metadata until it signs something or [`Collection::begin`] is called; until then a look-up of a name that it
    /// covers fails, as it would if somebody withheld them. A role whose keys sign other things than targets needs none.
    ///
    /// # Errors
    /// [`EditError`] when the name is taken or none, or the threshold cannot be met.
    pub fn delegate(&mut self, role: &str, spec: &RoleSpec, patterns: &[String]) -> Result<(), EditError> {
        if names::is_top_level(role) || delegations(&self.targets).any(|delegation| delegation.name == role) {
            return Err(EditError::Exists { role: role.to_owned() });
        }
        if !names::is_role(role) {
            return Err(EditError::NoRole { role: role.to_owned() });
        }
        spec.check(role)?;
        let delegations = self.targets.delegations.get_or_insert_default();
        // The other form of delegation leaves no room for listed roles.
        if delegations.succinct_roles.is_some() {
            return Err(EditError::Bins { role: role.to_owned() });
        }
        delegations.keys.extend(spec.objects());
        delegations.roles.push(DelegatedRole {
            name: role.to_owned(),
            keyids: spec.keyids(),
            threshold: spec.threshold,
            terminating: false,
            paths: Some(patterns.to_vec()),
            path_hash_prefixes: None,
            extra: Map::new(),
        });
        self.changed.insert("targets".to_owned());
        Ok(())
    }

    /// Gives a delegated role metadata that sign nothing yet.
    ///
    /// # Errors
    /// [`EditError::NoRole`].
    pub fn begin(&mut self, role: &str, now: Time) -> Result<(), EditError> {
        self.role_mut(role, now)?;
        self.changed.insert(role.to_owned());
        Ok(())
    }

    /// Gives a delegated role new keys; those that it loses are revoked as of `now`.
    ///
    /// # Errors
    /// [`EditError`] when the role does not exist, the threshold cannot be met, or a key was revoked before.
    pub fn rotate_delegated(&mut self, role: &str, spec: &RoleSpec, now: Time) -> Result<(), EditError> {
        spec.check(role)?;
        let old = self.role_keys(role)?;
        for entry in self.targets.revoked.iter().filter(|entry| entry.role == role) {
            if spec.keys.iter().any(|key| key.id() == entry.keyid) {
                return Err(EditError::Revoked {
                    role: role.to_owned(),
                    key: entry.keyid.clone(),
                });
            }
        }
        let no_role = || EditError::NoRole { role: role.to_owned() };
        let delegations = self.targets.delegations.as_mut().ok_or_else(no_role)?;
        let delegation = delegations.roles.iter_mut().find(|delegation| delegation.name == role);
        let delegation = delegation.ok_or_else(no_role)?;
        delegation.keyids = spec.keyids();
        delegation.threshold = spec.threshold;
        delegations.keys.extend(spec.objects());
        let roles = &delegations.roles;
        delegations
            .keys
            .retain(|id, _| roles.iter().any(|role| role.keyids.contains(id)));
        let lost = old.keys().iter().filter(|(_, key)| !spec.keys.contains(key));
        self.targets.revoked.extend(lost.map(|(keyid, key)| Revoked {
            role: role.to_owned(),
            keyid: keyid.clone(),
            key: key.to_json().clone(),
            since: now,
        }));
        self.changed.insert("targets".to_owned());
        // What the role signed counts again once its new keys have signed it.
        if self.delegated.contains_key(role) {
            self.changed.insert(role.to_owned());
        }
        Ok(())
    }

    /// Marks a role to be signed anew with a later expiry.
    ///
    /// # Errors
    /// [`EditError::NoRole`] when it has no metadata.
    pub fn renew(&mut self, role: &str) -> Result<(), EditError> {
        match names::TOP_LEVEL.contains(&role) || self.delegated.contains_key(role) {
            true => self.changed.insert(role.to_owned()),
            false => return Err(EditError::NoRole { role: role.to_owned() }),
        };
        Ok(())
    }

    /// Returns what a role signs: the top level or one that it delegates to.
    pub fn targets_of(&self, role: &str) -> Option<&Targets> {
        match role {
            "targets" => Some(&self.targets),
            _ => self.delegated.get(role),
        }
    }

    /// Returns a role's metadata for a change; a delegated role that has none yet gets them.
    fn role_mut(&mut self, role: &str, now: Time) -> Result<&mut Targets, EditError> {
        if role == "targets" {
            return Ok(&mut self.targets);
        }
        if !delegations(&self.targets).any(|delegation| delegation.name == role) {
            return Err(EditError::NoRole { role: role.to_owned() });
        }
        Ok(self
            .delegated
            .entry(role.to_owned())
            .or_insert_with(|| new_targets(now)))
    }

    /// Returns the role that signs `name` and is asked before `role`, if there is one.
    fn asked_before(&self, role: &str, name: &str) -> Option<String> {
        let signs = |role: &str| {
            self.targets_of(role)
                .is_some_and(|targets| targets.targets.contains_key(name))
        };
        let before = delegations(&self.targets).map(|delegation| delegation.name.as_str());
        let before = std::iter::once("targets").chain(before.take_while(|other| *other != role));
        before.filter(|other| signs(other)).map(str::to_owned).next()
    }
}
