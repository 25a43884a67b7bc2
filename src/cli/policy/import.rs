//! `imgkit policy import`: another tool's policy as one of ours.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::super::{Context, Report};
use super::export::write;
use crate::failure::Failure;
use crate::limit;
use crate::policy::foreign::{containers, notation};
use crate::store::file::read_limited;

/// Imports a policy.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// Whose policy it is
    #[arg(value_enum)]
    kind: Kind,
    /// Its file
    file: PathBuf,
    /// Write the policy here [default: print it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// containers-policy.json(5): podman, skopeo, buildah, CRI-O
    Containers,
    /// Notation's trustpolicy.json or trustpolicy.oci.json
    Notation,
}

impl Import {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let bytes = read_limited(&self.file, limit::POLICY_BYTES)?;
        let source = self.file.display().to_string();
        let imported = match self.kind {
            Kind::Containers => containers(&source, &bytes)?,
            Kind::Notation => notation(&source, &bytes)?,
        };
        let mut text = String::new();
        for note in &imported.notes {
            match &self.out {
                Some(_) => text.push_str(&format!("not carried over: {note}\n")),
                None => context.say(&format!("not carried over: {note}")),
            }
        }
        match &self.out {
            Some(path) => {
                // The keys first: a policy never names one that is not there.
                for (name, pem) in &imported.keys {
                    write(&path.with_file_name(name), pem.as_bytes(), 0o644)?;
                }
                write(path, imported.yaml.as_bytes(), 0o644)?;
                text.push_str(&format!("{}\n", path.display()));
            }
            None => {
                for name in imported.keys.keys() {
                    context.say(&format!(
                        "{name}: a key of the policy's; with --out it is written beside the policy"
                    ));
                }
                text.push_str(&imported.yaml);
            }
        }
        let json = json!({
            "policy": imported.yaml, "keys": imported.keys, "notCarriedOver": imported.notes, "path": self.out,
        });
        Ok(Report::new(text, json))
    }
}
