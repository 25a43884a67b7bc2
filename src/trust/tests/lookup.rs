//! Delegations, evidence, embedded bundles, revoked keys.

use super::*;
use crate::digest::Digest;
use crate::failure::{Code, Failure};
use crate::limit;
use crate::trust::metadata::SuccinctRoles;
use crate::trust::{AtTargets, Chain, ImageTarget, PlatformTarget, Search, Signature, WantedRole};

fn code(error: TrustError) -> Code {
    match error.about("subject") {
        Failure::Refused(refusals) => refusals[0].code,
        other => panic!("{other}"),
    }
}

/// Gives `by` a delegation to `role` by the keys of TEAM for `paths`, in front of the others.
fn delegate(repository: &mut Repository, by: &str, role: &str, paths: &[&str], terminating: bool) {
    repository.forge_linked(by, |signed| {
        let id = key(TEAM).id();
        signed["delegations"]["keys"][id.as_str()] = key(TEAM).tuf_key().to_json().clone();
        let delegation = json!({
            "name": role, "keyids": [id], "threshold": 1, "terminating": terminating, "paths": paths,
        });
        match signed["delegations"]["roles"].as_array_mut() {
            Some(roles) => roles.insert(0, delegation),
            None => signed["delegations"]["roles"] = json!([delegation]),
        }
    });
}

/// Adds the metadata of a delegated role that signs `targets` with TEAM's key.
fn add_role(repository: &mut Repository, role: &'static str, targets: &[&str]) {
    let bytes = repository.files.get("1.team.json").unwrap().to_vec();
    repository.files.add(format!("1.{role}.json"), bytes);
    repository.keys.insert(role, vec![TEAM]);
    let named: Map<_, _> = targets
        .iter()
        .map(|name| ((*name).to_owned(), serde_json::to_value(file(role.as_bytes())).unwrap()))
        .collect();
    repository.forge(role, &[TEAM], |signed| signed["targets"] = named.into());
    let meta = repository.describe(role);
    repository.forge("snapshot", &[SNAPSHOT], |signed| {
        signed["meta"][format!("{role}.json")] = meta
    });
    repository.relink();
}

/// Describes an added role again after it was forged.
fn relink_role(repository: &mut Repository, role: &str) {
    let meta = repository.describe(role);
    repository.forge("snapshot", &[SNAPSHOT], |signed| {
        signed["meta"][format!("{role}.json")] = meta
    });
    repository.relink();
}

