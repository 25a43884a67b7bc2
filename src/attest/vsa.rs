//! Verification summaries (slsa.dev/spec/v1.2/verification_summary): that somebody verified artifacts by a policy, and how it ended.
//!
//! - A summary says what was verified and nothing more: no SLSA level of a build that nobody judged. `SLSA_BUILD_LEVEL_0` stands for
//!   none; later versions of the specification also have `SLSA_BUILD_LEVEL_UNEVALUATED`, which slsa-verifier takes for an error.
//! - The same summary has the same bytes.

use serde_json::{Map, Value, json};

use super::image::purl::encode;
use super::{Statement, Subject, digests};
use crate::digest::Digest;
use crate::time::Time;

/// The predicate's type.
pub const TYPE: &str = "https://slsa.dev/verification_summary/v1";

/// Who verified, where nobody says it: whoever ran imgkit; who that was, the summary's signature alone can say.
pub const LOCAL_VERIFIER: &str = "urn:imgkit:verifier:local";

/// A level of ours: each component was unpacked from the image and has the tree that its own signer signed.
pub const COMPONENTS_PROVED: &str = "IMGKIT_COMPONENTS_PROVED";

/// A level of ours: the trust metadata of the moment of verification were asked as well.
pub const FRESH: &str = "IMGKIT_FRESH";

/// What is summed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary<'a> {
    /// Who verified, a URI.
    pub verifier: &'a str,
    /// The version of imgkit that did.
    pub version: &'a str,
    /// When.
    pub time: Time,
    /// What the artifacts are, or where they are got, a URI.
    pub resource: &'a str,
    /// Which policy they were judged by, a URI.
    pub policy: &'a str,
    /// The digest of that policy.
    pub policy_digest: Digest,
    /// What it rests on: the seal, and what the seal keeps of others.
    pub attestations: &'a [Attestation],
    /// How it ended.
    pub verdict: Verdict,
}

/// A signed document that a verification rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// What it is called.
    pub name: &'static str,
    /// Its media type.
    pub media_type: String,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// How a verification ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The policy refuses the artifacts.
    Failed,
    /// The policy takes them.
    Passed {
        /// Whether every component was proved.
        proved: bool,
        /// Whether the trust metadata of the moment were asked as well.
        fresh: bool,
    },
}

impl Verdict {
    /// Returns `verificationResult`.
    pub fn result(self) -> &'static str {
        match self {
            Self::Failed => "FAILED",
            Self::Passed { .. } => "PASSED",
        }
    }

    /// Returns `verifiedLevels`.
    fn levels(self) -> Vec<&'static str> {
        let Self::Passed { proved, fresh } = self else {
            return vec!["FAILED"];
        };
        let ours = [(proved, COMPONENTS_PROVED), (fresh, FRESH)];
        let ours = ours.into_iter().filter_map(|(is, level)| is.then_some(level));
        std::iter::once("SLSA_BUILD_LEVEL_0").chain(ours).collect()
    }
}

impl Summary<'_> {
    /// Makes the statement about artifacts, one at least.
    pub fn about(&self, subjects: Vec<Subject>) -> Statement {
        Statement::about(subjects, TYPE, self.predicate())
    }

    fn predicate(&self) -> Value {
        let mut predicate = Map::new();
        let mut put = |name: &str, value: Value| predicate.insert(name.to_owned(), value);
        put(
            "verifier",
            json!({ "id": self.verifier, "version": { "imgkit": self.version } }),
        );
        put("timeVerified", json!(self.time));
        put("resourceUri", json!(self.resource));
        put(
            "policy",
            json!({ "uri": self.policy, "digest": digests(&self.policy_digest) }),
        );
        if !self.attestations.is_empty() {
            let one = |Attestation {
                           name,
                           media_type,
                           digest,
                       }: &Attestation| {
                json!({ "name": name, "mediaType": media_type, "digest": digests(digest) })
            };
            put("inputAttestations", self.attestations.iter().map(one).collect());
        }
        put("verificationResult", json!(self.verdict.result()));
        put("verifiedLevels", json!(self.verdict.levels()));
        put("slsaVersion", json!("1.2"));
        Value::Object(predicate)
    }
}

/// Names the policy of a file, and of one of its environments, where nobody gives it a URI.
pub fn policy_uri(file: &str, environment: Option<&str>) -> String {
    let mut uri = format!("urn:imgkit:policy:{}", encode(file));
    if let Some(environment) = environment {
        uri.push('#');
        uri.push_str(&encode(environment));
    }
    uri
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::attest::PredicateType;

    fn summary(verdict: Verdict) -> Summary<'static> {
        Summary {
            verifier: LOCAL_VERIFIER,
            version: "1.0.0",
            time: Time::from_unix(1_700_000_000).unwrap(),
            resource: "pkg:generic/node@3?arch=amd64",
            policy: "urn:imgkit:policy:policy.yml",
            policy_digest: Digest::sha256(b"policy"),
            attestations: &[],
            verdict,
        }
    }

    fn statement(verdict: Verdict) -> Statement {
        let subject = Subject::of(Some("node.qcow2".to_owned()), &Digest::sha256(b"image"));
        let seal = Attestation {
            name: "seal",
            media_type: "application/vnd.dsse.envelope.v1+json".to_owned(),
            digest: Digest::sha256(b"seal"),
        };
        let summary = Summary {
            attestations: &[seal],
            ..summary(verdict)
        };
        summary.about(vec![subject])
    }

    #[test]
    fn the_summary_is_pinned_and_has_the_form_of_its_type() {
        let kind: PredicateType = "vsa".parse().unwrap();
        assert_eq!(kind.uri(), TYPE);
        for (name, verdict) in [
            ("failed", Verdict::Failed),
            (
                "passed",
                Verdict::Passed {
                    proved: true,
                    fresh: true,
                },
            ),
        ] {
            let statement = statement(verdict);
            kind.check(statement.predicate().unwrap()).unwrap();
            assert_eq!(Statement::parse(&statement.encode()).unwrap(), statement);
            let value: Value = serde_json::from_slice(&statement.encode()).unwrap();
            insta::assert_snapshot!(name, serde_json::to_string_pretty(&value).unwrap());
        }
    }

    #[test]
    fn a_level_is_there_only_for_what_was_verified() {
        let levels = |proved, fresh| Verdict::Passed { proved, fresh }.levels();
        assert_eq!(levels(false, false), ["SLSA_BUILD_LEVEL_0"]);
        assert_eq!(levels(true, false), ["SLSA_BUILD_LEVEL_0", COMPONENTS_PROVED]);
        assert_eq!(levels(false, true), ["SLSA_BUILD_LEVEL_0", FRESH]);
        // One level of each SLSA track at most, and none of ours begins like theirs.
        assert_eq!(
            levels(true, true)
                .iter()
                .filter(|level| level.starts_with("SLSA_"))
                .count(),
            1
        );
        assert_eq!(Verdict::Failed.levels(), ["FAILED"]);
    }

    #[test]
    fn a_policy_is_named_by_its_file_and_environment() {
        assert_eq!(policy_uri("my policy.yml", None), "urn:imgkit:policy:my%20policy.yml");
        assert_eq!(
            policy_uri("p.yml", Some("production")),
            "urn:imgkit:policy:p.yml#production"
        );
    }

    #[test]
    fn where_nothing_could_be_read_no_attestation_is_named() {
        let without = summary(Verdict::Failed);
        assert_eq!(without.predicate().get("inputAttestations"), None);
    }
}
