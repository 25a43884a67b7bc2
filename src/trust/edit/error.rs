//! Why a collection cannot be changed or signed.

use crate::failure::Failure;
use crate::key::{KeyError, KeyId};
use crate::time::Time;
use crate::trust::TrustError;

/// Why a collection cannot be changed or signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A document of a draft would count for longer than its role's metadata may.
    #[error(
        "the draft's `{role}` expires {found}; expected {latest} at the latest: who made it had another clock, or wants it to \
         count for ever; stage the change again"
    )]
    Expiry {
        /// The role.
        role: String,
        /// When it would expire.
        found: Time,
        /// The latest expiry that is taken.
        latest: Time,
    },
    /// A document of a draft no longer counts.
    #[error(
        "the draft's `{role}` expired at {found}, and it is {now}: it was made too long ago, and whoever reads the collection would \
         refuse it; make the change again, in a new file"
    )]
    Expired {
        /// The role.
        role: String,
        /// When it expired.
        found: Time,
        /// When it was to be signed or published.
        now: Time,
    },
    /// A key of a draft under an id that is not its own: who compares ids would be shown another key's.
    #[error(
        "the draft gives `{role}` the id {found} for a key whose id is {expected}: it was changed after it was made; do not sign it, \
         and have it made anew"
    )]
    ForeignId {
        /// The document's role.
        role: String,
        /// The id in the draft.
        found: KeyId,
        /// The SHA-256 of the key object's canonical form.
        expected: KeyId,
    },
    /// A document of a draft is not what it has to be.
    #[error("{0}; get the draft again from who made it, or have the change staged again")]
    Draft(TrustError),
    /// A number of bins that imgkit does not make.
    #[error(
        "2 to the power of {bits} bins were asked for; expected a power from 1 to {}",
        crate::limit::BIN_BITS
    )]
    BinCount {
        /// The power of two.
        bits: u32,
    },
    /// A role that delegates to bins delegates to nobody else.
    #[error(
        "the role `{role}` cannot be added: the collection's names are in bins, and a role delegates to bins or to roles"
    )]
    Bins {
        /// The role that was to be added.
        role: String,
    },
    /// What a role says was to be dropped, and it is trusted.
    #[error(
        "what the role `{role}` says is trusted, and is not dropped: renew it without --anew or --lost, or take its names out with `imgkit trust unsign`"
    )]
    Counts {
        /// The role.
        role: String,
    },
    /// A role exists already.
    #[error("the role `{role}` exists already")]
    Exists {
        /// The role.
        role: String,
    },
    /// Too few of a role's private keys are at hand.
    #[error(
        "signing as `{role}` needs {needed} of the keys {}; {have} at hand",
        .keys.iter().map(KeyId::short).collect::<Vec<_>>().join(", ")
    )]
    Keys {
        /// The role.
        role: String,
        /// How many keys must sign.
        needed: u32,
        /// How many of them are at hand.
        have: usize,
        /// The role's keys.
        keys: Vec<KeyId>,
    },
    /// There is no such role, or it signs no targets.
    #[error("the collection has no targets role `{role}`; name one that `imgkit trust inspect` lists")]
    NoRole {
        /// The role.
        role: String,
    },
    /// The role does not name the target.
    #[error("the role `{role}` does not sign `{target}`")]
    NoTarget {
        /// The role.
        role: String,
        /// The target.
        target: String,
    },
    /// The role is not trusted with the name.
    #[error(
        "the role `{}`, or one above it, is not trusted with the name `{}`; its names are {}",
        .role.escape_debug(), .target.escape_debug(), .patterns.escape_debug()
    )]
    NotCovered {
        /// The role.
        role: String,
        /// The target.
        target: String,
        /// The role's patterns.
        patterns: String,
    },
    /// A role that holds the names of the one that trusts it does not go alone.
    #[error(
        "`{role}` holds names of `{by}`, with the same keys, and does not go alone; take names out with `imgkit trust unsign`"
    )]
    Part {
        /// The role.
        role: String,
        /// Whose names it holds.
        by: String,
    },
    /// A key that was taken from a role cannot come back.
    #[error("the key {key} was revoked for the role `{role}`; use a new one")]
    Revoked {
        /// The role.
        role: String,
        /// The key.
        key: KeyId,
    },
    /// Another role that is asked first names the target.
    #[error(
        "the role `{}` signs `{target}` already and is asked before `{role}`; remove it there first", .by.escape_debug()
    )]
    Shadowed {
        /// The role that should sign.
        role: String,
        /// The role that is asked first.
        by: String,
        /// The target.
        target: String,
    },
    /// A key could not be used.
    #[error("the key {} could not sign: {error}", .key.short())]
    Signer {
        /// The key.
        key: KeyId,
        /// Why.
        error: KeyError,
    },
    /// Somebody published since a draft was made.
    #[error(
        "the draft holds version {found} of `{role}`, and version {published} is published: somebody published since it was \
         made; stage the change again, in a new file"
    )]
    Stale {
        /// The role.
        role: String,
        /// The published version.
        published: u64,
        /// The draft's version.
        found: u64,
    },
    /// What a role says is no longer what it said when it was shown.
    #[error("what `{role}` says was changed after it was shown; nothing was signed: look at it again")]
    Moved {
        /// The role.
        role: String,
    },
    /// A threshold that cannot be met.
    #[error(
        "the role `{role}` would need {threshold} signatures and has {keys} distinct keys; expected 1 to {keys}: give it more keys, or \
         say with --threshold how many must sign"
    )]
    Threshold {
        /// The role.
        role: String,
        /// The threshold.
        threshold: u32,
        /// How many distinct keys it has.
        keys: u32,
    },
    /// A pattern that matches no name.
    #[error("an empty pattern matches no name; expected one such as `registry.example/team/*`")]
    Pattern,
    /// A role that nobody delegates.
    #[error("`{role}` is no delegated role; its own keys sign it again with `imgkit trust renew {role}`")]
    TopLevel {
        /// The role.
        role: String,
    },
    /// A key that a role would have twice.
    #[error("the role `{role}` is given a key that it has already; name each key once")]
    Twice {
        /// The role.
        role: String,
    },
    /// The collection, or what came of the change, cannot be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What is published for a role does not count for one who trusts it, and signing it would make it count.
    #[error(
        "what is published for the role `{role}` was not signed by the keys to which `{by}` trusts it: somebody else put it there, and \
         nothing was signed; look at it, and sign it if it is right, with `imgkit trust witness ROLE`"
    )]
    Doubtful {
        /// The role.
        role: String,
        /// Who trusts it.
        by: String,
    },
    /// A change that would make a role count no more.
    #[error(
        "nothing that `{role}` says would be trusted any more: `{by}` trusts it otherwise, and its metadata are not signed so; have enough \
         of its keys sign it in the same change; where it should go all the same, `imgkit trust publish FILE --untrusted ROLE` publishes \
         it, and `imgkit trust revoke` takes a key away"
    )]
    Untrusted {
        /// The role.
        role: String,
        /// Who trusts it.
        by: String,
    },
    /// What is published for a role cannot be trusted, and something was to be signed in its place.
    #[error(
        "what is published for the role `{role}` cannot be trusted, and would be lost if anything were signed in its place; look at \
         it, and sign it again with `imgkit trust notary witness`, the roles above it first"
    )]
    Unvouched {
        /// The role.
        role: String,
    },
}

impl EditError {
    /// Says that what is malformed is a draft's, which nobody published.
    pub(super) fn in_draft(self) -> Self {
        match self {
            Self::Trust(error @ (TrustError::Malformed { .. } | TrustError::OtherRole { .. })) => Self::Draft(error),
            other => other,
        }
    }

    /// Says what this means for `subject`, the collection.
    pub fn about(self, subject: &str) -> Failure {
        match self {
            Self::Trust(error) => error.about(subject),
            Self::Signer { .. } | Self::Moved { .. } => Failure::unavailable(subject, self),
            other => Failure::malformed(subject, other),
        }
    }
}
