//! The roles that trust a role by its name, apart by whether what they say can be changed here.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::TrustOptions;
use super::change::Changed;
use super::collections::Place;
use super::status::has_keys;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::trust::edit::{Collection, RoleInfo};

/// Who trusts some roles.
#[derive(Debug, Default)]
pub(super) struct Trusting {
    /// As those trust them whose keys are here; the root, where `by` names nobody.
    pub(super) here: Vec<RoleInfo>,
    /// As those do whose keys are elsewhere.
    pub(super) elsewhere: Vec<RoleInfo>,
}

impl Trusting {
    /// Returns those on whose behalf a change is made.
    pub(super) fn by(&self) -> BTreeSet<Option<String>> {
        self.here.iter().map(|role| role.by.clone()).collect()
    }

    /// Returns all of them, whoever's keys are here.
    pub(super) fn all(&self) -> Vec<RoleInfo> {
        [&self.here[..], &self.elsewhere].concat()
    }

    /// Says who goes on trusting as before, as far as `what` is true of it.
    pub(super) fn tell(&self, text: &mut String, what: impl Fn(&RoleInfo) -> bool) {
        for role in self.elsewhere.iter().filter(|role| what(role)) {
            let (name, by) = (
                role.name.escape_debug(),
                role.by.as_deref().unwrap_or_default().escape_debug(),
            );
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "STILL TRUSTED as before by {by}, whose keys are not here: {name}; have their holders do the same, or take {by} \
                 away with `imgkit trust delegate rm`"
            );
        }
    }

    /// Lists those for machines.
    pub(super) fn json(&self, what: impl Fn(&RoleInfo) -> bool) -> Value {
        let elsewhere = self.elsewhere.iter().filter(|role| what(role));
        elsewhere
            .map(|role| json!({ "role": role.name, "by": role.by }))
            .collect()
    }

    /// Reports a change, which is not whole where others go on as before.
    pub(super) fn report(
        &self,
        changed: &Changed,
        mut text: String,
        mut json: Value,
        what: impl Fn(&RoleInfo) -> bool,
    ) -> Report {
        changed.tell(&mut text);
        self.tell(&mut text, &what);
        let yes = !self.elsewhere.iter().any(&what);
        if let Some(report) = json.as_object_mut() {
            report.insert("stillTrusted".to_owned(), self.json(&what));
        }
        Report {
            yes,
            ..Report::new(text, changed.json(json))
        }
    }
}

impl TrustOptions {
    /// Reads a collection, and finds out who trusts a role of it.
    pub(super) fn trusting_role<'p>(
        &self,
        context: &Context,
        place: &'p Place,
        role: &str,
    ) -> Result<(Collection<'p>, Trusting), Failure> {
        let mut collection = self.load(context, place)?;
        let trusts = collection.trusted_by(role);
        let trusts = trusts.map_err(|error| error.about(&place.subject()))?;
        let trusting = self.trusting(context, place, &mut collection, trusts)?;
        Ok((collection, trusting))
    }

    /// Finds out on whose behalf roles can be changed here. Where that is nobody, all are: signing then says which keys it needs.
    pub(super) fn trusting(
        &self,
        context: &Context,
        place: &Place,
        collection: &mut Collection<'_>,
        trusts: Vec<RoleInfo>,
    ) -> Result<Trusting, Failure> {
        let mut trusting = Trusting::default();
        for role in trusts {
            let can = match &role.by {
                // The others sign what goes round in a file.
                _ if self.stages() => true,
                None => true,
                Some(by) => {
                    let by = collection.signs_as(by);
                    has_keys(context, self, place, collection, &by)?
                }
            };
            match can {
                true => trusting.here.push(role),
                false => trusting.elsewhere.push(role),
            }
        }
        if trusting.here.is_empty() {
            std::mem::swap(&mut trusting.here, &mut trusting.elsewhere);
        }
        Ok(trusting)
    }
}

/// Says on whose behalf a role is told of, where several trust its name, each to keys of his own choice.
pub(super) fn as_trusted_by(all: &[RoleInfo], role: &RoleInfo) -> String {
    let several = all.iter().any(|other| other.name == role.name && other.by != role.by);
    let by = role.by.as_ref().filter(|_| several);
    by.map_or_else(String::new, |by| format!(" as {} trusts it", by.escape_debug()))
}
