//! `imgkit trust sign --server` and `imgkit trust unsign --server`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::content::Content;
use super::session::Session;
use crate::cli::Report;
use crate::failure::Failure;
use crate::trust::edit::EditError;
use crate::trust::notary::edit::NotaryCollection;

/// Signs names.
#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The collection: HOST/PATH
    gun: String,
    /// The names: tags, where images are signed
    #[arg(required = true)]
    name: Vec<String>,
    /// The role that signs, and others [default: as docker has it, every delegated role directly below targets whose key is here,
    /// else targets]
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    #[command(flatten)]
    content: Content,
}

impl Sign {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let mut files = Vec::new();
        for name in &self.name {
            files.push((name, self.content.describe(session, &self.gun, name)?));
        }
        let signing = RefCell::new(BTreeSet::new());
        let signed = session.change(&self.gun, |collection| {
            let roles = roles(session, collection, &self.role)?;
            for role in &roles {
                for (name, file) in &files {
                    let put = collection.put_target(role, name, file.clone(), session.now);
                    put.map_err(|error| session.cannot(&self.gun, error))?;
                }
            }
            *signing.borrow_mut() = roles;
            Ok(())
        })?;
        let roles = signing.into_inner();
        let mut text = String::new();
        let mut targets = Vec::new();
        for (name, file) in &files {
            let digests: Vec<_> = file.hashes.digests().map(|digest| digest.to_string()).collect();
            let by = roles.iter().cloned().collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "signed {} {name} as {by}", digests.join(" "));
            targets.push(json!({ "name": name, "digests": digests, "length": file.length, "custom": file.custom }));
        }
        let json = json!({
            "collection": self.gun, "server": session.server.url(), "roles": roles, "targets": targets, "rolesSigned": signed,
        });
        Ok(Report::new(text, json))
    }
}

/// Removes names.
#[derive(Debug, Args)]
pub(super) struct Unsign {
    /// The collection: HOST/PATH
    gun: String,
    /// The names
    #[arg(required = true)]
    name: Vec<String>,
    /// The role that no longer signs them, and others [default: every role that does]
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
}

impl Unsign {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let mut first = true;
        let removed = RefCell::new(BTreeSet::new());
        let signed = session.change(&self.gun, |collection| {
            let about = |error: EditError| session.cannot(&self.gun, error);
            let roles: Vec<String> = match self.role.is_empty() {
                true => collection.roles().map(|(role, _)| role.to_owned()).collect(),
                false => self.role.iter().map(|role| role_name(role)).collect(),
            };
            for name in &self.name {
                let mut found = false;
                for role in &roles {
                    if collection.remove_target(role, name).map_err(about)? {
                        found = true;
                        removed.borrow_mut().insert((role.clone(), name.clone()));
                    }
                }
                // On later rounds what was asked for may have come about already.
                if first && !found {
                    return Err(about(EditError::NoTarget {
                        role: roles.join(", "),
                        target: name.clone(),
                    }));
                }
            }
            first = false;
            Ok(())
        })?;
        let mut text = String::new();
        let removed = removed.into_inner();
        for (role, name) in &removed {
            let _ = writeln!(text, "removed {name} from {role}");
        }
        let removed: Vec<_> = removed
            .iter()
            .map(|(role, name)| json!({ "role": role, "name": name }))
            .collect();
        let json = json!({
            "collection": self.gun, "server": session.server.url(), "removed": removed, "rolesSigned": signed,
        });
        Ok(Report::new(text, json))
    }
}

/// Returns the roles that sign: those named, else as docker has it.
fn roles(session: &Session<'_>, collection: &NotaryCollection, named: &[String]) -> Result<BTreeSet<String>, Failure> {
    if !named.is_empty() {
        return Ok(named.iter().map(|role| role_name(role)).collect());
    }
    let top = collection.roles().find(|(role, _)| *role == "targets");
    let mut roles = BTreeSet::new();
    for delegation in top.iter().flat_map(|(_, targets)| &targets.delegations.roles) {
        let keys = collection.role_keys(&delegation.name);
        let keys = keys.map_err(|error| session.cannot(collection.gun(), error))?;
        if session.has_key(&keys)? {
            roles.insert(delegation.name.clone());
        }
    }
    if roles.is_empty() {
        roles.insert("targets".to_owned());
    }
    Ok(roles)
}

/// Returns the full name of a role: `releases` is `targets/releases`.
pub(super) fn role_name(role: &str) -> String {
    match role {
        "targets" | "root" | "snapshot" | "timestamp" => role.to_owned(),
        _ if role.starts_with("targets/") => role.to_owned(),
        _ => format!("targets/{role}"),
    }
}
