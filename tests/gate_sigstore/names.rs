//! What a name stands for: a tag and the digest beside it, and what the local store knows of them.

use super::*;

#[test]
fn a_name_is_verified_as_what_it_stands_for_now() {
    let case = Case::new("signed: vendor");
    case.sign("vendor", &[]);
    let verify = || {
        case.node
            .run(&["policy", "verify", "--policy", "policy.yml", &case.name])
    };
    assert_eq!(verify().code, 0);
    push(&case.node, &case.name, 6);
    let answer = verify();
    assert_eq!((answer.code, answer.codes()), (1, vec!["UNSIGNED"]), "{}", answer.json);
}

/// Both have to stand for the same, whoever admits the image (law of the gate 3).
#[test]
fn a_tag_that_stands_for_another_digest_than_is_named_beside_it_is_refused() {
    let case = Case::new("signed: vendor");
    case.sign("vendor", &[]);
    let (first, node) = (case.image.digest, &case.node);
    let repository = reference(&case.name).repository().to_string();
    let (pair, bare) = (format!("{}@{first}", case.name), format!("{repository}@{first}"));
    let listed = format!("digestIn: ['{first}']");
    let verify = |name: &str| node.run(&["policy", "verify", "--policy", "policy.yml", name]);
    let explain = |name: &str| node.run(&["policy", "explain", "--policy", "policy.yml", name]);
    node.edit("node.yml", &case.name, &pair);
    case.built("out");
    assert_eq!(verify(&pair).code, 0);
    node.good(&["lock", "node.yml"]);
    // The tag is moved. What the store has under it is what the pair names.
    push(node, &case.name, 6);
    assert_eq!(explain(&pair).code, 0);
    case.built("again");
    for requirement in ["signed: vendor", &listed] {
        node.edit("policy.yml", "signed: vendor", requirement);
        for _ in 0..2 {
            let answer = verify(&pair);
            assert_eq!(
                (answer.code, answer.codes()),
                (1, vec!["DIGEST_MISMATCH"]),
                "{}",
                answer.json
            );
        }
        assert_eq!(verify(&bare).code, 0, "a digest needs no tag");
        node.edit("policy.yml", requirement, "signed: vendor");
    }
    let refused = |answer: Answer| {
        assert_eq!(
            (answer.code, answer.codes()),
            (1, vec!["DIGEST_MISMATCH"]),
            "{}",
            answer.json
        )
    };
    let never = format!("{repository}:v9@{first}");
    node.good(&["cache", "rm", &case.name]);
    refused(explain(&pair));
    assert_eq!(case.refused(), ["DIGEST_MISMATCH"]);
    refused(node.run(&["lock", "--out", "other.lock", "node.yml"]));
    refused(node.run(&["cache", "pull", &pair]));
    refused(node.run(&["sigstore", "verify", &pair, "--key", "vendor.pub"]));
    refused(node.run(&["sigstore", "copy", &pair, "oci:copied"]));
    assert!(!case.is_pulled());
    // Nobody knows what a tag stands for that is not there.
    for answer in [verify(&never), explain(&never), node.run(&["cache", "pull", &never])] {
        assert_eq!(answer.code, 3, "{}", answer.json);
        assert!(
            answer.json.to_string().contains("write the digest alone"),
            "{}",
            answer.json
        );
    }
    // The lock says what the pair stood for when both were the same.
    let key = node.seal_key().display().to_string();
    let fixed = [
        "build",
        "--policy",
        "policy.yml",
        "--at",
        NOW,
        "--out",
        "locked",
        "--seal-key",
        &key,
    ];
    node.good(&[&fixed[..], &["--format", "raw-bios", "--locked", "node.yml"]].concat());
    // Where no registry is asked the store's word counts: the locked build has put the first image there, under both names.
    node.edit("policy.yml", "signed: vendor", &listed);
    let offline = |name: &str| node.run(&["policy", "verify", "--offline", "--policy", "policy.yml", name]);
    assert_eq!(offline(&pair).code, 0);
    assert_eq!(offline(&never).code, 3);
    node.good(&["cache", "pull", &case.name]);
    refused(offline(&pair));
    // Online a tag in the store that contradicts is asked for: it may have been moved back.
    push(node, &case.name, 5);
    assert_eq!(explain(&pair).code, 0);
}

