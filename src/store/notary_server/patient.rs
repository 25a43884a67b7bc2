//! A connection that does not wait for ever until its other side takes what it is sent.

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
        let begin = || Window {
            end: Box::pin(tokio::time::sleep(rate.within)),
            taken: 0,
        };
        loop {
            let window = self.waiting.get_or_insert_with(begin);
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
