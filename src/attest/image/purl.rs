//! Package URLs (ECMA-427, "purl"): of Debian packages, of OCI images, and of finished images.

use super::Part;
use crate::oci::Package;

/// Returns the package URL of a Debian package.
pub(super) fn debian(package: &Package) -> String {
    format!(
        "pkg:deb/debian/{}@{}?arch={}",
        encode(&package.name),
        encode(&package.version),
        encode(&package.architecture)
    )
}

/// Returns the package URL of a component's image: its digest is its version.
pub(super) fn image(part: &Part<'_>) -> String {
    let repository = part.reference.repository();
    let name = repository.path().rsplit('/').next().unwrap_or_default();
    let mut url = format!("pkg:oci/{}@{}", encode(name), encode(&part.document.to_string()));
    url.push_str("?repository_url=");
    url.push_str(&encode(&format!("{}/{}", repository.host(), repository.path())));
    if let Some(tag) = part.reference.tag() {
        url.push_str("&tag=");
        url.push_str(&encode(tag));
    }
    url
}

/// Returns the package URL of a finished image: its epoch is its version.
pub fn finished(name: &str, epoch: u64, arch: &str) -> String {
    format!("pkg:generic/{}@{epoch}?arch={}", encode(name), encode(arch))
}

/// Returns the package URL of a file of which nothing is known but its name.
pub fn file(name: &str) -> String {
    format!("pkg:generic/{}", encode(name))
}

/// Encodes what may not stand for itself in a package URL; a colon does.
pub(in crate::attest) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_of_its_own_is_encoded() {
        assert_eq!(encode("1:12.2+deb12~u1"), "1:12.2%2Bdeb12~u1");
        assert_eq!(encode("a/b@c?d&é"), "a%2Fb%40c%3Fd%26%C3%A9");
        assert_eq!(finished("no de", 3, "amd64"), "pkg:generic/no%20de@3?arch=amd64");
        assert_eq!(file("node.qcow2"), "pkg:generic/node.qcow2");
    }
}
