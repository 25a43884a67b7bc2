//! containerd's program: started, waited for, and started again when it dies (its containers live on in their shims).
//!
//! `/etc/containerd/runtime-config.toml` is LinuxKit's: `cliopts`, `stdout` and `stderr`, each one string. One key is ours: `start = "early"`
//! says that its state lies outside what onboot containers may mount, so that it can come up while they run.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::SOCKET;
use crate::backoff::Backoff;
use crate::console::Console;
use crate::error::{Context, Error};
use crate::reaper::Reaper;
use crate::runc::PATH;

const PROGRAM: &str = "/usr/bin/containerd";
const OPTIONS: &str = "/etc/containerd/runtime-config.toml";
/// Where containerd's own messages go unless the options say otherwise.
const LOG: &str = "/var/log/containerd.log";
/// How often the socket is tried; it appears after 0.03 s on a fast machine, 1 s on an emulated one.
const POLL: Duration = Duration::from_millis(10);
/// When to give up waiting for the socket.
const PATIENCE_SECONDS: u64 = 120;

/// How to start containerd.
#[derive(Debug, PartialEq)]
pub(crate) struct Daemon {
    arguments: Vec<String>,
    stdout: String,
    stderr: String,
    /// Whether it may start before the onboot containers have run.
    pub(crate) early: bool,
}

impl Daemon {
    /// Reads the options; `None` when the image has no containerd.
    pub(crate) fn installed() -> Result<Option<Daemon>, Error> {
        if !Path::new(PROGRAM).exists() {
            return Ok(None);
        }
        match fs::read_to_string(OPTIONS) {
            Ok(text) => Daemon::parse(&text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(Daemon::default())),
            Err(error) => Err(error).at("read", OPTIONS),
        }
    }

    /// Reads the options' text: one `key = "value"` a line, comments, nothing else of TOML.
    fn parse(text: &str) -> Result<Daemon, Error> {
        let mut daemon = Daemon::default();
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let pair = line
                .split_once('=')
                .map(|(key, value)| (key.trim(), quoted(value.trim())));
            match pair {
                Some(("cliopts", Some(value))) => {
                    daemon.arguments = value.split_ascii_whitespace().map(str::to_owned).collect()
                }
                Some(("stdout", Some(value))) => daemon.stdout = destination(value),
                Some(("stderr", Some(value))) => daemon.stderr = destination(value),
                Some(("start", Some("early"))) => daemon.early = true,
                _ => {
                    return Err(Error::Unsupported {
                        path: OPTIONS.into(),
                        found: line.to_owned(),
                        supported: "cliopts, stdout and stderr as strings, start = \"early\"",
                    });
                }
            }
        }
        Ok(daemon)
    }

    /// Keeps containerd running for as long as the future is polled; ends only when it cannot be started at all.
    pub(crate) async fn supervise(self, reaper: Reaper, console: Console) -> Error {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let end = match self.spawn(&reaper) {
                Ok(end) => end.await,
                Err(error) => return error,
            };
            let reason = end.err().map_or("exit status 0".to_owned(), |error| error.to_string());
            let pause = backoff.after(began.elapsed());
            console.line(format_args!(
                "containerd: ended: {reason}, again in {:.1} s",
                pause.as_secs_f64()
            ));
            sleep(pause).await;
        }
    }

    /// Starts the program once.
    fn spawn(&self, reaper: &Reaper) -> Result<impl Future<Output = Result<(), Error>> + use<>, Error> {
        let _ = fs::remove_file(SOCKET);
        let open = |path: &str| OpenOptions::new().create(true).append(true).open(path).at("open", path);
        let mut command = Command::new(PROGRAM);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null());
        command.stdout(open(&self.stdout)?).stderr(open(&self.stderr)?);
        let (_, end) = reaper.spawn(&mut command)?;
        Ok(end)
    }
}

impl Default for Daemon {
    fn default() -> Daemon {
        Daemon {
            arguments: Vec::new(),
            stdout: LOG.to_owned(),
            stderr: LOG.to_owned(),
            early: false,
        }
    }
}

/// Waits until containerd takes connections.
pub(crate) async fn ready() -> Result<(), Error> {
    let connected = async {
        while UnixStream::connect(SOCKET).await.is_err() {
            sleep(POLL).await;
        }
    };
    let late = Error::Timeout {
        what: "containerd's socket",
        seconds: PATIENCE_SECONDS,
    };
    timeout(Duration::from_secs(PATIENCE_SECONDS), connected)
        .await
        .map_err(|_| late)
}

/// Returns what stands between double quotes; escapes are not needed in any of the values.
fn quoted(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"')?.split_once('"')?;
    let rest = inner.1.trim_start();
    (rest.is_empty() || rest.starts_with('#')).then_some(inner.0)
}

/// LinuxKit's names for a stream mean its own, which are the console.
fn destination(value: &str) -> String {
    if matches!(value, "stdout" | "stderr") {
        "/dev/console".to_owned()
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_linuxkits_options_and_our_own() {
        let daemon =
            Daemon::parse("# options\ncliopts=\"--log-level debug\" # more\nstderr = \"stdout\"\nstart = \"early\"\n")
                .unwrap();
        assert_eq!(daemon.arguments, ["--log-level", "debug"]);
        assert_eq!((daemon.stdout.as_str(), daemon.stderr.as_str()), (LOG, "/dev/console"));
        assert!(daemon.early);
    }

    #[test]
    fn refuses_options_that_it_does_not_know() {
        for text in [
            "cliopt = \"x\"",
            "cliopts = x",
            "[section]",
            "start = \"late\"",
            "cliopts = \"a\" \"b\"",
        ] {
            let error = Daemon::parse(text).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
