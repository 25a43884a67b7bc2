//! Trust anchors: for each root that the policy names, the pinned root.json and the metadata that extend it.

use std::collections::BTreeMap;

use super::image::collect;
use super::notary::NotaryAnchor;
use super::pins::Pins;
use crate::digest::{Digest, Hasher};
use crate::failure::{Code, Failure, Refusal};
use crate::limit;
use crate::policy::Signers;
use crate::reference::Reference;
use crate::store::TrustPlace;
use crate::time::Time;
use crate::trust::{
    Bundle, Chain, Client, Evidence, Known, RoleKeys, Source, Target, TrustError, check_target_name, file_name,
};

/// What the names of signed inputs begin with; the input's own name follows.
const SPEC: &str = "spec/";

/// Where a collection's metadata come from.
#[derive(Clone, Debug)]
pub enum Metadata<P = TrustPlace> {
    /// The evidence of a seal.
    Bundle(Bundle),
    /// The collection's own place.
    Place(P),
    /// Nowhere: what needs them cannot be found out.
    Nowhere,
}

impl<P> Metadata<P>
where
    for<'a> &'a P: Source,
{
    /// Reads the collection's timestamp, which speaks for all of its present state.
    pub(super) fn timestamp(&self) -> Result<Option<Vec<u8>>, Failure> {
        let mut source = self;
        source.file("timestamp.json", limit::TIMESTAMP_BYTES)
    }
}

impl<P> Source for &Metadata<P>
where
    for<'a> &'a P: Source,
{
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Metadata::Bundle(bundle) => Source::file(&mut &*bundle, name, max),
            Metadata::Place(place) => Source::file(&mut &*place, name, max),
            Metadata::Nowhere => Ok(None),
        }
    }
}

/// One root: what the user pinned, and what was found to extend it.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// The pinned root.json.
    pub pin: Vec<u8>,
    /// The collection's metadata: from its repository at build, from the seal at verification.
    pub metadata: Metadata,
    /// What was trusted before, to notice rollback.
    pub known: Known,
}

/// The anchors by the policy's names, and the keys and authorities beside them.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    roots: BTreeMap<String, Anchor>,
    notary: BTreeMap<String, NotaryAnchor>,
    pins: Pins,
}

/// A target whose role and signers satisfy a policy's demand.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    pub(super) target: Target,
    pub(super) demand: Signers,
    /// Whether a Notary collection signed: what docker signs describes a document, and no tree.
    pub(super) is_notary: bool,
}

impl Anchors {
    /// Puts together what a policy pins and, for each of its roots, the anchor.
    pub fn new(roots: BTreeMap<String, Anchor>, pins: &Pins) -> Self {
        Self {
            roots,
            notary: BTreeMap::new(),
            pins: pins.clone(),
        }
    }

    /// Adds the anchors of those roots that are Notary collections.
    #[must_use]
    pub fn with_notary(self, notary: BTreeMap<String, NotaryAnchor>) -> Self {
        Self { notary, ..self }
    }

    /// Iterates over the roots' anchors, those of Notary collections left out.
    pub fn iter(&self) -> impl Iterator<Item = &Anchor> {
        self.roots.values()
    }

    /// Iterates over the anchors of Notary collections.
    pub fn notary(&self) -> impl Iterator<Item = &NotaryAnchor> {
        self.notary.values()
    }

    /// Returns the files that the policy names.
    pub(super) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Tells whether metadata of a root are at hand.
    pub(super) fn has_metadata(&self, root: &str) -> bool {
        let anchor = self.roots.get(root);
        anchor.is_some_and(|anchor| !matches!(anchor.metadata, Metadata::Nowhere))
    }

