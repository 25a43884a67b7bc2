//! `imgkit trust rotate`: new keys for a role.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::chosen::{ChosenKeys, KeysOfRole};
use crate::cli::{Context, Report};
use crate::failure::Failure;

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
        let about = |error: crate::trust::edit::EditError| error.about(&place.subject());
        let present = place.load()?.role_keys(role).map_err(about)?;
        let count = present.keyids().len().max(1);
        let keys = keys.get(context, options, &place.keys, role, count)?;
        let spec = ChosenKeys::spec(keys, *threshold, present.threshold());
        let changed = options.change(context, |collection, now| collection.rotate(role, &spec, now))?;
        let new: Vec<_> = spec.keys.iter().map(|key| key.id()).collect();
        let mut text = String::new();
        for id in present.keyids() {
            let _ = writeln!(text, "{role} no longer has the key {id}");
        }
        for id in &new {
            let _ = writeln!(text, "{role} has the key {id}");
        }
        changed.tell(&mut text);
        if role == "root" && changed.published() {
            let _ = writeln!(
                text,
                "Whoever pins an earlier root goes on as before: the new one is signed by its keys. Back the new keys up, then \
                 remove them here."
            );
        }
        Ok(Report::new(
            text,
            changed.json(json!({
                "role": role, "before": present.keyids(), "keys": new, "threshold": spec.threshold,
            })),
        ))
    }
}
