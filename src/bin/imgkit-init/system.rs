//! What a boot sets once: loopback, limits, the host name, the kernel's helper for modules, the console's key for a reboot.

use std::fs;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::system::{RebootCommand, reboot, sethostname, uname};

use crate::error::{Context, Error};
use crate::netlink;

/// Open files per process, soft and hard: LinuxKit's figure, and systemd's for services.
const OPEN_FILES: u64 = 1_048_576;

/// Sets what does not depend on devices.
pub(crate) fn prepare() -> Result<(), Error> {
    netlink::set_up("lo")?;
    limit(Resource::Nofile, Some(OPEN_FILES))?;
    limit(Resource::Nproc, None)?;
    // Ctrl-alt-del is to reach us as a signal, so that services are stopped first.
    reboot(RebootCommand::CadOff).doing("take over ctrl-alt-del")?;
    // The kernel asks for modules (a file system's, a protocol's) through a program: this one again, as a tool.
    let setting = "/proc/sys/kernel/modprobe";
    let program = std::env::current_exe().doing("find out this program's own path")?;
    fs::write(setting, program.as_os_str().as_encoded_bytes()).at("write", setting)
}

/// Sets the host name: `/etc/hostname`, else `linuxkit-` and the first interface's address, else the kernel's.
pub(crate) fn set_hostname() -> Result<(), Error> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let current = uname().nodename().to_string_lossy().into_owned();
    match hostname(&read("/etc/hostname"), &current, &read("/sys/class/net/eth0/address")) {
        Some(name) => sethostname(name.as_bytes()).doing("set the host name"),
        None => Ok(()),
    }
}

/// Chooses the host name; `None` leaves the kernel's.
fn hostname(configured: &str, current: &str, address: &str) -> Option<String> {
    if !configured.is_empty() {
        return Some(configured.to_owned());
    }
    let unset = current.is_empty() || current == "(none)";
    (unset && !address.is_empty()).then(|| format!("linuxkit-{}", address.replace(':', "")))
}

/// Sets a limit, soft and hard; `None` is no limit.
fn limit(resource: Resource, value: Option<u64>) -> Result<(), Error> {
    setrlimit(
        resource,
        Rlimit {
            current: value,
            maximum: value,
        },
    )
    .doing("set a resource limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_the_images_host_name_then_the_kernels_then_the_address() {
        assert_eq!(
            hostname("node1", "(none)", "52:54:00:12:34:56").as_deref(),
            Some("node1")
        );
        assert_eq!(hostname("", "from-cmdline", "52:54:00:12:34:56"), None);
        assert_eq!(
            hostname("", "(none)", "52:54:00:12:34:56").as_deref(),
            Some("linuxkit-525400123456")
        );
        assert_eq!(hostname("", "(none)", ""), None);
    }
}
