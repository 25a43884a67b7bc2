//! An in-memory collection with a fixed clock, and forgery of its files with chosen keys.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bounds;
mod drafts;
mod edit;
mod lookup;
mod owner;
mod plain;
mod roles;
mod tamper;
mod trusts;
mod updater;
mod vouch;
mod workflow;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::edit::{Collection, Publication, RoleSpec};
use super::metadata::{MetaFile, TargetFile};
use super::{Bundle, Client, Hashes, Known, Target, TrustError, lookup};
use crate::json::{self, Limits};
use crate::key::{Signer, SigningKey};
use crate::time::{DAY, Time};

/// The time at which every repository here is made.
pub(super) fn start() -> Time {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

/// The key with a number; fixed, so that failures repeat.
pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32]).unwrap()
}

/// Keys as what can sign.
pub(super) fn signers<'a>(keys: impl IntoIterator<Item = &'a SigningKey>) -> Vec<&'a dyn Signer> {
    keys.into_iter().map(|key| key as &dyn Signer).collect()
}

pub(super) fn spec(numbers: &[u8], threshold: u32) -> RoleSpec {
    RoleSpec {
        keys: numbers.iter().map(|number| key(*number).tuf_key()).collect(),
        threshold,
    }
}

/// What a target with the content `bytes` is.
pub(super) fn file(bytes: &[u8]) -> TargetFile {
    TargetFile {
        length: bytes.len() as u64,
        hashes: Hashes::sha256(bytes),
        custom: Some(json!({ "note": "x" })),
        extra: Map::new(),
    }
}

/// A collection's files, and the numbers of the keys that its roles have.
#[derive(Clone)]
pub(super) struct Repository {
    pub(super) files: Bundle,
    pub(super) keys: BTreeMap<&'static str, Vec<u8>>,
}

pub(super) const ROOT: u8 = 1;
pub(super) const TARGETS: u8 = 2;
pub(super) const SNAPSHOT: u8 = 3;
pub(super) const TIMESTAMP: u8 = 4;
pub(super) const SEAL: u8 = 5;
pub(super) const TEAM: u8 = 6;
/// Keys that no collection here knows.
pub(super) const STRANGER: u8 = 99;

impl Repository {
    /// Makes a collection: `a` in targets, `team/b` in the role `team`, and a role `seal` without metadata.
    pub(super) fn new() -> Self {
        Self::of(Self::collection())
    }

