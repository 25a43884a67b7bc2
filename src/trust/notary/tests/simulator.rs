//! A Notary collection in memory, with fixed Ed25519 keys, root keys in certificates, and a fixed clock.

use std::collections::BTreeMap;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::*;
use crate::failure::Failure;
use crate::key::KeyId;
use crate::trust::Source;

pub(super) const GUN: &str = "registry.example/team/app";

/// A key of any role but the root, by number.
pub(super) fn key(number: u8) -> (NotaryKey, SigningKey) {
    ed25519(number)
}

/// A root key with its certificate.
pub(super) struct RootKey {
    pub(super) key: NotaryKey,
    pair: EcdsaKeyPair,
}

impl RootKey {
    pub(super) fn new(gun: &str, dates: (Time, Time)) -> Self {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &rng).unwrap();
        let template = PublicKey::from_pem(include_str!("../../../key/testdata/p256.pem")).unwrap();
        let head = template.spki_der().len() - 65;
        let spki = [&template.spki_der()[..head], pair.public_key().as_ref()].concat();
        let public = PublicKey::from_spki_der(&spki).unwrap();
        let new = NewCertificate {
            gun,
            public: &public,
            serial: [7; 16],
            dates,
        };
        let pem = new
            .sign(Scheme::EcdsaP256Sha256, |message| sign(&pair, message))
            .unwrap();
        Self {
            key: NotaryKey::x509(&pem).unwrap(),
            pair,
        }
    }

    pub(super) fn good() -> Self {
        Self::new(GUN, (now(), now().plus(3650 * DAY)))
    }
}

