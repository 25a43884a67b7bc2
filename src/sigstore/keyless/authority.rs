//! What a certificate authority is asked and answers (Fulcio's interface, version 2, `signingCert`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sigstore_verify::crypto::parse_certificate_info;
use sigstore_verify::types::DerCertificate;
use zeroize::Zeroizing;

use super::{AnswerError, IdentityToken};
use crate::failure::Code;
use crate::json::{self, Limits};
use crate::key::{KeyError, PublicKey, Signer as Key};
use crate::limit;
use crate::sigstore::bundle::NotVerified;
use crate::sigstore::certificate::Signer;
use crate::sigstore::signature;

/// Where the interface is, below the authority's URL.
pub const PATH: &str = "api/v2/signingCert";

/// Room for what is beside the token in a request: one allocation, so that no copy of the token is left behind.
const ROOM: usize = 4 << 10;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    credentials: Credentials<'a>,
    public_key_request: KeyRequest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Credentials<'a> {
    oidc_identity_token: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyRequest {
    public_key: KeyText,
    proof_of_possession: String,
}

#[derive(Serialize)]
struct KeyText {
    algorithm: &'static str,
    content: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    signed_certificate_embedded_sct: Option<Chained>,
}

#[derive(Deserialize)]
struct Chained {
    chain: Chain,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<String>,
}

/// Makes the request for a certificate of `key` for who the token says; the token is in it.
///
/// # Errors
/// [`KeyError`] when the key cannot sign.
pub fn request(token: &IdentityToken, key: &dyn Key) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let request = Request {
        credentials: Credentials {
            oidc_identity_token: token.secret(),
        },
        public_key_request: KeyRequest {
            public_key: KeyText {
                algorithm: "ECDSA",
                content: key.public().to_pem()?,
            },
            proof_of_possession: STANDARD.encode(signature::sign(key, token.challenge().as_bytes())?),
        },
    };
    let mut body = Zeroizing::new(Vec::with_capacity(token.secret().len() + ROOM));
    serde_json::to_writer(&mut *body, &request).map_err(|error| KeyError::Signer(error.to_string()))?;
    Ok(body)
}

/// Reads the certificate of an answer, in DER.
///
/// # Errors
/// [`AnswerError`] when there is none that has the certificate-transparency log's word (SCT) in it.
pub fn issued(answer: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let bad = |found: String| AnswerError {
        expected: "a certificate with its SCT in it",
        found,
    };
    let issued: Issued =
        json::decode(answer, Limits::integers(limit::SIGSTORE_ANSWER_BYTES)).map_err(|error| bad(error.to_string()))?;
    let chain = issued.signed_certificate_embedded_sct;
    let pem = chain.as_ref().and_then(|chained| chained.chain.certificates.first());
    let pem = pem.ok_or_else(|| bad("an answer without one".to_owned()))?;
    let certificate = DerCertificate::from_pem(pem).map_err(|error| bad(error.to_string()))?;
    Ok(certificate.as_bytes().to_vec())
}

/// Checks that a new certificate is for `key` and names `signer`, before anything is made public with it.
///
/// That it comes from a trusted authority is not checked here.
///
/// # Errors
/// [`NotVerified`] when it is for another key, or somebody else.
pub fn check_issued(certificate: &[u8], key: &PublicKey, signer: &Signer) -> Result<(), NotVerified> {
    let bad = |code, expected: &str, found: String| NotVerified {
        code,
        expected: expected.to_owned(),
        found,
        advice: "check the certificate authority's URL: it issued another certificate than was asked for",
    };
    let info = parse_certificate_info(&DerCertificate::from_bytes(certificate));
    let info = info.map_err(|error| bad(Code::Certificate, "a certificate", error.to_string()))?;
    if info.public_key.as_bytes() != key.spki_der() {
        let expected = "a certificate for the key that was made for it";
        return Err(bad(Code::Certificate, expected, "one for another key".to_owned()));
    }
    match (&info.identity, &info.issuer) {
        (Some(identity), Some(issuer)) => signer.check(identity.as_str(), issuer),
        _ => {
            let expected = "a certificate with an identity and its issuer";
            Err(bad(Code::Certificate, expected, "one without".to_owned()))
        }
    }
}
