//! For whom a role is signed, where several trust its name: each of them has keys of his own choice, and the file is one.
//!
//! - What counts for one who trusts a role goes on counting for him, or it is said that it does not.
//! - What does not count for him, since somebody else put it there, is not signed for him: its keys vouch for what they saw.

use std::collections::BTreeSet;

use super::envelope::Envelope;
use super::sign::Lost;
use super::{Collection, EditError, RoleSpec};
use crate::key::Signer;
use crate::trust::metadata::Targets;
use crate::trust::names;
use crate::trust::role_keys::RoleKeys;
use crate::trust::search::{delegated_keys, delegations};

/// What the published metadata of a role are for one who trusts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There are none, or he did not trust the role yet.
    New,
    /// Enough of the keys to which he trusts the role signed them.
    Counts,
    /// Too few did, or the file is gone.
    Doubtful,
}

impl Standing {
    /// Takes what was read of a role as one who trusts it.
    fn of(read: Result<Option<Targets>, EditError>) -> Result<Self, EditError> {
        match read {
            Ok(Some(_)) => Ok(Self::Counts),
            Ok(None) => Ok(Self::New),
            Err(EditError::Trust(error)) if error.is_settled() => Ok(Self::Doubtful),
            Err(error) => Err(error),
        }
    }
}

/// For whom a role's metadata are signed: those who trust it, and to which keys.
#[derive(Debug)]
pub(super) struct For {
    /// Those for whom it has to count.
    pub(super) needed: Vec<(String, RoleKeys)>,
    /// Others, for whom those of their keys sign that are at hand; whether what is published counts for them.
    pub(super) more: Vec<(String, RoleKeys, bool)>,
    /// Those for whom what is published does not count, and for whom it must not count unseen.
    pub(super) doubtful: Vec<(String, RoleKeys)>,
}

impl For {
    /// Lists all whose keys sign.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &RoleKeys)> + Clone {
        let needed = self.needed.iter().map(|(by, keys)| (by, keys));
        needed.chain(self.more.iter().map(|(by, keys, _)| (by, keys)))
    }

    /// Returns the first for whom it must not count, of those for whom it could if all who are asked to sign did.
    pub(super) fn could_count(&self) -> Option<&str> {
        let asked: Vec<_> = self.all().map(|(_, keys)| keys).collect();
        let could = self.doubtful.iter().find(|(_, keys)| keys.could_be_met_by(&asked));
        could.map(|(by, _)| by.as_str())
    }
}

