//! OCI references in their normalised form: `HOST/REPOSITORY[:TAG][@DIGEST]`.
//!
//! - The grammar is the distribution specification's ("Pulling manifests"), hosts are docker's: a first part with a dot,
//!   a colon, or `localhost` is a host, everything else is on `docker.io`, and one part alone is `docker.io/library/`.
//! - Rules and signatures name the normalised form, never a mirror or cache place (law of the gate 4).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::limit;

/// A repository: host (with port) and path, normalised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    host: String,
    path: String,
}

impl Repository {
    /// Returns the registry's host, with its port if one was written.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the path below the host, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An image's name: a repository with a tag, a digest, or both.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Returns the repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns the tag, if one is named; a reference with neither tag nor digest was given `latest`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if one is named.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns `HOST/REPOSITORY:TAG`, the name that trust metadata signs; `None` for a bare digest.
    pub fn target_name(&self) -> Option<String> {
        let tag = self.tag.as_ref()?;
        Some(format!("{}:{tag}", self.repository))
    }

    /// Returns the reference by its tag alone, and its digest, where it names both.
    pub fn both(&self) -> Option<(Self, &Digest)> {
        let digest = self.digest.as_ref().filter(|_| self.tag.is_some())?;
        let tagged = Self {
            digest: None,
            ..self.clone()
        };
        Some((tagged, digest))
    }

    /// Pins the reference to `digest`.
    ///
    /// # Errors
    /// The digest that the reference names already, when it is another one.
    pub fn pin(&self, digest: Digest) -> Result<Pinned, Digest> {
        match self.digest {
            Some(named) if named != digest => Err(named),
            _ => Ok(Pinned {
                reference: Self {
                    digest: Some(digest),
                    ..self.clone()
                },
                digest,
            }),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let bad = |what| ReferenceError {
            reference: text.chars().take(200).collect(),
            what,
        };
        if text.len() > limit::REFERENCE_BYTES {
            return Err(bad("it is longer than 1024 bytes"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (
                name,
                Some(digest.parse().map_err(|_| bad("what follows `@` is not a digest"))?),
            ),
            None => (text, None),
        };
        let last_slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name.rfind(':') {
            Some(at) if at >= last_slash && last_slash > 0 => split_tag(name, at),
            // Without a slash a colon can only begin a tag: `alpine:3`.
            Some(at) if last_slash == 0 => split_tag(name, at),
            _ => (name, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(bad("the tag is not [A-Za-z0-9_][A-Za-z0-9._-]{0,127}"));
        }
        let (host, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first.to_owned(), rest.to_owned())
            }
            Some(_) => ("docker.io".to_owned(), name.to_owned()),
            None => ("docker.io".to_owned(), format!("library/{name}")),
        };
        let (host, path) = match host.as_str() {
            "index.docker.io" | "registry-1.docker.io" => ("docker.io".to_owned(), path),
            _ => (host, path),
        };
        let path = match host.as_str() {
            "docker.io" if !path.contains('/') => format!("library/{path}"),
            _ => path,
        };
        if !is_host(&host) {
            return Err(bad("the host is not lower-case name or address with an optional port"));
        }
        if path.len() > limit::REPOSITORY_BYTES || !path.split('/').all(is_component) {
            return Err(bad(
                "each part of the repository is lower-case letters and digits, joined by `.`, `_`, `__` or dashes",
            ));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self {
            repository: Repository { host, path },
            tag,
            digest,
        })
    }
}

impl serde::Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A reference whose digest is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pinned {
    reference: Reference,
    digest: Digest,
}

impl Pinned {
    /// Returns the reference, its digest included.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Returns the digest of the document (index or manifest) that the reference names.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}

/// A text is no OCI reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{reference}` is not an image reference: {what}; expected HOST/REPOSITORY:TAG or …@sha256:HEX")]
pub struct ReferenceError {
    reference: String,
    what: &'static str,
}

fn split_tag(name: &str, at: usize) -> (&str, Option<&str>) {
    match (name.get(..at), name.get(at + 1..)) {
        (Some(name), Some(tag)) => (name, Some(tag)),
        _ => (name, None),
    }
}

fn is_tag(tag: &str) -> bool {
    let first = tag.bytes().next();
    tag.len() <= 128
        && first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    // Written in one way alone: what a policy forbids of a host it forbids of the same host.
    let is_port = |port: &str| {
        port.parse::<u16>()
            .is_ok_and(|number| number > 0 && number.to_string() == port)
    };
    let port_is_good = port.is_none_or(is_port);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name_is_good = match address {
        Some(address) => address
            .parse::<core::net::Ipv6Addr>()
            .is_ok_and(|parsed| parsed.to_string() == address),
        None => name.split('.').all(|label| {
            let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            label.len() <= 63 && edge(label.bytes().next()) && edge(label.bytes().last()) && label.bytes().all(inner)
        }),
    };
    name.len() <= 253 && name_is_good && port_is_good
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, the distribution specification's path component.
fn is_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separators = part.split(|c: char| c.is_ascii() && alphanumeric(c as u8));
    let good = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    let ends = [part.bytes().next(), part.bytes().last()];
    ends.iter().all(|b| b.is_some_and(alphanumeric)) && separators.into_iter().all(good)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn normal(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn normalises_as_docker_does() {
        assert_eq!(normal("alpine"), "docker.io/library/alpine:latest");
        assert_eq!(normal("alpine:3"), "docker.io/library/alpine:3");
        assert_eq!(normal("docker.io/alpine"), "docker.io/library/alpine:latest");
        assert_eq!(normal("linuxkit/init:v1"), "docker.io/linuxkit/init:v1");
        assert_eq!(normal("index.docker.io/linuxkit/init:v1"), "docker.io/linuxkit/init:v1");
        assert_eq!(normal("127.0.0.1:15061/fix/init:v1"), "127.0.0.1:15061/fix/init:v1");
        assert_eq!(normal("localhost/a"), "localhost/a:latest");
        assert_eq!(normal("[::1]:5000/a/b:c"), "[::1]:5000/a/b:c");
    }

    #[test]
    fn keeps_a_bare_digest_bare() {
        let digest = Digest::sha256(b"");
        let reference: Reference = format!("r.example/a@{digest}").parse().unwrap();
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.target_name(), None);
        assert_eq!(reference.digest(), Some(&digest));
    }

    #[test]
    fn refuses_what_the_specification_does() {
        for text in [
            "",
            "UPPER/case",
            "a//b",
            "a/../b",
            "a/b:",
            "a/b:-x",
            "-h.example/a",
            "h.example:0/a",
            "h.example:05000/a",
            "h.example:+5000/a",
            "[0:0:0:0:0:0:0:1]:5000/a",
            "h.example:99999/a",
            "h.example/a@sha256:12",
            "h.example/.a",
            "h.example/a._b",
            "h.example/a___b",
            "http://h.example/a",
            "h.EXAMPLE/a",
            "h.example/",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn pins_only_to_the_digest_it_names() {
        let one = Digest::sha256(b"1");
        let reference: Reference = format!("r.example/a:v1@{one}").parse().unwrap();
        assert!(reference.pin(one).is_ok());
        assert_eq!(reference.pin(Digest::sha256(b"2")), Err(one));
    }
}
