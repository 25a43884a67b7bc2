//! The seal: who signed the statement about an image, and may they?

use std::collections::BTreeMap;

use serde::Serialize;

use super::anchors::{Anchor, Anchors, Metadata, Role};
use super::notary::NotaryAnchor;
use super::pins::{NotaryPin, Pins};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::key::KeyId;
use crate::policy::{Policy, Signers};
use crate::seal::evidence::TRUST;
use crate::seal::{Evidence, Sealed, Statement};
use crate::time::Time;
use crate::trust::notary::NotaryKnown;
use crate::trust::{Bundle, Known, Lineage, Signature, root_version};

/// Names a file of trust metadata in the evidence.
pub fn trust_name(root: &str, file: &str) -> String {
    format!("{TRUST}{root}/{file}")
}

/// A statement whose seal is good, with what it rests on.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) statement: Statement,
    pub(super) evidence: Evidence,
    pub(super) anchors: Anchors,
    pub(super) signers: SealSigners,
}

/// Who sealed an image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SealSigners {
    /// The policy's name of the trust root.
    pub root: String,
    /// The collection that it stands for, by its root files.
    #[serde(skip)]
    pub collection: Lineage,
    /// The role whose keys may seal.
    pub role: String,
    /// How many distinct keys had to sign.
    pub threshold: u32,
    /// The keys that did.
    pub keys: Vec<KeyId>,
    /// Versions of root and targets metadata by which they were judged.
    pub versions: [u64; 2],
}

/// Opens a seal: the signatures first, then what they sign.
///
/// The trust metadata in the evidence are read before the signature is checked: they prove themselves from the pinned root, and
/// say whose signature counts. Nothing else is.
pub(super) fn open(subject: &str, sealed: &Sealed, policy: &Policy, pins: &Pins, now: Time) -> Result<Opened, Failure> {
    let demand = policy.image().sealed.as_ref().ok_or_else(|| {
        let problem =
            "it has no `image: sealed:`, so no image can be verified against it; say in the policy who may seal";
        Failure::malformed("policy", problem)
    })?;
    if sealed.evaluated_at > now {
        let found = format!("{}, and it is {now}", sealed.evaluated_at);
        let advice = "check the clock of this machine and of the build";
        let expected = "an evaluation time that is not in the future";
        return Err(Refusal::new(Code::Expired, subject, expected, found, advice).into());
    }
    let trust = Evidence::decode_trust(&sealed.evidence).map_err(|error| malformed(subject, error))?;
    let anchors = anchors(pins, &trust);
    let signers =
        role(subject, sealed, demand, &anchors).and_then(|role| check_signatures(subject, sealed, demand, role));
    let mut signers = signers.map_err(|failure| failure.at(policy.image().place("sealed")))?;
    let is_root = |(name, bytes): (&str, &[u8])| {
        let (_, file) = name.strip_prefix(TRUST)?.split_once('/')?;
        root_version(file).map(|_| bytes.to_vec())
    };
    signers.collection = Lineage::new(
        signers.collection.roots().to_vec(),
        trust.iter().filter_map(is_root).collect(),
    );
    let statement = Statement::decode(sealed.envelope.payload()).map_err(|error| malformed(subject, error))?;
    let recorded = &statement.predicate.evidence;
    let stored = Digest::sha256(&sealed.evidence);
    if recorded.digest != stored || recorded.size != sealed.evidence.len() as u64 {
        let expected = format!("evidence {} of {} bytes", recorded.digest, recorded.size);
        return Err(changed(subject, expected, stored));
    }
    if statement.predicate.evaluated_at != sealed.evaluated_at {
        let expected = format!("evaluation time {}, as signed", statement.predicate.evaluated_at);
        return Err(changed(subject, expected, sealed.evaluated_at));
    }
    let evidence = Evidence::decode(&sealed.evidence).map_err(|error| malformed(subject, error))?;
    Ok(Opened {
        statement,
        evidence,
        anchors,
        signers,
    })
}

/// Reads the anchors' metadata out of the evidence: for each pin the set that has the pinned file, else the one that the builder's
/// policy called by the same name.
fn anchors(pins: &Pins, evidence: &Evidence) -> Anchors {
    let mut sets: BTreeMap<&str, Bundle> = BTreeMap::new();
    for (name, bytes) in evidence.iter() {
        let parts = name.strip_prefix(TRUST).and_then(|rest| rest.split_once('/'));
        if let Some((root, file)) = parts {
            sets.entry(root).or_default().add(file, bytes);
        }
    }
    let set = |name: &str, pin: &[u8]| {
        let has_pin = |set: &&Bundle| set.files().any(|(_, bytes)| bytes == pin);
        let found = sets.values().find(has_pin).or_else(|| sets.get(name));
        found.cloned()
    };
    let anchor = |(name, pin): (&String, &Vec<u8>)| {
        let anchor = Anchor {
            pin: pin.clone(),
            metadata: set(name, pin).map_or(Metadata::Nowhere, Metadata::Bundle),
            known: Known::default(),
        };
        (name.clone(), anchor)
    };
    let notary = |(name, pin): (&String, &NotaryPin)| {
        let anchor = NotaryAnchor {
            pin: pin.clone(),
            metadata: set(name, &pin.root).map_or(Metadata::Nowhere, Metadata::Bundle),
            known: NotaryKnown::default(),
        };
        (name.clone(), anchor)
    };
    let anchors = Anchors::new(pins.roots.iter().map(anchor).collect(), pins);
    anchors.with_notary(pins.notary.iter().map(notary).collect())
}

