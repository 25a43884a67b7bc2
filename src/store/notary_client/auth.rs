//! How a Notary server is logged in to: with the credentials of `docker login`.
//!
//! - Credentials are those of the collection's registry, as docker has it; else those of the Notary server's own host.
//! - Tokens live in memory, for as long as the command.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use reqwest::Url;
use reqwest::header::HeaderMap;

use super::super::challenge::{Challenge, basic};
use super::super::registry::{Credentials, Login, Trouble};
use crate::failure::Failure;
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
        let auth = self.find(gun)?;
        let header = match (Challenge::of(challenge), &auth) {
            (Some(Challenge::Bearer(bearer)), _) => {
                // What the server asks for counts, as long as it is for this collection.
                let own = format!("repository:{gun}:");
                let scope = Some(&bearer.scope).filter(|scope| scope.starts_with(&own));
                let scope = scope.cloned().unwrap_or_else(|| format!("{own}push,pull"));
                let token = bearer.token(http, &scope, &auth).await?;
                format!("Bearer {}", token.ok_or_else(|| self.unauthorised(gun))?)
            }
            (Some(Challenge::Basic), Login::Basic(user, password)) => basic(user, password),
            _ => return Err(self.unauthorised(gun).into()),
        };
        let mut headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        headers.insert(action, header.clone());
        Ok(header)
    }

    /// Finds what to log in with.
    fn find(&self, gun: &str) -> Result<Login, Failure> {
        let server = format!("{}/notary", self.server);
        for name in [gun, &server] {
            let Some(repository) = repository(name) else { continue };
            match self.credentials.find(&repository)? {
                Login::Anonymous => {}
                found => return Ok(found),
            }
        }
        Ok(Login::Anonymous)
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

/// Only what is not secret.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
