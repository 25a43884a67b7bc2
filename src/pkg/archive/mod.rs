//! Where packages come from: Debian's archive through apt, or a folder of files.

mod apt;
mod folder;

pub use apt::Apt;
pub use folder::Folder;

use std::path::PathBuf;

use crate::digest::Digest;
use crate::failure::Failure;
use crate::oci::Package;

/// A place that packages come from.
#[derive(Debug)]
pub enum Archive {
    /// Debian's archive, as the system's apt is set up to reach it.
    Apt(Apt),
    /// A folder of `.deb` files.
    Folder(Folder),
}

impl Archive {
    /// Gets the packages of these names, in the same order; of those in `locked` exactly the file that it names.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when a package is not there; a refusal (DIGEST_MISMATCH) when its file is not the one that the archive
    /// or the lock names.
    pub fn fetch(&self, names: &[String], locked: Option<&[Package]>) -> Result<Vec<Fetched>, Failure> {
        let wanted: Vec<Wanted<'_>> = names
            .iter()
            .map(|name| {
                let pinned = match locked {
                    None => None,
                    Some(packages) => Some(packages.iter().find(|package| package.name == *name).ok_or_else(|| {
                        let problem =
                            "the lock does not name it; write the lock again with `imgkit pkg build --update-lock`";
                        Failure::malformed(format!("package {name}"), problem)
                    })?),
                };
                Ok(Wanted { name, pinned })
            })
            .collect::<Result<_, Failure>>()?;
        match self {
            Self::Apt(apt) => apt.fetch(&wanted),
            Self::Folder(folder) => folder.fetch(&wanted),
        }
    }
}

/// A package that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The name by which it was asked for.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// The SHA-256 that the file must have.
    pub sha256: Digest,
}

/// A package that is asked for.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    name: &'a str,
    pinned: Option<&'a Package>,
}
