//! Trusted roots that are put together: from certificates and keys to a `trusted_root.json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use x509_cert::Certificate;
use x509_cert::der::Encode as _;

use super::{TrustedRoot, TrustedRootError};
use crate::key::{KeyType, PublicKey};

/// What a trusted root is put together from.
pub struct Parts<'a> {
    /// Certificates of authorities in PEM, each of which is trusted by itself.
    pub authorities: &'a [u8],
    /// Keys of transparency logs.
    pub logs: &'a [PublicKey],
    /// Keys of certificate-transparency logs.
    pub certificate_logs: &'a [PublicKey],
}

impl Parts<'_> {
    /// Writes the trusted root. Its parts count as long as the certificates are valid, and the keys without end.
    ///
    /// # Errors
    /// [`TrustedRootError`] when a certificate is none, a key is not ECDSA on P-256, or what is written would not be read.
    pub fn write(&self) -> Result<String, TrustedRootError> {
        let bad = |problem: String| TrustedRootError::Form(problem);
        let certificates = Certificate::load_pem_chain(self.authorities);
        let certificates = certificates.map_err(|error| bad(format!("certificates in PEM: {error}")))?;
        let authority = |certificate: &Certificate| -> Result<Value, TrustedRootError> {
            let der = certificate.to_der().map_err(|error| bad(error.to_string()))?;
            let name = certificate.tbs_certificate().subject().to_string();
            Ok(json!({
                "subject": { "organization": "", "commonName": name }, "uri": "",
                "certChain": { "certificates": [{ "rawBytes": STANDARD.encode(der) }] }, "validFor": { "start": ALWAYS },
            }))
        };
        let authorities = certificates.iter().map(authority).collect::<Result<Vec<_>, _>>()?;
        let logs = |keys: &[PublicKey]| keys.iter().map(log).collect::<Result<Vec<_>, _>>();
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "certificateAuthorities": authorities, "tlogs": logs(self.logs)?, "ctlogs": logs(self.certificate_logs)?,
            "timestampAuthorities": [],
        });
        let text = format!("{root:#}\n");
        TrustedRoot::parse(text.as_bytes())?;
        Ok(text)
    }
}

/// From when on something counts that does not say so itself.
const ALWAYS: &str = "1970-01-01T00:00:00Z";

fn log(key: &PublicKey) -> Result<Value, TrustedRootError> {
    if key.key_type() != KeyType::EcdsaP256 {
        let problem = format!(
            "the key of a log is {}, expected {}",
            key.key_type(),
            KeyType::EcdsaP256
        );
        return Err(TrustedRootError::Form(problem));
    }
    let id = key.fingerprint();
    Ok(json!({
        "baseUrl": format!("log:{}", id.short()), "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": STANDARD.encode(key.spki_der()), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": { "start": ALWAYS },
        },
        "logId": { "keyId": STANDARD.encode(id.as_bytes()) },
    }))
}
