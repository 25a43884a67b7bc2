//! The four kinds of TUF metadata as they are written (specification, sections 4.3 to 4.6).
//!
//! Members that imgkit does not know are kept, so that a document that is read, edited and written again loses nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub use super::delegation::{DelegatedRole, Delegation, Delegations, SuccinctRoles};
use super::document::{Content, Head, headed};
use super::hashes::Hashes;
use super::{TrustError, names};
use crate::key::{KeyId, TufKey};
use crate::limit;
use crate::time::Time;

/// The TUF version that imgkit writes.
pub const SPEC_VERSION: &str = "1.0.31";

/// The member of a snapshot in which imgkit writes when it was signed; clients do not look at it.
pub const SIGNED_AT: &str = "x-imgkit-signed";

/// The member of targets metadata in which imgkit writes which role they are for.
pub const ROLE: &str = "x-imgkit-role";

/// The signed part of one kind of TUF's metadata; its `_type` is also the name of its top-level role.
pub trait Body: Content<Header = Header, Key = TufKey> {}

impl<T: Content<Header = Header, Key = TufKey>> Body for T {}

/// What all kinds have (section 4.3, "the common members").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The kind: `root`, `targets`, `snapshot`, `timestamp`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// The version of the specification.
    pub spec_version: String,
    /// Counts up with every change, from 1.
    pub version: u64,
    /// From when on the document no longer counts.
    #[serde(deserialize_with = "utc_seconds")]
    pub expires: Time,
}

impl Header {
    /// Makes the header of version 1 of a kind.
    pub fn new(kind: &str, expires: Time) -> Self {
        Self {
            kind: kind.to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version: 1,
            expires,
        }
    }
}

impl Head for Header {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> Time {
        self.expires
    }

    fn problem(&self) -> Option<String> {
        let found = self.spec_version.escape_debug();
        (!self.spec_version.starts_with("1.")).then(|| format!("its spec_version is `{found}`, expected 1.x"))
    }
}

/// Which keys a role has and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// The role's keys, each once.
    pub keyids: Vec<KeyId>,
    /// How many distinct ones must sign, from 1.
    pub threshold: u32,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Role {
    /// Makes a role with these keys.
    pub fn of(keyids: impl IntoIterator<Item = KeyId>, threshold: u32) -> Self {
        Self {
            keyids: keyids.into_iter().collect(),
            threshold,
            extra: Map::new(),
        }
    }

    pub(super) fn problem(&self, name: &str) -> Option<String> {
        role_problem(name, &self.keyids, self.threshold)
    }
}

/// Root metadata: the keys of the top-level roles (section 4.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// What all kinds have.
    #[serde(flatten)]
    pub header: Header,
    /// Whether file names carry versions.
    #[serde(default)]
    pub consistent_snapshot: bool,
    /// Key objects by id.
    pub keys: BTreeMap<KeyId, Value>,
    /// The top-level roles: `root`, `timestamp`, `snapshot`, `targets`.
    pub roles: BTreeMap<String, Role>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Content for Root {
    const TYPE: &'static str = "root";
    headed!(Header, TufKey);

    fn problem(&self) -> Option<String> {
        let missing = names::TOP_LEVEL
            .into_iter()
            .find(|name| !self.roles.contains_key(*name));
        if let Some(name) = missing {
            return Some(format!(
                "the role `{name}` is missing; a root has root, timestamp, snapshot, targets"
            ));
        }
        self.roles.iter().find_map(|(name, role)| role.problem(name))
    }
}

/// A metadata file as another file names it (section 4.4, `METAPATH`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaFile {
    /// Its version.
    pub version: u64,
    /// Its length in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub length: Option<u64>,
    /// Its digests.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hashes: Option<Hashes>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl MetaFile {
    /// Describes a file by version, length and SHA-256.
    pub fn describe(version: u64, bytes: &[u8]) -> Self {
        Self {
            version,
            length: Some(bytes.len() as u64),
            hashes: Some(Hashes::sha256(bytes)),
            extra: Map::new(),
        }
    }
}

/// Snapshot metadata: the versions of all targets metadata (section 4.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What all kinds have.
    #[serde(flatten)]
    pub header: Header,
    /// Files by `ROLE.json`.
    pub meta: BTreeMap<String, MetaFile>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Content for Snapshot {
    const TYPE: &'static str = "snapshot";
    headed!(Header, TufKey);

    fn problem(&self) -> Option<String> {
        match self.meta.contains_key("targets.json") {
            false => Some("it does not name targets.json".to_owned()),
            true => meta_problem(&self.meta),
        }
    }
}

