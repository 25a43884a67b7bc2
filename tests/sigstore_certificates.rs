//! Bundles by certificate: what a whole sigstore made is accepted, and each thing that can be wrong with it is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/virtual_sigstore.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod virtual_sigstore;

use std::num::NonZeroUsize;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imgkit::digest::Digest;
use imgkit::failure::Code;
use imgkit::sigstore::bundle::{Artifact, Bundle};
use imgkit::sigstore::certificate::{CertificateEvidence, Demand, Matcher, Signer, TrustedRoot};
use imgkit::time::Time;
use serde_json::{Value, json};
use virtual_sigstore::{
    Content, IDENTITY, ISSUER, Key, Log, Order, SIGNED_AT, TIME_STAMPING, VirtualSigstore, YEAR, email,
    issuer_extension, uri,
};

const FILE: &[u8] = b"a file";

static SIGSTORE: LazyLock<VirtualSigstore> = LazyLock::new(VirtualSigstore::new);
static ROOT: LazyLock<TrustedRoot> = LazyLock::new(|| root(&SIGSTORE.trusted_root()));

fn root(value: &Value) -> TrustedRoot {
    TrustedRoot::parse(value.to_string().as_bytes()).unwrap()
}

fn exactly(identity: &str, issuer: &str) -> Signer {
    Signer::new(Matcher::Exact(identity.to_owned()), Matcher::Exact(issuer.to_owned()))
}

fn now() -> Time {
    Time::from_unix(SIGNED_AT + 86_400).unwrap()
}

/// Reads and verifies a bundle over [`FILE`]; the reason of a refusal is its code and what was found.
fn verify(bundle: &Value) -> Result<CertificateEvidence, (Code, String)> {
    verify_as(bundle, &ROOT, &exactly(IDENTITY, ISSUER), Demand::default(), now())
}

fn verify_as(
    bundle: &Value,
    root: &TrustedRoot,
    signer: &Signer,
    demand: Demand,
    now: Time,
) -> Result<CertificateEvidence, (Code, String)> {
    let bundle = Bundle::parse(bundle.to_string().as_bytes()).map_err(|error| (Code::Malformed, error.to_string()))?;
    let verified = bundle.verify_with_certificate(Artifact::Bytes(FILE), root, signer, demand, now);
    verified.map_err(|refused| (refused.code, refused.found))
}

fn statement() -> Content {
    let digest = Digest::sha256(FILE).hex();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "subject": [{ "name": "file", "digest": { "sha256": digest } }],
        "predicateType": "https://example.com/predicate", "predicate": {},
    });
    Content::Statement(statement.to_string().into_bytes())
}

/// One good order for each form of a bundle and an entry.
fn orders() -> Vec<(&'static str, Order)> {
    let file = Order::file(FILE);
    let dsse = Order::of(statement());
    let intoto = Order {
        logs: vec![Log::V1Intoto],
        ..dsse.clone()
    };
    vec![
        ("hashedrekord 0.0.1", file.clone()),
        ("hashedrekord 0.0.2", file.v2()),
        ("dsse 0.0.1", dsse.clone()),
        ("hashedrekord 0.0.2", dsse.v2()),
        ("intoto 0.0.2", intoto),
    ]
}

/// Checks that a changed copy of a good bundle is refused, and returns what for.
fn refused(order: &Order, what: &str, change: impl FnOnce(&mut Value)) -> (Code, String) {
    let mut bundle = SIGSTORE.sign(order);
    verify(&bundle).unwrap_or_else(|refused| panic!("{what}: untouched: {refused:?}"));
    let untouched = bundle.clone();
    change(&mut bundle);
    assert_ne!(bundle, untouched, "{what}: nothing was changed");
    verify(&bundle).expect_err(what)
}

/// Checks that what the authorities sign for another order than a good one is refused, and returns what for.
fn refused_order(what: &str, change: impl FnOnce(&mut Order)) -> (Code, String) {
    let mut order = Order::file(FILE);
    verify(&SIGSTORE.sign(&order)).unwrap_or_else(|refused| panic!("{what}: as it should be: {refused:?}"));
    change(&mut order);
    verify(&SIGSTORE.sign(&order)).expect_err(what)
}

