//! Published collections in memory.
//!
//! - An entry is put in only if nothing was forgotten since its reading began: what was read before a change never comes in after it.
//! - A closed cache holds nothing and takes nothing.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::record::Collection;
use super::route::Gun;

/// Collections by name, up to a number of bytes.
#[derive(Debug)]
pub(super) struct Cache {
    inner: RwLock<Inner>,
    max: usize,
}

#[derive(Debug)]
struct Inner {
    collections: HashMap<Gun, Arc<Collection>>,
    cost: usize,
    /// Counts what was forgotten.
    epoch: u64,
    open: bool,
}

/// The moment at which a reading began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(u64);

impl Cache {
    pub(super) fn new(max: usize, open: bool) -> Self {
        Self {
            inner: RwLock::new(Inner {
                collections: HashMap::new(),
                cost: 0,
                epoch: 0,
                open,
            }),
            max,
        }
    }

    pub(super) fn find(&self, gun: &Gun) -> Option<Arc<Collection>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.collections.get(gun).map(Arc::clone)
    }

    /// Returns the moment that a reading begins.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.inner.read().unwrap_or_else(PoisonError::into_inner).epoch)
    }

    /// Tells whether a collection can be taken at all.
    pub(super) fn fits(&self, gun: &Gun, collection: &Collection) -> bool {
        cost(gun, collection) <= self.max
    }

    /// Takes a collection whose reading began at `epoch`.
    pub(super) fn put(&self, gun: &Gun, collection: &Arc<Collection>, epoch: Epoch) {
        let cost = cost(gun, collection);
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if !inner.open || inner.epoch != epoch.0 || cost > self.max {
            return;
        }
        inner.remove(gun);
        // Whichever comes first makes room: order in a hash map is as good as chance, and costs nothing on the way of requests.
        while inner.cost + cost > self.max {
            let Some(other) = inner.collections.keys().next().cloned() else {
                break;
            };
            inner.remove(&other);
        }
        inner.cost += cost;
        inner.collections.insert(gun.clone(), Arc::clone(collection));
    }

    /// Drops a collection, and what is being read of any.
    pub(super) fn forget(&self, gun: &Gun) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.epoch += 1;
        inner.remove(gun);
    }

    /// Drops everything, and takes what is read from now on.
    pub(super) fn open(&self) {
        self.clear(true);
    }

    /// Drops everything, and takes nothing more.
    pub(super) fn close(&self) {
        self.clear(false);
    }

    fn clear(&self, open: bool) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.epoch += 1;
        inner.open = open;
        inner.cost = 0;
        inner.collections.clear();
    }
}

impl Inner {
    fn remove(&mut self, gun: &Gun) {
        if let Some(old) = self.collections.remove(gun) {
            self.cost = self.cost.saturating_sub(cost(gun, &old));
        }
    }
}

fn cost(gun: &Gun, collection: &Collection) -> usize {
    collection.cost() + gun.as_str().len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeMap;

    use crate::digest::Digest;
    use crate::store::notary_server::ready::Ready;
    use crate::time::Time;

    fn gun(name: &str) -> Gun {
        Gun::new(name).unwrap()
    }

    fn of_size(len: usize) -> Arc<Collection> {
        let file = Ready::new(vec![0; len].into(), Digest::sha256(b""), 1, Time::EPOCH);
        let files = BTreeMap::from([("targets".to_owned(), Arc::new(file))]);
        Arc::new(Collection::new(1, files, BTreeMap::new()))
    }

    #[test]
    fn what_was_read_before_a_change_does_not_come_in_after_it() {
        let cache = Cache::new(10_000, true);
        let before = cache.epoch();
        cache.forget(&gun("a"));
        cache.put(&gun("a"), &of_size(1), before);
        assert!(cache.find(&gun("a")).is_none());
        cache.put(&gun("a"), &of_size(1), cache.epoch());
        assert!(cache.find(&gun("a")).is_some());
    }

    #[test]
    fn a_closed_cache_holds_and_takes_nothing() {
        let cache = Cache::new(10_000, true);
        cache.put(&gun("a"), &of_size(1), cache.epoch());
        cache.close();
        assert!(cache.find(&gun("a")).is_none());
        cache.put(&gun("a"), &of_size(1), cache.epoch());
        assert!(cache.find(&gun("a")).is_none());
    }

    #[test]
    fn stays_within_its_bytes() {
        let cache = Cache::new(10_000, true);
        for n in 0..20 {
            cache.put(&gun(&n.to_string()), &of_size(1000), cache.epoch());
        }
        let inner = cache.inner.read().unwrap();
        assert!(inner.cost <= 10_000 && inner.collections.len() == 3, "{}", inner.cost);
        drop(inner);
        cache.put(&gun("large"), &of_size(10_000), cache.epoch());
        assert!(cache.find(&gun("large")).is_none());
    }
}
