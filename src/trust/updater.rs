//! A client of any TUF repository, which keeps what it trusts from one run to the next (specification, section 5).
//!
//! - The root that was trusted last is where it begins; every later one is kept as soon as it is trusted (5.3.8), the other
//!   roles' metadata likewise (5.4.5, 5.5.7, 5.6.6): an update that fails keeps what was reached.
//! - A file that is kept already and is what the metadata above it name is not fetched again.
//! - What is kept is judged as anything else is: whoever changes it can make an update fail, and not make anything trusted but
//!   another root, which is the user's own to look after.
//! - A timestamp of the version that is trusted already is discarded, and is no error (5.4.3.1); [`super::Client`] is stricter.

use super::bundle::{Source, fetch, need};
use super::chain::{AtRoot, AtTargets, Chain};
use super::search::Search;
use super::target::Target;
use super::{TrustError, chain};
use crate::failure::Failure;
use crate::limit;
use crate::time::Time;

/// A place that keeps the metadata which a client trusts, the newest of each role.
pub trait Cache {
    /// Returns the bytes that are kept of `role`, no more than `max + 1`, or `None` when there are none.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be found out.
    fn load(&mut self, role: &str, max: usize) -> Result<Option<Vec<u8>>, Failure>;

    /// Keeps `bytes` for `role`, instead of what was kept for it before.
    ///
    /// # Errors
    /// [`Failure`] when they cannot be kept; then what was kept before still is.
    fn store(&mut self, role: &str, bytes: &[u8]) -> Result<(), Failure>;
}

/// A repository that is not asked: it has what is kept, and nothing newer.
#[derive(Debug)]
pub struct NotAsked {
    kept: Vec<(&'static str, Vec<u8>)>,
}

impl Source for NotAsked {
    fn file(&mut self, name: &str, _max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let role = name.strip_suffix(".json").unwrap_or(name);
        let role = role.split_once('.').map_or(role, |(_version, role)| role);
        let found = self.kept.iter().find(|(kept, _)| *kept == role);
        Ok(found.map(|(_, bytes)| bytes.clone()))
    }
}

impl<C: Cache> Updater<NotAsked, C> {
    /// Judges at `now` what is kept, without asking for anything newer; nothing is stored.
    ///
    /// # Errors
    /// As [`Updater::refresh`].
    pub fn kept(mut cache: C, now: Time) -> Result<Self, TrustError> {
        let mut kept = Vec::new();
        for (role, max) in [
            ("timestamp", limit::TIMESTAMP_BYTES),
            ("snapshot", limit::SNAPSHOT_BYTES),
            ("targets", limit::TARGETS_BYTES),
        ] {
            if let Some(bytes) = self::kept(&mut cache, role, max)? {
                kept.push((role, bytes));
            }
        }
        Self::refresh(NotAsked { kept }, cache, now)
    }
}

/// A repository whose metadata are trusted from the root down to the top-level targets.
#[derive(Debug)]
pub struct Updater<S, C> {
    source: S,
    cache: C,
    chain: Chain<AtTargets>,
}

impl<S: Source, C: Cache> Updater<S, C> {
    /// Brings the metadata of the top-level roles up to date; everything is judged at `now`.
    ///
    /// # Errors
    /// [`TrustError`] of the step that failed.
    pub fn refresh(mut source: S, mut cache: C, now: Time) -> Result<Self, TrustError> {
        // 5.2: the trusted root is the one that was kept last.
        let root = kept(&mut cache, "root", limit::ROOT_BYTES)?;
        let root = root.ok_or_else(|| TrustError::Pin {
            problem: "there is none; begin with `imgkit tuf --metadata-dir DIR init ROOT`".to_owned(),
        })?;
        let mut chain = Chain::pinned(&root, now)?;
        loop {
            // 5.3.3: no such file ends the loop; whatever else is answered ends the update.
            let wanted = chain.wanted()?;
            let Some(bytes) = fetch(&mut source, &wanted)? else {
                break;
            };
            chain = chain.root(&bytes)?;
            // 5.3.8
            keep(&mut cache, "root", &bytes)?;
        }
        let before = kept(&mut cache, "timestamp", limit::TIMESTAMP_BYTES)?;
        let snapshot = kept(&mut cache, "snapshot", limit::SNAPSHOT_BYTES)?;
        // 5.3.11
        let (before, known) = chain.still_known(before.as_deref(), snapshot.as_deref());
        let chain = timestamp(chain, before, &mut source, &mut cache)?;

        let wanted = chain.wanted()?;
        let current = snapshot
            .as_ref()
            .and_then(|known| chain.clone().snapshot(known, None).ok());
        let chain = match current {
            Some(chain) => chain,
            None => {
                let bytes = need(&mut source, &wanted)?;
                let chain = chain.snapshot(&bytes, known)?;
                // 5.5.7
                keep(&mut cache, "snapshot", &bytes)?;
                chain
            }
        };

        let wanted = chain.wanted()?;
        let known = kept(&mut cache, "targets", limit::TARGETS_BYTES)?;
        let current = known.and_then(|known| chain.clone().targets(&known).ok());
        let chain = match current {
            Some(chain) => chain,
            None => {
                let bytes = need(&mut source, &wanted)?;
                let chain = chain.targets(&bytes)?;
                // 5.6.6
                keep(&mut cache, "targets", &bytes)?;
                chain
            }
        };
        Ok(Self { source, cache, chain })
    }

