//! What a Notary server checks of an upload, and what it signs for it (reference: notary, `server/handlers/validation.go`).
//!
//! - Nothing is published that does not verify as a whole: root, targets and snapshot, by the keys of the new root.
//! - Nothing that is uploaded has expired. What was published before and is not part of the upload may have, the root among it: who has
//!   the keys of one role alone can renew that one.
//! - A root follows the published one by one version and is signed by the keys of both. Targets and snapshot may skip versions; no
//!   file goes back, leaps so far that few versions are left, or comes twice.
//! - A snapshot names the files that will be there and no others. The server makes it when the upload has none and it holds the
//!   role's key; the timestamp is always its own.
//! - What comes of it clients can read: no file, and no number of roles, is beyond what they take.
//! - What costs much to judge is refused before anything is built or checked of it.
//! - What was published before and is not part of the upload has been judged then: a delegation's old file stays as it is.

mod census;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;

use super::chain::{check_certificates, check_dates};
use super::document::{Draft, Signed, Unverified};
use super::file::FileMeta;
use super::key::NotaryKey;
use super::metadata::{Body, DelegatedRole, Role, Root, Snapshot, Targets, Timestamp, is_child, is_delegated_role};
use crate::key::KeyError;
use crate::key::KeyId;
use crate::limit;
use crate::time::{DAY, Time};
use crate::trust::RoleKeys;
use crate::trust::TrustError;
use census::Census;

/// How long a timestamp that the server makes is good.
pub const TIMESTAMP_LIFETIME: i64 = 14 * DAY;

/// How long a snapshot that the server makes is good.
pub const SNAPSHOT_LIFETIME: i64 = 3 * 365 * DAY;

/// How many roles may lie between a delegated one and targets.
const DEEPEST_ROLE: usize = limit::NOTARY_ROLE_BYTES;

/// Files by role.
pub type Files<'a> = BTreeMap<&'a str, &'a [u8]>;

/// What is published of a collection.
#[derive(Clone, Debug, Default)]
pub struct Published<'a> {
    /// The files of the top level, and those of delegated roles that the snapshot names.
    pub files: Files<'a>,
    /// The last versions of roles that the snapshot no longer names: their files are history, and no later one goes below it.
    pub left_behind: BTreeMap<&'a str, u64>,
}

/// Returns the roles that a published snapshot names; none when it cannot be read.
pub fn listed_roles(snapshot: &[u8]) -> Option<BTreeSet<String>> {
    let snapshot = Unverified::<Snapshot>::parse("snapshot", snapshot, limit::SNAPSHOT_BYTES).ok()?;
    Some(snapshot.unverified_body().meta.keys().cloned().collect())
}

/// Refuses an upload that costs too much to judge; nothing is built of it.
///
/// # Errors
/// [`UploadError::Whole`].
pub fn check_cost(uploaded: &Files<'_>) -> Result<(), UploadError> {
    let mut census = Census::default();
    for (role, bytes) in uploaded {
        census.add(role, bytes)?;
    }
    census.check()
}

/// Why an upload is refused, as the original names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// A part that others need is missing.
    #[error("{problem}")]
    Hierarchy {
        /// The missing role.
        missing: &'static str,
        /// What was expected.
        problem: String,
    },
    /// The root is not good.
    #[error("{0}")]
    Root(String),
    /// The snapshot is not good.
    #[error("{0}")]
    Snapshot(String),
    /// The targets, or a delegation, are not good.
    #[error("{0}")]
    Targets(String),
    /// The upload as a whole is not good.
    #[error("{0}")]
    Whole(String),
    /// The collection would be too large.
    #[error(
        "with this upload the collection would have {found} bytes, expected at most {}; publish fewer or smaller files",
        limit::COLLECTION_BYTES
    )]
    TooLarge {
        /// How many bytes it would have.
        found: usize,
    },
    /// A file's version is not above the published one.
    #[error("a newer version of {role} is published already: {published}; the upload has {uploaded}")]
    Version {
        /// The role.
        role: String,
        /// The version that is published.
        published: u64,
        /// The version that was uploaded.
        uploaded: u64,
    },
}

/// A file that an upload publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its role.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What is to be published once the server has signed its part.
#[derive(Clone, Debug)]
pub struct Plan {
    files: Vec<NewFile>,
    snapshot: SnapshotPart,
    timestamp: Own<Timestamp>,
    held: BTreeSet<KeyId>,
}

