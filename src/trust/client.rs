//! The client: walks a source's metadata along the [`Chain`] and looks names up.

use std::collections::BTreeSet;

use super::bundle::{Bundle, Source, fetch, need};
use super::chain::{AtRoot, AtTargets, Chain, Known, Wanted};
use super::document::Signed;
use super::metadata::{TargetFile, Targets};
use super::role_keys::RoleKeys;
use super::search::{Search, Walk};
use super::target::{Evidence, Target};
use super::{TrustError, names};
use crate::digest::Digest;
use crate::limit;
use crate::time::Time;

/// A collection whose top-level metadata were checked from a pinned root down to its targets.
#[derive(Debug)]
pub struct Client<S> {
    source: S,
    chain: Chain<AtTargets>,
}

/// A role whose metadata do not count for one who trusts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrusted {
    /// The role.
    pub role: String,
    /// Who trusts it.
    pub by: String,
    /// Why they do not count.
    pub error: TrustError,
}

/// Looks `name` up in a bundle, offline, from a pinned root; everything is judged at `now`.
///
/// # Errors
/// [`TrustError`], as [`Client::refresh`] and [`Client::target`].
pub fn lookup(pin: &[u8], bundle: &Bundle, known: &Known, name: &str, now: Time) -> Result<Target, TrustError> {
    Client::refresh(pin, known, bundle, now)?.target(name)
}

impl<S: Source> Client<S> {
    /// Checks a source's metadata from the pinned root down to the top-level targets.
    ///
    /// Roots of the source only ever extend the chain of the pin and of `known` (law of the gate 6): older ones are
    /// ignored, and one that is in the chain already must have the same bytes.
    ///
    /// # Errors
    /// [`TrustError`] of the step that failed.
    pub fn refresh(pin: &[u8], known: &Known, mut source: S, now: Time) -> Result<Self, TrustError> {
        let chain = match read(pin, known, &mut source, now) {
            // Once more, before that is a verdict.
            Err(error) if error.may_be_between_states() => read(pin, known, &mut source, now)?,
            chain => chain?,
        };
        Ok(Self { source, chain })
    }

    /// Looks `name` up, and fetches metadata of the delegated roles that have to be asked.
    ///
    /// # Errors
    /// [`TrustError::Absent`] when nobody who may sign the name does; [`TrustError`] when a role that has to be asked
    /// cannot be.
    pub fn target(&mut self, name: &str) -> Result<Target, TrustError> {
        self.look_up(name, None)
    }

    /// Looks up what `role` says of `name`, where it says the same as the role whose word prevails: it signs with that.
    ///
    /// # Errors
    /// As [`Client::target`]; [`TrustError::Absent`] when the role does not sign the name, or something else under it.
    pub fn cosigned(&mut self, prevailing: &Target, role: &str) -> Result<Target, TrustError> {
        let target = self.look_up(prevailing.name(), Some(role))?;
        match target.file.names_the_same_as(&prevailing.file) {
            true => Ok(target),
            false => Err(TrustError::Absent { target: target.name }),
        }
    }

    /// Looks `name` up: what `role` says of it where that is the same as what prevails, else what prevails. Whether the role is the one
    /// that signed is in the evidence.
    ///
    /// # Errors
    /// As [`Client::target`].
    pub fn by_role(&mut self, name: &str, role: &str) -> Result<Target, TrustError> {
        let target = self.target(name)?;
        if target.evidence().role == role {
            return Ok(target);
        }
        match self.cosigned(&target, role) {
            Err(TrustError::Absent { .. }) => Ok(target),
            cosigned => cosigned,
        }
    }

    fn look_up(&mut self, name: &str, role: Option<&str>) -> Result<Target, TrustError> {
        loop {
            match self.chain.search_by(name, role)? {
                Search::Found(target) => return Ok(*target),
                Search::Wanted(role) => {
                    let bytes = need(&mut self.source, role.wanted())?;
                    self.chain.delegated(role, &bytes)?;
                }
            }
        }
    }

