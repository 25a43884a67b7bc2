//! Throw-away collections of Notary's dialect: those of the policy's roots that it pins by a GUN.

use std::collections::{BTreeMap, BTreeSet};

use super::collections::{Keys, STRANGER, TARGETS};
use super::stand_ins::generate;
use super::{Fault, Given, LONG_AGO};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::key::{Algorithm, KeyError, Signer, SigningKey};
use crate::time::{DAY, Time};
use crate::trust::Bundle;
use crate::trust::edit::EditError;
use crate::trust::metadata::TargetFile;
use crate::trust::notary::edit::{FirstKeys, NotaryCollection};
use crate::trust::notary::{
    self, FileMeta, Files, NewCertificate, NotaryClient, NotaryHashes, NotaryKey, NotaryKnown, Plan,
};
use crate::verify::{Metadata, NotaryAnchor, NotaryPin};

/// What is published of a collection, by role.
type Published = BTreeMap<String, Vec<u8>>;

impl Keys {
    /// Makes the collection `gun` of a root, in which the targets are signed by their tags as it is given.
    pub(super) fn notary_anchor(
        &self,
        root: &str,
        gun: &str,
        targets: &BTreeMap<String, TargetFile>,
        given: &Given,
        at: Time,
    ) -> Result<NotaryAnchor, Failure> {
        let begin = match given.fault {
            Some(Fault::Expired) => at.plus(-LONG_AGO),
            _ => at,
        };
        let maker = Maker {
            keys: self,
            root,
            gun,
            root_key: SigningKey::generate_as(Algorithm::P256).map_err(|error| maker_failure(root, &error))?,
            server: generate()?,
        };
        let of_gun = targets.iter().filter_map(|(name, file)| {
            let tag = name.strip_prefix(gun)?.strip_prefix(':')?;
            Some((tag, file))
        });
        let published = maker.first(&of_gun.collect::<Vec<_>>(), given, begin)?;
        let pinned = published.get("root").cloned().unwrap_or_default();
        let pin = NotaryPin {
            gun: gun.to_owned(),
            root: pinned,
        };
        let metadata = served(&published);
        let known = match given.fault {
            Some(Fault::RolledBack) => maker.newer(&pin, &metadata, published, at)?,
            _ => NotaryKnown::default(),
        };
        Ok(NotaryAnchor {
            pin,
            metadata: Metadata::Bundle(metadata),
            known,
        })
    }
}

/// One collection being made.
struct Maker<'a> {
    keys: &'a Keys,
    root: &'a str,
    gun: &'a str,
    /// In a certificate, and so of a kind that certificates take.
    root_key: SigningKey,
    /// Of the timestamp, which a server signs.
    server: SigningKey,
}

