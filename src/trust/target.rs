//! What a collection says of one name, and the evidence for it.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::bundle::Bundle;
use super::metadata::{Header, TargetFile};
use super::{TrustError, names};
use crate::digest::Digest;
use crate::key::KeyId;
use crate::time::Time;
use crate::tree::described;
pub use crate::tree::described::PlatformTarget;

/// A target that a role of the collection signed. Only a look-up makes one.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) name: String,
    pub(super) file: TargetFile,
    pub(super) evidence: Evidence,
    pub(super) bundle: Bundle,
}

impl Target {
    /// Returns the name that was looked up.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the length in bytes that the signer saw.
    pub fn length(&self) -> u64 {
        self.file.length
    }

    /// Returns the digests that the signer saw and imgkit knows; where there is none, no content is the target's.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.file.hashes.digests()
    }

    /// Returns what the signer says beyond length and digests.
    pub fn custom(&self) -> Option<&Value> {
        self.file.custom.as_ref()
    }

    /// Returns who signed it, and under which metadata.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Returns the metadata files from which the look-up can be repeated.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Checks bytes against length and digests (step 5.7.3).
    ///
    /// # Errors
    /// [`TrustError::Digest`].
    pub fn check(&self, bytes: &[u8]) -> Result<(), TrustError> {
        let subject = format!("target {}", self.name);
        if self.file.length != bytes.len() as u64 {
            return Err(TrustError::Digest {
                subject,
                expected: format!("{} bytes", self.file.length),
                found: format!("{} bytes", bytes.len()),
            });
        }
        self.file.hashes.check(&subject, bytes)
    }

    /// Tells whether the signer says more of an image than its document: its manifests and trees.
    pub fn describes_image(&self) -> bool {
        self.file
            .custom
            .as_ref()
            .is_some_and(|custom| custom.get(described::MEMBER).is_some())
    }

    /// Reads the target as an image.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] when the signer did not describe one.
    pub fn image(&self) -> Result<ImageTarget, TrustError> {
        ImageTarget::read(&self.file).map_err(|problem| TrustError::malformed(format!("target {}", self.name), problem))
    }
}

/// An image as its signer describes it (law of the gate 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageTarget {
    /// SHA-256 of the document that the reference names: an index or a manifest.
    pub document: Digest,
    /// Its length in bytes.
    pub length: u64,
    /// What it holds for each platform, each platform once.
    pub platforms: Vec<PlatformTarget>,
}

impl ImageTarget {
    /// Returns what the signer's platform `name` is, if it is one.
    pub fn platform(&self, name: &str) -> Option<&PlatformTarget> {
        self.platforms.iter().find(|platform| platform.platform == name)
    }

    /// Compares the image with what was found under `name` for one platform (laws of the gate 1 and 3).
    ///
    /// # Errors
    /// [`TrustError::Digest`] when document or manifest are others, or the signer did not sign this platform;
    /// [`TrustError::Tree`] when the tree is another.
    pub fn check(&self, name: &str, document: &Digest, found: &PlatformTarget) -> Result<(), TrustError> {
        let differ = |what: &str, expected: &dyn fmt::Display, found: &dyn fmt::Display| TrustError::Digest {
            subject: name.to_owned(),
            expected: format!("{what} {expected}"),
            found: format!("{what} {found}"),
        };
        if *document != self.document {
            return Err(differ("document", &self.document, document));
        }
        let Some(signed) = self.platform(&found.platform) else {
            let signed: Vec<_> = self
                .platforms
                .iter()
                .map(|platform| platform.platform.as_str())
                .collect();
            return Err(differ("platform", &signed.join(" or "), &found.platform));
        };
        if signed.manifest != found.manifest {
            return Err(differ("manifest", &signed.manifest, &found.manifest));
        }
        match signed.tree == found.tree {
            true => Ok(()),
            false => Err(TrustError::Tree {
                subject: name.to_owned(),
                expected: signed.tree.to_string(),
                found: found.tree.to_string(),
            }),
        }
    }

    /// Writes the image as a target.
    pub fn to_file(&self) -> TargetFile {
        let custom = described::to_value(&self.platforms);
        TargetFile {
            length: self.length,
            hashes: self.document.into(),
            custom: Some(serde_json::json!({ described::MEMBER: custom })),
            extra: serde_json::Map::new(),
        }
    }

    /// Reads a target as an image.
    fn read(file: &TargetFile) -> Result<Self, String> {
        let document = file.hashes.digests().find(|digest| matches!(digest, Digest::Sha256(_)));
        let document = document.ok_or("it has no sha256 hash")?;
        let custom = file.custom.as_ref().and_then(|custom| custom.get(described::MEMBER));
        let custom = custom
            .ok_or("its custom part does not describe an image; it was not signed with `imgkit trust sign REF`")?;
        let platforms = described::from_value(custom).map_err(|problem| format!("its custom part: {problem}"))?;
        Ok(Self {
            document,
            length: file.length,
            platforms,
        })
    }
}

/// Who signed something, and under which metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Keys of the root role in the newest trusted root: the collection's identity.
    pub root_keys: Vec<KeyId>,
    /// The targets role that signed.
    pub role: String,
    /// How many distinct keys had to sign.
    pub threshold: u32,
    /// The keys that did.
    pub keys: Vec<KeyId>,
    /// The same keys, each by the SHA-256 of its SubjectPublicKeyInfo in DER: other roots may call them otherwise.
    #[serde(skip)]
    pub public_keys: BTreeSet<Digest>,
    /// The newest trusted root.
    pub root: Mark,
    /// The timestamp.
    pub timestamp: Mark,
    /// The snapshot.
    pub snapshot: Mark,
    /// The top-level targets.
    pub targets: Mark,
    /// The delegated roles from the top level to the one that signed; empty when the top level signed itself.
    pub path: Vec<RoleMark>,
    /// The time at which all this was judged.
    pub judged_at: Time,
}

impl Evidence {
    /// Returns version and expiry of the metadata of the role that signed.
    pub fn role_mark(&self) -> Mark {
        self.path.last().map_or(self.targets, |role| role.mark)
    }

    /// Returns when the first of the metadata expires.
    pub fn expires(&self) -> Time {
        let fixed = [&self.root, &self.timestamp, &self.snapshot, &self.targets];
        let path = self.path.iter().map(|role| &role.mark);
        let all = fixed.into_iter().chain(path).map(|mark| mark.expires);
        all.min().unwrap_or(self.root.expires)
    }
}

/// Version and expiry of one metadata file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Its version.
    pub version: u64,
    /// When it expires.
    pub expires: Time,
}

impl From<&Header> for Mark {
    fn from(header: &Header) -> Self {
        Self {
            version: header.version,
            expires: header.expires,
        }
    }
}

impl From<&super::notary::Header> for Mark {
    fn from(header: &super::notary::Header) -> Self {
        Self {
            version: header.version,
            expires: header.expires,
        }
    }
}

/// Version and expiry of one role's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleMark {
    /// The role.
    pub role: String,
    /// Its metadata.
    #[serde(flatten)]
    pub mark: Mark,
}

/// Describes a plain file as a target: length and SHA-256.
///
/// # Errors
/// As [`names::check_target_name`].
pub fn plain_file(name: &str, bytes: &[u8]) -> Result<TargetFile, TrustError> {
    names::check_target_name(name)?;
    Ok(TargetFile {
        length: bytes.len() as u64,
        hashes: super::hashes::Hashes::sha256(bytes),
        custom: None,
        extra: serde_json::Map::new(),
    })
}
