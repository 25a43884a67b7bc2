//! Extents: which bytes of a disk belong to whom (law 2 of the disk).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose bytes an extent holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Owner {
    /// The boot loader of a component, before the first partition.
    BootCode {
        /// The component's name.
        component: String,
    },
    /// A file of the boot partition.
    File {
        /// Its name there.
        name: String,
    },
    /// Structures of the boot partition's file system.
    FileSystem,
    /// The sector that says where the seal is.
    Locator,
    /// Zeros up to the next extent.
    Padding,
    /// The partition table.
    PartitionTable,
    /// The seal.
    Seal,
    /// One segment of the initrd.
    Segment {
        /// The component, or the generated files, that it holds.
        component: String,
    },
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BootCode { component } => write!(f, "boot code of {component}"),
            Self::File { name } => write!(f, "file {name}"),
            Self::FileSystem => f.write_str("file system"),
            Self::Locator => f.write_str("seal locator"),
            Self::Padding => f.write_str("padding"),
            Self::PartitionTable => f.write_str("partition table"),
            Self::Seal => f.write_str("seal"),
            Self::Segment { component } => write!(f, "initrd segment of {component}"),
        }
    }
}

/// A run of bytes with one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Offset of the first byte.
    pub offset: u64,
    /// Length in bytes, at least 1.
    pub length: u64,
    /// Whose bytes these are.
    pub owner: Owner,
}

/// Extents that cover a disk: sorted, disjoint, without gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Extents {
    list: Vec<Extent>,
}

impl Extents {
    /// Takes extents that cover `length` bytes in order.
    ///
    /// # Errors
    /// [`ExtentsError`] naming the first offset that no extent or more than one has.
    pub fn new(length: u64, list: Vec<Extent>) -> Result<Self, ExtentsError> {
        let mut end = 0;
        for extent in &list {
            if extent.offset != end || extent.length == 0 {
                return Err(ExtentsError { offset: end, length });
            }
            end = extent
                .offset
                .checked_add(extent.length)
                .ok_or(ExtentsError { offset: end, length })?;
        }
        if end != length {
            return Err(ExtentsError {
                offset: end.min(length),
                length,
            });
        }
        Ok(Self { list })
    }

    /// Takes extents that a caller laid end to end.
    pub(super) fn contiguous(list: Vec<Extent>) -> Self {
        Self { list }
    }

    /// Finds the extent that holds the byte at `offset`.
    pub fn at(&self, offset: u64) -> Option<&Extent> {
        let next = self.list.partition_point(|extent| extent.offset <= offset);
        let extent = self.list.get(next.checked_sub(1)?)?;
        (offset - extent.offset < extent.length).then_some(extent)
    }

    /// Iterates in order of offsets.
    pub fn iter(&self) -> impl Iterator<Item = &Extent> {
        self.list.iter()
    }

    /// Adds up how many bytes each owner has.
    pub fn totals(&self) -> BTreeMap<&Owner, u64> {
        let mut totals = BTreeMap::new();
        for extent in &self.list {
            *totals.entry(&extent.owner).or_insert(0) += extent.length;
        }
        totals
    }
}

/// Extents do not cover a disk once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the byte at {offset} of {length} belongs to no extent or to several; every byte has one owner")]
pub struct ExtentsError {
    /// The offset in question.
    pub offset: u64,
    /// How many bytes have to be covered.
    pub length: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn extent(offset: u64, length: u64, owner: Owner) -> Extent {
        Extent { offset, length, owner }
    }

    #[test]
    fn every_byte_has_one_owner() {
        let list = vec![
            extent(0, 10, Owner::PartitionTable),
            extent(10, 5, Owner::Padding),
            extent(15, 1, Owner::Seal),
            extent(16, 4, Owner::Padding),
        ];
        let extents = Extents::new(20, list).unwrap();
        assert_eq!(extents.at(9).unwrap().owner, Owner::PartitionTable);
        assert_eq!(extents.at(15).unwrap().owner, Owner::Seal);
        assert_eq!(extents.at(20), None);
        assert_eq!(extents.totals().get(&Owner::Padding), Some(&9));
    }

    #[test]
    fn refuses_gaps_overlaps_and_other_lengths() {
        let padding = |offset, length| extent(offset, length, Owner::Padding);
        for (list, at) in [
            (vec![padding(1, 9)], 0),
            (vec![padding(0, 5), padding(6, 4)], 5),
            (vec![padding(0, 5), padding(4, 6)], 5),
            (vec![padding(0, 5), padding(5, 0), padding(5, 5)], 5),
            (vec![padding(0, 9)], 9),
            (vec![padding(0, 11)], 10),
            (vec![padding(0, 5), padding(5, u64::MAX)], 5),
            (vec![], 0),
        ] {
            assert_eq!(Extents::new(10, list).unwrap_err().offset, at);
        }
    }

    #[test]
    fn owners_read_as_words() {
        let segment = Owner::Segment {
            component: "example.org/runc:1".into(),
        };
        assert_eq!(segment.to_string(), "initrd segment of example.org/runc:1");
        let json = serde_json::to_string(&segment).unwrap();
        assert_eq!(json, r#"{"kind":"segment","component":"example.org/runc:1"}"#);
        assert_eq!(serde_json::from_str::<Owner>(&json).unwrap(), segment);
    }
}
