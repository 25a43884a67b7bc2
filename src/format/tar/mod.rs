//! Tar archives: a bounded reader of what others write, and a deterministic writer.
//!
//! - Names, owners and attributes come from ustar fields, PAX records (POSIX.1-2017, pax, "pax Header Block") or GNU long names.
//! - Ambiguity is refused: a name given twice, a repeated PAX record, content where the type has none, a missing end.
//! - Sparse members are refused; nothing that builds images writes them.

mod pax;
mod reader;
mod writer;

pub use reader::{Kind, Member, Reader, TarError};
pub use writer::write_tar;

const BLOCK: usize = 512;

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
