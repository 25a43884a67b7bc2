//! Changes to what boots, and to the disk around the files.

use super::common::images::noise;
use super::{Case, OF_BOOT, OF_SEAL};

/// Changes to what boots.
pub(crate) const OF_BOOT_FILES: &[Case] = &[
    ("a changed kernel", "file KERNEL of @", |forge| {
        forge.kernel[12_345] ^= 4
    }),
    ("another kernel", "file KERNEL of @", |forge| {
        forge.kernel = noise(8, 40_000)
    }),
    ("a shorter kernel", "file system of @", |forge| {
        forge.kernel.truncate(39_000)
    }),
    ("another command line for the loader", "file GRUB.CFG of @", |forge| {
        let text = String::from_utf8(forge.grub.clone()).unwrap();
        forge.grub = text.replace("ttyS0", "ttyS1").into_bytes();
    }),
    ("a longer command line for the loader", "file system of @", |forge| {
        let text = String::from_utf8(forge.grub.clone()).unwrap();
        forge.grub = text.replace("'console", "'init=/bin/sh' 'console").into_bytes();
    }),
    ("a changed boot.img", OF_BOOT, |forge| forge.boot[100] ^= 1),
    ("a changed boot.img in the evidence too", OF_SEAL, |forge| {
        forge.boot[100] ^= 1;
        for (name, document) in &mut forge.documents {
            if name.starts_with("file/") {
                document[100] ^= 1;
            }
        }
    }),
    ("a changed core.img", OF_BOOT, |forge| forge.core[40_000] ^= 1),
    ("a longer core.img", "padding of @", |forge| forge.core.push(7)),
    ("another partition table", "partition table of @", |forge| {
        forge.on_disk = Some(|disk| disk[446] = 0)
    }),
    ("another volume label", "file system of @", |forge| {
        forge.on_disk = Some(|disk| disk[(1 << 20) + 43] ^= 1)
    }),
    ("a locator with more in it", "seal locator of @", |forge| {
        forge.on_disk = Some(|disk| disk[(1 << 20) - 1] = 1);
    }),
    ("something in the gap", "padding of @", |forge| {
        forge.on_disk = Some(|disk| disk[900_000] = 1)
    }),
    ("something on the last sector", "padding of @", |forge| {
        forge.on_disk = Some(|disk| *disk.last_mut().unwrap() = 1);
    }),
];
