//! A whole image before it is written: what stands in `boot/`, and the initrd's segments.

use super::plan::{Part, Plan};
use crate::config::rootfs::{Applied, Inputs, Layout, Owner, lay_out};
use crate::config::spec::{Role, Spec};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::tree::contents::Memory;
use crate::tree::{Entry, Node, Tree, TreePath};

/// Directory of the kernel and its companions; it is not part of the initrd.
const BOOT: &str = "boot";

/// Name of the part that holds everything that is generated of the specification, and the files that it names.
pub const GENERATED: &str = "generated files";

/// An image before it is written.
#[derive(Clone, Debug)]
pub struct Image {
    /// The initrd.
    pub plan: Plan,
    /// The kernel; `None` for a specification without one.
    pub kernel: Option<File>,
    /// The microcode's cpio that stands before the initrd, if there is one.
    pub microcode: Option<File>,
    /// The kernel command line.
    pub cmdline: String,
    /// The whole root file system, `boot/` included, as the `tar` format has it.
    pub tree: Tree,
    /// The content of what was generated.
    pub generated: Memory,
    /// Which of LinuxKit's rules changed what, by the part of the specification.
    pub rules: Vec<(Role, Vec<Applied>)>,
}

/// A file of `boot/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub digest: Digest,
}

impl Image {
    /// Makes the image of a specification and its inputs.
    ///
    /// # Errors
    /// [`Failure`] when an input is missing, or the components do not make a root file system.
    pub fn new(spec: &Spec, inputs: &Inputs<'_>) -> Result<Self, Failure> {
        let layout = lay_out(spec, inputs)?;
        let tree = layout.tree();
        let rules = rules(&layout);
        let (parts, mut generated) = parts(layout);
        let plan = Plan::new(parts, &mut generated).map_err(|error| Failure::malformed("root file system", error))?;
        Ok(Self {
            plan,
            kernel: boot_file(&tree, "boot/kernel"),
            microcode: boot_file(&tree, "boot/ucode.cpio"),
            cmdline: spec
                .kernel
                .as_ref()
                .map(|kernel| kernel.cmdline.to_string())
                .unwrap_or_default(),
            tree,
            generated,
            rules,
        })
    }
}

/// Makes the initrd's parts: one for each component, and one for everything that is generated.
fn parts(layout: Layout) -> (Vec<Part>, Memory) {
    let in_boot = |path: &TreePath| path.as_bytes().split(|b| *b == b'/').next() == Some(BOOT.as_bytes());
    let mut parts = Vec::new();
    let mut generated = Tree::new();
    for part in layout.parts {
        let entries = part.entries.into_iter().filter(|(path, _)| !in_boot(path));
        match part.owner {
            Owner::Component(role) => parts.push(Part {
                name: role.to_string(),
                role: Some(role),
                tree: entries.collect(),
            }),
            Owner::Bundle(_) | Owner::File(_) => entries.for_each(|(path, entry)| {
                generated.insert(path, entry);
            }),
        }
    }
    parts.push(Part {
        name: GENERATED.into(),
        role: None,
        tree: generated,
    });
    (parts, layout.contents)
}

fn rules(layout: &Layout) -> Vec<(Role, Vec<Applied>)> {
    let of = |part: &crate::config::rootfs::Part| match part.owner {
        Owner::Component(role) => Some((role, part.rules.clone())),
        Owner::Bundle(_) | Owner::File(_) => None,
    };
    layout.parts.iter().filter_map(of).collect()
}

fn boot_file(tree: &Tree, path: &str) -> Option<File> {
    let path = TreePath::parse(path).ok()?;
    match tree.entry(&path) {
        Some(Entry {
            node: Node::File { size, digest },
            ..
        }) => Some(File {
            size: *size,
            digest: *digest,
        }),
        _ => None,
    }
}
