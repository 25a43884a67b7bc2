//! The server's checks, over what the real client uploaded, and over a collection with known keys.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
use super::*;
use crate::key::Algorithm;
use crate::key::Scheme;
use crate::key::Signer as _;
use crate::key::SigningKey;
use crate::trust::notary::{DelegatedRole, Delegations, NewCertificate};
use serde_json::Map;

const GUN: &str = "example.com/golden/app";

/// What the real client uploaded over twenty steps, each of which the real server accepted.
const UPLOADS: &str = include_str!("../testdata/uploads.jsonl");

fn now() -> Time {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

/// Owned files by role.
type Owned = BTreeMap<String, Vec<u8>>;

fn borrowed(files: &Owned) -> Files<'_> {
    files
        .iter()
        .map(|(role, bytes)| (role.as_str(), bytes.as_slice()))
        .collect()
}

/// Everything that was published last of each role, as a store gives it.
fn published_of(files: &Owned) -> Published<'_> {
    let listed = files.get("snapshot").and_then(|snapshot| listed_roles(snapshot));
    let is_listed = |role: &str| !is_delegated_role(role) || listed.as_ref().is_none_or(|roles| roles.contains(role));
    let (files, behind): (Files<'_>, Files<'_>) = borrowed(files).into_iter().partition(|(role, _)| is_listed(role));
    let version = |(role, bytes)| (role, version_of(role, bytes).unwrap());
    Published {
        files,
        left_behind: behind.into_iter().map(version).collect(),
    }
}

#[test]
fn what_the_real_client_uploads_is_taken_step_by_step() {
    let mut published = Owned::new();
    for (step, line) in UPLOADS.lines().enumerate() {
        let uploaded: BTreeMap<String, String> = serde_json::from_str(line).unwrap();
        let uploaded: Owned = uploaded
            .into_iter()
            .map(|(role, text)| (role, text.into_bytes()))
            .collect();
        let bytes = uploaded.get("root").or_else(|| published.get("root")).unwrap();
        let root = Unverified::<Root>::parse("root", bytes, limit::ROOT_BYTES).unwrap();
        let roles = &root.unverified_body().roles;
        // The server has the timestamp's key, and the snapshot's where the client uploads no snapshot.
        let mut held: BTreeSet<KeyId> = roles["timestamp"].keyids.iter().cloned().collect();
        if !uploaded.contains_key("snapshot") {
            held.extend(roles["snapshot"].keyids.iter().cloned());
        }
        let plan = Plan::of_upload(GUN, &borrowed(&uploaded), &published_of(&published), &held, now());
        let plan = plan.unwrap_or_else(|error| panic!("upload {step}: {error}"));
        assert_eq!(plan.files.len(), uploaded.len(), "upload {step}");
        for file in plan.files {
            published.insert(file.role, file.bytes);
        }
        // Its keys are the real server's: what it signs stands in here unsigned.
        let snapshot = match plan.snapshot {
            SnapshotPart::Given(meta) => meta,
            SnapshotPart::Own(own) => {
                let bytes = Draft::new(own.body).unwrap().write().unwrap();
                let meta = FileMeta::describe(&bytes);
                published.insert("snapshot".into(), bytes);
                meta
            }
        };
        let mut timestamp = plan.timestamp.body;
        assert_eq!(timestamp.header.version, step as u64 + 1);
        timestamp.meta.insert("snapshot".into(), snapshot);
        published.insert("timestamp".into(), Draft::new(timestamp).unwrap().write().unwrap());
    }
    let snapshot = Unverified::<Snapshot>::parse("snapshot", &published["snapshot"], limit::SNAPSHOT_BYTES).unwrap();
    // The last steps removed the delegations; their files are no longer part of the collection.
    let named: Vec<_> = snapshot.unverified_body().meta.keys().cloned().collect();
    let targets = Unverified::<Targets>::parse("targets", &published["targets"], limit::TARGETS_BYTES).unwrap();
    let delegated = &targets.unverified_body().delegations.roles;
    for role in named.iter().filter(|role| is_delegated_role(role)) {
        let mut above = delegated.iter().map(|delegated| &delegated.name);
        assert!(above.any(|name| role.starts_with(name.as_str())), "{role} was removed");
    }
}

/// A key of the collection under test.
struct Key {
    notary: NotaryKey,
    signer: SigningKey,
}

