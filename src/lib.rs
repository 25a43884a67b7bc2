//! imgkit signs, assembles and verifies immutable node images.
//!
//! Data flows upward through floors; a module uses only floors below its own (`tests/layers.rs` asserts it):
//!
//! - floor 0, names: [`cmdline`], [`digest`], [`failure`], [`json`], [`key`], [`limit`], [`mod@reference`], [`time`], [`yaml`]
//! - floor 1, files and disks: [`disk`], [`mod@format`], [`oci`], [`tree`]
//! - floor 2, statements: [`assemble`], [`attest`], [`config`], [`policy`], [`seal`], [`sigstore`], [`trust`]
//! - floor 3, where bytes live: [`store`]
//! - floor 4, the gate: [`verify`]
//! - floor 5, work: [`mod@build`], [`run`], [`trial`]
//! - floor 6, people: [`cli`]

pub mod assemble;
pub mod attest;
pub mod build;
pub mod cli;
pub mod cmdline;
pub mod config;
pub mod digest;
pub mod disk;
pub mod failure;
pub mod format;
pub mod json;
pub mod key;
pub mod limit;
pub mod oci;
pub mod pkg;
pub mod policy;
pub mod reference;
pub mod run;
pub mod seal;
pub mod sigstore;
pub mod store;
pub mod time;
pub mod tree;
pub mod trial;
pub mod trust;
pub mod verify;
pub mod yaml;
