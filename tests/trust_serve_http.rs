//! What `imgkit trust serve` says over HTTP: answers, uploads, tokens, and what it refuses to start with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::notary::{PASSWORD, USER, certificate, token_server};
use common::notary_user::{GUN, HASH, User};
use common::serve::{Database, Setup, TrustServer};
use common::{run, succeed};
use imgkit::time::{DAY, Time};
use rustix::process::Signal;
use serde_json::Value;

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

    let not_found = "{\"errors\":[{\"code\":\"METADATA_NOT_FOUND\",\"detail\":{},\"message\":\"You have requested metadata that does not exist.\"}]}\n";
    for file in [
        "2.root.json",
        &format!("root.{HASH}.json"),
        "targets/x.json",
        "targets.key",
    ] {
        let (status, _, body) = server.ask("GET", &path(file), &[], b"");
        assert_eq!(status, 404, "{file}");
        assert_eq!(String::from_utf8(body).unwrap(), not_found, "{file}");
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
    let timestamp = |server: &TrustServer| -> (u64, Time) {
        let path = format!("/v2/{GUN}/_trust/tuf/timestamp.json");
        let file: Value = serde_json::from_slice(&server.ask("GET", &path, &[], b"").2).unwrap();
        let signed = &file["signed"];
        (
            signed["version"].as_u64().unwrap(),
            signed["expires"].as_str().unwrap().parse().unwrap(),
        )
    };
    let (version, expires) = timestamp(&server);
    assert_eq!(version, 1);
    assert!(server.stop(Signal::TERM).success(), "SIGTERM ends it in order");
    let due = |expires: Time, seconds: i64| expires.plus(-2 * DAY + seconds).to_string();
    // A start finds what is due: two days before the end.
    let mut server = setup.start_plain(&["--at", &due(expires, DAY)]);
    // Who asks for the timestamp itself would renew it.
    let changes = || String::from_utf8(server.ask("GET", "/v2/_trust/changefeed?records=0", &[], b"").2).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while !changes().contains("\"count\":2") {
        assert!(Instant::now() < end, "not renewed");
        sleep(Duration::from_millis(50));
    }
    let (version, expires) = timestamp(&server);
    assert_eq!(version, 2);
    assert!(server.stop(Signal::INT).success());
    // So does a request, when it falls due between two looks: long enough after the start that the server is up by then.
    let server = setup.start_plain(&["--at", &due(expires, -15)]);
    assert_eq!(timestamp(&server).0, 2);
    let end = Instant::now() + Duration::from_secs(60);
    while timestamp(&server).0 == 2 {
        assert!(Instant::now() < end, "not renewed");
        sleep(Duration::from_millis(200));
    }
    assert_eq!(timestamp(&server).0, 3);
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
    let (code, text) = run(&mut setup.command(&["--listen", "0.0.0.0:0"]));
    assert_eq!(code, 2, "{text}");
    let (code, text) = run(&mut setup.command(&["--store-ca", "ca.crt"]));
    assert_eq!((code, text.contains("--store-ca")), (2, true), "{text}");
    let (code, text) = run(&mut setup.command(&["--store", "postgres://u:secret@127.0.0.1:1/d"]));
    assert_eq!((code, text.contains("secret")), (2, false), "{text}");
    let (code, text) = run(&mut setup.command(&["--store", "postgres://u@db.example/d"]));
    assert_eq!(code, 2, "{text}");
    let _first = setup.start_plain(&[]);
    let (code, text) = run(&mut setup.command(&[]));
    assert_eq!((code, text.contains("another server is using it")), (3, true), "{text}");
}

#[test]
fn a_damaged_log_is_told_and_counted() {
    let setup = Setup::in_directory();
    let mut server = setup.start_plain(&[]);
    let user = User::new();
    user.notary(&server, &["init", "-p", GUN]);
    user.publish(&server, "v1");
    server.stop(Signal::TERM);
    let hash = imgkit::digest::Digest::sha256(GUN.as_bytes()).hex();
    let log = setup.path().join("store/collections").join(hash).join("log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[20] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let said = setup.path().join("stderr");
    let mut command = setup.command(&[]);
    command.stderr(fs::File::create(&said).unwrap());
    let mut server = setup.spawn(&mut command);
    let counted = |line: &str| {
        let metrics = String::from_utf8(server.ask("GET", "/metrics", &[], b"").2).unwrap();
        metrics.lines().any(|found| found == line)
    };
    // It looks as soon as it is up.
    let end = Instant::now() + Duration::from_secs(10);
    while !counted("notary_server_failed_renewals_total 1") {
        assert!(Instant::now() < end, "no renewal failed");
        sleep(Duration::from_millis(20));
    }
    // It answers for the others, and with an error for this one, whose changes it does not forget.
    let get = |path: &str| server.ask("GET", path, &[], b"");
    assert_eq!(get(&format!("/v2/{GUN}/_trust/tuf/root.json")).0, 500);
    assert_eq!(get("/v2/example.com/other/_trust/tuf/timestamp.key").0, 200);
    let feed = String::from_utf8(get("/v2/_trust/changefeed?records=0").2).unwrap();
    assert!(feed.contains("\"count\":2"), "{feed}");
    server.stop(Signal::TERM);
    let said = fs::read_to_string(&said).unwrap();
    assert!(said.contains("store is damaged"), "{said}");
}

#[test]
fn deleting_keys_alone_changes_what_publications_are_planned_on() {
    let database = Database::start();
    let setup = Setup::in_database(&database.url());
    let server = setup.start_plain(&[]);
    let revisions = || database.query("SELECT gun, revision FROM imgkit_notary_collections");
    let path = |file: &str| format!("/v2/{GUN}/_trust/tuf/{file}");
    assert_eq!(server.ask("DELETE", &path(""), &[], b"").0, 200);
    assert_eq!(revisions(), "");
    assert_eq!(server.ask("GET", &path("timestamp.key"), &[], b"").0, 200);
    assert_eq!(server.ask("DELETE", &path(""), &[], b"").0, 200);
    assert_eq!(revisions(), format!("{GUN}|1"));
    assert_eq!(database.query("SELECT count(*) FROM imgkit_notary_changes"), "0");
}