/// Timestamp metadata: the version of the snapshot (section 4.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// What all kinds have.
    #[serde(flatten)]
    pub header: Header,
    /// `snapshot.json` alone.
    pub meta: BTreeMap<String, MetaFile>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Timestamp {
    /// Returns what it says of the snapshot.
    pub fn snapshot(&self) -> Option<&MetaFile> {
        self.meta.get("snapshot.json")
    }
}

impl Content for Timestamp {
    const TYPE: &'static str = "timestamp";
    headed!(Header, TufKey);

    fn problem(&self) -> Option<String> {
        match (self.snapshot(), self.meta.len()) {
            (Some(_), 1) => meta_problem(&self.meta),
            _ => Some("it does not name snapshot.json alone".to_owned()),
        }
    }
}

/// Targets metadata, of the top-level role or of a delegated one (section 4.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// What all kinds have.
    #[serde(flatten)]
    pub header: Header,
    /// What the role signs, by name.
    pub targets: BTreeMap<String, TargetFile>,
    /// Whom the role trusts with names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delegations: Option<Delegations>,
    /// Keys that this role took from the roles it delegates to; they only say why something is refused.
    #[serde(rename = "x-imgkit-revoked", skip_serializing_if = "Vec::is_empty", default)]
    pub revoked: Vec<Revoked>,
    /// The role that they are for: `_type` says `targets` for every one, and one key may have several roles. Only imgkit writes it.
    #[serde(
        rename = "x-imgkit-role",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_text",
        default
    )]
    pub role: Option<String>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Targets {
    /// Returns the delegations that cover `target`, in the order in which they are asked.
    pub fn covering<'a>(&'a self, target: &'a str) -> impl Iterator<Item = Delegation<'a>> {
        self.delegations
            .iter()
            .flat_map(|delegations| delegations.covering(target))
    }

    /// Returns the delegation to the role `name`, a listed one or a bin.
    pub fn delegation<'a>(&'a self, name: &'a str) -> Option<Delegation<'a>> {
        self.delegations.as_ref()?.find(name)
    }

    /// Refuses metadata that say that they are for another role than the one for which `file` holds them.
    ///
    /// Those that say nothing are another tool's, or an older imgkit's, and are taken.
    pub(super) fn check_role(&self, file: &str, role: &str) -> Result<(), TrustError> {
        match self.role.as_deref().filter(|found| *found != role) {
            None => Ok(()),
            Some(found) => Err(TrustError::OtherRole {
                file: file.to_owned(),
                expected: role.to_owned(),
                found: found.to_owned(),
            }),
        }
    }
}

impl Content for Targets {
    const TYPE: &'static str = "targets";
    headed!(Header, TufKey);

    fn problem(&self) -> Option<String> {
        self.delegations.as_ref().and_then(Delegations::problem)
    }
}

/// A target as a role describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFile {
    /// Its length in bytes.
    pub length: u64,
    /// Its digests.
    pub hashes: Hashes,
    /// What the signer says of it beyond that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub custom: Option<Value>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl TargetFile {
    /// Tells whether another role's description is of the same content, whatever it says of it besides.
    pub fn names_the_same_as(&self, other: &Self) -> bool {
        self.length == other.length && self.hashes == other.hashes
    }
}

/// A key that was taken from a delegated role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The role that it was taken from.
    pub role: String,
    /// Its id.
    pub keyid: KeyId,
    /// The key object.
    pub key: Value,
    /// When it was taken.
    pub since: Time,
}

pub(super) fn role_problem(name: &str, keyids: &[KeyId], threshold: u32) -> Option<String> {
    if threshold == 0 {
        return Some(format!("the role `{name}` has threshold 0, expected at least 1"));
    }
    let distinct: BTreeSet<_> = keyids.iter().collect();
    (distinct.len() != keyids.len()).then(|| format!("the role `{name}` names a key twice"))
}

fn meta_problem(meta: &BTreeMap<String, MetaFile>) -> Option<String> {
    let wrong = meta
        .iter()
        .find(|(_, file)| !(1..=limit::METADATA_VERSION).contains(&file.version));
    wrong.map(|(name, file)| format!("it names version {} of {name}", file.version))
}

/// A member that is text where it is there: `null` is none, and would read as if nothing were said.
fn some_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// Section 4.2: a time is written `YYYY-MM-DDTHH:MM:SSZ`, and in no other way.
fn utc_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time: Time = text.parse().map_err(D::Error::custom)?;
    match time.to_string() == text {
        true => Ok(time),
        false => Err(D::Error::custom(format!(
            "`{text}` is not a time as YYYY-MM-DDTHH:MM:SSZ"
        ))),
    }
}
