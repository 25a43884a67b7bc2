//! Publications, deletions and the changefeed on a disk that is killed and damaged.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::collections::BTreeSet;

use super::*;
use crate::trust::notary::{Draft, FileMeta, NewFile, Snapshot};

fn gun() -> Gun {
    Gun::new("example.com/a/b").unwrap()
}

fn publication(base: u64, version: u64) -> Publication {
    publication_of(gun(), base, version)
}

fn publication_of(gun: Gun, base: u64, version: u64) -> Publication {
    let file = |role: &str| NewFile {
        role: role.into(),
        version,
        bytes: format!("{role} {version}").into_bytes(),
    };
    Publication {
        gun,
        base,
        files: vec![file("targets"), file("targets/x"), file("timestamp")],
        used: BTreeSet::new(),
        at: Time::EPOCH.plus(i64::try_from(version).unwrap()),
    }
}

fn log_of(dir: &Path) -> PathBuf {
    let name = Digest::sha256(gun().as_str().as_bytes()).hex();
    dir.join(COLLECTIONS).join(name).join(LOG)
}

fn versions(store: &Directory) -> (u64, Vec<(String, u64)>) {
    let collection = store.collection(&gun()).unwrap();
    let version = |role: &str| collection.file(role).map(|file| (role.to_owned(), file.version()));
    let roles = ["targets", "targets/x", "timestamp"];
    (
        collection.revision,
        roles.iter().filter_map(|role| version(role)).collect(),
    )
}

fn all(query: (i64, i64)) -> ChangeQuery {
    ChangeQuery::new(None, query.0, query.1)
}

/// The names of the collections that are older, and what is said of those that are damaged.
fn older(store: &Directory, than: i64) -> Vec<String> {
    let found = store.older_than(Time::EPOCH.plus(than)).unwrap();
    let mut found: Vec<_> = found
        .into_iter()
        .map(|gun| gun.map_or_else(|failure| failure.to_string(), |gun| gun.to_string()))
        .collect();
    found.sort();
    found
}

#[test]
fn publications_follow_each_other_and_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    assert!(matches!(store.publish(&publication(0, 1)).unwrap(), Published::Done));
    assert!(matches!(
        store.publish(&publication(0, 2)).unwrap(),
        Published::Overtaken
    ));
    assert!(matches!(store.publish(&publication(1, 5)).unwrap(), Published::Done));
    assert!(Directory::open(dir.path()).is_err(), "another server has it");
    drop(store);
    let store = Directory::open(dir.path()).unwrap();
    let (revision, files) = versions(&store);
    assert_eq!((revision, files.len()), (2, 3));
    assert!(files.iter().all(|(_, version)| *version == 5));
    let old = store
        .find(&gun(), "targets/x", |version, _| version == 1)
        .unwrap()
        .unwrap();
    assert_eq!(old.body().as_ref(), b"targets/x 1");
    assert!(
        store
            .find(&gun(), "targets", |version, _| version == 2)
            .unwrap()
            .is_none()
    );
    assert_eq!(older(&store, 6), ["example.com/a/b"]);
    assert!(older(&store, 5).is_empty());
    store.delete(&gun(), Time::EPOCH).unwrap();
    store.delete(&gun(), Time::EPOCH).unwrap();
    assert_eq!(versions(&store), (0, Vec::new()));
    let told = store.changes(&all((0, 10))).unwrap();
    assert_eq!(told.iter().map(|change| change.version).collect::<Vec<_>>(), [1, 5, 0]);
    let last = store.changes(&all((0, -1))).unwrap();
    assert_eq!((last[0].id.as_str(), last[0].category), ("3", Change::DELETION));
    assert_eq!(store.changes(&all((3, -5))).unwrap().len(), 2);
    assert_eq!(store.changes(&all((2, 5))).unwrap().len(), 1);
}

