//! Who can be asked to sign: roles of collections, keys, identities.

use std::fmt;

use crate::reference::Reference;
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
        /// Which name its statements have to give the image.
        names: Binding,
    },
    /// A public key.
    Key {
        /// Its file.
        file: String,
        /// Which name its signatures have to give the image.
        names: Binding,
    },
}

/// Which name a signature has to give the image, beside its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Binding {
    /// Any, or none.
    Any,
    /// The image's repository, whatever its tag.
    Repository,
    /// The image's repository and tag; the repository of one that is named by a digest alone.
    Tag,
}

impl Binding {
    /// What the policy calls them.
    pub(super) const WORDS: [(&str, Self); 2] = [("repository", Self::Repository), ("tag", Self::Tag)];

    /// Tells whether a signature that gives the image these names counts for the image that is asked for as `reference`.
    pub fn takes(self, names: &[&str], reference: &Reference) -> bool {
        self == Self::Any || names.iter().any(|name| self.takes_name(name, reference))
    }

    fn takes_name(self, name: &str, reference: &Reference) -> bool {
        let same = name
            .parse::<Reference>()
            .is_ok_and(|named| named.repository() == reference.repository());
        same && match reference.tag() {
            // Written out: a name without a tag is not one with `latest`.
            Some(tag) if self == Self::Tag => {
                !name.contains('@') && name.strip_suffix(tag).is_some_and(|rest| rest.ends_with(':'))
            }
            _ => true,
        }
    }

    /// Says which name is wanted of a signature of `reference`.
    pub fn wanted(self, reference: &Reference) -> String {
        match (self, reference.tag()) {
            (Self::Any, _) => "any name".to_owned(),
            (Self::Tag, Some(tag)) => format!("{}:{tag}", reference.repository()),
            (Self::Tag | Self::Repository, _) => reference.repository().to_string(),
        }
    }
}

impl SigstoreSigner {
    /// Returns which name its signatures have to give the image.
    pub fn names(&self) -> Binding {
        match self {
            Self::Identity { names, .. } | Self::Key { names, .. } => *names,
        }
    }
}

impl fmt::Display for SigstoreSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { file, .. } => write!(f, "the key {file}")?,
            Self::Identity {
                signer, trusted_root, ..
            } => {
                signer.fmt(f)?;
                if let Some(file) = trusted_root {
                    write!(f, ", by {file}")?;
                }
            }
        }
        match self.names() {
            Binding::Any => Ok(()),
            Binding::Repository => f.write_str(", which names the repository"),
            Binding::Tag => f.write_str(", which names repository and tag"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_signature_counts_for_the_name_that_it_gives() {
        let takes = |binding: Binding, name: &str, image: &str| binding.takes(&[name], &image.parse().unwrap());
        for (name, repository, tag) in [
            ("r.example:5000/a", true, false),
            ("r.example:5000/a:v1", true, true),
            ("r.example:5000/a:v2", true, false),
            ("r.example:5000/a/v1", false, false),
            ("r.example:5000/b:v1", false, false),
            ("r.example/a:v1", false, false),
            ("no name", false, false),
        ] {
            let image = "r.example:5000/a:v1";
            assert!(takes(Binding::Any, name, image));
            assert_eq!(takes(Binding::Repository, name, image), repository, "{name}");
            assert_eq!(takes(Binding::Tag, name, image), tag, "{name}");
        }
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(takes(Binding::Tag, "r.example/a", &format!("r.example/a@{digest}")));
        assert!(!takes(Binding::Tag, "r.example/a", "r.example/a:latest"));
        // A tag can look like a digest's digits.
        let digits = digest.trim_start_matches("sha256:");
        assert!(takes(
            Binding::Tag,
            &format!("r.example/a:{digits}"),
            &format!("r.example/a:{digits}")
        ));
        assert!(!takes(
            Binding::Tag,
            &format!("r.example/a@{digest}"),
            &format!("r.example/a:{digits}")
        ));
        assert!(!Binding::Repository.takes(&[], &"r.example/a:v1".parse().unwrap()));
        assert!(takes(Binding::Repository, "alpine", "docker.io/library/alpine:3"));
    }
}
