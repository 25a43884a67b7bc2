//! imgkit as a client of Debian's real notary-server, and its collections in the hands of Debian's real notary client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::notary::{Keys, NotaryServer, PASSPHRASE, PASSWORD, USER};
use common::publisher::{DIGEST, GUN, Owner, answer, listed, names, signing};
use common::serve::{Setup, TrustServer};
use common::server::{Answer, Server};
use common::{imgkit, run, succeed};
use serde_json::{Value, json};

fn a_whole_life(keys: Keys) {
    let server = NotaryServer::start(keys);
    let owner = Owner::of(&server);

    // A root key is never made silently.
    let (code, text) = owner.bad(&["init", "--dialect", "notary", GUN]);
    assert!(code == 2 && text.contains("--new-root-key"), "{code} {text}");
    assert!(!owner.trust().exists(), "nothing half made");
    owner.good(&["init", "--dialect", "notary", GUN, "--new-root-key"]);
    let (code, text) = owner.bad(&["init", GUN, "--new-root-key"]);
    assert!(code == 2 && text.contains("already"), "{code} {text}");

    // What imgkit publishes, Debian's client reads, with the same directory and with one of its own.
    owner.sign("v1");
    let file = owner.file("content", "what is signed\n");
    owner.good(&[
        "sign",
        GUN,
        "file",
        "--file",
        &file,
        "--custom",
        r#"{"z":[1,null],"a":{"note":"é"}}"#,
    ]);
    assert_eq!(names(&owner.listed()), ["file", "v1"]);
    let other = tempfile::tempdir().unwrap();
    let fresh = |arguments: &[&str]| {
        let mut command = server.notary(other.path(), &other.path().join("trust"));
        command.args(arguments);
        command
    };
    assert_eq!(names(&listed(&mut fresh(&["list", GUN]))), ["file", "v1"]);
    assert!(succeed(&mut fresh(&["lookup", GUN, "v1"])).contains(&DIGEST[7..]));
    let verify = |content: &str| {
        let mut command = fresh(&["verify", GUN, "file"]);
        let input = fs::File::open(owner.file("compared", content)).unwrap();
        run(command.stdin(input)).0
    };
    assert_eq!(verify("what is signed\n"), 0);
    assert_ne!(verify("what is not\n"), 0);
    for custom in [r#"{"a":"<"}"#, "1.5", "9007199254740993", r#""\n""#] {
        let (code, text) = owner.bad(&[
            "sign", GUN, "v1", "--digest", DIGEST, "--length", "11", "--custom", custom,
        ]);
        assert_eq!(code, 2, "{custom}: {text}");
    }

    // Each goes on from what the other did, in one directory.
    succeed(&mut owner.notary(&["addhash", "-p", GUN, "v2", "11", "--sha256", &DIGEST[7..]]));
    owner.sign("v3");
    succeed(&mut owner.notary(&["add", "-p", GUN, "v4", &file]));
    owner.good(&["unsign", GUN, "v2"]);
    assert_eq!(names(&owner.listed()), ["file", "v1", "v3", "v4"]);
    let (code, text) = owner.bad(&["unsign", GUN, "v2"]);
    assert!(code == 2 && text.contains("v2"), "{text}");

    // Roles that others sign for.
    let (public, private) = owner.delegate("alice");
    owner.good(&["delegate", "add", GUN, "releases", "--key", &public, "--all-paths"]);
    assert!(succeed(&mut owner.notary(&["delegation", "list", GUN])).contains("targets/releases"));
    succeed(
        owner
            .notary(&["key", "import", &private, "--role", "targets/releases"])
            .env("NOTARY_DELEGATION_PASSPHRASE", "alice's own"),
    );
    let signed = answer(
        owner
            .command(&["sign", GUN, "tag", "--digest", DIGEST, "--length", "11"])
            .env("NOTARY_DELEGATION_PASSPHRASE", "alice's own"),
    );
    assert_eq!(
        signed.1["result"]["roles"],
        json!(["targets/releases"]),
        "as docker has it: {signed:?}"
    );
    assert!(
        owner
            .listed()
            .contains(&("tag".to_owned(), "targets/releases".to_owned()))
    );
    let roles = owner.good(&["delegate", "ls", GUN]);
    assert_eq!(roles["roles"][0]["role"], "targets/releases");
    assert_eq!(roles["roles"][0]["paths"], json!([""]));
    let witness = answer(
        owner
            .command(&["witness", GUN, "releases", "--yes"])
            .env("NOTARY_DELEGATION_PASSPHRASE", "alice's own"),
    );
    assert_eq!(witness.0, 0, "{witness:?}");
    assert!(
        owner
            .listed()
            .contains(&("tag".to_owned(), "targets/releases".to_owned()))
    );

    // New keys, the owner's and the server's.
    let rotated = owner.good(&["rotate", GUN, "snapshot", "--server-managed"]);
    assert_eq!(rotated["file"], Value::Null);
    let signed = owner.good(&signing("targets", "v5", DIGEST));
    assert_eq!(
        signed["rolesSigned"],
        json!(["targets"]),
        "the snapshot is the server's"
    );
    owner.good(&["rotate", GUN, "timestamp"]);
    owner.good(&["rotate", GUN, "targets"]);
    owner.good(&["rotate", GUN, "root", "--new-root-key"]);
    assert!(names(&owner.listed()).contains(&"v5"));
    assert!(
        names(&listed(&mut fresh(&["list", GUN]))).contains(&"v5"),
        "one who saw an older root"
    );
    succeed(&mut owner.notary(&["addhash", "-p", GUN, "v6", "11", "--sha256", &DIGEST[7..]]));
    let rotated = owner.good(&["rotate", GUN, "snapshot"]);
    assert!(Path::new(rotated["file"].as_str().unwrap()).exists());
    owner.good(&["witness", GUN, "targets", "--yes"]);
    assert!(names(&owner.listed()).contains(&"v6"));
    let newcomer = tempfile::tempdir().unwrap();
    let mut command = server.notary(newcomer.path(), &newcomer.path().join("trust"));
    assert!(names(&listed(command.args(["list", GUN]))).contains(&"v6"));

    // And the end of it.
    owner.good(&["delegate", "rm", GUN, "releases"]);
    assert!(!names(&owner.listed()).contains(&"tag"));
    let (code, text) = owner.bad(&["delete", GUN]);
    assert!(code == 2 && text.contains("--yes"), "{text}");
    owner.good(&["delete", GUN, "--yes"]);
    // One who saw it goes on with what is cached, with a warning; a newcomer finds nothing.
    let last = tempfile::tempdir().unwrap();
    let mut command = server.notary(last.path(), &last.path().join("trust"));
    let (code, text) = run(command.args(["list", GUN]));
    assert!(code != 0, "{text}");
    for key in fs::read_dir(owner.trust().join("private")).unwrap().flatten() {
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let private = fs::metadata(owner.trust().join("private")).unwrap();
    assert_eq!(private.permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_whole_life_with_the_servers_own_ed25519_keys() {
    a_whole_life(Keys::Local);
}

#[test]
fn a_whole_life_with_notary_signers_ecdsa_keys() {
    a_whole_life(Keys::Signer);
}

#[test]
fn a_collection_that_notary_made_is_gone_on_with() {
    let server = NotaryServer::start(Keys::Signer);
    let owner = Owner::of(&server);
    succeed(&mut owner.notary(&["init", "-p", GUN]));
    succeed(&mut owner.notary(&["addhash", "-p", GUN, "theirs", "11", "--sha256", &DIGEST[7..]]));
    let mut command = owner.command(&["sign", GUN, "ours", "--digest", DIGEST, "--length", "11"]);
    let (code, json) = answer(command.env("IMGKIT_PASSPHRASE", "another"));
    assert!(code == 2 && json.to_string().contains("passphrase"), "{json}");
    for role in ["TARGETS", "SNAPSHOT"] {
        command.env(format!("NOTARY_{role}_PASSPHRASE"), PASSPHRASE);
    }
    assert_eq!(answer(&mut command).0, 0, "notary's own variables");
    assert_eq!(names(&owner.listed()), ["ours", "theirs"]);
    owner.good(&["rotate", GUN, "root", "--new-root-key"]);
    owner.good(&["rotate", GUN, "targets"]);
    succeed(&mut owner.notary(&["remove", "-p", GUN, "ours"]));
    assert_eq!(names(&owner.listed()), ["theirs"]);
    // Who does not know the collection needs a pin.
    let stranger = Owner::of(&server);
    let (code, text) = stranger.bad(&["delegate", "ls", GUN]);
    assert!(code == 3 && text.contains("--pin"), "{text}");
    let root = owner.trust().join(format!("tuf/{GUN}/metadata/root.json"));
    stranger.good(&["delegate", "ls", GUN, "--pin", root.to_str().unwrap()]);
    stranger.good(&["delegate", "ls", GUN, "--unsafe-trust-on-first-use"]);
    let (code, text) = stranger.bad(&["delegate", "ls", GUN, "--pin", &"a".repeat(64)]);
    assert_eq!(code, 1, "{text}");
}

#[test]
fn nested_roles_thresholds_and_paths_are_published_and_kept_to() {
    let server = NotaryServer::start(Keys::Local);
    let owner = Owner::of(&server);
    owner.good(&["init", GUN, "--new-root-key", "--server-managed"]);
    let (alice, alice_key) = owner.delegate("alice");
    let (bob, bob_key) = owner.delegate("bob");
    for (key, role) in [(&alice_key, "targets/a"), (&bob_key, "targets/b")] {
        succeed(&mut owner.notary(&["key", "import", key, "--role", role]));
    }
    let add = [
        "delegate",
        "add",
        GUN,
        "a",
        "--key",
        &alice,
        "--key",
        &bob,
        "--path",
        "tools/",
        "--threshold",
        "2",
    ];
    owner.good(&add);
    owner.good(&["witness", GUN, "a", "--yes"]);
    owner.good(&[
        "delegate",
        "add",
        GUN,
        "targets/a/b",
        "--key",
        &bob,
        "--path",
        "tools/b-",
    ]);
    let (code, text) = owner.bad(&signing("targets/a/b", "tools/c", DIGEST));
    assert!(code == 2 && text.contains("tools/b-*"), "{text}");
    owner.good(&signing("targets/a/b", "tools/b-1", DIGEST));
    owner.good(&signing("a", "tools/c", DIGEST));
    let listed = owner.listed();
    assert!(
        listed.contains(&("tools/b-1".into(), "targets/a/b".into())),
        "{listed:?}"
    );
    assert!(
        listed.contains(&("tools/c".into(), "targets/a".into())),
        "two signatures: {listed:?}"
    );
    // A key that goes, by the id of its file, as bug 4 of notary has it; what the role signed is signed again.
    let roles = owner.good(&["delegate", "ls", GUN]);
    let id = roles["roles"][0]["keys"][0]["canonicalId"].as_str().unwrap().to_owned();
    let (code, text) = owner.bad(&["delegate", "rm", GUN, "a", "--key", &id]);
    assert!(code == 2, "the threshold could not be met any more: {text}");
    owner.good(&["delegate", "add", GUN, "a", "--threshold", "1"]);
    owner.good(&["delegate", "rm", GUN, "a", "--key", &id]);
    assert!(owner.listed().contains(&("tools/c".into(), "targets/a".into())));
}

#[test]
fn a_role_whose_signer_went_is_signed_again_with_all_its_names() {
    let server = NotaryServer::start(Keys::Local);
    let owner = Owner::of(&server);
    owner.good(&["init", GUN, "--new-root-key", "--server-managed"]);
    let role = "targets/rel";
    let ((alice, alice_key), (bob, bob_key)) = (owner.delegate("alice"), owner.delegate("bob"));
    owner.good(&["delegate", "add", GUN, role, "--key", &alice, "--all-paths"]);
    succeed(&mut owner.notary(&["key", "import", &alice_key, "--role", role]));
    for name in ["v1", "v2"] {
        owner.good(&signing(role, name, DIGEST));
    }
    // As Debian's client does it, what the role signed is not signed again.
    let ids = owner.good(&["delegate", "ls", GUN]);
    let alice = ids["roles"][0]["keys"][0]["canonicalId"].as_str().unwrap().to_owned();
    succeed(&mut owner.notary(&["delegation", "add", "-p", GUN, role, &bob]));
    succeed(&mut owner.notary(&["delegation", "remove", "-p", "-y", GUN, role, &alice]));
    succeed(&mut owner.notary(&["key", "import", &bob_key, "--role", role]));
    let lists_v1 = || names(&owner.listed()).contains(&"v1");
    assert!(!lists_v1());

    let (code, text) = owner.bad(&signing(role, "v3", DIGEST));
    assert!(code == 2 && text.contains("imgkit trust notary witness"), "{text}");
    let (code, text) = owner.bad(&["unsign", GUN, "v1", "--role", role]);
    assert!(code == 2 && text.contains("imgkit trust notary witness"), "{text}");
    let (code, text) = owner.bad(&["witness", GUN, role]);
    let shows = text.contains("NOBODY who may sign as targets/rel") && text.contains("+ v1 (targets/rel)");
    assert!(code == 2 && shows && text.contains("--yes"), "{text}");
    assert!(!lists_v1(), "nothing was published");
    let witnessed = owner.good(&["witness", GUN, "rel", "--yes"]);
    assert_eq!(
        witnessed["witnessed"],
        json!([{ "role": role, "vouchedBefore": false, "names": ["v1", "v2"] }])
    );
    owner.good(&signing(role, "v3", DIGEST));
    assert_eq!(names(&owner.listed()), ["v1", "v2", "v3"]);
    // Debian's client goes on from it.
    succeed(&mut owner.notary(&["witness", "-p", GUN, role]));
    let witnessed = owner.good(&["witness", GUN, "rel", "--yes"]);
    assert_eq!(witnessed["witnessed"][0]["vouchedBefore"], json!(true));
}

#[test]
fn tokens_are_had_with_the_credentials_of_docker_login() {
    let server = NotaryServer::with_tokens();
    let owner = Owner::of(&server);
    let (code, text) = owner.bad(&["init", GUN, "--new-root-key"]);
    assert!(code == 3 && text.contains("docker login r.example"), "{text}");
    let log_in = |password: &str| {
        let auth = STANDARD.encode(format!("{USER}:{password}"));
        let config = json!({ "auths": { "r.example": { "auth": auth } } });
        fs::create_dir_all(owner.home.path().join(".docker")).unwrap();
        fs::write(owner.home.path().join(".docker/config.json"), config.to_string()).unwrap();
    };
    log_in("wrong");
    let (code, text) = owner.bad(&["init", GUN, "--new-root-key"]);
    assert!(code == 3 && text.contains("docker login r.example"), "{text}");
    log_in(PASSWORD);
    owner.good(&["init", GUN, "--new-root-key"]);
    owner.sign("v1");
    owner.good(&["rotate", GUN, "timestamp"]);
    owner.good(&["delete", GUN, "--yes"]);
}

#[test]
fn credentials_are_not_sent_in_the_clear() {
    let challenge =
        r#"Bearer realm="http://tokens.example/token",service="n",scope="repository:r.example/team/app:pull""#;
    let server = Server::start(move |_, _| Answer::status(401).with("Www-Authenticate", challenge));
    let home = tempfile::tempdir().unwrap();
    let mut command = imgkit(home.path());
    command.args([
        "--output",
        "json",
        "trust",
        "witness",
        GUN,
        "targets",
        "--unsafe-trust-on-first-use",
    ]);
    let (code, json) = answer(command.arg(format!("--server=http://{}", server.host())));
    assert!(code == 3 && json.to_string().contains("plain HTTP"), "{json}");
    let mut command = imgkit(home.path());
    command.args([
        "--output",
        "json",
        "trust",
        "witness",
        GUN,
        "targets",
        "--server",
        "http://notary.example",
    ]);
    assert_eq!(answer(&mut command).0, 2);
}

/// imgkit's server, behind one that says of publications what `says` does, each time as often as they were tried before.
fn behind_one_that_says(
    server: &Arc<TrustServer>,
    says: impl Fn(usize) -> Option<Answer> + Send + Sync + 'static,
) -> Server {
    // Its thread stays as long as the process, and the server must not.
    let (server, tried) = (Arc::downgrade(server), AtomicUsize::new(0));
    Server::start(move |_, request| {
        let answer = match request.method.as_str() {
            "POST" => says(tried.fetch_add(1, Ordering::SeqCst)),
            _ => None,
        };
        answer.unwrap_or_else(|| {
            let kind = request.header("content-type").unwrap_or_default();
            let server = server.upgrade().unwrap();
            let (status, _, body) =
                server.ask(&request.method, &request.path, &[("Content-Type", kind)], &request.body);
            Answer {
                status,
                ..Answer::ok(body)
            }
        })
    })
}

#[test]
fn a_server_that_is_busy_is_left_alone_for_as_long_as_it_asks() {
    let setup = Setup::in_directory();
    let home = tempfile::tempdir().unwrap();
    let run = |host: &str, words: &[&str]| {
        let mut command = imgkit(home.path());
        command
            .env("IMGKIT_PASSPHRASE", PASSPHRASE)
            .args(["--output", "json", "trust"])
            .args(words);
        answer(command.arg(format!("--server=http://{host}")))
    };
    let posts = |server: &Server| {
        server
            .requests()
            .iter()
            .filter(|request| request.method == "POST")
            .count()
    };
    let server = Arc::new(setup.start_plain(&[]));
    assert_eq!(run(server.host(), &["init", GUN, "--new-root-key"]).0, 0);
    let busy = || Answer::status(503).with("Retry-After", 2);
    let proxy = behind_one_that_says(&server, move |tried| (tried < 2).then(busy));
    let began = Instant::now();
    let (code, json) = run(proxy.host(), &signing("targets", "v1", DIGEST));
    assert_eq!(code, 0, "{json}");
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(posts(&proxy), 3);

    // One that stays so is not tried for ever, and one that wants to be left alone for long is.
    let proxy = behind_one_that_says(&server, |_| Some(Answer::status(503)));
    let (code, json) = run(proxy.host(), &signing("targets", "v2", DIGEST));
    assert!(code == 3 && json.to_string().contains("after 6 attempts"), "{json}");
    assert_eq!(posts(&proxy), 6);
    let later = || Answer::status(503).with("Retry-After", 600);
    let proxy = behind_one_that_says(&server, move |_| Some(later()));
    let (code, json) = run(proxy.host(), &signing("targets", "v2", DIGEST));
    assert!(
        code == 3 && json.to_string().contains("left alone for 600 seconds"),
        "{json}"
    );
    assert_eq!(posts(&proxy), 1);
}

#[test]
fn two_publishers_at_once_lose_no_update() {
    let server = NotaryServer::start(Keys::Local);
    let owner = Owner::of(&server);
    owner.good(&["init", GUN, "--new-root-key"]);
    let start = |name: &str| {
        let mut command = owner.command(&["sign", GUN, name, "--digest", DIGEST, "--length", "11"]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let mut expected = Vec::new();
    for round in 0..50 {
        let names = [format!("a{round:02}"), format!("b{round:02}")];
        let both = names.clone().map(|name| start(&name));
        for mut child in both {
            assert!(child.wait().unwrap().success(), "round {round}");
        }
        expected.extend(names);
    }
    expected.sort();
    assert_eq!(names(&owner.listed()), expected);
}

#[test]
fn one_that_is_killed_leaves_the_old_collection_or_the_new_one() {
    let server = NotaryServer::start(Keys::Local);
    let owner = Owner::of(&server);
    owner.good(&["init", GUN, "--new-root-key"]);
    owner.sign("kept");
    let mut before = owner.listed();
    let (mut old, mut new) = (0, 0);
    for round in 0..40_u64 {
        let name = format!("k{round:02}");
        let mut command = owner.command(&["sign", GUN, &name, "--digest", DIGEST, "--length", "11"]);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 7 % 200));
        child.kill().unwrap();
        child.wait().unwrap();
        let after = owner.listed();
        match names(&after).contains(&name.as_str()) {
            true => new += 1,
            false => {
                old += 1;
                assert_eq!(after, before, "round {round}");
            }
        }
        assert!(names(&after).contains(&"kept"));
        before = after;
    }
    assert!(old > 0, "some were killed before they published: {old} old, {new} new");
    owner.sign("last");
    assert!(names(&owner.listed()).contains(&"last"));
}
