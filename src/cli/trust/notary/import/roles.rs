//! Delegated roles on their way into a TUF collection: what they are called there, the names they are trusted with, their keys.
//!
//! - `targets/a/b` becomes `a.b`: Notary's roles have no point in their names, and files of keys no slash. A name that means
//!   something else in the new collection already, another Notary collection's role say, gets the Notary collection's before it.
//! - Notary asks `targets/releases` before the top level, and TUF asks the top level first: where both sign, what the top level
//!   signed goes to the role `owner`, which is asked after `releases`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::gun::Gun;
use super::report::Imported;
use crate::cli::Context;
use crate::cli::trust::chosen::{OpenKeys, RoleKeySpecs};
use crate::failure::Failure;
use crate::key::{Algorithm, KeyId, KeySpec, TufKey};
use crate::store::KeyStore;
use crate::store::key_store::Secrets;
use crate::time::Time;
use crate::trust::edit::{Collection, EditError, RoleSpec};
use crate::trust::notary::{AskedRole, RELEASES};

const TARGETS: &str = "targets";

/// What the top level signed, where Notary asks another role first.
const OWNER: &str = "owner";

/// A role of the new collection that holds what a role of Notary's signed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remade {
    pub(super) notary: String,
    /// Its name in the new collection.
    pub(super) role: String,
    /// The role there that delegates to it.
    by: String,
    patterns: Vec<String>,
    threshold: u32,
    /// The role's keys in Notary.
    notary_keys: Vec<KeyId>,
    /// Whether anybody had signed for it.
    was_signed: bool,
    /// Whether the new collection had it before: then its keys are as they were.
    was_there: bool,
    /// The keys that it was given, and new ones.
    keys: Vec<KeyId>,
    /// How many of these were made here.
    made: usize,
    #[serde(skip)]
    spec: Option<RoleSpec>,
}

/// Returns what the roles that are trusted, or that nobody signed for yet, are to be, in the order in which they are asked.
pub(super) fn remade(gun: &Gun, asked: &[AskedRole<'_>], bad: &BTreeSet<&str>) -> Vec<Remade> {
    let first = asked.first().map(|role| role.name);
    let top_is_later = first == Some(RELEASES) && !bad.contains(RELEASES);
    let is_remade = |role: &&AskedRole<'_>| match role.delegation {
        Some(_) => !bad.contains(role.name),
        None => top_is_later && role.signed.is_some_and(|signed| signed.body().targets.most() > 0),
    };
    let remake = |role: &AskedRole<'_>| Remade {
        notary: role.name.to_owned(),
        role: match role.name.strip_prefix("targets/") {
            Some(words) => words.replace('/', "."),
            None => OWNER.to_owned(),
        },
        by: role.by.to_owned(),
        patterns: match role.delegation {
            Some(delegation) => gun.patterns(delegation.paths.iter().map(String::as_str)),
            None => gun.patterns([""]),
        },
        threshold: role.delegation.map_or(1, |delegation| delegation.threshold),
        notary_keys: match (role.delegation, role.signed) {
            (Some(delegation), _) => delegation.keyids.clone(),
            (None, signed) => signed.map(|signed| signed.signers().to_vec()).unwrap_or_default(),
        },
        was_signed: role.signed.is_some(),
        was_there: false,
        keys: Vec::new(),
        made: 0,
        spec: None,
    };
    asked.iter().filter(is_remade).map(remake).collect()
}

/// Opens the keys that roles of Notary's are given, by role.
pub(super) fn open_keys(
    given: &[RoleKeySpecs],
    all: &[Imported],
    secrets: &dyn Secrets,
) -> Result<BTreeMap<String, OpenKeys>, Failure> {
    let roles: BTreeSet<_> = all
        .iter()
        .flat_map(|imported| &imported.remade)
        .map(|role| role.notary.as_str())
        .collect();
    let mut specs: BTreeMap<String, Vec<KeySpec>> = BTreeMap::new();
    for RoleKeySpecs { role, specs: keys } in given {
        let name = match role == TARGETS || role.starts_with("targets/") {
            true => role.clone(),
            false => format!("targets/{role}"),
        };
        if !roles.contains(name.as_str()) {
            let known: Vec<_> = roles.iter().copied().collect();
            let problem = format!("no role `{name}` comes over; those that do: {}", known.join(", "));
            return Err(Failure::malformed("--key", problem));
        }
        specs.entry(name).or_default().extend(keys.iter().cloned());
    }
    let open = |(name, specs): (String, Vec<KeySpec>)| Ok((name, OpenKeys::of(&specs, secrets)?));
    specs.into_iter().map(open).collect()
}

/// Chooses what roles are called in the new collection.
#[derive(Debug)]
pub(super) struct Names<'s> {
    collection: Collection<'s>,
    taken: BTreeSet<String>,
}

impl<'s> Names<'s> {
    /// Begins with the roles that the collection has.
    pub(super) fn of(collection: Collection<'s>) -> Self {
        Self {
            collection,
            taken: BTreeSet::new(),
        }
    }

