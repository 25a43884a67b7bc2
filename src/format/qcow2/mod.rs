//! qcow2 version 3, in one canonical form: version 1 of our writer.
//!
//! - Written from QEMU's `docs/interop/qcow2.txt`: clusters of 64 KiB, 16-bit reference counts, no extensions, no features.
//! - The order is header, refcount table, refcount blocks, L1 table, L2 tables, data in the guest's order. A guest cluster of
//!   zeros is not stored; a run of 512 MiB of them has no L2 table.
//! - So a container is a pure function of what the guest sees. The reader takes from it which clusters are stored, follows
//!   no pointer, writes all tables again and compares: nothing can hide in them, between them or behind them (law 2 of the disk).

mod layout;
mod reader;

pub use layout::Layout;
pub use reader::{Guest, QcowError};

/// Length of a cluster in bytes.
pub const CLUSTER: u64 = 1 << 16;

/// "QFI" and 0xfb.
const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Length of version 3's header in bytes.
const HEADER: usize = 104;

/// Entries of a refcount or L1 or L2 table in one cluster.
const ENTRIES: u64 = CLUSTER / 8;

/// Reference counts in one refcount block.
const COUNTS: u64 = CLUSTER / 2;

/// Set in the entry of a cluster with one reference.
const COPIED: u64 = 1 << 63;

/// Set in the L2 entry of a compressed cluster.
const COMPRESSED: u64 = 1 << 62;

#[cfg(test)]
mod tests;
