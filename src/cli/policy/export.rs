//! `imgkit policy export`: a policy of ours for the tools that pull images.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::super::{Context, Report};
use super::gate::PolicyOption;
use crate::failure::Failure;
use crate::policy::SigstoreSigner;
use crate::policy::foreign::{Exported, export};
use crate::store::file::{NewFile, make_dir};

/// Exports a policy.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("where").required(true).multiple(true))]
pub(super) struct Export {
    #[command(flatten)]
    policy: PolicyOption,
    /// Write policy.json and registries.d/imgkit.yaml here: podman, skopeo, buildah, CRI-O. What they cannot demand is rejected, and
    /// said
    #[arg(long, value_name = "DIR", group = "where")]
    containers: Option<PathBuf>,
    /// Write imgkit.toml and bin/imgkit-verifier here: containerd has no policies of its own, and asks a program, which asks imgkit
    #[arg(long, value_name = "DIR", group = "where")]
    containerd: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let (policy, pins) = self.policy.read()?;
        let mut text = String::new();
        let mut json = json!({ "policy": policy.digest() });
        let mut tell = |name: &str, value: Value| {
            json.as_object_mut()
                .map(|members| members.insert(name.to_owned(), value))
        };
        if let Some(dir) = &self.containers {
            let mut keys = BTreeMap::new();
            for (by, key) in &pins.keys {
                if let SigstoreSigner::Key { file, .. } = by {
                    let pem = key.to_pem().map_err(|error| Failure::malformed(file, error))?;
                    keys.insert(file.as_str(), pem);
                }
            }
            let key = |file: &str| keys.get(file).cloned();
            let exported = export(&policy, &key);
            write_containers(dir, &exported)?;
            for loss in &exported.losses {
                text.push_str(&format!("not carried over: {loss}\n"));
            }
            text.push_str(&format!("{}\n", dir.display()));
            let losses = exported.losses.iter();
            let losses = losses.map(|loss| json!({ "rule": loss.rule, "place": loss.place, "reason": loss.reason }));
            tell("notCarriedOver", losses.collect());
            tell("containers", json!(dir));
        }
        if let Some(dir) = &self.containerd {
            self.write_containerd(context, dir, policy.environment())?;
            text.push_str(&format!("{}\n", dir.display()));
            tell("containerd", json!(dir));
        }
        Ok(Report::new(text, json))
    }

    /// Writes containerd's configuration, and the program that it asks about each image.
    fn write_containerd(&self, context: &Context, dir: &Path, environment: Option<&str>) -> Result<(), Failure> {
        let absolute = |path: &Path| {
            let path = path.canonicalize();
            path.map_err(|error| Failure::unavailable(self.policy.path().display(), error))
        };
        let bin = dir.join("bin");
        make_dir(&bin)?;
        let imgkit = context.program_dir()?.join("imgkit");
        let environment = environment.map(|name| format!(" --environment {}", quoted(name)));
        let script = VERIFIER
            .replace("@IMGKIT@", &quoted(text(&imgkit)?))
            .replace("@POLICY@", &quoted(text(&absolute(self.policy.path())?)?))
            .replace("@ENVIRONMENT@", &environment.unwrap_or_default());
        write(&bin.join("imgkit-verifier"), script.as_bytes(), 0o755)?;
        let config = CONFIG.replace("@BIN@", &Value::from(text(&absolute(&bin)?)?).to_string());
        write(&dir.join("imgkit.toml"), config.as_bytes(), 0o644)
    }
}

/// What containerd's configuration needs; a JSON string is a TOML one.
const CONFIG: &str = r#"# For containerd's configuration, by `imgkit policy export --containerd`. containerd 2.1 or later: with earlier ones Kubernetes pulls
# images without asking. Where bin_dir is missing or empty, containerd admits every image.
version = 3
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = @BIN@
  max_verifiers = -1
  per_verifier_timeout = "60s"
"#;

/// The program that containerd asks: exit 0 admits the image, everything else does not.
const VERIFIER: &str = r#"#!/bin/sh
# Asks imgkit whether the policy admits an image, for containerd; by `imgkit policy export --containerd`.
# What imgkit keeps and reads besides the policy (collections, what was trusted, registries' passwords) lies below HOME.
set -u
: "${HOME:=/var/lib/imgkit}"
export HOME
name= digest=
while [ $# -gt 1 ]; do
  case $1 in
    -name) name=$2 ;;
    -digest) digest=$2 ;;
  esac
  shift 2
done
case $name in
  "") echo "no image is named"; exit 2 ;;
  *@"$digest") ;;
  *@*) echo "$name names another digest than $digest, which is what would be fetched"; exit 1 ;;
  *) name=$name@$digest ;;
esac
exec @IMGKIT@ policy explain --policy @POLICY@@ENVIRONMENT@ -- "$name" 2>&1
"#;

fn write_containers(dir: &Path, exported: &Exported) -> Result<(), Failure> {
    let registries = dir.join("registries.d");
    make_dir(&registries)?;
    let lines = |value: &Value| format!("{value:#}\n").into_bytes();
    write(&registries.join("imgkit.yaml"), &lines(&exported.registries), 0o644)?;
    write(&dir.join("policy.json"), &lines(&exported.policy), 0o644)
}

/// Writes a file, whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let mut file = NewFile::beside(path)?;
    let written = file.write_all(bytes);
    let written = written.and_then(|()| file.as_file().set_permissions(PermissionsExt::from_mode(mode)));
    written.map_err(|error| Failure::unavailable(path.display(), error))?;
    file.finish(path)
}

/// Quotes a word for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn text(path: &Path) -> Result<&str, Failure> {
    let text = path.to_str();
    text.ok_or_else(|| Failure::malformed(path.display(), "a path that is written down has to be UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
