//! `imgkit trust witness --server`: roles signed again as they are.

use clap::Args;
use serde_json::json;

use super::session::Session;
use super::sign::role_name;
use crate::cli::Report;
use crate::failure::Failure;

/// Signs roles again.
#[derive(Debug, Args)]
pub(super) struct Witness {
    /// The collection: HOST/PATH
    gun: String,
    /// The roles
    #[arg(required = true)]
    role: Vec<String>,
}

impl Witness {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let roles: Vec<_> = self.role.iter().map(|role| role_name(role)).collect();
        let signed = session.change(&self.gun, |collection| {
            let witnessed = roles.iter().try_for_each(|role| collection.witness(role, session.now));
            witnessed.map_err(|error| error.about(&session.subject(&self.gun)))
        })?;
        let text = format!("signed again: {}\n", roles.join(", "));
        let json = json!({
            "collection": self.gun, "server": session.server.url(), "roles": roles, "rolesSigned": signed,
        });
        Ok(Report::new(text, json))
    }
}
