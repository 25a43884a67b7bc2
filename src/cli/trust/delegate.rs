//! `imgkit trust delegate`: roles that are trusted with names.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;

use super::TrustOptions;
use super::chosen::ChosenKeys;
use super::collections::{distrusted_json, tell_distrusted};
use super::revoke::names_of;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::trust::edit::{Collection, EditError, RoleInfo, RoleSpec};

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
    /// How many of its keys must sign [default: 1]; only for a new role
    #[arg(long, value_name = "K")]
    threshold: Option<u32>,
    /// The role that delegates [default: targets; for a role that is there, the only one that trusts it]
    #[arg(long, value_name = "ROLE")]
    by: Option<String>,
    /// After this role nobody is asked for its names; only for a new role
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
        let about = |error: EditError| error.about(&place.subject());
        let mut collection = options.load(context, &place)?;
        match collection.check_new(&self.role) {
            Err(EditError::Exists { .. }) => {
                let trusts = collection.trusted_by(&self.role).map_err(about)?;
                return self.other_names(context, options, &trusts);
            }
            new => new.map_err(about)?,
        }
        let by = self.by.as_deref().unwrap_or("targets");
        let threshold = self.threshold.unwrap_or(1);
        let usual = usize::try_from(threshold).unwrap_or(1).clamp(1, 64);
        let made = self.keys.make(context, options, usual)?;
        let spec = RoleSpec {
            keys: made.public(),
            threshold,
        };
        let delegate = |collection: &mut Collection<'_>| {
            collection.delegate_by(by, &self.role, &spec, &self.patterns, self.terminating)
        };
        delegate(&mut collection).map_err(about)?;
        made.keep(context, &options.keys(context)?, &place.keys, &self.role)?;
        // A role whose keys are elsewhere begins there, with its first target; till then its names cannot be looked up.
        let here = !self.keys.any() || options.has_keys_of(context, &place.keys, &self.role, &spec)?;
        let changed = options.change(context, |collection, now| {
            delegate(collection)?;
            match here {
                true => collection.begin(&self.role, now),
                false => Ok(()),
            }
        })?;
        let keys: Vec<_> = spec.keys.iter().map(|key| key.id()).collect();
        let mut text = format!("{by} trusts {} with {}\n", self.role, self.patterns.join(" "));
        for key in &keys {
            let _ = writeln!(text, "  key {key}");
        }
        if !here {
            // What is published under the name was signed before the role was taken away: it counts no longer, and stays there.
            let anew = if collection.is_published(&self.role) {
                " --anew"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "Its names cannot be looked up until it signs: `imgkit trust renew {}{anew}`, where its keys are.",
                self.role
            );
        }
        changed.tell(&mut text);
        let json = json!({
            "role": self.role, "by": by, "patterns": self.patterns, "keys": keys, "threshold": threshold,
            "begun": here,
        });
        Ok(Report::new(text, changed.json(json)))
    }

    /// Changes the names of a role that is there, as one of `trusts` trusts it; all else of it is another command's matter.
    fn other_names(&self, context: &Context, options: &TrustOptions, trusts: &[RoleInfo]) -> Result<Report, Failure> {
        let by = self.who_trusts(trusts)?;
        let changed = options.change(context, |collection, _| {
            collection.set_patterns_by(by, &self.role, &self.patterns)
        })?;
        let mut text = format!("{by} trusts {} with {}\n", self.role, self.patterns.join(" "));
        changed.tell(&mut text);
        let json = json!({ "role": self.role, "by": by, "patterns": self.patterns });
        Ok(Report::new(text, changed.json(json)))
    }

    /// Finds on whose behalf a role that is there gets other names, and refuses all else that would go unheeded.
    fn who_trusts<'a>(&self, trusts: &'a [RoleInfo]) -> Result<&'a str, Failure> {
        let refuse = |problem: String| Err(Failure::malformed(format!("role {}", self.role), problem));
        if self.keys.any() {
            return refuse(
                "it is there already; change its keys with `imgkit trust rotate` or `imgkit trust signer`".to_owned(),
            );
        }
        if self.threshold.is_some() {
            return refuse(format!(
                "it is there already, and only its names are changed here; how many must sign is changed by `imgkit trust signer add {} \
                 --key KEY --threshold K`, where KEY may be one that it has",
                self.role
            ));
        }
        if self.terminating {
            return refuse(format!(
                "it is there already, and only its names are changed here; to make it terminating, take it away with `imgkit trust \
                 delegate rm {}`, and add it again with new keys",
                self.role
            ));
        }
        let all: Vec<_> = trusts.iter().filter_map(|role| role.by.as_deref()).collect();
        let names = all.iter().map(|by| by.escape_debug().to_string());
        let names = names.collect::<Vec<_>>().join(", ");
        match (&self.by, all.as_slice()) {
            (_, []) => {
                refuse("it is of the top level, which is trusted with all names; expected another name".to_owned())
            }
            (Some(by), _) => match all.iter().find(|other| *other == by) {
                Some(by) => Ok(by),
                None => refuse(format!(
                    "it is there already, and {by} does not trust it: {names} does; name that with --by, or give the new role another name"
                )),
            },
            (None, [only]) => Ok(only),
            (None, _) => refuse(format!(
                "several roles trust it: {names}; say with --by on whose behalf it gets other names"
            )),
        }
    }
}

