//! A user of Debian's client at `imgkit trust serve`, and the whole life of a collection as that client leads it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::notary::{PASSPHRASE, certificate};
use super::serve::TrustServer;
use super::{in_home, run, succeed};

pub const GUN: &str = "example.com/serve/app";
pub const HASH: &str = "a155771cf43ecc9d481d33c7a3ee06b84d2d838be021ede4355893bab1fd1024";

/// A user of Debian's client.
pub struct User {
    pub dir: tempfile::TempDir,
}

impl User {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, server: &TrustServer, arguments: &[&str]) -> Command {
        let mut command = server.notary(self.dir.path(), &self.path("trust"));
        command.args(arguments);
        command
    }

    pub fn notary(&self, server: &TrustServer, arguments: &[&str]) -> String {
        succeed(&mut self.command(server, arguments))
    }

    /// Publishes a target; `notary` wants it staged first.
    pub fn publish(&self, server: &TrustServer, name: &str) {
        self.notary(server, &["addhash", GUN, name, "11", "--sha256", HASH]);
        self.notary(server, &["publish", GUN]);
    }

    /// Another user with the same keys, who has seen the same.
    pub fn twin(&self) -> Self {
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
pub fn targets(server: &TrustServer) -> BTreeSet<String> {
    targets_or_none(server).expect("a collection")
}

/// The same; `None` when it cannot be found out.
pub fn targets_or_none(server: &TrustServer) -> Option<BTreeSet<String>> {
    let (code, listed) = run(&mut User::new().command(server, &["list", GUN]));
    let lines = listed.lines().filter(|line| line.contains(HASH));
    let names = lines.map(|line| line.split_whitespace().next().unwrap().to_owned());
    (code == 0).then(|| names.collect())
}

pub fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Waits until a list is as it should be: another server of the same database is told of a publication within two seconds.
fn lists(notary: &mut impl FnMut(&[&str]) -> String, good: &dyn Fn(&str) -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let listed = notary(&["list", GUN]);
        if good(&listed) {
            return;
        }
        assert!(Instant::now() < until, "{listed}");
    }
}

/// The life of a collection as Debian's client leads it, each command sent to one of `servers` in turn.
pub fn whole_life(servers: &[&TrustServer]) {
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
    lists(&mut notary, &|listed| listed.contains("v1") && listed.contains(HASH));
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
    let of_releases = |listed: &str| {
        let mut lines = listed.lines();
        lines.any(|line| line.starts_with("r1") && line.contains("targets/releases"))
    };
    lists(&mut notary, &of_releases);
    notary(&["witness", "-p", GUN, "targets/releases"]);
    notary(&["delegation", "remove", "-p", "-y", GUN, "targets/releases"]);
    lists(&mut notary, &|listed| !listed.contains("r1"));

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
pub fn delegate(user: &User, name: &str) -> PathBuf {
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
