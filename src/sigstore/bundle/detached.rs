//! Signatures over files, without what says who made them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::BundleError;
use crate::json::{self, Limits};
use crate::limit;

/// Reads a signature: base64 as cosign writes it, the bytes themselves as openssl does, or cosign's older bundle around one that was
/// made with a key and without a log.
///
/// # Errors
/// [`BundleError`] when it is too long, or an older bundle with more in it, which only what it was made for can judge.
pub fn signature(bytes: &[u8]) -> Result<Vec<u8>, BundleError> {
    if bytes.first() == Some(&b'{') {
        return older_bundle(bytes);
    }
    if bytes.len() > limit::SIGNATURE_BYTES {
        return Err(BundleError::TooMany {
            what: "bytes in a signature",
            limit: limit::SIGNATURE_BYTES,
            found: bytes.len(),
        });
    }
    // No signature in DER, and next to no other, is base64 by chance.
    Ok(STANDARD.decode(bytes.trim_ascii()).unwrap_or_else(|_| bytes.to_vec()))
}

fn older_bundle(bytes: &[u8]) -> Result<Vec<u8>, BundleError> {
    let bundle = json::parse(bytes, Limits::integers(limit::ATTACHED_BYTES))?;
    let members = bundle.as_object();
    let mut empty = members
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "base64Signature");
    if !empty.all(|(_, value)| value.is_null()) {
        return Err(BundleError::Form(
            "cosign's older bundle has a certificate or a log entry in it; sign again with --new-bundle-format",
        ));
    }
    let signature = bundle.get("base64Signature").and_then(Value::as_str);
    let signature = signature.and_then(|text| STANDARD.decode(text).ok());
    signature.ok_or(BundleError::Form(
        "expected cosign's older bundle with a base64Signature",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::PublicKey;
    use crate::sigstore::signature::made_by;

    #[test]
    fn cosigns_forms_and_openssls_are_one_signature() {
        let keys = [PublicKey::from_pem(include_str!("../../../tests/fixtures/cosign/ck.pub")).unwrap()];
        let blob = include_bytes!("../../../tests/fixtures/cosign/blob");
        let text = include_bytes!("../../../tests/fixtures/cosign/blob.sig");
        let raw = STANDARD.decode(text).unwrap();
        let older = include_bytes!("../../../tests/fixtures/cosign/blob.bundle");
        let lines = [text.as_slice(), b"\n"].concat();
        for form in [text.as_slice(), &lines, &raw, older] {
            let signature = signature(form).unwrap();
            assert_eq!(signature, raw);
            assert!(made_by(&keys, blob, &signature).is_some());
            assert!(made_by(&keys, b"another", &signature).is_none());
        }
    }

    #[test]
    fn refuses_older_bundles_that_need_more_than_a_key() {
        assert!(signature(br#"{"base64Signature":"c2ln","cert":null}"#).is_ok());
        for bytes in [
            br#"{"base64Signature":"c2ln","cert":"LS0t"}"#.as_slice(),
            br#"{"base64Signature":"c2ln","rekorBundle":{}}"#,
            br#"{"base64Signature":"c2ln","base64Signature":"c2ln"}"#,
            br#"{"base64Signature":"!"}"#,
            b"{}",
            &[b'x'; 100_000],
        ] {
            assert!(signature(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
