//! What can go wrong on a node, with the data that an operator needs to act on it.

use std::io;
use std::path::{Path, PathBuf};

/// A step of the boot, of a service or of a tool that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file, a directory or a mount point could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A system call that names no file failed.
    #[error("cannot {action}: {source}")]
    System { action: &'static str, source: io::Error },
    /// A JSON document is not what LinuxKit's layout says.
    #[error("{}: {source}", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    /// A document asks for something that this init does not do.
    #[error("{}: {found} is not supported; supported: {supported}", path.display())]
    Unsupported {
        path: PathBuf,
        found: String,
        supported: &'static str,
    },
    /// A line of a generated file is not as the builder writes it, or cannot be done.
    #[error("{}, line {number}: {what}", path.display())]
    Line { path: PathBuf, number: usize, what: String },
    /// A process ended with a status other than 0.
    #[error("exit status {0}")]
    ExitStatus(i32),
    /// A process was ended by a signal.
    #[error("killed by signal {0}")]
    Signal(i32),
    /// An external program failed; `log` is where its own words are.
    #[error("{program}: {source} (see {})", log.display())]
    Program {
        program: &'static str,
        source: Box<Error>,
        log: PathBuf,
    },
    /// A step of the boot failed, for the reason that its own line on the console gave.
    #[error("{step}: {source}")]
    Step { step: String, source: Box<Error> },
    /// containerd answered a call with an error.
    #[error("containerd: {call}: {message} ({code:?})")]
    Containerd {
        call: &'static str,
        code: tonic::Code,
        message: String,
    },
    /// There is no containerd to answer a call: it has died, and its supervisor starts another.
    #[error("containerd: {call}: nobody listens")]
    ContainerdGone { call: &'static str },
    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds} s")]
    Timeout { what: &'static str, seconds: u64 },
    /// No kernel module carries the wanted name or alias.
    #[error("no kernel module is called {0} or has that alias; add it to the kernel component")]
    NoModule(String),
    /// No running task has the wanted name.
    #[error("no task is called {0}; `imgkit-init tasks` lists them")]
    NoTask(String),
    /// The tool was called with arguments that it does not know.
    #[error("usage: {0}")]
    Usage(&'static str),
}

/// Names the action and its object in an error of the operating system.
pub(crate) trait Context<T> {
    /// Says which path the action was about.
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, Error>;
    /// Says what was tried, where no path is involved.
    fn doing(self, action: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, Error> {
        self.map_err(|source| Error::File {
            action,
            path: path.as_ref().to_owned(),
            source: source.into(),
        })
    }

    fn doing(self, action: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::System {
            action,
            source: source.into(),
        })
    }
}