impl Key {
    fn plain() -> Self {
        let signer = SigningKey::generate_as(Algorithm::P256).unwrap();
        let notary = NotaryKey::plain(signer.public().clone()).unwrap();
        Self { notary, signer }
    }

    fn root(gun: &str, until: Time) -> Self {
        let signer = SigningKey::generate_as(Algorithm::P256).unwrap();
        let new = NewCertificate {
            gun,
            public: signer.public(),
            serial: [1; 16],
            dates: (now().plus(-DAY), until),
        };
        let pem = new
            .sign(Scheme::EcdsaP256Sha256, |message| signer.sign(message))
            .unwrap();
        let notary = NotaryKey::x509(&pem).unwrap();
        Self { notary, signer }
    }

    fn id(&self) -> KeyId {
        self.notary.id().clone()
    }
}

fn signed<T: Body>(body: &T, keys: &[&Key]) -> Vec<u8> {
    let mut draft = Draft::new(body.clone()).unwrap();
    for key in keys {
        draft.sign(&key.notary, |message| key.signer.sign(message)).unwrap();
    }
    draft.write().unwrap()
}

/// A collection that is published, whose keys the test has.
struct Fixture {
    root_key: Key,
    targets_key: Key,
    snapshot_key: Key,
    timestamp_key: Key,
    delegate: Key,
    held: BTreeSet<KeyId>,
    root: Root,
    targets: Targets,
    published: Owned,
}

impl Fixture {
    /// The server has the timestamp's key and the snapshot's.
    fn new() -> Self {
        let root_key = Key::root(GUN, now().plus(365 * DAY));
        let [targets_key, snapshot_key, timestamp_key, delegate] = [(); 4].map(|()| Key::plain());
        let mut root = Root::new(now().plus(365 * DAY));
        let keys = [&root_key, &targets_key, &snapshot_key, &timestamp_key];
        for (role, key) in ["root", "targets", "snapshot", "timestamp"].into_iter().zip(keys) {
            root.keys.insert(key.notary.clone());
            root.roles.insert(role.into(), Role::of([key.id()], 1));
        }
        let mut targets = Targets::new(now().plus(365 * DAY));
        targets.delegations = delegations(&delegate, &["targets/x"]);
        let mut fixture = Self {
            held: [snapshot_key.id(), timestamp_key.id()].into(),
            root_key,
            targets_key,
            snapshot_key,
            timestamp_key,
            delegate,
            root,
            targets,
            published: Owned::new(),
        };
        let first = [fixture.root_file(), fixture.targets_file()].into();
        fixture.publish(&first).unwrap();
        fixture
    }

    fn root_file(&self) -> (String, Vec<u8>) {
        ("root".into(), signed(&self.root, &[&self.root_key]))
    }

    fn targets_file(&self) -> (String, Vec<u8>) {
        ("targets".into(), signed(&self.targets, &[&self.targets_key]))
    }

    /// The next version of the targets.
    fn next_targets(&mut self) -> (String, Vec<u8>) {
        self.targets.header.version += 1;
        self.targets_file()
    }

    fn delegated_file(&self, role: &str, version: u64) -> (String, Vec<u8>) {
        let mut body = Targets::new(now().plus(DAY));
        body.header.version = version;
        (role.into(), signed(&body, &[&self.delegate]))
    }

    fn judge(&self, uploaded: &Owned) -> Result<Plan, UploadError> {
        Plan::of_upload(
            GUN,
            &borrowed(uploaded),
            &published_of(&self.published),
            &self.held,
            now(),
        )
    }

    fn sign(&self, plan: Plan) -> Vec<NewFile> {
        let own = [&self.snapshot_key, &self.timestamp_key];
        let files = plan.sign(|key, message| {
            let own = own.iter().find(|own| own.notary == *key).unwrap();
            own.signer.sign(message)
        });
        files.unwrap()
    }

    fn publish(&mut self, uploaded: &Owned) -> Result<(), UploadError> {
        let plan = self.judge(uploaded)?;
        for file in self.sign(plan) {
            self.published.insert(file.role, file.bytes);
        }
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let snapshot = Unverified::<Snapshot>::parse("snapshot", &self.published["snapshot"], limit::SNAPSHOT_BYTES);
        snapshot.unwrap().unverified_body().clone()
    }

