//! Which namespaces a container shares.

use super::mount::path;
use crate::yaml::{Item, YamlError};

/// What `net`, `ipc`, `pid`, `uts` or `userns` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The host's.
    Host,
    /// One of its own.
    New,
    /// The one that is bound at this path.
    Path(String),
}

impl Namespace {
    /// Reads a word; an empty one says nothing.
    pub(super) fn decode(item: Item<'_>) -> Result<Option<Self>, YamlError> {
        Ok(match item.text()? {
            "" => None,
            "host" | "root" => Some(Self::Host),
            "new" => Some(Self::New),
            absolute if absolute.starts_with('/') => Some(Self::Path(path(item)?)),
            other => {
                let problem = format!("`{other}` is not a namespace; expected host, new or an absolute path");
                return Err(item.invalid(problem));
            }
        })
    }

    /// Reads the network's word, which may also be `none`: one of its own, with nothing in it.
    pub(super) fn decode_net(item: Item<'_>) -> Result<Option<Self>, YamlError> {
        match item.text()? {
            "none" => Ok(Some(Self::New)),
            _ => Self::decode(item),
        }
    }
}
