//! A FAT file system that holds files in its root directory, each in one run of clusters.
//!
//! - FAT16 up to 65,508 clusters, FAT32 above; clusters of 4 KiB, the first one aligned to 4 KiB, so that files are too.
//! - No free space but what the FAT type needs at least; all times are one constant; two FATs; no boot code.
//! - Written from Microsoft's "FAT: General Overview of On-Disk Format", version 1.03; section names below are its own.

mod name;

pub use name::NameError;

use name::Names;

use super::mbr::SECTOR;
use crate::limit;

/// Length of a cluster in bytes.
pub const CLUSTER: u64 = 4096;

const SECTORS_PER_CLUSTER: u64 = CLUSTER / SECTOR;

/// Fewest and most clusters of FAT16, and fewest of FAT32, each 16 from the limit as the specification advises.
const FAT16_CLUSTERS: (u64, u64) = (4085 + 16, 65_525 - 16);
const FAT32_CLUSTERS: u64 = 65_525 + 16;

/// Entries of FAT16's root directory.
const ROOT_ENTRIES: u64 = 512;

/// Largest file: its clusters' bytes must be counted in 32 bits too, or fsck.vfat takes it for empty.
const FILE_BYTES: u64 = (1 << 32) - CLUSTER;

/// Length of a directory entry in bytes.
const ENTRY: u64 = 32;

/// 2017-04-18 and 16:30:00 as directories have them: the time that LinuxKit gives to the files it makes.
const DATE: u16 = (2017 - 1980) << 9 | 4 << 5 | 18;
const TIME: u16 = 16 << 11 | 30 << 5;

/// What tells one volume from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The volume's serial number.
    pub serial: u32,
    /// Its label, upper-case letters and digits, filled up with spaces.
    pub label: [u8; 11],
    /// How many sectors of the disk come before it.
    pub hidden: u32,
}

/// A volume whose files are known by name and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Everything before the first file: boot sector, FATs and root directory.
    pub head: Vec<u8>,
    /// Where each file begins, in bytes from the volume's beginning; the end of `head` for empty ones.
    pub files: Vec<u64>,
    /// The volume's length in bytes.
    pub length: u64,
    /// Whether it is FAT32.
    pub fat32: bool,
}

/// Files cannot be put on a volume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FatError {
    /// A file's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Too many names for the root directory.
    #[error("{0} directory entries do not fit into the root directory of {ROOT_ENTRIES}")]
    Many(u64),
    /// A file, or all together.
    #[error("`{name}` has {size} bytes; a file has at most {FILE_BYTES} and a volume at most 64 GiB")]
    Size {
        /// The first file that does not fit.
        name: String,
        /// Its size in bytes.
        size: u64,
    },
}

impl Volume {
    /// Lays out a volume for files of these names and sizes, in this order.
    ///
    /// # Errors
    /// [`FatError`] when they do not fit, or have names that FAT does not have.
    pub fn plan(files: &[(&str, u64)], identity: Identity) -> Result<Self, FatError> {
        let names = Names::new(files.iter().map(|(name, _)| *name))?;
        let mut used = 0;
        for (name, size) in files {
            used += size.div_ceil(CLUSTER);
            if *size > FILE_BYTES || used * CLUSTER > limit::FAT_BYTES {
                let name = (*name).to_owned();
                return Err(FatError::Size { name, size: *size });
            }
        }
        // The label is the directory's first entry.
        let entries = 1 + names.entries();
        let fat32 = used > FAT16_CLUSTERS.1;
        if !fat32 && entries > ROOT_ENTRIES {
            return Err(FatError::Many(entries));
        }
        let geometry = Geometry::new(fat32, used, entries);
        let mut next = geometry.root_clusters;
        let mut starts = Vec::new();
        for (_, size) in files {
            starts.push(if *size == 0 { None } else { Some(next) });
            next += size.div_ceil(CLUSTER);
        }
        let mut head = geometry.boot_sectors(identity, next);
        let runs = files.iter().map(|(_, size)| size.div_ceil(CLUSTER));
        let fat = geometry.fat(std::iter::once(geometry.root_clusters).chain(runs));
        head.extend_from_slice(&fat);
        head.extend_from_slice(&fat);
        let mut root = entry(&identity.label, 0x08, 0, 0);
        for ((index, (_, size)), start) in files.iter().enumerate().zip(&starts) {
            let cluster = start.map_or(0, |start| start + 2);
            root.extend_from_slice(&names.long(index));
            root.extend_from_slice(&entry(names.short(index), 0x20, cluster as u32, *size as u32));
        }
        root.resize(geometry.root_bytes() as usize, 0);
        head.extend_from_slice(&root);
        let data = geometry.data();
        Ok(Self {
            files: starts
                .iter()
                .map(|start| data + start.unwrap_or(geometry.root_clusters) * CLUSTER)
                .collect(),
            head,
            length: data + geometry.clusters * CLUSTER,
            fat32,
        })
    }
}

/// How large the parts of a volume are.
struct Geometry {
    fat32: bool,
    /// Clusters of data; FAT32's root directory lies in the first of them.
    clusters: u64,
    root_clusters: u64,
    /// Sectors before the first FAT.
    reserved: u64,
    /// Sectors of one FAT.
    fat: u64,
}

