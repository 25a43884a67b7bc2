//! The generic client: what it asks for, what it keeps, and when; modelled on what the public conformance suite looks at.

use super::*;
use crate::failure::Failure;
use crate::trust::{Cache, Source, Updater};

/// What a client keeps, by role.
#[derive(Clone, Default)]
struct Kept(BTreeMap<String, Vec<u8>>);

impl Cache for &mut Kept {
    fn load(&mut self, role: &str, _max: usize) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.get(role).cloned())
    }

    fn store(&mut self, role: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.0.insert(role.to_owned(), bytes.to_vec());
        Ok(())
    }
}

impl Kept {
    fn version(&self, role: &str) -> Option<u64> {
        let value = json::parse(self.0.get(role)?, Limits::integers(1 << 20)).unwrap();
        value["signed"]["version"].as_u64()
    }

    /// Returns the versions kept of root, timestamp, snapshot, targets; 0 for none.
    fn versions(&self) -> [u64; 4] {
        ["root", "timestamp", "snapshot", "targets"].map(|role| self.version(role).unwrap_or(0))
    }
}

/// A repository's files, and which of them were asked for.
struct Asked<'a>(&'a Bundle, Vec<String>);

impl Source for &mut Asked<'_> {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        self.1.push(name.to_owned());
        (&mut &*self.0).file(name, max)
    }
}

/// Refreshes, looks `name` up if there is one, and returns the outcome with the names that were asked for.
fn run(
    repository: &Repository,
    kept: &mut Kept,
    name: Option<&str>,
    now: Time,
) -> (Result<Option<Target>, TrustError>, Vec<String>) {
    let mut asked = Asked(&repository.files, Vec::new());
    let updated = Updater::refresh(&mut asked, kept, now);
    let found = updated.and_then(|mut updater| name.map(|name| updater.target(name)).transpose());
    (found, asked.1)
}

fn refresh(repository: &Repository, kept: &mut Kept) -> Result<(), TrustError> {
    run(repository, kept, None, start()).0.map(|_| ())
}

/// A repository, and a client that has refreshed from it.
fn refreshed() -> (Repository, Kept) {
    let repository = Repository::new();
    let mut kept = Kept::default();
    kept.0.insert("root".into(), repository.pin());
    refresh(&repository, &mut kept).unwrap();
    (repository, kept)
}

/// Publishes root N + 1 with a change.
fn next_root(repository: &mut Repository, change: impl FnOnce(&mut Value)) {
    repository.forge("root", &[ROOT], |signed| {
        signed["version"] = (signed["version"].as_u64().unwrap() + 1).into();
        change(signed);
    });
}

/// Gives a role another key, by a new root.
fn rotate(repository: &mut Repository, role: &'static str, number: u8) {
    next_root(repository, |signed| {
        let id = key(number).id();
        signed["keys"][id.as_str()] = key(number).tuf_key().to_json().clone();
        signed["roles"][role] = json!({ "keyids": [id], "threshold": 1 });
    });
    repository.keys.insert(role, vec![number]);
}

fn bump(signed: &mut Value) {
    signed["version"] = (signed["version"].as_u64().unwrap() + 1).into();
}

#[test]
fn the_first_refresh_asks_for_each_file_once_and_keeps_the_bytes_that_were_served() {
    let repository = Repository::new();
    let mut kept = Kept::default();
    kept.0.insert("root".into(), repository.pin());
    let (found, asked) = run(&repository, &mut kept, None, start());
    assert!(found.is_ok());
    assert_eq!(
        asked,
        ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
    );
    assert_eq!(kept.versions(), [1, 1, 1, 1]);
    assert_eq!(kept.0["snapshot"], repository.files.get("1.snapshot.json").unwrap());
}

#[test]
fn what_is_kept_and_current_is_not_fetched_again() {
    let (repository, mut kept) = refreshed();
    let (found, asked) = run(&repository, &mut kept, Some("team/b"), start());
    assert!(found.unwrap().unwrap().check(b"b").is_ok());
    assert_eq!(asked, ["2.root.json", "timestamp.json", "1.team.json"]);
    assert_eq!(kept.version("team"), Some(1));
    let (found, asked) = run(&repository, &mut kept, Some("team/b"), start());
    assert!(found.is_ok());
    assert_eq!(asked, ["2.root.json", "timestamp.json"]);
}

