//! The client's workflow in Notary's dialect, in TUF's order and as a chain of states like [`crate::trust::Chain`].
//!
//! - Root first, version by version: N + 1 is signed by enough keys of N and of itself. The real client takes the root last,
//!   and lets it jump.
//! - Every key that a root gives the root role stands in a certificate for the collection; the newest root's are in their time.
//! - Timestamp → snapshot → root again and targets, each exactly as long as, and with every hash that, the one before says.
//! - What was trusted before counts if today's keys signed it (fast-forward recovery): nothing gets older, and one version
//!   has one content. Notary's snapshot has no versions, so targets are compared with the targets that were trusted before.
//! - For the owner, who signs it again, nothing has expired ([`NotaryChain::for_owner`]); all else is checked as for anybody.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::document::{Signed, Unverified};
use super::file::FileMeta;
use super::key::NotaryKey;
use super::metadata::{Body, Root, Snapshot, Targets, Timestamp};
use crate::key::KeyId;
use crate::limit;
use crate::time::Time;
use crate::trust::RoleKeys;
use crate::trust::TrustError;
use crate::trust::Wanted;
use crate::trust::chain::{check_length, check_not_older, check_one_content, check_version};

/// What a client trusted before, as its cache has it.
#[derive(Clone, Debug, Default)]
pub struct NotaryKnown {
    /// The newest root.
    pub root: Option<Vec<u8>>,
    /// The timestamp.
    pub timestamp: Option<Vec<u8>>,
    /// The snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// Targets metadata by role.
    pub targets: BTreeMap<String, Bytes>,
}

/// A client's way through a collection's metadata.
#[derive(Clone, Debug)]
pub struct NotaryChain<S> {
    gun: String,
    pub(super) now: Time,
    reader: Reader,
    pub(super) known: NotaryKnown,
    pub(super) root: Signed<Root>,
    pub(super) state: S,
}

/// For whom metadata are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// One who trusts what is in its time alone.
    Client,
    /// One who signs again what is not.
    Owner,
}

/// A root is trusted.
#[derive(Clone, Debug)]
pub struct AtRoot {
    first: u64,
}

/// The newest root, and a timestamp, are trusted.
#[derive(Clone, Debug)]
pub struct AtTimestamp {
    timestamp: Signed<Timestamp>,
    meta: FileMeta,
}

/// The snapshot is trusted as well.
#[derive(Clone, Debug)]
pub struct AtSnapshot {
    timestamp: Signed<Timestamp>,
    snapshot: Arc<Signed<Snapshot>>,
}

/// The top-level targets are trusted as well: names can be looked up.
#[derive(Clone, Debug)]
pub struct AtTargets {
    pub(super) timestamp: Signed<Timestamp>,
    pub(super) snapshot: Arc<Signed<Snapshot>>,
    pub(super) targets: Signed<Targets>,
    /// Delegated roles whose metadata were handed in.
    pub(super) delegated: BTreeMap<String, Signed<Targets>>,
}

impl NotaryChain<AtRoot> {
    /// Begins with a root that the user pinned as a whole; `known` is what was trusted before, everything is judged at `now`.
    ///
    /// # Errors
    /// [`TrustError`] when it is no root of the collection `gun` that enough of its own keys signed.
    pub fn pinned(gun: &str, root: &[u8], known: NotaryKnown, now: Time) -> Result<Self, TrustError> {
        let parsed = Unverified::<Root>::parse("root", root, limit::ROOT_BYTES)?;
        let own = parsed.unverified_body().role_keys("root");
        let root = parsed.verify(&own)?;
        check_certificates(gun, &root)?;
        let state = AtRoot { first: root.version() };
        Ok(Self {
            gun: gun.to_owned(),
            now,
            reader: Reader::Client,
            known,
            root,
            state,
        })
    }

    /// Has nothing count as expired from here on: neither metadata nor the certificates of root keys.
    pub fn for_owner(self) -> Self {
        let reader = Reader::Owner;
        Self { reader, ..self }
    }

    /// Tells whether the key `id`, which the user pinned, is one of the root's and signed it.
    pub fn is_signed_by(&self, id: &KeyId) -> bool {
        self.root.signers().contains(id)
    }

    /// Returns the file that would be the next root; when there is none, the newest root is reached.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] when too many roots were walked already.
    pub fn wanted(&self) -> Result<Wanted, TrustError> {
        let version = self.root.version() + 1;
        if version.saturating_sub(self.state.first) > limit::ROOT_ROTATIONS {
            let problem = format!("more than {} roots follow the pinned one", limit::ROOT_ROTATIONS);
            return Err(TrustError::malformed("root", problem));
        }
        Ok(root_file(version))
    }

