//! `imgkit trust rotate`: new keys for a role.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::chosen::ChosenKeys;
use crate::cli::{Context, Report};
use crate::failure::Failure;

/// Gives a role new keys and signs with them what it signed.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// The role: root, targets, snapshot, timestamp, or one that is delegated to
    role: String,
    #[command(flatten)]
    keys: ChosenKeys,
    /// How many of them must sign [default: as many as now]
    #[arg(long, value_name = "K")]
    threshold: Option<u32>,
}

impl Rotate {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let about = |error: crate::trust::edit::EditError| error.about(&place.subject());
        let present = place.load()?.role_keys(&self.role).map_err(about)?;
        let count = present.keyids().len().max(1);
        let keys = self.keys.get(context, options, &place.keys, &self.role, count)?;
        let spec = ChosenKeys::spec(keys, self.threshold, present.threshold());
        let changed = options.change(context, |collection, now| collection.rotate(&self.role, &spec, now))?;
        let new: Vec<_> = spec.keys.iter().map(|key| key.id()).collect();
        let mut text = String::new();
        for id in present.keyids() {
            let _ = writeln!(text, "{} no longer has the key {id}", self.role);
        }
        for id in &new {
            let _ = writeln!(text, "{} has the key {id}", self.role);
        }
        changed.tell(&mut text);
        if self.role == "root" && changed.published() {
            let _ = writeln!(
                text,
                "Whoever pins an earlier root goes on as before: the new one is signed by its keys. Back the new keys up, then \
                 remove them here."
            );
        }
        Ok(Report::new(
            text,
            changed.json(json!({
                "role": self.role, "before": present.keyids(), "keys": new, "threshold": spec.threshold,
            })),
        ))
    }
}
