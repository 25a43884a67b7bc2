//! Trying again: what may pass and what will not.

use std::error::Error;

use crate::failure::Failure;
use crate::limit;

/// What stands in the way of a request.
pub(in crate::store) enum Trouble {
    /// It may work when tried again.
    Passing(String),
    /// It will not.
    Final(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// Tries until it works, trouble is final, or [`limit::ATTEMPTS`] are used up.
pub(in crate::store) async fn patiently<T>(
    subject: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, Trouble>,
) -> Result<T, Failure> {
    let mut pause = limit::FIRST_PAUSE;
    let mut left = limit::ATTEMPTS;
    loop {
        left -= 1;
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(Trouble::Final(failure)) => return Err(failure),
            Err(Trouble::Passing(problem)) if left == 0 => {
                let problem = format!("{problem} (after {} attempts)", limit::ATTEMPTS);
                return Err(Failure::unavailable(subject, problem));
            }
            Err(Trouble::Passing(_)) => tokio::time::sleep(pause).await,
        }
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
