//! `imgkit cache pull|push|ls|verify|rm`: the local store.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;

use super::store::{Bar, StoreOptions, host_platform, registry};
use super::{Context, Report};
use crate::failure::Failure;
use crate::oci::{Descriptor, Platform};
use crate::reference::Reference;
use crate::store::layout::Layout;
use crate::store::registry::Platforms;

/// Looks after the local store.
#[derive(Debug, Args)]
pub(super) struct Cache {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    store: StoreOptions,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the images in the store
    Ls,
    /// Fetch images from their registries, also those that are in the store already
    Pull(Pull),
    /// Send an image to a registry
    Push {
        /// The image in the store
        image: Reference,
        /// The name it gets in the registry [default: its own]
        #[arg(long, value_name = "REF")]
        to: Option<Reference>,
    },
    /// Remove images, and the blobs that no other image needs
    Rm {
        /// The images' names
        #[arg(required = true)]
        images: Vec<Reference>,
    },
    /// Hash every blob and check every image's documents
    Verify,
}

#[derive(Debug, Args)]
struct Pull {
    /// The images' names
    #[arg(required = true)]
    images: Vec<Reference>,
    /// Which platform's image is fetched [default: linux on this machine's architecture]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Fetch every platform's image, as is needed to push an index on
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
}

impl Cache {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let store = self.store.open(context)?;
        match &self.action {
            Action::Ls => list(&store),
            Action::Pull(options) => pull(context, &store, options),
            Action::Push { image, to } => push(context, &store, image, to.as_ref().unwrap_or(image)),
            Action::Rm { images } => remove(&store, images),
            Action::Verify => verify(&store),
        }
    }
}

fn list(store: &Layout) -> Result<Report, Failure> {
    let images = store.list()?;
    let mut text = String::new();
    for (name, document) in &images {
        let _ = writeln!(text, "{} {name}", document.digest);
    }
    let images: Vec<_> = images.iter().map(|(name, document)| entry(name, document)).collect();
    Ok(Report::new(text, json!({ "store": store.dir(), "images": images })))
}

fn pull(context: &Context, store: &Layout, options: &Pull) -> Result<Report, Failure> {
    let registry = registry(context)?;
    let platforms = match &options.platform {
        _ if options.all_platforms => Platforms::All,
        Some(platform) => Platforms::One(platform.clone()),
        None => Platforms::One(host_platform()),
    };
    let writer = store.writer()?;
    let (mut text, mut pulled) = (String::new(), Vec::new());
    for image in &options.images {
        let bar = Bar::on_terminal("pulling");
        registry.check_tag(image)?;
        let document = registry.pull(image, &platforms, &writer, &bar)?;
        let _ = writeln!(text, "pulled {} {image}", document.digest);
        pulled.push(entry(image, &document));
    }
    Ok(Report::new(text, json!({ "store": store.dir(), "images": pulled })))
}

fn push(context: &Context, store: &Layout, image: &Reference, to: &Reference) -> Result<Report, Failure> {
    let bar = Bar::on_terminal("pushing");
    let document = registry(context)?.push(store, image, to, &bar)?;
    let text = format!("pushed {} {to}\n", document.digest);
    Ok(Report::new(text, entry(to, &document)))
}

pub(super) fn remove(store: &Layout, images: &[Reference]) -> Result<Report, Failure> {
    let removed = store.remove(images)?;
    let mut text = format!(
        "removed {} images, {} blobs, {} bytes\n",
        removed.names, removed.blobs, removed.bytes
    );
    if removed.busy {
        text.push_str("another process is writing into the store, so blobs stay until the next `cache rm`\n");
    }
    Ok(Report::new(text, json!(removed)))
}

fn verify(store: &Layout) -> Result<Report, Failure> {
    let check = store.check()?;
    let mut text = format!(
        "{} images, {} blobs, {} bytes hashed\n",
        check.images, check.blobs, check.bytes
    );
    for refusal in &check.refusals {
        let _ = writeln!(text, "REFUSED {refusal}");
    }
    for missing in &check.missing {
        let _ = writeln!(text, "MISSING {missing}");
    }
    Ok(Report {
        yes: check.is_good(),
        refusals: check.refusals.clone(),
        ..Report::new(text, json!(check))
    })
}

fn entry(name: &Reference, document: &Descriptor) -> serde_json::Value {
    json!({
        "name": name, "digest": document.digest, "mediaType": document.media_type, "size": document.size,
    })
}
