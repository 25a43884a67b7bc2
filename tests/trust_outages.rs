//! Collections whose place is full, and servers that lose what they stand on: what was published stays, and the rest is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use common::home::Home;
use common::serve::{Database, Setup, TrustServer};
use common::{in_mounts_of_its_own, run};

const GUN: &str = "example.com/outages/app";
const HASH: &str = "a155771cf43ecc9d481d33c7a3ee06b84d2d838be021ede4355893bab1fd1024";

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

/// A user of Debian's client.
struct User(tempfile::TempDir);

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn notary(&self, server: &TrustServer, arguments: &[&str]) -> (i32, String) {
        run(server
            .notary(self.0.path(), &self.0.path().join("trust"))
            .args(arguments))
    }

    fn publish(&self, server: &TrustServer, name: &str) -> bool {
        let (staged, text) = self.notary(server, &["addhash", GUN, name, "11", "--sha256", HASH]);
        assert_eq!(staged, 0, "{text}");
        self.notary(server, &["publish", GUN]).0 == 0
    }
}

/// What somebody sees who comes for the first time; `None` when that cannot be found out.
fn targets(server: &TrustServer) -> Option<BTreeSet<String>> {
    let (code, listed) = User::new().notary(server, &["list", GUN]);
    let names = listed.lines().filter(|line| line.contains(HASH));
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    (code == 0).then(|| names.collect())
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
        let done = user.publish(&server, &name);
        if done {
            published.insert(name);
        }
        !done
    });
    assert!(full, "160 KiB hold {} versions; choose a smaller size", published.len());
    assert!(!published.is_empty(), "160 KiB hold nothing; choose a larger size");
    assert_eq!(targets(&server).unwrap(), published);
}

#[test]
fn a_server_without_its_database_says_so_and_goes_on_when_it_is_back() {
    let mut database = Database::start();
    let setup = Setup::in_database(&database.url());
    let server = setup.start(&[]);
    let user = User::new();
    user.notary(&server, &["init", GUN]);
    assert!(user.publish(&server, "before"));
    let before: BTreeSet<String> = ["before".to_owned()].into();
    assert_eq!(targets(&server), Some(before.clone()));
    database.without(|| {
        assert!(!user.publish(&server, "meanwhile"), "published into no database");
        assert_eq!(targets(&server), None, "answered without a database");
    });
    // The server connects anew by itself; a client may come too early.
    let back = (0..50).find_map(|_| {
        sleep(Duration::from_millis(200));
        targets(&server)
    });
    assert_eq!(back, Some(before));
    assert_eq!(
        user.notary(&server, &["publish", GUN]).0,
        0,
        "what was staged is published now"
    );
    assert!(targets(&server).unwrap().contains("meanwhile"));
}