#[test]
fn finds_what_a_delegated_role_signs_with_its_evidence() {
    let repository = Repository::new();
    let found = repository.find("team/b").unwrap();
    let evidence = found.evidence();
    assert_eq!((evidence.role.as_str(), evidence.threshold), ("team", 1));
    assert_eq!(evidence.keys, [key(TEAM).id()]);
    assert_eq!(evidence.root_keys, [key(ROOT).id()]);
    assert_eq!(evidence.role_mark().version, 1);
    assert_eq!(evidence.expires(), days(14));
    let names: Vec<_> = found.bundle().files().map(|(name, _)| name).collect();
    let expected = [
        "1.root.json",
        "timestamp.json",
        "1.snapshot.json",
        "1.targets.json",
        "1.team.json",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_evidence_repeats_the_lookup_and_holds_no_more_than_it_needs() {
    let repository = Repository::new();
    let found = repository.find("a").unwrap();
    assert_eq!(found.bundle().get("1.team.json"), None);
    let again = lookup(&repository.pin(), found.bundle(), &Known::default(), "a", start()).unwrap();
    assert_eq!(again.evidence(), found.evidence());
    let refused = lookup(&repository.pin(), found.bundle(), &Known::default(), "team/b", start());
    assert!(matches!(refused, Err(TrustError::Missing { .. })));
}

#[test]
fn a_name_that_nobody_signs_is_unsigned() {
    let repository = Repository::new();
    for name in ["b", "team/c", "seal/x/y"] {
        assert_eq!(code(repository.find(name).unwrap_err()), Code::Unsigned, "{name}");
    }
    assert!(matches!(repository.find("../a"), Err(TrustError::Malformed { .. })));
}

#[test]
fn a_role_that_another_calls_by_a_top_level_name_does_not_count_under_it() {
    let with = |bobs: u8| {
        let mut repository = Repository::new();
        repository.forge_linked("targets", |signed| {
            let id = key(bobs).id();
            signed["delegations"]["keys"][id.as_str()] = key(bobs).tuf_key().to_json().clone();
            let bob = json!({
                "name": "bob", "keyids": [id], "threshold": 1, "terminating": false, "paths": ["team/*"],
            });
            signed["delegations"]["roles"].as_array_mut().unwrap().push(bob);
        });
        // `team` gives its own key to a role that it calls `bob`, before `targets` asks its own.
        delegate(&mut repository, "team", "bob", &["team/*"], false);
        add_role(&mut repository, "bob", &["team/b", "team/x"]);
        repository
    };
    // The same keys are the same role, whoever leads to it.
    assert_eq!(with(TEAM).find("team/x").unwrap().evidence().role, "bob");
    let forged = with(16);
    assert_eq!(forged.find("team/x").unwrap().evidence().role, "bob, as team calls it");
    let mut client = forged.client();
    let prevailing = client.target("team/b").unwrap();
    assert_eq!(prevailing.evidence().role, "team");
    assert!(client.cosigned(&prevailing, "bob").is_err());
}

#[test]
fn a_role_signs_only_the_names_that_it_is_trusted_with() {
    let mut repository = Repository::new();
    repository.forge_linked("team", |signed| {
        signed["targets"]["other/b"] = serde_json::to_value(file(b"b")).unwrap();
    });
    assert!(repository.find("team/b").is_ok());
    assert!(matches!(repository.find("other/b"), Err(TrustError::Absent { .. })));
}

#[test]
fn a_bad_delegation_is_an_error_for_what_it_covers_and_for_nothing_else() {
    type Break = fn(&mut Repository);
    let cases: [(Break, Code); 4] = [
        (
            |repository| {
                repository.forge("team", &[STRANGER], |_| ());
                repository.relink();
            },
            Code::WrongKey,
        ),
        (
            |repository| {
                repository.forge_linked("team", |signed| signed["expires"] = "2026-01-01T00:00:00Z".into());
            },
            Code::Expired,
        ),
        (
            |repository| {
                repository.forge("snapshot", &[SNAPSHOT], |signed| {
                    signed["meta"].as_object_mut().unwrap().remove("team.json");
                });
                let meta = repository.describe("snapshot");
                repository.forge("timestamp", &[TIMESTAMP], |signed| {
                    signed["meta"]["snapshot.json"] = meta
                });
            },
            Code::Malformed,
        ),
        (
            |repository| repository.files.add("1.team.json", b"{}".as_slice()),
            Code::DigestMismatch,
        ),
    ];
    for (damage, expected) in cases {
        let mut repository = Repository::new();
        damage(&mut repository);
        assert_eq!(code(repository.find("team/b").unwrap_err()), expected);
        assert!(repository.find("a").is_ok());
    }
}

// 5.6.7
#[test]
fn roles_are_asked_in_order_depth_first() {
    let mut repository = Repository::new();
    add_role(&mut repository, "second", &["team/b", "team/c"]);
    delegate(&mut repository, "targets", "second", &["team/*"], false);
    assert_eq!(repository.find("team/b").unwrap().evidence().role, "second");
    // What is below the first is asked before the next.
    add_role(&mut repository, "deep", &["team/d"]);
    delegate(&mut repository, "second", "deep", &["team/*"], false);
    relink_role(&mut repository, "second");
    let found = repository.find("team/d").unwrap();
    let path: Vec<_> = found.evidence().path.iter().map(|role| role.role.as_str()).collect();
    assert_eq!(path, ["second", "deep"]);
}

#[test]
fn what_lies_deeper_than_any_look_up_goes_is_not_listed() {
    let mut repository = Repository::new();
    let names: Vec<&'static str> = (0..40).map(|depth| &*format!("role{depth}").leak()).collect();
    for name in &names {
        add_role(&mut repository, name, &[&format!("team/{name}")]);
    }
    let above: Vec<&'static str> = std::iter::once("targets").chain(names.iter().copied()).collect();
    for (by, name) in above.iter().zip(&names).rev() {
        delegate(&mut repository, by, name, &["team/role*"], false);
        if *by != "targets" {
            relink_role(&mut repository, by);
        }
    }
    let mut client = repository.client();
    client.fetch_roles().unwrap();
    let listed: Vec<&str> = client.chain().roles().map(|(role, _)| role).collect();
    assert!(repository.find("team/role30").is_ok());
    assert!(matches!(
        repository.find("team/role31"),
        Err(TrustError::Malformed { .. })
    ));
    assert_eq!(listed.last(), Some(&"role30"), "{listed:?}");
}

// 5.6.7.2
#[test]
fn nobody_is_asked_after_a_terminating_role() {
    let mut repository = Repository::new();
    add_role(&mut repository, "second", &["team/c"]);
    delegate(&mut repository, "targets", "second", &["team/*"], true);
    assert!(repository.find("team/c").is_ok());
    assert!(matches!(repository.find("team/b"), Err(TrustError::Absent { .. })));
}

// 5.6.7.1
#[test]
fn cycles_end_and_too_many_roles_are_refused() {
    let mut repository = Repository::new();
    delegate(&mut repository, "team", "team", &["team/*"], false);
    assert!(matches!(repository.find("team/x"), Err(TrustError::Absent { .. })));
    let mut many = Repository::new();
    let names: Vec<&'static str> = (0..limit::DELEGATION_VISITS)
        .map(|number| &*format!("role{number}").leak())
        .collect();
    for name in names {
        add_role(&mut many, name, &[]);
        delegate(&mut many, "targets", name, &["team/*"], false);
    }
    let refused = many.find("team/b").unwrap_err();
    assert!(refused.to_string().contains("more than 32 roles"), "{refused}");
    assert!(many.find("a").is_ok());
}

#[test]
fn hash_prefixes_delegate_too() {
    let mut repository = Repository::new();
    let prefix = Digest::sha256(b"team/b").hex()[..2].to_owned();
    repository.forge_linked("targets", |signed| {
        let team = &mut signed["delegations"]["roles"][1];
        team.as_object_mut().unwrap().remove("paths");
        team["path_hash_prefixes"] = json!([prefix]);
    });
    assert!(repository.find("team/b").is_ok());
    repository.forge_linked("targets", |signed| {
        signed["delegations"]["roles"][1]["path_hash_prefixes"] = json!(["zz"]);
    });
    assert!(matches!(repository.find("team/b"), Err(TrustError::Absent { .. })));
}

// Law of the gate 6.
#[test]
fn embedded_roots_only_extend_the_pinned_chain() {
    let old = Repository::new();
    let mut new = old.clone();
    new.forge("root", &[ROOT], |signed| signed["version"] = 2.into());
    let newer_pin = new.files.get("2.root.json").unwrap().to_vec();
    let known = Known::default();
    // An older embedded root is ignored; the same version with the same bytes is fine.
    assert!(lookup(&newer_pin, &old.files, &known, "a", start()).is_ok());
    assert!(lookup(&newer_pin, &new.files, &known, "a", start()).is_ok());
    // The same version with other bytes is refused, even when it is signed by the right key.
    let mut other = new.clone();
    other.forge("root", &[ROOT], |signed| signed["x"] = 1.into());
    assert_eq!(
        code(lookup(&newer_pin, &other.files, &known, "a", start()).unwrap_err()),
        Code::DigestMismatch
    );
    let knowing = Known {
        roots: vec![newer_pin],
        ..Known::default()
    };
    assert!(lookup(&old.pin(), &old.files, &knowing, "a", start()).is_ok());
    assert_eq!(
        code(lookup(&old.pin(), &other.files, &knowing, "a", start()).unwrap_err()),
        Code::DigestMismatch
    );
}

// Law of the gate 6.
#[test]
fn a_key_absent_from_the_newest_trusted_root_verifies_nothing() {
    let old = Repository::new();
    let mut new = old.clone();
    new.forge("root", &[ROOT], |signed| {
        signed["version"] = 2.into();
        let id = key(12).id();
        signed["keys"][id.as_str()] = key(12).tuf_key().to_json().clone();
        signed["roles"]["targets"]["keyids"] = json!([id]);
    });
    let known = Known {
        roots: vec![new.files.get("2.root.json").unwrap().to_vec()],
        ..Known::default()
    };
    let refused = lookup(&old.pin(), &old.files, &known, "a", start()).unwrap_err();
    assert_eq!(code(refused), Code::Revoked, "it is known who took it away");
    let refused = lookup(&known.roots[0], &old.files, &Known::default(), "a", start()).unwrap_err();
    assert_eq!(code(refused), Code::WrongKey, "nothing is known of it");
}

#[test]
fn the_keys_of_the_seal_role_are_under_the_roots_signature() {
    let repository = Repository::new();
    let client = repository.client();
    let keys = client.role_keys("seal").unwrap();
    let sign = |number| Signature {
        keyid: key(number).id(),
        sig: key(number).sign(b"statement").unwrap(),
    };
    assert_eq!(
        keys.check("seal", b"statement", &[sign(SEAL)]).unwrap(),
        [key(SEAL).id()]
    );
    let refused = keys.check("seal", b"statement", &[sign(TARGETS)]).unwrap_err();
    assert_eq!(code(refused), Code::WrongKey);
    assert_eq!(code(client.role_keys("none").unwrap_err()), Code::WrongKey);
    // The role needs no metadata of its own.
    assert_eq!(client.bundle().get("1.seal.json"), None);
}

#[test]
fn a_rotated_seal_key_is_revoked_for_later_seals() {
    let mut repository = Repository::new();
    let since = days(1);
    repository.change(since, |collection| {
        collection.rotate("seal", &spec(&[15], 1), since).unwrap()
    });
    let keys = repository.client().role_keys("seal").unwrap();
    let sign = |number| Signature {
        keyid: key(number).id(),
        sig: key(number).sign(b"statement").unwrap(),
    };
    let refused = keys.check("seal", b"statement", &[sign(SEAL)]).unwrap_err();
    assert_eq!(
        refused,
        TrustError::Revoked {
            role: "seal".into(),
            key: key(SEAL).id(),
            since: crate::trust::Since::Time(since)
        }
    );
    assert_eq!(code(refused), Code::Revoked);
    assert!(keys.check("seal", b"statement", &[sign(15)]).is_ok());
}

#[test]
fn metadata_by_a_revoked_key_are_revoked() {
    let mut repository = Repository::new();
    repository.keys.insert("team", vec![16]);
    let new = spec(&[16], 1);
    repository.change(days(1), |collection| collection.rotate("team", &new, days(1)).unwrap());
    assert_eq!(repository.find("team/b").unwrap().evidence().keys, [key(16).id()]);
    repository.forge("team", &[TEAM], |_| ());
    repository.relink();
    assert_eq!(code(repository.find("team/b").unwrap_err()), Code::Revoked);
}

// Law of the gate 3.
#[test]
fn a_bare_digest_is_a_present_target_of_its_repository() {
    let mut repository = Repository::new();
    repository.change(start(), |collection| {
        collection
            .put_target("targets", "r/a:v1", file(b"one"), start())
            .unwrap();
        collection
            .put_target("targets", "r/a/b:v1", file(b"other"), start())
            .unwrap();
    });
    let find = |repository: &Repository, content: &[u8]| {
        let found = repository
            .client()
            .target_by_digest("r/a", &Digest::sha256(content), "targets", |_| true);
        found.map(|target| target.name().to_owned())
    };
    assert_eq!(find(&repository, b"one").unwrap(), "r/a:v1");
    assert_eq!(code(find(&repository, b"other").unwrap_err()), Code::Unsigned);
    repository.change(start(), |collection| {
        collection
            .put_target("targets", "r/a:v1", file(b"two"), start())
            .unwrap();
    });
    assert_eq!(
        code(find(&repository, b"one").unwrap_err()),
        Code::Unsigned,
        "no longer present"
    );
    // A role that names the digest without being trusted with the name does not count.
    repository.forge_linked("team", |signed| {
        signed["targets"]["r/a:v9"] = serde_json::to_value(file(b"nine")).unwrap();
    });
    assert_eq!(code(find(&repository, b"nine").unwrap_err()), Code::Unsigned);
}

#[test]
fn a_bare_digest_is_found_by_the_tag_that_the_role_signs_as_well() {
    let mut repository = Repository::new();
    repository.change(start(), |collection| {
        for tag in ["r/a:v1", "r/a:v2", "r/a:v3"] {
            collection.put_target("targets", tag, file(b"one"), start()).unwrap();
        }
    });
    delegate(&mut repository, "targets", "bob", &["r/*"], false);
    let find = |repository: &Repository| {
        let is_bobs = |target: &Target| target.evidence().role == "bob";
        let mut client = repository.client();
        let found = client.target_by_digest("r/a", &Digest::sha256(b"one"), "bob", is_bobs);
        let found = found.unwrap();
        (found.name().to_owned(), found.evidence().role.clone())
    };
    // What prevails is `targets`' word alone.
    add_role(&mut repository, "bob", &[]);
    assert_eq!(find(&repository), ("r/a:v1".to_owned(), "targets".to_owned()));
    // Under v1 bob signs something else, under v2 the very same.
    add_role(&mut repository, "bob", &["r/a:v1"]);
    repository.forge("bob", &[TEAM], |signed| {
        signed["targets"]["r/a:v2"] = serde_json::to_value(file(b"one")).unwrap();
    });
    relink_role(&mut repository, "bob");
    assert_eq!(find(&repository), ("r/a:v2".to_owned(), "bob".to_owned()));
}

#[test]
fn an_image_is_read_as_it_was_signed() {
    let image = ImageTarget {
        document: Digest::sha256(b"index"),
        length: 5,
        platforms: vec![PlatformTarget {
            platform: "linux/amd64".into(),
            manifest: Digest::sha256(b"manifest"),
            tree: Digest::sha256(b"tree"),
        }],
    };
    let mut repository = Repository::new();
    let name = "docker.io/library/alpine:3";
    repository.change(start(), |collection| {
        collection
            .put_target("targets", name, image.to_file(), start())
            .unwrap();
    });
    let found = repository.find(name).unwrap();
    assert_eq!(found.image().unwrap(), image);
    assert_eq!(found.image().unwrap().platform("linux/arm64"), None);
    assert!(found.check(b"index").is_ok());
    assert!(repository.find("a").unwrap().image().is_err());
    let check = |document: &Digest, change: fn(&mut PlatformTarget)| {
        let mut platform = image.platforms[0].clone();
        change(&mut platform);
        image.check(name, document, &platform).map_err(code)
    };
    let other = Digest::sha256(b"other");
    assert_eq!(check(&image.document, |_| ()), Ok(()));
    assert_eq!(check(&other, |_| ()), Err(Code::DigestMismatch));
    assert_eq!(
        check(&image.document, |found| found.platform = "linux/arm64".into()),
        Err(Code::DigestMismatch)
    );
    assert_eq!(
        check(&image.document, |found| found.manifest = Digest::sha256(b"")),
        Err(Code::DigestMismatch)
    );
    assert_eq!(
        check(&image.document, |found| found.tree = Digest::sha256(b"")),
        Err(Code::TreeMismatch)
    );
}

/// Makes `targets` delegate to bins of `bits`, with `names` in theirs, and describes them in the snapshot by version alone.
fn binned(bits: u32, prefix: &str, names: &[&str]) -> Repository {
    let mut repository = Repository::new();
    let bins: SuccinctRoles = serde_json::from_value(json!({
        "keyids": [key(TEAM).id()], "threshold": 1, "bit_length": bits, "name_prefix": prefix,
    }))
    .unwrap();
    repository.forge("targets", &[TARGETS], |signed| {
        let id = key(TEAM).id();
        signed["targets"] = json!({});
        signed["delegations"] = json!({
            "keys": { id.as_str(): key(TEAM).tuf_key().to_json() }, "succinct_roles": &bins,
        });
    });
    let empty = repository.files.get("1.team.json").unwrap().to_vec();
    let mut meta = json!({ "targets.json": { "version": 1 } });
    let mut roles: Vec<_> = names.iter().map(|name| bins.bin_of(name)).collect();
    roles.sort();
    roles.dedup();
    for role in roles {
        repository.files.add(format!("1.{role}.json"), empty.clone());
        let mine = names.iter().filter(|name| bins.bin_of(name) == role);
        let mine: Map<_, _> = mine
            .map(|name| ((*name).to_owned(), serde_json::to_value(file(name.as_bytes())).unwrap()))
            .collect();
        repository.forge(&role, &[TEAM], |signed| signed["targets"] = mine.into());
        meta[format!("{role}.json")] = json!({ "version": 1 });
    }
    repository.forge("snapshot", &[SNAPSHOT], |signed| signed["meta"] = meta);
    let snapshot = repository.describe("snapshot");
    repository.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["meta"]["snapshot.json"] = snapshot
    });
    repository
}

