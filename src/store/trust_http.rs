//! A collection's metadata on a web server that serves files as they are.
//!
//! Nothing read here is believed: [`crate::trust`] checks it.

use reqwest::StatusCode;

use super::http::{Answer, Web, WebOptions, forbidden};
use crate::failure::Failure;
use crate::trust::{Source, root_version};

/// The metadata of one collection below a URL.
#[derive(Debug)]
pub struct TrustHttp {
    web: Web,
}

impl TrustHttp {
    /// Names the URL of the directory that holds the metadata; nothing is contacted yet.
    ///
    /// # Errors
    /// As [`Web::new`].
    pub fn at(url: &str, options: &WebOptions) -> Result<Self, Failure> {
        Ok(Self {
            web: Web::new(url, options)?,
        })
    }

    /// Returns the URL.
    pub fn url(&self) -> &str {
        self.web.base()
    }
}

impl Source for &TrustHttp {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        // Names of files are percent-encoded, as URLs want it; a point is encoded in files' names alone.
        let path = name
            .strip_prefix("%2E")
            .map_or_else(|| name.to_owned(), |rest| format!(".{rest}"));
        let mut answer = self.web.read(&path, max)?;
        if answer == Answer::Missing && name.contains('%') {
            // Where a directory is served as it is, its files have the encoded name themselves.
            answer = self.web.read(&name.replace('%', "%25"), max)?;
        }
        match answer {
            Answer::Found(bytes) => Ok(Some(bytes)),
            Answer::Missing => Ok(None),
            // Stores of objects say 403 of a root that is not there yet. Of any other file it would not be an answer; and 401 asks for
            // credentials first: a newer root may be behind them.
            Answer::Forbidden(StatusCode::FORBIDDEN) if root_version(name).is_some() => Ok(None),
            Answer::Forbidden(status) => Err(forbidden(&format!("{}{name}", self.web.base()), status)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::http::testing::{Scripted, reply};
    use super::*;

    fn file(server: &Scripted, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let at = TrustHttp::at(&server.url("c"), &WebOptions::default()).unwrap();
        (&at).file(name, 10)
    }

    #[test]
    fn a_root_that_may_not_be_read_is_not_there_and_any_other_file_cannot_be_found_out() {
        let server = Scripted::start(|_| reply("403 Forbidden", "", b""));
        assert_eq!(file(&server, "2.root.json").unwrap(), None);
        assert!(matches!(
            file(&server, "timestamp.json"),
            Err(Failure::Unavailable { .. })
        ));
        let server = Scripted::start(|_| reply("404 Not Found", "", b""));
        assert_eq!(file(&server, "timestamp.json").unwrap(), None);
    }

    #[test]
    fn a_root_for_which_credentials_are_asked_cannot_be_found_out() {
        let server = Scripted::start(|_| reply("401 Unauthorized", "", b""));
        let failure = file(&server, "2.root.json").unwrap_err();
        assert!(
            matches!(&failure, Failure::Unavailable { problem, .. } if problem.contains("401 Unauthorized")),
            "{failure}"
        );
    }

    #[test]
    fn odd_names_are_asked_for_as_they_are_encoded_and_as_a_directory_has_them() {
        let server = Scripted::start(|path| match path {
            "/c/1.a%2Fb.json" => reply("200 OK", "", b"a"),
            "/c/1.c%252Fd.json" => reply("200 OK", "", b"b"),
            "/c/..%2Fe.json" => reply("200 OK", "", b"c"),
            _ => reply("404 Not Found", "", b""),
        });
        assert_eq!(file(&server, "1.a%2Fb.json").unwrap().unwrap(), b"a");
        assert_eq!(file(&server, "1.c%2Fd.json").unwrap().unwrap(), b"b");
        assert_eq!(file(&server, "%2E.%2Fe.json").unwrap().unwrap(), b"c");
        assert_eq!(server.paths().len(), 4);
    }
}
