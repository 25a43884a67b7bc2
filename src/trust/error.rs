//! Why metadata or a target are not trusted; every text about it is made here.

use super::role_keys::Since;
use crate::failure::{Code, Failure, Refusal};
use crate::key::KeyId;
use crate::time::Time;

/// Why metadata or a target are not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No role that may name the target does.
    #[error("no role of the collection names the target `{target}`")]
    Absent {
        /// The target looked for.
        target: String,
    },
    /// A root's key is not in a certificate for the collection (Notary's dialect).
    #[error("{role}: expected {expected}, found {found}")]
    Certificate {
        /// The role.
        role: String,
        /// The certificate expected.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The certificate of a root's key is not in its time (Notary's dialect).
    #[error("the root's certificate for `{name}` is good from {from} to {until}; it is judged at {now}")]
    CertificateDates {
        /// Its common name.
        name: String,
        /// Its first second.
        from: Time,
        /// Its last second.
        until: Time,
        /// The time of judgement.
        now: Time,
    },
    /// Bytes are not those that signed metadata describe.
    #[error("{subject}: expected {expected}, found {found}")]
    Digest {
        /// The file or target.
        subject: String,
        /// Length or digest expected.
        expected: String,
        /// Length or digest found.
        found: String,
    },
    /// Metadata are past their time.
    #[error("{role} version {version} expired at {expires}; it is judged at {now}")]
    Expired {
        /// The role.
        role: String,
        /// Its version.
        version: u64,
        /// When it expired.
        expires: Time,
        /// The time of judgement.
        now: Time,
    },
    /// A file is not in the form that the specification demands.
    #[error("{file}: {problem}")]
    Malformed {
        /// The file.
        file: String,
        /// What was expected, what was found.
        problem: String,
    },
    /// A file that is needed is not there.
    #[error("{file} is missing")]
    Missing {
        /// The file.
        file: String,
    },
    /// The place has no collection of that name.
    #[error("there is no collection {gun}")]
    NoCollection {
        /// The collection looked for.
        gun: String,
    },
    /// No role of that name is delegated to.
    #[error("the collection has no role `{role}`")]
    NoRole {
        /// The role looked for.
        role: String,
    },
    /// Metadata of one role stand where another's are expected.
    #[error("{file}: expected metadata of the role `{expected}`, found some that say they are of `{}`", .found.escape_debug())]
    OtherRole {
        /// The file.
        file: String,
        /// The role that it is read for.
        expected: String,
        /// The role that it says it is for.
        found: String,
    },
    /// The pinned root is no root.
    #[error("the pinned root: {problem}")]
    Pin {
        /// What is wrong with it.
        problem: String,
    },
    /// A key that was taken from the role signed.
    #[error("{role} is signed by key {key}, which was revoked {since}")]
    Revoked {
        /// What is signed.
        role: String,
        /// The revoked key.
        key: KeyId,
        /// When it was revoked.
        since: Since,
    },
    /// A role that was delegated to has no metadata (Notary's dialect).
    #[error("{role} is delegated to, but the snapshot does not list it: nobody has signed it yet, or it is withheld")]
    Unlisted {
        /// The role.
        role: String,
    },
    /// Older than what was trusted before, or than what other metadata name.
    #[error("{role}: expected version {expected} or later, found {found}")]
    Rollback {
        /// The role.
        role: String,
        /// The lowest version that would do.
        expected: u64,
        /// The version found.
        found: u64,
    },
    /// The place where metadata are kept could not be read.
    #[error("{0}")]
    Source(Failure),
    /// Fewer distinct keys signed than the threshold demands.
    #[error("{role}: {needed} distinct keys must sign, {valid} did")]
    Threshold {
        /// What is signed.
        role: String,
        /// How many keys must sign.
        needed: u32,
        /// How many did.
        valid: u32,
    },
    /// An image's tree is not the one that was signed.
    #[error("{subject}: expected the tree {expected}, found {found}")]
    Tree {
        /// The image.
        subject: String,
        /// The tree digest that was signed.
        expected: String,
        /// The one found.
        found: String,
    },
    /// There is no signature at all.
    #[error("{role} is not signed; {needed} of its keys must sign")]
    Unsigned {
        /// What should be signed.
        role: String,
        /// How many keys must sign.
        needed: u32,
    },
    /// Another version than other metadata name.
    #[error("{role}: expected version {expected}, found {found}")]
    Version {
        /// The role.
        role: String,
        /// The version named.
        expected: u64,
        /// The version found.
        found: u64,
    },
    /// A delegated role lists more roles than its owner goes through.
    #[error("{role}: it lists {found} roles; its owner goes through {most} at most")]
    TooMany {
        /// The role.
        role: String,
        /// How many it lists.
        found: usize,
        /// How many it may.
        most: usize,
    },
    /// Signatures are there, none of them good and by a key that counts.
    #[error("{role}: no good signature by {}; the signatures are by {}", list(.expected), list(.found))]
    WrongKey {
        /// What is signed.
        role: String,
        /// The keys that count.
        expected: Vec<KeyId>,
        /// The keys that the signatures name.
        found: Vec<KeyId>,
    },
}

