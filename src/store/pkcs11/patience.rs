//! Waiting for a token, and not for ever.
//!
//! PKCS#11 has no way to end a call. So each is made on a thread of its own, and one that does not come back is left there.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;
use crate::limit;

/// Calls that are on their way, those included for which nobody waits any more.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Works with a token on another thread, and waits for it at most `limit`.
///
/// # Errors
/// [`Failure::Unavailable`] when it takes longer, or too many calls have not come back.
pub(super) fn within<T: Send + 'static>(
    token: &dyn Display,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let bad = |problem: String| Failure::unavailable(token, problem);
    let call = Call::begin().ok_or_else(|| {
        let problem = format!("{} calls to tokens have not come back", limit::TOKEN_CALLS);
        bad(format!("{problem}; look after the token, then start again"))
    })?;
    let (done, waited) = mpsc::sync_channel(1);
    let started = thread::Builder::new().name("pkcs11".to_owned()).spawn(move || {
        let _call = call;
        let _ = done.send(work());
    });
    started.map_err(|error| bad(format!("a thread for the token cannot be had: {error}")))?;
    waited.recv_timeout(limit).map_err(|error| match error {
        RecvTimeoutError::Timeout => bad(format!(
            "the token, or its library, did not answer within {} seconds; it may wait for a touch or a PIN, be busy, or hang",
            limit.as_secs()
        )),
        RecvTimeoutError::Disconnected => bad("the token's library ended the thread that it was called on".to_owned()),
    })
}

/// A call that is on its way.
struct Call;

impl Call {
    fn begin() -> Option<Self> {
        let begun = Self;
        // One too many is counted, and is off again at once.
        (CALLS.fetch_add(1, Ordering::Relaxed) < limit::TOKEN_CALLS).then_some(begun)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_does_not_come_back_is_left_and_could_not_be_found_out() {
        let (_end, wait) = mpsc::channel::<()>();
        let left = within(&"a token", Duration::from_millis(20), move || wait.recv());
        let Err(Failure::Unavailable { subject, problem }) = left else {
            unreachable!("{left:?}");
        };
        assert!(
            subject == "a token" && problem.contains("did not answer within"),
            "{problem}"
        );
        assert_eq!(within(&"a token", Duration::from_secs(60), || 7).unwrap(), 7);
    }
}
