//! Packages through the system's apt, without root and without touching the system's state.
//!
//! - Lists and downloads live in a directory of ours; sources, keys and proxies are the system's, and apt checks the archive's
//!   signatures. An unreachable or wrongly signed source is an error, not a warning.
//! - Files are kept by their SHA-256, so a package is downloaded once; each is hashed again whenever it is used.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Fetched, Wanted};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::oci::digest_mismatch;
use crate::store::file::{Lock, cannot, make_dir};
use crate::tree::contents::hash_to;

/// Hooks of the system's configuration that would act outside our directory.
const CONFIGURATION: &str = "#clear APT::Update::Pre-Invoke;\n\
    #clear APT::Update::Post-Invoke;\n\
    #clear APT::Update::Post-Invoke-Success;\n\
    #clear DPkg::Post-Invoke;\n";

/// How many of apt's last words an error repeats.
const LAST_WORDS: usize = 3;

/// The system's apt with a state of our own.
#[derive(Debug)]
pub struct Apt {
    dir: PathBuf,
    _lock: Lock,
}

impl Apt {
    /// Brings the package lists in `dir` up to date; waits while another process uses them.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when there is no apt, or a source cannot be reached or is not signed by its key.
    pub fn update(dir: &Path) -> Result<Self, Failure> {
        for part in ["lists/partial", "cache/archives/partial", "packages"] {
            make_dir(&dir.join(part))?;
        }
        let dir = fs::canonicalize(dir).map_err(|error| cannot("find", dir, &error))?;
        let apt = Self {
            _lock: Lock::exclusive(&dir.join("lock"))?,
            dir,
        };
        let configuration = apt.configuration();
        fs::write(&configuration, CONFIGURATION).map_err(|error| cannot("write", &configuration, &error))?;
        apt.run(&["update"], &apt.dir)?;
        Ok(apt)
    }

