//! Reading back a disk that nobody can say yes to yet: more signatures are to come, or no policy says who may seal.

use std::io;
use std::sync::Arc;

use super::{read_seal, unreadable};
use crate::assemble::grub;
use crate::digest::Digest;
use crate::disk::extents::{Extents, Owner};
use crate::disk::merkle::Merkle;
use crate::disk::{ReadAt, Slice, Stream};
use crate::failure::Failure;
use crate::seal::Statement;
use crate::seal::statement::SubjectDigest;
use crate::tree::contents::hash_to;

/// Compares a written disk with its statement, and kernel and segments with the bytes that were compared before the seal: the
/// statement says what was written, whatever became of a kept file meanwhile.
///
/// # Errors
/// [`Failure::Unavailable`] that names the part.
pub fn unjudged(
    subject: &str,
    guest: &Arc<dyn ReadAt>,
    extents: &Extents,
    statement: &Statement,
    kernel: Option<Digest>,
    mut segments: impl Iterator<Item = Option<Digest>>,
) -> Result<(), Failure> {
    let (place, _) = read_seal(subject, guest)?;
    let tree = Merkle::of(guest, place.offset..place.offset + place.length);
    let content = tree.map_err(|error| unreadable(subject, &error))?.content();
    let expected = SubjectDigest::Content(content.hex());
    if !statement.subject.iter().any(|subject| subject.digest == expected) {
        let problem = "what was written reads back differently; check this disk";
        return Err(Failure::unavailable(subject, problem));
    }
    for extent in extents.iter() {
        let expected = match &extent.owner {
            Owner::Segment { .. } => segments.next().flatten(),
            Owner::File { name } if name == grub::KERNEL => kernel,
            _ => None,
        };
        let Some(expected) = expected else { continue };
        let part = format!("{} of {subject}", extent.owner);
        let slice = Slice::new(Arc::clone(guest), extent.offset, extent.length)
            .ok_or_else(|| unreadable(&part, &io::ErrorKind::UnexpectedEof.into()))?;
        let found = hash_to(&mut Stream::new(&slice), &mut io::sink());
        let (_, found) = found.map_err(|error| unreadable(&part, &error))?;
        if found != expected {
            let problem = format!(
                "expected {expected}, found {found}: it changed between check and use; check who writes to the store"
            );
            return Err(Failure::unavailable(part, problem));
        }
    }
    Ok(())
}
