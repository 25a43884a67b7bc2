//! Collections in a real registry (Debian's docker-registry): their life, publishers who meet, lines that break, registries that lie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::node::{NOW, Node};
use common::owner::{key, now};
use common::places::{Deed, Gate, User};
use common::registry::DockerRegistry;
use common::server::{Answer, Server};
use imgkit::store::registry::{Credentials, Registry};
use imgkit::store::trust_place::Outcome;
use imgkit::store::{TrustOci, TrustPlace};
use imgkit::trust::edit::{Collection, RoleSpec};
use imgkit::trust::{Client, Known, plain_file};
use serde_json::{Value, json};

/// What a registry makes of the answer for a path.
type Lie = Arc<dyn Fn(&str, Answer) -> Answer + Send + Sync>;

const REPOSITORY: &str = "team/trust";

fn place(host: &str) -> TrustPlace {
    let registry = Arc::new(Registry::new(Credentials::default()).unwrap());
    TrustOci::new(registry, format!("oci://{host}/{REPOSITORY}").parse().unwrap()).into()
}

/// Publishes a new collection whose every role has the key 7; returns its root.
fn create(host: &str) -> Vec<u8> {
    let spec = RoleSpec {
        keys: vec![key(7).tuf_key()],
        threshold: 1,
    };
    let made = Collection::new(&spec, &spec, &spec, &spec, now()).unwrap();
    let made = made.sign(&[&key(7)], now()).unwrap();
    assert_eq!(
        place(host).publisher().unwrap().publish(&made).unwrap(),
        Outcome::Published
    );
    made.files().get("1.root.json").unwrap().to_vec()
}

/// Signs a name; returns how often others were first.
fn put(place: &TrustPlace, pin: &[u8], name: &str) -> usize {
    for overtaken in 0.. {
        let publisher = place.publisher().unwrap();
        let mut collection = Collection::load(pin, place).unwrap();
        let file = plain_file(name, name.as_bytes()).unwrap();
        collection.put_target("targets", name, file, now()).unwrap();
        let publication = collection.sign(&[&key(7)], now()).unwrap();
        if publisher.publish(&publication).unwrap() == Outcome::Published {
            return overtaken;
        }
    }
    unreachable!()
}

fn names(host: &str, pin: &[u8]) -> BTreeSet<String> {
    let place = place(host);
    let client = Client::refresh(pin, &Known::default(), &place, now()).unwrap();
    client.chain().targets().body().targets.keys().cloned().collect()
}

#[test]
fn a_collection_lives_in_a_registry_from_first_to_last() {
    let registry = DockerRegistry::start();
    let user = User::new();
    let at = format!("oci://{}/{REPOSITORY}", registry.host());
    let made = user.good(&["init", &at, "--role", "ci=spec/*"]);
    assert_eq!(made["place"], json!(at));
    assert_eq!(user.run(&["init", &at]).0, 2, "there is one already");
    let file = user.file("f", "x");
    let here = ["--collection", &at];
    for (name, role) in [("spec/a", "ci"), ("b", "targets")] {
        user.good(&[&["sign", "--file", &file, "--name", name, "--role", role], &here[..]].concat());
        user.good(&[&["verify", name, "--file", &file], &here[..]].concat());
    }
    assert_eq!(user.names(&here), ["b", "spec/a"]);
    assert_eq!(
        user.good(&[&["status"], &here[..]].concat())["roles"][0]["state"],
        "good"
    );
    let later = "2027-02-10T00:00:00Z";
    assert_eq!(user.run(&[&["status", "--at", later], &here[..]].concat()).0, 1);
    user.good(&[&["renew", "--at", later], &here[..]].concat());
    user.good(&[&["renew", "root", "--at", later], &here[..]].concat());
    user.good(&[&["verify", "b", "--file", &file, "--at", later], &here[..]].concat());

    // Somebody else, who has the root alone, and had the collection when it had another one.
    let other = User::new();
    let pin = other.file("root.json", &fs::read_to_string(made["pin"].as_str().unwrap()).unwrap());
    let theirs = ["--collection", &at, "--pin", &pin];
    other.good(&[&["verify", "spec/a", "--file", &file, "--at", later], &theirs[..]].concat());
    let changed = user.file("g", "y");
    let changed = [&["verify", "spec/a", "--file", &changed, "--at", later], &theirs[..]].concat();
    assert_eq!(other.refused(&changed), "DIGEST_MISMATCH");
    assert_eq!(
        other
            .run(&[&["sign", "--file", &file, "--name", "c"], &theirs[..]].concat())
            .0,
        2,
        "no keys"
    );
}

