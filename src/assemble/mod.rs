//! The pure part of making an image, shared by the builder and by the verifier, which does it again and compares.
//!
//! - [`plan`] turns the parts of the root file system into the segments of an initrd.
//! - [`grub`] writes the boot loader's configuration.

pub mod grub;
pub mod plan;

pub use plan::{Override, Part, Plan, PlanError, Segment};
