//! Signing what changed.

use serde::de::DeserializeOwned;

use super::envelope::Envelope;
use super::vouch::For;
use super::{Collection, EditError, lifetime};
use crate::failure::Failure;
use crate::key::Signer;
use crate::time::Time;
use crate::trust::bundle::{Bundle, Source};
use crate::trust::chain::{AtTargets, Chain, Known};
use crate::trust::client::Client;
use crate::trust::metadata::{Body, Header, MetaFile, SIGNED_AT, Snapshot, Timestamp};
use crate::trust::role_keys::RoleKeys;
use crate::trust::search::delegates_in_bins;
use crate::trust::{TrustError, names};

/// New files of a collection, in the order in which they must get their names: the timestamp last.
///
/// Only [`Collection::sign`] makes one, after it was checked as a client would.
#[derive(Clone, Debug)]
pub struct Publication {
    files: Bundle,
    lost: Vec<Lost>,
}

/// Somebody who trusts a role, and for whom it counted and does not any more: too few of the keys to which he trusts it signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The role.
    pub role: String,
    /// Who trusts it.
    pub by: String,
}

impl Publication {
    /// Returns the files in order.
    pub fn files(&self) -> &Bundle {
        &self.files
    }

    /// Returns for whom roles do not count any more.
    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }
}

/// What came of signing: documents in order, and what the first one lacks that too few keys signed.
pub(super) struct Made {
    pub(super) envelopes: Vec<Envelope>,
    pub(super) lacking: Option<EditError>,
    lost: Vec<Lost>,
    /// Whether it goes to others, who sign it as well.
    goes_round: bool,
}

