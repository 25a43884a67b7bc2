//! The machine: QEMU's command line, and the process that it is.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use regex_lite::Regex;
use rustix::fs::{Mode, OFlags};

use super::{ConfigDrive, Console, Ending};
use crate::failure::Failure;

const QEMU: &str = "qemu-system-x86_64";

/// What the machine has besides its disk.
#[derive(Debug)]
pub struct Machine {
    /// QEMU's accelerator: `tcg` or `kvm`.
    pub accelerator: String,
    /// Memory in MiB.
    pub memory: u32,
    /// Port of 127.0.0.1 that leads to the guest's port 22.
    pub ssh_port: Option<u16>,
    /// A config drive, attached before the boot drive.
    pub config_drive: Option<ConfigDrive>,
    /// Ends the run when a line of the console matches.
    pub exit_on: Option<Regex>,
    /// Ends the run when it is over.
    pub timeout: Option<Duration>,
    /// Whether standard input leads to the guest's console.
    pub interactive: bool,
}

/// Boots `disk` (raw or qcow2, as `format` says) and copies its console to `console` until the run ends.
///
/// QEMU gets the open file, not a name: what is booted is what the caller verified. The disk is read-only below a
/// throw-away overlay.
///
/// # Errors
/// [`Failure::Unavailable`] when QEMU is missing, does not start, or fails.
pub fn boot(
    disk: BorrowedFd<'_>,
    format: &str,
    machine: &Machine,
    console: &mut (dyn Write + Send),
) -> Result<Ending, Failure> {
    let cannot = |error: io::Error| Failure::unavailable(QEMU, error);
    let disk = inheritable(disk).map_err(cannot)?;
    let drive = match &machine.config_drive {
        Some(drive) => Some(unnamed_file(&drive.image()?).map_err(cannot)?),
        None => None,
    };
    let mut command = command(
        machine,
        format,
        disk.as_raw_fd(),
        drive.as_ref().map(AsRawFd::as_raw_fd),
    );
    let child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::unavailable(QEMU, "it is not installed; on Debian: apt-get install qemu-system-x86")
        }
        _ => Failure::unavailable(QEMU, error),
    })?;
    let mut running = Running(child);
    let ending = watch(&mut running, machine, console).map_err(cannot)?;
    match ending {
        Ending::PowerOff => running.finish(),
        _ => Ok(ending),
    }
}

/// A QEMU process that does not outlive this value.
struct Running(Child);

impl Running {
    fn finish(mut self) -> Result<Ending, Failure> {
        let status = self.0.wait().map_err(|error| Failure::unavailable(QEMU, error))?;
        if status.success() {
            Ok(Ending::PowerOff)
        } else {
            Err(Failure::unavailable(
                QEMU,
                format!("it ended with {status}; its message stands above"),
            ))
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the process has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(machine: &Machine, format: &str, disk: i32, drive: Option<i32>) -> Command {
    let mut command = Command::new(QEMU);
    let mut arg = |name: &str, value: String| {
        command.arg(name).arg(value);
    };
    arg("-machine", "q35,usb=off,vmport=off".into());
    arg("-accel", machine.accelerator.clone());
    arg("-cpu", "max".into());
    // Emulated processors in threads of their own lock Debian's kernel up now and then (seen in one boot of five).
    arg("-smp", if machine.accelerator == "tcg" { "1" } else { "2" }.into());
    arg("-m", machine.memory.to_string());
    arg("-display", "none".into());
    arg("-vga", "none".into());
    arg("-monitor", "none".into());
    arg("-serial", "stdio".into());
    if let Some(drive) = drive {
        arg("-add-fd", format!("fd={drive},set=2"));
        arg(
            "-drive",
            "file=/dev/fdset/2,format=raw,if=none,id=config,snapshot=on".into(),
        );
        arg("-device", "virtio-blk-pci,drive=config".into());
    }
    arg("-add-fd", format!("fd={disk},set=1"));
    arg(
        "-drive",
        format!("file=/dev/fdset/1,format={format},if=none,id=boot,snapshot=on"),
    );
    arg("-device", "virtio-blk-pci,drive=boot,bootindex=0".into());
    let forward = machine
        .ssh_port
        .map(|port| format!(",hostfwd=tcp:127.0.0.1:{port}-:22"));
    arg("-netdev", format!("user,id=net0{}", forward.unwrap_or_default()));
    arg("-device", "virtio-net-pci,netdev=net0,romfile=".into());
    arg("-object", "rng-random,id=rng0,filename=/dev/urandom".into());
    arg("-device", "virtio-rng-pci,rng=rng0".into());
    command.arg("-no-reboot");
    command.stdin(if machine.interactive {
        Stdio::inherit()
    } else {
        Stdio::null()
    });
    command.stdout(Stdio::piped());
    command
}

fn watch(running: &mut Running, machine: &Machine, console: &mut (dyn Write + Send)) -> io::Result<Ending> {
    let Some(mut output) = running.0.stdout.take() else {
        return Err(io::Error::other("its console is not connected"));
    };
    let mut watcher = Console::new(machine.exit_on.clone());
    let (done, ended) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let ending = watcher.copy(&mut output, console);
            // The receiver is gone when the time was over first.
            let _ = done.send(ending);
        });
        let ending = match machine.timeout {
            Some(timeout) => ended.recv_timeout(timeout).unwrap_or(Ok(Ending::Timeout)),
            None => ended.recv().unwrap_or(Ok(Ending::PowerOff)),
        };
        if !matches!(ending, Ok(Ending::PowerOff)) {
            // The watcher reads until QEMU's end of the pipe closes; failing means that it has.
            let _ = running.0.kill();
        }
        ending
    })
}

/// Opens what a descriptor stands for again, for reading alone, as QEMU demands of a read-only image; a child inherits it.
fn inheritable(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let again = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(rustix::fs::open(again, OFlags::RDONLY, Mode::empty())?)
}

/// Puts `bytes` into a file without a name that a child inherits.
fn unnamed_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file: File = tempfile::tempfile()?;
    file.write_all(bytes)?;
    inheritable(file.as_fd())
}
