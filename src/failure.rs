//! The three trunks of failure: a verdict, nonsense, and not knowing.
//!
//! - [`Refusal`]: everything needed was there, and the answer is no. Only this is a verdict.
//! - [`Failure::Malformed`]: what came in is not what it claims to be (a configuration, a document).
//! - [`Failure::Unavailable`]: it could not be found out. Never "unsigned", and never "fine".
//!
//! All three fail closed. The command line turns them into exit codes 1, 2 and 3.

use std::fmt;

use serde::Serialize;

/// Why something was refused, for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The image's architecture is not the one that the policy or the build names.
    Arch,
    /// What was booted did not come up.
    BootFailed,
    /// A byte of a disk is not what its owner's signed description says.
    BytesMismatch,
    /// A signer's certificate is not one for signing that a trusted authority issued.
    Certificate,
    /// The kernel command line holds what the policy does not allow.
    Cmdline,
    /// No attestation says what the policy demands.
    Condition,
    /// A rule names this thing to deny it.
    Denied,
    /// A document's digest is not the one that was signed or written.
    DigestMismatch,
    /// The image's epoch is below what policy or memory demands.
    Epoch,
    /// Metadata or an image is past its time.
    Expired,
    /// The image is of a form that the policy does not admit.
    Format,
    /// Somebody else signed than who was to.
    Identity,
    /// A document is not in the form that its kind demands.
    Malformed,
    /// The image's name is not the one that the policy names.
    Name,
    /// No rule of the policy matches.
    NoRule,
    /// No trusted transparency log has this very signature.
    NotLogged,
    /// A component is only asserted where the policy demands proof.
    NotProved,
    /// A later part replaces an earlier one's file where the policy forbids it.
    Override,
    /// A component asks for a privilege that neither its rule nor the YAML grants.
    Privilege,
    /// The image is of another profile than the policy demands, or of none.
    Profile,
    /// Fewer of a policy's alternatives hold than it demands, for different reasons.
    Requirements,
    /// The key that signed was revoked.
    Revoked,
    /// A document is older than one seen before.
    Rollback,
    /// Fewer distinct keys signed than the threshold demands.
    Threshold,
    /// Nobody who is trusted with the time says when a signature was there, or says so of another time.
    Timestamp,
    /// The image's tree is not the one that its signer signed.
    TreeMismatch,
    /// An unsafe switch was used to make this.
    Unsafe,
    /// There is no signature.
    Unsigned,
    /// An input of the build (the YAML, a file) is not signed where the policy demands it.
    UnsignedInput,
    /// A component's version is below what the policy demands.
    Version,
    /// Signatures are there, but none by a key that counts.
    WrongKey,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Serialised names are the only names; serde writes a unit variant as a string.
        Serialize::serialize(self, f)
    }
}

/// A place in a text that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Which requirement of a policy was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Demanded {
    /// The pattern of the rule that decides.
    pub rule: String,
    /// The requirement, in words.
    pub requirement: String,
    /// Where the policy demands it.
    pub place: Place,
}

/// A verdict: no. It says what was expected, what was found, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Why, for machines.
    pub code: Code,
    /// What was refused: a reference, a file, a disk.
    pub subject: String,
    /// Where the user's text names the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Which byte of a disk is not as it should be, where that is known; of its container's file where the subject is a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte: Option<u64>,
    /// The policy's requirement that was not met, where one decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demanded: Option<Demanded>,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// What to do; never advice to weaken a policy.
    pub advice: String,
}

impl Refusal {
    /// Makes a refusal without a place.
    pub fn new(
        code: Code,
        subject: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
        advice: impl fmt::Display,
    ) -> Self {
        Self {
            code,
            subject: subject.to_string(),
            place: None,
            byte: None,
            demanded: None,
            expected: expected.to_string(),
            found: found.to_string(),
            advice: advice.to_string(),
        }
    }

    /// Says where the user's text names the subject.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Says which byte it is about.
    #[must_use]
    pub fn at_byte(mut self, byte: u64) -> Self {
        self.byte = Some(byte);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.subject)?;
        if let Some(place) = &self.place {
            write!(f, " ({place})")?;
        }
        if let Some(byte) = self.byte {
            write!(f, " at byte {byte}")?;
        }
        write!(f, "\n  expected: {}\n  found:    {}", self.expected, self.found)?;
        if let Some(demanded) = &self.demanded {
            let Demanded {
                rule,
                requirement,
                place,
            } = demanded;
            write!(f, "\n  demanded: {requirement} ({place}), by rule {rule}")?;
        }
        write!(f, "\n  to do:    {}", self.advice)
    }
}

/// What any operation can end in, other than success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Verdicts, all that were found in one run.
    #[error("refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refusal>),
    /// A configuration or document is not what it should be.
    #[error("{subject}: {problem}")]
    Malformed {
        /// What was read: a file with line and column where known.
        subject: String,
        /// What was expected, what was found, and what to do.
        problem: String,
    },
    /// It could not be found out.
    #[error("could not find out: {subject}: {problem}")]
    Unavailable {
        /// What was asked for.
        subject: String,
        /// What stood in the way, and what to do.
        problem: String,
    },
}

impl Failure {
    /// Makes a [`Failure::Malformed`].
    pub fn malformed(subject: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self::Malformed {
            subject: subject.to_string(),
            problem: problem.to_string(),
        }
    }

    /// Makes a [`Failure::Unavailable`].
    pub fn unavailable(subject: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self::Unavailable {
            subject: subject.to_string(),
            problem: problem.to_string(),
        }
    }
}

impl Failure {
    /// Says where the user's text names what it is about, if it does; a refusal that has a place keeps it.
    #[must_use]
    pub fn at(self, place: Option<&Place>) -> Self {
        let Some(place) = place else { return self };
        match self {
            Self::Refused(mut refusals) => {
                for refusal in &mut refusals {
                    refusal.place.get_or_insert_with(|| place.clone());
                }
                Self::Refused(refusals)
            }
            Self::Unavailable { subject, problem } => Self::Unavailable {
                subject: format!("{subject} ({place})"),
                problem,
            },
            malformed @ Self::Malformed { .. } => malformed,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(vec![refusal])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_name_everywhere() {
        assert_eq!(Code::DigestMismatch.to_string(), "DIGEST_MISMATCH");
    }
}
