//! The simple-signing payload (containers/image, docs/containers-signature.5; cosign, SIGNATURE_SPEC.md).
//!
//! - What is signed are the payload's bytes as they are; they are never written anew.
//! - `critical` holds exactly the members that are known here: an unknown one there may not be passed over.
//! - `optional` says whatever the signer wants; imgkit reads its `creator`, `timestamp` and `imgkit` (the tree digests).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::json::{self, JsonError, Limits};
use crate::limit;
use crate::time::Time;

/// The media type of a layer that is such a payload.
pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation of such a layer that holds the signature, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// What every payload of an image's signature calls itself.
const TYPE: &str = "cosign container image signature";

const CREATOR: &str = "creator";
const TIMESTAMP: &str = "timestamp";

/// What a signer signed of an image. Its bytes are whole, and say nothing until a signature over them is found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    bytes: Vec<u8>,
    digest: Digest,
    identity: String,
    optional: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    critical: Critical,
    optional: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

impl Payload {
    /// Writes the payload that names an image by its digest and `identity`, the name that the signer stands for.
    pub fn new(identity: &str, digest: &Digest, optional: Map<String, Value>) -> Self {
        let said = match optional.is_empty() {
            true => Value::Null,
            false => Value::Object(optional.clone()),
        };
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": identity },
                "image": { "docker-manifest-digest": digest },
                "type": TYPE,
            },
            "optional": said,
        });
        Self {
            bytes: payload.to_string().into_bytes(),
            digest: *digest,
            identity: identity.to_owned(),
            optional,
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`PayloadError`] when it is too long, not JSON, has a member twice or one that is not known, or is of another type.
    pub fn parse(bytes: &[u8]) -> Result<Self, PayloadError> {
        let raw: Raw = json::decode(bytes, Limits::any_number(limit::SIGNATURE_PAYLOAD_BYTES))?;
        if raw.critical.kind != TYPE {
            return Err(PayloadError::Type(raw.critical.kind.chars().take(100).collect()));
        }
        Ok(Self {
            bytes: bytes.to_vec(),
            digest: raw.critical.image.digest,
            identity: raw.critical.identity.reference,
            optional: raw.optional.unwrap_or_default(),
        })
    }

    /// Returns the exact bytes, which are what is signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the digest of the document that was signed: an index or a manifest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the name that the signer gave the image: a repository, with a tag or without.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns what the signer says beyond that.
    pub fn optional(&self) -> &Map<String, Value> {
        &self.optional
    }

    /// Returns when the signer says that it signed, if it does.
    pub fn time(&self) -> Option<Time> {
        let seconds = self.optional.get(TIMESTAMP)?.as_i64()?;
        Time::from_unix(seconds).ok()
    }

    /// Tells whether two payloads say the same, whenever and with what they were made.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |payload: &Self| {
            let mut said = payload.optional.clone();
            said.remove(CREATOR);
            said.remove(TIMESTAMP);
            said
        };
        (self.digest, &self.identity, said(self)) == (other.digest, &other.identity, said(other))
    }
}

/// Returns what imgkit says in `optional` of itself and of the time, in the members that skopeo has for it.
pub fn made_at(now: Time) -> Map<String, Value> {
    let creator = concat!("imgkit ", env!("CARGO_PKG_VERSION"));
    Map::from_iter([
        (CREATOR.to_owned(), json!(creator)),
        (TIMESTAMP.to_owned(), json!(now.unix())),
    ])
}

/// Bytes that are no payload of an image's signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// They are not the JSON that they should be.
    #[error("the payload is no simple-signing payload: {0}")]
    Json(#[from] JsonError),
    /// They are a payload of something else.
    #[error("the payload's critical.type is `{}`, expected `{TYPE}`", .0.escape_debug())]
    Type(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::PublicKey;
    use crate::sigstore::signature;

    const COSIGN: &[u8] = include_bytes!("../../tests/fixtures/cosign/p.json");
    const SIGNED: &[u8] = include_bytes!("../../tests/fixtures/cosign/p.sig");
    const CK: &str = include_str!("../../tests/fixtures/cosign/ck.pub");
    const B: &str = include_str!("../../tests/fixtures/cosign/b.pub");

    fn text() -> String {
        String::from_utf8(COSIGN.to_vec()).unwrap()
    }

    #[test]
    fn reads_what_cosign_wrote_and_finds_its_key() {
        let payload = Payload::parse(COSIGN).unwrap();
        assert_eq!(payload.bytes(), COSIGN);
        assert_eq!(payload.identity(), "127.0.0.1:15900/t/app2");
        let keys = [PublicKey::from_pem(B).unwrap(), PublicKey::from_pem(CK).unwrap()];
        assert_eq!(signature::made_by(&keys, payload.bytes(), SIGNED), keys.get(1));
        assert_eq!(signature::made_by(&keys, &[COSIGN, b" "].concat(), SIGNED), None);
    }

    #[test]
    fn writes_what_cosign_writes() {
        let read = Payload::parse(COSIGN).unwrap();
        let written = Payload::new(read.identity(), read.digest(), Map::new());
        assert_eq!(written.bytes(), COSIGN);
    }

    #[test]
    fn the_time_is_where_skopeo_has_it() {
        let now = Time::from_unix(1_795_387_453).unwrap();
        let payload = Payload::new("r.example/a:1", &Digest::sha256(b"x"), made_at(now));
        let read = Payload::parse(payload.bytes()).unwrap();
        assert_eq!(read.time(), Some(now));
        let later = Payload::new("r.example/a:1", &Digest::sha256(b"x"), made_at(now.plus(9)));
        assert!(later.says_the_same(&read));
        assert!(!later.says_the_same(&Payload::new("r.example/b:1", &Digest::sha256(b"x"), Map::new())));
    }

    #[test]
    fn refuses_what_two_readers_could_understand_differently() {
        let changes = [
            ("\"optional\":null", "\"optional\":null,\"more\":1"),
            ("\"optional\":null", "\"optional\":[]"),
            ("\"type\":\"cosign", "\"extra\":1,\"type\":\"cosign"),
            ("\"type\":\"cosign", "\"type\":\"x\",\"type\":\"cosign"),
            ("cosign container image signature", "atomic container signature"),
            (
                "\"docker-manifest-digest\":\"sha256:",
                "\"docker-manifest-digest\":\"md5:",
            ),
            ("\"identity\":{", "\"identity\":{\"x\":1,"),
        ];
        for (from, to) in changes {
            let changed = text().replacen(from, to, 1);
            assert_ne!(changed, text());
            assert!(Payload::parse(changed.as_bytes()).is_err(), "{changed}");
        }
        let long = format!("{}{}", text(), " ".repeat(limit::SIGNATURE_PAYLOAD_BYTES));
        assert!(Payload::parse(long.as_bytes()).is_err());
        let deep = text().replace("null", &format!("{{\"a\":{}1{}}}", "[".repeat(99), "]".repeat(99)));
        assert!(Payload::parse(deep.as_bytes()).is_err());
    }
}
