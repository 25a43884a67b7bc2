//! Ended processes: PID 1 inherits every orphan and must wait for each, while some of them are its own business.
//!
//! A process is started, and its number noted, under the lock that the reaper takes before it looks a number up; so no end is missed.

use std::collections::HashMap;
use std::future::Future;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::error::{Context, Error};

/// Hands the ends of processes to those who wait for them; clones share what they know.
#[derive(Clone, Default)]
pub(crate) struct Reaper {
    waiting: Arc<Mutex<HashMap<i32, oneshot::Sender<WaitStatus>>>>,
}

impl Reaper {
    /// Begins to reap; must be called inside the runtime, before the first process is started.
    pub(crate) fn start() -> Result<Reaper, Error> {
        let reaper = Reaper::default();
        let mut ended = signal(SignalKind::child()).doing("listen for ended processes")?;
        let worker = reaper.clone();
        tokio::spawn(async move {
            while ended.recv().await.is_some() {
                worker.reap();
            }
        });
        Ok(reaper)
    }

    /// Starts a program; the future ends when the program does.
    pub(crate) fn spawn(
        &self,
        command: &mut Command,
    ) -> Result<(u32, impl Future<Output = Result<(), Error>> + use<>), Error> {
        let mut waiting = self.lock();
        let child = command.spawn().at("run", command.get_program())?;
        let end = note(&mut waiting, child.id());
        Ok((child.id(), end))
    }

    /// Runs a program to its end.
    pub(crate) async fn run(&self, command: &mut Command) -> Result<(), Error> {
        let (_, end) = self.spawn(command)?;
        end.await
    }

    /// Claims an orphan that is known to be alive; the future ends when it does.
    pub(crate) fn adopt(&self, pid: u32) -> impl Future<Output = Result<(), Error>> + use<> {
        note(&mut self.lock(), pid)
    }

    /// Waits for every process that has ended, until there is none.
    fn reap(&self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            self.deliver(pid, status);
        }
    }

    fn deliver(&self, pid: Pid, status: WaitStatus) {
        if let Some(waiter) = self.lock().remove(&pid.as_raw_nonzero().get()) {
            // Whoever asked may have given up since.
            let _ = waiter.send(status);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, oneshot::Sender<WaitStatus>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that somebody waits for a process.
fn note(
    waiting: &mut HashMap<i32, oneshot::Sender<WaitStatus>>,
    pid: u32,
) -> impl Future<Output = Result<(), Error>> + use<> {
    let (sender, receiver) = oneshot::channel();
    waiting.insert(pid.cast_signed(), sender);
    async move {
        match receiver.await {
            Ok(status) => verdict(status),
            // The sender lives until the process has been reaped; it goes only when this program does.
            Err(_) => Ok(()),
        }
    }
}

/// Turns a process's end into success or the reason of failure.
fn verdict(status: WaitStatus) -> Result<(), Error> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Error::ExitStatus(code)),
        (None, Some(signal)) => Err(Error::Signal(signal)),
        (None, None) => Err(Error::ExitStatus(status.as_raw())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // One test, not three: a process has one reaper, and `cargo test` runs tests as threads of one process.
    #[test]
    fn tells_how_real_processes_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let reaper = Reaper::start().unwrap();
            assert!(reaper.run(&mut Command::new("true")).await.is_ok());
            let failed = reaper.run(&mut Command::new("false")).await.unwrap_err();
            assert_eq!(failed.to_string(), "exit status 1");
            let (pid, end) = reaper.spawn(Command::new("sleep").arg("60")).unwrap();
            rustix::process::kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), rustix::process::Signal::TERM)
                .unwrap();
            assert_eq!(end.await.unwrap_err().to_string(), "killed by signal 15");
        });
    }
}
