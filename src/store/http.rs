//! Files of web servers, within bounds and behind a synchronous face.
//!
//! - Nothing that arrives is believed, and nothing is read without end: no more bytes than the caller asks for, no slower than
//!   a minimum rate, no content coding (what unpacks to more than was sent), a few redirections.
//! - Plain HTTP is spoken to the loopback alone, unless somebody spells out that it may be elsewhere. A redirection never
//!   changes the scheme, and never leads plain HTTP off the loopback.
//! - A file that the server says it does not have is `None`; every other answer than success is [`Failure::Unavailable`].
//!   What may pass (no answer, a cut connection, 429 and 5xx) is tried again.

use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, RequestBuilder, Response, StatusCode, Url};
use tokio::runtime::Runtime;
use tokio::time::Sleep;

use super::file::read_limited;
use super::registry::{Trouble, USER_AGENT, chain, excerpt, is_loopback, patiently};
use crate::failure::Failure;
use crate::limit;

/// How web servers are reached.
#[derive(Clone, Debug, Default)]
pub struct WebOptions {
    /// Files of certificates in PEM that are trusted beside the system's.
    pub ca_certs: Vec<PathBuf>,
    /// A file of certificates in PEM by which alone servers are trusted: then the system's are not even read.
    pub only_ca_cert: Option<PathBuf>,
    /// Whether plain HTTP may be spoken off the loopback: anybody on the way can then withhold files, or serve old ones.
    pub unsafe_plain_http: bool,
    /// Whether no redirection is followed: what is handed over is for this server alone.
    pub no_redirections: bool,
}

/// A place of files on a web server.
#[derive(Debug)]
pub struct Web {
    runtime: Runtime,
    client: reqwest::Client,
    base: Url,
}

/// What a server says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is there.
    Found(T),
    /// It is not there (404, 410).
    Missing,
    /// It may not be read: 401, or 403, which stores of objects also say of what is not there, to who may not list them.
    Forbidden(StatusCode),
}

impl Answer<()> {
    /// Says what was found.
    fn with<T>(self, found: T) -> Answer<T> {
        match self {
            Self::Found(()) => Answer::Found(found),
            Self::Missing => Answer::Missing,
            Self::Forbidden(status) => Answer::Forbidden(status),
        }
    }
}

