//! Modules for the devices that are there, and for those that come later.
//!
//! The kernel announces each device on a netlink socket (`ACTION=add`, `MODALIAS=…`). The socket is opened before the first pass
//! over `/sys/bus/*/devices/*/modalias`, so a device that appears in between is seen by one or the other. Passes are repeated while
//! they find names that none before them did: loading virtio_pci makes the virtio devices, and so on.

use std::collections::HashSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with};

use super::Modules;
use crate::error::{Context, Error};

/// Largest announcement that the kernel makes (its UEVENT_BUFFER_SIZE is 2048, and a header stands before it).
const UEVENT_BYTES: usize = 8192;

/// The multicast group of the kernel's own announcements.
const KERNEL_GROUP: u32 = 1;

/// Loads modules for devices.
pub(crate) struct Hotplug {
    modules: Modules,
    announcements: OwnedFd,
    seen: HashSet<String>,
}

impl Hotplug {
    /// Subscribes to the kernel's announcements.
    pub(crate) fn subscribe(modules: Modules) -> Result<Hotplug, Error> {
        let announcements = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(KOBJECT_UEVENT),
        )
        .doing("open the socket for the kernel's device announcements")?;
        bind(&announcements, &SocketAddrNetlink::new(0, KERNEL_GROUP))
            .doing("subscribe to the kernel's device announcements")?;
        Ok(Hotplug {
            modules,
            announcements,
            seen: HashSet::new(),
        })
    }

    /// Loads the named modules; returns what went wrong with any of them.
    pub(crate) fn load_wanted(&mut self, names: &[String]) -> Vec<Error> {
        names.iter().filter_map(|name| self.modules.load(name).err()).collect()
    }

    /// Loads modules for every device that is there, until a pass finds nothing new; returns how many passes it took.
    pub(crate) fn load_present(&mut self) -> usize {
        let mut passes = 0;
        loop {
            passes += 1;
            let fresh: Vec<String> = present()
                .into_iter()
                .filter(|name| self.seen.insert(name.clone()))
                .collect();
            if fresh.is_empty() {
                return passes;
            }
            for name in fresh {
                self.load_quietly(&name);
            }
        }
    }

    /// Loads modules for devices as the kernel announces them; returns when the socket fails.
    pub(crate) fn follow(mut self) -> Error {
        loop {
            match self.next_modalias() {
                Ok(Some(name)) if self.seen.insert(name.clone()) => {
                    self.load_quietly(&name);
                    self.load_present();
                }
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Waits for one announcement; `None` when it is not of a new device with a modalias, or not the kernel's.
    fn next_modalias(&self) -> Result<Option<String>, Error> {
        let mut buffer = [0; UEVENT_BYTES];
        let (_, length, sender) = match recvfrom(&self.announcements, &mut buffer, RecvFlags::empty()) {
            // The kernel dropped announcements; a pass over the devices finds what they were about.
            Err(rustix::io::Errno::NOBUFS) => return Ok(present().into_iter().find(|name| !self.seen.contains(name))),
            result => result.doing("receive the kernel's device announcements")?,
        };
        let from_kernel = sender
            .and_then(|sender| SocketAddrNetlink::try_from(sender).ok())
            .is_some_and(|sender| sender.pid() == 0);
        Ok(buffer.get(..length).filter(|_| from_kernel).and_then(added_modalias))
    }

    /// Most devices have no module or need none, so a failure here is no news.
    fn load_quietly(&mut self, name: &str) {
        let _ = self.modules.load(name);
    }
}

/// Reads the modaliases of all devices on a bus, and of input devices, which are on none (the power button needs evdev).
fn present() -> Vec<String> {
    let entries = |path: PathBuf| {
        fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let buses = entries("/sys/bus".into()).map(|bus| bus.join("devices"));
    let devices = buses.chain(["/sys/class/input".into()]).flat_map(entries);
    let names = devices.filter_map(|device| fs::read_to_string(device.join("modalias")).ok());
    names
        .map(|name| name.trim_end().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Returns the modalias of an announcement of a new device: NUL-terminated `KEY=VALUE` strings after a first line.
fn added_modalias(message: &[u8]) -> Option<String> {
    let fields: Vec<&str> = message
        .split(|&byte| byte == 0)
        .filter_map(|field| std::str::from_utf8(field).ok())
        .collect();
    let value = |key: &str| {
        fields
            .iter()
            .find_map(|field| field.strip_prefix(key)?.strip_prefix('='))
    };
    (value("ACTION") == Some("add"))
        .then(|| value("MODALIAS"))
        .flatten()
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_modalias_of_a_new_device() {
        let message = b"add@/devices/pci0000:00/virtio0\0ACTION=add\0DEVPATH=/devices/x\0MODALIAS=virtio:d00000001v00001AF4\0SEQNUM=9\0";
        assert_eq!(added_modalias(message).as_deref(), Some("virtio:d00000001v00001AF4"));
    }

    #[test]
    fn ignores_devices_that_go_and_devices_without_a_modalias() {
        assert_eq!(added_modalias(b"remove@/x\0ACTION=remove\0MODALIAS=virtio:d1\0"), None);
        assert_eq!(added_modalias(b"add@/x\0ACTION=add\0SUBSYSTEM=block\0"), None);
        assert_eq!(added_modalias(b"\xff\xfe"), None);
    }
}
