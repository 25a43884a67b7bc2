//! The `content` digest: one value for what a guest sees of a disk, whatever container it is in (law 3 of the disk).
//!
//! - Leaves are 4 KiB of the disk in order, the last one shorter where the length is no multiple; the seal's extent counts as zeros.
//! - The tree is RFC 6962's (section 2.1): a leaf is SHA-256 of 0x00 and its bytes, a node of 0x01 and its two children; of n
//!   leaves the left child has the largest power of two that is less than n.
//! - `content` is SHA-256 of the text `imgkit content 1` and a newline, the length (u64) and the leaf size (u32), both
//!   little-endian, and the root.
//! - The nodes above equal *spans* of the disk are kept, so that a verifier can say where a disk differs.

use std::io;
use std::ops::Range;
use std::sync::LazyLock;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{ReadAt, is_zero};
use crate::digest::Digest;
use crate::limit;

/// Length of a leaf in bytes.
pub const LEAF: usize = 4096;

/// Shortest span in bytes.
const LEAST_SPAN: u64 = 16 << 10;

/// How many bytes are read and hashed at once, by one thread: a power of two.
const CHUNK: u64 = 1 << 20;

/// A node of the tree.
pub type Node = [u8; 32];

/// The tree over a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merkle {
    /// Length of the disk in bytes.
    pub length: u64,
    /// The root.
    pub root: Node,
    /// Length of a span in bytes: a power of two, at least 16 KiB and at least a 4096th of the disk.
    pub span: u64,
    /// The nodes above the spans, in order.
    pub nodes: Vec<Node>,
}

impl Merkle {
    /// Hashes a disk, with the bytes of `seal` taken as zeros.
    ///
    /// # Errors
    /// What reading gave.
    pub fn of(disk: &dyn ReadAt, seal: Range<u64>) -> io::Result<Self> {
        Self::by_chunks(disk, seal, CHUNK)
    }

    fn by_chunks(disk: &dyn ReadAt, seal: Range<u64>, size: u64) -> io::Result<Self> {
        let length = disk.len();
        let span = span(length);
        let step = span.min(size);
        let chunks = (0..length.div_ceil(size))
            .into_par_iter()
            .map_init(Vec::new, |buffer, chunk| {
                let start = chunk * size;
                buffer.resize((length - start).min(size) as usize, 0);
                disk.read_exact_at(buffer, start)?;
                blank(buffer, start, &seal);
                Ok(buffer.chunks(step as usize).map(subtree).collect())
            });
        let chunks: Vec<Vec<Node>> = chunks.collect::<io::Result<_>>()?;
        let steps: Vec<Node> = chunks.into_iter().flatten().collect();
        let nodes: Vec<Node> = steps.chunks((span / step) as usize).map(root).collect();
        Ok(Self {
            length,
            root: root(&nodes),
            span,
            nodes,
        })
    }

    /// Returns the `content` digest.
    pub fn content(&self) -> Digest {
        let fields = [
            &b"imgkit content 1\n"[..],
            &self.length.to_le_bytes(),
            &(LEAF as u32).to_le_bytes(),
            &self.root,
        ];
        Digest::sha256(&fields.concat())
    }

    /// Finds the first span whose node is another one in `nodes`, as a range of bytes.
    pub fn first_difference(&self, nodes: &[Node]) -> Option<(usize, Range<u64>)> {
        let at = (0..self.nodes.len().max(nodes.len())).find(|at| self.nodes.get(*at) != nodes.get(*at))?;
        let start = at as u64 * self.span;
        Some((at, start..(start + self.span).min(self.length)))
    }
}

/// Returns the length of the spans of a disk of `length` bytes.
pub fn span(length: u64) -> u64 {
    let least = length.div_ceil(4096).max(LEAST_SPAN);
    least.checked_next_power_of_two().unwrap_or(1 << 63)
}

/// Returns the root over equal, complete subtrees with these nodes (the last may be smaller): over a disk's spans, say.
///
/// Nodes are joined in pairs, level by level; a last one without a partner rises as it is. So every left child is complete,
/// as RFC 6962 has it.
pub fn root(nodes: &[Node]) -> Node {
    let mut level = nodes.to_vec();
    while level.len() > 1 {
        let pairs = level.chunks(2);
        level = pairs.map(pair).collect();
    }
    // The tree over nothing, section 2.1.
    level.first().copied().unwrap_or_else(|| Sha256::digest(b"").into())
}

