//! One who publishes a collection on a Notary server, with imgkit or with Debian's client.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::notary::{NotaryServer, PASSPHRASE};
use super::{imgkit, succeed};

pub const GUN: &str = "r.example/team/app";
pub const DIGEST: &str = "sha256:a155771cf43ecc9d481d33c7a3ee06b84d2d838be021ede4355893bab1fd1024";

/// One who publishes: a home with a trust directory, and the server.
pub struct Owner<'a> {
    pub home: TempDir,
    pub server: &'a NotaryServer,
}

impl<'a> Owner<'a> {
    pub fn of(server: &'a NotaryServer) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home, server }
    }

    pub fn trust(&self) -> PathBuf {
        self.home.path().join(".docker/trust")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = imgkit(self.home.path());
        command.env("IMGKIT_PASSPHRASE", PASSPHRASE).stdin(Stdio::null());
        command.args(["--output", "json", "trust"]).args(arguments);
        command
            .arg("--server")
            .arg(self.server.url())
            .arg("--ca-cert")
            .arg(self.server.ca());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> (i32, Value) {
        answer(&mut self.command(arguments))
    }

    pub fn good(&self, arguments: &[&str]) -> Value {
        let (code, json) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {json}");
        json["result"].clone()
    }

    pub fn sign(&self, name: &str) -> Value {
        self.good(&["sign", GUN, name, "--digest", DIGEST, "--length", "11"])
    }

    /// What is expected to go wrong: the exit code and what is said.
    pub fn bad(&self, arguments: &[&str]) -> (i32, String) {
        let (code, json) = self.run(arguments);
        assert_ne!(code, 0, "{arguments:?}: {json}");
        (code, json.to_string())
    }

    pub fn notary(&self, arguments: &[&str]) -> Command {
        let mut command = self.server.notary(self.home.path(), &self.trust());
        command.args(arguments);
        command
    }

    /// What Debian's client, with this trust directory, lists: names and roles.
    pub fn listed(&self) -> Vec<(String, String)> {
        listed(&mut self.notary(&["list", GUN]))
    }

    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Makes a delegate's key with openssl: the public key's file, and the private one's.
    pub fn delegate(&self, name: &str) -> (String, String) {
        let path = |extension: &str| {
            self.home
                .path()
                .join(format!("{name}.{extension}"))
                .to_str()
                .unwrap()
                .to_owned()
        };
        let (private, public) = (path("key"), path("pub"));
        let mut openssl = Command::new("openssl");
        succeed(openssl.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &private]));
        let mut openssl = Command::new("openssl");
        succeed(openssl.args(["ec", "-in", &private, "-pubout", "-out", &public]));
        (public, private)
    }
}

pub fn answer(command: &mut Command) -> (i32, Value) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let json =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().expect("ended by a signal"), json)
}

pub fn listed(command: &mut Command) -> Vec<(String, String)> {
    let text = succeed(command);
    let rows = text.lines().filter(|line| line.contains("targets"));
    let row = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words[0].to_owned(), words[words.len() - 1].to_owned())
    };
    rows.map(row).collect()
}

pub fn names(rows: &[(String, String)]) -> Vec<&str> {
    rows.iter().map(|(name, _)| name.as_str()).collect()
}

/// The words with which a role signs a name; all content here is 11 bytes long.
pub fn signing<'a>(role: &'a str, name: &'a str, digest: &'a str) -> [&'a str; 9] {
    ["sign", GUN, name, "--role", role, "--digest", digest, "--length", "11"]
}
