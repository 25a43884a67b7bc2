//! Who trusts a role: one name may be trusted by several roles, each with keys of its own choice.

use std::collections::{BTreeSet, VecDeque};

use super::roles::{RoleInfo, see};
use super::{Collection, EditError, RoleSpec};
use crate::key::KeyId;
use crate::time::Time;
use crate::trust::metadata::Targets;
use crate::trust::names;
use crate::trust::search::{delegated_keys, delegations};
use crate::trust::target::Mark;

impl Collection<'_> {
    /// Lists the roles that were loaded, and those that these delegate to, once for each role that trusts them: the top level first.
    pub fn trusts(&self) -> Vec<RoleInfo> {
        let mut all = Vec::new();
        let headers = [
            ("root", &self.root.header),
            ("snapshot", &self.snapshot.header),
            ("timestamp", &self.timestamp.header),
        ];
        for name in ["root", "targets", "snapshot", "timestamp"] {
            let header = headers
                .iter()
                .find(|(other, _)| *other == name)
                .map(|(_, header)| *header);
            let header = header.or_else(|| self.targets_of(name).map(|body| &body.header));
            all.extend(self.known_keys(name).map(|keys| RoleInfo {
                name: name.to_owned(),
                by: None,
                signs_as: name.to_owned(),
                mark: header.map(Mark::from),
                keys,
                patterns: Vec::new(),
                terminating: false,
            }));
        }
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from(["targets".to_owned()]);
        while let Some(by) = queue.pop_front() {
            let Some(body) = self.targets_of(&by) else { continue };
            let mut own = BTreeSet::new();
            for name in self.children(body).into_iter().filter(|name| own.insert(name.clone())) {
                let Some(info) = self.trust(&by, body, &name) else {
                    continue;
                };
                all.push(info);
                if seen.insert(name.clone()) {
                    queue.push_back(name);
                }
            }
        }
        all
    }

    /// Lists the roles that were loaded, and those that these delegate to, each once: the top level first.
    pub fn roles(&self) -> Vec<RoleInfo> {
        let mut seen = BTreeSet::new();
        let mut all = self.trusts();
        all.retain(|role| seen.insert(role.name.clone()));
        all
    }

    /// Loads the roles that trust others, and says how each of them trusts `role`, whether that is trusted now or not; bins, which trust
    /// nobody by name, are not loaded.
    ///
    /// # Errors
    /// [`EditError::NoRole`] where nobody does, and [`EditError::Trust`] when that could not be found out.
    pub fn trusted_by(&mut self, role: &str) -> Result<Vec<RoleInfo>, EditError> {
        if names::TOP_LEVEL.contains(&role) {
            let all = self.trusts().into_iter();
            return Ok(all.filter(|info| info.name == role && info.by.is_none()).collect());
        }
        let mut trusts = Vec::new();
        let mut nobody = EditError::NoRole { role: role.to_owned() };
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from(["targets".to_owned()]);
        while let Some(by) = queue.pop_front() {
            let Some(body) = self.targets_of(&by) else { continue };
            // What the role says of others, itself among them, is reached through it alone.
            if by == role {
                continue;
            }
            trusts.extend(self.trust(&by, body, role));
            let children: Vec<_> = delegations(body).map(|role| role.name.clone()).collect();
            for child in children {
                if !see(&mut seen, (&by, &child))? {
                    continue;
                }
                match self.hold(&by, &child) {
                    Ok(true) if self.by(&child) == Some(&by) => queue.push_back(child),
                    Ok(_) => {}
                    // What those say who are not trusted counts for nothing; it may be why nobody trusts the role.
                    Err(EditError::Trust(error)) if error.is_verdict() && child != role => nobody = error.into(),
                    Err(EditError::Trust(error)) if error.is_settled() && child == role => {}
                    Err(error) => return Err(error),
                }
            }
        }
        match trusts.is_empty() {
            true => Err(nobody),
            false => Ok(trusts),
        }
    }

    /// Gives a role other keys, `work` says which, on behalf of those of the roles that trust it which `by` lists. Where `again`, its
    /// metadata and its bins' are signed again by what it has then; else they stay as they are. Keys of kinds that imgkit does not know,
    /// of which `work` hears nothing, stay as they were written where `keeps` says so.
    ///
    /// # Errors
    /// As [`Collection::rotate`].
    pub fn rekey(
        &mut self,
        role: &str,
        by: &BTreeSet<Option<String>>,
        again: bool,
        now: Time,
        keeps: &dyn Fn(&KeyId) -> bool,
        work: &dyn Fn(&mut RoleSpec),
    ) -> Result<(), EditError> {
        let mut trusted = self.trusted_by(role)?;
        // What is signed again counts for those whose trust is changed; for others as far as their keys are at hand.
        for by in trusted
            .iter()
            .filter(|info| !again || !by.contains(&info.by))
            .flat_map(|info| &info.by)
        {
            self.released.insert((by.clone(), role.to_owned()));
        }
        trusted.retain(|info| by.contains(&info.by));
        for by in trusted.iter().filter(|_| again).flat_map(|info| &info.by) {
            self.released.remove(&(by.clone(), role.to_owned()));
        }
        let parts = match again {
            // What is to be signed again has to be known: its bins are named in it.
            true => self.find(role).and_then(|()| self.parts_of(role))?,
            false => Vec::new(),
        };
        // Those whose trust is changed say whose signatures it needs.
        if let (Some(held), Some(info)) = (self.held.get_mut(role), trusted.first())
            && !by.contains(&held.by)
        {
            held.by.clone_from(&info.by);
        }
        let mut first = None;
        for info in trusted {
            let mut spec = RoleSpec::of(&info.keys);
            work(&mut spec);
            let by = info.by.as_deref();
            let unknown = self.unknown_keys(by, role, keeps);
            self.replace_keys_by(by, role, &spec, now)?;
            self.put_back(by, role, unknown)?;
            first.get_or_insert(spec);
        }
        let Some(spec) = first else {
            return Err(EditError::NoRole { role: role.to_owned() });
        };
        if !again {
            return Ok(());
        }
        let of_part = |part: &String| {
            let by = self.by(part).map(str::to_owned);
            let unknown = self.unknown_keys(by.as_deref(), part, keeps);
            (by, unknown)
        };
        let unknown: Vec<_> = parts.iter().map(of_part).collect();
        self.sign_again(role, &parts, &spec, now)?;
        for (part, (by, unknown)) in parts.iter().zip(unknown) {
            self.put_back(by.as_deref(), part, unknown)?;
        }
        Ok(())
    }

    /// Says how a role trusts another by its name, if it does.
    fn trust(&self, by: &str, body: &Targets, name: &str) -> Option<RoleInfo> {
        let delegation = body.delegation(name)?;
        let listed = delegations(body).find(|role| role.name == name);
        Some(RoleInfo {
            by: Some(by.to_owned()),
            signs_as: match self.is_part(by, name) {
                true => self.signs_as(by),
                false => name.to_owned(),
            },
            mark: self.targets_of(name).map(|body| Mark::from(&body.header)),
            keys: delegated_keys(body, &delegation),
            patterns: listed.map(|role| role.patterns()).unwrap_or_default(),
            terminating: delegation.terminating,
            name: name.to_owned(),
        })
    }
}
