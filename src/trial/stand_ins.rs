//! Stand-ins: which throw-away key signs in whose place.
//!
//! - What the gate counts as one signer has one stand-in: a key by its fingerprint, by whatever names, files and roles it is known; an
//!   identity with its issuer, whatever authority vouches for it.
//! - What is not at hand (a key's file, a pinned root) has stand-ins of its own; so have the keys of delegated roles, which stand in
//!   the collection's metadata and not in its root.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::collections::TARGETS;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::key::SigningKey;
use crate::policy::{Root, SigstoreSigner};
use crate::sigstore::certificate;
use crate::time::Time;
use crate::trust::notary::{NotaryChain, NotaryKnown};
use crate::trust::{Chain, RoleKey, RoleKeys};
use crate::verify::{NotaryPin, Pins};

/// Whose signatures a throw-away key makes, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// Those of the key in a file that is not at hand.
    File(String),
    /// Those of an identity.
    Identity(certificate::Signer),
    /// Those of the key with this fingerprint.
    Key(Digest),
    /// Those of one of a role's keys, by its number.
    Role(Pinned, String, usize),
}

/// A collection, whatever the policy calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pinned {
    /// By the digest of its root.json.
    Known(Digest),
    /// By the file that should have that.
    Absent(String),
}

/// Throw-away keys, and what is known of those for whom they stand in.
pub(super) struct StandIns<'k> {
    known: &'k Pins,
    keys: BTreeMap<Whose, Arc<SigningKey>>,
}

impl<'k> StandIns<'k> {
    /// Begins with what is known of the policy's keys and roots.
    pub(super) fn new(known: &'k Pins) -> Self {
        Self {
            known,
            keys: BTreeMap::new(),
        }
    }

    /// Tells which collection a root of the policy pins.
    pub(super) fn pinned(&self, name: &str, root: &Root) -> Pinned {
        let notary = self.known.notary.get(name).map(|pin| &pin.root);
        let pin = self.known.roots.get(name).or(notary);
        match pin {
            Some(pin) => Pinned::Known(Digest::sha256(pin)),
            None => Pinned::Absent(root.file.clone()),
        }
    }

    /// Makes stand-ins for the keys of a role of the root `name`: for all that are known, and for `least`.
    pub(super) fn of_role(
        &mut self,
        name: &str,
        pinned: &Pinned,
        role: &str,
        least: usize,
    ) -> Result<Vec<Arc<SigningKey>>, Failure> {
        let mut all: Vec<Whose> = match role {
            TARGETS => self.targets(name)?.into_iter().map(Whose::Key).collect(),
            _ => Vec::new(),
        };
        for number in all.len()..least {
            all.push(Whose::Role(pinned.clone(), role.to_owned(), number));
        }
        all.into_iter().map(|whose| self.of(whose)).collect()
    }

    /// Makes the stand-in for one who signs beside images.
    pub(super) fn of_sigstore(&mut self, by: &SigstoreSigner) -> Result<Arc<SigningKey>, Failure> {
        self.of(match (by, self.known.fingerprint(by)) {
            (_, Some(key)) => Whose::Key(key),
            (SigstoreSigner::Identity { signer, .. }, None) => Whose::Identity(certificate::Signer::clone(signer)),
            (SigstoreSigner::Key { file, .. }, None) => Whose::File(file.clone()),
        })
    }

    fn of(&mut self, whose: Whose) -> Result<Arc<SigningKey>, Failure> {
        if let Some(key) = self.keys.get(&whose) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(generate()?);
        self.keys.insert(whose, Arc::clone(&key));
        Ok(key)
    }

    /// Lists the fingerprints of the keys to which a pinned root gives the role `targets`, each once.
    fn targets(&self, name: &str) -> Result<Vec<Digest>, Failure> {
        if let Some(pin) = self.known.roots.get(name) {
            let chain = Chain::pinned(pin, Time::EPOCH).map_err(|error| error.about(name))?;
            return Ok(fingerprints(&chain.top_level_keys(TARGETS)));
        }
        let Some(NotaryPin { gun, root }) = self.known.notary.get(name) else {
            return Ok(Vec::new());
        };
        let chain = NotaryChain::pinned(gun, root, NotaryKnown::default(), Time::EPOCH);
        let chain = chain.map_err(|error| error.about(name))?;
        Ok(fingerprints(&chain.newest_root().body().role_keys(TARGETS)))
    }
}