#[test]
fn a_name_is_looked_up_in_its_bin_and_in_no_other() {
    // SHA-256 of "a" begins with ca, of "b" with 3e.
    let repository = binned(8, "bin", &["a", "b"]);
    let found = repository.find("a").unwrap();
    assert!(found.check(b"a").is_ok());
    assert_eq!(found.evidence().role, "bin-ca");
    assert!(found.bundle().get("1.bin-ca.json").is_some() && found.bundle().get("1.bin-3e.json").is_none());
    let again = lookup(&repository.pin(), found.bundle(), &Known::default(), "a", start()).unwrap();
    assert_eq!(again.evidence(), found.evidence());
}

#[test]
fn a_bin_signs_only_what_belongs_in_it() {
    let mut repository = binned(8, "bin", &["a", "b"]);
    repository.forge("bin-3e", &[TEAM], |signed| {
        signed["targets"]["a"] = serde_json::to_value(file(b"other")).unwrap();
    });
    assert!(repository.find("a").unwrap().check(b"a").is_ok());
    // A bin that the snapshot does not name could be withheld: an error for its names, not an answer.
    assert!(matches!(repository.find("c"), Err(TrustError::Malformed { .. })));
    repository.forge("bin-ca", &[STRANGER], |_| ());
    assert!(matches!(repository.find("a"), Err(TrustError::WrongKey { .. })));
    assert!(repository.find("b").is_ok());
}

