//! Bins, nested delegations and other keys, in the owner's hands and looked at as a client.

use std::cell::RefCell;

use super::*;
use crate::failure::Failure;
use crate::key::Signer;
use crate::trust::Source;
use crate::trust::edit::EditError;

/// A place that remembers which files were read.
struct Watched<'a> {
    files: &'a Bundle,
    read: &'a RefCell<Vec<String>>,
}

impl Source for Watched<'_> {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let mut files = self.files;
        let found = files.file(name, max)?;
        if found.is_some() {
            self.read.borrow_mut().push(name.to_owned());
        }
        Ok(found)
    }
}

/// A collection with 16 bins and a role `team`.
fn binned() -> Repository {
    let mut collection = Repository::collection();
    collection.make_bins(4, start()).unwrap();
    Repository::of(collection)
}

pub(super) fn sign_with(collection: Collection<'_>, numbers: &[u8], now: Time) -> Result<Publication, EditError> {
    let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
    let keys: Vec<_> = keys.iter().map(|key| key as &dyn Signer).collect();
    collection.sign(&keys, now)
}

#[test]
fn a_change_of_a_name_in_bins_reads_and_writes_one_bin() {
    let repository = binned();
    let read = RefCell::new(Vec::new());
    let source = Watched {
        files: &repository.files,
        read: &read,
    };
    let mut collection = Collection::load(&repository.pin(), source).unwrap();
    collection.put_target("targets", "x/y:1", file(b"y"), start()).unwrap();
    let made = repository.sign(collection, start());
    let mut read = read.into_inner();
    let bin = read.pop().unwrap();
    assert!(bin.starts_with("1.bin-"), "{bin}");
    let expected = [
        "1.root.json",
        "timestamp.json",
        "1.snapshot.json",
        "1.targets.json",
        "1.bins.json",
    ];
    assert_eq!(read, expected);
    let names: Vec<_> = made.files().files().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(
        names,
        [
            bin.replacen('1', "2", 1),
            "2.snapshot.json".into(),
            "timestamp.json".into()
        ]
    );
}

#[test]
fn a_bin_signs_as_the_role_whose_names_it_holds() {
    let mut repository = binned();
    repository.change(days(1), |collection| {
        for number in 0..40 {
            let name = format!("x/{number}:1");
            collection.put_target("targets", &name, file(b"x"), days(1)).unwrap();
        }
    });
    let found = repository.find("x/7:1").unwrap();
    assert_eq!(found.evidence().role, "targets");
    let path: Vec<_> = found.evidence().path.iter().map(|role| role.role.clone()).collect();
    assert_eq!(path.first().map(String::as_str), Some("bins"));
    assert_eq!(path.len(), 2);
    // What a look-up needs is in its bundle, and no other bin.
    assert_eq!(found.bundle().files().count(), 6);
    let again = lookup(&repository.pin(), found.bundle(), &Known::default(), "x/7:1", days(1)).unwrap();
    assert_eq!(again.evidence().role, "targets");
    // Names in the top level itself, and those of other roles, are found as before.
    assert_eq!(repository.find("a").unwrap().evidence().role, "targets");
    assert_eq!(repository.find("team/b").unwrap().evidence().role, "team");
    assert!(matches!(repository.find("x/99:1"), Err(TrustError::Absent { .. })));
    repository.change(days(2), |collection| {
        collection.remove_target("targets", "x/7:1", days(2)).unwrap()
    });
    assert!(matches!(repository.find("x/7:1"), Err(TrustError::Absent { .. })));
    let mut client = repository.client();
    client.fetch_roles().unwrap();
    let by_targets = client.chain().signing_roles().filter(|(role, _)| *role == "targets");
    assert_eq!(
        by_targets.map(|(_, signed)| signed.body().targets.len()).sum::<usize>(),
        40
    );
}

#[test]
fn a_bin_with_other_keys_signs_as_itself() {
    let mut collection = Repository::collection();
    collection.make_bins(4, start()).unwrap();
    collection.replace_keys("bin-0", &spec(&[TEAM], 1), start()).unwrap();
    assert_eq!(collection.signs_as("bin-0"), "bin-0");
    assert_eq!(collection.signs_as("bins"), "targets");
}

