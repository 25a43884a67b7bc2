//! What a signer's certificate has to say of itself (sigstore's certificate profile), beyond what its chain proves.
//!
//! The chain's check has the extended key usage, the times and that it is no authority; this has the rest:
//! - its key is for digital signatures (RFC 5280, 4.2.1.3);
//! - it says nothing twice (RFC 5280, 4.2), and has exactly one name, so that nobody reads another one than was judged (RFC 5280, 4.2.1.6).

use std::collections::BTreeSet;

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::{KeyUsage, SubjectAltName};

use crate::failure::Code;
use crate::sigstore::bundle::NotVerified;

/// Checks a certificate in DER.
pub(super) fn check(der: &[u8]) -> Result<(), NotVerified> {
    let bad = |expected: &str, found: String| NotVerified {
        code: Code::Certificate,
        expected: expected.to_owned(),
        found,
        advice: "treat the certificate as forged: sigstore's authorities issue no such ones",
    };
    let certificate = Certificate::from_der(der).map_err(|error| bad("a certificate", error.to_string()))?;
    let certificate = certificate.tbs_certificate();
    let mut seen = BTreeSet::new();
    let mut extensions = certificate.extensions().into_iter().flatten();
    if let Some(again) = extensions.find(|extension| !seen.insert(extension.extn_id)) {
        let found = format!("{} twice", again.extn_id);
        return Err(bad("a certificate with each extension once", found));
    }
    let usage = certificate.get_extension::<KeyUsage>();
    let usage = usage.map_err(|error| bad("a certificate's key usage", error.to_string()))?;
    if !usage.is_some_and(|(_, usage)| usage.digital_signature() && !usage.key_cert_sign()) {
        let expected = "a certificate whose key usage is digital signature, and not certificate signing";
        return Err(bad(expected, "another".to_owned()));
    }
    let names = certificate.get_extension::<SubjectAltName>();
    let names = names.map_err(|error| bad("a certificate's names", error.to_string()))?;
    match names.map_or(0, |(_, names)| names.0.len()) {
        1 => Ok(()),
        count => Err(bad("a certificate with exactly one name", format!("{count}"))),
    }
}