#[test]
fn a_list_reads_the_bins_that_are_published_and_their_keys_are_known() {
    let repository = binned(32, "bin", &["a", "b"]);
    let mut client = repository.client();
    client.fetch_roles().unwrap();
    let roles: Vec<_> = client.chain().roles().map(|(role, _)| role.to_owned()).collect();
    assert_eq!(roles, ["bin-3e23e816", "bin-ca978112"]);
    assert_eq!(client.role_keys("bin-00000000").unwrap().keyids(), [key(TEAM).id()]);
    assert!(matches!(client.role_keys("bin-0"), Err(TrustError::NoRole { .. })));
}

#[test]
fn a_look_up_among_a_million_targets_in_bins_moves_no_more_than_one_among_few() {
    let (bits, wanted) = (12, "docker.io/library/alpine:3.22");
    let mut repository = binned(bits, "b", &[wanted]);
    let bins: SuccinctRoles = serde_json::from_value(json!({
        "keyids": [key(TEAM).id()], "threshold": 1, "bit_length": bits, "name_prefix": "b",
    }))
    .unwrap();
    let bin = bins.bin_of(wanted);
    // What of a million names falls into the bin, each an image for one platform.
    let names = (0..1_000_000_u32).map(|number| format!("registry.example/team/image-{number:06}:1.0"));
    let image = ImageTarget {
        document: Digest::sha256(b"document"),
        length: 1234,
        platforms: vec![PlatformTarget {
            platform: "linux/amd64".into(),
            manifest: Digest::sha256(b"manifest"),
            tree: Digest::sha256(b"tree"),
        }],
    };
    let image = serde_json::to_value(image.to_file()).unwrap();
    let mine: Vec<_> = names.filter(|name| bins.bin_of(name) == bin).collect();
    assert!(mine.len() > 150, "{}", mine.len());
    repository.forge(&bin, &[TEAM], |signed| {
        signed["targets"]
            .as_object_mut()
            .unwrap()
            .extend(mine.into_iter().map(|name| (name, image.clone())));
    });
    // Names alone: a snapshot may leave out lengths and hashes (4.4).
    repository.forge("snapshot", &[SNAPSHOT], |signed| {
        let meta = signed["meta"].as_object_mut().unwrap();
        meta.extend((0..bins.bins()).map(|number| (format!("{}.json", bins.bin(number)), json!({ "version": 1 }))));
    });
    let snapshot = repository.describe("snapshot");
    repository.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["meta"]["snapshot.json"] = snapshot
    });
    let found = repository.find(wanted).unwrap();
    assert!(found.check(wanted.as_bytes()).is_ok());
    let moved: usize = found.bundle().files().map(|(_, bytes)| bytes.len()).sum();
    assert!(moved < 220_000, "{moved} bytes");
}

