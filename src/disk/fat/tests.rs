#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::io::{Cursor, Read, Seek, SeekFrom, Write};

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;

const IDENTITY: Identity = Identity {
    serial: 0x494d_474b,
    label: *b"IMGKIT     ",
    hidden: 2048,
};

/// A volume in memory that keeps only what is not zero at its end.
fn image(files: &[(&str, &[u8])]) -> (Volume, Vec<u8>) {
    let sizes: Vec<_> = files
        .iter()
        .map(|(name, content)| (*name, content.len() as u64))
        .collect();
    let volume = Volume::plan(&sizes, IDENTITY).unwrap();
    let mut image = volume.head.clone();
    image.resize(volume.length as usize, 0);
    for ((_, content), start) in files.iter().zip(&volume.files) {
        image[*start as usize..][..content.len()].copy_from_slice(content);
    }
    (volume, image)
}

fn read_with_fatfs(image: Vec<u8>, name: &str) -> Vec<u8> {
    let volume = fatfs::FileSystem::new(Cursor::new(image), fatfs::FsOptions::new()).unwrap();
    let mut content = Vec::new();
    volume
        .root_dir()
        .open_file(name)
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    content
}

#[test]
fn the_head_is_pinned() {
    let files = [("KERNEL", 14_000_000), ("INITRD.IMG", 30_000_001), ("GRUB.CFG", 120)];
    let volume = Volume::plan(&files, IDENTITY).unwrap();
    assert!(!volume.fat32);
    assert_eq!(volume.head.len() as u64, volume.files[0]);
    assert!(volume.files.iter().all(|start| start.is_multiple_of(CLUSTER)));
    assert!(volume.length < 44_000_121 + 3 * CLUSTER + 70_000);
    assert_eq!(
        Digest::sha256(&volume.head).to_string(),
        "sha256:44b874f886271a8dce57c5b82df1946a09a171d0e3b07fe5213ceccebe69e86a"
    );
    let files = [("kernel of a large node", FILE_BYTES), ("INITRD.IMG", 1)];
    let volume = Volume::plan(&files, IDENTITY).unwrap();
    assert!(volume.fat32);
    assert_eq!(
        Digest::sha256(&volume.head).to_string(),
        "sha256:35a3e7125342f24b5d74bddba9be404bc2b0eb0f4cbac38af819539ab58d88e3"
    );
}

#[test]
fn another_reader_finds_every_file() {
    let kernel: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let files: &[(&str, &[u8])] = &[
        ("KERNEL", &kernel),
        ("EMPTY", b""),
        ("grub.cfg", b"linux /KERNEL"),
        ("a name of more than thirteen characters", b"long"),
        ("A NAME OF MORE THAN eleven", b"other"),
    ];
    let (volume, image) = image(files);
    assert_eq!(volume.files[1], volume.files[0].max(volume.head.len() as u64));
    for (name, content) in files {
        assert_eq!(read_with_fatfs(image.clone(), name), *content);
    }
    let volume = fatfs::FileSystem::new(Cursor::new(image), fatfs::FsOptions::new()).unwrap();
    assert_eq!(volume.fat_type(), fatfs::FatType::Fat16);
    assert_eq!(volume.volume_id(), IDENTITY.serial);
    assert_eq!(volume.root_dir().iter().count(), files.len());
    assert_eq!(volume.stats().unwrap().free_clusters(), 4101 - 98 - 3);
}

/// A sparse file would do; in memory, FAT32's 256 MiB are too much to copy around.
struct Sparse {
    head: Vec<u8>,
    length: u64,
    position: u64,
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = buffer.len().min((self.length - self.position) as usize);
        for (at, byte) in buffer[..n].iter_mut().enumerate() {
            *byte = self.head.get(self.position as usize + at).copied().unwrap_or(7);
        }
        self.position += n as u64;
        Ok(n)
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.position.wrapping_add_signed(by),
            SeekFrom::End(by) => self.length.wrapping_add_signed(by),
        };
        Ok(self.position)
    }
}