    /// A snapshot of what is published with `files` above it.
    fn uploaded_snapshot(&self, files: &Owned) -> Snapshot {
        let mut snapshot = self.snapshot();
        snapshot.header.version += 1;
        for (role, bytes) in files {
            snapshot.meta.insert(role.clone(), FileMeta::describe(bytes));
        }
        snapshot
    }
}

fn delegations(key: &Key, roles: &[&str]) -> Delegations {
    let mut delegations = Delegations::default();
    delegations.keys.insert(key.notary.clone());
    delegations.roles = roles
        .iter()
        .map(|name| DelegatedRole {
            name: (*name).into(),
            keyids: vec![key.id()],
            threshold: 1,
            paths: vec![String::new()],
            extra: Map::new(),
        })
        .collect();
    delegations
}

fn text(refused: Result<Plan, UploadError>) -> String {
    refused.unwrap_err().to_string()
}

#[test]
fn what_is_planned_is_signed_and_verifies() {
    let mut fixture = Fixture::new();
    let uploaded = [fixture.delegated_file("targets/x", 1)].into();
    fixture.publish(&uploaded).unwrap();
    let snapshot = fixture.snapshot();
    assert_eq!(snapshot.header.version, 2);
    for (role, meta) in &snapshot.meta {
        meta.hashes.check(role, &fixture.published[role]).unwrap();
    }
    assert_eq!(snapshot.meta.len(), 3);
    let timestamp =
        Unverified::<Timestamp>::parse("timestamp", &fixture.published["timestamp"], limit::TIMESTAMP_BYTES);
    let timestamp = timestamp.unwrap().verify(&fixture.root.role_keys("timestamp")).unwrap();
    let named = timestamp.body().snapshot().unwrap();
    named.hashes.check("snapshot", &fixture.published["snapshot"]).unwrap();
    assert_eq!(timestamp.header().expires, now().plus(TIMESTAMP_LIFETIME));
}

#[test]
fn a_root_follows_the_published_one_signed_by_both() {
    let mut fixture = Fixture::new();
    assert!(matches!(
        Plan::of_upload(GUN, &Files::new(), &Published::default(), &fixture.held, now()),
        Err(UploadError::Whole(_))
    ));
    let same = [fixture.root_file()].into();
    assert!(matches!(fixture.judge(&same), Err(UploadError::Version { .. })));
    fixture.root.header.version = 3;
    let skipped = [fixture.root_file()].into();
    assert_eq!(
        text(fixture.judge(&skipped)),
        "Root modifications must increment the version. Current 1, new 3"
    );
    // Another key, with and without the old one's signature.
    let new = Key::root(GUN, now().plus(365 * DAY));
    fixture.root.header.version = 2;
    fixture.root.keys.insert(new.notary.clone());
    fixture.root.roles.insert("root".into(), Role::of([new.id()], 1));
    let file = |keys: &[&Key]| Owned::from([("root".into(), signed(&fixture.root, keys))]);
    for too_few in [&[&new][..], &[&fixture.root_key]] {
        assert!(matches!(fixture.judge(&file(too_few)), Err(UploadError::Root(_))));
    }
    assert!(fixture.judge(&file(&[&fixture.root_key, &new])).is_ok());
}

#[test]
fn a_roots_certificate_is_for_its_collection_and_in_its_time() {
    let fixture = Fixture::new();
    let raw = Key::plain();
    let cases = [
        (
            Key::root("example.com/other", now().plus(DAY)),
            "a leaf certificate for example.com/golden/app",
        ),
        (Key::root(GUN, now().plus(-1)), "is good from"),
        (raw, "root keys in certificates for example.com/golden/app"),
    ];
    for (key, expected) in cases {
        let mut root = fixture.root.clone();
        root.keys.insert(key.notary.clone());
        root.roles.insert("root".into(), Role::of([key.id()], 1));
        let files = [("root".into(), signed(&root, &[&key])), fixture.targets_file()].into();
        let refused = Plan::of_upload(GUN, &borrowed(&files), &Published::default(), &fixture.held, now());
        let Err(UploadError::Root(problem)) = refused else {
            panic!("{expected}")
        };
        assert!(problem.contains(expected), "{problem}");
    }
    // `PREFIX*` is good for all that begin so.
    let key = Key::root("example.com/*", now().plus(DAY));
    let mut root = fixture.root.clone();
    root.keys.insert(key.notary.clone());
    root.roles.insert("root".into(), Role::of([key.id()], 1));
    let files = [("root".into(), signed(&root, &[&key])), fixture.targets_file()].into();
    assert!(Plan::of_upload(GUN, &borrowed(&files), &Published::default(), &fixture.held, now()).is_ok());
    root.header.expires = now();
    let files = [("root".into(), signed(&root, &[&key])), fixture.targets_file()].into();
    let refused = Plan::of_upload(GUN, &borrowed(&files), &Published::default(), &fixture.held, now());
    assert!(text(refused).contains("expired"));
}

