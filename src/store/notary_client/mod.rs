//! A client of Notary's server API (docs/notary-server.md, "Requests"), behind a synchronous face.
//!
//! - HTTPS; plain HTTP is spoken to the loopback alone. Redirections are followed nowhere: Notary servers send none.
//! - One connection for all requests of a command; every answer is read within bounds of size and time.
//! - "Not there" is only what the server says in its own words; whatever else is no answer is [`Failure::Unavailable`].

mod answer;
mod auth;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, Response, StatusCode, Url};
use tokio::runtime::Runtime;

use super::http;
use super::registry::Credentials;
use super::registry::{Trouble, chain, is_loopback, patiently};
use crate::failure::Failure;
use crate::limit;
use answer::Problem;
use auth::Auth;

const USER_AGENT: &str = concat!("imgkit/", env!("CARGO_PKG_VERSION"));

/// What separates the parts of a publication; no canonical JSON holds it, as it begins with a line end.
const BOUNDARY: &str = "imgkit-7f1c2f0a4be84d0fa9c9b0f7c1d2e3f4";

/// A Notary server.
pub struct NotaryClient {
    runtime: Runtime,
    http: reqwest::Client,
    base: Url,
    auth: Auth,
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// The server has taken it.
    Accepted,
    /// Another was published in the meantime, so that versions or hashes no longer follow.
    Conflict(String),
    /// The connection broke before the answer came, or the server is in trouble; it may have taken it or not.
    Unknown {
        /// What went wrong.
        problem: String,
        /// How long the server asks to be left alone.
        later: Duration,
    },
}

