//! Roles whose keys changed without being signed again: nothing is lost of what they say.

use super::simulator::{ALICE, Repository, delegated, key, put, signed};
use super::*;
use crate::trust::edit::EditError;
use crate::trust::notary::edit::NotaryCollection;

const ROLE: &str = "targets/alice";
const BOB: u8 = 9;

/// A collection whose role `targets/alice`, at version 3, is Bob's now, and was signed by Alice.
fn repository() -> Repository {
    let mut repository = Repository::new();
    let (top, _) = repository.targets.get_mut("targets").unwrap();
    top.delegations.keys.insert(key(BOB).0);
    top.delegations.roles[0] = delegated(ROLE, BOB, &["bin/"]);
    repository.targets.get_mut(ROLE).unwrap().0.header.version = 3;
    repository.publish();
    repository
}

/// What is loaded of it, and why the role is not trusted.
fn loaded(repository: &Repository) -> (NotaryCollection, NotaryClient<simulator::Served>, TrustError) {
    let mut client = repository.fresh().unwrap();
    let (role, reason) = client.fetch_roles().unwrap().remove(0);
    assert_eq!(role, ROLE);
    (NotaryCollection::of(client.chain()), client, reason)
}

#[test]
fn nothing_is_signed_in_the_place_of_what_is_published_and_not_trusted() {
    let repository = repository();
    let (mut collection, ..) = loaded(&repository);
    let put = collection.put_target(ROLE, "bin/y", FileMeta::describe(b"y"), now());
    let unvouched = EditError::Unvouched { role: ROLE.into() };
    assert_eq!(put.unwrap_err(), unvouched);
    assert_eq!(collection.remove_target(ROLE, "bin/x").unwrap_err(), unvouched);
    assert_eq!(collection.witness(ROLE, now()).unwrap_err(), unvouched);
    let below = format!("{ROLE}/b");
    assert_eq!(collection.witness(&below, now()).unwrap_err(), unvouched);
    assert_eq!(
        collection.delegate(&below, &[key(BOB).0], &[], None).unwrap_err(),
        unvouched
    );
    assert!(collection.to_sign().is_empty());
}

#[test]
fn a_role_below_one_that_is_witnessed_is_not_begun_anew() {
    let mut repository = repository();
    let (alice, _) = repository.targets.get_mut(ROLE).unwrap();
    let below = format!("{ROLE}/b");
    alice.delegations.keys.insert(key(BOB).0);
    alice.delegations.roles = vec![delegated(&below, BOB, &["bin/"])];
    let mut body = Targets::new(now().plus(DAY));
    put(&mut body, "bin/b", b"b");
    repository.targets.insert(below.clone(), (body, BOB));
    repository.publish();
    let (mut collection, mut client, reason) = loaded(&repository);
    collection.set_unvouched(ROLE, client.unvouched(ROLE, reason).unwrap());
    collection.witness(ROLE, now()).unwrap();
    let unvouched = EditError::Unvouched { role: below.clone() };
    assert_eq!(collection.witness(&below, now()).unwrap_err(), unvouched);
}

#[test]
fn witnessing_signs_what_is_published_under_the_next_version() {
    let repository = repository();
    let (mut collection, mut client, reason) = loaded(&repository);
    collection.set_unvouched(ROLE, client.unvouched(ROLE, reason).unwrap());
    assert!(
        collection.targets_of(ROLE).is_none(),
        "it is nobody's before it is witnessed"
    );
    assert!(!collection.witness(ROLE, now()).unwrap(), "nobody vouched for it");
    let (bob, signer) = key(BOB);
    let publication = collection.sign(&[&signer], now()).unwrap();
    let [(role, bytes)] = publication.files() else {
        panic!("{publication:?}")
    };
    assert_eq!(role, ROLE);
    let keys = RoleKeys::of(ROLE, &[bob.id().clone()], 1, |_| Some(bob.clone()));
    let read = Unverified::<Targets>::parse(ROLE, bytes, usize::MAX).unwrap();
    let read = read.verify(&keys).unwrap();
    assert_eq!(read.version(), 4);
    assert_eq!(read.body().targets, repository.targets[ROLE].0.targets);
}

#[test]
fn what_has_expired_is_witnessed_too() {
    let mut repository = Repository::new();
    repository.targets.get_mut(ROLE).unwrap().0.header.expires = now().plus(-DAY);
    repository.publish();
    let (_, mut client, reason) = loaded(&repository);
    assert!(matches!(reason, TrustError::Expired { .. }), "{reason}");
    let read = client.unvouched(ROLE, reason).unwrap();
    assert!(read.unverified_body().targets.contains_key("bin/x"));
}

#[test]
fn other_bytes_than_the_snapshot_names_are_not_witnessed() {
    let mut repository = repository();
    let (alice, _) = repository.targets.get(ROLE).unwrap();
    let mut other = alice.clone();
    put(&mut other, "bin/evil", b"evil");
    let other = signed(&other, ALICE);
    let (_, mut client, reason) = loaded(&repository);
    client.source.0.insert(format!("{ROLE}.json"), other.clone());
    let refused = client.unvouched(ROLE, reason).unwrap_err();
    assert!(matches!(refused, TrustError::Digest { .. }), "{refused}");
    // Where it is so from the beginning, that is why the role is not trusted.
    repository.served.0.insert(format!("{ROLE}.json"), other);
    let (_, mut client, reason) = loaded(&repository);
    assert_eq!(client.unvouched(ROLE, reason.clone()).unwrap_err(), reason);
}
