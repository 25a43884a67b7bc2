//! `imgkit trust serve` in the hands of Debian's real clients, `notary` and `docker trust`, and of worse ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::notary::{PASSPHRASE, PASSWORD, USER, certificate, token_server};
use common::serve::{Database, Setup, TrustServer};
use common::token::Token;
use common::{in_home, run, succeed};
use rustix::process::Signal;
use serde_json::Value;

const GUN: &str = "example.com/serve/app";
const HASH: &str = "a155771cf43ecc9d481d33c7a3ee06b84d2d838be021ede4355893bab1fd1024";

/// A user of Debian's client.
struct User {
    dir: tempfile::TempDir,
}

impl User {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, server: &TrustServer, arguments: &[&str]) -> Command {
        let mut command = server.notary(self.dir.path(), &self.path("trust"));
        command.args(arguments);
        command
    }

    fn notary(&self, server: &TrustServer, arguments: &[&str]) -> String {
        succeed(&mut self.command(server, arguments))
    }

    /// Publishes a target; `notary` wants it staged first.
    fn publish(&self, server: &TrustServer, name: &str) {
        self.notary(server, &["addhash", GUN, name, "11", "--sha256", HASH]);
        self.notary(server, &["publish", GUN]);
    }

    /// Another user with the same keys, who has seen the same.
    fn twin(&self) -> Self {
        let twin = Self::new();
        succeed(
            Command::new("cp")
                .arg("-r")
                .arg(self.path("trust"))
                .arg(twin.path("trust")),
        );
        twin
    }
}

/// What somebody sees who comes for the first time and trusts what is there.
fn targets(server: &TrustServer) -> BTreeSet<String> {
    let listed = User::new().notary(server, &["list", GUN]);
    let lines = listed.lines().filter(|line| line.contains(HASH));
    lines
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The life of a collection as Debian's client leads it, each command sent to one of `servers` in turn.
fn whole_life(servers: &[&TrustServer]) {
    let user = User::new();
    let mut turn = servers.iter().cycle();
    let mut notary = |arguments: &[&str]| user.notary(turn.next().unwrap(), arguments);
    let file = user.path("file");
    fs::write(&file, "hello world").unwrap();
    let file = file.to_str().unwrap();

    notary(&["init", "-p", GUN]);
    notary(&["add", GUN, "v1", file]);
    notary(&["addhash", GUN, "v2", "11", "--sha256", HASH]);
    assert!(notary(&["status", GUN]).contains("v2"));
    notary(&["publish", GUN]);
    let listed = notary(&["list", GUN]);
    assert!(listed.contains("v1") && listed.contains(HASH), "{listed}");
    assert!(notary(&["lookup", GUN, "v2"]).contains(HASH));
    notary(&["verify", GUN, "v1", "-i", file]);

    notary(&["key", "rotate", GUN, "snapshot", "-r"]);
    notary(&["key", "rotate", GUN, "timestamp", "-r"]);
    notary(&["key", "rotate", GUN, "targets"]);
    // Without the snapshot's key the client uploads none, and the server makes it.
    notary(&["addhash", "-p", GUN, "v3", "11", "--sha256", HASH]);
    notary(&["key", "rotate", GUN, "snapshot"]);
    notary(&["addhash", "-p", GUN, "v4", "11", "--sha256", HASH]);
    notary(&["key", "rotate", GUN, "snapshot", "-r"]);

    let cert = delegate(&user, "bob");
    notary(&[
        "delegation",
        "add",
        "-p",
        GUN,
        "targets/releases",
        cert.to_str().unwrap(),
        "--all-paths",
    ]);
    assert!(notary(&["delegation", "list", GUN]).contains("targets/releases"));
    notary(&[
        "addhash",
        "-p",
        GUN,
        "r1",
        "11",
        "--sha256",
        HASH,
        "-r",
        "targets/releases",
    ]);
    let listed = notary(&["list", GUN]);
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("r1") && line.contains("targets/releases")),
        "{listed}"
    );
    notary(&["witness", "-p", GUN, "targets/releases"]);
    notary(&["delegation", "remove", "-p", "-y", GUN, "targets/releases"]);
    assert!(!notary(&["list", GUN]).contains("r1"));

    notary(&["remove", "-p", GUN, "v4"]);
    assert_eq!(targets(servers[0]), names(&["v2", "v3"]));
    assert!(notary(&["lookup", GUN, "v3"]).contains(HASH));
    notary(&["delete", "--remote", GUN]);
    for server in servers {
        let (code, text) = run(&mut User::new().command(server, &["list", GUN]));
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("does not have trust data"), "{text}");
    }
    // What was deleted can begin again.
    User::new().notary(servers[0], &["init", "-p", GUN]);
}

