//! What a server's store keeps of a collection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::Serialize;

use super::ready::Ready;
use super::route::{Gun, HeldRole};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::key::KeyId;
use crate::limit;
use crate::time::{DAY, Time};
use crate::trust::notary::{self, NewFile, Timestamp, Unverified, is_delegated_role, listed_roles};

/// How long before a timestamp ends it is made anew: clients find one that is good for two days at least.
pub(super) const RENEW_TIMESTAMP: i64 = 2 * DAY;

/// How long before a server's snapshot ends it is made anew, with a timestamp: longer than a timestamp lives, so that none is missed.
pub(super) const RENEW_SNAPSHOT: i64 = 30 * DAY;

/// How long a renewal that failed waits before it is tried again by a request.
const RETRY: i64 = 60;

/// The published files of a collection, by role.
#[derive(Debug, Default)]
pub(super) struct Collection {
    /// Counts publications and deletions; 0 before the first.
    pub(super) revision: u64,
    files: BTreeMap<String, Arc<Ready>>,
    /// Published files that are not here: they are read when they are asked for.
    left_out: BTreeMap<String, LeftOut>,
    /// From when on (seconds since 1970) the timestamp is due.
    due: AtomicI64,
}

/// The hash and version of a file.
pub(super) type LeftOut = (Digest, u64);

impl Collection {
    /// Makes a collection of the files that its snapshot names; `behind` are those of roles that were taken away.
    pub(super) fn new(revision: u64, files: BTreeMap<String, Arc<Ready>>, behind: BTreeMap<String, LeftOut>) -> Self {
        let due = files.get("timestamp").and_then(|file| {
            let timestamp = Unverified::<Timestamp>::parse("timestamp", file.body(), limit::TIMESTAMP_BYTES).ok()?;
            Some(timestamp.unverified_body().header.expires.plus(-RENEW_TIMESTAMP).unix())
        });
        Self {
            revision,
            files,
            left_out: behind,
            due: AtomicI64::new(due.unwrap_or(i64::MAX)),
        }
    }

    /// Returns the collection without its largest files, so that it costs about `max`.
    pub(super) fn part(self, max: usize) -> Self {
        let mut smallest_first: Vec<_> = self.files.into_iter().collect();
        smallest_first.sort_by_key(|(_, file)| file.cost());
        let (mut cost, mut files, mut left_out) = (0, BTreeMap::new(), self.left_out);
        for (role, file) in smallest_first {
            cost += role.len() + file.cost();
            match cost <= max {
                true => drop(files.insert(role, file)),
                false => drop(left_out.insert(role, (file.sha256(), file.version()))),
            }
        }
        Self {
            files,
            left_out,
            ..self
        }
    }

    pub(super) fn is_published(&self) -> bool {
        !(self.files.is_empty() && self.left_out.is_empty())
    }

    pub(super) fn file(&self, role: &str) -> Option<&Arc<Ready>> {
        self.files.get(role)
    }

    /// Returns the hash of a role's file that is published and not here.
    pub(super) fn left_out(&self, role: &str) -> Option<Digest> {
        self.left_out.get(role).map(|(sha256, _)| *sha256)
    }

    /// Returns what publications are planned on, of a collection as the store gives it.
    pub(super) fn as_published(&self) -> notary::Published<'_> {
        let files = self.files.iter();
        let behind = self.left_out.iter();
        notary::Published {
            files: files
                .map(|(role, file)| (role.as_str(), file.body().as_ref()))
                .collect(),
            left_behind: behind.map(|(role, (_, version))| (role.as_str(), *version)).collect(),
        }
    }

    /// Tells whether the timestamp should be made anew at `now`; then it says so to nobody else for a while.
    pub(super) fn take_due(&self, now: Time) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        if now.unix() < due {
            return false;
        }
        let later = now.plus(RETRY).unix();
        let taken = self
            .due
            .compare_exchange(due, later, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok()
    }

    /// Returns about how much memory it takes.
    pub(super) fn cost(&self) -> usize {
        let files = self.files.iter().map(|(role, file)| role.len() + file.cost());
        let left_out = self.left_out.keys().map(|role| role.len() + size_of::<LeftOut>());
        files.chain(left_out).sum()
    }
}

/// Tells which of a collection's roles a store reads: those of the top level, and those that the snapshot names. Others left a file
/// behind when they were taken away. Of a snapshot that cannot be read, whoever judges it says so: it leaves out nobody.
pub(super) struct ReadRoles(Option<BTreeSet<String>>);

impl ReadRoles {
    pub(super) fn by(snapshot: Option<&[u8]>) -> Self {
        Self(snapshot.and_then(listed_roles))
    }

