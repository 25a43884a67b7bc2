//! Beside python-tuf, the reference implementation: its client reads what imgkit publishes, and `imgkit tuf` what it publishes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::server::{Answer, Server};
use serde_json::Value;

/// What the virtual environment of these tests holds.
const PACKAGES: [&str; 2] = ["tuf==7.0.1", "securesystemslib[crypto]==1.6.0"];

/// Returns a Python that has python-tuf; the first test that needs it makes it.
fn python() -> PathBuf {
    common::python("python-tuf", &PACKAGES)
}

fn assert_good(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Serves a directory byte for byte: a file's name is the URL's, with what is encoded in it.
fn serve(dir: &Path) -> Server {
    let dir = dir.to_owned();
    Server::start(
        move |_, request| match fs::read(dir.join(request.path.trim_start_matches('/'))) {
            Ok(bytes) => Answer::ok(bytes),
            Err(_) => Answer::status(404),
        },
    )
}

/// Makes, or publishes the next version of, a repository with python-tuf in `dir`.
fn python_publishes(dir: &Path, form: &str, version: u32, naming: &str) {
    let mut command = Command::new(python());
    command.arg("tests/tuf/repository.py").arg(dir).arg(form);
    command.arg(version.to_string()).arg(naming);
    assert_good(&command.output().unwrap());
}

/// A user of `imgkit tuf` of a repository that python-tuf published.
struct User {
    dir: tempfile::TempDir,
    server: Server,
}

impl User {
    fn of(repository: &Path) -> Self {
        let user = Self {
            dir: tempfile::tempdir().unwrap(),
            server: serve(repository),
        };
        let root = repository.join("metadata/1.root.json");
        assert_eq!(user.tuf(&["init", root.to_str().unwrap()]).0, 0);
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `imgkit tuf`, and returns its exit code and what it reports.
    fn tuf(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = common::imgkit(self.dir.path());
        command
            .args(["--output", "json", "tuf", "--metadata-dir"])
            .arg(self.path("metadata"));
        let url = |path: &str| format!("http://{}/{path}", self.server.host());
        command.args([
            "--metadata-url",
            &url("metadata"),
            "--target-base-url",
            &url("targets/"),
        ]);
        command.arg("--target-dir").arg(self.path("targets")).args(arguments);
        let output = command.output().unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap(), report)
    }

    fn download(&self, names: &[&str]) -> (i32, Value) {
        let mut arguments: Vec<_> = names.iter().flat_map(|name| ["--target-name", *name]).collect();
        arguments.push("download");
        self.tuf(&arguments)
    }

    /// Returns the paths that were asked for since `from` requests.
    fn asked(&self, from: usize) -> Vec<String> {
        let requests = self.server.requests();
        requests[from..].iter().map(|request| request.path.clone()).collect()
    }

    /// Returns the version of a role's trusted metadata.
    fn version(&self, role: &str) -> u64 {
        let bytes = fs::read(self.path("metadata").join(format!("{role}.json"))).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["signed"]["version"]
            .as_u64()
            .unwrap()
    }
}

/// Names of the repository `plain`: what targets, an odd role, one by hash prefixes and a nested one sign.
const PLAIN: [&str; 6] = [
    "file.txt",
    "a b+c%?.txt",
    "by-sha512.txt",
    "odd/x",
    "hashed/x",
    "deep/a/x",
];

#[test]
fn imgkit_reads_what_python_tuf_publishes() {
    for (form, names) in [
        ("plain", &PLAIN[..]),
        ("bins", &["dir/file-1", "dir/file-2", "dir/file-19"]),
    ] {
        for naming in ["consistent", "by-name"] {
            let repository = tempfile::tempdir().unwrap();
            python_publishes(repository.path(), form, 1, naming);
            let user = User::of(repository.path());
            for version in [1, 2] {
                if version == 2 {
                    python_publishes(repository.path(), form, 2, naming);
                }
                let (code, report) = user.download(names);
                assert_eq!(code, 0, "{form} {naming}: {report}");
                for (name, entry) in names.iter().zip(report["result"].as_array().unwrap()) {
                    let content = fs::read(entry["path"].as_str().unwrap()).unwrap();
                    assert_eq!(content, format!("{name} {version}").as_bytes(), "{form} {naming}");
                    assert_eq!(entry["fetched"], true);
                }
                for role in ["root", "timestamp", "snapshot", "targets"] {
                    assert_eq!(user.version(role), version, "{form} {naming} {role}");
                }
            }
            let (code, report) = user.download(&["deep/a/unsigned"]);
            assert_eq!(
                (code, &report["verdict"]),
                (1, &"refused".into()),
                "{form} {naming}: {report}"
            );
        }
    }
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let repository = tempfile::tempdir().unwrap();
    python_publishes(repository.path(), "plain", 1, "consistent");
    let user = User::of(repository.path());
    assert_eq!(user.tuf(&["refresh"]).0, 0);
    let first = [
        "/metadata/2.root.json",
        "/metadata/timestamp.json",
        "/metadata/1.snapshot.json",
        "/metadata/1.targets.json",
    ];
    assert_eq!(user.asked(0), first);
    assert_eq!(user.download(&["odd/x"]).0, 0);
    let seen = user.asked(0).len();
    let (code, report) = user.download(&["odd/x"]);
    assert_eq!((code, &report["result"][0]["fetched"]), (0, &false.into()));
    assert_eq!(user.asked(seen), ["/metadata/2.root.json", "/metadata/timestamp.json"]);
    // An artifact that somebody changed is fetched anew, as is one that was cut.
    for bad in ["odd/x 2", "odd"] {
        fs::write(user.path("targets/odd%2Fx"), bad).unwrap();
        assert_eq!(user.download(&["odd/x"]).1["result"][0]["fetched"], true);
        assert_eq!(fs::read(user.path("targets/odd%2Fx")).unwrap(), b"odd/x 1");
    }
}

#[test]
fn an_artifact_that_is_not_what_was_signed_gets_no_name() {
    let repository = tempfile::tempdir().unwrap();
    python_publishes(repository.path(), "plain", 1, "by-name");
    let user = User::of(repository.path());
    for bad in ["file.txt 2", "file.txt 1 and endlessly more", "file", ""] {
        fs::write(repository.path().join("targets/file.txt"), bad).unwrap();
        let (code, report) = user.download(&["file.txt"]);
        assert_eq!((code, &report["verdict"]), (1, &"refused".into()), "{bad}: {report}");
        assert_eq!(fs::read_dir(user.path("targets")).unwrap().count(), 0, "{bad}");
    }
    assert_eq!(user.download(&["../file.txt"]).0, 1);
}

#[test]
fn exit_codes_are_0_and_1_alone() {
    let repository = tempfile::tempdir().unwrap();
    python_publishes(repository.path(), "plain", 1, "consistent");
    let user = User::of(repository.path());
    assert_eq!(user.tuf(&["refresh"]).0, 0);
    for wrong in [
        &["refresh", "--nonsense"][..],
        &["init", "/nonexistent"],
        &["download"],
        &["--metadata-url", "x", "refresh"],
    ] {
        assert_eq!(user.tuf(wrong).0, 1, "{wrong:?}");
    }
    assert_eq!(user.tuf(&["--help"]).0, 0);
    // A bad root is refused when it is offered, and leaves the trusted one as it was.
    let bad = user.path("bad.json");
    let root = fs::read_to_string(repository.path().join("metadata/1.root.json")).unwrap();
    let changed = root.replace("consistent_snapshot", "inconsistent_snapshot");
    assert_ne!(changed, root);
    fs::write(&bad, changed).unwrap();
    assert_eq!(user.tuf(&["init", bad.to_str().unwrap()]).0, 1);
    assert_eq!(user.tuf(&["refresh"]).0, 0);
}

#[test]
fn the_clock_that_the_process_sees_is_the_one_that_counts() {
    let repository = tempfile::tempdir().unwrap();
    python_publishes(repository.path(), "plain", 1, "consistent");
    let user = User::of(repository.path());
    let refresh = |days: &str| {
        let mut command = common::imgkit(user.dir.path());
        command.args(["tuf", "--metadata-dir"]).arg(user.path("metadata"));
        command.args([
            "--metadata-url",
            &format!("http://{}/metadata", user.server.host()),
            "refresh",
        ]);
        let output = common::behind(&["faketime", "-f", days], &command).output();
        output.expect("faketime is missing; install it: sudo apt-get install faketime")
    };
    assert!(refresh("+9d").status.success());
    let expired = refresh("+11d");
    assert_eq!(expired.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&expired.stderr).contains("EXPIRED"));
}

