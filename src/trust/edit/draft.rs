//! Unpublished metadata, which several people sign: a file that goes from one to the next.
//!
//! - A draft holds the next versions of some roles, and the signatures that are there; and every root from the pinned one to
//!   the present, so that who signs offline sees whose keys count.
//! - Nothing in it is believed: [`Collection::adopt`] takes it only as what it is, the next version of what is published, and
//!   [`Collection::sign`] refuses it until enough keys signed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::envelope::Envelope;
use super::sign::is_next;
use super::{Collection, EditError, Held, RoleSpec, lifetime};
use crate::json::{self, Limits};
use crate::key::{KeyId, Signer};
use crate::limit;
use crate::time::Time;
use crate::trust::chain::{AtRoot, Chain};
use crate::trust::metadata::{Body, Header, Root, SIGNED_AT, Snapshot, Targets, Timestamp};
use crate::trust::role_keys::RoleKeys;
use crate::trust::{TrustError, names};

/// The version of the form that imgkit writes and reads.
const FORM: u64 = 1;

/// How messages name a draft.
const SUBJECT: &str = "the draft";

/// Next versions of roles, signed by some of their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The collection's name, for people.
    pub collection: String,
    roots: Vec<Vec<u8>>,
    envelopes: Vec<Envelope>,
}

/// What a document of a draft lacks to be published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lacking {
    /// Its role.
    pub role: String,
    /// How many keys must sign.
    pub needed: u32,
    /// How many did.
    pub have: usize,
    /// The keys whose signatures count and are not there.
    pub keys: Vec<KeyId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "imgkitDraft")]
    form: u64,
    collection: String,
    roots: Vec<String>,
    documents: Vec<Document>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    role: String,
    signatures: BTreeMap<KeyId, String>,
    signed: Value,
}

