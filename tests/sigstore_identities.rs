//! Signing by an identity: against services on the loopback, with what they make verified by us and by PyPI's client; and what they do
//! wrong, after which nothing is written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;
#[path = "common/sigstore_services.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod sigstore_services;
#[path = "common/virtual_sigstore.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod virtual_sigstore;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, LazyLock};

use common::home::answer;
use common::registry::DockerRegistry;
use common::sigstore::{Person, beside, blob, document, repository};
use common::sigstore_operator::Operator;
use common::{imgkit, run};
use imgkit::digest::Digest;
use serde_json::{Value, json};
use sigstore_services::{Faults, ISSUER, Services, now};
use tempfile::TempDir;
use virtual_sigstore::VirtualSigstore;

const ME: &str = "me@example.com";

/// Who signs, and by which services.
struct Desk {
    home: TempDir,
    sigstore: Arc<VirtualSigstore>,
    services: Services,
}

impl Desk {
    fn new() -> Self {
        let sigstore = Arc::new(VirtualSigstore::new());
        let desk = Self {
            home: tempfile::tempdir().unwrap(),
            services: Services::start(&sigstore),
            sigstore,
        };
        desk.put("file", "what is signed");
        desk.put("other", "what is not");
        desk.put("root.json", &desk.sigstore.trusted_root().to_string());
        desk.put("token", &format!("{}\n", desk.services.token(ME)));
        for version in [1, 2] {
            desk.put(
                &format!("config{version}.json"),
                &desk.services.config(version).to_string(),
            );
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = imgkit(self.home.path());
        command.current_dir(self.home.path());
        command.args(["--output", "json", "sigstore"]).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, Value) {
        answer(&self.command(arguments).output().unwrap())
    }

    /// Signs the file; `config1.json` and the token of the desk count unless others are named.
    fn sign(&self, more: &[&str]) -> (i32, Value) {
        let _ = fs::remove_file(self.path("bundle.json"));
        let arguments = [
            "sign-blob",
            "file",
            "--bundle",
            "bundle.json",
            "--trusted-root",
            "root.json",
        ];
        self.run(&[&arguments[..], more].concat())
    }

    fn verify(&self, file: &str, identity: &str) -> i32 {
        let who = ["--certificate-identity", identity, "--certificate-oidc-issuer", ISSUER];
        let what = [
            "verify-bundle",
            file,
            "--bundle",
            "bundle.json",
            "--trusted-root",
            "root.json",
        ];
        self.run(&[&what[..], &who].concat()).0
    }
}

const TOKEN: [&str; 2] = ["--identity-token", "token"];

fn with_config(version: u32) -> Vec<&'static str> {
    let config = if version == 1 { "config1.json" } else { "config2.json" };
    [&TOKEN[..], &["--signing-config", config]].concat()
}