/// A collection in the hands of its owner, who works through the command line.
struct Owner {
    home: tempfile::TempDir,
}

impl Owner {
    fn new(init: &[&str]) -> Self {
        let owner = Self {
            home: tempfile::tempdir().unwrap(),
        };
        owner.trust(&[&["init", "c"], init].concat());
        owner
    }

    fn trust(&self, arguments: &[&str]) {
        let mut command = common::imgkit(self.home.path());
        command
            .env("IMGKIT_PASSPHRASE", "correct horse")
            .arg("trust")
            .args(arguments);
        command.env("IMGKIT_TRUST_DIR", self.home.path().join("trust"));
        command.env("IMGKIT_KEY_DIR", self.home.path().join("keys"));
        assert_good(&command.output().unwrap());
    }

    /// Signs a file of the content `content` as `name`.
    fn sign(&self, role: &str, name: &str, content: &str) {
        let file = self.home.path().join("file");
        fs::write(&file, content).unwrap();
        self.trust(&["sign", "--file", file.to_str().unwrap(), "--name", name, "--role", role]);
    }

    fn collection(&self) -> PathBuf {
        self.home.path().join("trust/c")
    }
}

/// Asks python-tuf's client for `names`, and checks that it says the length and digest of each one's content.
fn python_finds(metadata: &str, directory: &Path, root: &Path, contents: &[(&str, &str)]) {
    fs::copy(root, directory.join("root.json")).unwrap();
    let mut command = Command::new(python());
    command.args(["tests/tuf/find.py", metadata]).arg(directory);
    let found = assert_good(&command.args(contents.iter().map(|(name, _)| name)).output().unwrap());
    let line = |(name, content): &(&str, &str)| {
        let hash = imgkit::digest::Digest::sha256(content.as_bytes()).hex();
        format!("{name} {} {hash}\n", content.len())
    };
    assert_eq!(found, contents.iter().map(line).collect::<String>());
}

