//! The options of every command that judges: the policy, its trust roots, and the time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::place::{CollectionName, NotaryName, StateOption, remember, remembered};
use super::{Context, policy, sigstore};
use crate::failure::Failure;
use crate::key::PublicKey;
use crate::limit;
use crate::policy::{Environment, Policy, Root, Signer, SigstoreSigner};
use crate::store::file::read_limited;
use crate::store::{TrustDir, TrustPlace};
use crate::time::Time;
use crate::trust::notary::{NotaryChain, NotaryKnown};
use crate::trust::{Chain, Source, TrustError, file_name};
use crate::verify::{Anchor, Anchors, Metadata, NotaryAnchor, NotaryPin, Pins};

/// Reads the files that a policy names: pinned roots, keys, trusted roots.
pub(super) fn pins(path: &Path, policy: &Policy) -> Result<Pins, Failure> {
    read_pins(path, policy, |_| true)
}

/// Reads those of the files that a policy names which are there: a policy can be tried before its keys are.
pub(super) fn pins_at_hand(path: &Path, policy: &Policy) -> Result<Pins, Failure> {
    read_pins(path, policy, |file| {
        file.is_some_and(|file| !matches!(file.try_exists(), Ok(false)))
    })
}

/// Reads the files that a policy names, those that are `wanted`; the public instance's trusted root has no path.
fn read_pins(path: &Path, policy: &Policy, wanted: impl Fn(Option<&Path>) -> bool) -> Result<Pins, Failure> {
    let base = path.parent().unwrap_or(Path::new(""));
    let mut pins = Pins::default();
    for (name, Root { file, gun }) in policy.roots() {
        let path = base.join(file);
        if !wanted(Some(&path)) {
            continue;
        }
        let pin = read_limited(&path, limit::POLICY_BYTES)?;
        // Told here, as it is the user's own file: below, a collection that does not have it is looked for in vain.
        let about = |error: TrustError| error.about(&path.display().to_string());
        match gun {
            None => {
                Chain::pinned(&pin, Time::EPOCH).map_err(about)?;
                pins.roots.insert(name.to_owned(), pin);
            }
            Some(gun) => {
                let read = NotaryChain::pinned(gun, &pin, NotaryKnown::default(), Time::EPOCH);
                read.map_err(|error| {
                    about(TrustError::Pin {
                        problem: error.to_string(),
                    })
                })?;
                let (gun, root) = (gun.clone(), pin);
                pins.notary.insert(name.to_owned(), NotaryPin { gun, root });
            }
        }
    }
    for (_, by) in policy.everybody() {
        let Signer::Sigstore(by) = by else { continue };
        match &by {
            SigstoreSigner::Key { file, .. } => {
                let path = base.join(file);
                if !wanted(Some(&path)) {
                    continue;
                }
                let pem = read_limited(&path, limit::KEY_FILE_BYTES)?;
                let key = std::str::from_utf8(&pem).ok().map(PublicKey::from_pem);
                let key = key.unwrap_or_else(|| PublicKey::from_pem(""));
                let key = key.map_err(|error| Failure::malformed(path.display(), error))?;
                pins.keys.push((by, key));
            }
            SigstoreSigner::Identity { trusted_root, .. } => {
                let path = trusted_root.as_ref().map(|file| base.join(file));
                if !pins.trusted_roots.contains_key(trusted_root) && wanted(path.as_deref()) {
                    let read = sigstore::read_trusted_root(path.as_deref())?;
                    pins.trusted_roots.insert(trusted_root.clone(), Arc::new(read));
                }
            }
        }
    }
    Ok(pins)
}

/// Which of a policy's environments is in force.
#[derive(Clone, Debug, Args)]
pub(super) struct EnvironmentOption {
    /// The environment whose overlay of the policy is in force; needed where the policy has environments
    #[arg(long, value_name = "NAME", env = "IMGKIT_ENVIRONMENT")]
    environment: Option<String>,
}

impl EnvironmentOption {
    /// Reads a policy.
    pub(super) fn policy(&self, path: &Path) -> Result<Policy, Failure> {
        policy::read(path, Environment::Named(self.environment.as_deref()))
    }

    /// Reads a policy and the files that it names.
    pub(super) fn read(&self, path: &Path) -> Result<(Policy, Pins), Failure> {
        let policy = self.policy(path)?;
        let pins = pins(path, &policy)?;
        Ok((policy, pins))
    }
}