impl NotaryClient {
    /// Makes a client of the server at `url`; nothing is contacted yet. With `ca`, certificates in PEM, the server's is trusted by
    /// these alone.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the URL is none that may be spoken to, or `ca` holds no certificates.
    pub fn new(url: &str, ca: Option<&[u8]>, credentials: Credentials) -> Result<Self, Failure> {
        // The process may have one already, which is as good: there is no other provider in this program.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = base(url)?;
        let mut http = reqwest::Client::builder()
            .connect_timeout(limit::CONNECT_TIMEOUT)
            .read_timeout(limit::READ_TIMEOUT)
            .http1_only()
            .user_agent(USER_AGENT)
            .redirect(Policy::none());
        if base.host_str().is_some_and(is_loopback) {
            // A proxy could not reach this machine's loopback.
            http = http.no_proxy();
        }
        if let Some(ca) = ca {
            let bad = |problem: &dyn std::error::Error| Failure::malformed("the CA certificates", chain(problem));
            let certificates = Certificate::from_pem_bundle(ca).map_err(|error| bad(&error))?;
            if certificates.is_empty() {
                return Err(Failure::malformed("the CA certificates", "there are none in the file"));
            }
            http = http.tls_certs_only(certificates);
        }
        let cannot = |error: &dyn std::error::Error| Failure::unavailable(url, chain(error));
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| cannot(&error))?,
            http: http.build().map_err(|error| cannot(&error))?,
            auth: Auth::new(&base, credentials),
            base,
        })
    }

    /// Returns how messages name the server.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Fetches a metadata file (`root.json`, `3.root.json`, `targets/x.HEX.json`), or says that there is none.
    ///
    /// Of a file longer than `max` bytes, `max + 1` are returned: that it is too long is for the caller to say.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the server does not answer so.
    pub fn file(&self, gun: &str, file: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let subject = format!("{file} of {gun} at {}", self.url());
        self.runtime.block_on(patiently(&subject, async || {
            let response = self.ask(Method::GET, gun, file, None).await?;
            match response.status() {
                StatusCode::OK => Ok(Some(read_some(&subject, response, max).await?)),
                _ => match Problem::read(response).await {
                    problem if problem.is_absence() => Ok(None),
                    problem => Err(problem.about(&subject)),
                },
            }
        }))
    }

    /// Fetches the public key that the server signs `role` (`timestamp`, `snapshot`) with, as JSON; it makes one where there is none.
    ///
    /// # Errors
    /// As [`NotaryClient::file`].
    pub fn key(&self, gun: &str, role: &str) -> Result<Vec<u8>, Failure> {
        self.server_key(Method::GET, gun, role)
    }

    /// Has the server make a new key for `role`, which counts once a root names it; returns the public key as JSON.
    ///
    /// # Errors
    /// As [`NotaryClient::file`].
    pub fn rotate_key(&self, gun: &str, role: &str) -> Result<Vec<u8>, Failure> {
        self.server_key(Method::POST, gun, role)
    }

    fn server_key(&self, method: Method, gun: &str, role: &str) -> Result<Vec<u8>, Failure> {
        let subject = format!("the server's {role} key of {gun} at {}", self.url());
        self.runtime.block_on(patiently(&subject, async || {
            let response = self.ask(method.clone(), gun, &format!("{role}.key"), None).await?;
            match response.status() {
                StatusCode::OK => read(&subject, response, limit::SERVER_KEY_BYTES).await,
                _ => Err(Problem::read(response).await.about(&subject)),
            }
        }))
    }

    /// Publishes metadata, by role, all or nothing.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the server cannot be reached, or refuses for another reason than a version.
    pub fn publish(&self, gun: &str, files: &[(String, Vec<u8>)]) -> Result<Posted, Failure> {
        let subject = format!("the publication of {gun} at {}", self.url());
        let body: Arc<[u8]> = multipart(files).into();
        let answer = self.runtime.block_on(async {
            let response = self.ask(Method::POST, gun, "", Some(body)).await?;
            match response.status() {
                StatusCode::OK => Ok(Posted::Accepted),
                _ => match Problem::read(response).await {
                    problem if problem.is_conflict() => Ok(Posted::Conflict(problem.to_string())),
                    problem => Err(problem.about(&subject)),
                },
            }
        });
        match answer {
            Ok(posted) => Ok(posted),
            Err(Trouble::Passing(problem)) => Ok(Posted::Unknown {
                problem,
                later: Duration::ZERO,
            }),
            Err(Trouble::Later(problem, later)) => Ok(Posted::Unknown { problem, later }),
            Err(Trouble::Final(failure)) => Err(failure),
        }
    }

    /// Deletes a collection with all its versions; one that is not there is deleted already.
    ///
    /// # Errors
    /// As [`NotaryClient::file`].
    pub fn delete(&self, gun: &str) -> Result<(), Failure> {
        let subject = format!("the deletion of {gun} at {}", self.url());
        self.runtime.block_on(patiently(&subject, async || {
            let response = self.ask(Method::DELETE, gun, "", None).await?;
            match response.status() {
                StatusCode::OK => Ok(()),
                _ => Err(Problem::read(response).await.about(&subject)),
            }
        }))
    }

    /// Sends a request, and once more with a token when the server wants one.
    async fn ask(&self, method: Method, gun: &str, file: &str, body: Option<Arc<[u8]>>) -> Result<Response, Trouble> {
        let url = self.place(gun, file)?;
        let action = if method == Method::GET { "pull" } else { "change" };
        let known = self.auth.known(action);
        let first = self.send(&method, url.clone(), body.clone(), known.as_deref()).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        let header = self.auth.answer(&self.http, gun, action, first.headers()).await?;
        let second = self.send(&method, url, body, Some(&header)).await?;
        match second.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.auth.unauthorised(gun).into()),
            _ => Ok(second),
        }
    }

    async fn send(
        &self,
        method: &Method,
        url: Url,
        body: Option<Arc<[u8]>>,
        authorization: Option<&str>,
    ) -> Result<Response, Trouble> {
        let mut request = self.http.request(method.clone(), url);
        if let Some(body) = body {
            let kind = format!("multipart/form-data; boundary={BOUNDARY}");
            request = request.header(CONTENT_TYPE, kind).body(body.to_vec());
        }
        if let Some(header) = authorization {
            request = request.header(AUTHORIZATION, header);
        }
        request.send().await.map_err(|error| {
            // Who cannot be reached now will not be in a second; who broke off may be.
            match error.is_connect() || error.is_builder() {
                true => {
                    let problem = format!("the server cannot be reached: {}", chain(&error));
                    Failure::unavailable(self.url(), problem).into()
                }
                false => Trouble::Passing(chain(&error)),
            }
        })
    }

    /// Returns the URL of a file of a collection, each part of its path quoted.
    fn place(&self, gun: &str, file: &str) -> Result<Url, Trouble> {
        let bad = || {
            Failure::malformed(
                gun,
                "it cannot stand in a URL; expected HOST/PATH without empty parts, `.` or `..`",
            )
        };
        let mut url = self.base.clone();
        let fits = |part: &str| !matches!(part, "" | "." | "..");
        if !gun.split('/').all(fits) || !file.split('/').all(|part| part.is_empty() || fits(part)) {
            return Err(bad().into());
        }
        let mut path = url.path_segments_mut().map_err(|()| bad())?;
        path.pop_if_empty().push("v2").extend(gun.split('/'));
        path.extend(["_trust", "tuf"]).extend(file.split('/'));
        drop(path);
        Ok(url)
    }
}