/// Makes a delegate's key, which the user has, and its certificate.
fn delegate(user: &User, name: &str) -> PathBuf {
    let (cert, key) = certificate(user.dir.path(), name);
    let mut import = in_home(Path::new("notary"), user.dir.path());
    import
        .env("NOTARY_DELEGATION_PASSPHRASE", PASSPHRASE)
        .arg("-d")
        .arg(user.path("trust"));
    import
        .args(["key", "import", "--role", "delegation"])
        .arg(&key)
        .stdin(Stdio::null());
    succeed(&mut import);
    cert
}

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
fn answers_are_what_http_says_they_should_be() {
    let setup = Setup::in_directory();
    let server = setup.start_plain(&[]);
    let user = User::new();
    user.notary(&server, &["init", "-p", GUN]);
    user.publish(&server, "v1");
    let path = |file: &str| format!("/v2/{GUN}/_trust/tuf/{file}");
    let find = |lines: &[String], name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.map(str::to_owned)
    };

    let (status, head, root) = server.ask("GET", &path("root.json"), &[], b"");
    assert_eq!(status, 200);
    let (etag, date) = (find(&head, "etag").unwrap(), find(&head, "last-modified").unwrap());
    assert!(date.ends_with(" gmt"), "{date}");
    assert_eq!(
        find(&head, "cache-control").unwrap(),
        "public, max-age=300, s-maxage=300, must-revalidate"
    );
    for condition in [("If-None-Match", etag.as_str()), ("If-Modified-Since", &date)] {
        // Header values are compared as they were sent, in upper case.
        let value = condition.1.replace("gmt", "GMT");
        let (status, _, body) = server.ask("GET", &path("root.json"), &[(condition.0, &value)], b"");
        assert_eq!((status, body.len()), (304, 0), "{condition:?}");
    }
    let (status, head, body) = server.ask("HEAD", &path("root.json"), &[], b"");
    assert_eq!((status, body.len()), (200, 0));
    assert_eq!(find(&head, "content-length").unwrap(), root.len().to_string());
    let (_, head, body) = server.ask("GET", &path("root.json"), &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(find(&head, "content-encoding").unwrap(), "gzip");
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(body.as_slice()), &mut unpacked).unwrap();
    assert_eq!(unpacked, root);

    let hash = imgkit::digest::Digest::sha256(&root).hex();
    let (status, head, body) = server.ask("GET", &path(&format!("root.{hash}.json")), &[], b"");
    assert_eq!((status, body), (200, root.clone()));
    assert!(find(&head, "cache-control").unwrap().contains("max-age=2592000"));
    assert_eq!(server.ask("GET", &path("1.root.json"), &[], b"").2, root);
    // The targets before the last publication.
    let (status, _, old) = server.ask("GET", &path("2.targets.json"), &[], b"");
    assert_eq!(
        (status, String::from_utf8(old).unwrap().contains("\"targets\":{}")),
        (200, true)
    );

    let not_found = "{\"errors\":[{\"code\":\"METADATA_NOT_FOUND\",\"message\":\"You have requested metadata that does not exist.\",\"detail\":{}}]}\n";
    for file in [
        "2.root.json",
        &format!("root.{HASH}.json"),
        "targets/x.json",
        "targets.key",
    ] {
        let (status, _, body) = server.ask("GET", &path(file), &[], b"");
        assert_eq!(status, 404, "{file}");
        assert_eq!(String::from_utf8(body).unwrap().len(), not_found.len(), "{file}");
    }
    assert_eq!(server.ask("GET", "/v2/", &[], b"").2, b"{}");
    assert_eq!(server.ask("GET", "/_notary_server/health", &[], b"").0, 200);
    assert_eq!(server.ask("PUT", &path("root.json"), &[], b"").0, 405);
    let metrics = String::from_utf8(server.ask("GET", "/metrics", &[], b"").2).unwrap();
    assert!(
        metrics.contains("notary_server_http_requests_total{operation=\"UpdateTUF\",code=\"2xx\"} 2"),
        "{metrics}"
    );

    let feed = |query: &str| {
        let (status, _, body) = server.ask("GET", &format!("/v2/_trust/changefeed?{query}"), &[], b"");
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    assert_eq!(feed("records=10").1["count"], 2);
    assert_eq!(feed("records=1&change_id=1").1["records"][0]["ID"], "2");
    // The original's handler panics over this one.
    assert_eq!(feed("records=-2&change_id=0").1["records"][1]["Version"], 2);
    assert_eq!(feed("records=-1&change_id=2").1["records"][0]["ID"], "1");
    let (status, error) = feed("change_id=1");
    assert_eq!(
        (status, error["errors"][0]["code"].as_str().unwrap()),
        (400, "INVALID_PARAMETERS")
    );
    assert_eq!(server.ask("DELETE", &path(""), &[], b"").0, 200);
    assert_eq!(server.ask("DELETE", "/v2/never/_trust/tuf/", &[], b"").0, 200);
    assert_eq!(feed("records=-1").1["records"][0]["Category"], "deletion");
}