/// Where the repositories of collections are.
#[derive(Clone, Debug, Args)]
pub(super) struct TrustDirOption {
    /// The directory of collections [default: imgkit/trust in the XDG data directory]
    #[arg(long, value_name = "DIR", env = "IMGKIT_TRUST_DIR")]
    trust_dir: Option<PathBuf>,
    /// Look for a root's metadata here as well, before the directory: the place of a collection (dir:PATH, https://…,
    /// oci://HOST/REPOSITORY), or its name in the directory
    #[arg(long, value_name = "NAME|PLACE", env = "IMGKIT_COLLECTION")]
    collection: Vec<CollectionName>,
    /// The Notary server of the collections that the policy pins by their GUN, or docker's trust directory (dir:PATH); behind
    /// ROOT=, that of one root alone
    #[arg(long, value_name = "[ROOT=]PLACE", env = "DOCKER_CONTENT_TRUST_SERVER")]
    notary: Vec<NotaryName>,
    /// Certificates in PEM by which alone the web servers of collections are trusted [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    #[command(flatten)]
    state: StateOption,
}

impl TrustDirOption {
    /// Finds the place of each pinned root: the collection that has the very file among its roots.
    pub(super) fn anchors(&self, context: &Context, pins: &Pins) -> Result<Anchors, Failure> {
        let base = match &self.trust_dir {
            Some(dir) => dir.clone(),
            None => context.xdg_dir("DATA", ".local/share")?.join("trust"),
        };
        let named = self
            .collection
            .iter()
            .map(|name| name.place(context, &base, self.ca_cert.as_deref()));
        let mut places: Vec<TrustPlace> = named.collect::<Result<_, _>>()?;
        let entries = std::fs::read_dir(&base).into_iter().flatten().flatten();
        let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        dirs.sort();
        places.extend(dirs.into_iter().map(|dir| TrustDir::at(dir).into()));
        let trusted = self.state.trusted(context)?;
        let anchor = |(name, pin): (&String, &Vec<u8>)| {
            let mut metadata = Metadata::Nowhere;
            for place in &places {
                if has_root(place, pin)? {
                    metadata = Metadata::Place(place.clone());
                    break;
                }
            }
            let anchor = Anchor {
                pin: pin.clone(),
                metadata,
                known: trusted.known(pin)?,
            };
            Ok((name.clone(), anchor))
        };
        let roots = pins.roots.iter().map(anchor).collect::<Result<_, Failure>>()?;
        let notary = |(name, pin): (&String, &NotaryPin)| {
            let place = NotaryName::of_root(&self.notary, name);
            let place = place.map(|place| place.place(context, &pin.gun, self.ca_cert.as_deref()));
            let anchor = NotaryAnchor {
                pin: pin.clone(),
                metadata: place.transpose()?.map_or(Metadata::Nowhere, Metadata::Place),
                known: trusted.known_notary(&pin.gun, &pin.root)?,
            };
            Ok((name.clone(), anchor))
        };
        let notary = pins.notary.iter().map(notary).collect::<Result<_, Failure>>()?;
        Ok(Anchors::new(roots, pins).with_notary(notary))
    }

    /// Remembers what was trusted at `at`; where it cannot, it says so.
    pub(super) fn remember(&self, context: &Context, anchors: &Anchors, at: Time) -> Result<(), Failure> {
        let trusted = self.state.trusted(context)?;
        let in_places = anchors
            .iter()
            .filter(|anchor| matches!(anchor.metadata, Metadata::Place(_)));
        for anchor in in_places {
            remember(context, &trusted, &anchor.pin, &anchor.metadata, at);
        }
        for NotaryAnchor { pin, metadata, .. } in anchors.notary() {
            if let Metadata::Place(place) = metadata {
                remembered(context, trusted.remember_notary(&pin.gun, &pin.root, place, at));
            }
        }
        Ok(())
    }
}

/// Tells whether a collection has this very file among its roots.
fn has_root(mut place: &TrustPlace, pin: &[u8]) -> Result<bool, Failure> {
    let pinned = Chain::pinned(pin, Time::EPOCH).map_err(|error| error.about("the pinned root"))?;
    let name = file_name("root", Some(pinned.version()));
    Ok(place.file(&name, limit::ROOT_BYTES)?.as_deref() == Some(pin))
}