impl Web {
    /// Prepares to ask the server of `base`, the URL of a directory; nothing is contacted yet.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when `base` is no such URL, has credentials in it, or is plain HTTP where that is not allowed;
    /// [`Failure::Unavailable`] when a file of certificates cannot be read.
    pub fn new(base: &str, options: &WebOptions) -> Result<Self, Failure> {
        let base = directory(base, options.unsafe_plain_http)?;
        let subject = base.to_string();
        let cannot = |error: &dyn std::error::Error| Failure::unavailable(&subject, chain(error));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let local = base.host_str().is_some_and(is_loopback);
        let mut client = reqwest::Client::builder()
            .connect_timeout(limit::CONNECT_TIMEOUT)
            .read_timeout(limit::READ_TIMEOUT)
            .user_agent(USER_AGENT)
            .redirect(match options.no_redirections {
                true => Policy::none(),
                false => redirects(options.unsafe_plain_http),
            });
        if local {
            // A proxy could not reach this machine's loopback.
            client = client.no_proxy();
        }
        client = match base.scheme() {
            // No redirection leads to HTTPS: reading the system's certificates would cost more than all the rest.
            "http" => client.tls_certs_only([]),
            _ => match &options.only_ca_cert {
                Some(only) => client.tls_certs_only(certificates(std::slice::from_ref(only))?),
                None => client.tls_certs_merge(certificates(&options.ca_certs)?),
            },
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(|error| cannot(&error))?,
            client: client.build().map_err(|error| cannot(&error))?,
            base,
        })
    }

    /// Returns the URL of the directory.
    pub fn base(&self) -> &str {
        self.base.as_str()
    }

    /// Reads a file of which `path` is the URL's rest, percent-encoded; of a longer one `max + 1` bytes.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be found out.
    pub fn read(&self, path: &str, max: usize) -> Result<Answer<Vec<u8>>, Failure> {
        let url = self.url(path)?;
        let attempt = async || {
            let mut bytes = Vec::new();
            let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
            let request = self.client.get(url.clone());
            Ok(self.fetch(&url, request, limit, &mut bytes).await?.with(bytes))
        };
        self.runtime.block_on(patiently(url.as_str(), attempt))
    }

    /// Writes a file to what `start` makes, anew for each attempt; no more than `max + 1` bytes of a longer one.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the file cannot be had, missing ones included, or not be written.
    pub fn download<W: Write>(
        &self,
        path: &str,
        max: u64,
        start: impl Fn() -> Result<W, Failure>,
    ) -> Result<W, Failure> {
        let url = self.url(path)?;
        let attempt = async || {
            let mut file = start()?;
            let request = self.client.get(url.clone());
            match self.fetch(&url, request, max.saturating_add(1), &mut file).await? {
                Answer::Found(()) => Ok(file),
                Answer::Missing => Err(Failure::unavailable(&url, "the server says that it has no such file").into()),
                Answer::Forbidden(status) => Err(forbidden(&url, status).into()),
            }
        };
        self.runtime.block_on(patiently(url.as_str(), attempt))
    }

    /// Hands `body` to `path` (POST), and reads the answer, of a longer one `max + 1` bytes.
    ///
    /// What passes is tried again: whoever is asked has to bear it twice.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be found out.
    pub fn post(&self, path: &str, content_type: &str, body: Bytes, max: usize) -> Result<Answer<Vec<u8>>, Failure> {
        let url = self.url(path)?;
        let attempt = async || {
            let mut bytes = Vec::new();
            let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
            let request = self.client.post(url.clone()).header(CONTENT_TYPE, content_type);
            let request = request.body(body.clone());
            Ok(self.fetch(&url, request, limit, &mut bytes).await?.with(bytes))
        };
        self.runtime.block_on(patiently(url.as_str(), attempt))
    }

    fn url(&self, path: &str) -> Result<Url, Failure> {
        let url = Url::parse(&format!("{}{path}", self.base));
        let url = url.map_err(|error| Failure::malformed(&self.base, error))?;
        // Whatever a name holds, it does not lead out of the directory.
        match url.path().starts_with(self.base.path()) && url.query().is_none() && url.fragment().is_none() {
            true => Ok(url),
            false => Err(Failure::malformed(
                &self.base,
                "a file's name would lead out of the directory",
            )),
        }
    }

    /// Asks once, and writes up to `most` bytes of the answer.
    async fn fetch(
        &self,
        url: &Url,
        request: RequestBuilder,
        most: u64,
        to: &mut impl Write,
    ) -> Result<Answer<()>, Trouble> {
        let answer = tokio::time::timeout(limit::ANSWER_TIMEOUT, request.send());
        let answer = answer.await.map_err(|_| {
            let seconds = limit::ANSWER_TIMEOUT.as_secs();
            Trouble::Passing(format!("no answer within {seconds} seconds"))
        })?;
        let mut response = answer.map_err(|error| no_answer(url, &error))?;
        let status = response.status();
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Missing),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(Answer::Forbidden(status)),
            StatusCode::OK | StatusCode::CREATED => {}
            _ => {
                let problem = format!("the server answers {status}: {}", excerpt(&mut response).await);
                return Err(
                    match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                        true => Trouble::Passing(problem),
                        false => Failure::unavailable(url, problem).into(),
                    },
                );
            }
        }
        let coding = response.headers().get(CONTENT_ENCODING);
        if let Some(coding) = coding.filter(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            let coding = String::from_utf8_lossy(coding.as_bytes()).escape_debug().to_string();
            let problem =
                format!("the server sends it packed (`{coding}`), which was not asked for; have it sent as it is");
            return Err(Failure::unavailable(url, problem).into());
        }
        copy(url.as_str(), &mut response, most, to).await.map(Answer::Found)
    }
}

