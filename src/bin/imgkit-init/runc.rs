//! Containers that run to their end by runc alone: `onboot` and `onshutdown`.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bundle::Bundle;
use crate::error::{Context, Error};
use crate::reaper::Reaper;

const RUNC: &str = "/usr/bin/runc";

/// Where programs are looked for: the kernel starts PID 1 without a PATH.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One run of a container.
pub(crate) struct Run<'a> {
    bundle: &'a Bundle,
    reaper: &'a Reaper,
    log: PathBuf,
}

impl Run<'_> {
    /// Sets a run up; what the container prints goes to a file in `logs`.
    pub(crate) fn new<'a>(bundle: &'a Bundle, reaper: &'a Reaper, logs: &Path) -> Run<'a> {
        Run {
            bundle,
            reaper,
            log: logs.join(format!("{}.log", bundle.id)),
        }
    }

    /// Prepares the bundle, runs its container to the end and cleans up.
    pub(crate) async fn to_end(&self) -> Result<(), Error> {
        let result = match self.bundle.prepare() {
            Ok(()) if self.bundle.needs_process() => self.in_steps().await,
            Ok(()) => self.at_once().await,
            Err(error) => Err(error),
        };
        self.bundle.clean_up();
        result
    }

    /// Returns what the container printed, both streams in one.
    pub(crate) fn output(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Runs the container under one runc, which saves two starts of it.
    async fn at_once(&self) -> Result<(), Error> {
        self.reaper
            .run(
                self.command("run")?
                    .arg("--bundle")
                    .arg(self.bundle.path())
                    .arg(&self.bundle.id),
            )
            .await
    }

    /// Creates the container, prepares its waiting process, starts it, waits for it and deletes it.
    async fn in_steps(&self) -> Result<(), Error> {
        let pid_file = self.log.with_extension("pid");
        let mut create = self.command("create")?;
        create
            .arg("--bundle")
            .arg(self.bundle.path())
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&self.bundle.id);
        self.reaper
            .run(&mut create)
            .await
            .map_err(|source| self.failure(source))?;
        let text = fs::read_to_string(&pid_file).at("read", &pid_file)?;
        let pid = text
            .trim()
            .parse()
            .map_err(std::io::Error::other)
            .at("read a process number from", &pid_file)?;
        // A process that dies before this line makes `runc start` fail below, so its end is not waited for in vain.
        let end = self.reaper.adopt(pid);
        let started = match self.bundle.prepare_process(pid) {
            Ok(()) => self
                .reaper
                .run(self.command("start")?.arg(&self.bundle.id))
                .await
                .map_err(|source| self.failure(source)),
            Err(error) => Err(error),
        };
        let result = match started {
            Ok(()) => end.await,
            Err(error) => Err(error),
        };
        // Removes the control group, and the process where it was never started.
        let _ = self
            .reaper
            .run(self.command("delete")?.arg("--force").arg(&self.bundle.id))
            .await;
        result
    }

    /// Builds a call of runc whose output, and the container's, goes to the log.
    fn command(&self, verb: &str) -> Result<Command, Error> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .at("open", &self.log)?;
        let both = log.try_clone().at("open", &self.log)?;
        let mut command = Command::new(RUNC);
        command
            .arg(verb)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both);
        Ok(command)
    }

    fn failure(&self, source: Error) -> Error {
        Error::Program {
            program: "runc",
            source: Box::new(source),
            log: self.log.clone(),
        }
    }
}
