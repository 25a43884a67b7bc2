//! The root file system that LinuxKit makes of a specification, as one function over trees (LinuxKit's `moby/build`).
//!
//! - [`lay_out`] places every component's tree, generates bundles, puts `files` in, and says which [`Rule`] changed what.
//! - Parts stand in LinuxKit's order: kernel, init, onboot, onshutdown, services, files. Where two have the same
//!   path, the later one's entry wins; nothing is taken out of the earlier one here.
//! - Each part holds every directory above its entries.
//! - Builder and verifier call the same function: the builder with verified components, the verifier with what a seal holds.

mod bundle;
mod edit;
mod error;
mod files;
mod kernel;
mod parents;

pub use error::LayoutError;

use std::collections::BTreeMap;
use std::fmt;

use super::label::ImageDefaults;
use super::spec::{ImageName, Role, Spec};
use crate::digest::Digest;
use crate::oci::ImageConfig;
use crate::reference::Reference;
use crate::tree::contents::Memory;
use crate::tree::{Entry, Tree, TreePath};

/// What a layout is made of, beside the specification.
#[derive(Clone, Debug, Default)]
pub struct Inputs<'a> {
    /// The components by the reference that the specification names.
    pub components: BTreeMap<Reference, Component<'a>>,
    /// The files beside the YAML by their path as it is written there; an optional one that does not exist is absent.
    pub sources: BTreeMap<String, Source>,
}

/// A component: its OCI image configuration and its flattened tree.
#[derive(Clone, Copy, Debug)]
pub struct Component<'a> {
    /// Its image's configuration.
    pub config: &'a ImageConfig,
    /// The tree that its signer signed.
    pub tree: &'a Tree,
}

/// A file beside the YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub digest: Digest,
}

/// A whole root file system in parts.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The parts in order.
    pub parts: Vec<Part>,
    /// The content of generated files.
    pub contents: Memory,
}

impl Layout {
    /// Returns the whole tree: the last part's entry wins.
    pub fn tree(&self) -> Tree {
        let parts = self.parts.iter();
        let entries = parts.flat_map(|part| part.entries.iter());
        entries.map(|(path, entry)| (path.clone(), entry.clone())).collect()
    }
}

/// What one owner puts on the root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whose it is.
    pub owner: Owner,
    /// The directory that a component's own tree begins at; `None` for `/`.
    pub place: Option<TreePath>,
    /// The entries at their final paths, with every directory above them.
    pub entries: Tree,
    /// What was changed of the component's tree, or made.
    pub rules: Vec<Applied>,
}

impl Part {
    fn new(owner: Owner, place: Option<TreePath>) -> Self {
        Self {
            owner,
            place,
            entries: Tree::new(),
            rules: Vec::new(),
        }
    }

    fn put(&mut self, path: &'static str, entry: Entry) -> Result<(), LayoutError> {
        self.entries.insert(TreePath::parse(path)?, entry);
        Ok(())
    }

    fn apply(&mut self, rule: Rule, path: &TreePath) {
        let path = path.clone();
        self.rules.push(Applied { rule, path });
    }
}

/// Whose a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A component's own files.
    Component(Role),
    /// What is generated for a container: `config.json`, `runtime.json`, mount points.
    Bundle(Role),
    /// The entry of `files` at this index.
    File(usize),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component(role) => write!(f, "{role}"),
            Self::Bundle(role) => write!(f, "{role} (generated)"),
            Self::File(at) => write!(f, "files[{at}]"),
        }
    }
}

/// LinuxKit's rules about what an image's files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// `dev/console` is left out: devtmpfs has it.
    DropConsole,
    /// `.dockerenv` is left out: Docker makes it.
    DropDockerenv,
    /// `Dockerfile` is left out.
    DropDockerfile,
    /// `etc/hostname` is left out: Docker makes it.
    DropHostname,
    /// A directory that holds an entry is made.
    MakeParent,
    /// `etc/mtab` is made as a link to `/proc/mounts` where there is none.
    MakeMtab,
    /// A file of the kernel's image is put into `boot/`.
    PlaceBoot,
    /// `etc/hosts` gets fixed content.
    ReplaceHosts,
    /// `etc/resolv.conf` gets fixed content, or is a link to the one that DHCP writes.
    ReplaceResolvConf,
    /// A directory that the kernel mounts on, or `etc`, gets owner root and mode 0755.
    ResetDirectory,
    /// A file of the kernel's image that is not asked for is left out.
    SkipKernelFile,
    /// The members of the kernel's archive are unpacked at `/`.
    UnpackKernelTar,
    /// `boot/cmdline` is written from the specification.
    WriteCmdline,
}

/// A rule and the path that it changed, as the component has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Applied {
    /// The rule.
    pub rule: Rule,
    /// The path.
    pub path: TreePath,
}

/// Makes the root file system of `spec`.
///
/// # Errors
/// [`LayoutError`] when an input is missing or is not what the specification makes of it.
pub fn lay_out(spec: &Spec, inputs: &Inputs<'_>) -> Result<Layout, LayoutError> {
    let mut contents = Memory::default();
    let mut parts = Vec::new();
    if let Some(kernel) = &spec.kernel {
        let component = inputs.component(Role::Kernel, &kernel.image)?;
        parts.push(kernel::part(kernel, component.tree, &mut contents)?);
    }
    for (at, image) in spec.init.iter().enumerate() {
        let component = inputs.component(Role::Init(at), image)?;
        let mut part = Part::new(Owner::Component(Role::Init(at)), None);
        part.entries = component.tree.clone();
        edit::edit(&mut part, edit::ResolvConf::Link, &mut contents)?;
        parts.push(part);
    }
    parts.extend(bundle::parts(spec, inputs, &mut contents)?);
    parts.extend(files::parts(spec, inputs, &mut contents)?);
    parents::complete(&mut parts)?;
    Ok(Layout { parts, contents })
}

impl<'a> Inputs<'a> {
    fn component(&self, role: Role, image: &ImageName) -> Result<&Component<'a>, LayoutError> {
        let missing = || LayoutError::MissingComponent {
            role,
            reference: Box::new(image.reference.clone()),
        };
        self.components.get(&image.reference).ok_or_else(missing)
    }

    /// Reads what the image of a container says of itself.
    fn defaults(&self, role: Role, image: &ImageName) -> Result<ImageDefaults, LayoutError> {
        let component = self.component(role, image)?;
        Ok(ImageDefaults::new(&image.reference.to_string(), component.config)?)
    }
}

#[cfg(test)]
mod tests;
