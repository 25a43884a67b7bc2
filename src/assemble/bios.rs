//! The bootable disk of an image: what goes where, as a function of the image, its boot loader and its segments' lengths.

use std::sync::Arc;

use super::{Image, grub};
use crate::digest::Digest;
use crate::disk::ReadAt;
use crate::disk::bios::{self, Disk, LayoutError, Parts};
use crate::disk::extents::Owner;
use crate::tree::{Entry, Node, Tree, TreePath};

/// Version of the writers of table, file system, locator and configuration together.
pub const WRITER: u32 = 1;

/// The boot loader's files in its component.
pub const BOOT_IMAGE: &str = "boot.img";
/// See [`BOOT_IMAGE`].
pub const CORE_IMAGE: &str = "core.img";

/// The boot loader.
#[derive(Clone, Debug)]
pub struct Loader {
    /// Its component's reference.
    pub component: String,
    /// `boot.img`.
    pub boot: Vec<u8>,
    /// `core.img`.
    pub core: Vec<u8>,
}

/// The files of the boot partition.
pub struct BootFiles {
    /// The kernel.
    pub kernel: Arc<dyn ReadAt>,
    /// The microcode's cpio, where the image has one.
    pub microcode: Option<Arc<dyn ReadAt>>,
    /// The initrd's segments with the names of their owners.
    pub segments: Vec<(String, Arc<dyn ReadAt>)>,
}

/// Lays out the disk of an image called `name`.
///
/// # Errors
/// [`LayoutError`] when a part does not fit.
pub fn disk(
    image: &Image,
    name: &str,
    loader: &Loader,
    files: BootFiles,
    seal_capacity: u64,
) -> Result<Disk, LayoutError> {
    let file = |name: &str| Owner::File { name: name.to_owned() };
    let segment = |(component, bytes)| (Owner::Segment { component }, bytes);
    let microcode = files.microcode.map(|bytes| (file("UCODE"), bytes));
    let segments = files.segments.into_iter().map(segment);
    let config: Arc<dyn ReadAt> = Arc::new(grub::config(&image.cmdline).into_bytes());
    let one = |name: &str, bytes| bios::File {
        name: name.to_owned(),
        parts: vec![(file(name), bytes)],
    };
    let initrd = bios::File {
        name: grub::INITRD.to_owned(),
        parts: microcode.into_iter().chain(segments).collect(),
    };
    bios::layout(&Parts {
        boot_component: loader.component.clone(),
        boot_image: loader.boot.clone(),
        core_image: loader.core.clone(),
        files: vec![one(grub::KERNEL, files.kernel), initrd, one(grub::CONFIG, config)],
        seal_capacity,
        serial: serial(name),
    })
}

/// Returns size and digest of a regular file at the top of a component's tree.
pub fn file_of(tree: &Tree, name: &str) -> Option<(u64, Digest)> {
    match tree.entry(&TreePath::parse(name).ok()?) {
        Some(Entry {
            node: Node::File { size, digest },
            ..
        }) => Some((*size, *digest)),
        _ => None,
    }
}

/// Disk signature and volume serial number: the same for the same name.
fn serial(name: &str) -> u32 {
    let digest = Digest::sha256(format!("imgkit serial 1\n{name}").as_bytes());
    digest.as_bytes().first_chunk().copied().map_or(1, u32::from_le_bytes)
}
