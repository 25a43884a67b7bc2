//! Who can be asked to sign: roles of collections, keys, identities.

use std::fmt;

use crate::sigstore::certificate;

/// Who has to sign.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signer {
    /// A role of a collection: its word binds names to digests, and expires.
    Role(Signers),
    /// A key or an identity, by sigstore's forms: its word is about digests alone, and never expires.
    Sigstore(SigstoreSigner),
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => role.fmt(f),
            Self::Sigstore(by) => by.fmt(f),
        }
    }
}

/// Who has to sign, and how many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signers {
    /// The policy's name of the trust root.
    pub root: String,
    /// The targets role: `targets`, or one that it delegates to.
    pub role: String,
    /// How many distinct keys of the role; at least 1, and never fewer than the metadata demand.
    pub threshold: u32,
}

impl fmt::Display for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of the keys of {}'s role `{}`",
            self.threshold, self.root, self.role
        )
    }
}

/// One who signs by sigstore's forms. Files are named relative to the policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SigstoreSigner {
    /// An identity that an issuer vouches for.
    Identity {
        /// The identity and its issuer.
        signer: Box<certificate::Signer>,
        /// The file of the authorities and logs that count; the public instance's where there is none.
        trusted_root: Option<String>,
    },
    /// The public key in a file.
    Key(String),
}

impl fmt::Display for SigstoreSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(file) => write!(f, "the key {file}"),
            Self::Identity {
                signer,
                trusted_root: None,
            } => signer.fmt(f),
            Self::Identity {
                signer,
                trusted_root: Some(file),
            } => write!(f, "{signer}, by {file}"),
        }
    }
}