impl Maker<'_> {
    fn first(&self, targets: &[(&str, &TargetFile)], given: &Given, begin: Time) -> Result<Published, Failure> {
        let cannot = |error: EditError| maker_failure(self.root, &error);
        let wrong = given.fault == Some(Fault::WrongKey);
        let owner = self.plain(self.keys.owner())?;
        let first = FirstKeys {
            root: self.certified(begin)?,
            targets: owner.clone(),
            snapshot: owner.clone(),
            timestamp: self.plain(&self.server)?,
        };
        let mut collection = NotaryCollection::new(self.gun, first, begin);
        let mut signers: Vec<&dyn Signer> = vec![&self.root_key, self.keys.owner()];
        let mut delegated = BTreeSet::new();
        for (role, keys) in self.keys.roles_of(self.root) {
            let public: Vec<NotaryKey> = keys.iter().map(|key| self.plain(key)).collect::<Result<_, _>>()?;
            let signed = self.keys.signed(given, self.root, role);
            match role {
                TARGETS => collection.rotate(TARGETS, &public, 1).map_err(cannot)?,
                role => {
                    // A role lies below others, to which somebody has to delegate as well.
                    let above = role.match_indices('/').skip(1).filter_map(|(at, _)| role.get(..at));
                    for above in above.filter(|above| delegated.insert((*above).to_owned())) {
                        let everything = [String::new()];
                        let added = collection.delegate(above, std::slice::from_ref(&owner), &everything, Some(1));
                        added.map_err(cannot)?;
                        collection.witness(above, begin).map_err(cannot)?;
                    }
                    let added = collection.delegate(role, &public, &[String::new()], Some(1));
                    added.map_err(cannot)?;
                    delegated.insert(role.to_owned());
                    collection.witness(role, begin).map_err(cannot)?;
                }
            }
            if signed.is_some() {
                for (tag, file) in targets {
                    let put = collection.put_target(role, tag, described(file), begin);
                    put.map_err(cannot)?;
                }
            }
            let number = signed.unwrap_or(1).max(1);
            signers.extend(keys.into_iter().take(number).map(|key| key as &dyn Signer));
        }
        if wrong {
            let role = format!("{TARGETS}/{STRANGER}");
            let stranger = self.plain(self.keys.stranger())?;
            let added = collection.delegate(&role, &[stranger], &[String::new()], Some(1));
            added.map_err(cannot)?;
            for (tag, file) in targets {
                let put = collection.put_target(&role, tag, described(file), begin);
                put.map_err(cannot)?;
            }
            signers.push(self.keys.stranger());
        }
        let uploaded = collection.sign(&signers, begin).map_err(cannot)?;
        self.publish(uploaded.files(), Published::new(), begin)
    }

    /// Signs the next version of a collection, and remembers that as what was trusted before.
    fn newer(
        &self,
        pin: &NotaryPin,
        metadata: &Bundle,
        published: Published,
        at: Time,
    ) -> Result<NotaryKnown, Failure> {
        let cannot = |error: EditError| maker_failure(self.root, &error);
        let read = |source: &Bundle| {
            let pinned = notary::NotaryPin::Root(pin.root.clone());
            let client = NotaryClient::refresh(self.gun, &pinned, NotaryKnown::default(), source, at);
            client
                .map(NotaryClient::into_chain)
                .map_err(|error| maker_failure(self.root, &error))
        };
        let mut collection = NotaryCollection::of(&read(metadata)?);
        collection.witness(TARGETS, at).map_err(cannot)?;
        let mut signers: Vec<&dyn Signer> = vec![self.keys.owner()];
        let own = self.keys.of_role(self.root, TARGETS).into_iter();
        signers.extend(own.map(|key| key as &dyn Signer));
        let uploaded = collection.sign(&signers, at).map_err(cannot)?;
        let next = served(&self.publish(uploaded.files(), published, at)?);
        Ok(read(&next)?.as_known())
    }

    /// Judges an upload as a server does, and signs the timestamp.
    fn publish(
        &self,
        uploaded: &[(String, Vec<u8>)],
        mut published: Published,
        now: Time,
    ) -> Result<Published, Failure> {
        let timestamp = self.plain(&self.server)?;
        let held = BTreeSet::from([timestamp.canonical_id().clone()]);
        let new: Files<'_> = uploaded
            .iter()
            .map(|(role, bytes)| (role.as_str(), bytes.as_slice()))
            .collect();
        let old: Files<'_> = published
            .iter()
            .map(|(role, bytes)| (role.as_str(), bytes.as_slice()))
            .collect();
        // Nothing was ever taken away here.
        let old = notary::Published {
            files: old,
            ..Default::default()
        };
        let plan = Plan::of_upload(self.gun, &new, &old, &held, now);
        let plan = plan.map_err(|error| maker_failure(self.root, &error))?;
        let files = plan.sign(|_, message| self.server.sign(message));
        let files = files.map_err(|error| maker_failure(self.root, &error))?;
        published.extend(files.into_iter().map(|file| (file.role, file.bytes)));
        Ok(published)
    }

    fn plain(&self, key: &SigningKey) -> Result<NotaryKey, Failure> {
        NotaryKey::plain(key.public().clone()).map_err(|error| maker_failure(self.root, &error))
    }

    /// Puts the root key in a certificate that is good for as long as the root.
    fn certified(&self, begin: Time) -> Result<NotaryKey, Failure> {
        let new = NewCertificate {
            gun: self.gun,
            public: self.root_key.public(),
            serial: [1; 16],
            dates: (begin, begin.plus(3650 * DAY)),
        };
        let scheme = self.root_key.public().default_scheme();
        let pem = new.sign(scheme, |body| self.root_key.sign_with(scheme, body));
        let key = pem.and_then(|pem| NotaryKey::x509(&pem));
        key.map_err(|error: KeyError| maker_failure(self.root, &error))
    }
}

