//! The options of commands that ask web servers.

use std::path::PathBuf;

use clap::Args;

use crate::store::http::WebOptions;

/// How web servers are reached.
#[derive(Clone, Debug, Args)]
pub(super) struct WebArgs {
    /// Certificates in PEM to trust beside the system's; may be given again
    #[arg(long = "ca-cert", value_name = "FILE", global = true)]
    ca_certs: Vec<PathBuf>,
    /// Speak plain HTTP off this machine: anybody on the way can withhold what is new
    #[arg(long, global = true)]
    unsafe_plain_http: bool,
}

impl WebArgs {
    /// Returns them as the store takes them.
    pub(super) fn options(&self) -> WebOptions {
        WebOptions {
            ca_certs: self.ca_certs.clone(),
            unsafe_plain_http: self.unsafe_plain_http,
            ..WebOptions::default()
        }
    }
}
