//! The one thread on which publications are planned.
//!
//! An upload's JSON may take a gigabyte until it is judged, and the allocator keeps what a thread freed for that thread. Were each
//! upload judged on a thread of its own, all these would keep as much.
//!
//! Work that panics ends the server, as every panic of a release does (`panic = "abort"`): a publication is whole or not there all the same.

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{Mutex, MutexGuard, oneshot};

use crate::failure::Failure;

/// The thread; who uses it takes turns.
#[derive(Debug)]
pub(super) struct Judge {
    thread: ThreadPool,
    free: Mutex<()>,
}

/// The thread for one who has it: others wait until it is dropped or has run.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    thread: &'a ThreadPool,
    _turn: MutexGuard<'a, ()>,
}

impl Judge {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the system has none.
    pub(super) fn new() -> Result<Self, Failure> {
        let thread = ThreadPoolBuilder::new()
            .num_threads(1)
            .thread_name(|_| "judge".to_owned())
            .build();
        let thread = thread.map_err(|error| Failure::unavailable("the judging thread", error))?;
        Ok(Self {
            thread,
            free: Mutex::new(()),
        })
    }

    /// Waits for the thread; who came first has it first.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn {
            _turn: self.free.lock().await,
            thread: &self.thread,
        }
    }
}

impl Turn<'_> {
    /// Does work on the thread.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it did not come to an end.
    pub(super) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let (done, doing) = oneshot::channel();
        self.thread.spawn(move || {
            // Nobody may be waiting any more.
            let _ = done.send(work());
        });
        doing
            .await
            .map_err(|_| Failure::unavailable("the server's own work", "judging did not come to an end"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn all_work_is_done_on_one_thread() {
        let judge = Judge::new().unwrap();
        let thread = || std::thread::current().id();
        let first = judge.turn().await.run(thread).await.unwrap();
        assert_ne!(first, thread());
        assert_eq!(judge.turn().await.run(thread).await.unwrap(), first);
    }

    #[tokio::test]
    async fn who_has_the_turn_keeps_others_waiting_until_it_has_run() {
        let judge = Judge::new().unwrap();
        let turn = judge.turn().await;
        let wait = Duration::from_millis(20);
        assert!(tokio::time::timeout(wait, judge.turn()).await.is_err());
        turn.run(|| ()).await.unwrap();
        assert!(tokio::time::timeout(wait, judge.turn()).await.is_ok());
    }
}
