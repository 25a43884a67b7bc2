//! Signing what came over.
//!
//! - What another source signs under a name, another Notary collection or whoever signed it by hand, stays as it is: the name is
//!   left behind.
//! - What an earlier import of the same collection signed is replaced, and taken out of roles that it is no longer in.

use std::collections::BTreeMap;

use super::report::{Imported, Left};
use crate::digest::Digest;
use crate::time::Time;
use crate::trust::edit::{Collection, EditError};
use crate::trust::metadata::TargetFile;

const TARGETS: &str = "targets";

impl Imported {
    /// Puts all of it into the new collection, but what others sign there: [`Imported::leave_taken`].
    pub(super) fn put(&mut self, collection: &mut Collection<'_>, now: Time) -> Result<(), EditError> {
        let mut roles = BTreeMap::from([(TARGETS, self.top.as_str())]);
        for role in &self.remade {
            role.delegate(&self.gun, collection, now)?;
            roles.insert(&role.notary, &role.role);
        }
        let mut taken = BTreeMap::new();
        for (notary, name, file) in &self.files {
            let no_role = || EditError::NoRole { role: notary.clone() };
            let role = *roles.get(notary.as_str()).ok_or_else(no_role)?;
            let signers = collection.signers_of(name)?;
            if let Some(reason) = self.why_taken(collection, &signers, role, (name, file)) {
                taken.insert(name.clone(), reason);
                continue;
            }
            // What an earlier import put elsewhere is not left there: it could be asked first.
            for other in signers {
                if collection.signs_as(&other) != role && self.has_put(collection, &other, name) {
                    collection.remove_target(&other, name, now)?;
                }
            }
            collection.put_target(role, name, file.clone(), now)?;
        }
        // It is put again where somebody else published first: what counts is what was there the last time.
        self.taken = taken;
        Ok(())
    }

    /// Moves what others sign under the same names to what stays behind.
    pub(super) fn leave_taken(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.targets.retain(|target| match taken.get(&target.name) {
            Some(reason) => {
                self.left.push(Left {
                    name: target.notary.clone(),
                    reason: reason.clone(),
                });
                false
            }
            None => true,
        });
    }

    /// Says why a name is not signed as `role`, if another source signs it: for something else, or as the same role.
    fn why_taken(
        &self,
        collection: &Collection<'_>,
        signers: &[String],
        role: &str,
        (name, file): (&str, &TargetFile),
    ) -> Option<String> {
        let others = signers.iter().filter(|other| !self.has_put(collection, other, name));
        let said = others.filter_map(|other| {
            let said = collection.targets_of(other)?.targets.get(name)?;
            Some((collection.signs_as(other), said, said.names_the_same_as(file)))
        });
        let (other, said, is_same) = said
            .filter(|(other, _, is_same)| !is_same || other == role)
            .min_by_key(|(_, _, is_same)| *is_same)?;
        Some(match is_same {
            true => format!(
                "`{name}` is signed as the same by {other} already, and stays as it is: another source signed it"
            ),
            false => {
                let digest = said
                    .hashes
                    .digests()
                    .next()
                    .as_ref()
                    .map(Digest::to_string)
                    .unwrap_or_default();
                let from = gun_of(said)
                    .map(|gun| format!(", imported from {gun},"))
                    .unwrap_or_default();
                format!(
                    "`{name}` is signed by {other} already{from} as {digest}, and stays so; if that is wrong, take it out with \
                     `imgkit trust unsign`, and import again"
                )
            }
        })
    }

    /// Tells whether what a role says of a name was imported from this collection.
    fn has_put(&self, collection: &Collection<'_>, role: &str, name: &str) -> bool {
        let file = collection.targets_of(role).and_then(|body| body.targets.get(name));
        file.and_then(gun_of) == Some(self.gun.name())
    }
}

/// Returns the Notary collection from which a target was imported.
fn gun_of(file: &TargetFile) -> Option<&str> {
    file.custom.as_ref()?.pointer("/notary/gun")?.as_str()
}
