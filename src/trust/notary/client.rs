//! The client: walks a Notary server's metadata along the [`NotaryChain`].

use std::collections::BTreeSet;

use super::chain::{AtRoot, AtTargets, Described, NotaryChain, NotaryKnown, hashed, root_file};
use super::document::Unverified;
use super::metadata::Targets;
use super::search::{NotarySearch, NotaryTarget, NotaryWanted};
use crate::digest::Digest;
use crate::key::KeyId;
use crate::limit;
use crate::time::Time;
use crate::trust::Bundle;
use crate::trust::Source;
use crate::trust::Target;
use crate::trust::TrustError;
use crate::trust::Wanted;
use crate::trust::client::first_for;

/// What a user trusts a collection by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotaryPin {
    /// A root file.
    Root(Vec<u8>),
    /// The id of a root key with its certificate, which signed some version of the root.
    Key(KeyId),
    /// Whatever the server has now, unless the collection was seen before.
    UnsafeFirstUse,
}

/// A collection whose top-level metadata were checked from a trusted root down to its targets.
#[derive(Debug)]
pub struct NotaryClient<S> {
    pub(super) source: S,
    chain: NotaryChain<AtTargets>,
    /// The root files on the way from the pinned one, which the chain does not keep.
    roots: Bundle,
}

impl<S: Source> NotaryClient<S> {
    /// Checks a collection's metadata from `pin` down to the top-level targets.
    ///
    /// # Errors
    /// [`TrustError`] of the step that failed; [`TrustError::NoCollection`] when the source says that it has none.
    pub fn refresh(
        gun: &str,
        pin: &NotaryPin,
        known: NotaryKnown,
        mut source: S,
        now: Time,
    ) -> Result<Self, TrustError> {
        let chain = begin(gun, pin, known, &mut source, now)?;
        Self::walk(chain, source)
    }

    /// Checks the same as [`NotaryClient::refresh`], only that nothing counts as expired: for the owner, who signs it again.
    ///
    /// # Errors
    /// As [`NotaryClient::refresh`].
    pub fn refresh_for_owner(
        gun: &str,
        pin: &NotaryPin,
        known: NotaryKnown,
        mut source: S,
        now: Time,
    ) -> Result<Self, TrustError> {
        let chain = begin(gun, pin, known, &mut source, now)?;
        Self::walk(chain.for_owner(), source)
    }

    fn walk(mut chain: NotaryChain<AtRoot>, mut source: S) -> Result<Self, TrustError> {
        let mut roots = Bundle::default();
        roots.add(root_file(chain.version()).file, chain.newest_root().bytes());
        loop {
            let wanted = chain.wanted()?;
            let Some(bytes) = fetch(&mut source, &wanted)? else {
                break;
            };
            chain = chain.root(&bytes)?;
            roots.add(wanted.file, bytes);
        }
        let timestamp = match fetch(&mut source, &timestamp_file())? {
            Some(bytes) => bytes,
            None => {
                need_root(chain.gun(), &mut source)?;
                return Err(missing(&timestamp_file()));
            }
        };
        let chain = chain.timestamp(&timestamp)?;
        let wanted = chain.wanted();
        let snapshot = cached_or(chain.cached(), &mut source, &wanted)?;
        let mut chain = chain.snapshot(&snapshot)?;
        if chain.names_another_root() {
            let root = need_root(chain.gun(), &mut source)?;
            chain = chain.named_root(&root)?;
            roots.add(newest_root_file().file, root);
        }
        let targets = match chain.cached() {
            Some(targets) => targets,
            None => chain.described(need(&mut source, &chain.wanted()?)?)?,
        };
        let chain = chain.targets(targets)?;
        Ok(Self { source, chain, roots })
    }

    /// Looks `name` up, and fetches metadata of the delegated roles that have to be asked.
    ///
    /// # Errors
    /// [`TrustError::Absent`] when nobody who may sign the name does; [`TrustError`] when a role that has to be asked
    /// cannot be.
    pub fn target(&mut self, name: &str) -> Result<NotaryTarget, TrustError> {
        self.look_up(name, None)
    }

    fn look_up(&mut self, name: &str, role: Option<&str>) -> Result<NotaryTarget, TrustError> {
        loop {
            match self.chain.search_by(name, role)? {
                NotarySearch::Found(target) => return Ok(*target),
                NotarySearch::Wanted(wanted) => self.fetch(&wanted)?,
            }
        }
    }

    /// Looks `name` up as [`NotaryClient::target`] does; what is found carries the metadata from which it is found again.
    ///
    /// # Errors
    /// As [`NotaryClient::target`].
    pub fn signed(&mut self, name: &str) -> Result<Target, TrustError> {
        self.signed_by(name, None)
    }

