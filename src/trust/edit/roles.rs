//! Finding roles: whose metadata a change needs, and loading no others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::vouch::Standing;
use super::{Collection, EditError, Held, new_targets};
use crate::limit;
use crate::time::Time;
use crate::trust::metadata::{Delegation, Revoked, Targets};
use crate::trust::names;
use crate::trust::role_keys::RoleKeys;
use crate::trust::search::{delegated_keys, delegates_by_hash, delegations};
use crate::trust::target::Mark;
use crate::trust::{Distrusted, TrustError};

/// A role of a collection, for those who list them.
#[derive(Clone, Debug)]
pub struct RoleInfo {
    /// Its name.
    pub name: String,
    /// The role that delegates to it; none for the top level.
    pub by: Option<String>,
    /// The role that it is a part of: a bin signs as the role whose names it holds. Its own name when it is no part.
    pub signs_as: String,
    /// Version and expiry of its metadata, if it has any.
    pub mark: Option<Mark>,
    /// Its keys and their threshold.
    pub keys: RoleKeys,
    /// The patterns of names that it is trusted with, or hash prefixes.
    pub patterns: Vec<String>,
    /// Whether nobody after it is asked.
    pub terminating: bool,
}

impl Collection<'_> {
    /// Loads the metadata of every role.
    ///
    /// # Errors
    /// [`EditError::Trust`] when some are not what their keys signed.
    pub fn load_all(&mut self) -> Result<(), EditError> {
        let distrusted = self.load_trusted()?.into_iter();
        let mut distrusted = distrusted.filter(|one| !self.held.contains_key(&one.role));
        distrusted.next().map_or(Ok(()), |one| Err(one.error.into()))
    }

    /// Loads the metadata of every role that is trusted, and returns those that do not count for one who trusts them, whether they
    /// count for another or not, and those whose files are gone; what is delegated to by those who count for nobody is not looked at.
    ///
    /// # Errors
    /// [`EditError::Trust`] when it could not be found out whether a role is trusted.
    pub fn load_trusted(&mut self) -> Result<Vec<Distrusted>, EditError> {
        let mut distrusted = Vec::new();
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from(["targets".to_owned()]);
        // Those too that were loaded before, or came from a draft, may trust others.
        while let Some(by) = queue.pop_front() {
            let Some(body) = self.targets_of(&by) else { continue };
            for child in self.children(body) {
                // What the role says of itself and of those above it is reached by no look-up.
                let above = child == by || self.path_of(&by).contains(&child);
                if above || !see(&mut seen, (&by, &child))? {
                    continue;
                }
                // A name that several trust is looked at for each; a change that is staged may have loaded it before.
                let first = !self.held.contains_key(&child) || self.by(&child) == Some(&by);
                let loaded = match first {
                    true => self.hold(&by, &child),
                    // Bins are their role's.
                    false if self.is_part(&by, &child) => self.hold(&by, &child).map(|_| false),
                    false => self.published_for(&by, &child).map(|_| false),
                };
                match loaded {
                    Ok(true) => queue.push_back(child),
                    Ok(false) => {}
                    Err(EditError::Trust(error)) if error.is_settled() => {
                        let (role, by) = (child, by.clone());
                        distrusted.push(Distrusted { role, by, error });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(distrusted)
    }

    /// Loads what has to be loaded to find a role.
    ///
    /// # Errors
    /// [`EditError::NoRole`], or [`EditError::Trust`] when a role on the way is not what its keys signed.
    pub fn find(&mut self, role: &str) -> Result<(), EditError> {
        if names::TOP_LEVEL.contains(&role) {
            return Ok(());
        }
        let by = self.delegator(role)?;
        self.hold(&by, role).map(|_| ())
    }

    /// Loads what has to be loaded to find a role as one trusts it.
    ///
    /// # Errors
    /// As [`Collection::find`]; [`EditError::Trust`] when what is published of it does not count for him.
    pub fn find_for(&mut self, by: Option<&str>, role: &str) -> Result<(), EditError> {
        match by {
            None => self.find(role),
            Some(by) => self.find(by).and_then(|()| self.hold(by, role)).map(|_| ()),
        }
    }

    /// Returns version and expiry of every role that was loaded, the top level first.
    pub fn marks(&self) -> Vec<(String, Mark)> {
        let mark = |role: RoleInfo| Some((role.name, role.mark?));
        self.roles().into_iter().filter_map(mark).collect()
    }

    /// Returns the keys that were taken from delegated roles, of the roles that were loaded, each with the role that took it.
    pub fn revoked(&self) -> impl Iterator<Item = (&str, &Revoked)> {
        let held = self.held.iter();
        held.flat_map(|(by, held)| held.body.revoked.iter().map(move |entry| (by.as_str(), entry)))
    }

    /// Returns the keys of a role.
    ///
    /// # Errors
    /// As [`Collection::find`].
    pub fn role_keys(&mut self, role: &str) -> Result<RoleKeys, EditError> {
        self.find(role)?;
        self.known_keys(role)
            .ok_or_else(|| EditError::NoRole { role: role.to_owned() })
    }

    /// Returns what every role that was loaded signs, by role.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &Targets)> {
        self.held.iter().map(|(role, held)| (role.as_str(), &held.body))
    }

    /// Refuses to go on where roles no longer say what was shown of them.
    ///
    /// # Errors
    /// [`EditError::Moved`]; as [`Collection::find`].
    pub fn check_shown(&mut self, shown: &BTreeMap<String, Targets>) -> Result<(), EditError> {
        for (role, body) in shown {
            self.find(role)?;
            if self.targets_of(role) != Some(body) {
                return Err(EditError::Moved { role: role.clone() });
            }
        }
        Ok(())
    }

    /// Returns what a role that was loaded signs.
    pub fn targets_of(&self, role: &str) -> Option<&Targets> {
        self.held.get(role).map(|held| &held.body)
    }

    /// Tells whether a role that was found has metadata.
    pub fn has_metadata(&self, role: &str) -> bool {
        names::TOP_LEVEL.contains(&role) || self.held.contains_key(role)
    }

    /// Tells whether something is published under a role's name, whoever signed it.
    pub fn is_published(&self, role: &str) -> bool {
        self.meta(role).is_some()
    }

    /// Returns the role as which a role signs: a bin as the role that it is a part of, every other as itself.
    pub fn signs_as(&self, role: &str) -> String {
        let mut role = role;
        while let Some(by) = self.by(role) {
            match self.is_part(by, role) {
                true => role = by,
                false => break,
            }
        }
        role.to_owned()
    }

    /// Tells whether `role` is a part of the role that delegates to it: named by hash alone, with the same keys.
    pub(super) fn is_part(&self, by: &str, role: &str) -> bool {
        let by_hash = self.targets_of(by).is_some_and(|body| delegates_by_hash(body, role));
        let keys = self.known_keys(by).zip(self.keys_by(by, role));
        by_hash && keys.is_some_and(|(by, role)| role.same_as(&by))
    }

    /// Returns the delegated roles from the top level to `role`.
    pub(super) fn path_of(&self, role: &str) -> Vec<String> {
        let mut path = Vec::new();
        let mut role = Some(role);
        while let Some(name) = role.filter(|name| *name != "targets") {
            path.push(name.to_owned());
            role = self.by(name);
        }
        path.reverse();
        path
    }

    /// Returns the role that delegates to `role`, which may have no metadata yet; it is loaded then.
    pub(super) fn delegator(&mut self, role: &str) -> Result<String, EditError> {
        if let Some(by) = self.by(role).map(str::to_owned) {
            // Others are asked where those that are loaded trust its name to keys that never signed.
            match self.hold(&by, role) {
                Err(EditError::Trust(error)) if error.is_verdict() => {}
                _ => return Ok(by),
            }
        }
        self.search(role)?
            .ok_or_else(|| EditError::NoRole { role: role.to_owned() })
    }

    /// Loads a role's metadata, and tells whether there are any.
    pub(super) fn hold(&mut self, by: &str, role: &str) -> Result<bool, EditError> {
        if let Some(held) = self.held.get(role) {
            // A bin is its role's, whoever else lists its name and was asked first.
            let other = held.by.as_deref().filter(|other| *other != by);
            let is_mine = other.is_some_and(|other| self.is_part(by, role) && !self.is_part(other, role));
            if is_mine && self.standing(by, role)? == Standing::Counts {
                let held = self.held.get_mut(role);
                held.into_iter().for_each(|held| held.by = Some(by.to_owned()));
            }
            return Ok(true);
        }
        let Some(body) = self.published_for(by, role)? else {
            return Ok(false);
        };
        let found = delegations(&body).count();
        if found > limit::LISTED_ROLES {
            return Err(EditError::Trust(TrustError::TooMany {
                role: role.to_owned(),
                found,
                most: limit::LISTED_ROLES,
            }));
        }
        let by = Some(by.to_owned());
        self.held.insert(role.to_owned(), Held { by, body });
        Ok(true)
    }

    /// Returns a role's metadata for a change; a delegated role that has none yet gets them.
    pub(super) fn role_mut(&mut self, role: &str, now: Time) -> Result<&mut Targets, EditError> {
        if role != "targets" {
            let by = self.delegator(role)?;
            self.hold(&by, role)?;
            let new = || Held {
                by: Some(by),
                body: new_targets(now),
            };
            return Ok(&mut self.held.entry(role.to_owned()).or_insert_with(new).body);
        }
        let held = self.held.get_mut(role);
        held.map(|held| &mut held.body)
            .ok_or_else(|| EditError::NoRole { role: role.to_owned() })
    }

    /// Returns the roles that a client asks for `name`, in order, and loads them.
    pub(super) fn asked(&mut self, name: &str) -> Result<Vec<String>, EditError> {
        let mut order: Vec<String> = Vec::new();
        let mut steps = vec![(String::new(), "targets".to_owned())];
        while let Some((by, role)) = steps.pop() {
            if order.contains(&role) {
                continue;
            }
            if order.len() >= limit::DELEGATION_VISITS {
                let problem = format!(
                    "a look-up of `{name}` would visit more than {} roles",
                    limit::DELEGATION_VISITS
                );
                return Err(TrustError::malformed("delegations", problem).into());
            }
            order.push(role.clone());
            if role != "targets" && !self.hold(&by, &role)? {
                continue;
            }
            let covering = self.targets_of(&role).into_iter().flat_map(|body| body.covering(name));
            let mut next = Vec::new();
            for Delegation { name, terminating, .. } in covering {
                next.push((role.clone(), name.into_owned()));
                if terminating {
                    steps.clear();
                    break;
                }
            }
            steps.extend(next.into_iter().rev());
        }
        Ok(order)
    }

    /// Returns the keys of a role whose delegator is loaded.
    pub(super) fn known_keys(&self, role: &str) -> Option<RoleKeys> {
        if let Some(found) = self.root.roles.get(role) {
            return Some(RoleKeys::new(role, &found.keyids, found.threshold, &self.root.keys));
        }
        self.keys_by(self.by(role)?, role)
    }

    /// Returns the keys to which others that are loaded trust a role, beside the one on whose behalf it is loaded.
    pub fn keys_by_others(&self, role: &str) -> Vec<RoleKeys> {
        let first = self.by(role);
        let held = self.held.keys().map(String::as_str);
        let others = held.filter(|other| Some(*other) != first && *other != role);
        others.filter_map(|by| self.keys_by(by, role)).collect()
    }

    /// Lists the roles that are loaded and delegate to others: few, where bins are many.
    pub(super) fn delegating(&self) -> Vec<String> {
        let held = self.held.iter().filter(|(_, held)| held.body.delegations.is_some());
        held.map(|(role, _)| role.clone()).collect()
    }

    /// Returns the keys to which a role that is loaded trusts another.
    pub(super) fn keys_by(&self, by: &str, role: &str) -> Option<RoleKeys> {
        let body = self.targets_of(by)?;
        Some(delegated_keys(body, &body.delegation(role)?))
    }

    /// Returns the role that delegates to `role`, as far as roles are loaded.
    pub(super) fn by(&self, role: &str) -> Option<&str> {
        if names::is_top_level(role) {
            return None;
        }
        if let Some(held) = self.held.get(role) {
            return held.by.as_deref();
        }
        let held = self
            .held
            .iter()
            .filter(|(_, held)| held.body.delegation(role).is_some());
        held.map(|(name, _)| name.as_str())
            .min_by_key(|name| self.rank(name, role))
    }

    /// Returns the names of the roles that a role delegates to: the listed ones, and its bins as far as they have metadata; the first
    /// bin stands for all where none has, as their keys are trusted.
    pub(super) fn children(&self, body: &Targets) -> Vec<String> {
        let mut names: Vec<_> = delegations(body).map(|role| role.name.clone()).collect();
        if let Some(bins) = body.delegations.as_ref().and_then(|all| all.succinct_roles.as_ref()) {
            let published = self.snapshot.meta.keys().filter_map(|file| file.strip_suffix(".json"));
            let all: BTreeSet<_> = published.chain(self.held.keys().map(String::as_str)).collect();
            let listed = names.len();
            names.extend(all.into_iter().filter(|name| bins.is_bin(name)).map(str::to_owned));
            if names.len() == listed {
                names.push(bins.bin(0));
            }
        }
        names
    }

    /// Goes through the roles level by level and loads them, until one delegates to `wanted` to keys that signed it; returns that one,
    /// or the first that delegates to it at all. A role that is not trusted stands in nobody's way but that of the roles below it.
    ///
    /// Whoever looks for a role by its name looks into no bins: what they could delegate to is not looked for by name.
    fn search(&mut self, wanted: &str) -> Result<Option<String>, EditError> {
        let mut first = None;
        let mut distrusted = Ok(None);
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from(["targets".to_owned()]);
        while let Some(by) = queue.pop_front() {
            let Some(body) = self.targets_of(&by) else { continue };
            let delegates = body.delegation(wanted).is_some();
            let mut children: Vec<_> = delegations(body).map(|role| role.name.clone()).collect();
            if delegates {
                children.retain(|child| child != wanted);
                children.insert(0, wanted.to_owned());
            }
            for child in children {
                if !see(&mut seen, (&by, &child))? {
                    continue;
                }
                match self.hold(&by, &child) {
                    Ok(_) if child == wanted => return Ok(Some(by)),
                    Ok(true) => queue.push_back(child),
                    Ok(false) => {}
                    // Who delegates the name is known, though its own file is gone.
                    Err(EditError::Trust(error)) if error.is_verdict() || child == wanted && error.is_damage() => {
                        distrusted = distrusted.and(Err(error.into()));
                    }
                    // Somebody has the name, that much is known.
                    Err(error) => return first.map_or(Err(error), |by| Ok(Some(by))),
                }
            }
            if delegates {
                first.get_or_insert(by);
            }
        }
        match first {
            Some(by) => Ok(Some(by)),
            None => distrusted,
        }
    }
}

/// Adds a role, as another trusts it, to those that were seen, within bounds; tells whether it is new.
pub(super) fn see(seen: &mut BTreeSet<(String, String)>, (by, role): (&str, &str)) -> Result<bool, EditError> {
    if seen.len() >= limit::COLLECTION_ROLES {
        let problem = format!("the collection has more than {} roles", limit::COLLECTION_ROLES);
        return Err(TrustError::malformed("delegations", problem).into());
    }
    Ok(seen.insert((by.to_owned(), role.to_owned())))
}