fn sign(pair: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    Ok(pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
}

pub(super) const TARGETS: u8 = 2;
pub(super) const SNAPSHOT: u8 = 3;
pub(super) const TIMESTAMP_KEY: u8 = 4;
pub(super) const RELEASES_KEY: u8 = 5;
pub(super) const ALICE: u8 = 6;

/// What a collection says, and who signs it.
pub(super) struct Repository {
    pub(super) roots: Vec<(Root, Vec<Vec<u8>>)>,
    pub(super) root_keys: Vec<RootKey>,
    pub(super) targets: BTreeMap<String, (Targets, u8)>,
    /// Versions of snapshot and timestamp.
    pub(super) version: u64,
    /// Roles that the snapshot does not list.
    pub(super) hidden: Vec<String>,
    /// What the files are changed to before they are served.
    pub(super) served: Served,
}

impl Repository {
    /// Makes a collection: `a` and `both` in targets, `both` and `r` in targets/releases, `bin/x` and `out` in targets/alice,
    /// which is trusted with `bin/` alone.
    pub(super) fn new() -> Self {
        let mut repository = Self {
            roots: Vec::new(),
            root_keys: Vec::new(),
            targets: BTreeMap::new(),
            version: 1,
            hidden: Vec::new(),
            served: Served::default(),
        };
        repository.rotate_root(RootKey::good());
        let mut top = Targets::new(now().plus(DAY));
        top.delegations.keys.insert(key(RELEASES_KEY).0);
        top.delegations.keys.insert(key(ALICE).0);
        top.delegations.roles = vec![
            delegated("targets/alice", ALICE, &["bin/"]),
            delegated("targets/releases", RELEASES_KEY, &[""]),
        ];
        put(&mut top, "a", b"a");
        put(&mut top, "both", b"top");
        let mut releases = Targets::new(now().plus(DAY));
        put(&mut releases, "both", b"releases");
        put(&mut releases, "r", b"r");
        let mut alice = Targets::new(now().plus(DAY));
        put(&mut alice, "bin/x", b"x");
        put(&mut alice, "out", b"out");
        repository.targets.insert("targets".into(), (top, TARGETS));
        repository.targets.insert(RELEASES.into(), (releases, RELEASES_KEY));
        repository.targets.insert("targets/alice".into(), (alice, ALICE));
        repository.publish();
        repository
    }

    /// Adds a root version with another root key, signed by the key before and by the new one.
    pub(super) fn rotate_root(&mut self, new: RootKey) {
        let mut root = Root::new(now().plus(DAY));
        root.header.version = self.roots.len() as u64 + 1;
        for number in [TARGETS, SNAPSHOT, TIMESTAMP_KEY] {
            root.keys.insert(key(number).0);
        }
        root.keys.insert(new.key.clone());
        let role = |id: &KeyId| Role::of([id.clone()], 1);
        root.roles = BTreeMap::from([
            ("root".into(), role(new.key.id())),
            ("targets".into(), role(key(TARGETS).0.id())),
            ("snapshot".into(), role(key(SNAPSHOT).0.id())),
            ("timestamp".into(), role(key(TIMESTAMP_KEY).0.id())),
        ]);
        self.root_keys.push(new);
        self.add_root(root);
    }

    /// Adds a root version that the last two root keys sign.
    pub(super) fn add_root(&mut self, root: Root) {
        let mut draft = Draft::new(root.clone()).unwrap();
        for signer in self.root_keys.iter().rev().take(2) {
            draft.sign(&signer.key, |message| sign(&signer.pair, message)).unwrap();
        }
        self.roots.push((root, vec![draft.write().unwrap()]));
    }

    /// Writes all files.
    pub(super) fn publish(&mut self) {
        let mut files = BTreeMap::new();
        for (at, (_, bytes)) in self.roots.iter().enumerate() {
            files.insert(format!("{}.root.json", at + 1), bytes[0].clone());
            files.insert("root.json".to_owned(), bytes[0].clone());
        }
        let mut meta = BTreeMap::from([("root".to_owned(), FileMeta::describe(&files["root.json"]))]);
        for (role, (targets, number)) in &self.targets {
            let bytes = signed(targets, *number);
            if !self.hidden.contains(role) {
                meta.insert(role.clone(), FileMeta::describe(&bytes));
            }
            files.insert(format!("{role}.json"), bytes);
        }
        let mut snapshot = Snapshot::new(now().plus(DAY), meta);
        snapshot.header.version = self.version;
        self.served = Served(files);
        self.finish(snapshot);
    }

    /// Writes the snapshot, and the timestamp that names it.
    pub(super) fn finish(&mut self, snapshot: Snapshot) {
        let snapshot = signed(&snapshot, SNAPSHOT);
        let mut timestamp = Timestamp::new(now().plus(DAY), FileMeta::describe(&snapshot));
        timestamp.header.version = self.version;
        self.served
            .0
            .insert("timestamp.json".into(), signed(&timestamp, TIMESTAMP_KEY));
        self.served.0.insert("snapshot.json".into(), snapshot);
    }

    /// Returns what one who trusts everything that is served now would remember.
    pub(super) fn known(&self) -> NotaryKnown {
        let file = |name: &str| self.served.0.get(name).cloned();
        NotaryKnown {
            root: file("root.json"),
            timestamp: file("timestamp.json"),
            snapshot: file("snapshot.json"),
            targets: self
                .targets
                .keys()
                .map(|role| (role.clone(), file(&format!("{role}.json")).unwrap().into()))
                .collect(),
        }
    }

    pub(super) fn client(&self, pin: &NotaryPin, known: NotaryKnown) -> Result<NotaryClient<Served>, TrustError> {
        NotaryClient::refresh(GUN, pin, known, self.served.clone(), now())
    }

    pub(super) fn fresh(&self) -> Result<NotaryClient<Served>, TrustError> {
        self.client(&NotaryPin::UnsafeFirstUse, NotaryKnown::default())
    }
}

pub(super) fn delegated(name: &str, number: u8, paths: &[&str]) -> DelegatedRole {
    DelegatedRole {
        name: name.into(),
        keyids: vec![key(number).0.id().clone()],
        threshold: 1,
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        extra: serde_json::Map::new(),
    }
}

pub(super) fn put(targets: &mut Targets, name: &str, content: &[u8]) {
    targets.targets.insert(name.into(), FileMeta::describe(content));
}

pub(super) fn signed<T: Body>(body: &T, number: u8) -> Vec<u8> {
    let (key, signer) = key(number);
    let mut draft = Draft::new(body.clone()).unwrap();
    draft.sign(&key, |message| signer.sign(message)).unwrap();
    draft.write().unwrap()
}

/// Files by name; one that is asked for by a hash is served whatever its hash is.
#[derive(Clone, Debug, Default)]
pub(super) struct Served(pub(super) BTreeMap<String, Vec<u8>>);

impl Source for Served {
    fn file(&mut self, name: &str, _max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let plain = name.strip_suffix(".json").and_then(|name| name.rsplit_once('.'));
        let plain = plain
            .filter(|(_, hash)| hash.len() == 64)
            .map(|(role, _)| format!("{role}.json"));
        Ok(self.0.get(plain.as_deref().unwrap_or(name)).cloned())
    }
}
