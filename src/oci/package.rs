//! The labels in which an image's config names the Debian packages that it was made of.

use serde::{Deserialize, Serialize};

use super::{ImageConfig, malformed};
use crate::digest::Digest;
use crate::failure::Failure;

/// Label with the packages whose files are in the image: a JSON array of [`Package`].
pub const PACKAGES: &str = "org.imgkit.packages";

/// Label with the packages whose programs made something in the image.
pub const TOOLS: &str = "org.imgkit.tools";

/// A Debian package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture; `all` when it has none.
    pub architecture: String,
    /// SHA-256 of its `.deb` file.
    pub sha256: Digest,
    /// The licences that its copyright file names, by Debian's short names (DEP-5); none where that file is not for machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
}

/// Reads the packages that a config names under `label`; `None` for an image that was not made of packages.
///
/// # Errors
/// A refusal (MALFORMED) when the label is no list of packages; `subject` names the image.
pub fn packages(subject: &str, config: &ImageConfig, label: &str) -> Result<Option<Vec<Package>>, Failure> {
    let read = config.labels.get(label).map(|text| serde_json::from_str(text));
    read.transpose().map_err(|error| {
        malformed(
            &format!("label {label} of {subject}"),
            "a list of Debian packages in JSON",
            error,
        )
    })
}
