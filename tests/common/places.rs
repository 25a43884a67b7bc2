//! Users of collections in places that are not directories, and a gate before a server that delays, refuses and cuts.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::node::{NOW, PASSPHRASE};

/// One user's home: keys, memory, store.
pub struct User {
    pub home: tempfile::TempDir,
}

impl User {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home }
    }

    /// The command `imgkit --output json trust ARGS`, at the fixture's time.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = super::imgkit(self.home.path());
        command.args(["--output", "json", "trust"]).args(args);
        if !args.contains(&"--at") {
            command.args(["--at", NOW]);
        }
        command.env("IMGKIT_PASSPHRASE", PASSPHRASE).stdin(Stdio::null());
        command
    }

    /// Runs a command; returns its exit code and its answer.
    pub fn run(&self, args: &[&str]) -> (i32, Value) {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let json = serde_json::from_slice(&stdout);
        let json = json.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&stderr).into_owned()));
        (status.code().unwrap_or(-1), json)
    }

    pub fn good(&self, args: &[&str]) -> Value {
        let (code, json) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {json}");
        json["result"].clone()
    }

    /// Runs a command that is refused; returns the reason's code.
    pub fn refused(&self, args: &[&str]) -> String {
        let (code, json) = self.run(args);
        assert_eq!(code, 1, "{args:?}: {json}");
        json["refusals"][0]["code"].as_str().unwrap().to_owned()
    }

    /// Runs a command that cannot find out.
    pub fn unavailable(&self, args: &[&str]) -> String {
        let (code, json) = self.run(args);
        assert_eq!(
            (code, &json["verdict"]),
            (3, &Value::from("unavailable")),
            "{args:?}: {json}"
        );
        json.to_string()
    }

    pub fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The root that this user made a collection with.
    pub fn pin(&self, keys: &str) -> String {
        let path = self.path(".local/share/imgkit/keys").join(keys).join("root.json");
        path.to_str().unwrap().to_owned()
    }

    /// The names that a collection signs.
    pub fn names(&self, more: &[&str]) -> Vec<String> {
        let listed = self.good(&[&["ls"], more].concat());
        let names = listed["targets"].as_array().unwrap().iter();
        names
            .map(|target| target["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// What a gate does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Pass,
    /// Lets it pass after a while.
    Delay(Duration),
    /// Answers with this status instead.
    Answer(u16),
    /// Cuts the connection.
    Cut,
}

/// A gate before a server: sees the first line of every request, and decides.
pub struct Gate {
    host: String,
    seen: Arc<AtomicUsize>,
}

impl Gate {
    /// Decides by the request's number, from 0, and its first line.
    pub fn to(upstream: &str, decide: impl Fn(usize, &str) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(AtomicUsize::new(0));
        let (upstream, decide, counter) = (upstream.to_owned(), Arc::new(decide), Arc::clone(&seen));
        // The threads end with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&upstream) else {
                    continue;
                };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (decide, counter) = (Arc::clone(&decide), Arc::clone(&counter));
                std::thread::spawn(move || requests(from, to, &*decide, &counter));
                std::thread::spawn(move || {
                    let (mut server, mut client) = (server, client);
                    let _ = std::io::copy(&mut server, &mut client);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { host, seen }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// How many requests came.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

fn requests(mut client: TcpStream, mut server: TcpStream, decide: &dyn Fn(usize, &str) -> Deed, counter: &AtomicUsize) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        let bytes = &buffer[..n];
        // Clients write each request's head at once.
        let begins = [&b"GET "[..], b"HEAD ", b"PUT ", b"POST ", b"PATCH ", b"DELETE "];
        if begins.iter().any(|method| bytes.starts_with(method)) {
            let line = bytes.split(|byte| *byte == b'\r').next().unwrap();
            let deed = decide(counter.fetch_add(1, Ordering::SeqCst), &String::from_utf8_lossy(line));
            match deed {
                Deed::Pass => {}
                Deed::Delay(time) => std::thread::sleep(time),
                Deed::Answer(status) => {
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    let _ = client.write_all(answer.as_bytes());
                    break;
                }
                Deed::Cut => break,
            }
        }
        if server.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
