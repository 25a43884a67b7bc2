//! Writing bundles.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Bundle, Content, HashAlgorithm, InclusionProof, LogEntry, Material, MessageDigest, Version};

/// Makes the JSON value of a bundle; its text is sorted by names, as serde_json's maps are.
pub(super) fn bundle(bundle: &Bundle) -> Value {
    let media_type = match bundle.version {
        Version::V0_1 => "application/vnd.dev.sigstore.bundle+json;version=0.1",
        Version::V0_2 => "application/vnd.dev.sigstore.bundle+json;version=0.2",
        Version::V0_3 => super::MEDIA_TYPE,
    };
    let (content, signed) = match &bundle.content {
        Content::Envelope(envelope) => ("dsseEnvelope", envelope.to_value()),
        Content::Message { digest, signature } => ("messageSignature", message(digest.as_ref(), signature)),
    };
    json!({ "mediaType": media_type, "verificationMaterial": material(bundle), content: signed })
}

fn material(bundle: &Bundle) -> Value {
    let certificate = |der: &Vec<u8>| json!({ "rawBytes": STANDARD.encode(der) });
    let (name, value) = match &bundle.material {
        Material::Certificate(der) => ("certificate", certificate(der)),
        Material::Chain(chain) => (
            "x509CertificateChain",
            json!({ "certificates": chain.iter().map(certificate).collect::<Vec<_>>() }),
        ),
        Material::Key { hint } => ("publicKey", json!({ "hint": hint })),
    };
    let mut material = Map::from_iter([(name.to_owned(), value)]);
    if !bundle.entries.is_empty() {
        let entries = bundle.entries.iter().map(entry).collect();
        material.insert("tlogEntries".to_owned(), Value::Array(entries));
    }
    if !bundle.timestamps.is_empty() {
        let stamp = |der: &Vec<u8>| json!({ "signedTimestamp": STANDARD.encode(der) });
        let stamps: Vec<Value> = bundle.timestamps.iter().map(stamp).collect();
        let stamps = json!({ "rfc3161Timestamps": stamps });
        material.insert("timestampVerificationData".to_owned(), stamps);
    }
    Value::Object(material)
}

fn message(digest: Option<&MessageDigest>, signature: &[u8]) -> Value {
    let mut message = json!({ "signature": STANDARD.encode(signature) });
    if let (Some(members), Some(digest)) = (message.as_object_mut(), digest) {
        let algorithm = match digest.algorithm {
            HashAlgorithm::Sha256 => "SHA2_256",
            HashAlgorithm::Sha384 => "SHA2_384",
            HashAlgorithm::Sha512 => "SHA2_512",
        };
        let digest = json!({ "algorithm": algorithm, "digest": STANDARD.encode(&digest.value) });
        members.insert("messageDigest".to_owned(), digest);
    }
    message
}

/// Protobuf writes numbers of 64 bits as strings, and leaves out what is 0 or absent.
fn entry(entry: &LogEntry) -> Value {
    let mut value = json!({
        "logIndex": entry.index.to_string(),
        "logId": { "keyId": STANDARD.encode(&entry.log_id) },
        "kindVersion": { "kind": entry.kind, "version": entry.version },
        "canonicalizedBody": STANDARD.encode(&entry.body),
    });
    let Some(members) = value.as_object_mut() else {
        return value;
    };
    if let Some(time) = entry.integrated_time {
        members.insert("integratedTime".to_owned(), json!(time.to_string()));
    }
    if let Some(promise) = &entry.promise {
        let promise = json!({ "signedEntryTimestamp": STANDARD.encode(promise) });
        members.insert("inclusionPromise".to_owned(), promise);
    }
    if let Some(found) = &entry.proof {
        members.insert("inclusionProof".to_owned(), proof(found));
    }
    value
}

fn proof(proof: &InclusionProof) -> Value {
    json!({
        "logIndex": proof.index.to_string(),
        "rootHash": STANDARD.encode(proof.root),
        "treeSize": proof.tree_size.to_string(),
        "hashes": proof.hashes.iter().map(|hash| STANDARD.encode(hash)).collect::<Vec<_>>(),
        "checkpoint": { "envelope": proof.checkpoint },
    })
}
