//! Finished disks: every byte compared with what the seal's evidence make of it.
//!
//! 1. The container is in its one form, and hides nothing ([`crate::format::qcow2`]).
//! 2. The locator leads to the seal; its signatures are good, and the policy admits everything the statement rests on.
//! 3. The image is made again from the evidence; table, file system, locator and padding are compared byte for byte.
//! 4. The boot loader, the kernel and generated files have the digests that their signers signed.
//! 5. The Merkle root over the guest's bytes is the one that the sealer signed.
//! 6. Every segment unpacks to exactly its component's tree (always for generated ones; for all with `files`).

use std::io;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::Verified;
use super::image::{Judged, Question, judge};
use super::report::DiskReport;
use crate::assemble::bios::{self, BOOT_IMAGE, BootFiles, CORE_IMAGE, Loader, file_of};
use crate::assemble::{Segment, grub};
use crate::config::spec::Role;
use crate::digest::Digest;
use crate::disk::bios::Disk as Layout;
use crate::disk::extents::{Extents, Owner};
use crate::disk::locator::{self, Locator};
use crate::disk::merkle::{Merkle, Node, find_single_bit};
use crate::disk::{ReadAt, Slice, Stream};
use crate::failure::{Code, Failure, Refusal};
use crate::format::segment::read_segment;
use crate::limit;
use crate::seal::statement::{self, SubjectDigest};
use crate::seal::{Evidence, Sealed};
use crate::tree::contents::{HashOnly, hash_to};
use crate::tree::{Entry, Tree};

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

/// Verifies the bytes that a guest sees of a disk.
///
/// # Errors
/// Refusals that name the owner of the first wrong byte, or why it could not be found out.
pub fn disk(question: &Question<'_>, guest: Arc<dyn ReadAt>) -> Result<Verified<Disk>, Failure> {
    let checks = Checks {
        regeneration: true,
        merkle: true,
    };
    check(question, guest, checks).map(|report| Verified(Disk { report }))
}

/// Finds the seal of a disk and reads it, without judging.
///
/// # Errors
/// A refusal when the disk has none, or one that is not in its form.
pub fn read_seal(subject: &str, guest: &dyn ReadAt) -> Result<(Locator, Sealed), Failure> {
    let mut sector = [0; locator::LENGTH];
    let unsealed = |found: &dyn std::fmt::Display| {
        let advice = "use an image that was sealed; if this one was, get it again";
        Refusal::new(Code::Unsigned, subject, "a disk with imgkit's seal", found, advice).at_byte(locator::OFFSET)
    };
    if guest.len() < locator::OFFSET + locator::LENGTH as u64 {
        return Err(unsealed(&format!("{} bytes, too few for a seal locator", guest.len())).into());
    }
    guest
        .read_exact_at(&mut sector, locator::OFFSET)
        .map_err(|error| unreadable(subject, &error))?;
    let place = Locator::decode(&sector, guest.len()).map_err(|error| unsealed(&format!("seal locator: {error}")))?;
    let seal = format!("seal of {subject}");
    let length = usize::try_from(place.length).unwrap_or(usize::MAX);
    if length > limit::SEAL_BYTES {
        return Err(super::seal::malformed(&seal, format!("it takes {length} bytes")));
    }
    let mut bytes = vec![0; length];
    guest
        .read_exact_at(&mut bytes, place.offset)
        .map_err(|error| unreadable(subject, &error))?;
    let sealed = Sealed::decode(&bytes).map_err(|error| super::seal::malformed(&seal, error))?;
    Ok((place, sealed))
}

pub(super) fn check(question: &Question<'_>, guest: Arc<dyn ReadAt>, checks: Checks) -> Result<DiskReport, Failure> {
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
    let (tree, by_parts) = rayon::join(
        || if checks.merkle { Some(bytes.tree(place)) } else { None },
        || match checks.regeneration {
            true => bytes
                .check_structures(&layout)
                .and_then(|()| bytes.check_contents(files)),
            false => Ok(()),
        },
    );
    // Both name owner and byte; what is made again also says what should stand there.
    by_parts?;
    tree.map_or(Ok(()), |tree| bytes.check_root(&tree?))?;
    let report = DiskReport::new(question, &judged, &extents, files);
    judged.check_proved(question.policy, &report.components)?;
    Ok(report)
}

