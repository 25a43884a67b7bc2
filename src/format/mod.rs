//! File formats: pure readers and writers between bytes and trees.
//!
//! - Writers are deterministic: the same tree and parameters give the same bytes, on every machine and for any number of threads.
//! - Readers of our own formats are strict: what the writer would not write is refused, so that there is one encoding of a tree.
//! - Readers of others' formats (layers) are bounded: every limit is in [`crate::limit`].

pub mod compress;
pub mod layers;
pub mod tar;
