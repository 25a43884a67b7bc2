//! The gate: the only place that can mint [`Verified`].
//!
//! What `build` puts on a disk and what `run` boots is a `Verified<_>`; there is no other way to make one than the checks in this
//! module's children. The field is private to this module, and nothing here is conditional on a feature or configuration.

pub mod anchors;
mod attested;
pub mod component;
pub mod disk;
pub mod files;
mod fresh;
pub mod image;
mod input;
mod notary;
pub mod pins;
mod records;
mod report;
mod requirement;
mod seal;

pub use anchors::{Anchor, Anchors, Metadata};
pub use attested::{attested_name, documents};
pub use component::{Component, Explanation, Gate, Standing, Supply, tree_mismatch, unsafe_accept_unsigned};
pub use disk::Disk;
pub use image::{Memory, Question, explain_seal};
pub use input::{InputState, InputVerdict, admit_inputs, unjudged_inputs};
pub use notary::NotaryAnchor;
pub use pins::{NotaryPin, Pins};
pub use report::{ComponentReport, DiskReport, ExtentReport, SealedReport, State, Times};
pub use requirement::{Answer, Outcome, Stand, Weighed, Weight};
pub use seal::{SealSigners, trust_name};

use std::ops::Deref;

/// A value that passed every check its kind demands, with the evidence inside it.
///
/// It can be read, not changed: no `DerefMut`, no `From`, no `Default`, no `Deserialize`.
#[derive(Clone, Debug)]
pub struct Verified<T>(T);

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
