//! Debian's notary-server, with notary-signer where a test wants ECDSA keys, on loopback ports; and Debian's notary client.

use std::io::Read as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::registry::free_port;
use super::server::{Answer, Request, Server};
use super::{in_home, succeed};

/// The user whom the token server knows, and the password.
pub const USER: &str = "ali";
pub const PASSWORD: &str = "open sesame";

/// What opens every key of a test.
pub const PASSPHRASE: &str = "a passphrase of tests";

/// Where the server's own keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Ed25519, in the server's memory.
    Local,
    /// ECDSA, in notary-signer.
    Signer,
}

/// A server with TLS that ends with the test; it keeps everything in memory.
pub struct NotaryServer {
    children: Vec<Child>,
    dir: TempDir,
    host: String,
    _tokens: Option<Server>,
}

impl NotaryServer {
    pub fn start(keys: Keys) -> Self {
        Self::with_auth(keys, |_| (None, Value::Null))
    }

    /// Starts one that lets in those alone who have a token; [`USER`] gets one for everything, anybody else for nothing.
    pub fn with_tokens() -> Self {
        Self::with_auth(Keys::Local, |dir| {
            let (cert, key) = certificate(dir, "token");
            let tokens = token_server(&cert, &key);
            let options = json!({
                "realm": format!("http://{}/token", tokens.host()), "service": "notary.test", "issuer": "tests",
                "rootcertbundle": dir.join("token.crt"),
            });
            (Some(tokens), json!({ "type": "token", "options": options }))
        })
    }

    fn with_auth(keys: Keys, auth: impl FnOnce(&Path) -> (Option<Server>, Value)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = certificate(dir.path(), "tls");
        let mut children = Vec::new();
        let service = match keys {
            Keys::Local => json!({ "type": "local", "hostname": "", "port": "", "key_algorithm": "ed25519" }),
            Keys::Signer => {
                let address = format!("127.0.0.1:{}", free_port());
                let config = json!({
                    "server": { "grpc_addr": address, "tls_cert_file": cert, "tls_key_file": key, "client_ca_file": cert },
                    "logging": { "level": "error" }, "storage": { "backend": "memory" },
                });
                children.push(spawn(dir.path(), "notary-signer", &config, &address));
                json!({
                    "type": "remote", "hostname": "127.0.0.1", "port": address.split_once(':').unwrap().1,
                    "tls_ca_file": cert, "key_algorithm": "ecdsa", "tls_client_cert": cert, "tls_client_key": key,
                })
            }
        };
        let (tokens, auth) = auth(dir.path());
        let host = format!("127.0.0.1:{}", free_port());
        let mut config = json!({
            "server": { "http_addr": host, "tls_cert_file": cert, "tls_key_file": key },
            "trust_service": service, "logging": { "level": "error" }, "storage": { "backend": "memory" },
        });
        if !auth.is_null() {
            config["auth"] = auth;
        }
        children.push(spawn(dir.path(), "notary-server", &config, &host));
        Self {
            children,
            dir,
            host,
            _tokens: tokens,
        }
    }

    /// Returns `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.host)
    }

    /// Returns the file of the certificate that the server's TLS is trusted by.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("tls.crt")
    }

    /// Debian's client, with its keys and cache in `trust_dir`, and a passphrase for every role.
    pub fn notary(&self, home: &Path, trust_dir: &Path) -> Command {
        let mut command = in_home(Path::new("notary"), home);
        for role in ["ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"] {
            command.env(format!("NOTARY_{role}_PASSPHRASE"), PASSPHRASE);
        }
        command.arg("-s").arg(self.url()).arg("--tlscacert").arg(self.ca());
        command.arg("-d").arg(trust_dir).stdin(Stdio::null());
        command
    }
}

impl Drop for NotaryServer {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a program of the Debian package and waits until it listens.
fn spawn(dir: &Path, program: &str, config: &Value, address: &str) -> Child {
    let path = dir.join(format!("{program}.json"));
    std::fs::write(&path, config.to_string()).unwrap();
    let log = dir.join(format!("{program}.log"));
    let output = std::fs::File::create(&log).unwrap();
    let child = Command::new(program)
        .arg("-config")
        .arg(&path)
        .env("NOTARY_SIGNER_DEFAULT_ALIAS", "tests")
        .env("NOTARY_SIGNER_TESTS", PASSPHRASE)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{program} does not start: {error}; apt-get install notary"));
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        let mut text = String::new();
        let _ = std::fs::File::open(&log).unwrap().read_to_string(&mut text);
        assert!(child.try_wait().unwrap().is_none(), "{program} ended: {text}");
        assert!(Instant::now() < end, "{program} does not listen on {address}: {text}");
        sleep(Duration::from_millis(20));
    }
    child
}

/// Makes `NAME.crt` and `NAME.key` for 127.0.0.1, its own issuer; for servers, clients and tokens alike.
pub fn certificate(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    certificate_for(dir, name, "127.0.0.1", "IP:127.0.0.1")
}

/// Makes the same for another subject, and for what it stands for.
pub fn certificate_for(dir: &Path, name: &str, subject: &str, alternative: &str) -> (PathBuf, PathBuf) {
    let (cert, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    let mut openssl = Command::new("openssl");
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl.args(new.split(' ')).arg("-subj").arg(format!("/CN={subject}"));
    openssl.arg("-addext").arg(format!("subjectAltName={alternative}"));
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]);
    succeed(openssl.arg(&key).arg("-out").arg(&cert));
    (cert, key)
}

/// Starts a token server whose tokens are signed by `key`, in the certificate `cert`: the issuer is `tests`, the service `notary.test`.
pub fn token_server(cert: &Path, key: &Path) -> Server {
    let (cert, key) = (cert.to_owned(), key.to_owned());
    Server::start(move |_, request| token(&cert, &key, request))
}

/// Answers a request for a token as Docker's token servers do.
fn token(cert: &Path, key: &Path, request: &Request) -> Answer {
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let known = match request.header("authorization") {
        Some(header) if header == basic => true,
        Some(_) => return Answer::status(401),
        None => false,
    };
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let query = query
        .replace("%3A", ":")
        .replace("%2F", "/")
        .replace("%2C", ",")
        .replace("%2A", "*");
    let access: Vec<Value> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="))
        .filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let actions: Vec<_> = actions.split(',').filter(|_| known).collect();
            Some(json!({ "type": kind, "name": name, "actions": actions }))
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let payload = json!({
        "iss": "tests", "sub": USER, "aud": "notary.test", "exp": now + 300, "nbf": now - 10, "iat": now, "jti": "1",
        "access": access,
    });
    let certificate = std::fs::read_to_string(cert).unwrap();
    let certificate: String = certificate.lines().filter(|line| !line.starts_with('-')).collect();
    let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [certificate] });
    let text = [header, payload]
        .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
        .join(".");
    let key = std::fs::read_to_string(key).unwrap();
    let key: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let random = ring::rand::SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &STANDARD.decode(key).unwrap(),
        &random,
    );
    let signature = key.unwrap().sign(&random, text.as_bytes()).unwrap();
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
    Answer::ok(json!({ "token": token, "expires_in": 300 }).to_string()).with("Content-Type", "application/json")
}