#[test]
fn old_versions_of_every_file_stay() {
    let registry = DockerRegistry::start();
    let pin = create(registry.host());
    let here = place(registry.host());
    for number in 0..6 {
        put(&here, &pin, &format!("n{number}"));
    }
    let fresh = place(registry.host());
    for version in 1..=7 {
        let bytes = imgkit::trust::Source::file(&mut &fresh, &format!("{version}.targets.json"), 1 << 20).unwrap();
        let json: Value = serde_json::from_slice(&bytes.unwrap()).unwrap();
        assert_eq!(json["signed"]["version"], version);
    }
    let none = |name: &str| {
        imgkit::trust::Source::file(&mut &fresh, name, 1 << 20)
            .unwrap()
            .is_none()
    };
    assert!(none("8.targets.json") && none("2.root.json") && none("1.nobody.json"));
}

#[test]
fn a_build_takes_its_roots_metadata_from_the_registry() {
    let registry = DockerRegistry::start();
    let node = Node::new();
    let at = format!("oci://{}/{REPOSITORY}", registry.host());
    let made = node.good(&["trust", "init", &at, "--at", NOW]);
    let names = ["boot", "init", "kernel", "svc"].map(|name| format!("local.test/{name}:v1"));
    let mut sign = vec!["trust", "sign", "--at", NOW, "--collection", &at];
    sign.extend(names.iter().map(String::as_str));
    node.good(&sign);
    let pin = fs::read(made["pin"].as_str().unwrap()).unwrap();
    fs::write(node.path("keys/platform/root.json"), pin).unwrap();
    let key = made["roles"]
        .as_array()
        .unwrap()
        .iter()
        .find(|role| role["role"] == "seal")
        .unwrap();
    let key = key["keys"][0].as_str().unwrap();
    let build = Node::build_args("out", &["--seal-key", key]);
    let without = node.run(&build);
    assert_eq!(
        without.code, 3,
        "the directory has another collection: {}",
        without.json
    );
    node.good(&Node::build_args("out", &["--seal-key", key, "--collection", &at]));
    let verified = node.verify("out/node.qcow2");
    assert_eq!(verified.code, 0, "{}", verified.json);
    drop(registry);
    let gone = node.run(&Node::build_args("out2", &["--seal-key", key, "--collection", &at]));
    assert_eq!((gone.code, &gone.json["verdict"]), (3, &json!("unavailable")));
}