/// Describes a target as Notary does.
fn described(file: &TargetFile) -> FileMeta {
    let mut meta = FileMeta::of(NotaryHashes::of(file.hashes.digests()), file.length);
    meta.custom.clone_from(&file.custom);
    meta
}

/// Names files as a server does: all but the newest root and the timestamp by their hashes.
fn served(published: &Published) -> Bundle {
    let name = |(role, bytes): (&String, &Vec<u8>)| {
        let name = match role.as_str() {
            "root" | "timestamp" => format!("{role}.json"),
            role => format!("{role}.{}.json", Digest::sha256(bytes).hex()),
        };
        (name, bytes.clone())
    };
    published.iter().map(name).collect()
}

fn maker_failure(root: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::unavailable(format!("the made-up Notary collection `{root}`"), error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::Trial;
    use super::super::image::MadeUp;
    use super::super::prove::prove;
    use super::*;
    use crate::oci::Platform;
    use crate::policy::Policy;
    use crate::verify::{Anchors, Gate, Pins};

    const GUN: &str = "r.example/team/app";

    fn now() -> Time {
        "2026-11-27T00:00:00Z".parse().unwrap()
    }

    fn policy(rules: &str) -> Policy {
        let text = format!("version: 1\nroots: {{app: {{gun: {GUN}, file: app.json}}}}\nrules:\n{rules}");
        Policy::parse("p.yml", text.as_bytes()).unwrap()
    }

    fn signed(role: &str, number: u32) -> Given {
        Given {
            signed: vec![("app".to_owned(), role.to_owned(), number)],
            ..Given::default()
        }
    }

    /// The reason codes of the gate's verdict about the tag `v1`.
    fn codes(policy: &Policy, image: &str, given: &Given) -> String {
        let trial = Trial::new(policy, now(), &Pins::default()).unwrap();
        let verdict = trial.component(&image.parse().unwrap(), given).unwrap();
        match verdict {
            Ok(()) => "admitted".to_owned(),
            Err(Failure::Refused(refusals)) => refusals[0].code.to_string(),
            Err(other) => other.to_string(),
        }
    }

    #[test]
    fn what_a_role_of_a_notary_collection_signs_is_admitted_by_tag_and_by_digest() {
        for role in ["targets", "targets/releases", "targets/team/alice"] {
            let policy = policy(&format!(
                "  - match: {GUN}\n    signed: {{root: app, role: {role}, threshold: 2}}\n    proved: true\n"
            ));
            let trial = Trial::new(&policy, now(), &Pins::default()).unwrap();
            let made = MadeUp::new(&trial.platform, now(), None).unwrap();
            for image in [format!("{GUN}:v1"), format!("{GUN}@{}", made.digest())] {
                assert_eq!(codes(&policy, &image, &signed(role, 2)), "admitted", "{role} {image}");
                assert_eq!(codes(&policy, &image, &signed(role, 1)), "THRESHOLD", "{role} {image}");
                assert_eq!(codes(&policy, &image, &Given::default()), "UNSIGNED", "{role} {image}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_notary_collection_is_told_apart() {
        let policy = policy("  - match: r.example/**\n    signed: {root: app, role: targets/releases}\n");
        for (fault, code) in [
            (Fault::WrongKey, "WRONG_KEY"),
            (Fault::Expired, "EXPIRED"),
            (Fault::RolledBack, "ROLLBACK"),
            (Fault::OtherImage, "DIGEST_MISMATCH"),
        ] {
            let mut given = signed("targets/releases", 1);
            given.fault = Some(fault);
            assert_eq!(codes(&policy, &format!("{GUN}:v1"), &given), code);
        }
        // Of another repository nothing is looked up in it, whatever its tag.
        let given = signed("targets/releases", 1);
        assert_eq!(codes(&policy, "r.example/team/other:v1", &given), "UNSIGNED");
        assert_eq!(codes(&policy, "r.example/team/app/below:v1", &given), "UNSIGNED");
    }

    #[test]
    fn a_role_counts_for_what_another_says_as_well_and_for_nothing_else() {
        // Docker signs a tag in `targets/releases` and in the signer's own role.
        let demand = "{root: app, role: targets/alice}";
        let policy = policy(&format!(
            "  - match: {GUN}\n    anyOf: [{{signed: {demand}}}, {{signed: {{root: app, role: targets/releases, threshold: 2}}}}]\n"
        ));
        let both = |alice| {
            let mut given = signed("targets/releases", 1);
            given.signed.push(("app".to_owned(), "targets/alice".to_owned(), alice));
            given
        };
        let image = format!("{GUN}:v1");
        assert_eq!(codes(&policy, &image, &both(1)), "admitted");
        assert_eq!(codes(&policy, &image, &signed("targets/releases", 1)), "REQUIREMENTS");
    }

    #[test]
    fn every_file_of_the_metadata_is_needed_unchanged() {
        let policy = policy(&format!(
            "  - match: {GUN}\n    signed: {{root: app, role: targets/releases}}\n"
        ));
        let trial = Trial::new(&policy, now(), &Pins::default()).unwrap();
        let platform = Platform::new("linux", "amd64");
        let made = MadeUp::new(&platform, now(), None).unwrap();
        let image = format!("{GUN}:v1").parse().unwrap();
        let targets = BTreeMap::from([(format!("{GUN}:v1"), made.target(None))]);
        let given = signed("targets/releases", 1);
        let anchor = trial.keys.notary_anchor("app", GUN, &targets, &given, now()).unwrap();
        let Metadata::Bundle(files) = anchor.metadata.clone() else {
            unreachable!()
        };
        let admits = |files: Bundle| {
            let anchor = NotaryAnchor {
                metadata: Metadata::Bundle(files),
                ..anchor.clone()
            };
            let anchors = Anchors::new(BTreeMap::new(), &Pins::default());
            let anchors = anchors.with_notary(BTreeMap::from([("app".to_owned(), anchor)]));
            let gate = Gate {
                policy: &policy,
                anchors: &anchors,
                at: now(),
                platform: &platform,
            };
            let supply = made.supply(&image, &platform, Vec::new()).unwrap();
            gate.verdict(&image, &supply).unwrap().verdict.is_ok()
        };
        assert!(admits(files.clone()));
        // The newest root is asked for only where the snapshot names another one.
        for (name, bytes) in files.files().filter(|(name, _)| *name != "root.json") {
            for at in [bytes.len() / 3, bytes.len() / 2] {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1;
                let mut other = files.clone();
                other.add(name, changed);
                assert!(!admits(other), "{name} {at}");
            }
            let without = files.files().filter(|(other, _)| *other != name);
            assert!(!admits(without.collect()), "{name}");
        }
    }

    #[test]
    fn a_proof_is_given_in_the_collections_own_dialect_and_repository() {
        let policy = policy("  - match: r.example/team/*\n    signed: {root: app, role: targets/releases}\n");
        let scratch = tempfile::tempdir().unwrap();
        let proofs = prove(&policy, now(), &Pins::default(), scratch.path()).unwrap();
        let rule = &proofs[0];
        assert!(rule.reference.as_ref().unwrap().starts_with(&format!("{GUN}:")));
        let found: Vec<&str> = rule.trials.iter().map(|shown| shown.found.as_str()).collect();
        assert!(rule.trials.iter().all(|shown| shown.good), "{found:?}");
        assert_eq!(found[0], "admitted");
        assert!(found.contains(&"ROLLBACK") && found.contains(&"EXPIRED"), "{found:?}");
    }
}
