//! `imgkit trust ls` and `imgkit trust inspect`: what a collection says, verified before it is shown.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::collections::{distrusted_json, tell_distrusted};
use super::difference::shown;
use super::trusting::as_trusted_by;
use super::word::line;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::store::file::write_named;

/// Lists what a collection signs.
#[derive(Debug, Args)]
pub(super) struct Ls {
    /// Only what this role signs
    #[arg(long)]
    role: Option<String>,
}

impl Ls {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let mut client = place.client(options.now(context)?)?;
        let distrusted = client.fetch_trusted();
        let distrusted = distrusted.map_err(|error| error.about(&place.subject()))?;
        let mut text = String::new();
        let mut all = Vec::new();
        for (role, signed) in client.chain().signing_roles() {
            if self.role.as_ref().is_some_and(|only| *only != role) {
                continue;
            }
            for (name, file) in &signed.body().targets {
                let digests: Vec<_> = file.hashes.digests().map(|digest| digest.to_string()).collect();
                let _ = writeln!(text, "{} {} {}", digests.join(" "), name.escape_debug(), line(&role));
                all.push(json!({ "name": name, "role": role, "target": file }));
            }
        }
        tell_distrusted(&mut text, &distrusted);
        let json = json!({ "collection": place.name, "targets": all, "distrusted": distrusted_json(&distrusted) });
        Ok(Report {
            yes: distrusted.is_empty(),
            ..Report::new(text, json)
        })
    }
}

/// Shows a collection's roles.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Also write every public key to this directory, as KEYID.pem by its own id, to check signatures with other tools
    #[arg(long, value_name = "DIR")]
    keys_to: Option<PathBuf>,
}

impl Inspect {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let (collection, distrusted) = options.load_trusted(context, &place)?;
        let mut text = format!("collection {} in {}\n", place.name, place.at);
        let mut all = Vec::new();
        // Once for each who trusts it: everybody may trust a name to keys of his own choice.
        let roles = collection.trusts();
        for role in &roles {
            // Bins are told of in one line, with the role that they are parts of.
            if role.signs_as != role.name {
                continue;
            }
            let (as_trusted, by) = (as_trusted_by(&roles, role), &role.by);
            let (keys, patterns, mark) = (&role.keys, &role.patterns, role.mark);
            let role = &role.name;
            let parts = roles
                .iter()
                .filter(|other| other.signs_as == *role && other.name != *role);
            let parts: Vec<_> = parts.filter_map(|part| part.mark).collect();
            let state = match mark {
                Some(mark) => format!("version {}, expires {}", mark.version, mark.expires),
                None => "signs no targets yet".to_owned(),
            };
            let _ = writeln!(text, "\n{}{as_trusted}: {state}", role.escape_debug());
            let _ = writeln!(
                text,
                "  {} of {} keys must sign:",
                keys.threshold(),
                keys.keyids().len()
            );
            for id in keys.keyids() {
                let _ = writeln!(text, "    {id}");
            }
            if let Some(dir) = &self.keys_to {
                // By their own ids: a role may list its key under that of another's.
                for key in keys.keys().values() {
                    let id = key.id();
                    let pem = key.public().to_pem();
                    let pem = pem.map_err(|error| Failure::malformed(format!("key {id}"), error))?;
                    write_named(dir, id.as_str(), "pem", pem.as_bytes())?;
                }
            }
            if !patterns.is_empty() {
                let _ = writeln!(text, "  names: {}", patterns.join(" ").escape_debug());
            }
            if let Some(first) = parts.iter().map(|mark| mark.expires).min() {
                let _ = writeln!(
                    text,
                    "  its names are in {} more files; the first expires {first}",
                    parts.len()
                );
            }
            all.push(json!({
                "role": role, "by": by, "threshold": keys.threshold(), "keys": keys.keyids(), "metadata": mark,
                "patterns": patterns, "parts": parts.len(),
            }));
        }
        let mut revoked = Vec::new();
        for (by, entry) in collection.revoked() {
            let (role, who) = (shown(&entry.role), shown(by));
            let _ = writeln!(
                text,
                "\nrevoked for {role} by {who} since {}: {}",
                entry.since, entry.keyid
            );
            revoked.push(json!({ "role": entry.role, "by": by, "key": entry.keyid, "since": entry.since }));
        }
        tell_distrusted(&mut text, &distrusted);
        let json = json!({
            "collection": place.name, "place": place.at.to_string(), "roles": all, "revoked": revoked,
            "distrusted": distrusted_json(&distrusted),
        });
        Ok(Report {
            yes: distrusted.is_empty(),
            ..Report::new(text, json)
        })
    }
}