#[test]
fn publishers_at_once_lose_no_update_in_fifty_rounds() {
    let registry = DockerRegistry::start();
    let pin = create(registry.host());
    let overtaken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for publisher in ["a", "b"] {
            let (host, pin, overtaken) = (registry.host(), &pin, &overtaken);
            scope.spawn(move || {
                let place = place(host);
                for round in 0..50 {
                    overtaken.fetch_add(put(&place, pin, &format!("{publisher}{round}")), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(names(registry.host(), &pin).len(), 100);
    assert!(overtaken.load(Ordering::SeqCst) > 0, "they never met");
}

#[test]
fn commands_at_once_all_succeed() {
    let registry = DockerRegistry::start();
    let user = User::new();
    let at = format!("oci://{}/{REPOSITORY}", registry.host());
    user.good(&["init", &at]);
    let file = user.file("f", "x");
    let sign = |number| {
        let name = format!("n{number}");
        let mut command = user.command(&["sign", "--file", &file, "--name", &name, "--collection", &at]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let all: Vec<_> = (0..5).map(sign).collect();
    for mut child in all {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(user.names(&["--collection", &at]).len(), 5);
}

#[test]
fn a_publisher_whose_claim_arrives_late_notices() {
    let registry = DockerRegistry::start();
    let pin = create(registry.host());
    // The claim of the second state, which has the number 2, is on its way for longer than a claim has to stay.
    let late = Gate::to(registry.host(), |_, line| {
        match line.starts_with("PUT") && line.contains("imgkit-trust.2 ") {
            true => Deed::Delay(Duration::from_millis(1700)),
            false => Deed::Pass,
        }
    });
    let overtaken = std::thread::scope(|scope| {
        let slow = scope.spawn(|| put(&place(late.host()), &pin, "slow"));
        std::thread::sleep(Duration::from_millis(300));
        put(&place(registry.host()), &pin, "quick");
        slow.join().unwrap()
    });
    assert_eq!(overtaken, 1);
    assert_eq!(
        names(registry.host(), &pin),
        BTreeSet::from(["quick".to_owned(), "slow".to_owned()])
    );
    put(&place(registry.host()), &pin, "third");
}

#[test]
fn a_line_that_breaks_leaves_the_old_state_or_the_new_one() {
    let registry = DockerRegistry::start();
    let user = User::new();
    let at = format!("oci://{}/{REPOSITORY}", registry.host());
    user.good(&["init", &at, "--keys-as", "c"]);
    let file = user.file("f", "x");
    let pin = fs::read(user.pin("c")).unwrap();
    let direct = format!("oci://{}/{REPOSITORY}", registry.host());
    let mut tried = BTreeSet::new();
    for (round, (deed, from)) in [
        (Deed::Answer(503), 0),
        (Deed::Cut, 4),
        (Deed::Answer(503), 9),
        (Deed::Answer(500), 14),
        (Deed::Cut, 19),
        (Deed::Answer(429), 23),
    ]
    .into_iter()
    .enumerate()
    {
        let gate = Gate::to(
            registry.host(),
            move |number, _| if number < from { Deed::Pass } else { deed },
        );
        let broken = format!("oci://{}/{REPOSITORY}", gate.host());
        let before = names(registry.host(), &pin);
        let name = format!("n{round}");
        user.unavailable(&[
            "sign",
            "--file",
            &file,
            "--name",
            &name,
            "--keys-as",
            "c",
            "--collection",
            &broken,
        ]);
        let after = names(registry.host(), &pin);
        // What an earlier publisher had all but published may come with this one's.
        tried.insert(name);
        assert!(
            after.is_superset(&before) && after.is_subset(&tried),
            "{deed:?} from {from}: {before:?}, then {after:?}"
        );
        user.good(&["ls", "--keys-as", "c", "--collection", &direct]);
    }
    // What passes is tried again.
    let gate = Gate::to(registry.host(), |number, _| match number % 5 {
        0 => Deed::Answer(503),
        2 => Deed::Cut,
        _ => Deed::Pass,
    });
    let shaky = format!("oci://{}/{REPOSITORY}", gate.host());
    let shaky = ["--keys-as", "c", "--collection", &shaky];
    user.good(&[&["sign", "--file", &file, "--name", "last"], &shaky[..]].concat());
    user.good(&[&["verify", "last", "--file", &file], &shaky[..]].concat());
}

#[test]
fn a_killed_publisher_leaves_the_old_state_or_the_new_one() {
    const ROUNDS: u32 = 60;
    let registry = DockerRegistry::start();
    let user = User::new();
    let at = format!("oci://{}/{REPOSITORY}", registry.host());
    user.good(&["init", &at, "--keys-as", "c"]);
    let pin = fs::read(user.pin("c")).unwrap();
    let file = user.file("f", "x");
    let sign = |name: &str| user.command(&signing(&file, name, &at));
    let begin = Instant::now();
    assert!(sign("first").stdout(Stdio::null()).status().unwrap().success());
    let whole = begin.elapsed();
    let mut before = names(registry.host(), &pin);
    let (mut old, mut new) = (0, 0);
    for round in 0..ROUNDS {
        let name = format!("killed{round}");
        let mut child = sign(&name).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Every moment of a publication, in an order that is not theirs.
        std::thread::sleep(whole * (round * 37 % ROUNDS) / ROUNDS);
        child.kill().unwrap();
        child.wait().unwrap();
        let after = names(registry.host(), &pin);
        assert!(after.is_superset(&before), "round {round}: a name is lost");
        // What the one before had claimed may have been made present for it.
        assert!(after.len() <= before.len() + 2, "round {round}: {before:?}, {after:?}");
        match after.contains(&name) {
            true => new += 1,
            false => old += 1,
        }
        before = after;
    }
    assert!(sign("last").stdout(Stdio::null()).status().unwrap().success());
    let last = names(registry.host(), &pin);
    assert!(last.contains("last") && last.is_superset(&before));
    println!("{ROUNDS} killed: {old} old, {new} new");
}

/// Gets a path from a registry: status, content type, body.
fn get(host: &str, path: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(host).unwrap();
    let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let kind = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Type: "))
        .unwrap_or_default();
    (status, kind.to_owned(), answer[end + 4..].to_vec())
}

/// The words that sign a file in the place of a collection whose keys are called `c`.
fn signing<'a>(file: &'a str, name: &'a str, place: &'a str) -> [&'a str; 9] {
    [
        "sign",
        "--file",
        file,
        "--name",
        name,
        "--keys-as",
        "c",
        "--collection",
        place,
    ]
}

/// Passes a registry's answer on as it is.
fn pass(host: &str, path: &str) -> Answer {
    let (status, kind, body) = get(host, path);
    let answer = Answer {
        status,
        ..Answer::ok(body)
    };
    if kind.is_empty() {
        answer
    } else {
        answer.with("Content-Type", kind)
    }
}

#[test]
fn a_registry_that_lies_is_refused_and_one_that_says_nothing_is_no_verdict() {
    let registry = DockerRegistry::start();
    let user = User::new();
    let at = format!("oci://{}/{REPOSITORY}", registry.host());
    user.good(&["init", &at, "--keys-as", "c"]);
    let file = user.file("f", "x");
    let here = ["--keys-as", "c", "--collection", &at];
    user.good(&[&["sign", "--file", &file, "--name", "a"], &here[..]].concat());
    let manifests = format!("/v2/{REPOSITORY}/manifests/");
    let tag = format!("{manifests}imgkit-trust");
    let old = get(registry.host(), &tag).2;
    user.good(&[&["sign", "--file", &file, "--name", "b"], &here[..]].concat());
    let other = format!("oci://{}/{REPOSITORY}:other", registry.host());
    user.good(&["init", &other, "--keys-as", "o"]);
    let others = get(registry.host(), &format!("{manifests}other")).2;

    let lie = |user: &User, name: &str, answer: Lie| {
        let upstream = registry.host().to_owned();
        let server = Server::start(move |_, request| answer(&request.path, pass(&upstream, &request.path)));
        let place = format!("oci://{}/{REPOSITORY}", server.host());
        user.run(&[
            "verify",
            name,
            "--file",
            &file,
            "--keys-as",
            "c",
            "--collection",
            &place,
        ])
    };
    let code = |(exit, json): (i32, Value)| {
        assert_eq!(exit, 1, "{json}");
        json["refusals"][0]["code"].as_str().unwrap().to_owned()
    };
    let instead = |tag: &str, bytes: &[u8]| -> Lie {
        let (tag, bytes) = (tag.to_owned(), bytes.to_vec());
        Arc::new(move |path, answer| match path == tag {
            true => Answer {
                body: bytes.clone(),
                ..answer
            },
            false => answer,
        })
    };
    let honest = lie(&user, "b", Arc::new(|_, answer| answer));
    assert_eq!(honest.0, 0, "{}", honest.1);

    // The state before: a new client takes it, one that saw the newer one does not.
    let fresh = User::new();
    fs::create_dir_all(fresh.path(".local/share/imgkit/keys/c")).unwrap();
    fs::copy(user.pin("c"), fresh.pin("c")).unwrap();
    assert_eq!(lie(&fresh, "a", instead(&tag, &old)).0, 0);
    assert_eq!(code(lie(&user, "a", instead(&tag, &old))), "ROLLBACK");
    assert_eq!(
        code(lie(&user, "a", instead(&tag, &others))),
        "DIGEST_MISMATCH",
        "another root of the same version"
    );

    let swapped: Lie = Arc::new(|path, mut answer| {
        if path.contains("/blobs/") {
            answer.body.reverse();
        }
        answer
    });
    assert_eq!(code(lie(&user, "a", swapped)), "DIGEST_MISMATCH");
    let longer: Lie = Arc::new(|path, mut answer| {
        if path.contains("/blobs/") {
            answer.body.extend_from_slice(&[0; 4096]);
        }
        answer
    });
    assert_eq!(code(lie(&user, "a", longer)), "DIGEST_MISMATCH");
    let endless: Lie = Arc::new(|path, answer| match path.contains("/manifests/") {
        true => Answer {
            body: vec![b' '; 5 << 20],
            ..answer
        },
        false => answer,
    });
    assert_eq!(code(lie(&user, "a", endless)), "MALFORMED");
    for nonsense in [
        &b"{}"[..],
        br#"{"schemaVersion":2,"manifests":[]}"#,
        b"{\"schemaVersion\":2",
    ] {
        assert_eq!(code(lie(&user, "a", instead(&tag, nonsense))), "MALFORMED");
    }

    for status in [404, 401, 403, 418, 301] {
        let (exit, json) = lie(&user, "a", Arc::new(move |_, _| Answer::status(status)));
        assert_eq!((exit, &json["verdict"]), (3, &json!("unavailable")), "{status}: {json}");
    }
    let page: Lie = Arc::new(|_, _| Answer::ok("<html>welcome to this hotel</html>").with("Content-Type", "text/html"));
    assert_eq!(lie(&user, "a", page).0, 3);
    let missing: Lie = Arc::new(|path, answer| match path.contains("/blobs/") {
        true => Answer::status(404),
        false => answer,
    });
    assert_eq!(lie(&user, "a", missing).0, 3);
}

#[test]
fn an_owner_signs_on_top_of_nothing_older_than_what_he_published() {
    let registry = DockerRegistry::start();
    let user = User::new();
    let at = format!("oci://{}/{REPOSITORY}", registry.host());
    user.good(&["init", &at, "--keys-as", "c"]);
    let file = user.file("f", "x");
    let sign = |name: &str, place: &str| user.run(&signing(&file, name, place));
    assert_eq!(sign("a", &at).0, 0);
    let tag = format!("/v2/{REPOSITORY}/manifests/imgkit-trust");
    let old = get(registry.host(), &tag).2;
    assert_eq!(sign("b", &at).0, 0);
    // He never looked anything up; the registry shows the state before, and no claim of a later one.
    let upstream = registry.host().to_owned();
    let server = Server::start(move |_, request| match request.path.strip_prefix(&tag) {
        Some("") => Answer {
            body: old.clone(),
            ..pass(&upstream, &request.path)
        },
        Some(_) => pass(&upstream, &format!("{tag}.99")),
        None => pass(&upstream, &request.path),
    });
    let (exit, json) = sign("c", &format!("oci://{}/{REPOSITORY}", server.host()));
    assert_eq!((exit, &json["refusals"][0]["code"]), (1, &json!("ROLLBACK")), "{json}");
    assert_eq!(sign("c", &at).0, 0);
}
