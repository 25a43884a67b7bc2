//! Second formats: magic numbers by which other programs would take a raw disk for something else (law 7 of the disk).
//!
//! A disk's format is named, never probed; but a hypervisor or a tool that probes would read another disk than the one verified.

use std::io;

use crate::disk::ReadAt;

/// Where a magic number is looked for.
enum At {
    Start(u64),
    End(u64),
}

/// What probing programs look for, and how they then understand the disk.
const MAGICS: &[(At, &[u8], &str)] = &[
    (At::Start(0), b"QFI\xfb", "qcow"),
    (At::Start(0), b"QED\0", "QED"),
    (At::Start(0), b"KDMV", "VMDK"),
    (At::Start(0), b"COWD", "VMDK"),
    (At::Start(0), b"# Disk DescriptorFile", "VMDK"),
    (At::Start(0), b"conectix", "VHD"),
    (At::Start(0), b"vhdxfile", "VHDX"),
    (At::Start(0), b"WithoutFreeSpace", "Parallels"),
    (At::Start(0), b"WithouFreSpacExt", "Parallels"),
    (At::Start(0), b"Bochs Virtual HD Image", "Bochs"),
    (At::Start(0), b"#!/bin/sh\n#V2.0 Format", "cloop"),
    (At::Start(0), b"LUKS\xba\xbe", "LUKS"),
    (At::Start(64), b"\x7f\x10\xda\xbe", "VDI"),
    (At::Start(512), b"EFI PART", "GPT"),
    (At::Start(32_769), b"CD001", "ISO 9660"),
    (At::End(512), b"conectix", "VHD"),
    (At::End(511), b"conectix", "VHD"),
    (At::End(512), b"koly", "DMG"),
    (At::End(512), b"EFI PART", "GPT"),
];

/// Finds a second format's magic number in a raw disk: its name and offset.
///
/// # Errors
/// What reading gave.
pub fn second_format(disk: &dyn ReadAt) -> io::Result<Option<(&'static str, u64)>> {
    for (at, magic, name) in MAGICS {
        let offset = match at {
            At::Start(offset) => Some(*offset),
            At::End(offset) => disk.len().checked_sub(*offset),
        };
        let fits = |offset: &u64| offset.saturating_add(magic.len() as u64) <= disk.len();
        if let Some(offset) = offset.filter(fits) {
            let mut found = vec![0; magic.len()];
            disk.read_exact_at(&mut found, offset)?;
            if found == *magic {
                return Ok(Some((*name, offset)));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn finds_every_magic_number_where_it_counts() {
        let plain = vec![0; 100_000];
        assert_eq!(second_format(&plain).unwrap(), None);
        for (at, magic, name) in MAGICS {
            let offset = match at {
                At::Start(offset) => *offset as usize,
                At::End(offset) => plain.len() - *offset as usize,
            };
            let mut disk = plain.clone();
            disk[offset..][..magic.len()].copy_from_slice(magic);
            assert_eq!(second_format(&disk).unwrap(), Some((*name, offset as u64)));
            disk.rotate_right(1);
            assert!(
                second_format(&disk).unwrap().is_none_or(|(_, at)| at == 99_489),
                "{name}, one byte on"
            );
        }
    }

    #[test]
    fn short_disks_are_no_error() {
        for length in [0, 3, 511, 512, 600] {
            assert_eq!(second_format(&vec![0; length]).unwrap(), None);
        }
    }
}
