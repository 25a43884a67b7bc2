//! What a client trusted last of each collection, so that an older state of it is noticed (TUF specification, steps 5.3.8,
//! 5.4.5, 5.5.7).
//!
//! `DIR/SHA-256 OF THE PIN/` holds the roots after the pinned one, the timestamp and the snapshot; of a Notary collection, whose
//! snapshots have no versions of other files, all that was trusted, as docker keeps it ([`DockerTrust`]). What is read here is judged
//! as any metadata: whoever changes a file can make a build refuse, and take this memory away, but not widen anything.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use super::docker_trust::DockerTrust;
use super::file::{Lock, NewFile, cannot, make_dir, read_limited};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::time::Time;
use crate::trust::notary::{NotaryClient, NotaryKnown, NotaryPin};
use crate::trust::{Chain, Client, Known, Source, TrustError, file_name};

const TIMESTAMP: &str = "timestamp.json";
const SNAPSHOT: &str = "snapshot.json";

/// A directory with the last trusted metadata of collections.
#[derive(Clone, Debug)]
pub struct Trusted {
    dir: PathBuf,
}

impl Trusted {
    /// Names the directory; it need not exist.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns what was last trusted from the root `pin`; nothing when it is new, or is no root.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be read.
    pub fn known(&self, pin: &[u8]) -> Result<Known, Failure> {
        let Ok(pinned) = Chain::pinned(pin, Time::EPOCH) else {
            return Ok(Known::default());
        };
        let mut known = Known {
            timestamp: self.read(pin, TIMESTAMP, limit::TIMESTAMP_BYTES)?,
            snapshot: self.read(pin, SNAPSHOT, limit::SNAPSHOT_BYTES)?,
            ..Known::default()
        };
        let versions = pinned.version() + 1..=pinned.version() + limit::ROOT_ROTATIONS;
        for version in versions {
            match self.read(pin, &file_name("root", Some(version)), limit::ROOT_BYTES)? {
                Some(root) => known.roots.push(root),
                None => break,
            }
        }
        Ok(known)
    }

    /// Remembers what `source` has, if it proves itself from `pin` at `at` and is not older than what is remembered.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written, and as [`Client::refresh`].
    pub fn remember(&self, pin: &[u8], mut source: impl Source + Copy, at: Time) -> Result<(), Failure> {
        let offered = source.file(TIMESTAMP, limit::TIMESTAMP_BYTES)?;
        if offered.is_some() && offered == self.read(pin, TIMESTAMP, limit::TIMESTAMP_BYTES)? {
            return Ok(());
        }
        let dir = self.dir_of(pin);
        make_dir(&dir)?;
        let _lock = Lock::exclusive(&dir.join(".lock"))?;
        let client = Client::refresh(pin, &self.known(pin)?, source, at);
        let client = client.map_err(|error| error.about(&dir.display().to_string()))?;
        let chain = client.chain();
        let roots = client.bundle().root_files();
        // The timestamp comes last: with it, all that it speaks for is there.
        let last = [
            (SNAPSHOT, chain.snapshot().bytes()),
            (TIMESTAMP, chain.timestamp().bytes()),
        ];
        for (name, bytes) in roots.skip(1).chain(last) {
            let path = dir.join(name);
            let mut file = NewFile::beside(&path)?;
            file.write_all(bytes).map_err(|error| cannot("write", &path, &error))?;
            file.finish(&path)?;
        }
        Ok(())
    }

    /// Returns what was last trusted of the Notary collection `gun` from the root `pin`; nothing when it is new.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be read.
    pub fn known_notary(&self, gun: &str, pin: &[u8]) -> Result<NotaryKnown, Failure> {
        DockerTrust::at(self.dir_of(pin)).known(gun)
    }

    /// Remembers what `source` has of a Notary collection, if it proves itself from `pin` at `at` and is not older than what is
    /// remembered. Of the delegated roles, those that can be trusted.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be written, and as [`NotaryClient::refresh`].
    pub fn remember_notary(&self, gun: &str, pin: &[u8], source: impl Source + Copy, at: Time) -> Result<(), Failure> {
        let memory = DockerTrust::at(self.dir_of(pin));
        let about = |error: TrustError| error.about(&memory.dir().display().to_string());
        let pin = NotaryPin::Root(pin.to_vec());
        let client = NotaryClient::refresh(gun, &pin, memory.known(gun)?, source, at);
        let mut client = client.map_err(about)?;
        client.fetch_roles().map_err(about)?;
        let chain = client.chain();
        let files = chain.files();
        match files.iter().all(|(role, bytes)| chain.was_known(role, bytes)) {
            true => Ok(()),
            false => memory.remember(gun, &files),
        }
    }

    fn dir_of(&self, pin: &[u8]) -> PathBuf {
        self.dir.join(Digest::sha256(pin).hex())
    }

    fn read(&self, pin: &[u8], name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.dir_of(pin).join(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("read", &path, &error)),
            Ok(_) => read_limited(&path, max).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::SigningKey;
    use crate::trust::Bundle;
    use crate::trust::edit::{Collection, RoleSpec};

    fn now() -> Time {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    /// A collection, and the same one renewed, each as all of its files; and its pin.
    fn collections() -> (Bundle, Bundle, Vec<u8>) {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let spec = RoleSpec {
            keys: vec![key.tuf_key()],
            threshold: 1,
        };
        let old = Collection::new(&spec, &spec, &spec, &spec, now()).unwrap();
        let old = old.sign(&[&key], now()).unwrap().files().clone();
        let pin = old.get("1.root.json").unwrap().to_vec();
        let mut collection = Collection::load(&pin, &old).unwrap();
        ["root", "targets"]
            .iter()
            .for_each(|role| collection.renew(role).unwrap());
        let mut new = old.clone();
        for (name, bytes) in collection.sign(&[&key], now()).unwrap().files().files() {
            new.add(name, bytes);
        }
        (old, new, pin)
    }

    #[test]
    fn remembers_the_newest_state_of_a_collection_and_never_an_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let trusted = Trusted::at(dir.path().join("state"));
        let (old, new, pin) = collections();
        assert_eq!(trusted.known(&pin).unwrap().timestamp, None);
        trusted.remember(&pin, &old, now()).unwrap();
        trusted.remember(&pin, &new, now()).unwrap();
        let refused = trusted.remember(&pin, &old, now()).unwrap_err();
        assert!(refused.to_string().contains("ROLLBACK"), "{refused}");
        let known = trusted.known(&pin).unwrap();
        assert_eq!(known.timestamp.as_deref(), new.get(TIMESTAMP));
        assert_eq!(known.roots, [new.get("2.root.json").unwrap()]);
        assert_eq!(Trusted::at(dir.path()).known(&pin).unwrap().timestamp, None);
    }
}