    /// Looks up what `role` says of a name, where it says the same as the role whose word prevails: it signs with that.
    ///
    /// # Errors
    /// As [`NotaryClient::target`]; [`TrustError::Absent`] when the role does not sign the name, or something else under it.
    pub fn cosigned(&mut self, prevailing: &Target, role: &str) -> Result<Target, TrustError> {
        let target = self.signed_by(prevailing.name(), Some(role))?;
        match target.file.names_the_same_as(&prevailing.file) {
            true => Ok(target),
            false => Err(TrustError::Absent { target: target.name }),
        }
    }

    /// Looks `name` up: what `role` says of it where that is the same as what prevails, else what prevails. Whether the role is the one
    /// that signed is in the evidence.
    ///
    /// # Errors
    /// As [`NotaryClient::target`].
    pub fn by_role(&mut self, name: &str, role: &str) -> Result<Target, TrustError> {
        let target = self.signed(name)?;
        if target.evidence().role == role {
            return Ok(target);
        }
        match self.cosigned(&target, role) {
            Err(TrustError::Absent { .. }) => Ok(target),
            cosigned => cosigned,
        }
    }

    /// Finds a present name that stands for a digest and that `is_name` takes, each looked up by [`NotaryClient::by_role`]: the first
    /// whose target `prefer` likes, else the first.
    ///
    /// It is found again where only the files of the look-up of that name are at hand.
    ///
    /// # Errors
    /// [`TrustError::Absent`] when no name stands for the digest; [`TrustError`] when none is found and a role that might have one
    /// cannot be asked.
    pub fn name_of(
        &mut self,
        digest: &Digest,
        is_name: impl Fn(&str) -> bool,
        role: &str,
        prefer: impl Fn(&Target) -> bool,
    ) -> Result<String, TrustError> {
        let unknown = self.fetch_roles()?.into_iter().next().map(|(_, error)| error);
        let mut names = BTreeSet::new();
        for listed in self.chain.statements()? {
            if is_name(listed.name()) && listed.brief()?.digests().any(|found| found == digest) {
                names.insert(listed.name().to_owned());
            }
        }
        let found = names.into_iter().map(|name| self.by_role(&name, role));
        let target = first_for(digest, found, prefer, unknown).map_err(|unknown| {
            unknown.unwrap_or_else(|| TrustError::Absent {
                target: digest.to_string(),
            })
        });
        target.map(|target| target.name)
    }

    fn signed_by(&mut self, name: &str, role: Option<&str>) -> Result<Target, TrustError> {
        let target = self.look_up(name, role)?;
        Ok(target.with(self.bundle()))
    }

    /// Returns the files from which everything that was looked up is found again.
    fn bundle(&self) -> Bundle {
        let mut bundle = self.roots.clone();
        let chain = &self.chain;
        bundle.add(timestamp_file().file, chain.timestamp().bytes());
        let snapshot = chain.timestamp().body().snapshot();
        let top = snapshot.map(|meta| ("snapshot", meta, chain.snapshot().bytes()));
        let meta = |role| chain.snapshot().body().meta.get(role);
        let targets = meta("targets").map(|meta| ("targets", meta, chain.targets().bytes()));
        let roles = chain.roles();
        let roles = roles.filter_map(|(role, signed)| Some((role, meta(role)?, signed.bytes())));
        for (role, meta, bytes) in top.into_iter().chain(targets).chain(roles) {
            bundle.add(hashed(role, meta, bytes.len()).file, bytes);
        }
        bundle
    }

    /// Fetches the metadata of every delegated role, and returns the reason for each that cannot be trusted.
    ///
    /// # Errors
    /// [`TrustError`] when a delegation is not one that Notary has, or the source cannot be read.
    pub fn fetch_roles(&mut self) -> Result<Vec<(String, TrustError)>, TrustError> {
        let mut bad: Vec<(String, TrustError)> = Vec::new();
        loop {
            let missing = self.chain.missing_roles()?;
            let tried = |role: &str| bad.iter().any(|(other, _)| other == role);
            let next: Vec<_> = missing.into_iter().filter(|wanted| !tried(wanted.role())).collect();
            if next.is_empty() {
                return Ok(bad);
            }
            for wanted in next {
                match self.fetch(&wanted) {
                    Ok(()) => {}
                    Err(error @ TrustError::Source(_)) => return Err(error),
                    Err(error) => bad.push((wanted.role().to_owned(), error)),
                }
            }
        }
    }

    /// Returns the chain, for what it holds beyond look-ups.
    pub fn chain(&self) -> &NotaryChain<AtTargets> {
        &self.chain
    }

