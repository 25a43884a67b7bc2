//! The one face of both stores.

use std::sync::Arc;

use super::directory::Directory;
use super::postgres::Postgres;
use super::ready::Ready;
use super::record::{Change, ChangeQuery, Collection, HeldKey, Publication, Published};
use super::route::{Gun, Which};
use crate::failure::Failure;
use crate::time::Time;

/// Where a server keeps its collections.
#[derive(Debug)]
pub(super) enum Store {
    Directory(Arc<Directory>),
    Postgres(Box<Postgres>),
}

impl Store {
    /// Returns a collection as it is published; one without files when it is not.
    pub(super) async fn collection(&self, gun: &Gun) -> Result<Collection, Failure> {
        match self {
            Self::Directory(store) => {
                let gun = gun.clone();
                blocking(store, move |store| store.collection(&gun)).await
            }
            Self::Postgres(store) => store.collection(gun).await,
        }
    }

    /// Returns a role's file as it was at some time.
    pub(super) async fn file(&self, gun: &Gun, role: &str, which: &Which) -> Result<Option<Ready>, Failure> {
        match (self, which) {
            (_, Which::Current) => Ok(None),
            (Self::Directory(store), Which::Hash(hash)) => {
                let (gun, role, hash) = (gun.clone(), role.to_owned(), *hash);
                blocking(store, move |store| store.find(&gun, &role, |_, found| found == hash)).await
            }
            (Self::Directory(store), Which::Version(version)) => {
                let (gun, role, version) = (gun.clone(), role.to_owned(), *version);
                blocking(store, move |store| store.find(&gun, &role, |found, _| found == version)).await
            }
            (Self::Postgres(store), Which::Hash(hash)) => store.by_hash(gun, role, *hash).await,
            (Self::Postgres(store), Which::Version(version)) => store.by_version(gun, role, *version).await,
        }
    }

    /// Publishes all files or none.
    pub(super) async fn publish(&self, publication: Publication) -> Result<Published, Failure> {
        match self {
            Self::Directory(store) => blocking(store, move |store| store.publish(&publication)).await,
            Self::Postgres(store) => store.publish(&publication).await,
        }
    }

    /// Deletes a collection with its history and keys.
    pub(super) async fn delete(&self, gun: &Gun, at: Time) -> Result<(), Failure> {
        match self {
            Self::Directory(store) => {
                let gun = gun.clone();
                blocking(store, move |store| store.delete(&gun, at)).await
            }
            Self::Postgres(store) => store.delete(gun, at).await,
        }
    }

    /// Returns the server's keys for a collection.
    pub(super) async fn keys(&self, gun: &Gun) -> Result<Vec<HeldKey>, Failure> {
        match self {
            Self::Directory(store) => {
                let gun = gun.clone();
                blocking(store, move |store| store.keys(&gun)).await
            }
            Self::Postgres(store) => store.keys(gun).await,
        }
    }

    /// Keeps a new key; another server's for the same role, made at the same time, stays instead.
    pub(super) async fn add_key(&self, gun: &Gun, key: HeldKey) -> Result<(), Failure> {
        match self {
            Self::Directory(store) => {
                let gun = gun.clone();
                blocking(store, move |store| store.add_key(&gun, &key)).await
            }
            Self::Postgres(store) => store.add_key(gun, &key).await,
        }
    }

    /// Returns the collections whose timestamp was made before `time`, and what is wrong with those that cannot be read.
    pub(super) async fn older_than(&self, time: Time) -> Result<Vec<Result<Gun, Failure>>, Failure> {
        match self {
            Self::Directory(store) => blocking(store, move |store| store.older_than(time)).await,
            Self::Postgres(store) => store.older_than(time).await,
        }
    }

    /// Returns lines of the changefeed, oldest first.
    pub(super) async fn changes(&self, query: ChangeQuery) -> Result<Vec<Change>, Failure> {
        match self {
            Self::Directory(store) => blocking(store, move |store| store.changes(&query)).await,
            Self::Postgres(store) => store.changes(&query).await,
        }
    }

    /// Says whether the store can be reached.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Directory(store) => blocking(store, |store| store.check()).await,
            Self::Postgres(store) => store.check().await,
        }
    }
}

async fn blocking<T: Send + 'static>(
    store: &Arc<Directory>,
    work: impl FnOnce(&Directory) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let store = Arc::clone(store);
    off_the_loop(move || work(&store)).await
}

/// Does work that takes a processor or a disk where requests need not wait for it.
pub(super) async fn off_the_loop<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::unavailable("the server's own work", error)),
    }
}
