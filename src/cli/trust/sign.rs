//! `imgkit trust sign`: names images and files in a collection.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value, json};

use super::TrustOptions;
use crate::cli::store::{Bar, StoreOptions, host_platform, registry};
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::json::{self, Limits};
use crate::limit;
use crate::oci::Platform;
use crate::reference::Reference;
use crate::store::file::read_limited;
use crate::store::{Resolver, Source, image_tree};
use crate::tree::contents::HashOnly;
use crate::tree::described::MEMBER;
use crate::tree::list;
use crate::trust::metadata::TargetFile;
use crate::trust::{ImageTarget, PlatformTarget, plain_file};

/// Signs images, or a file.
#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The images, with their tags; from the local store, else from their registries
    #[arg(required_unless_present = "file", value_name = "REF")]
    images: Vec<Reference>,
    /// The role that signs
    #[arg(long, default_value = "targets")]
    role: String,
    /// The platforms whose trees are signed [default: linux on this machine's architecture]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<Platform>,
    /// A file to sign: node.yml, say
    #[arg(long, value_name = "PATH", requires = "name", conflicts_with = "images")]
    file: Option<PathBuf>,
    /// The name under which the file is signed: spec/ and the YAML's file name, or the path of a `source:` as the YAML writes it
    #[arg(long, requires = "file")]
    name: Option<String>,
    /// What the signer says beyond name and digest: a JSON object, put into the target's `custom`
    #[arg(long, value_name = "JSON")]
    custom: Option<Custom>,
    #[command(flatten)]
    store: StoreOptions,
}

/// A JSON object that can be signed.
#[derive(Clone, Debug)]
struct Custom(Map<String, Value>);

impl FromStr for Custom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value =
            json::parse(text.as_bytes(), Limits::integers(limit::CUSTOM_BYTES)).map_err(|error| error.to_string())?;
        match value {
            Value::Object(object) if object.contains_key(MEMBER) => Err(format!(
                "the member `{MEMBER}` is what imgkit itself says of images; use another name"
            )),
            Value::Object(object) => Ok(Self(object)),
            _ => Err("expected a JSON object".to_owned()),
        }
    }
}

impl Sign {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let mut targets = match (&self.file, &self.name) {
            (Some(path), Some(name)) => vec![file_target(path, name)?],
            _ => self.image_targets(context)?,
        };
        for (_, file) in &mut targets {
            if let Some(Custom(custom)) = &self.custom {
                let said = file.custom.get_or_insert_with(|| json!({}));
                said.as_object_mut()
                    .into_iter()
                    .for_each(|said| said.extend(custom.clone()));
            }
        }
        let changed = options.change(context, |collection, now| {
            for (name, file) in &targets {
                collection.put_target(&self.role, name, file.clone(), now)?;
            }
            Ok(())
        })?;
        let mut text = String::new();
        for (name, file) in &targets {
            let digests: Vec<_> = file.hashes.digests().map(|digest| digest.to_string()).collect();
            let _ = writeln!(text, "signed {} {name} as {}", digests.join(" "), self.role);
        }
        let targets: Vec<_> = targets
            .iter()
            .map(|(name, file)| json!({ "name": name, "target": file }))
            .collect();
        changed.tell(&mut text);
        Ok(Report::new(
            text,
            changed.json(json!({ "role": self.role, "targets": targets })),
        ))
    }

    fn image_targets(&self, context: &Context) -> Result<Vec<(String, TargetFile)>, Failure> {
        let resolver = resolver(context, &self.store)?;
        let platforms = match self.platform.is_empty() {
            true => vec![host_platform()],
            false => self.platform.clone(),
        };
        let describe = |reference: &Reference| {
            let image = describe(&resolver, reference, &platforms)?;
            Ok((target_name(reference)?, image.to_file()))
        };
        self.images.iter().map(describe).collect()
    }
}

/// Makes what finds images: the local store, else registries.
pub(in crate::cli) fn resolver(context: &Context, store: &StoreOptions) -> Result<Resolver, Failure> {
    let bar = Box::new(Bar::on_terminal("pulling"));
    Resolver::online(store.open(context)?, registry(context)?, &context.scratch_dir(), bar)
}

/// Returns the name under which a reference is signed.
pub(super) fn target_name(reference: &Reference) -> Result<String, Failure> {
    let problem = "a name with a tag is signed; write HOST/REPOSITORY:TAG";
    reference
        .target_name()
        .ok_or_else(|| Failure::malformed(reference, problem))
}

/// Describes an image by its document and, for each platform, manifest and tree; a tag and a digest have to stand for the same.
pub(in crate::cli) fn describe(
    source: &dyn Source,
    reference: &Reference,
    platforms: &[Platform],
) -> Result<ImageTarget, Failure> {
    source.check_tag(reference)?;
    let mut document: Option<(Digest, u64)> = None;
    let mut described = Vec::new();
    for platform in platforms {
        let image = source.image(reference, platform)?;
        let bytes = image.index().unwrap_or(image.manifest());
        let found = (*image.digest(), bytes.len() as u64);
        if document.is_some_and(|document| document != found) {
            return Err(Failure::unavailable(
                reference,
                "the tag moved while the image was read; try again",
            ));
        }
        document = Some(found);
        let tree = image_tree(source, &reference.to_string(), &image, &mut HashOnly)?;
        described.push(PlatformTarget {
            platform: platform.to_string(),
            manifest: *image.manifest_digest(),
            tree: list::digest(&tree),
        });
    }
    let (document, length) = document.ok_or_else(|| Failure::malformed(reference, "no platform is named"))?;
    Ok(ImageTarget {
        document,
        length,
        platforms: described,
    })
}

fn file_target(path: &std::path::Path, name: &str) -> Result<(String, TargetFile), Failure> {
    let bytes = read_limited(path, limit::SIGNED_FILE_BYTES)?;
    let file = plain_file(name, &bytes).map_err(|error| Failure::malformed("--name", error))?;
    Ok((name.to_owned(), file))
}
