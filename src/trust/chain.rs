//! The client's workflow as a chain of states (specification, section 5; the steps' numbers stand above the code).
//!
//! Each state can only be reached through the one before, and each holds what was checked on the way:
//! [`AtRoot`] → [`AtTimestamp`] → [`AtSnapshot`] → [`AtTargets`]. Bytes and `now` come in; what to fetch next is said by
//! [`Wanted`].

use std::sync::Arc;

use super::bundle::Bundle;
use super::document::{Content, Signed, Unverified};
use super::metadata::{MetaFile, Root, Snapshot, Targets, Timestamp};
use super::role_keys::{Retired, RoleKeys};
use super::{TrustError, names};
use crate::key::TufKey;
use crate::limit;
use crate::time::Time;

/// What a client trusted before, to notice that it is offered something older.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Root files after the pinned one, in order.
    pub roots: Vec<Vec<u8>>,
    /// The last trusted timestamp file.
    pub timestamp: Option<Vec<u8>>,
    /// The last trusted snapshot file.
    pub snapshot: Option<Vec<u8>>,
}

/// The file that a chain needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub file: String,
    /// How many bytes it may have.
    pub max: usize,
}

/// A client's way through a collection's metadata.
#[derive(Clone, Debug)]
pub struct Chain<S> {
    pub(super) now: Time,
    pub(super) root: Signed<Root>,
    /// Keys that earlier roots of the chain listed and a later one does not.
    retired: Vec<Retired>,
    /// Every file that was accepted, in order.
    pub(super) files: Bundle,
    pub(super) state: S,
}

/// A root is trusted.
#[derive(Clone, Debug)]
pub struct AtRoot {
    first: u64,
}

/// The newest root, and a timestamp, are trusted.
#[derive(Clone, Debug)]
pub struct AtTimestamp {
    timestamp: Arc<Signed<Timestamp>>,
}

/// The snapshot is trusted as well.
#[derive(Clone, Debug)]
pub struct AtSnapshot {
    timestamp: Arc<Signed<Timestamp>>,
    snapshot: Arc<Signed<Snapshot>>,
}

/// The top-level targets are trusted as well: names can be looked up.
#[derive(Clone, Debug)]
pub struct AtTargets {
    pub(super) timestamp: Arc<Signed<Timestamp>>,
    pub(super) snapshot: Arc<Signed<Snapshot>>,
    pub(super) targets: Arc<Signed<Targets>>,
    pub(super) delegated: Vec<super::search::Delegated>,
}

impl Chain<AtRoot> {
    /// Begins with the root that the user pinned; everything is judged at `now`.
    ///
    /// # Errors
    /// [`TrustError::Pin`] when it is no root that enough of its own keys signed.
    pub fn pinned(root: &[u8], now: Time) -> Result<Self, TrustError> {
        // 5.1: one fixed time for all checks of expiry.
        // 5.2: the trusted root was shipped; that it has expired does not matter yet.
        let pin = |error: TrustError| TrustError::Pin {
            problem: error.to_string(),
        };
        let parsed = Unverified::<Root>::parse("root.json", root, limit::ROOT_BYTES).map_err(pin)?;
        let keys = top_level_keys(parsed.unverified_body(), "root");
        let root = parsed.verify(&keys).map_err(pin)?;
        let first = root.version();
        let mut files = Bundle::default();
        files.add(names::file_name("root", Some(first)), root.bytes());
        Ok(Self {
            now,
            root,
            retired: Vec::new(),
            files,
            state: AtRoot { first },
        })
    }

    /// Returns the newest root's version.
    pub fn version(&self) -> u64 {
        self.root.version()
    }

    /// Returns the file that would be the next root; when there is none, the newest root is reached.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] when too many roots were walked already.
    pub fn wanted(&self) -> Result<Wanted, TrustError> {
        // 5.3.2: N is the trusted root's version. 5.3.3: try N + 1, of at most so many bytes.
        let version = self.version() + 1;
        if version - self.state.first > limit::ROOT_ROTATIONS {
            let problem = format!("more than {} roots follow the pinned one", limit::ROOT_ROTATIONS);
            return Err(TrustError::malformed("root", problem));
        }
        Ok(Wanted {
            file: names::file_name("root", Some(version)),
            max: limit::ROOT_BYTES,
        })
    }

