//! The dialect of TUF that Notary v1 and `docker trust` speak (docs/notary.md, "What is spoken").
//!
//! - Bytes and `now` come in, typed values go out, as in [`crate::trust`], whose checks these are: signatures are counted by
//!   the one [`RoleKeys::check`](crate::trust::RoleKeys::check).
//! - Key ids are computed, never taken over; a root key stands in a certificate for the collection's name.
//! - Stricter than the real client wherever it is lax: `docs/notary.md` lists each difference.

mod certificate;
mod chain;
mod client;
mod der;
mod document;
pub mod edit;
mod file;
mod hashes;
mod history;
mod key;
mod metadata;
mod search;
mod upload;
mod wire;

pub use certificate::{Certificate, NewCertificate};
pub use chain::{AtRoot, AtSnapshot, AtTargets, AtTimestamp, Described, NotaryChain, NotaryKnown};
pub use client::{NotaryClient, NotaryPin};
pub use document::{Draft, Signed, Unverified};
pub use file::{FileBrief, FileMeta};
pub use hashes::NotaryHashes;
pub use history::{Edition, History};
pub use key::{Keys, Method, NotaryKey, NotaryKeyType, NotarySignature};
pub use metadata::{
    Body, DelegatedRole, Delegations, Header, Role, Root, Snapshot, Targets, Timestamp, check_name, is_delegated_role,
};
pub use search::{AskedRole, ContentCheck, Listed, NotarySearch, NotaryTarget, NotaryWanted, RELEASES};
pub use upload::{
    Files, NewFile, Plan, Published, SNAPSHOT_LIFETIME, TIMESTAMP_LIFETIME, UploadError, check_cost, listed_roles,
};

#[cfg(test)]
mod tests;
