//! `imgkit pkg pack`: a component of a directory.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::store::host_platform;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::oci::Platform;
use crate::pkg::image::{self, About};
use crate::pkg::recipe::RunConfig;
use crate::pkg::rootfs::{self, Owners};
use crate::reference::Reference;
use crate::store::layout::Layout;
use crate::store::spool::Spool;

#[derive(Debug, Args)]
pub(super) struct Pack {
    /// The root file system
    #[arg(value_name = "ROOTFS")]
    dir: PathBuf,
    /// The image's name
    #[arg(long, value_name = "REF")]
    tag: Reference,
    /// A label, for example LinuxKit's org.mobyproject.config; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// A word of the command that the image runs; may be given several times
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// An environment variable; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<String>,
    /// Where the image runs [default: linux on this machine's architecture]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Keep the files' owners; else all belong to root, whoever unpacked them here
    #[arg(long)]
    keep_owners: bool,
}

impl Pack {
    pub(super) fn run(&self, context: &Context, store: &Layout) -> Result<Report, Failure> {
        let owners = if self.keep_owners {
            Owners::AsTheyAre
        } else {
            Owners::Root
        };
        let mut contents = Spool::within(&context.scratch_dir())?;
        let tree = rootfs::read(&self.dir, owners, &mut contents)?;
        let run = RunConfig {
            entrypoint: self.entrypoint.clone(),
            env: self.env.clone(),
            labels: self.labels.iter().cloned().collect(),
            ..RunConfig::default()
        };
        let about = About {
            platform: self.platform.clone().unwrap_or_else(host_platform),
            run: &run,
            title: None,
            packages: &[],
            tools: &[],
        };
        let document = image::write(store, &self.tag, &tree, &contents, &about)?;
        let text = format!("made {} {}\n", document.digest, self.tag);
        let json = json!({
            "name": self.tag, "digest": document.digest, "files": tree.len(), "bytes": tree.content_bytes(), "store": store.dir(),
        });
        Ok(Report::new(text, json))
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn variable(text: &str) -> Result<String, String> {
    pair(text).map(|(name, value)| format!("{name}={value}"))
}