#[derive(Clone, Debug)]
enum SnapshotPart {
    /// These bytes, uploaded or published before.
    Given(FileMeta),
    Own(Own<Snapshot>),
}

/// A document that the server makes, and the keys that it signs with.
#[derive(Clone, Debug)]
struct Own<T> {
    body: T,
    keys: Vec<NotaryKey>,
}

impl Plan {
    /// Judges `uploaded` against what is `published` of the collection `gun`; `held` are the keys that the server has.
    ///
    /// # Errors
    /// [`UploadError`].
    pub fn of_upload(
        gun: &str,
        uploaded: &Files<'_>,
        published: &Published<'_>,
        held: &BTreeSet<KeyId>,
        now: Time,
    ) -> Result<Self, UploadError> {
        let upload = Upload {
            gun,
            uploaded,
            published,
            held,
            now,
        };
        upload.plan()
    }

    /// Plans new metadata for those of the server that end too soon: a timestamp before the first of `until`, a snapshot before
    /// the second. `None` when there are none.
    ///
    /// # Errors
    /// [`UploadError`] when what is published is not good, or the server does not have the timestamp's key.
    pub fn of_renewal(
        gun: &str,
        published: &Published<'_>,
        held: &BTreeSet<KeyId>,
        now: Time,
        until: (Time, Time),
    ) -> Result<Option<Self>, UploadError> {
        let upload = Upload {
            gun,
            uploaded: &Files::new(),
            published,
            held,
            now,
        };
        upload.renewal(until)
    }

    /// Returns the keys of the server that the collection's root names.
    pub fn held(&self) -> &BTreeSet<KeyId> {
        &self.held
    }

    /// Signs the server's part and returns everything that is to be published, the timestamp last.
    ///
    /// `sign` gives what [`Draft::sign`] takes.
    ///
    /// # Errors
    /// Those of `sign`, and [`KeyError::Form`] when a document could not be written, which none that was planned is known to give.
    pub fn sign(
        self,
        mut sign: impl FnMut(&NotaryKey, &[u8]) -> Result<Vec<u8>, KeyError>,
    ) -> Result<Vec<NewFile>, KeyError> {
        let mut files = self.files;
        let mut timestamp = self.timestamp;
        let snapshot = match self.snapshot {
            SnapshotPart::Given(meta) => meta,
            SnapshotPart::Own(own) => {
                let file = own.sign("snapshot", &mut sign)?;
                let meta = FileMeta::describe(&file.bytes);
                files.push(file);
                meta
            }
        };
        timestamp.body.meta.insert("snapshot".to_owned(), snapshot);
        files.push(timestamp.sign("timestamp", &mut sign)?);
        Ok(files)
    }
}

impl<T: Body> Own<T> {
    /// Refuses what clients would not read once it is signed.
    fn check(&self, role: &str, most: usize) -> Result<(), UploadError> {
        let draft = Draft::new(self.body.clone()).and_then(|draft| draft.write());
        let unsigned = draft.map_err(|error| UploadError::Whole(format!("the server cannot write {role}: {error}")))?;
        let found = unsigned.len() + self.keys.len() * limit::NOTARY_SIGNATURE_BYTES;
        match found > most {
            true => Err(UploadError::Whole(format!(
                "{role}, which the server makes, would have {found} bytes, expected at most {most}; publish fewer roles and keys"
            ))),
            false => Ok(()),
        }
    }

    fn sign(
        self,
        role: &str,
        sign: &mut impl FnMut(&NotaryKey, &[u8]) -> Result<Vec<u8>, KeyError>,
    ) -> Result<NewFile, KeyError> {
        let bad = |error: TrustError| KeyError::Form {
            expected: "metadata that can be written",
            found: error.to_string(),
        };
        let version = self.body.header().version;
        let mut draft = Draft::new(self.body).map_err(bad)?;
        for key in &self.keys {
            draft.sign(key, |message| sign(key, message))?;
        }
        Ok(NewFile {
            role: role.to_owned(),
            version,
            bytes: draft.write().map_err(bad)?,
        })
    }
}

/// An upload under judgement.
struct Upload<'a> {
    gun: &'a str,
    uploaded: &'a Files<'a>,
    published: &'a Published<'a>,
    held: &'a BTreeSet<KeyId>,
    now: Time,
}