/// Lays the disk out again from the statement's lengths; contents are read where they should be.
fn lay_out(subject: &str, judged: &Judged, guest: &Arc<dyn ReadAt>, place: Locator) -> Result<Layout, Failure> {
    let predicate = judged.predicate();
    let bad = |error: &dyn std::fmt::Display| super::seal::malformed(&format!("seal of {subject}"), error);
    let statement::Layout::Bios {
        writer,
        length,
        seal_offset,
        seal_length,
    } = predicate.layout
    else {
        return Err(bad(&"it is about separate files, not about a disk"));
    };
    if writer != bios::WRITER {
        return Err(bad(&format!(
            "its disk is laid out by writer {writer}, this imgkit knows {}; use a newer one",
            bios::WRITER
        )));
    }
    if (length, seal_offset, seal_length) != (guest.len(), place.offset, place.length) {
        let expected =
            format!("a disk of {length} bytes with its seal at {seal_offset}, {seal_length} bytes long, as signed");
        let found = format!(
            "{} bytes, its seal at {}, {} bytes long",
            guest.len(),
            place.offset,
            place.length
        );
        let advice = "get the disk again; it was cut, lengthened, or given another disk's seal";
        return Err(Refusal::new(Code::BytesMismatch, subject, expected, found, advice).into());
    }
    judged.check_segments(&format!("seal of {subject}"))?;
    let pairs = judged.image.plan.segments.iter().zip(&predicate.segments);
    let lengths = pairs.map(|(segment, record)| (segment.owner(&judged.spec), length_only(record.length)));
    let kernel = judged
        .image
        .kernel
        .ok_or_else(|| bad(&"its specification has no kernel"))?;
    let files = BootFiles {
        kernel: length_only(kernel.size),
        microcode: judged.image.microcode.map(|file| length_only(file.size)),
        segments: lengths.collect(),
    };
    let loader = loader(subject, judged, guest)?;
    let layout = bios::disk(&judged.image, &predicate.name, &loader, files, place.length);
    let layout = layout.map_err(|error| bad(&error))?;
    if layout.assembly.len() != guest.len() || layout.seal != place {
        let found = format!("{} bytes, its seal at {}", guest.len(), place.offset);
        let expected = format!(
            "a disk of {} bytes with its seal at {}",
            layout.assembly.len(),
            layout.seal.offset
        );
        let advice = "get the disk again; its parts do not add up to it";
        return Err(Refusal::new(Code::BytesMismatch, subject, expected, found, advice).into());
    }
    Ok(layout)
}

/// Takes the boot loader from the evidence and the disk, as its signer signed it.
fn loader(subject: &str, judged: &Judged, guest: &Arc<dyn ReadAt>) -> Result<Loader, Failure> {
    let bad = |problem: &str| super::seal::malformed(&format!("seal of {subject}"), problem);
    let component = judged
        .component(Role::Boot)
        .ok_or_else(|| bad("its specification names no boot loader"))?;
    let (_, boot) = file_of(component.tree(), BOOT_IMAGE).ok_or_else(|| bad("its boot loader has no boot.img"))?;
    let (size, core) = file_of(component.tree(), CORE_IMAGE).ok_or_else(|| bad("its boot loader has no core.img"))?;
    let name = file_name(&boot);
    let boot_image = judged.opened.evidence.document(&name).unwrap_or_default();
    if Digest::sha256(boot_image) != boot {
        return Err(bad(
            "its evidence have no boot.img as the boot loader's signer signed it",
        ));
    }
    let first = crate::disk::mbr::SECTOR;
    let owner = Owner::BootCode {
        component: component.reference().to_string(),
    };
    let core_range = first..first.saturating_add(size).min(locator::OFFSET);
    let mut core_image = vec![0; usize::try_from(core_range.end - core_range.start).unwrap_or(0)];
    guest
        .read_exact_at(&mut core_image, first)
        .map_err(|error| unreadable(subject, &error))?;
    if Digest::sha256(&core_image) != core {
        let located = locate(&judged.opened.evidence, guest, &core_range);
        return Err(wrong_bytes(subject, &owner, core_range, located, &core).into());
    }
    Ok(Loader {
        component: component.reference().to_string(),
        boot: boot_image.to_vec(),
        core: core_image,
    })
}