    pub(super) fn has(&self, role: &str) -> bool {
        !is_delegated_role(role) || self.0.as_ref().is_none_or(|listed| listed.contains(role))
    }
}

/// A private key of the server.
#[derive(Clone, Debug)]
pub(super) struct HeldKey {
    pub(super) role: HeldRole,
    pub(super) id: KeyId,
    /// What the store keeps of it: [`super::keyring`] knows what it means.
    pub(super) kept: Vec<u8>,
    /// Whether a published root has named it.
    pub(super) used: bool,
}

/// What is published at once.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) gun: Gun,
    /// The revision that it was planned on.
    pub(super) base: u64,
    pub(super) files: Vec<NewFile>,
    /// The server's keys that the root names.
    pub(super) used: BTreeSet<KeyId>,
    pub(super) at: Time,
}

/// How a publication ended.
#[derive(Debug)]
pub(super) enum Published {
    Done,
    /// Not at all: others published since it was planned.
    Overtaken,
}

/// A line of the changefeed, with the member names of the original.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(rename = "CreatedAt")]
    pub(super) at: Time,
    #[serde(rename = "GUN")]
    pub(super) gun: String,
    /// The timestamp's; 0 for a deletion.
    #[serde(rename = "Version")]
    pub(super) version: u64,
    /// The timestamp's; empty for a deletion.
    #[serde(rename = "SHA256")]
    pub(super) sha256: String,
    #[serde(rename = "Category")]
    pub(super) category: &'static str,
}

impl Change {
    pub(super) const UPDATE: &'static str = "update";
    pub(super) const DELETION: &'static str = "deletion";
}

/// Which lines of the changefeed are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChangeQuery {
    pub(super) gun: Option<Gun>,
    /// Lines after this one, or, going back, before it; `None` going back is from the newest.
    pub(super) from: Option<u64>,
    pub(super) count: usize,
    pub(super) back: bool,
}

impl ChangeQuery {
    /// Reads the original's parameters: a negative number of records, or a negative id, goes back.
    pub(super) fn new(gun: Option<Gun>, change_id: i64, records: i64) -> Self {
        let back = change_id < 0 || records < 0;
        // 0 is the original's page of 100.
        let count = if records == 0 { 100 } else { records.unsigned_abs() };
        let from = u64::try_from(change_id).ok().filter(|id| !back || *id > 0);
        Self {
            gun,
            from,
            count: usize::try_from(count).unwrap_or(usize::MAX).min(limit::CHANGES_AT_ONCE),
            back,
        }
    }
}

/// Says that what the store holds is not what it wrote.
pub(super) fn damaged(gun: impl std::fmt::Display, problem: impl std::fmt::Display) -> Failure {
    Failure::unavailable(
        gun,
        format!("the server's store is damaged: {problem}; restore it from a backup"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_part_knows_what_was_left_out() {
        let file = |len: usize| {
            let bytes = vec![b' '; len];
            let sha256 = Digest::sha256(&bytes);
            Arc::new(Ready::new(bytes.into(), sha256, 1, Time::EPOCH))
        };
        let sizes = [
            ("root", 500),
            ("targets", 90_000),
            ("targets/x", 9_000),
            ("timestamp", 400),
        ];
        let files = sizes.map(|(role, len)| (role.to_owned(), file(len)));
        let whole = Collection::new(7, files.into(), BTreeMap::new());
        let cost = whole.cost();
        let part = whole.part(25_000);
        assert!(part.cost() < 25_000 && cost > 190_000, "{} of {cost}", part.cost());
        for (role, len) in sizes {
            let left_out = (role == "targets").then(|| file(len).sha256());
            assert_eq!(
                (part.file(role).is_none(), part.left_out(role)),
                (role == "targets", left_out)
            );
        }
        assert!(part.is_published() && part.revision == 7);
        assert_eq!(part.left_out("never"), None);
    }

    #[test]
    fn the_changefeeds_parameters_mean_what_the_originals_do() {
        let query = |change_id, records| {
            let ChangeQuery { from, count, back, .. } = ChangeQuery::new(None, change_id, records);
            (from, count, back)
        };
        assert_eq!(query(0, 0), (Some(0), 100, false));
        assert_eq!(query(5, 3), (Some(5), 3, false));
        assert_eq!(query(0, -2), (None, 2, true));
        assert_eq!(query(-1, 4), (None, 4, true));
        assert_eq!(query(7, -2), (Some(7), 2, true));
        assert_eq!(query(i64::MIN, i64::MIN), (None, limit::CHANGES_AT_ONCE, true));
    }
}
