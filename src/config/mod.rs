//! What people write: LinuxKit's YAML, component labels, and what becomes of them.
//!
//! - Strict: what is not understood is an error with file, line and column, never ignored.
//! - Pure: bytes in, values out; sources of files and images are handed in by the caller.

pub mod capability;
pub mod device;
pub mod file;
mod json;
pub mod label;
mod metadata;
pub mod mount;
pub mod namespace;
mod oci;
pub mod privilege;
pub mod resources;
pub mod rlimit;
pub mod rootfs;
pub mod runtime;
pub mod settings;
pub mod spec;
