//! Whom a role trusts with names: roles that are added and taken away.

use serde_json::Map;

use super::{Collection, EditError, RoleSpec};
use crate::time::Time;
use crate::trust::metadata::{DelegatedRole, Delegations};
use crate::trust::names;

impl Collection<'_> {
    /// Trusts a new role with the names that `patterns` match, on behalf of the top level.
    ///
    /// It has no metadata until it signs something or [`Collection::begin`] is called; until then a look-up of a name that it
    /// covers fails, as it would if somebody withheld them. A role whose keys sign other things than targets needs none.
    ///
    /// # Errors
    /// [`EditError`] when the name is taken or none, or the threshold cannot be met.
    pub fn delegate(&mut self, role: &str, spec: &RoleSpec, patterns: &[String]) -> Result<(), EditError> {
        self.delegate_by("targets", role, spec, patterns, false)
    }

    /// Trusts a new role with the names that `patterns` match, on behalf of the role `by`; after a terminating role nobody is
    /// asked.
    ///
    /// # Errors
    /// As [`Collection::delegate`]; [`EditError::NoRole`] when there is no role `by` that signs targets; [`EditError::Revoked`] when it
    /// took one of the keys from a role of that name.
    pub fn delegate_by(
        &mut self,
        by: &str,
        role: &str,
        spec: &RoleSpec,
        patterns: &[String],
        terminating: bool,
    ) -> Result<(), EditError> {
        self.check_new(role)?;
        spec.check(role)?;
        check_patterns(patterns)?;
        self.find(by)?;
        self.check_not_revoked(by, role, &spec.keys)?;
        let delegations = self.delegations_mut(by)?;
        // The other form of delegation leaves no room for listed roles.
        if delegations.succinct_roles.is_some() {
            return Err(EditError::Bins { role: role.to_owned() });
        }
        delegations.keys.extend(spec.objects());
        // Names that are found by hash alone are looked for last: their bins end a search.
        let listed = delegations.roles.iter().take_while(|other| other.paths.is_some());
        let place = listed.count();
        delegations.roles.insert(
            place,
            DelegatedRole {
                name: role.to_owned(),
                keyids: spec.keyids(),
                threshold: spec.threshold,
                terminating,
                paths: Some(patterns.to_vec()),
                path_hash_prefixes: None,
                extra: Map::new(),
            },
        );
        self.fresh.insert(role.to_owned());
        self.touch(by);
        Ok(())
    }

    /// Trusts a delegated role with other names than before.
    ///
    /// # Errors
    /// [`EditError::NoRole`], also for a role whose names are given by hash.
    pub fn set_patterns(&mut self, role: &str, patterns: &[String]) -> Result<(), EditError> {
        let by = self.delegator(role)?;
        self.set_patterns_by(&by, role, patterns)
    }

    /// Does the same on behalf of one of the roles that trust the role; the others go on as they did.
    ///
    /// # Errors
    /// As [`Collection::set_patterns`].
    pub fn set_patterns_by(&mut self, by: &str, role: &str, patterns: &[String]) -> Result<(), EditError> {
        check_patterns(patterns)?;
        let no_role = || EditError::NoRole { role: role.to_owned() };
        let roles = &mut self.delegations_mut(by)?.roles;
        let found = roles
            .iter_mut()
            .find(|other| other.name == role && other.paths.is_some());
        found.ok_or_else(no_role)?.paths = Some(patterns.to_vec());
        self.touch(by);
        Ok(())
    }

    /// Takes a delegated role away; nothing that it signed is trusted any more. Its keys are revoked for its name as of `now`.
    ///
    /// # Errors
    /// [`EditError::NoRole`]; [`EditError::Part`] for what holds the names of the role that trusts it.
    pub fn undelegate(&mut self, role: &str, now: Time) -> Result<(), EditError> {
        let by = self.delegator(role)?;
        self.undelegate_by(&by, role, now)
    }

    /// Does the same on behalf of one of the roles that trust the role.
    ///
    /// # Errors
    /// As [`Collection::undelegate`].
    pub fn undelegate_by(&mut self, by: &str, role: &str, now: Time) -> Result<(), EditError> {
        let no_role = || EditError::NoRole { role: role.to_owned() };
        self.find(by)?;
        let old = self.keys_by(by, role).ok_or_else(no_role)?;
        // With it the names would go of whose part it is.
        if self.is_part(by, role) {
            return Err(EditError::Part {
                role: role.to_owned(),
                by: by.to_owned(),
            });
        }
        let delegations = self.delegations_mut(by)?;
        let before = delegations.roles.len();
        delegations.roles.retain(|other| other.name != role);
        // Bins in short go together.
        let bins = match delegations.roles.len() == before {
            true => delegations.succinct_roles.take_if(|bins| bins.is_bin(role)),
            false => None,
        };
        if delegations.roles.len() == before && bins.is_none() {
            return Err(no_role());
        }
        drop_unused_keys(delegations);
        self.revoke(by, &old, &[], now)?;
        // What is below it is no longer reached; the snapshot goes on naming what it has named.
        let is_gone = |name: &str| name == role || bins.as_ref().is_some_and(|bins| bins.is_bin(name));
        let below = |other: &&String| self.path_of(other).iter().any(|above| is_gone(above));
        let gone: Vec<String> = self.held.keys().filter(below).cloned().collect();
        for role in gone.iter().map(String::as_str).chain([role]) {
            self.held.remove(role);
            self.changed.remove(role);
            self.prepared.remove(role);
            self.sealed.remove(role);
            self.put.retain(|(other, _)| other != role);
        }
        self.touch(by);
        Ok(())
    }

    /// Refuses a name that no new role can have.
    ///
    /// # Errors
    /// [`EditError::Exists`] where a role has it, or the specification keeps it for one; [`EditError::NoRole`] where it is none;
    /// [`EditError::Trust`] when it could not be found out.
    pub fn check_new(&mut self, role: &str) -> Result<(), EditError> {
        if !names::is_role(role) {
            return Err(EditError::NoRole { role: role.to_owned() });
        }
        let exists = || EditError::Exists { role: role.to_owned() };
        if names::is_top_level(role) {
            return Err(exists());
        }
        match self.delegator(role) {
            Ok(_) => Err(exists()),
            Err(EditError::NoRole { .. }) => Ok(()),
            // What those say who are not trusted counts for nothing.
            Err(EditError::Trust(error)) if error.is_verdict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the delegations of a role that signs targets.
    pub(super) fn delegations_mut(&mut self, by: &str) -> Result<&mut Delegations, EditError> {
        self.find(by)?;
        let held = self.held.get_mut(by);
        let held = held.ok_or_else(|| EditError::NoRole { role: by.to_owned() })?;
        Ok(held.body.delegations.get_or_insert_default())
    }
}

fn check_patterns(patterns: &[String]) -> Result<(), EditError> {
    match patterns.iter().any(String::is_empty) {
        true => Err(EditError::Pattern),
        false => Ok(()),
    }
}

/// Forgets the keys that no delegation names.
pub(super) fn drop_unused_keys(delegations: &mut Delegations) {
    let listed = delegations.roles.iter().flat_map(|role| &role.keyids);
    let bins = delegations.succinct_roles.iter().flat_map(|bins| &bins.keyids);
    let used: std::collections::BTreeSet<_> = listed.chain(bins).cloned().collect();
    delegations.keys.retain(|id, _| used.contains(id));
}
