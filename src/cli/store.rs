//! The options of every command that reads or writes the local store.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Context;
use crate::failure::Failure;
use crate::oci::Platform;
use crate::store::Progress;
use crate::store::layout::Layout;
use crate::store::registry::{Credentials, Registry};

/// Where images are.
#[derive(Clone, Debug, Args)]
pub(super) struct StoreOptions {
    /// The local store, an OCI layout [default: imgkit/store in the XDG cache directory]
    #[arg(long, global = true, value_name = "DIR", env = "IMGKIT_STORE")]
    store: Option<PathBuf>,
}

impl StoreOptions {
    /// Opens the store; the default one is made when it is missing, and so is one that is named.
    pub(super) fn open(&self, context: &Context) -> Result<Layout, Failure> {
        let dir = match &self.store {
            Some(dir) => dir.clone(),
            None => context.xdg_dir("CACHE", ".cache")?.join("store"),
        };
        Layout::open_or_create(dir)
    }
}

/// Makes a client for registries with this user's credentials.
pub(super) fn registry(context: &Context) -> Result<Registry, Failure> {
    Registry::new(Credentials::in_files(context.credential_files()))
}

/// The platform of one who names none: Linux on this machine's architecture.
pub(super) fn host_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform::new("linux", architecture)
}

/// A bar on standard error; nothing where that is no terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn on_terminal(what: &'static str) -> Self {
        // `stderr()` draws on a terminal only.
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {bytes_per_sec}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self(bar)
    }
}

impl Progress for Bar {
    fn expect(&self, bytes: u64) {
        self.0.inc_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
