//! Changes of a collection; nothing is signed by them yet.

use super::{NotaryCollection, TARGETS, above, check_custom, no_role};
use crate::time::Time;
use crate::trust::edit::EditError;
use crate::trust::names;
use crate::trust::notary::{DelegatedRole, FileMeta, NotaryKey, Role, Targets, Unverified, is_delegated_role};

impl NotaryCollection {
    /// Names a target in a role: adds it, or replaces what the role said of it before. A delegated role without metadata gets some.
    ///
    /// # Errors
    /// [`EditError`] when the role does not exist or may not sign the name, or the real client could not sign it again.
    pub fn put_target(&mut self, role: &str, name: &str, file: FileMeta, now: Time) -> Result<(), EditError> {
        names::check_target_name(name)?;
        if let Some(custom) = &file.custom {
            check_custom(name, custom)?;
        }
        self.check_covered(role, name)?;
        self.begin(role, now)?.targets.insert(name.to_owned(), file);
        self.changed.insert(role.to_owned());
        Ok(())
    }

    /// Removes a target from a role; says whether the role named it.
    ///
    /// # Errors
    /// [`EditError::NoRole`].
    pub fn remove_target(&mut self, role: &str, name: &str) -> Result<bool, EditError> {
        let absent = self.absent(role);
        let targets = self.targets.get_mut(role).ok_or(absent)?;
        let removed = targets.targets.remove(name);
        if removed {
            self.changed.insert(role.to_owned());
        }
        Ok(removed)
    }

    /// Trusts keys, and whoever has them, with names that begin with one of `paths`: a new role, or more for one that exists.
    ///
    /// # Errors
    /// [`EditError::NoRole`] when the name cannot be a role's or the one above it has no metadata; [`EditError::Threshold`].
    pub fn delegate(
        &mut self,
        role: &str,
        keys: &[NotaryKey],
        paths: &[String],
        threshold: Option<u32>,
    ) -> Result<(), EditError> {
        let parent = above(role)
            .filter(|_| is_delegated_role(role))
            .ok_or_else(|| no_role(role))?;
        let absent = self.absent(parent);
        let targets = self.targets.get_mut(parent).ok_or(absent)?;
        let delegations = &mut targets.delegations;
        for key in keys {
            delegations.keys.insert(key.clone());
        }
        if delegations.role(role).is_none() {
            delegations.roles.push(DelegatedRole {
                name: role.to_owned(),
                keyids: Vec::new(),
                threshold: 1,
                paths: Vec::new(),
                extra: serde_json::Map::new(),
            });
            // The real client keeps them in the order of their names.
            delegations.roles.sort_by(|one, other| one.name.cmp(&other.name));
        }
        let delegation = delegations.roles.iter_mut().find(|delegation| delegation.name == role);
        let delegation = delegation.ok_or_else(|| no_role(role))?;
        delegation.threshold = threshold.unwrap_or(delegation.threshold);
        let ids = keys.iter().map(NotaryKey::id);
        for id in ids {
            if !delegation.keyids.contains(id) {
                delegation.keyids.push(id.clone());
            }
        }
        for path in paths {
            if !delegation.paths.contains(path) {
                delegation.paths.push(path.clone());
            }
        }
        delegation.keyids.sort();
        delegation.paths.sort();
        check_threshold(delegation)?;
        self.changed.insert(parent.to_owned());
        Ok(())
    }

    /// Takes keys (by either id) and paths from a delegated role. Says whether the role had any of them.
    ///
    /// # Errors
    /// [`EditError::NoRole`]; [`EditError::Threshold`] when too few keys would stay.
    pub fn narrow(&mut self, role: &str, keys: &[String], paths: &[String]) -> Result<bool, EditError> {
        let parent = above(role).ok_or_else(|| no_role(role))?;
        let absent = self.absent(parent);
        let targets = self.targets.get_mut(parent).ok_or(absent)?;
        let named: Vec<_> = targets
            .delegations
            .keys
            .iter()
            .filter(|key| {
                keys.iter()
                    .any(|id| id == key.id().as_str() || id == key.canonical_id().as_str())
            })
            .map(|key| key.id().clone())
            .collect();
        let delegations = &mut targets.delegations;
        let delegation = delegations.roles.iter_mut().find(|delegation| delegation.name == role);
        let delegation = delegation.ok_or_else(|| no_role(role))?;
        let before = delegation.keyids.len() + delegation.paths.len();
        delegation
            .keyids
            .retain(|id| !named.contains(id) && !keys.iter().any(|other| other == id.as_str()));
        delegation.paths.retain(|path| !paths.contains(path));
        let after = delegation.keyids.len() + delegation.paths.len();
        check_threshold(delegation)?;
        drop_unused_keys(targets);
        if after < before {
            self.changed.insert(parent.to_owned());
            // What the role signed counts again once a key that stays has signed it.
            if self.targets.contains_key(role) && !keys.is_empty() {
                self.changed.insert(role.to_owned());
            }
        }
        Ok(after < before)
    }