#[test]
fn every_root_key_stands_in_a_certificate_for_the_collection() {
    let fixture = Fixture::new();
    let judge = |second: &Key| {
        let mut root = fixture.root.clone();
        root.header.version = 2;
        root.keys.insert(second.notary.clone());
        root.roles
            .insert("root".into(), Role::of([fixture.root_key.id(), second.id()], 1));
        // One key signs, as the threshold demands; the other only stands there.
        let files = [("root".into(), signed(&root, &[&fixture.root_key]))].into();
        fixture.judge(&files)
    };
    for (second, found) in [
        (Key::plain(), "without one"),
        (Key::root("example.com/other", now().plus(DAY)), "example.com/other"),
    ] {
        let Err(UploadError::Root(problem)) = judge(&second) else {
            panic!("{found}")
        };
        assert!(problem.contains(found), "{problem}");
    }
    // One whose time is over can stand there, as clients let it.
    assert!(judge(&Key::root(GUN, now().plus(-1))).is_ok());
}

#[test]
fn targets_skip_versions_and_never_go_back_or_repeat() {
    let mut fixture = Fixture::new();
    let same = [fixture.targets_file()].into();
    assert!(matches!(fixture.judge(&same), Err(UploadError::Version { .. })));
    fixture.targets.header.version = 7;
    let skipped = [fixture.targets_file()].into();
    fixture.publish(&skipped).unwrap();
    fixture.targets.header.version = 6;
    let back = [fixture.targets_file()].into();
    let expected = UploadError::Version {
        role: "targets".into(),
        published: 7,
        uploaded: 6,
    };
    assert_eq!(fixture.judge(&back).unwrap_err(), expected);
}

#[test]
fn targets_are_signed_by_their_keys_and_in_their_time() {
    let mut fixture = Fixture::new();
    fixture.targets.header.version = 2;
    let by = |keys: &[&Key]| Owned::from([("targets".into(), signed(&fixture.targets, keys))]);
    for keys in [&[][..], &[&fixture.delegate]] {
        assert!(matches!(fixture.judge(&by(keys)), Err(UploadError::Targets(_))));
    }
    let mut late = fixture.targets.clone();
    late.header.expires = now();
    let late = [("targets".into(), signed(&late, &[&fixture.targets_key]))].into();
    assert!(text(fixture.judge(&late)).contains("expired"));
    let wrong = [("targets".into(), b"{\"signed\":{},\"signatures\":[]}".to_vec())].into();
    assert!(matches!(fixture.judge(&wrong), Err(UploadError::Targets(_))));
}

#[test]
fn what_go_writes_of_nothing_is_nothing() {
    // After its last delegation was removed.
    let text = r#"{"_type":"Targets","delegations":{"keys":{},"roles":null},"expires":"2029-11-21T22:24:58Z","targets":null,"version":2}"#;
    let body: Targets = serde_json::from_str(text).unwrap();
    assert!(body.targets.is_empty() && body.delegations.roles.is_empty());
}

#[test]
fn thresholds_are_kept() {
    let mut fixture = Fixture::new();
    let second = Key::plain();
    fixture.root.header.version = 2;
    fixture.root.keys.insert(second.notary.clone());
    let both = Role::of([fixture.targets_key.id(), second.id()], 2);
    fixture.root.roles.insert("targets".into(), both);
    fixture.targets.header.version = 2;
    let by = |keys: &[&Key]| Owned::from([fixture.root_file(), ("targets".into(), signed(&fixture.targets, keys))]);
    assert!(matches!(fixture.judge(&by(&[&second])), Err(UploadError::Targets(_))));
    assert!(fixture.judge(&by(&[&second, &fixture.targets_key])).is_ok());
}

