//! `imgkit pkg build`: components of recipes.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::store::host_platform;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::limit;
use crate::oci::Package;
use crate::pkg::archive::{Apt, Archive, Folder};
use crate::pkg::component::{Component, Source};
use crate::pkg::image::{self, About};
use crate::pkg::lock;
use crate::pkg::stock::Stock;
use crate::reference::Reference;
use crate::store::file::{NewFile, cannot, read_limited};
use crate::store::layout::Layout;

#[derive(Debug, Args)]
pub(super) struct Build {
    /// The components' directories, each with a component.yml
    #[arg(required = true, value_name = "DIR")]
    components: Vec<PathBuf>,
    /// What stands before a component's name in its image's name
    #[arg(long, value_name = "PREFIX", default_value = "imgkit.local/components")]
    tag_prefix: String,
    /// The tag of the images
    #[arg(long, value_name = "TAG", default_value = "latest")]
    tag: String,
    /// Take packages from this folder of .deb files, and nothing from the network
    #[arg(long, value_name = "DIR")]
    package_dir: Option<PathBuf>,
    /// Where this repository's own programs are [default: beside imgkit]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Take exactly the packages that each component.lock names
    #[arg(long, conflicts_with = "update_lock")]
    locked: bool,
    /// Write into each component.lock the packages that were taken
    #[arg(long)]
    update_lock: bool,
}

impl Build {
    pub(super) fn run(&self, context: &Context, store: &Layout) -> Result<Report, Failure> {
        let platform = host_platform();
        let sources: Vec<Source> = self
            .components
            .iter()
            .map(|dir| Source::open(dir))
            .collect::<Result<_, _>>()?;
        let names: Vec<Reference> = sources
            .iter()
            .map(|source| self.image_name(source))
            .collect::<Result<_, _>>()?;
        let archive = match &self.package_dir {
            Some(dir) => Archive::Folder(Folder::open(dir, platform.architecture())?),
            None => Archive::Apt(Apt::update(&context.xdg_dir("CACHE", ".cache")?.join("apt"))?),
        };
        let programs = match &self.programs {
            Some(dir) => dir.clone(),
            None => context.program_dir()?,
        };
        let work = context.scratch_dir();
        let mut stock = Stock::within(&work)?;
        if !self.locked {
            let all: Vec<String> = sources.iter().flat_map(|source| source.recipe.all_packages()).collect();
            stock.load(&archive, &all, None)?;
        }
        let (mut text, mut made) = (String::new(), Vec::new());
        for (source, name) in sources.iter().zip(&names) {
            let locked = self.lock(source)?;
            let mut own_stock;
            let stock = if self.locked {
                // Two components may be locked to two versions of one package.
                own_stock = Stock::within(&work)?;
                own_stock.load(&archive, &source.recipe.all_packages(), locked.as_deref())?;
                &mut own_stock
            } else {
                &mut stock
            };
            let component = Component::assemble(source, stock, &programs, &work)?;
            let about = About {
                platform: platform.clone(),
                run: &source.recipe.config,
                title: Some((&source.name, &source.recipe.about)),
                packages: &component.packages,
                tools: &component.tools,
            };
            let document = image::write(store, name, &component.tree, stock.contents(), &about)?;
            let used = used(&component);
            let differences = locked.map_or_else(Vec::new, |locked| lock::differences(&locked, &used));
            let _ = writeln!(text, "made {} {name}", document.digest);
            for difference in &differences {
                let _ = writeln!(text, "  note: {difference}");
            }
            if self.update_lock {
                write_lock(source, &used)?;
            }
            made.push(json!({
                "name": name, "digest": document.digest, "files": component.tree.len(), "bytes": component.tree.content_bytes(),
                "packages": component.packages, "tools": component.tools, "differsFromLock": differences,
            }));
        }
        Ok(Report::new(text, json!({ "store": store.dir(), "components": made })))
    }

    fn image_name(&self, source: &Source) -> Result<Reference, Failure> {
        let name = format!("{}/{}:{}", self.tag_prefix, source.name, self.tag);
        name.parse()
            .map_err(|error| Failure::malformed(format!("component {}", source.name), error))
    }

    /// Reads the lock beside a recipe, if there is one; `--locked` demands it, `--update-lock` does not look at it.
    fn lock(&self, source: &Source) -> Result<Option<Vec<Package>>, Failure> {
        let path = source.dir.join(lock::FILE);
        let there = fs::exists(&path).map_err(|error| cannot("find", &path, &error))?;
        if self.update_lock || !there && !self.locked {
            return Ok(None);
        }
        let bytes = read_limited(&path, limit::YAML_BYTES)?;
        Ok(Some(lock::parse(&path.display().to_string(), &bytes)?))
    }
}

fn write_lock(source: &Source, packages: &[Package]) -> Result<(), Failure> {
    let path = source.dir.join(lock::FILE);
    let mut file = NewFile::beside(&path)?;
    let written = std::io::Write::write_all(&mut file, lock::write(packages).as_bytes());
    written.map_err(|error| cannot("write", &path, &error))?;
    file.finish(&path)
}

/// Lists a component's packages and its tools', sorted, each once.
fn used(component: &Component) -> Vec<Package> {
    let mut used = [component.packages.clone(), component.tools.clone()].concat();
    used.sort();
    used.dedup();
    used
}
