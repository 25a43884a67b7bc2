//! Who signs: a key, or an identity that a token proves.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use super::keys::open;
use super::trusted::{Trusted, TrustedRootOptions, state};
use crate::cli::Context;
use crate::cli::passphrase::PassphraseOptions;
use crate::cli::web::WebArgs;
use crate::failure::Failure;
use crate::key::{KeySpec, Signer as KeySigner};
use crate::limit;
use crate::sigstore::bundle::Bundle;
use crate::sigstore::certificate::{CertificateEvidence, Demand, Matcher, Signer};
use crate::sigstore::keyless::{IdentityToken, LogApi, Service, SigningConfig};
use crate::store::file::read_limited;
use crate::store::sigstore_services::{Signing, SigstoreServices, Unsigned};

/// Where cosign looks for a token.
const TOKEN_VARIABLE: &str = "SIGSTORE_ID_TOKEN";

/// The key or the identity that signs.
#[derive(Clone, Debug, Args)]
pub(super) struct SigningOptions {
    /// The private key: a file of openssl, cosign or imgkit, pkcs11:URI or plugin:COMMAND:KEYNAME
    #[arg(long, value_name = "KEY")]
    key: Option<KeySpec>,
    #[command(flatten)]
    passphrase: PassphraseOptions,
    #[command(flatten)]
    identity: IdentityOptions,
}

/// By whom an identity is certified, and who it has to be.
#[derive(Clone, Debug, Args)]
struct IdentityOptions {
    /// Sign by the identity that this OpenID Connect token proves: a file, `-` for standard input, or env:VARIABLE
    /// [default without --key: env:SIGSTORE_ID_TOKEN]
    #[arg(long, value_name = "SOURCE", conflicts_with = "key")]
    identity_token: Option<String>,
    /// Whom the certificate has to name [default: who the token says]
    #[arg(
        long,
        value_name = "IDENTITY",
        conflicts_with = "key",
        requires = "certificate_oidc_issuer"
    )]
    certificate_identity: Option<String>,
    /// Who has to vouch for that identity: an OpenID Connect issuer's URL
    #[arg(long, value_name = "URL", conflicts_with = "key", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// Which services sign, a signing_config.v0.2.json [default: the one that `initialize` keeps]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "fulcio_url", "rekor_url", "timestamp_url"])]
    signing_config: Option<PathBuf>,
    /// The certificate authority
    #[arg(long, value_name = "URL", conflicts_with = "key", requires = "rekor_url")]
    fulcio_url: Option<String>,
    /// The transparency log
    #[arg(long, value_name = "URL", conflicts_with = "key", requires = "fulcio_url")]
    rekor_url: Option<String>,
    /// The version of the log's interface: 1, or 2, which needs --timestamp-url
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=2))]
    rekor_version: u8,
    /// The time-stamp authority
    #[arg(
        long,
        value_name = "URL",
        alias = "timestamp-server-url",
        conflicts_with = "key",
        requires = "fulcio_url"
    )]
    timestamp_url: Option<String>,
    #[command(flatten)]
    trusted: TrustedRootOptions,
    #[command(flatten)]
    web: WebArgs,
}

/// Who signs, ready to.
pub(super) enum Author {
    /// Whoever holds a key.
    Key(Box<dyn KeySigner>),
    /// Whom a token proves.
    Identity(Box<Identity>),
}

/// An identity, and the services that certify it.
pub(super) struct Identity {
    token: IdentityToken,
    signer: Signer,
    services: SigstoreServices,
    trusted: Trusted,
}

impl SigningOptions {
    /// Opens the key, or reads the token.
    pub(super) fn author(&self, context: &Context) -> Result<Author, Failure> {
        if let Some(spec) = &self.key {
            let key = open(spec, &self.passphrase, context)?;
            let problem = "this is a public key; give the private one, or where it is";
            let signer = key.into_signer().ok_or_else(|| Failure::malformed(spec, problem))?;
            return Ok(Author::Key(signer));
        }
        let identity = self.identity.read(context)?;
        Ok(Author::Identity(Box::new(identity)))
    }
}