impl Draft {
    /// Reads a draft.
    ///
    /// # Errors
    /// [`TrustError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let bad = |problem: &dyn ToString| TrustError::malformed(SUBJECT, problem.to_string());
        let value = json::parse(bytes, Limits::integers(limit::DRAFT_BYTES)).map_err(|error| bad(&error))?;
        let written: Written = serde_json::from_value(value).map_err(|error| bad(&error))?;
        if written.form != FORM {
            return Err(bad(&format!("its form is {}, expected {FORM}", written.form)));
        }
        let root = |text: &String| STANDARD.decode(text).map_err(|error| bad(&error));
        let document = |document: Document| {
            let signature = |(id, sig): (KeyId, String)| match hex::decode(sig) {
                Ok(sig) => Ok((id, sig)),
                Err(_) => Err(bad(&format!("the signature by {id} is not hexadecimal"))),
            };
            let signatures = document.signatures.into_iter().map(signature);
            Envelope::of(&document.role, document.signed, signatures.collect::<Result<_, _>>()?)
        };
        Ok(Self {
            collection: written.collection,
            roots: written.roots.iter().map(root).collect::<Result<_, _>>()?,
            envelopes: written.documents.into_iter().map(document).collect::<Result<_, _>>()?,
        })
    }

    /// Writes the draft.
    ///
    /// # Errors
    /// [`TrustError::Malformed`], which no draft that was made or read gives.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrustError> {
        let bad = |problem: &dyn ToString| TrustError::malformed(SUBJECT, problem.to_string());
        let document = |envelope: &Envelope| {
            let signature = |(id, sig): (&KeyId, &Vec<u8>)| (id.clone(), hex::encode(sig));
            Document {
                role: envelope.role.clone(),
                signatures: envelope.signatures.iter().map(signature).collect(),
                signed: envelope.signed.clone(),
            }
        };
        let written = Written {
            form: FORM,
            collection: self.collection.clone(),
            roots: self.roots.iter().map(|root| STANDARD.encode(root)).collect(),
            documents: self.envelopes.iter().map(document).collect(),
        };
        let value = serde_json::to_value(written).map_err(|error| bad(&error))?;
        let mut bytes = value.to_string().into_bytes();
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Returns the roles whose next versions it holds, and these versions.
    pub fn roles(&self) -> Vec<(String, u64)> {
        let version = |envelope: &Envelope| envelope.signed.get("version").and_then(Value::as_u64);
        let all = self.envelopes.iter();
        all.map(|envelope| (envelope.role.clone(), version(envelope).unwrap_or_default()))
            .collect()
    }

    /// Returns the next root, if it holds one.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] when it is none.
    pub fn root(&self) -> Result<Option<Root>, TrustError> {
        let root = self.envelopes.iter().find(|envelope| envelope.role == "root");
        root.map(Envelope::body).transpose()
    }

    /// Walks the roots in it from `pin`, or from the first when there is no pin, to the present one.
    ///
    /// # Errors
    /// [`TrustError`] when they are no chain, or the pin is not in it.
    pub fn chain(&self, pin: Option<&[u8]>) -> Result<Chain<AtRoot>, TrustError> {
        let mut roots = self.roots.iter().map(Vec::as_slice);
        let missing = || TrustError::malformed(SUBJECT, "it does not hold the root that this machine pins");
        let first = match pin {
            Some(pin) => roots.find(|root| *root == pin),
            None => roots.next(),
        };
        let mut chain = Chain::pinned(first.ok_or_else(missing)?, Time::EPOCH)?;
        for root in roots {
            chain = chain.root(root)?;
        }
        Ok(chain)
    }

    /// Signs the next root, offline, with those of `keys` that count for it; says what it lacks then.
    ///
    /// # Errors
    /// [`TrustError`] when the roots in it are no chain from `pin`, or the next root is not the next one.
    pub fn sign_root(&mut self, pin: Option<&[u8]>, keys: &[&dyn Signer]) -> Result<Vec<Lacking>, EditError> {
        let roles = self.root_roles(pin)?;
        let missing = || TrustError::malformed(SUBJECT, "it holds no root");
        let envelope = self.envelopes.iter_mut().find(|envelope| envelope.role == "root");
        let envelope = envelope.ok_or_else(missing)?;
        envelope.sign(&roles, keys)?;
        Ok(lacking(envelope, &roles))
    }

    /// Returns the keys of the present root and of the next one, each of which must sign it.
    ///
    /// # Errors
    /// As [`Draft::sign_root`].
    pub fn root_roles(&self, pin: Option<&[u8]>) -> Result<Vec<RoleKeys>, EditError> {
        let chain = self.chain(pin)?;
        let missing = || TrustError::malformed(SUBJECT, "it holds no root");
        let next = self.root()?.ok_or_else(missing)?;
        if !is_next(&next, chain.version()) {
            return Err(EditError::Stale {
                role: "root".to_owned(),
                published: chain.version(),
                found: next.header.version,
            });
        }
        check_key_ids("root", &next.keys, Some(&chain.newest_root().body().keys))?;
        let role = next.roles.get("root").ok_or_else(missing)?;
        let own = RoleKeys::new("root", &role.keyids, role.threshold, &next.keys);
        Ok(vec![chain.top_level_keys("root"), own])
    }
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
        let made = self.make(keys, now)?;
        let mut all = Vec::new();
        for envelope in &made.envelopes {
            all.extend(lacking(envelope, &self.roles_of(&envelope.role)));
        }
        let roots = self.published().into_iter().flat_map(|chain| chain.files().files());
        let roots = roots.filter(|(name, _)| name.ends_with(".root.json"));
        let draft = Draft {
            collection: collection.to_owned(),
            roots: roots.map(|(_, bytes)| bytes.to_vec()).collect(),
            envelopes: made.envelopes,
        };
        Ok((draft, all))
    }

    /// Takes the next root from a draft, and marks what its new keys have to sign again.
    ///
    /// # Errors
    /// As [`Collection::adopt`].
    pub fn adopt_root(&mut self, draft: &Draft, now: Time) -> Result<(), EditError> {
        let missing = || TrustError::malformed(SUBJECT, "it holds no root");
        let next = draft.root()?.ok_or_else(missing)?;
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
        self.adopt(draft, now)?;
        for role in changed {
            self.touch(role);
        }
        for part in parts {
            let spec = RoleSpec::of(&self.role_keys("targets")?);
            self.replace_keys(&part, &spec, now)?;
            self.touch(&part);
        }
        Ok(())
    }

    /// Takes the next versions of roles from a draft, with the signatures of them. Its snapshot and timestamp are taken if a key of
    /// theirs signed them; else they are made anew.
    ///
    /// # Errors
    /// [`EditError::Stale`] when somebody published since; [`EditError::NoRole`] for a role that is none; [`EditError::Expiry`] for a
    /// document that would count for longer than one made at `now`; [`EditError::Trust`] for a snapshot or timestamp that says more
    /// than it has to.
    pub fn adopt(&mut self, draft: &Draft, now: Time) -> Result<(), EditError> {
        // The root and then the roles that delegate come first: they say whose keys count for the rest.
        let mut envelopes: Vec<_> = draft.envelopes.iter().collect();
        envelopes.sort_by_key(|envelope| envelope.role != "root");
        if let Some(root) = envelopes.iter().find(|envelope| envelope.role == "root") {
            let body: Root = read(root)?;
            check_expiry("root", &body.header, now)?;
            check_next("root", self.root.header.version, &body)?;
            check_key_ids("root", &body.keys, Some(&self.root.keys))?;
            self.root = body;
        }
        let mut left: Vec<_> = Vec::new();
        for envelope in envelopes.iter().filter(|envelope| !is_fixed(&envelope.role)) {
            left.push((envelope, read::<Targets>(envelope)?));
        }
        // A role whose delegation is in another document of the draft has to wait for that one.
        while !left.is_empty() {
            let before = left.len();
            for (envelope, body) in std::mem::take(&mut left) {
                let role = envelope.role.as_str();
                match self.find(role) {
                    Ok(()) => {}
                    Err(EditError::NoRole { .. }) => {
                        left.push((envelope, body));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                check_expiry(role, &body.header, now)?;
                check_next(role, self.meta(role).map_or(0, |meta| meta.version), &body)?;
                if let Some(new) = &body.delegations {
                    let published = self.targets_of(role).and_then(|body| body.delegations.as_ref());
                    check_key_ids(role, &new.keys, published.map(|all| &all.keys))?;
                }
                let by = self.by(role).map(str::to_owned);
                self.held.insert(role.to_owned(), Held { by, body });
            }
            if left.len() == before {
                let role = left.first().map(|(envelope, _)| envelope.role.clone());
                return Err(EditError::NoRole {
                    role: role.unwrap_or_default(),
                });
            }
        }
        for envelope in envelopes {
            let role = envelope.role.as_str();
            let stale = match role {
                "snapshot" => {
                    let body: Snapshot = read(envelope)?;
                    let ours = &self.snapshot;
                    check_plain(role, (&body.header, &body.extra), (&ours.header, &ours.extra), now)?;
                    !is_next(&body, ours.header.version)
                }
                "timestamp" => {
                    let body: Timestamp = read(envelope)?;
                    let ours = &self.timestamp;
                    check_plain(role, (&body.header, &body.extra), (&ours.header, &ours.extra), now)?;
                    !is_next(&body, ours.header.version)
                }
                _ => false,
            };
            // Snapshot and timestamp are made anew when somebody published since; only their own signatures are lost.
            if stale {
                continue;
            }
            // What nobody signed is worth nothing: whoever had the file on its way may have written it.
            let signed = || {
                self.known_keys(role)
                    .is_some_and(|keys| envelope.has_good_signature(&keys))
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

    /// Returns the roles whose keys must sign a document.
    fn roles_of(&self, role: &str) -> Vec<RoleKeys> {
        let before = self.published().filter(|_| role == "root");
        let before = before.map(|chain| chain.top_level_keys("root"));
        before.into_iter().chain(self.known_keys(role)).collect()
    }
}

/// Says what a document lacks to be signed by enough keys of each of `roles`.
fn lacking(envelope: &Envelope, roles: &[RoleKeys]) -> Vec<Lacking> {
    let mut all: Vec<Lacking> = Vec::new();
    for role in roles {
        let Some(EditError::Keys { needed, have, .. }) = envelope.lacking(std::slice::from_ref(role)) else {
            continue;
        };
        let missing = role.keys().keys().filter(|id| !envelope.signatures.contains_key(*id));
        let lacking = Lacking {
            role: envelope.role.clone(),
            needed,
            have,
            keys: missing.cloned().collect(),
        };
        if !all.contains(&lacking) {
            all.push(lacking);
        }
    }
    all
}

fn is_fixed(role: &str) -> bool {
    matches!(role, "root" | "snapshot" | "timestamp")
}

/// Reads a document as strictly as one that is published.
fn read<T: Body>(envelope: &Envelope) -> Result<T, TrustError> {
    let body: T = envelope.body()?;
    let problem = match body.header().kind == T::TYPE {
        true => body.problem(),
        false => Some(format!("its _type is not `{}`", T::TYPE)),
    };
    match problem {
        Some(problem) => Err(TrustError::malformed(names::file_name(&envelope.role, None), problem)),
        None => Ok(body),
    }
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
    if header.spec_version != ours.spec_version {
        let (found, expected) = (header.spec_version.escape_debug(), &ours.spec_version);
        return Err(problem(format!("its spec_version is `{found}`, expected `{expected}`")).into());
    }
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

fn is_signing_time(name: &str, value: &Value) -> bool {
    name == SIGNED_AT && value.as_str().is_some_and(|text| text.parse::<Time>().is_ok())
}

/// Refuses a new key under an id that is not the SHA-256 of its canonical form; what is published so stays usable.
///
/// TUF leaves ids open (TAP 12), and ids are what people compare before they sign.
fn check_key_ids(
    role: &str,
    keys: &BTreeMap<KeyId, Value>,
    published: Option<&BTreeMap<KeyId, Value>>,
) -> Result<(), EditError> {
    for (id, object) in keys {
        if published.and_then(|keys| keys.get(id)) == Some(object) {
            continue;
        }
        let expected = KeyId::of(object).map_err(|error| TrustError::malformed(SUBJECT, error))?;
        if *id != expected {
            return Err(EditError::ForeignId {
                role: role.to_owned(),
                found: id.clone(),
                expected,
            });
        }
    }
    Ok(())
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