/// Says that a file may not be read.
pub(super) fn forbidden(url: &impl std::fmt::Display, status: StatusCode) -> Failure {
    Failure::unavailable(
        url,
        format!("the server answers {status}; have it let everybody read the file"),
    )
}

/// Copies up to `most` bytes of a body, no slower than the minimum rate.
pub(in crate::store) async fn copy(
    subject: &str,
    response: &mut Response,
    most: u64,
    to: &mut impl Write,
) -> Result<(), Trouble> {
    let mut left = most;
    let mut pace = Pace::new();
    while left > 0 {
        let chunk = pace.chunk(response).await.map_err(|halt| match halt {
            Halt::Broken(problem) => Trouble::Passing(problem),
            Halt::TooSlow => Failure::unavailable(subject, halt).into(),
        })?;
        let Some(chunk) = chunk else { break };
        let taken = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
        to.write_all(chunk.get(..taken).unwrap_or_default())
            .map_err(|error| Failure::unavailable(subject, error))?;
        left = left.saturating_sub(taken as u64);
    }
    Ok(())
}

/// Reads an answer no slower than the minimum rate.
pub(in crate::store) struct Pace {
    window: Pin<Box<Sleep>>,
    seen: usize,
}

impl Pace {
    pub(in crate::store) fn new() -> Self {
        Self {
            window: Box::pin(tokio::time::sleep(limit::RATE_WINDOW)),
            seen: 0,
        }
    }

    /// Reads what comes next; nothing at the end.
    pub(in crate::store) async fn chunk(&mut self, response: &mut Response) -> Result<Option<Bytes>, Halt> {
        if self.seen >= limit::SLOWEST_WINDOW_BYTES {
            *self = Self::new();
        }
        let chunk = tokio::select! {
            biased;
            chunk = response.chunk() => chunk.map_err(|error| Halt::Broken(chain(&error)))?,
            () = &mut self.window => return Err(Halt::TooSlow),
        };
        self.seen += chunk.as_ref().map_or(0, Bytes::len);
        Ok(chunk)
    }
}

/// Why an answer does not go on.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Halt {
    #[error("{0}")]
    Broken(String),
    #[error(
        "fewer than {} bytes came within {} seconds; the server is too slow",
        limit::SLOWEST_WINDOW_BYTES,
        limit::RATE_WINDOW.as_secs()
    )]
    TooSlow,
}