#[test]
fn other_keys_for_the_top_level_are_its_bins_keys_too() {
    let mut repository = binned();
    repository.change(days(1), |collection| {
        collection.put_target("targets", "x:1", file(b"x"), days(1)).unwrap()
    });
    repository.keys.insert("new", vec![21]);
    repository.change(days(2), |collection| {
        collection.rotate("targets", &spec(&[21], 1), days(2)).unwrap()
    });
    let found = repository.find("x:1").unwrap();
    assert_eq!(
        (found.evidence().role.as_str(), found.evidence().keys.clone()),
        ("targets", vec![key(21).id()])
    );
    repository.keys.remove("targets");
    repository.change(days(3), |collection| {
        collection.put_target("targets", "y:1", file(b"y"), days(3)).unwrap()
    });
    assert!(repository.find("y:1").is_ok());
}

#[test]
fn a_new_root_is_signed_by_the_keys_of_the_old_one() {
    let mut repository = Repository::new();
    let files = repository.files.clone();
    let rotated = || {
        let mut collection = Collection::load(&repository.pin(), &files).unwrap();
        collection.rotate("root", &spec(&[21, 22], 2), days(1)).unwrap();
        collection
    };
    let lacking = sign_with(rotated(), &[21, 22], days(1)).unwrap_err();
    assert!(
        matches!(lacking, EditError::Keys { ref role, needed: 1, have: 0, .. } if role == "root"),
        "{lacking}"
    );
    let lacking = sign_with(rotated(), &[ROOT, 21], days(1)).unwrap_err();
    assert!(
        matches!(lacking, EditError::Keys { needed: 2, have: 1, .. }),
        "{lacking}"
    );
    let made = sign_with(rotated(), &[ROOT, 21, 22], days(1)).unwrap();
    repository.publish(&made);
    assert_eq!(repository.find("a").unwrap().evidence().root_keys.len(), 2);
}

#[test]
fn a_delegated_role_delegates_in_turn() {
    let mut repository = Repository::new();
    repository.keys.insert("sub", vec![21]);
    repository.change(days(1), |collection| {
        let patterns = ["team/sub/*".to_owned()];
        collection
            .delegate_by("team", "sub", &spec(&[21], 1), &patterns, false)
            .unwrap();
        collection
            .set_patterns("team", &["team/*".to_owned(), "team/sub/*".to_owned()])
            .unwrap();
        collection.put_target("sub", "team/sub/x", file(b"x"), days(1)).unwrap();
        let refused = collection.put_target("sub", "team/x", file(b"x"), days(1)).unwrap_err();
        assert!(matches!(refused, EditError::NotCovered { .. }), "{refused}");
    });
    let found = repository.find("team/sub/x").unwrap();
    assert_eq!(
        (found.evidence().role.as_str(), found.evidence().path.len()),
        ("sub", 2)
    );
    repository.change(days(2), |collection| collection.renew("sub").unwrap());
    assert!(repository.find("team/sub/x").is_ok());
    let files = repository.files.clone();
    let mut collection = Collection::load(&repository.pin(), &files).unwrap();
    collection.load_all().unwrap();
    let names: Vec<_> = collection
        .roles()
        .into_iter()
        .skip(4)
        .map(|role| (role.name, role.by.unwrap()))
        .collect();
    let of = |name: &str, by: &str| (name.to_owned(), by.to_owned());
    assert_eq!(names, [of("seal", "targets"), of("team", "targets"), of("sub", "team")]);
    collection.undelegate("team", days(3)).unwrap();
    repository.publish(&repository.sign(collection, days(3)));
    assert!(matches!(repository.find("team/sub/x"), Err(TrustError::Absent { .. })));
    // A role of the same name begins where the old one ended: no version is ever used twice.
    repository.keys.insert("team", vec![23]);
    repository.change(days(4), |collection| {
        collection
            .delegate("team", &spec(&[23], 1), &["team/*".to_owned()])
            .unwrap();
        collection.put_target("team", "team/new", file(b"n"), days(4)).unwrap();
    });
    assert_eq!(repository.find("team/new").unwrap().evidence().role_mark().version, 3);
}