impl Collection<'_> {
    /// Says what the published metadata of a role are for `by`.
    ///
    /// # Errors
    /// [`EditError::Trust`] when that could not be found out.
    pub(super) fn standing(&mut self, by: &str, role: &str) -> Result<Standing, EditError> {
        Standing::of(self.published_for(by, role))
    }

    /// Reads what is published of a role as `by` does, who trusts it: as he did before a change, or as a draft says that he does.
    ///
    /// # Errors
    /// [`EditError::Trust`] when it does not count for him, or that could not be found out.
    pub(super) fn published_for(&mut self, by: &str, role: &str) -> Result<Option<Targets>, EditError> {
        if self.fresh.contains(role) || self.keys_by(by, role).is_none() {
            return Ok(None);
        }
        match self.drafted.get(&(by.to_owned(), role.to_owned())) {
            Some(keys) => {
                let published = self.published.as_mut().map(|published| published.read_as(keys));
                Ok(published.transpose()?.flatten())
            }
            None => self.published_before(by, role),
        }
    }

    /// Reads what is published of a role as `by` trusted it before any change.
    fn published_before(&mut self, by: &str, role: &str) -> Result<Option<Targets>, EditError> {
        let path = self.path_to(by, role);
        let published = self.published.as_mut().map(|published| published.role(&path));
        Ok(published.transpose()?.flatten().map(|signed| signed.body().clone()))
    }

    fn path_to(&self, by: &str, role: &str) -> Vec<String> {
        let mut path = self.path_of(by);
        path.push(role.to_owned());
        path
    }

    /// Remembers how those whose documents came from a draft trust other roles now, and forgets what was loaded of these: it counted
    /// as they were trusted before.
    pub(super) fn note_drafted(&mut self, documents: &BTreeSet<String>) {
        for by in documents {
            for role in self.trusted_otherwise(by) {
                let keys = self.keys_by(by, &role);
                self.drafted.extend(keys.map(|keys| ((by.clone(), role), keys)));
            }
        }
        let changed = |role: &String| {
            let path = self.path_of(role);
            let above = std::iter::once("targets").chain(path.iter().map(String::as_str));
            let mut steps = above.zip(&path);
            steps.any(|(by, role)| {
                !documents.contains(role)
                    && (self.drafted.contains_key(&(by.to_owned(), role.clone())) || self.keys_by(by, role).is_none())
            })
        };
        let loaded = self.held.keys().filter(|role| *role != "targets");
        let gone: Vec<_> = loaded.filter(|role| changed(role)).cloned().collect();
        for role in gone {
            self.held.remove(&role);
        }
    }

    /// Loads those who may trust a role by its name, where it matters: what counts for the top level, nobody has to agree to.
    ///
    /// # Errors
    /// [`EditError::Trust`] when it could not be found out who does.
    pub fn load_trusting(&mut self, role: &str) -> Result<(), EditError> {
        let Some(by) = self.by(role).map(str::to_owned) else {
            return Ok(());
        };
        let outweighs = by == "targets" && self.standing(&by, role)? != Standing::Doubtful;
        if outweighs || self.is_part(&by, role) {
            return Ok(());
        }
        match self.trusted_by(role) {
            Ok(_) | Err(EditError::NoRole { .. }) => Ok(()),
            Err(EditError::Trust(error)) if error.is_verdict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells whether what is published for a role was put there by somebody else, as far as roles are loaded: only those who look at it
    /// sign it again.
    ///
    /// # Errors
    /// [`EditError::Trust`] when that could not be found out.
    pub fn is_doubtful(&mut self, role: &str) -> Result<bool, EditError> {
        let whom = self.unseen(role)?;
        Ok(whom.is_none_or(|whom| whom.could_count().is_some()))
    }

    /// Tells whether what is published for a role does not count for one who trusts it and is loaded, and whose word is not outweighed.
    ///
    /// # Errors
    /// [`EditError::Trust`] when that could not be found out.
    pub(super) fn is_doubted(&mut self, role: &str) -> Result<bool, EditError> {
        let whom = self.unseen(role)?;
        Ok(whom.is_none_or(|whom| !whom.doubtful.is_empty()))
    }

    /// Finds out for whom a role could be signed by those who have not looked at it; for nobody, where it is somebody else's.
    fn unseen(&mut self, role: &str) -> Result<Option<For>, EditError> {
        let delegating = self.delegating();
        match self.signed_for(role, &delegating, false) {
            Ok(whom) => Ok(Some(whom)),
            Err(EditError::Doubtful { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds out for whom a role is signed, of the one on whose behalf it is loaded and of the others of `delegating`, who are loaded.
    /// Where those who sign have `seen` what is published, it is signed for all.
    ///
    /// # Errors
    /// [`EditError::Doubtful`] where what is published does not count for the one on whose behalf it is loaded.
    pub(super) fn signed_for(&mut self, role: &str, delegating: &[String], seen: bool) -> Result<For, EditError> {
        let own = self.known_keys(role);
        let own = own.ok_or_else(|| EditError::NoRole { role: role.to_owned() })?;
        let first = self.by(role).unwrap_or("root").to_owned();
        let mut signed = For {
            needed: vec![(first.clone(), own)],
            more: Vec::new(),
            doubtful: Vec::new(),
        };
        if names::is_top_level(role) {
            return Ok(signed);
        }
        let refused = |by: &str| EditError::Doubtful {
            role: role.to_owned(),
            by: by.to_owned(),
        };
        let drafted = self.prepared.contains_key(role);
        let seen = seen || drafted;
        if !seen && self.standing(&first, role)? == Standing::Doubtful {
            return Err(refused(&first));
        }
        let mut doubtful = Vec::new();
        let others = delegating.iter().filter(|by| **by != first && !self.is_below(by, role));
        let others: Vec<_> = others
            .filter_map(|by| Some((by.clone(), self.keys_by(by, role)?)))
            .collect();
        for (by, keys) in others {
            match self.standing(&by, role)? {
                // What others signed takes nobody's place for whom something counts.
                Standing::Counts if drafted && !self.is_below(&by, &first) => signed.needed.push((by, keys)),
                Standing::Counts => signed.more.push((by, keys, true)),
                Standing::Doubtful if !seen => doubtful.push((by, keys)),
                Standing::Doubtful | Standing::New => signed.more.push((by, keys, false)),
            }
        }
        // What does not count for one above him on whose behalf it is loaded is somebody else's.
        if let Some((by, _)) = doubtful.iter().find(|(by, _)| self.is_below(&first, by)) {
            return Err(refused(by));
        }
        let counted = signed.more.iter().filter(|(_, _, counts)| *counts);
        let for_whom: Vec<_> = signed
            .needed
            .iter()
            .map(|(by, _)| by)
            .chain(counted.map(|(by, _, _)| by))
            .collect();
        // Whom one trusts for whom it counts has nothing to say against it.
        let outweighed = |by: &String| for_whom.iter().any(|other| self.is_below(by, other));
        doubtful.retain(|(by, _)| !outweighed(by));
        signed.doubtful = doubtful;
        Ok(signed)
    }

    /// Returns those for one of whom a role has to count that was looked at: those nearest to the top level some of whose `keys` are
    /// at hand.
    pub(super) fn nearest(&self, whom: &For, keys: &[&dyn Signer]) -> Vec<String> {
        let is_here = |role: &RoleKeys| {
            let mut own = role.keys().values();
            own.any(|own| keys.iter().any(|key| key.public() == own.public()))
        };
        let here = whom.all().filter(|(_, role)| is_here(role));
        let here: Vec<_> = here.map(|(by, _)| (self.path_of(by).len(), by)).collect();
        let nearest = here.iter().map(|(depth, _)| *depth).min();
        let here = here.iter().filter(|(depth, _)| Some(*depth) == nearest);
        here.map(|(_, by)| (*by).clone()).collect()
    }

    /// Returns the one who trusts a role and is loaded, and for whom enough keys signed a document of it; where there is none, the one
    /// nearest to the top level.
    pub(super) fn for_whom(&self, envelope: &Envelope) -> Option<String> {
        let role = envelope.role.as_str();
        if role == "targets" {
            return None;
        }
        let those = self.held.keys().filter(|by| !self.is_below(by, role));
        let mut those: Vec<_> = those.filter_map(|by| Some((by, self.keys_by(by, role)?))).collect();
        those.sort_by_key(|(by, _)| self.rank(by, role));
        let counts = |keys: &RoleKeys| envelope.lacking(std::slice::from_ref(keys)).is_none();
        let signed = those.iter().find(|(_, keys)| counts(keys));
        signed.or(those.first()).map(|(by, _)| (*by).clone())
    }

    /// Ranks one who trusts a role among others, the first best: a bin is its role's, and nobody takes a name away from those above him
    /// by listing it.
    pub(super) fn rank(&self, by: &str, role: &str) -> (bool, usize) {
        (!self.is_part(by, role), self.path_of(by).len())
    }

    /// Tells whether a role is another, or trusted by its word in the end.
    fn is_below(&self, role: &str, other: &str) -> bool {
        other == "targets" || self.path_of(role).iter().any(|above| above == other)
    }

    /// Returns the paths to the roles that count, and to whom those who are signed give other keys or thresholds: they have to
    /// count still.
    ///
    /// # Errors
    /// [`EditError::Trust`] when it could not be found out whether one counts.
    pub(super) fn has_to_count(&mut self) -> Result<Vec<Vec<String>>, EditError> {
        let counted = self.counted_before(|released| !released)?;
        Ok(counted.iter().map(|(by, role)| self.path_to(by, role)).collect())
    }

    /// Returns the roles that count, and count no more for those who are signed: till their keys sign them.
    ///
    /// # Errors
    /// [`EditError::Trust`] when it could not be found out whether one counts.
    pub fn left_untrusted(&mut self) -> Result<Vec<Lost>, EditError> {
        let signed = self.to_sign();
        let mut left = Vec::new();
        for (by, role) in self.counted_before(|released| released)? {
            let keys = self.keys_by(&by, &role).filter(|_| !signed.contains(&role));
            if let Some(keys) = keys
                && !self.counts_as(&keys)?
            {
                left.push(Lost { role, by });
            }
        }
        Ok(left)
    }

    /// Tells whether a role has parts, which are its keys' too.
    ///
    /// # Errors
    /// [`EditError::Trust`] when that could not be found out.
    pub fn has_parts(&mut self, role: &str) -> Result<bool, EditError> {
        match self.find(role).and_then(|()| self.parts_of(role)) {
            Ok(parts) => Ok(!parts.is_empty()),
            Err(EditError::Trust(error)) if error.is_settled() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Tells whether what is published for a delegated role counts still where these are its keys, and is not changed.
    ///
    /// # Errors
    /// [`EditError::Trust`] when that could not be found out.
    pub fn counts_with(&mut self, role: &str, spec: &RoleSpec) -> Result<bool, EditError> {
        let unchanged = !self.prepared.contains_key(role) && !self.changed.contains(role);
        let keys = RoleKeys::new(role, &spec.keyids(), spec.threshold, &spec.objects().collect());
        Ok(unchanged && self.counts_as(&keys)?)
    }

    fn counts_as(&mut self, keys: &RoleKeys) -> Result<bool, EditError> {
        let read = self.published.as_mut().map(|published| published.read_as(keys));
        let read = read.transpose().map(Option::flatten).map_err(EditError::from);
        Ok(Standing::of(read)? == Standing::Counts)
    }

    /// Finds the roles that count and are trusted otherwise now by those who are signed, of those that were let go or were not.
    fn counted_before(&mut self, wanted: impl Fn(bool) -> bool) -> Result<Vec<(String, String)>, EditError> {
        let mut counted = Vec::new();
        for by in self
            .to_sign()
            .iter()
            .filter(|role| !names::TOP_LEVEL.contains(&role.as_str()) || *role == "targets")
        {
            for role in self.trusted_otherwise(by) {
                let released = self.released.contains(&(by.clone(), role.clone())) || self.untrusted.contains(&role);
                if !wanted(released) {
                    continue;
                }
                match self.published_before(by, &role) {
                    Ok(None) => {}
                    Ok(Some(_)) => counted.push((by.clone(), role)),
                    // Where the file is, it may count still; a place that hides it makes nobody give it up.
                    Err(EditError::Trust(error)) if error.is_damage() && !released => counted.push((by.clone(), role)),
                    Err(EditError::Trust(error)) if error.is_settled() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(counted)
    }

    /// Lists the roles that a role trusts, and trusted before, otherwise.
    fn trusted_otherwise(&self, by: &str) -> Vec<String> {
        let before = self.published.as_ref().and_then(|client| match by {
            "targets" => Some(client.chain().targets().body()),
            _ => client.chain().role_on(&self.path_of(by)).map(|signed| signed.body()),
        });
        let Some((before, now)) = before.zip(self.targets_of(by)) else {
            return Vec::new();
        };
        let keys = |body: &Targets, role: &str| {
            body.delegation(role)
                .map(|delegation| delegated_keys(body, &delegation))
        };
        let otherwise = |role: &String| match (keys(before, role), keys(now, role)) {
            (Some(before), Some(now)) => before != now,
            _ => false,
        };
        let bins = |body: &Targets| body.delegations.as_ref().and_then(|all| all.succinct_roles.clone());
        // Of bins, all have other keys or none has.
        let published = match bins(before) == bins(now) {
            true => Vec::new(),
            false => self.children(now),
        };
        let listed = delegations(now).map(|role| role.name.clone());
        let mut roles: Vec<_> = listed.chain(published).filter(otherwise).collect();
        roles.sort();
        roles.dedup();
        roles
    }
}
