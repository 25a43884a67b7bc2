//! A user of `imgkit trust` with directories of their own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub use super::node::{NOW, PASSPHRASE};

/// Directories of one user, and what all of their commands are given.
pub struct Home {
    dir: TempDir,
    at: Option<&'static str>,
    environment: Vec<(&'static str, OsString)>,
}

impl Home {
    /// A user whose commands are judged at `NOW`, with the passphrase in the environment.
    pub fn new() -> Self {
        let at = Some(NOW);
        Self {
            at,
            ..Self::by_the_clock()
        }
    }

    /// A user who has the collection `c`.
    pub fn with_collection(options: &[&str]) -> Self {
        let home = Self::new();
        home.good(&[&["init", "c"], options].concat());
        home
    }

    /// A user whose commands are judged when they are run.
    pub fn by_the_clock() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            at: None,
            environment: Vec::new(),
        }
    }

    /// Sets a variable for all commands.
    pub fn set(&mut self, variable: &'static str, value: impl Into<OsString>) {
        self.environment.push((variable, value.into()));
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The path of a file as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.text(name)
    }

    /// Makes the command `imgkit --output json trust ARGS`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = super::imgkit(self.dir());
        command.args(["--output", "json", "trust"]).args(arguments);
        if let Some(at) = self.at.filter(|_| !arguments.contains(&"--at")) {
            command.args(["--at", at]);
        }
        command
            .env("IMGKIT_TRUST_DIR", self.path("trust"))
            .env("IMGKIT_KEY_DIR", self.path("keys"))
            .env("IMGKIT_STORE", self.path("store"))
            .env("IMGKIT_PASSPHRASE", PASSPHRASE)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> (i32, Value) {
        self.run_with(arguments, &[])
    }

    /// Runs a command with other directories.
    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, Value) {
        let mut command = self.command(arguments);
        answer(&command.envs(environment.iter().copied()).output().unwrap())
    }

    pub fn good(&self, arguments: &[&str]) -> Value {
        self.good_with(arguments, &[])
    }

    pub fn good_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Value {
        let (code, json) = self.run_with(arguments, environment);
        assert_eq!(code, 0, "{arguments:?}: {json}");
        json["result"].clone()
    }

    /// Runs a command that is refused, and returns the reason's code.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let (code, json) = self.run(arguments);
        assert_eq!(code, 1, "{arguments:?}: {json}");
        json["refusals"][0]["code"].as_str().unwrap().to_owned()
    }
}

/// How a command ended: its exit code, and the object that it printed.
pub fn answer(output: &Output) -> (i32, Value) {
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code().unwrap(), json)
}
