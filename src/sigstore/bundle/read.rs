//! Reading bundles: protobuf's JSON, of which one form is taken.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Bundle, Content, HashAlgorithm, InclusionProof, LogEntry, Material, MessageDigest, Version};
use crate::json::{self, JsonError, Limits};
use crate::limit;
use crate::sigstore::envelope::{Envelope, EnvelopeError};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    media_type: String,
    verification_material: RawMaterial,
    dsse_envelope: Option<Value>,
    message_signature: Option<RawMessage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawMaterial {
    certificate: Option<RawCertificate>,
    public_key: Option<RawKey>,
    x509_certificate_chain: Option<RawChain>,
    #[serde(default)]
    tlog_entries: Option<Vec<RawEntry>>,
    timestamp_verification_data: Option<RawTimestamps>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawCertificate {
    raw_bytes: Base64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChain {
    certificates: Vec<RawCertificate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawMessage {
    message_digest: Option<RawDigest>,
    signature: Base64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDigest {
    algorithm: String,
    digest: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawTimestamps {
    #[serde(default)]
    rfc3161_timestamps: Vec<RawTimestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawTimestamp {
    signed_timestamp: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawEntry {
    #[serde(default)]
    log_index: Number,
    log_id: RawLogId,
    kind_version: RawKind,
    #[serde(default)]
    integrated_time: Number,
    inclusion_promise: Option<RawPromise>,
    inclusion_proof: Option<RawProof>,
    canonicalized_body: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawLogId {
    key_id: Base64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKind {
    kind: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawPromise {
    signed_entry_timestamp: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawProof {
    #[serde(default)]
    log_index: Number,
    root_hash: Base64,
    tree_size: Number,
    #[serde(default)]
    hashes: Vec<Base64>,
    checkpoint: RawCheckpoint,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheckpoint {
    envelope: String,
}

/// Bytes, written in standard base64 with padding.
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text);
        bytes
            .map(Self)
            .map_err(|error| serde::de::Error::custom(format!("no base64: {error}")))
    }
}

/// A number that is not negative and fits 63 bits, which protobuf writes as a string and reads as either.
#[derive(Clone, Copy, Default)]
struct Number(i64);

impl Number {
    fn unsigned(self) -> u64 {
        self.0.unsigned_abs()
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_i64(),
            // One spelling: no sign, no leading zeros.
            Value::String(text) => text.parse().ok().filter(|number: &i64| number.to_string() == text),
            _ => None,
        };
        let number = number.filter(|number| *number >= 0);
        let number = number.ok_or_else(|| serde::de::Error::custom("expected an integer from 0 to 2^63-1"));
        number.map(Self)
    }
}

/// Reads a bundle.
pub(super) fn bundle(bytes: &[u8]) -> Result<Bundle, BundleError> {
    let raw: Raw = json::decode(bytes, Limits::integers(limit::ATTACHED_BYTES))?;
    let version = version(&raw.media_type)?;
    let material = &raw.verification_material;
    let count = material.tlog_entries.as_ref().map_or(0, Vec::len);
    at_most(limit::LOG_ENTRIES, count, "log entries")?;
    let stamps = material.timestamp_verification_data.as_ref();
    at_most(
        limit::TIMESTAMPS,
        stamps.map_or(0, |stamps| stamps.rfc3161_timestamps.len()),
        "time stamps",
    )?;
    let entries = raw.verification_material.tlog_entries.unwrap_or_default();
    let stamps = raw.verification_material.timestamp_verification_data;
    let stamps = stamps.map(|stamps| stamps.rfc3161_timestamps).unwrap_or_default();
    Ok(Bundle {
        version,
        material: one_material(
            version,
            raw.verification_material.certificate,
            raw.verification_material.x509_certificate_chain,
            raw.verification_material.public_key,
        )?,
        content: content(raw.dsse_envelope, raw.message_signature)?,
        entries: entries
            .into_iter()
            .map(|raw| entry(version, raw))
            .collect::<Result<_, _>>()?,
        timestamps: stamps.into_iter().map(|stamp| stamp.signed_timestamp.0).collect(),
    })
}

fn version(media_type: &str) -> Result<Version, BundleError> {
    match media_type {
        "application/vnd.dev.sigstore.bundle+json;version=0.1" => Ok(Version::V0_1),
        "application/vnd.dev.sigstore.bundle+json;version=0.2" => Ok(Version::V0_2),
        "application/vnd.dev.sigstore.bundle+json;version=0.3" | super::MEDIA_TYPE => Ok(Version::V0_3),
        other => Err(BundleError::MediaType(other.chars().take(100).collect())),
    }
}

fn one_material(
    version: Version,
    certificate: Option<RawCertificate>,
    chain: Option<RawChain>,
    key: Option<RawKey>,
) -> Result<Material, BundleError> {
    match (certificate, chain, key) {
        (Some(certificate), None, None) if version >= Version::V0_3 => {
            Ok(Material::Certificate(certificate.raw_bytes.0))
        }
        (None, Some(chain), None) if version < Version::V0_3 => {
            at_most(limit::CHAIN_CERTIFICATES, chain.certificates.len(), "certificates")?;
            let chain: Vec<_> = chain.certificates.into_iter().map(|raw| raw.raw_bytes.0).collect();
            match chain.is_empty() {
                true => Err(BundleError::Form("its chain has no certificate")),
                false => Ok(Material::Chain(chain)),
            }
        }
        (None, None, Some(key)) if key.hint.len() <= limit::KEY_ID_BYTES => Ok(Material::Key { hint: key.hint }),
        _ => Err(BundleError::Form(
            "expected one of certificate (from version 0.3 on), x509CertificateChain (before it), and publicKey with a hint of at most \
             128 bytes",
        )),
    }
}

fn content(envelope: Option<Value>, message: Option<RawMessage>) -> Result<Content, BundleError> {
    match (envelope, message) {
        (Some(envelope), None) => {
            let envelope = Envelope::from_value(envelope)?;
            match envelope.signatures().len() {
                1 => Ok(Content::Envelope(envelope)),
                _ => Err(BundleError::Form("a bundle's envelope has exactly one signature")),
            }
        }
        (None, Some(message)) => Ok(Content::Message {
            digest: message.message_digest.map(digest).transpose()?,
            signature: message.signature.0,
        }),
        _ => Err(BundleError::Form("expected one of dsseEnvelope and messageSignature")),
    }
}

fn digest(raw: RawDigest) -> Result<MessageDigest, BundleError> {
    let algorithm = match raw.algorithm.as_str() {
        "SHA2_256" => HashAlgorithm::Sha256,
        "SHA2_384" => HashAlgorithm::Sha384,
        "SHA2_512" => HashAlgorithm::Sha512,
        _ => {
            return Err(BundleError::Form(
                "the digest's algorithm is not SHA2_256, SHA2_384 or SHA2_512",
            ));
        }
    };
    match raw.digest.0.len() == algorithm.len() {
        true => Ok(MessageDigest {
            algorithm,
            value: raw.digest.0,
        }),
        false => Err(BundleError::Form("the digest is not as long as its algorithm's are")),
    }
}

/// Reads a log entry by itself, as bundles of version 0.3 have them.
pub(super) fn log_entry(value: Value) -> Result<LogEntry, BundleError> {
    let raw = serde_json::from_value(value).map_err(|error| JsonError::Shape(error.to_string()))?;
    entry(Version::V0_3, raw)
}

fn entry(version: Version, raw: RawEntry) -> Result<LogEntry, BundleError> {
    match version {
        Version::V0_1 if raw.inclusion_promise.is_none() => {
            return Err(BundleError::Form(
                "a log entry has no inclusion promise; version 0.1 demands it",
            ));
        }
        Version::V0_2 | Version::V0_3 if raw.inclusion_proof.is_none() => {
            return Err(BundleError::Form(
                "a log entry has no inclusion proof; versions from 0.2 on demand it",
            ));
        }
        _ => {}
    }
    Ok(LogEntry {
        index: raw.log_index.unsigned(),
        log_id: raw.log_id.key_id.0,
        kind: raw.kind_version.kind,
        version: raw.kind_version.version,
        // Protobuf does not tell 0 from absent.
        integrated_time: Some(raw.integrated_time.0).filter(|time| *time != 0),
        promise: raw.inclusion_promise.map(|promise| promise.signed_entry_timestamp.0),
        proof: raw.inclusion_proof.map(proof).transpose()?,
        body: raw.canonicalized_body.0,
    })
}

fn proof(raw: RawProof) -> Result<InclusionProof, BundleError> {
    at_most(limit::PROOF_HASHES, raw.hashes.len(), "hashes in a proof")?;
    at_most(
        limit::CHECKPOINT_BYTES,
        raw.checkpoint.envelope.len(),
        "bytes in a checkpoint",
    )?;
    let hash = |bytes: Base64| {
        let hash = <[u8; 32]>::try_from(bytes.0);
        hash.map_err(|_| BundleError::Form("a hash of a proof is not 32 bytes long"))
    };
    Ok(InclusionProof {
        index: raw.log_index.unsigned(),
        root: hash(raw.root_hash)?,
        tree_size: raw.tree_size.unsigned(),
        hashes: raw.hashes.into_iter().map(hash).collect::<Result<_, _>>()?,
        checkpoint: raw.checkpoint.envelope,
    })
}

fn at_most(limit: usize, found: usize, what: &'static str) -> Result<(), BundleError> {
    match found <= limit {
        true => Ok(()),
        false => Err(BundleError::TooMany { what, limit, found }),
    }
}

/// Bytes that are no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The envelope is none.
    #[error("the bundle's envelope: {0}")]
    Envelope(#[from] EnvelopeError),
    /// A part is not as it should be.
    #[error("no sigstore bundle: {0}")]
    Form(&'static str),
    /// It is not the JSON that it should be.
    #[error("no sigstore bundle: {0}")]
    Json(#[from] JsonError),
    /// It is something else, or of an unknown version.
    #[error("the media type is `{}`, expected a sigstore bundle of version 0.1, 0.2 or 0.3", .0.escape_debug())]
    MediaType(String),
    /// More of something than can be meant.
    #[error("the bundle has {found} {what}, expected at most {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most that are read.
        limit: usize,
        /// How many there are.
        found: usize,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn message() -> Value {
        json!({
            "mediaType": super::super::MEDIA_TYPE,
            "verificationMaterial": { "publicKey": { "hint": "h" } },
            "messageSignature": {
                "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode([1; 32]) },
                "signature": "c2ln",
            },
        })
    }

    fn with_entry(change: impl FnOnce(&mut Value)) -> Result<Bundle, BundleError> {
        let mut value = message();
        let mut entry = json!({
            "logIndex": "7",
            "logId": { "keyId": STANDARD.encode([2; 32]) },
            "kindVersion": { "kind": "hashedrekord", "version": "0.0.1" },
            "integratedTime": "1700000000",
            "inclusionPromise": { "signedEntryTimestamp": "c2V0" },
            "inclusionProof": {
                "logIndex": "7", "rootHash": STANDARD.encode([3; 32]), "treeSize": 8,
                "hashes": [STANDARD.encode([4; 32])], "checkpoint": { "envelope": "log\n8\n" },
            },
            "canonicalizedBody": "e30=",
        });
        change(&mut entry);
        *value.pointer_mut("/verificationMaterial/publicKey").unwrap() = json!({});
        let material = value.get_mut("verificationMaterial").unwrap();
        let members = material.as_object_mut().unwrap();
        members.insert("tlogEntries".into(), json!([entry]));
        members.insert(
            "timestampVerificationData".into(),
            json!({ "rfc3161Timestamps": [{ "signedTimestamp": "dHM=" }] }),
        );
        bundle(value.to_string().as_bytes())
    }

    #[test]
    fn comes_back_as_it_was_written() {
        let read = with_entry(|_| ()).unwrap();
        assert_eq!(read.entries().first().unwrap().proof.as_ref().unwrap().tree_size, 8);
        assert_eq!(read.timestamps(), [b"ts"]);
        assert_eq!(bundle(&read.encode()).unwrap(), read);
        for fixture in ["app3", "att"] {
            let bytes = std::fs::read(format!("tests/fixtures/cosign/{fixture}.bundle.json")).unwrap();
            let read = bundle(&bytes).unwrap();
            assert_eq!(bundle(&read.encode()).unwrap(), read);
        }
    }

    #[test]
    fn refuses_entries_that_are_not_as_their_version_demands() {
        for (pointer, to) in [
            ("/inclusionProof", Value::Null),
            ("/inclusionProof/rootHash", json!("AAAA")),
            ("/inclusionProof/hashes/0", json!("AAAA")),
            ("/inclusionProof/hashes", json!(vec![STANDARD.encode([4; 32]); 65])),
            ("/inclusionProof/checkpoint/envelope", json!("x".repeat(1 << 17))),
            ("/inclusionProof/treeSize", json!("08")),
            ("/logIndex", json!("-7")),
            ("/logIndex", json!(-7)),
            ("/logIndex", json!("9223372036854775808")),
            ("/integratedTime", json!("1.5")),
            ("/kindVersion", json!({ "kind": "x" })),
            ("/canonicalizedBody", json!("e30")),
        ] {
            let changed = with_entry(|entry| *entry.pointer_mut(pointer).unwrap() = to.clone());
            assert!(changed.is_err(), "{pointer} {to}");
        }
    }

    #[test]
    fn refuses_what_two_readers_could_understand_differently() {
        let good = message().to_string();
        assert!(bundle(good.as_bytes()).is_ok());
        for (from, to) in [
            ("v0.3", "v0.4"),
            ("\"publicKey\":{", "\"x\":1,\"publicKey\":{"),
            (
                "\"publicKey\":{",
                "\"certificate\":{\"rawBytes\":\"MAA=\"},\"publicKey\":{",
            ),
            (
                "\"publicKey\":{\"hint\":\"h\"}",
                "\"x509CertificateChain\":{\"certificates\":[{\"rawBytes\":\"MAA=\"}]}",
            ),
            ("\"publicKey\":{\"hint\":\"h\"}", ""),
            ("\"messageSignature\"", "\"dsseEnvelope\":{},\"messageSignature\""),
            ("\"messageSignature\"", "\"messageSignature\":null,\"messageSignature\""),
            ("c2ln", "c2lnCg"),
            ("SHA2_256", "SHA2_512"),
            ("SHA2_256", "SHA1"),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good, "{from}");
            assert!(bundle(changed.as_bytes()).is_err(), "{changed}");
        }
    }

    #[test]
    fn refuses_bombs_before_it_reads_them() {
        let long = vec![b' '; limit::ATTACHED_BYTES + 1];
        assert!(matches!(
            bundle(&long),
            Err(BundleError::Json(JsonError::TooLong { .. }))
        ));
        let deep = format!("{{\"mediaType\":{}", "[".repeat(100_000));
        assert!(matches!(
            bundle(deep.as_bytes()),
            Err(BundleError::Json(JsonError::TooDeep { .. }))
        ));
        let many = json!({
            "mediaType": super::super::MEDIA_TYPE,
            "verificationMaterial": {
                "publicKey": {},
                "timestampVerificationData": { "rfc3161Timestamps": vec![json!({ "signedTimestamp": "dHM=" }); 1000] },
            },
            "messageSignature": { "signature": "c2ln" },
        });
        assert!(matches!(
            bundle(many.to_string().as_bytes()),
            Err(BundleError::TooMany { found: 1000, .. })
        ));
    }

    #[test]
    fn older_versions_have_chains_and_promises() {
        let mut value = message();
        *value.pointer_mut("/mediaType").unwrap() = json!("application/vnd.dev.sigstore.bundle+json;version=0.1");
        *value.pointer_mut("/verificationMaterial").unwrap() =
            json!({ "x509CertificateChain": { "certificates": [{ "rawBytes": "MAA=" }] } });
        let read = bundle(value.to_string().as_bytes()).unwrap();
        assert_eq!(read.version(), Version::V0_1);
        assert_eq!(read.material(), &Material::Chain(vec![vec![0x30, 0]]));
        assert_eq!(bundle(&read.encode()).unwrap(), read);
    }
}
