//! The owner of a collection: changes it as the library lets owners do, and forges what it does not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imgkit::digest::Digest;
use imgkit::json::canonical;
use imgkit::key::{Passphrase, Signer, SigningKey};
use imgkit::store::TrustDir;
use imgkit::store::key_store::open_key;
use imgkit::time::Time;
use imgkit::trust::edit::Collection;
use imgkit::trust::{Client, ImageTarget, Known};
use serde_json::{Value, json};

use super::node::{NOW, Node, PASSPHRASE};

/// A collection with its keys at hand.
pub struct Owner {
    dir: PathBuf,
    pin: Vec<u8>,
    keys: BTreeMap<String, SigningKey>,
}

/// The time at which everything in the fixture happens.
pub fn now() -> Time {
    NOW.parse().unwrap()
}

/// A new key, the same for the same number.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32]).unwrap()
}

impl Owner {
    /// Opens the keys of these roles of a collection, and those that sign whatever changes.
    pub fn of(node: &Node, collection: &str, roles: &[&str]) -> Self {
        Self::at(&node.path(""), collection, roles)
    }

    /// Does the same where the directories `keys` and `trust` are in `dir`.
    pub fn at(dir: &Path, collection: &str, roles: &[&str]) -> Self {
        let keys = dir.join("keys").join(collection);
        let open = |role: &&str| {
            let mut files = fs::read_dir(keys.join(role)).unwrap();
            let file = files.next().unwrap().unwrap().path();
            let key = open_key(&file, &Passphrase::new(PASSPHRASE).unwrap()).unwrap();
            ((*role).to_owned(), key)
        };
        Self {
            dir: dir.join("trust").join(collection),
            pin: fs::read(keys.join("root.json")).unwrap(),
            keys: roles.iter().chain(&["snapshot", "timestamp"]).map(open).collect(),
        }
    }

    pub fn key(&self, role: &str) -> &SigningKey {
        &self.keys[role]
    }

    /// Changes the collection as its owner, who has these keys besides, and publishes it.
    pub fn change(&self, new: &[&SigningKey], work: impl FnOnce(&mut Collection)) {
        let dir = TrustDir::at(&self.dir);
        let mut collection = Collection::load(&self.pin, &dir).unwrap();
        work(&mut collection);
        let keys = self.keys.values().chain(new.iter().copied());
        let keys: Vec<_> = keys.map(|key| key as &dyn Signer).collect();
        let publication = collection.sign(&keys, now()).unwrap();
        dir.publisher().unwrap().publish(&publication).unwrap();
    }

    /// What the collection signs under an image's name.
    pub fn image(&self, name: &str) -> ImageTarget {
        let dir = TrustDir::at(&self.dir);
        let mut client = Client::refresh(&self.pin, &Known::default(), &dir, now()).unwrap();
        client.target(name).unwrap().image().unwrap()
    }

    /// Publishes the next version of a role's metadata, changed in any way and signed by any key; snapshot and timestamp fit it.
    pub fn forge(&self, role: &str, key: &SigningKey, change: impl FnOnce(&mut Value)) {
        let versioned = |role: &str, version: &Value| format!("{version}.{role}.json");
        if role == "root" {
            let exists = |version: &u64| self.dir.join(versioned("root", &json!(version))).exists();
            let version = (1..).take_while(exists).last().unwrap();
            let mut root = self.read(&versioned("root", &json!(version)));
            change(&mut root);
            self.write("root", root, key);
            return;
        }
        let mut timestamp = self.read("timestamp.json");
        if role == "timestamp" {
            change(&mut timestamp);
            self.write("timestamp", timestamp, key);
            return;
        }
        let version = &timestamp["meta"]["snapshot.json"]["version"];
        let mut snapshot = self.read(&versioned("snapshot", version));
        let snapshot_key = match role {
            "snapshot" => {
                change(&mut snapshot);
                key
            }
            _ => {
                let meta = format!("{role}.json");
                let mut targets = self.read(&versioned(role, &snapshot["meta"][&meta]["version"]));
                change(&mut targets);
                snapshot["meta"][&meta] = self.write(role, targets, key);
                self.key("snapshot")
            }
        };
        timestamp["meta"]["snapshot.json"] = self.write("snapshot", snapshot, snapshot_key);
        self.write("timestamp", timestamp, self.key("timestamp"));
    }

    fn read(&self, name: &str) -> Value {
        let file: Value = serde_json::from_slice(&fs::read(self.dir.join(name)).unwrap()).unwrap();
        file["signed"].clone()
    }

    /// Signs and writes the next version; returns what a snapshot says of it.
    fn write(&self, role: &str, mut signed: Value, key: &SigningKey) -> Value {
        let version = signed["version"].as_u64().unwrap() + 1;
        signed["version"] = version.into();
        let sig = hex::encode(key.sign(&canonical(&signed).unwrap()).unwrap());
        let file = json!({ "signed": signed, "signatures": [{ "keyid": key.id(), "sig": sig }] });
        let bytes = serde_json::to_vec(&file).unwrap();
        let name = match role {
            "timestamp" => "timestamp.json".to_owned(),
            _ => format!("{version}.{role}.json"),
        };
        fs::write(self.dir.join(name), &bytes).unwrap();
        let hashes = json!({ "sha256": Digest::sha256(&bytes).hex() });
        json!({ "version": version, "length": bytes.len(), "hashes": hashes })
    }
}

/// The present, by the clock.
pub fn clock() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time::from_unix(since.unwrap().as_secs().try_into().unwrap()).unwrap()
}
