//! Policies on trial: what the gate decides about made-up images under throw-away keys.
//!
//! - For each root that a policy pins, a collection of its dialect is made in memory; no collection or registry is asked, and nothing is
//!   signed that outlives the trial.
//! - Throw-away keys stand in for the keys of roles, and for the keys and identities that sign by sigstore's forms: what is tried is what the
//!   policy demands, not how a certificate is verified. What the gate counts as one signer has one of them.
//! - What judges is the gate itself ([`crate::verify`]), by the policy as it stands.
//! - [`cases`] reads what somebody expects of a policy, [`prove`] shows that it refuses what every policy has to refuse.

mod attached;
pub mod cases;
mod collections;
mod disk;
mod image;
mod notary;
pub mod prove;
mod stand_ins;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::attest::PredicateType;
use crate::failure::Failure;
use crate::oci::Platform;
use crate::policy::{Demand, Policy, Requirement, Signer, Signers, SigstoreSigner, Version};
use crate::reference::Reference;
use crate::time::{DAY, Time};
use crate::trust::metadata::TargetFile;
use crate::verify::{Anchors, Gate, Pins};
use attached::nothing;
use collections::Keys;
use image::MadeUp;

/// A policy, and keys for all whom it names.
pub struct Trial<'p> {
    policy: &'p Policy,
    at: Time,
    platform: Platform,
    keys: Keys,
}

/// Who signed a made-up image, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Root, role, and how many of its keys signed.
    pub signed: Vec<(String, String, u32)>,
    /// Which keys and identities signed beside the image.
    pub attached: Vec<SigstoreSigner>,
    /// What they attested of it: the signer, the predicate's type, the predicate.
    pub attested: Vec<(SigstoreSigner, PredicateType, Value)>,
    /// What is wrong, if something is.
    pub fault: Option<Fault>,
    /// When the image says that it was made; the time of judgement where nothing is said.
    pub created: Option<Time>,
    /// Which version its label says.
    pub version: Option<String>,
}

/// What can be wrong with the signatures of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Somebody signed whom the policy does not name.
    WrongKey,
    /// The signed metadata are past their time.
    Expired,
    /// The signed metadata are older than those that were trusted before.
    RolledBack,
    /// Another image was signed under the name.
    OtherImage,
}

/// Lower than any version that a policy demands in earnest.
const OLDEST: &str = "0.0.0";

/// Before the evaluation by so many seconds everything has expired.
const LONG_AGO: i64 = 20 * 366 * DAY;

impl Fault {
    /// All faults, with their names.
    pub const ALL: [(&'static str, Self); 4] = [
        ("expired", Self::Expired),
        ("otherImage", Self::OtherImage),
        ("rolledBack", Self::RolledBack),
        ("wrongKey", Self::WrongKey),
    ];
}

impl<'p> Trial<'p> {
    /// Makes keys for everybody whom the policy names; everything is judged at `at`.
    ///
    /// `known` are those of the policy's keys and pinned roots that are at hand: what they tell to be one key stays one.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when no keys can be made; [`Failure::Malformed`] when a pinned root is none.
    pub fn new(policy: &'p Policy, at: Time, known: &Pins) -> Result<Self, Failure> {
        Ok(Self {
            policy,
            at,
            platform: Platform::new("linux", policy.image().arch.as_deref().unwrap_or("amd64")),
            keys: Keys::of(policy, known)?,
        })
    }

    /// Judges a made-up image; `Ok` is the gate's verdict.
    ///
    /// # Errors
    /// [`Failure`] when the image or its signatures cannot be made.
    pub fn component(&self, reference: &Reference, given: &Given) -> Result<Result<(), Failure>, Failure> {
        let made = MadeUp::new(&self.platform, self.created(given), given.version.as_deref())?;
        let names = BTreeMap::from([(target_name(reference, &made), made.target(given.fault))]);
        let (anchors, _) = self.anchors(&names, given)?;
        let gate = Gate {
            policy: self.policy,
            anchors: &anchors,
            at: self.at,
            platform: &self.platform,
        };
        let attached = self.attached(reference, &made, given)?;
        let supply = made.supply(reference, &self.platform, attached)?;
        Ok(gate.explain(reference, &supply)?.verdict)
    }

    fn created(&self, given: &Given) -> Time {
        given.created.unwrap_or(self.at)
    }

    /// Makes the collections in which the named targets are signed as it is given.
    fn anchors(&self, names: &BTreeMap<String, TargetFile>, given: &Given) -> Result<(Anchors, Pins), Failure> {
        let mut anchors = BTreeMap::new();
        let mut pins = Pins {
            keys: self.keys.public(),
            ..Pins::default()
        };
        let mut notary = BTreeMap::new();
        for (root, pinned) in self.policy.roots() {
            if let Some(gun) = &pinned.gun {
                let anchor = self.keys.notary_anchor(root, gun, names, given, self.at)?;
                pins.notary.insert(root.to_owned(), anchor.pin.clone());
                notary.insert(root.to_owned(), anchor);
                continue;
            }
            let anchor = self.keys.anchor(root, names, given, self.at)?;
            pins.roots.insert(root.to_owned(), anchor.pin.clone());
            anchors.insert(root.to_owned(), anchor);
        }
        Ok((Anchors::new(anchors, &pins).with_notary(notary), pins))
    }

    /// An image that is signed by everybody whom a requirement names, with all keys, and is as new as it wants.
    fn well_signed(&self, requirement: &Requirement) -> Given {
        let mut given = Given::default();
        let mut newest: Option<&Version> = None;
        for leaf in requirement.leaves() {
            match &leaf.demand {
                Demand::Attested { kind, by, .. } => given.attested.push((by.clone(), kind.clone(), nothing())),
                Demand::MinVersion(version) if newest.is_none_or(|newest| version.is_at_least(newest)) => {
                    newest = Some(version);
                }
                Demand::Signed {
                    by: Signer::Role(by), ..
                } => given.signed.push(self.with_all_keys(by)),
                Demand::Signed {
                    by: Signer::Sigstore(by),
                    ..
                } => given.attached.push(by.clone()),
                _ => {}
            }
        }
        given.version = newest.map(ToString::to_string);
        given
    }

    fn with_all_keys(&self, Signers { root, role, .. }: &Signers) -> (String, String, u32) {
        (root.clone(), role.clone(), self.keys.number(root, role))
    }
}

/// The name under which an image is signed; one that is named by a bare digest has a tag of its own.
fn target_name(reference: &Reference, made: &MadeUp) -> String {
    let name = reference.target_name();
    name.unwrap_or_else(|| format!("{}:{}", reference.repository(), made.tag()))
}