    /// Takes the next root.
    ///
    /// # Errors
    /// [`TrustError`] when it is not signed by enough keys of the trusted root and of itself, or not the next version.
    pub fn root(mut self, bytes: &[u8]) -> Result<Self, TrustError> {
        let wanted = self.wanted()?;
        let next = Unverified::<Root>::parse(&wanted.file, bytes, wanted.max)?;
        // 5.3.4: arbitrary software attack: signed by a threshold of root N's keys and of root N + 1's keys.
        let own = top_level_keys(next.unverified_body(), "root");
        let next = next
            .verify(&top_level_keys(self.root.body(), "root"))?
            .verify_also(&own)?;
        // 5.3.5: rollback attack: exactly version N + 1.
        let expected = self.version() + 1;
        check_version("root", expected, next.version())?;
        // 5.3.6: that it has expired does not matter yet. 5.3.7: it is the trusted root now.
        // 5.3.8: persisting is the store's part: the file is in `files`. 5.3.9: the caller repeats.
        self.files.add(wanted.file, bytes);
        for role in names::TOP_LEVEL {
            let lost = top_level_keys(self.root.body(), role);
            self.retired
                .extend(lost.retired_by(&top_level_keys(next.body(), role), next.version()));
        }
        self.root = next;
        Ok(self)
    }

    /// Takes the timestamp, once no newer root is to be had.
    ///
    /// # Errors
    /// [`TrustError`] when the root has expired, or the timestamp is not signed, past its time or older than `known`.
    pub fn timestamp(mut self, bytes: &[u8], known: Option<&[u8]>) -> Result<Chain<AtTimestamp>, TrustError> {
        // 5.3.10: freeze attack: the newest root must not have expired.
        self.root.check_not_expired(self.now)?;
        // 5.3.12: from here on, names of files are as this root's consistent_snapshot says.
        // 5.4.1: of at most so many bytes.
        let Wanted { file, max } = self.timestamp_wanted();
        let keys = self.top_level_keys("timestamp");
        let timestamp = Unverified::<Timestamp>::parse(&file, bytes, max)?;
        // 5.4.2: arbitrary software attack.
        let timestamp = timestamp.verify(&keys)?;
        // 5.3.11: fast-forward recovery: what was trusted before counts only if today's keys signed it.
        let known = known.filter(|known| *known != bytes);
        let known = known.and_then(|known| Unverified::<Timestamp>::parse(&file, known, max).ok());
        if let Some(known) = known.and_then(|known| known.verify(&keys).ok()) {
            // 5.4.3.1: rollback of the timestamp; one version has one content.
            check_not_older("timestamp", known.version(), timestamp.version())?;
            check_same_content(&known, &timestamp)?;
            // 5.4.3.2: rollback of the snapshot.
            check_not_older(
                "snapshot",
                snapshot_of(&known)?.version,
                snapshot_of(&timestamp)?.version,
            )?;
        }
        // 5.4.4: freeze attack. 5.4.5: persisting is the store's part.
        timestamp.check_not_expired(self.now)?;
        self.files.add(file, bytes);
        Ok(self.at(AtTimestamp {
            timestamp: Arc::new(timestamp),
        }))
    }

    /// Refuses to go on from a root that has expired (step 5.3.10).
    ///
    /// # Errors
    /// [`TrustError::Expired`].
    pub fn check_not_expired(&self) -> Result<(), TrustError> {
        self.root.check_not_expired(self.now)
    }

    /// Tells whether the newest root's keys signed both timestamps, and both have the same version (step 5.4.3.1).
    pub fn same_timestamp(&self, known: &[u8], new: &[u8]) -> bool {
        let Wanted { file, max } = self.timestamp_wanted();
        let keys = self.top_level_keys("timestamp");
        let version = |bytes: &[u8]| {
            let parsed = Unverified::<Timestamp>::parse(&file, bytes, max).ok()?;
            Some(parsed.verify(&keys).ok()?.version())
        };
        version(known).is_some_and(|known| version(new) == Some(known))
    }

    /// Returns which timestamp and snapshot of those that were trusted before count still: both, or neither once the keys of either
    /// were rotated (step 5.3.11, fast-forward recovery).
    pub fn still_known<'a>(
        &self,
        timestamp: Option<&'a [u8]>,
        snapshot: Option<&'a [u8]>,
    ) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        match self.is_lost::<Timestamp>("timestamp", timestamp) || self.is_lost::<Snapshot>("snapshot", snapshot) {
            true => (None, None),
            false => (timestamp, snapshot),
        }
    }

    /// Tells whether keys signed what was trusted before that are no longer enough for the role. What is no metadata says nothing.
    fn is_lost<T: Content<Key = TufKey>>(&self, role: &str, known: Option<&[u8]>) -> bool {
        let known = known.and_then(|known| Unverified::<T>::parse(role, known, limit::SNAPSHOT_BYTES).ok());
        known.is_some_and(|known| known.verify(&self.top_level_keys(role)).is_err())
    }

    /// Returns the timestamp's file.
    pub fn timestamp_wanted(&self) -> Wanted {
        Wanted {
            file: names::file_name("timestamp", None),
            max: limit::TIMESTAMP_BYTES,
        }
    }
}