fn entry(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["tlogEntries"][0]
}

/// Flips a bit of bytes in base64.
fn flip(value: &mut Value) {
    let mut bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    *value = json!(STANDARD.encode(bytes));
}

#[test]
fn every_form_is_accepted_with_what_was_proved() {
    for (kind, order) in orders() {
        let bundle = SIGSTORE.sign(&order);
        let evidence = verify(&bundle).unwrap_or_else(|refused| panic!("{kind}: {refused:?}"));
        assert_eq!((evidence.identity(), evidence.issuer()), (IDENTITY, ISSUER));
        assert_eq!(evidence.entries()[0].kind, kind);
        assert_eq!(
            evidence.times()[0].time,
            Time::from_unix(SIGNED_AT).unwrap().to_string()
        );
        assert_eq!(
            evidence.statement().is_some(),
            matches!(order.content, Content::Statement(_))
        );
        let digest = Digest::sha256(FILE);
        let parsed = Bundle::parse(bundle.to_string().as_bytes()).unwrap();
        let signer = exactly(IDENTITY, ISSUER);
        let by_digest =
            |digest| parsed.verify_with_certificate(Artifact::Digest(digest), &ROOT, &signer, Demand::default(), now());
        assert!(by_digest(&digest).is_ok(), "{kind}");
        assert_eq!(
            by_digest(&Digest::sha256(b"another")).unwrap_err().code,
            Code::DigestMismatch
        );
    }
}

#[test]
fn refuses_another_identity_or_issuer() {
    let bundle = SIGSTORE.sign(&Order::file(FILE));
    let by = |signer: &Signer| verify_as(&bundle, &ROOT, signer, Demand::default(), now());
    let pattern = |text: &str| Matcher::pattern(text).unwrap();
    assert!(
        by(&Signer::new(
            pattern("[a-z]+@example\\.com"),
            pattern("https://issuer\\..*")
        ))
        .is_ok()
    );
    for signer in [
        exactly("other@example.com", ISSUER),
        exactly(IDENTITY, "https://other.example"),
        Signer::new(pattern("release@example"), pattern(".*")),
        Signer::new(pattern(".*"), pattern("https://issuer")),
    ] {
        assert_eq!(by(&signer).unwrap_err().0, Code::Identity, "{signer}");
    }
}

#[test]
fn refuses_certificates_that_are_not_for_this() {
    let code = |what, change: fn(&mut Order)| refused_order(what, change).0;
    assert_eq!(code("no SCT", |order| order.sct = false), Code::Certificate);
    assert_eq!(
        code("not for code", |order| order.usage = TIME_STAMPING),
        Code::Certificate
    );
    let sign_certificates = |order: &mut Order| {
        order.key_usage = x509_cert_02::ext::pkix::KeyUsages::KeyCertSign;
    };
    assert_eq!(code("key for certificates", sign_certificates), Code::Certificate);
    assert_eq!(
        code("a second name", |order| order
            .identity
            .push(uri("https://evil.example"))),
        Code::Certificate
    );
    assert_eq!(code("no name", |order| order.identity.clear()), Code::Certificate);
    assert_eq!(code("no issuer", |order| order.issuer = None), Code::Certificate);
    assert_eq!(
        code("another name", |order| order.identity =
            vec![email("other@example.com")]),
        Code::Identity
    );
}

#[test]
fn refuses_a_certificate_that_says_something_twice() {
    let again = |order: &mut Order| order.more = vec![issuer_extension("https://other.example")];
    let (code, found) = refused_order("a second issuer", again);
    assert_eq!(code, Code::Certificate, "{found}");
}

#[test]
fn refuses_authorities_that_are_past_their_own_time() {
    let good = (SIGNED_AT - YEAR, SIGNED_AT + YEAR);
    let past = (SIGNED_AT - YEAR, SIGNED_AT - 600);
    let by = |issuer, stamp_root| {
        let sigstore = VirtualSigstore::valid_for(issuer, stamp_root);
        let stamped = Order {
            stamps: vec![SIGNED_AT],
            ..Order::file(FILE)
        };
        let root = root(&sigstore.trusted_root());
        let signer = exactly(IDENTITY, ISSUER);
        verify_as(&sigstore.sign(&stamped), &root, &signer, Demand::default(), now())
    };
    assert!(by(good, good).is_ok());
    assert_eq!(by(past, good).unwrap_err().0, Code::Certificate);
    assert_eq!(by(good, past).unwrap_err().0, Code::Timestamp);
}

