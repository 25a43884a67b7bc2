//! `component.lock`: the packages that a component was made of, each with its version and SHA-256.
//!
//! A mirror keeps only the newest versions, so a lock is a record first and a demand only where it is asked for (`--locked`): then
//! every package must be the very file that the lock names, from the cache of downloads, a folder, or the archive.

use std::fmt::Write as _;

use crate::oci::Package;
use crate::yaml::{Document, Item, YamlError};

/// Name of the file beside a recipe.
pub const FILE: &str = "component.lock";

/// Reads a lock; `file` is how errors name it.
///
/// # Errors
/// [`YamlError`] at the place of the first mistake.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Package>, YamlError> {
    Document::parse(file, bytes)?
        .root()
        .fields("a lock", |lock| lock.required("packages")?.list_of(package))
}

/// Writes a lock of packages sorted by name.
pub fn write(packages: &[Package]) -> String {
    let mut text = String::from("# Written by `imgkit pkg build --update-lock`.\npackages:");
    text.push_str(if packages.is_empty() { " []\n" } else { "\n" });
    for package in packages {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "  - name: {}\n    version: '{}'\n    architecture: {}\n    sha256: {}\n",
            package.name, package.version, package.architecture, package.sha256
        );
    }
    text
}

/// Says in a line for each package how `now` differs from the lock.
pub fn differences(locked: &[Package], now: &[Package]) -> Vec<String> {
    let find = |list: &[Package], name: &str| list.iter().find(|package| package.name == name).cloned();
    let changed = now.iter().filter_map(|package| match find(locked, &package.name) {
        None => Some(format!("{} {} is not in the lock", package.name, package.version)),
        Some(old) if old.version != package.version => Some(format!(
            "{} is {}, locked {}",
            package.name, package.version, old.version
        )),
        Some(old) if (&old.architecture, &old.sha256) != (&package.architecture, &package.sha256) => Some(format!(
            "{} {} has SHA-256 {}, locked {}",
            package.name, package.version, package.sha256, old.sha256
        )),
        Some(_) => None,
    });
    let gone = locked.iter().filter(|old| find(now, &old.name).is_none());
    let gone = gone.map(|old| format!("{} {} is in the lock and not used", old.name, old.version));
    changed.chain(gone).collect()
}

fn package(item: Item<'_>) -> Result<Package, YamlError> {
    item.fields("a package", |package| {
        Ok(Package {
            name: package.required("name")?.word()?.to_owned(),
            version: package.required("version")?.word()?.to_owned(),
            architecture: package.required("architecture")?.word()?.to_owned(),
            sha256: package.required("sha256")?.parse()?,
            licenses: Vec::new(),
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::digest::Digest;

    fn sample() -> Vec<Package> {
        let package = |name: &str, version: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            sha256: Digest::sha256(version.as_bytes()),
            licenses: Vec::new(),
        };
        vec![
            package("libc6", "2.36-9"),
            package("openssh-server", "1:9.2p1-2+deb12u10"),
            package("x", "1.0"),
        ]
    }

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(parse("l", write(&sample()).as_bytes()).unwrap(), sample());
        assert_eq!(parse("l", write(&[]).as_bytes()).unwrap(), []);
    }

    #[test]
    fn names_every_difference() {
        let mut now = sample();
        assert_eq!(differences(&sample(), &now), [""; 0]);
        now[0].version = "2.36-10".to_owned();
        now[1].sha256 = Digest::sha256(b"other");
        now[2].name = "y".to_owned();
        assert_eq!(differences(&sample(), &now).len(), 4);
    }
}
