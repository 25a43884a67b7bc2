//! The disk laid out again, from the statement's lengths and what the components' signers signed.

use std::io;
use std::sync::Arc;

use super::locate::{locate, wrong_bytes};
use super::place::{check_place, length_of};
use super::{file_name, unreadable};
use crate::assemble::bios::{self, BOOT_IMAGE, BootFiles, CORE_IMAGE, Loader, file_of};
use crate::config::spec::Role;
use crate::digest::Digest;
use crate::disk::ReadAt;
use crate::disk::bios::Disk as Layout;
use crate::disk::extents::Owner;
use crate::disk::locator::{self, Locator};
use crate::failure::{Code, Failure, Refusal};
use crate::seal::statement;
use crate::verify::image::Judged;
use crate::verify::seal::malformed;

/// Lays the disk out again from the statement's lengths; contents are read where they should be.
pub(super) fn lay_out(
    subject: &str,
    judged: &Judged,
    guest: &Arc<dyn ReadAt>,
    place: Locator,
) -> Result<Layout, Failure> {
    let predicate = judged.predicate();
    let bad = |error: &dyn std::fmt::Display| malformed(&format!("seal of {subject}"), error);
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
    match judged.opened.statement.subject.as_slice() {
        [only] if only.name == predicate.name => {}
        others => {
            return Err(bad(&format!(
                "it is about {} subjects, expected the disk `{}`",
                others.len(),
                predicate.name
            )));
        }
    }
    if length != guest.len() {
        let expected = format!("{length} bytes, as signed");
        let advice = "get the disk again; it was cut or lengthened, or given another disk's seal";
        let found = format!("{} bytes", guest.len());
        return Err(Refusal::new(Code::BytesMismatch, length_of(subject), expected, found, advice).into());
    }
    let signed = Locator {
        offset: seal_offset,
        length: seal_length,
    };
    check_place(subject, place, signed)?;
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
    if layout.assembly.len() != length || layout.seal != signed {
        return Err(bad(&format!(
            "its parts make a disk of {} bytes with its seal at {}, and it says {length} bytes and {seal_offset}",
            layout.assembly.len(),
            layout.seal.offset
        )));
    }
    Ok(layout)
}

/// Takes the boot loader from the evidence and the disk, as its signer signed it.
fn loader(subject: &str, judged: &Judged, guest: &Arc<dyn ReadAt>) -> Result<Loader, Failure> {
    let bad = |problem: &str| malformed(&format!("seal of {subject}"), problem);
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
