//! Whom to trust in a sigstore instance, as its TUF repository says, kept from one run to the next.
//!
//! - `metadata/` is what a TUF client trusts ([`super::tuf_dir`]), `targets/` what they sign; `instance.json` says where it came from.
//! - The first time everything is made beside the directory, and gets its name when it is whole: a wrong root leaves nothing behind.
//! - After that each update begins with what is kept, so that older metadata are refused, whatever root is named.
//! - What is kept is judged again at each use: metadata that are past their time are refused, not used.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TrustHttp;
use super::file::{NewFile, cannot, make_dir, read_limited};
use super::http::{Web, WebOptions};
use super::tuf_dir::{TufDir, fetch_artifact, read_artifact};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::json::{self, Limits};
use crate::limit;
use crate::sigstore::certificate::TrustedRoot;
use crate::time::Time;
use crate::trust::{Cache, Chain, Target, TrustError, Updater};

/// The TUF repository of sigstore's public instance.
pub const PUBLIC_MIRROR: &str = "https://tuf-repo-cdn.sigstore.dev";

/// The root of the public instance's TUF repository, as the crate `sigstore-trust-root` 0.15.1 has it.
pub const PUBLIC_ROOT: &[u8] = include_bytes!("../../keys/sigstore.root.json");

const TRUSTED_ROOT: &str = "trusted_root.json";
const SIGNING_CONFIG: &str = "signing_config.v0.2.json";
const UPDATE: &str =
    "run `imgkit sigstore initialize` where the repository can be reached, or name a root with --trusted-root";

/// The directory that keeps it.
#[derive(Debug)]
pub struct SigstoreDir {
    dir: PathBuf,
}

/// What is kept, judged.
#[derive(Debug)]
pub struct Instance {
    /// The `trusted_root.json`.
    pub trusted_root: Vec<u8>,
    /// The `signing_config.v0.2.json`, if the repository signs one.
    pub signing_config: Option<Vec<u8>>,
    /// The repository's URL.
    pub mirror: String,
    /// When the repository was asked last.
    pub refreshed: Time,
    /// The metadata of the top-level roles.
    pub metadata: Vec<Standing>,
}

/// Which metadata of a role are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The role.
    pub role: &'static str,
    /// Their version.
    pub version: u64,
    /// When their time is over.
    pub expires: Time,
}

/// Where what is kept came from.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    mirror: String,
    /// The root that it began with.
    root: Digest,
    refreshed: Time,
}

impl SigstoreDir {
    /// Names the directory, which may not exist yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Brings what is kept up to date from the repository at the URL `mirror`; begins with `root` where nothing is kept.
    ///
    /// Without `mirror` it is the repository that was asked last, at first the public one; without `root` at first the public one's.
    ///
    /// # Errors
    /// A refusal when what the repository has is not to be trusted, older than what is kept, or `root` is another one than it began with;
    /// [`Failure::Unavailable`] when it cannot be found out.
    pub fn initialize(
        &self,
        mirror: Option<&str>,
        root: Option<&[u8]>,
        options: &WebOptions,
        now: Time,
    ) -> Result<Instance, Failure> {
        let record = self.record()?;
        let begun = record.as_ref().map(|record| record.root);
        let pin = Digest::sha256(root.unwrap_or(PUBLIC_ROOT));
        if let (Some(begun), Some(_)) = (begun.filter(|begun| *begun != pin), root) {
            return Err(Refusal::new(
                Code::WrongKey,
                self.dir.display(),
                format!("the root {begun}, with which it began"),
                pin,
                format!(
                    "leave out --root to bring up to date what is kept; to trust another instance instead, remove {} first",
                    self.dir.display()
                ),
            )
            .into());
        }
        let kept = record.as_ref().map(|record| record.mirror.as_str());
        let record = Record {
            mirror: mirror.or(kept).unwrap_or(PUBLIC_MIRROR).to_owned(),
            root: begun.unwrap_or(pin),
            refreshed: now,
        };
        if begun.is_some() {
            return update(&self.dir, record, options, now);
        }
        let parent = self.dir.parent().unwrap_or(Path::new("."));
        make_dir(parent)?;
        let new = tempfile::Builder::new().prefix(".sigstore-").tempdir_in(parent);
        let new = new.map_err(|error| cannot("make a directory in", parent, &error))?;
        let begin = root.unwrap_or(PUBLIC_ROOT);
        Chain::pinned(begin, now).map_err(|error| error.about(&record.mirror))?;
        TufDir::open(new.path().join("metadata"))?.store("root", begin)?;
        let instance = update(new.path(), record, options, now)?;
        // Where another process was faster, its directory is not empty, and stays.
        std::fs::rename(new.path(), &self.dir).map_err(|error| cannot("make", &self.dir, &error))?;
        Ok(instance)
    }

    /// Judges what is kept at `now`; nothing where nothing is.
    ///
    /// # Errors
    /// A refusal when it is past its time, or not what is signed; [`Failure::Unavailable`] when it cannot be read.
    pub fn load(&self, now: Time) -> Result<Option<Instance>, Failure> {
        let Some(record) = self.record()? else {
            return Ok(None);
        };
        let cache = TufDir::open_to_read(self.dir.join("metadata"))?;
        let judged = Updater::kept(cache, now)
            .map_err(|error| error.about(&record.mirror))
            .and_then(|mut updater| read(&self.dir, record, &mut updater));
        judged.map(Some).map_err(advise)
    }

