//! Connections that do not wait for ever: until the other side takes what it is sent, and until what it sends has come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A stream whose writes fail once the other side takes less than a minimum rate; how long reads may take is hyper's matter.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    rate: Rate,
    /// Begins when a write waits, and ends when everything was taken.
    waiting: Option<Window>,
}

/// How much has to be taken in how long, while more waits to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) bytes: usize,
    pub(super) within: Duration,
}

/// A span of time, and the bytes that were taken in it.
#[derive(Debug)]
struct Window {
    end: Pin<Box<Sleep>>,
    taken: usize,
}

/// How fast something has to come: so much in each span of time, and all of it by an end. What came before a span earns no time in it.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Rate,
    window: Window,
    end: Pin<Box<Sleep>>,
}

impl Pace {
    pub(super) fn new(rate: Rate, whole: Duration) -> Self {
        Self {
            window: Window::of(rate),
            end: Box::pin(tokio::time::sleep(whole)),
            rate,
        }
    }

    /// Waits for the next part; none when it is too late.
    pub(super) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        let mut next = std::pin::pin!(next);
        loop {
            tokio::select! {
                biased;
                () = &mut self.end => return None,
                () = &mut self.window.end => match self.window.taken >= self.rate.bytes {
                    true => self.window = Window::of(self.rate),
                    false => return None,
                },
                next = &mut next => return Some(next),
            }
        }
    }

    /// Counts what has come.
    pub(super) fn came(&mut self, bytes: usize) {
        self.window.taken += bytes;
    }

    /// Leaves out a time for which the sender was not read from.
    pub(super) fn leave_out(&mut self, time: Duration) {
        let later = self.window.end.deadline() + time;
        self.window.end.as_mut().reset(later);
    }
}

impl Window {
    fn of(rate: Rate) -> Self {
        Self {
            end: Box::pin(tokio::time::sleep(rate.within)),
            taken: 0,
        }
    }
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, rate: Rate) -> Self {
        Self {
            stream,
            rate,
            waiting: None,
        }
    }

    /// Looks at what came of a write.
    fn wrote(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = progress {
            // What is taken a little at a time goes on waiting: only a flush says that all of it was taken.
            self.waiting.iter_mut().for_each(|window| window.taken += bytes);
        }
        self.check(context, progress)
    }

    /// Looks at what came of a flush.
    fn flushed(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if progress.is_ready() {
            self.waiting = None;
        }
        self.check(context, progress)
    }

    fn check<T>(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            return progress;
        }
        let rate = self.rate;
        loop {
            let window = self.waiting.get_or_insert_with(|| Window::of(rate));
            match window.end.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if window.taken >= rate.bytes => self.waiting = None,
                Poll::Ready(()) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, buf);
        self.wrote(context, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(context, bufs);
        self.wrote(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(context);
        self.flushed(context, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_shutdown(context);
        self.flushed(context, progress)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn on_a_runtime(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn what_came_fast_earns_no_time_to_stall() {
        on_a_runtime(async {
            let whole = Duration::from_secs(60);
            let mut pace = Pace::new(rate(8, 50), whole);
            for _ in 0..3 {
                assert!(pace.wait(async {}).await.is_some());
                pace.came(1 << 20);
            }
            let stalled = pace.wait(std::future::pending::<()>());
            let ended = tokio::time::timeout(Duration::from_secs(5), stalled).await;
            assert!(ended.unwrap().is_none());
        });
    }

    #[test]
    fn what_comes_fast_enough_comes_to_an_end_all_the_same() {
        on_a_runtime(async {
            let mut pace = Pace::new(rate(1, 20), Duration::from_millis(200));
            let mut times = 0;
            while pace.wait(tokio::time::sleep(Duration::from_millis(5))).await.is_some() {
                pace.came(1);
                times += 1;
            }
            assert!(times > 3, "{times}");
        });
    }

    #[test]
    fn a_time_in_which_nobody_read_does_not_count() {
        on_a_runtime(async {
            let mut pace = Pace::new(rate(8, 50), Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(60)).await;
            pace.leave_out(Duration::from_millis(60));
            assert!(pace.wait(async {}).await.is_some());
        });
    }

    #[test]
    fn who_takes_nothing_is_left() {
        on_a_runtime(async {
            let (near, _far) = tokio::io::duplex(16);
            let mut near = Patient::new(near, rate(1, 20));
            let ended = near.write_all(&[0; 64]).await.unwrap_err();
            assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn who_takes_enough_now_and_then_is_not() {
        on_a_runtime(async {
            let (near, far) = tokio::io::duplex(16);
            let mut near = Patient::new(near, rate(8, 500));
            let reading = tokio::spawn(take(far, 8, 64));
            near.write_all(&[0; 64]).await.unwrap();
            reading.await.unwrap();
        });
    }

    #[test]
    fn who_takes_too_little_is_left_though_something_is_taken_all_the_time() {
        on_a_runtime(async {
            let (near, far) = tokio::io::duplex(16);
            let mut near = Patient::new(near, rate(64, 50));
            let reading = tokio::spawn(take(far, 1, 64));
            let ended = near.write_all(&[0; 1 << 10]).await.unwrap_err();
            assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
            reading.abort();
        });
    }

    #[test]
    fn what_was_taken_before_a_pause_does_not_count_against_the_next_answer() {
        on_a_runtime(async {
            let (near, far) = tokio::io::duplex(16);
            let mut near = Patient::new(near, rate(8, 100));
            let reading = tokio::spawn(take(far, 8, 128));
            for _ in 0..2 {
                near.write_all(&[0; 64]).await.unwrap();
                near.flush().await.unwrap();
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            reading.await.unwrap();
        });
    }

    /// Takes so much every few milliseconds, until it has `all`.
    async fn take(mut far: tokio::io::DuplexStream, at_once: usize, all: usize) {
        let mut taken = 0;
        while taken < all {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let mut some = vec![0; at_once];
            taken += far.read(&mut some).await.unwrap();
        }
    }

    fn rate(bytes: usize, milliseconds: u64) -> Rate {
        Rate {
            bytes,
            within: Duration::from_millis(milliseconds),
        }
    }
}
