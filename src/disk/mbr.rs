//! The master boot record: boot code and a table with one partition.

/// Length of a sector in bytes.
pub const SECTOR: u64 = 512;

/// How many bytes of the first sector are boot code; disk signature and table follow.
pub const BOOT_CODE: usize = 440;

/// Type of a partition with FAT16, addressed by sector numbers.
pub const FAT16_LBA: u8 = 0x0e;

/// Type of a partition with FAT32, addressed by sector numbers.
pub const FAT32_LBA: u8 = 0x0c;

/// The partition that the boot loader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Number of its first sector.
    pub first: u32,
    /// How many sectors it has.
    pub sectors: u32,
    /// Type byte.
    pub kind: u8,
}

/// Writes the first sector's bytes after the boot code: disk signature, one active partition, and the mark at the end.
pub fn table(signature: u32, partition: Partition) -> [u8; SECTOR as usize - BOOT_CODE] {
    let last = partition.first.saturating_add(partition.sectors.saturating_sub(1));
    let fields = [
        &signature.to_le_bytes()[..],
        &[0; 2],
        &[0x80],
        &cylinder_head_sector(partition.first),
        &[partition.kind],
        &cylinder_head_sector(last),
        &partition.first.to_le_bytes(),
        &partition.sectors.to_le_bytes(),
        &[0; 48],
        &[0x55, 0xaa],
    ];
    let mut table = [0; SECTOR as usize - BOOT_CODE];
    table.iter_mut().zip(fields.concat()).for_each(|(to, from)| *to = from);
    table
}

/// Writes a sector's number the old way, for 255 heads and 63 sectors; what lies beyond is the largest triple.
fn cylinder_head_sector(sector: u32) -> [u8; 3] {
    let (cylinder, head, sector) = (sector / (255 * 63), sector / 63 % 255, sector % 63 + 1);
    if cylinder > 1023 {
        return [0xfe, 0xff, 0xff];
    }
    [head as u8, (sector | (cylinder >> 2 & 0xc0)) as u8, cylinder as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_pinned() {
        let partition = Partition {
            first: 2048,
            sectors: 204_800,
            kind: FAT32_LBA,
        };
        let table = table(0x1234_5678, partition);
        let entry = "80 202100 0c df130c 00080000 00200300".replace(' ', "");
        let expected = format!("785634120000{entry}{}55aa", "00".repeat(48));
        assert_eq!(hex::encode(table), expected);
    }

    #[test]
    fn far_sectors_have_the_largest_triple() {
        assert_eq!(cylinder_head_sector(0), [0, 1, 0]);
        assert_eq!(cylinder_head_sector(1023 * 255 * 63), [0, 0xc1, 0xff]);
        assert_eq!(cylinder_head_sector(1024 * 255 * 63), [0xfe, 0xff, 0xff]);
    }
}