    /// Takes the next root.
    ///
    /// # Errors
    /// [`TrustError`] when it is not signed by enough keys of the trusted root and of itself, or not the next version.
    pub fn root(mut self, bytes: &[u8]) -> Result<Self, TrustError> {
        let next = Unverified::<Root>::parse("root", bytes, limit::ROOT_BYTES)?;
        // 5.3.5 before the signatures: a server that has another version under this name is told as such.
        check_version("root", self.root.version() + 1, next.unverified_body().header.version)?;
        // 5.3.4: arbitrary software attack.
        let own = next.unverified_body().role_keys("root");
        let next = next.verify(&self.root.body().role_keys("root"))?.verify_also(&own)?;
        check_certificates(&self.gun, &next)?;
        self.check_known_root(&next)?;
        self.root = next;
        Ok(self)
    }

    /// Takes the timestamp, once no newer root is to be had.
    ///
    /// # Errors
    /// [`TrustError`] when the root has expired or is older than known, or the timestamp is not signed, past its time or older
    /// than what was trusted before.
    pub fn timestamp(self, bytes: &[u8]) -> Result<NotaryChain<AtTimestamp>, TrustError> {
        self.check_known_root(&self.root)?;
        if let Some(known) = self.known_root()? {
            check_not_older("root", known.header.version, self.root.version())?;
        }
        // 5.3.10: freeze attack; and the certificates' own time.
        self.check_not_expired(&self.root)?;
        if self.reader == Reader::Client {
            check_dates(&self.root, self.now)?;
        }
        let keys = self.root.body().role_keys("timestamp");
        // 5.4.2: arbitrary software attack.
        let max = limit::TIMESTAMP_BYTES;
        let timestamp = Unverified::<Timestamp>::parse("timestamp", bytes, max)?.verify(&keys)?;
        // 5.4.3: rollback attack.
        check_known(self.known.timestamp.as_deref(), &timestamp, max, &keys)?;
        // 5.4.4: freeze attack.
        self.check_not_expired(&timestamp)?;
        let meta = timestamp.body().snapshot().cloned();
        let meta = meta.ok_or_else(|| TrustError::malformed("timestamp", "it does not name the snapshot"))?;
        Ok(self.at(AtTimestamp { timestamp, meta }))
    }

    /// Returns the newest trusted root's version.
    pub fn version(&self) -> u64 {
        self.root.version()
    }

    fn known_root(&self) -> Result<Option<Root>, TrustError> {
        let Some(bytes) = &self.known.root else {
            return Ok(None);
        };
        let known = Unverified::<Root>::parse("root that was trusted before", bytes, limit::ROOT_BYTES)?;
        Ok(Some(known.unverified_body().clone()))
    }

    /// Refuses another content under the version of the root that was trusted before.
    fn check_known_root(&self, root: &Signed<Root>) -> Result<(), TrustError> {
        let Some(bytes) = self.known.root.as_deref().filter(|bytes| *bytes != root.bytes()) else {
            return Ok(());
        };
        let known = Unverified::<Root>::parse("root that was trusted before", bytes, limit::ROOT_BYTES)?;
        let versions = (known.unverified_body().header.version, root.version());
        check_one_content("root", versions, || known.message() == root.document().message())
    }
}

impl NotaryChain<AtTimestamp> {
    /// Returns the snapshot's file.
    pub fn wanted(&self) -> Wanted {
        hashed("snapshot", &self.state.meta, limit::SNAPSHOT_BYTES)
    }

    /// Returns the snapshot that was trusted before, if it is the one that is wanted.
    pub fn cached(&self) -> Option<&[u8]> {
        self.known
            .snapshot
            .as_deref()
            .filter(|bytes| is_described(&self.state.meta, bytes))
    }

    /// Takes the snapshot.
    ///
    /// # Errors
    /// [`TrustError`] when it is not what the timestamp names, not signed, past its time or older than what was trusted
    /// before.
    pub fn snapshot(self, bytes: &[u8]) -> Result<NotaryChain<AtSnapshot>, TrustError> {
        // 5.5.2: the timestamp's hashes and length.
        check_described("snapshot", &self.state.meta, bytes)?;
        // 5.5.3: arbitrary software attack.
        let keys = self.root.body().role_keys("snapshot");
        let max = limit::SNAPSHOT_BYTES;
        let snapshot = Unverified::<Snapshot>::parse("snapshot", bytes, max)?.verify(&keys)?;
        // 5.5.5: rollback of metadata.
        check_known(self.known.snapshot.as_deref(), &snapshot, max, &keys)?;
        // 5.5.6: freeze attack.
        self.check_not_expired(&snapshot)?;
        let timestamp = self.state.timestamp.clone();
        let snapshot = Arc::new(snapshot);
        Ok(self.at(AtSnapshot { timestamp, snapshot }))
    }
}

