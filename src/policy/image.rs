//! What a finished image, and the inputs that are no components, must be.

use std::collections::BTreeMap;

use super::Signers;
use crate::cmdline::Parameter;
use crate::digest::Digest;
use crate::failure::Place;

/// The forms of images that `formats:` may name: raw and qcow2 disks are `disk`, the others are sets of files.
pub const FORMATS: [&str; 3] = ["disk", "kernel+initrd", "tar"];

/// What node.yml and the files it names must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecRequirement {
    /// One of these SHA-256 digests.
    Digests(Vec<Digest>),
    /// A signed target, `spec/NAME`.
    Signed(Signers),
}

/// What a finished image must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRequirement {
    /// Its name, if only one is good.
    pub name: Option<String>,
    /// Its architecture, if only one is good.
    pub arch: Option<String>,
    /// What its specification says it is for, if only that is good.
    pub profile: Option<String>,
    /// The forms that it may have, of [`FORMATS`]; any where nothing is said.
    pub formats: Option<Vec<String>>,
    /// Who may seal it; without it no disk can be verified against this policy.
    pub sealed: Option<Signers>,
    /// Whether every component must be proved.
    pub proved: bool,
    /// The lowest epoch that is good.
    pub min_epoch: u64,
    /// How many seconds may lie between the build's evaluation and now.
    pub max_age: Option<i64>,
    /// Parameters of the kernel command line that are allowed besides the harmless ones.
    pub cmdline: Vec<Parameter>,
    /// Where each of these stands, by its key.
    pub(super) places: BTreeMap<&'static str, Place>,
}

impl ImageRequirement {
    /// Returns where the policy says what it does under `key`: `name`, `arch`, `sealed` …
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }

    /// Puts what `over` says over what this says, key by key.
    pub(super) fn overlaid(mut self, over: Self) -> Self {
        for (key, place) in &over.places {
            match *key {
                "arch" => self.arch.clone_from(&over.arch),
                "cmdline" => self.cmdline.clone_from(&over.cmdline),
                "formats" => self.formats.clone_from(&over.formats),
                "maxAge" => self.max_age = over.max_age,
                "minEpoch" => self.min_epoch = over.min_epoch,
                "name" => self.name.clone_from(&over.name),
                "profile" => self.profile.clone_from(&over.profile),
                "proved" => self.proved = over.proved,
                "sealed" => self.sealed.clone_from(&over.sealed),
                _ => {}
            }
            self.places.insert(key, place.clone());
        }
        self
    }
}
