//! An HTTP server that answers what a test wants: a registry that lies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name)?;
        Some(&found.1)
    }
}

/// What is answered; a length that is not the body's is sent as it is.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub manner: Manner,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// As it is.
    #[default]
    Whole,
    /// Not at all: the connection stays open until the client leaves.
    Never,
    /// The head's bytes one by one, this far apart, and never its end.
    DripsHead(Duration),
    /// The head, then blanks one by one, this far apart, and never the end.
    DripsBody(Duration),
    /// The connection is reset (RST) in place of an answer.
    Resets,
}

impl Answer {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            manner: Manner::Whole,
        }
    }

    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok("") }
    }

    /// Answers in another manner than at once.
    pub fn slowly(manner: Manner) -> Self {
        Self { manner, ..Self::ok("") }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// A server on the loopback; its threads end with the test's process.
pub struct Server {
    host: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&str, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, own, answer) = (Arc::clone(&requests), host.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, own, answer) = (Arc::clone(&seen), own.clone(), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    seen.lock().unwrap().push(request.clone());
                    let answer = answer(&own, &request);
                    match answer.manner {
                        Manner::Whole => write(&stream, &answer),
                        manner => annoy(stream, manner),
                    }
                });
            }
        });
        Self { host, requests }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    while let Some(Ok(line)) = lines.next() {
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        path,
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    reader.take(length.unwrap_or(0)).read_to_end(&mut request.body).ok()?;
    Some(request)
}

/// Does not answer as servers should.
fn annoy(mut stream: TcpStream, manner: Manner) {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000000\r\n";
    let (begin, pause) = match manner {
        Manner::Whole => return,
        // A client that waits sends nothing; the end comes when it leaves.
        Manner::Never => return drop(stream.read(&mut [0])),
        Manner::Resets => {
            let linger = Some(Duration::ZERO);
            return rustix::net::sockopt::set_socket_linger(&stream, linger).unwrap();
        }
        Manner::DripsHead(pause) => (String::new(), pause),
        Manner::DripsBody(pause) => (format!("{head}\r\n"), pause),
    };
    let _ = stream.write_all(begin.as_bytes());
    let drops: Vec<u8> = match manner {
        Manner::DripsHead(_) => format!("{head}X-Padding: {}", "x".repeat(1 << 16)).into_bytes(),
        _ => vec![b' '; 1 << 16],
    };
    for drop in drops {
        if stream.write_all(&[drop]).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
}

fn write(mut stream: &TcpStream, answer: &Answer) {
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    if !answer.headers.iter().any(|(name, _)| *name == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // A client that saw enough hangs up.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(&answer.body);
}
