//! Policies for tools that pull images: skopeo decides by what was exported, and containerd's program asks imgkit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::registry::DockerRegistry;
use common::sigstore::Person;
use common::{imgkit, run};
use serde_json::Value;

/// Somebody with a policy.
struct Owner {
    person: Person,
    registry: DockerRegistry,
}

impl Owner {
    /// Writes policy.yml, with HOST in place of the registry's, and the keys of `a` and `b`.
    fn new(rules: &str) -> Self {
        let owner = Self {
            person: Person::new(),
            registry: DockerRegistry::start(),
        };
        owner.person.key("a");
        owner.person.key("b");
        let head = "version: 1\nroots: {}\nsigners:\n  a: {key: a.pub}\n  b: {key: b.pub}\n  \
                    own: {key: a.pub, names: repository}\n  tagged: {key: a.pub, names: tag}\nrules:\n";
        let rules = rules.replace("HOST", owner.registry.host());
        fs::write(owner.person.path("policy.yml"), format!("{head}{rules}")).unwrap();
        owner
    }

    /// Runs a `policy` command; returns its exit code and its JSON.
    fn policy(&self, args: &[&str]) -> (i32, Value) {
        let mut command = imgkit(&self.person.path(""));
        command.args(["--output", "json", "policy"]).args(args);
        let output = command.current_dir(self.person.path("")).output().unwrap();
        let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code().unwrap(), json)
    }

    /// Exports the policy; returns the rules that were not carried over.
    fn export(&self) -> Vec<String> {
        let (code, json) = self.policy(&["export", "--policy", "policy.yml", "--containers", "containers"]);
        assert_eq!(code, 0, "{json}");
        let lost = json["result"]["notCarriedOver"].as_array().unwrap();
        lost.iter()
            .map(|loss| loss["rule"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Pushes an image with a content of its own, signed by some.
    fn push(&self, name: &str, signers: &[&str]) -> (String, String) {
        let (image, made) = self.person.push(&self.registry, name, name);
        for signer in signers {
            let key = self.person.path(&format!("{signer}.pem"));
            self.person.good(&["sign", &image, "--key", key.to_str().unwrap()]);
        }
        (image, made.digest.to_string())
    }

    /// Copies an image with skopeo under the exported policy.
    fn skopeo(&self, image: &str) -> Skopeo {
        let at = |name: &str| self.person.path(name);
        let out = at("copied");
        let _ = fs::remove_dir_all(&out);
        let mut skopeo = Command::new("skopeo");
        skopeo.arg("--policy").arg(at("containers/policy.json"));
        skopeo.arg("--registries.d").arg(at("containers/registries.d"));
        skopeo.args(["copy", "-q", "--src-tls-verify=false"]);
        let (code, said) = run(skopeo
            .arg(format!("docker://{image}"))
            .arg(format!("dir:{}", out.display())));
        match code {
            0 => Skopeo::Takes,
            _ if said.contains("sigstore disabled") => Skopeo::WantsSignatures,
            _ if said.contains("keyDatas") => Skopeo::CannotRead,
            // By the policy, and for nothing else.
            _ if said.contains("Source image rejected") || said.contains("is rejected by policy") => Skopeo::Refuses,
            _ => panic!("{image}: {said}"),
        }
    }

    /// The requirements of a scope.
    fn scope(&self, name: &str) -> Value {
        let policy = fs::read(self.person.path("containers/policy.json")).unwrap();
        let policy: Value = serde_json::from_slice(&policy).unwrap();
        policy["transports"]["docker"][format!("{}/{name}", self.registry.host())].clone()
    }
}

/// What skopeo makes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skopeo {
    Takes,
    Refuses,
    /// It wants signatures, which Debian 12's build cannot check.
    WantsSignatures,
    /// It is older than the demand for one of several keys, and takes nothing under such a policy.
    CannotRead,
}

#[test]
fn skopeo_takes_what_the_exported_policy_admits_and_nothing_else() {
    let owner = Owner::new(
        "  - {match: HOST/app, signed: a}
  - {match: HOST/team, signed: a}
  - {match: 'HOST/team/**', signed: a}
  - {match: HOST/both, signed: {by: [a, b], threshold: 2}}
  - {match: 'HOST/open:v1', unsigned: accept}
  - {match: 'HOST/young', signed: a, maxAge: 30d}
  - {match: 'HOST/*/wild', signed: a}
",
    );
    let host = owner.registry.host();
    assert_eq!(owner.export(), [format!("{host}/young"), format!("{host}/*/wild")]);
    // What every build of skopeo decides by scopes, and what one that checks signatures decides by these.
    use Skopeo::{Refuses, Takes, WantsSignatures};
    for (name, signers, scopes, verdict) in [
        ("app:v1", &["a"][..], WantsSignatures, Takes),
        ("app:v2", &[], WantsSignatures, Refuses),
        ("app:v3", &["b"], WantsSignatures, Refuses),
        ("app:v4", &["b", "a"], WantsSignatures, Takes),
        ("app/below:v1", &["a"], WantsSignatures, Refuses),
        ("team:v1", &["a"], WantsSignatures, Takes),
        ("team/x/y:v1", &["a"], WantsSignatures, Takes),
        ("team/x/z:v1", &[], WantsSignatures, Refuses),
        ("both:v1", &["a", "b"], WantsSignatures, Takes),
        ("both:v2", &["a"], WantsSignatures, Refuses),
        ("open:v1", &[], Takes, Takes),
        ("open:v2", &["a"], Refuses, Refuses),
        ("open/below:v1", &[], Refuses, Refuses),
        ("young:v1", &["a"], Refuses, Refuses),
        ("x/wild:v1", &["a"], Refuses, Refuses),
        ("unnamed:v1", &["a"], Refuses, Refuses),
    ] {
        let (image, _) = owner.push(name, signers);
        let found = owner.skopeo(&image);
        let expected = if found == WantsSignatures { scopes } else { verdict };
        assert_eq!(found, expected, "{image} {signers:?}");
    }
    // What it wants: the signers' own keys.
    let pem = |name: &str| STANDARD.encode(fs::read(owner.person.path(name)).unwrap());
    let app = owner.scope("app");
    assert_eq!(app[0]["keyData"], pem("a.pub"));
    assert_eq!(app[0]["signedIdentity"]["dockerRepository"], format!("{host}/app"));
    let both = owner.scope("both");
    let keys: BTreeSet<_> = both
        .as_array()
        .unwrap()
        .iter()
        .map(|want| want["keyData"].as_str().unwrap())
        .collect();
    assert_eq!(keys, BTreeSet::from([&*pem("a.pub"), &*pem("b.pub")]));
}

#[test]
fn one_of_several_keys_is_enough_where_skopeo_knows_how_to_ask() {
    let owner = Owner::new("  - {match: 'HOST/**', signed: {by: [a, b], threshold: 1}}\n");
    assert_eq!(owner.export(), [""; 0]);
    for (name, signers, verdict) in [
        ("x:v1", &["a"][..], Skopeo::Takes),
        ("x/y:v2", &["b"], Skopeo::Takes),
        ("x:v3", &[], Skopeo::Refuses),
    ] {
        let (image, _) = owner.push(name, signers);
        let found = owner.skopeo(&image);
        assert!(
            [verdict, Skopeo::CannotRead].contains(&found),
            "{image} {signers:?}: {found:?}"
        );
    }
}

#[test]
fn people_read_what_is_lost_and_whoever_names_no_place_is_told() {
    let owner = Owner::new(
        "  - {match: HOST/app, anyOf: [{signed: a}, {digestIn: ['sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']}]}\n",
    );
    let mut command = imgkit(&owner.person.path(""));
    command.args(["policy", "export", "--policy", "policy.yml", "--containers", "c"]);
    let (code, text) = run(command.current_dir(owner.person.path("")));
    assert_eq!(code, 0, "{text}");
    let text = text.replace(owner.registry.host(), "HOST");
    assert_eq!(
        text,
        "not carried over: HOST/app (policy.yml:9:5): digest sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855: \
         policy.json demands nothing of an image but signatures; the other ways remain\nc\n"
    );
    assert_eq!(owner.policy(&["export", "--policy", "policy.yml"]).0, 2);
    fs::remove_file(owner.person.path("a.pub")).unwrap();
    assert_ne!(
        owner
            .policy(&["export", "--policy", "policy.yml", "--containers", "d"])
            .0,
        0
    );
    assert!(!owner.person.path("d").exists());
}

#[test]
fn a_key_can_be_bound_to_the_names_that_it_signed() {
    let owner = Owner::new(
        "  - {match: HOST/app, signed: own}
  - {match: HOST/tag, signed: tagged}
  - {match: 'HOST/any/*', signed: a}
",
    );
    let explain = |image: &str| {
        let (code, json) = owner.policy(&["explain", "--policy", "policy.yml", image]);
        (
            code,
            json["result"][0]["refusals"][0]["code"].as_str().map(str::to_owned),
            json,
        )
    };
    let host = owner.registry.host();
    let (image, _) = owner.push("app:v1", &["a"]);
    let (code, _, json) = explain(&image);
    assert_eq!(code, 0, "{json}");
    // The same image with all that is beside it, under other names.
    for (to, admitted) in [("app:v2", true), ("tag:v1", false), ("any/x:v1", true)] {
        let to = format!("{host}/{to}");
        owner.person.good(&["copy", &image, &to]);
        let (code, _, json) = explain(&to);
        assert_eq!(code, i32::from(!admitted), "{to}: {json}");
        if !admitted {
            let text = json.to_string();
            assert!(
                text.contains("NAME") && text.contains(&format!("it names {host}/app:v1, not {host}/tag:v1")),
                "{text}"
            );
        }
    }
    // Throw-away keys show the same.
    let (code, json) = owner.policy(&["prove", "policy.yml"]);
    assert_eq!(code, 0, "{json}");
    // Signed under the tag as well, or under another.
    let (image, _) = owner.push("tag:v2", &[]);
    let key = owner.person.path("a.pem");
    let sign = |identity: &str| {
        let identity = format!("{host}/{identity}");
        owner.person.good(&[
            "sign",
            &image,
            "--key",
            key.to_str().unwrap(),
            "--identity",
            &identity,
            "--form",
            "simple",
        ]);
    };
    sign("tag:v1");
    assert_eq!(explain(&image).0, 1);
    sign("tag:v2");
    assert_eq!(explain(&image).0, 0);
}

#[test]
fn what_is_imported_again_admits_what_was_signed_and_keeps_the_keys_beside_it() {
    let owner = Owner::new(
        "  - {match: HOST/app, signed: a}\n  - {match: 'HOST/team/**', signed: b}\n  - {match: HOST/team, signed: b}\n",
    );
    assert_eq!(owner.export(), [""; 0]);
    let import = ["import", "containers", "containers/policy.json"];
    let (code, json) = owner.policy(&[&import[..], &["--out", "again/p.yml"]].concat());
    assert_eq!(code, 3, "{json}");
    fs::create_dir(owner.person.path("again")).unwrap();
    let (code, json) = owner.policy(&[&import[..], &["--out", "again/p.yml"]].concat());
    assert_eq!(code, 0, "{json}");
    assert_eq!(json["result"]["notCarriedOver"], serde_json::json!([]));
    assert_eq!(fs::read_dir(owner.person.path("again")).unwrap().count(), 3);
    for (name, signers, admitted) in [
        ("app:v1", &["a"][..], true),
        ("app:v2", &["b"], false),
        ("app/x:v1", &["a"], false),
        ("team/x:v1", &["b"], true),
        ("team/x:v2", &[], false),
        ("other:v1", &["a"], false),
    ] {
        let (image, _) = owner.push(name, signers);
        let (code, json) = owner.policy(&["explain", "--policy", "again/p.yml", &image]);
        assert_eq!(code, i32::from(!admitted), "{image} {signers:?}: {json}");
    }
    // Printed, it says which keys it needs.
    let mut command = imgkit(&owner.person.path(""));
    let (code, text) = run(command.current_dir(owner.person.path("")).arg("policy").args(import));
    assert_eq!(code, 0);
    assert_eq!(
        text.matches("with --out it is written beside the policy").count(),
        2,
        "{text}"
    );
}

/// containerd's contract: `-name`, `-digest`, a descriptor on standard input, the reason on standard output, exit 0 admits.
#[test]
fn the_program_for_containerd_decides_as_the_policy_does() {
    let owner = Owner::new("  - {match: HOST/app, signed: a}\n");
    let (signed, digest) = owner.push("app:v1", &["a"]);
    let (unsigned, other) = owner.push("app:v2", &[]);
    let (code, json) = owner.policy(&["export", "--policy", "policy.yml", "--containerd", "it's here"]);
    assert_eq!(code, 0, "{json}");
    let dir = owner.person.path("it's here");
    let config = fs::read_to_string(dir.join("imgkit.toml")).unwrap();
    let bin = dir.join("bin").canonicalize().unwrap();
    assert!(config.contains(&format!("bin_dir = \"{}\"", bin.display())), "{config}");
    // containerd runs all that is there.
    assert_eq!(fs::read_dir(&bin).unwrap().count(), 1);
    let judge = |name: &str, digest: &str| {
        let mut program = Command::new(bin.join("imgkit-verifier"));
        program.args([
            "-name",
            name,
            "-digest",
            digest,
            "-stdin-media-type",
            "application/vnd.oci.descriptor.v1+json",
        ]);
        program.env_clear().env("HOME", owner.person.path("")).current_dir("/");
        run(&mut program)
    };
    let (code, said) = judge(&signed, &digest);
    assert_eq!(code, 0, "{said}");
    let (code, said) = judge(&unsigned, &other);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("UNSIGNED"), "{said}");
    assert_eq!(judge(&signed, &other).0, 1);
    // A name may say the digest: the one that is going to be fetched.
    let at = |digest: &str| format!("{signed}@{digest}");
    let (code, said) = judge(&at(&digest), &digest);
    assert_eq!(code, 0, "{said}");
    for asked in [&*other, ""] {
        let (code, said) = judge(&at(&digest), asked);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("names another digest"), "{said}");
    }
    assert_eq!(judge("s.example/app:v1", &digest).0, 1);
    assert_ne!(judge("--help", &digest).0, 0);
    assert_ne!(judge("", &digest).0, 0);
}