    /// Takes a role out of the collection, with those below it and all that they signed.
    ///
    /// # Errors
    /// [`EditError::NoRole`].
    pub fn undelegate(&mut self, role: &str) -> Result<(), EditError> {
        let parent = above(role).ok_or_else(|| no_role(role))?;
        let absent = self.absent(parent);
        let targets = self.targets.get_mut(parent).ok_or(absent)?;
        let roles = &mut targets.delegations.roles;
        let before = roles.len();
        roles.retain(|delegation| delegation.name != role);
        if roles.len() == before {
            return Err(no_role(role));
        }
        drop_unused_keys(targets);
        let below = format!("{role}/");
        let goes = |name: &str| name == role || name.starts_with(&below);
        self.targets.retain(|name, _| !goes(name));
        self.snapshot.meta.retain(|name, _| !goes(name));
        self.changed.retain(|name| !goes(name));
        self.changed.insert(parent.to_owned());
        Ok(())
    }

    /// Marks a role to be signed anew as it is, with today's keys and a later expiry; a delegated one without metadata gets some.
    /// Says whether those vouch for it whose word counts: what is published and not trusted is taken where
    /// [`NotaryCollection::set_unvouched`] gave it.
    ///
    /// # Errors
    /// [`EditError::NoRole`]; [`EditError::Unvouched`] when what is published for the role was not given.
    pub fn witness(&mut self, role: &str, now: Time) -> Result<bool, EditError> {
        let unvouched = self.unvouched.remove(role);
        let vouched = unvouched.is_none();
        if let Some(published) = unvouched {
            // Only a role that somebody delegates to has keys.
            self.role_keys(role)?;
            self.targets
                .insert(role.to_owned(), published.unverified_body().clone());
        } else if role != "root" {
            self.begin(role, now)?;
        }
        self.changed.insert(role.to_owned());
        Ok(vouched)
    }

    /// Marks a role to be signed anew as it is, with a later expiry: the root, the snapshot, or one that has metadata here.
    ///
    /// # Errors
    /// [`EditError::NoRole`]; [`EditError::Unvouched`] when what is published for the role is not trusted.
    pub fn renew(&mut self, role: &str) -> Result<(), EditError> {
        if !matches!(role, "root" | "snapshot") && !self.targets.contains_key(role) {
            return Err(self.absent(role));
        }
        self.changed.insert(role.to_owned());
        Ok(())
    }

    /// Takes what is published for a role that cannot be trusted; nothing but [`NotaryCollection::witness`] uses it.
    pub fn set_unvouched(&mut self, role: &str, published: Unverified<Targets>) {
        self.unvouched.insert(role.to_owned(), published);
    }

    /// Gives a top-level role new keys; what it signed is signed anew. Root keys that go stay listed, as the real client has it.
    ///
    /// # Errors
    /// [`EditError::NoRole`].
    pub fn rotate(&mut self, role: &str, keys: &[NotaryKey], threshold: u32) -> Result<(), EditError> {
        let named = self.root.roles.get_mut(role).ok_or_else(|| no_role(role))?;
        let found = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        if threshold == 0 || found < threshold {
            return Err(EditError::Threshold {
                role: role.to_owned(),
                threshold,
                keys: found,
            });
        }
        let old = std::mem::replace(named, Role::of(keys.iter().map(|key| key.id().clone()), threshold));
        for key in keys {
            self.root.keys.insert(key.clone());
        }
        for id in old.keyids.iter().filter(|_| role != "root") {
            if !self.root.roles.values().any(|role| role.keyids.contains(id)) {
                self.root.keys.remove(id);
            }
        }
        self.changed.insert("root".to_owned());
        if role == TARGETS {
            self.changed.insert(TARGETS.to_owned());
        }
        Ok(())
    }

    /// Returns a role's metadata, made if a delegated role has none yet.
    fn begin(&mut self, role: &str, now: Time) -> Result<&mut Targets, EditError> {
        if !self.targets.contains_key(role) {
            if role == TARGETS || !is_delegated_role(role) {
                return Err(no_role(role));
            }
            // Only a role that somebody delegates to has keys.
            self.role_keys(role)?;
            if self.is_listed(role) {
                return Err(self.absent(role));
            }
            self.targets.insert(role.to_owned(), Targets::new(now));
        }
        self.targets.get_mut(role).ok_or_else(|| no_role(role))
    }

    /// Refuses a name that one of the delegations on the way to the role does not cover.
    fn check_covered(&self, role: &str, name: &str) -> Result<(), EditError> {
        let mut below = role;
        while let Some(parent) = above(below) {
            let delegation = self
                .targets
                .get(parent)
                .and_then(|targets| targets.delegations.role(below));
            let delegation = delegation.ok_or_else(|| no_role(role))?;
            if !delegation.covers(name) {
                return Err(EditError::NotCovered {
                    role: below.to_owned(),
                    target: name.to_owned(),
                    patterns: delegation
                        .paths
                        .iter()
                        .map(|path| format!("{path}*"))
                        .collect::<Vec<_>>()
                        .join(" "),
                });
            }
            below = parent;
        }
        Ok(())
    }
}

fn check_threshold(delegation: &DelegatedRole) -> Result<(), EditError> {
    let keys = u32::try_from(delegation.keyids.len()).unwrap_or(u32::MAX);
    match (1..=keys).contains(&delegation.threshold) {
        true => Ok(()),
        false => Err(EditError::Threshold {
            role: delegation.name.clone(),
            threshold: delegation.threshold,
            keys,
        }),
    }
}

/// Removes keys that no delegated role has any more.
fn drop_unused_keys(targets: &mut Targets) {
    let used = |id: &crate::key::KeyId| targets.delegations.roles.iter().any(|role| role.keyids.contains(id));
    let unused: Vec<_> = targets.delegations.keys.ids().filter(|id| !used(id)).cloned().collect();
    for id in &unused {
        targets.delegations.keys.remove(id);
    }
}
