//! The containers' directories: OCI bundles as LinuxKit's `ImageBundle` makes them.

use std::collections::BTreeMap;

use super::edit::{self, ResolvConf};
use super::{Inputs, LayoutError, Owner, Part};
use crate::config::mount::Mount;
use crate::config::oci;
use crate::config::runtime;
use crate::config::spec::{Container, Role, Spec};
use crate::reference::Reference;
use crate::tree::contents::Memory;
use crate::tree::{Entry, Node, Tree, TreePath};

/// Where each image's files are, once a first container has them.
type Unpacked = BTreeMap<Reference, TreePath>;

/// Makes the parts of all containers: for each its component's files, unless an earlier one has them, and its bundle.
pub(super) fn parts(spec: &Spec, inputs: &Inputs<'_>, contents: &mut Memory) -> Result<Vec<Part>, LayoutError> {
    let ids = spec.ids();
    let mut unpacked = Unpacked::new();
    let mut parts = Vec::new();
    for (role, container) in spec.containers() {
        let bundle = TreePath::parse(directory(role, container))?;
        let image = inputs.defaults(role, &container.image)?;
        let settings = container.settings(&image);
        let readonly = settings.readonly.unwrap_or_default();
        let first = !unpacked.contains_key(&container.image.reference);
        if first {
            let root = below(&bundle, if readonly { "rootfs" } else { "lower" })?;
            let tree = inputs.component(role, &container.image)?.tree;
            parts.push(component_part(role, &root, tree, contents)?);
            unpacked.insert(container.image.reference.clone(), root);
        }
        let lower = unpacked.get(&container.image.reference).unwrap_or(&bundle);
        let config = oci::encode(&settings, &image, &ids).map_err(|error| LayoutError::UnknownId {
            place: container.image.place.clone(),
            error,
        })?;
        let mut part = Part::new(Owner::Bundle(role), Some(bundle.clone()));
        make_directories(&mut part.entries, &bundle);
        put_file(&mut part, &bundle, "config.json", config, contents)?;
        let mounts = match readonly {
            true => vec![Mount::new(
                &absolute(&below(&bundle, "rootfs")?),
                "",
                &absolute(lower),
                &["bind"],
            )],
            false => overlay(&bundle, lower)?,
        };
        if !readonly {
            part.entries.insert(below(&bundle, "tmp")?, Entry::directory(0o755));
        }
        if !readonly || !first {
            part.entries.insert(below(&bundle, "rootfs")?, Entry::directory(0o755));
        }
        let runtime = settings.runtime.unwrap_or_default();
        put_file(
            &mut part,
            &bundle,
            "runtime.json",
            runtime::encode(&runtime, &mounts),
            contents,
        )?;
        parts.push(part);
    }
    Ok(parts)
}

/// Returns the container's directory, relative to `/`.
fn directory(role: Role, container: &Container) -> String {
    let name = &container.name;
    match role {
        Role::Onboot(at) => format!("containers/onboot/{at:03}-{name}"),
        Role::Onshutdown(at) => format!("containers/onshutdown/{at:03}-{name}"),
        _ => format!("containers/services/{name}"),
    }
}

fn component_part(role: Role, root: &TreePath, tree: &Tree, contents: &mut Memory) -> Result<Part, LayoutError> {
    let mut part = Part::new(Owner::Component(role), Some(root.clone()));
    part.entries = tree.clone();
    edit::edit(&mut part, ResolvConf::File, contents)?;
    part.entries = move_below(&part.entries, root)?;
    make_directories(&mut part.entries, root);
    Ok(part)
}

fn move_below(tree: &Tree, root: &TreePath) -> Result<Tree, LayoutError> {
    let mut moved = Tree::new();
    for (path, entry) in tree.iter() {
        let mut entry = entry.clone();
        if let Node::HardLink(target) = &entry.node {
            entry.node = Node::HardLink(root.join(target)?);
        }
        moved.insert(root.join(path)?, entry);
    }
    Ok(moved)
}

/// Makes `path` and the directories above it.
fn make_directories(tree: &mut Tree, path: &TreePath) {
    for directory in path.ancestors().chain([path.clone()]) {
        tree.insert(directory, Entry::directory(0o755));
    }
}

fn put_file(
    part: &mut Part,
    bundle: &TreePath,
    name: &str,
    bytes: Vec<u8>,
    contents: &mut Memory,
) -> Result<(), LayoutError> {
    part.entries.insert(below(bundle, name)?, Entry::file(0o644, &bytes));
    contents.add(bytes);
    Ok(())
}

/// The mounts of a writable root: a tmpfs for what is written, over the image's files.
fn overlay(bundle: &TreePath, lower: &TreePath) -> Result<Vec<Mount>, LayoutError> {
    let tmp = absolute(&below(bundle, "tmp")?);
    let rootfs = absolute(&below(bundle, "rootfs")?);
    let lower = format!("lowerdir={}", absolute(lower));
    let (upper, work) = (format!("upperdir={tmp}/upper"), format!("workdir={tmp}/work"));
    Ok(vec![
        Mount::new(&tmp, "tmpfs", "tmpfs", &[]),
        Mount::new(&tmp, "", "", &["remount", "private"]),
        Mount::new(&rootfs, "overlay", "overlay", &[&lower, &upper, &work]),
    ])
}

fn below(bundle: &TreePath, name: &str) -> Result<TreePath, LayoutError> {
    Ok(bundle.join(&TreePath::parse(name)?)?)
}

/// A bundle's path is ASCII: section, index and a container's name.
fn absolute(path: &TreePath) -> String {
    format!("/{path}")
}
