//! `imgkit trust rotate`: new keys for a role.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::chosen::KeysOfRole;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::TufKey;
use crate::time::Time;
use crate::trust::edit::{Collection, EditError, RoleSpec};

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
        let about = |error: EditError| error.about(&place.subject());
        let (mut collection, trusting) = options.trusting_role(context, &place, role)?;
        let by = trusting.by();
        let present = collection.role_keys(role).map_err(about)?;
        let counts = trusting.here.iter().map(|role| role.keys.keyids().len());
        let made = keys.make(context, options, counts.max().unwrap_or(1).max(1))?;
        let keys = made.public();
        // Each who trusts the role goes on asking for as many signatures as he did.
        let needed = |own: u32| threshold.unwrap_or(own);
        let work = |collection: &mut Collection<'_>, now: Time| {
            let work = |own: &mut RoleSpec| {
                own.keys.clone_from(&keys);
                own.threshold = needed(own.threshold);
            };
            collection.rekey(role, &by, true, now, &|_| false, &work)
        };
        // With its bins: where one of them is broken, nothing is changed, and no key is kept.
        work(&mut collection, options.now(context)?).map_err(about)?;
        made.keep(context, &options.keys(context)?, &place.keys, role)?;
        let changed = options.change(context, |collection, now| work(collection, now))?;
        let new: Vec<_> = keys.iter().map(TufKey::id).collect();
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
        let trusts = trusting.here.iter();
        let thresholds: Vec<_> = trusts
            .map(|role| json!({ "by": role.by, "threshold": needed(role.keys.threshold()) }))
            .collect();
        let json = json!({ "role": role, "before": present.keyids(), "keys": new, "thresholds": thresholds });
        Ok(trusting.report(&changed, text, json, |_| true))
    }
}
