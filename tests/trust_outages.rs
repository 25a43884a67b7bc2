//! Collections whose place is full, and servers that lose what they stand on: what was published stays, and the rest is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use common::home::Home;
use common::notary_user::{GUN, HASH, User, names, targets, targets_or_none};
use common::serve::{Database, Setup, TrustServer};
use common::{in_home, in_mounts_of_its_own, run};
use serde_json::Value;

/// Runs a command where a small file system is mounted at `full`; `script` is run there, with the command as its arguments.
fn on_a_small_disk(home: &Path, command: &Command, full: &Path, kib: u64, script: &str) -> Command {
    let mut small = in_mounts_of_its_own(home);
    let mount = r#"mount -t tmpfs -o size="$SIZE" tmpfs "$FULL" || exit 99"#;
    small.args(["sh", "-c", &format!("{mount}\n{script}"), "sh"]);
    small.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            small.env(name, value);
        }
    }
    small.env("SIZE", format!("{kib}k")).env("FULL", full);
    small
}

/// The room that the files of a directory take, in KiB.
fn room(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let one = |path: std::path::PathBuf| match path.is_dir() {
        true => room(&path),
        false => fs::metadata(&path).unwrap().len().next_multiple_of(4096) / 1024,
    };
    entries.map(one).sum()
}

#[test]
fn a_full_disk_leaves_the_collection_as_it_was() {
    let home = Home::with_collection(&["--bins", "4"]);
    let content = home.file("content", "x");
    home.good(&["sign", "--file", &content, "--name", "spec/first"]);
    fs::rename(home.path("trust"), home.path("trust.whole")).unwrap();
    fs::create_dir(home.path("trust")).unwrap();
    let needed = room(&home.path("trust.whole"));
    let script = r#"cp -r "$WHOLE/." "$FULL"
        "$@" >/dev/null; echo "sign: $?"
        "$IMGKIT" --output json trust ls --collection c --at "$AT"; echo "ls: $?"
        find "$FULL" -name '*.partial'"#;
    let sign = home.command(&["sign", "--file", &content, "--name", "spec/second"]);
    let (mut full, mut done) = (0, 0);
    for more in [0, 4, 8, 12, 16, 20, 24, 28, 4096] {
        let mut small = on_a_small_disk(home.dir(), &sign, &home.path("trust"), needed + more, script);
        small.env("WHOLE", home.path("trust.whole"));
        small
            .env("IMGKIT", env!("CARGO_BIN_EXE_imgkit"))
            .env("AT", common::home::NOW);
        let (_, text) = run(&mut small);
        assert!(text.contains("ls: 0"), "{more} KiB: {text}");
        assert!(
            text.contains("spec/first") && !text.contains(".partial"),
            "{more} KiB: {text}"
        );
        if text.contains("sign: 0") {
            assert!(text.contains("spec/second"), "{more} KiB: {text}");
            done += 1;
        } else {
            assert!(text.contains("sign: 3"), "{more} KiB: {text}");
            full += 1;
        }
    }
    assert!(full > 0 && done > 0, "choose other sizes: {full} full, {done} done");
}

/// Publishes a target, or tells that the server could not.
fn try_publish(user: &User, server: &TrustServer, name: &str) -> bool {
    user.notary(server, &["addhash", GUN, name, "11", "--sha256", HASH]);
    run(&mut user.command(server, &["publish", GUN])).0 == 0
}

#[test]
fn a_server_whose_disk_is_full_keeps_the_last_collection() {
    let setup = Setup::in_directory();
    let store = setup.path().join("store");
    fs::create_dir(&store).unwrap();
    let serve = setup.command(&setup.tls());
    let mut small = on_a_small_disk(setup.path(), &serve, &store, 160, r#"chmod 700 "$FULL"; exec "$@""#);
    let server = setup.spawn(&mut small);
    let user = User::new();
    user.notary(&server, &["init", GUN]);
    let mut published = BTreeSet::new();
    let full = (0..60).any(|round| {
        let name = format!("n{round}");
        let done = try_publish(&user, &server, &name);
        if done {
            published.insert(name);
        }
        !done
    });
    assert!(full, "160 KiB hold {} versions; choose a smaller size", published.len());
    assert!(!published.is_empty(), "160 KiB hold nothing; choose a larger size");
    assert_eq!(targets(&server), published);
}

/// A command without root's rights, also where the test is root: what permissions forbid, it cannot do.
fn without_rights(home: &Path, command: &Command) -> Command {
    let mut plain = in_home(Path::new("setpriv"), home);
    if rustix::process::geteuid().is_root() {
        plain.arg("--bounding-set=-all");
    }
    plain.arg("--").arg(command.get_program()).args(command.get_args());
    plain.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    plain
}

#[test]
fn a_first_publication_that_cannot_be_kept_for_good_is_not_there() {
    let setup = Setup::in_directory();
    let server = setup.spawn(&mut without_rights(setup.path(), &setup.command(&[])));
    let user = User::new();
    user.notary(&server, &["init", GUN]);
    let collections = setup.path().join("store/collections");
    let allow = |mode: u32| fs::set_permissions(&collections, Permissions::from_mode(mode)).unwrap();
    let seen = || {
        let root = server
            .ask("GET", &format!("/v2/{GUN}/_trust/tuf/root.json"), &[], b"")
            .0;
        let feed = server.ask("GET", "/v2/_trust/changefeed?records=0", &[], b"").2;
        (root, serde_json::from_slice::<Value>(&feed).unwrap()["count"].as_u64())
    };
    // New directories can be made in it; but it cannot be opened, and so not written out.
    allow(0o300);
    assert!(!try_publish(&user, &server, "first"));
    assert_eq!(seen(), (404, Some(0)));
    allow(0o700);
    user.notary(&server, &["publish", GUN]);
    assert_eq!(seen(), (200, Some(1)));
    assert_eq!(targets(&server), names(&["first"]));
}

#[test]
fn a_server_without_its_database_says_so_and_goes_on_when_it_is_back() {
    let mut database = Database::start();
    let setup = Setup::in_database(&database.url());
    let server = setup.start(&[]);
    let user = User::new();
    user.notary(&server, &["init", GUN]);
    assert!(try_publish(&user, &server, "before"));
    assert_eq!(targets(&server), names(&["before"]));
    database.without(|| {
        assert!(!try_publish(&user, &server, "meanwhile"), "published into no database");
        assert_eq!(targets_or_none(&server), None, "answered without a database");
    });
    // The server connects anew by itself; a client may come too early.
    let back = (0..50).find_map(|_| {
        sleep(Duration::from_millis(200));
        targets_or_none(&server)
    });
    assert_eq!(back, Some(names(&["before"])));
    // What was staged is published now.
    user.notary(&server, &["publish", GUN]);
    assert_eq!(targets(&server), names(&["before", "meanwhile"]));
}
