//! `imgkit trust delegate`: roles that are trusted with names.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;

use super::TrustOptions;
use super::chosen::ChosenKeys;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::trust::edit::EditError;

/// Looks after the roles that are trusted with names.
#[derive(Debug, Args)]
pub(super) struct Delegate {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Trust a new role with names; or, where the role is there, with other names
    Add(Add),
    /// List the roles, who delegates to them, and the names that they are trusted with
    Ls,
    /// Take a role away: nothing that it, or a role below it, signed is trusted any more
    Rm(Remove),
}

#[derive(Debug, Args)]
struct Add {
    /// The role
    role: String,
    /// Patterns of names, or names; `*` does not cross `/`
    #[arg(required = true, value_name = "PATTERN")]
    patterns: Vec<String>,
    #[command(flatten)]
    keys: ChosenKeys,
    /// How many of its keys must sign
    #[arg(long, value_name = "K", default_value_t = 1)]
    threshold: u32,
    /// The role that delegates
    #[arg(long, value_name = "ROLE", default_value = "targets")]
    by: String,
    /// After this role nobody is asked for its names
    #[arg(long)]
    terminating: bool,
}

#[derive(Debug, Args)]
struct Remove {
    /// The role
    role: String,
}

impl Delegate {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        match &self.action {
            Action::Add(add) => add.run(context, options),
            Action::Ls => list(context, options),
            Action::Rm(remove) => remove.run(context, options),
        }
    }
}

impl Add {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        match place.load()?.check_new(&self.role) {
            Err(EditError::Exists { .. }) => return self.other_names(context, options),
            new => new.map_err(|error| error.about(&place.subject()))?,
        }
        let usual = usize::try_from(self.threshold).unwrap_or(1).clamp(1, 64);
        let keys = self.keys.get(context, options, &place.keys, &self.role, usual)?;
        let spec = ChosenKeys::spec(keys, Some(self.threshold), 1);
        // A role whose keys are elsewhere begins there, with its first target; till then its names cannot be looked up.
        let here = !self.keys.any() || options.has_keys_of(context, &place.keys, &self.role, &spec)?;
        let changed = options.change(context, |collection, now| {
            collection.delegate_by(&self.by, &self.role, &spec, &self.patterns, self.terminating)?;
            match here {
                true => collection.begin(&self.role, now),
                false => Ok(()),
            }
        })?;
        let keys: Vec<_> = spec.keys.iter().map(|key| key.id()).collect();
        let mut text = format!("{} trusts {} with {}\n", self.by, self.role, self.patterns.join(" "));
        for key in &keys {
            let _ = writeln!(text, "  key {key}");
        }
        if !here {
            let _ = writeln!(
                text,
                "Its names cannot be looked up until it signs: `imgkit trust renew {}`, where its keys are.",
                self.role
            );
        }
        changed.tell(&mut text);
        let json = json!({
            "role": self.role, "by": self.by, "patterns": self.patterns, "keys": keys, "threshold": self.threshold,
            "begun": here,
        });
        Ok(Report::new(text, changed.json(json)))
    }

    /// Changes the names of a role that is there; its keys are another command's matter.
    fn other_names(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        if self.keys.any() {
            let problem =
                "the role is there already; change its keys with `imgkit trust rotate` or `imgkit trust signer`";
            return Err(Failure::malformed(&self.role, problem));
        }
        let changed = options.change(context, |collection, _| {
            collection.set_patterns(&self.role, &self.patterns)
        })?;
        let mut text = format!("{} is trusted with {}\n", self.role, self.patterns.join(" "));
        changed.tell(&mut text);
        Ok(Report::new(
            text,
            changed.json(json!({ "role": self.role, "patterns": self.patterns })),
        ))
    }
}

impl Remove {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let (_, trusting) = options.trusting_role(context, &place, &self.role)?;
        let by: Vec<_> = trusting.here.iter().filter_map(|role| role.by.as_deref()).collect();
        let changed = options.change(context, |collection, now| match by.as_slice() {
            [] => Err(EditError::NoRole {
                role: self.role.clone(),
            }),
            by => by
                .iter()
                .try_for_each(|by| collection.undelegate_by(by, &self.role, now)),
        })?;
        let text = match trusting.elsewhere.is_empty() {
            true => format!("{} is no longer a role\n", self.role),
            false => String::new(),
        };
        Ok(trusting.report(&changed, text, json!({ "removed": self.role }), |_| true))
    }
}

fn list(context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
    let place = options.place(context)?;
    let collection = place.load_all()?;
    let mut text = String::new();
    let mut all = Vec::new();
    for role in collection.roles() {
        // Bins are how a role keeps its names, not somebody else that it trusts.
        let Some(by) = role.by.as_ref().filter(|_| role.signs_as == role.name) else {
            continue;
        };
        let _ = writeln!(
            text,
            "{} by {by}: {} of {} keys, {}{}",
            role.name,
            role.keys.threshold(),
            role.keys.keyids().len(),
            role.patterns.join(" "),
            if role.terminating { ", terminating" } else { "" }
        );
        all.push(json!({
            "role": role.name, "by": by, "patterns": role.patterns, "threshold": role.keys.threshold(),
            "keys": role.keys.keyids(), "terminating": role.terminating, "metadata": role.mark,
        }));
    }
    Ok(Report::new(text, json!({ "collection": place.name, "roles": all })))
}
