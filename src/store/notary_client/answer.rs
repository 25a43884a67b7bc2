//! What a Notary server says when it does not do what it was asked.

use std::fmt;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::super::registry::{Trouble, later};
use crate::failure::Failure;
use crate::json::{self, Limits};
use crate::limit;

/// An answer that is not success.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: String,
    text: String,
    /// How long the server asks to be left alone (Retry-After).
    later: Option<Duration>,
}

impl Problem {
    /// Reads the answer's error: `{"errors":[{"code":C,"message":M,"detail":D}]}`, or the beginning of whatever it is.
    pub(super) async fn read(mut response: Response) -> Self {
        let status = response.status();
        let later = match later(String::new(), &response) {
            Trouble::Later(_, later) => Some(later),
            Trouble::Passing(_) | Trouble::Final(_) => None,
        };
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limit::SERVER_ERROR_BYTES {
                break;
            }
        }
        Self {
            later,
            ..Self::of(status, &bytes)
        }
    }

    fn of(status: StatusCode, bytes: &[u8]) -> Self {
        let errors = json::parse(bytes, Limits::any_number(limit::SERVER_ERROR_BYTES)).ok();
        let first = errors.as_ref().and_then(|errors| errors.pointer("/errors/0"));
        let text = |pointer| {
            let text = first
                .and_then(|first: &Value| first.pointer(pointer))
                .and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let detail = first
            .and_then(|first| first.get("detail"))
            .filter(|detail| !detail.is_null());
        let text = match first {
            Some(_) => format!(
                "{} {}",
                text("/message"),
                detail.map(Value::to_string).unwrap_or_default()
            ),
            None => String::from_utf8_lossy(bytes).into_owned(),
        };
        Self {
            status,
            later: None,
            code: first
                .and_then(|first| first.get("code")?.as_str())
                .unwrap_or_default()
                .to_owned(),
            text: text
                .chars()
                .filter(|c| !c.is_control())
                .take(300)
                .collect::<String>()
                .trim()
                .to_owned(),
        }
    }

    /// Tells whether the server says, in its own words, that there is no such thing.
    pub(super) fn is_absence(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.code == "METADATA_NOT_FOUND"
    }

    /// Tells whether another publication came first.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.code.as_str(), "VERSION" | "UPDATING")
    }

    /// Says whether it may pass.
    pub(super) fn about(&self, subject: &str) -> Trouble {
        let may_pass = self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS;
        match self.later {
            _ if !may_pass => Failure::unavailable(subject, self).into(),
            Some(later) => Trouble::Later(self.to_string(), later),
            None => Trouble::Passing(self.to_string()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answers {}", self.status)?;
        for text in [&self.code, &self.text] {
            if !text.is_empty() {
                write!(f, ", {text}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_words_mean_that_nothing_is_there() {
        let own = br#"{"errors":[{"code":"METADATA_NOT_FOUND","message":"no trust data","detail":null}]}"#;
        assert!(Problem::of(StatusCode::NOT_FOUND, own).is_absence());
        assert!(!Problem::of(StatusCode::NOT_FOUND, b"<html>a proxy's page</html>").is_absence());
        assert!(!Problem::of(StatusCode::BAD_GATEWAY, own).is_absence());
    }

    #[test]
    fn a_version_that_is_taken_is_a_conflict_and_bad_metadata_are_not() {
        let of = |code: &str| {
            let body = format!(r#"{{"errors":[{{"code":"{code}","message":"m","detail":{{"a":1}}}}]}}"#);
            Problem::of(StatusCode::BAD_REQUEST, body.as_bytes())
        };
        assert!(of("VERSION").is_conflict());
        assert!(!of("INVALID_UPDATE").is_conflict());
        assert_eq!(
            of("INVALID_UPDATE").to_string(),
            "the server answers 400 Bad Request, INVALID_UPDATE, m {\"a\":1}"
        );
    }
}