/// The role that a look-up of `team/b` asks for first.
fn wanted(chain: &Chain<AtTargets>) -> WantedRole {
    match chain.search("team/b").unwrap() {
        Search::Wanted(role) => role,
        found @ Search::Found(_) => panic!("{found:?}"),
    }
}

#[test]
fn metadata_are_taken_where_they_were_asked_for_and_nowhere_else() {
    let repository = Repository::new();
    let mut newer = Repository::new();
    newer.change(start(), |collection| {
        collection.put_target("team", "team/c", file(b"c"), start()).unwrap();
    });
    let (mut before, mut after) = (repository.client().chain().clone(), newer.client().chain().clone());
    let bytes =
        |repository: &Repository, wanted: &WantedRole| repository.files.get(&wanted.wanted().file).unwrap().to_vec();
    let (old, new) = (wanted(&before), wanted(&after));
    let (first, second) = (bytes(&repository, &old), bytes(&newer, &new));
    for (chain, wanted, bytes) in [(&mut after, &old, &first), (&mut before, &new, &second)] {
        let refused = chain.delegated(wanted.clone(), bytes);
        assert!(matches!(refused, Err(TrustError::Malformed { .. })), "{refused:?}");
        assert!(chain.roles().next().is_none());
    }
    before.delegated(old, &first).unwrap();
    after.delegated(new, &second).unwrap();
}