#[test]
fn a_bad_or_missing_trusted_root_ends_it_before_anything_is_asked() {
    let repository = Repository::new();
    let mut forged = repository.clone();
    forged.forge("root", &[STRANGER], |_| ());
    for root in [None, Some(b"{}".to_vec()), Some(forged.pin())] {
        let mut kept = Kept::default();
        kept.0.extend(root.map(|root| ("root".to_owned(), root)));
        let (refused, asked) = run(&repository, &mut kept, None, start());
        assert!(matches!(refused, Err(TrustError::Pin { .. })));
        assert_eq!(asked, [""; 0]);
    }
}

// 5.4.3.1: "in case they are equal, discard the new timestamp … this is normal and it shouldn't raise any error"
#[test]
fn another_timestamp_under_the_kept_version_is_discarded() {
    let (mut repository, mut kept) = refreshed();
    let before = kept.0["timestamp"].clone();
    repository.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["meta"]["snapshot.json"] = json!({ "version": 100 });
    });
    let (found, asked) = run(&repository, &mut kept, None, start());
    assert!(found.is_ok());
    assert_eq!(asked, ["2.root.json", "timestamp.json"]);
    assert_eq!(kept.0["timestamp"], before);
    // It is no way round the expiry of the kept one.
    let (refused, _) = run(&repository, &mut kept, None, days(30));
    assert!(matches!(refused, Err(TrustError::Expired { .. })));
}

#[test]
fn older_metadata_are_refused_and_not_kept() {
    let (mut repository, mut kept) = refreshed();
    let old = repository.clone();
    for role in ["timestamp", "snapshot", "targets"] {
        repository.change(days(1), |collection| collection.renew(role).unwrap());
    }
    refresh(&repository, &mut kept).unwrap();
    assert_eq!(kept.versions(), [1, 4, 3, 2]);
    let refused = refresh(&old, &mut kept).unwrap_err();
    assert!(matches!(refused, TrustError::Rollback { .. }), "{refused}");
    // A newer timestamp that names an older snapshot; then a newer snapshot that names older targets.
    let mut replayed = repository.clone();
    replayed.forge("timestamp", &[TIMESTAMP], |signed| {
        bump(signed);
        signed["meta"]["snapshot.json"] = json!({ "version": 1 });
    });
    assert!(matches!(
        refresh(&replayed, &mut kept),
        Err(TrustError::Rollback { .. })
    ));
    let mut replayed = repository.clone();
    replayed.forge("snapshot", &[SNAPSHOT], |signed| {
        bump(signed);
        signed["meta"]["targets.json"] = json!({ "version": 1 });
    });
    let meta = replayed.describe("snapshot");
    replayed.forge("timestamp", &[TIMESTAMP], |signed| {
        bump(signed);
        signed["meta"]["snapshot.json"] = meta;
    });
    assert!(matches!(
        refresh(&replayed, &mut kept),
        Err(TrustError::Rollback { .. })
    ));
    // The timestamp was good: it is kept (5.4.5), the snapshot is not.
    assert_eq!(kept.versions(), [1, 5, 3, 2]);
}

#[test]
fn each_file_is_kept_as_soon_as_it_is_trusted_whatever_follows() {
    let (good, kept) = refreshed();
    let next = |change: &dyn Fn(&mut Repository)| {
        let mut repository = good.clone();
        next_root(&mut repository, |_| ());
        repository.forge("targets", &[TARGETS], bump);
        repository.forge("snapshot", &[SNAPSHOT], bump);
        repository.forge("timestamp", &[TIMESTAMP], bump);
        repository.relink();
        change(&mut repository);
        let mut kept = kept.clone();
        assert!(refresh(&repository, &mut kept).is_err());
        kept.versions()
    };
    let without = |name: &'static str| {
        move |repository: &mut Repository| {
            repository.files = repository.files.files().filter(|(other, _)| *other != name).collect();
        }
    };
    let expired = |signed: &mut Value| signed["expires"] = "2020-01-01T00:00:00Z".into();
    // The newest root is kept even if it has expired (5.3.8 stands before 5.3.10).
    assert_eq!(
        next(&|repository| repository.forge("root", &[ROOT], expired)),
        [2, 1, 1, 1]
    );
    assert_eq!(
        next(&|repository| repository.forge("timestamp", &[STRANGER], |_| ())),
        [2, 1, 1, 1]
    );
    assert_eq!(
        next(&|repository| repository.forge("timestamp", &[TIMESTAMP], expired)),
        [2, 1, 1, 1]
    );
    assert_eq!(next(&without("timestamp.json")), [2, 1, 1, 1]);
    assert_eq!(next(&without("2.snapshot.json")), [2, 2, 1, 1]);
    assert_eq!(
        next(&|repository| repository.forge_linked("snapshot", expired)),
        [2, 2, 1, 1]
    );
    assert_eq!(next(&without("2.targets.json")), [2, 2, 2, 1]);
    assert_eq!(
        next(&|repository| repository.forge_linked("targets", expired)),
        [2, 2, 2, 1]
    );
}