    pub(super) fn fetch(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Fetched>, Failure> {
        let pinned_here = |wanted: &Wanted<'_>| wanted.pinned.is_some_and(|pinned| self.kept(&pinned.sha256).exists());
        let asked: Vec<&Wanted<'_>> = wanted.iter().filter(|wanted| !pinned_here(wanted)).collect();
        let offers = self.offers(&asked)?;
        let (missing, specs): (Vec<&Offer>, Vec<String>) = offers
            .iter()
            .zip(&asked)
            .filter(|(offer, _)| !self.kept(&offer.sha256).exists())
            .map(|(offer, wanted)| (offer, spec(wanted)))
            .unzip();
        if !missing.is_empty() {
            self.download(&missing, &specs)?;
        }
        let mut offers = offers.into_iter();
        wanted
            .iter()
            .map(|wanted| {
                let sha256 = match wanted.pinned {
                    Some(pinned) if pinned_here(wanted) => pinned.sha256,
                    _ => offers.next().map(|offer| offer.sha256).ok_or_else(|| absent(wanted))?,
                };
                if let Some(pinned) = wanted.pinned.filter(|pinned| pinned.sha256 != sha256) {
                    let subject = format!("package {} {}", wanted.name, pinned.version);
                    return Err(digest_mismatch(&subject, pinned.sha256, sha256));
                }
                Ok(Fetched {
                    name: wanted.name.to_owned(),
                    path: self.kept(&sha256),
                    sha256,
                })
            })
            .collect()
    }

    /// Asks apt which files it would download, in the order of `asked`.
    fn offers(&self, asked: &[&Wanted<'_>]) -> Result<Vec<Offer>, Failure> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let specs: Vec<String> = asked.iter().map(|wanted| spec(wanted)).collect();
        let arguments: Vec<&str> = ["--print-uris", "download"]
            .into_iter()
            .chain(specs.iter().map(String::as_str))
            .collect();
        let listed = self.run(&arguments, &self.dir)?;
        let offers: Vec<Offer> = listed.lines().filter_map(Offer::parse).collect();
        let find = |wanted: &&Wanted<'_>| {
            let prefix = format!("{}_", wanted.name);
            let offer = offers.iter().find(|offer| offer.file.starts_with(&prefix));
            offer.cloned().ok_or_else(|| absent(wanted))
        };
        asked.iter().map(find).collect()
    }

    fn download(&self, offers: &[&Offer], specs: &[String]) -> Result<(), Failure> {
        let folder = tempfile::tempdir_in(&self.dir).map_err(|error| cannot("write into", &self.dir, &error))?;
        let arguments: Vec<&str> = ["download"]
            .into_iter()
            .chain(specs.iter().map(String::as_str))
            .collect();
        self.run(&arguments, folder.path())?;
        for offer in offers {
            let path = folder.path().join(&offer.file);
            let opened = File::open(&path).and_then(|mut file| hash_to(&mut file, &mut io::sink()));
            let (_, found) = opened.map_err(|error| cannot("read", &path, &error))?;
            if found != offer.sha256 {
                return Err(digest_mismatch(&offer.file, offer.sha256, found));
            }
            let kept = self.kept(&found);
            fs::rename(&path, &kept).map_err(|error| cannot("give the name", &kept, &error))?;
        }
        Ok(())
    }

    fn run(&self, arguments: &[&str], folder: &Path) -> Result<String, Failure> {
        let mut command = Command::new("apt-get");
        command.arg("-q").arg("-c").arg(self.configuration());
        let state = [
            ("Dir::State", ""),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
        ];
        for (option, below) in state {
            let mut value = OsStr::new(option).to_owned();
            value.push("=");
            value.push(self.dir.join(below));
            command.arg("-o").arg(value);
        }
        for option in [
            "Dir::State::status=/dev/null",
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "APT::Update::Error-Mode=any",
            // As root apt would drop to a user who cannot write here; as anyone else this says nothing.
            "APT::Sandbox::User=root",
        ] {
            command.arg("-o").arg(option);
        }
        command
            .args(arguments)
            .current_dir(folder)
            .env("LC_ALL", "C")
            .stdin(std::process::Stdio::null());
        let subject = format!("apt-get {}", arguments.join(" "));
        let output = command.output().map_err(|error| {
            Failure::unavailable(
                &subject,
                format!("cannot run it: {error}; use a Debian system, or --package-dir with .deb files"),
            )
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let mut words: Vec<&str> = stderr.lines().rev().take(LAST_WORDS).collect();
        words.reverse();
        Err(Failure::unavailable(
            subject,
            format!("{}: {}", output.status, words.join(" ")),
        ))
    }

    fn configuration(&self) -> PathBuf {
        self.dir.join("apt.conf")
    }

    fn kept(&self, sha256: &Digest) -> PathBuf {
        self.dir.join("packages").join(format!("{}.deb", sha256.hex()))
    }
}

/// A file that apt would download.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    file: String,
    sha256: Digest,
}

impl Offer {
    /// Reads a line of `--print-uris`: `'URI' FILE SIZE SHA256:HEX`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        words.next().filter(|uri| uri.starts_with('\''))?;
        let file = words
            .next()
            .filter(|file| !file.contains('/') && file.ends_with(".deb"))?;
        let sha256 = words.nth(1)?.strip_prefix("SHA256:")?;
        Some(Self {
            file: file.to_owned(),
            sha256: Digest::from_sha256_hex(sha256).ok()?,
        })
    }
}

/// Names a package for apt, with its version when that is pinned.
fn spec(wanted: &Wanted<'_>) -> String {
    match wanted.pinned {
        Some(pinned) => format!("{}={}", wanted.name, pinned.version),
        None => wanted.name.to_owned(),
    }
}

fn absent(wanted: &Wanted<'_>) -> Failure {
    let problem = "apt offers no file of it with a SHA-256; is its name right, and are the system's apt sources?";
    Failure::unavailable(format!("package {}", spec(wanted)), problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_what_apt_offers_and_nothing_else() {
        let digest = Digest::sha256(b"x");
        let line = format!(
            "'http://h/pool/r/runc_1%2b1_amd64.deb' runc_1+1_amd64.deb 27 SHA256:{}",
            digest.hex()
        );
        let offer = Offer::parse(&line).unwrap();
        assert_eq!((offer.file.as_str(), offer.sha256), ("runc_1+1_amd64.deb", digest));
        for bad in [
            "Reading package lists...".to_owned(),
            line.replace("SHA256", "MD5Sum"),
            line.replace(" runc_", " ../runc_"),
            line.replace('\'', ""),
        ] {
            assert_eq!(Offer::parse(&bad), None, "{bad}");
        }
    }
}