impl Geometry {
    fn new(fat32: bool, used: u64, entries: u64) -> Self {
        let root_clusters = if fat32 { (entries * ENTRY).div_ceil(CLUSTER) } else { 0 };
        let least = if fat32 { FAT32_CLUSTERS } else { FAT16_CLUSTERS.0 };
        let clusters = (used + root_clusters).max(least);
        let fat = ((clusters + 2) * if fat32 { 4 } else { 2 }).div_ceil(SECTOR);
        let root = if fat32 { 0 } else { ROOT_ENTRIES * ENTRY / SECTOR };
        // As few reserved sectors as make the data begin on a cluster's boundary.
        let least = if fat32 { 32 } else { 1 };
        let reserved = (least + 2 * fat + root).next_multiple_of(SECTORS_PER_CLUSTER) - 2 * fat - root;
        Self {
            fat32,
            clusters,
            root_clusters,
            reserved,
            fat,
        }
    }

    fn root_bytes(&self) -> u64 {
        if self.fat32 {
            self.root_clusters * CLUSTER
        } else {
            ROOT_ENTRIES * ENTRY
        }
    }

    /// Offset of the first cluster in bytes.
    fn data(&self) -> u64 {
        let root = if self.fat32 { 0 } else { ROOT_ENTRIES * ENTRY };
        (self.reserved + 2 * self.fat) * SECTOR + root
    }

    /// Writes the reserved sectors ("Boot Sector and BPB Structure"); `next` is the first free cluster, counted from 0.
    fn boot_sectors(&self, identity: Identity, next: u64) -> Vec<u8> {
        let sectors = self.data() / SECTOR + self.clusters * SECTORS_PER_CLUSTER;
        let (small, large) = match u16::try_from(sectors) {
            Ok(sectors) if !self.fat32 => (sectors, 0),
            _ => (0, sectors as u32),
        };
        let root_entries = if self.fat32 { 0 } else { ROOT_ENTRIES as u16 };
        let fat = if self.fat32 { 0 } else { self.fat as u16 };
        let jump = if self.fat32 {
            [0xeb, 0x58, 0x90]
        } else {
            [0xeb, 0x3c, 0x90]
        };
        let common = [
            &jump[..],
            b"IMGKIT  ",
            &(SECTOR as u16).to_le_bytes(),
            &[SECTORS_PER_CLUSTER as u8],
            &(self.reserved as u16).to_le_bytes(),
            &[2],
            &root_entries.to_le_bytes(),
            &small.to_le_bytes(),
            &[0xf8],
            &fat.to_le_bytes(),
            &63u16.to_le_bytes(),
            &255u16.to_le_bytes(),
            &identity.hidden.to_le_bytes(),
            &large.to_le_bytes(),
        ];
        // FAT32: FAT size, flags, version, root cluster, FSInfo in sector 1, copy of both in sector 6.
        let extended = [
            &(self.fat as u32).to_le_bytes()[..],
            &[0; 4],
            &2u32.to_le_bytes(),
            &1u16.to_le_bytes(),
            &6u16.to_le_bytes(),
            &[0; 12],
        ];
        let name = if self.fat32 { b"FAT32   " } else { b"FAT16   " };
        let volume = [
            &[0x80, 0, 0x29][..],
            &identity.serial.to_le_bytes(),
            &identity.label,
            name,
        ];
        let mut boot = common.concat();
        if self.fat32 {
            boot.extend(extended.concat());
        }
        boot.extend(volume.concat());
        sign(&mut boot, [0, 0, 0x55, 0xaa]);
        if self.fat32 {
            let info = [
                &0x4161_5252u32.to_le_bytes()[..],
                &[0; 480],
                &0x6141_7272u32.to_le_bytes(),
                &((self.clusters - next) as u32).to_le_bytes(),
                &((next + 2) as u32).to_le_bytes(),
            ];
            let mut info = info.concat();
            sign(&mut info, [0, 0, 0x55, 0xaa]);
            let both = [boot, info].concat();
            boot = both.clone();
            boot.resize(6 * SECTOR as usize, 0);
            boot.extend_from_slice(&both);
        }
        boot.resize((self.reserved * SECTOR) as usize, 0);
        boot
    }

    /// Writes one FAT: each run of clusters is a chain, one after the other.
    fn fat(&self, runs: impl Iterator<Item = u64>) -> Vec<u8> {
        let mut fat = Vec::with_capacity((self.fat * SECTOR) as usize);
        let mut put = |value: u32| match self.fat32 {
            true => fat.extend_from_slice(&(value & 0x0fff_ffff).to_le_bytes()),
            false => fat.extend_from_slice(&(value as u16).to_le_bytes()),
        };
        // The media byte, and "cleanly unmounted, no errors".
        put(0xffff_fff8);
        put(0xffff_ffff);
        let mut cluster = 2;
        for run in runs.filter(|run| *run > 0) {
            (1..run).for_each(|ahead| put(cluster + ahead as u32));
            put(0xffff_ffff);
            cluster += run as u32;
        }
        fat.resize((self.fat * SECTOR) as usize, 0);
        fat
    }
}

/// Fills a sector up with zeros and ends it with a mark.
fn sign(sector: &mut Vec<u8>, mark: [u8; 4]) {
    sector.resize(SECTOR as usize - mark.len(), 0);
    sector.extend_from_slice(&mark);
}

/// Writes a directory entry ("FAT Directory Structure").
fn entry(name: &[u8; 11], attributes: u8, cluster: u32, size: u32) -> Vec<u8> {
    let fields = [
        &name[..],
        &[attributes, 0, 0],
        &TIME.to_le_bytes(),
        &DATE.to_le_bytes(),
        &DATE.to_le_bytes(),
        &((cluster >> 16) as u16).to_le_bytes(),
        &TIME.to_le_bytes(),
        &DATE.to_le_bytes(),
        &(cluster as u16).to_le_bytes(),
        &size.to_le_bytes(),
    ];
    fields.concat()
}

#[cfg(test)]
mod tests;