/// Searches the one bit of `span` that has to be flipped for its node to be `expected`: its byte, and its number from 0.
///
/// `None` when no single bit does it, or the span is longer than [`limit::FLIP_SEARCH_BYTES`].
pub fn find_single_bit(span: &[u8], expected: &Node) -> Option<(usize, u8)> {
    if span.len() > limit::FLIP_SEARCH_BYTES {
        return None;
    }
    let leaves: Vec<Node> = span.chunks(LEAF).map(leaf).collect();
    let search = |(number, bytes): (usize, &[u8])| {
        let path = path(&leaves, number);
        let climb = |node: Node| path.iter().fold(node, |node, step| step.join(node));
        let (byte, bit) = flip(bytes, |node| climb(node) == *expected)?;
        Some((number * LEAF + byte, bit))
    };
    span.par_chunks(LEAF).enumerate().find_map_any(search)
}

/// Fills what of a chunk lies in the seal's extent with zeros.
fn blank(chunk: &mut [u8], start: u64, seal: &Range<u64>) {
    let within = |at: u64| at.saturating_sub(start).min(chunk.len() as u64) as usize;
    let blank = within(seal.start)..within(seal.end);
    if let Some(bytes) = chunk.get_mut(blank) {
        bytes.fill(0);
    }
}

/// Returns the root over a run of leaves.
fn subtree(bytes: &[u8]) -> Node {
    let leaves: Vec<Node> = bytes.chunks(LEAF).map(leaf).collect();
    root(&leaves)
}

fn leaf(bytes: &[u8]) -> Node {
    static ZERO: LazyLock<Node> = LazyLock::new(|| hash_leaf(&[0; LEAF]));
    if bytes.len() == LEAF && is_zero(bytes) {
        *ZERO
    } else {
        hash_leaf(bytes)
    }
}

fn hash_leaf(bytes: &[u8]) -> Node {
    Sha256::new_with_prefix([0]).chain_update(bytes).finalize().into()
}