impl IdentityOptions {
    fn read(&self, context: &Context) -> Result<Identity, Failure> {
        let bad = |error: &dyn std::fmt::Display| Failure::malformed("the identity token", error);
        let token = self.token(context)?;
        let token = IdentityToken::parse(&token).map_err(|error| bad(&error))?;
        let now = context.now()?;
        token.check_not_expired(now).map_err(|error| bad(&error))?;
        let signer = match (&self.certificate_identity, &self.certificate_oidc_issuer) {
            (Some(identity), Some(issuer)) => {
                Signer::new(Matcher::Exact(identity.clone()), Matcher::Exact(issuer.clone()))
            }
            _ => token.signer().map_err(|error| bad(&error))?,
        };
        Ok(Identity {
            token,
            signer,
            services: SigstoreServices::new(&self.services(context)?, &self.web.options())?,
            trusted: self.trusted.read(context)?,
        })
    }

    fn token(&self, context: &Context) -> Result<Zeroizing<String>, Failure> {
        let bytes = match self.identity_token.as_deref() {
            None => {
                let problem = format!("name one, or give --identity-token or {TOKEN_VARIABLE} for an identity to sign");
                let token = context.first_secret(&[TOKEN_VARIABLE]);
                return token.ok_or_else(|| Failure::malformed("--key", problem));
            }
            Some(text) if text.starts_with("eyJ") && text.matches('.').count() == 2 => {
                let problem = "this is the token itself, and others can read it in the list of processes; put it into a file, or into \
                               an environment variable and say env:VARIABLE";
                return Err(Failure::malformed("--identity-token", problem));
            }
            Some("-") => {
                let mut bytes = Zeroizing::new(Vec::with_capacity(limit::IDENTITY_TOKEN_BYTES + 1));
                let stdin = std::io::stdin().lock().take(limit::IDENTITY_TOKEN_BYTES as u64 + 1);
                let read = { stdin }.read_to_end(&mut bytes);
                read.map_err(|error| Failure::unavailable("standard input", error))?;
                bytes
            }
            Some(text) => match text.strip_prefix("env:") {
                Some(variable) => {
                    let token = context.first_secret(&[variable]);
                    let absent = || Failure::malformed(text, "the variable is not set");
                    return token.ok_or_else(absent);
                }
                None => Zeroizing::new(read_limited(Path::new(text), limit::IDENTITY_TOKEN_BYTES)?),
            },
        };
        let text = std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned()));
        text.map_err(|_| Failure::malformed("the identity token", "it is no text"))
    }

    fn services(&self, context: &Context) -> Result<SigningConfig, Failure> {
        let now = context.now()?;
        if let (Some(fulcio), Some(rekor)) = (&self.fulcio_url, &self.rekor_url) {
            let api = if self.rekor_version == 2 {
                LogApi::V2
            } else {
                LogApi::V1
            };
            let log = Service {
                url: rekor.clone(),
                api,
            };
            return Ok(SigningConfig {
                authority: fulcio.clone(),
                logs: vec![log],
                stamps: self.timestamp_url.iter().cloned().collect(),
            });
        }
        let (name, bytes) = match &self.signing_config {
            Some(path) => (
                path.display().to_string(),
                read_limited(path, limit::TRUSTED_ROOT_BYTES)?,
            ),
            None => {
                let kept = state(context)?.load(now)?;
                let kept = kept.and_then(|instance| Some((instance.mirror, instance.signing_config?)));
                let problem = "name --fulcio-url and --rekor-url, or a --signing-config, or fetch one with `imgkit sigstore initialize`";
                kept.ok_or_else(|| Failure::malformed("the services that sign", problem))?
            }
        };
        SigningConfig::parse(&bytes, now).map_err(|error| Failure::malformed(name, error))
    }
}

impl Identity {
    /// Returns by whom the bundle is verified.
    pub(super) fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// Signs with a new key, has it certified, logged and stamped, and verifies what came of it.
    pub(super) fn sign(
        &self,
        context: &Context,
        subject: &str,
        what: Unsigned<'_>,
    ) -> Result<(Bundle, CertificateEvidence), Failure> {
        let signing = Signing {
            token: &self.token,
            signer: &self.signer,
            root: self.trusted.root(),
            demand: Demand::default(),
        };
        self.services.sign(subject, what, signing, &|| context.now())
    }
}
