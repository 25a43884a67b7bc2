//! `imgkit trust renew --server`: signing again, with later expiries, what expires soon or has expired.
//!
//! What the server signs (the timestamp, and the snapshot where it holds that key) it signs anew itself, with each publication and
//! once it has expired.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::init::server_key;
use super::session::{Owned, Session};
use super::sign::role_name;
use super::witness::state;
use crate::cli::Report;
use crate::cli::trust::chosen::confirm;
use crate::cli::trust::difference::Difference;
use crate::cli::trust::states::State;
use crate::cli::trust::word::line;
use crate::failure::Failure;
use crate::key::KeyId;
use crate::time::DAY;
use crate::trust::edit::EditError;
use crate::trust::notary::NotaryKey;
use crate::trust::notary::edit::{NotaryCollection, notary_margin};
use crate::trust::{RoleKeys, TrustError};

/// Signs again what is due.
#[derive(Debug, Args)]
pub(super) struct Renew {
    /// The collection: HOST/PATH
    gun: String,
    /// The roles [default: those that are due and whose keys are here]
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
    /// How many days before its expiry a role is due [default: a quarter of its lifetime]
    #[arg(long, value_name = "DAYS", conflicts_with = "roles")]
    margin: Option<u16>,
    /// Do not ask: of what has expired and the trust directory never had
    #[arg(long)]
    yes: bool,
}

/// What became of the roles.
#[derive(Default)]
struct Due {
    /// Those whose keys are here.
    here: BTreeSet<String>,
    /// Those whose keys are not.
    elsewhere: BTreeSet<String>,
    /// Those that are not trusted, each with the reason.
    distrusted: Vec<(String, TrustError)>,
}

impl Renew {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let gun = &self.gun;
        let roles: BTreeSet<_> = self.roles.iter().map(|role| role_name(role)).collect();
        if roles.contains("timestamp") {
            let problem =
                "the server signs the timestamp, with each publication and when it has expired; name another role";
            return Err(Failure::malformed("timestamp", problem));
        }
        let mut due = Due::default();
        let mut pins: Vec<KeyId> = Vec::new();
        let mut shown = String::new();
        let signed = session.renew(gun, |owned| {
            due = match roles.is_empty() {
                true => self.due(session, owned)?,
                false => Due {
                    here: roles.clone(),
                    ..Due::default()
                },
            };
            let before: BTreeSet<_> = root_keys(&owned.collection);
            for role in &due.here {
                session.renew_role(&mut owned.collection, role)?;
            }
            pins = root_keys(&owned.collection).difference(&before).cloned().collect();
            self.show_unseen(session, owned, &mut shown)
        })?;
        let mut text = String::new();
        for role in &signed {
            let _ = writeln!(text, "renewed {role}");
        }
        for pin in &pins {
            let _ = writeln!(
                text,
                "the root key has a new certificate; who pins its id pins it as {pin} from now on, and the old one vouches for it"
            );
        }
        for role in &due.elsewhere {
            let _ = writeln!(
                text,
                "NOT renewed {role}: too few of its keys are in the trust directory"
            );
        }
        if due.elsewhere.contains("snapshot") {
            text.push_str("nothing can be published without a new snapshot\n");
        }
        if signed.is_empty() && due.elsewhere.is_empty() {
            text.push_str("nothing is due\n");
        }
        for (role, error) in &due.distrusted {
            let _ = writeln!(text, "NOT TRUSTED {role}: {}", line(&error.to_string()));
        }
        let distrusted = due.distrusted.iter();
        let distrusted: Vec<_> = distrusted
            .map(|(role, error)| json!({ "role": role, "problem": error.to_string() }))
            .collect();
        let json = json!({
            "collection": gun, "server": session.server.url(), "renewed": signed, "keysMissing": due.elsewhere,
            "distrusted": distrusted, "pins": pins, "rolesSigned": signed,
        });
        Ok(Report {
            yes: due.elsewhere.is_empty() && distrusted.is_empty(),
            ..Report::new(text, json)
        })
    }

    /// Shows what would be signed again that this directory never had, and asks, once for the same.
    fn show_unseen(&self, session: &Session<'_>, owned: &Owned, shown: &mut String) -> Result<(), Failure> {
        let mut text = String::new();
        for role in owned.unseen(session.now) {
            let said = state(&owned.collection, &role).map_err(|error| session.cannot(&self.gun, error))?;
            let _ = writeln!(
                text,
                "{role} has expired, and the trust directory never had it: it may be an old state that somebody offers again; it says:"
            );
            text += &Difference::between(&State::default(), &said).text(true);
        }
        if !text.is_empty() && text != *shown {
            confirm(session.context, self.yes, &text)?;
            *shown = text;
        }
        Ok(())
    }

    /// Finds the roles that are due.
    fn due(&self, session: &Session<'_>, owned: &Owned) -> Result<Due, Failure> {
        let about = |error: EditError| session.cannot(&self.gun, error);
        let mut due = Due {
            distrusted: owned.distrusted.clone(),
            ..Due::default()
        };
        for (role, mark) in owned.collection.marks() {
            let margin = self
                .margin
                .map_or_else(|| notary_margin(role), |days| i64::from(days) * DAY);
            let ends = match role {
                "root" => mark.expires.min(owned.collection.certificates_end()),
                _ => mark.expires,
            };
            if ends > session.now.plus(margin) {
                continue;
            }
            let keys = owned.collection.role_keys(role).map_err(about)?;
            if session.has_enough(&keys)? {
                due.here.insert(role.to_owned());
            } else if role != "snapshot" || !self.is_the_servers(session, &keys)? {
                due.elsewhere.insert(role.to_owned());
            }
        }
        if due.elsewhere.contains("snapshot") {
            // Neither this directory nor the server can sign one: nothing that is signed could be published.
            due.here.clear();
        }
        Ok(due)
    }

    /// Tells whether the server signs the snapshot.
    fn is_the_servers(&self, session: &Session<'_>, keys: &RoleKeys<NotaryKey>) -> Result<bool, Failure> {
        let own = server_key(&session.server.key(&self.gun, "snapshot")?)?;
        Ok(keys.keys().values().any(|key| key.canonical_id() == own.canonical_id()))
    }
}

fn root_keys(collection: &NotaryCollection) -> BTreeSet<KeyId> {
    let keys = collection.root().role_keys("root");
    keys.keyids().iter().cloned().collect()
}
