//! Unpublished metadata, which several people sign: a file that goes from one to the next.
//!
//! - A draft holds the next versions of some roles, and the signatures that are there; and every root from the pinned one to
//!   the present, so that who signs offline sees whose keys count.
//! - Nothing in it is believed: [`Collection::adopt`] takes it only as what it is, the next version of what is published, and
//!   [`Collection::sign`] refuses it until enough keys signed.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EditError;
use super::adopt::check_not_expired;
use super::envelope::Envelope;
use super::sign::is_next;
use crate::digest::Digest;
use crate::json::{self, Limits};
use crate::key::{KeyId, Signer};
use crate::limit;
use crate::time::Time;
use crate::trust::chain::{AtRoot, Chain};
use crate::trust::metadata::{Body, Root, SPEC_VERSION};
use crate::trust::role_keys::RoleKeys;
use crate::trust::{TrustError, names};

/// The version of the form that imgkit writes and reads.
const FORM: u64 = 1;

/// How messages name a draft.
pub(super) const SUBJECT: &str = "the draft";

/// Next versions of roles, signed by some of their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The collection's name, for people.
    pub collection: String,
    pub(super) roots: Vec<Vec<u8>>,
    pub(super) envelopes: Vec<Envelope>,
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

impl Lacking {
    /// Says what a document that could not be signed lacks, if that is why.
    pub fn of(error: &EditError) -> Option<Self> {
        match error {
            EditError::Keys {
                role,
                needed,
                have,
                keys,
            } => Some(Self {
                role: role.clone(),
                needed: *needed,
                have: *have,
                keys: keys.clone(),
            }),
            _ => None,
        }
    }
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
        let mut roles = BTreeSet::new();
        if let Some(twice) = written.documents.iter().find(|document| !roles.insert(&document.role)) {
            // What was shown would be one of them, and what is signed another.
            let role = twice.role.escape_debug();
            return Err(bad(&format!("it holds two documents of the role `{role}`")));
        }
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
                signed: Value::clone(&envelope.signed),
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
        root.map(read).transpose()
    }

    /// Returns the version of the next root and the SHA-256 of what is signed of it, if it holds one.
    ///
    /// # Errors
    /// As [`Draft::root`].
    pub fn root_digest(&self) -> Result<Option<(u64, Digest)>, TrustError> {
        let root = self.envelopes.iter().find(|envelope| envelope.role == "root");
        let digest = |envelope: &Envelope| {
            Ok((
                read::<Root>(envelope)?.header.version,
                Digest::sha256(envelope.message()),
            ))
        };
        root.map(digest).transpose()
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
    /// [`EditError::Trust`] when the roots in it are no chain from `pin`, or the next root is not the next one; [`EditError::Expired`]
    /// when it no longer counts at `now`.
    pub fn sign_root(
        &mut self,
        pin: Option<&[u8]>,
        keys: &[&dyn Signer],
        now: Time,
    ) -> Result<Vec<Lacking>, EditError> {
        let roles = self.root_roles(pin, now)?;
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
    pub fn root_roles(&self, pin: Option<&[u8]>, now: Time) -> Result<Vec<RoleKeys>, EditError> {
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
        check_not_expired("root", &next.header, now)?;
        check_root(&next, chain.newest_root().body())?;
        let role = next.roles.get("root").ok_or_else(missing)?;
        let own = RoleKeys::new("root", &role.keyids, role.threshold, &next.keys);
        Ok(vec![chain.top_level_keys("root"), own])
    }
}

/// Reads a document as strictly as one that is published.
pub(super) fn read<T: Body>(envelope: &Envelope) -> Result<T, TrustError> {
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

/// Refuses a next root with roles that the specification does not know and the present one does not have, another specification's
/// version, or keys under ids that are not theirs.
pub(super) fn check_root(next: &Root, present: &Root) -> Result<(), EditError> {
    let is_known = |role: &&String| names::TOP_LEVEL.contains(&role.as_str()) || present.roles.contains_key(*role);
    if let Some(role) = next.roles.keys().find(|role| !is_known(role)) {
        let problem = format!("its role `{}` is none of a root's", role.escape_debug());
        return Err(TrustError::malformed("root.json", problem).into());
    }
    check_spec_version("root", &next.header.spec_version, &present.header.spec_version)?;
    check_key_ids("root", &next.keys, Some(&present.keys))
}

/// Refuses another version of the specification than that of what is published, or made here.
pub(super) fn check_spec_version(role: &str, found: &str, published: &str) -> Result<(), EditError> {
    if found == published || found == SPEC_VERSION {
        return Ok(());
    }
    let found = found.escape_debug();
    let problem = format!("its spec_version is `{found}`, expected `{published}`");
    Err(TrustError::malformed(names::file_name(role, None), problem).into())
}

/// Says what a document lacks to be signed by enough keys of each of `roles`.
pub(super) fn lacking(envelope: &Envelope, roles: &[RoleKeys]) -> Vec<Lacking> {
    let mut all: Vec<Lacking> = Vec::new();
    for role in roles {
        let Some(EditError::Keys { needed, have, .. }) = envelope.lacking(std::slice::from_ref(role)) else {
            continue;
        };
        let good: BTreeSet<_> = envelope.good_signatures(role).collect();
        let missing = role.keys().keys().filter(|id| !good.contains(id));
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

/// Refuses a new key under an id that is not the SHA-256 of its canonical form; what is published so stays usable.
///
/// TUF leaves ids open (TAP 12), and ids are what people compare before they sign.
pub(super) fn check_key_ids(
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