impl Upload<'_> {
    fn plan(&self) -> Result<Plan, UploadError> {
        check_cost(self.uploaded)?;
        let root = self.root()?;
        let mut targets = BTreeMap::new();
        // Shallow roles first: each is judged by what its delegator says after the upload.
        let mut roles: Vec<_> = self.uploaded.keys().copied().filter(|role| is_targets(role)).collect();
        roles.sort_by_key(|role| (role.split('/').count(), *role));
        for role in roles {
            self.load_targets(role, &root, &mut targets)?;
        }
        if !targets.contains_key("targets") {
            // Where only the root changes, its targets must be good by its keys all the same.
            self.load_targets("targets", &root, &mut targets)?;
        }
        let mut files = Vec::new();
        for (role, bytes) in self.uploaded {
            let version = match *role {
                "root" => root.header.version,
                "snapshot" | "timestamp" => continue,
                role => targets.get(role).map_or(0, |body| body.header.version),
            };
            files.push(self.newer_file(role, version, bytes)?);
        }
        let before = self.published.files.values().map(|bytes| bytes.len()).sum();
        let snapshot = match self.uploaded.get("snapshot") {
            Some(bytes) => {
                let snapshot = self.uploaded_snapshot(bytes, &root)?;
                self.reached(&targets, |role| snapshot.meta.contains_key(role))?;
                check_size(before, &snapshot.meta)?;
                files.push(self.newer_file("snapshot", snapshot.header.version, bytes)?);
                SnapshotPart::Given(FileMeta::describe(bytes))
            }
            None => {
                let own = self.own_snapshot(&root, &targets)?;
                check_size(before, &own.body.meta)?;
                SnapshotPart::Own(own)
            }
        };
        Ok(Plan {
            files,
            snapshot,
            timestamp: self.own_timestamp(&root)?,
            held: self.held_of(&root),
        })
    }

    fn renewal(&self, until: (Time, Time)) -> Result<Option<Plan>, UploadError> {
        let read = |role: &'static str, max| {
            let bytes = self.published.files.get(role).copied();
            bytes
                .ok_or(UploadError::Hierarchy {
                    missing: role,
                    problem: format!("{role} is not published"),
                })
                .map(|bytes| (bytes, max))
        };
        let (bytes, max) = read("timestamp", limit::TIMESTAMP_BYTES)?;
        let timestamp = Unverified::<Timestamp>::parse("timestamp", bytes, max).map_err(whole)?;
        let (snapshot_bytes, max) = read("snapshot", limit::SNAPSHOT_BYTES)?;
        let snapshot = Unverified::<Snapshot>::parse("snapshot", snapshot_bytes, max).map_err(whole)?;
        let (bytes, max) = read("root", limit::ROOT_BYTES)?;
        let root = Unverified::<Root>::parse("root", bytes, max).map_err(whole)?;
        let root = root.unverified_body();
        let snapshot = snapshot.unverified_body();
        let renewed = (snapshot.header.expires <= until.1)
            .then(|| self.server_keys(root, "snapshot"))
            .flatten()
            .map(|keys| {
                let mut body = snapshot.clone();
                body.header.version = snapshot.header.version.saturating_add(1);
                body.header.expires = self.now.plus(SNAPSHOT_LIFETIME);
                Own { body, keys }
            });
        if renewed.is_none() && timestamp.unverified_body().header.expires > until.0 {
            return Ok(None);
        }
        Ok(Some(Plan {
            files: Vec::new(),
            snapshot: renewed.map_or_else(
                || SnapshotPart::Given(FileMeta::describe(snapshot_bytes)),
                SnapshotPart::Own,
            ),
            timestamp: self.own_timestamp(root)?,
            held: self.held_of(root),
        }))
    }

    /// Judges the root that will be there: the uploaded one, or the published one.
    fn root(&self) -> Result<Root, UploadError> {
        let bad = |error: TrustError| UploadError::Root(error.to_string());
        let published = self.published.files.get("root");
        let published = published.map(|bytes| Unverified::<Root>::parse("root", bytes, limit::ROOT_BYTES));
        let published = published.transpose().map_err(whole)?;
        let published = published.as_ref().map(Unverified::unverified_body);
        let Some(bytes) = self.uploaded.get("root") else {
            return published
                .cloned()
                .ok_or_else(|| UploadError::Whole("no pre-existing root and no root provided in update.".to_owned()));
        };
        let document = Unverified::<Root>::parse("root", bytes, limit::ROOT_BYTES).map_err(bad)?;
        let root = document.unverified_body().clone();
        let (current, new) = (published.map_or(0, |root| root.header.version), root.header.version);
        if new != current && new != current.saturating_add(1) {
            return Err(UploadError::Root(format!(
                "Root modifications must increment the version. Current {current}, new {new}"
            )));
        }
        let mut signed: Signed<Root> = document.verify(&root.role_keys("root")).map_err(bad)?;
        // As clients have it: also those that did not sign say whose they are.
        check_certificates(self.gun, &signed)
            .and_then(|()| check_dates(&signed, self.now))
            .map_err(bad)?;
        if let Some(published) = published {
            // Whether the old certificates are over does not matter: their keys hand over.
            signed = signed.verify_also(&published.role_keys("root")).map_err(bad)?;
        }
        signed.check_not_expired(self.now).map_err(bad)?;
        Ok(root)
    }

    /// Reads a targets role as it will be, after its delegators; judges it when it is uploaded.
    fn load_targets(&self, role: &str, root: &Root, loaded: &mut BTreeMap<String, Targets>) -> Result<(), UploadError> {
        let bad = |error: TrustError| UploadError::Targets(error.to_string());
        if role.split('/').count() > DEEPEST_ROLE {
            return Err(UploadError::Targets(format!("the role {role} lies too deep")));
        }
        let parent = role.rsplit_once('/').map(|(parent, _)| parent);
        if let Some(parent) = parent
            && !loaded.contains_key(parent)
        {
            self.load_targets(parent, root, loaded)?;
        }
        let uploaded = self.uploaded.get(role);
        let Some(bytes) = uploaded.or_else(|| self.published.files.get(role)) else {
            return Err(match parent {
                None => UploadError::Hierarchy {
                    missing: "targets",
                    problem: "no targets were included in the update, and none are published".to_owned(),
                },
                Some(_) => UploadError::Targets(format!("the delegation {role} is neither uploaded nor published")),
            });
        };
        let document = Unverified::<Targets>::parse(role, bytes, limit::TARGETS_BYTES).map_err(bad)?;
        let body = delegator(document.unverified_body());
        // What was published before has been judged, but that the root may have other keys now.
        if uploaded.is_some() || (parent.is_none() && self.uploaded.contains_key("root")) {
            let keys = match parent {
                None => root.role_keys("targets"),
                Some(parent) => delegated_keys(loaded.get(parent), role)?,
            };
            let signed = document.verify(&keys).map_err(bad)?;
            signed.check_not_expired(self.now).map_err(bad)?;
            signed.body().check_children(role).map_err(bad)?;
        }
        loaded.insert(role.to_owned(), body);
        Ok(())
    }

    /// Judges a snapshot that came with the upload: it names what will be there.
    fn uploaded_snapshot(&self, bytes: &[u8], root: &Root) -> Result<Snapshot, UploadError> {
        let bad = |error: TrustError| UploadError::Snapshot(error.to_string());
        let document = Unverified::<Snapshot>::parse("snapshot", bytes, limit::SNAPSHOT_BYTES).map_err(bad)?;
        let signed = document.verify(&root.role_keys("snapshot")).map_err(bad)?;
        signed.check_not_expired(self.now).map_err(bad)?;
        let snapshot = signed.body();
        for (role, meta) in &snapshot.meta {
            if role != "root" && !is_targets(role) {
                let problem = format!("it names {role}; expected root, targets and delegated roles");
                return Err(UploadError::Snapshot(problem));
            }
            let named = self.uploaded.get(role.as_str());
            let Some(bytes) = named.or_else(|| self.published.files.get(role.as_str())) else {
                let problem = format!("it names {role}, which is neither uploaded nor published");
                return Err(UploadError::Snapshot(problem));
            };
            meta.hashes.check(role, bytes).map_err(bad)?;
            if meta.length != bytes.len() as u64 {
                let problem = format!("it says that {role} has {} bytes; it has {}", meta.length, bytes.len());
                return Err(UploadError::Snapshot(problem));
            }
        }
        let mut uploaded = self.uploaded.keys().filter(|role| is_targets(role));
        match uploaded.find(|role| !snapshot.meta.contains_key(**role)) {
            Some(role) => Err(UploadError::Snapshot(format!(
                "it does not name {role}, which was uploaded"
            ))),
            None => Ok(snapshot.clone()),
        }
    }

    /// Plans the snapshot that the server signs.
    fn own_snapshot(&self, root: &Root, targets: &BTreeMap<String, Targets>) -> Result<Own<Snapshot>, UploadError> {
        let keys = self
            .server_keys(root, "snapshot")
            .ok_or_else(|| UploadError::Hierarchy {
                missing: "snapshot",
                problem:
                    "no snapshot was included in update and server does not hold current snapshot key for repository"
                        .to_owned(),
            })?;
        let published = self.published.files.get("snapshot");
        let published = published.map(|bytes| Unverified::<Snapshot>::parse("snapshot", bytes, limit::SNAPSHOT_BYTES));
        let published = published.transpose().map_err(whole)?;
        let published = published.as_ref().map(Unverified::unverified_body);
        let before: BTreeSet<&str> = published.map_or_else(BTreeSet::new, |snapshot| {
            snapshot.meta.keys().map(String::as_str).collect()
        });
        // A file that a role left behind when it was removed does not come back with the role.
        let is_listed = |role: &str| before.contains(role) || self.uploaded.contains_key(role);
        let roles = self.reached(targets, is_listed)?;
        let roles = roles.iter().map(String::as_str).chain(["root"]);
        let named = roles.filter_map(|role| Some((role.to_owned(), FileMeta::describe(self.bytes_of(role)?))));
        let mut body = Snapshot::new(self.now.plus(SNAPSHOT_LIFETIME), named.collect());
        body.header.version = next_version(published.map(|snapshot| snapshot.header.version));
        let own = Own { body, keys };
        own.check("snapshot", limit::SNAPSHOT_BYTES)?;
        Ok(own)
    }

    /// Returns the roles with files that clients come to from the targets; `loaded` are some that were read already.
    fn reached(
        &self,
        loaded: &BTreeMap<String, Targets>,
        is_listed: impl Fn(&str) -> bool,
    ) -> Result<BTreeSet<String>, UploadError> {
        let (roles, after) = reached(loaded, is_listed, |role| self.bytes_of(role))?;
        if after <= limit::DELEGATED_ROLES {
            return Ok(roles);
        }
        // One that has too many already can have fewer.
        let (_, before) = reached(
            &BTreeMap::new(),
            |role| self.published.files.contains_key(role),
            |role| self.published.files.get(role).copied(),
        )?;
        match after > before {
            true => Err(UploadError::Targets(format!(
                "the collection would have {after} delegated roles, expected at most {}; take some away",
                limit::DELEGATED_ROLES
            ))),
            false => Ok(roles),
        }
    }

    /// Returns a role's file as it will be.
    fn bytes_of(&self, role: &str) -> Option<&[u8]> {
        self.uploaded
            .get(role)
            .or_else(|| self.published.files.get(role))
            .copied()
    }

    /// Plans the timestamp; what it says of the snapshot is filled in once that is signed.
    fn own_timestamp(&self, root: &Root) -> Result<Own<Timestamp>, UploadError> {
        let keys = self.server_keys(root, "timestamp");
        let keys = keys.ok_or_else(|| UploadError::Root("no timestamp keys exist on the server".to_owned()))?;
        let published = self.published.files.get("timestamp");
        let published =
            published.map(|bytes| Unverified::<Timestamp>::parse("timestamp", bytes, limit::TIMESTAMP_BYTES));
        let published = published.transpose().map_err(whole)?;
        let version = published.map(|timestamp| timestamp.unverified_body().header.version);
        let mut body = Timestamp::new(self.now.plus(TIMESTAMP_LIFETIME), FileMeta::describe(b""));
        body.header.version = next_version(version);
        let own = Own { body, keys };
        own.check("timestamp", limit::TIMESTAMP_BYTES)?;
        Ok(own)
    }

    /// Returns the server's keys for a role, if they are enough for its threshold.
    fn server_keys(&self, root: &Root, role: &str) -> Option<Vec<NotaryKey>> {
        let Role { keyids, threshold, .. } = root.roles.get(role)?;
        let own = keyids.iter().filter(|id| self.held.contains(id));
        let keys: Vec<_> = own.filter_map(|id| root.keys.get(id).cloned()).collect();
        (u32::try_from(keys.len()).is_ok_and(|count| count >= *threshold)).then_some(keys)
    }

    fn held_of(&self, root: &Root) -> BTreeSet<KeyId> {
        let roles = ["snapshot", "timestamp"].into_iter();
        let named = roles
            .filter_map(|role| root.roles.get(role))
            .flat_map(|role| &role.keyids);
        named.filter(|id| self.held.contains(id)).cloned().collect()
    }

    /// Takes an uploaded file whose version is above the published one.
    fn newer_file(&self, role: &str, version: u64, bytes: &[u8]) -> Result<NewFile, UploadError> {
        let published = match self.published.files.get(role) {
            Some(published) => version_of(role, published)?,
            None => self.published.left_behind.get(role).copied().unwrap_or(0),
        };
        if version > published.saturating_add(limit::VERSION_STEP) {
            return Err(UploadError::Whole(format!(
                "version {version} of {role} is too far above the published one, {published}; expected at most {} more",
                limit::VERSION_STEP
            )));
        }
        if version <= published {
            return Err(UploadError::Version {
                role: role.to_owned(),
                published,
                uploaded: version,
            });
        }
        Ok(NewFile {
            role: role.to_owned(),
            version,
            bytes: bytes.to_vec(),
        })
    }
}