impl Remove {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let (mut collection, trusting) = options.trusting_role(context, &place, &self.role)?;
        // As far as it is trusted now.
        let loaded = collection.load_trusted();
        loaded.map_err(|error| error.about(&place.subject()))?;
        let names = match trusting.elsewhere.is_empty() {
            true => names_of(&collection, &self.role),
            false => BTreeSet::new(),
        };
        let by: Vec<_> = trusting.here.iter().filter_map(|role| role.by.as_deref()).collect();
        let changed = options.change(context, |collection, now| match by.as_slice() {
            [] => Err(EditError::NoRole {
                role: self.role.clone(),
            }),
            by => by
                .iter()
                .try_for_each(|by| collection.undelegate_by(by, &self.role, now)),
        })?;
        let mut text = String::new();
        if trusting.elsewhere.is_empty() {
            let _ = writeln!(text, "{} is no longer a role", self.role);
        }
        for name in &names {
            let _ = writeln!(text, "no longer signed by it: {}", name.escape_debug());
        }
        let json = json!({ "removed": self.role, "names": names });
        Ok(trusting.report(&changed, text, json, |_| true))
    }
}

fn list(context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
    let place = options.place(context)?;
    let (collection, distrusted) = options.load_trusted(context, &place)?;
    let mut text = String::new();
    let mut all = Vec::new();
    for role in collection.trusts() {
        // Bins are how a role keeps its names, not somebody else that it trusts.
        let Some(by) = role.by.as_ref().filter(|_| role.signs_as == role.name) else {
            continue;
        };
        let _ = writeln!(
            text,
            "{} by {}: {} of {} keys, {}{}",
            role.name.escape_debug(),
            by.escape_debug(),
            role.keys.threshold(),
            role.keys.keyids().len(),
            role.patterns.join(" ").escape_debug(),
            if role.terminating { ", terminating" } else { "" }
        );
        all.push(json!({
            "role": role.name, "by": by, "patterns": role.patterns, "threshold": role.keys.threshold(),
            "keys": role.keys.keyids(), "terminating": role.terminating, "metadata": role.mark,
        }));
    }
    tell_distrusted(&mut text, &distrusted);
    let json = json!({ "collection": place.name, "roles": all, "distrusted": distrusted_json(&distrusted) });
    Ok(Report {
        yes: distrusted.is_empty(),
        ..Report::new(text, json)
    })
}