    /// Chooses the names of a Notary collection's roles; what its top level signed goes to `top`, if that is given.
    pub(super) fn choose(&mut self, imported: &mut Imported, top: Option<&str>) -> Result<(), EditError> {
        let mut chosen = BTreeMap::from([(TARGETS.to_owned(), TARGETS.to_owned())]);
        if let Some(top) = top {
            imported.remade.retain(|role| role.notary != TARGETS);
            imported.top = top.to_owned();
        }
        for role in &mut imported.remade {
            (role.role, role.was_there) = self.name(&imported.gun, role)?;
            // Whoever delegates is asked before, and was chosen.
            role.by = match role.by.as_str() {
                TARGETS => TARGETS.to_owned(),
                by => chosen.get(by).cloned().unwrap_or_default(),
            };
            chosen.insert(role.notary.clone(), role.role.clone());
            if role.notary == TARGETS {
                imported.top = role.role.clone();
            }
        }
        Ok(())
    }

    /// Returns the name that a role gets, and whether the collection has it, from an earlier import of the same collection.
    fn name(&mut self, gun: &Gun, role: &Remade) -> Result<(String, bool), EditError> {
        let wish = &role.role;
        for name in [wish.clone(), format!("{}.{wish}", gun.as_word())] {
            match self.collection.find(&name) {
                Ok(()) if gun.made(&self.collection.patterns(&name), &role.patterns) => return Ok((name, true)),
                Ok(()) => {}
                Err(EditError::NoRole { .. }) => match self.collection.check_new(&name) {
                    Ok(()) if self.taken.insert(name.clone()) => return Ok((name, false)),
                    Ok(()) | Err(EditError::Exists { .. }) => {}
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        Err(EditError::Exists { role: wish.clone() })
    }
}

impl Remade {
    /// Makes and keeps the keys of a role that is new.
    pub(super) fn make_keys(
        &mut self,
        context: &Context,
        store: &KeyStore,
        collection: &str,
        given: &BTreeMap<String, OpenKeys>,
        secrets: &dyn Secrets,
    ) -> Result<(), Failure> {
        let given = given.get(&self.notary);
        if self.was_there {
            let problem =
                "the role is there already; change its keys with `imgkit trust rotate` or `imgkit trust signer`";
            return given.map_or(Ok(()), |_| Err(Failure::malformed(&self.role, problem)));
        }
        let needed = usize::try_from(self.threshold).unwrap_or(usize::MAX);
        self.made = needed.saturating_sub(given.map_or(0, OpenKeys::here));
        let made = vec![KeySpec::Generate(Algorithm::default()); self.made];
        let made = OpenKeys::of(&made, secrets)?;
        let mut keys = Vec::new();
        for open in given.into_iter().chain([&made]) {
            keys.extend(open.keep(context, store, collection, &self.role, secrets)?);
        }
        self.keys = keys.iter().map(TufKey::id).collect();
        self.spec = Some(RoleSpec {
            keys,
            threshold: self.threshold,
        });
        Ok(())
    }

    /// Trusts the role with its names.
    pub(super) fn delegate(&self, gun: &Gun, collection: &mut Collection<'_>, now: Time) -> Result<(), EditError> {
        match (collection.find(&self.role), &self.spec) {
            (Err(EditError::NoRole { .. }), Some(spec)) => {
                collection.delegate_by(&self.by, &self.role, spec, &self.patterns, false)?;
                collection.begin(&self.role, now)
            }
            (Ok(()), _) => {
                let patterns = collection.patterns(&self.role);
                // Somebody may have made it since its name was chosen: another's keys never get these names.
                if !self.was_there || !gun.made(&patterns, &self.patterns) {
                    return Err(EditError::Exists {
                        role: self.role.clone(),
                    });
                }
                match patterns == self.patterns {
                    true => Ok(()),
                    false => collection.set_patterns(&self.role, &self.patterns),
                }
            }
            (found, None) => found,
            (Err(error), Some(_)) => Err(error),
        }
    }

    pub(super) fn write(&self, text: &mut String) {
        let Self { notary, role, by, .. } = self;
        let _ = writeln!(
            text,
            "  {notary} is the role {role} by {by}: {} keys must sign, for {}",
            self.threshold,
            self.patterns.join(" ")
        );
        if !self.was_signed {
            let _ = writeln!(text, "    nobody had signed for it: it signs nothing yet");
        }
        if self.was_there {
            let _ = writeln!(text, "    it was there before, and its keys are as they were");
        }
        for key in &self.keys {
            let _ = writeln!(text, "    key {key}");
        }
        if self.made > 0 {
            let people: Vec<_> = self.notary_keys.iter().map(KeyId::as_str).collect();
            let _ = writeln!(
                text,
                "    {} new of yours, as the private keys of those who signed in Notary ({}) were not given; trust them again with \
                 `imgkit trust signer add {role} --key PUBLIC.pem`, then take yours away with `imgkit trust signer rm`",
                self.made,
                people.join(" ")
            );
        }
    }
}