/// Reads the URL of a directory.
fn directory(text: &str, plain: bool) -> Result<Url, Failure> {
    let bad = |problem: &str| Failure::malformed(text, problem);
    let mut url = Url::parse(text).map_err(|error| bad(&format!("it is no URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::malformed(
            "a URL",
            "it has credentials in it, which others can read in the list of processes",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it has a query or a fragment, expected the URL of a directory"));
    }
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => {}
        ("http", Some(host)) if plain || is_loopback(host) => {}
        ("http", Some(_)) => return Err(bad("plain HTTP is spoken to the loopback alone; use https")),
        _ => return Err(bad("expected https://HOST/PATH")),
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Follows a few redirections: none changes the scheme, and none leads plain HTTP off the loopback.
fn redirects(plain: bool) -> Policy {
    Policy::custom(move |attempt| {
        let before = attempt.previous().last().map(|url| url.scheme().to_owned());
        let host = attempt.url().host_str().unwrap_or_default();
        let off_loopback = attempt.url().scheme() == "http" && !plain && !is_loopback(host);
        if attempt.previous().len() > limit::REDIRECTS {
            attempt.error("too many redirections")
        } else if before.as_deref() != Some(attempt.url().scheme()) {
            attempt.error("a redirection to another scheme")
        } else if off_loopback {
            attempt.error("a redirection of plain HTTP off the loopback")
        } else {
            attempt.follow()
        }
    })
}

fn certificates(files: &[PathBuf]) -> Result<Vec<Certificate>, Failure> {
    let mut all = Vec::new();
    for file in files {
        let bad = |problem: &str| Failure::malformed(file.display().to_string(), problem);
        let pem = read_limited(file, limit::CA_CERTS_BYTES)?;
        let read = Certificate::from_pem_bundle(&pem).map_err(|error| bad(&chain(&error)))?;
        if read.is_empty() {
            return Err(bad("it has no certificate in PEM"));
        }
        all.extend(read);
    }
    Ok(all)
}

fn no_answer(url: &Url, error: &reqwest::Error) -> Trouble {
    // Who cannot be reached now will not be in a second; who answered and broke off may be.
    if error.is_connect() || error.is_builder() || error.is_redirect() {
        return Failure::unavailable(url, format!("the server cannot be reached: {}", chain(error))).into();
    }
    Trouble::Passing(chain(error))
}

#[cfg(test)]
pub(super) mod testing {
    //! A server on the loopback that sends what a test wants, byte for byte.

    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    /// The server; its threads end with the test's process.
    pub(in crate::store) struct Scripted {
        host: String,
        paths: Arc<Mutex<Vec<String>>>,
    }

    impl Scripted {
        /// Answers each path with what `answer` makes of it, and closes the connection.
        pub(in crate::store) fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
            Self::writing(move |path, mut stream| drop(stream.write_all(&answer(path))))
        }

        /// Lets `answer` write to the connection.
        pub(in crate::store) fn writing(answer: impl Fn(&str, TcpStream) + Send + Sync + 'static) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let host = listener.local_addr().unwrap().to_string();
            let (paths, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
            let seen = Arc::clone(&paths);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                    std::thread::spawn(move || {
                        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                        let Some(first) = lines.next() else { return };
                        lines.take_while(|line| !line.is_empty()).for_each(drop);
                        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                        seen.lock().unwrap().push(path.clone());
                        answer(&path, stream);
                    });
                }
            });
            Self { host, paths }
        }

        pub(in crate::store) fn url(&self, path: &str) -> String {
            format!("http://{}/{path}", self.host)
        }

        pub(in crate::store) fn paths(&self) -> Vec<String> {
            self.paths.lock().unwrap().clone()
        }
    }

    /// Writes an answer with its length and the header lines `more`.
    pub(in crate::store) fn reply(status: &str, more: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 {status}\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::testing::{Scripted, reply};
    use super::*;

    fn web(server: &Scripted) -> Web {
        Web::new(&server.url("files"), &WebOptions::default()).unwrap()
    }

    fn why(server: &Scripted) -> String {
        match web(server).read("f", 10) {
            Err(Failure::Unavailable { problem, .. }) => problem,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn reads_a_file_and_no_more_of_it_than_was_asked_for() {
        let server = Scripted::start(|_| reply("200 OK", "", b"0123456789"));
        assert_eq!(
            web(&server).read("f", 10).unwrap(),
            Answer::Found(b"0123456789".to_vec())
        );
        assert_eq!(web(&server).read("f", 3).unwrap(), Answer::Found(b"0123".to_vec()));
        assert_eq!(server.paths(), ["/files/f", "/files/f"]);
        let endless = Scripted::writing(|_, mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        });
        assert_eq!(web(&endless).read("f", 3).unwrap(), Answer::Found(b"xxxx".to_vec()));
    }

    #[test]
    fn what_is_missing_is_an_answer_and_what_passes_is_tried_again() {
        let gone = Scripted::start(|_| reply("404 Not Found", "", b""));
        assert_eq!(web(&gone).read("f", 10).unwrap(), Answer::Missing);
        let calls = AtomicU32::new(0);
        let moody = Scripted::writing(move |_, mut stream| {
            let answer = match calls.fetch_add(1, Ordering::SeqCst) {
                0 => reply("503 Service Unavailable", "", b"later"),
                1 => b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec(),
                2 => Vec::new(),
                _ => reply("200 OK", "", b"whole"),
            };
            let _ = stream.write_all(&answer);
        });
        assert_eq!(web(&moody).read("f", 10).unwrap(), Answer::Found(b"whole".to_vec()));
        let refusing = Scripted::start(|_| reply("400 Bad Request", "", b"no \x1b[31m such"));
        assert!(
            why(&refusing).contains("400 Bad Request: no [31m such"),
            "{}",
            why(&refusing)
        );
    }

    #[test]
    fn a_redirection_is_followed_a_few_times_and_never_elsewhere_than_it_may_lead() {
        let server = Scripted::start(|path| match path {
            "/files/f" => reply("302 Found", "location: /other/g\r\n", b""),
            _ => reply("200 OK", "", b"g"),
        });
        assert_eq!(web(&server).read("f", 10).unwrap(), Answer::Found(b"g".to_vec()));
        for (location, problem) in [
            ("/files/f", "too many redirections"),
            ("http://192.0.2.1/f", "off the loopback"),
            ("https://127.0.0.1/f", "another scheme"),
            ("file:///etc/passwd", "302 Found"),
        ] {
            let server = Scripted::start(move |_| reply("302 Found", &format!("location: {location}\r\n"), b""));
            assert!(why(&server).contains(problem), "{location}: {}", why(&server));
        }
    }

    #[test]
    fn a_slow_drip_is_given_up_at_the_first_span_without_enough() {
        let server = Scripted::writing(|_, mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(limit::RATE_WINDOW / 4);
            }
        });
        let why = why(&server);
        assert!(why.contains("too slow"), "{why}");
        assert_eq!(server.paths().len(), 1);
    }

    #[test]
    fn a_packed_answer_is_not_unpacked() {
        let server = Scripted::start(|_| reply("200 OK", "content-encoding: gzip\r\n", b"bomb"));
        assert!(why(&server).contains("gzip"), "{}", why(&server));
    }

    #[test]
    fn a_name_does_not_lead_out_of_the_directory() {
        let server = Scripted::start(|_| reply("200 OK", "", b"x"));
        for name in ["../f", "%2e%2e/f", "a/../../f", "f?x", "f#x"] {
            assert!(
                matches!(web(&server).read(name, 10), Err(Failure::Malformed { .. })),
                "{name}"
            );
        }
        assert!(web(&server).read("..%2Ff", 10).is_ok());
        assert_eq!(server.paths(), ["/files/..%2Ff"]);
    }

    #[test]
    fn plain_http_is_for_the_loopback_alone_unless_it_is_spelled_out() {
        let open = |url: &str, plain| {
            let options = WebOptions {
                unsafe_plain_http: plain,
                ..WebOptions::default()
            };
            Web::new(url, &options).map(|web| web.base().to_owned())
        };
        assert_eq!(open("http://127.0.0.1:1/a", false).unwrap(), "http://127.0.0.1:1/a/");
        assert_eq!(open("http://[::1]:1/a/", false).unwrap(), "http://[::1]:1/a/");
        assert!(open("https://example.org", false).is_ok() && open("http://example.org", true).is_ok());
        for bad in [
            "http://example.org",
            "ftp://127.0.0.1/",
            "https://a:b@example.org/",
            "https://example.org/?x",
            "x",
        ] {
            assert!(matches!(open(bad, false), Err(Failure::Malformed { .. })), "{bad}");
        }
    }

    #[test]
    fn a_download_begins_anew_after_a_cut_and_needs_the_file_to_be_there() {
        let calls = AtomicU32::new(0);
        let server = Scripted::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec(),
            1 => reply("200 OK", "", b"whole"),
            _ => reply("404 Not Found", "", b""),
        });
        let web = web(&server);
        assert_eq!(web.download("f", 10, || Ok(Vec::new())).unwrap(), b"whole");
        assert!(web.download("f", 10, || Ok(Vec::new())).is_err());
    }
}
