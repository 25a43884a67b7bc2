//! An image's configuration (image-spec, config.md).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Platform, from_json, malformed};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::time::Time;

/// What an image's config says of how it runs; its history is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// Where it runs.
    pub platform: Platform,
    /// The command, before `cmd`.
    pub entrypoint: Vec<String>,
    /// The command's arguments, or the command when there is no entrypoint.
    pub cmd: Vec<String>,
    /// Environment, each `NAME=VALUE`.
    pub env: Vec<String>,
    /// Working directory; empty when not named.
    pub working_dir: String,
    /// User, and group after a colon, as written; empty when not named.
    pub user: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made, where it says so in a form that can be read.
    pub created: Option<Time>,
    /// Digests of the layers' tar archives before compression, lowest first.
    pub diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads a config.
    ///
    /// # Errors
    /// A refusal (MALFORMED) when it is not one.
    pub fn parse(subject: &str, bytes: &[u8]) -> Result<Self, Failure> {
        let raw: Raw = from_json(subject, bytes, MEMBERS)?;
        if raw.rootfs.kind != "layers" {
            return Err(malformed(subject, "rootfs of type `layers`", raw.rootfs.kind));
        }
        let run = raw.config.unwrap_or_default();
        Ok(Self {
            platform: raw.platform,
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            env: run.env.unwrap_or_default(),
            working_dir: run.working_dir.unwrap_or_default(),
            user: run.user.unwrap_or_default(),
            labels: run.labels.unwrap_or_default(),
            created: raw.created.and_then(|created| created.parse().ok()),
            diff_ids: raw.rootfs.diff_ids.unwrap_or_default(),
        })
    }
}

const MEMBERS: &[&str] = &["created", "os", "architecture", "variant", "config", "rootfs"];

#[derive(Deserialize)]
struct Raw {
    #[serde(flatten)]
    platform: Platform,
    created: Option<String>,
    config: Option<Run>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Run {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Option<Vec<Digest>>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_dockers_nulls_as_nothing() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":null,"Entrypoint":["/init"],"Labels":null,
            "Env":["A=b"],"WorkingDir":"/","ArgsEscaped":true},"rootfs":{"type":"layers","diff_ids":null},"history":[{}]}"#;
        let config = ImageConfig::parse("it", text.as_bytes()).unwrap();
        assert_eq!(config.platform, "linux/amd64".parse().unwrap());
        assert_eq!(config.entrypoint, ["/init"]);
        assert_eq!(config.env, ["A=b"]);
        assert!(config.cmd.is_empty() && config.labels.is_empty() && config.diff_ids.is_empty());
    }

    #[test]
    fn refuses_other_root_file_systems_and_missing_platforms() {
        for text in [
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"zip","diff_ids":[]}}"#,
            r#"{"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
            r#"{"architecture":"amd64","os":"linux"}"#,
            r#"{"architecture":"amd64","os":"linux","OS":"windows","rootfs":{"type":"layers","diff_ids":[]}}"#,
            "{}",
        ] {
            assert!(ImageConfig::parse("it", text.as_bytes()).is_err(), "{text}");
        }
    }
}
