//! `imgkit trust delete --server`: a collection's end.

use clap::Args;
use serde_json::json;

use super::session::Session;
use crate::cli::Report;
use crate::failure::Failure;

/// Deletes a collection.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The collection: HOST/PATH
    gun: String,
    /// Do it: nobody can look anything up in the collection any more
    #[arg(long)]
    yes: bool,
}

impl Delete {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        if !self.yes {
            let problem =
                "with its history it would be gone for everybody, and cannot be brought back; to do it, give --yes";
            return Err(Failure::malformed(session.subject(&self.gun), problem));
        }
        session.server.delete(&self.gun)?;
        session.trust.forget(&self.gun)?;
        let text = format!(
            "deleted {}; its keys stay in {}\n",
            session.subject(&self.gun),
            session.trust.dir().display()
        );
        let json = json!({ "collection": self.gun, "server": session.server.url() });
        Ok(Report::new(text, json))
    }
}
