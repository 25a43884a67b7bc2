//! What is wrong with a YAML file, and where.

use std::fmt;

use crate::failure::{Failure, Place};

/// One mistake in a YAML file, at its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct YamlError {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub problem: Problem,
}

impl From<YamlError> for Failure {
    fn from(error: YamlError) -> Self {
        Self::malformed(error.place, error.problem)
    }
}

/// The kinds of mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A key stands twice in one mapping.
    Duplicate {
        /// The key.
        key: String,
        /// The line of the first one.
        first: usize,
    },
    /// A value has the right type but not a value that is allowed.
    Invalid(String),
    /// A mapping lacks a key that it must have.
    Missing {
        /// What the mapping describes, with its article.
        what: &'static str,
        /// The key.
        key: &'static str,
        /// A key of the mapping that looks much like it.
        mistyped: Option<String>,
    },
    /// The file is no YAML, or a part of YAML that is refused.
    Syntax(String),
    /// The file costs more than a bound of [`limit`](crate::limit) allows.
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// A mapping has a key that is not known.
    UnknownKey {
        /// What the mapping describes, with its article.
        what: &'static str,
        /// The key.
        key: String,
        /// The known key that is nearest, if one is near.
        nearest: Option<&'static str>,
        /// All keys that are known here.
        known: Vec<&'static str>,
    },
    /// A value is of another type.
    WrongType {
        /// What was expected, with its article.
        expected: &'static str,
        /// What was found.
        found: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { key, first } => {
                write!(f, "key `{key}` stands twice (first on line {first}); keep one")
            }
            Self::Invalid(problem) => f.write_str(problem),
            Self::Missing { what, key, mistyped } => match mistyped {
                Some(mistyped) => write!(f, "{what} needs the key `{key}`; is `{mistyped}` meant to be it?"),
                None => write!(f, "{what} needs the key `{key}`"),
            },
            Self::Syntax(problem) => f.write_str(problem),
            Self::TooMuch { what, most } => write!(f, "{what} exceed the limit of {most}"),
            Self::UnknownKey {
                what,
                key,
                nearest,
                known,
            } => {
                write!(f, "unknown key `{key}` in {what}; ")?;
                match nearest {
                    Some(nearest) => write!(f, "did you mean `{nearest}`?"),
                    None => write!(f, "known keys: {}", known.join(", ")),
                }
            }
            Self::WrongType { expected, found } => write!(f, "expected {expected}, found {found}"),
        }
    }
}

/// Returns the candidate nearest to `word`, when it is near enough to be a slip of the pen.
pub(super) fn nearest(word: &str, candidates: &[&'static str]) -> Option<&'static str> {
    let similarity = |candidate: &str| strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase());
    let scored = candidates.iter().map(|candidate| (similarity(candidate), *candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    // Below this, suggestions are more often wrong than right ("kernel" for "label").
    (best.0 >= 0.75).then_some(best.1)
}
