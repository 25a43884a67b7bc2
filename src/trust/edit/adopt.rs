//! Drafts of a collection: what it signs so far as some keys go, and what it takes from a draft that others signed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::draft::{Draft, Lacking, SUBJECT, check_key_ids, check_root, check_spec_version, lacking, read};
use super::envelope::Envelope;
use super::sign::is_next;
use super::{Collection, EditError, Held, RoleSpec, lifetime};
use crate::key::{KeyId, Signer};
use crate::limit;
use crate::time::Time;
use crate::trust::metadata::{
    Body, Delegations, Header, ROLE, Root, SIGNED_AT, SPEC_VERSION, Snapshot, Targets, Timestamp,
};
use crate::trust::role_keys::RoleKeys;
use crate::trust::search::delegations;
use crate::trust::{Mark, TrustError, names};

/// A document that a collection took from a draft.
#[derive(Clone, Debug)]
pub struct Drafted {
    /// Its role.
    pub role: String,
    /// Its version and expiry.
    pub mark: Mark,
    /// The keys that signed it and count, of the present root as well where it is the next one, by their own ids.
    pub signed: BTreeSet<KeyId>,
    /// What it lacks to be published.
    pub lacking: Vec<Lacking>,
}

impl Collection<'_> {
    /// Signs what changed as far as `keys` go, for others to go on; also says what is lacking.
    ///
    /// # Errors
    /// [`EditError`] when it cannot be written.
    pub fn draft(
        mut self,
        collection: &str,
        keys: &[&dyn Signer],
        now: Time,
    ) -> Result<(Draft, Vec<Lacking>), EditError> {
        let made = self.make(keys, now, true)?;
        let mut all = Vec::new();
        for envelope in &made.envelopes {
            all.extend(lacking(envelope, &self.roles_of(&envelope.role)));
        }
        let roots = self.published().into_iter().flat_map(|chain| chain.files().roots());
        let draft = Draft {
            collection: collection.to_owned(),
            roots: roots.map(<[u8]>::to_vec).collect(),
            envelopes: made.envelopes,
        };
        Ok((draft, all))
    }

    /// Takes the next root from a draft as [`Collection::adopt_signed`] does, and marks what its new keys have to sign again.
    ///
    /// # Errors
    /// As [`Collection::adopt`].
    pub fn adopt_root(&mut self, draft: &Draft, now: Time) -> Result<(), EditError> {
        let bad = |problem: &str| EditError::Draft(TrustError::malformed(SUBJECT, problem));
        let next = draft.root().map_err(|error| EditError::from(error).in_draft())?;
        let next = next.ok_or_else(|| bad("it holds no root"))?;
        // What it says of targets roles would be signed anew by the root's new keys, and nobody was shown it.
        if let Some(other) = draft.envelopes.iter().find(|envelope| !is_fixed(&envelope.role)) {
            let role = other.role.escape_debug();
            let problem = "beside the root; publish it with `imgkit trust publish`";
            return Err(bad(&format!("it holds a document of `{role}` {problem}")));
        }
        let changed = |role: &str| {
            let (old, new) = (self.root.roles.get(role), next.roles.get(role));
            old.zip(new).is_some_and(|(old, new)| old != new)
        };
        let changed: Vec<_> = ["targets", "snapshot", "timestamp"]
            .into_iter()
            .filter(|role| changed(role))
            .collect();
        // Bins have the keys of the top level; which roles are bins is known by these, so before they change.
        let parts = match changed.contains(&"targets") {
            true => self.parts_of("targets")?,
            false => Vec::new(),
        };
        self.adopt_signed(draft, now)?;
        for role in changed {
            self.touch(role);
        }
        for part in parts {
            let spec = RoleSpec::of(&self.role_keys("targets")?);
            self.replace_part(&part, &spec, now)?;
        }
        Ok(())
    }

    /// Returns the keys of which a new root needs signatures: the published root's, and its own.
    pub fn root_keys(&self) -> Vec<RoleKeys> {
        self.roles_of("root")
    }

    /// Takes the next versions of roles from a draft to be published as they were signed: none but its snapshot and timestamp, which
    /// follow from the others, is signed here.
    ///
    /// # Errors
    /// As [`Collection::adopt`].
    pub fn adopt_signed(&mut self, draft: &Draft, now: Time) -> Result<(), EditError> {
        self.adopt(draft, now)?;
        let follows = |role: &&String| matches!(role.as_str(), "snapshot" | "timestamp");
        self.sealed = self.prepared.keys().filter(|role| !follows(role)).cloned().collect();
        Ok(())
    }

    /// Returns the documents that were taken from a draft and have not been changed since.
    ///
    /// # Errors
    /// [`EditError::Trust`] for one that is no metadata, which [`Collection::adopt`] has refused.
    pub fn drafted(&self) -> Result<Vec<Drafted>, EditError> {
        let drafted = |(role, envelope): (&String, &Envelope)| {
            let roles = self.roles_of(role);
            let signed = roles
                .iter()
                .flat_map(|keys| envelope.good_signatures(keys).map(|listed| keys.own_id(listed)));
            Ok(Drafted {
                role: role.clone(),
                mark: Mark::from(&envelope.body::<Header>()?),
                signed: signed.collect(),
                lacking: lacking(envelope, &roles),
            })
        };
        self.prepared.iter().map(drafted).collect()
    }

    /// Takes the next versions of roles from a draft, with the signatures of them. Its snapshot and timestamp are taken if a key of
    /// theirs signed them; else they are made anew.
    ///
    /// # Errors
    /// [`EditError::Stale`] when somebody published since; [`EditError::NoRole`] for a role that is none; [`EditError::Expiry`] for a
    /// document that would count for longer than one made at `now`, [`EditError::Expired`] for one that no longer does;
    /// [`EditError::Draft`] for what is malformed, for what another role says, and for a snapshot or timestamp that says more than it
    /// has to.
    pub fn adopt(&mut self, draft: &Draft, now: Time) -> Result<(), EditError> {
        self.take(draft, now).map_err(EditError::in_draft)
    }

    fn take(&mut self, draft: &Draft, now: Time) -> Result<(), EditError> {
        // The root and then the roles that delegate come first: they say whose keys count for the rest.
        let mut envelopes: Vec<_> = draft.envelopes.iter().collect();
        envelopes.sort_by_key(|envelope| envelope.role != "root");
        if let Some(root) = envelopes.iter().find(|envelope| envelope.role == "root") {
            let body: Root = read(root)?;
            check_expiry("root", &body.header, now)?;
            check_not_expired("root", &body.header, now)?;
            check_next("root", self.root.header.version, &body)?;
            check_root(&body, &self.root)?;
            self.root = body;
        }
        self.adopt_targets(&envelopes, now)?;
        let documents = envelopes.iter().map(|envelope| envelope.role.clone());
        self.note_drafted(&documents.filter(|role| !is_fixed(role)).collect());
        for envelope in envelopes {
            let role = envelope.role.as_str();
            let stale = match role {
                "snapshot" => {
                    let body: Snapshot = read(envelope)?;
                    let ours = &self.snapshot;
                    check_plain(role, (&body.header, &body.extra), (&ours.header, &ours.extra), now)?;
                    !is_next(&body, ours.header.version) || is_off(&body.header, &body.extra, now)
                }
                "timestamp" => {
                    let body: Timestamp = read(envelope)?;
                    let ours = &self.timestamp;
                    check_plain(role, (&body.header, &body.extra), (&ours.header, &ours.extra), now)?;
                    !is_next(&body, ours.header.version) || is_off(&body.header, &body.extra, now)
                }
                _ => false,
            };
            // Snapshot and timestamp are made anew when somebody published since, or theirs is another time; only their own signatures
            // are lost.
            if stale {
                continue;
            }
            // What nobody signed is worth nothing: whoever had the file on its way may have written it.
            let signed = || {
                self.known_keys(role)
                    .is_some_and(|keys| envelope.good_signatures(&keys).next().is_some())
            };
            if matches!(role, "snapshot" | "timestamp") && !signed() {
                self.touch(role);
                continue;
            }
            self.changed.remove(role);
            self.prepared.insert(role.to_owned(), envelope.clone());
        }
        Ok(())
    }

    /// Takes the documents of targets roles, a role's after that of the one that delegates to it.
    fn adopt_targets(&mut self, envelopes: &[&Envelope], now: Time) -> Result<(), EditError> {
        let mut waiting = BTreeMap::new();
        for envelope in envelopes.iter().filter(|envelope| !is_fixed(&envelope.role)) {
            waiting.insert(envelope.role.clone(), read::<Targets>(envelope)?);
        }
        // The top level first: it says who the others are.
        let mut ready = VecDeque::new();
        for role in waiting.keys() {
            match role == "targets" {
                true => ready.push_front(role.clone()),
                false => ready.push_back(role.clone()),
            }
        }
        while let Some(role) = ready.pop_front() {
            let Some(body) = waiting.remove(&role) else { continue };
            match self.find(&role) {
                Ok(()) => {}
                // Its delegation is in another document, which will ask for it.
                Err(EditError::NoRole { .. }) => {
                    waiting.insert(role, body);
                    continue;
                }
                Err(error) => return Err(error),
            }
            check_expiry(&role, &body.header, now)?;
            check_not_expired(&role, &body.header, now)?;
            self.check_is_for(&role, &body, envelopes)?;
            check_next(&role, self.meta(&role).map_or(0, |meta| meta.version), &body)?;
            let published = self.targets_of(&role);
            let version = published.map_or(SPEC_VERSION, |body| &body.header.spec_version);
            check_spec_version(&role, &body.header.spec_version, version)?;
            if let Some(new) = &body.delegations {
                let published = published.and_then(|body| body.delegations.as_ref());
                check_key_ids(&role, &new.keys, published.map(|all| &all.keys))?;
                let known = published.into_iter().flat_map(|all| &all.roles);
                let known: BTreeSet<_> = known.map(|listed| listed.name.clone()).collect();
                let names = new.roles.iter().map(|listed| &listed.name);
                let mut names: Vec<_> = names.filter(|name| !known.contains(*name)).cloned().collect();
                names.extend(self.new_bins(new, published, waiting.keys()));
                // Who lists a name that is taken could put his own file in the place of the other's.
                names.iter().try_for_each(|name| self.check_new(name))?;
                let listed = new.roles.iter().filter(|listed| waiting.contains_key(&listed.name));
                ready.extend(listed.map(|listed| listed.name.clone()));
                if let Some(bins) = &new.succinct_roles {
                    ready.extend(waiting.keys().filter(|name| bins.is_bin(name)).cloned());
                }
            }
            let by = envelopes
                .iter()
                .find(|envelope| envelope.role == role)
                .and_then(|envelope| self.for_whom(envelope));
            self.held.insert(role, Held { by, body });
        }
        match waiting.into_keys().next() {
            Some(role) => Err(EditError::NoRole { role }),
            None => Ok(()),
        }
    }

    /// Refuses a document of a draft that may be another role's: one key may have both, and a bin has the keys of its role.
    fn check_is_for(&self, role: &str, body: &Targets, envelopes: &[&Envelope]) -> Result<(), TrustError> {
        let file = names::file_name(role, None);
        body.check_role(&file, role)?;
        if body.role.is_some() {
            return Ok(());
        }
        // Who said it once goes on saying it; what is new is made by those who sign as the role that delegates to it.
        let before = self.targets_of(role);
        let before = before.or_else(|| self.targets_of(self.by(role)?));
        if before.is_some_and(|before| before.role.is_some()) {
            let problem = format!("it does not say which role it is for (`{ROLE}`), and what is published does");
            return Err(TrustError::malformed(file, problem));
        }
        let published = self.published().into_iter().flat_map(|chain| {
            let top = std::iter::once(("targets", chain.targets()));
            top.chain(chain.roles())
        });
        let mut others = published.filter(|(other, _)| *other != role);
        let envelope = envelopes.iter().find(|envelope| envelope.role == role);
        let same =
            others.find(|(_, signed)| envelope.is_some_and(|ours| ours.message() == signed.document().message()));
        match same {
            None => Ok(()),
            Some((other, _)) => {
                let problem = format!("it is what the role `{other}` says, word for word");
                Err(TrustError::malformed(file, problem))
            }
        }
    }

    /// Lists the names that are taken, of those that bins have and did not have before.
    fn new_bins<'a>(
        &self,
        new: &Delegations,
        before: Option<&Delegations>,
        waiting: impl Iterator<Item = &'a String>,
    ) -> Vec<String> {
        let Some(bins) = &new.succinct_roles else {
            return Vec::new();
        };
        let before = before.and_then(|all| all.succinct_roles.as_ref());
        let published = self.snapshot.meta.keys().filter_map(|file| file.strip_suffix(".json"));
        let listed = self.held.values().flat_map(|held| delegations(&held.body));
        let names = published
            .chain(listed.map(|role| role.name.as_str()))
            .map(str::to_owned);
        let is_new = |name: &String| bins.is_bin(name) && before.is_none_or(|before| !before.is_bin(name));
        let names: BTreeSet<_> = names.chain(waiting.cloned()).filter(is_new).collect();
        names.into_iter().collect()
    }

    /// Returns the roles whose keys must sign a document: root N + 1 is signed by the keys of root N and by its own.
    pub(super) fn roles_of(&self, role: &str) -> Vec<RoleKeys> {
        let before = self.published().filter(|_| role == "root");
        let before = before.map(|chain| chain.top_level_keys("root"));
        before.into_iter().chain(self.known_keys(role)).collect()
    }
}

