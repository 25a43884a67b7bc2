//! An OpenID Connect identity token (RFC 7519), as somebody who presents it reads it.
//!
//! Who it is for is not proved here: the certificate authority checks the token. It is a secret until it expires: it is never shown, and
//! the copies of it that are made here are cleared.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::json::{self, Limits};
use crate::limit;
use crate::sigstore::certificate::{IdentityError, Matcher, Signer};
use crate::time::Time;

/// A token, and what it says.
pub struct IdentityToken {
    text: Zeroizing<String>,
    claims: Claims,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: i64,
    email: Option<String>,
    /// What GitHub's certificates name.
    job_workflow_ref: Option<String>,
    /// What GitLab's certificates name.
    ci_config_ref_uri: Option<String>,
    /// Who it is that an issuer in between speaks for.
    federated_claims: Option<Federated>,
}

#[derive(Deserialize)]
struct Federated {
    connector_id: Option<String>,
}

impl IdentityToken {
    /// Reads a token; space around it does not count.
    ///
    /// # Errors
    /// [`TokenError`] when it is too long, or none.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim_ascii();
        if text.len() > limit::IDENTITY_TOKEN_BYTES {
            return Err(TokenError::Form("longer than tokens are"));
        }
        let mut parts = text.split('.');
        let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(TokenError::Form("not three parts with points between them"));
        };
        let claims = URL_SAFE_NO_PAD.decode(claims).map(Zeroizing::new);
        let claims = claims.map_err(|_| TokenError::Form("its second part is not base64"))?;
        // What JSON errors say of it would show it.
        let claims = json::decode(&claims, Limits::any_number(limit::IDENTITY_TOKEN_BYTES));
        let claims = claims.map_err(|_| TokenError::Form("its claims are not JSON with `iss`, `sub` and `exp`"))?;
        Ok(Self {
            text: Zeroizing::new(text.to_owned()),
            claims,
        })
    }

    /// Checks that the token's time is not over.
    ///
    /// # Errors
    /// [`TokenError::Expired`] when it is.
    pub fn check_not_expired(&self, now: Time) -> Result<(), TokenError> {
        match self.claims.exp > now.unix() {
            true => Ok(()),
            false => Err(TokenError::Expired {
                at: Time::EPOCH.plus(self.claims.exp).to_string(),
                now,
            }),
        }
    }

    /// Returns the token itself, to be shown to the certificate authority and nobody else.
    pub fn secret(&self) -> &str {
        &self.text
    }

    /// Returns what the new key signs to show that the asker has it: the address, else the subject (Fulcio, `proofOfPossession`).
    pub fn challenge(&self) -> &str {
        self.claims.email.as_deref().unwrap_or(&self.claims.sub)
    }

    /// Returns whom a certificate for this token may name: the address, where there is one, else the subject or the workflow.
    ///
    /// # Errors
    /// [`IdentityError`] when the names are longer than any that is judged.
    pub fn signer(&self) -> Result<Signer, IdentityError> {
        let claims = &self.claims;
        let https = |name: &Option<String>, host: &str| name.as_ref().map(|name| format!("https://{host}{name}"));
        let identities = match &claims.email {
            Some(email) => vec![email.clone()],
            None => [
                Some(claims.sub.clone()),
                https(&claims.job_workflow_ref, "github.com/"),
                https(&claims.ci_config_ref_uri, ""),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        let between = claims.federated_claims.as_ref();
        let federated = between.and_then(|federated| federated.connector_id.clone());
        let issuers: Vec<String> = [Some(claims.iss.clone()), federated].into_iter().flatten().collect();
        Ok(Signer::new(Matcher::any_of(&identities)?, Matcher::any_of(&issuers)?))
    }
}

impl std::fmt::Debug for IdentityToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityToken").finish_non_exhaustive()
    }
}

/// A text that is no token, or one whose time is over; it does not show the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its time is over.
    #[error("it expired at {at}, and it is {now}; get a new one from the issuer")]
    Expired {
        /// When it expired.
        at: String,
        /// The time now.
        now: Time,
    },
    /// It is none.
    #[error("no OpenID Connect identity token: {0}")]
    Form(&'static str),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn token(claims: &Value) -> Result<IdentityToken, TokenError> {
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        IdentityToken::parse(&format!("e30.{claims}.c2ln\n"))
    }

    #[test]
    fn who_is_meant_is_the_address_or_else_the_subject_or_workflow() {
        let signer = |claims: &Value| token(claims).unwrap().signer().unwrap();
        let email = json!({ "iss": "https://i.example", "sub": "CgYx", "exp": 2_000, "email": "a@example.com",
            "federated_claims": { "connector_id": "https://f.example" } });
        assert_eq!(token(&email).unwrap().challenge(), "a@example.com");
        let meant = signer(&email);
        assert!(meant.check("a@example.com", "https://f.example").is_ok());
        assert!(meant.check("a@example.com", "https://i.example").is_ok());
        assert!(meant.check("CgYx", "https://i.example").is_err());
        assert!(meant.check("a@exampleXcom", "https://i.example").is_err());
        let workflow = json!({ "iss": "https://i.example", "sub": "repo:a/b:ref:x", "exp": 2_000, "job_workflow_ref": "a/b/w.yml@x" });
        assert_eq!(token(&workflow).unwrap().challenge(), "repo:a/b:ref:x");
        let meant = signer(&workflow);
        assert!(
            meant
                .check("https://github.com/a/b/w.yml@x", "https://i.example")
                .is_ok()
        );
        assert!(
            meant
                .check("https://github.com/a/b/w.yml@y", "https://i.example")
                .is_err()
        );
        assert!(
            meant
                .check("https://github.com/a/b/w.yml@x", "https://other.example")
                .is_err()
        );
    }

    #[test]
    fn a_token_past_its_time_is_told_from_one_that_is_none_and_neither_is_shown() {
        let good = token(&json!({ "iss": "i", "sub": "s", "exp": 2_000 })).unwrap();
        let at = |seconds| Time::from_unix(seconds).unwrap();
        assert!(good.check_not_expired(at(1_999)).is_ok());
        assert!(good.check_not_expired(at(2_000)).is_err());
        assert!(!format!("{good:?}").contains("c2ln"));
        for bad in [
            "",
            "secret",
            "a.secret",
            "a.!secret.c",
            "a.c2VjcmV0.c",
            "a.e30.c.d",
            "a.e30.c",
        ] {
            let error = IdentityToken::parse(bad).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(IdentityToken::parse(&"a".repeat(100_000)).is_err());
    }
}
