//! The 110 bytes before each entry: a magic number and thirteen fields of eight hexadecimal digits.

use super::{MTIME, TRAILER};
use crate::tree::Device;

/// Length of a header in bytes.
pub(super) const HEADER: usize = 110;

/// Largest device numbers that Linux has.
pub(super) const MAX_DEVICE: Device = Device {
    major: 0xfff,
    minor: 0xf_ffff,
};

const MAGIC: &[u8] = b"070701";

/// The fields that differ between entries; all others are constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) inode: u32,
    /// Type and permission bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    /// Length of the content or of the link's target.
    pub(super) size: u32,
    /// The archive's place: major number in the upper half, minor number in the lower.
    pub(super) place: u64,
    pub(super) device: Device,
    /// Length of the name with its terminating NUL.
    pub(super) name: u32,
}

impl Header {
    /// Makes the header of the entry that ends an archive.
    pub(super) fn trailer(place: u64) -> Self {
        Self {
            inode: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            links: 1,
            size: 0,
            place,
            device: Device { major: 0, minor: 0 },
            name: TRAILER.len() as u32 + 1,
        }
    }

    /// Tells whether Linux would change the owner and the group to these: chown(2) takes the highest number for no change.
    pub(super) fn has_owner(&self) -> bool {
        self.uid != u32::MAX && self.gid != u32::MAX
    }

    pub(super) fn encode(&self) -> [u8; HEADER] {
        let fields = [
            self.inode,
            self.mode,
            self.uid,
            self.gid,
            self.links,
            MTIME,
            self.size,
            (self.place >> 32) as u32,
            self.place as u32,
            self.device.major,
            self.device.minor,
            self.name,
            0,
        ];
        let mut bytes = [0; HEADER];
        let digits = fields.into_iter().flat_map(|field| {
            (0..8).rev().map(move |digit| {
                let value = (field >> (4 * digit) & 0xf) as u8;
                if value < 10 { b'0' + value } else { b'A' + value - 10 }
            })
        });
        let all = MAGIC.iter().copied().chain(digits);
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        bytes
    }

    /// Reads a header; `None` for anything that [`Header::encode`] does not write.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let mut fields = bytes.strip_prefix(MAGIC)?.chunks(8);
        let mut next = || {
            let digits = fields.next()?.iter();
            digits
                .copied()
                .try_fold(0u32, |value, digit| Some(value << 4 | char::from(digit).to_digit(16)?))
        };
        let (inode, mode, uid, gid, links, _mtime, size) =
            (next()?, next()?, next()?, next()?, next()?, next()?, next()?);
        let header = Self {
            inode,
            mode,
            uid,
            gid,
            links,
            size,
            place: u64::from(next()?) << 32 | u64::from(next()?),
            device: Device {
                major: next()?,
                minor: next()?,
            },
            name: next()?,
        };
        (header.encode() == *bytes).then_some(header)
    }
}

/// Returns how many zeros follow `length` bytes, up to a multiple of four.
pub(super) fn padding(length: u64) -> usize {
    (length.wrapping_neg() & 3) as usize
}