/// Returns the roles with files that clients come to from the targets, and to how many roles these delegate, whoever signed them.
fn reached<'a>(
    loaded: &BTreeMap<String, Targets>,
    is_listed: impl Fn(&str) -> bool,
    bytes_of: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<(BTreeSet<String>, usize), UploadError> {
    let (mut roles, mut delegated) = (BTreeSet::new(), 0);
    let mut next = vec!["targets".to_owned()];
    while let Some(role) = next.pop() {
        let Some(bytes) = bytes_of(&role) else { continue };
        let unread;
        let body = match loaded.get(&role) {
            Some(body) => body,
            None => {
                unread = Unverified::<Targets>::parse(&role, bytes, limit::TARGETS_BYTES).map_err(whole)?;
                unread.unverified_body()
            }
        };
        delegated += body.delegations.roles.len();
        let below = body.delegations.roles.iter().map(|delegated| &delegated.name);
        next.extend(below.filter(|name| is_child(&role, name) && is_listed(name)).cloned());
        roles.insert(role);
    }
    Ok((roles, delegated))
}

/// Refuses what the collection grows to by an upload, by what its new snapshot names, beyond what later ones can be judged with.
fn check_size(before: usize, named: &BTreeMap<String, FileMeta>) -> Result<(), UploadError> {
    let sizes = named
        .values()
        .map(|meta| usize::try_from(meta.length).unwrap_or(usize::MAX));
    let after = sizes.fold(0, usize::saturating_add);
    match after > limit::COLLECTION_BYTES && after > before {
        true => Err(UploadError::TooLarge { found: after }),
        false => Ok(()),
    }
}

