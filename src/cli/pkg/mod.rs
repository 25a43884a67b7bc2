//! `imgkit pkg build|pack|ls|rm`: components.

mod build;
mod pack;

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;

use super::store::StoreOptions;
use super::{Context, Report};
use crate::failure::Failure;
use crate::limit;
use crate::oci::{self, Document, ImageConfig, PACKAGES, Package};
use crate::reference::Reference;
use crate::store::layout::Layout;

/// Makes components of Debian packages or of a directory.
#[derive(Debug, Args)]
pub(super) struct Pkg {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    store: StoreOptions,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make components of recipes
    Build(Box<build::Build>),
    /// List the components in the store, with the packages that each was made of
    Ls,
    /// Make a component of a root file system in a directory
    Pack(Box<pack::Pack>),
    /// Remove components from the store, and the blobs that no other image needs
    Rm {
        /// The components' names
        #[arg(required = true)]
        images: Vec<Reference>,
    },
}

impl Pkg {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let store = self.store.open(context)?;
        match &self.action {
            Action::Build(build) => build.run(context, &store),
            Action::Ls => list(&store),
            Action::Pack(pack) => pack.run(context, &store),
            Action::Rm { images } => super::cache::remove(&store, images),
        }
    }
}

fn list(store: &Layout) -> Result<Report, Failure> {
    let (mut text, mut components) = (String::new(), Vec::new());
    for (name, document) in store.list()? {
        let Some(packages) = packages(store, &name)? else {
            continue;
        };
        let _ = writeln!(text, "{} {name}", document.digest);
        for package in &packages {
            let _ = writeln!(
                text,
                "    {} {} {}",
                package.name, package.version, package.architecture
            );
        }
        components.push(json!({ "name": name, "digest": document.digest, "packages": packages }));
    }
    Ok(Report::new(
        text,
        json!({ "store": store.dir(), "components": components }),
    ))
}

/// Reads which packages an image was made of; `None` for one that `pkg build` did not make.
fn packages(store: &Layout, name: &Reference) -> Result<Option<Vec<Package>>, Failure> {
    let subject = name.to_string();
    let Some((descriptor, bytes)) = store.document(name)? else {
        return Ok(None);
    };
    let Document::Manifest(manifest) = Document::parse(&subject, &bytes, Some(&descriptor.media_type))? else {
        return Ok(None);
    };
    let config = store.blob_bytes(manifest.config(), limit::DOCUMENT_BYTES)?;
    let Ok(config) = ImageConfig::parse(&subject, &config) else {
        return Ok(None);
    };
    oci::packages(&subject, &config, PACKAGES)
}
