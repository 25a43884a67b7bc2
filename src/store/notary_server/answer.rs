//! What is sent back.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER, VARY,
};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::http_date;
use super::ready::Ready;
use crate::limit;
use crate::trust::notary::UploadError;

/// An answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// An error, as the original names it: its code, its HTTP status, what it says, and details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    code: &'static str,
    message: &'static str,
    detail: Value,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: &'static str, detail: Value) -> Self {
        Self {
            status,
            code,
            message,
            detail,
        }
    }

    pub(super) fn no_such_metadata() -> Self {
        let message = "You have requested metadata that does not exist.";
        Self::new(StatusCode::NOT_FOUND, "METADATA_NOT_FOUND", message, json!({}))
    }

    pub(super) fn no_such_resource() -> Self {
        let message = "You have requested a resource that does not exist.";
        Self::new(StatusCode::NOT_FOUND, "GENERIC_NOT_FOUND", message, Value::Null)
    }

    pub(super) fn malformed_upload(status: StatusCode, detail: &str) -> Self {
        let message = "The body of your request is malformed.";
        Self::new(status, "MALFORMED_UPLOAD", message, detail.into())
    }

    pub(super) fn no_file_name() -> Self {
        let message = "No file/role name provided.";
        Self::new(StatusCode::BAD_REQUEST, "NO_FILENAME", message, Value::Null)
    }

    pub(super) fn invalid_role(role: &str) -> Self {
        let message = "The role you are attempting to operate on is invalid.";
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ROLE", message, role.into())
    }

    pub(super) fn malformed_json() -> Self {
        let message = "JSON sent by the client could not be parsed by the server";
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED_JSON", message, Value::Null)
    }

    pub(super) fn invalid_gun(prefixes: &[String]) -> Self {
        let message = "The GUN is invalid";
        let detail = format!("Require GUNs with prefix: [{}]", prefixes.join(" "));
        Self::new(StatusCode::BAD_REQUEST, "INVALID_GUN", message, detail.into())
    }

    pub(super) fn invalid_parameters(detail: &str) -> Self {
        let message = "The parameters provided are not valid.";
        Self::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETERS", message, detail.into())
    }

    pub(super) fn old_version(detail: &str) -> Self {
        let message = "A newer version of metadata is already available.";
        Self::new(StatusCode::BAD_REQUEST, "VERSION", message, detail.into())
    }

    /// Something is wrong with the server, not with the request; what it is stands in the log.
    pub(super) fn unknown() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            "unknown error",
            Value::Null,
        )
    }

    pub(super) fn not_stored() -> Self {
        let message = "An error has occurred while updating the TUF repository.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UPDATING", message, Value::Null)
    }

    /// There is no room for the request now; when to come again stands in the header.
    pub(super) fn busy() -> Self {
        let message = "service unavailable";
        let detail = "others take all room; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message, detail.into())
    }

    pub(super) fn unauthorized(detail: Value) -> Self {
        let message = "authentication required";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message, detail)
    }

    /// Makes the answer.
    pub(super) fn answer(&self) -> Answer {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (false, Some(members)) = (self.detail.is_null(), error.as_object_mut()) {
            members.insert("detail".to_owned(), self.detail.clone());
        }
        let body = format!("{}\n", json!({ "errors": [error] }));
        let mut answer = with_status(self.status, "application/json; charset=utf-8", body);
        answer
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let wait = HeaderValue::from(limit::UPLOAD_WAIT.as_secs());
            answer.headers_mut().insert(RETRY_AFTER, wait);
        }
        answer
    }
}

impl From<UploadError> for Refused {
    fn from(error: UploadError) -> Self {
        let problem = error.to_string();
        let name = match &error {
            UploadError::Version { .. } => return Self::old_version(&problem),
            UploadError::TooLarge { .. } => return Self::malformed_upload(StatusCode::PAYLOAD_TOO_LARGE, &problem),
            UploadError::Hierarchy { .. } => "ErrBadHierarchy",
            UploadError::Root(_) => "ErrBadRoot",
            UploadError::Snapshot(_) => "ErrBadSnapshot",
            UploadError::Targets(_) => "ErrBadTargets",
            UploadError::Whole(_) => "ErrValidation",
        };
        let inner = match &error {
            UploadError::Hierarchy { missing, .. } => json!({ "Missing": missing, "Msg": problem }),
            _ => json!({ "Msg": problem }),
        };
        let message = "Update sent by the client is invalid.";
        let detail = json!({ "Name": name, "Error": inner });
        Self::new(StatusCode::BAD_REQUEST, "INVALID_UPDATE", message, detail)
    }
}

/// Answers with a text.
pub(super) fn text(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    with_status(StatusCode::OK, kind, body)
}

/// Answers with JSON.
pub(super) fn json_text(body: impl Into<Bytes>) -> Answer {
    text("application/json; charset=utf-8", body)
}

/// Answers yes, with nothing.
pub(super) fn empty() -> Answer {
    Response::new(Full::new(Bytes::new()))
}

fn with_status(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// How long a file may be kept by clients and those between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Others may come under its name: five minutes, as the original has it.
    Current,
    /// It is named by hash or version: thirty days.
    Fixed,
}

