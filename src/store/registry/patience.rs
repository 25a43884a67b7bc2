//! Trying again: what may pass and what will not.

use std::error::Error;
use std::time::Duration;

use crate::failure::Failure;
use crate::limit;

/// What stands in the way of a request.
pub(in crate::store) enum Trouble {
    /// It may work when tried again.
    Passing(String),
    /// It may work when tried again, and not before this time has passed.
    Later(String, Duration),
    /// It will not.
    Final(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// Tries until it works, trouble is final, or [`limit::ATTEMPTS`] are used up; who is asked to wait longer than
/// [`limit::RETRY_AFTER`] in all does not.
pub(in crate::store) async fn patiently<T>(
    subject: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, Trouble>,
) -> Result<T, Failure> {
    let mut pause = limit::FIRST_PAUSE;
    let mut left = limit::ATTEMPTS;
    let mut waited = Duration::ZERO;
    loop {
        left -= 1;
        let later = match attempt().await {
            Ok(value) => return Ok(value),
            Err(Trouble::Final(failure)) => return Err(failure),
            Err(Trouble::Passing(problem) | Trouble::Later(problem, _)) if left == 0 => {
                let problem = format!("{problem} (after {} attempts)", limit::ATTEMPTS);
                return Err(Failure::unavailable(subject, problem));
            }
            Err(Trouble::Passing(_)) => Duration::ZERO,
            Err(Trouble::Later(problem, later)) if waited.saturating_add(later) > limit::RETRY_AFTER => {
                let problem = format!("{problem}; it asks to be left alone for {} seconds", later.as_secs());
                return Err(Failure::unavailable(subject, problem));
            }
            Err(Trouble::Later(_, later)) => later,
        };
        waited += later;
        tokio::time::sleep(pause.max(later)).await;
        pause *= 2;
    }
}

/// Writes an error with all that caused it.
pub(in crate::store) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
