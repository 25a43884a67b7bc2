//! A disk that boots from a BIOS: version 1 of its layout.
//!
//! ```text
//! LBA 0          boot code, partition table
//! LBA 1 –        core image of the boot loader, as it was made
//! LBA 2047       locator of the seal
//! LBA 2048 –     one FAT partition with the boot files
//!                the seal's extent, up to 1 MiB's next multiple zeros
//! ```

use std::sync::Arc;

use super::ReadAt;
use super::assembly::{Assembly, Content};
use super::extents::Owner;
use super::fat::{self, FatError, Identity, Volume};
use super::locator::{self, Locator};
use super::mbr::{self, Partition, SECTOR};
use crate::limit;

/// Where the partition begins in bytes, and what the disk's length is a multiple of.
const MIB: u64 = 1 << 20;

/// Largest core image: from LBA 1 up to the locator.
const CORE_BYTES: u64 = locator::OFFSET - SECTOR;

/// What a disk is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where boot code comes from: the component's name.
    pub boot_component: String,
    /// The first 440 bytes of the loader's `boot.img`, at least; the rest of it is not used.
    pub boot_image: Vec<u8>,
    /// The loader's `core.img`.
    pub core_image: Vec<u8>,
    /// The boot partition's files, in order.
    pub files: Vec<File>,
    /// How many bytes the seal may take; made a multiple of 4 KiB.
    pub seal_capacity: u64,
    /// Disk signature and volume serial number.
    pub serial: u32,
}

/// A file of the boot partition.
#[derive(Clone)]
pub struct File {
    /// Its name.
    pub name: String,
    /// What it is put together from, with the owner of each part.
    pub parts: Vec<(Owner, Arc<dyn ReadAt>)>,
}

impl File {
    fn size(&self) -> u64 {
        self.parts
            .iter()
            .fold(0, |sum, (_, part)| sum.saturating_add(part.len()))
    }
}

/// A laid out disk; the seal's extent is zeros.
pub struct Disk {
    /// Its bytes and their owners.
    pub assembly: Assembly,
    /// Where the seal goes.
    pub seal: Locator,
}

/// Parts do not make a disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The boot sector's code is not all there.
    #[error("boot.img has {0} bytes; its first 440 are needed")]
    Boot(usize),
    /// The core image does not fit between table and locator.
    #[error("core.img has {0} bytes; between 1 and {CORE_BYTES} fit before the first partition")]
    Core(usize),
    /// The boot partition's files.
    #[error(transparent)]
    Fat(#[from] FatError),
    /// The seal's extent.
    #[error("a seal of {0} bytes; between 1 byte and {most} fit", most = limit::SEAL_BYTES)]
    Seal(u64),
}

