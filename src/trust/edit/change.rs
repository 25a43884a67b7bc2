//! Changes of what roles sign; nothing is signed by them yet.

use super::{Collection, EditError, Held, new_targets};
use crate::time::Time;
use crate::trust::TrustError;
use crate::trust::metadata::{TargetFile, Targets};
use crate::trust::names;
use crate::trust::search::delegations;

impl Collection<'_> {
    /// Names a target in a role, or in the one of its bins that holds the name: adds it, or replaces what the role said of it.
    ///
    /// # Errors
    /// [`EditError`] when the role does not exist or may not sign the name, or another role that is asked first signs something else
    /// under it; where that signs the very same, this role signs with it.
    pub fn put_target(&mut self, role: &str, name: &str, file: TargetFile, now: Time) -> Result<(), EditError> {
        names::check_target_name(name)?;
        self.find_targets(role)?;
        let asked = self.asked(name)?;
        let not_covered = |collection: &Self| EditError::NotCovered {
            role: role.to_owned(),
            target: name.to_owned(),
            patterns: collection.patterns(role).join(" "),
        };
        if !asked.iter().any(|other| other == role) {
            return Err(not_covered(self));
        }
        let into = self.part_for(role, name)?;
        for other in asked.iter().take_while(|other| **other != into) {
            let said = self.targets_of(other).and_then(|body| body.targets.get(name));
            let agrees = said.is_some_and(|said| said.names_the_same_as(&file));
            if self.signs(other, name) && !agrees {
                return Err(EditError::Shadowed {
                    role: role.to_owned(),
                    by: other.clone(),
                    target: name.to_owned(),
                });
            }
        }
        self.role_mut(&into, now)?.targets.insert(name.to_owned(), file);
        self.touch(&into);
        self.put.insert((into, name.to_owned()));
        Ok(())
    }

    /// Removes a target from a role, or from the one of its bins that holds it.
    ///
    /// # Errors
    /// [`EditError`] when the role does not exist or does not sign the name.
    pub fn remove_target(&mut self, role: &str, name: &str, now: Time) -> Result<(), EditError> {
        self.find_targets(role)?;
        let from = self.part_for(role, name)?;
        let removed = self.role_mut(&from, now)?.targets.remove(name);
        removed.ok_or_else(|| EditError::NoTarget {
            role: role.to_owned(),
            target: name.to_owned(),
        })?;
        self.put.remove(&(from.clone(), name.to_owned()));
        self.touch(&from);
        Ok(())
    }

    /// Returns the roles that a look-up of `name` asks and that sign it, in order: the first of them is believed.
    ///
    /// # Errors
    /// [`EditError::Trust`] when a role that has to be asked cannot be.
    pub fn signers_of(&mut self, name: &str) -> Result<Vec<String>, EditError> {
        let asked = self.asked(name)?;
        Ok(asked.into_iter().filter(|role| self.signs(role, name)).collect())
    }

    /// Gives a delegated role metadata that sign nothing yet.
    ///
    /// # Errors
    /// [`EditError::NoRole`].
    pub fn begin(&mut self, role: &str, now: Time) -> Result<(), EditError> {
        self.role_mut(role, now)?;
        self.touch(role);
        Ok(())
    }

    /// Marks a role to be signed anew with a later expiry.
    ///
    /// # Errors
    /// [`EditError::NoRole`] when it has no metadata.
    pub fn renew(&mut self, role: &str) -> Result<(), EditError> {
        self.find(role)?;
        match names::TOP_LEVEL.contains(&role) || self.held.contains_key(role) {
            true => self.touch(role),
            false => return Err(EditError::NoRole { role: role.to_owned() }),
        };
        Ok(())
    }

    /// Takes what a role's published metadata say, to be signed anew: also when those who signed them may not, or no longer.
    /// Returns whether enough of the role's present keys signed them, for everybody whose word is not outweighed.
    ///
    /// # Errors
    /// [`EditError::NoRole`] when it has no metadata; [`EditError::TopLevel`] where nobody delegates it; [`EditError::Trust`] when they
    /// are not those that the snapshot names.
    pub fn witness(&mut self, role: &str) -> Result<bool, EditError> {
        if names::TOP_LEVEL.contains(&role) {
            return Err(EditError::TopLevel { role: role.to_owned() });
        }
        let by = self.delegator(role)?;
        self.load_trusting(role)?;
        let vouched = match self.hold(&by, role) {
            Ok(true) => !self.is_doubted(role)?,
            Ok(false) => return Err(EditError::NoRole { role: role.to_owned() }),
            Err(EditError::Trust(error)) if error.is_lack_of_signatures() => {
                let (body, _) = self.unvouched(&by, role)?;
                let by = Some(by);
                self.held.insert(role.to_owned(), Held { by, body });
                false
            }
            Err(error) => return Err(error),
        };
        self.touch(role);
        self.seen.insert(role.to_owned());
        Ok(vouched)
    }

    /// Gives a delegated role metadata that sign nothing in the place of those that are published, where nobody signed these but keys
    /// that were taken from it: a role of that name was removed, and this one does not say what its signers said.
    ///
    /// # Errors
    /// [`EditError::Counts`] where what is published is trusted; [`EditError::NoRole`]; [`EditError::Trust`] where somebody else signed
    /// it as well, it is damaged, or that could not be found out.
    pub fn begin_anew(&mut self, role: &str, now: Time) -> Result<(), EditError> {
        self.begin_instead(role, now, |collection, by, error| {
            Ok(error.is_lack_of_signatures() && collection.unvouched(by, role)?.1)
        })
    }

    /// Gives a delegated role metadata that sign nothing in the place of those that are published, where these are damaged or gone:
    /// what it said is lost then.
    ///
    /// # Errors
    /// [`EditError::Counts`] where what is published is trusted; [`EditError::NoRole`]; [`EditError::Trust`] where others signed it, or
    /// that could not be found out.
    pub fn begin_lost(&mut self, role: &str, now: Time) -> Result<(), EditError> {
        self.begin_instead(role, now, |_, _, error| Ok(error.is_damage()))
    }

    fn begin_instead(
        &mut self,
        role: &str,
        now: Time,
        may: impl FnOnce(&mut Self, &str, &TrustError) -> Result<bool, EditError>,
    ) -> Result<(), EditError> {
        let by = self.delegator(role)?;
        match self.hold(&by, role) {
            Ok(true) => return Err(EditError::Counts { role: role.to_owned() }),
            Ok(false) => {}
            Err(EditError::Trust(error)) => {
                if !may(self, &by, &error)? {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error),
        }
        let (by, body) = (Some(by), new_targets(now));
        self.held.insert(role.to_owned(), Held { by, body });
        self.touch(role);
        // Nothing of what is published is signed.
        self.seen.insert(role.to_owned());
        Ok(())
    }

    /// Reads what is published of a role, whoever signed it; also tells whether nobody did but keys that were taken from it.
    fn unvouched(&mut self, by: &str, role: &str) -> Result<(Targets, bool), EditError> {
        let no_role = || EditError::NoRole { role: role.to_owned() };
        let keys = self.keys_by(by, role).ok_or_else(no_role)?;
        let published = self.published.as_mut().ok_or_else(no_role)?;
        Ok(published.unvouched(&keys)?)
    }

    /// Returns the patterns, or hash prefixes, of the names that a delegated role is trusted with.
    pub fn patterns(&self, role: &str) -> Vec<String> {
        let body = self.by(role).and_then(|by| self.targets_of(by));
        let found = body.and_then(|body| delegations(body).find(|delegation| delegation.name == role));
        found.map(|delegation| delegation.patterns()).unwrap_or_default()
    }

    /// Finds a role that signs targets.
    fn find_targets(&mut self, role: &str) -> Result<(), EditError> {
        match role != "targets" && names::is_top_level(role) {
            true => Err(EditError::NoRole { role: role.to_owned() }),
            false => self.find(role),
        }
    }

    /// Returns the role itself where it names the target or has no bins, else the bin for the name.
    fn part_for(&mut self, role: &str, name: &str) -> Result<String, EditError> {
        let mut role = role.to_owned();
        while !self.signs(&role, name) {
            let covering = self.targets_of(&role).into_iter().flat_map(|body| body.covering(name));
            let covering: Vec<_> = covering.map(|delegation| delegation.name.into_owned()).collect();
            let mut part = None;
            for child in covering {
                self.hold(&role, &child)?;
                if self.is_part(&role, &child) {
                    part = Some(child);
                    break;
                }
            }
            match part {
                Some(part) => role = part,
                None => break,
            }
        }
        Ok(role)
    }

    fn signs(&self, role: &str, name: &str) -> bool {
        self.targets_of(role)
            .is_some_and(|body| body.targets.contains_key(name))
    }
}
