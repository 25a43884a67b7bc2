//! Where a disk's seal is: the locator leads to it, and what is wrong is said of the one of the two that is.

use super::unreadable;
use crate::disk::ReadAt;
use crate::disk::locator::{self, Locator};
use crate::failure::{Code, Failure, Refusal};
use crate::limit;
use crate::seal::Sealed;
use crate::seal::container::ContainerError;
use crate::seal::statement::{Layout, Statement};
use crate::verify::seal::malformed;

/// Finds the seal of a disk and reads it, without judging.
///
/// # Errors
/// A refusal when the disk has none, or one that is not in its form.
pub fn read_seal(subject: &str, guest: &dyn ReadAt) -> Result<(Locator, Sealed), Failure> {
    let mut sector = [0; locator::LENGTH];
    let advice = "use an image that was sealed; if this one was, get it again";
    if guest.len() < locator::OFFSET + locator::LENGTH as u64 {
        let expected = "a disk with imgkit's seal";
        let found = format!("{} bytes, too few for a seal locator", guest.len());
        return Err(Refusal::new(Code::Unsigned, length_of(subject), expected, found, advice).into());
    }
    guest
        .read_exact_at(&mut sector, locator::OFFSET)
        .map_err(|error| unreadable(subject, &error))?;
    let wrong_locator = |byte: u64, found: &dyn std::fmt::Display| {
        let expected = "a locator that leads to imgkit's seal";
        let subject = format!("seal locator of {subject}");
        Refusal::new(Code::Unsigned, subject, expected, found, advice).at_byte(locator::OFFSET + byte)
    };
    let place = match Locator::decode(&sector, guest.len()) {
        Ok(place) => place,
        Err(error) => {
            let byte = flipped(subject, &sector, guest).unwrap_or(0);
            return Err(wrong_locator(byte, &error).into());
        }
    };
    match seal_at(subject, guest, place) {
        Ok(sealed) => Ok((place, sealed)),
        Err(failure) => match flipped(subject, &sector, guest) {
            Some(byte) => {
                let found = format!("no seal at {}, where it leads", place.offset);
                Err(wrong_locator(byte, &found).into())
            }
            None => Err(failure),
        },
    }
}

/// Compares the place that the locator says with the one that the sealer signed.
pub(super) fn check_place(subject: &str, found: Locator, signed: Locator) -> Result<(), Failure> {
    if found == signed {
        return Ok(());
    }
    let pairs = found.encode().into_iter().zip(signed.encode());
    let byte = pairs.zip(0u64..).find(|((found, signed), _)| found != signed);
    let say = |place: Locator| format!("a seal at {}, {} bytes long", place.offset, place.length);
    let subject = format!("seal locator of {subject}");
    let advice = "get the disk again; somebody changed it, or gave it another disk's seal";
    let expected = format!("{}, as signed", say(signed));
    let refusal = Refusal::new(Code::BytesMismatch, subject, expected, say(found), advice);
    Err(refusal.at_byte(locator::OFFSET + byte.map_or(0, |(_, at)| at)).into())
}

/// Names the length of a disk, which no byte of it owns.
pub(super) fn length_of(subject: &str) -> String {
    format!("length of {subject}")
}

/// Reads the seal in an extent.
fn seal_at(subject: &str, guest: &dyn ReadAt, place: Locator) -> Result<Sealed, Failure> {
    let seal = format!("seal of {subject}");
    let length = usize::try_from(place.length).unwrap_or(usize::MAX);
    if length > limit::SEAL_BYTES {
        return Err(malformed(&seal, format!("it takes {length} bytes")));
    }
    let mut bytes = vec![0; length.min(locator::SEAL_ALIGNMENT as usize)];
    let read = |bytes: &mut [u8]| {
        guest
            .read_exact_at(bytes, place.offset)
            .map_err(|error| unreadable(subject, &error))
    };
    read(&mut bytes)?;
    // Its first bytes tell whether there is any: many places may be tried, and the rest is long.
    if let Err(error @ ContainerError::Magic) = Sealed::decode(&bytes) {
        return Err(malformed(&seal, error));
    }
    bytes.resize(length, 0);
    read(&mut bytes)?;
    Sealed::decode(&bytes).map_err(|error| malformed(&seal, error))
}

/// Finds the byte of a locator in which one bit was flipped: with that bit back, it leads to a seal that says it lies there.
///
/// What the seal says is not judged yet; it decides on the name of the wrong byte, and on nothing else.
fn flipped(subject: &str, sector: &[u8; locator::LENGTH], guest: &dyn ReadAt) -> Option<u64> {
    let leads_to_a_seal = |bit: &usize| {
        let mut repaired = *sector;
        if let Some(byte) = repaired.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        let place = Locator::decode(&repaired, guest.len());
        place.is_ok_and(|place| seal_at(subject, guest, place).is_ok_and(|sealed| says_it_lies_at(&sealed, place)))
    };
    let bit = (0..locator::LENGTH * 8).find(leads_to_a_seal)?;
    Some(bit as u64 / 8)
}

fn says_it_lies_at(sealed: &Sealed, place: Locator) -> bool {
    let layout = Statement::decode(sealed.envelope.payload()).map(|statement| statement.predicate.layout);
    matches!(layout, Ok(Layout::Bios { seal_offset, seal_length, .. })
        if (seal_offset, seal_length) == (place.offset, place.length))
}