fn is_fixed(role: &str) -> bool {
    matches!(role, "root" | "snapshot" | "timestamp")
}

/// Refuses a snapshot or timestamp that says more than what is published of it, or counts for longer than one made at `now`.
fn check_plain(
    role: &str,
    (header, extra): (&Header, &Map<String, Value>),
    (ours, known): (&Header, &Map<String, Value>),
    now: Time,
) -> Result<(), EditError> {
    check_expiry(role, header, now)?;
    let problem = |problem: String| TrustError::malformed(names::file_name(role, None), problem);
    check_spec_version(role, &header.spec_version, &ours.spec_version)?;
    let unknown = extra
        .iter()
        .find(|(name, value)| known.get(*name) != Some(value) && !is_signing_time(name, value));
    match unknown {
        Some((name, _)) => {
            let name = name.escape_debug();
            Err(problem(format!(
                "its member `{name}` is not in what is published; stage the change again"
            ))
            .into())
        }
        None => Ok(()),
    }
}

/// Tells whether a snapshot or timestamp has expired before it is published, or was signed in the future.
fn is_off(header: &Header, extra: &Map<String, Value>, now: Time) -> bool {
    let signed = extra.get(SIGNED_AT).and_then(Value::as_str);
    let signed = signed.and_then(|text| text.parse::<Time>().ok());
    header.expires <= now || signed.is_some_and(|signed| signed > now.plus(limit::DRAFT_AHEAD))
}

fn is_signing_time(name: &str, value: &Value) -> bool {
    name == SIGNED_AT && value.as_str().is_some_and(|text| text.parse::<Time>().is_ok())
}

fn check_expiry(role: &str, header: &Header, now: Time) -> Result<(), EditError> {
    let latest = now.plus(lifetime(role) + limit::DRAFT_AHEAD);
    match header.expires > latest {
        true => Err(EditError::Expiry {
            role: role.to_owned(),
            found: header.expires,
            latest,
        }),
        false => Ok(()),
    }
}

/// Refuses what would be expired when it is published. (Snapshot and timestamp are made anew instead.)
pub(super) fn check_not_expired(role: &str, header: &Header, now: Time) -> Result<(), EditError> {
    match header.expires > now {
        true => Ok(()),
        false => Err(EditError::Expired {
            role: role.to_owned(),
            found: header.expires,
            now,
        }),
    }
}

fn check_next(role: &str, published: u64, body: &impl Body) -> Result<(), EditError> {
    match is_next(body, published) {
        true => Ok(()),
        false => Err(EditError::Stale {
            role: role.to_owned(),
            published,
            found: body.header().version,
        }),
    }
}
