//! The sealed statement: what the sealer says of an image (in-toto Statement v1, predicate `urn:imgkit:seal:v1`).
//!
//! Everything in it that can be computed from the disk is computed again by the verifier and compared; what it says of
//! signatures is a record of the build, repeated and never believed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::reference::Reference;
use crate::time::Time;

/// The version of the statement, the container and the evidence together: what is written. Since 2, the documents about the image
/// ([`crate::attest::image`]) are in the evidence.
pub const FORMAT_VERSION: u32 = 2;

/// The oldest version that is read.
const OLDEST_VERSION: u32 = 1;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "urn:imgkit:seal:v1";

/// A statement about one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    predicate_type: String,
    /// What the statement is about: one disk by its content, or each file of a set.
    pub subject: Vec<Subject>,
    /// What is said of it.
    pub predicate: Predicate,
}

impl Statement {
    /// Makes a statement.
    pub fn new(subject: Vec<Subject>, predicate: Predicate) -> Self {
        Self {
            statement_type: STATEMENT_TYPE.into(),
            predicate_type: PREDICATE_TYPE.into(),
            subject,
            predicate,
        }
    }

    /// Writes the statement as canonical JSON.
    pub fn encode(&self) -> Vec<u8> {
        // No map here has keys that are not strings, and no number is a float: this cannot fail, and sorted maps of
        // plain values are canonical.
        serde_json::to_value(self)
            .map(|value| value.to_string().into_bytes())
            .unwrap_or_default()
    }

    /// Reads a statement; anything but what [`Statement::encode`] writes is refused.
    ///
    /// # Errors
    /// [`StatementError`] saying what is not as it should be.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let statement: Self = serde_json::from_slice(bytes).map_err(|error| StatementError::Form(error.to_string()))?;
        if statement.statement_type != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
            return Err(StatementError::Type {
                found: statement.predicate_type,
            });
        }
        if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&statement.predicate.format_version) {
            return Err(StatementError::Version(statement.predicate.format_version));
        }
        if statement.encode() != bytes {
            return Err(StatementError::Form("it is not in its canonical encoding".into()));
        }
        // Reports repeat names line by line: one with a line break would add lines of its own to them.
        if serde_json::to_value(&statement).is_ok_and(|value| has_control(&value)) {
            return Err(StatementError::Form("a text in it has a control character".into()));
        }
        Ok(statement)
    }
}

/// Tells whether any text of a value has a control character.
fn has_control(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains(char::is_control),
        serde_json::Value::Array(values) => values.iter().any(has_control),
        serde_json::Value::Object(members) => members.values().any(has_control),
        _ => false,
    }
}

/// One thing that the statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The image's name, or a file's.
    pub name: String,
    /// Its digest.
    pub digest: SubjectDigest,
}

/// How a subject is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubjectDigest {
    /// The content digest of a disk's guest-visible bytes, seal extent as zeros, in hexadecimal ([`crate::disk`]).
    #[serde(rename = "imgkitContentV1")]
    Content(String),
    /// SHA-256 of a file, in hexadecimal.
    #[serde(rename = "sha256")]
    File(String),
}

impl SubjectDigest {
    /// Returns the digest's name and its value, as the statement writes them.
    pub fn entry(&self) -> (&'static str, &str) {
        match self {
            Self::Content(hex) => ("imgkitContentV1", hex),
            Self::File(hex) => ("sha256", hex),
        }
    }
}

/// What is said of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Predicate {
    /// [`FORMAT_VERSION`], or an older one.
    pub format_version: u32,
    /// The image's name.
    pub name: String,
    /// Its architecture, as OCI names it (`amd64`).
    pub arch: String,
    /// Its epoch: a later image of the same name never has a lower one.
    pub epoch: u64,
    /// The one instant at which everything was judged.
    pub evaluated_at: Time,
    /// Whether unsigned components were let in on request; every policy refuses such an image.
    pub unsafe_accept_unsigned: bool,
    /// SHA-256 of the policy file that the build enforced; absent when there was none.
    pub policy: Option<Digest>,
    /// The kernel command line.
    pub cmdline: String,
    /// node.yml, the document `spec` of the evidence.
    pub spec: InputRecord,
    /// The files beside it that it names, in the order of its text.
    pub sources: Vec<InputRecord>,
    /// How the image's bytes are laid out.
    pub layout: Layout,
    /// The components, in the order of the YAML.
    pub components: Vec<ComponentRecord>,
    /// The segments of the initrd, in order.
    pub segments: Vec<SegmentRecord>,
    /// The evidence beside the envelope.
    pub evidence: EvidenceRecord,
}