#[test]
fn a_publication_that_was_killed_at_any_byte_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    store.publish(&publication(0, 1)).unwrap();
    let whole = fs::read(log_of(dir.path())).unwrap();
    store.publish(&publication(1, 2)).unwrap();
    drop(store);
    let after = fs::read(log_of(dir.path())).unwrap();
    let changes = fs::read(dir.path().join(CHANGES)).unwrap();
    for end in (whole.len()..after.len()).step_by(7) {
        // The change stands there already, the line only in part.
        fs::write(log_of(dir.path()), &after[..end]).unwrap();
        fs::write(dir.path().join(CHANGES), &changes).unwrap();
        let store = Directory::open(dir.path()).unwrap();
        let (revision, files) = versions(&store);
        assert_eq!((revision, files[0].1), (1, 1), "{end}");
        assert_eq!(store.changes(&all((0, 10))).unwrap().len(), 1, "{end}");
        assert!(matches!(store.publish(&publication(1, 3)).unwrap(), Published::Done));
        assert_eq!(versions(&store).1[0].1, 3, "{end}");
    }
}

#[test]
fn a_change_that_was_written_in_part_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    store.publish(&publication(0, 1)).unwrap();
    drop(store);
    let path = dir.path().join(CHANGES);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"0123456789abcdef {\"at\"");
    fs::write(&path, &bytes).unwrap();
    let store = Directory::open(dir.path()).unwrap();
    assert_eq!(store.changes(&all((0, 10))).unwrap().len(), 1);
    store.publish(&publication(1, 2)).unwrap();
    assert_eq!(store.changes(&all((0, 10))).unwrap().len(), 2);
}

#[test]
fn a_deletion_that_was_killed_is_finished_or_never_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    store.publish(&publication(0, 1)).unwrap();
    let told = |store: &Directory| store.changes(&all((0, 10))).unwrap().len();
    let deletion = ChangeLine {
        at: Time::EPOCH,
        gun: gun().to_string(),
        timestamp: None,
    };
    // The change stands there, and the collection as well.
    store.changes.lock().unwrap().append(&deletion).unwrap();
    drop(store);
    let store = Directory::open(dir.path()).unwrap();
    assert_eq!((told(&store), versions(&store).0), (1, 1));
    // Its name is gone, its files are there yet.
    store.changes.lock().unwrap().append(&deletion).unwrap();
    let log = log_of(dir.path());
    let gone = log.parent().unwrap().with_extension(DELETED);
    fs::rename(log.parent().unwrap(), &gone).unwrap();
    drop(store);
    let store = Directory::open(dir.path()).unwrap();
    assert_eq!((told(&store), versions(&store).0), (2, 0));
    // Who begins again has nothing to do with them.
    store.publish(&publication(0, 1)).unwrap();
    assert_eq!(older(&store, 9), ["example.com/a/b"]);
    assert!(!gone.exists(), "what was left is removed");
    assert_eq!((told(&store), versions(&store).0), (3, 1));
}

#[test]
fn a_deletion_that_fails_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    store.publish(&publication(0, 1)).unwrap();
    let gone = log_of(dir.path()).parent().unwrap().with_extension(DELETED);
    fs::write(&gone, b"in the way").unwrap();
    for _ in 0..2 {
        assert!(matches!(
            store.delete(&gun(), Time::EPOCH),
            Err(Failure::Unavailable { .. })
        ));
        assert_eq!(store.changes(&all((0, 10))).unwrap().len(), 1);
        assert_eq!(versions(&store).0, 1);
    }
    let found = older(&store, 9);
    assert!(found.iter().any(|found| found.contains("cannot remove")), "{found:?}");
    fs::remove_file(&gone).unwrap();
    store.delete(&gun(), Time::EPOCH).unwrap();
    assert_eq!(store.changes(&all((0, 10))).unwrap().len(), 2);
    assert_eq!(versions(&store).0, 0);
}

#[test]
fn what_was_changed_on_the_disk_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    store.publish(&publication(0, 1)).unwrap();
    let file = fs::read_dir(log_of(dir.path()).parent().unwrap()).unwrap().flatten();
    let file = file
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ext| ext == "json"));
    fs::write(file.unwrap(), b"other").unwrap();
    assert!(matches!(store.collection(&gun()), Err(Failure::Unavailable { .. })));
    // A damaged line before a whole one is no torn end.
    store.publish(&publication(1, 2)).unwrap();
    let mut log = fs::read(log_of(dir.path())).unwrap();
    log[20] ^= 1;
    fs::write(log_of(dir.path()), &log).unwrap();
    assert!(store.keys(&gun()).is_ok(), "there are no keys to read");
    assert!(matches!(store.collection(&gun()), Err(Failure::Unavailable { .. })));
}

