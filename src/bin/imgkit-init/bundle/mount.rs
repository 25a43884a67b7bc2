//! A mount of `runtime.json`: from options as in fstab(5) to system calls.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_remount,
};

use super::runtime::Mount;
use crate::error::{Context, Error};

/// Options of a mount, sorted by the system call that each belongs to.
#[derive(Debug, PartialEq)]
struct Options {
    remount: bool,
    /// `Some(true)` for a recursive one.
    bind: Option<bool>,
    propagation: Vec<MountPropagationFlags>,
    flags: MountFlags,
    data: Vec<String>,
}

/// Makes one mount, its mount point, and the directories that an overlay writes to.
pub(crate) fn perform(wanted: &Mount, target: &Path) -> Result<(), Error> {
    fs::create_dir_all(target).at("make the mount point", target)?;
    let options = Options::parse(&wanted.options);
    for folder in options
        .data
        .iter()
        .filter_map(|item| item.strip_prefix("upperdir=").or(item.strip_prefix("workdir=")))
    {
        fs::create_dir_all(folder).at("make the overlay's directory", folder)?;
    }
    let data = CString::new(options.data.join(","))
        .map_err(io::Error::from)
        .at("read the mount options of", target)?;
    if options.remount {
        mount_remount(target, options.flags, data.as_c_str()).at("remount", target)?;
    } else if let Some(recursive) = options.bind {
        let call = if recursive { mount_bind_recursive } else { mount_bind };
        call(wanted.source.as_str(), target).at("bind to", target)?;
        if !options.flags.is_empty() {
            // The kernel heeds flags of a bind mount only when it is mounted again.
            mount_remount(target, options.flags | MountFlags::BIND, c"").at("remount", target)?;
        }
    } else {
        mount(
            wanted.source.as_str(),
            target,
            wanted.kind.as_str(),
            options.flags,
            data.as_c_str(),
        )
        .at("mount", target)?;
    }
    options
        .propagation
        .iter()
        .try_for_each(|kind| mount_change(target, *kind).at("change the propagation of", target))
}

impl Options {
    /// Sorts options; what is no flag is data for the file system.
    fn parse(options: &[String]) -> Options {
        let mut sorted = Options {
            remount: false,
            bind: None,
            propagation: Vec::new(),
            flags: MountFlags::empty(),
            data: Vec::new(),
        };
        for option in options {
            match option.as_str() {
                "defaults" => {}
                "remount" => sorted.remount = true,
                "bind" => sorted.bind = Some(sorted.bind.unwrap_or(false)),
                "rbind" => sorted.bind = Some(true),
                other => match (propagation(other), flag(other)) {
                    (Some(kind), _) => sorted.propagation.push(kind),
                    (None, Some((flag, set))) => sorted.flags.set(flag, set),
                    (None, None) => sorted.data.push(other.to_owned()),
                },
            }
        }
        sorted
    }
}

/// Returns the propagation that an option names; a leading `r` makes it recursive.
fn propagation(option: &str) -> Option<MountPropagationFlags> {
    let kind = |name: &str| match name {
        "private" => Some(MountPropagationFlags::PRIVATE),
        "shared" => Some(MountPropagationFlags::SHARED),
        "slave" => Some(MountPropagationFlags::DOWNSTREAM),
        "unbindable" => Some(MountPropagationFlags::UNBINDABLE),
        _ => None,
    };
    kind(option).or_else(|| Some(kind(option.strip_prefix('r')?)? | MountPropagationFlags::REC))
}

/// Returns the flag that an option names, and whether it sets or clears it.
fn flag(option: &str) -> Option<(MountFlags, bool)> {
    Some(match option {
        "async" => (MountFlags::SYNCHRONOUS, false),
        "atime" => (MountFlags::NOATIME, false),
        "dev" => (MountFlags::NODEV, false),
        "diratime" => (MountFlags::NODIRATIME, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "noatime" => (MountFlags::NOATIME, true),
        "nodev" => (MountFlags::NODEV, true),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "noexec" => (MountFlags::NOEXEC, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "nostrictatime" => (MountFlags::STRICTATIME, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "relatime" => (MountFlags::RELATIME, true),
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "suid" => (MountFlags::NOSUID, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        Options::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn sorts_flags_from_data() {
        let options = parse(&["nosuid", "ro", "rw", "lowerdir=/a", "size=10%", "defaults"]);
        assert_eq!(options.flags, MountFlags::NOSUID);
        assert_eq!(options.data, ["lowerdir=/a", "size=10%"]);
    }

    #[test]
    fn keeps_remount_and_propagation_apart() {
        let options = parse(&["remount", "private"]);
        assert!(options.remount && options.data.is_empty());
        assert_eq!(options.propagation, [MountPropagationFlags::PRIVATE]);
    }

    #[test]
    fn knows_recursive_binds_and_propagations() {
        let options = parse(&["rbind", "bind", "rshared"]);
        assert_eq!(options.bind, Some(true));
        assert_eq!(
            options.propagation,
            [MountPropagationFlags::SHARED | MountPropagationFlags::REC]
        );
    }
}
