//! Debian's docker-registry on a loopback port.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::notary::{certificate, certificate_for, token_server};
use super::server::Server;

/// A registry that ends with the test.
pub struct DockerRegistry {
    child: Child,
    dir: TempDir,
    host: String,
    tokens: Option<Server>,
}

impl DockerRegistry {
    pub fn start() -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), "")
    }

    /// Starts one with the contents of another: an archive of its storage directory.
    pub fn with_data(archive: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let packed = std::fs::File::open(archive).unwrap();
        let unpacked = tar::Archive::new(flate2::read::GzDecoder::new(packed)).unpack(dir.path());
        unpacked.unwrap();
        std::fs::rename(dir.path().join("regdata"), dir.path().join("data")).unwrap();
        Self::in_dir(dir, "")
    }

    /// Starts one that lets in the user `ali` with the password `open sesame` alone.
    pub fn with_password() -> Self {
        // bcrypt, cost 5.
        let line = "ali:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("htpasswd");
        std::fs::write(&path, line).unwrap();
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display());
        Self::in_dir(dir, &auth)
    }

    /// Starts one that lets in those alone who have a token; [`super::notary::USER`] gets one for everything, anybody else for
    /// nothing.
    pub fn with_tokens() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = certificate(dir.path(), "token");
        let tokens = token_server(&cert, &key);
        let auth = format!(
            "auth: {{token: {{realm: 'http://{}/token', service: notary.test, issuer: tests, rootcertbundle: {}}}}}\n",
            tokens.host(),
            cert.display()
        );
        let mut registry = Self::in_dir(dir, &auth);
        registry.tokens = Some(tokens);
        registry
    }

    /// Starts one that speaks TLS as `registry.test`, with a certificate of its own in `registry.crt` below the returned directory.
    pub fn with_tls() -> (Self, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = certificate_for(dir.path(), "registry", "registry.test", "DNS:registry.test");
        let tls = format!("  tls: {{certificate: {}, key: {}}}\n", cert.display(), key.display());
        (Self::in_dir(dir, &tls), cert)
    }

    fn in_dir(dir: TempDir, extra: &str) -> Self {
        let host = format!("127.0.0.1:{}", free_port());
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: '{host}'\n{extra}",
            dir.path().join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.expect("docker-registry does not start; apt-get install docker-registry");
        let registry = Self {
            child,
            dir,
            host,
            tokens: None,
        };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&registry.host).is_err() {
            assert!(
                Instant::now() < end,
                "docker-registry does not listen on {}",
                registry.host
            );
            sleep(Duration::from_millis(20));
        }
        registry
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the file in which the registry keeps a blob.
    pub fn blob_file(&self, hex: &str) -> PathBuf {
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Copies an image out of a layout with skopeo, an outside judge.
    pub fn skopeo_push(&self, layout: &Path, name: &str, to: &str, more: &[&str]) {
        let mut command = skopeo();
        command.args(["copy", "-q", "--dest-tls-verify=false"]).args(more);
        command.arg(format!("oci:{}:{name}", layout.display()));
        command.arg(format!("docker://{}/{to}", self.host));
        super::succeed(&mut command);
    }

    /// Asks skopeo for the digest of an image in the registry.
    pub fn skopeo_digest(&self, name: &str) -> String {
        let mut command = skopeo();
        command.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"]);
        command.arg(format!("docker://{}/{name}", self.host));
        super::succeed(&mut command).trim().to_owned()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn skopeo() -> Command {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy");
    command
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
