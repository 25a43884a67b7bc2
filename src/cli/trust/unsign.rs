//! `imgkit trust unsign`: takes names out of a collection.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::trust::edit::EditError;

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
        let mut removed = Vec::new();
        let changed = options.change(context, |collection, now| {
            removed.clear();
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
            Ok(())
        })?;
        let mut text = String::new();
        for (name, role) in &removed {
            let _ = writeln!(text, "removed {name} from {role}");
        }
        changed.tell(&mut text);
        let removed: Vec<_> = removed
            .iter()
            .map(|(name, role)| json!({ "name": name, "role": role }))
            .collect();
        Ok(Report::new(text, changed.json(json!({ "removed": removed }))))
    }
}
