//! One command's dealings with a Notary server: reading a collection, changing it, publishing, and doing so again where somebody
//! else published first.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ServerOptions;
use super::passphrases::Passphrases;
use crate::cli::Context;
use crate::cli::trust::TrustOptions;
use crate::failure::Failure;
use crate::key::{Algorithm, KeyId, NotaryKeyInfo, Passphrase, Signer, SigningKey};
use crate::limit;
use crate::store::docker_trust::DockerTrust;
use crate::store::file::read_limited;
use crate::store::notary_client::{NotaryClient as Server, Posted};
use crate::store::registry::Credentials;
use crate::time::Time;
use crate::trust::edit::EditError;
use crate::trust::notary::edit::{NotaryCollection, NotaryPublication};
use crate::trust::notary::{AtTargets, NotaryChain, NotaryClient, NotaryKey, NotaryPin, Targets, Unverified};
use crate::trust::{RoleKeys, Source, TrustError};

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
        })
    }

    /// Returns how messages name a collection.
    pub(super) fn subject(&self, gun: &str) -> String {
        format!("{gun} at {}", self.server.url())
    }

    /// Reads a collection as a client, down to its top-level targets: from the pin, else from what was trusted before.
    pub(super) fn client<'b>(&'b self, gun: &'b str) -> Result<NotaryClient<Files<'b>>, Failure> {
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
        let client = NotaryClient::refresh(gun, &pin, known, files, self.now);
        client.map_err(|error| error.about(&self.subject(gun)))
    }

    /// Reads a collection as a client that trusts it already, delegated roles included; tells of roles that cannot be trusted.
    pub(super) fn load(&self, gun: &str) -> Result<NotaryChain<AtTargets>, Failure> {
        Ok(self.load_with(gun, &BTreeSet::new())?.0)
    }

    /// Loads a collection; of the roles `witnessed` also what is published and not trusted, as they are to be signed anew.
    fn load_with(
        &self,
        gun: &str,
        witnessed: &BTreeSet<String>,
    ) -> Result<(NotaryChain<AtTargets>, NotaryCollection), Failure> {
        let about = |error: TrustError| error.about(&self.subject(gun));
        let mut client = self.client(gun)?;
        let mut unvouched = Vec::new();
        for (role, error) in client.fetch_roles().map_err(about)? {
            let witnessed = witnessed.contains(&role);
            let stays = if witnessed { "" } else { " and stays as it is" };
            self.context
                .warn(&format!("the role {role} cannot be trusted{stays}: {error}"));
            if witnessed {
                let published = client.unvouched(&role, error).map_err(about)?;
                unvouched.push((role, published));
            }
        }
        let chain = client.into_chain();
        let mut collection = NotaryCollection::of(&chain);
        for (role, published) in unvouched {
            collection.set_unvouched(&role, published);
        }
        Ok((chain, collection))
    }

    /// Changes a collection and publishes it; where somebody else published first, it is done again on top of that.
    ///
    /// `work` says whether there is anything to publish. Returns the roles that signed.
    pub(super) fn change(
        &self,
        gun: &str,
        work: impl FnMut(&mut NotaryCollection) -> Result<(), Failure>,
    ) -> Result<BTreeSet<String>, Failure> {
        self.change_with(gun, &BTreeSet::new(), work)
    }

    /// Changes a collection as [`Session::change`] does; `work` may witness what is published for the roles `witnessed`, though it
    /// is not trusted.
    pub(super) fn change_with(
        &self,
        gun: &str,
        witnessed: &BTreeSet<String>,
        mut work: impl FnMut(&mut NotaryCollection) -> Result<(), Failure>,
    ) -> Result<BTreeSet<String>, Failure> {
        let mut unknown: Option<NotaryPublication> = None;
        let mut left = limit::PUBLISH_ATTEMPTS;
        loop {
            let (chain, mut collection) = self.load_with(gun, witnessed)?;
            if let Some(publication) = unknown.take().filter(|publication| is_published(&chain, publication)) {
                return self.done(gun, &publication);
            }
            work(&mut collection)?;
            if collection.to_sign().is_empty() {
                return Ok(BTreeSet::new());
            }
            let publication = self.sign(collection)?;
            left -= 1;
            let problem = match self.server.publish(gun, publication.files())? {
                Posted::Accepted => return self.done(gun, &publication),
                Posted::Conflict(problem) => problem,
                Posted::Unknown(problem) => {
                    unknown = Some(publication);
                    problem
                }
            };
            if left == 0 {
                let problem = format!("{problem} (after {} attempts); try again", limit::PUBLISH_ATTEMPTS);
                return Err(Failure::unavailable(self.subject(gun), problem));
            }
            std::thread::sleep(pause());
        }
    }

    /// Publishes a new collection.
    pub(super) fn publish_new(&self, collection: NotaryCollection) -> Result<BTreeSet<String>, Failure> {
        let gun = collection.gun().to_owned();
        let publication = self.sign(collection)?;
        match self.server.publish(&gun, publication.files())? {
            Posted::Accepted => self.done(&gun, &publication),
            Posted::Conflict(problem) | Posted::Unknown(problem) => {
                let problem = format!("{problem}; see what is there now with `imgkit trust ls --server`");
                Err(Failure::unavailable(self.subject(&gun), problem))
            }
        }
    }

    fn sign(&self, mut collection: NotaryCollection) -> Result<NotaryPublication, Failure> {
        let subject = self.subject(collection.gun());
        let about = |error: EditError| error.about(&subject);
        self.go_on(&mut collection)?;
        let mut roles: Vec<RoleKeys<NotaryKey>> = vec![collection.role_keys("snapshot").map_err(about)?];
        for role in collection.to_sign() {
            roles.push(collection.role_keys(role).map_err(about)?);
            if role == "root" {
                roles.extend(collection.published_root_keys());
            }
        }
        let mut opened = self.opened.borrow_mut();
        let mut paths = BTreeSet::new();
        for key in roles.iter().flat_map(|role| role.keys().values()) {
            let Some(file) = self.trust.key(key)? else { continue };
            let path = file.path().to_owned();
            if !opened.contains_key(&path) {
                let role = &file.info().role;
                opened.insert(path.clone(), file.open(&self.passphrases.existing(role)?)?);
            }
            paths.insert(path);
        }
        let keys = paths.iter().filter_map(|path| opened.get(path));
        let keys: Vec<_> = keys.map(|key| key as &dyn Signer).collect();
        collection.sign(&keys, self.now).map_err(about)
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

    /// Remembers what was published, so that the next command need not fetch it.
    fn done(&self, gun: &str, publication: &NotaryPublication) -> Result<BTreeSet<String>, Failure> {
        let files = publication.files().iter();
        let files: Vec<_> = files.map(|(role, bytes)| (role.clone(), bytes.as_slice())).collect();
        self.trust.remember(gun, &files)?;
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

/// A collection's files on the server.
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

/// Tells whether the collection is what was published: every file of it stands in the snapshot.
fn is_published(chain: &NotaryChain<AtTargets>, publication: &NotaryPublication) -> bool {
    publication
        .files()
        .iter()
        .filter(|(role, _)| role != "snapshot")
        .all(|(role, bytes)| {
            let meta = chain.snapshot().body().meta.get(role);
            meta.is_some_and(|meta| meta.hashes.check(role, bytes).is_ok())
        })
}

/// How long to wait before it is tried again: not as long as the other, whoever that is.
fn pause() -> Duration {
    let mut random = [0; 1];
    let _ = getrandom::fill(&mut random);
    Duration::from_millis(10 + u64::from(random[0] >> 1))
}
