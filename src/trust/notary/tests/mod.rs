//! The dialect's documents, over what the real server and client wrote.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod expired;
mod plain;
mod simulator;
mod tamper;
mod witness;
mod workflow;

use super::*;
use crate::digest::Digest;
use crate::key::ecdsa;
use crate::key::{KeyError, PublicKey, Scheme, Signer, SigningKey};
use crate::limit;
use crate::time::{DAY, Time};
use crate::trust::{RoleKeys, TrustError};

/// `ecdsa-app/00-init/server/timestamp.json`, and the public key that signed it (the reference's worked example).
const TIMESTAMP: &[u8] = include_bytes!("../testdata/timestamp.json");
const ROOT: &[u8] = include_bytes!("../testdata/root.json");
const GOLDEN: &str = "example.com/golden/app";

fn now() -> Time {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

fn root() -> Root {
    let root = Unverified::<Root>::parse("root", ROOT, limit::ROOT_BYTES).unwrap();
    root.unverified_body().clone()
}

fn ed25519(seed: u8) -> (NotaryKey, SigningKey) {
    let key = SigningKey::from_seed(&[seed; 32]).unwrap();
    (NotaryKey::plain(key.public().clone()).unwrap(), key)
}

#[test]
fn the_references_worked_example_verifies() {
    let timestamp = Unverified::<Timestamp>::parse("timestamp", TIMESTAMP, limit::TIMESTAMP_BYTES).unwrap();
    assert_eq!(timestamp.message().len(), 278);
    let digest = Digest::sha256(timestamp.message()).hex();
    assert_eq!(
        digest,
        "78016d98b2cf8b05a3424baa5bd9c56008d1cf89f5fe8c60c4d8ee0a99aba22d"
    );
    let signed = timestamp.verify(&root().role_keys("timestamp")).unwrap();
    assert_eq!(
        signed.signers()[0].as_str(),
        "d66951b8e6e5d798d70d0edd9c5cdb2c77cfc3c17ef413049c062c88628159bf"
    );
}

#[test]
fn a_root_key_stands_in_a_certificate_for_its_collection() {
    let root = root();
    let key = root.keys.get(&root.roles["root"].keyids[0]).unwrap();
    assert_eq!(key.key_type(), NotaryKeyType::EcdsaX509);
    assert_ne!(key.id(), key.canonical_id());
    let certificate = key.certificate().unwrap();
    assert_eq!(certificate.check_name(GOLDEN), Ok(()));
    assert!(certificate.check_name("example.com/golden").is_err());
    assert_eq!(certificate.check_dates(now()), Ok(()));
    assert!(certificate.check_dates(now().plus(-DAY)).is_err());
    assert!(certificate.check_dates(now().plus(11 * 365 * DAY)).is_err());
}

#[test]
fn a_key_whose_id_is_not_its_hash_is_refused() {
    let text = String::from_utf8(ROOT.to_vec()).unwrap();
    let id = root().roles["root"].keyids[0].clone();
    let other = text.replace(id.as_str(), &"0".repeat(64));
    let refused = Unverified::<Root>::parse("root", other.as_bytes(), limit::ROOT_BYTES).unwrap_err();
    assert!(refused.to_string().contains("is not its hash"), "{refused}");
}

#[test]
fn what_is_written_is_read_and_verifies() {
    let (key, signer) = ed25519(1);
    let mut targets = Targets::new(now().plus(DAY));
    let mut file = FileMeta::describe(b"content");
    file.custom = Some(serde_json::json!({ "b": "<&>\u{2028}\n\u{e9}", "a": [1, null, true] }));
    targets.targets.insert("odd <name> & more".into(), file);
    let mut draft = Draft::new(targets.clone()).unwrap();
    draft.sign(&key, |message| signer.sign(message)).unwrap();
    let bytes = draft.write().unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(text.starts_with(r#"{"signed":{"_type":"Targets","delegations":{"keys":{},"roles":[]},"expires":"#));
    assert!(
        text.contains(r"odd \u003cname\u003e \u0026 more") && !text.contains(['<', '>', '&', '\n']),
        "{text}"
    );
    let role = RoleKeys::of("targets", &[key.id().clone()], 1, |_| Some(key.clone()));
    let read = Unverified::<Targets>::parse("targets", &bytes, limit::TARGETS_BYTES).unwrap();
    assert_eq!(read.verify(&role).unwrap().body(), &targets);
}

#[test]
fn what_a_key_did_not_sign_is_not_written() {
    let ((key, _), (_, other)) = (ed25519(1), ed25519(2));
    let mut draft = Draft::new(Targets::new(now())).unwrap();
    let refused = draft.sign(&key, |message| other.sign(message));
    assert!(matches!(refused, Err(KeyError::Signature(_))));
}

#[test]
fn the_real_servers_bytes_are_written_again_as_they_were() {
    for bytes in [TIMESTAMP, ROOT] {
        let envelope: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let signatures = match bytes == ROOT {
            true => Unverified::<Root>::parse("root", bytes, usize::MAX)
                .unwrap()
                .signatures()
                .to_vec(),
            false => Unverified::<Timestamp>::parse("t", bytes, usize::MAX)
                .unwrap()
                .signatures()
                .to_vec(),
        };
        let signed = crate::json::canonical(&envelope["signed"]).unwrap();
        assert_eq!(wire::envelope(&signed, &signatures), bytes);
    }
}

#[test]
fn members_that_occur_twice_and_wrong_kinds_are_refused() {
    let text = String::from_utf8(TIMESTAMP.to_vec()).unwrap();
    let parse = |text: &str| Unverified::<Timestamp>::parse("timestamp", text.as_bytes(), limit::TIMESTAMP_BYTES);
    let twice = text.replace(r#""version":1"#, r#""version":99,"version":1"#);
    assert!(parse(&twice).unwrap_err().to_string().contains("occurs twice"));
    assert!(parse(&text.replace("Timestamp", "timestamp")).is_err());
    assert!(parse(&text.replace(r#""version":1"#, r#""version":0"#)).is_err());
    assert!(
        parse(&text.replace(r#""sha256""#, r#""sha257""#))
            .unwrap_err()
            .to_string()
            .contains("sha256")
    );
    assert!(parse(&(text + " {}")).is_err());
}

#[test]
fn names_that_lead_elsewhere_spoil_a_document() {
    let mut targets = Targets::new(now());
    targets.targets.insert("../../etc/x".into(), FileMeta::describe(b""));
    let draft = Draft::new(targets).unwrap();
    assert!(matches!(draft.write(), Err(TrustError::Malformed { .. })));
}

#[test]
fn a_new_certificate_is_what_notary_generates() {
    let rng = ring::rand::SystemRandom::new();
    let algorithm = &ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = ring::signature::EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
    let pair = ring::signature::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
    use ring::signature::KeyPair as _;
    let point = pair.public_key().as_ref();
    let template = PublicKey::from_pem(include_str!("../../../key/testdata/p256.pem")).unwrap();
    let spki = [&template.spki_der()[..template.spki_der().len() - 65], point].concat();
    let public = PublicKey::from_spki_der(&spki).unwrap();
    let sign = |message: &[u8]| Ok(pair.sign(&rng, message).unwrap().as_ref().to_vec());
    let new = NewCertificate {
        gun: GOLDEN,
        public: &public,
        serial: [0x80; 16],
        dates: (now(), now().plus(3650 * DAY)),
    };
    let pem = new.sign(Scheme::EcdsaP256Sha256, sign).unwrap();
    let key = NotaryKey::x509(&pem).unwrap();
    assert_eq!(key.public(), &public);
    assert_eq!(key.canonical_id(), NotaryKey::plain(public.clone()).unwrap().id());
    let certificate = key.certificate().unwrap();
    assert_eq!(certificate.check_name(GOLDEN), Ok(()));
    assert_eq!(certificate.not_after(), now().plus(3650 * DAY));
    assert_eq!(NotaryKey::from_json(key.to_json()).unwrap(), key);
    let signature = key.signature(b"m", &sign(b"m").unwrap()).unwrap();
    assert_eq!((signature.method.as_str(), signature.sig.len()), ("ecdsa", 64));
    assert!(new.sign(Scheme::Ed25519, sign).is_err());
    // Dates past 2049 and other algorithms are written as well.
    let long = NewCertificate {
        dates: (now(), now().plus(40 * 365 * DAY)),
        ..new
    };
    assert!(long.sign(Scheme::EcdsaP256Sha256, sign).is_ok());
    let rsa = PublicKey::from_pem(include_str!("../../../key/testdata/rsa.pem")).unwrap();
    for scheme in [Scheme::RsaPssSha256, Scheme::RsaPkcs1Sha256] {
        let pem = NewCertificate {
            public: &rsa,
            ..long.clone()
        }
        .sign(scheme, |_| Ok(vec![1; 256]))
        .unwrap();
        assert_eq!(NotaryKey::x509(&pem).unwrap().key_type(), NotaryKeyType::RsaX509);
    }
    assert!(ecdsa::to_fixed(public.key_type(), b"").is_err());
}

#[test]
fn names_of_delegated_roles_are_narrow() {
    for good in ["targets/releases", "targets/a-b_c/0"] {
        assert!(is_delegated_role(good), "{good}");
    }
    for bad in [
        "targets",
        "targets/",
        "targets/A",
        "targets//a",
        "targets/../a",
        "other/a",
        "targets/a/",
    ] {
        assert!(!is_delegated_role(bad), "{bad}");
    }
}
