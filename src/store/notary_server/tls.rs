//! TLS of the server, and towards its database.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::failure::Failure;
use crate::limit;
use crate::store::file::read_limited;

/// Reads a server's certificate, with those between it and its root, and its key.
///
/// # Errors
/// [`Failure`] when a file cannot be read, is not PEM, or the two do not fit each other.
pub(super) fn server(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, Failure> {
    let bad = |path: &Path, problem: &dyn std::fmt::Display| Failure::malformed(path.display(), problem);
    let chain = certificates(&read_limited(cert, limit::CERTIFICATE_BYTES)?).map_err(|problem| bad(cert, &problem))?;
    let key_pem = zeroize::Zeroizing::new(read_limited(key, limit::KEY_FILE_BYTES)?);
    let private =
        PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| bad(key, &"it is not an unencrypted key in PEM"))?;
    let mut provider = rustls::crypto::ring::default_provider();
    // As Go's server orders them: AES-128 is as good here, and faster.
    provider.cipher_suites.sort_by_key(|suite| {
        let name = format!("{:?}", suite.suite());
        !name.contains("AES_128_GCM")
    });
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(cert, &error))?;
    let mut config = config
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| bad(cert, &format!("it does not fit the key {}: {error}", key.display())))?;
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer =
        rustls::crypto::ring::Ticketer::new().map_err(|error| Failure::unavailable("TLS tickets", error))?;
    Ok(Arc::new(config))
}

/// Makes a client that trusts these certificate authorities alone.
pub(super) fn client(ca: &[u8]) -> Result<ClientConfig, Failure> {
    let bad =
        |problem: &dyn std::fmt::Display| Failure::malformed("the certificate authorities of the database", problem);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca).map_err(|problem| bad(&problem))? {
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Reads certificates in PEM, one at least.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("expected certificates in PEM: {error}"))?;
    match chain.is_empty() {
        true => Err("expected a certificate in PEM, found none".to_owned()),
        false => Ok(chain),
    }
}
