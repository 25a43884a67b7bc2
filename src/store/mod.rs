//! Where bytes live: all disk and network access of the house below `build`.
//!
//! - [`layout`]: the local store of images, an OCI layout.
//! - [`file`]: files that are whole or absent, bounded reads, locks; [`spool`]: contents on their way through a build.
//! - Nothing read here is trusted: what has a digest is hashed on every read (law of the gate 10).
//! - Paths are arguments; nothing here reads the environment or the clock.

pub mod file;
pub mod layout;
pub mod spool;
