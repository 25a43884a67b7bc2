//! `imgkit trust witness --server`: roles signed again as they are.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::json;

use super::session::Session;
use super::sign::role_name;
use crate::cli::Report;
use crate::cli::trust::chosen::confirm;
use crate::cli::trust::states::State;
use crate::cli::trust::witness::told;
use crate::failure::Failure;
use crate::trust::edit::EditError;
use crate::trust::notary::Targets;
use crate::trust::notary::edit::NotaryCollection;

/// Signs roles again.
#[derive(Debug, Args)]
pub(super) struct Witness {
    /// The collection: HOST/PATH
    gun: String,
    /// The roles
    #[arg(required = true)]
    role: Vec<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// What a role said when it was shown, and whether those whose word counts vouched for it.
#[derive(Debug, PartialEq)]
struct Shown {
    vouched: bool,
    body: Option<Targets>,
    /// Keys and thresholds of the root, where that is the role.
    root: Option<State>,
}

impl Witness {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let roles: BTreeSet<_> = self.role.iter().map(|role| role_name(role)).collect();
        let mut first: Option<BTreeMap<String, Shown>> = None;
        let mut text = String::new();
        let signed = session.change_with(&self.gun, &roles, |collection| {
            let about = |error: EditError| session.cannot(&self.gun, error);
            let shown = witness(collection, &roles, session).map_err(about)?;
            match &first {
                // Somebody published meanwhile: what is signed is still what was shown, or nothing is.
                Some(before) => check_shown(before, &shown).map_err(about),
                None => {
                    for (role, said) in &shown {
                        text += &told(role, said.vouched, &state(collection, role).map_err(about)?);
                    }
                    first = Some(shown);
                    confirm(session.context, self.yes, &text)
                }
            }
        })?;
        let names: Vec<_> = roles.iter().map(String::as_str).collect();
        text += &format!("signed again: {}\n", names.join(", "));
        let first = first.unwrap_or_default();
        let witnessed: Vec<_> = first
            .iter()
            .map(|(role, said)| {
                let names: Vec<_> = said.body.iter().flat_map(|body| body.targets.keys()).collect();
                json!({ "role": role, "vouchedBefore": said.vouched, "names": names })
            })
            .collect();
        let json = json!({
            "collection": self.gun, "server": session.server.url(), "roles": roles, "witnessed": witnessed,
            "rolesSigned": signed,
        });
        Ok(Report::new(text, json))
    }
}

/// Has all roles signed anew, and returns what they say.
fn witness(
    collection: &mut NotaryCollection,
    roles: &BTreeSet<String>,
    session: &Session<'_>,
) -> Result<BTreeMap<String, Shown>, EditError> {
    let mut shown = BTreeMap::new();
    for role in roles {
        let vouched = collection.witness(role, session.now)?;
        let body = collection.targets_of(role).cloned();
        let root = body.is_none().then(|| State::of_notary_root(collection.root()));
        shown.insert(role.clone(), Shown { vouched, body, root });
    }
    Ok(shown)
}

fn check_shown(before: &BTreeMap<String, Shown>, now: &BTreeMap<String, Shown>) -> Result<(), EditError> {
    let moved = before.iter().find(|(role, said)| now.get(*role) != Some(said));
    moved.map_or(Ok(()), |(role, _)| Err(EditError::Moved { role: role.clone() }))
}

pub(super) fn state(collection: &NotaryCollection, role: &str) -> Result<State, EditError> {
    match collection.targets_of(role) {
        Some(body) => Ok(State::of_notary(role, body)?),
        None => Ok(State::of_notary_root(collection.root())),
    }
}