    /// Looks `name` up, and fetches and keeps metadata of the delegated roles that have to be asked.
    ///
    /// # Errors
    /// As [`super::Client::target`].
    pub fn target(&mut self, name: &str) -> Result<Target, TrustError> {
        loop {
            let role = match self.chain.search(name)? {
                Search::Found(target) => return Ok(*target),
                Search::Wanted(role) => role,
            };
            let known = kept(&mut self.cache, role.role(), limit::TARGETS_BYTES)?;
            if known.is_some_and(|known| self.chain.delegated(role.clone(), &known).is_ok()) {
                continue;
            }
            let bytes = need(&mut self.source, role.wanted())?;
            let name = role.role().to_owned();
            self.chain.delegated(role, &bytes)?;
            // 5.6.6
            keep(&mut self.cache, &name, &bytes)?;
        }
    }

    /// Returns the names under which a target's content is served, the first of them the best (step 5.7.3).
    ///
    /// With consistent snapshots these are `HASH.NAME` for each hash of the target, the hash before the last part of the name.
    pub fn served_as(&self, target: &Target) -> Vec<String> {
        let name = target.name();
        if !self.chain.newest_root().body().consistent_snapshot {
            return vec![name.to_owned()];
        }
        let (dir, last) = name.rsplit_once('/').map_or(("", name), |(dir, last)| (dir, last));
        let slash = if dir.is_empty() { "" } else { "/" };
        let hashes = target.digests().map(|digest| digest.hex());
        hashes.map(|hash| format!("{dir}{slash}{hash}.{last}")).collect()
    }

    /// Returns the chain, for what it holds beyond look-ups.
    pub fn chain(&self) -> &Chain<AtTargets> {
        &self.chain
    }
}

/// Takes the newest timestamp, or the known one when there is no newer one.
fn timestamp(
    at: Chain<AtRoot>,
    known: Option<&[u8]>,
    source: &mut impl Source,
    cache: &mut impl Cache,
) -> Result<Chain<chain::AtTimestamp>, TrustError> {
    let wanted = at.timestamp_wanted();
    // 5.3.10 stands before any other request.
    at.check_not_expired()?;
    let bytes = need(source, &wanted)?;
    if let Some(known) = known.filter(|known| at.same_timestamp(known, &bytes)) {
        // 5.4.3.1: of the same version: the new one is discarded. That of the kept one is checked for its expiry.
        return at.timestamp(known, None);
    }
    let at = at.timestamp(&bytes, known)?;
    // 5.4.5
    keep(cache, "timestamp", &bytes)?;
    Ok(at)
}

fn kept(cache: &mut impl Cache, role: &str, max: usize) -> Result<Option<Vec<u8>>, TrustError> {
    cache.load(role, max).map_err(TrustError::Source)
}

fn keep(cache: &mut impl Cache, role: &str, bytes: &[u8]) -> Result<(), TrustError> {
    cache.store(role, bytes).map_err(TrustError::Source)
}
