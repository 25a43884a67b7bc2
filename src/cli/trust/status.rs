//! `imgkit trust status` and `imgkit trust renew`: what expires when, and signing it again.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::collections::Place;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::time::{DAY, Time};
use crate::trust::Mark;
use crate::trust::edit::{Collection, margin};

/// Says when metadata expire.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// How many days before its expiry a role is due [default: a quarter of its lifetime]
    #[arg(long, value_name = "DAYS")]
    margin: Option<u16>,
}

impl Status {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let (place, now) = (options.place(context)?, options.now(context)?);
        let mut text = String::new();
        let mut all = Vec::new();
        let mut yes = true;
        for (role, mark) in place.load()?.marks() {
            let state = state(&role, mark, now, self.margin);
            yes &= state == State::Good;
            let _ = writeln!(
                text,
                "{:<8} {role:<12} version {:<5} expires {}",
                state.name(),
                mark.version,
                mark.expires
            );
            all.push(json!({ "role": role, "state": state.name(), "version": mark.version, "expires": mark.expires }));
        }
        if !yes {
            let _ = writeln!(text, "renew with: imgkit trust renew --collection {}", place.name);
        }
        Ok(Report {
            yes,
            ..Report::new(text, json!({ "collection": place.name, "judgedAt": now, "roles": all }))
        })
    }
}

/// Signs again what is due.
#[derive(Debug, Args)]
pub(super) struct Renew {
    /// The roles [default: those that are due and whose keys are here]
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
    /// How many days before its expiry a role is due [default: a quarter of its lifetime]
    #[arg(long, value_name = "DAYS", conflicts_with = "roles")]
    margin: Option<u16>,
}

impl Renew {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let (renewed, left) = match self.roles.is_empty() {
            true => self.due(context, options, &place)?,
            false => (self.roles.iter().cloned().collect(), BTreeSet::new()),
        };
        let signed = match renewed.is_empty() {
            true => BTreeSet::new(),
            false => options.change(context, |collection, _| {
                renewed.iter().try_for_each(|role| collection.renew(role))
            })?,
        };
        let mut text = String::new();
        for role in &signed {
            let _ = writeln!(text, "renewed {role}");
        }
        for role in &left {
            let _ = writeln!(text, "NOT renewed {role}: too few of its keys are in the key directory");
        }
        if signed.is_empty() && left.is_empty() {
            text.push_str("nothing is due\n");
        }
        Ok(Report {
            yes: left.is_empty(),
            ..Report::new(
                text,
                json!({ "collection": place.name, "renewed": signed, "keysMissing": left }),
            )
        })
    }

    /// Returns the roles that are due: those whose keys are here, and the others.
    fn due(
        &self,
        context: &Context,
        options: &TrustOptions,
        place: &Place,
    ) -> Result<(BTreeSet<String>, BTreeSet<String>), Failure> {
        let (collection, now) = (place.load()?, options.now(context)?);
        let (mut here, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
        for (role, mark) in collection.marks() {
            if state(&role, mark, now, self.margin) == State::Good {
                continue;
            }
            match has_keys(context, options, place, &collection, &role)? {
                true => here.insert(role),
                false => elsewhere.insert(role),
            };
        }
        Ok((here, elsewhere))
    }
}

/// How a role's metadata stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    Due,
    Expired,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Due => "due",
            Self::Expired => "expired",
        }
    }
}

fn state(role: &str, mark: Mark, now: Time, days: Option<u16>) -> State {
    let margin = days.map_or_else(|| margin(role), |days| i64::from(days) * DAY);
    match mark.expires {
        expires if expires <= now => State::Expired,
        expires if expires <= now.plus(margin) => State::Due,
        _ => State::Good,
    }
}

fn has_keys(
    context: &Context,
    options: &TrustOptions,
    place: &Place,
    collection: &Collection,
    role: &str,
) -> Result<bool, Failure> {
    let roles = BTreeSet::from([role.to_owned()]);
    let files = options.key_files(context, &place.keys, collection, &roles)?;
    let keys = collection
        .role_keys(role)
        .map_err(|error| error.about(&place.subject()))?;
    Ok(u32::try_from(files.len()).is_ok_and(|count| count >= keys.threshold()))
}
