//! One collection through the rotations of its root: whether what is trusted now is what was trusted before.
//!
//! - A collection is known by its root files, byte for byte: by those that lead from the pinned one to the newest.
//! - Two have one in common, or one leads to the other root by root, each signed by the one before: then they are the same.
//! - What a policy calls it, and where it is kept, says nothing.

use super::chain::Chain;
use crate::time::Time;

/// A collection, as far as its root files tell.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    roots: Vec<Vec<u8>>,
    offered: Vec<Vec<u8>>,
}

impl Lineage {
    /// Takes the root files that were proved, the pinned one first, and others that came along and prove nothing by themselves.
    pub fn new(roots: Vec<Vec<u8>>, offered: Vec<Vec<u8>>) -> Self {
        Self { roots, offered }
    }

    /// Returns the root files that were proved, the pinned one first.
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }

    /// Tells whether the root file `earlier`, which was trusted before, leads to the pinned one; `more` are further files on the way.
    pub fn continues(&self, earlier: &[u8], more: &[Vec<u8>]) -> bool {
        let (Some(pin), Ok(mut chain)) = (self.roots.first(), Chain::pinned(earlier, Time::EPOCH)) else {
            return false;
        };
        loop {
            if chain.newest_root().bytes() == pin.as_slice() {
                return true;
            }
            let mut files = std::iter::once(pin).chain(&self.offered).chain(more);
            match files.find_map(|file| chain.clone().root(file).ok()) {
                Some(next) => chain = next,
                None => return false,
            }
        }
    }
}
