//! The trusted root that commands judge by, and where it is from.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::failure::Failure;
use crate::limit;
use crate::sigstore::certificate::TrustedRoot;
use crate::store::file::read_limited;
use crate::store::sigstore_dir::{Instance, SigstoreDir};

/// Whom to trust.
#[derive(Clone, Debug, Args)]
pub(super) struct TrustedRootOptions {
    /// The authorities and logs to trust, a trusted_root.json [default: what `initialize` keeps, else the public instance's of this
    /// build]
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    trusted_root: Option<PathBuf>,
}

/// A trusted root, and where it is from.
pub(super) struct Trusted {
    root: TrustedRoot,
    from: From,
}

enum From {
    /// A file that was named.
    File(PathBuf),
    /// What `initialize` keeps.
    Initialized(Instance),
    /// This build.
    Release,
}

/// Names the directory in which `initialize` keeps what it fetched.
pub(super) fn state(context: &Context) -> Result<SigstoreDir, Failure> {
    let dir = context.xdg_dir("STATE", ".local/state")?;
    Ok(SigstoreDir::at(dir.join("sigstore")))
}

/// Reads a trusted root from a file; without one, the public instance's of this build.
pub(in crate::cli) fn read_trusted_root(path: Option<&Path>) -> Result<TrustedRoot, Failure> {
    match path {
        Some(path) => {
            let bytes = read_limited(path, limit::TRUSTED_ROOT_BYTES)?;
            TrustedRoot::parse(&bytes).map_err(|error| Failure::malformed(path.display(), error))
        }
        None => TrustedRoot::public().map_err(|error| Failure::malformed("the public instance's trusted root", error)),
    }
}

impl TrustedRootOptions {
    /// Reads the trusted root: the file, else what is kept, else the public instance's.
    pub(super) fn read(&self, context: &Context) -> Result<Trusted, Failure> {
        if let Some(path) = &self.trusted_root {
            let from = From::File(path.clone());
            let root = read_trusted_root(Some(path))?;
            return Ok(Trusted { root, from });
        }
        match state(context)?.load(context.now()?)? {
            Some(instance) => {
                let root = TrustedRoot::parse(&instance.trusted_root);
                let root = root.map_err(|error| Failure::malformed(&instance.mirror, error))?;
                let from = From::Initialized(instance);
                Ok(Trusted { root, from })
            }
            None => Ok(Trusted {
                root: read_trusted_root(None)?,
                from: From::Release,
            }),
        }
    }
}

impl Trusted {
    /// Returns the root.
    pub(super) fn root(&self) -> &TrustedRoot {
        &self.root
    }

    /// Says which root it is and where it is from, in one line.
    pub(super) fn describe(&self) -> String {
        let digest = self.root.digest();
        match &self.from {
            From::File(path) => format!("{digest}, {}", path.display()),
            From::Initialized(instance) => {
                let (asked, mirror) = (instance.refreshed, &instance.mirror);
                let soonest = instance.metadata.iter().min_by_key(|standing| standing.expires);
                let until = soonest.map(|standing| format!("; its {} expires {}", standing.role, standing.expires));
                format!("{digest}, {mirror} as of {asked}{}", until.unwrap_or_default())
            }
            From::Release => format!("{digest}, sigstore's public instance as of this build"),
        }
    }

    /// Says the same for machines.
    pub(super) fn to_value(&self) -> Value {
        match &self.from {
            From::File(path) => json!({ "kind": "file", "file": path }),
            From::Initialized(instance) => json!({
                "kind": "initialized", "mirror": instance.mirror, "refreshed": instance.refreshed, "metadata": instance.metadata,
            }),
            From::Release => json!({ "kind": "release" }),
        }
    }
}
