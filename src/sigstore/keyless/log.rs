//! What a transparency log is given and answers (Rekor's interfaces, versions 1 and 2).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sigstore_verify::rekor as theirs;
use sigstore_verify::types::{DerCertificate, KindVersion};

use super::{AnswerError, LogApi};
use crate::digest::Digest;
use crate::json::{Limits, parse};
use crate::limit;
use crate::sigstore::bundle::{Content, HashAlgorithm, LogEntry};

/// What is to become an entry.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Where it is sent, below the log's URL.
    pub path: &'static str,
    /// What is sent: JSON.
    pub body: Vec<u8>,
    api: LogApi,
    kind: KindVersion,
}

impl Proposal {
    /// Proposes a signature by a certificate's key: `hashedrekord` or `dsse` 0.0.1, in logs of version 2 `hashedrekord` 0.0.2.
    ///
    /// # Errors
    /// [`AnswerError`] when the signature is over another hash than logs take.
    pub fn new(api: LogApi, content: &Content, certificate: &[u8]) -> Result<Self, AnswerError> {
        let bad = |found: String| AnswerError {
            expected: "a signature that a log takes",
            found,
        };
        let (digest, signature) = match content {
            Content::Message {
                digest: Some(digest),
                signature,
            } if digest.algorithm == HashAlgorithm::Sha256 => (digest.value.clone(), signature.as_slice()),
            Content::Message { .. } => return Err(bad("one over another hash than SHA-256".to_owned())),
            Content::Envelope(envelope) => (Digest::sha256(&envelope.pae()).as_bytes().to_vec(), content.signature()),
        };
        let signature = STANDARD.encode(signature);
        // With the line ends that logs write, so that the entry is what was sent.
        let pem = DerCertificate::from_bytes(certificate).to_pem().replace("\r\n", "\n");
        let pem = STANDARD.encode(pem);
        let (path, kind, body) = match (api, content) {
            (LogApi::V1, Content::Message { .. }) => (
                "api/v1/log/entries",
                KindVersion::HashedRekordV001,
                json!({ "apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
                    "data": { "hash": { "algorithm": "sha256", "value": hex::encode(digest) } },
                    "signature": { "content": signature, "publicKey": { "content": pem } },
                }}),
            ),
            (LogApi::V1, Content::Envelope(envelope)) => (
                "api/v1/log/entries",
                KindVersion::DsseV001,
                json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": {
                    "proposedContent": { "envelope": envelope.to_value().to_string(), "verifiers": [pem] },
                }}),
            ),
            (LogApi::V2, _) => (
                "api/v2/log/entries",
                KindVersion::HashedRekordV002,
                json!({ "hashedRekordRequestV002": {
                    "digest": STANDARD.encode(digest),
                    "signature": { "content": signature, "verifier": {
                        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                        "x509Certificate": { "rawBytes": STANDARD.encode(certificate) },
                    }},
                }}),
            ),
        };
        let body = body.to_string().into_bytes();
        Ok(Self { path, body, api, kind })
    }

    /// Reads the log's answer: the entry that it made, none of it checked.
    ///
    /// # Errors
    /// [`AnswerError`] when it is none, or has no proof that it is in the log.
    pub fn entry(&self, answer: &[u8]) -> Result<LogEntry, AnswerError> {
        let bad = |found: String| AnswerError {
            expected: "a log entry with its proof",
            found,
        };
        let value = parse(answer, Limits::integers(limit::SIGSTORE_ANSWER_BYTES));
        let value = value.map_err(|error| bad(error.to_string()))?;
        let value = match self.api {
            LogApi::V2 => value,
            LogApi::V1 => {
                let entries: BTreeMap<String, theirs::LogEntry> =
                    serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
                let mut entries = entries.into_values();
                let (Some(entry), None) = (entries.next(), entries.next()) else {
                    return Err(bad("none, or several".to_owned()));
                };
                let entry = entry
                    .to_bundle_entry(self.kind)
                    .map_err(|error| bad(error.to_string()))?;
                serde_json::to_value(entry).map_err(|error| bad(error.to_string()))?
            }
        };
        LogEntry::from_value(value).map_err(|error| bad(error.to_string()))
    }
}
