//! One registry: how it is reached and logged in to, and one bounded request.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH, RANGE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use super::credentials::Login;
use super::patience::{Trouble, chain};
use crate::failure::Failure;
use crate::limit;
use crate::oci::{INDEX, Kind};
use crate::reference::Repository;
use crate::store::challenge::Challenge;
use crate::store::http::copy;

pub(in crate::store) const USER_AGENT: &str = concat!("imgkit/", env!("CARGO_PKG_VERSION"));

/// A repository of a registry, with what is needed to talk to it.
pub(super) struct Place {
    pub(super) repository: Repository,
    pub(super) http: reqwest::Client,
    /// The same for uploads, which say nothing until all of it has arrived.
    pub(super) patient: reqwest::Client,
    /// Where requests for this repository begin.
    base: String,
    /// Where the registry says how to log in.
    ping: String,
    auth: Login,
    looked: String,
    tokens: Mutex<BTreeMap<Action, Option<String>>>,
}

/// What a login is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Pull,
    Push,
}

/// What became of a document that was put where none should be.
pub(super) enum Put {
    /// The registry took it.
    Done,
    /// The registry did not take it, and says why.
    Refused(Failure),
}

impl Place {
    pub(super) fn new(repository: &Repository, auth: Login, looked: String) -> Result<Self, Failure> {
        let loopback = is_loopback(repository.host());
        let cannot = |error: &dyn Error| Failure::unavailable(repository.host(), chain(error));
        let client = || {
            let client = reqwest::Client::builder()
                .connect_timeout(limit::CONNECT_TIMEOUT)
                .user_agent(USER_AGENT)
                .redirect(redirects());
            // A proxy could not reach this machine's loopback.
            if loopback { client.no_proxy() } else { client }
        };
        let http = client().read_timeout(limit::READ_TIMEOUT).build();
        let host = match repository.host() {
            "docker.io" => "index.docker.io",
            host => host,
        };
        let scheme = if loopback { "http" } else { "https" };
        Ok(Self {
            repository: repository.clone(),
            http: http.map_err(|error| cannot(&error))?,
            patient: client().build().map_err(|error| cannot(&error))?,
            base: format!("{scheme}://{host}/v2/{}", repository.path()),
            ping: format!("{scheme}://{host}/v2/"),
            auth,
            looked,
            tokens: Mutex::default(),
        })
    }

    /// Logs in, and remembers the token for this repository.
    pub(super) async fn log_in(&self, action: Action) -> Result<Option<String>, Trouble> {
        let token = self.token(action).await?;
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(action, token.clone());
        Ok(token)
    }

    /// Gets a token, where the registry wants one.
    async fn token(&self, action: Action) -> Result<Option<String>, Trouble> {
        let response = self.http.get(&self.ping).send().await;
        let response = response.map_err(|error| self.no_answer(&error))?;
        let Some(Challenge::Bearer(bearer)) = Challenge::of(response.headers()) else {
            return Ok(None);
        };
        let actions = match action {
            Action::Pull => "pull",
            Action::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", self.repository.path());
        let token = bearer.token(&self.http, &scope, &self.auth).await?;
        token
            .map(Some)
            .ok_or_else(|| self.unauthorised("the login failed").into())
    }

    /// Asks for `manifests/…` or `blobs/…` from a byte on; answers with success, or with 416 when there is nothing from there on.
    pub(super) async fn get(&self, what: &str, from: u64) -> Result<Response, Trouble> {
        let found = self.find(what, from).await?;
        let absent = || Failure::unavailable(self.subject(what), "the registry says that it has no such thing");
        found.ok_or_else(|| absent().into())
    }

    /// As [`Place::get`]; nothing where the registry says that it has no such thing.
    pub(super) async fn find(&self, what: &str, from: u64) -> Result<Option<Response>, Trouble> {
        let request = || {
            let mut request = self.http.get(format!("{}/{what}", self.base));
            if what.starts_with("manifests/") {
                let documents: Vec<&str> = Kind::documents().collect();
                request = request.header(ACCEPT, documents.join(", "));
            }
            match from {
                0 => request,
                _ => request.header(RANGE, format!("bytes={from}-")),
            }
        };
        let response = self.ask(Action::Pull, request).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(Some(response)),
            _ => self.judge(what, response).await.map(Some),
        }
    }

    /// Returns the URL of something in this repository.
    pub(super) fn url(&self, what: &str) -> Result<Url, Failure> {
        let url = format!("{}/{what}", self.base);
        Url::parse(&url).map_err(|error| Failure::malformed(&url, error))
    }

