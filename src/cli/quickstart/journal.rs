//! The steps of a quickstart: each one's command, its evidence, and how it ended.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{Context, Report};
use crate::failure::Failure;

/// How a step ended; a step that fails ends the quickstart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Outcome {
    /// As it should.
    Ok,
    /// Something that it needs is not installed.
    Skipped,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    command: Option<String>,
    outcome: Outcome,
    seconds: f64,
    evidence: Value,
}

/// Returns a member that is text; empty when there is none.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What was done so far.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    context: &'a Context,
    program: PathBuf,
    dir: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
    steps: Vec<Step>,
    /// When the last step ended, and the next one began.
    since: Instant,
}

impl<'a> Journal<'a> {
    /// Starts in `dir`, with store, collections and keys of its own there.
    pub(super) fn new(context: &'a Context, dir: &Path) -> Result<Self, Failure> {
        let at = |name: &str| dir.join(name);
        Ok(Self {
            context,
            program: context.program_dir()?.join("imgkit"),
            dir: dir.to_owned(),
            environment: vec![
                ("IMGKIT_STORE", at("store")),
                ("IMGKIT_TRUST_DIR", at("trust")),
                ("IMGKIT_KEY_DIR", at("keys")),
                ("IMGKIT_TRUST_STATE", at("trusted")),
            ],
            steps: Vec::new(),
            since: Instant::now(),
        })
    }

    /// Returns the directory of this quickstart.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Tells the user how to repeat the commands that follow.
    pub(super) fn explain(&self, nonce: &str) {
        self.context.say(&format!(
            "quickstart {nonce}; each step's command stands before it. To repeat them:"
        ));
        let exports = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={}", value.display()));
        let exports: Vec<String> = exports.collect();
        self.context
            .say(&format!("  cd {}; export {}", self.dir.display(), exports.join(" ")));
        self.context.say("  export IMGKIT_PASSPHRASE=$(cat passphrase)");
    }

    /// Prepares one of imgkit's commands, to be run in the quickstart's directory.
    pub(super) fn command(&self, args: &[&str]) -> Result<Command, Failure> {
        let passphrase = self.dir.join("passphrase");
        let secret = std::fs::read_to_string(&passphrase);
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(&self.dir);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env(
            "IMGKIT_PASSPHRASE",
            secret.map_err(|error| Failure::unavailable(passphrase.display(), error))?,
        );
        command.env_remove("SOURCE_DATE_EPOCH").env_remove("IMGKIT_POLICY");
        Ok(command)
    }

    /// Runs a command that must succeed, and returns its JSON.
    pub(super) fn must(&mut self, name: &str, args: &[&str]) -> Result<Value, Failure> {
        self.step(name, args, 0)
    }

    /// Runs a command that must refuse, and returns its refusals.
    pub(super) fn must_refuse(&mut self, name: &str, args: &[&str]) -> Result<Vec<Value>, Failure> {
        let json = self.step(name, args, 1)?;
        let refusals = json
            .get("refusals")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for refusal in &refusals {
            let field = |name: &str| text(refusal, name).to_owned();
            let line = format!("  REFUSED {} {}: {}", field("code"), field("subject"), field("found"));
            self.context.say(&line);
        }
        Ok(refusals)
    }

    /// Checks that one of the last step's refusals is the expected one.
    pub(super) fn expect(&self, refusals: &[Value], is_it: impl Fn(&Value) -> bool) -> Result<(), Failure> {
        match refusals.iter().any(is_it) {
            true => Ok(()),
            false => Err(Failure::unavailable(
                "quickstart",
                format!("the refusal is not the expected one: {refusals:?}"),
            )),
        }
    }

    /// Runs cargo, which `cargo run` leaves in the environment, in the current directory.
    pub(super) fn cargo(&mut self, name: &str, args: &[&str]) -> Result<(), Failure> {
        let shown = format!("cargo {}", args.join(" "));
        self.context.say(&format!("{name}: {shown}"));
        let status = Command::new(self.context.cargo())
            .args(args)
            .stdout(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => {
                self.record(name, Some(shown), Outcome::Ok, Value::Null);
                Ok(())
            }
            Ok(status) => Err(Failure::unavailable(
                shown,
                format!("it ended with {status}; its message stands above"),
            )),
            Err(error) => Err(Failure::unavailable(shown, error)),
        }
    }

    /// Records a step that is no command.
    pub(super) fn note(&mut self, name: &str, outcome: Outcome, evidence: Value) -> Result<(), Failure> {
        let mark = if outcome == Outcome::Skipped { "SKIPPED " } else { "" };
        self.context.say(&format!("{mark}{name}: {evidence}"));
        self.record(name, None, outcome, evidence);
        Ok(())
    }

    /// Finds the private key that seals.
    pub(super) fn seal_key(&self) -> Result<String, Failure> {
        let dir = self.dir.join("keys/platform/seal");
        let mut keys = std::fs::read_dir(&dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let key = keys.find(|path| path.extension().is_some_and(|ending| ending == "pem"));
        let key = key.ok_or_else(|| Failure::unavailable(dir.display(), "there is no seal key"))?;
        Ok(key.strip_prefix(&self.dir).unwrap_or(&key).display().to_string())
    }

    /// Ends the journal.
    pub(super) fn report(self, nonce: &str) -> Report {
        let skipped = self
            .steps
            .iter()
            .filter(|step| step.outcome == Outcome::Skipped)
            .count();
        let mut text = String::new();
        for step in &self.steps {
            let mark = if step.outcome == Outcome::Ok {
                "ok     "
            } else {
                "SKIPPED"
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{mark} {:>7.2} s  {}", step.seconds, step.name);
        }
        let _ = writeln!(
            text,
            "{}: {} steps, {skipped} skipped",
            self.dir.display(),
            self.steps.len()
        );
        Report::new(
            text,
            json!({ "nonce": nonce, "dir": self.dir, "skipped": skipped, "steps": self.steps }),
        )
    }

    /// Runs a command, which must end with `expected`.
    fn step(&mut self, name: &str, args: &[&str], expected: i32) -> Result<Value, Failure> {
        let shown = format!("imgkit {}", args.join(" "));
        self.context.say(&format!("{name}: {shown}"));
        let mut command = self.command(args)?;
        let output = command.args(["--output", "json"]).stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| Failure::unavailable(&shown, error))?;
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if output.status.code() != Some(expected) {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            return Err(Failure::unavailable(
                shown,
                format!("it ended with {}, expected exit code {expected}: {said}", output.status),
            ));
        }
        let evidence = match json.get("refusals") {
            Some(refusals) => refusals.clone(),
            None => json!({ "verdict": json.get("verdict") }),
        };
        self.record(name, Some(shown), Outcome::Ok, evidence);
        Ok(json)
    }

    fn record(&mut self, name: &str, command: Option<String>, outcome: Outcome, evidence: Value) {
        self.steps.push(Step {
            name: name.to_owned(),
            command,
            outcome,
            seconds: self.since.elapsed().as_secs_f64(),
            evidence,
        });
        self.since = Instant::now();
    }
}
