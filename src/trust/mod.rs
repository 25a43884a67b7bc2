//! TUF metadata (specification 1.0): who may say what an image's name stands for, and what they said.
//!
//! - Bytes and `now` come in, typed values go out; nothing here reads a file, a socket or a clock.
//! - A root is trusted because the user pinned it, or because enough keys of the root before it *and* of itself signed it.
//! - Timestamp → snapshot → targets: each file is what the one before names (version, length, hashes), is signed by enough
//!   distinct keys of its role, has not expired at the one time of judgement, and is not older than what was trusted before.
//! - A name is looked up in the targets, then in the roles they delegate it to, in order. A role that has to be asked and
//!   cannot be trusted is an error for the names it covers, never skipped.
//! - One function checks signatures, for root, delegations and seals alike: [`RoleKeys::check`].
//! - The bytes that were served are kept: a look-up can be repeated offline from its [`Bundle`].
//! - Only [`edit`] makes metadata; it holds whole collections, and signs what changed.

mod bundle;
mod chain;
mod client;
mod delegation;
mod document;
pub mod edit;
mod error;
mod hashes;
pub mod history;
mod lineage;
pub mod metadata;
mod names;
pub mod notary;
mod parts;
mod pattern;
mod role_keys;
mod search;
mod table;
mod target;
mod updater;

pub use bundle::{Bundle, Source};
pub use chain::{AtRoot, AtSnapshot, AtTargets, AtTimestamp, Chain, Known, Wanted};
pub use client::{Client, Distrusted, lookup};
pub use document::{Signed, Unverified};
pub use error::TrustError;
pub use hashes::Hashes;
pub use lineage::Lineage;
pub use names::{check_target_name, encoded, file_name, root_version};
pub use role_keys::{RoleKey, RoleKeys, Signature, Since};
pub use search::{Search, WantedRole};
pub use table::{Entry, Kept, Table};
pub use target::{Evidence, ImageTarget, Mark, PlatformTarget, RoleMark, Target, plain_file};
pub use updater::{Cache, NotAsked, Updater};

#[cfg(test)]
mod tests;