impl Collection<'_> {
    /// Signs every role that has to, with those of `keys` that are the role's; all new expiries count from `now`.
    ///
    /// # Errors
    /// [`EditError::Keys`] when too few of a role's keys are there, [`EditError::Trust`] when the outcome would not be
    /// trusted by a client that trusted the collection before.
    pub fn sign(mut self, keys: &[&dyn Signer], now: Time) -> Result<Publication, EditError> {
        let still = self.has_to_count()?;
        let made = self.make(keys, now, false)?;
        if let Some(lacking) = made.lacking {
            return Err(lacking);
        }
        let mut files = Bundle::default();
        for envelope in &made.envelopes {
            let role = envelope.role.as_str();
            let versioned = role == "root" || (self.root.consistent_snapshot && role != "timestamp");
            let version = versioned.then(|| self.version(role));
            files.add(names::file_name(role, version), envelope.bytes()?);
        }
        self.check(&files, &still)?;
        Ok(Publication { files, lost: made.lost })
    }

    /// Signs what can be signed: the root and the targets roles, then the snapshot if all these are complete, then the timestamp.
    pub(super) fn make(&mut self, keys: &[&dyn Signer], now: Time, goes_round: bool) -> Result<Made, EditError> {
        let roles = self.to_sign();
        let mut made = Made {
            envelopes: Vec::new(),
            lacking: None,
            lost: Vec::new(),
            goes_round,
        };
        for role in &roles {
            self.load_trusting(role)?;
        }
        if roles.contains("root") {
            let envelope = match self.prepared.remove("root") {
                Some(prepared) => prepared,
                None => {
                    let before = self.published().map_or(0, |chain| chain.newest_root().version());
                    set_next(&mut self.root.header, before, "root", now);
                    Envelope::new("root", &self.root)?
                }
            };
            // Root N + 1 is signed by the keys of root N and by its own.
            made.add(envelope, &self.roles_of("root"), &self.keys_for("root", keys))?;
        }
        let delegating = self.delegating();
        for role in roles
            .iter()
            .filter(|role| !matches!(role.as_str(), "root" | "snapshot" | "timestamp"))
        {
            let no_role = || EditError::NoRole { role: role.clone() };
            let seen = self.seen.contains(role);
            let whom = self.signed_for(role, &delegating, seen)?;
            let file = format!("{role}.json");
            let envelope = match self.prepared.remove(role) {
                Some(prepared) => prepared,
                None => {
                    let before = self.snapshot.meta.get(&file).map_or(0, |meta| meta.version);
                    let body = &mut self.held.get_mut(role).ok_or_else(no_role)?.body;
                    set_next(&mut body.header, before, role, now);
                    body.role = Some(role.clone());
                    Envelope::new(role, body)?
                }
            };
            let keys = self.keys_for(role, keys);
            let nearest = seen.then(|| self.nearest(&whom, &keys));
            let by = made.add_for(envelope, &whom, nearest.as_deref(), &keys)?;
            if let Some((by, bytes)) = by {
                if let Some(held) = self.held.get_mut(role).filter(|held| held.by.is_some()) {
                    held.by = Some(by);
                }
                let meta = self.describe(role, &bytes);
                self.snapshot.meta.insert(file, meta);
            }
        }
        if roles.contains("snapshot") && made.lacking.is_none() {
            let own = self.known_keys("snapshot");
            let meta = &self.snapshot.meta;
            let prepared = self.prepared.remove("snapshot");
            let envelope = match fitting(prepared, |body: &Snapshot| body.meta == *meta) {
                Some((body, envelope)) => {
                    self.snapshot = body;
                    envelope
                }
                None => {
                    let before = self.published().map_or(0, |chain| chain.snapshot().version());
                    set_next(&mut self.snapshot.header, before, "snapshot", now);
                    let extra = &mut self.snapshot.extra;
                    extra.insert(SIGNED_AT.to_owned(), now.to_string().into());
                    Envelope::new("snapshot", &self.snapshot)?
                }
            };
            if let Some(bytes) = made.add(envelope, own.as_slice(), &self.keys_for("snapshot", keys))? {
                let meta = MetaFile::describe(self.snapshot.header.version, &bytes);
                self.timestamp.meta.insert("snapshot.json".to_owned(), meta);
            }
        }
        if roles.contains("timestamp") && made.lacking.is_none() {
            let own = self.known_keys("timestamp");
            let meta = &self.timestamp.meta;
            let prepared = self.prepared.remove("timestamp");
            let envelope = match fitting(prepared, |body: &Timestamp| body.meta == *meta) {
                Some((body, envelope)) => {
                    self.timestamp = body;
                    envelope
                }
                None => {
                    let before = self.published().map_or(0, |chain| chain.timestamp().version());
                    set_next(&mut self.timestamp.header, before, "timestamp", now);
                    Envelope::new("timestamp", &self.timestamp)?
                }
            };
            made.add(envelope, own.as_slice(), &self.keys_for("timestamp", keys))?;
        }
        Ok(made)
    }

    /// Returns those of `keys` that may sign a role's document: none where it counts as others signed it.
    fn keys_for<'k>(&self, role: &str, keys: &[&'k dyn Signer]) -> Vec<&'k dyn Signer> {
        if self.sealed.contains(role) {
            return Vec::new();
        }
        let Some(hands) = &self.hands else {
            return keys.to_vec();
        };
        let own = hands.get(&self.signs_as(role));
        let is_own = |key: &&&dyn Signer| own.is_some_and(|own| own.contains(&key.public().fingerprint()));
        keys.iter().filter(is_own).copied().collect()
    }

    /// Describes a role's file for the snapshot.
    ///
    /// Of bins only versions are named: the snapshot is part of every change and look-up, and names every bin.
    fn describe(&self, role: &str, bytes: &[u8]) -> MetaFile {
        let version = self.version(role);
        let by = self.by(role).and_then(|by| self.targets_of(by));
        match by.is_some_and(|by| delegates_in_bins(by, role)) {
            true => MetaFile {
                length: None,
                hashes: None,
                ..MetaFile::describe(version, &[])
            },
            false => MetaFile::describe(version, bytes),
        }
    }

    fn version(&self, role: &str) -> u64 {
        match role {
            "root" => self.root.header.version,
            "snapshot" => self.snapshot.header.version,
            "timestamp" => self.timestamp.header.version,
            _ => self.targets_of(role).map_or(0, |body| body.header.version),
        }
    }

    /// Goes through the outcome as a client would that trusted the collection as it was loaded: the top level, every role that
    /// was signed, and every name that was put into one.
    ///
    /// Expiry is left out: a renewal of one role must be possible while another, whose keys are elsewhere, has expired.
    ///
    /// The roles at the ends of `still` have to be trusted.
    fn check(&self, new: &Bundle, still: &[Vec<String>]) -> Result<(), EditError> {
        let old = self.published();
        let known = Known {
            roots: Vec::new(),
            timestamp: old.map(|chain| chain.timestamp().bytes().to_vec()),
            snapshot: old.map(|chain| chain.snapshot().bytes().to_vec()),
        };
        // The first file is the root that the collection was loaded from, or the first root of a new one.
        let first = old.map_or(new, Chain::files).files().next();
        let pin = first.map_or(&[][..], |(_, bytes)| bytes);
        let mut client = Client::refresh(pin, &known, Overlay { new, old }, Time::EPOCH)?;
        for role in self.to_sign().iter().filter(|role| self.held.contains_key(*role)) {
            if client.role(&self.path_of(role))?.is_none() {
                return Err(TrustError::NoRole { role: role.clone() }.into());
            }
        }
        for path in still {
            match client.role(path) {
                Ok(Some(_)) => {}
                Err(error) if !error.is_verdict() => return Err(error.into()),
                _ => return Err(untrusted(path)),
            }
        }
        for (role, name) in &self.put {
            let ours = self.targets_of(role).and_then(|body| body.targets.get(name));
            let absent = || TrustError::Absent { target: name.clone() };
            if !client.finds(name, role, ours.ok_or_else(absent)?)? {
                return Err(absent().into());
            }
        }
        Ok(())
    }
}

