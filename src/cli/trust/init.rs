//! `imgkit trust init`: a new collection with new keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::chosen::RoleKeySpecs;
use crate::cli::place::CollectionName;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::{Algorithm, KeySpec};
use crate::limit;
use crate::store::TrustPlace;
use crate::store::key_store::NewKey;
use crate::store::trust_place::Outcome;
use crate::trust::edit::{Collection, Lacking, RoleSpec, bins_for};

/// The role whose keys seal images.
const SEAL: &str = "seal";

/// What the seal role may sign as a targets role; its keys sign seals, which are no targets.
const SEAL_PATTERN: &str = "seal/*";

/// Names of images have two parts at least, and rarely more than this many.
const DEEPEST_NAME: usize = 8;

/// Makes a collection.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The collection's name in the directory of collections (letters, digits, `.`, `_`, `-`), or its place: dir:PATH,
    /// oci://HOST/REPOSITORY
    name: CollectionName,
    /// The form of its metadata: tuf, or notary, which needs --server URL, a Notary server
    #[arg(long, value_parser = ["tuf", "notary"], default_value = "tuf")]
    dialect: String,
    /// How many keys of a role must sign, and how many it gets [default: 1 of 1]
    #[arg(long, value_name = "ROLE=K[/N]")]
    threshold: Vec<Threshold>,
    /// Another role that may sign images: all, or those whose names match a pattern (`*` does not cross `/`)
    #[arg(long, value_name = "ROLE[=PATTERN,…]")]
    role: Vec<NewRole>,
    /// The algorithm of new keys: ed25519, p256, p384, rsa3072 or rsa4096
    #[arg(long, value_name = "NAME", default_value_t)]
    algorithm: Algorithm,
    /// Keys that a role gets instead of new ones: FILE.pem (a private key, which is copied into the key directory; or a public
    /// key, whose owner signs elsewhere), generate:ALGORITHM, pkcs11:URI or plugin:COMMAND:KEYNAME
    #[arg(long, value_name = "ROLE=KEY[,KEY…]")]
    key: Vec<RoleKeySpecs>,
    /// Spread names over so many files, a power of two, so that a change or a look-up moves one of them; or `auto:EXPECTED` for
    /// a number that suits so many names
    #[arg(long, value_name = "N|auto:EXPECTED")]
    bins: Option<Bins>,
}

/// A number of bins, as a power of two.
#[derive(Clone, Copy, Debug)]
struct Bins(u32);

impl FromStr for Bins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let most = 1u64 << limit::BIN_BITS;
        let problem = || format!("expected a power of two from 2 to {most}, or auto:EXPECTED");
        if let Some(expected) = text.strip_prefix("auto:") {
            return expected
                .parse()
                .map(|expected| Self(bins_for(expected)))
                .map_err(|_| problem());
        }
        let number: u64 = text.parse().map_err(|_| problem())?;
        match number.is_power_of_two() && (2..=most).contains(&number) {
            true => Ok(Self(number.ilog2())),
            false => Err(problem()),
        }
    }
}

/// A role with a threshold and a number of keys.
#[derive(Clone, Debug)]
struct Threshold {
    role: String,
    needed: u32,
    keys: u32,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (role, numbers) = text.split_once('=')?;
            let (needed, keys) = numbers.split_once('/').unwrap_or((numbers, numbers));
            let (needed, keys) = (needed.parse().ok()?, keys.parse().ok()?);
            (1 <= needed && needed <= keys && keys <= 64).then(|| Self {
                role: role.to_owned(),
                needed,
                keys,
            })
        };
        parse().ok_or_else(|| "expected ROLE=K or ROLE=K/N with 1 ≤ K ≤ N ≤ 64, for example root=2/3".to_owned())
    }
}

/// A delegated role and the names that it is trusted with.
#[derive(Clone, Debug)]
struct NewRole {
    name: String,
    patterns: Vec<String>,
}

impl FromStr for NewRole {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, patterns) = match text.split_once('=') {
            Some((name, patterns)) => (name, patterns.split(',').map(str::to_owned).collect()),
            None => (
                text,
                (1..=DEEPEST_NAME).map(|parts| vec!["*"; parts].join("/")).collect(),
            ),
        };
        let name = name.to_owned();
        Ok(Self { name, patterns })
    }
}

impl Init {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let now = options.now(context)?;
        let (place, name) = options.place_of(context, &self.name)?;
        let store = options.keys(context)?;
        // Refuses a name that cannot name files, before anything is made.
        let pin = store.pin(&name)?;
        let problem = "a collection of this name is there already; choose another name";
        if pin.exists() {
            return Err(Failure::malformed(pin.display(), problem));
        }
        if place.is_published()? {
            return Err(Failure::malformed(place, problem));
        }
        let mut roles: Vec<&str> = vec!["root", "targets", "snapshot", "timestamp", SEAL];
        roles.extend(self.role.iter().map(|role| role.name.as_str()));
        if let Some(unknown) = self
            .threshold
            .iter()
            .find(|threshold| !roles.contains(&threshold.role.as_str()))
        {
            let problem = format!(
                "there is no role `{}`; the roles are {}",
                unknown.role,
                roles.join(", ")
            );
            return Err(Failure::malformed("--threshold", problem));
        }