impl TrustError {
    /// Makes a [`TrustError::Malformed`]. It may quote what a stranger wrote: that stays on its line.
    pub(crate) fn malformed(file: impl Into<String>, problem: impl ToString) -> Self {
        Self::Malformed {
            file: on_one_line(file.into()),
            problem: on_one_line(problem.to_string()),
        }
    }

    /// Tells whether all that is wrong is that too few of those sign whose word counts today: they may sign it anew.
    pub(super) fn is_lack_of_signatures(&self) -> bool {
        matches!(
            self,
            Self::Revoked { .. } | Self::Threshold { .. } | Self::Unsigned { .. } | Self::WrongKey { .. }
        )
    }

    /// Tells whether the file that signed metadata name is gone, or is another: whoever signs it cannot say again what it said.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Digest { .. } | Self::Malformed { .. } | Self::Missing { .. } | Self::Version { .. }
        )
    }

    /// Tells whether what was found was judged, and refused: not where it was missing, or could not be found out.
    pub fn is_verdict(&self) -> bool {
        !matches!(self, Self::Missing { .. } | Self::Pin { .. } | Self::Source(_))
    }

    /// Tells whether it is known that nothing trusted stands there: it was refused, or is gone.
    pub(super) fn is_settled(&self) -> bool {
        self.is_verdict() || self.is_damage()
    }

    /// Tells whether a publication that came in while the files were read would look the same: one file is of the old state, another
    /// of the new one.
    pub(super) fn may_be_between_states(&self) -> bool {
        matches!(
            self,
            Self::Digest { .. }
                | Self::Revoked { .. }
                | Self::Threshold { .. }
                | Self::Unsigned { .. }
                | Self::Version { .. }
                | Self::WrongKey { .. }
        )
    }

    /// Says what this means for `subject`: a collection, an image, a disk.
    ///
    /// A missing or unreadable file is [`Failure::Unavailable`], a bad pin [`Failure::Malformed`]; the rest are refusals.
    pub fn about(self, subject: &str) -> Failure {
        let (code, expected, found, advice) = match &self {
            Self::Source(failure) => return failure.clone(),
            Self::Missing { .. } => {
                let problem = format!("{self}; fetch or publish the collection again");
                return Failure::unavailable(subject, problem);
            }
            Self::Pin { .. } => {
                let problem = format!("{self}; pin the root.json that the collection's owner gave you");
                return Failure::malformed(subject, problem);
            }
            Self::Absent { target } => (
                Code::Unsigned,
                format!("a signed target `{target}`"),
                "the collection does not name it".to_owned(),
                "sign it with `imgkit trust sign`, or use a name that is signed",
            ),
            Self::Certificate { expected, .. } => (
                Code::WrongKey,
                expected.clone(),
                self.to_string(),
                "check the collection's name; a root for another collection cannot stand for it",
            ),
            Self::CertificateDates { .. } => (
                Code::Expired,
                "a certificate that is good at the time of judgement".to_owned(),
                self.to_string(),
                "have the collection's owner rotate its root key, or import the collection with `imgkit trust import notary`",
            ),
            Self::Digest { expected, found, .. } => (
                Code::DigestMismatch,
                expected.clone(),
                format!("{found} ({self})"),
                "fetch it again; if it stays so, somebody changed it",
            ),
            Self::Expired { .. } => (
                Code::Expired,
                "metadata that are not past their time".to_owned(),
                self.to_string(),
                "have the collection's owner run `imgkit trust renew`, and fetch it again",
            ),
            Self::Malformed { .. } => (
                Code::Malformed,
                "metadata as the TUF specification has them".to_owned(),
                self.to_string(),
                "fetch the collection again; if it stays so, its publisher's tool or somebody on the way broke it",
            ),
            Self::NoCollection { gun } => (
                Code::Unsigned,
                format!("a signed collection {gun}"),
                "the server says that it has none".to_owned(),
                "check the collection's name and the server; it has to be published there first",
            ),
            Self::NoRole { role } => (
                Code::WrongKey,
                format!("a role `{role}` in the collection"),
                "none".to_owned(),
                "name a role that the collection delegates to, or delegate to it",
            ),
            Self::TooMany { most, .. } => (
                Code::Malformed,
                format!("a role that lists {most} roles at most"),
                self.to_string(),
                "have its signer trust fewer, or bins (TAP 15)",
            ),
            Self::OtherRole { expected, .. } => (
                Code::DigestMismatch,
                format!("metadata of the role `{expected}`"),
                self.to_string(),
                "do not use it: who publishes the collection put one role's metadata in another's place; tell its owner",
            ),
            Self::Revoked { .. } => (
                Code::Revoked,
                "a signature by a key that still counts".to_owned(),
                self.to_string(),
                "have it signed again with the role's present key",
            ),
            Self::Rollback { expected, found, .. } => (
                Code::Rollback,
                format!("version {expected} or later"),
                format!("version {found} ({self})"),
                "fetch the newest metadata; somebody offers old ones",
            ),
            Self::Version { expected, found, .. } => (
                Code::DigestMismatch,
                format!("version {expected}"),
                format!("version {found} ({self})"),
                "fetch the collection again; its files do not belong together",
            ),
            Self::Threshold { needed, valid, .. } => (
                Code::Threshold,
                format!("{needed} distinct keys"),
                format!("{valid} ({self})"),
                "have more of the role's keys sign it",
            ),
            Self::Tree { expected, found, .. } => (
                Code::TreeMismatch,
                format!("tree {expected}"),
                format!("tree {found}"),
                "do not use the image: its files are not those that were signed",
            ),
            Self::Unsigned { needed, .. } => (
                Code::Unsigned,
                format!("{needed} signatures"),
                "none".to_owned(),
                "have it signed by the role's keys",
            ),
            Self::Unlisted { role } => (
                Code::Unsigned,
                format!("metadata of {role}, which is trusted with the name"),
                self.to_string(),
                "have the role's keys sign it, or the collection's owner remove the delegation",
            ),
            Self::WrongKey { expected, .. } => (
                Code::WrongKey,
                format!("a signature by {}", list(expected)),
                self.to_string(),
                "have it signed by the role's keys; if the role's key changed, get the newest metadata",
            ),
        };
        Refusal::new(code, subject, expected, found, advice).into()
    }
}

/// Writes control characters by their numbers.
fn on_one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let written = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(written).collect()
}

/// Names keys for people, a few of them.
fn list(keys: &[KeyId]) -> String {
    const SHOWN: usize = 4;
    let mut names: Vec<_> = keys.iter().take(SHOWN).map(KeyId::short).collect();
    if keys.len() > SHOWN {
        names.push("…");
    }
    match names.is_empty() {
        true => "no key".to_owned(),
        false => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_stays_on_its_line() {
        let error = TrustError::malformed("2.team.json", "`x\n\u{1b}[31mREFUSED\u{9b}` is not a time; “é”");
        assert_eq!(
            error.to_string(),
            r"2.team.json: `x\n\u{1b}[31mREFUSED\u{9b}` is not a time; “é”"
        );
    }
}