/// How an image's bytes are laid out, and by which version of which writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", tag = "kind")]
pub enum Layout {
    /// MBR, GRUB, one FAT partition, seal: version 1 of its writer.
    #[serde(rename_all = "camelCase")]
    Bios {
        /// Version of the writers of table, file system and configuration.
        writer: u32,
        /// Length of the disk in bytes.
        length: u64,
        /// Where the seal's extent begins.
        seal_offset: u64,
        /// How long the seal's extent is.
        seal_length: u64,
    },
    /// Separate files, each a subject: `kernel+initrd` or `tar`.
    #[serde(rename_all = "camelCase")]
    Files {
        /// Version of the writers.
        writer: u32,
        /// The build's name of the format.
        format: String,
    },
}

/// One file that the build read besides components.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRecord {
    /// Its path as the build was given it.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub digest: Digest,
}

/// One component of the image, as the build judged it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ComponentRecord {
    /// The normalised reference that the YAML names.
    pub reference: Reference,
    /// The document that the reference resolved to: an index or a manifest.
    pub document: Digest,
    /// The platform's manifest.
    pub manifest: Digest,
    /// SHA-256 of the component's tree list.
    pub tree: Digest,
    /// What admitted it.
    pub admitted: Admission,
}

/// What let a component into a build. A record for readers: the verifier judges again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", tag = "by")]
pub enum Admission {
    /// A rule of the policy whose signatures were good.
    #[serde(rename_all = "camelCase")]
    Rule {
        /// The rule's pattern.
        rule: String,
        /// The policy's name of the trust root.
        root: String,
        /// The targets role that signed.
        role: String,
        /// How many distinct keys had to sign.
        threshold: u32,
        /// The keys that did.
        keys: Vec<String>,
        /// Versions of root, timestamp, snapshot and the role's metadata.
        versions: [u64; 4],
        /// When the first of these metadata expires.
        expires: Time,
        /// Who else signed, where the rule names several.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<SignedBy>,
        /// Which keys and identities signed beside them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attached: Vec<AttachedBy>,
    },
    /// A rule of the policy whose signatures or attestations lie beside the image.
    #[serde(rename_all = "camelCase")]
    Attached {
        /// The rule's pattern.
        rule: String,
        /// What was found good: one at least.
        attached: Vec<AttachedBy>,
    },
    /// A digest that the policy lists: its owner vouches for the image.
    #[serde(rename_all = "camelCase")]
    ListedDigest {
        /// The rule's pattern.
        rule: String,
    },
    /// `--unsafe-accept-unsigned`: nothing did.
    Nothing,
    /// A rule of the policy that asks for no signature.
    #[serde(rename_all = "camelCase")]
    UnsignedRule {
        /// The rule's pattern.
        rule: String,
    },
}

impl Admission {
    /// Returns when the first of the metadata expires that it rests on; what lies beside images does not.
    pub fn expires(&self) -> Option<Time> {
        match self {
            Self::Rule { expires, also, .. } => {
                let others = also.iter().map(|signed| signed.expires);
                others.chain([*expires]).min()
            }
            _ => None,
        }
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule {
                rule,
                root,
                role,
                keys,
                also,
                attached,
                ..
            } => {
                write!(f, "{} key(s) of {root}/{role}", keys.len())?;
                for SignedBy { root, role, keys, .. } in also {
                    write!(f, " and {} of {root}/{role}", keys.len())?;
                }
                attached.iter().try_for_each(|attached| write!(f, " and {attached}"))?;
                write!(f, ", rule {rule}")
            }
            Self::Attached { rule, attached } => {
                let attached: Vec<String> = attached.iter().map(ToString::to_string).collect();
                write!(f, "{}, rule {rule}", attached.join(" and "))
            }
            Self::ListedDigest { rule } => write!(f, "a digest that the policy lists, rule {rule}"),
            Self::Nothing => f.write_str("UNSIGNED"),
            Self::UnsignedRule { rule } => write!(f, "UNSIGNED, rule {rule}"),
        }
    }
}