/// Finds the role that may seal in the seal's own metadata.
fn role(subject: &str, sealed: &Sealed, demand: &Signers, anchors: &Anchors) -> Result<Role, Failure> {
    if !anchors.has_metadata(&demand.root) {
        let expected = format!(
            "a seal by role `{}` of root `{}`, with that root's metadata in it",
            demand.role, demand.root
        );
        let advice = "have it built and sealed under a policy that pins this root";
        let found = "nothing of that root";
        return Err(Refusal::new(Code::WrongKey, subject, expected, found, advice).into());
    }
    let role = anchors.role(subject, demand, sealed.evaluated_at);
    role.map_err(|failure| match failure {
        // The one wrong input here that is the user's: the pinned root.
        Failure::Malformed { .. } => failure,
        failure => nonsense(failure),
    })
}

/// Checks that enough keys of the role signed the statement.
pub(super) fn check_signatures(
    subject: &str,
    sealed: &Sealed,
    demand: &Signers,
    Role { keys, evidence, bundle }: Role,
) -> Result<SealSigners, Failure> {
    if sealed.envelope.signatures().is_empty() {
        let expected = format!("a seal signed by role `{}` of root `{}`", demand.role, demand.root);
        let advice = "have it sealed: `imgkit seal sign` on the seal request, then `imgkit seal attach`";
        return Err(Refusal::new(Code::Unsigned, subject, expected, "a seal without a signature", advice).into());
    }
    let signature = |signature: &crate::seal::dsse::Signature| {
        let keyid = KeyId::new(&*signature.keyid).map_err(|error| malformed(subject, error))?;
        Ok(Signature {
            keyid,
            sig: signature.sig.clone(),
        })
    };
    let signatures = sealed.envelope.signatures().iter().map(signature);
    let signatures = signatures.collect::<Result<Vec<_>, Failure>>()?;
    let valid = keys.check("the seal", &sealed.envelope.pae(), &signatures);
    let valid = valid.map_err(|error| error.about(subject))?;
    if valid.len() < demand.threshold as usize {
        let expected = format!("{} distinct keys of role `{}`", demand.threshold, demand.role);
        let advice = "have more of the role's keys seal it: `imgkit seal sign`, then `imgkit seal attach`";
        let found = format!("{} signed", valid.len());
        return Err(Refusal::new(Code::Threshold, subject, expected, found, advice).into());
    }
    Ok(SealSigners {
        root: demand.root.clone(),
        collection: Lineage::new(bundle.roots().map(<[u8]>::to_vec).collect(), Vec::new()),
        role: demand.role.clone(),
        threshold: keys.threshold().max(demand.threshold),
        keys: valid,
        versions: [evidence.root.version, evidence.targets.version],
    })
}

/// Refuses a seal that is not in its form.
pub(super) fn malformed(subject: &str, error: impl std::fmt::Display) -> Failure {
    let advice = "get the image again; these bytes were changed or cut, or are not imgkit's";
    Refusal::new(Code::Malformed, subject, "a seal as imgkit writes it", error, advice).into()
}

fn changed(subject: &str, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Failure {
    let advice = "get the image again; somebody put another part into its seal";
    Refusal::new(Code::DigestMismatch, subject, expected, found, advice).into()
}

/// What a seal holds and lacks is a verdict about the image: no wrong input of the user's, and nothing to be found elsewhere.
pub(super) fn nonsense(failure: Failure) -> Failure {
    match failure {
        Failure::Malformed { subject, problem } | Failure::Unavailable { subject, problem } => {
            malformed(&subject, problem)
        }
        Failure::Refused(refusals) => Failure::Refused(refusals),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::spec::Spec;

    #[test]
    fn what_a_seal_holds_or_lacks_is_a_verdict() {
        let wrong = Spec::parse("node.yml", b"kernel: [").unwrap_err().into();
        let missing = Failure::unavailable("local.test/a:v1", "timestamp.json is missing");
        for failure in [wrong, missing] {
            let judged = nonsense(failure);
            assert!(matches!(judged, Failure::Refused(_)), "{judged}");
        }
    }
}