impl Lifetime {
    fn header(self, private: bool) -> HeaderValue {
        HeaderValue::from_static(match (self, private) {
            (Self::Current, false) => "public, max-age=300, s-maxage=300, must-revalidate",
            (Self::Current, true) => "private, max-age=300, must-revalidate",
            (Self::Fixed, false) => "public, max-age=2592000, s-maxage=2592000, immutable",
            (Self::Fixed, true) => "private, max-age=2592000, immutable",
        })
    }
}

/// Answers with a file, compressed where the client takes that, or says that the client has it already; `private` keeps it from
/// shared caches.
pub(super) fn file(file: &Ready, lifetime: Lifetime, private: bool, asked: &HeaderMap) -> Answer {
    let gzip = file.gzip_for(asked);
    let (body, etag) = match gzip {
        Some((body, etag)) => (body, etag),
        None => (file.body(), file.etag()),
    };
    let mut answer = match has_it(file, asked) {
        true => {
            let mut answer = empty();
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        }
        false => Response::new(Full::new(body.clone())),
    };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, lifetime.header(private));
    headers.insert(ETAG, etag.clone());
    headers.insert(LAST_MODIFIED, file.modified().clone());
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if answer.status() == StatusCode::OK {
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if gzip.is_some() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    answer
}

impl Ready {
    fn gzip_for(&self, asked: &HeaderMap) -> Option<&(Bytes, HeaderValue)> {
        wants_gzip(asked).then(|| self.gzip()).flatten()
    }
}

/// Tells whether a client takes files compressed.
pub(super) fn wants_gzip(asked: &HeaderMap) -> bool {
    let mut accepted = asked
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.any(takes_gzip)
}

/// Reads `Accept-Encoding` (RFC 9110, 12.5.3).
fn takes_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().to_ascii_lowercase();
        let refused = weight.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// Tells whether the client has the file already (RFC 9110, 13.2.2: dates count only where no tags are named).
fn has_it(file: &Ready, asked: &HeaderMap) -> bool {
    if asked.contains_key(IF_NONE_MATCH) {
        let hex = file.sha256().hex();
        let mut named = asked
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok());
        return named.any(|value| {
            value.split(',').any(|tag| {
                let tag = tag.trim().trim_start_matches("W/").trim_matches('"');
                tag == "*" || tag.trim_end_matches("-gzip") == hex
            })
        });
    }
    let since = asked.get(IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    since.and_then(http_date::read).is_some_and(|since| file.at() <= since)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::digest::Digest;
    use crate::time::Time;

    fn ready() -> Ready {
        let body = b"0123456789".repeat(1000);
        let sha256 = Digest::sha256(&body);
        let at: Time = "1994-11-06T08:49:37Z".parse().unwrap();
        Ready::new(body.into(), sha256, 1, at)
    }

    fn asked(headers: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (hyper::header::HeaderName::from_static(name), value.parse().unwrap())
        };
        headers.iter().map(pair).collect()
    }

    #[test]
    fn who_has_the_file_is_told_so() {
        let file = ready();
        let tag = file.etag().to_str().unwrap().to_owned();
        let status = |headers: &[(&'static str, &str)]| {
            super::file(&file, Lifetime::Current, false, &asked(headers))
                .status()
                .as_u16()
        };
        assert_eq!(status(&[]), 200);
        assert_eq!(status(&[("if-none-match", &tag)]), 304);
        assert_eq!(status(&[("if-none-match", &format!("\"x\", W/{tag}"))]), 304);
        assert_eq!(status(&[("if-none-match", "*")]), 304);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(status(&[("if-modified-since", date)]), 304);
        assert_eq!(status(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")]), 200);
        // A tag that is not this file's counts more than a date.
        assert_eq!(status(&[("if-modified-since", date), ("if-none-match", "\"x\"")]), 200);
    }

    #[test]
    fn compressed_is_sent_to_those_who_take_it() {
        let file = ready();
        let encoding = |accepted: &str| {
            let answer = super::file(&file, Lifetime::Fixed, false, &asked(&[("accept-encoding", accepted)]));
            answer.headers().get(CONTENT_ENCODING).cloned()
        };
        for accepted in ["gzip", "deflate, GZIP;q=0.5", "br, gzip"] {
            assert_eq!(encoding(accepted).unwrap(), "gzip", "{accepted}");
        }
        for accepted in ["", "identity", "gzip;q=0", "gzip;Q=0", "gzip; q=0.0", "xgzip"] {
            assert_eq!(encoding(accepted), None, "{accepted}");
        }
    }

    #[test]
    fn errors_have_the_originals_form() {
        let answer = Refused::no_such_metadata().answer();
        assert_eq!(answer.status(), 404);
        let error = UploadError::Hierarchy {
            missing: "snapshot",
            problem: "none".to_owned(),
        };
        let refused = Refused::from(error);
        assert_eq!(refused.code, "INVALID_UPDATE");
        let expected = json!({ "Name": "ErrBadHierarchy", "Error": { "Missing": "snapshot", "Msg": "none" } });
        assert_eq!(refused.detail, expected);
        let refused = Refused::from(UploadError::TooLarge { found: 268_435_457 });
        assert_eq!(refused.status, 413);
        let told = "the collection would have 268435457 bytes, expected at most 268435456";
        assert!(refused.detail.to_string().contains(told), "{}", refused.detail);
    }
}