#[test]
fn one_damaged_log_hides_no_other_collection() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    let others = ["example.com/other", "example.com/third"];
    for name in others {
        let other = Gun::new(name).unwrap();
        store.publish(&publication_of(other, 0, 1)).unwrap();
    }
    store.publish(&publication(0, 1)).unwrap();
    store.publish(&publication(1, 2)).unwrap();
    assert_eq!(older(&store, 9).len(), 3);
    let mut log = fs::read(log_of(dir.path())).unwrap();
    log[20] ^= 1;
    fs::write(log_of(dir.path()), &log).unwrap();
    let found = older(&store, 9);
    let (names, problems): (Vec<_>, Vec<_>) = found.iter().partition(|found| others.contains(&found.as_str()));
    assert_eq!((names.len(), problems.len()), (2, 1), "{found:?}");
    assert!(problems[0].contains("damaged"), "{found:?}");
}

#[test]
fn a_damaged_log_of_the_last_change_keeps_no_server_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    let other = Gun::new("example.com/other").unwrap();
    store.publish(&publication_of(other.clone(), 0, 1)).unwrap();
    store.publish(&publication(0, 1)).unwrap();
    store.publish(&publication(1, 2)).unwrap();
    drop(store);
    let mut log = fs::read(log_of(dir.path())).unwrap();
    log[20] ^= 1;
    fs::write(log_of(dir.path()), &log).unwrap();
    let store = Directory::open(dir.path()).unwrap();
    assert_eq!(store.changes(&all((0, 10))).unwrap().len(), 3);
    assert!(matches!(store.collection(&gun()), Err(Failure::Unavailable { .. })));
    store.publish(&publication_of(other.clone(), 1, 2)).unwrap();
    assert_eq!(store.collection(&other).unwrap().revision, 2);
}

#[test]
fn roles_with_the_longest_names_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    let name = |len: usize| format!("targets/{}", "r".repeat(len - "targets/".len()));
    let mut publication = publication(0, 1);
    // 185 is the longest whose file bears its name; two names that differ in their last letter alone have two files.
    let mut roles = [185, 186, limit::NOTARY_ROLE_BYTES].map(name).to_vec();
    roles.push(format!("{}s", name(limit::NOTARY_ROLE_BYTES - 1)));
    publication.files = roles
        .iter()
        .map(|role| NewFile {
            role: role.clone(),
            version: 1,
            bytes: b"the same".to_vec(),
        })
        .collect();
    store.publish(&publication).unwrap();
    let collection = store.collection(&gun()).unwrap();
    for role in &roles {
        assert!(collection.file(role).is_some(), "{role}");
        assert!(store.find(&gun(), role, |version, _| version == 1).unwrap().is_some());
    }
    let listed = fs::read_dir(log_of(dir.path()).parent().unwrap()).unwrap().flatten();
    let names: Vec<_> = listed.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(
        names
            .iter()
            .any(|found| found.ends_with(&format!(".{}.json", name(185).replace('/', "."))))
    );
    assert_eq!(names.iter().filter(|found| found.ends_with(".json")).count(), 4);
}

