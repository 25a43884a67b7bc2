//! Where collections and their keys are, and the one way to change a collection.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::cli::Context;
use crate::cli::passphrase::PassphraseOptions;
use crate::failure::Failure;
use crate::key::Passphrase;
use crate::limit;
use crate::store::file::read_limited;
use crate::store::{KeyStore, TrustDir};
use crate::time::Time;
use crate::trust::edit::{Collection, EditError};
use crate::trust::{Client, Known};

/// Which collection, where it is, and when.
#[derive(Clone, Debug, Args)]
pub(super) struct TrustOptions {
    /// The directory of collections [default: imgkit/trust in the XDG data directory]
    #[arg(long, global = true, value_name = "DIR", env = "IMGKIT_TRUST_DIR")]
    trust_dir: Option<PathBuf>,
    /// The directory of private keys [default: imgkit/keys in the XDG data directory]
    #[arg(long, global = true, value_name = "DIR", env = "IMGKIT_KEY_DIR")]
    key_dir: Option<PathBuf>,
    /// The collection [default: the only one in the directory]
    #[arg(long, global = true, value_name = "NAME")]
    collection: Option<String>,
    /// The root.json from which the collection is trusted [default: the one kept beside its keys]
    #[arg(long, global = true, value_name = "FILE")]
    pin: Option<PathBuf>,
    /// The time at which everything is judged and signed [default: now]
    #[arg(long, global = true, value_name = "TIME")]
    at: Option<Time>,
    #[command(flatten)]
    passphrase: PassphraseOptions,
}

/// A collection that exists, and the root from which it is trusted.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) dir: TrustDir,
    pub(super) pin: Vec<u8>,
}

impl Place {
    /// Reads the collection as a client, judged at `now`.
    pub(super) fn client(&self, now: Time) -> Result<Client<&TrustDir>, Failure> {
        let client = Client::refresh(&self.pin, &Known::default(), &self.dir, now);
        client.map_err(|error| error.about(&self.subject()))
    }

    /// Reads the collection as its owner, whether it has expired or not.
    pub(super) fn load(&self) -> Result<Collection, Failure> {
        Collection::load(&self.pin, &self.dir).map_err(|error| error.about(&self.subject()))
    }

    /// Returns how messages name the collection.
    pub(super) fn subject(&self) -> String {
        format!("collection {}", self.name)
    }
}

impl TrustOptions {
    /// Returns the time of judgement.
    pub(super) fn now(&self, context: &Context) -> Result<Time, Failure> {
        self.at.map_or_else(|| context.now(), Ok)
    }

    /// Returns the key store.
    pub(super) fn keys(&self, context: &Context) -> Result<KeyStore, Failure> {
        let dir = match &self.key_dir {
            Some(dir) => dir.clone(),
            None => context.xdg_dir("DATA", ".local/share")?.join("keys"),
        };
        Ok(KeyStore::at(dir))
    }

    /// Returns the passphrase options.
    pub(super) fn passphrase(&self) -> &PassphraseOptions {
        &self.passphrase
    }

    /// Returns the place of a collection that may not exist.
    pub(super) fn dir_of(&self, context: &Context, collection: &str) -> Result<TrustDir, Failure> {
        Ok(TrustDir::at(self.base(context)?.join(collection)))
    }

    /// Finds the collection that the options name, or the only one there is.
    pub(super) fn place(&self, context: &Context) -> Result<Place, Failure> {
        let name = match &self.collection {
            Some(name) => name.clone(),
            None => self.only(context)?,
        };
        let pin = match &self.pin {
            Some(pin) => pin.clone(),
            None => self.keys(context)?.pin(&name)?,
        };
        if !pin.exists() {
            let problem = "the root from which the collection is trusted is not there; name the root.json that its owner \
                           gave you with --pin";
            return Err(Failure::unavailable(pin.display(), problem));
        }
        Ok(Place {
            dir: self.dir_of(context, &name)?,
            pin: read_limited(&pin, limit::ROOT_BYTES)?,
            name,
        })
    }

    /// Changes a collection: under its lock, from reading it to publishing what was signed. Returns the roles that signed.
    pub(super) fn change(
        &self,
        context: &Context,
        work: impl FnOnce(&mut Collection, Time) -> Result<(), EditError>,
    ) -> Result<BTreeSet<String>, Failure> {
        let now = self.now(context)?;
        let place = self.place(context)?;
        let subject = place.subject();
        // Asked for before the lock is taken: others should not wait for a person.
        let passphrase = self.passphrase.existing(context)?;
        let publisher = place.dir.publisher()?;
        let mut collection = place.load()?;
        work(&mut collection, now).map_err(|error| error.about(&subject))?;
        let roles = collection.to_sign();
        let files = self.key_files(context, &place.name, &collection, &roles)?;
        let keys = open_all(&files, &passphrase)?;
        let keys: Vec<_> = keys.iter().collect();
        let publication = collection.sign(&keys, now).map_err(|error| error.about(&subject))?;
        publisher.publish(&publication)?;
        Ok(roles)
    }

    /// Finds the files of as many keys of each role as must sign; where there are fewer, signing says so.
    pub(super) fn key_files(
        &self,
        context: &Context,
        name: &str,
        collection: &Collection,
        roles: &BTreeSet<String>,
    ) -> Result<BTreeSet<PathBuf>, Failure> {
        let store = self.keys(context)?;
        let mut files = BTreeSet::new();
        for role in roles {
            let keys = collection.role_keys(role).map_err(|error| error.about(name))?;
            let mut found = Vec::new();
            for id in keys.keyids() {
                found.extend(store.find(name, role, id)?);
            }
            files.extend(
                found
                    .into_iter()
                    .take(usize::try_from(keys.threshold()).unwrap_or(usize::MAX)),
            );
        }
        Ok(files)
    }

    fn base(&self, context: &Context) -> Result<PathBuf, Failure> {
        match &self.trust_dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(context.xdg_dir("DATA", ".local/share")?.join("trust")),
        }
    }

    /// Finds the only collection in the directory.
    fn only(&self, context: &Context) -> Result<String, Failure> {
        let base = self.base(context)?;
        let entries = std::fs::read_dir(&base).into_iter().flatten().flatten();
        let names = entries.filter(|entry| TrustDir::at(entry.path()).is_published());
        let mut names: Vec<_> = names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        let problem = match names.as_slice() {
            [only] => return Ok(only.clone()),
            [] => "there is no collection here; make one with `imgkit trust init NAME`".to_owned(),
            several => format!(
                "there are several collections; name one with --collection: {}",
                several.join(", ")
            ),
        };
        Err(Failure::malformed(base.display(), problem))
    }
}

/// Opens keys, which takes a quarter of a second each, side by side.
fn open_all(files: &BTreeSet<PathBuf>, passphrase: &Passphrase) -> Result<Vec<crate::key::SigningKey>, Failure> {
    let files: Vec<_> = files.iter().collect();
    files.par_iter().map(|file| KeyStore::open(file, passphrase)).collect()
}
