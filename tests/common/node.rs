//! A small node with everything that makes an image: signed components, a policy, a specification; no real kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use imgkit::disk::extents::Extent;
use imgkit::key::{Passphrase, SigningKey};
use imgkit::store::key_store::open_key;
use imgkit::store::layout::Layout;
use serde_json::Value;

use super::images::{noise, put, put_archive};

/// The time at which everything in the fixture happens.
pub const NOW: &str = "2026-11-23T00:00:00Z";

pub const PASSPHRASE: &str = "correct horse";

/// Every format that a build makes.
pub const FORMATS: [&str; 4] = ["raw-bios", "qcow2-bios", "kernel+initrd", "tar"];

const COMPONENTS: [&str; 4] = ["boot", "init", "kernel", "svc"];

const SPEC: &str = "\
boot:
  image: local.test/boot:v1
kernel:
  image: local.test/kernel:v1
  tar: none
  cmdline: \"console=ttyS0\"
init:
  - local.test/init:v1
services:
  - name: svc
    image: local.test/svc:v1
    command: [/bin/app]
files:
  - path: etc/node
    mode: \"0644\"
    contents: node
";

const POLICY: &str = "\
version: 1
roots:
  platform: keys/platform/root.json
rules:
  - match: local.test/*
    signed: {root: platform}
    proved: true
image:
  name: node
  arch: amd64
  sealed: {root: platform}
";

/// A directory with store, collection, keys, policy.yml and node.yml.
pub struct Node {
    dir: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub json: Value,
}

impl Answer {
    /// The refusals' codes.
    pub fn codes(&self) -> Vec<&str> {
        self.texts("code")
    }

    /// The refusals' codes, each with the line that it points at.
    pub fn reasons(&self) -> Vec<(&str, Option<u64>)> {
        let refusals = self.json["refusals"].as_array().map(Vec::as_slice).unwrap_or_default();
        let reason = |refusal: &'_ Value| refusal["place"]["line"].as_u64();
        self.codes().into_iter().zip(refusals.iter().map(reason)).collect()
    }

    /// What the refusals are about.
    pub fn subjects(&self) -> Vec<&str> {
        self.texts("subject")
    }

    fn texts(&self, member: &str) -> Vec<&str> {
        let refusals = self.json["refusals"].as_array().map(Vec::as_slice).unwrap_or_default();
        refusals
            .iter()
            .map(|refusal| refusal[member].as_str().unwrap())
            .collect()
    }
}

impl Node {
    /// Makes and signs the components.
    pub fn new() -> Self {
        let node = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        node.component("boot", &[("boot.img", &noise(1, 512)), ("core.img", &noise(2, 50_000))]);
        node.component("kernel", &[("kernel", &noise(3, 40_000))]);
        node.component("init", &[("init", &noise(4, 30_000)), ("etc/motd", b"hello")]);
        node.component("svc", &[("bin/app", &noise(5, 60_000))]);
        node.write("policy.yml", POLICY);
        node.write("node.yml", SPEC);
        node.good(&["trust", "init", "platform", "--at", NOW]);
        let names = COMPONENTS.map(|name| format!("local.test/{name}:v1"));
        let mut sign = vec!["trust", "sign", "--at", NOW];
        sign.extend(names.iter().map(String::as_str));
        node.good(&sign);
        node
    }

    /// Puts a component into the store under its name, replacing what had it.
    pub fn component(&self, name: &str, files: &[(&str, &[u8])]) {
        let layout = Layout::open_or_create(self.path("store")).unwrap();
        put(&layout, &format!("local.test/{name}:v1"), files);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Replaces a part of a file, which must be there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replacen(from, to, 1));
    }

    /// The private key that seals.
    pub fn seal_key(&self) -> PathBuf {
        let mut keys = fs::read_dir(self.path("keys/platform/seal")).unwrap();
        keys.next().unwrap().unwrap().path()
    }

    /// The key that seals, opened.
    pub fn opened_seal_key(&self) -> SigningKey {
        open_key(&self.seal_key(), &Passphrase::new(PASSPHRASE).unwrap()).unwrap()
    }

    /// Puts a component of an archive into the store under its name and has it signed.
    pub fn sign_component(&self, name: &str, archive: &[u8]) {
        let layout = Layout::open_or_create(self.path("store")).unwrap();
        let name = format!("local.test/{name}:v1");
        put_archive(&layout, &name, archive);
        self.good(&["trust", "sign", "--at", NOW, &name]);
    }

    /// The owners of a disk's bytes, as the verifier reports them.
    pub fn extents(&self, disk: &str) -> Vec<Extent> {
        let extents = self.verify(disk).json["result"]["extents"].take();
        serde_json::from_value(extents).unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        self.command_as("json", args)
    }

    fn command_as(&self, output: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgkit"));
        command
            .args(["--output", output])
            .args(args)
            .current_dir(self.dir.path())
            .env_clear();
        command
            .env("HOME", self.dir.path())
            .env("IMGKIT_PASSPHRASE", PASSPHRASE);
        for (name, dir) in [
            ("IMGKIT_STORE", "store"),
            ("IMGKIT_TRUST_DIR", "trust"),
            ("IMGKIT_KEY_DIR", "keys"),
        ] {
            command.env(name, self.path(dir));
        }
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Answer {
        answer(&mut self.command(args))
    }

    /// What a command that is to end well prints for people.
    pub fn text(&self, args: &[&str]) -> String {
        let output = self.command_as("text", args).output().unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn good(&self, args: &[&str]) -> Value {
        let answer = self.run(args);
        assert_eq!(answer.code, 0, "{args:?}: {}", answer.json);
        answer.json["result"].clone()
    }

    /// The arguments of a build of node.yml into `out`, with more behind them.
    pub fn build_args<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let fixed = [
            "build",
            "--offline",
            "--policy",
            "policy.yml",
            "--at",
            NOW,
            "--out",
            out,
        ];
        [&fixed, more, &["node.yml"]].concat()
    }

    /// The arguments of a build of sealed disks and sets of all formats into `out`.
    pub fn sealed_args(&self, out: &str) -> Vec<String> {
        let key = self.seal_key().display().to_string();
        let formats = FORMATS.iter().flat_map(|format| ["--format", *format]);
        let more: Vec<&str> = formats.chain(["--seal-key", &key]).collect();
        let args = Self::build_args(out, &more);
        args.into_iter().map(str::to_owned).collect()
    }

    /// A command that builds all formats into `out`, ready to be run.
    pub fn sealed_build(&self, out: &str) -> Command {
        let args = self.sealed_args(out);
        self.command(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Builds sealed disks and sets of all formats into `out`.
    pub fn build_sealed(&self, out: &str) {
        let built = answer(&mut self.sealed_build(out));
        assert_eq!(built.code, 0, "{}", built.json);
    }

    /// Asserts that `out` holds the very files of `reference`, and nothing else.
    pub fn assert_same_files(&self, out: &str, reference: &str) {
        let (mut found, mut expected) = (self.names(out), self.names(reference));
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{out}");
        for name in found {
            self.assert_same_file(&name, out, reference);
        }
    }

    /// Asserts that a file is the same in two directories.
    pub fn assert_same_file(&self, name: &str, out: &str, reference: &str) {
        let [one, two] = [out, reference].map(|dir| fs::read(self.path(dir).join(name)).unwrap());
        assert!(one == two, "{out}/{name} is not {reference}/{name}");
    }

    /// The names of the files in a directory; none where it is missing.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(dir)).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    pub fn verify(&self, image: &str) -> Answer {
        self.run(&["verify", "--policy", "policy.yml", image])
    }

    /// Verifies every file of every component, whatever the policy demands.
    pub fn verify_files(&self, image: &str) -> Answer {
        self.run(&["verify", "--files", "--policy", "policy.yml", image])
    }
}

pub fn answer(command: &mut Command) -> Answer {
    let output = command.output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Answer {
        code: output.status.code().unwrap_or(-1),
        json,
    }
}

/// Flips one bit of a file.
pub fn flip(path: &Path, byte: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}
