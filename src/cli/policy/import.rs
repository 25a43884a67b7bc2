//! `imgkit policy import`: another tool's policy as one of ours.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::super::{Context, Report};
use super::export::write;
use crate::failure::Failure;
use crate::key::PublicKey;
use crate::limit;
use crate::policy::foreign::{Beside, containers, notation};
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
    /// The public key of a certificate-transparency log that has to have seen the certificates of identities (`fulcio`); without one
    /// such rules deny
    #[arg(long, value_name = "FILE")]
    ct_log_key: Vec<PathBuf>,
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
        let log_key = |path: &PathBuf| {
            let pem = String::from_utf8(read_limited(path, limit::KEY_FILE_BYTES)?).unwrap_or_default();
            PublicKey::from_pem(&pem).map_err(|error| Failure::malformed(path.display(), error))
        };
        let beside = Beside {
            file: &|path| read_limited(Path::new(path), limit::TRUSTED_ROOT_BYTES),
            certificate_logs: &self.ct_log_key.iter().map(log_key).collect::<Result<Vec<_>, _>>()?,
        };
        let imported = match self.kind {
            Kind::Containers => containers(&source, &bytes, &beside)?,
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
                // The files that it names first: a policy never names one that is not there.
                for (name, content) in &imported.files {
                    write(&path.with_file_name(name), content.as_bytes(), 0o644)?;
                }
                write(path, imported.yaml.as_bytes(), 0o644)?;
                text.push_str(&format!("{}\n", path.display()));
            }
            None => {
                for name in imported.files.keys() {
                    context.say(&format!(
                        "{name}: a file of the policy's; with --out it is written beside the policy"
                    ));
                }
                text.push_str(&imported.yaml);
            }
        }
        let json = json!({
            "policy": imported.yaml, "files": imported.files, "notCarriedOver": imported.notes, "path": self.out,
        });
        Ok(Report::new(text, json))
    }
}