#[test]
fn uploads_that_are_not_whole_change_nothing() {
    let setup = Setup::in_directory();
    let server = setup.start_plain(&["--gun-prefix", "example.com/"]);
    let post = |gun: &str, filename: &str, content: &str| {
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{filename}\"\r\n\r\n{content}\r\n--b--\r\n"
        );
        let kind = ("Content-Type", "multipart/form-data; boundary=b");
        let (status, _, body) = server.ask("POST", &format!("/v2/{gun}/_trust/tuf/"), &[kind], body.as_bytes());
        let error: Value = serde_json::from_slice(&body).unwrap();
        (status, error["errors"][0]["code"].as_str().unwrap().to_owned())
    };
    let refused = |code: &str| (400, code.to_owned());
    assert_eq!(post(GUN, "", "{}"), refused("NO_FILENAME"));
    assert_eq!(post(GUN, "other", "{}"), refused("INVALID_ROLE"));
    assert_eq!(post(GUN, "root", "{"), refused("MALFORMED_JSON"));
    assert_eq!(post(GUN, "root", "{}"), refused("INVALID_UPDATE"));
    assert_eq!(post(GUN, "targets", "{}"), refused("INVALID_UPDATE"));
    assert_eq!(post("elsewhere.com/x", "root", "{}"), refused("INVALID_GUN"));
    let path = format!("/v2/{GUN}/_trust/tuf/");
    let (status, _, _) = server.ask("POST", &path, &[("Content-Type", "text/plain")], b"x");
    assert_eq!(status, 400);
    let (status, _, _) = server.ask(
        "POST",
        &path,
        &[("Content-Type", "multipart/form-data; boundary=b")],
        b"--b\r\n",
    );
    assert_eq!(status, 400);
    let headers = [
        ("Content-Type", "multipart/form-data; boundary=b"),
        ("Content-Length", "99999999999"),
    ];
    assert_eq!(server.ask("POST", &path, &headers, b"").0, 413);
    assert_eq!(server.ask("GET", &format!("{path}root.json"), &[], b"").0, 404);
}

