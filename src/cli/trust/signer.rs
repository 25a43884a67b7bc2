//! `imgkit trust signer`: who may sign for a role, key by key.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::TrustOptions;
use super::chosen::KeysOfRole;
use super::collections::{distrusted_json, tell_distrusted};
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::{KeyId, TufKey};
use crate::trust::RoleKeys;
use crate::trust::edit::{RoleInfo, RoleSpec};

/// Looks after the keys of roles.
#[derive(Debug, Args)]
pub(super) struct Signer {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Give a role one more key, or several
    Add(KeysOfRole),
    /// List roles and their keys, and which of these are here
    Ls,
    /// Take a key from a role
    Rm(Remove),
}

#[derive(Debug, Args)]
struct Remove {
    /// The role
    role: String,
    /// The key's id, or its first digits
    key: String,
    /// How many of the role's keys must sign from now on [default: as many as now]
    #[arg(long, value_name = "K")]
    threshold: Option<u32>,
}

impl Signer {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        match &self.action {
            Action::Add(more) => add(context, options, more),
            Action::Ls => list(context, options),
            Action::Rm(remove) => remove.run(context, options),
        }
    }
}

fn add(context: &Context, options: &TrustOptions, more: &KeysOfRole) -> Result<Report, Failure> {
    let KeysOfRole { role, keys, threshold } = more;
    let place = options.place(context)?;
    // Found before a key is made for it.
    let found = place.load()?.find(role);
    found.map_err(|error| error.about(&place.subject()))?;
    let new = keys.get(context, options, &place.keys, role, 1)?;
    let ids: Vec<_> = new.iter().map(TufKey::id).collect();
    let text = ids
        .iter()
        .fold(String::new(), |text, id| text + &format!("{role} has the key {id}\n"));
    let json = json!({ "role": role, "added": ids });
    change(
        context,
        options,
        role,
        (text, json),
        |_| true,
        |_| true,
        |spec| {
            let there = |key: &TufKey| spec.keys.iter().any(|other| other.public() == key.public());
            let new: Vec<_> = new.iter().filter(|key| !there(key)).cloned().collect();
            spec.keys.extend(new);
            spec.threshold = threshold.unwrap_or(spec.threshold);
        },
    )
}

impl Remove {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let trusts = options.load(context, &place)?.trusted_by(&self.role);
        let trusts = trusts.map_err(|error| error.about(&place.subject()))?;
        let key = find_key(trusts.iter().flat_map(|role| role.keys.keyids()), &self.key)?;
        let removed = Removed::find(&key, &trusts);
        let text = format!("{} no longer has the key {key}\n", self.role);
        let json = json!({ "role": self.role, "removed": key });
        let what = |role: &RoleInfo| removed.is_of(&role.keys);
        let keeps = |id: &KeyId| *id != removed.id;
        change(context, options, &self.role, (text, json), what, keeps, |spec| {
            let before = spec.keys.len();
            removed.take_from(spec);
            // Who did not trust the key, trusts the role as before.
            if spec.keys.len() < before || removed.keys.is_empty() {
                spec.threshold = self.threshold.unwrap_or(spec.threshold);
            }
        })
    }
}

/// A key that is taken away: under whatever ids roles list it.
pub(super) struct Removed {
    pub(super) id: KeyId,
    /// What roles list under that; nothing where it is of a kind that imgkit does not know.
    keys: Vec<TufKey>,
}

impl Removed {
    /// Finds the key that has this id somewhere.
    pub(super) fn find(id: &KeyId, roles: &[RoleInfo]) -> Self {
        let keys = roles.iter().filter_map(|role| role.keys.keys().get(id));
        Self {
            id: id.clone(),
            keys: keys.cloned().collect(),
        }
    }

    /// Tells whether a role lists it.
    pub(super) fn is_of(&self, keys: &RoleKeys) -> bool {
        keys.keyids().contains(&self.id) || keys.keys().values().any(|key| self.is(key))
    }

    /// Tells whether a key is this one.
    pub(super) fn is(&self, key: &TufKey) -> bool {
        let same = self.keys.iter().any(|removed| removed.public() == key.public());
        same || key.id() == self.id
    }

    /// Takes it from those that a role is to have.
    pub(super) fn take_from(&self, spec: &mut RoleSpec) {
        spec.keys.retain(|key| !self.is(key));
    }
}

/// Finds the key that `text` names among `ids`: by its id, or by as many of its first digits as tell it apart.
pub(super) fn find_key<'a>(ids: impl IntoIterator<Item = &'a KeyId>, text: &str) -> Result<KeyId, Failure> {
    let mut found: Vec<_> = ids.into_iter().filter(|id| id.as_str().starts_with(text)).collect();
    found.sort();
    found.dedup();
    match (found.as_slice(), text.len()) {
        ([only], 6..) => Ok((*only).clone()),
        ([_], _) => Err(Failure::malformed(text, "expected at least six digits of the key's id")),
        ([], _) => Err(Failure::malformed(
            text,
            "no such key; `imgkit trust inspect` lists those that there are",
        )),
        _ => Err(Failure::malformed(text, "several keys begin so; give more of the id")),
    }
}

fn change(
    context: &Context,
    options: &TrustOptions,
    role: &str,
    (text, json): (String, Value),
    counts_still: impl Fn(&RoleInfo) -> bool,
    keeps: impl Fn(&KeyId) -> bool,
    work: impl Fn(&mut RoleSpec),
) -> Result<Report, Failure> {
    let place = options.place(context)?;
    let (_, trusting) = options.trusting_role(context, &place, role)?;
    let by = trusting.by();
    let changed = options.change(context, |collection, now| {
        collection.rekey(role, &by, true, now, &keeps, &work)
    })?;
    Ok(trusting.report(&changed, text, json, counts_still))
}

fn list(context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
    let place = options.place(context)?;
    let (collection, distrusted) = place.load_trusted()?;
    let store = options.keys(context)?;
    let mut text = String::new();
    let mut all = Vec::new();
    for role in collection.roles() {
        if role.signs_as != role.name {
            continue;
        }
        let _ = writeln!(text, "{}: {} must sign of", role.name, role.keys.threshold());
        for id in role.keys.keyids() {
            let here = store.find(&place.keys, &role.name, &role.keys.own_id(id))?;
            let _ = writeln!(text, "  {id}{}", if here.is_some() { "  (here)" } else { "" });
            all.push(json!({ "role": role.name, "key": id, "file": here }));
        }
    }
    tell_distrusted(&mut text, &distrusted);
    let json = json!({ "collection": place.name, "signers": all, "distrusted": distrusted_json(&distrusted) });
    Ok(Report {
        yes: distrusted.is_empty(),
        ..Report::new(text, json)
    })
}