#[test]
fn one_key_is_one_log() {
    let mut trusted = SIGSTORE.trusted_root();
    assert!(TrustedRoot::parse(trusted.to_string().as_bytes()).is_ok());
    // A checkpoint names its key by four bytes that nobody signs: whoever has an entry in one log had one in both.
    let mut again = trusted["tlogs"][0].clone();
    again["baseUrl"] = json!("https://another.example");
    again["logId"]["keyId"] = json!(STANDARD.encode([7; 32]));
    trusted["tlogs"].as_array_mut().unwrap().push(again);
    let error = TrustedRoot::parse(trusted.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().contains("https://another.example"), "{error}");
}

#[test]
fn only_what_is_proved_of_a_place_is_reported() {
    // Without a promise nothing binds the place that the entry itself names.
    let order = Order {
        promise: false,
        stamps: vec![SIGNED_AT],
        ..Order::file(FILE)
    };
    let mut bundle = SIGSTORE.sign(&order);
    assert_eq!(verify(&bundle).unwrap().entries()[0].index, 4);
    entry(&mut bundle)["logIndex"] = json!("1000");
    assert_eq!(verify(&bundle).unwrap().entries()[0].index, 4);
    // Nor is one entry two.
    let mut twice = SIGSTORE.sign(&order);
    let entries = twice["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap();
    entries.extend(
        bundle["verificationMaterial"]["tlogEntries"]
            .as_array()
            .unwrap()
            .clone(),
    );
    assert_eq!(verify(&twice).unwrap_err().0, Code::NotLogged);
}

#[test]
fn a_log_of_version_2_witnesses_no_time_whatever_it_promises() {
    let order = Order::file(FILE).v2();
    let promised = |time: i64| {
        let mut bundle = SIGSTORE.sign(&order);
        let entry = entry(&mut bundle);
        let body = STANDARD.decode(entry["canonicalizedBody"].as_str().unwrap()).unwrap();
        entry["integratedTime"] = json!(time.to_string());
        SIGSTORE.rekor2.promise(entry, &body, time);
        verify(&bundle)
    };
    assert!(verify(&SIGSTORE.sign(&order)).is_ok());
    // The second is no time at which the certificate was valid.
    for time in [SIGNED_AT, SIGNED_AT + 80_000] {
        if let Ok(evidence) = promised(time) {
            let by: Vec<&str> = evidence.times().iter().map(|time| time.by.as_str()).collect();
            assert_eq!(by, ["https://stamps.example"], "{time}");
        }
    }
}

#[test]
fn refuses_certificates_out_of_time() {
    for (what, validity) in [
        ("expired before", (SIGNED_AT - 1200, SIGNED_AT - 600)),
        ("not valid yet", (SIGNED_AT + 600, SIGNED_AT + 1200)),
    ] {
        let (code, found) = refused_order(what, |order| order.validity = validity);
        assert!(matches!(code, Code::Expired | Code::Certificate), "{what}: {found}");
    }
    // One good time does not outweigh one that is not.
    let (code, found) = refused_order("one of two times", |order| order.stamps = vec![SIGNED_AT + 86_000]);
    assert!(matches!(code, Code::Expired | Code::Certificate), "{found}");
}

#[test]
fn refuses_certificates_of_another_authority_or_log() {
    let other = VirtualSigstore::new();
    let bundle = other.sign(&Order::file(FILE));
    let signer = exactly(IDENTITY, ISSUER);
    let by = |root: &Value| verify_as(&bundle, &self::root(root), &signer, Demand::default(), now());
    assert!(by(&other.trusted_root()).is_ok());
    // Each part of a root is from the other sigstore once.
    let mine = SIGSTORE.trusted_root();
    for (part, code) in [
        ("certificateAuthorities", Code::Certificate),
        ("ctlogs", Code::Certificate),
        ("tlogs", Code::NotLogged),
    ] {
        let mut mixed = other.trusted_root();
        mixed[part] = mine[part].clone();
        assert_eq!(by(&mixed).unwrap_err().0, code, "{part}");
    }
}

#[test]
fn refuses_logs_whose_keys_were_given_up_before() {
    let signer = exactly(IDENTITY, ISSUER);
    for (at, order) in [Order::file(FILE), Order::file(FILE).v2()].iter().enumerate() {
        let bundle = SIGSTORE.sign(order);
        let until = |end: &str| {
            let mut trusted = SIGSTORE.trusted_root();
            trusted["tlogs"][at]["publicKey"]["validFor"]["end"] = json!(end);
            verify_as(&bundle, &root(&trusted), &signer, Demand::default(), now())
        };
        assert!(until("2025-06-15T15:06:40Z").is_ok());
        assert!(matches!(until("2025-06-15T15:06:39Z").unwrap_err().0, Code::NotLogged));
    }
}

#[test]
fn refuses_forged_log_entries() {
    for (kind, order) in orders() {
        let v1 = order.logs[0] != Log::V2;
        let code = |what: &str, change: &dyn Fn(&mut Value)| {
            let what = format!("{kind}: {what}");
            let (code, found) = refused(&order, &what, change);
            assert!(
                matches!(code, Code::NotLogged | Code::Malformed),
                "{what}: {code}: {found}"
            );
        };
        code("root hash", &|bundle| {
            flip(&mut entry(bundle)["inclusionProof"]["rootHash"])
        });
        code("a proof's hash", &|bundle| {
            flip(&mut entry(bundle)["inclusionProof"]["hashes"][0])
        });
        code("a hash less", &|bundle| {
            entry(bundle)["inclusionProof"]["hashes"].as_array_mut().unwrap().pop();
        });
        code("tree size", &|bundle| {
            entry(bundle)["inclusionProof"]["treeSize"] = json!("5")
        });
        code("no proof", &|bundle| entry(bundle)["inclusionProof"] = Value::Null);
        code("the body", &|bundle| flip(&mut entry(bundle)["canonicalizedBody"]));
        code("the log", &|bundle| flip(&mut entry(bundle)["logId"]["keyId"]));
        code("no entry", &|bundle| {
            bundle["verificationMaterial"]["tlogEntries"] = json!([])
        });
        code("an entry twice", &|bundle| {
            let twice = entry(bundle).clone();
            bundle["verificationMaterial"]["tlogEntries"] = json!([twice, twice]);
        });
        code("kind", &|bundle| {
            let other = if kind.starts_with("hashedrekord") {
                "dsse"
            } else {
                "hashedrekord"
            };
            entry(bundle)["kindVersion"] = json!({ "kind": other, "version": "0.0.1" });
        });
        code("checkpoint's text", &|bundle| {
            let checkpoint = &mut entry(bundle)["inclusionProof"]["checkpoint"]["envelope"];
            *checkpoint = json!(checkpoint.as_str().unwrap().replacen("rekor", "r0kor", 1));
        });
        if v1 {
            code("promise", &|bundle| {
                flip(&mut entry(bundle)["inclusionPromise"]["signedEntryTimestamp"])
            });
            code("a minute later", &|bundle| {
                entry(bundle)["integratedTime"] = json!((SIGNED_AT + 60).to_string())
            });
            code("another place", &|bundle| entry(bundle)["logIndex"] = json!("5"));
        }
    }
}

#[test]
fn refuses_the_entry_of_another_signature() {
    for (kind, order) in orders() {
        let other = SIGSTORE.sign(&order);
        let (code, found) = refused(&order, kind, |bundle| {
            *entry(bundle) = other["verificationMaterial"]["tlogEntries"][0].clone()
        });
        assert_eq!(code, Code::NotLogged, "{kind}: {found}");
    }
}

#[test]
fn refuses_a_checkpoint_of_another_trusted_log() {
    let order = Order::file(FILE);
    let (code, found) = refused(&order, "checkpoint", |bundle| {
        let proof = &mut entry(bundle)["inclusionProof"];
        let size = proof["treeSize"].as_str().unwrap().parse().unwrap();
        let root = STANDARD.decode(proof["rootHash"].as_str().unwrap()).unwrap();
        let checkpoint = SIGSTORE.rekor2.checkpoint(size, &root.try_into().unwrap());
        proof["checkpoint"]["envelope"] = json!(checkpoint);
    });
    assert_eq!(code, Code::NotLogged);
    assert!(found.contains("did not sign"), "{found}");
}

#[test]
fn a_log_without_promise_witnesses_no_time() {
    let (code, found) = refused_order("no promise", |order| order.promise = false);
    assert_eq!(code, Code::Timestamp, "{found}");
    let stamped = Order {
        promise: false,
        stamps: vec![SIGNED_AT],
        ..Order::file(FILE)
    };
    let evidence = verify(&SIGSTORE.sign(&stamped)).unwrap();
    assert_eq!(evidence.times().len(), 1);
    assert_eq!(evidence.times()[0].by, "https://stamps.example");
}

#[test]
fn refuses_time_stamps_of_others_or_over_others() {
    let order = Order::file(FILE).v2();
    let other = VirtualSigstore::new();
    let replace = |stamp: Vec<u8>| {
        move |bundle: &mut Value| {
            bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"] =
                json!(STANDARD.encode(stamp));
        }
    };
    let signature = |bundle: &Value| {
        STANDARD
            .decode(bundle["messageSignature"]["signature"].as_str().unwrap())
            .unwrap()
    };
    let by_other = refused(&order, "another authority", |bundle| {
        let stamp = other.stamp(&signature(bundle), SIGNED_AT);
        replace(stamp)(bundle);
    });
    let over_other = refused(
        &order,
        "another signature",
        replace(SIGSTORE.stamp(b"another", SIGNED_AT)),
    );
    let none = refused(&order, "none", |bundle| {
        bundle["verificationMaterial"]["timestampVerificationData"] = json!({});
    });
    for (code, found) in [by_other, over_other, none] {
        assert_eq!(code, Code::Timestamp, "{found}");
    }
}

#[test]
fn refuses_what_is_signed_by_another_key_or_over_another_file() {
    for (kind, order) in orders() {
        let forged = |bundle: &mut Value| match &order.content {
            Content::File(_) => {
                bundle["messageSignature"]["signature"] = json!(STANDARD.encode(Key::generate().sign(FILE)))
            }
            Content::Statement(_) => flip(&mut bundle["dsseEnvelope"]["signatures"][0]["sig"]),
        };
        assert!(
            !matches!(refused(&order, kind, forged).0, Code::Identity | Code::Certificate),
            "{kind}"
        );
    }
    let (code, _) = refused(&Order::file(FILE), "digest", |bundle| {
        flip(&mut bundle["messageSignature"]["messageDigest"]["digest"]);
    });
    assert_eq!(code, Code::DigestMismatch);
    let (code, _) = refused_order("another file", |order| {
        order.content = Content::File(b"another".to_vec())
    });
    assert_eq!(code, Code::DigestMismatch);
}

#[test]
fn refuses_statements_about_nothing_or_something_else() {
    let with = |subjects: Value| {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": "https://example.com/predicate",
        });
        verify(&SIGSTORE.sign(&Order::of(Content::Statement(statement.to_string().into_bytes()))))
    };
    let subject = |bytes: &[u8]| json!({ "name": "x", "digest": { "sha256": Digest::sha256(bytes).hex() } });
    assert!(with(json!([subject(b"another"), subject(FILE)])).is_ok());
    assert_eq!(with(json!([subject(b"another")])).unwrap_err().0, Code::DigestMismatch);
    assert_eq!(with(json!([])).unwrap_err().0, Code::Malformed);
    assert_eq!(
        with(json!([{ "name": "x", "digest": {} }])).unwrap_err().0,
        Code::Malformed
    );
    assert_eq!(
        with(json!(vec![subject(FILE); 100_000])).unwrap_err().0,
        Code::Malformed
    );
}

