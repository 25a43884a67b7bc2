//! `imgkit trust serve` in the hands of Debian's real clients, `notary` and `docker trust`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::notary::PASSPHRASE;
use common::notary_user::{GUN, HASH, User, delegate, names, targets, whole_life};
use common::serve::{Database, Setup, TrustServer};
use common::{imgkit, in_home, run, succeed};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn debians_client_leads_a_whole_life_with_a_directory() {
    for algorithm in ["p256", "ed25519"] {
        let setup = Setup::in_directory();
        whole_life(&[&setup.start(&["--key-algorithm", algorithm])]);
    }
}

#[test]
fn debians_client_leads_a_whole_life_with_two_servers_on_one_database() {
    let database = Database::start();
    let (one, two) = (Setup::in_database(&database.url()), Setup::in_database(&database.url()));
    // Both make the tables, and the keys' own key, at once.
    let starting = std::thread::scope(|scope| {
        let other = scope.spawn(|| two.start(&[]));
        (one.start(&[]), other.join().unwrap())
    });
    whole_life(&[&starting.0, &starting.1]);
    publishers_at_once(&[&starting.0, &starting.1], 5);
}

#[test]
fn debians_client_rotates_a_root_key() {
    let setup = Setup::in_directory();
    let server = setup.start(&[]);
    let user = User::new();
    user.notary(&server, &["init", "-p", GUN]);
    let mut rotate = user.command(&server, &["key", "rotate", GUN, "root"]);
    let mut rotate = rotate.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut rotate.stdin.take().unwrap(), b"yes\n").unwrap();
    assert!(rotate.wait().unwrap().success());
    user.publish(&server, "after");
    assert_eq!(targets(&server), names(&["after"]));
}

#[test]
fn a_role_that_was_taken_away_is_signed_again_by_imgkit_above_its_last_version() {
    let database = Database::start();
    for setup in [Setup::in_directory(), Setup::in_database(&database.url())] {
        let server = setup.start(&[]);
        let user = User::new();
        let imgkit = |arguments: &[&str]| {
            let mut command = imgkit(user.dir.path());
            command.env("IMGKIT_PASSPHRASE", PASSPHRASE).stdin(Stdio::null());
            command.arg("trust").args(arguments).args(["--server", server.url()]);
            command
                .arg("--ca-cert")
                .arg(server.ca())
                .arg("--trust-dir")
                .arg(user.path("trust"));
            succeed(&mut command)
        };
        user.notary(&server, &["init", "-p", GUN]);
        user.notary(&server, &["key", "rotate", GUN, "snapshot", "-r"]);
        let (role, digest) = ("targets/rel", format!("sha256:{HASH}"));
        for (signer, signed) in [("alice", &["v1", "v2", "v3"][..]), ("bob", &["v4", "v5"])] {
            let cert = delegate(&user, signer);
            let cert = cert.to_str().unwrap();
            imgkit(&["delegate", "add", GUN, role, "--key", cert, "--all-paths"]);
            for name in signed {
                imgkit(&["sign", GUN, name, "--role", role, "--digest", &digest, "--length", "11"]);
            }
            assert_eq!(
                targets(&server),
                names(signed),
                "nothing that the role signed before comes back"
            );
            imgkit(&["delegate", "rm", GUN, role]);
            assert_eq!(targets(&server), names(&[]));
        }
    }
}

#[test]
fn publishers_at_once_lose_no_update() {
    let setup = Setup::in_directory();
    let server = setup.start(&[]);
    publishers_at_once(&[&server, &server], 8);
}

/// Two users publish at the same time, on one server each; who is told that another was faster tries again.
fn publishers_at_once(servers: &[&TrustServer; 2], rounds: usize) {
    let first = User::new();
    let _ = run(&mut first.command(servers[0], &["delete", "--remote", GUN]));
    first.notary(servers[0], &["init", "-p", GUN]);
    first.publish(servers[0], "start");
    let users = [first.twin(), first.twin()];
    std::thread::scope(|scope| {
        for (user, (server, number)) in users.iter().zip(servers.iter().zip(0..)) {
            scope.spawn(move || {
                for round in 0..rounds {
                    let name = format!("{number}-{round}");
                    user.notary(server, &["addhash", GUN, &name, "11", "--sha256", HASH]);
                    let mut tries = 0;
                    while run(&mut user.command(server, &["publish", GUN])).0 != 0 {
                        tries += 1;
                        assert!(tries < 20, "{name} cannot be published");
                    }
                }
            });
        }
    });
    for server in servers {
        assert_eq!(targets(server).len(), 2 * rounds + 1);
    }
}