    /// Looks up what is signed of an image under the root that `demand` names, and checks role and count of signers.
    ///
    /// A bare digest is looked up by a name in its repository that stands for it now (law of the gate 3). Where another role's
    /// word prevails, the role that is demanded counts if it signs the very same.
    pub(super) fn image(&self, reference: &Reference, demand: &Signers, at: Time) -> Result<Admitted, Failure> {
        let subject = reference.to_string();
        if let Some(anchor) = self.notary.get(&demand.root) {
            let target = anchor.image(reference, demand, at)?;
            check_signers(&subject, demand, target.evidence())?;
            return Ok(Admitted {
                target,
                demand: demand.clone(),
                is_notary: true,
            });
        }
        let mut client = self.client(&subject, demand, at)?;
        let target = match (reference.target_name(), reference.digest()) {
            (None, Some(digest)) => {
                let repository = reference.repository().to_string();
                let admitted = |target: &Target| check_signers(&subject, demand, target.evidence()).is_ok();
                client.target_by_digest(&repository, digest, &demand.role, admitted)
            }
            (name, _) => client.by_role(&name.unwrap_or_default(), &demand.role),
        };
        let target = target.map_err(|error| error.about(&subject))?;
        check_signers(&subject, demand, target.evidence())?;
        Ok(Admitted {
            target,
            demand: demand.clone(),
            is_notary: false,
        })
    }

    /// Looks up the signed target `spec/NAME` of the input NAME, and compares signers and digest (law of the gate 8).
    pub(super) fn input(&self, name: &str, demand: &Signers, digest: &Digest, at: Time) -> Result<Target, Failure> {
        let signed_name = format!("{SPEC}{name}");
        let by = format!("signed by role `{}` of root `{}`", demand.role, demand.root);
        let unsigned = |expected: String, advice: &str| {
            Failure::from(Refusal::new(Code::UnsignedInput, name, expected, digest, advice))
        };
        if check_target_name(&signed_name).is_err() {
            let expected = format!("a path below the specification's directory, without `.` and `..` in it, {by}");
            let advice =
                "put the file below the specification's directory, name it by its path from there, and have it signed";
            return Err(unsigned(expected, advice));
        }
        let target = self.client(name, demand, at)?.target(&signed_name);
        let target = target.map_err(|error| match error {
            TrustError::Absent { .. } => {
                let advice = format!("have it signed: `imgkit trust sign --file FILE --name {signed_name}`");
                unsigned(format!("a target `{signed_name}`, {by}"), &advice)
            }
            error => error.about(name),
        })?;
        check_signers(name, demand, target.evidence())?;
        if !target.digests().any(|signed| signed == *digest) {
            let signed: Vec<String> = target.digests().map(|signed| signed.to_string()).collect();
            let expected = format!("{}, as signed under `{signed_name}`", signed.join(" "));
            let advice = format!(
                "get the file that was signed; if the new one is meant: `imgkit trust sign --file FILE --name {signed_name}`"
            );
            return Err(Refusal::new(Code::DigestMismatch, name, expected, digest, advice).into());
        }
        Ok(target)
    }

    /// Returns a digest of what was trusted before of each collection, which look-ups rest on as well.
    pub fn trusted_before(&self) -> Digest {
        let mut hasher = Hasher::sha256();
        let mut add = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        for (name, Anchor { known, .. }) in &self.roots {
            add(name.as_bytes());
            add(&(known.roots.len() as u64).to_le_bytes());
            known.roots.iter().for_each(|root| add(root));
            for part in [&known.timestamp, &known.snapshot] {
                add(part.as_deref().unwrap_or_default());
            }
        }
        for (name, anchor) in &self.notary {
            add(name.as_bytes());
            anchor.identify_known(&mut add);
        }
        hasher.finish()
    }

