//! Challenges of registries and Notary servers, and the tokens that answer them (distribution, "Token Authentication").
//!
//! - Credentials are sent to the token server that the challenge names, over HTTPS or to the loopback, and nowhere else.
//! - A token server's answer is read within bounds, like everything that arrives.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};

use super::http::copy;
use super::registry::{Login, Trouble, chain, is_loopback, later};
use crate::failure::Failure;
use crate::json::{self, Limits};
use crate::limit;

/// What a server wants of one whom it does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer(Bearer),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bearer {
    realm: String,
    service: String,
    /// What the server says a token is needed for.
    pub(super) scope: String,
}

impl Bearer {
    /// Gets a token for `scope`; none where the token server does not let this user have it.
    ///
    /// # Errors
    /// Trouble when it could not be found out.
    pub(super) async fn token(
        &self,
        http: &reqwest::Client,
        scope: &str,
        auth: &Login,
    ) -> Result<Option<String>, Trouble> {
        let subject = format!("the token server {}", self.realm);
        let bad = |problem: &str| Failure::unavailable(&subject, problem);
        let mut url: Url = self.realm.parse().map_err(|_| bad("that is no URL"))?;
        let host = url.host_str().unwrap_or_default();
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(host)) {
            return Err(bad("credentials and tokens do not go over plain HTTP").into());
        }
        url.query_pairs_mut().append_pair("scope", scope);
        if !self.service.is_empty() {
            url.query_pairs_mut().append_pair("service", &self.service);
        }
        let request = match auth {
            Login::Basic(user, password) => {
                url.query_pairs_mut().append_pair("account", user);
                http.get(url).header(AUTHORIZATION, basic(user, password))
            }
            _ => http.get(url),
        };
        let response = request.send().await;
        let mut response = response.map_err(|error| match error.is_connect() {
            true => bad(&format!("it cannot be reached: {}", chain(&error))).into(),
            false => Trouble::Passing(chain(&error)),
        })?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(None),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(later(format!("{subject} answers {status}"), &response));
            }
            status => return Err(bad(&format!("it answers {status}")).into()),
        }
        let mut bytes = Vec::new();
        copy(&subject, &mut response, limit::TOKEN_BYTES as u64 + 1, &mut bytes).await?;
        if bytes.len() > limit::TOKEN_BYTES {
            return Err(bad(&format!("its answer is longer than {} bytes", limit::TOKEN_BYTES)).into());
        }
        let answer = json::parse(&bytes, Limits::any_number(limit::TOKEN_BYTES));
        let answer = answer.map_err(|error| bad(&format!("its answer is {error}")))?;
        let mut names = ["token", "access_token"].iter();
        let token = names.find_map(|name| answer.get(name)?.as_str());
        let token = token.filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
        let token = token.ok_or_else(|| bad("there is no token in its answer"))?;
        Ok(Some(token.to_owned()))
    }
}

impl Challenge {
    /// Finds the first challenge of an answer that is understood.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut challenges = headers.get_all(WWW_AUTHENTICATE).iter();
        challenges.find_map(|header| Self::read(header.to_str().ok()?))
    }

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

/// Writes the `Authorization` of a user with a password (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
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