    fn record(&self) -> Result<Option<Record>, Failure> {
        let path = self.dir.join("instance.json");
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot("read", &path, &error)),
            Ok(_) => {}
        }
        let bytes = read_limited(&path, limit::INSTANCE_RECORD_BYTES)?;
        let record = json::decode(&bytes, Limits::integers(limit::INSTANCE_RECORD_BYTES));
        record.map(Some).map_err(|error| {
            let dir = self.dir.display();
            Failure::malformed(path.display(), format!("{error}; remove {dir}, and {UPDATE}"))
        })
    }
}

/// Updates what is kept in `dir`, where a root is.
fn update(dir: &Path, record: Record, options: &WebOptions, now: Time) -> Result<Instance, Failure> {
    let repository = TrustHttp::at(&record.mirror, options)?;
    let cache = TufDir::open(dir.join("metadata"))?;
    let updater = Updater::refresh(&repository, cache, now);
    let mut updater = updater.map_err(|error| error.about(&record.mirror))?;
    let web = Web::new(&format!("{}/targets", record.mirror.trim_end_matches('/')), options)?;
    for name in [TRUSTED_ROOT, SIGNING_CONFIG] {
        if let Some(target) = target(name, &mut updater, &record.mirror)? {
            fetch_artifact(&web, &target, &updater.served_as(&target), &dir.join("targets"))?;
        }
    }
    let path = dir.join("instance.json");
    let mut file = NewFile::beside(&path)?;
    let text = serde_json::to_string(&record).map_err(|error| Failure::unavailable(path.display(), error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| cannot("write", &path, &error))?;
    file.finish(&path)?;
    read(dir, record, &mut updater)
}

/// Reads what is kept in `dir` as the metadata sign it.
fn read<S, C>(dir: &Path, record: Record, updater: &mut Updater<S, C>) -> Result<Instance, Failure>
where
    S: crate::trust::Source,
    C: Cache,
{
    let mut content = |name: &str| {
        let target = target(name, updater, &record.mirror)?;
        target
            .map(|target| read_artifact(&target, &dir.join("targets")))
            .transpose()
    };
    let trusted_root = content(TRUSTED_ROOT)?;
    let absent = || Failure::unavailable(&record.mirror, format!("the repository signs no {TRUSTED_ROOT}"));
    let trusted_root = trusted_root.ok_or_else(absent)?;
    TrustedRoot::parse(&trusted_root).map_err(|error| Failure::malformed(&record.mirror, error))?;
    let signing_config = content(SIGNING_CONFIG)?;
    let chain = updater.chain();
    let metadata = [
        ("root", chain.newest_root().header()),
        ("timestamp", chain.timestamp().header()),
        ("snapshot", chain.snapshot().header()),
        ("targets", chain.targets().header()),
    ];
    let standing = |(role, header): (&'static str, &crate::trust::metadata::Header)| Standing {
        role,
        version: header.version,
        expires: header.expires,
    };
    Ok(Instance {
        trusted_root,
        signing_config,
        metadata: metadata.map(standing).to_vec(),
        mirror: record.mirror,
        refreshed: record.refreshed,
    })
}

/// Looks a target up; nothing where the repository says that it has none.
fn target<S, C>(name: &str, updater: &mut Updater<S, C>, mirror: &str) -> Result<Option<Target>, Failure>
where
    S: crate::trust::Source,
    C: Cache,
{
    let target = match updater.target(name) {
        Ok(target) => target,
        Err(TrustError::Absent { .. }) => return Ok(None),
        Err(error) => return Err(error.about(mirror)),
    };
    if target.length() > limit::TRUSTED_ROOT_BYTES as u64 {
        let most = limit::TRUSTED_ROOT_BYTES;
        let refusal = Refusal::new(
            Code::Malformed,
            mirror,
            format!("a {name} of at most {most} bytes"),
            target.length(),
            "ask the owner of the repository for one that is not as long",
        );
        return Err(refusal.into());
    }
    Ok(Some(target))
}

/// Says of refusals of what is kept what to do about them here.
fn advise(failure: Failure) -> Failure {
    match failure {
        Failure::Refused(refusals) => Failure::Refused(
            refusals
                .into_iter()
                .map(|refusal| Refusal {
                    advice: UPDATE.to_owned(),
                    ..refusal
                })
                .collect(),
        ),
        Failure::Unavailable { subject, problem } => Failure::unavailable(subject, format!("{problem}; {UPDATE}")),
        malformed @ Failure::Malformed { .. } => malformed,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_public_root_is_good_by_itself() {
        let now = Time::from_unix(1_790_000_000).unwrap();
        let chain = Chain::pinned(PUBLIC_ROOT, now).unwrap();
        assert_eq!(chain.version(), 16);
        assert_eq!(chain.top_level_keys("root").threshold(), 3);
    }

    #[test]
    fn nothing_is_kept_at_first_and_a_root_that_is_none_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let dir = SigstoreDir::at(home.path().join("state/sigstore"));
        assert!(dir.load(Time::EPOCH).unwrap().is_none());
        let options = WebOptions::default();
        let tried = dir.initialize(Some("http://127.0.0.1:1"), Some(b"{}"), &options, Time::EPOCH);
        assert!(tried.is_err());
        assert_eq!(std::fs::read_dir(home.path().join("state")).unwrap().count(), 0);
    }
}