#[test]
fn expired_metadata_that_are_kept_serve_for_the_next_update() {
    let (mut repository, mut kept) = refreshed();
    repository.change(days(20), |collection| collection.renew("targets").unwrap());
    let (found, _) = run(&repository, &mut kept, None, days(21));
    assert!(found.is_ok());
    assert_eq!(kept.versions(), [1, 2, 2, 2]);
}

// 5.3.11
#[test]
fn versions_that_ran_ahead_under_a_lost_key_are_recovered_from() {
    let (good, kept) = refreshed();
    let ahead = |roles: &[&'static str]| {
        let mut repository = good.clone();
        for role in ["targets", "snapshot", "timestamp"] {
            let keys = repository.keys[role].clone();
            let version = if roles.contains(&role) { 99_999 } else { 2 };
            repository.forge(role, &keys, |signed| signed["version"] = version.into());
        }
        repository.relink();
        let mut kept = kept.clone();
        refresh(&repository, &mut kept).unwrap();
        (repository, kept)
    };
    // Targets ran ahead: the snapshot gets another key. Snapshot: it does, with the timestamp or alone. Timestamp: it does.
    for (role, rotated) in [
        ("targets", vec!["snapshot"]),
        ("snapshot", vec!["snapshot", "timestamp"]),
        ("snapshot", vec!["snapshot"]),
        ("timestamp", vec!["timestamp"]),
    ] {
        let (_, kept) = ahead(&[role]);
        let mut repository = good.clone();
        for other in ["targets", "snapshot", "timestamp"] {
            let keys = repository.keys[other].clone();
            let version = if other == role { 1 } else { 3 };
            repository.forge(other, &keys, |signed| signed["version"] = version.into());
        }
        repository.relink();
        let refused = refresh(&repository, &mut kept.clone()).unwrap_err();
        assert!(matches!(refused, TrustError::Rollback { .. }), "{role}: {refused}");
        for (number, rotated) in rotated.into_iter().enumerate() {
            rotate(&mut repository, rotated, 40 + u8::try_from(number).unwrap());
        }
        for other in ["snapshot", "timestamp"] {
            let keys = repository.keys[other].clone();
            repository.forge(other, &keys, |_| ());
        }
        repository.relink();
        let mut kept = kept;
        refresh(&repository, &mut kept).unwrap_or_else(|error| panic!("{role}: {error}"));
        assert_eq!(kept.version(role), Some(1));
    }
}

#[test]
fn what_somebody_put_among_the_kept_files_is_replaced_and_trusted_in_nothing() {
    let (repository, kept) = refreshed();
    for role in ["timestamp", "snapshot", "targets"] {
        for bad in [b"{}".to_vec(), vec![b'['; 100_000], Vec::new()] {
            let mut kept = kept.clone();
            kept.0.insert(role.to_owned(), bad);
            refresh(&repository, &mut kept).unwrap();
            assert_eq!(kept.versions(), [1, 1, 1, 1], "{role}");
        }
    }
}

#[test]
fn artifacts_are_served_under_their_hashes_or_under_their_names() {
    let (mut repository, mut kept) = refreshed();
    let names = |repository: &Repository, kept: &mut Kept| {
        let mut asked = Asked(&repository.files, Vec::new());
        let mut updater = Updater::refresh(&mut asked, kept, start()).unwrap();
        let (plain, deep) = (updater.target("a").unwrap(), updater.target("team/b").unwrap());
        [updater.served_as(&plain), updater.served_as(&deep)]
    };
    let hash = |bytes: &[u8]| crate::digest::Digest::sha256(bytes).hex();
    let hashed = [
        vec![format!("{}.a", hash(b"a"))],
        vec![format!("team/{}.b", hash(b"b"))],
    ];
    assert_eq!(names(&repository, &mut kept), hashed);
    next_root(&mut repository, |signed| signed["consistent_snapshot"] = false.into());
    for role in ["snapshot", "targets", "team"] {
        let bytes = repository.files.get(&repository.newest(role)).unwrap().to_vec();
        repository.files.add(format!("{role}.json"), bytes);
    }
    assert_eq!(
        names(&repository, &mut kept),
        [vec!["a".to_owned()], vec!["team/b".to_owned()]]
    );
}

