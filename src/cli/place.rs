//! How people name the place of a collection.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;

use super::Context;
use super::store::registry;
use crate::failure::Failure;
use crate::limit;
use crate::store::file::read_limited;
use crate::store::http::WebOptions;
use crate::store::registry::Credentials;
use crate::store::trust_oci::OciName;
use crate::store::{DockerTrust, NotaryClient, NotaryPlace, TrustDir, TrustHttp, TrustOci, TrustPlace, Trusted};
use crate::time::Time;
use crate::trust::Source;

/// Where is remembered what was last trusted.
#[derive(Clone, Debug, Args)]
pub(super) struct StateOption {
    /// Remember here what was last trusted of each collection, and refuse an older state [default: imgkit/trusted in the XDG
    /// state directory]
    #[arg(long, global = true, value_name = "DIR", env = "IMGKIT_TRUST_STATE")]
    trust_state: Option<PathBuf>,
}

impl StateOption {
    /// Returns this option, or where it says nothing, the other.
    pub(super) fn or(self, other: &Self) -> Self {
        Self {
            trust_state: self.trust_state.or_else(|| other.trust_state.clone()),
        }
    }

    /// Returns the memory.
    pub(super) fn trusted(&self, context: &Context) -> Result<Trusted, Failure> {
        let dir = match &self.trust_state {
            Some(dir) => dir.clone(),
            None => context.xdg_dir("STATE", ".local/state")?.join("trusted"),
        };
        Ok(Trusted::at(dir))
    }
}

/// Remembers what was trusted of a place at `at`; where it cannot, it says so.
pub(super) fn remember(context: &Context, trusted: &Trusted, pin: &[u8], source: impl Source + Copy, at: Time) {
    remembered(context, trusted.remember(pin, source, at));
}

/// Says so where what was trusted could not be remembered.
pub(super) fn remembered(context: &Context, outcome: Result<(), Failure>) {
    match outcome {
        // A root that no rule needed may be past its time.
        Ok(()) | Err(Failure::Refused(_)) => {}
        Err(failure) => context.warn(&format!(
            "an older state of the trust metadata would not be noticed next time: {failure}; name another directory with \
             --trust-state"
        )),
    }
}

/// A collection as it is named: in the directory of collections, or by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CollectionName {
    /// By its name in the directory of collections.
    Name(String),
    /// By its own directory.
    Directory(PathBuf),
    /// By its place in a registry.
    Registry(OciName),
    /// By the URL of its files' directory.
    Web(String),
}

impl CollectionName {
    /// Returns the place; `base` is the directory of collections, and `ca_cert` holds the certificates by which alone a web
    /// server is trusted, if not by the system's.
    pub(super) fn place(&self, context: &Context, base: &Path, ca_cert: Option<&Path>) -> Result<TrustPlace, Failure> {
        match self {
            Self::Name(name) => Ok(TrustDir::at(base.join(name)).into()),
            Self::Directory(dir) => Ok(TrustDir::at(dir).into()),
            Self::Registry(name) => Ok(TrustOci::new(Arc::new(registry(context)?), name.clone()).into()),
            Self::Web(url) => {
                let options = WebOptions {
                    only_ca_cert: ca_cert.map(Path::to_owned),
                    ..WebOptions::default()
                };
                Ok(TrustHttp::at(url, &options)?.into())
            }
        }
    }

    /// Returns the name under which the collection's keys and pin are kept: its own, or one made of its place.
    pub(super) fn key_name(&self) -> Result<String, Failure> {
        match self {
            Self::Name(name) => Ok(name.clone()),
            Self::Directory(dir) => {
                let dir = std::path::absolute(dir);
                let dir = dir.map_err(|error| Failure::malformed(self, format!("has no absolute path: {error}")))?;
                let dir: PathBuf = dir.components().collect();
                Ok(file_name(&dir.to_string_lossy()))
            }
            Self::Registry(name) => Ok(file_name(name.to_string().trim_start_matches("oci://"))),
            Self::Web(url) => {
                let (_, rest) = url.split_once("://").unwrap_or(("", url));
                Ok(file_name(rest.trim_end_matches('/')))
            }
        }
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Directory(dir) => write!(f, "dir:{}", dir.display()),
            Self::Registry(name) => name.fmt(f),
            Self::Web(url) => f.write_str(url),
        }
    }
}

