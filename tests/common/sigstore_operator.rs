//! Who runs a sigstore's TUF repository.

use std::fs;
use std::path::PathBuf;

use imgkit::digest::Digest;
use tempfile::TempDir;

use super::server::{Answer, Server};
use super::{imgkit, succeed};

/// Who runs an instance of sigstore, and its TUF repository, which `imgkit trust` makes.
pub struct Operator {
    pub home: TempDir,
    pub server: Server,
}

impl Operator {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (metadata, files) = (home.path().join("trust/c"), home.path().join("files"));
        fs::create_dir_all(&files).unwrap();
        let server = Server::start(move |_, request| {
            let path = match request.path.strip_prefix("/targets/") {
                Some(name) => files.join(name),
                None => metadata.join(request.path.trim_start_matches('/')),
            };
            fs::read(path).map_or_else(|_| Answer::status(404), Answer::ok)
        });
        let operator = Self { home, server };
        operator.trust(&["init", "c"]);
        operator
    }

    /// Runs `imgkit trust ARGS`.
    pub fn trust(&self, arguments: &[&str]) {
        let mut command = imgkit(self.home.path());
        command.env("IMGKIT_PASSPHRASE", "correct horse");
        command.env("IMGKIT_TRUST_DIR", self.home.path().join("trust"));
        command.env("IMGKIT_KEY_DIR", self.home.path().join("keys"));
        succeed(command.arg("trust").args(arguments));
    }

    /// Publishes a file as the next version of what is trusted.
    pub fn publish(&self, name: &str, content: &str) {
        let digest = Digest::sha256(content.as_bytes()).hex();
        let file = self.home.path().join("files").join(format!("{digest}.{name}"));
        fs::write(&file, content).unwrap();
        self.trust(&["sign", "--file", file.to_str().unwrap(), "--name", name]);
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.host())
    }

    /// The directory of the metadata.
    pub fn metadata(&self) -> PathBuf {
        self.home.path().join("trust/c")
    }

    /// The root to begin with.
    pub fn root(&self) -> String {
        self.metadata().join("1.root.json").to_str().unwrap().to_owned()
    }
}