#[test]
fn bad_signatures_beside_enough_good_ones_do_not_matter_and_doubled_ones_do() {
    let (mut repository, mut kept) = refreshed();
    let strange = [json!(""), json!("zz"), json!("00"), json!("ab".repeat(64))];
    let resign = |repository: &mut Repository, change: &dyn Fn(&mut Vec<Value>)| {
        let bytes = repository.files.get("timestamp.json").unwrap();
        let mut envelope = json::parse(bytes, Limits::integers(1 << 20)).unwrap();
        change(envelope["signatures"].as_array_mut().unwrap());
        repository
            .files
            .add("timestamp.json", json::canonical(&envelope).unwrap());
    };
    for sig in strange {
        repository.forge("timestamp", &[TIMESTAMP], bump);
        resign(&mut repository, &|signatures| {
            signatures.insert(0, json!({ "keyid": key(STRANGER).id(), "sig": sig }));
        });
        refresh(&repository, &mut kept).unwrap();
    }
    assert_eq!(kept.version("timestamp"), Some(5));
    repository.forge("timestamp", &[TIMESTAMP], bump);
    resign(&mut repository, &|signatures| signatures.push(signatures[0].clone()));
    assert!(matches!(
        refresh(&repository, &mut kept),
        Err(TrustError::Malformed { .. })
    ));
}

/// A repository's files, and how many bytes of each were asked for at most.
struct Measured<'a>(&'a Bundle, Vec<(String, usize)>);

impl Source for &mut Measured<'_> {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        self.1.push((name.to_owned(), max));
        let bytes = (&mut &*self.0).file(name, max)?;
        // As a server's reader does.
        Ok(bytes.map(|bytes| bytes.into_iter().take(max + 1).collect()))
    }
}

// 5.3.3, 5.4.1, 5.5.1, 5.6.1
#[test]
fn no_more_is_asked_for_than_the_metadata_above_say_or_the_house_allows() {
    use crate::limit;
    let measure = |repository: &Repository| {
        let mut kept = Kept::default();
        kept.0.insert("root".into(), repository.pin());
        let mut measured = Measured(&repository.files, Vec::new());
        let outcome = Updater::refresh(&mut measured, &mut kept, start()).map(|_| ());
        (outcome, measured.1.into_iter().map(|(_, max)| max).collect::<Vec<_>>())
    };
    let described = Repository::new();
    let length = |name: &str| described.files.get(name).unwrap().len();
    let (outcome, asked) = measure(&described);
    outcome.unwrap();
    let (snapshot, targets) = (length("1.snapshot.json"), length("1.targets.json"));
    assert_eq!(asked, [limit::ROOT_BYTES, limit::TIMESTAMP_BYTES, snapshot, targets]);
    // Without lengths (4.4) the house's bounds count.
    let mut bare = described.clone();
    bare.forge("snapshot", &[SNAPSHOT], |signed| {
        signed["meta"]["targets.json"] = json!({ "version": 1 });
    });
    bare.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["meta"]["snapshot.json"] = json!({ "version": 1 });
    });
    let (outcome, asked) = measure(&bare);
    outcome.unwrap();
    let bounds = [
        limit::ROOT_BYTES,
        limit::TIMESTAMP_BYTES,
        limit::SNAPSHOT_BYTES,
        limit::TARGETS_BYTES,
    ];
    assert_eq!(asked, bounds);
    // What goes on beyond that is refused.
    let mut endless = bare.clone();
    endless
        .files
        .add("timestamp.json", vec![b' '; limit::TIMESTAMP_BYTES + 1]);
    assert!(matches!(measure(&endless).0, Err(TrustError::Malformed { .. })));
    let mut longer = described.clone();
    let bytes = [described.files.get("1.snapshot.json").unwrap(), b" "].concat();
    longer.files.add("1.snapshot.json", bytes);
    assert!(matches!(measure(&longer).0, Err(TrustError::Digest { .. })));
}