impl Chain<AtTimestamp> {
    /// Returns the snapshot's file.
    ///
    /// # Errors
    /// [`TrustError::Malformed`], which no timestamp that was read gives.
    pub fn wanted(&self) -> Result<Wanted, TrustError> {
        // 5.5.1: of at most as many bytes as the timestamp says.
        let meta = snapshot_of(&self.state.timestamp)?;
        Ok(self.wanted_file("snapshot", meta, limit::SNAPSHOT_BYTES))
    }

    /// Takes the snapshot.
    ///
    /// # Errors
    /// [`TrustError`] when it is not what the timestamp names, not signed, past its time or older than `known`.
    pub fn snapshot(mut self, bytes: &[u8], known: Option<&[u8]>) -> Result<Chain<AtSnapshot>, TrustError> {
        let Wanted { file, max } = self.wanted()?;
        let meta = snapshot_of(&self.state.timestamp)?;
        // 5.5.2: the timestamp's hashes and length.
        check_described(&file, meta, bytes)?;
        // 5.5.3: arbitrary software attack.
        let keys = self.top_level_keys("snapshot");
        let snapshot = Unverified::<Snapshot>::parse(&file, bytes, max)?.verify(&keys)?;
        // 5.5.4: the version that the timestamp names.
        check_version("snapshot", meta.version, snapshot.version())?;
        // 5.5.5: rollback of targets metadata: no version goes down, no file disappears. (5.3.11 as for the timestamp.)
        let known = known.filter(|known| *known != bytes);
        let known = known.and_then(|known| Unverified::<Snapshot>::parse(&file, known, limit::SNAPSHOT_BYTES).ok());
        if let Some(known) = known.and_then(|known| known.verify(&keys).ok()) {
            check_not_older("snapshot", known.version(), snapshot.version())?;
            check_same_content(&known, &snapshot)?;
            for (name, before) in &known.body().meta {
                let now = snapshot.body().meta.get(name).map_or(0, |meta| meta.version);
                check_not_older(name, before.version, now)?;
            }
        }
        // 5.5.6: freeze attack. 5.5.7: persisting is the store's part.
        snapshot.check_not_expired(self.now)?;
        self.files.add(file, bytes);
        let timestamp = Arc::clone(&self.state.timestamp);
        Ok(self.at(AtSnapshot {
            timestamp,
            snapshot: Arc::new(snapshot),
        }))
    }
}

impl Chain<AtSnapshot> {
    /// Returns the file of the top-level targets.
    ///
    /// # Errors
    /// [`TrustError::Malformed`], which no snapshot that was read gives.
    pub fn wanted(&self) -> Result<Wanted, TrustError> {
        let meta = meta_of(&self.state.snapshot, "targets")?;
        Ok(self.wanted_file("targets", meta, limit::TARGETS_BYTES))
    }

    /// Takes the top-level targets.
    ///
    /// # Errors
    /// [`TrustError`] when they are not what the snapshot names, not signed or past their time.
    pub fn targets(mut self, bytes: &[u8]) -> Result<Chain<AtTargets>, TrustError> {
        // 5.6.1: of at most as many bytes as the snapshot says.
        let wanted = self.wanted()?;
        let meta = meta_of(&self.state.snapshot, "targets")?;
        let keys = self.top_level_keys("targets");
        let targets = verify_targets(&wanted, meta, &keys, bytes, self.now)?;
        self.files.add(wanted.file, bytes);
        let AtSnapshot { timestamp, snapshot } = self.state.clone();
        Ok(self.at(AtTargets {
            timestamp,
            snapshot,
            targets: Arc::new(targets),
            delegated: Vec::new(),
        }))
    }
}

impl<S> Chain<S> {
    /// Returns the newest root of the chain.
    pub fn newest_root(&self) -> &Signed<Root> {
        &self.root
    }

    /// Returns every file that was accepted so far, in order.
    pub fn files(&self) -> &Bundle {
        &self.files
    }

    /// Returns the keys of a top-level role by the newest root.
    pub fn top_level_keys(&self, role: &str) -> RoleKeys {
        top_level_keys(self.root.body(), role).with_retired(&self.retired)
    }

    fn at<T>(self, state: T) -> Chain<T> {
        Chain {
            now: self.now,
            root: self.root,
            retired: self.retired,
            files: self.files,
            state,
        }
    }

