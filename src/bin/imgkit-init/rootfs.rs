//! The root file system and what is mounted over it.
//!
//! The kernel's first root file system cannot be pivoted away from, and runc pivots: a bind mount of it moved over itself can. So
//! nothing is copied. What is mounted where follows LinuxKit's rc.init: the image's own `/run`, `/tmp` and `/var` are hidden by empty
//! file systems in memory, and the root is read-only.

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat, statfs};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_move, mount_remount};
use rustix::process::{chdir, chroot, umask};

use crate::error::{Context, Error};
use crate::xattrs;

/// `statfs` type of tmpfs (linux/magic.h).
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// `statfs` type of ramfs (linux/magic.h).
const RAMFS_MAGIC: u64 = 0x8584_58f6;

const NODEV: MountFlags = MountFlags::NODEV;
const NOEXEC: MountFlags = MountFlags::NOEXEC;
const NOSUID: MountFlags = MountFlags::NOSUID;
const RELATIME: MountFlags = MountFlags::RELATIME;

/// Kernel file systems that a kernel may lack.
const OPTIONAL: &[(&str, &str)] = &[
    ("securityfs", "/sys/kernel/security"),
    ("debugfs", "/sys/kernel/debug"),
    ("configfs", "/sys/kernel/config"),
    ("fusectl", "/sys/fs/fuse/connections"),
    ("pstore", "/sys/fs/pstore"),
    ("bpf", "/sys/fs/bpf"),
    ("efivarfs", "/sys/firmware/efi/efivars"),
    ("binfmt_misc", "/proc/sys/fs/binfmt_misc"),
];

/// Standard directories of `/var` and their modes.
const VAR: &[(&str, u32)] = &[
    ("/var/cache", 0o755),
    ("/var/empty", 0o555),
    ("/var/lib", 0o755),
    ("/var/local", 0o755),
    ("/var/lock", 0o755),
    ("/var/log", 0o755),
    ("/var/opt", 0o755),
    ("/var/spool", 0o755),
    ("/var/tmp", 0o1777),
];

/// Makes the root file system ready for containers; returns how many extended attributes it got.
///
/// # Errors
///
/// The first mount that fails, without any one of which containers cannot run; the first extended attribute that is not applied.
pub(crate) fn prepare() -> Result<usize, Error> {
    umask(Mode::empty());
    if is_first_root()? {
        leave_first_root()?;
    }
    let attributes = xattrs::apply(Path::new("/"))?;
    mount_at("proc", "/proc", "proc", NODEV | NOSUID | NOEXEC | RELATIME, c"")?;
    // An immutable node's root stays as it was verified; a root that is read-only already (squashfs, erofs) refuses this.
    let _ = mount_remount("/", MountFlags::RDONLY, "");
    mount_at(
        "tmpfs",
        "/run",
        "tmpfs",
        NODEV | NOSUID | NOEXEC | RELATIME,
        c"size=10%,mode=755",
    )?;
    mount_at(
        "tmpfs",
        "/tmp",
        "tmpfs",
        NODEV | NOSUID | NOEXEC | RELATIME,
        c"size=10%,mode=1777",
    )?;
    mount_at(
        "tmpfs",
        "/var",
        "tmpfs",
        NODEV | NOSUID | NOEXEC | RELATIME,
        c"size=50%,mode=755",
    )?;
    for (path, mode) in VAR {
        make_dir(path, *mode)?;
    }
    symlink("/run", "/var/run").at("make the link", "/var/run")?;
    devices()?;
    mount_at("sysfs", "/sys", "sysfs", NODEV | NOSUID | NOEXEC, c"")?;
    for (kind, path) in OPTIONAL {
        let _ = mount_at(kind, path, kind, NODEV | NOSUID | NOEXEC, c"");
    }
    mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", NODEV | NOSUID | NOEXEC, c"")?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED).at("share the mounts below", "/")?;
    umask(Mode::from_raw_mode(0o022));
    resolv_conf()?;
    Ok(attributes)
}

/// Says whether the root is the one that the kernel unpacked the initramfs into.
fn is_first_root() -> Result<bool, Error> {
    let kind = statfs("/").at("examine", "/")?.f_type as u64;
    Ok(kind == TMPFS_MAGIC || kind == RAMFS_MAGIC)
}

/// Puts a bind mount of the first root over it.
fn leave_first_root() -> Result<(), Error> {
    fs::create_dir_all("/mnt").at("make the directory", "/mnt")?;
    mount_bind("/", "/mnt").at("bind / at", "/mnt")?;
    chdir("/mnt").at("enter", "/mnt")?;
    mount_move(".", "/").at("move over / the mount at", "/mnt")?;
    chroot(".").at("make the root of", "/mnt")?;
    chdir("/").at("enter", "/")
}

/// Mounts `/dev` and fills it with what the kernel does not put there.
fn devices() -> Result<(), Error> {
    mount_at(
        "dev",
        "/dev",
        "devtmpfs",
        NOSUID | NOEXEC | RELATIME,
        c"size=10m,nr_inodes=248418,mode=755",
    )?;
    let nodes = [
        ("console", 0o600, 5, 1),
        ("tty", 0o666, 5, 0),
        ("null", 0o666, 1, 3),
        ("kmsg", 0o660, 1, 11),
    ];
    for (name, mode, major, minor) in nodes {
        // devtmpfs has made those that it knows of.
        let _ = mknodat(
            CWD,
            format!("/dev/{name}"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(mode),
            makedev(major, minor),
        );
    }
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    for (name, target) in links {
        let _ = symlink(target, format!("/dev/{name}"));
    }
    make_dir("/dev/mqueue", 0o1777)?;
    make_dir("/dev/shm", 0o1777)?;
    make_dir("/dev/pts", 0o755)?;
    mount_at("mqueue", "/dev/mqueue", "mqueue", NODEV | NOSUID | NOEXEC, c"")?;
    mount_at("shm", "/dev/shm", "tmpfs", NODEV | NOSUID | NOEXEC, c"mode=1777")?;
    mount_at(
        "devpts",
        "/dev/pts",
        "devpts",
        NOSUID | NOEXEC,
        c"gid=5,mode=0620,ptmxmode=0666",
    )
}

/// Makes the file that the root's `/etc/resolv.conf` links to, so that a container can write to it.
fn resolv_conf() -> Result<(), Error> {
    let Ok(target) = fs::read_link("/etc/resolv.conf") else {
        return Ok(());
    };
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).at("make the directory", parent)?;
    }
    fs::write(&target, b"").at("make", &target)
}

/// Mounts one file system and names the place when that fails.
fn mount_at(source: &str, target: &str, kind: &str, flags: MountFlags, data: &CStr) -> Result<(), Error> {
    mount(source, target, kind, flags, data).at("mount", target)
}

/// Makes a directory with exactly this mode.
fn make_dir(path: &str, mode: u32) -> Result<(), Error> {
    fs::create_dir_all(path).at("make the directory", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).at("set the mode of", path)
}