#[test]
fn thresholds_count_different_logs_and_witnesses() {
    let demand = |logs, times| Demand {
        logs: NonZeroUsize::new(logs).unwrap(),
        times: NonZeroUsize::new(times).unwrap(),
    };
    let signer = exactly(IDENTITY, ISSUER);
    let by = |order: &Order, demand| verify_as(&SIGSTORE.sign(order), &ROOT, &signer, demand, now());
    let one = Order::file(FILE);
    let both = Order {
        logs: vec![Log::V1, Log::V2],
        stamps: vec![SIGNED_AT + 1],
        ..one.clone()
    };
    assert_eq!(by(&both, demand(2, 2)).unwrap().entries().len(), 2);
    assert_eq!(by(&both, demand(3, 1)).unwrap_err().0, Code::Threshold);
    assert_eq!(by(&both, demand(1, 3)).unwrap_err().0, Code::Threshold);
    assert_eq!(by(&one, demand(2, 1)).unwrap_err().0, Code::Threshold);
    let stamped_twice = Order {
        stamps: vec![SIGNED_AT, SIGNED_AT + 1],
        promise: false,
        ..one
    };
    assert!(by(&stamped_twice, demand(1, 1)).is_ok());
    assert_eq!(by(&stamped_twice, demand(1, 2)).unwrap_err().0, Code::Threshold);
}