#[test]
fn a_root_with_other_targets_keys_needs_targets_by_them() {
    let mut fixture = Fixture::new();
    let new = Key::plain();
    fixture.root.header.version = 2;
    fixture.root.keys.insert(new.notary.clone());
    fixture.root.roles.insert("targets".into(), Role::of([new.id()], 1));
    let alone = Owned::from([fixture.root_file()]);
    assert!(matches!(fixture.judge(&alone), Err(UploadError::Targets(_))));
    fixture.targets.header.version = 2;
    let with = [
        fixture.root_file(),
        ("targets".into(), signed(&fixture.targets, &[&new])),
    ]
    .into();
    assert!(fixture.judge(&with).is_ok());
}

#[test]
fn delegations_are_judged_by_their_delegators() {
    let mut fixture = Fixture::new();
    let unknown = [fixture.delegated_file("targets/y", 1)].into();
    assert_eq!(
        text(fixture.judge(&unknown)),
        "tuf: invalid role targets/y. delegation does not exist"
    );
    let orphan = [fixture.delegated_file("targets/x/y", 1)].into();
    assert!(matches!(fixture.judge(&orphan), Err(UploadError::Targets(_))));
    let body = Targets::new(now().plus(DAY));
    let stranger = [("targets/x".into(), signed(&body, &[&fixture.targets_key]))].into();
    assert!(matches!(fixture.judge(&stranger), Err(UploadError::Targets(_))));
    // Parent and child come in one upload, whichever is named first.
    let mut parent = Targets::new(now().plus(DAY));
    parent.delegations = delegations(&fixture.delegate, &["targets/x/y"]);
    let both = [
        fixture.delegated_file("targets/x/y", 1),
        ("targets/x".into(), signed(&parent, &[&fixture.delegate])),
    ];
    fixture.publish(&both.into()).unwrap();
    assert!(fixture.snapshot().meta.contains_key("targets/x/y"));
}

#[test]
fn what_a_removed_delegation_left_behind_does_not_come_back() {
    let mut fixture = Fixture::new();
    let uploaded = [fixture.delegated_file("targets/x", 3)].into();
    fixture.publish(&uploaded).unwrap();
    fixture.targets.delegations = Delegations::default();
    let removed = [fixture.next_targets()].into();
    fixture.publish(&removed).unwrap();
    assert!(!fixture.snapshot().meta.contains_key("targets/x"));
    fixture.targets.delegations = delegations(&fixture.delegate, &["targets/x"]);
    let again = [fixture.next_targets()].into();
    fixture.publish(&again).unwrap();
    assert!(!fixture.snapshot().meta.contains_key("targets/x"));
    // Clients that knew version 3 would refuse an older one.
    let old = [fixture.delegated_file("targets/x", 1)].into();
    assert!(matches!(fixture.judge(&old), Err(UploadError::Version { .. })));
    let newer = [fixture.delegated_file("targets/x", 4)].into();
    fixture.publish(&newer).unwrap();
    assert!(fixture.snapshot().meta.contains_key("targets/x"));
}

#[test]
fn what_costs_too_much_is_refused_before_a_signature_is_checked() {
    let mut fixture = Fixture::new();
    fixture.targets.header.version = 2;
    let mut upload = |unknown: usize| {
        fixture.targets.extra.insert("x".into(), vec![0; unknown].into());
        fixture.judge(&[fixture.targets_file()].into())
    };
    assert!(upload(limit::UPLOAD_UNKNOWN - 1).is_ok());
    let told = text(upload(limit::UPLOAD_UNKNOWN));
    assert!(
        told.contains("at most 4096 values in members that are not known, found 4097"),
        "{told}"
    );
    // Each of these roles has as many signatures as a document can have; none is good, and no delegation is known.
    let signature = r#"{"keyid":"k","method":"ecdsa","sig":"="}"#;
    let file = format!(
        r#"{{"signed":{{}},"signatures":[{}]}}"#,
        [signature; limit::SIGNATURES].join(",")
    );
    let upload = |roles: usize| -> Owned {
        let role = |number| (format!("targets/r{number}"), file.clone().into_bytes());
        (0..roles).map(role).collect()
    };
    let fits = limit::UPLOAD_SIGNATURES / limit::SIGNATURES;
    assert!(!text(fixture.judge(&upload(fits))).contains("signatures, found"));
    let told = text(fixture.judge(&upload(fits + 1)));
    assert!(told.contains("at most 4096 signatures, found 4352"), "{told}");
}

