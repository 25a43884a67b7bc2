//! `imgkit-init`, a node's first process: a small static program that boots LinuxKit's layout without a shell or a copy of the root.
//!
//! - boot: [`rootfs`] with its [`xattrs`], [`system`], [`modules`], in the order that [`node`] gives
//! - containers: [`bundle`] is one's directory, [`volumes`] what they share; [`onboot`] runs them to their end with [`runc`]; [`services`] keeps them running with [`containerd`]
//! - process 1's duties: [`reaper`], [`control`], [`shutdown`], [`console`]
//! - when it is not process 1: [`tool`]

mod backoff;
mod bundle;
mod console;
mod containerd;
mod control;
mod error;
mod modules;
mod netlink;
mod node;
mod onboot;
mod reaper;
mod rootfs;
mod runc;
mod services;
mod shutdown;
mod system;
mod tool;
mod volumes;
mod xattrs;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        node::live();
    }
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    match tool::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed, the exit status has to do.
            let _ = writeln!(std::io::stderr(), "imgkit-init: {error}");
            ExitCode::FAILURE
        }
    }
}