        let unknown = self.key.iter().find(|keys| !roles.contains(&keys.role.as_str()));
        if let Some(RoleKeySpecs { role, .. }) = unknown {
            let problem = format!("there is no role `{role}`; the roles are {}", roles.join(", "));
            return Err(Failure::malformed("--key", problem));
        }
        let secrets = options.secrets(context);
        let mut keys: BTreeMap<&str, Vec<NewKey>> = BTreeMap::new();
        for role in &roles {
            let new = self.specs_of(role)?;
            let new = new.iter().map(|spec| NewKey::of(spec, &secrets));
            keys.insert(role, new.collect::<Result<_, _>>()?);
        }
        let spec = |role: &str| RoleSpec {
            keys: keys
                .get(role)
                .into_iter()
                .flatten()
                .map(|key| key.tuf_key().clone())
                .collect(),
            threshold: self.threshold_of(role).0,
        };
        let about = |error: crate::trust::edit::EditError| error.about(&format!("collection {}", self.name));
        let mut collection = Collection::new(
            &spec("root"),
            &spec("targets"),
            &spec("snapshot"),
            &spec("timestamp"),
            now,
        )
        .map_err(about)?;
        collection
            .delegate(SEAL, &spec(SEAL), &[SEAL_PATTERN.to_owned()])
            .map_err(about)?;
        if let Some(Bins(bits)) = self.bins {
            collection.make_bins(bits, now).map_err(about)?;
        }
        for role in &self.role {
            let spec = spec(&role.name);
            collection.delegate(&role.name, &spec, &role.patterns).map_err(about)?;
            collection.begin(&role.name, now).map_err(about)?;
        }
        let signers: Vec<_> = keys.values().flatten().filter_map(NewKey::signer).collect();
        let publication = collection.sign(&signers, now).map_err(|error| match Lacking::of(&error) {
            None => about(error),
            Some(_) => {
                let mend = "make it with keys that are here, then give others theirs: `imgkit trust root propose FILE --role ROLE --key …` \
                            for the top level, `imgkit trust signer add` for the rest";
                Failure::malformed(&place, format!("{error}; {mend}"))
            }
        })?;

        // Keys come first: a collection whose keys could not be written must not be published.
        let mut saved: Vec<(&str, Vec<PathBuf>)> = Vec::new();
        for role in &roles {
            let files = keys.get(role).into_iter().flatten();
            let files = files.map(|key| store.keep(&name, role, key, &secrets).transpose());
            saved.push((role, files.flatten().collect::<Result<_, _>>()?));
        }
        let root = publication.files().files().next().map_or(&[][..], |(_, bytes)| bytes);
        let pin = store.save_pin(&name, root)?;
        let publisher = place.publisher()?;
        if place.is_published()? || publisher.publish(&publication)? == Outcome::Overtaken {
            let problem =
                "somebody else made a collection here meanwhile; choose another name, and remove the keys made for it";
            return Err(Failure::malformed(place, problem));
        }
        Ok(self.report(&place, &pin, &saved))
    }

    fn report(&self, place: &TrustPlace, pin: &Path, saved: &[(&str, Vec<PathBuf>)]) -> Report {
        let mut text = format!("made the collection {} in {place}\n\nkeys (encrypted):\n", self.name);
        for (role, files) in saved {
            for file in files {
                let _ = writeln!(text, "  {role:<10} {}", file.display());
            }
        }
        let roots = saved
            .iter()
            .filter(|(role, _)| *role == "root")
            .flat_map(|(_, files)| files);
        let _ = writeln!(
            text,
            "\nNow back up the root key: without it no key of the collection can ever be replaced."
        );
        let (files, elsewhere): (Vec<_>, Vec<_>) =
            roots.partition(|file| file.extension().is_some_and(|extension| extension == "pem"));
        if !files.is_empty() {
            let _ = writeln!(
                text,
                "Copy it to two places that are not this machine, then remove it here:"
            );
        }
        for file in files {
            let _ = writeln!(text, "  cp {} /media/BACKUP/", file.display());
        }
        for file in elsewhere {
            let _ = writeln!(
                text,
                "It is kept elsewhere, as a token's maker says, or a signing program's; this says where, and is needed here:\n  {}",
                file.display()
            );
        }
        let _ = writeln!(
            text,
            "\nPin the root where images are checked: copy this file beside the policy, and name it there:"
        );
        let _ = writeln!(text, "  {}", pin.display());
        let roles: Vec<_> = saved
            .iter()
            .map(|(role, files)| json!({ "role": role, "threshold": self.threshold_of(role).0, "keys": files }))
            .collect();
        Report::new(
            text,
            json!({ "collection": self.name.to_string(), "place": place.to_string(), "pin": pin, "roles": roles }),
        )
    }

    /// Returns how many keys of a role must sign, and how many it has.
    fn threshold_of(&self, role: &str) -> (u32, u32) {
        let found = self.threshold.iter().rfind(|threshold| threshold.role == role);
        found.map_or((1, 1), |threshold| (threshold.needed, threshold.keys))
    }

    /// Returns which keys a role gets: those named for it, and new ones up to the number that it has.
    fn specs_of(&self, role: &str) -> Result<Vec<KeySpec>, Failure> {
        let named = self.key.iter().filter(|keys| keys.role == role);
        let mut specs: Vec<_> = named.flat_map(|keys| keys.specs.iter().cloned()).collect();
        let (_, count) = self.threshold_of(role);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let chosen = self.threshold.iter().any(|threshold| threshold.role == role);
        if chosen && specs.len() > count {
            let problem = format!(
                "the role `{role}` gets {} keys, and --threshold says {count}; name as many",
                specs.len()
            );
            return Err(Failure::malformed("--key", problem));
        }
        specs.resize(specs.len().max(count), KeySpec::Generate(self.algorithm));
        Ok(specs)
    }
}