#[test]
fn timestamps_are_renewed_before_they_end() {
    let setup = Setup::in_directory();
    let mut server = setup.start_plain(&[]);
    let user = User::new();
    user.notary(&server, &["init", "-p", GUN]);
    let version = |server: &TrustServer| {
        let path = format!("/v2/{GUN}/_trust/tuf/timestamp.json");
        let (_, _, body) = server.ask("GET", &path, &[], b"");
        serde_json::from_slice::<Value>(&body).unwrap()["signed"]["version"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(version(&server), 1);
    assert!(server.stop(Signal::TERM).success(), "SIGTERM ends it in order");
    let later = |days: i64, seconds: i64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        imgkit::time::Time::from_unix(now + days * 86_400 + seconds)
            .unwrap()
            .to_string()
    };
    // A start finds what is due: two days before the end.
    let mut server = setup.start_plain(&["--at", &later(13, 0)]);
    let end = Instant::now() + Duration::from_secs(20);
    while !succeed(&mut feed_reader(&server)).contains("\"count\":2") {
        assert!(Instant::now() < end, "not renewed");
        sleep(Duration::from_millis(50));
    }
    assert_eq!(version(&server), 2);
    assert!(server.stop(Signal::INT).success());
    // So does a request, when it falls due between two looks. The second timestamp was made in 13 days.
    let server = setup.start_plain(&["--at", &later(13 + 12, -4)]);
    assert_eq!(version(&server), 2);
    sleep(Duration::from_secs(6));
    assert_eq!(version(&server), 3);
    assert_eq!(version(&server), 3);
}

/// Asks for the changefeed without TLS.
fn feed_reader(server: &TrustServer) -> Command {
    let mut bash = Command::new("bash");
    let (host, port) = server.host().split_once(':').unwrap();
    let request = "GET /v2/_trust/changefeed?records=0 HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n";
    bash.arg("-c").arg(format!(
        "exec 3<>/dev/tcp/{host}/{port}; printf '{request}' >&3; cat <&3"
    ));
    bash
}

#[test]
fn tokens_decide_who_may_do_what() {
    let setup = Setup::in_directory();
    let (cert, key) = certificate(setup.path(), "token");
    let tokens = token_server(&cert, &key);
    let realm = format!("http://{}/token", tokens.host());
    let auth = [
        "--auth-realm",
        &realm,
        "--auth-service",
        "notary.test",
        "--auth-issuer",
        "tests",
        "--auth-root-cert",
    ];
    let server = setup.start(&[&auth[..], &[cert.to_str().unwrap()]].concat());
    let user = User::new();
    let (code, _) = run(&mut user.command(&server, &["init", "-p", GUN]));
    assert_ne!(code, 0, "nobody may publish without a token");
    let known = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let user = User::new();
    let as_user = |arguments: &[&str]| succeed(user.command(&server, arguments).env("NOTARY_AUTH", &known));
    as_user(&["init", "-p", GUN]);
    as_user(&["addhash", "-p", GUN, "v1", "11", "--sha256", HASH]);
    as_user(&["key", "rotate", GUN, "timestamp", "-r"]);
    assert!(as_user(&["list", GUN]).contains("v1"));
    as_user(&["delete", "--remote", GUN]);
    // The tokens' certificate may be one that the root issued.
    let issued = issued_certificate(setup.path());
    let tokens_of_issued = token_server(&issued, &setup.path().join("issued.key"));
    let realm_of_issued = format!("http://{}/token", tokens_of_issued.host());
    let mut auth_of_issued = auth;
    auth_of_issued[1] = &realm_of_issued;
    let root = setup.path().join("ca.crt");
    drop(server);
    let server = setup.start(&[&auth_of_issued[..], &[root.to_str().unwrap()]].concat());
    succeed(
        User::new()
            .command(&server, &["init", "-p", GUN])
            .env("NOTARY_AUTH", &known),
    );
    // A server that trusts another token server's key lets in nobody.
    let (other, _) = certificate(setup.path(), "other");
    drop(server);
    let server = setup.start(&[&auth[..], &[other.to_str().unwrap()]].concat());
    let (code, _) = run(User::new()
        .command(&server, &["init", "-p", GUN])
        .env("NOTARY_AUTH", &known));
    assert_ne!(code, 0);
}

/// Makes a certificate authority, `ca.crt`, and `issued.crt` with `issued.key` by it.
fn issued_certificate(dir: &Path) -> PathBuf {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split(' '))
            .current_dir(dir)
            .stderr(Stdio::null());
        succeed(&mut command);
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!(
        "req -x509 {key} -subj /CN=ca -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt"
    ));
    openssl(&format!(
        "req -new {key} -subj /CN=tokens -keyout issued.key -out issued.csr"
    ));
    fs::write(dir.join("issued.ext"), "basicConstraints=critical,CA:FALSE\n").unwrap();
    openssl(
        "x509 -req -in issued.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile issued.ext -out issued.crt",
    );
    dir.join("issued.crt")
}

#[test]
fn wrong_options_and_passphrases_are_refused() {
    let setup = Setup::in_directory();
    drop(setup.start_plain(&[]));
    let (code, text) = run(setup.command(&[]).env("IMGKIT_PASSPHRASE", "another"));
    assert_eq!(code, 2, "{text}");
    let (code, text) = run(setup.command(&["--listen", "0.0.0.0:0"]).env("X", ""));
    assert_eq!(code, 2, "{text}");
    let (code, text) = run(&mut setup.command(&["--store", "postgres://u:secret@127.0.0.1:1/d"]));
    assert_eq!((code, text.contains("secret")), (2, false), "{text}");
    let (code, text) = run(&mut setup.command(&["--store", "postgres://u@db.example/d"]));
    assert_eq!(code, 2, "{text}");
    let _first = setup.start_plain(&[]);
    let (code, text) = run(&mut setup.command(&[]));
    assert_eq!((code, text.contains("another server is using it")), (3, true), "{text}");
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
