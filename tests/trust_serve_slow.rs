//! `imgkit trust serve` and clients that are as slow as they can: each is left, and others are served meanwhile; and clients that leave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use common::notary_user::{GUN, HASH, User};
use common::run;
use common::serve::{Setup, TrustServer};
use rustix::process::Signal;
use serde_json::Value;

/// When every slow client has been left: the longest limit is 15 seconds.
const LEFT: Duration = Duration::from_secs(18);

/// How many connections the server has at once.
const CONNECTIONS: usize = 1024;

const HEALTH: &str = "/_notary_server/health";

fn connect(host: &str) -> TcpStream {
    let stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream
}

/// Sends a byte a second until the server ends the connection; returns how long that took, and what it said.
fn drip(mut stream: TcpStream, start: &str) -> (Duration, String) {
    let began = Instant::now();
    let mut said = Vec::new();
    stream.write_all(start.as_bytes()).unwrap();
    while began.elapsed() < LEFT * 2 {
        let mut some = [0; 1024];
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(read) => said.extend(&some[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stream.write_all(b"a").is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    (began.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

/// Asks `times` for what the server has to say of itself, and takes a few bytes a second of it; then returns how much there was to
/// take, and how long one answer is.
fn sip(host: &str, times: usize, answer: usize) -> (usize, usize) {
    let mut stream = connect(host);
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(times);
    // The server stops reading once it cannot write.
    let _ = stream.write_all(request.as_bytes());
    let began = Instant::now();
    let mut taken = 0;
    while began.elapsed() < LEFT {
        sleep(Duration::from_millis(500));
        taken += stream.read(&mut [0; 16]).unwrap();
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    (taken + rest.len(), times * answer)
}

/// Asks the server something now and then until `LEFT`; every answer comes at once.
fn is_served(server: &TrustServer) {
    let began = Instant::now();
    while began.elapsed() < LEFT {
        let asked = Instant::now();
        assert_eq!(server.ask("GET", HEALTH, &[], b"").0, 200);
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        sleep(Duration::from_millis(250));
    }
}

#[test]
fn who_drips_or_sips_is_left_while_others_are_served() {
    let setup = Setup::in_directory();
    let server = setup.start_plain(&[]);
    let (status, _, metrics) = server.ask("GET", "/metrics", &[], b"");
    assert_eq!(status, 200);
    let (head, body, sips) = (connect(server.host()), connect(server.host()), server.host().to_owned());
    let head = spawn(move || drip(head, "GET /_notary_server/health HTTP/1.1\r\nHost: x\r\nX-Slow: "));
    let upload = "POST /v2/example.com/slow/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n\
                  Content-Length: 100000\r\n\r\n--b\r\n";
    let body = spawn(move || drip(body, upload));
    // More than the system keeps of what is sent.
    let times = (24 << 20) / metrics.len();
    let answer = metrics.len();
    let sips = spawn(move || sip(&sips, times, answer));
    is_served(&server);
    let (took, said) = head.join().unwrap();
    assert!(took < LEFT, "the head: {took:?} {said}");
    let (took, said) = body.join().unwrap();
    assert!(
        took < LEFT && said.starts_with("HTTP/1.1 408"),
        "the body: {took:?} {said}"
    );
    let (taken, all) = sips.join().unwrap();
    assert!(taken < all, "an answer of {all} bytes was cut off: {taken}");
    assert_eq!(server.ask("GET", HEALTH, &[], b"").0, 200);
}

#[test]
fn a_server_whose_places_are_all_taken_ends_when_it_is_told_to() {
    let setup = Setup::in_directory();
    let mut server = setup.start_plain(&[]);
    let host = server.host().to_owned();
    let mut taken: Vec<_> = (0..CONNECTIONS).map(|_| connect(&host)).collect();
    for stream in &mut taken {
        // Whoever is answered has a place, and keeps it for a while.
        let request = format!("GET {HEALTH} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
    }
    for stream in &mut taken {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
    }
    let began = Instant::now();
    assert!(server.stop(Signal::TERM).success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn slow_uploads_keep_nobody_from_publishing() {
    let setup = Setup::in_directory();
    let server = setup.start_plain(&[]);
    // More than are judged at once; all are within their time.
    let mut slow: Vec<_> = (0..20).map(|_| connect(server.host())).collect();
    for (stream, number) in slow.iter_mut().zip(0..) {
        let upload = format!(
            "POST /v2/example.com/slow{number}/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\
             Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        );
        stream.write_all(upload.as_bytes()).unwrap();
    }
    sleep(Duration::from_millis(500));
    let kind = ("Content-Type", "multipart/form-data; boundary=b");
    let part = "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"root\"\r\n\r\n{}\r\n--b--\r\n";
    let asked = Instant::now();
    let (status, _, body) = server.ask("POST", "/v2/example.com/quick/_trust/tuf/", &[kind], part.as_bytes());
    assert_eq!(status, 400, "{}", String::from_utf8_lossy(&body));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    drop(slow);
}

#[test]
fn an_upload_whose_sender_has_gone_is_published_all_the_same() {
    let setup = Setup::in_directory();
    let server = setup.start_plain(&[]);
    let user = User::new();
    user.notary(&server, &["init", "-p", GUN]);
    let version = || {
        let (_, _, body) = server.ask("GET", &format!("/v2/{GUN}/_trust/tuf/targets.json"), &[], b"");
        serde_json::from_slice::<Value>(&body).unwrap()["signed"]["version"].as_u64()
    };
    // Memory holds the collection from here on.
    let before = version().unwrap();
    user.notary(&server, &["addhash", GUN, "v1", "11", "--sha256", HASH]);
    let url = format!("http://{}", cut_after_an_upload(server.host()));
    let (code, told) = run(&mut user.command(&server, &["publish", GUN, "-s", &url]));
    assert_ne!(code, 0, "nobody answered it: {told}");
    let end = Instant::now() + Duration::from_secs(20);
    while version() != Some(before + 1) {
        assert!(Instant::now() < end, "it was lost");
        sleep(Duration::from_millis(50));
    }
}

/// Starts a way to a server; whoever sends an upload on it is gone once the server has it. Returns its address.
fn cut_after_an_upload(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, server) = (listener.local_addr().unwrap().to_string(), server.to_owned());
    spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&server).unwrap();
            let (mut answers, mut asker) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            spawn(move || std::io::copy(&mut answers, &mut asker));
            spawn(move || pass_requests(client, server));
        }
    });
    address
}

fn pass_requests(mut client: TcpStream, mut server: TcpStream) {
    let mut request = Vec::new();
    let mut piece = [0; 16 << 10];
    while let Ok(length @ 1..) = client.read(&mut piece) {
        if piece.starts_with(b"GET ") || piece.starts_with(b"POST ") {
            request.clear();
        }
        request.extend_from_slice(&piece[..length]);
        server.write_all(&piece[..length]).unwrap();
        if request.starts_with(b"POST ") && is_whole(&request) {
            server.shutdown(Shutdown::Both).unwrap();
            client.shutdown(Shutdown::Both).unwrap();
        }
    }
}

/// Tells whether a request's body has come, by its length or its last chunk.
fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|end| end == b"\r\n\r\n") else {
        return false;
    };
    let body = request.len() - head - 4;
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.map_or(request.ends_with(b"\r\n0\r\n\r\n"), |length| {
        body >= length.parse::<usize>().unwrap()
    })
}
