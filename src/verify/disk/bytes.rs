//! The comparison of a disk's bytes, each part with what its owner signed.

use std::io;
use std::sync::Arc;

use rayon::prelude::*;

use super::Compared;
use super::locate::{locate, single_bit, spans, wrong_bytes};
use super::unreadable;
use crate::assemble::{Segment, grub};
use crate::config::spec::Role;
use crate::digest::Digest;
use crate::disk::bios::Disk as Layout;
use crate::disk::extents::{Extent, Extents, Owner};
use crate::disk::locator::Locator;
use crate::disk::merkle::Merkle;
use crate::disk::{ReadAt, Slice, Stream};
use crate::failure::{Code, Failure, Refusal};
use crate::format::segment::read_segment;
use crate::seal::statement::SubjectDigest;
use crate::tree::contents::{HashOnly, hash_to};
use crate::tree::{Entry, Tree};
use crate::verify::image::{Judged, collect};

/// The comparison of a disk's bytes.
pub(in crate::verify) struct Bytes<'a> {
    pub(in crate::verify) subject: &'a str,
    pub(in crate::verify) judged: &'a Judged,
    pub(in crate::verify) guest: &'a Arc<dyn ReadAt>,
    pub(in crate::verify) extents: &'a Extents,
}

impl Bytes<'_> {
    /// Hashes the disk, with the seal's extent as zeros.
    pub(super) fn tree(&self, place: Locator) -> Result<Merkle, Failure> {
        let seal = place.offset..place.offset + place.length;
        Merkle::of(self.guest, seal).map_err(|error| unreadable(self.subject, &error))
    }

    /// Compares the Merkle root, and finds owner and byte of a difference.
    pub(super) fn check_root(&self, tree: &Merkle) -> Result<(), Failure> {
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
    pub(super) fn check_structures(&self, layout: &Layout) -> Result<(), Failure> {
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

    /// Compares kernel, configuration and segments with what they should hold; where `compared` knows a segment's bytes they are not unpacked.
    pub(in crate::verify) fn check_contents(&self, files: bool, compared: &Compared<'_>) -> Result<(), Failure> {
        // The segments first, the longest of which takes longest of all.
        let (segments, named) = rayon::join(|| self.check_segments(files, compared), || self.check_files(files));
        named.and(segments)
    }

    /// Compares the configuration, the kernel and microcode.
    fn check_files(&self, files: bool) -> Result<(), Failure> {
        let config = Digest::sha256(grub::config(&self.judged.image.cmdline).as_bytes());
        self.check_file(grub::CONFIG, &config, "its command line")?;
        let component = self.judged.component(Role::Kernel);
        let of_kernel = component.map(|component| component.reference().to_string());
        let of_kernel = of_kernel.unwrap_or_default();
        if let Some(kernel) = self.judged.image.kernel
            && files
        {
            self.check_file(grub::KERNEL, &kernel.digest, &of_kernel)?;
        }
        if let Some(microcode) = self.judged.image.microcode {
            self.check_file("UCODE", &microcode.digest, &of_kernel)?;
        }
        Ok(())
    }

    fn check_segments(&self, files: bool, compared: &Compared<'_>) -> Result<(), Failure> {
        let segments = self
            .extents
            .iter()
            .filter(|extent| matches!(extent.owner, Owner::Segment { .. }));
        let mut parts: Vec<_> = segments.zip(&self.judged.image.plan.segments).collect();
        parts.retain(|(_, segment)| files || segment.role.is_none());
        parts.sort_by_key(|(extent, _)| std::cmp::Reverse(extent.length));
        let check = |(extent, segment): (&Extent, &Segment)| {
            let checked = match compared(segment) {
                Some(digest) => self.check_digest(extent, &digest, "the build"),
                None => self.check_segment(segment, extent),
            };
            (extent.offset, checked)
        };
        // One by one in this order, so that no thread is left with the largest at the end.
        let mut results: Vec<_> = parts.into_iter().par_bridge().map(check).collect();
        // What is said does not depend on which thread was first.
        results.sort_by_key(|(offset, _)| *offset);
        let mut refusals = Vec::new();
        results
            .into_iter()
            .try_for_each(|(_, result)| collect(&mut refusals, result))?;
        match refusals.is_empty() {
            true => Ok(()),
            false => Err(Failure::Refused(refusals)),
        }
    }

    fn check_file(&self, name: &str, expected: &Digest, maker: &str) -> Result<(), Failure> {
        let named = |owner: &Owner| matches!(owner, Owner::File { name: other } if other == name);
        let extent = self.extents.iter().find(|extent| named(&extent.owner));
        extent.map_or(Ok(()), |extent| self.check_digest(extent, expected, maker))
    }

    fn check_digest(&self, extent: &Extent, expected: &Digest, maker: &str) -> Result<(), Failure> {
        let range = extent.offset..extent.offset + extent.length;
        let slice = Slice::new(Arc::clone(self.guest), extent.offset, extent.length);
        let found = slice.map(|slice| hash_to(&mut Stream::new(&slice), &mut io::sink()));
        match found.transpose().map_err(|error| unreadable(self.subject, &error))? {
            Some((_, digest)) if digest == *expected => Ok(()),
            _ => {
                let located = locate(&self.judged.opened.evidence, self.guest, &range);
                let expected = format!("{expected}, as {maker} makes them");
                Err(wrong_bytes(self.subject, &extent.owner, range, located, &expected).into())
            }
        }
    }

    fn check_segment(&self, segment: &Segment, extent: &Extent) -> Result<(), Failure> {
        let owner = &extent.owner;
        let range = extent.offset..extent.offset + extent.length;
        let slice = Slice::new(Arc::clone(self.guest), extent.offset, extent.length);
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
pub(in crate::verify) fn first_difference(expected: &Tree, found: &Tree) -> Option<String> {
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
