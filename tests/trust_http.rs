//! Collections behind a web server that serves the directory as imgkit published it, and behind ones that do not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::node::Node;
use common::places::User;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// A web server of a directory; what `odd` answers itself is not looked up.
fn serve(dir: &Path, odd: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (dir, odd) = (dir.to_owned(), Arc::new(odd));
    // The threads end with the test's process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (dir, odd) = (dir.clone(), Arc::clone(&odd));
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().and_then(Result::ok).unwrap_or_default();
                while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
                let name = first
                    .split(' ')
                    .nth(1)
                    .unwrap_or("/")
                    .trim_start_matches('/')
                    .to_owned();
                if !odd(&name, &mut stream) {
                    match fs::read(dir.join(&name)) {
                        Ok(bytes) => answer(&mut stream, "200 OK", "", &bytes),
                        Err(_) => answer(&mut stream, "404 Not Found", "", b"no such file"),
                    }
                }
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    });
    format!("http://{host}/")
}

fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n");
    // A client that saw enough hangs up.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

/// A user with the collection `c` that signs `a`, and the file that is signed.
fn owner() -> (User, String) {
    let user = User::new();
    user.good(&["init", "c", "--role", "ci=spec/*"]);
    let file = user.file("f", "x");
    user.good(&["sign", "--file", &file, "--name", "a", "--collection", "c"]);
    user.good(&[
        "sign",
        "--file",
        &file,
        "--name",
        "spec/b",
        "--role",
        "ci",
        "--collection",
        "c",
    ]);
    (user, file)
}

fn published(user: &User) -> std::path::PathBuf {
    user.path(".local/share/imgkit/trust/c")
}

/// Verifies `a` behind a URL.
fn verify(user: &User, url: &str, file: &str) -> (i32, Value) {
    user.run(&["verify", "a", "--file", file, "--keys-as", "c", "--collection", url])
}

#[test]
fn a_directory_is_published_by_serving_it() {
    let (user, file) = owner();
    let url = serve(&published(&user), |_, _| false);
    let there = ["--keys-as", "c", "--collection", &url];
    user.good(&[&["verify", "a", "--file", &file], &there[..]].concat());
    user.good(&[&["verify", "spec/b", "--file", &file], &there[..]].concat());
    assert_eq!(user.names(&there), ["a", "spec/b"]);
    user.good(&[&["status"], &there[..]].concat());
    user.good(&[&["inspect"], &there[..]].concat());
    assert_eq!(
        user.refused(&[&["verify", "c", "--file", &file], &there[..]].concat()),
        "UNSIGNED"
    );
    let (code, json) = user.run(&[&["sign", "--file", &file, "--name", "d"], &there[..]].concat());
    assert_eq!(code, 2, "it is to be read only: {json}");
    let (code, json) = user.run(&["init", &url]);
    assert_eq!(code, 2, "{json}");
    // What was seen is remembered, and an older state is refused, though it is well signed.
    let old = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(published(&user)).unwrap().flatten() {
        fs::copy(entry.path(), old.path().join(entry.file_name())).unwrap();
    }
    user.good(&["sign", "--file", &file, "--name", "e", "--collection", "c"]);
    user.good(&[&["verify", "e", "--file", &file], &there[..]].concat());
    let url = serve(old.path(), |_, _| false);
    let (code, json) = verify(&user, &url, &file);
    assert_eq!((code, &json["refusals"][0]["code"]), (1, &json!("ROLLBACK")), "{json}");
}

/// A web server of a directory with TLS, which ends with the test.
struct TlsServer {
    child: Child,
    url: String,
}

impl TlsServer {
    fn start(dir: &Path, cert: &Path, key: &Path) -> Self {
        let mut command = common::in_home(Path::new("python3"), dir);
        command.args(["-c", SERVE_TLS]).arg(cert).arg(key).current_dir(dir);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        let url = format!("https://127.0.0.1:{}/", port.trim());
        Self { child, url }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVE_TLS: &str = "
import http.server, ssl, sys
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

/// Makes an authority `ca.crt`, and a certificate `tls.crt` with `tls.key` that it issued for 127.0.0.1.
fn authority(dir: &Path) {
    let openssl = |arguments: &str| {
        let mut command = common::in_home(Path::new("openssl"), dir);
        common::succeed(command.args(arguments.split_whitespace()).current_dir(dir))
    };
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "{new} -x509 -days 2 -subj /CN=authority -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt"
    ));
    openssl(&format!("{new} -subj /CN=127.0.0.1 -keyout tls.key -out tls.csr"));
    fs::write(dir.join("san"), "subjectAltName=IP:127.0.0.1").unwrap();
    openssl("x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out tls.crt");
}