#[test]
fn the_changes_of_one_collection_are_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let other = Gun::new("example.com/other").unwrap();
    let told = |store: &Directory, gun: &Gun, id: i64, records: i64| -> Vec<String> {
        let query = ChangeQuery::new(Some(gun.clone()), id, records);
        let changes = store.changes(&query).unwrap();
        assert!(changes.iter().all(|change| change.gun == gun.as_str()));
        changes.into_iter().map(|change| change.id).collect()
    };
    let look = |store: &Directory| {
        assert_eq!(told(store, &gun(), 0, 10), ["1", "3", "5", "6"]);
        assert_eq!(told(store, &gun(), 1, 2), ["3", "5"]);
        assert_eq!(told(store, &gun(), 0, -2), ["5", "6"]);
        assert_eq!(told(store, &gun(), 5, -9), ["1", "3"]);
        assert_eq!(told(store, &gun(), 9, 9), [""; 0]);
        assert_eq!(told(store, &other, 0, 10), ["2", "4"]);
        assert_eq!(told(store, &Gun::new("never").unwrap(), 0, 10), [""; 0]);
        assert_eq!(store.changes(&all((0, 0))).unwrap().len(), 6);
    };
    let store = Directory::open(dir.path()).unwrap();
    for version in 1..=2 {
        store.publish(&publication(version - 1, version)).unwrap();
        store
            .publish(&publication_of(other.clone(), version - 1, version))
            .unwrap();
    }
    store.publish(&publication(2, 3)).unwrap();
    store.delete(&gun(), Time::EPOCH).unwrap();
    look(&store);
    drop(store);
    look(&Directory::open(dir.path()).unwrap());
    // A change that never became true is no longer listed.
    let store = Directory::open(dir.path()).unwrap();
    let mut changes = store.changes.lock().unwrap();
    let untrue = ChangeLine {
        at: Time::EPOCH,
        gun: gun().to_string(),
        timestamp: None,
    };
    changes.append(&untrue).unwrap();
    changes.drop_last().unwrap();
    drop(changes);
    look(&store);
}

#[test]
fn of_roles_that_were_taken_away_only_the_version_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    store.publish(&publication(0, 7)).unwrap();
    let named = ["root", "targets"].map(|role| (role.to_owned(), FileMeta::describe(b"")));
    let snapshot = Draft::new(Snapshot::new(Time::EPOCH, named.into()))
        .unwrap()
        .write()
        .unwrap();
    let mut next = publication(1, 8);
    next.files.retain(|file| file.role != "targets/x");
    next.files.push(NewFile {
        role: "snapshot".into(),
        version: 8,
        bytes: snapshot,
    });
    store.publish(&next).unwrap();
    let collection = store.collection(&gun()).unwrap();
    let published = collection.as_published();
    assert_eq!(
        published.files.keys().copied().collect::<Vec<_>>(),
        ["snapshot", "targets", "timestamp"]
    );
    assert_eq!(published.left_behind, BTreeMap::from([("targets/x", 7)]));
    // It is still to be had.
    let hash = collection.left_out("targets/x").unwrap();
    let found = store.find(&gun(), "targets/x", |_, found| found == hash).unwrap();
    assert_eq!(found.unwrap().version(), 7);
}

#[test]
fn a_log_in_memory_is_the_one_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    let kept = || store.logs.lock().unwrap().of.len();
    for base in 0..3 {
        store.publish(&publication(base, base + 1)).unwrap();
        assert_eq!(kept(), 0, "it has changed");
        for _ in 0..2 {
            assert_eq!(versions(&store).0, base + 1);
            assert!(
                store
                    .find(&gun(), "targets", |version, _| version == base + 1)
                    .unwrap()
                    .is_some()
            );
        }
        assert_eq!(kept(), 1);
    }
    // What was read before a change does not come in after it.
    let (log, changed) = (store.log(&gun()).unwrap(), store.logs.lock().unwrap().changed);
    store.forget_log(&gun());
    store.logs.lock().unwrap().put(&gun(), &log, changed);
    assert_eq!(kept(), 0);
    store.log(&gun()).unwrap();
    store.delete(&gun(), Time::EPOCH).unwrap();
    assert_eq!(versions(&store).0, 0);
    // As many as there is room for.
    let mut logs = Logs::default();
    let file = || EntryFile {
        role: "targets".into(),
        version: 1,
        sha256: Digest::sha256(b""),
    };
    let entry = Entry {
        gun: gun().to_string(),
        at: Time::EPOCH,
        files: (0..limit::SERVER_LOGGED_FILES / 2 - 1).map(|_| file()).collect(),
        keys: Vec::new(),
    };
    let half = (Arc::new(vec![entry]), 0);
    for (number, left) in [(1, 1), (2, 2), (3, 1)] {
        logs.put(&Gun::new(&format!("example.com/{number}")).unwrap(), &half, 0);
        assert_eq!(
            (logs.of.len(), logs.files),
            (left, left * limit::SERVER_LOGGED_FILES / 2)
        );
    }
}
