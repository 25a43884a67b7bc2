//! The locator: one sector at a fixed place that says where the seal is.
//!
//! ```text
//! 0    16  "imgkit locator" and two zero bytes
//! 16   4   version: 1
//! 20   4   zero
//! 24   8   offset of the seal's extent in bytes
//! 32   8   length of the seal's extent in bytes
//! 40   472 zero
//! ```
//!
//! Numbers are little-endian. The sector is the last before the first partition (LBA 2047), where no partitioning tool writes.

/// Where the locator is on a disk, in bytes: LBA 2047.
pub const OFFSET: u64 = (1 << 20) - LENGTH as u64;

/// Length of the locator in bytes: one sector.
pub const LENGTH: usize = 512;

/// What the extents of seals are aligned to.
pub const SEAL_ALIGNMENT: u64 = 4096;

const MAGIC: &[u8; 16] = b"imgkit locator\0\0";

const VERSION: u32 = 1;

/// Where the seal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locator {
    /// Offset of the seal's extent in bytes.
    pub offset: u64,
    /// Length of the seal's extent in bytes.
    pub length: u64,
}

impl Locator {
    /// Writes the sector.
    pub fn encode(&self) -> [u8; LENGTH] {
        let fields = [
            &MAGIC[..],
            &VERSION.to_le_bytes(),
            &[0; 4],
            &self.offset.to_le_bytes(),
            &self.length.to_le_bytes(),
        ];
        let mut sector = [0; LENGTH];
        let bytes = fields.concat();
        sector.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        sector
    }

    /// Reads the sector of a disk of `disk` bytes.
    ///
    /// # Errors
    /// [`LocatorError`] for bytes that [`Locator::encode`] does not write, and for a seal that is not on the disk, not aligned, or
    /// not behind the locator.
    pub fn decode(sector: &[u8; LENGTH], disk: u64) -> Result<Self, LocatorError> {
        let number = |at: usize| {
            let bytes = sector.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        if !sector.starts_with(MAGIC) {
            return Err(LocatorError::Magic);
        }
        let locator = Self {
            offset: number(24),
            length: number(32),
        };
        if locator.encode() != *sector {
            return Err(LocatorError::Form);
        }
        let aligned = locator.offset.is_multiple_of(SEAL_ALIGNMENT) && locator.length.is_multiple_of(SEAL_ALIGNMENT);
        let end = locator.offset.checked_add(locator.length);
        let inside = end.is_some_and(|end| end <= disk) && locator.offset >= OFFSET && locator.length > 0;
        if !aligned || !inside {
            return Err(LocatorError::Place { locator, disk });
        }
        Ok(locator)
    }
}

/// A sector that is no locator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocatorError {
    /// A locator of another version, or with bytes where zeros belong.
    #[error("the seal locator in sector 2047 is not as this version writes it; a newer imgkit may know it")]
    Form,
    /// No locator at all.
    #[error("sector 2047 holds no seal locator: this disk was not made by imgkit, or it has no seal")]
    Magic,
    /// It points to where no seal can be.
    #[error("the seal locator names {} bytes at {}, which is no place for a seal on a disk of {disk} bytes", locator.length, locator.offset)]
    Place {
        /// What the sector says.
        locator: Locator,
        /// Length of the disk in bytes.
        disk: u64,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let locator = Locator {
            offset: 4 << 20,
            length: 8192,
        };
        let sector = locator.encode();
        let disk = (4 << 20) + 8192;
        assert_eq!(Locator::decode(&sector, disk), Ok(locator));
        assert!(matches!(
            Locator::decode(&sector, disk - 1),
            Err(LocatorError::Place { .. })
        ));
        for bit in 0..LENGTH * 8 {
            let mut flipped = sector;
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Another place is well-formed; the seal that would have to be there signs its own.
            assert!(
                Locator::decode(&flipped, disk).is_err() || (24..40).contains(&(bit / 8)),
                "{bit}"
            );
            assert_ne!(Locator::decode(&flipped, disk), Ok(locator));
        }
        assert_eq!(Locator::decode(&[0; LENGTH], disk), Err(LocatorError::Magic));
    }

    #[test]
    fn refuses_places_where_no_seal_can_be() {
        for (offset, length) in [
            (0, 4096),
            (8192, 4096),
            (4 << 20, 0),
            (4 << 20, 4095),
            ((4 << 20) + 512, 4096),
            (u64::MAX - 4095, 4096),
        ] {
            let sector = Locator { offset, length }.encode();
            assert!(
                matches!(Locator::decode(&sector, 1 << 30), Err(LocatorError::Place { .. })),
                "{offset}+{length}"
            );
        }
    }
}
