//! `imgkit trust serve` with its keys in a PKCS#11 token.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::notary::PASSPHRASE;
use common::notary_user::{GUN, HASH, User, names, targets, whole_life};
use common::serve::{Database, Setup, TrustServer};
use common::token::Token;
use common::{run, succeed};
use rustix::process::Signal;

#[test]
fn keys_that_are_made_in_a_token_stay_there() {
    let home = tempfile::tempdir().unwrap();
    let token = Token::new(home.path());
    let place = token.place();
    let options = ["--key-store", place.as_str()];
    for algorithm in ["p256", "ed25519"] {
        let setup = Setup::in_directory().with_token(&token);
        let before = token.objects().len();
        whole_life(&[&setup.start(&[&options[..], &["--key-algorithm", algorithm]].concat())]);
        // What was deleted took its keys along; the timestamp key of the second beginning is left.
        assert_eq!(token.objects().len() - before, 2);
        assert!(!setup.path().join("store/vault.pem").exists());
    }

    let setup = Setup::in_directory().with_token(&token);
    let user = User::new();
    let mut server = setup.start(&options);
    user.notary(&server, &["init", "-p", GUN]);
    user.publish(&server, "v1");
    user.notary(&server, &["key", "rotate", GUN, "snapshot", "-r"]);
    user.notary(&server, &["key", "rotate", GUN, "timestamp", "-r"]);
    user.publish(&server, "v2");
    assert!(server.stop(Signal::TERM).success());
    let mut server = setup.start(&options);
    assert_eq!(targets(&server), names(&["v1", "v2"]));
    user.publish(&server, "v3");
    user.notary(&server, &["key", "rotate", GUN, "timestamp", "-r"]);
    user.publish(&server, "v4");
    assert_eq!(targets(&server), names(&["v1", "v2", "v3", "v4"]));
    assert!(server.stop(Signal::TERM).success());

    // The token gives none of them away.
    let private = token.objects().into_iter().map(|object| token.attributes(&object));
    let private: Vec<_> = private.filter(|attributes| attributes["CKA_PRIVATE"]).collect();
    assert_eq!(private.len(), 2 + 4);
    for attributes in private {
        let of = |name: &str| attributes[name];
        assert!(
            of("CKA_SENSITIVE") && of("CKA_NEVER_EXTRACTABLE") && !of("CKA_EXTRACTABLE"),
            "{attributes:?}"
        );
    }
    // The store holds no private key: only where they are.
    let keys = key_files(&setup);
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in &keys {
        assert!(fs::read(key).unwrap().starts_with(b"imgkit token key 1:"));
    }
    // A wrong PIN is refused before anybody is served, and a key that is not in the token is no other.
    let refused = |command: &mut Command, expected: i32, says: &str| {
        let (code, text) = run(command);
        assert!(code == expected && text.contains(says), "{text}");
    };
    refused(
        setup.command(&options).env("IMGKIT_PKCS11_PIN", "wrong"),
        2,
        "PIN is wrong",
    );
    refused(setup.command(&options).env_remove("IMGKIT_PKCS11_PIN"), 2, "--pin-fd");
    let with_pin = format!("{place}&pin-value=1");
    refused(&mut setup.command(&["--key-store", &with_pin]), 2, "--pin-fd");
    let gone = place.replace("my%20token", "gone");
    refused(&mut setup.command(&["--key-store", &gone]), 3, "no such token");

    // Without the token the server goes on serving, and signs nothing.
    let without = Setup::in_directory();
    succeed(
        Command::new("cp")
            .arg("-r")
            .arg(setup.path().join("store"))
            .arg(without.path()),
    );
    let mut server = without.start(&[]);
    assert_eq!(targets(&server).len(), 4);
    user.notary(&server, &["addhash", GUN, "v5", "11", "--sha256", HASH]);
    assert_eq!(run(&mut user.command(&server, &["publish", GUN])).0, 1);
    // Its new keys are sealed; a server with the token goes on with them, once it has their passphrase.
    let other = User::new();
    other.notary(&server, &["init", "-p", "example.com/serve/sealed"]);
    assert!(server.stop(Signal::TERM).success());
    let without = without.with_token(&token);
    refused(&mut without.command(&options), 2, "IMGKIT_PASSPHRASE");
    let mut both = without.command(&[&options[..], &without.tls()].concat());
    let server = without.spawn(both.env("IMGKIT_PASSPHRASE", PASSPHRASE));
    user.notary(&server, &["publish", GUN]);
    assert_eq!(targets(&server).len(), 5);
    let more = [
        "addhash",
        "-p",
        "example.com/serve/sealed",
        "v1",
        "11",
        "--sha256",
        HASH,
    ];
    other.notary(&server, &more);
}

#[test]
fn what_is_kept_of_a_key_in_a_token_is_for_one_collection() {
    let home = tempfile::tempdir().unwrap();
    let token = Token::new(home.path());
    let place = token.place();
    let setup = Setup::in_directory().with_token(&token);
    let mut server = setup.start_plain(&["--key-store", &place]);
    let path = |gun: &str, role: &str| format!("/v2/{gun}/_trust/tuf/{role}.key");
    for gun in ["one", "two"] {
        assert_eq!(server.ask("GET", &path(gun, "timestamp"), &[], b"").0, 200);
    }
    assert!(server.stop(Signal::TERM).success());
    let keys = key_files(&setup);
    assert_eq!(keys.len(), 2);
    fs::copy(&keys[0], &keys[1]).unwrap();
    let server = setup.start_plain(&["--key-store", &place]);
    let mut statuses = ["one", "two"].map(|gun| server.ask("GET", &path(gun, "timestamp"), &[], b"").0);
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 500]);
}

#[test]
fn servers_on_one_database_share_a_token() {
    let home = tempfile::tempdir().unwrap();
    let token = Token::new(home.path());
    let place = token.place();
    let database = Database::start();
    let setup = || Setup::in_database(&database.url()).with_token(&token);
    let (one, two) = (setup(), setup());
    let servers = [&one, &two].map(|setup| setup.start(&["--key-store", &place]));
    let user = User::new();
    // What one server was told is seen at the other within moments, not at once.
    let patiently = |server: &TrustServer, arguments: &[&str]| {
        let end = Instant::now() + Duration::from_secs(20);
        while run(&mut user.command(server, arguments)).0 != 0 {
            assert!(Instant::now() < end, "{arguments:?}");
            sleep(Duration::from_millis(100));
        }
    };
    patiently(&servers[0], &["init", "-p", GUN]);
    // Each makes keys that the other signs with.
    for (round, (maker, signer)) in [(0, 1), (1, 0), (0, 1)].into_iter().enumerate() {
        for role in ["snapshot", "timestamp"] {
            patiently(&servers[maker], &["key", "rotate", GUN, role, "-r"]);
        }
        let name = format!("v{round}");
        patiently(&servers[signer], &["addhash", GUN, &name, "11", "--sha256", HASH]);
        patiently(&servers[signer], &["publish", GUN]);
        assert_eq!(targets(&servers[signer]).len(), round + 1);
    }
}

/// The files in which a directory keeps the server's keys.
fn key_files(setup: &Setup) -> Vec<PathBuf> {
    let collections = fs::read_dir(setup.path().join("store/collections")).unwrap().flatten();
    let keys = collections.map(|collection| collection.path().join("keys"));
    let keys = keys
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flat_map(|dir| dir.flatten());
    keys.map(|key| key.path()).collect()
}
