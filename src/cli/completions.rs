//! `imgkit completions SHELL` and `imgkit man DIR`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use serde_json::json;

use super::{Cli, Report};
use crate::failure::Failure;

/// Prints a completion script.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell to print for
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "imgkit", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        let json = json!({ "shell": self.shell.to_string(), "script": script });
        Ok(Report::new(script, json))
    }
}

/// Writes manual pages.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Where the pages are written; made when missing
    dir: PathBuf,
}

impl Man {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let cannot = |error| Failure::unavailable(self.dir.display(), format!("cannot write manual pages: {error}"));
        std::fs::create_dir_all(&self.dir).map_err(cannot)?;
        clap_mangen::generate_to(Cli::command(), &self.dir).map_err(cannot)?;
        Ok(Report::new("", json!({ "dir": self.dir })))
    }
}
