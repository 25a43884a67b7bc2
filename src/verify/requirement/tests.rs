//! Requirements, judged by the keys of throw-away collections.

#![allow(clippy::unwrap_used)]
use super::super::anchors::{Anchor, Metadata};
use super::*;
use crate::key::{KeyError, PublicKey, Scheme, Signer, SigningKey, TufKey};
use crate::oci::Platform;
use crate::policy::Policy;
use crate::sigstore::attachment::Attachment;
use crate::store::attached::Ask;
use crate::time::Time;
use crate::trust::edit::{Collection, RoleSpec};
use crate::trust::{ImageTarget, Known};
use crate::verify::{Anchors, Pins};

fn place() -> Place {
    Place {
        file: "p.yml".to_owned(),
        line: 1,
        column: 1,
    }
}

fn of(demand: Demand) -> Requirement {
    Requirement { demand, place: place() }
}

/// A key under another id than it has: its object says more.
#[derive(Debug)]
struct Renamed(SigningKey);

impl Signer for Renamed {
    fn public(&self) -> &PublicKey {
        self.0.public()
    }

    fn sign_with(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0.sign_with(scheme, message)
    }

    fn tuf_key(&self) -> TufKey {
        let mut object = self.0.tuf_key().to_json().clone();
        object.as_object_mut().unwrap().insert("x".into(), 1.into());
        TufKey::from_json(&object).unwrap()
    }
}

