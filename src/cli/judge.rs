//! The options of every command that judges: the policy, its trust roots, and the time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Context, policy};
use crate::failure::Failure;
use crate::limit;
use crate::policy::Policy;
use crate::store::TrustDir;
use crate::store::file::read_limited;
use crate::trust::Known;
use crate::verify::{Anchor, Anchors, Metadata};

/// Reads the roots that a policy pins.
pub(super) fn pins(path: &Path, policy: &Policy) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let base = path.parent().unwrap_or(Path::new(""));
    let read = |(name, file): (&str, &str)| Ok((name.to_owned(), read_limited(&base.join(file), limit::POLICY_BYTES)?));
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
        let anchor = |(name, pin): (&String, &Vec<u8>)| {
            let found = collections.iter().find(|dir| has_root(dir, pin));
            let anchor = Anchor {
                pin: pin.clone(),
                metadata: found.map_or(Metadata::Nowhere, |dir| Metadata::Directory(TrustDir::at(dir))),
                known: Known::default(),
            };
            (name.clone(), anchor)
        };
        Ok(pins.iter().map(anchor).collect())
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
