//! What came of one collection: what came over, who had signed it, and what could not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::gun::Gun;
use super::roles::Remade;
use crate::cli::place::CollectionName;
use crate::digest::Digest;
use crate::key::KeyId;
use crate::time::Time;
use crate::trust::metadata::TargetFile;
use crate::trust::notary::{AskedRole, History, NotaryTarget};

/// What came of one collection.
#[derive(Debug, Serialize)]
pub(super) struct Imported {
    pub(super) gun: Gun,
    /// The role of the new collection for what Notary's top level signed.
    pub(super) top: String,
    pub(super) targets: Vec<ImportedTarget>,
    /// Names and roles that did not come over, each with the reason.
    pub(super) left: Vec<Left>,
    /// How many roles could not be trusted.
    pub(super) distrusted: usize,
    /// The roles of the Notary collection that could, in the order in which it asks them.
    pub(super) roles: Vec<Role>,
    /// The roles of the new collection that its names are in, in the same order.
    pub(super) remade: Vec<Remade>,
    pub(super) history: History,
    /// What is to be signed, each with the Notary role that signed it.
    #[serde(skip)]
    pub(super) files: Vec<(String, String, TargetFile)>,
    /// Names that another source signs in the new collection, each with what is said of that.
    #[serde(skip)]
    pub(super) taken: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImportedTarget {
    pub(super) name: String,
    pub(super) notary: String,
    pub(super) digest: Digest,
    pub(super) length: u64,
    pub(super) signed_by: Signed,
    /// The roles that are asked later, and signed the same.
    pub(super) also_signed_by: Vec<Signed>,
    /// Why the image's trees are not signed with it, where they are not.
    pub(super) plain: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Left {
    pub(super) name: String,
    pub(super) reason: String,
}

/// Who signed a name.
#[derive(Debug, Serialize)]
pub(super) struct Signed {
    pub(super) role: String,
    keys: Vec<KeyId>,
    threshold: u32,
    version: u64,
}

/// A role of the Notary collection.
#[derive(Debug, Serialize)]
pub(super) struct Role {
    role: String,
    version: u64,
    expires: Time,
    threshold: u32,
    keys: Vec<KeyId>,
    /// Beginnings of names that a delegated role is trusted with.
    paths: Vec<String>,
}

impl Signed {
    pub(super) fn of(target: &NotaryTarget) -> Self {
        let evidence = target.evidence();
        Self {
            role: evidence.role.clone(),
            keys: evidence.keys.clone(),
            threshold: evidence.threshold,
            version: evidence.role_mark().version,
        }
    }
}

impl Role {
    /// Describes a role that was signed.
    pub(super) fn of(asked: &AskedRole<'_>) -> Option<Self> {
        let signed = asked.signed?;
        Some(Self {
            role: asked.name.to_owned(),
            version: signed.version(),
            expires: signed.header().expires,
            threshold: signed.threshold(),
            keys: signed.signers().to_vec(),
            paths: asked.delegation.map(|role| role.paths.clone()).unwrap_or_default(),
        })
    }
}

impl Imported {
    pub(super) fn leave(&mut self, name: &str, reason: String) {
        self.left.push(Left {
            name: name.to_owned(),
            reason,
        });
    }

    /// Returns the roles that say the same of a name as the one that counts; what others say stays behind.
    pub(super) fn same_of(&mut self, found: &NotaryTarget, all: &[NotaryTarget]) -> Vec<Signed> {
        let role = &found.evidence().role;
        let (same, others): (Vec<_>, Vec<_>) = all
            .iter()
            .filter(|other| other.evidence().role != *role)
            .partition(|other| other.digests() == found.digests() && other.length() == found.length());
        for other in others {
            let digest = other.digests().first().map(Digest::to_string).unwrap_or_default();
            let reason = format!(
                "{} signs it as {digest}, and {role}, which is asked before, as something else",
                other.evidence().role
            );
            self.leave(found.name(), reason);
        }
        same.into_iter().map(Signed::of).collect()
    }

    pub(super) fn write(&self, into: &CollectionName, text: &mut String) {
        let _ = writeln!(
            text,
            "{} into {into}: {} names came over",
            self.gun.name(),
            self.targets.len()
        );
        for target in &self.targets {
            let _ = write!(
                text,
                "  {} {} signed by {}",
                target.digest,
                target.name.escape_debug(),
                target.signed_by.role
            );
            for also in &target.also_signed_by {
                let _ = write!(text, ", {}", also.role);
            }
            text.push('\n');
            if let Some(reason) = &target.plain {
                let _ = writeln!(text, "    without tree digests: {}", reason.escape_debug());
            }
        }
        for left in &self.left {
            let _ = writeln!(
                text,
                "  left behind: {}: {}",
                left.name.escape_debug(),
                left.reason.escape_debug()
            );
        }
        self.remade.iter().for_each(|role| role.write(text));
        let (editions, unreadable) = (&self.history.editions, &self.history.unreadable);
        let _ = writeln!(
            text,
            "  history: {} versions read, {} not readable",
            editions.len(),
            unreadable.len()
        );
    }
}
