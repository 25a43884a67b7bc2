//! `imgkit trust witness`: signs what a role says already.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::chosen::confirm;
use super::difference::Difference;
use super::states::State;
use crate::cli::{Context, Report};
use crate::failure::Failure;

/// Signs a role's metadata as they are, also when those who signed them no longer may.
#[derive(Debug, Args)]
pub(super) struct Witness {
    /// The role
    role: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Witness {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let mut collection = options.load(context, &place)?;
        let vouched = collection.witness(&self.role);
        let vouched = vouched.map_err(|error| error.about(&place.subject()))?;
        let shown = collection.targets_of(&self.role).cloned();
        let shown: BTreeMap<_, _> = shown.into_iter().map(|body| (self.role.clone(), body)).collect();
        let names: Vec<_> = shown.values().flat_map(|body| body.targets.keys().cloned()).collect();
        let mut text = told(&self.role, vouched, &State::of_role(&collection, &self.role));
        confirm(context, self.yes, &text)?;
        let changed = options.change(context, |collection, _| {
            collection.witness(&self.role)?;
            collection.check_shown(&shown)
        })?;
        let _ = writeln!(text, "signed as {}", self.role);
        changed.tell(&mut text);
        Ok(Report::new(
            text,
            changed.json(json!({ "role": self.role, "vouchedBefore": vouched, "names": names })),
        ))
    }
}

/// Says what a role says, before it is signed again.
pub(super) fn told(role: &str, vouched: bool, state: &State) -> String {
    let mut text = match vouched {
        true => format!("the role {role} says:\n"),
        false => format!("NOBODY who may sign as {role} vouches for this: read it as if a stranger had written it\n"),
    };
    text += &Difference::between(&State::default(), state).text(true);
    text
}