#[test]
fn a_server_that_is_killed_leaves_the_old_collection_or_the_new() {
    let setup = Setup::in_directory();
    let user = User::new();
    let mut server = setup.start(&[]);
    user.notary(&server, &["init", "-p", GUN]);
    user.publish(&server, "start");
    let mut known = targets(&server);
    let rounds = std::env::var("IMGKIT_KILL_ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    let (mut old, mut new) = (0, 0);
    for round in 0..rounds {
        let name = format!("n{round}");
        user.notary(&server, &["addhash", GUN, &name, "11", "--sha256", HASH]);
        let mut publishing = user.command(&server, &["publish", GUN]);
        let mut publishing = publishing.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let random = u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
        sleep(Duration::from_micros(10_000 + random % 150_000));
        server.stop(Signal::KILL);
        let _ = publishing.wait();
        server = setup.start(&[]);
        let now = targets(&server);
        let mut with = known.clone();
        with.insert(name);
        assert!(now == known || now == with, "round {round}: {now:?} after {known:?}");
        match now == known {
            true => old += 1,
            false => new += 1,
        }
        known = now;
        // The changefeed tells the same.
        let plain = changes(&server, &user);
        assert_eq!(plain.last().unwrap()["Category"], "update");
        // What was staged and not published is published with the next.
        user.notary(&server, &["publish", GUN]);
        known = targets(&server).union(&known).cloned().collect();
    }
    println!("{old} times the old collection, {new} times the new");
}

/// The changefeed, fetched with curl's kin: openssl, as the server speaks TLS.
fn changes(server: &TrustServer, user: &User) -> Vec<Value> {
    let mut openssl = in_home(Path::new("openssl"), user.dir.path());
    openssl
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-connect",
            server.host(),
            "-CAfile",
        ])
        .arg(server.ca());
    let mut child = openssl
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = "GET /v2/_trust/changefeed?records=0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), request.as_bytes()).unwrap();
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    body["records"].as_array().unwrap().clone()
}

#[test]
fn docker_trust_inspects_signs_up_and_revokes() {
    let docker = docker();
    let setup = Setup::in_directory();
    let server = setup.start(&[]);
    let user = User::new();
    let config = user.path("docker");
    let tls = config.join("tls").join(server.host());
    fs::create_dir_all(&tls).unwrap();
    fs::copy(server.ca(), tls.join("ca.crt")).unwrap();
    let trust = |arguments: &[&str]| {
        let mut command = in_home(&docker, user.dir.path());
        command.env("DOCKER_CONFIG", &config).env("DOCKER_CONTENT_TRUST", "1");
        command.env("DOCKER_CONTENT_TRUST_SERVER", server.url());
        command.env("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", PASSPHRASE);
        command.env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", PASSPHRASE);
        command.arg("trust").args(arguments).stdin(Stdio::null());
        command
    };
    let (code, text) = run(&mut trust(&["inspect", GUN]));
    assert_eq!(code, 1, "{text}");
    succeed(&mut trust(&[
        "key",
        "generate",
        "alice",
        "--dir",
        user.dir.path().to_str().unwrap(),
    ]));
    let key = user.path("alice.pub");
    succeed(&mut trust(&[
        "signer",
        "add",
        "--key",
        key.to_str().unwrap(),
        "alice",
        GUN,
    ]));
    let pretty = succeed(&mut trust(&["inspect", "--pretty", GUN]));
    assert!(pretty.contains("alice") && pretty.contains("No signatures"), "{pretty}");

    // What `docker trust sign` does needs its daemon; the same targets are signed by `notary` with docker's keys.
    for role in ["targets/alice", "targets/releases"] {
        let mut add = server.notary(user.dir.path(), &config.join("trust"));
        succeed(add.args(["addhash", "-p", GUN, "v1", "11", "--sha256", HASH, "-r", role]));
    }
    let pretty = succeed(&mut trust(&["inspect", "--pretty", GUN]));
    let signed = pretty
        .lines()
        .any(|line| line.starts_with("v1") && line.contains(HASH) && line.contains("alice"));
    assert!(signed, "{pretty}");
    let json: Value = serde_json::from_str(&succeed(&mut trust(&["inspect", GUN]))).unwrap();
    assert_eq!(json[0]["SignedTags"][0]["Digest"], HASH);
    succeed(&mut trust(&["revoke", "-y", &format!("{GUN}:v1")]));
    let pretty = succeed(&mut trust(&["inspect", "--pretty", GUN]));
    assert!(!pretty.contains(HASH), "{pretty}");
}

/// Unpacks the docker CLI of Debian's package once; there is no daemon.
fn docker() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docker.io");
    let docker = dir.join("usr/bin/docker");
    if !docker.exists() {
        fs::create_dir_all(&dir).unwrap();
        let mut download = Command::new("apt-get");
        succeed(download.args(["download", "-q", "docker.io"]).current_dir(&dir));
        let package = fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path());
        let package = package
            .into_iter()
            .find(|path| path.extension().is_some_and(|ext| ext == "deb"))
            .unwrap();
        succeed(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&dir));
    }
    docker
}