#[test]
fn refuses_times_after_now() {
    let bundle = SIGSTORE.sign(&Order::file(FILE));
    let signer = exactly(IDENTITY, ISSUER);
    let at = |seconds| {
        verify_as(
            &bundle,
            &ROOT,
            &signer,
            Demand::default(),
            Time::from_unix(seconds).unwrap(),
        )
    };
    assert!(at(SIGNED_AT).is_ok());
    assert_eq!(at(SIGNED_AT - 1).unwrap_err().0, Code::Timestamp);
}

#[test]
fn a_bundle_by_key_proves_no_identity() {
    let key = imgkit::key::SigningKey::generate().unwrap();
    let bundle = Bundle::sign_file(FILE, &key).unwrap();
    let refused = bundle.verify_with_certificate(
        Artifact::Bytes(FILE),
        &ROOT,
        &exactly(IDENTITY, ISSUER),
        Demand::default(),
        now(),
    );
    assert_eq!(refused.unwrap_err().code, Code::Identity);
}

/// Reads a bundle of the public instance.
fn public(name: &str) -> Value {
    let path = format!(
        "{}/tests/fixtures/sigstore/{name}.sigstore.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn bundles_of_the_public_instance_verify_under_its_root_and_no_other() {
    let public_root = TrustedRoot::public().unwrap();
    let now = Time::from_unix(1_790_000_000).unwrap();
    let whl = public("workflow");
    let whl = STANDARD
        .decode(whl["messageSignature"]["messageDigest"]["digest"].as_str().unwrap())
        .unwrap();
    let provenance = "46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1\
                      e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c";
    let workflows = "https://token.actions.githubusercontent.com";
    let cases = [
        (
            "cosign-v3-blob",
            Digest::sha256(b"test content for cosign\n"),
            "[a-z.]+@gmail.com",
            "https://github.com/login/oauth",
            2,
        ),
        (
            "workflow",
            Digest::Sha256(whl.try_into().unwrap()),
            "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2",
            workflows,
            1,
        ),
        (
            "provenance",
            format!("sha512:{provenance}").parse().unwrap(),
            "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@.*",
            workflows,
            1,
        ),
    ];
    for (name, digest, identity, issuer, times) in cases {
        let bundle = Bundle::parse(public(name).to_string().as_bytes()).unwrap();
        let by = |root: &TrustedRoot, issuer: &str| {
            let signer = Signer::new(Matcher::pattern(identity).unwrap(), Matcher::Exact(issuer.to_owned()));
            bundle.verify_with_certificate(Artifact::Digest(&digest), root, &signer, Demand::default(), now)
        };
        let evidence = by(&public_root, issuer).unwrap_or_else(|refused| panic!("{name}: {refused}"));
        assert_eq!(evidence.times().len(), times, "{name}");
        assert_eq!(by(&public_root, ISSUER).unwrap_err().code, Code::Identity, "{name}");
        assert!(by(&ROOT, issuer).is_err(), "{name}");
    }
}