#[test]
fn another_reader_finds_files_on_fat32() {
    let volume = Volume::plan(&[("LARGE", 300 << 20), ("small", 5000)], IDENTITY).unwrap();
    assert!(volume.fat32);
    let clusters = (300 << 20) / CLUSTER + 2 + 1;
    let disk = Sparse {
        head: volume.head,
        length: volume.length,
        position: 0,
    };
    let volume = fatfs::FileSystem::new(disk, fatfs::FsOptions::new()).unwrap();
    assert_eq!(volume.fat_type(), fatfs::FatType::Fat32);
    assert_eq!(volume.stats().unwrap().total_clusters() as u64, clusters);
    assert_eq!(volume.stats().unwrap().free_clusters(), 0);
    let mut content = Vec::new();
    volume
        .root_dir()
        .open_file("small")
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    assert_eq!(content, [7; 5000]);
    let mut large = volume.root_dir().open_file("LARGE").unwrap();
    large.seek(SeekFrom::Start((300 << 20) - 10)).unwrap();
    assert_eq!(large.read_to_end(&mut content).unwrap(), 10);
}

#[test]
fn refuses_names_that_fat_does_not_have() {
    let long = "x".repeat(256);
    for bad in [
        &["a/b"][..],
        &["a:b"],
        &[""],
        &["a."],
        &[" a"],
        &["\u{fc}"],
        &["a", "A"],
        &["."],
        &[".."],
        &["a\0"],
        &[&long],
    ] {
        let files: Vec<_> = bad.iter().map(|name| (*name, 1)).collect();
        assert!(
            matches!(Volume::plan(&files, IDENTITY), Err(FatError::Name(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let plan = |files: &[(&str, u64)]| Volume::plan(files, IDENTITY);
    assert!(matches!(plan(&[("A", FILE_BYTES + 1)]), Err(FatError::Size { .. })));
    let names: Vec<String> = (0..20).map(|n| format!("F{n}")).collect();
    let large: Vec<_> = names.iter().map(|name| (name.as_str(), FILE_BYTES)).collect();
    assert!(matches!(plan(&large), Err(FatError::Size { .. })));
    let names: Vec<String> = (0..512).map(|n| format!("F{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), 0)).collect();
    plan(&many[..511]).unwrap();
    assert_eq!(plan(&many), Err(FatError::Many(513)));
}

proptest! {
    // Each case makes a volume of 16 MiB.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_set_of_names_is_found_again(names in prop::collection::btree_set("[a-zA-Z0-9 ._~-]{1,30}", 0..30)) {
        let mut seen = std::collections::BTreeSet::new();
        let fits = |name: &String| !name.starts_with([' ', '.']) && !name.ends_with([' ', '.']);
        let names: Vec<String> = names.into_iter().filter(fits).filter(|name| seen.insert(name.to_uppercase())).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
        let (_, image) = image(&files);
        let volume = fatfs::FileSystem::new(Cursor::new(image), fatfs::FsOptions::new()).unwrap();
        let mut shorts = std::collections::BTreeSet::new();
        for (file, (name, content)) in volume.root_dir().iter().zip(&files) {
            let file = file.unwrap();
            prop_assert_eq!(file.file_name(), *name);
            prop_assert!(shorts.insert(file.short_file_name()));
            let mut found = Vec::new();
            file.to_file().read_to_end(&mut found).unwrap();
            prop_assert_eq!(found, *content);
        }
    }

}

proptest! {
    #[test]
    fn any_sizes_lay_out_without_overlap(sizes in prop::collection::vec(0..200_000_000u64, 0..12)) {
        let names: Vec<String> = (0..sizes.len()).map(|n| format!("FILE{n}")).collect();
        let files: Vec<_> = names.iter().map(String::as_str).zip(sizes.iter().copied()).collect();
        let volume = Volume::plan(&files, IDENTITY).unwrap();
        let mut end = volume.head.len() as u64;
        for (start, size) in volume.files.iter().zip(&sizes).filter(|(_, size)| **size > 0) {
            prop_assert_eq!(*start, end);
            end = start + size.next_multiple_of(CLUSTER);
        }
        prop_assert!(end <= volume.length && volume.length.is_multiple_of(CLUSTER));
    }
}