/// Name of a small file's content in the evidence.
pub fn file_name(digest: &Digest) -> String {
    format!("file/{digest}")
}

/// Name of the Merkle nodes above the spans in the evidence.
pub const SPANS: &str = "spans";

/// The comparison of a disk's bytes.
pub(super) struct Bytes<'a> {
    pub(super) subject: &'a str,
    pub(super) judged: &'a Judged,
    pub(super) guest: &'a Arc<dyn ReadAt>,
    pub(super) extents: &'a Extents,
}

impl Bytes<'_> {
    /// Hashes the disk, with the seal's extent as zeros.
    fn tree(&self, place: Locator) -> Result<Merkle, Failure> {
        let seal = place.offset..place.offset + place.length;
        Merkle::of(self.guest, seal).map_err(|error| unreadable(self.subject, &error))
    }

    /// Compares the Merkle root, and finds owner and byte of a difference.
    fn check_root(&self, tree: &Merkle) -> Result<(), Failure> {
        let content = tree.content();
        let signed = self
            .judged
            .opened
            .statement
            .subject
            .iter()
            .map(|subject| &subject.digest);
        if signed
            .clone()
            .any(|digest| *digest == SubjectDigest::Content(content.hex()))
        {
            return Ok(());
        }
        let nodes = spans(&self.judged.opened.evidence);
        let Some((at, range)) = tree.first_difference(&nodes) else {
            let expected = signed
                .map(|digest| format!("{digest:?}"))
                .collect::<Vec<_>>()
                .join(", ");
            let advice = "get the disk again; it is not the one that was sealed";
            let refusal = Refusal::new(Code::BytesMismatch, self.subject, expected, content, advice);
            return Err(refusal.into());
        };
        let exact = nodes.get(at).and_then(|node| single_bit(self.guest, &range, node));
        let owner = self
            .extents
            .at(exact.map_or(range.start, |(byte, _)| byte))
            .map(|extent| &extent.owner);
        Err(wrong_bytes(self.subject, owner.unwrap_or(&Owner::Padding), range, exact, &content).into())
    }

    /// Compares table, file system, locator, boot code and padding with what the writers make.
    fn check_structures(&self, layout: &Layout) -> Result<(), Failure> {
        let difference = layout
            .assembly
            .first_difference(self.guest)
            .map_err(|error| unreadable(self.subject, &error))?;
        let Some((byte, owner)) = difference else { return Ok(()) };
        let subject = format!("{owner} of {}", self.subject);
        let advice = "get the disk again; somebody changed this byte";
        let refusal = Refusal::new(
            Code::BytesMismatch,
            subject,
            "the byte that imgkit writes there",
            "another",
            advice,
        );
        Err(refusal.at_byte(byte).into())
    }

    /// Compares kernel, configuration and segments with what they should hold.
    pub(super) fn check_contents(&self, files: bool) -> Result<(), Failure> {
        let config = Digest::sha256(grub::config(&self.judged.image.cmdline).as_bytes());
        self.check_file(grub::CONFIG, &config)?;
        if let Some(kernel) = self.judged.image.kernel
            && files
        {
            self.check_file(grub::KERNEL, &kernel.digest)?;
        }
        if let Some(microcode) = self.judged.image.microcode {
            self.check_file("UCODE", &microcode.digest)?;
        }
        let segments = self
            .extents
            .iter()
            .filter(|extent| matches!(extent.owner, Owner::Segment { .. }));
        let mut pairs: Vec<_> = segments.zip(&self.judged.image.plan.segments).collect();
        pairs.retain(|(_, segment)| files || segment.role.is_none());
        pairs.sort_by_key(|(extent, _)| std::cmp::Reverse(extent.length));
        pairs.into_par_iter().with_max_len(1).try_for_each(|(extent, segment)| {
            let range = extent.offset..extent.offset + extent.length;
            self.check_segment(segment, range, &extent.owner)
        })
    }

    fn check_file(&self, name: &str, expected: &Digest) -> Result<(), Failure> {
        let named = |owner: &Owner| matches!(owner, Owner::File { name: other } if other == name);
        let extent = self.extents.iter().find(|extent| named(&extent.owner));
        let Some(extent) = extent else { return Ok(()) };
        let range = extent.offset..extent.offset + extent.length;
        let slice = Slice::new(Arc::clone(self.guest), extent.offset, extent.length);
        let found = slice.map(|slice| hash_to(&mut Stream::new(&slice), &mut io::sink()));
        match found.transpose().map_err(|error| unreadable(self.subject, &error))? {
            Some((_, digest)) if digest == *expected => Ok(()),
            _ => {
                let located = locate(&self.judged.opened.evidence, self.guest, &range);
                Err(wrong_bytes(self.subject, &extent.owner, range, located, expected).into())
            }
        }
    }

    fn check_segment(&self, segment: &Segment, range: Range<u64>, owner: &Owner) -> Result<(), Failure> {
        let slice = Slice::new(Arc::clone(self.guest), range.start, range.end - range.start);
        let slice = slice.ok_or_else(|| unreadable(self.subject, &io::ErrorKind::UnexpectedEof.into()))?;
        let mut tree = Tree::new();
        let read = read_segment(
            &mut Stream::new(&slice),
            slice.len(),
            &mut HashOnly,
            &mut |path, entry| {
                tree.insert(path, entry);
                Ok(())
            },
        );
        let found = match read {
            Ok(summary) if summary.place != segment.place => Some("it has another segment's place".to_owned()),
            Ok(_) => first_difference(&segment.tree, &tree),
            Err(error) => Some(error.to_string()),
        };
        let Some(found) = found else { return Ok(()) };
        let located = locate(&self.judged.opened.evidence, self.guest, &range);
        let subject = format!("{owner} of {}", self.subject);
        let expected = "the tree that its component's signer signed";
        let advice = "get the disk again; if it is sealed like this, the sealer built something else than was signed";
        let byte = located.map_or(range.start, |(byte, _)| byte);
        Err(Refusal::new(Code::TreeMismatch, subject, expected, found, advice)
            .at_byte(byte)
            .into())
    }
}