    /// Ends the reading, and returns the chain.
    pub fn into_chain(self) -> NotaryChain<AtTargets> {
        self.chain
    }

    /// Reads what is published for a role as the snapshot names it, though `reason` keeps it from being trusted: for those who may
    /// sign it anew.
    ///
    /// # Errors
    /// `reason` itself where it is another one than that too few of today's keys signed, or that it has expired;
    /// [`TrustError::NoRole`] where nobody delegates to the role.
    pub fn unvouched(&mut self, role: &str, reason: TrustError) -> Result<Unverified<Targets>, TrustError> {
        if !matches!(reason, TrustError::Expired { .. }) && !reason.is_lack_of_signatures() {
            return Err(reason);
        }
        let wanted = self
            .chain
            .missing_roles()?
            .into_iter()
            .find(|wanted| wanted.role() == role);
        let wanted = wanted.ok_or_else(|| TrustError::NoRole { role: role.to_owned() })?;
        let targets = self.described(&wanted)?;
        self.chain.unvouched(&wanted, targets)
    }

    fn fetch(&mut self, wanted: &NotaryWanted) -> Result<(), TrustError> {
        let targets = self.described(wanted)?;
        self.chain.delegated(wanted, targets)
    }

    fn described(&mut self, wanted: &NotaryWanted) -> Result<Described, TrustError> {
        match self.chain.cached(wanted) {
            Some(targets) => Ok(targets),
            None => wanted.described(need(&mut self.source, wanted.wanted())?),
        }
    }
}

/// Finds the root that the pin trusts.
fn begin(
    gun: &str,
    pin: &NotaryPin,
    known: NotaryKnown,
    source: &mut impl Source,
    now: Time,
) -> Result<NotaryChain<AtRoot>, TrustError> {
    match pin {
        NotaryPin::Root(root) => {
            let chain = NotaryChain::pinned(gun, root, known, now);
            chain.map_err(|error| TrustError::Pin {
                problem: error.to_string(),
            })
        }
        NotaryPin::Key(key) => begin_with_key(gun, key, known, source, now),
        NotaryPin::UnsafeFirstUse => {
            let root = match &known.root {
                Some(root) => root.clone(),
                None => need_root(gun, source)?,
            };
            NotaryChain::pinned(gun, &root, known, now)
        }
    }
}

/// Finds the newest root, or else the first one, that the pinned key signed as one of its own keys.
fn begin_with_key(
    gun: &str,
    key: &KeyId,
    known: NotaryKnown,
    source: &mut impl Source,
    now: Time,
) -> Result<NotaryChain<AtRoot>, TrustError> {
    let newest = need_root(gun, source)?;
    let newest = NotaryChain::pinned(gun, &newest, known.clone(), now)?;
    if newest.is_signed_by(key) {
        return Ok(newest);
    }
    let mut version = 1;
    while version < newest.version().min(limit::ROOT_ROTATIONS) {
        let Some(root) = fetch(source, &root_file(version))? else {
            break;
        };
        let older = NotaryChain::pinned(gun, &root, known.clone(), now)?;
        if older.is_signed_by(key) {
            return Ok(older);
        }
        version += 1;
    }
    let root = newest.newest_root().body();
    Err(TrustError::WrongKey {
        role: "root".to_owned(),
        expected: vec![key.clone()],
        found: root.role_keys("root").keyids().to_vec(),
    })
}

fn need_root(gun: &str, source: &mut impl Source) -> Result<Vec<u8>, TrustError> {
    let root = fetch(source, &newest_root_file())?;
    root.ok_or_else(|| TrustError::NoCollection { gun: gun.to_owned() })
}

fn newest_root_file() -> Wanted {
    Wanted {
        file: "root.json".to_owned(),
        max: limit::ROOT_BYTES,
    }
}

fn timestamp_file() -> Wanted {
    Wanted {
        file: "timestamp.json".to_owned(),
        max: limit::TIMESTAMP_BYTES,
    }
}

fn cached_or(cached: Option<&[u8]>, source: &mut impl Source, wanted: &Wanted) -> Result<Vec<u8>, TrustError> {
    match cached {
        Some(bytes) => Ok(bytes.to_vec()),
        None => need(source, wanted),
    }
}

fn fetch(source: &mut impl Source, wanted: &Wanted) -> Result<Option<Vec<u8>>, TrustError> {
    source.file(&wanted.file, wanted.max).map_err(TrustError::Source)
}

fn need(source: &mut impl Source, wanted: &Wanted) -> Result<Vec<u8>, TrustError> {
    fetch(source, wanted)?.ok_or_else(|| missing(wanted))
}

fn missing(wanted: &Wanted) -> TrustError {
    TrustError::Missing {
        file: wanted.file.clone(),
    }
}
