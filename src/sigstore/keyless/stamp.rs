//! What a time-stamp authority is asked (RFC 3161, 2.4.1).
//!
//! A query has no nonce: what is stamped is a signature by a key that was made just now, so no older answer can be for it. The answer
//! goes into the bundle as it is, and is verified there.

use der::asn1::OctetString;
use der::{Any, Encode as _, Sequence, asn1::ObjectIdentifier};

use super::AnswerError;
use crate::digest::Digest;

/// The media type of a query.
pub const QUERY: &str = "application/timestamp-query";

/// SHA-256 (RFC 5754).
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

#[derive(Sequence)]
struct Algorithm {
    oid: ObjectIdentifier,
    #[asn1(optional = "true")]
    parameters: Option<Any>,
}

#[derive(Sequence)]
struct Imprint {
    algorithm: Algorithm,
    digest: OctetString,
}

/// The parts of a query that are used; certificates are wanted with the answer.
#[derive(Sequence)]
struct Query {
    version: u8,
    imprint: Imprint,
    certificates: bool,
}

/// Asks for a time stamp over a signature.
///
/// # Errors
/// [`AnswerError`] never, as far as is known: DER has no bound that this could exceed.
pub fn query(signature: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let bad = |error: der::Error| AnswerError {
        expected: "a time-stamp query in DER",
        found: error.to_string(),
    };
    let query = Query {
        version: 1,
        imprint: Imprint {
            algorithm: Algorithm {
                oid: SHA256,
                parameters: None,
            },
            digest: OctetString::new(Digest::sha256(signature).as_bytes()).map_err(bad)?,
        },
        certificates: true,
    };
    query.to_der().map_err(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_query_is_der_and_wants_certificates() {
        // SEQUENCE { 1, SEQUENCE { SEQUENCE { SHA-256 }, OCTET STRING }, TRUE }
        let found = hex::encode(query(b"signature").unwrap());
        let digest = Digest::sha256(b"signature").hex();
        assert_eq!(
            found,
            format!("3037020101302f300b06096086480165030402010420{digest}0101ff")
        );
    }
}