#[test]
fn behind_tls_a_private_authority_is_trusted_where_it_is_named() {
    let (user, file) = owner();
    let (tls, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    authority(tls.path());
    authority(other.path());
    let server = TlsServer::start(
        &published(&user),
        &tls.path().join("tls.crt"),
        &tls.path().join("tls.key"),
    );
    let ca = tls.path().join("ca.crt").to_str().unwrap().to_owned();
    // Nothing of the system's is needed, or looked at.
    let none = user.file("no-roots.pem", "");
    let run = |arguments: &[&str], ca: Option<&str>| {
        let mut command = user.command(arguments);
        command.args(["--keys-as", "c", "--collection", &server.url]);
        command.args(ca.iter().flat_map(|ca| ["--ca-cert", ca]));
        command.env("SSL_CERT_FILE", &none).env("SSL_CERT_DIR", &none);
        let output = command.output().unwrap();
        let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code().unwrap(), json)
    };
    let bundle = user.path("bundle.tar");
    let export = ["export", bundle.to_str().unwrap(), "--all"];
    for arguments in [
        &["verify", "a", "--file", &file][..],
        &["lookup", "a"],
        &["ls"],
        &["inspect"],
        &["status"],
        &["history"],
        &["doctor"],
        &["delegate", "ls"],
        &["signer", "ls"],
        &["diff", &server.url, "c"],
        &export,
    ] {
        let (code, json) = run(arguments, Some(&ca));
        assert_eq!(code, 0, "{arguments:?}: {json}");
    }
    let stranger = other.path().join("ca.crt");
    for ca in [None, stranger.to_str()] {
        let (code, json) = run(&["verify", "a", "--file", &file], ca);
        assert_eq!((code, &json["verdict"]), (3, &json!("unavailable")), "{ca:?}: {json}");
    }
    let (code, json) = run(&["ls"], Some(&none));
    assert!(code == 2 && json.to_string().contains("no certificate"), "{json}");
}

#[test]
fn a_build_takes_its_roots_metadata_from_a_web_server() {
    let node = Node::new();
    fs::rename(node.path("trust/platform"), node.path("served")).unwrap();
    let url = serve(&node.path("served"), |_, _| false);
    let key = node.seal_key().display().to_string();
    let without = node.run(&Node::build_args("out", &["--seal-key", &key]));
    assert_eq!(without.code, 3, "{}", without.json);
    node.good(&Node::build_args("out", &["--seal-key", &key, "--collection", &url]));
    let verified = node.verify("out/node.qcow2");
    assert_eq!(verified.code, 0, "{}", verified.json);
    let broken = serve(&node.path("served"), |name, stream| {
        let is_targets = name.ends_with(".targets.json");
        if is_targets {
            answer(stream, "503 Service Unavailable", "", b"");
        }
        is_targets
    });
    let unknown = node.run(&Node::build_args(
        "out2",
        &["--seal-key", &key, "--collection", &broken],
    ));
    assert_eq!((unknown.code, &unknown.json["verdict"]), (3, &json!("unavailable")));
    assert!(node.names("out2").is_empty());
}