#[test]
fn keys_that_another_role_gives_count_for_nothing_here() {
    let repository = Repository::new();
    let mut other = Repository::new();
    // The snapshot names versions alone, so that other targets of the same version fit it.
    other.forge("snapshot", &[SNAPSHOT], |signed| {
        for meta in signed["meta"].as_object_mut().unwrap().values_mut() {
            *meta = json!({ "version": meta["version"] });
        }
    });
    let meta = other.describe("snapshot");
    other.forge("timestamp", &[TIMESTAMP], |signed| {
        signed["meta"]["snapshot.json"] = meta;
    });
    let mut stranger = other.clone();
    stranger.forge("targets", &[TARGETS], |signed| {
        let id = key(STRANGER).id();
        signed["delegations"]["keys"][id.as_str()] = key(STRANGER).tuf_key().to_json().clone();
        for role in signed["delegations"]["roles"].as_array_mut().unwrap() {
            role["keyids"] = json!([id]);
        }
    });
    stranger.forge("team", &[STRANGER], |_| {});
    let team = |repository: &Repository| repository.files.get("1.team.json").unwrap().to_vec();
    let theirs = stranger.client().chain().clone();
    let mut ours = other.client().chain().clone();
    assert_eq!(theirs.snapshot().bytes(), ours.snapshot().bytes(), "one snapshot");
    let refused = ours.delegated(wanted(&theirs), &team(&stranger));
    assert!(matches!(refused, Err(TrustError::Malformed { .. })), "{refused:?}");
    let asked = wanted(&ours);
    ours.delegated(asked, &team(&repository)).unwrap();
}