/// Takes a document of a draft that describes what is there now.
fn fitting<T: DeserializeOwned>(prepared: Option<Envelope>, fits: impl Fn(&T) -> bool) -> Option<(T, Envelope)> {
    let envelope = prepared?;
    let body = envelope.body().ok().filter(fits)?;
    Some((body, envelope))
}

impl Made {
    /// Signs a document for `roles`, and returns its bytes if enough keys of all of them did.
    fn add(
        &mut self,
        mut envelope: Envelope,
        roles: &[RoleKeys],
        keys: &[&dyn Signer],
    ) -> Result<Option<Vec<u8>>, EditError> {
        envelope.sign(roles, keys)?;
        let lacking = envelope.lacking(roles);
        self.keep(envelope, lacking)
    }

    /// Signs a document of a role for all who trust it, and returns its bytes if enough keys signed it for those for whom it has to
    /// count, or, where it was looked at, for one of the `nearest`; and the first for whom it counts.
    fn add_for(
        &mut self,
        mut envelope: Envelope,
        whom: &For,
        nearest: Option<&[String]>,
        keys: &[&dyn Signer],
    ) -> Result<Option<(String, Vec<u8>)>, EditError> {
        let roles: Vec<_> = whom.all().map(|(_, keys)| keys.clone()).collect();
        envelope.sign(&roles, keys)?;
        let counts = |keys: &RoleKeys| envelope.lacking(std::slice::from_ref(keys)).is_none();
        let doubtful = whom
            .doubtful
            .iter()
            .find(|(_, keys)| counts(keys))
            .map(|(by, _)| by.as_str());
        // Of a draft others sign as well.
        if let Some(by) = doubtful.or_else(|| whom.could_count().filter(|_| self.goes_round)) {
            return Err(EditError::Doubtful {
                role: envelope.role.clone(),
                by: by.to_owned(),
            });
        }
        let nearest = nearest.filter(|nearest| !nearest.is_empty());
        let mut among = whom
            .all()
            .filter(|(by, _)| nearest.is_none_or(|nearest| nearest.contains(by)));
        let first = among.clone().find(|(_, keys)| counts(keys)).map(|(by, _)| by.clone());
        let needed: Vec<_> = match nearest {
            None => whom.needed.iter().map(|(_, keys)| keys.clone()).collect(),
            Some(_) if first.is_some() => Vec::new(),
            Some(_) => among.next().map(|(_, keys)| keys.clone()).into_iter().collect(),
        };
        let lacking = envelope.lacking(&needed);
        // They are somebody else's, whose file it is.
        if let Some((by, _)) = whom.doubtful.first().filter(|_| lacking.is_some() && !self.goes_round) {
            return Err(EditError::Doubtful {
                role: envelope.role.clone(),
                by: by.clone(),
            });
        }
        let lost = whom.more.iter().filter(|(_, keys, before)| *before && !counts(keys));
        self.lost.extend(lost.map(|(by, _, _)| Lost {
            role: envelope.role.clone(),
            by: by.clone(),
        }));
        let bytes = self.keep(envelope, lacking)?;
        Ok(first.zip(bytes))
    }

    /// Keeps a document, and returns its bytes if it lacks nothing.
    fn keep(&mut self, envelope: Envelope, lacking: Option<EditError>) -> Result<Option<Vec<u8>>, EditError> {
        let bytes = match lacking {
            None => Some(envelope.bytes()?),
            Some(_) => None,
        };
        self.lacking = self.lacking.take().or(lacking);
        self.envelopes.push(envelope);
        Ok(bytes)
    }
}

/// Says that the role at the end of a path would not be trusted any more.
fn untrusted(path: &[String]) -> EditError {
    let (role, above) = path
        .split_last()
        .map_or(("", path), |(role, above)| (role.as_str(), above));
    EditError::Untrusted {
        role: role.to_owned(),
        by: above.last().map_or("targets", String::as_str).to_owned(),
    }
}

/// What a client finds once the new files are published.
struct Overlay<'a> {
    new: &'a Bundle,
    old: Option<&'a Chain<AtTargets>>,
}

impl Source for Overlay<'_> {
    fn file(&mut self, name: &str, _max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let roles = || {
            let mut roles = self.old?.roles();
            roles
                .find(|(_, signed)| signed.name() == name)
                .map(|(_, signed)| signed.bytes())
        };
        let old = || self.old?.files().get(name);
        let found = self.new.get(name).or_else(old).or_else(roles);
        Ok(found.map(<[u8]>::to_vec))
    }
}

/// Makes a header the one of the version after `published`.
fn set_next(header: &mut Header, published: u64, role: &str, now: Time) {
    header.version = published + 1;
    header.expires = now.plus(lifetime(role));
}

/// Tells whether a body is the next version of what is published: for those who take it from a draft.
pub(super) fn is_next(body: &impl Body, published: u64) -> bool {
    body.header().version == published + 1
}
