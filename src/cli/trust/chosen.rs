//! Which keys a role gets, and asking before what cannot be taken back.

use std::io::{BufRead as _, IsTerminal as _};
use std::str::FromStr;

use clap::Args;

use super::TrustOptions;
use crate::cli::Context;
use crate::cli::passphrase::Asked;
use crate::failure::Failure;
use crate::key::{Algorithm, KeySpec, TufKey};
use crate::store::KeyStore;
use crate::store::key_store::{NewKey, Secrets};

/// The keys that a role gets.
#[derive(Debug, Args)]
pub(super) struct ChosenKeys {
    /// A key that the role gets: FILE.pem (a private key, which is copied into the key directory; or a public key, whose owner
    /// signs elsewhere), generate:ALGORITHM, pkcs11:URI or plugin:COMMAND:KEYNAME; may be repeated
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<KeySpec>,
    /// How many new keys are made here for it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    new: Option<u8>,
    /// The algorithm of new keys: ed25519, p256, p384, rsa3072 or rsa4096 [default: ed25519]
    #[arg(long, value_name = "NAME")]
    algorithm: Option<Algorithm>,
}

/// A role, the keys that it gets, and how many of its keys must sign then.
#[derive(Debug, Args)]
pub(super) struct KeysOfRole {
    /// The role: root, targets, snapshot, timestamp, or one that is delegated to
    pub(super) role: String,
    #[command(flatten)]
    pub(super) keys: ChosenKeys,
    /// How many of the role's keys must sign from now on [default: as many as now]
    #[arg(long, value_name = "K")]
    pub(super) threshold: Option<u32>,
}

impl ChosenKeys {
    /// Tells whether anything was said of them.
    pub(super) fn any(&self) -> bool {
        !self.keys.is_empty() || self.new.is_some() || self.algorithm.is_some()
    }

    /// Opens the keys that were named, where they are; where nothing was named, `usual` new ones will be made.
    pub(super) fn open(&self, secrets: &dyn Secrets, usual: usize) -> Result<OpenKeys, Failure> {
        let new = match (self.new, self.keys.is_empty()) {
            (Some(new), _) => usize::from(new),
            (None, true) => usual,
            (None, false) => 0,
        };
        if new == 0 && self.algorithm.is_some() {
            let problem = "it is for new keys, and none is to be made; say how many with --new N";
            return Err(Failure::malformed("--algorithm", problem));
        }
        let mut open = OpenKeys::of(&self.keys, secrets)?;
        open.made.extend(vec![self.algorithm.unwrap_or_default(); new]);
        Ok(open)
    }

    /// Opens and makes a role's keys, as [`ChosenKeys::open`] says.
    pub(super) fn make<'a>(
        &self,
        context: &'a Context,
        options: &'a TrustOptions,
        usual: usize,
    ) -> Result<NewKeys<'a>, Failure> {
        let secrets = options.secrets(context);
        let OpenKeys { mut named, made } = self.open(&secrets, usual)?;
        for algorithm in made {
            named.push(NewKey::of(&KeySpec::Generate(algorithm), &secrets)?);
        }
        Ok(NewKeys { keys: named, secrets })
    }
}

/// Keys that a role is to get, none of which is kept yet: so that what is refused leaves no key behind.
#[derive(Debug)]
pub(super) struct NewKeys<'a> {
    keys: Vec<NewKey>,
    secrets: Asked<'a>,
}

impl NewKeys<'_> {
    /// Returns the public halves.
    pub(super) fn public(&self) -> Vec<TufKey> {
        self.keys.iter().map(|key| key.tuf_key().clone()).collect()
    }

    /// Keeps those for `role` whose private half is at hand.
    pub(super) fn keep(
        &self,
        context: &Context,
        store: &KeyStore,
        collection: &str,
        role: &str,
    ) -> Result<(), Failure> {
        let mut keys = self.keys.iter();
        keys.try_for_each(|key| keep(context, store, (collection, role), key, &self.secrets))
    }
}

/// Keys for a role, as they are named: ROLE=KEY[,KEY…].
#[derive(Clone, Debug)]
pub(super) struct RoleKeySpecs {
    pub(super) role: String,
    pub(super) specs: Vec<KeySpec>,
}

impl FromStr for RoleKeySpecs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, specs) = text
            .split_once('=')
            .ok_or("expected ROLE=KEY[,KEY…], for example root=generate:p384")?;
        let specs: Result<_, _> = specs.split(',').map(str::parse).collect();
        Ok(Self {
            role: role.to_owned(),
            specs: specs.map_err(|error: crate::key::KeyError| error.to_string())?,
        })
    }
}

/// Keys that were named, opened, and those that are yet to be made.
#[derive(Debug)]
pub(super) struct OpenKeys {
    named: Vec<NewKey>,
    made: Vec<Algorithm>,
}

impl OpenKeys {
    /// Opens keys where they are.
    pub(super) fn of(specs: &[KeySpec], secrets: &dyn Secrets) -> Result<Self, Failure> {
        let (mut named, mut made) = (Vec::new(), Vec::new());
        for spec in specs {
            match spec {
                KeySpec::Generate(algorithm) => made.push(*algorithm),
                _ => named.push(NewKey::of(spec, secrets)?),
            }
        }
        Ok(Self { named, made })
    }

    /// Returns the keys that were named.
    pub(super) fn named(&self) -> impl Iterator<Item = &TufKey> {
        self.named.iter().map(NewKey::tuf_key)
    }

    /// Returns how many keys they are.
    pub(super) fn count(&self) -> usize {
        self.named.len() + self.made.len()
    }

    /// Returns how many of them can sign here; the others are in somebody else's hands.
    pub(super) fn here(&self) -> usize {
        self.named.iter().filter(|key| key.signer().is_some()).count() + self.made.len()
    }

    /// Makes what is to be made, keeps for `role` what can sign, and returns the public halves.
    pub(super) fn keep(
        &self,
        context: &Context,
        store: &KeyStore,
        collection: &str,
        role: &str,
        secrets: &dyn Secrets,
    ) -> Result<Vec<TufKey>, Failure> {
        let made = self
            .made
            .iter()
            .map(|algorithm| NewKey::of(&KeySpec::Generate(*algorithm), secrets));
        let made: Vec<_> = made.collect::<Result<_, _>>()?;
        let mut keys = Vec::new();
        for key in self.named.iter().chain(&made) {
            keep(context, store, (collection, role), key, secrets)?;
            keys.push(key.tuf_key().clone());
        }
        Ok(keys)
    }
}

/// Keeps a key for a role where its private half is at hand, and says so.
fn keep(
    context: &Context,
    store: &KeyStore,
    (collection, role): (&str, &str),
    key: &NewKey,
    secrets: &dyn Secrets,
) -> Result<(), Failure> {
    if let Some(file) = store.keep(collection, role, key, secrets)? {
        context.say(&format!("kept a key of {role}: {}", file.display()));
    }
    Ok(())
}

/// Asks at the terminal whether to go on; without one, only `--yes` is an answer.
pub(super) fn confirm(context: &Context, yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let problem =
            format!("{what}\nnothing was changed: there is no terminal to ask at; look at this, then give --yes");
        return Err(Failure::malformed("not confirmed", problem));
    }
    context.say(&format!("{what}\nGo on? Write `yes`:"));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::unavailable("the terminal", error))?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(Failure::malformed("not confirmed", "nothing was changed")),
    }
}