#[test]
fn python_tuf_finds_what_imgkit_signs() {
    let owner = Owner::new(&["--role", "team=team/*"]);
    owner.sign("targets", "a", "a");
    owner.sign("team", "team/b", "b");
    let (server, user) = (serve(&owner.collection()), tempfile::tempdir().unwrap());
    let (url, root) = (
        format!("http://{}/", server.host()),
        owner.collection().join("1.root.json"),
    );
    python_finds(&url, user.path(), &root, &[("a", "a"), ("team/b", "b")]);
    // The same client, with what it trusts by now, after a change.
    owner.sign("team", "team/b", "changed");
    python_finds(&url, user.path(), &root, &[("a", "a"), ("team/b", "changed")]);
}

#[test]
fn python_tuf_and_imgkit_find_the_same_names_in_the_same_bins() {
    let names = ["docker.io/library/alpine:3", "a", "b", "spec/node.yml", "é"];
    let contents: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    for bins in ["2", "32", "1024"] {
        let (owner, user) = (Owner::new(&["--bins", bins]), tempfile::tempdir().unwrap());
        for name in names {
            owner.sign("targets", name, name);
        }
        let (server, root) = (serve(&owner.collection()), owner.collection().join("1.root.json"));
        let url = format!("http://{}/", server.host());
        python_finds(&url, user.path(), &root, &contents);
        let asked = |from: usize| {
            server.requests()[from..]
                .iter()
                .map(|request| request.path.clone())
                .collect::<Vec<_>>()
        };
        let first = asked(0);
        let kept = user.path().join("metadata");
        let tuf = |arguments: &[&str]| {
            let mut command = common::imgkit(user.path());
            command.args(["tuf", "--metadata-dir"]).arg(&kept).args(arguments);
            common::run(&mut command)
        };
        assert_eq!(tuf(&["init", root.to_str().unwrap()]).0, 0);
        // No artifacts are there: each look-up ends at its download, after the same files as python-tuf's.
        for name in names {
            let target_dir = user.path().join("targets");
            let (code, text) = tuf(&[
                "--metadata-url",
                &url,
                "--target-base-url",
                &url,
                "--target-name",
                name,
                "--target-dir",
                target_dir.to_str().unwrap(),
                "download",
            ]);
            assert!(code == 1 && text.contains("no such file"), "{text}");
        }
        let of_bins = |paths: &[String]| {
            let mut bins: Vec<_> = paths.iter().filter(|path| path.contains(".bin-")).cloned().collect();
            bins.sort();
            bins
        };
        assert!(!of_bins(&first).is_empty());
        assert_eq!(of_bins(&asked(first.len())), of_bins(&first), "{bins} bins");
    }
}
