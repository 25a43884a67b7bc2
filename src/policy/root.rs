//! Trust roots: the pinned root.json of a collection.

use std::fmt;

/// A trust root that a policy pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The pinned root.json, relative to the policy file.
    pub file: String,
    /// The GUN of a Notary collection: the full name of the one repository whose tags it signs. `None` for a TUF collection,
    /// which signs images of whatever repository by their full names.
    pub gun: Option<String>,
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.gun {
            None => f.write_str(&self.file),
            Some(gun) => write!(f, "{} of the Notary collection {gun}", self.file),
        }
    }
}