impl std::fmt::Debug for NotaryClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotaryClient")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// Reads a server's URL.
fn base(url: &str) -> Result<Url, Failure> {
    let bad = |problem: &str| Failure::malformed(url, format!("{problem}; expected https://HOST[:PORT]"));
    let base: Url = url.parse().map_err(|_| bad("it is no URL"))?;
    let host = base.host_str().unwrap_or_default();
    match base.scheme() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => return Err(bad("plain HTTP is spoken to this machine's loopback alone")),
        _ => return Err(bad("it is neither HTTPS nor HTTP")),
    }
    if host.is_empty() || base.query().is_some() || base.fragment().is_some() {
        return Err(bad("it is no server's"));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(bad("credentials do not belong into a URL; log in with `docker login`"));
    }
    Ok(base)
}

/// Writes the parts of a publication (RFC 7578), each with its role as the file's name.
fn multipart(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (role, bytes) in files {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{role}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Reads an answer of at most `max` bytes.
async fn read(subject: &str, response: Response, max: usize) -> Result<Vec<u8>, Trouble> {
    let bytes = read_some(subject, response, max).await?;
    match bytes.len() > max {
        true => {
            let problem = format!("the answer is longer than {max} bytes, the most that is read of its kind");
            Err(Failure::unavailable(subject, problem).into())
        }
        false => Ok(bytes),
    }
}

/// Reads an answer, or `max + 1` bytes of it, no slower than the minimum rate.
async fn read_some(subject: &str, mut response: Response, max: usize) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    http::copy(subject, &mut response, max as u64 + 1, &mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn plain_http_and_credentials_in_a_url_are_refused() {
        for good in [
            "https://notary.example",
            "https://n.example:4443/",
            "http://127.0.0.1:4443",
            "http://[::1]:80",
        ] {
            assert!(base(good).is_ok(), "{good}");
        }
        for bad in [
            "http://notary.example",
            "ftp://notary.example",
            "notary.example",
            "https://u:p@notary.example",
            "https://notary.example?x",
        ] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_quoted_and_lead_nowhere_else() {
        let client = NotaryClient::new("https://n.example/below/", None, Credentials::default()).unwrap();
        let place = |gun, file| client.place(gun, file).map(String::from).ok();
        assert_eq!(
            place("r.example/a b?", "targets/x.json").unwrap(),
            "https://n.example/below/v2/r.example/a%20b%3F/_trust/tuf/targets/x.json"
        );
        assert_eq!(
            place("r.example/a", "").unwrap(),
            "https://n.example/below/v2/r.example/a/_trust/tuf/"
        );
        assert_eq!(place("r.example/../a", "root.json"), None);
        assert_eq!(place("r.example//a", "root.json"), None);
        assert_eq!(place("a", "targets/../root.json"), None);
    }

    #[test]
    fn a_publication_has_a_part_for_each_role() {
        let body = multipart(&[
            ("root".to_owned(), b"{}".to_vec()),
            ("targets/a".to_owned(), b"[]".to_vec()),
        ]);
        let text = String::from_utf8(body).unwrap();
        assert_eq!(text.matches(&format!("--{BOUNDARY}\r\n")).count(), 2);
        assert!(text.contains("filename=\"targets/a\"\r\nContent-Type: application/octet-stream\r\n\r\n[]\r\n--"));
        assert!(text.ends_with(&format!("--{BOUNDARY}--\r\n")));
    }
}