#[test]
fn what_cannot_be_had_is_not_known_and_never_unsigned() {
    let (user, file) = owner();
    let dir = published(&user);
    type Odd = Box<dyn Fn(&mut TcpStream) + Send + Sync>;
    let status = |status: &'static str| -> Odd { Box::new(move |stream| answer(stream, status, "", b"")) };
    let redirect = |to: &'static str| -> Odd {
        Box::new(move |stream| answer(stream, "302 Found", &format!("Location: {to}\r\n"), b""))
    };
    let bomb = || -> Odd {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; 64 << 20]).unwrap();
        let bomb = bomb.finish().unwrap();
        Box::new(move |stream| answer(stream, "200 OK", "Content-Encoding: gzip\r\n", &bomb))
    };
    let cases: Vec<(&str, &str, Odd)> = vec![
        ("nothing is there", "timestamp.json", status("404 Not Found")),
        ("503", "timestamp.json", status("503 Service Unavailable")),
        (
            "503 for a root that may be there",
            "2.root.json",
            status("503 Service Unavailable"),
        ),
        (
            "401 for a root that may be there",
            "2.root.json",
            status("401 Unauthorized"),
        ),
        ("500", "snapshot.json", status("500 Internal Server Error")),
        ("429", "targets.json", status("429 Too Many Requests")),
        ("401", "timestamp.json", status("401 Unauthorized")),
        ("403", "targets.json", status("403 Forbidden")),
        ("418", "snapshot.json", status("418 I'm a teapot")),
        ("another scheme", "timestamp.json", redirect("file:///etc/passwd")),
        ("ftp", "snapshot.json", redirect("ftp://127.0.0.1/x")),
        (
            "off the loopback",
            "targets.json",
            redirect("http://192.0.2.1/targets.json"),
        ),
        ("a circle", "timestamp.json", redirect("/timestamp.json")),
        ("a gzip bomb", "targets.json", bomb()),
        ("no answer", "timestamp.json", Box::new(|_| {})),
        (
            "half an answer",
            "snapshot.json",
            Box::new(|stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"signed\"");
            }),
        ),
        (
            "noise",
            "timestamp.json",
            Box::new(|stream| {
                let _ = stream.write_all(b"\x16\x03\x01\x02 this is no HTTP\r\n\r\n");
            }),
        ),
    ];
    std::thread::scope(|scope| {
        for (what, suffix, odd) in cases {
            let (user, file, dir) = (&user, &file, &dir);
            scope.spawn(move || {
                let url = serve(dir, move |name, stream| {
                    let it = name.ends_with(suffix);
                    if it {
                        odd(stream);
                    }
                    it
                });
                let (code, json) = verify(user, &url, file);
                assert_eq!((code, &json["verdict"]), (3, &json!("unavailable")), "{what}: {json}");
            });
        }
    });
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(verify(&user, &serve(empty.path(), |_, _| false), &file).0, 3);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(verify(&user, &format!("http://{gone}/"), &file).0, 3);
    // What passes is tried again.
    let count = AtomicUsize::new(0);
    let url = serve(&dir, move |_, stream| {
        let trouble = count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        if trouble {
            answer(stream, "503 Service Unavailable", "", b"");
        }
        trouble
    });
    let (code, json) = verify(&user, &url, &file);
    assert_eq!(code, 0, "{json}");
}

#[test]
fn what_is_not_the_collection_is_refused() {
    let (user, file) = owner();
    let dir = published(&user);
    let endless = |stream: &mut TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[b' '; 1 << 16]).is_ok() {}
    };
    for suffix in ["timestamp.json", "2.root.json", "snapshot.json", "2.targets.json"] {
        let url = serve(&dir, move |name, stream| {
            let it = name.ends_with(suffix);
            if it {
                endless(stream);
            }
            it
        });
        let (code, json) = verify(&user, &url, &file);
        let found = json["refusals"][0]["code"].as_str().unwrap_or_default();
        assert_eq!(code, 1, "{suffix}: {json}");
        assert!(["MALFORMED", "DIGEST_MISMATCH"].contains(&found), "{suffix}: {json}");
    }
    for page in [&b""[..], b"<html>welcome to this hotel</html>", b"{}", b"[[[[[[[[[["] {
        let url = serve(&dir, move |name, stream| {
            let it = name == "timestamp.json";
            if it {
                answer(stream, "200 OK", "", page);
            }
            it
        });
        let (code, json) = verify(&user, &url, &file);
        assert_eq!((code, &json["refusals"][0]["code"]), (1, &json!("MALFORMED")), "{json}");
        let everywhere = serve(&dir, move |_, stream| {
            answer(stream, "200 OK", "", page);
            true
        });
        let (code, json) = verify(&user, &everywhere, &file);
        assert_eq!(
            (code, &json["refusals"][0]["code"]),
            (1, &json!("DIGEST_MISMATCH")),
            "{json}"
        );
    }
}

#[test]
fn a_drip_is_given_up() {
    let (user, file) = owner();
    let url = serve(&published(&user), |name, stream| {
        let it = name == "timestamp.json";
        if it {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n");
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(500));
            }
        }
        it
    });
    let (code, json) = verify(&user, &url, &file);
    assert_eq!((code, &json["verdict"]), (3, &json!("unavailable")), "{json}");
}