/// One more signature that a rule names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedBy {
    /// The policy's name of the trust root.
    pub root: String,
    /// The targets role that signed.
    pub role: String,
    /// How many distinct keys had to sign.
    pub threshold: u32,
    /// The keys that did.
    pub keys: Vec<String>,
    /// Versions of root, timestamp, snapshot and the role's metadata.
    pub versions: [u64; 4],
    /// When the first of these metadata expires.
    pub expires: Time,
}

/// A signature or an attestation beside an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AttachedBy {
    /// Who signed: the fingerprint of a key, or an identity and its issuer.
    pub by: String,
    /// How it is written: `bundle`, `envelope` or `simple`.
    pub form: String,
    /// The digest of its bytes.
    pub layer: Digest,
    /// The predicate's type, where a statement was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
}

impl fmt::Display for AttachedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, form, layer, .. } = self;
        write!(f, "{form} {} by {by}", layer.short())
    }
}

/// One segment of the initrd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SegmentRecord {
    /// Whose it is, for reports.
    pub owner: String,
    /// Its length with padding.
    pub length: u64,
}

/// The evidence as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRecord {
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of the stored bytes.
    pub digest: Digest,
}

/// Bytes that are no statement that this version can judge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not a statement's JSON.
    #[error("the sealed statement: {0}")]
    Form(String),
    /// Another kind of statement.
    #[error("the seal signs a statement of type `{found}`, expected `urn:imgkit:seal:v1`")]
    Type {
        /// The predicate type found.
        found: String,
    },
    /// A later version.
    #[error("the seal has format version {0}, this imgkit knows 1 and 2; use a newer imgkit")]
    Version(u32),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample() -> Statement {
        let digest = Digest::sha256(b"");
        let predicate = Predicate {
            format_version: FORMAT_VERSION,
            name: "node".into(),
            arch: "amd64".into(),
            epoch: 3,
            evaluated_at: Time::from_unix(1_700_000_000).unwrap(),
            unsafe_accept_unsigned: false,
            policy: Some(digest),
            cmdline: "console=ttyS0".into(),
            spec: InputRecord {
                name: "node.yml".into(),
                size: 0,
                digest,
            },
            sources: Vec::new(),
            layout: Layout::Bios {
                writer: 1,
                length: 1 << 26,
                seal_offset: 1 << 25,
                seal_length: 1 << 16,
            },
            components: vec![ComponentRecord {
                reference: "r.example/a:v1".parse().unwrap(),
                document: digest,
                manifest: digest,
                tree: digest,
                admitted: Admission::Nothing,
            }],
            segments: vec![SegmentRecord {
                owner: "r.example/a:v1".into(),
                length: 4,
            }],
            evidence: EvidenceRecord { size: 0, digest },
        };
        let subject = Subject {
            name: "node".into(),
            digest: SubjectDigest::Content(digest.hex()),
        };
        Statement::new(vec![subject], predicate)
    }

    #[test]
    fn the_encoding_is_pinned() {
        insta::assert_snapshot!(String::from_utf8(sample().encode()).unwrap());
        assert_eq!(Statement::decode(&sample().encode()).unwrap(), sample());
    }

    #[test]
    fn a_digest_has_the_name_that_is_written() {
        for digest in [SubjectDigest::Content("00".into()), SubjectDigest::File("01".into())] {
            let (name, hex) = digest.entry();
            assert_eq!(serde_json::to_value(&digest).unwrap(), serde_json::json!({ name: hex }));
        }
    }

    #[test]
    fn refuses_names_that_would_add_lines_to_a_report() {
        let mut statement = sample();
        statement.predicate.spec.name = "node.yml\n  PROVED   everything".into();
        assert!(Statement::decode(&statement.encode()).is_err());
        statement.predicate.spec.name = r"dir\node.yml".into();
        assert!(Statement::decode(&statement.encode()).is_ok());
    }

    #[test]
    fn refuses_unknown_members_versions_and_types() {
        let good = String::from_utf8(sample().encode()).unwrap();
        for (from, to) in [
            ("\"epoch\":3", "\"epoch\":3,\"more\":1"),
            ("\"epoch\":3", "\"epoch\":3,\"epoch\":3"),
            ("\"formatVersion\":2", "\"formatVersion\":3"),
            ("seal:v1", "seal:v2"),
            ("\"epoch\":3", "\"epoch\": 3"),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good);
            assert!(Statement::decode(changed.as_bytes()).is_err(), "{to}");
        }
    }
}
