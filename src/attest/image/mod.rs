//! What is said of a built image for others to read: how it was made (SLSA provenance v1), and what is in it (SPDX 2.3, CycloneDX 1.6).
//!
//! Each document is a pure function of what the image's statement and the configs of its components say, so that a verifier makes
//! it again and compares: a bill of materials in a seal cannot lie about the image. No document names a version of imgkit, as later
//! ones write the same bytes.

mod cyclonedx;
mod license;
mod provenance;
pub mod purl;
mod spdx;

use std::str::FromStr;

use serde_json::Value;

use crate::digest::Digest;
use crate::oci::Package;
use crate::reference::Reference;
use crate::time::Time;

/// What is said of an image.
#[derive(Clone, Debug)]
pub struct ImageParts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its architecture, as OCI names it.
    pub arch: &'a str,
    /// Its epoch.
    pub epoch: u64,
    /// When its inputs were judged; the only time in any document.
    pub evaluated_at: Time,
    /// SHA-256 of the policy that it was built under, if there was one.
    pub policy: Option<Digest>,
    /// node.yml.
    pub spec: Input<'a>,
    /// The files beside it that it names.
    pub sources: Vec<Input<'a>>,
    /// Its components, in order of their references.
    pub components: Vec<Part<'a>>,
}

/// A file that the build read.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its path as the build was given it.
    pub name: &'a str,
    /// SHA-256 of its content.
    pub digest: Digest,
}

/// A component.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// The reference that node.yml names.
    pub reference: &'a Reference,
    /// The document that it stands for: an index or a manifest.
    pub document: Digest,
    /// The platform's manifest.
    pub manifest: Digest,
    /// SHA-256 of its tree list.
    pub tree: Digest,
    /// The Debian packages whose files are in it, where it says so.
    pub packages: Vec<Package>,
    /// The Debian packages whose programs made something in it.
    pub tools: Vec<Package>,
}

impl Part<'_> {
    /// Returns its name without host, tag and digest.
    fn name(&self) -> &str {
        self.reference.repository().path()
    }

    /// Returns its tag, else the digest of its document.
    fn version(&self) -> String {
        let tag = self.reference.tag().map(str::to_owned);
        tag.unwrap_or_else(|| self.document.to_string())
    }
}

/// A document about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// How it was made: the predicate of SLSA's provenance v1.
    Provenance,
    /// What is in it: SPDX 2.3 in JSON.
    Spdx,
    /// What is in it: CycloneDX 1.6 in JSON.
    CycloneDx,
}

impl Document {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Provenance, Self::Spdx, Self::CycloneDx];

    /// Returns its name: in commands, in a seal's evidence below `attest/`, and in the names of files beside an image.
    pub fn name(self) -> &'static str {
        match self {
            Self::Provenance => "provenance",
            Self::Spdx => "spdx",
            Self::CycloneDx => "cdx",
        }
    }

    /// Returns the type of the predicate that it is, a URI.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Provenance => "https://slsa.dev/provenance/v1",
            Self::Spdx => "https://spdx.dev/Document",
            Self::CycloneDx => "https://cyclonedx.org/bom",
        }
    }

    /// Makes the document.
    pub fn about(self, image: &ImageParts<'_>) -> Value {
        match self {
            Self::Provenance => provenance::predicate(image),
            Self::Spdx => spdx::document(image),
            Self::CycloneDx => cyclonedx::document(image),
        }
    }
}

impl FromStr for Document {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|document| document.name() == text);
        found.ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Returns the identity of a document's text, 64 hexadecimal digits: what an identifier of the document is made of.
fn identity(document: &Value) -> String {
    Digest::sha256(document.to_string().as_bytes()).hex()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::attest::PredicateType;

    fn package(name: &str, version: &str, licenses: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            sha256: Digest::sha256(name.as_bytes()),
            licenses: licenses.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn with_image<T>(check: impl FnOnce(&ImageParts<'_>) -> T) -> T {
        let digest = Digest::sha256(b"");
        let (init, ssh) = (
            "r.example/init:v1".parse().unwrap(),
            "r.example:5000/a/ssh:v2".parse().unwrap(),
        );
        let part = |reference, packages, tools| Part {
            reference,
            document: digest,
            manifest: Digest::sha256(b"m"),
            tree: Digest::sha256(b"t"),
            packages,
            tools,
        };
        let ssh_packages = vec![
            package(
                "libstdc++6",
                "12.2.0-14+deb12u1",
                &["Expat", "GPL-3+ with GCC-exception"],
            ),
            package("openssh-server", "1:9.2p1-2~deb12", &[]),
        ];
        check(&ImageParts {
            name: "node",
            arch: "amd64",
            epoch: 3,
            evaluated_at: Time::from_unix(1_700_000_000).unwrap(),
            policy: Some(digest),
            spec: Input {
                name: "node.yml",
                digest,
            },
            sources: vec![Input {
                name: "etc/key",
                digest,
            }],
            components: vec![
                part(&ssh, ssh_packages, vec![package("binutils", "2.40-2", &[])]),
                part(&init, Vec::new(), Vec::new()),
            ],
        })
    }

    #[test]
    fn the_documents_are_pinned() {
        with_image(|image| {
            for document in Document::ALL {
                let text = serde_json::to_string_pretty(&document.about(image)).unwrap();
                insta::assert_snapshot!(document.name(), text);
            }
        });
    }

    #[test]
    fn each_document_has_the_form_of_its_type() {
        with_image(|image| {
            for document in Document::ALL {
                let kind: PredicateType = document.predicate_type().parse().unwrap();
                kind.check(&document.about(image)).unwrap();
            }
        });
    }
}
