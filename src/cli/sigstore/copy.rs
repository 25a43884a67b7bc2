//! `imgkit sigstore copy`: an image with all its signatures and attestations, to where there may be no network.

use clap::Args;
use serde_json::json;
use tempfile::TempDir;

use super::place::{Place, only_image};
use crate::cli::store::{Bar, registry};
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::oci::Descriptor;
use crate::reference::Reference;
use crate::store::Source as _;
use crate::store::archive;
use crate::store::attached::Beside;
use crate::store::file::cannot;
use crate::store::layout::Layout;
use crate::store::registry::{Platforms, Registry};
use crate::store::shelf::{copy_attached, copy_image};

/// Copies an image with everything that is attached to it; digests stay what they are.
#[derive(Debug, Args)]
pub(super) struct Copy {
    /// The image: HOST/REPOSITORY:TAG, …@DIGEST, oci:DIR[:NAME] or oci-archive:FILE[:NAME]
    source: Place,
    /// Where it goes: HOST/REPOSITORY:TAG, oci:DIR[:NAME] or oci-archive:FILE[:NAME] (a tar archive, new each time)
    target: Place,
}

/// The image in a layout, which is a temporary one where it came from elsewhere.
struct Fetched {
    layout: Layout,
    name: Reference,
    registry: Option<Registry>,
    _temporary: Option<TempDir>,
}

impl Fetched {
    /// Returns where what is attached to the image lies.
    fn beside(&self) -> &dyn Beside {
        match &self.registry {
            Some(registry) => registry,
            None => &self.layout,
        }
    }
}

impl Copy {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let from = fetch(context, &self.source)?;
        let absent = || Failure::unavailable(&self.source, "there is no such image");
        let (document, bytes) = from.layout.document(&from.name)?.ok_or_else(absent)?;
        let copy = Copying {
            from: &from,
            document: (&document, &bytes),
        };
        let (name, attached) = match &self.target {
            Place::Registry(name) => (name.clone(), copy.to_registry(context, name)?),
            Place::Layout(dir, name) => {
                let name = name.clone().unwrap_or_else(|| from.name.clone());
                let attached = copy.to_layout(&Layout::open_or_create(dir)?, &name)?;
                (name, attached)
            }
            Place::Archive(file, name) => {
                let name = name.clone().unwrap_or_else(|| from.name.clone());
                let (_dir, layout) = temporary(context)?;
                let attached = copy.to_layout(&layout, &name)?;
                archive::pack(&layout, file)?;
                (name, attached)
            }
        };
        let digest = document.digest;
        let text = format!(
            "{} {digest}\n  copied as {name}, with {attached} attached manifests\n",
            self.target
        );
        let json = json!({ "source": self.source.to_string(), "target": self.target.to_string(), "name": name,
            "digest": digest, "attached": attached });
        Ok(Report::new(text, json))
    }
}

struct Copying<'a> {
    from: &'a Fetched,
    document: (&'a Descriptor, &'a [u8]),
}

impl Copying<'_> {
    fn to_registry(&self, context: &Context, name: &Reference) -> Result<usize, Failure> {
        let target = registry(context)?;
        let bar = Bar::on_terminal("pushing");
        target.push(&self.from.layout, &self.from.name, name, &bar)?;
        let from = self.from.name.repository();
        copy_attached(self.from.beside(), from, self.document, &target, name.repository())
    }

    fn to_layout(&self, layout: &Layout, name: &Reference) -> Result<usize, Failure> {
        let writer = layout.writer()?;
        copy_image(&self.from.layout, &self.from.name, &writer, name)?;
        let from = self.from.name.repository();
        copy_attached(self.from.beside(), from, self.document, &writer, name.repository())
    }
}

/// Brings an image, all of its platforms, into a layout.
fn fetch(context: &Context, place: &Place) -> Result<Fetched, Failure> {
    match place {
        Place::Registry(reference) => {
            let registry = registry(context)?;
            let (dir, layout) = temporary(context)?;
            let bar = Bar::on_terminal("pulling");
            registry.check_tag(reference)?;
            registry.pull(reference, &Platforms::All, &layout.writer()?, &bar)?;
            Ok(Fetched {
                layout,
                name: reference.clone(),
                registry: Some(registry),
                _temporary: Some(dir),
            })
        }
        Place::Layout(dir, name) => in_layout(Layout::open(dir)?, name.as_ref(), None),
        Place::Archive(file, name) => {
            let (dir, layout) = archive::unpack(file, &context.scratch_dir())?;
            in_layout(layout, name.as_ref(), Some(dir))
        }
    }
}

fn in_layout(layout: Layout, name: Option<&Reference>, temporary: Option<TempDir>) -> Result<Fetched, Failure> {
    let name = match name {
        Some(name) => name.clone(),
        None => only_image(&layout)?,
    };
    layout.check_tag(&name)?;
    Ok(Fetched {
        layout,
        name,
        registry: None,
        _temporary: temporary,
    })
}

fn temporary(context: &Context) -> Result<(TempDir, Layout), Failure> {
    let scratch = context.scratch_dir();
    let dir = TempDir::new_in(&scratch);
    let dir = dir.map_err(|error| cannot("make a temporary directory in", &scratch, &error))?;
    let layout = Layout::open_or_create(dir.path().join("layout"))?;
    Ok((dir, layout))
}
