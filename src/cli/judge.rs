//! The options of every command that judges: the policy, its trust roots, and the time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Context, policy};
use crate::failure::Failure;
use crate::limit;
use crate::policy::Policy;
use crate::store::file::read_limited;
use crate::store::{TrustDir, Trusted};
use crate::time::Time;
use crate::trust::Chain;
use crate::verify::{Anchor, Anchors, Metadata};

/// Reads the roots that a policy pins.
pub(super) fn pins(path: &Path, policy: &Policy) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let base = path.parent().unwrap_or(Path::new(""));
    let read = |(name, file): (&str, &str)| {
        let path = base.join(file);
        let pin = read_limited(&path, limit::POLICY_BYTES)?;
        // Told here, as it is the user's own file: below, a collection that does not have it is looked for in vain.
        Chain::pinned(&pin, Time::EPOCH).map_err(|error| error.about(&path.display().to_string()))?;
        Ok((name.to_owned(), pin))
    };
    policy.roots().map(read).collect()
}

/// Reads a policy and the roots that it pins.
pub(super) fn read(path: &Path) -> Result<(Policy, BTreeMap<String, Vec<u8>>), Failure> {
    let policy = policy::read(path)?;
    let pins = pins(path, &policy)?;
    Ok((policy, pins))
}

/// Where the repositories of collections are.
#[derive(Clone, Debug, Args)]
pub(super) struct TrustDirOption {
    /// The directory of collections [default: imgkit/trust in the XDG data directory]
    #[arg(long, value_name = "DIR", env = "IMGKIT_TRUST_DIR")]
    trust_dir: Option<PathBuf>,
    /// Remember here what was last trusted of each collection, and refuse an older state [default: imgkit/trusted in the XDG
    /// state directory]
    #[arg(long, value_name = "DIR", env = "IMGKIT_TRUST_STATE")]
    trust_state: Option<PathBuf>,
}

impl TrustDirOption {
    /// Finds the repository of each pinned root: the collection that has the very file among its roots.
    pub(super) fn anchors(&self, context: &Context, pins: &BTreeMap<String, Vec<u8>>) -> Result<Anchors, Failure> {
        let base = match &self.trust_dir {
            Some(dir) => dir.clone(),
            None => context.xdg_dir("DATA", ".local/share")?.join("trust"),
        };
        let entries = std::fs::read_dir(&base).into_iter().flatten().flatten();
        let mut collections: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        collections.sort();
        let trusted = self.trusted(context)?;
        let anchor = |(name, pin): (&String, &Vec<u8>)| {
            let found = collections.iter().find(|dir| has_root(dir, pin));
            let anchor = Anchor {
                pin: pin.clone(),
                metadata: found.map_or(Metadata::Nowhere, |dir| Metadata::Directory(TrustDir::at(dir))),
                known: trusted.known(pin)?,
            };
            Ok((name.clone(), anchor))
        };
        pins.iter().map(anchor).collect()
    }

    /// Remembers what was trusted at `at`; where it cannot, it says so.
    pub(super) fn remember(&self, context: &Context, anchors: &Anchors, at: Time) -> Result<(), Failure> {
        let trusted = self.trusted(context)?;
        let in_directory = anchors
            .iter()
            .filter(|anchor| matches!(anchor.metadata, Metadata::Directory(_)));
        for anchor in in_directory {
            match trusted.remember(&anchor.pin, &anchor.metadata, at) {
                // A root that no rule needed may be past its time.
                Ok(()) | Err(Failure::Refused(_)) => {}
                Err(failure) => context.warn(&format!(
                    "an older state of the trust metadata would not be noticed next time: {failure}; name another directory \
                     with --trust-state"
                )),
            }
        }
        Ok(())
    }

    fn trusted(&self, context: &Context) -> Result<Trusted, Failure> {
        let dir = match &self.trust_state {
            Some(dir) => dir.clone(),
            None => context.xdg_dir("STATE", ".local/state")?.join("trusted"),
        };
        Ok(Trusted::at(dir))
    }
}

/// Tells whether a collection's directory has this very file among its roots.
fn has_root(dir: &Path, pin: &[u8]) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is_root = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().ends_with(".root.json"))
    };
    let mut roots = entries.map(|entry| entry.path()).filter(is_root);
    roots.any(|path| read_limited(&path, limit::POLICY_BYTES).is_ok_and(|bytes| bytes == pin))
}
