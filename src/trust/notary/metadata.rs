//! The four kinds of metadata as Notary writes them (docs/notary.md, "What is spoken").
//!
//! Members that imgkit does not know are kept, so that a document that is read, edited and written again loses nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::file::FileMeta;
use super::key::{Keys, NotaryKey};
use crate::json;
use crate::json::JsonError;
use crate::json::Plain;
use crate::key::KeyId;
use crate::limit;
use crate::time::Time;
use crate::trust::RoleKeys;
use crate::trust::Table;
use crate::trust::TrustError;
use crate::trust::document::{Content, Head, headed};
pub use crate::trust::metadata::Role;
use crate::trust::metadata::role_problem;
use crate::trust::names;

/// The signed part of one kind of Notary's metadata.
pub trait Body: Content<Header = Header, Key = NotaryKey> {}

impl<T: Content<Header = Header, Key = NotaryKey>> Body for T {}

/// What all kinds have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The kind: `Root`, `Targets`, `Snapshot`, `Timestamp`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// From when on the document no longer counts; fractions of a second are cut off.
    pub expires: Time,
    /// Counts up with every change, from 1.
    pub version: u64,
}

impl Header {
    fn new<T: Body>(expires: Time) -> Self {
        Self {
            kind: T::TYPE.to_owned(),
            expires,
            version: 1,
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
}

/// Root metadata: the keys of the top-level roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// What all kinds have.
    #[serde(flatten)]
    pub header: Header,
    /// Always false, though the server serves files by their hashes.
    #[serde(default)]
    pub consistent_snapshot: bool,
    /// Key objects by id; those of earlier roots stay.
    pub keys: Keys,
    /// The top-level roles: `root`, `targets`, `snapshot`, `timestamp`.
    pub roles: BTreeMap<String, Role>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Root {
    /// Returns the keys of a top-level role.
    pub fn role_keys(&self, role: &str) -> RoleKeys<NotaryKey> {
        let (keyids, threshold) = match self.roles.get(role) {
            Some(role) => (role.keyids.as_slice(), role.threshold),
            // No number of signatures is enough for a role that the root does not have.
            None => (&[] as &[KeyId], u32::MAX),
        };
        RoleKeys::of(role, keyids, threshold, |id| self.keys.get(id).cloned())
    }

    /// Makes version 1, without keys and roles.
    pub fn new(expires: Time) -> Self {
        Self {
            header: Header::new::<Self>(expires),
            consistent_snapshot: false,
            keys: Keys::default(),
            roles: BTreeMap::new(),
            extra: Map::new(),
        }
    }
}

impl Content for Root {
    const TYPE: &'static str = "Root";
    headed!(Header, NotaryKey);

    fn problem(&self) -> Option<String> {
        let mut missing = names::TOP_LEVEL.into_iter();
        if let Some(name) = missing.find(|name| !self.roles.contains_key(*name)) {
            return Some(format!(
                "the role `{name}` is missing; a root has root, targets, snapshot, timestamp"
            ));
        }
        let mut roles = self.roles.iter();
        roles.find_map(|(name, role)| role_problem(name, &role.keyids, role.threshold))
    }
}

/// Snapshot metadata: length and hashes of root and all targets metadata, by role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What all kinds have.
    #[serde(flatten)]
    pub header: Header,
    /// Files by role, `root` and `targets` among them.
    pub meta: BTreeMap<String, FileMeta>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Snapshot {
    /// Makes version 1.
    pub fn new(expires: Time, meta: BTreeMap<String, FileMeta>) -> Self {
        Self {
            header: Header::new::<Self>(expires),
            meta,
            extra: Map::new(),
        }
    }
}

impl Content for Snapshot {
    const TYPE: &'static str = "Snapshot";
    headed!(Header, NotaryKey);

    fn problem(&self) -> Option<String> {
        let mut missing = ["root", "targets"].into_iter();
        let missing = missing.find(|name| !self.meta.contains_key(*name));
        let missing = missing.map(|name| format!("it does not name {name}"));
        missing.or_else(|| meta_problem(&self.meta))
    }
}

/// Timestamp metadata: length and hashes of the present snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// What all kinds have.
    #[serde(flatten)]
    pub header: Header,
    /// `snapshot` alone.
    pub meta: BTreeMap<String, FileMeta>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Timestamp {
    /// Makes version 1, for a snapshot.
    pub fn new(expires: Time, snapshot: FileMeta) -> Self {
        Self {
            header: Header::new::<Self>(expires),
            meta: BTreeMap::from([("snapshot".to_owned(), snapshot)]),
            extra: Map::new(),
        }
    }

    /// Returns what it says of the snapshot.
    pub fn snapshot(&self) -> Option<&FileMeta> {
        self.meta.get("snapshot")
    }
}

impl Content for Timestamp {
    const TYPE: &'static str = "Timestamp";
    headed!(Header, NotaryKey);

    fn problem(&self) -> Option<String> {
        match (self.snapshot(), self.meta.len()) {
            (Some(_), 1) => meta_problem(&self.meta),
            _ => Some("it does not name snapshot alone".to_owned()),
        }
    }
}

/// Targets metadata, of the top-level role or of a delegated one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// What all kinds have.
    #[serde(flatten)]
    pub header: Header,
    /// Whom the role trusts with names.
    #[serde(default)]
    pub delegations: Delegations,
    /// What the role signs, by name.
    #[serde(deserialize_with = "null_is_empty")]
    pub targets: Table<FileMeta>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Targets {
    /// Makes version 1, empty.
    pub fn new(expires: Time) -> Self {
        Self {
            header: Header::new::<Self>(expires),
            delegations: Delegations::default(),
            targets: Table::default(),
            extra: Map::new(),
        }
    }

    /// Refuses delegations of `role` to what is not directly below it: nobody else's names are the role's to give.
    ///
    /// # Errors
    /// [`TrustError::Malformed`].
    pub(super) fn check_children(&self, role: &str) -> Result<(), TrustError> {
        let mut delegated = self.delegations.roles.iter();
        match delegated.find(|delegated| !is_child(role, &delegated.name)) {
            Some(stray) => {
                let problem = format!("it delegates to `{}`, which is not directly below it", stray.name);
                Err(TrustError::malformed(role, problem))
            }
            None => Ok(()),
        }
    }
}

impl Content for Targets {
    const TYPE: &'static str = "Targets";
    headed!(Header, NotaryKey);

    fn problem(&self) -> Option<String> {
        // A name that could lead elsewhere spoils the document: whoever signed it cannot be trusted with the others.
        let mut bad = self.targets.keys().filter_map(|name| check_name(name).err());
        if let Some(problem) = bad.next() {
            return Some(problem.to_string());
        }
        if self.delegations.roles.len() > limit::DELEGATED_ROLES {
            return Some(format!("it delegates to more than {} roles", limit::DELEGATED_ROLES));
        }
        let mut names = BTreeSet::new();
        self.delegations.roles.iter().find_map(|role| {
            let problem = role.problem();
            problem.or_else(|| (!names.insert(&role.name)).then(|| format!("it delegates to `{}` twice", role.name)))
        })
    }

    fn read(file: &Bytes, plain: &mut Plain<'_>) -> Option<Self> {
        let start = plain.at();
        let mut found = None;
        plain.members(|plain, name| {
            let from = plain.at();
            if name != "targets" {
                return plain.value().map(drop);
            }
            let table = match plain.null() {
                Some(()) => Table::default(),
                None => Table::read(file, plain)?,
            };
            found = Some((table, from..plain.at()));
            Some(())
        })?;
        let (table, cut) = found?;
        let rest = [
            plain.between(start..cut.start)?,
            "{}",
            plain.between(cut.end..plain.at())?,
        ]
        .concat();
        let read: Self = serde_json::from_str(&rest).ok()?;
        Some(Self { targets: table, ..read })
    }

    fn canonical(&self) -> Result<Vec<u8>, JsonError> {
        let rest = Self {
            targets: Table::default(),
            ..self.clone()
        };
        let rest = serde_json::to_value(rest).map_err(|error| JsonError::Shape(error.to_string()))?;
        let mut table = Vec::new();
        self.targets.write_canonical(&mut table)?;
        json::canonical_with(rest.as_object().unwrap_or(&Map::new()), "targets", &table)
    }
}

/// Whom a role trusts with names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegations {
    /// Key objects by id.
    #[serde(deserialize_with = "null_is_empty")]
    pub keys: Keys,
    /// The roles, in the order in which they are asked.
    #[serde(deserialize_with = "null_is_empty")]
    pub roles: Vec<DelegatedRole>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Delegations {
    /// Returns the role of a name, if it is delegated to.
    pub fn role(&self, name: &str) -> Option<&DelegatedRole> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// Returns the keys of one of the roles.
    pub fn role_keys(&self, role: &DelegatedRole) -> RoleKeys<NotaryKey> {
        RoleKeys::of(&role.name, &role.keyids, role.threshold, |id| {
            self.keys.get(id).cloned()
        })
    }
}

/// One role that another trusts with names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedRole {
    /// Its name: its delegator's, `/`, and a word.
    pub name: String,
    /// Its keys, each once.
    pub keyids: Vec<KeyId>,
    /// How many distinct ones must sign, from 1.
    pub threshold: u32,
    /// Beginnings of the names it is trusted with; the empty one is all names, none at all is no name.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub paths: Vec<String>,
    /// Members that imgkit does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl DelegatedRole {
    /// Tells whether the role is trusted with a name by the one that delegates to it.
    pub fn covers(&self, name: &str) -> bool {
        self.paths.iter().any(|path| name.starts_with(path.as_str()))
    }

    fn problem(&self) -> Option<String> {
        if !is_delegated_role(&self.name) {
            let name = self.name.escape_debug();
            return Some(format!("`{name}` cannot be a delegated role's name"));
        }
        role_problem(&self.name, &self.keyids, self.threshold)
    }
}

/// Reads a list or map; Go writes an empty one as `null` where nothing was ever put into it.
fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Refuses a target's name that could mean another place or hide something when it is shown or written.
///
/// Backslashes are legal, as the real client publishes them; but no part between slashes of either kind is `..`.
///
/// # Errors
/// [`TrustError::Malformed`].
pub fn check_name(name: &str) -> Result<(), TrustError> {
    let leads_up = || name.split(['/', '\\']).any(|part| part == "..");
    match name.contains('\\') {
        false => names::check_target_name(name),
        true if leads_up() => names::check_target_name(".."),
        true => names::check_target_name(&name.replace('\\', "_")),
    }
    .map_err(|error| match error {
        TrustError::Malformed { problem, .. } => {
            let shown: String = name.chars().take(80).collect();
            TrustError::malformed(format!("the target `{}`", shown.escape_debug()), problem)
        }
        other => other,
    })
}

/// Tells whether a text can name a delegated role: `targets/` and words of `a-z`, `0-9`, `-`, `_` between slashes.
pub fn is_delegated_role(name: &str) -> bool {
    let is_word = |word: &str| {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        !word.is_empty() && word.bytes().all(good)
    };
    let rest = name.strip_prefix("targets/");
    name.len() <= limit::NOTARY_ROLE_BYTES && rest.is_some_and(|rest| rest.split('/').all(is_word))
}

/// Tells whether a role's name stands directly below another's.
pub(super) fn is_child(above: &str, role: &str) -> bool {
    role.rsplit_once('/').is_some_and(|(parent, _)| parent == above)
}

fn meta_problem(meta: &BTreeMap<String, FileMeta>) -> Option<String> {
    let wrong = meta.iter().find(|(_, file)| file.hashes.sha256().is_none());
    wrong.map(|(name, _)| format!("it has no sha256 hash of {name}"))
}
