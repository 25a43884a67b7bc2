//! `imgkit trust unsign`: takes names out of a collection.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::TrustOptions;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::trust::edit::{Collection, EditError};

/// Takes names out of a collection.
#[derive(Debug, Args)]
pub(super) struct Unsign {
    /// The names as `imgkit trust ls` lists them
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The role that signs them [default: the one whose word counts]
    #[arg(long)]
    role: Option<String>,
}

impl Unsign {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let (mut removed, mut left) = (Vec::new(), Vec::new());
        let changed = options.change(context, |collection, now| {
            removed.clear();
            left.clear();
            for name in &self.names {
                let role = match &self.role {
                    Some(role) => role.clone(),
                    None => collection
                        .signers_of(name)?
                        .into_iter()
                        .next()
                        .ok_or_else(|| EditError::NoTarget {
                            role: "any role".to_owned(),
                            target: name.clone(),
                        })?,
                };
                collection.remove_target(&role, name, now)?;
                removed.push((name.clone(), collection.signs_as(&role)));
            }
            // Once all are taken out: a name may be given for each role that signs it.
            let names: BTreeSet<_> = self.names.iter().collect();
            left.extend(names.into_iter().filter_map(|name| Left::of(collection, name)));
            Ok(())
        })?;
        let mut text = String::new();
        for (name, role) in &removed {
            let _ = writeln!(text, "removed {name} from {role}");
        }
        changed.tell(&mut text);
        left.iter().for_each(|left| context.warn(&left.text()));
        let removed: Vec<_> = removed
            .iter()
            .map(|(name, role)| json!({ "name": name, "role": role }))
            .collect();
        let left: Vec<_> = left.iter().map(Left::json).collect();
        let json = json!({ "removed": removed, "stillSigned": left });
        Ok(Report::new(text, changed.json(json)))
    }
}

/// A name that other roles sign as well, so that it is found all the same.
struct Left {
    name: String,
    /// The roles, or why it could not be found out whether there are any.
    roles: Result<Vec<String>, String>,
}

impl Left {
    /// Asks as a look-up does. What stands in its way keeps no name in.
    fn of(collection: &mut Collection<'_>, name: &str) -> Option<Self> {
        let roles = collection.signers_of(name).map_err(|error| error.to_string());
        let roles = roles.map(|roles| {
            let mut roles: Vec<_> = roles.iter().map(|role| collection.signs_as(role)).collect();
            roles.dedup();
            roles
        });
        let name = name.to_owned();
        (roles != Ok(Vec::new())).then_some(Self { name, roles })
    }

    fn text(&self) -> String {
        let name = &self.name;
        match &self.roles {
            Ok(roles) => {
                let roles = roles.join(" and ");
                format!("{name} is still signed by {roles}, and look-ups find it; take it out there too, with --role")
            }
            Err(problem) => format!("whether other roles sign {name} could not be found out: {problem}"),
        }
    }

    fn json(&self) -> Value {
        let roles = self.roles.as_deref().unwrap_or_default();
        json!({ "name": self.name, "roles": roles, "problem": self.roles.as_ref().err() })
    }
}
