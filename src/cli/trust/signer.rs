//! `imgkit trust signer`: who may sign for a role, key by key.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;

use super::TrustOptions;
use super::chosen::KeysOfRole;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::{KeyId, TufKey};
use crate::trust::edit::{EditError, RoleSpec};

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
    change(context, options, role, text, json, |spec| {
        let there = |key: &TufKey| spec.keys.iter().any(|other| other.public() == key.public());
        let new: Vec<_> = new.iter().filter(|key| !there(key)).cloned().collect();
        spec.keys.extend(new);
        spec.threshold = threshold.unwrap_or(spec.threshold);
    })
}

impl Remove {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let keys = place.load()?.role_keys(&self.role);
        let keys = keys.map_err(|error| error.about(&place.subject()))?;
        let key = find_key(keys.keyids(), &self.key)?;
        let text = format!("{} no longer has the key {key}\n", self.role);
        change(
            context,
            options,
            &self.role,
            text,
            json!({ "role": self.role, "removed": key }),
            |spec| {
                spec.keys.retain(|other| other.id() != key);
                spec.threshold = self.threshold.unwrap_or(spec.threshold);
            },
        )
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
    mut text: String,
    json: serde_json::Value,
    work: impl Fn(&mut RoleSpec),
) -> Result<Report, Failure> {
    let changed = options.change(context, |collection, now| {
        let mut spec = RoleSpec::of(&collection.role_keys(role)?);
        work(&mut spec);
        match spec.keys.is_empty() {
            true => Err(EditError::Threshold {
                role: role.to_owned(),
                threshold: spec.threshold,
                keys: 0,
            }),
            false => collection.rotate(role, &spec, now),
        }
    })?;
    changed.tell(&mut text);
    Ok(Report::new(text, changed.json(json)))
}

fn list(context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
    let place = options.place(context)?;
    let collection = place.load_all()?;
    let store = options.keys(context)?;
    let mut text = String::new();
    let mut all = Vec::new();
    for role in collection.roles() {
        if role.signs_as != role.name {
            continue;
        }
        let _ = writeln!(text, "{}: {} must sign of", role.name, role.keys.threshold());
        for id in role.keys.keyids() {
            let here = store.find(&place.keys, &role.name, id)?;
            let _ = writeln!(text, "  {id}{}", if here.is_some() { "  (here)" } else { "" });
            all.push(json!({ "role": role.name, "key": id, "file": here }));
        }
    }
    Ok(Report::new(text, json!({ "collection": place.name, "signers": all })))
}
