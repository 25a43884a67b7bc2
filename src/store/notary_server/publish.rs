//! Publishing, renewing, and the server's keys: everything that signs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde_json::Value;

use super::Server;
use super::answer::Refused;
use super::record::{HeldKey, Publication, Published, RENEW_SNAPSHOT, RENEW_TIMESTAMP};
use super::route::{Gun, HeldRole};
use super::store::off_the_loop;
use crate::failure::Failure;
use crate::key::KeyId;
use crate::limit;
use crate::time::Time;
use crate::trust::notary::{self, Files, NewFile, Plan, Root, TIMESTAMP_LIFETIME, Unverified, UploadError, check_cost};

impl Server {
    /// Publishes an upload, all of it or nothing.
    pub(super) async fn publish(self: &Arc<Self>, gun: &Gun, files: BTreeMap<String, Bytes>) -> Result<(), Refused> {
        let files = Arc::new(files);
        // What cannot be judged takes no turn, and reads no collection.
        let counted = Arc::clone(&files);
        let counted = off_the_loop(move || Ok(check_cost(&borrowed(&counted)))).await;
        counted.map_err(|failure| self.own_fault(&failure))??;
        let plan = move |gun: &str, published: &notary::Published<'_>, held: &BTreeSet<KeyId>, now: Time| {
            Plan::of_upload(gun, &borrowed(&files), published, held, now).map(Some)
        };
        match self.plan_and_publish(gun, plan).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(failure) => {
                self.own_fault(&failure);
                Err(Refused::not_stored())
            }
        }
    }

    /// Makes new metadata for those of the server that end soon; tells whether there were any.
    pub(super) async fn renew(self: &Arc<Self>, gun: &Gun) -> Result<bool, Failure> {
        let plan = |gun: &str, published: &notary::Published<'_>, held: &BTreeSet<KeyId>, now: Time| {
            let until = (now.plus(RENEW_TIMESTAMP), now.plus(RENEW_SNAPSHOT));
            match published.files.is_empty() {
                true => Ok(None),
                false => Plan::of_renewal(gun, published, held, now, until),
            }
        };
        let renewed = self.plan_and_publish(gun, plan).await.and_then(|renewed| {
            renewed.map_err(|error| Failure::unavailable(gun, format!("its timestamp cannot be renewed: {error}")))
        });
        match renewed {
            Ok(true) => self.metrics.renewals.fetch_add(1, Ordering::Relaxed),
            Ok(false) => 0,
            Err(_) => self.metrics.failed_renewals.fetch_add(1, Ordering::Relaxed),
        };
        renewed
    }

    /// Renews whatever ends soon, in all collections.
    pub(super) async fn renew_all(self: &Arc<Self>) -> Result<(), Failure> {
        let now = (self.clock.now)()?;
        // Every timestamp here was made by a server, with this lifetime.
        let made_before = now.plus(RENEW_TIMESTAMP - TIMESTAMP_LIFETIME);
        for gun in self.store.older_than(made_before).await? {
            let renewed = match gun {
                Ok(gun) => self.renew(&gun).await.map(drop),
                Err(damaged) => {
                    self.metrics.failed_renewals.fetch_add(1, Ordering::Relaxed);
                    Err(damaged)
                }
            };
            // The others are renewed all the same.
            if let Err(failure) = renewed {
                self.own_fault(&failure);
            }
        }
        Ok(())
    }

    /// Returns the key object of a server's key: the one that the root names, or a new one; `rotate` wants one that no root
    /// has named yet.
    pub(super) async fn key(self: &Arc<Self>, gun: &Gun, role: HeldRole, rotate: bool) -> Result<String, Refused> {
        let key = self.find_or_make_key(gun, role, rotate).await;
        key.map_err(|failure| self.own_fault(&failure))
    }

    async fn find_or_make_key(self: &Arc<Self>, gun: &Gun, role: HeldRole, rotate: bool) -> Result<String, Failure> {
        let _turn = self.turn(gun).lock().await;
        let keys = self.store.keys(gun).await?;
        let named = match rotate {
            true => Vec::new(),
            false => self.named_keys(gun, role).await?,
        };
        let of_role = || keys.iter().filter(|key| key.role == role);
        let found = of_role()
            .find(|key| named.contains(&key.id))
            .or_else(|| of_role().find(|key| !key.used));
        if let Some(key) = found {
            return self.public_object(gun, key.clone()).await;
        }
        let (server, owner) = (Arc::clone(self), gun.clone());
        let new = off_the_loop(move || server.keyring.make(&owner, role)).await?;
        self.store.add_key(gun, new.clone()).await?;
        // Another server may have made one at the same time, which then counts.
        let keys = self.store.keys(gun).await?;
        if keys.iter().all(|key| key.id != new.id) {
            self.destroy_keys(gun, vec![new]).await;
        }
        let key = keys.into_iter().find(|key| key.role == role && !key.used);
        let key = key.ok_or_else(|| Failure::unavailable(gun, "the new key is not there; try again"))?;
        self.public_object(gun, key).await
    }

    async fn named_keys(&self, gun: &Gun, role: HeldRole) -> Result<Vec<KeyId>, Failure> {
        let collection = self.current(gun).await?;
        let Some(root) = self.file_of(gun, &collection, "root").await? else {
            return Ok(Vec::new());
        };
        let root = Unverified::<Root>::parse("root", root.body(), limit::ROOT_BYTES);
        let root = root.map_err(|error| error.about(gun.as_str()))?;
        let named = root.unverified_body().roles.get(role.name());
        Ok(named.map(|role| role.keyids.clone()).unwrap_or_default())
    }

    /// Takes keys that nothing names any more out of the token; what cannot be taken out is logged.
    pub(super) async fn destroy_keys(self: &Arc<Self>, gun: &Gun, keys: Vec<HeldKey>) {
        let (server, owner) = (Arc::clone(self), gun.clone());
        let destroyed = off_the_loop(move || keys.iter().try_for_each(|key| server.keyring.destroy(&owner, key)));
        if let Err(failure) = destroyed.await {
            self.own_fault(&failure);
        }
    }

    async fn public_object(self: &Arc<Self>, gun: &Gun, key: HeldKey) -> Result<String, Failure> {
        let (server, gun) = (Arc::clone(self), gun.clone());
        off_the_loop(move || {
            let key = server.keyring.public(&gun, &key)?;
            let text = |pointer: &str| {
                key.to_json()
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            // The original's order of members; base64 needs no escapes.
            Ok(format!(
                "{{\"keytype\":\"{}\",\"keyval\":{{\"public\":\"{}\",\"private\":null}}}}",
                text("/keytype"),
                text("/keyval/public")
            ))
        })
        .await
    }

    /// Plans on what is published now, signs and publishes; plans again when another server was faster.
    async fn plan_and_publish<P>(self: &Arc<Self>, gun: &Gun, plan: P) -> Result<Result<bool, UploadError>, Failure>
    where
        P: Fn(&str, &notary::Published<'_>, &BTreeSet<KeyId>, Time) -> Result<Option<Plan>, UploadError>
            + Clone
            + Send
            + 'static,
    {
        let _turn = self.turn(gun).lock().await;
        for _ in 0..limit::SERVER_ATTEMPTS {
            let judge = self.judge.turn().await;
            // Who waits for the judge holds no collection.
            let collection = self.store.collection(gun).await?;
            let keys = self.store.keys(gun).await?;
            let now = (self.clock.now)()?;
            let base = collection.revision;
            let held: BTreeSet<_> = keys.iter().map(|key| key.id.clone()).collect();
            let (owner, plan) = (gun.clone(), plan.clone());
            let planned = move || plan(owner.as_str(), &collection.as_published(), &held, now);
            let planned = match judge.run(planned).await? {
                Ok(Some(planned)) => planned,
                Ok(None) => return Ok(Ok(false)),
                Err(error) => return Ok(Err(error)),
            };
            let (server, owner) = (Arc::clone(self), gun.clone());
            let used = planned.held().clone();
            let files = off_the_loop(move || server.sign(&owner, planned, &keys)).await?;
            let publication = Publication {
                gun: gun.clone(),
                base,
                files,
                used,
                at: now,
            };
            let published = self.store.publish(publication).await;
            // Whatever came of it, what memory holds may be old now.
            self.cache.forget(gun);
            if let Published::Done = published? {
                return Ok(Ok(true));
            }
        }
        Err(Failure::unavailable(gun, "others keep publishing; try again"))
    }

    fn sign(&self, gun: &Gun, plan: Plan, keys: &[HeldKey]) -> Result<Vec<NewFile>, Failure> {
        let files = plan.sign(|key, message| {
            let held = keys.iter().find(|held| held.id == *key.id());
            let held = held.ok_or_else(|| crate::key::KeyError::Signer(format!("there is no key {}", key.id())))?;
            let signed = self.keyring.sign(gun, held, message);
            signed.map_err(|failure| crate::key::KeyError::Signer(failure.to_string()))
        });
        files.map_err(|error| Failure::unavailable(gun, format!("cannot sign: {error}")))
    }
}

fn borrowed(files: &BTreeMap<String, Bytes>) -> Files<'_> {
    let files = files.iter();
    files.map(|(role, bytes)| (role.as_str(), bytes.as_ref())).collect()
}