#[test]
fn a_file_is_signed_in_logs_of_either_version() {
    let desk = Desk::new();
    for (version, kind, witnesses) in [(1, "hashedrekord 0.0.1", 2), (2, "hashedrekord 0.0.2", 1)] {
        let (code, json) = desk.sign(&with_config(version));
        assert_eq!(code, 0, "{json}");
        let result = &json["result"];
        assert_eq!((&result["identity"], &result["issuer"]), (&json!(ME), &json!(ISSUER)));
        assert_eq!(result["entries"][0]["kind"], kind);
        assert_eq!(result["times"].as_array().unwrap().len(), witnesses);
        assert_eq!(result["trustedRootFrom"]["kind"], "file");
        assert_eq!(desk.verify("file", ME), 0);
        assert_eq!(desk.verify("other", ME), 1);
        assert_eq!(desk.verify("file", "other@example.com"), 1);
        let bundle: Value = serde_json::from_slice(&fs::read(desk.path("bundle.json")).unwrap()).unwrap();
        assert_eq!(bundle["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
    }
    // Each signature is by a key of its own, and the log grows.
    let requests = desk.services.requests();
    let keys: Vec<Value> = requests
        .iter()
        .filter(|request| request.path.ends_with("signingCert"))
        .map(|request| serde_json::from_slice::<Value>(&request.body).unwrap()["publicKeyRequest"]["publicKey"].clone())
        .collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn the_services_are_named_or_those_of_the_instance_that_is_kept() {
    let desk = Desk::new();
    let (fulcio, rekor) = (desk.services.url("/fulcio"), desk.services.url("/rekor1"));
    let urls = ["--fulcio-url", &fulcio, "--rekor-url", &rekor];
    let (code, json) = desk.sign(&[&TOKEN[..], &urls].concat());
    assert_eq!(code, 0, "{json}");
    // Without a time-stamp authority the log's promise is the only witness.
    assert_eq!(json["result"]["times"].as_array().unwrap().len(), 1);
    assert_eq!(desk.verify("file", ME), 0);
    let (rekor, stamps) = (
        desk.services.url("/rekor2/"),
        desk.services.url("/stamps/api/v1/timestamp"),
    );
    let urls = [
        "--fulcio-url",
        &fulcio,
        "--rekor-url",
        &rekor,
        "--rekor-version",
        "2",
        "--timestamp-url",
        &stamps,
    ];
    assert_eq!(desk.sign(&[&TOKEN[..], &urls].concat()).0, 0);
    // A log of version 2 without a witness of the time is not enough.
    let (code, json) = desk.sign(&[&TOKEN[..], &urls[..6]].concat());
    assert_eq!((code, &json["refusals"][0]["code"]), (1, &json!("TIMESTAMP")), "{json}");
    assert!(!desk.path("bundle.json").exists());
    // Nobody is asked whom nobody named: what the public instance logs is public for ever.
    let (code, json) = desk.sign(&TOKEN);
    assert_eq!(code, 2, "{json}");
    // An instance that is kept is named once and for all, with whom to trust.
    let operator = Operator::new();
    operator.publish("trusted_root.json", &desk.sigstore.trusted_root().to_string());
    operator.publish("signing_config.v0.2.json", &desk.services.config(2).to_string());
    let initialize = ["initialize", "--mirror", &operator.url(), "--root", &operator.root()];
    assert_eq!(desk.run(&initialize).0, 0);
    let sign = ["sign-blob", "file", "--bundle", "bundle.json"];
    let (code, json) = desk.run(&[&sign[..], &TOKEN].concat());
    assert_eq!(code, 0, "{json}");
    assert_eq!(json["result"]["entries"][0]["kind"], "hashedrekord 0.0.2");
    assert_eq!(json["result"]["trustedRootFrom"]["mirror"], json!(operator.url()));
    assert_eq!(desk.verify("file", ME), 0);
}

#[test]
fn the_token_is_shown_to_the_authority_and_nobody_else() {
    let (desk, other) = (Desk::new(), Services::start(&Arc::new(VirtualSigstore::new())));
    desk.services.set(Faults {
        elsewhere: Some(other.url("")),
        ..Faults::default()
    });
    let (code, json) = desk.sign(&with_config(1));
    assert_eq!(code, 3, "{json}");
    assert!(other.requests().is_empty());
    desk.services.set(Faults::default());
    assert_eq!(desk.sign(&with_config(1)).0, 0);
    let token = desk.services.token(ME);
    let secret = token.split('.').nth(1).unwrap();
    let claims = |body: &[u8]| String::from_utf8_lossy(body).contains(&secret[..40]);
    let seen: Vec<String> = desk
        .services
        .requests()
        .into_iter()
        .filter(|request| claims(&request.body))
        .map(|request| request.path)
        .collect();
    assert!(
        !seen.is_empty() && seen.iter().all(|path| path.starts_with("/fulcio/")),
        "{seen:?}"
    );
}

#[test]
fn a_token_comes_from_a_file_standard_input_or_the_environment_and_is_never_shown() {
    let desk = Desk::new();
    let token = desk.services.token(ME);
    let shown = |output: &Output| {
        let all = String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
        token.split('.').any(|part| all.contains(part))
    };
    let sign = [
        "sign-bundle",
        "file",
        "--bundle",
        "bundle.json",
        "--trusted-root",
        "root.json",
        "--signing-config",
        "config1.json",
    ];
    let run = |more: &[&str], variable: &str, stdin: bool| {
        let mut command = desk.command(&[&sign[..], more].concat());
        if stdin {
            command.stdin(fs::File::open(desk.path("token")).unwrap());
        }
        let output = command.env(variable, &token).output().unwrap();
        assert!(!shown(&output), "{output:?}");
        output.status.code().unwrap()
    };
    assert_eq!(run(&["--identity-token", "-"], "NOTHING", true), 0);
    assert_eq!(run(&["--identity-token", "env:CI_TOKEN"], "CI_TOKEN", false), 0);
    assert_eq!(run(&[], "SIGSTORE_ID_TOKEN", false), 0);
    assert_eq!(run(&["--identity-token", "env:OTHER"], "CI_TOKEN", false), 1);
    assert_eq!(run(&[], "CI_TOKEN", false), 1);
    // On the command line everybody reads it.
    let output = desk
        .command(&[&sign[..], &["--identity-token", &token]].concat())
        .output()
        .unwrap();
    assert!(!shown(&output) && output.status.code() == Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("list of processes"));
    // Services that quote it are not quoted.
    for status in [400, 401, 418] {
        desk.services.set(Faults {
            authority: Some(status),
            ..Faults::default()
        });
        assert_eq!(run(&TOKEN, "NOTHING", false), 1, "{status}");
    }
}

#[test]
fn tokens_that_do_not_count_are_told_so() {
    let desk = Desk::new();
    let claims =
        |exp: i64, audience: &str| json!({ "iss": ISSUER, "aud": audience, "sub": "s", "email": ME, "exp": exp });
    for (what, token, code) in [
        ("expired", desk.services.token_of(&claims(now() - 1, "sigstore")), 2),
        ("none", "secret".to_owned(), 2),
        (
            "another audience",
            desk.services.token_of(&claims(now() + 600, "elsewhere")),
            3,
        ),
        ("another issuer's", Desk::new().services.token(ME), 3),
    ] {
        desk.put("bad", &token);
        let (found, json) = desk.sign(&["--identity-token", "bad", "--signing-config", "config1.json"]);
        assert_eq!(found, code, "{what}: {json}");
        let problem = json["error"]["problem"].as_str().unwrap();
        assert!(
            code == 2 || problem.contains("refuses the identity token (401"),
            "{what}: {problem}"
        );
        assert!(!problem.contains("secret"));
        assert!(!desk.path("bundle.json").exists(), "{what}");
    }
}

#[test]
fn services_that_do_not_answer_end_in_not_knowing_and_nothing_is_written() {
    let desk = Desk::new();
    type Fault = fn(u16) -> Faults;
    let faults: [(&str, Fault); 3] = [
        ("authority", |status| Faults {
            authority: Some(status),
            ..Faults::default()
        }),
        ("log", |status| Faults {
            log: Some(status),
            ..Faults::default()
        }),
        ("stamps", |status| Faults {
            stamps: Some(status),
            ..Faults::default()
        }),
    ];
    for (service, fault) in faults {
        for status in [403, 404, 409, 503] {
            desk.services.set(fault(status));
            let (code, json) = desk.sign(&with_config(1));
            assert_eq!(
                (code, &json["verdict"]),
                (3, &json!("unavailable")),
                "{service} {status}: {json}"
            );
            assert!(!desk.path("bundle.json").exists(), "{service} {status}");
        }
    }
    desk.services.set(Faults {
        page: true,
        ..Faults::default()
    });
    let (code, json) = desk.sign(&with_config(1));
    assert_eq!(code, 3, "{json}");
    desk.services.set(Faults::default());
    let down = [
        "--fulcio-url",
        "http://127.0.0.1:1",
        "--rekor-url",
        "http://127.0.0.1:1",
    ];
    assert_eq!(desk.sign(&[&TOKEN[..], &down].concat()).0, 3);
    assert_eq!(desk.sign(&with_config(1)).0, 0);
    // What the log was sent after the authority did not answer: nothing.
    let before = desk.services.requests().len();
    desk.services.set(Faults {
        authority: Some(403),
        ..Faults::default()
    });
    desk.sign(&with_config(1));
    assert_eq!(desk.services.requests().len(), before + 1);
}

#[test]
fn what_services_do_wrong_is_refused_and_nothing_is_written() {
    let desk = Desk::new();
    let all = Faults::default;
    let cases: [(&str, Faults, &str, u32); 7] = [
        (
            "another key",
            Faults {
                other_key: true,
                ..all()
            },
            "CERTIFICATE",
            1,
        ),
        (
            "another identity",
            Faults {
                identity: Some("other@example.com".to_owned()),
                ..all()
            },
            "IDENTITY",
            1,
        ),
        ("no SCT", Faults { no_sct: true, ..all() }, "CERTIFICATE", 1),
        (
            "another entry",
            Faults {
                other_entry: true,
                ..all()
            },
            "DIGEST_MISMATCH",
            1,
        ),
        (
            "another entry, version 2",
            Faults {
                other_entry: true,
                ..all()
            },
            "DIGEST_MISMATCH",
            2,
        ),
        (
            "another stamp",
            Faults {
                other_stamp: true,
                ..all()
            },
            "TIMESTAMP",
            1,
        ),
        (
            "another stamp, version 2",
            Faults {
                other_stamp: true,
                ..all()
            },
            "TIMESTAMP",
            2,
        ),
    ];
    for (what, faults, expected, version) in cases {
        desk.services.set(all());
        assert_eq!(desk.sign(&with_config(version)).0, 0, "{what}: as it should be");
        desk.services.set(faults);
        let (code, json) = desk.sign(&with_config(version));
        assert_eq!(
            (code, &json["refusals"][0]["code"]),
            (1, &json!(expected)),
            "{what}: {json}"
        );
        assert!(!desk.path("bundle.json").exists(), "{what}");
    }
    // A statement's entry, which has the hash of its payload.
    desk.services.set(all());
    let (registry, person) = (DockerRegistry::start(), Person::new());
    let (name, _) = person.push(&registry, "a/app:v1", "x");
    let sign = [&["sign", &name, "--trusted-root", "root.json"], &with_config(1)[..]].concat();
    assert_eq!(desk.run(&sign).0, 0);
    desk.services.set(Faults {
        other_entry: true,
        ..all()
    });
    assert_eq!(desk.run(&sign).0, 1);
    // Nothing of a wrong certificate's reaches a log.
    desk.services.set(Faults {
        other_key: true,
        ..all()
    });
    let before = desk.services.requests().len();
    desk.sign(&with_config(1));
    assert_eq!(desk.services.requests().len(), before + 1);
    // The services of somebody else, whom nobody here trusts.
    desk.services.set(all());
    desk.put("root.json", &VirtualSigstore::new().trusted_root().to_string());
    assert_eq!(desk.sign(&with_config(1)).0, 1);
    assert!(!desk.path("bundle.json").exists());
}

#[test]
fn who_signs_can_be_demanded() {
    let desk = Desk::new();
    let who = |identity: &'static str| {
        let named = ["--certificate-identity", identity, "--certificate-oidc-issuer", ISSUER];
        desk.sign(&[&with_config(1)[..], &named].concat()).0
    };
    assert_eq!(who(ME), 0);
    assert_eq!(who("other@example.com"), 1);
    assert!(!desk.path("bundle.json").exists());
}

static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| common::python("python-sigstore", &["sigstore==4.5.1"]));

#[test]
fn pypis_client_accepts_what_an_identity_signed_and_nothing_else() {
    let desk = Desk::new();
    let by_python = |identity: &str, file: &str| {
        let mut command = Command::new(&*PYTHON);
        command.current_dir(desk.home.path()).env("HOME", desk.home.path());
        command.args([
            "-m",
            "sigstore",
            "--trust-config",
            "trust.json",
            "verify",
            "identity",
            "--offline",
        ]);
        command.args([
            "--cert-identity",
            identity,
            "--cert-oidc-issuer",
            ISSUER,
            "--bundle",
            "bundle.json",
            file,
        ]);
        run(&mut command)
    };
    let trust = json!({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": desk.sigstore.trusted_root(), "signingConfig": desk.services.config(1),
    });
    desk.put("trust.json", &trust.to_string());
    for version in [1, 2] {
        assert_eq!(desk.sign(&with_config(version)).0, 0);
        let (code, said) = by_python(ME, "file");
        assert_eq!(code, 0, "{version}: {said}");
        assert_ne!(by_python("other@example.com", "file").0, 0, "{version}");
        assert_ne!(by_python(ME, "other").0, 0, "{version}");
    }
}

/// What lies beside an image, by the list that the registry has no interface for.
fn bundles(name: &str, digest: &imgkit::oci::Descriptor) -> Vec<Vec<u8>> {
    let list = document(&beside(name, digest, ""));
    let entries = list["manifests"].as_array().unwrap().iter();
    entries
        .map(|entry| {
            let manifest = document(&format!("{}@{}", repository(name), entry["digest"].as_str().unwrap()));
            blob(name, &manifest["layers"][0])
        })
        .collect()
}

#[test]
fn images_are_signed_and_attested_by_an_identity() {
    let (registry, desk, person) = (DockerRegistry::start(), Desk::new(), Person::new());
    let (name, made) = person.push(&registry, "a/app:v1", "x");
    desk.put("predicate.json", r#"{"a":1}"#);
    let digest = made.digest.to_string();
    let by = [&with_config(1)[..], &["--trusted-root", "root.json"]].concat();
    let run = |arguments: &[&str]| desk.run(&[arguments, &by].concat());
    let (code, json) = run(&["sign", &name]);
    assert_eq!(code, 0, "{json}");
    assert_eq!(
        (&json["result"]["identity"], &json["result"]["written"]),
        (&json!(ME), &json!(["bundle"]))
    );
    assert_eq!(
        run(&["attest", &name, "--predicate", "predicate.json", "--type", "custom"]).0,
        0
    );
    assert_eq!(run(&["attest", &name, "--tree"]).0, 0);
    let attached = bundles(&name, &made);
    assert_eq!(attached.len(), 3);
    for bundle in attached {
        fs::write(desk.path("bundle.json"), bundle).unwrap();
        assert_eq!(desk.verify(&digest, ME), 0);
        assert_eq!(desk.verify(&Digest::sha256(b"another image").to_string(), ME), 1);
    }
    let by = |place: &str, identity: &str, more: &[&str]| {
        let who = ["--certificate-identity", identity, "--certificate-oidc-issuer", ISSUER];
        let (code, json) = desk.run(&[&["verify", place, "--trusted-root", "root.json"], &who[..], more].concat());
        (
            code,
            json["refusals"][0]["code"].as_str().unwrap_or("none").to_owned(),
            json,
        )
    };
    let layout = format!("oci:{}:r.example/app:v1", desk.path("layout").display());
    assert_eq!(desk.run(&["copy", &name, &layout]).0, 0);
    for place in [&name, &layout] {
        let (code, _, json) = by(place, ME, &[]);
        assert_eq!(code, 0, "{place}: {json}");
        let result = &json["result"];
        assert_eq!(result["signatures"][0]["certificate"]["identity"], ME, "{json}");
        assert_eq!(result["trustedRootFrom"]["kind"], "file");
        for kind in ["custom", "tree"] {
            assert_eq!(by(place, ME, &["--type", kind]).0, 0, "{place} {kind}");
        }
        assert_eq!(by(place, ME, &["--min-logs", "2"]).1, "THRESHOLD", "{place}");
        assert_eq!(by(place, "other@example.com", &[]).1, "IDENTITY", "{place}");
        assert_eq!(by(place, ME, &["--type", "vsa"]).1, "UNSIGNED", "{place}");
    }
    let who = [
        "--certificate-identity",
        ME,
        "--certificate-oidc-issuer",
        ISSUER,
        "--trusted-root",
        "root.json",
    ];
    let tree = desk.run(&[&["tree", &layout], &who[..]].concat());
    let attached = tree.1["result"]["documents"][0]["attached"].as_array().unwrap().clone();
    assert_eq!(attached.len(), 3);
    assert!(
        attached.iter().all(|piece| piece["certificate"]["identity"] == ME),
        "{attached:?}"
    );
    let other = [
        &["tree", &layout],
        &["--certificate-identity", "other@example.com"],
        &who[2..],
    ]
    .concat();
    let others = desk.run(&other).1["result"]["documents"][0]["attached"]
        .as_array()
        .unwrap()
        .clone();
    assert!(others.len() == 3 && others.iter().all(|piece| piece["certificate"].is_null()));
    // Half an identity is nobody's.
    assert_eq!(desk.run(&["verify", &layout, "--certificate-identity", ME]).0, 2);
    assert_eq!(desk.run(&["verify", &layout]).0, 2);
    // An image that a key signed is not signed by anybody's name, nor the other way round.
    let (private, public) = person.key("k");
    let (keyed, _) = person.push(&registry, "a/keyed:v1", "y");
    person.good(&["sign", &keyed, "--no-tree", "--key", &private]);
    assert_eq!(by(&keyed, ME, &[]).0, 1);
    assert_eq!(person.refused(&["verify", &name, "--key", &public]), "WRONG_KEY");
    // Only cosign 2 looks for identities under `.sig`; nothing is put there.
    for more in [["--form", "both"], ["--platform", "linux/amd64"]] {
        assert_eq!(run(&["sign", &name, more[0], more[1]]).0, 2, "{more:?}");
    }
    // A name is in the statement where one is wanted.
    let (named, _) = person.push(&registry, "a/named:v1", "z");
    assert_eq!(run(&["sign", &named, "--identity", &named]).0, 0);
    let signed = by(&named, ME, &[]).2;
    assert_eq!(
        signed["result"]["signatures"][0]["signed"]["names"][0], *named,
        "{signed}"
    );
    // What does not verify is not put beside the image.
    desk.services.set(Faults {
        no_sct: true,
        ..Faults::default()
    });
    assert_eq!(run(&["sign", &name]).0, 1);
    desk.services.set(Faults {
        log: Some(503),
        ..Faults::default()
    });
    assert_eq!(run(&["sign", &name]).0, 3);
    assert_eq!(bundles(&name, &made).len(), 3);
}
