//! The end of the node: every process ended, every disk written and let go, then the machine is told.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::fs::sync;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};
use rustix::system::{RebootCommand, reboot};

use crate::console::Console;
use crate::control::Request;
use crate::error::Error;

/// How long processes may take after SIGTERM: services have had their time before.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether they are gone.
const POLL: Duration = Duration::from_millis(10);

/// File systems that hold nothing beyond the machine's memory.
const IN_MEMORY: &[&str] = &[
    "autofs",
    "bpf",
    "binfmt_misc",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "rootfs",
    "securityfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// Ends all processes, lets disks go and ends the machine; never returns.
pub(crate) fn end(request: Request, console: &Console) -> ! {
    let step = console.begin("processes");
    end_processes();
    step.done();
    let step = console.begin("file systems");
    sync();
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for target in on_disk(&mounts) {
        if unmount(target.as_str(), UnmountFlags::empty()).is_err() {
            // Busy: read-only is as good for what is on the disk.
            let _ = mount_remount(target.as_str(), MountFlags::RDONLY, "");
        }
    }
    sync();
    step.done();
    console.line(request.word());
    let command = match request {
        Request::PowerOff => RebootCommand::PowerOff,
        Request::Reboot => RebootCommand::Restart,
    };
    let refusal = reboot(command);
    console.line(format_args!("{}: FAILED: {refusal:?}", request.word()));
    // PID 1 must not return, or the kernel panics.
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// Ends a boot that failed: as the kernel's `panic=` says for its own failures, else by powering off. Never drops to a shell.
pub(crate) fn give_up(error: &Error, console: &Console) -> ! {
    console.line(format_args!("boot: FAILED: {error}"));
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let request = match panic_seconds(&cmdline) {
        0 => Request::PowerOff,
        seconds => {
            thread::sleep(Duration::from_secs(seconds.try_into().unwrap_or(0)));
            Request::Reboot
        }
    };
    end(request, console)
}

/// Reads `panic=`: seconds until a restart, negative for at once, 0 (or nothing) for no restart.
fn panic_seconds(cmdline: &str) -> i64 {
    let mut values = cmdline
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("panic="));
    values.next_back().and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Signals every process and waits for them; kills those that stay.
fn end_processes() {
    for signal in [Signal::TERM, Signal::KILL] {
        // The group of process 1 is kill(2)'s -1: every process but this one.
        let _ = kill_process_group(Pid::INIT, signal);
        let polls = GRACE.as_millis() / POLL.as_millis();
        for _ in 0..polls {
            if !any_process_left() {
                return;
            }
            thread::sleep(POLL);
        }
    }
}

/// Waits for what has ended; says whether this process, which inherits all others, still has a child.
fn any_process_left() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Lists the mount points of file systems with a disk or server behind them, the last mounted first.
fn on_disk(mounts: &str) -> Vec<String> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut targets: Vec<String> = fields
        .filter_map(|fields| match fields.as_slice() {
            [_, target, kind, ..] if !IN_MEMORY.contains(kind) && *target != "/" => Some(unescaped(target)),
            _ => None,
        })
        .collect();
    targets.reverse();
    targets
}

/// Turns the octal escapes of `/proc/mounts` (`\040`) back.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_go_of_disks_in_the_reverse_order_of_their_mounts() {
        let mounts = "rootfs / rootfs rw 0 0\ntmpfs /var tmpfs rw 0 0\n/dev/vdb /var ext4 rw 0 0\n/dev/vdc /var/a\\040b vfat rw 0 0\noverlay /c overlay rw 0 0\n/dev/vda / squashfs ro 0 0\n";
        assert_eq!(on_disk(mounts), ["/var/a b", "/var"]);
    }

    #[test]
    fn reads_the_kernels_own_option_for_failures() {
        assert_eq!(panic_seconds("console=ttyS0 panic=10 panic=-1 quiet\n"), -1);
        assert_eq!(panic_seconds("console=ttyS0 panic=soon"), 0);
        assert_eq!(panic_seconds(""), 0);
    }
}