/// A signature under a tag is taken for the tag's, and what the store has of a tag decides builds.
#[test]
fn nothing_is_signed_or_kept_under_a_tag_that_stands_for_another_digest() {
    let case = Case::new("signed: vendor");
    let node = &case.node;
    let repository = reference(&case.name).repository().to_string();
    let new = push(node, &format!("{repository}:v2"), 6);
    let pair = format!("{repository}:v2@{}", case.image.digest);
    node.edit("node.yml", &case.name, &pair);
    let sign = |more: &[&str]| node.run(&[&["sigstore", "sign", &pair, "--key", "vendor.key"][..], more].concat());
    let attest = ["sigstore", "attest", &pair, "--key", "vendor.key", "--tree"];
    for answer in [
        sign(&["--form", "simple"]),
        sign(&["--form", "bundle"]),
        sign(&["--no-tree"]),
        node.run(&attest),
        node.run(&["trust", "sign", "--at", NOW, &pair]),
        node.run(&["lock", "node.yml"]),
    ] {
        assert_eq!(
            (answer.code, answer.codes()),
            (1, vec!["DIGEST_MISMATCH"]),
            "{}",
            answer.json
        );
    }
    let tree = node.good(&["sigstore", "tree", &case.name]);
    assert!(!tree.to_string().contains("signature"), "{tree}");
    let never = format!("{repository}:v9@{}", case.image.digest);
    let sign = ["sigstore", "sign", &never, "--key", "vendor.key"];
    for answer in [node.run(&sign), node.run(&["trust", "sign", "--at", NOW, &never])] {
        assert_eq!(
            answer.code, 3,
            "what a tag that is gone stood for is not known: {}",
            answer.json
        );
    }
    // A collection may have signed another image than the registry has under the tag.
    node.good(&["sigstore", "copy", &case.name, &format!("oci:other:{repository}:v2")]);
    node.good(&["trust", "sign", "--at", NOW, "--store", "other", &pair]);
    let verified = node.run(&["trust", "verify", "--at", NOW, &pair]);
    assert_eq!(
        (verified.code, verified.codes()),
        (1, vec!["DIGEST_MISMATCH"]),
        "{}",
        verified.json
    );
    let store = Layout::open(node.path("store")).unwrap();
    assert_eq!(store.named(&reference(&format!("{repository}:v2"))).unwrap(), None);
    // What the registry says is signed, and then the store says the same.
    let pair = format!("{repository}:v2@{}", new.digest);
    node.good(&["sigstore", "sign", &pair, "--key", "vendor.key"]);
    assert_eq!(
        store.named(&reference(&format!("{repository}:v2"))).unwrap(),
        Some(new.digest)
    );
}

#[test]
fn who_asks_a_policy_about_a_name_moves_no_tag_of_the_store() {
    let case = Case::new("signed: vendor");
    case.sign("vendor", &[]);
    case.built("out");
    push(&case.node, &case.name, 6);
    let elsewhere = ["--store", "elsewhere"];
    case.sign("vendor", &elsewhere);
    let tree = ["sigstore", "tree", "--policy", "policy.yml", &case.name];
    let tree = case.node.good(&tree);
    assert!(tree.to_string().contains("taken"), "{tree}");
    let store = Layout::open(case.node.path("store")).unwrap();
    assert_eq!(store.named(&reference(&case.name)).unwrap(), Some(case.image.digest));
    assert!(
        store.list().unwrap().iter().any(|(name, _)| name.tag().is_none()),
        "it was fetched"
    );
}

/// Damage of one's own store says nothing of an image that can be had again.
#[test]
fn a_document_that_is_damaged_in_the_store_is_fetched_again() {
    let case = Case::new("signed: vendor");
    case.sign("vendor", &[]);
    let hex = case.image.digest.hex();
    let path = case.node.path("store/blobs/sha256").join(&hex);
    let whole = fs::read(&path).unwrap();
    let pair = format!("{}@{}", case.name, case.image.digest);
    for name in [&case.name, &pair] {
        // A verdict that is kept asks for no image.
        for ask in [&["explain"][..], &["verify", "--no-cache"]] {
            for damaged in [None, Some(&b"changed"[..])] {
                fs::remove_file(&path).unwrap();
                if let Some(bytes) = damaged {
                    fs::write(&path, bytes).unwrap();
                }
                let answer = case
                    .node
                    .run(&[&["policy"], ask, &["--policy", "policy.yml", name]].concat());
                assert_eq!(answer.code, 0, "{ask:?} {name}, {damaged:?}: {}", answer.json);
                assert_eq!(fs::read(&path).unwrap(), whole, "{ask:?} {name}");
            }
        }
    }
}
