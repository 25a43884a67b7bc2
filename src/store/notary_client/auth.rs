//! Tokens of Docker's kind (distribution, "Token Authentication"), with the credentials of `docker login`.
//!
//! - Credentials are those of the collection's registry, as docker has it; else those of the Notary server's own host.
//! - They are sent to the token server that the Notary server names, over HTTPS or to the loopback, and nowhere else.
//! - Tokens live in memory, for as long as the command.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use reqwest::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};

use super::super::registry::{Credentials, Trouble, chain, is_loopback};
use super::read;
use crate::failure::Failure;
use crate::json::{self, Limits};
use crate::limit;
use crate::reference::{Reference, Repository};

/// How one server lets in.
pub(super) struct Auth {
    server: String,
    credentials: Credentials,
    /// The `Authorization` of requests that read, and of those that change.
    headers: Mutex<BTreeMap<&'static str, String>>,
}

impl Auth {
    pub(super) fn new(base: &Url, credentials: Credentials) -> Self {
        let port = base.port().map(|port| format!(":{port}")).unwrap_or_default();
        Self {
            server: format!("{}{port}", base.host_str().unwrap_or_default()),
            credentials,
            headers: Mutex::default(),
        }
    }

    /// Returns the header that was good enough before.
    pub(super) fn known(&self, action: &'static str) -> Option<String> {
        let headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        headers.get(action).cloned()
    }

    /// Answers a challenge: gets a token, or sends the credentials themselves.
    pub(super) async fn answer(
        &self,
        http: &reqwest::Client,
        gun: &str,
        action: &'static str,
        challenge: &HeaderMap,
    ) -> Result<String, Trouble> {
        let challenges = challenge.get_all(WWW_AUTHENTICATE).iter();
        let mut challenges = challenges.filter_map(|header| Challenge::read(header.to_str().ok()?));
        let auth = self.find(gun)?;
        let header = match (challenges.next(), &auth) {
            (Some(Challenge::Bearer(challenge)), _) => {
                format!("Bearer {}", self.token(http, gun, &challenge, &auth).await?)
            }
            (Some(Challenge::Basic), RegistryAuth::Basic(user, password)) => basic(user, password),
            _ => return Err(self.unauthorised(gun).into()),
        };
        let mut headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        headers.insert(action, header.clone());
        Ok(header)
    }

    async fn token(
        &self,
        http: &reqwest::Client,
        gun: &str,
        challenge: &Bearer,
        auth: &RegistryAuth,
    ) -> Result<String, Trouble> {
        let subject = format!("the token server {}", challenge.realm);
        let bad = |problem: &str| Failure::unavailable(&subject, problem);
        let mut url: Url = challenge
            .realm
            .parse()
            .map_err(|_| bad("the Notary server names no URL of it"))?;
        let host = url.host_str().unwrap_or_default();
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(host)) {
            return Err(bad("the Notary server wants the credentials sent there over plain HTTP").into());
        }
        // What the server asks for counts, as long as it is for this collection.
        let own = format!("repository:{gun}:");
        let scope = Some(&challenge.scope).filter(|scope| scope.starts_with(&own));
        let scope = scope.cloned().unwrap_or_else(|| format!("{own}push,pull"));
        url.query_pairs_mut()
            .append_pair("service", &challenge.service)
            .append_pair("scope", &scope);
        let mut request = http.get(url);
        if let RegistryAuth::Basic(user, password) = auth {
            request = request.query(&[("account", user)]);
            request = request.header(AUTHORIZATION, basic(user, password));
        }
        let response = request.send().await;
        let response = response.map_err(|error| match error.is_connect() {
            true => bad(&format!("it cannot be reached: {}", chain(&error))).into(),
            false => Trouble::Passing(chain(&error)),
        })?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.unauthorised(gun).into()),
            status if status.is_server_error() => return Err(Trouble::Passing(format!("{subject} answers {status}"))),
            status => return Err(bad(&format!("it answers {status}")).into()),
        }
        let bytes = read(&subject, response, limit::TOKEN_BYTES).await?;
        let answer = json::parse(&bytes, Limits::any_number(limit::TOKEN_BYTES));
        let answer = answer.map_err(|error| bad(&format!("its answer is {error}")))?;
        let token = ["token", "access_token"]
            .iter()
            .find_map(|name| answer.get(name)?.as_str());
        let token = token.filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
        Ok(token.ok_or_else(|| bad("there is no token in its answer"))?.to_owned())
    }

    /// Finds what to log in with.
    fn find(&self, gun: &str) -> Result<RegistryAuth, Failure> {
        let server = format!("{}/notary", self.server);
        for name in [gun, &server] {
            let Some(repository) = repository(name) else { continue };
            match self.credentials.find(&repository)? {
                RegistryAuth::Anonymous => {}
                found => return Ok(found),
            }
        }
        Ok(RegistryAuth::Anonymous)
    }

    pub(super) fn unauthorised(&self, gun: &str) -> Failure {
        let host = repository(gun).map_or_else(|| self.server.clone(), |repository| repository.host().to_owned());
        let problem = format!(
            "the Notary server does not let this user do that with {gun}; {}; log in with `docker login {host}`",
            self.credentials.describe()
        );
        Failure::unavailable(&self.server, problem)
    }
}

fn repository(name: &str) -> Option<Repository> {
    let reference: Reference = name.parse().ok()?;
    Some(reference.repository().clone())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// What a server wants of one whom it does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer(Bearer),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bearer {
    realm: String,
    service: String,
    scope: String,
}

impl Challenge {
    /// Reads a `Www-Authenticate` header (RFC 9110, 11.6.1) with one challenge.
    fn read(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut bearer = Bearer::default();
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match name.trim_matches([' ', ',']).to_ascii_lowercase().as_str() {
                "realm" => bearer.realm = value.to_owned(),
                "service" => bearer.service = value.to_owned(),
                "scope" => bearer.scope = value.to_owned(),
                _ => {}
            }
            rest = after;
        }
        Some(Self::Bearer(bearer)).filter(|_| header.len() <= limit::TOKEN_BYTES)
    }
}

/// Only what is not secret.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn challenges_are_read_in_any_order() {
        let header = r#"Bearer realm="https://a.example/token",service="n",scope="repository:r.example/a:pull,push""#;
        let expected = Bearer {
            realm: "https://a.example/token".into(),
            service: "n".into(),
            scope: "repository:r.example/a:pull,push".into(),
        };
        assert_eq!(Challenge::read(header), Some(Challenge::Bearer(expected)));
        let header = r#"bearer  service=n, realm="https://a.example""#;
        let Some(Challenge::Bearer(bearer)) = Challenge::read(header) else {
            unreachable!()
        };
        assert_eq!(
            (bearer.realm.as_str(), bearer.service.as_str()),
            ("https://a.example", "n")
        );
        assert_eq!(Challenge::read("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::read("Negotiate"), None);
    }
}
