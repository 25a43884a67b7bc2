//! Rules: which references, and what they need.

use std::fmt;

use super::{Allow, Pattern, Requirement};
use crate::failure::Place;

/// One rule: which references, and what they need.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Which references it is about.
    pub pattern: Pattern,
    /// What admits one.
    pub decision: Decision,
    /// Whether the component must be proved on the finished disk against its own signer.
    pub proved: bool,
    /// What the component's own label may ask for.
    pub allow: Vec<Allow>,
    /// Whether a later part may replace one of the component's files.
    pub overrides: bool,
    /// Where the rule stands.
    pub place: Place,
}

/// What a rule decides about a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing admits it.
    Denied {
        /// Why, for the message.
        reason: String,
    },
    /// It is admitted where this holds.
    Required(Requirement),
    /// Nothing is needed; never in a release build.
    Unsigned,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.decision {
            Decision::Denied { reason } => return write!(f, "is denied: {reason}"),
            Decision::Required(requirement) => write!(f, "{requirement}")?,
            Decision::Unsigned => f.write_str("accepted without a signature")?,
        }
        if self.proved {
            f.write_str(", proved on the disk")?;
        }
        if !self.overrides {
            f.write_str(", no file replaced")?;
        }
        if !self.allow.is_empty() {
            let allow: Vec<String> = self.allow.iter().map(ToString::to_string).collect();
            write!(f, ", may ask for {}", allow.join(" "))?;
        }
        Ok(())
    }
}

/// What no image may hold, whatever the rules say.
#[derive(Clone, Debug, PartialEq)]
pub struct Forbidden {
    /// Which references.
    pub pattern: Pattern,
    /// Why, for the message.
    pub reason: String,
    /// Where the policy says so.
    pub place: Place,
}
