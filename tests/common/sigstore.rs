//! People who sign and verify images as cosign does, and what real cosign and skopeo signed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use imgkit::oci::Descriptor;
use imgkit::store::layout::Layout;
use imgkit::store::registry::{Credentials, Registry};
use serde_json::Value;
use tempfile::TempDir;

use super::home::answer;
use super::images::{self, reference};
use super::registry::DockerRegistry;
use super::{imgkit, succeed};

/// The image of the fixtures.
pub const IMAGE: &str = "sha256-00c3ff7895530356ba3ad7c58540e29b318da6e67527c8bc63914723119f202a";

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/cosign")
        .join(name)
}

pub fn fixtures() -> DockerRegistry {
    DockerRegistry::with_data(&fixture("registry-data.tgz"))
}

/// Somebody who signs and verifies.
pub struct Person {
    home: TempDir,
    environment: Vec<(&'static str, OsString)>,
}

impl Person {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self {
            home,
            environment: Vec::new(),
        }
    }

    /// Sets a variable for all commands.
    pub fn set(&mut self, variable: &'static str, value: impl Into<OsString>) {
        self.environment.push((variable, value.into()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Makes a key with openssl: `NAME.pem` and `NAME.pub`.
    pub fn key(&self, name: &str) -> (String, String) {
        let (private, public) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.pub")));
        let mut make = Command::new("openssl");
        make.args([
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
        ]);
        succeed(make.arg(&private));
        succeed(
            Command::new("openssl")
                .args(["pkey", "-pubout", "-in"])
                .arg(&private)
                .arg("-out")
                .arg(&public),
        );
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        (text(&private), text(&public))
    }

    /// Runs `imgkit --output json sigstore ARGS`.
    pub fn run(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = imgkit(self.home.path());
        command.args(["--output", "json", "sigstore"]).args(arguments);
        command.env("IMGKIT_PASSPHRASE", "secret");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        answer(&command.output().unwrap())
    }

    pub fn good(&self, arguments: &[&str]) -> Value {
        let (code, json) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {json}");
        json["result"].clone()
    }

    pub fn refused(&self, arguments: &[&str]) -> String {
        let (code, json) = self.run(arguments);
        assert_eq!(code, 1, "{arguments:?}: {json}");
        json["refusals"][0]["code"].as_str().unwrap().to_owned()
    }

    /// Pushes an image with one file to a registry.
    pub fn push(&self, registry: &DockerRegistry, name: &str, content: &str) -> (String, Descriptor) {
        let layout = Layout::open_or_create(self.path("made")).unwrap();
        let made = images::put(&layout, "r.example/a:1", &[("bin/x", content.as_bytes())]);
        let name = format!("{}/{name}", registry.host());
        client()
            .push(&layout, &reference("r.example/a:1"), &reference(&name), &())
            .unwrap();
        (name, made)
    }
}

pub fn client() -> Registry {
    Registry::new(Credentials::default()).unwrap()
}

pub fn document(name: &str) -> Value {
    serde_json::from_slice(&client().document(&reference(name)).unwrap().1).unwrap()
}

pub fn blob(repository: &str, described: &Value) -> Vec<u8> {
    let descriptor: Descriptor = serde_json::from_value(described.clone()).unwrap();
    client().blob(reference(repository).repository(), &descriptor).unwrap()
}

pub fn blob_json(repository: &str, described: &Value) -> Value {
    serde_json::from_slice(&blob(repository, described)).unwrap()
}

pub fn repository(name: &str) -> &str {
    name.rsplit_once(':').unwrap().0
}

/// The tag beside an image.
pub fn beside(name: &str, made: &Descriptor, suffix: &str) -> String {
    format!("{}:sha256-{}{suffix}", repository(name), made.digest.hex())
}