impl NotaryChain<AtSnapshot> {
    /// Tells whether the snapshot names another root file than the one that is trusted: [`NotaryChain::named_root`].
    pub fn names_another_root(&self) -> bool {
        meta_of(&self.state.snapshot, "root").map_or(true, |meta| !is_described(meta, self.root.bytes()))
    }

    /// Takes the root file that the snapshot names, which may be the trusted one with other signatures.
    ///
    /// # Errors
    /// [`TrustError`] when it says anything else than the trusted one, or enough of its keys did not sign it.
    pub fn named_root(mut self, bytes: &[u8]) -> Result<Self, TrustError> {
        let named = Unverified::<Root>::parse("root", bytes, limit::ROOT_BYTES)?;
        let (trusted, found) = (self.root.version(), named.unverified_body().header.version);
        if found > trusted {
            // It is signed perhaps, but those before it are withheld: a root never jumps.
            let (role, expected) = ("root".to_owned(), trusted + 1);
            return Err(TrustError::Version { role, expected, found });
        }
        check_not_older("root", trusted, found)?;
        let own = self.root.body().role_keys("root");
        let named = named.verify(&own)?;
        check_one_content("root", (trusted, found), || named.says_the_same_as(&self.root))?;
        self.root = named;
        Ok(self)
    }

    /// Returns the file of the top-level targets.
    ///
    /// # Errors
    /// [`TrustError::Unlisted`], which no snapshot that was read gives.
    pub fn wanted(&self) -> Result<Wanted, TrustError> {
        let meta = meta_of(&self.state.snapshot, "targets")?;
        Ok(hashed("targets", meta, limit::TARGETS_BYTES))
    }

    /// Returns the top-level targets that were trusted before, if they are those that are wanted.
    pub fn cached(&self) -> Option<Described> {
        let meta = meta_of(&self.state.snapshot, "targets").ok()?;
        let known = self.known.targets.get("targets")?;
        Described::new("targets", meta, known.clone()).ok()
    }

    /// Compares the top-level targets' length and hashes with what the snapshot says.
    ///
    /// # Errors
    /// [`TrustError::Digest`] when they are others.
    pub fn described(&self, bytes: impl Into<Bytes>) -> Result<Described, TrustError> {
        Described::new("targets", meta_of(&self.state.snapshot, "targets")?, bytes.into())
    }

    /// Takes the top-level targets.
    ///
    /// # Errors
    /// [`TrustError`] when they are not signed, past their time or older than what was trusted before, or the snapshot names
    /// another root.
    pub fn targets(self, targets: Described) -> Result<NotaryChain<AtTargets>, TrustError> {
        // Notary's snapshot names the root as well: no other may stand beside it.
        check_described("root", meta_of(&self.state.snapshot, "root")?, self.root.bytes())?;
        let keys = self.root.body().role_keys("targets");
        let meta = meta_of(&self.state.snapshot, "targets")?;
        let targets = self.verify_targets(targets, meta, &keys)?;
        let AtSnapshot { timestamp, snapshot } = self.state.clone();
        Ok(self.at(AtTargets {
            timestamp,
            snapshot,
            targets,
            delegated: BTreeMap::new(),
        }))
    }
}

impl<S> NotaryChain<S> {
    /// Returns the newest root of the chain.
    pub fn newest_root(&self) -> &Signed<Root> {
        &self.root
    }

    /// Returns the collection's name.
    pub fn gun(&self) -> &str {
        &self.gun
    }

    /// Checks targets metadata of the top level or of a delegated role alike.
    pub(super) fn verify_targets(
        &self,
        described: Described,
        meta: &FileMeta,
        keys: &RoleKeys<NotaryKey>,
    ) -> Result<Signed<Targets>, TrustError> {
        let targets = read_described(described, meta, keys.role())?;
        // 5.6.3: arbitrary software attack.
        let targets = targets.verify(keys)?;
        // In the place of 5.6.4: the snapshot names no version, so what was trusted before is asked.
        let known = self.known.targets.get(keys.role()).map(|known| known.as_ref());
        check_known(known, &targets, limit::TARGETS_BYTES, keys)?;
        // 5.6.5: freeze attack.
        self.check_not_expired(&targets)?;
        Ok(targets)
    }

    fn check_not_expired<T: Body>(&self, signed: &Signed<T>) -> Result<(), TrustError> {
        match self.reader {
            Reader::Client => signed.check_not_expired(self.now),
            Reader::Owner => Ok(()),
        }
    }

    fn at<T>(self, state: T) -> NotaryChain<T> {
        NotaryChain {
            gun: self.gun,
            now: self.now,
            reader: self.reader,
            known: self.known,
            root: self.root,
            state,
        }
    }
}