    /// Finds a present target of a repository by the digest that it stands for, whatever its tag (law of the gate 3), each looked up
    /// by [`Client::by_role`]: the first that `prefer` likes, else the first.
    ///
    /// The name it is found under is in the target. Where only the files of that look-up are at hand, as in a bundle, it is found
    /// again: a role that is not there takes names away, and never adds one.
    ///
    /// # Errors
    /// [`TrustError::Absent`] when no name of the repository stands for the digest; [`TrustError`] when none is found and a role
    /// that might have one cannot be asked.
    pub fn target_by_digest(
        &mut self,
        repository: &str,
        digest: &Digest,
        role: &str,
        prefer: impl Fn(&Target) -> bool,
    ) -> Result<Target, TrustError> {
        let unknown = self.fetch_each()?.into_iter().next().map(|failed| failed.error);
        let top = std::iter::once(self.chain.targets());
        let roles = top.chain(self.chain.roles().map(|(_, signed)| signed));
        let names: BTreeSet<String> = roles
            .flat_map(|signed| &signed.body().targets)
            .filter(|(name, file)| {
                let tag = name.strip_prefix(repository).and_then(|rest| rest.strip_prefix(':'));
                tag.is_some_and(|tag| !tag.contains('/')) && file.hashes.digests().any(|found| found == *digest)
            })
            .map(|(name, _)| name.clone())
            .collect();
        // That some role names it is not enough: it counts if the look-up of that name ends there.
        let found = names.into_iter().map(|name| self.by_role(&name, role));
        first_for(digest, found, prefer, unknown).map_err(|unknown| {
            unknown.unwrap_or_else(|| TrustError::Absent {
                target: format!("{repository}@{digest}"),
            })
        })
    }

    /// Fetches the metadata of every role, for those who list a collection.
    ///
    /// # Errors
    /// [`TrustError`] when one of them cannot be trusted.
    pub fn fetch_roles(&mut self) -> Result<(), TrustError> {
        let failed = self.fetch_each()?.into_iter().next();
        failed.map_or(Ok(()), |failed| Err(failed.error))
    }

    /// Fetches the metadata of every role that is trusted, and returns the others; what these delegate to is not looked at.
    ///
    /// # Errors
    /// [`TrustError`] when it could not be found out whether a role is trusted.
    pub fn fetch_trusted(&mut self) -> Result<Vec<Distrusted>, TrustError> {
        let (distrusted, unknown): (Vec<_>, Vec<_>) = self
            .fetch_each()?
            .into_iter()
            .partition(|failed| failed.error.is_verdict());
        match unknown.into_iter().next() {
            Some(failed) => Err(failed.error),
            None => Ok(distrusted),
        }
    }

    /// Fetches the metadata of every role, and returns those of which it failed.
    fn fetch_each(&mut self) -> Result<Vec<Distrusted>, TrustError> {
        let mut failed = Vec::new();
        let mut tried = BTreeSet::new();
        loop {
            let mut missing = self.chain.missing_roles()?;
            missing.retain(|role| tried.insert((role.by().to_owned(), role.wanted().file.clone())));
            if missing.is_empty() {
                return Ok(failed);
            }
            for role in missing {
                let (by, name) = (role.by().to_owned(), role.role().to_owned());
                let asked = need(&mut self.source, role.wanted()).and_then(|bytes| self.chain.delegated(role, &bytes));
                failed.extend(asked.err().map(|error| Distrusted { role: name, by, error }));
            }
        }
    }

    /// Returns the metadata of the delegated role at the end of `path`, which begins below the top level, and fetches what is
    /// needed for it; `None` when the collection has none.
    ///
    /// # Errors
    /// [`TrustError`] when a role on the path cannot be trusted.
    pub(super) fn role(&mut self, path: &[String]) -> Result<Option<&Signed<Targets>>, TrustError> {
        while let Some(role) = self.chain.wanted_on(path)? {
            let bytes = need(&mut self.source, role.wanted())?;
            self.chain.delegated(role, &bytes)?;
        }
        Ok(self.chain.role_on(path))
    }

