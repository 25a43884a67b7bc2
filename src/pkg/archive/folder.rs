//! Packages from a folder of `.deb` files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use super::{Fetched, Wanted};
use crate::failure::Failure;
use crate::oci::digest_mismatch;
use crate::pkg::deb::{Control, Deb};
use crate::store::file::cannot;
use crate::tree::contents::hash_to;

/// The packages of a folder, by name.
#[derive(Debug)]
pub struct Folder {
    packages: BTreeMap<String, (Control, Fetched)>,
}

impl Folder {
    /// Reads the control fields of every `.deb` in `dir` that is for `architecture` or for all.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the folder cannot be read; [`Failure::Malformed`] for a file that is no package, and for two
    /// packages of one name.
    pub fn open(dir: &Path, architecture: &str) -> Result<Self, Failure> {
        let unreadable = |error| cannot("list", dir, &error);
        let mut packages: BTreeMap<String, (Control, Fetched)> = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_none_or(|ending| ending != "deb") {
                continue;
            }
            let mut file = File::open(&path).map_err(|error| cannot("open", &path, &error))?;
            let control = Deb::control(&mut BufReader::new(&file));
            let control = control.map_err(|error| Failure::malformed(path.display(), error))?;
            if control.architecture != architecture && control.architecture != "all" {
                continue;
            }
            let hashed = io::Seek::rewind(&mut file).and_then(|()| hash_to(&mut file, &mut io::sink()));
            let (_, sha256) = hashed.map_err(|error| cannot("read", &path, &error))?;
            let name = control.name.clone();
            let fetched = Fetched {
                name: name.clone(),
                path,
                sha256,
            };
            if let Some((other, _)) = packages.get(&name) {
                let problem = format!("there are {} and {} of it; keep one", other.version, control.version);
                return Err(Failure::malformed(
                    format!("package {name} in {}", dir.display()),
                    problem,
                ));
            }
            packages.insert(name, (control, fetched));
        }
        Ok(Self { packages })
    }

    pub(super) fn fetch(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Fetched>, Failure> {
        let find = |wanted: &Wanted<'_>| {
            let (control, fetched) = self.packages.get(wanted.name).ok_or_else(|| {
                let problem = format!("the folder has no .deb of it among its {}", self.packages.len());
                Failure::unavailable(format!("package {}", wanted.name), problem)
            })?;
            match wanted.pinned {
                Some(pinned) if pinned.sha256 != fetched.sha256 => {
                    let subject = format!("package {} {}", wanted.name, control.version);
                    Err(digest_mismatch(&subject, pinned.sha256, fetched.sha256))
                }
                _ => Ok(fetched.clone()),
            }
        };
        wanted.iter().map(find).collect()
    }
}