/// Returns the file of one version of the root.
pub(super) fn root_file(version: u64) -> Wanted {
    Wanted {
        file: format!("{version}.root.json"),
        max: limit::ROOT_BYTES,
    }
}

/// Names a file by its SHA-256, as the server serves it for ever.
pub(super) fn hashed(role: &str, meta: &FileMeta, max: usize) -> Wanted {
    let hash = meta.hashes.sha256().map(|hash| format!(".{}", hash.hex()));
    let length = usize::try_from(meta.length).unwrap_or(usize::MAX);
    Wanted {
        file: format!("{role}{}.json", hash.unwrap_or_default()),
        max: length.min(max),
    }
}

/// Returns what a snapshot says of a role's metadata.
pub(super) fn meta_of<'a>(snapshot: &'a Signed<Snapshot>, role: &str) -> Result<&'a FileMeta, TrustError> {
    let meta = snapshot.body().meta.get(role);
    meta.ok_or_else(|| TrustError::Unlisted { role: role.to_owned() })
}

/// Targets metadata whose length and hashes are those that the snapshot names (5.6.2); who signed them is not said by that.
///
/// They are taken as that role's alone, and only where the snapshot names just these.
#[derive(Clone, Debug)]
pub struct Described {
    role: String,
    meta: FileMeta,
    bytes: Bytes,
}

impl Described {
    pub(super) fn new(role: &str, meta: &FileMeta, bytes: Bytes) -> Result<Self, TrustError> {
        check_described(role, meta, &bytes)?;
        Ok(Self {
            role: role.to_owned(),
            meta: meta.clone(),
            bytes,
        })
    }
}

/// Reads targets metadata that are what the snapshot says of `wanted`; who signed them is not looked at.
pub(super) fn read_described(
    described: Described,
    meta: &FileMeta,
    wanted: &str,
) -> Result<Unverified<Targets>, TrustError> {
    let Described {
        role,
        meta: compared,
        bytes,
    } = described;
    if role != wanted {
        return Err(TrustError::malformed(wanted, format!("it is the metadata of {role}")));
    }
    if compared != *meta {
        let problem = "it was compared with what another snapshot says of it";
        return Err(TrustError::malformed(role, problem));
    }
    let targets = Unverified::<Targets>::read(&role, bytes, limit::TARGETS_BYTES)?;
    targets.unverified_body().check_children(&role)?;
    Ok(targets)
}

pub(super) fn is_described(meta: &FileMeta, bytes: &[u8]) -> bool {
    check_described("", meta, bytes).is_ok()
}

fn check_described(role: &str, meta: &FileMeta, bytes: &[u8]) -> Result<(), TrustError> {
    check_length(role, meta.length, bytes)?;
    meta.hashes.check(role, bytes)
}

/// Tells whether two files are the same, at once where one is the other.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    std::ptr::eq(one, other) || one == other
}

/// Compares a document with the one that was trusted before, if today's keys signed that.
fn check_known<T: Body>(
    known: Option<&[u8]>,
    new: &Signed<T>,
    max: usize,
    keys: &RoleKeys<NotaryKey>,
) -> Result<(), TrustError> {
    let Some(known) = known.filter(|known| !is_same(known, new.bytes())) else {
        return Ok(());
    };
    let known = Unverified::<T>::parse(new.name(), known, max).ok();
    let Some(known) = known.and_then(|known| known.verify(keys).ok()) else {
        return Ok(());
    };
    check_not_older(new.name(), known.version(), new.version())?;
    let versions = (known.version(), new.version());
    check_one_content(new.name(), versions, || known.says_the_same_as(new))
}

/// Refuses a root with a root key that stands in no certificate for the collection.
pub(super) fn check_certificates(gun: &str, root: &Signed<Root>) -> Result<(), TrustError> {
    for key in root.body().role_keys("root").keys().values() {
        let raw = || TrustError::Certificate {
            role: "root".to_owned(),
            expected: format!("root keys in certificates for {gun}"),
            found: format!("the key {} without one", key.id().short()),
        };
        key.certificate().ok_or_else(raw)?.check_name(gun)?;
    }
    Ok(())
}

/// Refuses a root that was not signed by enough keys whose certificates are in their time.
pub(super) fn check_dates(root: &Signed<Root>, now: Time) -> Result<(), TrustError> {
    let keys = root.body().role_keys("root");
    let certificates = root
        .signers()
        .iter()
        .filter_map(|id| keys.keys().get(id)?.certificate());
    let (mut good, mut problem) = (0, None);
    for certificate in certificates {
        match certificate.check_dates(now) {
            Ok(()) => good += 1,
            Err(error) => problem = Some(error),
        }
    }
    match problem {
        Some(error) if good < keys.threshold() => Err(error),
        _ => Ok(()),
    }
}
