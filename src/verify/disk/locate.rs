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
    let length = span(guest.len());
    let within = |(byte, _): &(u64, u8)| range.contains(byte);
    // Only the spans of this range are hashed, not the whole disk; only one that differs is searched.
    (range.start / length..range.end.div_ceil(length)).find_map(|at| {
        let node = nodes.get(usize::try_from(at).ok()?)?;
        let span = at * length..((at + 1) * length).min(guest.len());
        let slice = Slice::new(Arc::clone(guest), span.start, span.end - span.start)?;
        let found = Merkle::of(&slice, 0..0).ok()?.root;
        match found == *node {
            true => None,
            false => single_bit(guest, &span, node).filter(within),
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