/// Names the first path at which two trees differ.
pub(super) fn first_difference(expected: &Tree, found: &Tree) -> Option<String> {
    let paths = expected.iter().chain(found.iter()).map(|(path, _)| path);
    let differs = |path: &&crate::tree::TreePath| expected.entry(path) != found.entry(path);
    let path = paths.filter(differs).min()?;
    let what = |entry: Option<&Entry>| {
        if entry.is_some() {
            "is there and differs"
        } else {
            "is missing"
        }
    };
    Some(match expected.entry(path) {
        Some(_) => format!("`{path}` {}", what(found.entry(path))),
        None => format!("`{path}` should not be there"),
    })
}

/// Reads the nodes above the spans.
fn spans(evidence: &Evidence) -> Vec<Node> {
    let bytes = evidence.document(SPANS).unwrap_or_default();
    bytes.as_chunks().0.to_vec()
}

/// Finds the one bit that was flipped within a range, if it was one bit.
fn locate(evidence: &Evidence, guest: &Arc<dyn ReadAt>, range: &Range<u64>) -> Option<(u64, u8)> {
    let nodes = spans(evidence);
    let span = crate::disk::merkle::span(guest.len());
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

fn single_bit(guest: &Arc<dyn ReadAt>, range: &Range<u64>, node: &Node) -> Option<(u64, u8)> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
    guest.read_exact_at(&mut bytes, range.start).ok()?;
    let (byte, bit) = find_single_bit(&bytes, node)?;
    Some((range.start + byte as u64, bit))
}

fn wrong_bytes(
    subject: &str,
    owner: &Owner,
    range: Range<u64>,
    exact: Option<(u64, u8)>,
    expected: &Digest,
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

fn unreadable(subject: &str, error: &io::Error) -> Failure {
    Failure::unavailable(subject, format!("cannot be read: {error}"))
}

/// A source of zeros that stands for a part whose length is known; layouts look at lengths alone.
fn length_only(length: u64) -> Arc<dyn ReadAt> {
    struct Length(u64);
    impl ReadAt for Length {
        fn len(&self) -> u64 {
            self.0
        }

        fn read_exact_at(&self, buffer: &mut [u8], _: u64) -> io::Result<()> {
            buffer.fill(0);
            Ok(())
        }
    }
    Arc::new(Length(length))
}