    /// Returns a digest of all else that look-ups rest on now: pins, keys, authorities, and the newest metadata of each collection.
    ///
    /// # Errors
    /// [`Failure`] when a collection's metadata cannot be read.
    pub fn today(&self) -> Result<Digest, Failure> {
        let mut hasher = Hasher::sha256();
        let mut add = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        for (name, anchor) in &self.roots {
            add(name.as_bytes());
            add(&anchor.pin);
            let mut source = &anchor.metadata;
            add(&source.timestamp()?.unwrap_or_default());
            let pinned = Chain::pinned(&anchor.pin, Time::EPOCH).map_err(|error| error.about(name))?;
            let first = pinned.version() + 1;
            for version in first..first + limit::ROOT_ROTATIONS {
                match source.file(&file_name("root", Some(version)), limit::ROOT_BYTES)? {
                    Some(root) => add(&root),
                    None => break,
                }
            }
        }
        for (name, anchor) in &self.notary {
            add(name.as_bytes());
            anchor.identify_today(&mut add)?;
        }
        self.pins.identify(&mut add);
        Ok(hasher.finish())
    }

    /// Returns the metadata that say whose signatures count under `demand`, for the evidence of an image.
    ///
    /// # Errors
    /// [`Failure`] when they do not prove themselves from the pin at `at`.
    pub fn metadata(&self, subject: &str, demand: &Signers, at: Time) -> Result<Bundle, Failure> {
        Ok(self.client(subject, demand, at)?.bundle().clone())
    }

    /// Returns the keys of the role that `demand` names, and what they rest on.
    pub(super) fn role(&self, subject: &str, demand: &Signers, at: Time) -> Result<Role, Failure> {
        let client = self.client(subject, demand, at)?;
        let keys = client.role_keys(&demand.role).map_err(|error| error.about(subject))?;
        Ok(Role {
            keys,
            evidence: client.evidence(),
            bundle: client.bundle().clone(),
        })
    }

    /// Refuses metadata that are older than those of `sealed`, which were good at `then`, or than what was trusted before.
    pub(super) fn check_not_older(&self, sealed: &Self, then: Time, now: Time) -> Result<(), Failure> {
        let mut refusals = Vec::new();
        for (name, before) in &sealed.roots {
            // Metadata of a root that nothing rests on need not be good.
            let Ok(before) = Client::refresh(&before.pin, &Known::default(), &before.metadata, then) else {
                continue;
            };
            let in_seal = Known {
                roots: before.bundle().roots().skip(1).map(<[u8]>::to_vec).collect(),
                timestamp: Some(before.chain().timestamp().bytes().to_vec()),
                snapshot: Some(before.chain().snapshot().bytes().to_vec()),
            };
            let subject = format!("today's metadata of trust root `{name}`");
            let anchor = self.anchor(&subject, name)?;
            for known in [&anchor.known, &in_seal] {
                let client = Client::refresh(&anchor.pin, known, &anchor.metadata, now);
                let client = client.map_err(|error| error.about(&subject));
                collect(&mut refusals, client.map(drop))?;
            }
        }
        for (name, sealed) in &sealed.notary {
            if let Some(today) = self.notary.get(name) {
                collect(&mut refusals, today.check_not_older(name, sealed, then, now))?;
            }
        }
        match refusals.is_empty() {
            true => Ok(()),
            false => Err(Failure::Refused(refusals)),
        }
    }

    fn client<'a>(&'a self, subject: &str, demand: &Signers, at: Time) -> Result<Client<&'a Metadata>, Failure> {
        let anchor = self.anchor(subject, &demand.root)?;
        Client::refresh(&anchor.pin, &anchor.known, &anchor.metadata, at).map_err(|error| error.about(subject))
    }

    /// Finds a root's anchor, if its metadata are at hand.
    fn anchor(&self, subject: &str, root: &str) -> Result<&Anchor, Failure> {
        let anchor = self
            .roots
            .get(root)
            .ok_or_else(|| Failure::malformed(subject, format!("trust root `{root}` was not read")))?;
        if matches!(anchor.metadata, Metadata::Nowhere) {
            let problem = format!(
                "no metadata of trust root `{root}` are at hand; name its place with --collection or --trust-dir"
            );
            return Err(Failure::unavailable(subject, problem));
        }
        Ok(anchor)
    }
}

