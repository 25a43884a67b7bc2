//! What is taken of a kernel's image: the kernel, its modules, its microcode (LinuxKit's `kernelFilter`).

use super::{LayoutError, Owner, Part, Rule};
use crate::config::spec::{Kernel, Role};
use crate::tree::contents::Memory;
use crate::tree::{Entry, Meta, Node, Tree, TreePath};

/// The directories that a kernel's archive may fill (law of the gate 9), and those above them.
const FILLED: [&str; 4] = ["lib/firmware", "lib/modules", "usr/lib/firmware", "usr/lib/modules"];
const ABOVE: [&str; 3] = ["lib", "usr", "usr/lib"];

/// Makes the kernel's part.
pub(super) fn part(kernel: &Kernel, image: &Tree, contents: &mut Memory) -> Result<Part, LayoutError> {
    let mut part = Part::new(Owner::Component(Role::Kernel), None);
    let mut taken = Vec::new();
    part.put("boot", Entry::directory(0o755))?;
    let cmdline = kernel.cmdline.to_string().into_bytes();
    part.put("boot/cmdline", Entry::file(0o644, &cmdline))?;
    part.apply(Rule::WriteCmdline, &TreePath::parse("boot/cmdline")?);
    contents.add(cmdline);
    let mut place = |what, file: &str, to: &'static str| {
        let (path, entry) = find_file(kernel, image, what, file)?;
        part.put(to, entry)?;
        part.apply(Rule::PlaceBoot, &path);
        taken.push(path);
        Ok::<(), LayoutError>(())
    };
    place("kernel", &kernel.binary, "boot/kernel")?;
    if let Some(ucode) = &kernel.ucode {
        place("microcode", ucode, "boot/ucode.cpio")?;
    }
    if let Some(tar) = &kernel.tar {
        let archive = TreePath::parse(tar)?;
        if !matches!(image.entry(&archive).map(|entry| &entry.node), Some(Node::Archive)) {
            return Err(missing(kernel, "archive", tar));
        }
        unpack(kernel, image, &archive, &mut part)?;
        part.apply(Rule::UnpackKernelTar, &archive);
        taken.push(archive);
    }
    for (path, _) in image.iter() {
        if !taken.iter().any(|taken| path == taken || path.is_below(taken)) {
            part.apply(Rule::SkipKernelFile, path);
        }
    }
    Ok(part)
}

/// Finds a regular file of the image; owner and extended attributes mean nothing in `boot/`.
fn find_file(kernel: &Kernel, image: &Tree, what: &'static str, file: &str) -> Result<(TreePath, Entry), LayoutError> {
    let path = TreePath::parse(file)?;
    let mut entry = image.entry(&path);
    if let Some(Node::HardLink(target)) = entry.map(|entry| &entry.node) {
        entry = image.entry(target);
    }
    match entry {
        Some(Entry {
            meta,
            node: node @ Node::File { .. },
        }) => {
            let (meta, node) = (Meta::root(meta.mode), node.clone());
            Ok((path, Entry { meta, node }))
        }
        _ => Err(missing(kernel, what, file)),
    }
}

fn missing(kernel: &Kernel, what: &'static str, file: &str) -> LayoutError {
    LayoutError::KernelFile {
        image: Box::new(kernel.image.clone()),
        what,
        file: file.to_owned(),
    }
}

/// Puts the archive's members at `/`.
fn unpack(kernel: &Kernel, image: &Tree, archive: &TreePath, part: &mut Part) -> Result<(), LayoutError> {
    for (path, entry) in image.below(archive) {
        let Some(path) = path.relative_to(archive) else {
            continue;
        };
        let mut entry = entry.clone();
        let target = match &entry.node {
            Node::HardLink(target) => target.relative_to(archive),
            _ => None,
        };
        if let Some(target) = target {
            entry.node = Node::HardLink(target);
        }
        if !is_kernels(&path, &entry) {
            return Err(LayoutError::KernelPath {
                image: Box::new(kernel.image.clone()),
                path,
            });
        }
        part.entries.insert(path, entry);
    }
    Ok(())
}

fn is_kernels(path: &TreePath, entry: &Entry) -> bool {
    let bytes = path.as_bytes();
    let filled = FILLED.iter().any(|directory| {
        let rest = bytes.strip_prefix(directory.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&b'/') || (rest.is_empty() && entry.is_directory()))
    });
    filled || (entry.is_directory() && ABOVE.iter().any(|directory| bytes == directory.as_bytes()))
}
