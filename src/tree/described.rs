//! What a signer says of an image's trees: the same JSON in a target's `custom`, a simple-signing payload's `optional` and a
//! predicate (docs/sigstore.md).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::limit;

/// The member that holds the description among what others say.
pub const MEMBER: &str = "imgkit";

/// The version that imgkit writes and reads.
const VERSION: u64 = 1;

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformTarget {
    /// `OS/ARCHITECTURE[/VARIANT]`.
    pub platform: String,
    /// Digest of the platform's manifest.
    pub manifest: Digest,
    /// Digest of the image's tree list.
    pub tree: Digest,
}

#[derive(Deserialize)]
struct Described {
    platforms: Vec<PlatformTarget>,
}

/// Writes the description.
pub fn to_value(platforms: &[PlatformTarget]) -> Value {
    json!({ "version": VERSION, "platforms": platforms })
}

/// Reads a description: each platform once, one at least.
///
/// # Errors
/// What is not as it should be.
pub fn from_value(value: &Value) -> Result<Vec<PlatformTarget>, String> {
    if value.get("version").and_then(Value::as_u64) != Some(VERSION) {
        return Err(format!("another version than {VERSION}; use a newer imgkit"));
    }
    let described = Described::deserialize(value).map_err(|error| error.to_string())?;
    let mut names: Vec<_> = described.platforms.iter().map(|platform| &platform.platform).collect();
    names.sort();
    names.dedup();
    let count = described.platforms.len();
    match names.is_empty() || names.len() != count || count > limit::PLATFORMS {
        true => Err("no platform, one twice, or too many".to_owned()),
        false => Ok(described.platforms),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_what_it_writes_and_no_platform_twice() {
        let one = PlatformTarget {
            platform: "linux/amd64".to_owned(),
            manifest: Digest::sha256(b"m"),
            tree: Digest::sha256(b"t"),
        };
        let platforms = vec![one.clone()];
        assert_eq!(from_value(&to_value(&platforms)).unwrap(), platforms);
        assert!(from_value(&to_value(&[])).is_err());
        assert!(from_value(&to_value(&[one.clone(), one])).is_err());
        assert!(from_value(&json!({ "version": 2, "platforms": platforms })).is_err());
    }
}