/// A role's keys, and what they rest on.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) keys: RoleKeys,
    pub(super) evidence: Evidence,
    pub(super) bundle: Bundle,
}

/// Compares who signed with who had to.
pub(super) fn check_signers(subject: &str, demand: &Signers, evidence: &Evidence) -> Result<(), Failure> {
    if evidence.role != demand.role {
        let expected = format!("role `{}` of root `{}` to sign it", demand.role, demand.root);
        let found = format!("role `{}` did", evidence.role);
        let advice = "have it signed by the role that the policy names";
        return Err(Refusal::new(Code::WrongKey, subject, expected, found, advice).into());
    }
    let signed = u32::try_from(evidence.keys.len()).unwrap_or(u32::MAX);
    if signed < demand.threshold {
        let expected = format!("{} distinct keys of role `{}`", demand.threshold, demand.role);
        let advice = "have more of the role's keys sign it";
        return Err(Refusal::new(Code::Threshold, subject, expected, format!("{signed} signed"), advice).into());
    }
    Ok(())
}

/// Compares a document's digest with the one that was signed.
pub(super) fn check_digest(subject: &str, expected: &Digest, found: &Digest) -> Result<(), Failure> {
    if expected == found {
        return Ok(());
    }
    let advice = "get the bytes that were signed; if the new ones are meant, have them signed";
    Err(Refusal::new(
        Code::DigestMismatch,
        subject,
        format!("{expected}, as signed"),
        found,
        advice,
    )
    .into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::{Signer, SigningKey};
    use crate::trust::edit::{Collection, RoleSpec, bins_for};
    use crate::trust::{ImageTarget, PlatformTarget, plain_file};

    /// Law of the disk 4: what a seal carries of the collection stays below this at 10,000 targets.
    const SEALED_BYTES: usize = 1 << 20;

    /// The `targets` and the nested role `sub` of a collection of 10,000 images in bins, looked up as a build does, and again
    /// from what its seal carries.
    #[test]
    fn a_seal_carries_the_roles_on_the_path_of_a_look_up_alone() {
        let now: Time = "2026-11-23T00:00:00Z".parse().unwrap();
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let other = SigningKey::from_seed(&[8; 32]).unwrap();
        let spec = |key: &SigningKey| RoleSpec {
            keys: vec![key.tuf_key()],
            threshold: 1,
        };
        let own = spec(&key);
        let mut collection = Collection::new(&own, &own, &own, &own, now).unwrap();
        let patterns = ["r.example/team/*".to_owned()];
        collection.delegate("team", &spec(&other), &patterns).unwrap();
        collection.begin("team", now).unwrap();
        collection
            .delegate_by("team", "sub", &spec(&other), &patterns, false)
            .unwrap();
        collection.make_bins(bins_for(10_000), now).unwrap();
        let image = |content: &str| {
            let digest = Digest::sha256(content.as_bytes());
            let platform = PlatformTarget {
                platform: "linux/amd64".to_owned(),
                manifest: digest,
                tree: digest,
            };
            let (document, length, platforms) = (digest, 1, vec![platform]);
            ImageTarget {
                document,
                length,
                platforms,
            }
            .to_file()
        };
        for number in 0..10_000 {
            let name = format!("r.example/images/{number}:v1");
            collection.put_target("targets", &name, image(&name), now).unwrap();
        }
        collection
            .put_target("sub", "r.example/team/a:v1", image("a"), now)
            .unwrap();
        let input = plain_file("spec/node.yml", b"x").unwrap();
        collection.put_target("targets", "spec/node.yml", input, now).unwrap();
        let keys: [&dyn Signer; 2] = [&key, &other];
        let files = collection.sign(&keys, now).unwrap().files().clone();
        let pin = files.get("1.root.json").unwrap().to_vec();
        let anchors = |metadata: Bundle| {
            let anchor = Anchor {
                pin: pin.clone(),
                metadata: Metadata::Bundle(metadata),
                known: Known::default(),
            };
            Anchors::new(BTreeMap::from([("c".to_owned(), anchor)]), &Pins::default())
        };
        let demand = |role: &str| Signers {
            root: "c".to_owned(),
            role: role.to_owned(),
            threshold: 1,
        };
        let whole = anchors(files);
        let bytes = |bundle: &Bundle| bundle.files().map(|(_, bytes)| bytes.len()).sum::<usize>();
        for (reference, role) in [("r.example/images/4711:v1", "targets"), ("r.example/team/a:v1", "sub")] {
            let reference: Reference = reference.parse().unwrap();
            let admitted = whole.image(&reference, &demand(role), now).unwrap();
            let sealed = admitted.target.bundle().clone();
            assert!(bytes(&sealed) < SEALED_BYTES, "{role}: {}", bytes(&sealed));
            let again = anchors(sealed).image(&reference, &demand(role), now).unwrap();
            assert_eq!(again.target.evidence(), admitted.target.evidence());
            assert!(whole.image(&reference, &demand("team"), now).is_err(), "another role");
        }
        let bare = format!("r.example/images/4711@{}", Digest::sha256(b"r.example/images/4711:v1"));
        let bare: Reference = bare.parse().unwrap();
        // A bare digest is found in whatever bin its name is, and again from that bin alone.
        let admitted = whole.image(&bare, &demand("targets"), now).unwrap();
        assert_eq!(admitted.target.name(), "r.example/images/4711:v1");
        let sealed = admitted.target.bundle().clone();
        assert!(bytes(&sealed) < SEALED_BYTES);
        assert!(anchors(sealed).image(&bare, &demand("targets"), now).is_ok());
        let digest = Digest::sha256(b"x");
        let admitted = whole.input("node.yml", &demand("targets"), &digest, now).unwrap();
        assert!(
            anchors(admitted.bundle().clone())
                .input("node.yml", &demand("targets"), &digest, now)
                .is_ok()
        );
    }

    #[test]
    fn what_look_ups_rest_on_is_told_apart_by_every_part_of_it() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let now: Time = "2026-11-23T00:00:00Z".parse().unwrap();
        let own = RoleSpec {
            keys: vec![key.tuf_key()],
            threshold: 1,
        };
        let collection = Collection::new(&own, &own, &own, &own, now).unwrap();
        let first = collection.sign(&[&key], now).unwrap().files().clone();
        let pin = first.get("1.root.json").unwrap().to_vec();
        let mut next = Collection::load(&pin, &first).unwrap();
        next.renew("targets").unwrap();
        let second = next.sign(&[&key], now).unwrap().files().clone();
        let anchors = |metadata: &Bundle, timestamp: Option<Vec<u8>>, pins: &Pins| {
            let known = Known {
                timestamp,
                ..Known::default()
            };
            let metadata = Metadata::Bundle(metadata.clone());
            let pin = pin.clone();
            Anchors::new(
                BTreeMap::from([("c".to_owned(), Anchor { pin, metadata, known })]),
                pins,
            )
        };
        let none = Pins::default();
        let signer = crate::policy::SigstoreSigner::Key {
            file: "k.pub".to_owned(),
            names: crate::policy::Binding::Any,
        };
        let keys = Pins {
            keys: vec![(signer, key.public().clone())],
            ..Pins::default()
        };
        let one = anchors(&first, None, &none);
        let seen = anchors(&first, Some(b"t".to_vec()), &none);
        assert_eq!(one.today().unwrap(), seen.today().unwrap());
        assert_ne!(one.trusted_before(), seen.trusted_before());
        for other in [anchors(&second, None, &none), anchors(&first, None, &keys)] {
            assert_ne!(one.today().unwrap(), other.today().unwrap());
            assert_eq!(one.trusted_before(), other.trusted_before());
        }
    }
}
