//! One command's dealings with a Notary server: reading a collection, changing it, publishing, and doing so again where somebody
//! else published first.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ServerOptions;
use super::init::certified;
use super::passphrases::Passphrases;
use crate::cli::Context;
use crate::cli::trust::TrustOptions;
use crate::cli::trust::change::pause;
use crate::cli::trust::word::word;
use crate::failure::Failure;
use crate::key::{Algorithm, KeyId, NotaryKeyInfo, Passphrase, Signer, SigningKey};
use crate::limit;
use crate::store::docker_trust::{DockerTrust, NotaryKeyFile};
use crate::store::file::read_limited;
use crate::store::notary_client::{NotaryClient as Server, Posted};
use crate::store::registry::Credentials;
use crate::time::Time;
use crate::trust::edit::EditError;
use crate::trust::notary::edit::{NotaryCollection, NotaryPublication, notary_margin};
use crate::trust::notary::{
    AtTargets, NotaryChain, NotaryClient, NotaryKey, NotaryKnown, NotaryPin, Root, Targets, Unverified,
};
use crate::trust::{Mark, RoleKeys, Source, TrustError};

/// What all commands on a Notary server have.
pub(super) struct Session<'a> {
    pub(super) context: &'a Context,
    pub(super) server: Server,
    pub(super) trust: DockerTrust,
    pub(super) now: Time,
    pub(super) passphrases: Passphrases<'a>,
    pin: Option<NotaryPin>,
    first_use: bool,
    opened: RefCell<BTreeMap<PathBuf, SigningKey>>,
    /// What was said already, as a collection may be read several times.
    told: RefCell<BTreeSet<String>>,
}

/// A collection in its owner's hands.
pub(super) struct Owned {
    pub(super) chain: NotaryChain<AtTargets>,
    pub(super) collection: NotaryCollection,
    /// The delegated roles that are not trusted, each with the reason.
    pub(super) distrusted: Vec<(String, TrustError)>,
    /// Whether it is what was trusted last, as the server has no timestamp any more.
    is_kept: bool,
}

impl Owned {
    /// Lists the roles with names that have expired, are signed again or needed for it, and were never trusted here: who never saw them
    /// cannot tell them from an old state that somebody offers again.
    pub(super) fn unseen(&self, now: Time) -> BTreeSet<String> {
        let signed = self.collection.to_sign().iter().cloned();
        let mut roles: BTreeSet<_> = signed.chain(self.collection.in_the_way(now)).collect();
        let files = self.chain.files();
        let seen = |role: &str| {
            let file = files.iter().find(|(other, _)| other == role);
            // One that is new is on nobody's server yet.
            file.is_none_or(|(role, bytes)| self.chain.was_known(role, bytes))
        };
        let expired = self.collection.marks().filter(|(_, mark)| mark.expires <= now);
        let expired: BTreeSet<_> = expired.map(|(role, _)| role).collect();
        roles.retain(|role| {
            !matches!(role.as_str(), "root" | "snapshot") && expired.contains(role.as_str()) && !seen(role)
        });
        roles
    }
}

impl<'a> Session<'a> {
    pub(super) fn open(
        context: &'a Context,
        options: &'a TrustOptions,
        server: &ServerOptions,
    ) -> Result<Self, Failure> {
        let url = server.server.as_deref();
        let url =
            url.ok_or_else(|| Failure::malformed("--server", "no server is named; give --server https://HOST"))?;
        let ca = options
            .ca_cert()
            .map(|path| read_limited(path, limit::CREDENTIALS_BYTES as usize));
        let credentials = Credentials::in_files(context.credential_files());
        let dir = match options.given_trust_dir() {
            Some(dir) => dir.to_owned(),
            None => context.docker_trust_dir()?,
        };
        Ok(Self {
            context,
            server: Server::new(url, ca.transpose()?.as_deref(), credentials)?,
            trust: DockerTrust::at(dir),
            now: options.now(context)?,
            passphrases: Passphrases::new(context, options.passphrase()),
            pin: options.given_pin().map(read_pin).transpose()?,
            first_use: server.unsafe_trust_on_first_use,
            opened: RefCell::default(),
            told: RefCell::default(),
        })
    }