    /// Names a file that `meta` describes, with its version if the root asks for consistent snapshots.
    pub(super) fn wanted_file(&self, role: &str, meta: &MetaFile, max: usize) -> Wanted {
        let version = self.root.body().consistent_snapshot.then_some(meta.version);
        let length = meta.length.and_then(|length| usize::try_from(length).ok());
        Wanted {
            file: names::file_name(role, version),
            max: length.map_or(max, |length| length.min(max)),
        }
    }
}

/// Checks targets metadata of the top level or of a delegated role alike.
pub(super) fn verify_targets(
    wanted: &Wanted,
    meta: &MetaFile,
    keys: &RoleKeys,
    bytes: &[u8],
    now: Time,
) -> Result<Signed<Targets>, TrustError> {
    // 5.6.2: the snapshot's hashes and length.
    check_described(&wanted.file, meta, bytes)?;
    // 5.6.3: arbitrary software attack.
    let targets = Unverified::<Targets>::parse(&wanted.file, bytes, wanted.max)?.verify(keys)?;
    // Beyond the specification: its keys may have signed it for another role.
    targets.body().check_role(&wanted.file, keys.role())?;
    // 5.6.4: the version that the snapshot names.
    check_version(keys.role(), meta.version, targets.version())?;
    // 5.6.5: freeze attack. 5.6.6: persisting is the store's part.
    targets.check_not_expired(now)?;
    Ok(targets)
}

/// Returns what a snapshot says of a role's metadata.
pub(super) fn meta_of<'a>(snapshot: &'a Signed<Snapshot>, role: &str) -> Result<&'a MetaFile, TrustError> {
    let name = format!("{role}.json");
    let missing = || {
        TrustError::malformed(
            snapshot.name(),
            format!("it does not name {name}, which is delegated to"),
        )
    };
    snapshot.body().meta.get(&name).ok_or_else(missing)
}

fn snapshot_of(timestamp: &Signed<Timestamp>) -> Result<&MetaFile, TrustError> {
    let missing = || TrustError::malformed(timestamp.name(), "it does not name snapshot.json");
    timestamp.body().snapshot().ok_or_else(missing)
}

pub(super) fn top_level_keys(root: &Root, role: &str) -> RoleKeys {
    match root.roles.get(role) {
        Some(keys) => RoleKeys::new(role, &keys.keyids, keys.threshold, &root.keys),
        // No number of signatures is enough for a role that the root does not have.
        None => RoleKeys::new(role, &[], u32::MAX, &root.keys),
    }
}

pub(super) fn check_described(file: &str, meta: &MetaFile, bytes: &[u8]) -> Result<(), TrustError> {
    if let Some(length) = meta.length {
        check_length(file, length, bytes)?;
    }
    meta.hashes.as_ref().map_or(Ok(()), |hashes| hashes.check(file, bytes))
}

/// Refuses a file that is not exactly as long as other metadata say.
pub(super) fn check_length(file: &str, expected: u64, bytes: &[u8]) -> Result<(), TrustError> {
    match expected == bytes.len() as u64 {
        true => Ok(()),
        false => Err(TrustError::Digest {
            subject: file.to_owned(),
            expected: format!("{expected} bytes"),
            found: format!("{} bytes", bytes.len()),
        }),
    }
}

pub(super) fn check_version(role: &str, expected: u64, found: u64) -> Result<(), TrustError> {
    check_not_older(role, expected, found)?;
    match found == expected {
        true => Ok(()),
        false => Err(TrustError::Version {
            role: role.to_owned(),
            expected,
            found,
        }),
    }
}

pub(super) fn check_not_older(role: &str, expected: u64, found: u64) -> Result<(), TrustError> {
    match found >= expected {
        true => Ok(()),
        false => Err(TrustError::Rollback {
            role: role.to_owned(),
            expected,
            found,
        }),
    }
}

fn check_same_content<T: super::metadata::Body>(known: &Signed<T>, new: &Signed<T>) -> Result<(), TrustError> {
    let versions = (known.version(), new.version());
    check_one_content(new.name(), versions, || known.says_the_same_as(new))
}

/// Refuses another content under a version that was trusted before.
pub(super) fn check_one_content(
    file: &str,
    (known, new): (u64, u64),
    same: impl FnOnce() -> bool,
) -> Result<(), TrustError> {
    match known == new && !same() {
        true => Err(TrustError::Digest {
            subject: file.to_owned(),
            expected: format!("the version {known} that was trusted before"),
            found: "another content under the same version".to_owned(),
        }),
        false => Ok(()),
    }
}