fn join(left: &Node, right: &Node) -> Node {
    Sha256::new_with_prefix([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

fn pair(nodes: &[Node]) -> Node {
    match nodes {
        [left, right] => join(left, right),
        [alone, ..] => *alone,
        [] => Node::default(),
    }
}

/// A neighbour on the way from a leaf to the root.
enum Step {
    Left(Node),
    Right(Node),
}

impl Step {
    fn join(&self, node: Node) -> Node {
        match self {
            Self::Left(left) => join(left, &node),
            Self::Right(right) => join(&node, right),
        }
    }
}

/// Lists the neighbours that a leaf's node is joined with, from below.
fn path(leaves: &[Node], mut number: usize) -> Vec<Step> {
    let mut path = Vec::new();
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        if number % 2 == 1 {
            path.extend(level.get(number - 1).map(|node| Step::Left(*node)));
        } else {
            path.extend(level.get(number + 1).map(|node| Step::Right(*node)));
        }
        level = level.chunks(2).map(pair).collect();
        number /= 2;
    }
    path
}

/// Tries every bit of a leaf; the hash up to the block that holds the bit is computed once.
fn flip(bytes: &[u8], is_it: impl Fn(Node) -> bool) -> Option<(usize, u8)> {
    const BLOCK: usize = 64;
    // The prefix takes the first byte of the first block.
    let mut before = Sha256::new_with_prefix([0]);
    let mut rest = bytes.to_vec();
    let mut start = 0;
    while start < bytes.len() {
        let here = if start == 0 { BLOCK - 1 } else { BLOCK };
        let end = (start + here).min(bytes.len());
        for at in start..end {
            for bit in 0..8 {
                *rest.get_mut(at)? ^= 1 << bit;
                let node = before.clone().chain_update(rest.get(start..)?).finalize().into();
                *rest.get_mut(at)? ^= 1 << bit;
                if is_it(node) {
                    return Some((at, bit));
                }
            }
        }
        before.update(rest.get(start..end)?);
        start = end;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962, section 2.1, word for word.
    fn mth(leaves: &[&[u8]]) -> Node {
        match leaves {
            [] => Sha256::digest(b"").into(),
            [one] => Sha256::digest([&[0][..], one].concat()).into(),
            more => {
                let k = more.len().next_power_of_two() / 2;
                Sha256::digest([&[1][..], &mth(&more[..k]), &mth(&more[k..])].concat()).into()
            }
        }
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn the_root_is_rfc_6962s_for_every_number_of_leaves() {
        for length in [
            0,
            1,
            4095,
            4096,
            4097,
            5 * 4096,
            100_000,
            1 << 20,
            (1 << 20) + 1,
            (3 << 20) + 4096,
            (9 << 20) + 77,
        ] {
            let disk = noise(length);
            let leaves: Vec<&[u8]> = disk.chunks(LEAF).collect();
            assert_eq!(Merkle::of(&disk, 0..0).unwrap().root, mth(&leaves), "{length}");
        }
    }

    #[test]
    fn zeros_are_hashed_like_other_bytes() {
        let disk = vec![0; (2 << 20) + 5];
        let leaves: Vec<&[u8]> = disk.chunks(LEAF).collect();
        assert_eq!(Merkle::of(&disk, 0..0).unwrap().root, mth(&leaves));
    }

    #[test]
    fn the_content_digest_is_pinned() {
        let content = |disk: Vec<u8>| Merkle::of(&disk, 0..0).unwrap().content().to_string();
        assert_eq!(
            content(Vec::new()),
            "sha256:b18af87661608c950674fe2173e7ab7efc51e91dc315d91120e915591c190b04"
        );
        assert_eq!(
            content(noise(1_500_000)),
            "sha256:2fc928bf3d11b4928a656f5e8bb3131efa8432e204756a9bb28a0465bedf0ab2"
        );
        assert_ne!(content(vec![0; 4096]), content(vec![0; 8192]));
    }

    #[test]
    fn the_seal_counts_as_zeros() {
        let disk = noise((3 << 20) + 100);
        for seal in [
            0..4096,
            (1 << 20) - 5..(1 << 20) + 5,
            0..3 << 20,
            (3 << 20) + 99..(3 << 20) + 100,
            5..5,
        ] {
            let mut blank = disk.clone();
            blank[seal.start as usize..seal.end as usize].fill(0);
            assert_eq!(Merkle::of(&disk, seal).unwrap(), Merkle::of(&blank, 0..0).unwrap());
        }
    }

    #[test]
    fn spans_are_4096_at_most_and_make_the_root() {
        for (length, expected) in [
            (0, 16 << 10),
            (64 << 20, 16 << 10),
            ((64 << 20) + 1, 32 << 10),
            (1 << 30, 256 << 10),
            (u64::MAX, 1 << 52),
        ] {
            assert_eq!(span(length), expected);
        }
        let merkle = Merkle::of(&noise(1_000_000), 0..0).unwrap();
        assert_eq!(merkle.nodes.len(), 62);
        assert_eq!(root(&merkle.nodes), merkle.root);
    }

    #[test]
    fn the_tree_does_not_depend_on_how_the_disk_is_read() {
        for length in [1, 4096, 50_000, 1 << 20, 3_000_001] {
            let disk = noise(length);
            let merkle = Merkle::of(&disk, 100..9000).unwrap();
            for size in [4096, 8192, 1 << 16] {
                assert_eq!(Merkle::by_chunks(&disk, 100..9000, size).unwrap(), merkle);
            }
        }
    }

    #[test]
    fn finds_the_flipped_bit() {
        for length in [1, 62, 63, 64, 4096, 16 << 10, (16 << 10) - 100] {
            let good = noise(length);
            let node = subtree(&good);
            for bit in [0, 7, length * 4, length * 8 - 1] {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(
                    find_single_bit(&bad, &node),
                    Some((bit / 8, (bit % 8) as u8)),
                    "{length}"
                );
            }
            assert_eq!(find_single_bit(&good, &node), None);
        }
        assert_eq!(
            find_single_bit(&vec![0; limit::FLIP_SEARCH_BYTES + 1], &Node::default()),
            None
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_change_is_found_in_its_span(length in 1..3_000_000usize, at: prop::sample::Index, by in 1..=255u8) {
            let good = noise(length);
            let mut bad = good.clone();
            let at = at.index(length);
            bad[at] ^= by;
            let (good, bad) = (Merkle::of(&good, 0..0).unwrap(), Merkle::of(&bad, 0..0).unwrap());
            prop_assert_ne!(good.content(), bad.content());
            let (_, range) = bad.first_difference(&good.nodes).unwrap();
            prop_assert!(range.contains(&(at as u64)));
        }
    }
}
