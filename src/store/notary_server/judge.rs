//! The one thread on which publications are planned.
//!
//! An upload's JSON may take a gigabyte until it is judged, and the allocator keeps what a thread freed for that thread. Were each
//! upload judged on a thread of its own, all these would keep as much.

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::failure::Failure;

/// The thread; what it is given is done in order.
#[derive(Debug)]
pub(super) struct Judge(ThreadPool);

impl Judge {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the system has none.
    pub(super) fn new() -> Result<Self, Failure> {
        let thread = ThreadPoolBuilder::new()
            .num_threads(1)
            .thread_name(|_| "judge".to_owned())
            // Whoever waits for what panicked is told so by its silence.
            .panic_handler(|_| {})
            .build();
        thread
            .map(Self)
            .map_err(|error| Failure::unavailable("the judging thread", error))
    }

    /// Does work on the thread.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it did not come to an end.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let (done, doing) = oneshot::channel();
        self.0.spawn(move || {
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
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn all_work_is_done_on_one_thread_whatever_became_of_the_work_before() {
        let judge = Judge::new().unwrap();
        let first = judge.run(|| std::thread::current().id()).await.unwrap();
        assert_ne!(first, std::thread::current().id());
        assert!(judge.run(|| -> u8 { panic!("as a defect would") }).await.is_err());
        assert_eq!(judge.run(|| std::thread::current().id()).await.unwrap(), first);
    }
}
