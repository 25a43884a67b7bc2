//! Boots a verified disk in QEMU: exactly the bytes that were verified, never again read by name.

mod config_drive;
mod console;
mod qemu;

pub use config_drive::ConfigDrive;
pub use console::{Console, Ending};
pub use qemu::{Machine, boot};