#[test]
fn a_collection_grows_up_to_its_bound() {
    let named = |length: usize| {
        let mut large = FileMeta::describe(b"");
        large.length = length as u64;
        BTreeMap::from([("targets".to_owned(), large.clone()), ("targets/x".to_owned(), large)])
    };
    let half = limit::COLLECTION_BYTES / 2;
    check_size(0, &named(half)).unwrap();
    let found = limit::COLLECTION_BYTES + 2;
    assert_eq!(
        check_size(0, &named(half + 1)).unwrap_err(),
        UploadError::TooLarge { found }
    );
    // One that is larger already can become smaller.
    check_size(found, &named(half + 1)).unwrap();
}

#[test]
fn versions_are_not_used_up_by_who_signs_once() {
    let mut fixture = Fixture::new();
    let most = limit::VERSION_STEP;
    let far = fixture.delegated_file("targets/x", most + 1);
    assert!(text(fixture.judge(&[far].into())).contains("too far above the published one, 0"));
    let near = fixture.delegated_file("targets/x", most);
    fixture.publish(&[near].into()).unwrap();
    // Another signer goes on above it.
    let new = Key::plain();
    fixture.targets.delegations = Delegations::default();
    let removed = [fixture.next_targets()].into();
    fixture.publish(&removed).unwrap();
    fixture.targets.delegations = delegations(&new, &["targets/x"]);
    let again = [fixture.next_targets()].into();
    fixture.publish(&again).unwrap();
    let signed_at = |version: u64| -> Owned {
        let mut body = Targets::new(now().plus(DAY));
        body.header.version = version;
        [("targets/x".into(), signed(&body, &[&new]))].into()
    };
    for (version, taken) in [(1, false), (most, false), (most + 1, true), (2 * most + 1, false)] {
        assert_eq!(fixture.judge(&signed_at(version)).is_ok(), taken, "{version}");
    }
}

#[test]
fn an_uploaded_snapshot_names_what_will_be_there() {
    let mut fixture = Fixture::new();
    let targets = fixture.next_targets();
    let upload = |snapshot: &Snapshot| {
        let bytes = signed(snapshot, &[&fixture.snapshot_key]);
        fixture.judge(&[targets.clone(), ("snapshot".into(), bytes)].into())
    };
    let good = fixture.uploaded_snapshot(&[targets.clone()].into());
    assert!(upload(&good).is_ok());
    let refused = |snapshot: &Snapshot| match upload(snapshot) {
        Err(UploadError::Snapshot(problem)) => problem,
        other => panic!("{other:?}"),
    };
    // The old targets' hashes.
    let mut other = fixture.snapshot();
    other.header.version += 1;
    refused(&other);
    let mut other = good.clone();
    other.meta.insert("targets/x".into(), FileMeta::describe(b""));
    assert!(refused(&other).contains("neither uploaded nor published"));
    let mut other = good.clone();
    other
        .meta
        .insert("timestamp".into(), FileMeta::describe(&fixture.published["timestamp"]));
    assert!(refused(&other).contains("it names timestamp"));
    let mut other = good.clone();
    other.meta.get_mut("root").unwrap().length += 1;
    assert!(refused(&other).contains("bytes"));
    let mut other = good.clone();
    other.header.expires = now();
    assert!(refused(&other).contains("expired"));
    let mut other = good.clone();
    other.header.version = 1;
    assert!(matches!(upload(&other), Err(UploadError::Version { .. })));
    let by_another = signed(&good, &[&fixture.delegate]);
    let refused = fixture.judge(&[targets.clone(), ("snapshot".into(), by_another)].into());
    assert!(matches!(refused, Err(UploadError::Snapshot(_))));
    let delegated = fixture.delegated_file("targets/x", 1);
    let unnamed = signed(&good, &[&fixture.snapshot_key]);
    let refused = fixture.judge(&[targets.clone(), delegated, ("snapshot".into(), unnamed)].into());
    assert!(text(refused).contains("does not name targets/x"));
}

