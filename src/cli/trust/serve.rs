//! `imgkit trust serve`: the Notary server's HTTP API.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::TrustOptions;
use crate::cli::{Context, OutputFormat, Report};
use crate::failure::Failure;
use crate::key::{Algorithm, TokenPlace};
use crate::limit;
use crate::store::file::read_limited;
use crate::store::notary_server::{Bound, Clock, Options, StoreOptions, TokenOptions};
use crate::store::pkcs11::TokenKeys;

/// Serves collections to `notary` and `docker trust`, until SIGTERM or SIGINT.
///
/// With --at the server's clock stands at that time when it starts, and goes on from there.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to listen; port 0 is any that is free, and is printed
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4443")]
    listen: SocketAddr,
    /// Where collections and keys are kept: a directory, or postgres://USER@HOST:PORT/DATABASE (password: PGPASSWORD)
    /// [default: imgkit/notary-server in the XDG data directory]
    #[arg(long = "store", value_name = "DIR|URL", env = "IMGKIT_TRUST_STORE")]
    store: Option<String>,
    /// Certificates (PEM) that the database's certificate is checked against; needed where it is on another machine
    #[arg(long, value_name = "FILE")]
    store_ca: Option<PathBuf>,
    /// The server's certificate, and those between it and its root (PEM); without it plain HTTP, on the loopback only
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// What kind of timestamp and snapshot keys to make: p256, as notary-signer does, or ed25519
    #[arg(long, value_name = "ALGORITHM", default_value = "p256", value_parser = key_algorithm)]
    key_algorithm: Algorithm,
    /// Make timestamp and snapshot keys in this PKCS#11 token, which they never leave: pkcs11:token=NAME?module-path=LIBRARY
    /// [default: they are kept sealed in the store]
    #[arg(long, value_name = "pkcs11:URI")]
    key_store: Option<TokenPlace>,
    /// Serve only collections whose names begin so
    #[arg(long, value_name = "PREFIX")]
    gun_prefix: Vec<String>,
    /// Let in only who brings a token from this URL; without it everybody may do everything
    #[arg(long, value_name = "URL", requires_all = ["auth_service", "auth_issuer", "auth_root_cert"])]
    auth_realm: Option<String>,
    /// This server's name in tokens
    #[arg(long, value_name = "NAME", requires = "auth_realm")]
    auth_service: Option<String>,
    /// The token server's name in tokens
    #[arg(long, value_name = "NAME", requires = "auth_realm")]
    auth_issuer: Option<String>,
    /// Certificates (PEM) that tokens' keys stand in or chain up to
    #[arg(long, value_name = "FILE", requires = "auth_realm")]
    auth_root_cert: Option<PathBuf>,
}

fn key_algorithm(name: &str) -> Result<Algorithm, String> {
    match name.parse() {
        Ok(algorithm @ (Algorithm::P256 | Algorithm::Ed25519)) => Ok(algorithm),
        _ => Err("expected p256 or ed25519".to_owned()),
    }
}

impl Serve {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let options = self.options(context, options)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::unavailable("the network", error))?;
        let served = runtime.block_on(async {
            // Signals are watched before anybody knows that the server is there.
            let stop = stop_signal()?;
            let bound = Bound::new(options).await?;
            announce(context, &bound)?;
            bound.serve(stop).await;
            Ok(())
        });
        runtime.shutdown_timeout(limit::SHUTDOWN_GRACE);
        served.map(|()| Report::new("", json!({ "stopped": true })))
    }

    fn options(&self, context: &Context, options: &TrustOptions) -> Result<Options, Failure> {
        let store = match &self.store {
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => StoreOptions::Postgres {
                url: url.clone(),
                password: context.first_secret(&["PGPASSWORD"]),
                ca: self
                    .store_ca
                    .as_deref()
                    .map(|file| read_limited(file, limit::CERTIFICATE_BYTES))
                    .transpose()?,
            },
            _ if self.store_ca.is_some() => {
                let problem = "it is for a database's certificate; give --store postgres://USER@HOST:PORT/DATABASE";
                return Err(Failure::malformed("--store-ca", problem));
            }
            Some(dir) => StoreOptions::Directory(dir.into()),
            None => StoreOptions::Directory(context.xdg_dir("DATA", ".local/share")?.join("notary-server")),
        };
        let tokens = match (
            &self.auth_realm,
            &self.auth_service,
            &self.auth_issuer,
            &self.auth_root_cert,
        ) {
            (Some(realm), Some(service), Some(issuer), Some(file)) => Some(TokenOptions {
                realm: realm.clone(),
                service: service.clone(),
                issuer: issuer.clone(),
                roots: read_limited(file, limit::CERTIFICATE_BYTES)?,
            }),
            _ => None,
        };
        let (began, at) = (Instant::now(), options.at());
        let clock = context.clone();
        let now = move || match at {
            Some(at) => Ok(at.plus(i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX))),
            None => clock.now(),
        };
        let secrets = options.secrets(context);
        let token = self.key_store.clone().map(|place| TokenKeys::open(place, &secrets));
        let token = token.transpose()?.map(Arc::new);
        let passphrase = match &token {
            Some(_) => options.passphrase().given(context)?,
            None => Some(options.passphrase().existing(context)?),
        };
        let talker = context.clone();
        Ok(Options {
            listen: self.listen,
            store,
            tls: self.tls_cert.clone().zip(self.tls_key.clone()),
            passphrase,
            token,
            algorithm: self.key_algorithm,
            tokens,
            prefixes: self.gun_prefix.clone(),
            clock: Clock {
                now: Arc::new(now),
                elapsed: Arc::new(move || began.elapsed()),
            },
            log: Arc::new(move |text| talker.say(text)),
        })
    }
}

/// Says where clients can connect to, in one line; programs that start the server wait for it.
fn announce(context: &Context, bound: &Bound) -> Result<(), Failure> {
    let (scheme, address) = (if bound.is_tls() { "https" } else { "http" }, bound.address());
    let line = match context.output() {
        OutputFormat::Text => format!("{scheme}://{address}"),
        OutputFormat::Json => {
            json!({ "listening": address.to_string(), "url": format!("{scheme}://{address}") }).to_string()
        }
    };
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.map_err(|error| Failure::unavailable("standard output", error))
}

/// Waits for SIGTERM or SIGINT from now on.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let watch = |kind| signal(kind).map_err(|error| Failure::unavailable("signals", error));
    let (mut terminate, mut interrupt) = (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
