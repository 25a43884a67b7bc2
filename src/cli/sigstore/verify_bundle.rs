//! `imgkit sigstore verify-bundle`: verifies any sigstore bundle, offline, with the command line of sigstore's conformance suite.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::blob::{self, Given};
use super::keys::public_keys;
use crate::attest::Statement;
use crate::cli::passphrase::PassphraseOptions;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::KeySpec;
use crate::limit;
use crate::sigstore::bundle::{Artifact, Bundle, KeyEvidence};
use crate::sigstore::certificate::{CertificateEvidence, Demand, IdentityError, Matcher, Signer, TrustedRoot};
use crate::sigstore::signature::fingerprint;
use crate::store::file::read_limited;

/// Verifies a bundle, by an identity or by key, offline; exit 0 or 1.
#[derive(Debug, Args)]
pub(super) struct VerifyBundle {
    /// What was signed: a file, or sha256:HEX
    artifact: Given,
    /// The bundle
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    #[command(flatten)]
    signer: SignerOptions,
    /// A key whose signatures count: a public key's file, or one that `sign` takes; repeat for several
    #[arg(long, value_name = "KEY")]
    key: Vec<KeySpec>,
    #[command(flatten)]
    passphrase: PassphraseOptions,
    /// The authorities and logs to trust, a trusted_root.json [default: sigstore's public instance]
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    trusted_root: Option<PathBuf>,
    /// How many different transparency logs have to have the signature
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "key")]
    min_logs: NonZeroUsize,
    /// How many different witnesses of the time there have to be: time-stamp authorities, and logs by their promise
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "key")]
    min_times: NonZeroUsize,
}

/// Who is to have signed.
#[derive(Debug, Args)]
struct SignerOptions {
    /// The signer's identity: an address or a URI
    #[arg(long, value_name = "IDENTITY", required_unless_present_any = ["key", "certificate_identity_regexp"], conflicts_with = "key")]
    certificate_identity: Option<String>,
    /// An expression that has to match all of the identity
    #[arg(long, value_name = "REGEXP", conflicts_with_all = ["certificate_identity", "key"])]
    certificate_identity_regexp: Option<String>,
    /// Who vouches for the identity: an OpenID Connect issuer's URL
    #[arg(long, value_name = "URL", required_unless_present_any = ["key", "certificate_oidc_issuer_regexp"], conflicts_with = "key")]
    certificate_oidc_issuer: Option<String>,
    /// An expression that has to match all of the issuer
    #[arg(long, value_name = "REGEXP", conflicts_with_all = ["certificate_oidc_issuer", "key"])]
    certificate_oidc_issuer_regexp: Option<String>,
}

impl SignerOptions {
    /// Returns the signer, if one is named.
    fn signer(&self) -> Result<Option<Signer>, Failure> {
        let identity = matcher(&self.certificate_identity, &self.certificate_identity_regexp);
        let issuer = matcher(&self.certificate_oidc_issuer, &self.certificate_oidc_issuer_regexp);
        let bad = |error: IdentityError| Failure::malformed("--certificate-identity-regexp", error);
        match (identity.map_err(bad)?, issuer.map_err(bad)?) {
            (Some(identity), Some(issuer)) => Ok(Some(Signer::new(identity, issuer))),
            _ => Ok(None),
        }
    }
}

fn matcher(exact: &Option<String>, pattern: &Option<String>) -> Result<Option<Matcher>, IdentityError> {
    match (exact, pattern) {
        (Some(text), _) => Ok(Some(Matcher::Exact(text.clone()))),
        (None, Some(pattern)) => Matcher::pattern(pattern).map(Some),
        (None, None) => Ok(None),
    }
}

impl VerifyBundle {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let signer = self.signer.signer()?;
        let bundle = blob::bundle(&self.bundle)?;
        let held = self.artifact.read()?;
        match signer {
            Some(signer) => self.by_identity(context, &bundle, held.artifact(), &signer),
            None => {
                let keys = public_keys(&self.key, &self.passphrase, context)?;
                let verified = bundle.verify_with_keys(held.artifact(), &keys);
                let evidence = verified.map_err(|refused| refused.refusal(&self.artifact))?;
                Ok(self.key_report(&bundle, &evidence))
            }
        }
    }

    fn by_identity(
        &self,
        context: &Context,
        bundle: &Bundle,
        artifact: Artifact<'_>,
        signer: &Signer,
    ) -> Result<Report, Failure> {
        let root = trusted_root(self.trusted_root.as_deref())?;
        let demand = Demand {
            logs: self.min_logs,
            times: self.min_times,
        };
        let verified = bundle.verify_with_certificate(artifact, &root, signer, demand, context.now()?);
        let evidence = verified.map_err(|refused| refused.refusal(&self.artifact))?;
        Ok(self.identity_report(&root, &evidence))
    }

    fn key_report(&self, bundle: &Bundle, evidence: &KeyEvidence) -> Report {
        let key = fingerprint(evidence.key());
        let mut text = format!("VERIFIED {}\n  key        {key}\n", self.artifact);
        describe(&mut text, evidence.statement());
        let unread = bundle.entries().len() + bundle.timestamps().len();
        if unread > 0 {
            let _ = writeln!(
                text,
                "  not looked at: {unread} log entries and time stamps; a key needs none"
            );
        }
        let json = json!({ "artifact": self.artifact.to_string(), "key": key, "predicateType": predicate(evidence.statement()) });
        Report::new(text, json)
    }

    fn identity_report(&self, root: &TrustedRoot, evidence: &CertificateEvidence) -> Report {
        let mut text = format!("VERIFIED {}\n", self.artifact);
        let _ = writeln!(
            text,
            "  identity   {}\n  issuer     {}",
            evidence.identity(),
            evidence.issuer()
        );
        describe(&mut text, evidence.statement());
        for entry in evidence.entries() {
            let _ = writeln!(text, "  logged     {} at {} ({})", entry.log, entry.index, entry.kind);
        }
        for time in evidence.times() {
            let _ = writeln!(text, "  signed     {}, says {}", time.time, time.by);
        }
        let _ = writeln!(text, "  trusted    {}", root.digest());
        let json = json!({
            "artifact": self.artifact.to_string(), "identity": evidence.identity(), "issuer": evidence.issuer(),
            "certificate": evidence.certificate(), "entries": evidence.entries(), "times": evidence.times(),
            "predicateType": predicate(evidence.statement()), "trustedRoot": root.digest(),
        });
        Report::new(text, json)
    }
}

fn trusted_root(path: Option<&Path>) -> Result<TrustedRoot, Failure> {
    match path {
        Some(path) => {
            let bytes = read_limited(path, limit::TRUSTED_ROOT_BYTES)?;
            TrustedRoot::parse(&bytes).map_err(|error| Failure::malformed(path.display(), error))
        }
        None => TrustedRoot::public().map_err(|error| Failure::malformed("the public instance's trusted root", error)),
    }
}

fn describe(text: &mut String, statement: Option<&Statement>) {
    if let Some(statement) = statement {
        let _ = writeln!(text, "  states     {}", statement.predicate_type());
    }
}

fn predicate(statement: Option<&Statement>) -> Value {
    statement.map_or(Value::Null, |statement| json!(statement.predicate_type()))
}