    /// Returns how messages name a collection.
    pub(super) fn subject(&self, gun: &str) -> String {
        format!("{gun} at {}", self.server.url())
    }

    /// Says what an error of a change means for a collection.
    pub(super) fn cannot(&self, gun: &str, error: EditError) -> Failure {
        match error {
            EditError::NoRole { role } => {
                let problem = format!(
                    "the collection has no role `{role}` that signs names; name `targets`, or one that `imgkit trust delegate ls \
                     --server {} {}` lists",
                    word(self.server.url(), "URL"),
                    word(gun, "GUN")
                );
                Failure::malformed(self.subject(gun), problem)
            }
            other => other.about(&self.subject(gun)),
        }
    }

    /// Reads a collection as a client, down to its top-level targets: from the pin, else from what was trusted before.
    pub(super) fn client<'b>(&'b self, gun: &'b str) -> Result<NotaryClient<Files<'b>>, Failure> {
        let (pin, known, files) = self.beginning(gun)?;
        let client = NotaryClient::refresh(gun, &pin, known, files, self.now);
        client.map_err(|error| error.about(&self.subject(gun)))
    }

    /// Returns what a collection is trusted by, what was trusted of it before, and its files.
    fn beginning<'b>(&'b self, gun: &'b str) -> Result<(NotaryPin, NotaryKnown, Files<'b>), Failure> {
        let known = self.trust.known(gun)?;
        let pin = match (&self.pin, &known.root) {
            (Some(pin), _) => pin.clone(),
            // The owner's own directory is what is trusted, as for docker and notary.
            (None, Some(_)) => NotaryPin::UnsafeFirstUse,
            (None, None) if self.first_use => NotaryPin::UnsafeFirstUse,
            (None, None) => {
                let problem = format!(
                    "{} does not know the collection's root; name the root.json or the root key's id that its owner gave you \
                     with --pin",
                    self.trust.dir().display()
                );
                return Err(Failure::unavailable(gun, problem));
            }
        };
        let files = Files {
            server: &self.server,
            gun,
        };
        Ok((pin, known, files))
    }

    /// Reads a collection as its owner, delegated roles included: nothing counts as expired, as it can be signed again. Tells of
    /// roles that have expired, and of those that cannot be trusted.
    pub(super) fn load(&self, gun: &str) -> Result<Owned, Failure> {
        self.load_with(gun, &BTreeSet::new())
    }

    /// Loads a collection; of the roles `witnessed` also what is published and not trusted, as they are to be signed anew.
    fn load_with(&self, gun: &str, witnessed: &BTreeSet<String>) -> Result<Owned, Failure> {
        let about = |error: TrustError| error.about(&self.subject(gun));
        let (pin, known, files) = self.beginning(gun)?;
        let mut kept = None;
        let mut client = loop {
            let files = OwnersFiles {
                files: files.clone(),
                timestamp: kept.clone(),
            };
            match NotaryClient::refresh_for_owner(gun, &pin, known.clone(), files, self.now) {
                Ok(client) => break client,
                Err(TrustError::Source(_)) if kept.is_none() && known.timestamp.is_some() && self.makes_none(gun) => {
                    self.warn(format!(
                        "the server has no timestamp, as it makes none once the root has expired: what was trusted last is gone on from, \
                         in {}",
                        self.trust.dir().display()
                    ));
                    kept.clone_from(&known.timestamp);
                }
                Err(error) => return Err(about(error)),
            }
        };
        let distrusted = client.fetch_roles().map_err(about)?;
        let mut unvouched = Vec::new();
        for (role, error) in &distrusted {
            let witnessed = witnessed.contains(role);
            let stays = if witnessed { "" } else { " and stays as it is" };
            self.warn(format!("the role {role} cannot be trusted{stays}: {error}"));
            if witnessed {
                let published = client.unvouched(role, error.clone()).map_err(about)?;
                unvouched.push((role, published));
            }
        }
        let chain = client.into_chain();
        let mut collection = NotaryCollection::of(&chain);
        self.remember(gun, &chain, &collection)?;
        for (role, published) in unvouched {
            collection.set_unvouched(role, published);
        }
        // The snapshot is signed again with whatever is signed, and by the server where that has its key.
        for (role, Mark { version, expires }) in collection.marks().filter(|(role, _)| *role != "snapshot") {
            if expires <= self.now {
                self.warn(format!(
                    "{role} version {version} expired at {expires}; whoever has its keys signs it again with \
                     `imgkit trust renew --server`"
                ));
            }
        }
        Ok(Owned {
            chain,
            collection,
            distrusted,
            is_kept: kept.is_some(),
        })
    }

    /// Tells whether the server makes no timestamp any more, as its root has expired.
    fn makes_none(&self, gun: &str) -> bool {
        let file = |role: &str, max| self.server.file(gun, &format!("{role}.json"), max);
        let root = file("root", limit::ROOT_BYTES).ok().flatten();
        let root = root.and_then(|root| Unverified::<Root>::parse("root", &root, limit::ROOT_BYTES).ok());
        let has_expired = root.is_some_and(|root| root.unverified_body().header.expires <= self.now);
        has_expired && file("timestamp", limit::TIMESTAMP_BYTES).is_err()
    }

    /// Remembers what was read, so that nothing is signed on top of what is older; not what has expired, which may be an old state that
    /// somebody offers again.
    fn remember(
        &self,
        gun: &str,
        chain: &NotaryChain<AtTargets>,
        collection: &NotaryCollection,
    ) -> Result<(), Failure> {
        let expired = collection.marks().filter(|(_, mark)| mark.expires <= self.now);
        let expired: BTreeSet<_> = expired.map(|(role, _)| role).collect();
        let mut files = chain.files();
        files.retain(|(role, bytes)| !expired.contains(role.as_str()) && !chain.was_known(role, bytes));
        match files.is_empty() {
            true => Ok(()),
            false => self.trust.remember(gun, &files),
        }
    }

    fn warn(&self, text: String) {
        if self.told.borrow_mut().insert(text.clone()) {
            self.context.warn(&text);
        }
    }

    /// Changes a collection and publishes it; where somebody else published first, it is done again on top of that.
    ///
    /// Nothing is published where `work` marks no role to be signed. What has expired and is needed for trust is signed again with
    /// it. Returns the roles that signed.
    pub(super) fn change(
        &self,
        gun: &str,
        work: impl FnMut(&mut NotaryCollection) -> Result<(), Failure>,
    ) -> Result<BTreeSet<String>, Failure> {
        self.change_with(gun, &BTreeSet::new(), work)
    }

    /// Changes a collection as [`Session::change`] does; what has expired and is not marked by `work` stays as it is.
    pub(super) fn renew(
        &self,
        gun: &str,
        work: impl FnMut(&mut Owned) -> Result<(), Failure>,
    ) -> Result<BTreeSet<String>, Failure> {
        self.publish(gun, &BTreeSet::new(), work)
    }

    /// Changes a collection as [`Session::change`] does; `work` may witness what is published for the roles `witnessed`, though it
    /// is not trusted.
    pub(super) fn change_with(
        &self,
        gun: &str,
        witnessed: &BTreeSet<String>,
        mut work: impl FnMut(&mut NotaryCollection) -> Result<(), Failure>,
    ) -> Result<BTreeSet<String>, Failure> {
        self.publish(gun, witnessed, |owned| {
            work(&mut owned.collection)?;
            if owned.collection.to_sign().is_empty() {
                return Ok(());
            }
            if let Some(role) = owned.unseen(self.now).into_iter().find(|role| !witnessed.contains(role)) {
                let problem = format!(
                    "{role} has expired, and {} never had it; look at it, and sign it again with `imgkit trust renew --server {} {} {role}`",
                    self.trust.dir().display(),
                    word(self.server.url(), "URL"),
                    word(gun, "GUN")
                );
                return Err(Failure::malformed(self.subject(gun), problem));
            }
            self.freshen(&mut owned.collection)
        })
    }

    /// Has what has expired, and without which nobody would trust what is signed, signed again too.
    pub(super) fn freshen(&self, collection: &mut NotaryCollection) -> Result<(), Failure> {
        let subject = self.subject(collection.gun());
        for role in collection.in_the_way(self.now) {
            let keys = collection.role_keys(&role).map_err(|error| error.about(&subject))?;
            if self.has_enough(&keys)? {
                self.renew_role(collection, &role)?;
            } else {
                self.warn(format!(
                    "nothing is published, as nobody would trust it: {role} has expired, and too few of its keys are in {}",
                    self.trust.dir().display()
                ));
            }
        }
        collection.check_fresh(self.now).map_err(|error| error.about(&subject))
    }

    /// Has a role signed again with a later expiry; keys of the root whose certificates end soon get new ones.
    pub(super) fn renew_role(&self, collection: &mut NotaryCollection, role: &str) -> Result<(), Failure> {
        let gun = collection.gun().to_owned();
        let about = |error: EditError| self.cannot(&gun, error);
        collection.renew(role).map_err(about)?;
        if role != "root" {
            return Ok(());
        }
        let soon = self.now.plus(notary_margin("root"));
        let old = collection.role_keys("root").map_err(about)?;
        let mut keys = Vec::new();
        for key in old.keys().values() {
            let ends = key
                .certificate()
                .is_none_or(|certificate| certificate.not_after() <= soon);
            keys.push(match self.trust.key(key)?.filter(|_| ends) {
                Some(file) => {
                    self.open_key(&file)?;
                    let opened = self.opened.borrow();
                    let signer = opened.get(file.path());
                    signer.map_or_else(|| Ok(key.clone()), |signer| certified(self, &gun, signer))?
                }
                None => key.clone(),
            });
        }
        let is_new = keys.iter().any(|key| !old.keys().contains_key(key.id()));
        match is_new {
            true => collection.rotate("root", &keys, old.threshold()).map_err(about),
            false => Ok(()),
        }
    }

    fn publish(
        &self,
        gun: &str,
        witnessed: &BTreeSet<String>,
        mut work: impl FnMut(&mut Owned) -> Result<(), Failure>,
    ) -> Result<BTreeSet<String>, Failure> {
        let mut unknown: Option<NotaryPublication> = None;
        let (mut attempts, mut troubles, mut waited) = (0, 0, Duration::ZERO);
        loop {
            let mut owned = self.load_with(gun, witnessed)?;
            let is_there = |publication: &NotaryPublication| is_published(&owned.chain, publication);
            if let Some(publication) = unknown.take().filter(is_there) {
                return self.done(gun, &publication);
            }
            let is_kept = owned.is_kept;
            work(&mut owned)?;
            if owned.collection.to_sign().is_empty() {
                return Ok(BTreeSet::new());
            }
            let publication = self.sign(owned.collection)?;
            let give_up = |problem: String| Err(Failure::unavailable(self.subject(gun), problem));
            let (problem, later) = match self.server.publish(gun, publication.files())? {
                Posted::Accepted => return self.done(gun, &publication),
                Posted::Conflict(problem) if is_kept => {
                    return give_up(format!(
                        "{problem}; the server has no timestamp any more, and {} not the newest metadata: do it where they were \
                         published last",
                        self.trust.dir().display()
                    ));
                }
                Posted::Conflict(problem) => (problem, Duration::ZERO),
                Posted::Unknown { problem, later } => {
                    unknown = Some(publication);
                    troubles += 1;
                    (problem, later)
                }
            };
            attempts += 1;
            waited = waited.saturating_add(later);
            if waited > limit::RETRY_AFTER {
                let seconds = later.as_secs();
                return give_up(format!(
                    "{problem}; it asks to be left alone for {seconds} seconds: try again then"
                ));
            }
            // Who is overtaken may have to try as often as there are others; a server in trouble is left alone.
            if attempts == limit::PUBLISH_ATTEMPTS || troubles == limit::ATTEMPTS {
                return give_up(format!("{problem} (after {attempts} attempts); try again"));
            }
            std::thread::sleep(pause(attempts - 1)?.max(later));
        }
    }

    /// Publishes a new collection.
    pub(super) fn publish_new(&self, collection: NotaryCollection) -> Result<BTreeSet<String>, Failure> {
        let gun = collection.gun().to_owned();
        let publication = self.sign(collection)?;
        match self.server.publish(&gun, publication.files())? {
            Posted::Accepted => self.done(&gun, &publication),
            Posted::Conflict(problem) | Posted::Unknown { problem, .. } => {
                let problem = format!("{problem}; see what is there now with `imgkit trust ls --server`");
                Err(Failure::unavailable(self.subject(&gun), problem))
            }
        }
    }

    fn sign(&self, mut collection: NotaryCollection) -> Result<NotaryPublication, Failure> {
        let gun = collection.gun().to_owned();
        let about = |error: EditError| self.cannot(&gun, error);
        self.go_on(&mut collection)?;
        let mut roles: Vec<RoleKeys<NotaryKey>> = vec![collection.role_keys("snapshot").map_err(about)?];
        for role in collection.to_sign() {
            roles.push(collection.role_keys(role).map_err(about)?);
            if role == "root" {
                roles.extend(collection.published_root_keys());
            }
        }
        let mut paths = BTreeSet::new();
        for key in roles.iter().flat_map(|role| role.keys().values()) {
            let Some(file) = self.trust.key(key)? else { continue };
            self.open_key(&file)?;
            paths.insert(file.path().to_owned());
        }
        let opened = self.opened.borrow();
        let keys = paths.iter().filter_map(|path| opened.get(path));
        let keys: Vec<_> = keys.map(|key| key as &dyn Signer).collect();
        collection.sign(&keys, self.now).map_err(about)
    }

    /// Opens a key, once.
    fn open_key(&self, file: &NotaryKeyFile) -> Result<(), Failure> {
        if !self.opened.borrow().contains_key(file.path()) {
            let key = file.open(&self.passphrases.existing(&file.info().role)?)?;
            self.opened.borrow_mut().insert(file.path().to_owned(), key);
        }
        Ok(())
    }

    /// Has roles that begin go on above what the server has of them from before they were taken away.
    fn go_on(&self, collection: &mut NotaryCollection) -> Result<(), Failure> {
        let gun = collection.gun().to_owned();
        let roles: Vec<_> = collection.beginning().map(str::to_owned).collect();
        for role in roles {
            let file = self.server.file(&gun, &format!("{role}.json"), limit::TARGETS_BYTES)?;
            let Some(file) = file else { continue };
            let left = Unverified::<Targets>::parse(&role, &file, limit::TARGETS_BYTES);
            let left = left.map_err(|error| error.about(&self.subject(&gun)))?;
            collection.set_left_behind(&role, left.unverified_body().header.version);
        }
        Ok(())
    }

    /// Remembers what was published, and what the server signed with it: it may sign no more once the root has expired.
    fn done(&self, gun: &str, publication: &NotaryPublication) -> Result<BTreeSet<String>, Failure> {
        let files = publication.files().iter();
        let files: Vec<_> = files.map(|(role, bytes)| (role.clone(), bytes.as_slice())).collect();
        self.trust.remember(gun, &files)?;
        if let Ok((pin, known, files)) = self.beginning(gun)
            && let Ok(client) = NotaryClient::refresh_for_owner(gun, &pin, known, files, self.now)
        {
            self.remember(gun, client.chain(), &NotaryCollection::of(client.chain()))?;
        }
        Ok(publication.roles())
    }

    /// Tells whether the trust directory has a key of a role.
    pub(super) fn has_key(&self, role: &RoleKeys<NotaryKey>) -> Result<bool, Failure> {
        for key in role.keys().values() {
            if self.trust.key(key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether the trust directory has as many keys of a role as must sign.
    pub(super) fn has_enough(&self, role: &RoleKeys<NotaryKey>) -> Result<bool, Failure> {
        Ok(self.check_enough(role)?.is_ok())
    }

    /// Refuses to sign as a role of which fewer keys are in the trust directory.
    pub(super) fn check_enough(&self, role: &RoleKeys<NotaryKey>) -> Result<Result<(), EditError>, Failure> {
        let mut have = 0;
        for key in role.keys().values() {
            have += usize::from(self.trust.key(key)?.is_some());
        }
        let needed = role.threshold();
        Ok(match u32::try_from(have).is_ok_and(|have| have < needed) {
            true => Err(EditError::Keys {
                role: role.role().to_owned(),
                needed,
                have,
                keys: role.keyids().to_vec(),
            }),
            false => Ok(()),
        })
    }

    /// Makes a new key, of the kind that Notary's own client makes, and keeps it before anything is published with it.
    pub(super) fn new_key(&self, info: &NotaryKeyInfo) -> Result<(SigningKey, PathBuf), Failure> {
        let passphrase = self.passphrases.new_one(&info.role)?;
        let key = SigningKey::generate_as(Algorithm::P256).map_err(|error| Failure::unavailable("a new key", error))?;
        let path = self.keep(&key, info, &passphrase)?;
        Ok((key, path))
    }

    fn keep(&self, key: &SigningKey, info: &NotaryKeyInfo, passphrase: &Passphrase) -> Result<PathBuf, Failure> {
        self.trust.save_key(key, info, passphrase)
    }
}

/// A collection's files as its owner reads them.
struct OwnersFiles<'a> {
    files: Files<'a>,
    /// What counts as the timestamp: Notary's server cannot make one, nor answer with the old one, once the root has expired.
    timestamp: Option<Vec<u8>>,
}

impl Source for OwnersFiles<'_> {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        match &self.timestamp {
            Some(timestamp) if name == "timestamp.json" => Ok(Some(timestamp.clone())),
            _ => self.files.file(name, max),
        }
    }
}

