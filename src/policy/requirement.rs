//! What admits a component: requirements, and how they are put together.

use std::fmt;

use super::{Binding, Condition, Signer, SigstoreSigner, Version};
use crate::attest::PredicateType;
use crate::digest::Digest;
use crate::failure::Place;
use crate::time::DAY;

/// One demand, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// What is demanded.
    pub demand: Demand,
    /// Where the policy demands it.
    pub place: Place,
}

/// What a requirement demands of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Each of these must hold.
    AllOf(Vec<Requirement>),
    /// So many of these must hold; signatures count by distinct keys. `anyOf` is one of them.
    AtLeast {
        /// How many: 1 to as many as there are.
        of: usize,
        /// Of which.
        among: Vec<Requirement>,
    },
    /// An attestation of the image is there.
    Attested {
        /// Its predicate type.
        kind: PredicateType,
        /// The policy's name of the signer, where it has one.
        name: Option<String>,
        /// Who has to sign it.
        by: SigstoreSigner,
        /// What it has to say.
        condition: Option<Condition>,
    },
    /// The document that the reference names has one of these digests: the policy's owner vouches for it.
    DigestIn(Vec<Digest>),
    /// At most so many seconds lie between the image's `created` and the evaluation.
    MaxAge(i64),
    /// The image's version is this one or later.
    MinVersion(Version),
    /// Signatures are there.
    Signed {
        /// The policy's name of the signer, where it has one.
        name: Option<String>,
        /// Who has to sign.
        by: Signer,
    },
}

impl Demand {
    /// Tells whether those who satisfy it vouch for the image's tag as well, where it is named by one: a role of a root signs names,
    /// a key or an identity where the policy wants its tag of it.
    pub fn binds_tag(&self) -> bool {
        match self {
            Self::Signed {
                by: Signer::Role(_), ..
            } => true,
            Self::Attested { by, .. }
            | Self::Signed {
                by: Signer::Sigstore(by),
                ..
            } => by.names() == Binding::Tag,
            _ => false,
        }
    }

    /// Tells whether each of the requirements that it is put together from has to hold.
    pub fn needs_all(&self) -> bool {
        match self {
            Self::AllOf(_) => true,
            Self::AtLeast { of, among } => *of == among.len(),
            _ => false,
        }
    }
}

impl Requirement {
    /// Tells whether a version is demanded in it.
    pub fn has_version(&self) -> bool {
        let is_version = |leaf: &&Self| matches!(leaf.demand, Demand::MinVersion(_));
        self.leaves().iter().any(is_version)
    }

    /// Returns the demands of a version beside which nobody has to sign who vouches for tags: they hold by the image's label alone.
    pub fn by_label_alone(&self) -> Vec<&Self> {
        match &self.demand {
            Demand::MinVersion(_) => vec![self],
            Demand::AllOf(parts) | Demand::AtLeast { among: parts, .. } => {
                let binds = |part: &Self| part.leaves().iter().any(|leaf| leaf.demand.binds_tag());
                match self.demand.needs_all() && parts.iter().any(binds) {
                    true => Vec::new(),
                    false => parts.iter().flat_map(Self::by_label_alone).collect(),
                }
            }
            _ => Vec::new(),
        }
    }

    /// Tells whether it can hold only where somebody vouches for the image's bytes: a signer, or the policy's owner with a digest.
    pub fn vouches(&self) -> bool {
        match &self.demand {
            Demand::AllOf(parts) => parts.iter().any(Self::vouches),
            Demand::AtLeast { of, among } => among.iter().filter(|part| !part.vouches()).count() < *of,
            Demand::Attested { .. } | Demand::DigestIn(_) | Demand::Signed { .. } => true,
            Demand::MaxAge(_) | Demand::MinVersion(_) => false,
        }
    }

    /// Returns the requirements that it is put together from, those that are not put together themselves.
    pub fn leaves(&self) -> Vec<&Self> {
        match &self.demand {
            Demand::AllOf(parts) | Demand::AtLeast { among: parts, .. } => {
                parts.iter().flat_map(Self::leaves).collect()
            }
            _ => vec![self],
        }
    }