/// Lays out a disk.
///
/// # Errors
/// [`LayoutError`] naming the part that does not fit.
pub fn layout(parts: &Parts) -> Result<Disk, LayoutError> {
    let boot = parts.boot_image.get(..mbr::BOOT_CODE);
    let boot = boot.ok_or(LayoutError::Boot(parts.boot_image.len()))?;
    if parts.core_image.is_empty() || parts.core_image.len() as u64 > CORE_BYTES {
        return Err(LayoutError::Core(parts.core_image.len()));
    }
    if !(1..=limit::SEAL_BYTES as u64).contains(&parts.seal_capacity) {
        return Err(LayoutError::Seal(parts.seal_capacity));
    }
    let sizes: Vec<(&str, u64)> = parts
        .files
        .iter()
        .map(|file| (file.name.as_str(), file.size()))
        .collect();
    let identity = Identity {
        serial: parts.serial,
        label: *b"IMGKIT     ",
        hidden: (MIB / SECTOR) as u32,
    };
    let volume = Volume::plan(&sizes, identity)?;
    let seal = Locator {
        offset: MIB + volume.length,
        length: parts.seal_capacity.next_multiple_of(locator::SEAL_ALIGNMENT),
    };
    let partition = Partition {
        first: identity.hidden,
        sectors: (volume.length / SECTOR) as u32,
        kind: if volume.fat32 { mbr::FAT32_LBA } else { mbr::FAT16_LBA },
    };
    let code = || Owner::BootCode {
        component: parts.boot_component.clone(),
    };
    let mut disk = Assembly::new();
    disk.push(code(), Content::Bytes(boot.to_vec()));
    disk.push(
        Owner::PartitionTable,
        Content::Bytes(mbr::table(parts.serial, partition).to_vec()),
    );
    disk.push(code(), Content::Bytes(parts.core_image.clone()));
    disk.pad_to(locator::OFFSET);
    disk.push(Owner::Locator, Content::Bytes(seal.encode().to_vec()));
    disk.push(Owner::FileSystem, Content::Bytes(volume.head));
    for file in &parts.files {
        for (owner, part) in &file.parts {
            disk.push(owner.clone(), Content::Source(Arc::clone(part)));
        }
        disk.pad_to(MIB + (disk.len() - MIB).next_multiple_of(fat::CLUSTER));
    }
    disk.pad_to(seal.offset);
    disk.push(Owner::Seal, Content::Zero(seal.length));
    disk.pad_to(disk.len().next_multiple_of(MIB));
    Ok(Disk { assembly: disk, seal })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::io::Read;

    use super::*;
    use crate::digest::Digest;
    use crate::disk::Stream;
    use crate::disk::extents::Extents;

    fn source(length: usize, seed: u8) -> Arc<dyn ReadAt> {
        Arc::new((0..length).map(|at| (at % 251) as u8 ^ seed).collect::<Vec<u8>>())
    }

    fn parts() -> Parts {
        let segment = |component: &str| Owner::Segment {
            component: component.into(),
        };
        let own = |name: &str| Owner::File { name: name.into() };
        let file = |name: &str, parts| File {
            name: name.into(),
            parts,
        };
        Parts {
            boot_component: "boot-bios".into(),
            boot_image: (0..=255).chain(0..=255).collect(),
            core_image: vec![0xc0; 134_496],
            files: vec![
                file("KERNEL", vec![(own("KERNEL"), source(500_000, 1))]),
                file(
                    "INITRD.IMG",
                    vec![
                        (segment("init"), source(10_000, 2)),
                        (segment("runc"), source(20_000, 3)),
                    ],
                ),
                file("GRUB.CFG", vec![(own("GRUB.CFG"), source(100, 4))]),
            ],
            seal_capacity: 10_000,
            serial: 0x1122_3344,
        }
    }

    fn bytes(disk: &Disk) -> Vec<u8> {
        let mut bytes = Vec::new();
        Stream::new(&disk.assembly).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_byte_is_laid_out_and_the_disk_is_pinned() {
        let disk = layout(&parts()).unwrap();
        let image = bytes(&disk);
        let extents = disk.assembly.extents();
        let covered = Extents::new(image.len() as u64, extents.iter().cloned().collect()).unwrap();
        assert_eq!(covered, extents);
        assert!(image.len().is_multiple_of(1 << 20));
        assert_eq!(image[..440], parts().boot_image[..440]);
        assert_eq!(image[512..][..134_496], parts().core_image);
        let sector: &[u8; 512] = image[locator::OFFSET as usize..].first_chunk().unwrap();
        assert_eq!(Locator::decode(sector, image.len() as u64).unwrap(), disk.seal);
        assert_eq!(disk.seal.length, 12_288);
        assert_eq!(extents.at(disk.seal.offset).unwrap().owner, Owner::Seal);
        assert_eq!(extents.at(disk.seal.offset - 1).unwrap().owner, Owner::Padding);
        assert_eq!(
            Digest::sha256(&image).to_string(),
            "sha256:235190aec9267d201ccef8294ed43be3e63b40e208f51ef0395c336d8dd10b32"
        );
    }

    #[test]
    fn another_reader_finds_the_files_in_the_partition() {
        let image = bytes(&layout(&parts()).unwrap());
        let volume = std::io::Cursor::new(image[1 << 20..].to_vec());
        let volume = fatfs::FileSystem::new(volume, fatfs::FsOptions::new()).unwrap();
        let mut initrd = Vec::new();
        volume
            .root_dir()
            .open_file("INITRD.IMG")
            .unwrap()
            .read_to_end(&mut initrd)
            .unwrap();
        let mut expected = vec![0; 10_000];
        source(10_000, 2).read_exact_at(&mut expected, 0).unwrap();
        expected.resize(30_000, 0);
        source(20_000, 3).read_exact_at(&mut expected[10_000..], 0).unwrap();
        assert_eq!(initrd, expected);
    }

    #[test]
    fn every_flipped_bit_of_a_structure_is_found_with_its_owner() {
        let disk = layout(&parts()).unwrap();
        let extents = disk.assembly.extents();
        let mut image = bytes(&disk);
        assert_eq!(disk.assembly.first_difference(&image).unwrap(), None);
        for extent in extents.iter() {
            let generated = !matches!(extent.owner, Owner::File { .. } | Owner::Segment { .. } | Owner::Seal);
            let last = extent.offset + extent.length - 1;
            for at in [extent.offset, extent.offset + extent.length / 2, last] {
                image[at as usize] ^= 0x10;
                let found = disk.assembly.first_difference(&image).unwrap();
                assert_eq!(found, generated.then_some((at, &extent.owner)), "{at}");
                image[at as usize] ^= 0x10;
            }
        }
    }

    #[test]
    fn refuses_parts_that_do_not_fit() {
        let with = |change: &dyn Fn(&mut Parts)| {
            let mut parts = parts();
            change(&mut parts);
            layout(&parts).map(|_| ()).unwrap_err()
        };
        assert_eq!(with(&|parts| parts.boot_image.truncate(439)), LayoutError::Boot(439));
        assert_eq!(with(&|parts| parts.core_image.clear()), LayoutError::Core(0));
        assert_eq!(
            with(&|parts| parts.core_image.resize(2046 * 512 + 1, 0)),
            LayoutError::Core(1_047_553)
        );
        assert_eq!(with(&|parts| parts.seal_capacity = 0), LayoutError::Seal(0));
        assert!(matches!(
            with(&|parts| parts.files[1].name = "kernel".into()),
            LayoutError::Fat(_)
        ));
        let mut largest = parts();
        largest.core_image.resize(2046 * 512, 0);
        layout(&largest).unwrap();
    }
}