#[test]
fn what_the_server_has_no_key_for_must_be_uploaded() {
    let mut fixture = Fixture::new();
    let targets = Owned::from([fixture.next_targets()]);
    fixture.held = [fixture.timestamp_key.id()].into();
    let refused = fixture.judge(&targets);
    assert!(matches!(
        refused,
        Err(UploadError::Hierarchy {
            missing: "snapshot",
            ..
        })
    ));
    fixture.held = [fixture.snapshot_key.id()].into();
    assert_eq!(text(fixture.judge(&targets)), "no timestamp keys exist on the server");
    let empty = Owned::from([fixture.root_file()]);
    let refused = Plan::of_upload(GUN, &borrowed(&empty), &Published::default(), &fixture.held, now());
    assert!(matches!(
        refused,
        Err(UploadError::Hierarchy { missing: "targets", .. })
    ));
}

#[test]
fn what_ends_soon_is_renewed_and_nothing_else() {
    let fixture = Fixture::new();
    let renew = |now: Time| {
        let until = (now.plus(2 * DAY), now.plus(30 * DAY));
        Plan::of_renewal(GUN, &published_of(&fixture.published), &fixture.held, now, until).unwrap()
    };
    assert!(renew(now().plus(11 * DAY)).is_none());
    let files = fixture.sign(renew(now().plus(12 * DAY)).unwrap());
    let roles = |files: &[NewFile]| {
        files
            .iter()
            .map(|file| (file.role.clone(), file.version))
            .collect::<Vec<_>>()
    };
    assert_eq!(roles(&files), [("timestamp".into(), 2)]);
    let files = fixture.sign(renew(now().plus(SNAPSHOT_LIFETIME - 29 * DAY)).unwrap());
    assert_eq!(roles(&files), [("snapshot".into(), 2), ("timestamp".into(), 2)]);
}

#[test]
fn a_role_delegates_to_what_is_directly_below_it_alone() {
    let fixture = Fixture::new();
    for stray in ["targets/y", "targets/x/y/z"] {
        let mut body = Targets::new(now().plus(DAY));
        body.delegations = delegations(&fixture.delegate, &[stray]);
        let upload = [("targets/x".into(), signed(&body, &[&fixture.delegate]))].into();
        assert!(text(fixture.judge(&upload)).contains("not directly below it"));
    }
}

#[test]
fn a_collection_has_no_more_roles_than_clients_read() {
    let mut fixture = Fixture::new();
    let names = |count: usize| (0..count).map(|number| format!("targets/x/s{number}")).collect();
    let of = |fixture: &Fixture, version: u64, names: Vec<String>| -> Owned {
        let mut body = Targets::new(now().plus(DAY));
        body.header.version = version;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        body.delegations = delegations(&fixture.delegate, &names);
        [("targets/x".into(), signed(&body, &[&fixture.delegate]))].into()
    };
    let most = limit::DELEGATED_ROLES - 1;
    let much = of(&fixture, 1, names(most + 1));
    let told = text(fixture.judge(&much));
    assert!(
        told.contains("would have 1025 delegated roles, expected at most 1024"),
        "{told}"
    );
    // A snapshot of the uploader's own is held to the same.
    let mut with_snapshot = much.clone();
    let snapshot = signed(&fixture.uploaded_snapshot(&much), &[&fixture.snapshot_key]);
    with_snapshot.insert("snapshot".into(), snapshot);
    assert_eq!(text(fixture.judge(&with_snapshot)), told);
    let fits = of(&fixture, 1, names(most));
    fixture.publish(&fits).unwrap();
    // One that has too many already, from before there was a bound, can have as many or fewer.
    fixture.published.extend(much);
    let less = of(&fixture, 2, names(most));
    assert!(fixture.judge(&less).is_ok());
    let targets = fixture.next_targets();
    assert!(fixture.judge(&[targets].into()).is_ok());
}

#[test]
fn what_the_server_makes_clients_read() {
    let fixture = Fixture::new();
    let named = |count: usize| (0..count).map(|number| (format!("targets/x/{number:0>240}"), FileMeta::describe(b"")));
    let own = |count: usize| Own {
        body: Snapshot::new(now(), named(count).chain(fixture.snapshot().meta).collect()),
        keys: vec![fixture.snapshot_key.notary.clone()],
    };
    let length = |count: usize| Draft::new(own(count).body).unwrap().message().len();
    let each = length(1001) - length(1000);
    let fits = (limit::SNAPSHOT_BYTES - 8192) / each;
    own(fits).check("snapshot", limit::SNAPSHOT_BYTES).unwrap();
    let refused = own(fits + 100).check("snapshot", limit::SNAPSHOT_BYTES);
    assert!(refused.is_err_and(|error| error.to_string().contains("snapshot")));
}
