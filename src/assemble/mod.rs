//! The pure part of making an image, shared by the builder and by the verifier, which does it again and compares.
//!
//! - [`image`] lays a specification's root file system out and divides it into boot files and initrd.
//! - [`plan`] turns the parts of the root file system into the segments of an initrd.
//! - [`bios`] puts the files of a bootable disk in their places.
//! - [`grub`] writes the boot loader's configuration.

pub mod bios;
pub mod grub;
pub mod image;
pub mod plan;

pub use image::{GENERATED, Image};
pub use plan::{Override, Part, Plan, PlanError, Segment};
