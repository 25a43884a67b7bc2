//! Several requests at once, a bounded number of them.

use std::sync::{Mutex, PoisonError};

use crate::limit;

/// Does the same for each of several things, [`limit::PARALLEL_BLOBS`] at a time; what comes of it is in their order.
pub(super) fn several<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let workers = limit::PARALLEL_BLOBS.min(all.len());
    if workers < 2 {
        return all.iter().map(work).collect();
    }
    let next = Mutex::new(all.iter().enumerate());
    let take = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || {
        let mut done = Vec::new();
        while let Some((at, one)) = take() {
            done.push((at, work(one)));
        }
        done
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().flat_map(join).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_comes_of_it_is_in_order_and_so_many_are_done_at_once() {
        let all: Vec<usize> = (0..limit::PARALLEL_BLOBS * 3).collect();
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Nobody passes before so many are at it.
        let together = Barrier::new(limit::PARALLEL_BLOBS);
        let done = several(&all, |number| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            together.wait();
            now.fetch_sub(1, Ordering::SeqCst);
            number * 2
        });
        assert_eq!(done, all.iter().map(|number| number * 2).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), limit::PARALLEL_BLOBS);
        assert_eq!(several(&[1], |number| number + 1), [2]);
    }
}
