//! The options of the commands that ask the gate about images, and what it takes to answer.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::Context;
use super::super::build::resolver;
use super::super::judge::{EnvironmentOption, TrustDirOption};
use super::super::store::{StoreOptions, host_platform};
use crate::build::FromStore;
use crate::failure::Failure;
use crate::oci::Platform;
use crate::policy::Policy;
use crate::store::Resolver;
use crate::store::derived::Derived;
use crate::time::Time;
use crate::verify::{Anchors, Gate, Pins};

/// Which policy, and which overlay of it.
#[derive(Debug, Args)]
pub(super) struct PolicyOption {
    /// The policy
    #[arg(
        long,
        value_name = "FILE",
        env = "IMGKIT_POLICY",
        default_value = "policy/release.yml"
    )]
    policy: PathBuf,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl PolicyOption {
    /// Returns the policy's file.
    pub(super) fn path(&self) -> &Path {
        &self.policy
    }

    /// Reads the policy and the files that it names.
    pub(super) fn read(&self) -> Result<(Policy, Pins), Failure> {
        self.environment.read(&self.policy)
    }
}

/// By what images are judged, and where they are.
#[derive(Debug, Args)]
pub(super) struct GateOptions {
    #[command(flatten)]
    policy: PolicyOption,
    /// The time at which an image is judged [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
    /// The image's architecture, as OCI names it [default: this machine's]
    #[arg(long)]
    arch: Option<String>,
    /// Ask no registry
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    pub(super) trust: TrustDirOption,
    #[command(flatten)]
    store: StoreOptions,
}

/// What the options name, read.
pub(super) struct Ready {
    pub(super) policy: Policy,
    pub(super) pins: Pins,
    pub(super) anchors: Anchors,
    pub(super) at: Time,
    pub(super) platform: Platform,
    pub(super) source: Resolver,
    derived: Derived,
}

impl GateOptions {
    /// Reads the policy and the files that it names.
    pub(super) fn policy(&self) -> Result<(Policy, Pins), Failure> {
        self.policy.read()
    }

    /// Tells whether the time is one that was chosen.
    pub(super) fn is_of_another_time(&self) -> bool {
        self.at.is_some()
    }

    /// Reads the policy, finds its collections, and opens the store.
    pub(super) fn ready(&self, context: &Context) -> Result<Ready, Failure> {
        let (policy, pins) = self.policy()?;
        let at = self.at.map_or_else(|| context.now(), Ok)?;
        let anchors = self.trust.anchors(context, &pins)?;
        let platform = match &self.arch {
            Some(arch) => Platform::new("linux", &**arch),
            None => host_platform(),
        };
        let layout = self.store.open(context)?;
        Ok(Ready {
            derived: Derived::new(layout.dir().join("derived"), context.scratch_dir()),
            source: resolver(context, &self.store, self.offline)?,
            policy,
            pins,
            anchors,
            at,
            platform,
        })
    }
}

impl Ready {
    /// Has registries say what tags stand for now.
    pub(super) fn asking_first(self) -> Self {
        Self {
            source: self.source.asking_first(),
            ..self
        }
    }

    /// Returns the gate.
    pub(super) fn gate(&self) -> Gate<'_> {
        Gate {
            policy: &self.policy,
            anchors: &self.anchors,
            at: self.at,
            platform: &self.platform,
        }
    }

    /// Offers images to the gate.
    pub(super) fn supply(&self) -> FromStore<'_> {
        FromStore::new(&self.source, &self.derived, None)
    }
}
