//! Collections that have expired, in the hands of their owner: they are read, checked in all else, and signed again.

use super::simulator::{GUN, Repository, SNAPSHOT, TARGETS, key, put, signed};
use super::*;
use crate::trust::notary::edit::{NotaryCollection, notary_lifetime};

const ALICE: &str = "targets/alice";

/// A time at which all of [`Repository::new`] has expired.
fn late() -> Time {
    now().plus(2 * DAY)
}

fn as_owner(
    repository: &Repository,
    known: NotaryKnown,
    at: Time,
) -> Result<NotaryClient<simulator::Served>, TrustError> {
    let pin = NotaryPin::UnsafeFirstUse;
    NotaryClient::refresh_for_owner(GUN, &pin, known, repository.served.clone(), at)
}

fn owned(repository: &Repository, at: Time) -> NotaryCollection {
    let mut client = as_owner(repository, NotaryKnown::default(), at).unwrap();
    assert_eq!(client.fetch_roles().unwrap(), []);
    NotaryCollection::of(client.chain())
}

#[test]
fn the_owner_reads_what_has_expired_and_others_do_not() {
    let repository = Repository::new();
    let client = NotaryClient::refresh(
        GUN,
        &NotaryPin::UnsafeFirstUse,
        NotaryKnown::default(),
        repository.served.clone(),
        late(),
    );
    assert!(matches!(client.unwrap_err(), TrustError::Expired { .. }));
    let collection = owned(&repository, late());
    assert!(collection.targets_of(ALICE).is_some());
    // Nor does it matter to him that the root's certificate is over.
    owned(&repository, now().plus(4000 * DAY));
}

#[test]
fn the_owner_is_not_led_to_anything_older_or_unsigned() {
    let mut repository = Repository::new();
    repository.targets.get_mut("targets").unwrap().0.header.version = 2;
    repository.publish();
    let known = repository.known();
    repository.targets.get_mut("targets").unwrap().0.header.version = 1;
    repository.version += 1;
    repository.publish();
    let refused = as_owner(&repository, known, late()).unwrap_err();
    assert!(matches!(refused, TrustError::Rollback { .. }), "{refused}");

    let mut repository = Repository::new();
    let (mut top, _) = repository.targets["targets"].clone();
    put(&mut top, "evil", b"evil");
    let served = repository.served.0.insert("targets.json".into(), signed(&top, TARGETS));
    let refused = as_owner(&repository, NotaryKnown::default(), late()).unwrap_err();
    assert!(matches!(refused, TrustError::Digest { .. }), "{refused}");
    repository.served.0.insert("targets.json".into(), served.unwrap());
    repository.targets.get_mut("targets").unwrap().1 = SNAPSHOT;
    repository.publish();
    let refused = as_owner(&repository, NotaryKnown::default(), late()).unwrap_err();
    assert!(refused.is_lack_of_signatures(), "{refused}");
}

#[test]
fn what_is_signed_needs_what_has_expired_above_it() {
    let repository = Repository::new();
    let mut collection = owned(&repository, now());
    collection.renew(ALICE).unwrap();
    assert_eq!(collection.in_the_way(now()), [""; 0]);
    let mut collection = owned(&repository, late());
    collection.renew(ALICE).unwrap();
    assert_eq!(collection.in_the_way(late()), ["root", "targets"]);
    let refused = collection.check_fresh(late()).unwrap_err();
    assert!(
        matches!(&refused, TrustError::Expired { role, .. } if role == "root"),
        "{refused}"
    );
    collection.renew("root").unwrap();
    collection.renew("targets").unwrap();
    assert_eq!(
        collection.check_fresh(late()),
        Ok(()),
        "the others are not needed for that"
    );
    // With its certificate over a root cannot be signed again as it is.
    let over = now().plus(3650 * DAY).plus(1);
    assert_eq!(collection.in_the_way(over), ["root"]);
    let refused = collection.check_fresh(over).unwrap_err();
    assert!(matches!(refused, TrustError::CertificateDates { .. }), "{refused}");
}

#[test]
fn a_snapshot_is_renewed_alone() {
    let repository = Repository::new();
    let mut collection = owned(&repository, late());
    collection.renew("snapshot").unwrap();
    let (_, signer) = key(SNAPSHOT);
    let publication = collection.clone().sign(&[&signer], late()).unwrap();
    let [(role, bytes)] = publication.files() else {
        panic!("{publication:?}")
    };
    assert_eq!(role, "snapshot");
    let read = Unverified::<Snapshot>::parse(role, bytes, usize::MAX).unwrap();
    let read = read.verify(&collection.role_keys("snapshot").unwrap()).unwrap();
    assert_eq!(read.version(), 2);
    assert_eq!(read.header().expires, late().plus(notary_lifetime("snapshot")));
    assert!(collection.sign(&[], late()).is_err(), "nobody else's key does");
}
