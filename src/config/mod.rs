//! What people write: LinuxKit's YAML, component labels, and what becomes of them.
//!
//! - Strict: what is not understood is an error with file, line and column, never ignored.
//! - Pure: bytes in, values out; sources of files and images are handed in by the caller.

pub mod yaml;
