//! OpenStack's config drive: a disk whose file system, ISO 9660 or FAT, is labelled `config-2`.
//!
//! Labels are read from the raw devices, so that only the right disk is ever mounted: read-only, and read without following links.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::error::{Context, Error};

const MOUNT_POINT: &str = "/tmp/config-drive";
const LABEL: &[u8] = b"config-2";

/// A mounted config drive; it is let go with this value.
pub(crate) struct Drive {
    root: PathBuf,
}

impl Drive {
    /// Looks for a config drive among all block devices and mounts it.
    pub(crate) fn find() -> Result<Option<Drive>, Error> {
        let mut names: Vec<_> = fs::read_dir("/sys/class/block")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        names.sort();
        for device in names.iter().map(|name| Path::new("/dev").join(name)) {
            // Empty CD drives and the like cannot be opened; they are no config drive.
            let kind = File::open(&device)
                .ok()
                .and_then(|file| labelled(|at, buffer| file.read_exact_at(buffer, at).is_ok()));
            if let Some(kind) = kind {
                fs::create_dir_all(MOUNT_POINT).at("make the directory", MOUNT_POINT)?;
                let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOSUID;
                mount(device.as_path(), MOUNT_POINT, kind, flags, c"").at("mount the config drive", &device)?;
                return Ok(Some(Drive {
                    root: PathBuf::from(MOUNT_POINT),
                }));
            }
        }
        Ok(None)
    }

    /// Reads a file of the drive, such as `openstack/latest/user_data`; `None` when there is none.
    pub(crate) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let shown = self.root.join(path);
        let root = openat2(
            CWD,
            &self.root,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::empty(),
        )
        .at("open", &self.root)?;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = match openat2(&root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), inside) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).at("open", &shown),
        };
        bounded(file, path, limit)?.at("read", &shown).map(Some)
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // The container's mount namespace ends with it; an error here changes nothing.
        let _ = unmount(&self.root, UnmountFlags::DETACH);
    }
}

/// Reads to the end, unless that is beyond the limit.
fn bounded(file: impl Read, what: &str, limit: u64) -> Result<std::io::Result<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    match file.take(limit + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > limit => Err(Error::TooLarge {
            what: what.to_owned(),
            limit,
        }),
        Ok(_) => Ok(Ok(bytes)),
        Err(error) => Ok(Err(error)),
    }
}

/// Returns the type of the file system on a device that is labelled as a config drive.
fn labelled(read: impl Fn(u64, &mut [u8]) -> bool) -> Option<&'static str> {
    let is_label = |bytes: &[u8]| bytes.trim_ascii_end().eq_ignore_ascii_case(LABEL);
    // ECMA-119 8.4: the primary volume descriptor is sector 16; its identifier CD001, its volume identifier at byte 40.
    let mut descriptor = [0; 72];
    if read(16 * 2048, &mut descriptor)
        && descriptor.get(..6) == Some(b"\x01CD001")
        && descriptor.get(40..72).is_some_and(is_label)
    {
        return Some("iso9660");
    }
    // FAT: the label follows the extended boot signature, at byte 43 (FAT12/16) or 71 (FAT32); the sector ends in 55 AA.
    let mut sector = [0; 512];
    let is_boot_sector = read(0, &mut sector) && sector.ends_with(&[0x55, 0xaa]);
    let label = |kind: std::ops::Range<usize>, at: std::ops::Range<usize>| {
        sector.get(kind).is_some_and(|kind| kind.starts_with(b"FAT")) && sector.get(at).is_some_and(is_label)
    };
    (is_boot_sector && (label(54..62, 43..54) || label(82..90, 71..82))).then_some("vfat")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn kind(disk: &[u8]) -> Option<&'static str> {
        labelled(|at, buffer| {
            let at = usize::try_from(at).unwrap();
            disk.get(at..at + buffer.len())
                .map(|bytes| buffer.copy_from_slice(bytes))
                .is_some()
        })
    }

    fn iso(label: &[u8; 8]) -> Vec<u8> {
        let mut disk = vec![0; 17 * 2048];
        disk[16 * 2048..][..6].copy_from_slice(b"\x01CD001");
        disk[16 * 2048 + 40..][..32].fill(b' ');
        disk[16 * 2048 + 40..][..8].copy_from_slice(label);
        disk
    }

    #[test]
    fn knows_an_iso_by_its_label_in_either_case() {
        assert_eq!(kind(&iso(b"config-2")), Some("iso9660"));
        assert_eq!(kind(&iso(b"CONFIG-2")), Some("iso9660"));
        assert_eq!(kind(&iso(b"config-3")), None);
    }

    #[test]
    fn knows_a_real_fat_by_its_label() {
        let mut disk = std::io::Cursor::new(vec![0; 1 << 20]);
        let options = fatfs::FormatVolumeOptions::new().volume_label(*b"CONFIG-2   ");
        fatfs::format_volume(&mut disk, options).unwrap();
        assert_eq!(kind(disk.get_ref()), Some("vfat"));
        disk.get_mut()[43] = b'X';
        assert_eq!(kind(disk.get_ref()), None);
    }

    #[test]
    fn takes_short_and_empty_devices_for_none() {
        assert_eq!(kind(&[]), None);
        assert_eq!(kind(&[0; 512]), None);
        assert_eq!(kind(&iso(b"config-2")[..16 * 2048 + 20]), None);
    }

    #[test]
    fn reads_beneath_the_drive_only_and_no_more_than_allowed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "outside").unwrap();
        let root = folder.path().join("drive");
        fs::create_dir_all(root.join("openstack/latest")).unwrap();
        fs::write(root.join("openstack/latest/user_data"), "0123456789").unwrap();
        std::os::unix::fs::symlink("../../../secret", root.join("openstack/latest/link")).unwrap();
        // Not mounted, so the unmount at its end is refused, which is ignored.
        let drive = Drive { root };
        assert_eq!(
            drive.read("openstack/latest/user_data", 10).unwrap().as_deref(),
            Some(b"0123456789".as_slice())
        );
        assert!(matches!(
            drive.read("openstack/latest/user_data", 9),
            Err(Error::TooLarge { limit: 9, .. })
        ));
        assert!(drive.read("openstack/latest/none", 9).unwrap().is_none());
        assert!(drive.read("openstack/latest/link", 100).is_err());
        assert!(drive.read("../secret", 100).is_err());
    }
}