fn now() -> Time {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

const NAME: &str = "r.example/a:v1";

/// A collection in which one key signs [`NAME`].
fn signed_by(signer: &dyn Signer) -> Anchor {
    let image = ImageTarget {
        document: Digest::sha256(b"a"),
        length: 1,
        platforms: Vec::new(),
    };
    signed_as(signer, &image)
}

/// A collection in which one key signs `image` as [`NAME`].
fn signed_as(signer: &dyn Signer, image: &ImageTarget) -> Anchor {
    let spec = RoleSpec {
        keys: vec![signer.tuf_key()],
        threshold: 1,
    };
    let mut collection = Collection::new(&spec, &spec, &spec, &spec, now()).unwrap();
    let put = collection.put_target("targets", NAME, image.to_file(), now());
    put.unwrap();
    let files = collection.sign(&[signer], now()).unwrap().files().clone();
    Anchor {
        pin: files.get("1.root.json").unwrap().to_vec(),
        metadata: Metadata::Bundle(files),
        known: Known::default(),
    }
}

fn signed(root: &str) -> Requirement {
    of(Demand::Signed {
        name: None,
        by: crate::policy::Signer::Role(Signers {
            root: root.to_owned(),
            role: "targets".to_owned(),
            threshold: 1,
        }),
    })
}

/// Judges a requirement of [`NAME`], of which no image is at hand.
fn judged(anchors: Vec<(&str, Anchor)>, requirement: &Requirement) -> Outcome {
    let anchors = anchors.into_iter().map(|(name, anchor)| (name.to_owned(), anchor));
    let gate = Gate {
        policy: &Policy::parse("p.yml", b"version: 1\nroots: {}\nrules: []\n").unwrap(),
        anchors: &Anchors::new(anchors.collect(), &Pins::default()),
        at: now(),
        platform: &Platform::new("linux", "amd64"),
    };
    let reference = NAME.parse().unwrap();
    Facts::new(&gate, &reference, &Nothing)
        .judge(requirement)
        .unwrap()
        .outcome
}

/// A place where nothing is.
struct Nothing;

impl Supply for Nothing {
    fn document(&self, reference: &Reference) -> Result<Digest, Failure> {
        Err(Failure::unavailable(reference, "is nowhere"))
    }

    fn image(&self, reference: &Reference, _: &Platform) -> Result<Image, Failure> {
        Err(Failure::unavailable(reference, "is nowhere"))
    }

    fn tree(&self, subject: &str, _: &Image, _: Option<&Digest>) -> Result<Tree, Failure> {
        Err(Failure::unavailable(subject, "is nowhere"))
    }

    fn attached(&self, ask: &Ask<'_>) -> Result<Vec<Attachment>, Failure> {
        Err(Failure::unavailable(ask.reference, "is nowhere"))
    }
}

/// An image without a label of its version.
fn unlabelled() -> Image {
    use crate::oci::{Descriptor, MANIFEST, walk};
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
    let listed = Descriptor::of("application/vnd.oci.image.config.v1+json", &config);
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": listed, "layers": [] });
    let manifest = manifest.to_string().into_bytes();
    let (digest, platform) = (Digest::sha256(&manifest), Platform::new("linux", "amd64"));
    walk("it", manifest, &digest, &platform, &mut |_| Ok(config.clone())).unwrap()
}

#[test]
fn a_tag_is_a_version_where_one_who_has_to_sign_vouches_for_it() {
    let image = unlabelled();
    let anchor = |signed: bool| match signed {
        true => {
            let platform = crate::trust::PlatformTarget {
                platform: "linux/amd64".to_owned(),
                manifest: *image.digest(),
                tree: *image.digest(),
            };
            let target = ImageTarget {
                document: *image.digest(),
                length: image.manifest().len() as u64,
                platforms: vec![platform],
            };
            signed_as(&SigningKey::from_seed(&[1; 32]).unwrap(), &target)
        }
        false => nowhere(),
    };
    let listed = || of(Demand::DigestIn(vec![*image.digest()]));
    let version = |text: &str| of(Demand::MinVersion(text.parse().unwrap()));
    let all = |parts| of(Demand::AllOf(parts));
    let any = |among| of(Demand::AtLeast { of: 1, among });
    let judge = |has_role: bool, requirement: &Requirement| {
        let gate = Gate {
            policy: &Policy::parse("p.yml", b"version: 1\nroots: {}\nrules: []\n").unwrap(),
            anchors: &Anchors::new([("a".to_owned(), anchor(has_role))].into(), &Pins::default()),
            at: now(),
            platform: &Platform::new("linux", "amd64"),
        };
        let reference = NAME.parse().unwrap();
        let mut facts = Facts::new(&gate, &reference, &Nothing);
        facts.has_image(&image);
        facts.judge(requirement).unwrap().outcome
    };
    let by_role = all(vec![version("v1"), signed("a")]);
    assert_eq!(judge(true, &by_role), Outcome::Met);
    assert_eq!(judge(true, &all(vec![version("v1.1"), signed("a")])), Outcome::Unmet);
    let both = of(Demand::AtLeast {
        of: 2,
        among: vec![signed("a"), version("v1")],
    });
    assert_eq!(judge(true, &both), Outcome::Met);
    // Whoever lists digests says nothing of tags.
    assert_eq!(judge(true, &all(vec![listed(), version("v1")])), Outcome::Unmet);
    // What vouches in one part does so for all that holds with it, however deep, and for no other alternative.
    let deep = all(vec![
        any(vec![version("v1"), version("v3")]),
        any(vec![listed(), signed("a")]),
    ]);
    assert_eq!(judge(true, &deep), Outcome::Met);
    let elsewhere = any(vec![
        all(vec![listed(), version("v1")]),
        all(vec![signed("a"), version("v3")]),
    ]);
    assert_eq!(judge(true, &elsewhere), Outcome::Unmet);
    // Where it cannot be found out whether the role vouches, it is not known; a tag that is too old is too old all the same.
    let either = |text: &str| all(vec![any(vec![listed(), signed("a")]), version(text)]);
    assert_eq!(judge(true, &either("v1")), Outcome::Met);
    assert_eq!(judge(false, &either("v1")), Outcome::Unknown);
    assert_eq!(judge(false, &either("v3")), Outcome::Unmet);
}

fn two_of(among: Vec<Requirement>) -> Requirement {
    of(Demand::AtLeast { of: 2, among })
}

#[test]
fn one_key_under_two_ids_in_two_roots_is_one_signer() {
    let key = |number: u8| SigningKey::from_seed(&[number; 32]).unwrap();
    let both = two_of(vec![signed("a"), signed("b")]);
    let twice = |other: &dyn Signer| vec![("a", signed_by(&key(1))), ("b", signed_by(other))];
    assert_eq!(judged(twice(&key(2)), &both), Outcome::Met);
    assert_ne!(key(1).id(), Renamed(key(1)).id());
    assert_eq!(judged(twice(&Renamed(key(1))), &both), Outcome::Unmet);
}

#[test]
fn what_could_not_be_found_out_may_have_a_key_of_its_own() {
    let key = SigningKey::from_seed(&[1; 32]).unwrap();
    let anchors = || vec![("a", signed_by(&key)), ("b", nowhere())];
    let both = of(Demand::AllOf(vec![signed("a"), signed("b")]));
    assert_eq!(judged(anchors(), &both), Outcome::Unknown);
    // If `b` signed it, with a key of its own, both hold.
    assert_eq!(judged(anchors(), &two_of(vec![both, signed("a")])), Outcome::Unknown);
}

fn nowhere() -> Anchor {
    Anchor {
        pin: Vec::new(),
        metadata: Metadata::Nowhere,
        known: Known::default(),
    }
}

#[test]
fn signers_count_by_keys_of_their_own() {
    let key = |number: u8| SigningKey::from_seed(&[number; 32]).unwrap().public().fingerprint();
    let requirement = Requirement {
        demand: Demand::MaxAge(1),
        place: Place {
            file: "p.yml".to_owned(),
            line: 1,
            column: 1,
        },
    };
    let count = |signers: &[&[u8]]| {
        let answer = |numbers: &&[u8]| Answer {
            witnesses: numbers.iter().map(|number| Witness::Key(key(*number))).collect(),
            ..Answer::new(&requirement, Outcome::Met, "")
        };
        let answers: Vec<Answer> = signers.iter().map(answer).collect();
        distinct(answers.iter())
    };
    assert_eq!(count(&[&[1], &[2], &[3]]), 3);
    assert_eq!(count(&[&[1], &[1]]), 1, "one key under two names");
    assert_eq!(count(&[&[1, 2], &[1]]), 2);
    assert_eq!(count(&[&[1], &[1, 2], &[2, 3], &[3]]), 3);
    assert_eq!(count(&[&[], &[1], &[1]]), 2, "what needs no key counts as it is");
}