/// A collection's files on the server.
#[derive(Clone)]
pub(super) struct Files<'a> {
    pub(super) server: &'a Server,
    pub(super) gun: &'a str,
}

impl Source for Files<'_> {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        self.server.file(self.gun, name, max)
    }
}

/// Reads what was pinned: a file, or a key's id.
pub(super) fn read_pin(pin: &Path) -> Result<NotaryPin, Failure> {
    let text = pin.to_string_lossy();
    let is_id = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match is_id && !pin.exists() {
        true => {
            let id = KeyId::new(text.to_ascii_lowercase()).map_err(|error| Failure::malformed("--pin", error))?;
            Ok(NotaryPin::Key(id))
        }
        false => Ok(NotaryPin::Root(read_limited(pin, limit::ROOT_BYTES)?)),
    }
}

/// Tells whether the collection is what was published: every file of it stands in the snapshot, which may be a later one.
fn is_published(chain: &NotaryChain<AtTargets>, publication: &NotaryPublication) -> bool {
    let is_there = |(role, bytes): &(String, Vec<u8>)| {
        let meta = chain.snapshot().body().meta.get(role);
        meta.is_some_and(|meta| meta.hashes.check(role, bytes).is_ok())
    };
    match publication.files() {
        [(role, bytes)] if role == "snapshot" => chain.snapshot().bytes() == bytes,
        files => files.iter().filter(|(role, _)| role != "snapshot").all(is_there),
    }
}
