//! Predicate types: their URIs, cosign's short names for them, and the form that predicates of a known type have.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::{Uri, vsa};
use crate::time::Time;

/// What cosign's signatures of images in bundles state: nothing but the subject.
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// The tree digests of an image (docs/sigstore.md).
pub const TREE: &str = "urn:imgkit:tree:v1";

const NAMES: &[(&str, &str)] = &[
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("spdx", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("vsa", vsa::TYPE),
    ("openvex", "https://openvex.dev/ns"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("custom", "https://cosign.sigstore.dev/attestation/v1"),
    ("link", "https://in-toto.io/Link/v1"),
    ("tree", TREE),
];

/// The type of a predicate, a URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PredicateType(String);

impl PredicateType {
    /// Returns the URI.
    pub fn uri(&self) -> &str {
        &self.0
    }

    /// Returns the short name of a URI, or the URI.
    pub fn short(uri: &str) -> &str {
        let known = NAMES.iter().find(|(_, known)| *known == uri);
        known.map_or(uri, |(name, _)| name)
    }

    /// Checks that a predicate has the form that its type demands; one of another type may be anything.
    ///
    /// # Errors
    /// [`PredicateError`] when a member that the type demands is missing or of another kind.
    pub fn check(&self, predicate: &Value) -> Result<(), PredicateError> {
        let form = FORMS.iter().find(|(kind, _)| *kind == self.uri());
        for (at, member) in form.into_iter().flat_map(|(_, members)| *members) {
            if !member.is(predicate.pointer(at)) {
                return Err(PredicateError {
                    kind: self.uri().to_owned(),
                    at,
                    expected: member.expected(),
                });
            }
        }
        Ok(())
    }
}

impl fmt::Display for PredicateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PredicateType {
    type Err = String;

    /// Reads a short name, or a URI.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, uri)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self((*uri).to_owned()));
        }
        let uri = text.parse::<Uri>().map(|uri| Self(uri.to_string()));
        uri.map_err(|error| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("{error}, or one of {}", names.join(", "))
        })
    }
}

/// A predicate is not of the form that its type demands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no predicate of type {kind}: expected {expected} at `{at}`")]
pub struct PredicateError {
    kind: String,
    at: &'static str,
    expected: &'static str,
}

/// What a member of a predicate must be.
#[derive(Clone, Copy)]
enum Member {
    Array,
    Object,
    OneOf(&'static [&'static str], &'static str),
    Text,
    Time,
    TimeIfAny,
}

impl Member {
    fn is(self, value: Option<&Value>) -> bool {
        let text = value.and_then(Value::as_str);
        match self {
            Self::Array => value.is_some_and(Value::is_array),
            Self::Object => value.is_some_and(Value::is_object),
            Self::OneOf(words, _) => text.is_some_and(|text| words.contains(&text)),
            Self::Text => text.is_some_and(|text| !text.is_empty()),
            Self::Time => text.is_some_and(|text| text.parse::<Time>().is_ok()),
            Self::TimeIfAny => value.is_none() || Self::Time.is(value),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Array => "an array",
            Self::Object => "an object",
            Self::OneOf(_, expected) => expected,
            Self::Text => "a text",
            Self::Time | Self::TimeIfAny => "a time (RFC 3339)",
        }
    }
}

/// What each type demands, by JSON pointer (RFC 6901).
const FORMS: &[(&str, &[(&str, Member)])] = &[
    // slsa.dev/spec/v1.0/provenance
    (
        "https://slsa.dev/provenance/v1",
        &[
            ("/buildDefinition/buildType", Member::Text),
            ("/buildDefinition/externalParameters", Member::Object),
            ("/runDetails/builder/id", Member::Text),
        ],
    ),
    // slsa.dev/spec/v1.2/verification_summary; 1.0 demanded timeVerified, and no later one does
    (
        vsa::TYPE,
        &[
            ("/verifier/id", Member::Text),
            ("/timeVerified", Member::TimeIfAny),
            ("/resourceUri", Member::Text),
            ("/policy/uri", Member::Text),
            (
                "/verificationResult",
                Member::OneOf(&["PASSED", "FAILED"], "PASSED or FAILED"),
            ),
            ("/verifiedLevels", Member::Array),
        ],
    ),
    // SPDX 2.3, clause 6
    (
        "https://spdx.dev/Document",
        &[
            ("/spdxVersion", Member::Text),
            ("/SPDXID", Member::OneOf(&["SPDXRef-DOCUMENT"], "SPDXRef-DOCUMENT")),
            ("/name", Member::Text),
            ("/documentNamespace", Member::Text),
            ("/creationInfo/created", Member::Time),
            ("/creationInfo/creators", Member::Array),
        ],
    ),
    // CycloneDX 1.6
    (
        "https://cyclonedx.org/bom",
        &[
            ("/bomFormat", Member::OneOf(&["CycloneDX"], "CycloneDX")),
            ("/specVersion", Member::Text),
        ],
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn cosigns_short_names_stand_for_uris() {
        let uri = |text: &str| text.parse::<PredicateType>().map(|kind| kind.to_string());
        assert_eq!(uri("slsaprovenance1"), Ok("https://slsa.dev/provenance/v1".to_owned()));
        assert_eq!(uri("https://example.com/x"), Ok("https://example.com/x".to_owned()));
        assert_eq!(uri("urn:x:y"), Ok("urn:x:y".to_owned()));
        assert!(uri("slsaprovenence1").is_err());
        assert!(uri("a: b").is_err());
        assert_eq!(PredicateType::short("https://spdx.dev/Document"), "spdxjson");
    }

    #[test]
    fn known_predicates_have_what_their_type_demands() {
        let check = |kind: &str, predicate: Value| kind.parse::<PredicateType>().unwrap().check(&predicate);
        let provenance = json!({
            "buildDefinition": { "buildType": "https://example.com/b", "externalParameters": {} },
            "runDetails": { "builder": { "id": "https://example.com/i" } },
        });
        assert!(check("slsaprovenance1", provenance.clone()).is_ok());
        assert!(check("vsa", provenance).is_err());
        let summary = |result: &str| {
            json!({
                "verifier": { "id": "v" }, "timeVerified": "2026-11-26T00:00:00Z", "resourceUri": "u", "policy": { "uri": "p" },
                "verificationResult": result, "verifiedLevels": ["SLSA_BUILD_LEVEL_1"],
            })
        };
        assert!(check("vsa", summary("PASSED")).is_ok());
        assert!(check("vsa", summary("MAYBE")).is_err());
        for (member, change, good) in [
            ("timeVerified", None, true),
            ("timeVerified", Some(json!("yesterday")), false),
            ("policy", Some(json!({})), false),
            ("verifier", None, false),
        ] {
            let mut changed = summary("PASSED");
            let members = changed.as_object_mut().unwrap();
            members.remove(member);
            members.extend(change.map(|value| (member.to_owned(), value)));
            assert_eq!(check("vsa", changed).is_ok(), good, "{member}");
        }
        assert!(check("cyclonedx", json!({ "bomFormat": "CycloneDX", "specVersion": "1.6" })).is_ok());
        assert!(check("cyclonedx", json!({ "specVersion": "1.6" })).is_err());
        assert!(check("spdxjson", json!({})).is_err());
        assert!(check("https://example.com/x", json!(3)).is_ok());
    }
}
