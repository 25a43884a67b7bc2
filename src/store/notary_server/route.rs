//! What a request's path names.
//!
//! - `/v2/` comes first, then the GUN with its slashes, then `/_trust/…`; a GUN may hold anything but `*`.
//! - A path is decoded once; what does not decode to UTF-8 names nothing.

use std::fmt;

use crate::digest::Digest;
use crate::limit;
use crate::trust::notary::is_delegated_role;

/// The globally unique name of a collection, for example `docker.io/library/alpine`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Gun(String);

impl Gun {
    /// Takes a name; `None` when no collection can have it.
    pub(super) fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= limit::GUN_BYTES;
        // `*` would match others' names in root certificates; control characters cannot be stored everywhere.
        let plain = !name.contains('*') && !name.chars().any(char::is_control);
        (fits && plain).then(|| Self(name.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Gun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A role whose key the server may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum HeldRole {
    Snapshot,
    Timestamp,
}

impl HeldRole {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }
}

/// Which state of a role's file is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Current,
    Hash(Digest),
    Version(u64),
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/`: does this speak the API, and am I logged in?
    Base,
    /// `…/_trust/tuf/`: a whole collection, to publish or delete.
    Collection(Gun),
    /// `…/_trust/tuf/ROLE.json`, `ROLE.HASH.json`, `N.ROLE.json`.
    File(Gun, String, Which),
    /// `…/_trust/tuf/timestamp.key`, `snapshot.key`.
    Key(Gun, HeldRole),
    /// `/v2/_trust/changefeed`, `…/_trust/changefeed`.
    Changes(Option<Gun>),
    Health,
    Metrics,
    Nothing,
}

impl Route {
    /// Reads a request's path, without its query.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/v2/" => return Self::Base,
            "/_notary_server/health" => return Self::Health,
            "/metrics" => return Self::Metrics,
            "/v2/_trust/changefeed" => return Self::Changes(None),
            _ => {}
        }
        let decoded = path.contains('%').then(|| percent_decoded(path));
        let path = match &decoded {
            Some(decoded) => decoded.as_deref(),
            None => Some(path),
        };
        let found = path
            .and_then(|path| path.strip_prefix("/v2/"))
            .and_then(Self::of_collection);
        found.unwrap_or(Self::Nothing)
    }

    fn of_collection(path: &str) -> Option<Self> {
        if let Some(gun) = path.strip_suffix("/_trust/changefeed") {
            return Some(Self::Changes(Some(Gun::new(gun)?)));
        }
        let (gun, file) = path.rsplit_once("/_trust/tuf/")?;
        let gun = Gun::new(gun)?;
        match file {
            "" => return Some(Self::Collection(gun)),
            "timestamp.key" => return Some(Self::Key(gun, HeldRole::Timestamp)),
            "snapshot.key" => return Some(Self::Key(gun, HeldRole::Snapshot)),
            _ => {}
        }
        let name = file.strip_suffix(".json")?;
        if is_role(name) {
            return Some(Self::File(gun, name.to_owned(), Which::Current));
        }
        if let Some((role, hash)) = name.rsplit_once('.')
            && is_role(role)
        {
            // As the original's routes have it, a hash may be SHA-256, -384 or -512; files are kept under SHA-256.
            let hash = Digest::from_sha256_hex(&hash.to_ascii_lowercase()).ok()?;
            return Some(Self::File(gun, role.to_owned(), Which::Hash(hash)));
        }
        let (version, role) = name.split_once('.')?;
        let digits = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
        let version = version.parse().ok().filter(|_| digits && is_role(role))?;
        Some(Self::File(gun, role.to_owned(), Which::Version(version)))
    }
}

/// Tells whether a file may have this role's name: a top-level one, or a delegation.
pub(super) fn is_role(name: &str) -> bool {
    matches!(name, "root" | "targets" | "snapshot" | "timestamp") || is_delegated_role(name)
}

fn percent_decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(b) = rest.next() {
        if b == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok()?;
            bytes.extend(byte);
        } else {
            bytes.push(b);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gun(name: &str) -> Gun {
        Gun::new(name).unwrap()
    }

    #[test]
    fn every_endpoint_has_its_route() {
        let hash = "93486038d6ea1448dc8eb6363a8f3153cb49eb38702381f7d34306b2e3e1e91f";
        let file = |role: &str, which| Route::File(gun("example.com/a/b"), role.into(), which);
        let below = |rest: &str| Route::of(&format!("/v2/example.com/a/b/_trust/{rest}"));
        assert_eq!(Route::of("/v2/"), Route::Base);
        assert_eq!(below("tuf/"), Route::Collection(gun("example.com/a/b")));
        assert_eq!(below("tuf/root.json"), file("root", Which::Current));
        assert_eq!(below("tuf/targets/x/y.json"), file("targets/x/y", Which::Current));
        let by_hash = Which::Hash(Digest::from_sha256_hex(hash).unwrap());
        let upper = hash.to_ascii_uppercase();
        assert_eq!(
            below(&format!("tuf/snapshot.{hash}.json")),
            file("snapshot", by_hash.clone())
        );
        assert_eq!(
            below(&format!("tuf/targets/x.{upper}.json")),
            file("targets/x", by_hash)
        );
        assert_eq!(below("tuf/12.root.json"), file("root", Which::Version(12)));
        assert_eq!(below("tuf/1.targets/x.json"), file("targets/x", Which::Version(1)));
        assert_eq!(
            below("tuf/timestamp.key"),
            Route::Key(gun("example.com/a/b"), HeldRole::Timestamp)
        );
        assert_eq!(below("changefeed"), Route::Changes(Some(gun("example.com/a/b"))));
        assert_eq!(Route::of("/v2/_trust/changefeed"), Route::Changes(None));
    }

    #[test]
    fn a_gun_is_decoded_once_and_may_hold_almost_anything() {
        let route = Route::of("/v2/a%20b%252f/%C3%A9/_trust/tuf/root.json");
        assert_eq!(route, Route::File(gun("a b%2f/é"), "root".into(), Which::Current));
        for path in [
            "/v2/a%2/_trust/tuf/root.json",
            "/v2/a%ff/_trust/tuf/root.json",
            "/v2/a%00/_trust/tuf/root.json",
            "/v2/a/*/_trust/tuf/root.json",
            "/v2//_trust/tuf/root.json",
        ] {
            assert_eq!(Route::of(path), Route::Nothing, "{path}");
        }
    }

    #[test]
    fn other_names_are_nothing() {
        for file in [
            "root.key",
            "targets.key",
            "other.json",
            "targets/.json",
            "targets/A.json",
            "targets//x.json",
            "root.0123.json",
            "-1.root.json",
            "+1.root.json",
            "root",
        ] {
            assert_eq!(Route::of(&format!("/v2/g/_trust/tuf/{file}")), Route::Nothing, "{file}");
        }
    }
}