    /// Returns the signers that it names, in its order.
    pub fn signers(&self) -> Vec<(Option<&str>, Signer)> {
        let leaves = self.leaves().into_iter();
        leaves
            .filter_map(|leaf| match &leaf.demand {
                Demand::Signed { name, by } => Some((name.as_deref(), by.clone())),
                Demand::Attested { name, by, .. } => Some((name.as_deref(), Signer::Sigstore(by.clone()))),
                _ => None,
            })
            .collect()
    }

    /// Tells whether it asks for what only the image itself says.
    pub fn looks_into_image(&self) -> bool {
        let looks = |leaf: &&Self| matches!(leaf.demand, Demand::MaxAge(_) | Demand::MinVersion(_));
        self.leaves().iter().any(looks)
    }

    /// Tells whether something could be proved by it on a finished disk: somebody signs who can sign trees.
    pub fn names_signers(&self) -> bool {
        self.leaves()
            .iter()
            .any(|leaf| matches!(leaf.demand, Demand::Signed { .. }))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |parts: &[Self], between: &str| {
            let parts = parts.iter().map(|part| match part.demand {
                Demand::AllOf(_) | Demand::AtLeast { .. } => format!("({part})"),
                _ => part.to_string(),
            });
            parts.collect::<Vec<_>>().join(between)
        };
        match &self.demand {
            Demand::AllOf(parts) => f.write_str(&list(parts, " and ")),
            Demand::AtLeast { of: 1, among } => f.write_str(&list(among, " or ")),
            Demand::AtLeast { of, among } => write!(f, "at least {of} of: {}", list(among, "; ")),
            Demand::Attested {
                kind,
                name,
                by,
                condition,
            } => {
                write!(f, "attested as {} by ", PredicateType::short(kind.uri()))?;
                match name {
                    Some(name) => write!(f, "`{name}`, {by}")?,
                    None => write!(f, "{by}")?,
                }
                match condition {
                    Some(condition) => write!(f, ", where {condition}"),
                    None => Ok(()),
                }
            }
            Demand::DigestIn(digests) => match digests.as_slice() {
                [digest] => write!(f, "digest {digest}"),
                _ => write!(f, "one of {} listed digests", digests.len()),
            },
            Demand::MaxAge(seconds) => write!(f, "created at most {} ago", age(*seconds)),
            Demand::MinVersion(version) => write!(f, "version {version} or later"),
            Demand::Signed { name: Some(name), by } => write!(f, "signed by `{name}`, {by}"),
            Demand::Signed { name: None, by } => write!(f, "signed by {by}"),
        }
    }
}

/// Writes a number of seconds as the policy would.
pub(super) fn age(seconds: i64) -> String {
    match seconds % DAY {
        0 => format!("{}d", seconds / DAY),
        _ => format!("{}h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Signers;
    use super::*;

    fn of(demand: Demand) -> Requirement {
        let place = Place {
            file: "p.yml".to_owned(),
            line: 1,
            column: 1,
        };
        Requirement { demand, place }
    }

    #[test]
    fn somebody_vouches_only_where_no_way_around_the_signatures_is_left() {
        let signed = || {
            of(Demand::Signed {
                name: None,
                by: Signer::Role(Signers {
                    root: "r".to_owned(),
                    role: "targets".to_owned(),
                    threshold: 1,
                }),
            })
        };
        let young = || of(Demand::MaxAge(DAY));
        let at_least = |of_, among| of(Demand::AtLeast { of: of_, among });
        assert!(of(Demand::AllOf(vec![young(), signed()])).vouches());
        assert!(!at_least(1, vec![young(), signed()]).vouches());
        assert!(at_least(2, vec![young(), signed()]).vouches());
        assert!(!young().vouches());
        assert!(!at_least(1, vec![of(Demand::AllOf(vec![young()])), signed()]).vouches());
    }
}