impl FromStr for CollectionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(dir) = text.strip_prefix("dir:") {
            return match dir.is_empty() {
                true => Err("expected a directory behind `dir:`".to_owned()),
                false => Ok(Self::Directory(dir.into())),
            };
        }
        if text.starts_with("oci://") {
            return text.parse().map(Self::Registry);
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::Web(text.to_owned()));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        match !text.is_empty() && !text.starts_with('.') && text.bytes().all(plain) {
            true => Ok(Self::Name(text.to_owned())),
            false => Err(
                "expected a name of letters, digits, `.`, `_` and `-`, not beginning with `.`, dir:PATH, https://… or oci://HOST/REPOSITORY".to_owned(),
            ),
        }
    }
}

/// Where Notary collections are: `[ROOT=]https://…`, a server, or `[ROOT=]dir:PATH`, docker's trust directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotaryName {
    /// The policy's name of the root whose collection is there; that of all others where there is none.
    root: Option<String>,
    /// The server, or the directory.
    place: NotaryAt,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NotaryAt {
    Server(String),
    Directory(PathBuf),
}

impl NotaryName {
    /// Finds the place that is named for a root, else the one for all.
    pub(super) fn of_root<'a>(all: &'a [Self], root: &str) -> Option<&'a Self> {
        let own = all.iter().find(|name| name.root.as_deref() == Some(root));
        own.or_else(|| all.iter().find(|name| name.root.is_none()))
    }

    /// Returns the place of the collection `gun`; nothing is contacted yet.
    pub(super) fn place(&self, context: &Context, gun: &str, ca_cert: Option<&Path>) -> Result<NotaryPlace, Failure> {
        match &self.place {
            NotaryAt::Directory(dir) => Ok(NotaryPlace::in_directory(DockerTrust::at(dir), gun)),
            NotaryAt::Server(url) => {
                let ca = ca_cert.map(|path| read_limited(path, limit::CREDENTIALS_BYTES as usize));
                let credentials = Credentials::in_files(context.credential_files());
                let server = NotaryClient::new(url, ca.transpose()?.as_deref(), credentials)?;
                Ok(NotaryPlace::on_server(server, gun))
            }
        }
    }
}

impl FromStr for NotaryName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (root, place) = match text.split_once('=') {
            Some((root, place)) if !root.contains([':', '/']) => (Some(root.to_owned()), place),
            _ => (None, text),
        };
        let is_url = |place: &str| place.starts_with("https://") || place.starts_with("http://");
        let place = match place.strip_prefix("dir:") {
            Some(dir) if !dir.is_empty() => NotaryAt::Directory(dir.into()),
            None if is_url(place) => NotaryAt::Server(place.to_owned()),
            _ => return Err("expected https://HOST or dir:PATH, behind ROOT= where it is one root's alone".to_owned()),
        };
        Ok(Self { root, place })
    }
}

/// Makes a file name of a place: what file names do not hold becomes `_`.
fn file_name(place: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let name: String = place.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    name.trim_start_matches(['.', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_that_could_lead_elsewhere_is_none() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/a",
            "dir:",
            "a:b",
            "a b",
            "oci://a",
            "oci:///a/b",
        ] {
            assert!(bad.parse::<CollectionName>().is_err(), "{bad}");
        }
        assert_eq!("a.b-c_1".parse(), Ok(CollectionName::Name("a.b-c_1".to_owned())));
    }

    #[test]
    fn a_notary_place_is_one_roots_or_that_of_all_others() {
        let name = |text: &str| text.parse::<NotaryName>();
        let all = [
            name("https://n.example").unwrap(),
            name("alpine=dir:/srv/trust").unwrap(),
        ];
        assert_eq!(NotaryName::of_root(&all, "alpine"), Some(&all[1]));
        assert_eq!(NotaryName::of_root(&all, "other"), Some(&all[0]));
        assert_eq!(NotaryName::of_root(&all[1..], "other"), None);
        let odd = name("https://n.example/a=b").unwrap();
        assert_eq!(odd.place, NotaryAt::Server("https://n.example/a=b".to_owned()));
        for bad in ["", "n.example", "dir:", "a=", "a=oci://r.example/a"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_keys_of_a_place_have_one_name_however_it_is_written() {
        let name = |text: &str| text.parse::<CollectionName>().unwrap().key_name().unwrap();
        assert_eq!(name("dir:/srv/trust/./a"), "srv_trust_a");
        assert_eq!(name("dir:/srv/trust/a/"), "srv_trust_a");
        assert_eq!(name("oci://127.0.0.1:5000/team/a"), "127.0.0.1_5000_team_a");
        assert_eq!(name("https://trust.example/a/"), "trust.example_a");
        assert_eq!(name("platform"), "platform");
    }
}
