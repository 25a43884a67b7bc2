//! Where collections and their keys are, and the one way to change a collection.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::cli::Context;
use crate::cli::passphrase::{Asked, PassphraseOptions};
use crate::cli::place::{CollectionName, StateOption, remember};
use crate::failure::Failure;
use crate::key::Signer;
use crate::limit;
use crate::store::file::read_limited;
use crate::store::key_store::Secrets;
use crate::store::trust_place::Outcome;
use crate::store::{KeyStore, TrustDir, TrustPlace, Trusted};
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
    /// The collection: its name in the directory of collections, or its place: dir:PATH,
    /// https://…, oci://HOST/REPOSITORY [default: the only one in the directory]
    #[arg(long, global = true, value_name = "NAME|PLACE", env = "IMGKIT_COLLECTION")]
    collection: Option<CollectionName>,
    /// The name under which the collection's keys and pin are kept [default: its own, or one made of its place]
    #[arg(long, global = true, value_name = "NAME")]
    keys_as: Option<String>,
    /// The root.json from which the collection is trusted [default: the one kept beside its keys]
    #[arg(long, global = true, value_name = "FILE")]
    pin: Option<PathBuf>,
    /// The time at which everything is judged and signed [default: now]
    #[arg(long, global = true, value_name = "TIME")]
    at: Option<Time>,
    #[command(flatten)]
    state: StateOption,
    #[command(flatten)]
    passphrase: PassphraseOptions,
}

/// A collection that exists, and the root from which it is trusted.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// How messages name it.
    pub(super) name: String,
    /// The name under which its keys are kept.
    pub(super) keys: String,
    /// Where it is.
    pub(super) at: TrustPlace,
    /// The root.json from which it is trusted.
    pub(super) pin: Vec<u8>,
    /// What was last trusted, where others can put older states.
    trusted: Option<Trusted>,
    context: Context,
}

impl Place {
    /// Reads the collection as a client, judged at `now`.
    pub(super) fn client(&self, now: Time) -> Result<Client<&TrustPlace>, Failure> {
        let client = Client::refresh(&self.pin, &self.known()?, &self.at, now);
        let client = client.map_err(|error| error.about(&self.subject()))?;
        if let Some(trusted) = &self.trusted {
            remember(&self.context, trusted, &self.pin, &self.at, now);
        }
        Ok(client)
    }

    /// Reads the collection as its owner, whether it has expired or not.
    pub(super) fn load(&self) -> Result<Collection, Failure> {
        if self.trusted.is_some() {
            // An owner does not sign on top of an older state either; whether it has expired does not matter here.
            let client = Client::refresh(&self.pin, &self.known()?, &self.at, Time::EPOCH);
            client.map_err(|error| error.about(&self.subject()))?;
        }
        Collection::load(&self.pin, &self.at).map_err(|error| error.about(&self.subject()))
    }

    /// Returns what was last trusted of a place where others can put older states.
    fn known(&self) -> Result<Known, Failure> {
        let trusted = self.trusted.as_ref();
        Ok(trusted
            .map(|trusted| trusted.known(&self.pin))
            .transpose()?
            .unwrap_or_default())
    }

    /// Returns how messages name the collection.
    pub(super) fn subject(&self) -> String {
        format!("collection {}", self.name)
    }
}

impl TrustOptions {
    /// Returns the time that was named, if one was.
    pub(super) fn at(&self) -> Option<Time> {
        self.at
    }

    /// Returns the time of judgement.
    pub(super) fn now(&self, context: &Context) -> Result<Time, Failure> {
        self.at.map_or_else(|| context.now(), Ok)
    }

    /// Returns how the passphrase is given.
    pub(super) fn passphrase(&self) -> &PassphraseOptions {
        &self.passphrase
    }

    /// Returns the directory of collections that was named.
    pub(super) fn given_trust_dir(&self) -> Option<&Path> {
        self.trust_dir.as_deref()
    }

    /// Returns the pin that was named: a root.json, or whatever else the collection's dialect pins.
    pub(super) fn given_pin(&self) -> Option<&Path> {
        self.pin.as_deref()
    }

    /// Returns the key store.
    pub(super) fn keys(&self, context: &Context) -> Result<KeyStore, Failure> {
        let dir = match &self.key_dir {
            Some(dir) => dir.clone(),
            None => context.xdg_dir("DATA", ".local/share")?.join("keys"),
        };
        Ok(KeyStore::at(dir))
    }

    /// Returns the memory of what was last trusted.
    pub(super) fn trusted(&self, context: &Context) -> Result<Trusted, Failure> {
        self.state.trusted(context)
    }

