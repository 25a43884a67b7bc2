//! What can be wrong with metadata, and with the places that it comes from and goes to.

use std::io;
use std::path::{Path, PathBuf};

/// A failure that an operator has to see.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file, a device or a mount point could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A document is longer than it may be.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: String, limit: u64 },
    /// A document is not what OpenStack or LinuxKit define.
    #[error("{what}: {found}; expected {expected}")]
    Malformed {
        what: String,
        found: String,
        expected: &'static str,
    },
    /// A document is not JSON.
    #[error("{what}: {source}")]
    Json {
        what: &'static str,
        source: serde_json::Error,
    },
    /// The metadata service gave no answer, or one that is no document.
    #[error("{url}: {reason}")]
    Service { url: String, reason: String },
    /// A provider was named that there is not.
    #[error("{0} is no metadata provider; providers are configdrive and openstack")]
    NoProvider(String),
}

/// Names the action and the path in an error of the operating system.
pub(crate) trait Context<T> {
    /// Says which path the action was about.
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, Error> {
        self.map_err(|source| Error::File {
            action,
            path: path.as_ref().to_owned(),
            source: source.into(),
        })
    }
}