fn version_of(role: &str, bytes: &[u8]) -> Result<u64, UploadError> {
    Ok(match role {
        "root" => version::<Root>(role, bytes, limit::ROOT_BYTES)?,
        "snapshot" => version::<Snapshot>(role, bytes, limit::SNAPSHOT_BYTES)?,
        _ => version::<Targets>(role, bytes, limit::TARGETS_BYTES)?,
    })
}

fn version<T: Body>(role: &str, bytes: &[u8], max: usize) -> Result<u64, UploadError> {
    let document = Unverified::<T>::parse(role, bytes, max).map_err(whole)?;
    Ok(document.unverified_body().header().version)
}

/// Returns what roles below are judged by: a chain of large documents is not held all at once.
fn delegator(body: &Targets) -> Targets {
    let mut kept = Targets::new(body.header.expires);
    kept.header.version = body.header.version;
    kept.delegations.keys = body.delegations.keys.clone();
    let role = |role: &DelegatedRole| DelegatedRole {
        name: role.name.clone(),
        keyids: role.keyids.clone(),
        threshold: role.threshold,
        paths: Vec::new(),
        extra: Map::new(),
    };
    kept.delegations.roles = body.delegations.roles.iter().map(role).collect();
    kept
}

fn next_version(published: Option<u64>) -> u64 {
    published.map_or(1, |version| version.saturating_add(1))
}

fn is_targets(role: &str) -> bool {
    role == "targets" || is_delegated_role(role)
}

/// Collects the keys of a delegated role from the one that delegates to it.
fn delegated_keys(parent: Option<&Targets>, role: &str) -> Result<RoleKeys<NotaryKey>, UploadError> {
    let delegations = parent.map(|parent| &parent.delegations);
    let found = delegations.and_then(|delegations| {
        let found = delegations.roles.iter().find(|delegated| delegated.name == role)?;
        Some(delegations.role_keys(found))
    });
    found.ok_or_else(|| UploadError::Targets(format!("tuf: invalid role {role}. delegation does not exist")))
}

/// What the server itself published cannot be read.
fn whole(error: TrustError) -> UploadError {
    UploadError::Whole(error.to_string())
}

#[cfg(test)]
mod tests;
