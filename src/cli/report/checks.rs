//! A command's answer as checks, one for each thing that was judged: what SARIF and JUnit are made of.

use super::Report;
use crate::failure::{Failure, Place, Refusal};

/// The code of input that is not what it should be.
pub(in crate::cli) const MALFORMED_INPUT: &str = "MALFORMED_INPUT";

/// The code of what could not be found out.
pub(in crate::cli) const UNAVAILABLE: &str = "UNAVAILABLE";

/// One thing that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Check {
    /// What was judged.
    pub(in crate::cli) name: String,
    /// Where the user's text speaks of it.
    pub(in crate::cli) place: Option<Place>,
    /// What came of it.
    pub(in crate::cli) state: State,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum State {
    /// It is good.
    Good,
    /// It is not.
    Bad {
        /// The reason code.
        code: String,
        /// The verdict in words.
        text: String,
    },
    /// It could not be judged: the input is wrong, or it could not be found out.
    Unknown {
        /// [`MALFORMED_INPUT`] or [`UNAVAILABLE`].
        code: &'static str,
        /// Why, in words.
        text: String,
    },
}

impl Check {
    /// Makes a check that is good.
    pub(in crate::cli) fn good(name: impl Into<String>, place: Option<Place>) -> Self {
        Self {
            name: name.into(),
            place,
            state: State::Good,
        }
    }

    /// Makes the check that a refusal comes from.
    pub(in crate::cli) fn refused(refusal: &Refusal) -> Self {
        Self {
            name: refusal.subject.clone(),
            place: refusal.place.clone(),
            state: State::Bad {
                code: refusal.code.to_string(),
                text: refusal.to_string(),
            },
        }
    }
}

/// Lists the checks of a command's answer; where it tells none, the answer as a whole is one.
pub(super) fn of(command: &str, result: &Result<Report, Failure>) -> Vec<Check> {
    let one = |state| {
        vec![Check {
            name: command.to_owned(),
            place: None,
            state,
        }]
    };
    match result {
        Ok(report) if !report.checks.is_empty() => report.checks.clone(),
        Ok(report) if !report.refusals.is_empty() => report.refusals.iter().map(Check::refused).collect(),
        Ok(report) if !report.yes => one(State::Bad {
            code: "REFUSED".to_owned(),
            text: report.text.clone(),
        }),
        Ok(report) if report.unknown.is_some() => one(State::Unknown {
            code: UNAVAILABLE,
            text: report.text.clone(),
        }),
        Ok(_) => one(State::Good),
        Err(Failure::Refused(refusals)) => refusals.iter().map(Check::refused).collect(),
        Err(failure @ Failure::Malformed { .. }) => one(State::Unknown {
            code: MALFORMED_INPUT,
            text: failure.to_string(),
        }),
        Err(failure @ Failure::Unavailable { .. }) => one(State::Unknown {
            code: UNAVAILABLE,
            text: failure.to_string(),
        }),
    }
}
