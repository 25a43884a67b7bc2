//! Who is to have signed a bundle, by key or by identity, and the judgement of it.

use std::fmt::Write as _;
use std::num::NonZeroUsize;

use clap::Args;
use serde_json::{Value, json};

use super::keys::public_keys;
use super::trusted::{Trusted, TrustedRootOptions};
use crate::attest::Statement;
use crate::cli::passphrase::PassphraseOptions;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::{KeySpec, PublicKey};
use crate::sigstore::attachment::By;
use crate::sigstore::bundle::{Artifact, Bundle, KeyEvidence};
use crate::sigstore::certificate::{CertificateEvidence, Demand, IdentityError, Matcher, Signer};
use crate::sigstore::signature::fingerprint;
use crate::time::Time;

/// The keys or the identity that count.
#[derive(Debug, Args)]
pub(super) struct VerifierOptions {
    #[command(flatten)]
    signer: SignerOptions,
    /// A key whose signatures count: a public key's file, or one that `sign` takes; repeat for several
    #[arg(long, value_name = "KEY")]
    key: Vec<KeySpec>,
    #[command(flatten)]
    passphrase: PassphraseOptions,
    #[command(flatten)]
    trusted: TrustedRootOptions,
    /// How many different transparency logs have to have the signature
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "key")]
    min_logs: NonZeroUsize,
    /// How many different witnesses of the time there have to be: time-stamp authorities, and logs by their promise
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "key")]
    min_times: NonZeroUsize,
}

/// What counts, read.
pub(super) enum Verifier {
    /// A signature by one of these keys.
    Keys(Vec<PublicKey>),
    /// One by this identity, under this root, with so many witnesses.
    Identity(Box<Trusted>, Signer, Demand),
}

/// Who is to have signed.
#[derive(Debug, Args)]
struct SignerOptions {
    /// The signer's identity: an address or a URI
    #[arg(long, value_name = "IDENTITY", conflicts_with = "key")]
    certificate_identity: Option<String>,
    /// An expression that has to match all of the identity
    #[arg(long, value_name = "REGEXP", conflicts_with_all = ["certificate_identity", "key"])]
    certificate_identity_regexp: Option<String>,
    /// Who vouches for the identity: an OpenID Connect issuer's URL
    #[arg(long, value_name = "URL", conflicts_with = "key")]
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
            (None, None) => Ok(None),
            (Some(_), None) => Err(Failure::malformed(
                "--certificate-oidc-issuer",
                "say who has to vouch for the identity: anybody can, for any name",
            )),
            (None, Some(_)) => Err(Failure::malformed(
                "--certificate-identity",
                "say which identity it has to be: the issuer vouches for everybody who has an account there",
            )),
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

impl VerifierOptions {
    /// Reads the keys, or the trusted root.
    pub(super) fn read(&self, context: &Context) -> Result<Verifier, Failure> {
        let problem = "name a key, or --certificate-identity and --certificate-oidc-issuer";
        let given = self.read_if_any(context)?;
        given.ok_or_else(|| Failure::malformed("--key", problem))
    }

    /// Reads them, if any are named.
    pub(super) fn read_if_any(&self, context: &Context) -> Result<Option<Verifier>, Failure> {
        let Some(signer) = self.signer.signer()? else {
            let keys = public_keys(&self.key, &self.passphrase, context)?;
            return Ok(Some(keys).filter(|keys| !keys.is_empty()).map(Verifier::Keys));
        };
        let demand = Demand {
            logs: self.min_logs,
            times: self.min_times,
        };
        let trusted = Box::new(self.trusted.read(context)?);
        Ok(Some(Verifier::Identity(trusted, signer, demand)))
    }
}

impl Verifier {
    /// Says who has to have signed something beside an image.
    pub(super) fn by(&self, now: Time) -> By<'_> {
        match self {
            Self::Keys(keys) => By::Keys(keys),
            Self::Identity(trusted, signer, demand) => By::Identity {
                signer,
                root: trusted.root(),
                demand: *demand,
                now,
            },
        }
    }

    /// Returns the trusted root, where an identity is asked for.
    pub(super) fn trusted(&self) -> Option<&Trusted> {
        match self {
            Self::Keys(_) => None,
            Self::Identity(trusted, ..) => Some(trusted),
        }
    }

    /// Judges a bundle over `artifact`, which people know as `subject`.
    pub(super) fn judge(
        &self,
        subject: &str,
        bundle: &Bundle,
        artifact: Artifact<'_>,
        now: Time,
    ) -> Result<Report, Failure> {
        match self {
            Self::Keys(keys) => {
                let verified = bundle.verify_with_keys(artifact, keys);
                let evidence = verified.map_err(|refused| refused.refusal(subject))?;
                Ok(key_report(subject, bundle, &evidence))
            }
            Self::Identity(trusted, signer, demand) => {
                let verified = bundle.verify_with_certificate(artifact, trusted.root(), signer, *demand, now);
                let evidence = verified.map_err(|refused| refused.refusal(subject))?;
                Ok(identity_report(subject, trusted, &evidence))
            }
        }
    }
}

fn key_report(subject: &str, bundle: &Bundle, evidence: &KeyEvidence) -> Report {
    let key = fingerprint(evidence.key());
    let mut text = format!("VERIFIED {subject}\n  key        {key}\n");
    describe(&mut text, evidence.statement());
    let unread = bundle.entries().len() + bundle.timestamps().len();
    if unread > 0 {
        let _ = writeln!(
            text,
            "  not looked at: {unread} log entries and time stamps; a key needs none"
        );
    }
    let json = json!({ "artifact": subject, "key": key, "signed": signed(evidence.statement()) });
    Report::new(text, json)
}

fn identity_report(subject: &str, trusted: &Trusted, evidence: &CertificateEvidence) -> Report {
    let text = format!("VERIFIED {subject}\n{}", identity_text(trusted, evidence));
    let mut json = json!({ "artifact": subject });
    add_identity(&mut json, trusted, evidence);
    Report::new(text, json)
}

/// Says in lines who signed, and by whose word.
pub(super) fn identity_text(trusted: &Trusted, evidence: &CertificateEvidence) -> String {
    let mut text = format!(
        "  identity   {}\n  issuer     {}\n",
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
    let _ = writeln!(text, "  trusted    {}", trusted.describe());
    text
}

/// Says the same for machines, in members of `json`.
pub(super) fn add_identity(json: &mut Value, trusted: &Trusted, evidence: &CertificateEvidence) {
    let found = json!({
        "identity": evidence.identity(), "issuer": evidence.issuer(), "certificate": evidence.certificate(),
        "entries": evidence.entries(), "times": evidence.times(), "signed": signed(evidence.statement()),
        "trustedRoot": trusted.root().digest(), "trustedRootFrom": trusted.to_value(),
    });
    if let (Some(members), Value::Object(found)) = (json.as_object_mut(), found) {
        members.extend(found);
    }
}

fn describe(text: &mut String, statement: Option<&Statement>) {
    if let Some(statement) = statement {
        let _ = writeln!(text, "  states     {}", statement.predicate_type());
    }
}

/// Says what a statement states, where one was signed and not the file alone.
fn signed(statement: Option<&Statement>) -> Value {
    statement.map_or(
        Value::Null,
        |statement| json!({ "predicateType": statement.predicate_type() }),
    )
}
