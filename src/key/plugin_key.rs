//! A key behind a program.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::KeyError;

/// A program that signs, and its name of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginKey {
    command: PathBuf,
    key: String,
}

impl PluginKey {
    /// Returns the program: a path, or a name that is looked for in `PATH`.
    pub fn command(&self) -> &Path {
        &self.command
    }

    /// Returns the program's name of the key.
    pub fn name(&self) -> &str {
        &self.key
    }
}

impl FromStr for PluginKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts = text.strip_prefix("plugin:").and_then(|rest| rest.split_once(':'));
        match parts {
            Some((command, key)) if !command.is_empty() && !key.is_empty() => Ok(Self {
                command: command.into(),
                key: key.to_owned(),
            }),
            _ => Err(KeyError::Form {
                expected: "plugin:COMMAND:KEYNAME",
                found: format!("`{}`", text.chars().take(80).collect::<String>().escape_debug()),
            }),
        }
    }
}

impl fmt::Display for PluginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin:{}:{}", self.command.display(), self.key)
    }
}