    /// Asks for an index at a URL of this registry; nothing where it says that it has no such thing.
    pub(super) async fn find_at(&self, url: &Url, what: &str) -> Result<Option<Response>, Trouble> {
        let request = || self.http.get(url.clone()).header(ACCEPT, INDEX);
        let response = self.ask(Action::Pull, request).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            _ => self.judge(what, response).await.map(Some),
        }
    }

    /// Begins a request that puts bytes.
    pub(super) fn request_put(&self, what: &str, bytes: &[u8]) -> RequestBuilder {
        self.http.put(format!("{}/{what}", self.base)).body(bytes.to_vec())
    }

    /// Puts a document under a tag that no document should have yet.
    ///
    /// Registries that know conditions, or tags that never change, refuse where one has; others overwrite it.
    pub(super) async fn put_new(&self, tag: &str, media_type: &str, bytes: &[u8]) -> Result<Put, Trouble> {
        let what = format!("manifests/{tag}");
        let request = || {
            let request = self.request_put(&what, bytes);
            request.header(CONTENT_TYPE, media_type).header(IF_NONE_MATCH, "*")
        };
        let response = self.ask(Action::Push, request).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => {
                self.judge(&what, response).await.map(|_| Put::Done)
            }
            status if status.is_client_error() => match self.judge(&what, response).await {
                Err(Trouble::Final(failure)) => Ok(Put::Refused(failure)),
                Err(trouble) => Err(trouble),
                Ok(_) => Ok(Put::Done),
            },
            _ => self.judge(&what, response).await.map(|_| Put::Done),
        }
    }

    /// Sends a request with what logs it in, and once more with a new token: one lives for minutes, a pull may take longer.
    pub(super) async fn ask(&self, action: Action, request: impl Fn() -> RequestBuilder) -> Result<Response, Trouble> {
        let remembered = self.remembered(action);
        let first = remembered.is_none();
        let token = match remembered {
            Some(token) => token,
            None => self.log_in(action).await?,
        };
        let response = self.send(request(), token).await?;
        if response.status() != StatusCode::UNAUTHORIZED || first {
            return Ok(response);
        }
        let token = self.log_in(action).await?;
        self.send(request(), token).await
    }

    /// Returns what the last login gave, if there was one: a token where the registry wants one.
    pub(super) fn remembered(&self, action: Action) -> Option<Option<String>> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&action).cloned()
    }

    pub(super) async fn send(&self, request: RequestBuilder, token: Option<String>) -> Result<Response, Trouble> {
        let request = match (token, &self.auth) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Login::Basic(user, password)) => request.basic_auth(user, Some(password)),
            (None, _) => request,
        };
        request.send().await.map_err(|error| self.no_answer(&error))
    }

    /// Tells success from what the registry says instead.
    pub(super) async fn judge(&self, what: &str, mut response: Response) -> Result<Response, Trouble> {
        let status = response.status();
        match status {
            _ if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.unauthorised(&status.to_string()).into()),
            _ => {
                let text = excerpt(&mut response).await;
                let problem = format!("the registry answers {status}: {text}");
                match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                    true => Err(later(problem, &response)),
                    false => Err(Failure::unavailable(self.subject(what), problem).into()),
                }
            }
        }
    }

    pub(super) fn subject(&self, what: &str) -> String {
        format!("{}, {what}", self.repository)
    }

    pub(super) fn no_answer(&self, error: &reqwest::Error) -> Trouble {
        match error.status() {
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return self.unauthorised("the login failed").into();
            }
            Some(status) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                return Failure::unavailable(&self.repository, chain(error)).into();
            }
            _ => {}
        }
        // Who cannot be reached now will not be in a second; who answered and broke off may be.
        if error.is_connect() || error.is_builder() || error.is_redirect() {
            let problem = format!("the registry cannot be reached: {}", chain(error));
            return Failure::unavailable(&self.repository, problem).into();
        }
        Trouble::Passing(chain(error))
    }

    fn unauthorised(&self, answer: &str) -> Failure {
        let have = match &self.auth {
            Login::Anonymous => "none were found",
            Login::Basic(..) => "those found were not accepted",
        };
        let problem = format!(
            "the registry wants credentials ({answer}); {}, {have}; log in with `docker login {}` or `podman login`",
            self.looked,
            self.repository.host()
        );
        Failure::unavailable(&self.repository, problem)
    }
}

/// Tells whether a host (with port) is this machine's loopback, the only place that plain HTTP is spoken to.
pub(in crate::store) fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Follows a few redirections, and none from HTTPS to HTTP, or by HTTP off the loopback.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > limit::REDIRECTS {
            attempt.error("too many redirections")
        } else if secure && attempt.url().scheme() != "https" {
            attempt.error("a redirection from HTTPS to plain HTTP")
        } else if attempt.url().scheme() != "https" && !attempt.url().host_str().is_some_and(is_loopback) {
            attempt.error("a redirection to plain HTTP off the loopback")
        } else {
            attempt.follow()
        }
    })
}

/// Makes trouble that may pass, and no sooner than the server asks for (RFC 9110, 10.2.3), where it says so in seconds.
pub(in crate::store) fn later(problem: String, response: &Response) -> Trouble {
    let seconds = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|header| header.to_str().ok());
    match seconds.and_then(|text| text.trim().parse().ok()) {
        Some(seconds) => Trouble::Later(problem, Duration::from_secs(seconds)),
        None => Trouble::Passing(problem),
    }
}

/// Reads the beginning of an error's text, for people.
pub(in crate::store) async fn excerpt(response: &mut Response) -> String {
    let mut text = Vec::new();
    // Whatever came of it is shown.
    let _ = copy("an error", response, 300, &mut text).await;
    let text = String::from_utf8_lossy(&text);
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn plain_http_is_for_the_loopback_alone() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.8.9.1",
            "[::1]:5000",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example:5000",
            "128.0.0.1",
            "127.0.0.1.example",
            "10.0.0.1:5000",
            "[::2]:5000",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
