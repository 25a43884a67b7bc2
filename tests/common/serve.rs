//! `imgkit trust serve` on a loopback port, clients for it, and a PostgreSQL of the test's own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::notary::{PASSPHRASE, certificate};
use super::registry::free_port;
use super::token::{PIN, Token};
use super::{imgkit, in_home, succeed};

/// A server that ends with the test.
pub struct TrustServer {
    child: Child,
    url: String,
    ca: PathBuf,
}

/// What a server is started with.
pub struct Setup {
    dir: TempDir,
    store: String,
    cert: PathBuf,
    key: PathBuf,
    token: Option<PathBuf>,
}

impl Setup {
    /// Collections in a directory.
    pub fn in_directory() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store").to_str().unwrap().to_owned();
        Self::with_store(dir, store)
    }

    /// Collections in a database.
    pub fn in_database(url: &str) -> Self {
        Self::with_store(tempfile::tempdir().unwrap(), url.to_owned())
    }

    fn with_store(dir: TempDir, store: String) -> Self {
        let (cert, key) = certificate(dir.path(), "tls");
        let token = None;
        Self {
            dir,
            store,
            cert,
            key,
            token,
        }
    }

    /// The server finds the token, and has its PIN instead of a passphrase.
    pub fn with_token(self, token: &Token) -> Self {
        let token = Some(token.config());
        Self { token, ..self }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a server with TLS.
    pub fn start(&self, more: &[&str]) -> TrustServer {
        self.run(&[&self.tls(), more].concat())
    }

    /// The options with which a server speaks TLS.
    pub fn tls(&self) -> [&str; 4] {
        let (cert, key) = (self.cert.to_str().unwrap(), self.key.to_str().unwrap());
        ["--tls-cert", cert, "--tls-key", key]
    }

    /// Starts a server with plain HTTP.
    pub fn start_plain(&self, more: &[&str]) -> TrustServer {
        self.run(more)
    }

    /// Prepares the command.
    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = imgkit(self.path());
        command.args(["trust", "serve", "--listen", "127.0.0.1:0", "--store", &self.store]);
        command.args(more);
        match &self.token {
            Some(config) => command.env("SOFTHSM2_CONF", config).env("IMGKIT_PKCS11_PIN", PIN),
            None => command.env("IMGKIT_PASSPHRASE", PASSPHRASE),
        };
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, more: &[&str]) -> TrustServer {
        self.spawn(&mut self.command(more))
    }

    /// Starts a server with a command that was prepared.
    pub fn spawn(&self, command: &mut Command) -> TrustServer {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("http"), "{command:?} says {line:?}");
        TrustServer {
            child,
            url: line.trim().to_owned(),
            ca: self.cert.clone(),
        }
    }
}

impl TrustServer {
    /// Returns `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// Debian's client, with its keys and cache in `trust_dir`, and a passphrase for every role.
    pub fn notary(&self, home: &Path, trust_dir: &Path) -> Command {
        let mut command = in_home(Path::new("notary"), home);
        for role in ["ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"] {
            command.env(format!("NOTARY_{role}_PASSPHRASE"), PASSPHRASE);
        }
        command.args(["-s", &self.url, "--tlscacert"]).arg(&self.ca);
        command.arg("-d").arg(trust_dir).stdin(Stdio::null());
        command
    }

    /// Makes one request of a server without TLS: the status, the header lines in lower case, and the body.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Vec<String>, Vec<u8>) {
        let mut stream = TcpStream::connect(self.host()).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that has seen enough answers before it has read all.
        let _ = stream.write_all(body);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let end = all
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("an answer");
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        let lines = head.lines().skip(1).map(str::to_ascii_lowercase).collect();
        (status, lines, all[end + 4..].to_vec())
    }

    /// Sends a signal and waits for the end.
    pub fn stop(&mut self, signal: rustix::process::Signal) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        self.child.wait().unwrap()
    }

    /// Returns the process's id.
    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }
}

impl Drop for TrustServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A database of the test's own, which ends with it.
pub struct Database {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Database {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        // PostgreSQL refuses to run as root.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(65534), Some(65534)).unwrap();
            std::os::unix::fs::chown(&data, Some(65534), Some(65534)).unwrap();
        }
        let mut init = as_nobody("initdb", dir.path());
        init.args([
            "--auth=trust",
            "--username=imgkit",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "-D",
        ]);
        succeed(init.arg(&data));
        let port = free_port();
        let child = Self::run(dir.path(), port);
        Self { child, port, dir }
    }

    fn run(dir: &Path, port: u16) -> Child {
        let mut server = as_nobody("postgres", dir);
        server.arg("-D").arg(dir.join("data"));
        server
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .arg("-k")
            .arg(dir);
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let server = server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = server.spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        // It listens before it answers.
        let asked = || {
            let mut psql = as_nobody("psql", dir);
            psql.args(["--no-psqlrc", "-c", "SELECT 1", &address(port)])
                .output()
                .unwrap()
        };
        while !asked().status.success() {
            assert!(Instant::now() < end, "PostgreSQL does not answer on port {port}");
            sleep(Duration::from_millis(50));
        }
        child
    }

    /// Goes away while `meanwhile` runs, and comes back.
    pub fn without<T>(&mut self, meanwhile: impl FnOnce() -> T) -> T {
        self.stop();
        let result = meanwhile();
        self.child = Self::run(self.dir.path(), self.port);
        result
    }

    fn stop(&mut self) {
        // SIGINT: end now, but clean up.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.child.wait();
    }

    /// Returns what PostgreSQL answers: a line for each row, `|` between columns.
    pub fn query(&self, sql: &str) -> String {
        let mut psql = as_nobody("psql", self.dir.path());
        psql.args(["--no-psqlrc", "-At", "-c", sql, &self.url()]);
        succeed(&mut psql).trim_end().to_owned()
    }

    /// Returns the address for `--store`.
    pub fn url(&self) -> String {
        address(self.port)
    }
}

fn address(port: u16) -> String {
    format!("postgres://imgkit@127.0.0.1:{port}/postgres")
}

impl Drop for Database {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One of PostgreSQL's programs, run by nobody where the test is root.
fn as_nobody(program: &str, dir: &Path) -> Command {
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = found.map(|version| version.path().join("bin").join(program)).collect();
    found.retain(|path| path.exists());
    found.sort();
    let program = found.pop().expect("PostgreSQL is missing; apt-get install postgresql");
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut command = in_home(Path::new("setpriv"), dir);
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
                .arg(program);
            command
        }
        false => in_home(&program, dir),
    };
    command.current_dir(dir);
    command
}
