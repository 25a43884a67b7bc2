//! A node's specification: LinuxKit's YAML, and the little that imgkit adds to it.
//!
//! imgkit's own keys: `epoch` (rollback protection), `profile` (what the node is for), `boot: image` (the boot loader's component), and `optional: true` on an
//! `onboot` container (its failure does not stop the boot). Differences to LinuxKit are in `docs/linuxkit.md`.

use std::fmt;

use super::device::Ids;
use super::file::{File, FileKind};
use super::label::ImageDefaults;
use super::settings::{Overlay, Settings};
use crate::cmdline::Cmdline;
use crate::failure::Place;
use crate::limit;
use crate::reference::Reference;
use crate::yaml::{Document, Fields, Item, YamlError};

/// The annotation that tells init that a container may fail.
const OPTIONAL: &str = "org.imgkit.optional";

/// What a node is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The boot loader's component; formats with a BIOS boot sector need one.
    pub boot: Option<ImageName>,
    /// The image's epoch, when the YAML names one.
    pub epoch: Option<u64>,
    /// Files of the specification's own.
    pub files: Vec<File>,
    /// Components unpacked at `/`, in order.
    pub init: Vec<ImageName>,
    /// The kernel.
    pub kernel: Option<Kernel>,
    /// Containers run one after the other at boot.
    pub onboot: Vec<Container>,
    /// Containers run one after the other at power off.
    pub onshutdown: Vec<Container>,
    /// What the node is for (`production`, `debug` …), when the YAML says so; policies may admit one profile only.
    pub profile: Option<String>,
    /// Containers that keep running.
    pub services: Vec<Container>,
    document: Document,
}

impl Spec {
    /// Reads a specification; `file` is how errors name it.
    ///
    /// # Errors
    /// [`YamlError`] for the first thing that is not understood.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, YamlError> {
        let document = Document::parse(file, bytes)?;
        document.root().fields("a node specification", |fields| {
            refuse_what_is_not_supported(fields)?;
            let services = containers(fields, "services", false)?;
            for (at, service) in services.iter().enumerate() {
                let earlier = services.iter().take(at).any(|other| other.name == service.name);
                if let (true, Some(item)) = (earlier, fields.optional("services")) {
                    return Err(item.invalid(format!("two services are named `{}`; rename one", service.name)));
                }
            }
            Ok(Self {
                boot: fields.maybe("boot", |item| {
                    item.fields("`boot`", |f| ImageName::decode(f.required("image")?))
                })?,
                epoch: fields.maybe("epoch", |item| item.integer())?,
                files: fields
                    .maybe("files", |item| item.list_of(File::decode))?
                    .unwrap_or_default(),
                init: fields
                    .maybe("init", |item| item.list_of(ImageName::decode))?
                    .unwrap_or_default(),
                kernel: fields.maybe("kernel", Kernel::decode)?.flatten(),
                onboot: containers(fields, "onboot", true)?,
                onshutdown: containers(fields, "onshutdown", false)?,
                profile: fields.maybe("profile", |item| item.name("a profile").map(str::to_owned))?,
                services,
                document: document.clone(),
            })
        })
    }

    /// Lists every component that the specification names, with its part; the same image may occur again.
    pub fn images(&self) -> Vec<(Role, &ImageName)> {
        let boot = self.boot.iter().map(|image| (Role::Boot, image));
        let kernel = self.kernel.iter().map(|kernel| (Role::Kernel, &kernel.image));
        let init = self.init.iter().enumerate().map(|(at, image)| (Role::Init(at), image));
        let containers = self.containers().map(|(role, container)| (role, &container.image));
        boot.chain(kernel).chain(init).chain(containers).collect()
    }

    /// Iterates over the containers: those at boot, those at power off, services.
    pub fn containers(&self) -> impl Iterator<Item = (Role, &Container)> {
        fn section(containers: &[Container], role: fn(usize) -> Role) -> impl Iterator<Item = (Role, &Container)> {
            containers
                .iter()
                .enumerate()
                .map(move |(at, container)| (role(at), container))
        }
        section(&self.onboot, Role::Onboot)
            .chain(section(&self.onshutdown, Role::Onshutdown))
            .chain(section(&self.services, Role::Service))
    }

    /// Lists the files beside the YAML that it names: path, whether it may be missing, and where it is named.
    pub fn sources(&self) -> Vec<(&str, bool, &Place)> {
        let mut sources = Vec::new();
        for file in &self.files {
            if let FileKind::Source { path, optional } = &file.kind {
                sources.push((path.as_str(), *optional, &file.place));
            }
        }
        sources
    }

    /// Returns the numbers that the containers' names stand for in `uid` and `gid`.
    pub(super) fn ids(&self) -> Ids {
        Ids::number(self.containers().map(|(_, container)| container.name.as_str()))
    }

    /// Returns the YAML itself.
    pub(super) fn document(&self) -> &Document {
        &self.document
    }
}