    /// Tells whether a look-up of `name` ends in `role`, or in one that says the same and that `role` signs with, and what `role`
    /// says is `file`.
    ///
    /// # Errors
    /// As [`Client::target`].
    pub(super) fn finds(&mut self, name: &str, role: &str, file: &TargetFile) -> Result<bool, TrustError> {
        let (prevailing, says) = self.end(name, None)?;
        if prevailing == role || !says.names_the_same_as(file) {
            return Ok(prevailing == role && says == *file);
        }
        match self.end(name, Some(role)) {
            Ok((end, says)) => Ok(end == role && says == *file),
            Err(TrustError::Absent { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the role in which a look-up ends, and what it says.
    fn end(&mut self, name: &str, by: Option<&str>) -> Result<(String, TargetFile), TrustError> {
        loop {
            let walk = self.chain.walk(name, by)?;
            if let Some((role, file)) = walk.end() {
                return Ok((role.to_owned(), file.clone()));
            }
            let Walk::Wanted(wanted) = walk else { continue };
            let bytes = need(&mut self.source, wanted.wanted())?;
            self.chain.delegated(wanted, &bytes)?;
        }
    }

    /// Reads what is published under a role's name as one who trusts the role to `keys`; nothing where there is nothing.
    ///
    /// # Errors
    /// [`TrustError`] when it cannot be trusted.
    pub(super) fn read_as(&mut self, keys: &RoleKeys) -> Result<Option<Targets>, TrustError> {
        let Some(wanted) = self.chain.wanted_by_name(keys.role()) else {
            return Ok(None);
        };
        let bytes = need(&mut self.source, &wanted)?;
        self.chain.read_as(&wanted, keys, &bytes).map(Some)
    }

    /// Reads what is published under a role's name, whoever signed it; also tells whether nobody did but keys that were taken from the
    /// role, as `keys` say.
    ///
    /// # Errors
    /// [`TrustError`] when the file is not the one that the snapshot names.
    pub(super) fn unvouched(&mut self, keys: &RoleKeys) -> Result<(Targets, bool), TrustError> {
        let role = keys.role().to_owned();
        let wanted = self.chain.wanted_by_name(&role).ok_or(TrustError::NoRole { role })?;
        let bytes = need(&mut self.source, &wanted)?;
        self.chain.unvouched(&wanted, keys, &bytes)
    }

    /// Returns the keys of a role: whose signatures count, and how many of them are needed.
    ///
    /// # Errors
    /// [`TrustError::NoRole`].
    pub fn role_keys(&self, role: &str) -> Result<RoleKeys, TrustError> {
        self.chain.role_keys(role)
    }

    /// Returns the evidence for what the top-level targets say, the keys of roles among it.
    pub fn evidence(&self) -> Evidence {
        self.chain.evidence()
    }

    /// Returns the files from which [`Client::refresh`] and [`Client::role_keys`] can be repeated.
    pub fn bundle(&self) -> &Bundle {
        self.chain.files()
    }

    /// Returns the chain, for what it holds beyond look-ups.
    pub fn chain(&self) -> &Chain<AtTargets> {
        &self.chain
    }
}

/// Finds the target among those that were looked up which stands for `digest`: the first that `prefer` likes, else the first.
///
/// # Errors
/// Where there is none: what was `unknown` before, or why one of them could not be looked up; nothing where all could.
pub(super) fn first_for(
    digest: &Digest,
    found: impl Iterator<Item = Result<Target, TrustError>>,
    prefer: impl Fn(&Target) -> bool,
    mut unknown: Option<TrustError>,
) -> Result<Target, Option<TrustError>> {
    let mut first = None;
    for target in found {
        match target {
            Ok(target) if target.digests().all(|found| found != *digest) => {}
            Ok(target) if prefer(&target) => return Ok(target),
            Ok(target) => first = first.or(Some(target)),
            Err(TrustError::Absent { .. }) => {}
            Err(error) => unknown = unknown.or(Some(error)),
        }
    }
    first.ok_or(unknown)
}

/// Reads and checks a source's metadata from the pinned root down to the top-level targets.
fn read(pin: &[u8], known: &Known, source: &mut impl Source, now: Time) -> Result<Chain<AtTargets>, TrustError> {
    let mut chain = Chain::pinned(pin, now)?;
    check_same_root(&chain, source)?;
    for root in &known.roots {
        chain = chain.root(root)?;
        check_same_root(&chain, source)?;
    }
    loop {
        let wanted = chain.wanted()?;
        match fetch(source, &wanted)? {
            Some(bytes) => chain = chain.root(&bytes)?,
            None => break,
        }
    }
    let (known_timestamp, known_snapshot) = chain.still_known(known.timestamp.as_deref(), known.snapshot.as_deref());
    let timestamp = need(source, &chain.timestamp_wanted())?;
    let chain = chain.timestamp(&timestamp, known_timestamp)?;
    let snapshot = need(source, &chain.wanted()?)?;
    let chain = chain.snapshot(&snapshot, known_snapshot)?;
    let targets = need(source, &chain.wanted()?)?;
    chain.targets(&targets)
}

/// Refuses a source that has other bytes for the newest root of the chain.
fn check_same_root(chain: &Chain<AtRoot>, source: &mut impl Source) -> Result<(), TrustError> {
    let wanted = Wanted {
        file: names::file_name("root", Some(chain.version())),
        max: limit::ROOT_BYTES,
    };
    match fetch(source, &wanted)? {
        Some(bytes) if bytes != chain.newest_root().bytes() => Err(TrustError::Digest {
            subject: wanted.file,
            expected: format!("the root version {} that is trusted already", chain.version()),
            found: "another file under the same version".to_owned(),
        }),
        _ => Ok(()),
    }
}
