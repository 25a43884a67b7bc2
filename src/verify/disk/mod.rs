//! Finished disks: every byte compared with what the seal's evidence make of it.
//!
//! 1. The container is in its one form, and hides nothing ([`crate::format::qcow2`]).
//! 2. The locator leads to the seal; its signatures are good, and the policy admits everything the statement rests on.
//! 3. The image is made again from the evidence; table, file system, locator and padding are compared byte for byte.
//! 4. The boot loader, the kernel and generated files have the digests that their signers signed.
//! 5. The Merkle root over the guest's bytes is the one that the sealer signed.
//! 6. Every segment unpacks to exactly its component's tree (always for generated ones; for all with `files`).

mod bytes;
mod layout;
mod locate;
mod place;
mod unjudged;

pub(super) use bytes::{Bytes, first_difference};
pub use place::read_seal;
pub use unjudged::unjudged;

use std::io;
use std::sync::Arc;

use super::Verified;
use super::image::{Question, judge};
use super::report::DiskReport;
use crate::assemble::Segment;
use crate::digest::Digest;
use crate::disk::ReadAt;
use crate::failure::Failure;
use layout::lay_out;

/// A disk that passed, and what was found on the way.
#[derive(Debug)]
pub struct Disk {
    report: DiskReport,
}

impl Disk {
    pub(super) fn of(report: DiskReport) -> Self {
        Self { report }
    }

    /// Returns what was checked and found.
    pub fn report(&self) -> &DiskReport {
        &self.report
    }
}

/// Which checks are made; all of them outside tests, where each is shown to refuse its class alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checks {
    pub(super) regeneration: bool,
    pub(super) merkle: bool,
}

impl Checks {
    const ALL: Self = Self {
        regeneration: true,
        merkle: true,
    };
}

/// Verifies the bytes that a guest sees of a disk.
///
/// # Errors
/// Refusals that name the owner of the first wrong byte, or why it could not be found out.
pub fn disk(question: &Question<'_>, guest: Arc<dyn ReadAt>) -> Result<Verified<Disk>, Failure> {
    check(question, guest, Checks::ALL, &nothing).map(|report| Verified(Disk { report }))
}

/// What a writer knows of a segment that it unpacked and compared before it sealed: SHA-256 of the segment's bytes.
pub type Compared<'a> = dyn Fn(&Segment) -> Option<Digest> + Sync + 'a;

/// Checks a disk that was just written, as [`disk`] does, but for segments that the writer unpacked and compared before: of those
/// the disk has to hold the same bytes. All others are unpacked.
///
/// # Errors
/// As [`disk`].
pub fn written(question: &Question<'_>, guest: Arc<dyn ReadAt>, compared: &Compared<'_>) -> Result<(), Failure> {
    let question = Question {
        files: true,
        ..*question
    };
    check(&question, guest, Checks::ALL, compared).map(drop)
}

/// [`Compared`] of one who has compared nothing.
pub(super) fn nothing(_: &Segment) -> Option<Digest> {
    None
}

pub(super) fn check(
    question: &Question<'_>,
    guest: Arc<dyn ReadAt>,
    checks: Checks,
    compared: &Compared<'_>,
) -> Result<DiskReport, Failure> {
    let subject = question.subject;
    let (place, sealed) = read_seal(subject, &guest)?;
    let seal_subject = format!("seal of {subject}");
    let judged = judge(
        &Question {
            subject: &seal_subject,
            ..*question
        },
        &sealed,
    )?;
    let layout = lay_out(subject, &judged, &guest, place)?;
    let extents = layout.assembly.extents();
    let files = question.files || judged.needs_proof(question.policy);
    let bytes = Bytes {
        subject,
        judged: &judged,
        guest: &guest,
        extents: &extents,
    };
    let by_parts = || match checks.regeneration {
        true => {
            // What takes longest is begun first.
            let (contents, structures) = rayon::join(
                || bytes.check_contents(files, compared),
                || bytes.check_structures(&layout),
            );
            structures.and(contents)
        }
        false => Ok(()),
    };
    let (by_parts, tree) = rayon::join(by_parts, || checks.merkle.then(|| bytes.tree(place)));
    // Both name owner and byte; what is made again also says what should stand there.
    by_parts?;
    tree.map_or(Ok(()), |tree| bytes.check_root(&tree?))?;
    Ok(DiskReport::new(question, &judged, &extents, files))
}

/// Name of a small file's content in the evidence.
pub fn file_name(digest: &Digest) -> String {
    format!("file/{digest}")
}

/// Name of the Merkle nodes above the spans in the evidence.
pub const SPANS: &str = "spans";

fn unreadable(subject: &str, error: &io::Error) -> Failure {
    Failure::unavailable(subject, format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