/// Which part of the specification names a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The boot loader.
    Boot,
    /// The kernel.
    Kernel,
    /// The component at this index of `init`.
    Init(usize),
    /// The container at this index of `onboot`.
    Onboot(usize),
    /// The container at this index of `onshutdown`.
    Onshutdown(usize),
    /// The container at this index of `services`.
    Service(usize),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot => f.write_str("boot"),
            Self::Kernel => f.write_str("kernel"),
            Self::Init(at) => write!(f, "init[{at}]"),
            Self::Onboot(at) => write!(f, "onboot[{at}]"),
            Self::Onshutdown(at) => write!(f, "onshutdown[{at}]"),
            Self::Service(at) => write!(f, "services[{at}]"),
        }
    }
}

/// A component's reference and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// The reference, normalised.
    pub reference: Reference,
    /// Where it stands.
    pub place: Place,
}

impl ImageName {
    fn decode(item: Item<'_>) -> Result<Self, YamlError> {
        Ok(Self {
            reference: item.parse()?,
            place: item.place(),
        })
    }
}

/// The kernel's component and what is taken of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The component.
    pub image: ImageName,
    /// The command line.
    pub cmdline: Cmdline,
    /// Where the command line is written; the kernel's entry when it has none.
    pub cmdline_place: Place,
    /// The kernel's file in the image.
    pub binary: String,
    /// The archive of modules in the image; `None` for none.
    pub tar: Option<String>,
    /// The microcode's cpio in the image.
    pub ucode: Option<String>,
}

impl Kernel {
    /// Reads the kernel; LinuxKit's own `metadata:` files say `image: ""` for none.
    fn decode(item: Item<'_>) -> Result<Option<Self>, YamlError> {
        item.fields("`kernel`", |fields| {
            let image = fields.required("image")?;
            if image.text()?.is_empty() {
                return Ok(None);
            }
            let text = |item: Item<'_>| item.text().map(str::to_owned);
            let or = |text: Option<String>, usual: &str| match text {
                Some(text) if !text.is_empty() => text,
                _ => usual.to_owned(),
            };
            let tar = fields.maybe("tar", text)?.unwrap_or_else(|| "kernel.tar".to_owned());
            Ok(Some(Self {
                image: ImageName::decode(image)?,
                cmdline: fields.maybe("cmdline", |item| item.parse())?.unwrap_or_default(),
                cmdline_place: fields.optional("cmdline").unwrap_or(item).place(),
                binary: or(fields.maybe("binary", text)?, "kernel"),
                tar: Some(tar).filter(|tar| !tar.is_empty() && tar != "none"),
                ucode: fields.maybe("ucode", text)?.filter(|ucode| !ucode.is_empty()),
            }))
        })
    }
}

/// A container that runs on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name: also a directory's, and the one that runc and containerd know it by.
    pub name: String,
    /// The component.
    pub image: ImageName,
    /// Whether the boot goes on when it fails; only of `onboot`.
    pub optional: bool,
    /// What the YAML says of it.
    pub overlay: Overlay,
}

impl Container {
    fn decode(item: Item<'_>, may_be_optional: bool) -> Result<Self, YamlError> {
        item.fields("a container", |fields| {
            let name = fields.required("name")?.name("a container's name")?;
            let optional = fields.optional("optional");
            if let (Some(item), false) = (optional, may_be_optional) {
                return Err(item.invalid("`optional` has a meaning only in `onboot`; remove it"));
            }
            let optional = optional.map(|item| item.boolean()).transpose()?.unwrap_or_default();
            Ok(Self {
                name: name.to_owned(),
                image: ImageName::decode(fields.required("image")?)?,
                optional,
                overlay: Overlay::decode(fields)?,
            })
        })
    }

    /// Returns what the container gets: the YAML's words over the image's label.
    pub fn settings(&self, image: &ImageDefaults) -> Settings {
        let mut settings = self.overlay.over(&image.settings);
        if self.optional {
            let annotations = settings.annotations.get_or_insert_default();
            annotations.insert(OPTIONAL.to_owned(), "true".to_owned());
        }
        settings
    }
}

fn containers(fields: &mut Fields<'_>, key: &'static str, may_be_optional: bool) -> Result<Vec<Container>, YamlError> {
    let Some(item) = fields.optional(key) else {
        return Ok(Vec::new());
    };
    let containers = item.list_of(|item| Container::decode(item, may_be_optional))?;
    match containers.len() > limit::CONTAINERS {
        true => Err(item.invalid(format!(
            "{} containers; expected at most {}",
            containers.len(),
            limit::CONTAINERS
        ))),
        false => Ok(containers),
    }
}

/// Names what LinuxKit's YAML may hold and imgkit does not do, so that nobody takes silence for consent.
fn refuse_what_is_not_supported(fields: &mut Fields<'_>) -> Result<(), YamlError> {
    if let Some(trust) = fields.optional("trust") {
        return Err(trust.invalid(
            "LinuxKit took `trust` out and ignores it; imgkit checks every component against a policy file: remove this section, \
             and name the policy with `--policy`",
        ));
    }
    match fields.optional("volumes") {
        Some(volumes) if volumes.list()?.next().is_some() => {
            Err(volumes.invalid("`volumes` are not supported yet; use a bind of a directory made by `runtime: mkdir`"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
