//! Where collections and their keys are.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::drafting::Drafting;
use super::word::{line, word};
use crate::cli::Context;
use crate::cli::passphrase::{Asked, PassphraseOptions};
use crate::cli::place::{CollectionName, StateOption, remember};
use crate::failure::Failure;
use crate::limit;
use crate::store::file::read_limited;
use crate::store::{KeyStore, TrustDir, TrustPlace, Trusted};
use crate::time::Time;
use crate::trust::edit::Collection;
use crate::trust::{Bundle, Client, Distrusted, Known};

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
    /// Certificates in PEM by which alone the server of an https:// collection, or a Notary server, is trusted [default: the
    /// system's]
    #[arg(long, global = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
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
    /// The file that a change goes into or comes from, where it is not published at once.
    #[arg(skip)]
    pub(super) drafting: Option<Drafting>,
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
    pub(super) fn load(&self) -> Result<Collection<'_>, Failure> {
        // An owner does not sign on top of an older state either; whether it has expired does not matter here.
        let loaded = Collection::load_after(&self.pin, &self.known()?, &self.at);
        let loaded = loaded.map_err(|error| error.about(&self.subject()))?;
        if let Some(chain) = loaded.published() {
            self.remember(chain.files());
        }
        Ok(loaded)
    }

    /// Remembers what the owner read or published, so that he signs on top of nothing older.
    pub(super) fn remember(&self, files: &Bundle) {
        if let Some(trusted) = &self.trusted {
            // What has expired is older than nothing.
            remember(&self.context, trusted, &self.pin, files, Time::EPOCH);
        }
    }

    /// Reads the whole collection as its owner.
    pub(super) fn load_all(&self) -> Result<Collection<'_>, Failure> {
        let mut collection = self.load()?;
        let loaded = collection.load_all();
        loaded.map_err(|error| error.about(&self.subject()))?;
        Ok(collection)
    }

    /// Returns what was last trusted of a place where others can put older states.
    pub(super) fn known(&self) -> Result<Known, Failure> {
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
    /// Returns the options by which the collection was named, for commands that people copy; nothing where it was not.
    pub(super) fn as_named(&self) -> String {
        let collection = self.collection.as_ref().map(ToString::to_string);
        let named = [("--collection", collection), ("--keys-as", self.keys_as.clone())];
        let named = named.into_iter().filter_map(|(option, value)| Some((option, value?)));
        named
            .map(|(option, value)| format!("{option} {} ", word(&value, "NAME")))
            .collect()
    }

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

    /// Returns the options of a collection that is made of another one, whose place, pin and time the others are.
    pub(super) fn of_collection(&self, collection: &CollectionName) -> Self {
        Self {
            trust_dir: None,
            collection: Some(collection.clone()),
            pin: None,
            at: None,
            ..self.clone()
        }
    }

    /// Returns the file of certificates by which alone servers are trusted, if one was named.
    pub(super) fn ca_cert(&self) -> Option<&Path> {
        self.ca_cert.as_deref()
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
        Ok((collection.place(context, &self.base(context)?, self.ca_cert())?, keys))
    }

    /// Finds the collection that the options name, or the only one there is.
    pub(super) fn place(&self, context: &Context) -> Result<Place, Failure> {
        let collection = match &self.collection {
            Some(collection) => collection.clone(),
            None => CollectionName::Name(self.only(context)?),
        };
        self.place_named(context, &collection)
    }

    /// Finds a collection by its name.
    pub(super) fn place_named(&self, context: &Context, collection: &CollectionName) -> Result<Place, Failure> {
        let (at, keys) = self.place_of(context, collection)?;
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

    /// Returns these options, and where they say nothing, the others.
    pub(super) fn or(self, other: &Self) -> Self {
        let or = |own: Option<PathBuf>, other: &Option<PathBuf>| own.or_else(|| other.clone());
        Self {
            trust_dir: or(self.trust_dir, &other.trust_dir),
            key_dir: or(self.key_dir, &other.key_dir),
            collection: self.collection.or_else(|| other.collection.clone()),
            ca_cert: or(self.ca_cert, &other.ca_cert),
            keys_as: self.keys_as.or_else(|| other.keys_as.clone()),
            pin: or(self.pin, &other.pin),
            at: self.at.or(other.at),
            state: self.state.or(&other.state),
            passphrase: self.passphrase.or(&other.passphrase),
            drafting: self.drafting.or_else(|| other.drafting.clone()),
        }
    }

    /// Tells whether changes go into a file, for others to sign them as well.
    pub(super) fn stages(&self) -> bool {
        matches!(self.drafting, Some(Drafting::Stage(_)))
    }

    /// Returns the same options, with changes going into a file or coming from one.
    pub(super) fn with_file(&self, drafting: Drafting) -> Self {
        Self {
            drafting: Some(drafting),
            ..self.clone()
        }
    }

    /// Reads the pin of a collection, if there is one here; the collection itself need not be.
    pub(super) fn pin_of(&self, context: &Context, keys_as: &str) -> Result<Option<(PathBuf, Vec<u8>)>, Failure> {
        let pin = match &self.pin {
            Some(pin) => pin.clone(),
            None => self.keys(context)?.pin(keys_as)?,
        };
        match pin.exists() || self.pin.is_some() {
            true => Ok(Some((pin.clone(), read_limited(&pin, limit::ROOT_BYTES)?))),
            false => Ok(None),
        }
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
            [] => "there is no collection here; name one with --collection, or make one with `imgkit trust init NAME`"
                .to_owned(),
            several => format!(
                "there are several collections; name one with --collection: {}",
                several.join(", ")
            ),
        };
        Err(Failure::malformed(base.display(), problem))
    }
}

/// Says which roles are not trusted, and why.
pub(super) fn tell_distrusted(text: &mut String, distrusted: &[Distrusted]) {
    for Distrusted { role, by, error } in distrusted {
        let by = match by.as_str() {
            "targets" => String::new(),
            by => format!(" as {} trusts it", by.escape_debug()),
        };
        *text += &format!(
            "NOT TRUSTED {}{by}: {}\n",
            role.escape_debug(),
            line(&error.to_string())
        );
    }
}

/// Lists them for machines.
pub(super) fn distrusted_json(distrusted: &[Distrusted]) -> Value {
    let entries = distrusted.iter();
    entries
        .map(|one| json!({ "role": one.role, "by": one.by, "problem": one.error.to_string() }))
        .collect()
}