    /// Returns the name under which the keys of the chosen collection are kept, if one was chosen.
    pub(super) fn named(&self, _context: &Context) -> Result<Option<String>, Failure> {
        match (&self.keys_as, &self.collection) {
            (Some(name), _) => Ok(Some(name.clone())),
            (None, Some(collection)) => collection.key_name().map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Returns the name under which the collection's keys are kept; the collection itself need not be there.
    pub(super) fn keys_name(&self, context: &Context) -> Result<String, Failure> {
        match self.named(context)? {
            Some(name) => Ok(name),
            None => CollectionName::Name(self.only(context)?).key_name(),
        }
    }

    /// Returns who is asked for the keys' secrets.
    pub(super) fn secrets<'a>(&'a self, context: &'a Context) -> Asked<'a> {
        self.passphrase.asked(context)
    }

    /// Returns the place of a collection that may not exist, and the name under which its keys are kept.
    pub(super) fn place_of(
        &self,
        context: &Context,
        collection: &CollectionName,
    ) -> Result<(TrustPlace, String), Failure> {
        let keys = self.keys_as.clone().map_or_else(|| collection.key_name(), Ok)?;
        Ok((collection.place(context, &self.base(context)?)?, keys))
    }

    /// Finds the collection that the options name, or the only one there is.
    pub(super) fn place(&self, context: &Context) -> Result<Place, Failure> {
        let collection = match &self.collection {
            Some(collection) => collection.clone(),
            None => CollectionName::Name(self.only(context)?),
        };
        let (at, keys) = self.place_of(context, &collection)?;
        let pin = match &self.pin {
            Some(pin) => pin.clone(),
            None => self.keys(context)?.pin(&keys)?,
        };
        if !pin.exists() {
            let problem = "the root from which the collection is trusted is not there; name the root.json that its owner \
                           gave you with --pin";
            return Err(Failure::unavailable(pin.display(), problem));
        }
        Ok(Place {
            name: collection.to_string(),
            keys,
            trusted: at.is_remote().then(|| self.state.trusted(context)).transpose()?,
            at,
            pin: read_limited(&pin, limit::ROOT_BYTES)?,
            context: context.clone(),
        })
    }

    /// Changes a collection: reads it, works on it, signs and publishes what came of it, and does all of that again where
    /// somebody else published meanwhile. Returns the roles that signed.
    pub(super) fn change(
        &self,
        context: &Context,
        mut work: impl FnMut(&mut Collection, Time) -> Result<(), EditError>,
    ) -> Result<BTreeSet<String>, Failure> {
        let now = self.now(context)?;
        let place = self.place(context)?;
        let subject = place.subject();
        let secrets = self.passphrase.asked(context);
        let mut keys = BTreeMap::new();
        if self.passphrase.asks(context) {
            // Keys are opened before a lock is taken: others should not wait for a person.
            let mut collection = place.load()?;
            work(&mut collection, now).map_err(|error| error.about(&subject))?;
            let files = self.key_files(context, &place.keys, &collection, &collection.to_sign())?;
            open_all(&files, &secrets, &mut keys)?;
        }
        for attempt in 0..limit::PUBLISH_ATTEMPTS {
            let publisher = place.at.publisher()?;
            let mut collection = place.load()?;
            work(&mut collection, now).map_err(|error| error.about(&subject))?;
            let roles = collection.to_sign();
            let files = self.key_files(context, &place.keys, &collection, &roles)?;
            open_all(&files, &secrets, &mut keys)?;
            let signers = files.iter().filter_map(|file| keys.get(file));
            let signers: Vec<_> = signers.map(AsRef::as_ref).collect();
            let publication = collection.sign(&signers, now).map_err(|error| error.about(&subject))?;
            match publisher.publish(&publication)? {
                Outcome::Published => return Ok(roles),
                Outcome::Overtaken => std::thread::sleep(pause(attempt)?),
            }
        }
        let problem = format!(
            "others published first, {} times in a row; nothing was changed; try again when they are done",
            limit::PUBLISH_ATTEMPTS
        );
        Err(Failure::unavailable(subject, problem))
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

/// Opens keys that are not open yet, which takes a quarter of a second each, side by side.
fn open_all(
    files: &BTreeSet<PathBuf>,
    secrets: &dyn Secrets,
    keys: &mut BTreeMap<PathBuf, Box<dyn Signer>>,
) -> Result<(), Failure> {
    let files: Vec<_> = files.iter().filter(|file| !keys.contains_key(*file)).collect();
    let open = |file: &&PathBuf| Ok(((*file).clone(), KeyStore::open(file, secrets)?));
    let opened: Result<Vec<_>, Failure> = files.par_iter().map(open).collect();
    keys.extend(opened?);
    Ok(())
}

/// How long a publisher who was overtaken waits: a random time, longer with each attempt, so that two do not meet for ever.
fn pause(attempt: u32) -> Result<Duration, Failure> {
    let random = getrandom::u32().map_err(|error| Failure::unavailable("random numbers", error))?;
    let longest = limit::FIRST_PAUSE * 2u32.pow(attempt.min(4));
    Ok(longest.mul_f64(f64::from(random) / f64::from(u32::MAX)))
}
