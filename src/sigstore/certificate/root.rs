//! Whom to trust: certificate authorities, transparency logs and time-stamp authorities (`trusted_root.json`).

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sigstore_verify::Verifier;
use sigstore_verify::trust_root as theirs;
use sigstore_verify::types::{TimeRange, TsaAuthority};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::crypto;
use crate::digest::Digest;
use crate::json::{self, JsonError, Limits};
use crate::limit;
use crate::time::Time;

/// The media types of trusted roots that are read.
const MEDIA_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot+json;version=0.2",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];

/// Authorities and logs with the times in which they count.
pub struct TrustedRoot {
    digest: Digest,
    parts: theirs::TrustedRoot,
    verifier: Verifier,
}

impl TrustedRoot {
    /// Reads a `trusted_root.json`.
    ///
    /// # Errors
    /// [`TrustedRootError`] when it is too long, not of the form, has no certificate authority or log, or a key or certificate in it is
    /// none.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustedRootError> {
        let value = json::parse(bytes, Limits::integers(limit::TRUSTED_ROOT_BYTES))?;
        let media_type = value
            .get("mediaType")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        if !MEDIA_TYPES.contains(&media_type) {
            return Err(TrustedRootError::MediaType(media_type.chars().take(100).collect()));
        }
        let parts = theirs::TrustedRoot::from_json(&value.to_string());
        let mut parts = parts.map_err(|error| TrustedRootError::Form(error.to_string()))?;
        for authority in &mut parts.certificate_authorities {
            let chain = authority.cert_chain.certificates.iter();
            authority.valid_for = narrowed(authority.valid_for, chain.map(|one| one.raw_bytes.as_bytes()))?;
        }
        for authority in &mut parts.timestamp_authorities {
            let chain = authority.cert_chain.certificates.iter();
            authority.valid_for = narrowed(authority.valid_for, chain.map(|one| one.raw_bytes.as_bytes()))?;
        }
        Self::of(Digest::sha256(bytes), parts)
    }

    /// Returns the root of sigstore's public instance, as of the release of `sigstore-verify`.
    ///
    /// # Errors
    /// As [`TrustedRoot::parse`]; none, as tests show.
    pub fn public() -> Result<Self, TrustedRootError> {
        Self::parse(theirs::SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
    }

    fn of(digest: Digest, parts: theirs::TrustedRoot) -> Result<Self, TrustedRootError> {
        crypto::install();
        if parts.certificate_authorities.is_empty() || parts.tlogs.is_empty() {
            let problem = "it has no certificate authority, or no transparency log";
            return Err(TrustedRootError::Form(problem.to_owned()));
        }
        let mut keys = BTreeSet::new();
        let mut logs = parts.tlogs.iter();
        if let Some(again) = logs.find(|log| !keys.insert(log.public_key.raw_bytes.as_bytes())) {
            let url = again.base_url.escape_debug();
            let problem =
                format!("the key of the transparency log {url} is another's as well; logs are counted by their keys");
            return Err(TrustedRootError::Form(problem));
        }
        let verifier = Verifier::new(&parts).map_err(|error| TrustedRootError::Form(error.to_string()))?;
        Ok(Self {
            digest,
            parts,
            verifier,
        })
    }

    /// Returns the digest of the file.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Returns the log with an id.
    pub(super) fn log(&self, id: &[u8]) -> Option<&theirs::TransparencyLog> {
        let id = STANDARD.encode(id);
        self.parts.tlogs.iter().find(|log| log.log_id.key_id.to_string() == id)
    }

    /// Returns the time-stamp authorities, each with its name.
    pub(super) fn authorities(&self) -> impl Iterator<Item = (String, TsaAuthority)> {
        self.parts
            .timestamp_authorities
            .iter()
            .enumerate()
            .filter_map(|(at, authority)| {
                let name = authority.uri.clone().or_else(|| authority.subject.common_name.clone());
                let name = name.unwrap_or_else(|| format!("time-stamp authority {}", at + 1));
                let chain: Vec<_> = authority
                    .cert_chain
                    .certificates
                    .iter()
                    .map(|entry| entry.raw_bytes.clone())
                    .collect();
                let (leaf, root) = (chain.first()?.clone(), chain.last()?.clone());
                let between = chain.get(1..chain.len() - 1).unwrap_or_default().to_vec();
                Some((name, TsaAuthority::new(leaf, between, root, authority.valid_for)))
            })
    }
}

/// Narrows the time in which an authority counts to that in which each of its certificates is valid: path validation does not look at
/// the times of trust anchors, and all of a chain are anchors.
fn narrowed<'a>(
    window: Option<TimeRange>,
    chain: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<TimeRange>, TrustedRootError> {
    let bad = |error: &dyn std::fmt::Display| TrustedRootError::Form(format!("a certificate of an authority: {error}"));
    let mut narrowed = window;
    for der in chain {
        let certificate = Certificate::from_der(der).map_err(|error| bad(&error))?;
        let validity = certificate.tbs_certificate().validity();
        let text = |time: &x509_cert::time::Time| Time::from_unix(time.to_unix_duration().as_secs().cast_signed());
        let from = text(&validity.not_before).map_err(|error| bad(&error))?.to_string();
        let until = text(&validity.not_after).map_err(|error| bad(&error))?.to_string();
        let own = TimeRange::new(
            from.parse().map_err(|error| bad(&error))?,
            Some(until.parse().map_err(|error| bad(&error))?),
        );
        let end = |window: TimeRange| window.end.into_iter().chain(own.end).min();
        narrowed = Some(narrowed.map_or(own, |window| TimeRange::new(window.start.max(own.start), end(window))));
    }
    Ok(narrowed)
}

impl std::fmt::Debug for TrustedRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrustedRoot({})", self.digest)
    }
}

/// Bytes that are no trusted root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustedRootError {
    /// A part is not as it should be.
    #[error("no trusted root of sigstore: {0}")]
    Form(String),
    /// They are not the JSON that they should be.
    #[error("no trusted root of sigstore: {0}")]
    Json(#[from] JsonError),
    /// They are something else.
    #[error("the media type is `{}`, expected a trusted root of sigstore, version 0.1 or 0.2", .0.escape_debug())]
    MediaType(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_public_root_is_one() {
        let root = TrustedRoot::public().unwrap();
        assert!(root.authorities().count() > 0);
        let id = root.parts.tlogs.first().unwrap().log_id.key_id.to_string();
        assert!(root.log(&STANDARD.decode(id).unwrap()).is_some());
        assert!(root.log(&[0; 32]).is_none());
    }

    #[test]
    fn refuses_what_is_none() {
        let good = theirs::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
        for (from, to) in [
            ("trustedroot+json;version=0.1", "trustedroot+json;version=9"),
            ("\"mediaType\"", "\"mediaType\":\"x\",\"mediaType\""),
            ("\"certificateAuthorities\"", "\"certificateAuthorities\":[],\"x\""),
            ("\"tlogs\"", "\"tlogs\":[],\"x\""),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good, "{from}");
            assert!(TrustedRoot::parse(changed.as_bytes()).is_err(), "{from}");
        }
        assert!(TrustedRoot::parse(b"[[").is_err());
    }
}