    pub(super) fn collection() -> Collection<'static> {
        let one = |number| spec(&[number], 1);
        let mut made = Collection::new(&one(ROOT), &one(TARGETS), &one(SNAPSHOT), &one(TIMESTAMP), start()).unwrap();
        made.delegate("seal", &one(SEAL), &["seal/*".into()]).unwrap();
        made.delegate("team", &one(TEAM), &["team/*".into()]).unwrap();
        made.put_target("targets", "a", file(b"a"), start()).unwrap();
        made.put_target("team", "team/b", file(b"b"), start()).unwrap();
        made
    }

    pub(super) fn of(collection: Collection<'_>) -> Self {
        let mut made = Self {
            files: Bundle::default(),
            keys: BTreeMap::from([
                ("root", vec![ROOT]),
                ("targets", vec![TARGETS]),
                ("snapshot", vec![SNAPSHOT]),
                ("timestamp", vec![TIMESTAMP]),
                ("seal", vec![SEAL]),
                ("team", vec![TEAM]),
            ]),
        };
        made.publish(&made.sign(collection, start()));
        made
    }

    pub(super) fn sign(&self, collection: Collection<'_>, now: Time) -> Publication {
        let keys: Vec<_> = self.keys.values().flatten().map(|number| key(*number)).collect();
        collection.sign(&signers(&keys), now).unwrap()
    }

    pub(super) fn publish(&mut self, publication: &Publication) {
        for (name, bytes) in publication.files().files() {
            self.files.add(name, bytes);
        }
    }

    /// Loads the collection, changes it, signs and publishes it.
    pub(super) fn change(&mut self, now: Time, change: impl FnOnce(&mut Collection<'_>)) {
        let files = self.files.clone();
        let mut collection = Collection::load(&self.pin(), &files).unwrap();
        change(&mut collection);
        let made = self.sign(collection, now);
        self.publish(&made);
    }

    pub(super) fn pin(&self) -> Vec<u8> {
        self.files.get("1.root.json").unwrap().to_vec()
    }

    pub(super) fn find(&self, name: &str) -> Result<Target, TrustError> {
        self.find_at(name, start())
    }

    pub(super) fn find_at(&self, name: &str, now: Time) -> Result<Target, TrustError> {
        lookup(&self.pin(), &self.files, &Known::default(), name, now)
    }

    /// Looks up what a client finds that trusted `known`'s timestamp and snapshot before.
    pub(super) fn find_knowing(&self, known: &Self, name: &str) -> Result<Target, TrustError> {
        let newest = known.newest("snapshot");
        let known = Known {
            roots: Vec::new(),
            timestamp: known.files.get("timestamp.json").map(<[u8]>::to_vec),
            snapshot: known.files.get(&newest).map(<[u8]>::to_vec),
        };
        lookup(&self.pin(), &self.files, &known, name, start())
    }

    pub(super) fn client(&self) -> Client<&Bundle> {
        Client::refresh(&self.pin(), &Known::default(), &self.files, start()).unwrap()
    }

    /// Returns the newest file of a role.
    pub(super) fn newest(&self, role: &str) -> String {
        let suffix = format!("{role}.json");
        let version = |name: &str| {
            let number = name.strip_suffix(&suffix)?;
            number
                .strip_suffix('.')
                .map_or(Some(0), |number| number.parse::<u64>().ok())
        };
        let names = self.files.files().map(|(name, _)| name);
        let newest = names.filter_map(|name| Some((version(name)?, name))).max();
        newest.unwrap().1.to_owned()
    }

    /// Rewrites a role's newest file: changes the signed part, signs it with `keys`, and names it by its version.
    ///
    /// Snapshot and timestamp still describe the old file, until [`Repository::relink`].
    pub(super) fn forge(&mut self, role: &str, keys: &[u8], change: impl FnOnce(&mut Value)) {
        let name = self.newest(role);
        let mut envelope = json::parse(self.files.get(&name).unwrap(), Limits::integers(1 << 20)).unwrap();
        // Made of another role's file, it is for this one, unless `change` says otherwise.
        if let Some(says) = envelope["signed"].get_mut("x-imgkit-role") {
            *says = role.into();
        }
        change(&mut envelope["signed"]);
        let message = json::canonical(&envelope["signed"]).unwrap();
        let sign = |key: SigningKey| json!({ "keyid": key.id(), "sig": hex::encode(key.sign(&message).unwrap()) });
        envelope["signatures"] = keys.iter().map(|number| sign(key(*number))).collect();
        let version = envelope["signed"]["version"].as_u64();
        let renamed = super::file_name(role, version.filter(|_| role != "timestamp"));
        self.files.add(renamed, serde_json::to_vec(&envelope).unwrap());
    }

    /// Describes every file again in snapshot and timestamp, with the right keys.
    pub(super) fn relink(&mut self) {
        let snapshot_keys = self.keys["snapshot"].clone();
        let timestamp_keys = self.keys["timestamp"].clone();
        let has_file = |role: &&&str| !["root", "seal", "snapshot", "timestamp"].contains(*role);
        let described = self
            .keys
            .keys()
            .filter(has_file)
            .map(|role| (*role, self.describe(role)));
        let described: Vec<_> = described.collect();
        self.forge("snapshot", &snapshot_keys, |signed| {
            for (role, meta) in described {
                signed["meta"][format!("{role}.json")] = meta;
            }
        });
        let meta = self.describe("snapshot");
        self.forge("timestamp", &timestamp_keys, |signed| {
            signed["meta"]["snapshot.json"] = meta
        });
    }

    fn describe(&self, role: &str) -> Value {
        let bytes = self.files.get(&self.newest(role)).unwrap();
        let value = json::parse(bytes, Limits::integers(1 << 26)).unwrap();
        let version = value["signed"]["version"].as_u64().unwrap_or(1);
        serde_json::to_value(MetaFile::describe(version, bytes)).unwrap()
    }

    /// Forges a role's file with its own keys, and links it.
    pub(super) fn forge_linked(&mut self, role: &str, change: impl FnOnce(&mut Value)) {
        let keys = self.keys[role].clone();
        self.forge(role, &keys, change);
        self.relink();
    }
}

pub(super) fn days(days: i64) -> Time {
    start().plus(days * DAY)
}