fn fingerprints<K: RoleKey + Clone>(role: &RoleKeys<K>) -> Vec<Digest> {
    let mut all: Vec<Digest> = role.keys().values().map(|key| key.public().fingerprint()).collect();
    all.sort();
    all.dedup();
    all
}

/// Makes a throw-away key.
pub(super) fn generate() -> Result<SigningKey, Failure> {
    SigningKey::generate().map_err(|error| Failure::unavailable("a throw-away key", error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Given, Trial};
    use super::*;
    use crate::key::Algorithm;
    use crate::policy::{Binding, Policy, Signer};
    use crate::trust::edit::{Collection, RoleSpec};
    use crate::trust::notary::edit::{FirstKeys, NotaryCollection};
    use crate::trust::notary::{NewCertificate, NotaryKey};

    const GUN: &str = "r.example/a";

    fn now() -> Time {
        "2026-11-27T00:00:00Z".parse().unwrap()
    }

    fn key(number: u8) -> SigningKey {
        SigningKey::from_seed(&[number; 32]).unwrap()
    }

    /// A root whose role `targets` has these keys.
    fn root(numbers: &[u8]) -> Vec<u8> {
        let spec = |numbers: &[u8]| RoleSpec {
            keys: numbers.iter().map(|number| key(*number).tuf_key()).collect(),
            threshold: 1,
        };
        let owner = key(100);
        let own = spec(&[100]);
        let collection = Collection::new(&own, &spec(numbers), &own, &own, now()).unwrap();
        let keys: Vec<SigningKey> = numbers.iter().map(|number| key(*number)).collect();
        let mut signers: Vec<&dyn crate::key::Signer> = vec![&owner];
        signers.extend(keys.iter().map(|key| key as &dyn crate::key::Signer));
        let signed = collection.sign(&signers, now()).unwrap();
        signed.files().get("1.root.json").unwrap().to_vec()
    }

    /// A root of Notary's dialect whose role `targets` has this key.
    fn notary_root(number: u8) -> Vec<u8> {
        let certified = SigningKey::generate_as(Algorithm::P256).unwrap();
        let scheme = certified.public().default_scheme();
        let new = NewCertificate {
            gun: GUN,
            public: certified.public(),
            serial: [1; 16],
            dates: (now(), now().plus(86_400)),
        };
        let sign = |body: &[u8]| crate::key::Signer::sign_with(&certified, scheme, body);
        let plain = |number| NotaryKey::plain(key(number).public().clone()).unwrap();
        let first = FirstKeys {
            root: NotaryKey::x509(&new.sign(scheme, sign).unwrap()).unwrap(),
            targets: plain(number),
            snapshot: plain(100),
            timestamp: plain(100),
        };
        let collection = NotaryCollection::new(GUN, first, now());
        let uploaded = collection.sign(&[&certified, &key(number), &key(100)], now()).unwrap();
        let root = uploaded.files().iter().find(|(role, _)| role == "root");
        root.unwrap().1.clone()
    }

    fn of_file(file: &str) -> SigstoreSigner {
        let (file, names) = (file.to_owned(), Binding::Any);
        SigstoreSigner::Key { file, names }
    }

    /// What comes of an image that everybody signed of whom `policy` demands two, where `known` is at hand.
    fn two_of(policy: &str, known: &Pins) -> String {
        let text = format!("version: 1\n{policy}");
        let policy = Policy::parse("p.yml", text.as_bytes()).unwrap();
        let trial = Trial::new(&policy, now(), known).unwrap();
        let mut given = Given::default();
        for (_, by) in policy.everybody() {
            match by {
                Signer::Role(by) => given.signed.push(trial.with_all_keys(&by)),
                Signer::Sigstore(by) => given.attached.push(by),
            }
        }
        match trial.component(&format!("{GUN}:v1").parse().unwrap(), &given).unwrap() {
            Ok(()) => "admitted".to_owned(),
            Err(Failure::Refused(refusals)) => refusals.iter().map(|refusal| refusal.code.to_string()).collect(),
            Err(other) => other.to_string(),
        }
    }

    fn rule(requirements: &str) -> String {
        format!("rules:\n  - match: {GUN}\n    atLeast: {{of: 2, requirements: [{requirements}]}}\n")
    }

    #[test]
    fn one_key_in_two_files_has_one_stand_in() {
        let policy = format!(
            "roots: {{}}\nsigners: {{a: {{key: a.pub}}, b: {{key: b.pub}}, again: {{key: a.pub, names: tag}}}}\n{}",
            rule("{signed: a}, {signed: b}")
        );
        let known = |b| Pins {
            keys: vec![
                (of_file("a.pub"), key(1).public().clone()),
                (of_file("b.pub"), key(b).public().clone()),
            ],
            ..Pins::default()
        };
        assert_eq!(two_of(&policy, &known(2)), "admitted");
        assert_eq!(two_of(&policy, &known(1)), "THRESHOLD");
        // Of files that are not at hand no more is known than their names.
        assert_eq!(two_of(&policy, &Pins::default()), "admitted");
        let again = policy.replace("{signed: b}", "{signed: again}");
        assert_eq!(two_of(&again, &Pins::default()), "THRESHOLD");
    }

    #[test]
    fn an_identity_is_one_whoever_vouches_for_it() {
        let of = |identity: &str| {
            let signers = format!(
                "roots: {{}}\nsigners:\n  a: {{identity: x@example.com, issuer: https://issuer.example}}\n  \
                 b: {{identity: {identity}, issuer: https://issuer.example, trustedRoot: t.json, names: repository}}\n"
            );
            two_of(&(signers + &rule("{signed: a}, {signed: b}")), &Pins::default())
        };
        assert_eq!(of("y@example.com"), "admitted");
        assert_eq!(of("x@example.com"), "THRESHOLD");
    }

    #[test]
    fn a_key_of_a_file_is_the_same_in_a_pinned_root() {
        let policy = |root: &str| {
            format!(
                "roots: {{r: {root}}}\nsigners: {{a: {{key: a.pub}}}}\n{}",
                rule("{signed: a}, {signed: {root: r}}")
            )
        };
        let tuf = |targets: &[u8]| Pins {
            roots: [("r".to_owned(), root(targets))].into(),
            keys: vec![(of_file("a.pub"), key(1).public().clone())],
            ..Pins::default()
        };
        assert_eq!(two_of(&policy("r.json"), &tuf(&[2])), "admitted");
        assert_eq!(two_of(&policy("r.json"), &tuf(&[1])), "THRESHOLD");
        assert_eq!(two_of(&policy("r.json"), &tuf(&[1, 2])), "admitted");
        let notary = |targets| {
            let (gun, root) = (GUN.to_owned(), notary_root(targets));
            Pins {
                notary: [("r".to_owned(), NotaryPin { gun, root })].into(),
                keys: vec![(of_file("a.pub"), key(1).public().clone())],
                ..Pins::default()
            }
        };
        let collection = policy(&format!("{{gun: {GUN}, file: r.json}}"));
        assert_eq!(two_of(&collection, &notary(2)), "admitted");
        assert_eq!(two_of(&collection, &notary(1)), "THRESHOLD");
    }

    #[test]
    fn roots_share_keys_and_collections_as_they_do_outside() {
        let policy = format!(
            "roots: {{r: r.json, s: s.json}}\n{}",
            rule("{signed: {root: r}}, {signed: {root: s}}")
        );
        let known = |r: &[u8], s: &[u8]| Pins {
            roots: [("r".to_owned(), root(r)), ("s".to_owned(), root(s))].into(),
            ..Pins::default()
        };
        assert_eq!(two_of(&policy, &known(&[1], &[2])), "admitted");
        assert_eq!(two_of(&policy, &known(&[1], &[1])), "THRESHOLD");
        assert_eq!(two_of(&policy, &known(&[1, 2], &[1])), "admitted");
        // One collection under two names: its delegated roles have the same keys, and sign for both.
        let delegated = policy.replace("root: r}", "root: r, role: team}");
        let delegated = delegated.replace("root: s}", "root: s, role: team}");
        assert_eq!(two_of(&delegated, &known(&[1], &[2])), "admitted");
        assert_eq!(two_of(&delegated, &known(&[1], &[1])), "THRESHOLD");
        let one = delegated.replace("s: s.json", "s: r.json");
        assert_eq!(two_of(&one, &Pins::default()), "THRESHOLD");
    }
}
