//! `imgkit trust rotate`: new keys for a role.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::chosen::{ChosenKeys, KeysOfRole};
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::trust::edit::RoleSpec;

/// Gives a role new keys and signs with them what it signed.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    of: KeysOfRole,
}

impl Rotate {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let KeysOfRole { role, keys, threshold } = &self.of;
        let place = options.place(context)?;
        let (mut collection, trusting) = options.trusting_role(context, &place, role)?;
        let by = trusting.by();
        let present = collection.role_keys(role);
        let present = present.map_err(|error| error.about(&place.subject()))?;
        let count = present.keyids().len().max(1);
        let keys = keys.get(context, options, &place.keys, role, count)?;
        let spec = ChosenKeys::spec(keys, *threshold, present.threshold());
        let changed = options.change(context, |collection, now| {
            // Each who trusts the role goes on asking for as many signatures as he did.
            let work = |own: &mut RoleSpec| {
                own.keys.clone_from(&spec.keys);
                own.threshold = threshold.unwrap_or(own.threshold);
            };
            collection.rekey(role, &by, true, now, &|_| false, &work)
        })?;
        let new: Vec<_> = spec.keys.iter().map(|key| key.id()).collect();
        let mut text = String::new();
        for id in present.keyids() {
            let _ = writeln!(text, "{role} no longer has the key {id}");
        }
        for id in &new {
            let _ = writeln!(text, "{role} has the key {id}");
        }
        if role == "root" && changed.published() {
            let _ = writeln!(
                text,
                "Whoever pins an earlier root goes on as before: the new one is signed by its keys. Back the new keys up, then \
                 remove them here."
            );
        }
        let json = json!({
            "role": role, "before": present.keyids(), "keys": new, "threshold": spec.threshold,
        });
        Ok(trusting.report(&changed, text, json, |_| true))
    }
}
