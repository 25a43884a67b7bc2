//! Which byte differs, and whose it is.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use super::SPANS;
use crate::disk::extents::Owner;
use crate::disk::merkle::{Merkle, Node, find_single_bit, span};
use crate::disk::{ReadAt, Slice};
use crate::failure::{Code, Refusal};
use crate::seal::Evidence;

/// Reads the nodes above the spans.
pub(super) fn spans(evidence: &Evidence) -> Vec<Node> {
    let bytes = evidence.document(SPANS).unwrap_or_default();
    bytes.as_chunks().0.to_vec()
}

/// Finds the one bit that was flipped within a range, if it was one bit.
pub(super) fn locate(evidence: &Evidence, guest: &Arc<dyn ReadAt>, range: &Range<u64>) -> Option<(u64, u8)> {
    let nodes = spans(evidence);
    let span = span(guest.len());
    let first = range.start / span;
    let last = range.end.div_ceil(span);
    // Only the spans of this range are hashed, not the whole disk; only one that differs is searched.
    (first..last).find_map(|at| {
        let node = nodes.get(usize::try_from(at).ok()?)?;
        let range = at * span..((at + 1) * span).min(guest.len());
        let slice = Slice::new(Arc::clone(guest), range.start, range.end - range.start)?;
        let found = Merkle::of(&slice, 0..0).ok()?.root;
        if found == *node {
            None
        } else {
            single_bit(guest, &range, node)
        }
    })
}

/// Finds the one bit of a span that was flipped.
pub(super) fn single_bit(guest: &Arc<dyn ReadAt>, range: &Range<u64>, node: &Node) -> Option<(u64, u8)> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
    guest.read_exact_at(&mut bytes, range.start).ok()?;
    let (byte, bit) = find_single_bit(&bytes, node)?;
    Some((range.start + byte as u64, bit))
}

/// Refuses bytes by their owner's name, and the one bit's where it is known.
pub(super) fn wrong_bytes(
    subject: &str,
    owner: &Owner,
    range: Range<u64>,
    exact: Option<(u64, u8)>,
    expected: &dyn Display,
) -> Refusal {
    let subject = format!("{owner} of {subject}");
    let found = match exact {
        Some((byte, bit)) => format!("bit {bit} of byte {byte} is flipped"),
        None => format!("other bytes between {} and {}", range.start, range.end),
    };
    let advice = "get the disk again; somebody or something changed it after it was sealed";
    let refusal = Refusal::new(
        Code::BytesMismatch,
        subject,
        format!("the bytes of {expected}"),
        found,
        advice,
    );
    refusal.at_byte(exact.map_or(range.start, |(byte, _)| byte))
}
