//! `imgkit trust delegate --server`: whom a collection trusts with names.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::session::Session;
use super::sign::role_name;
use crate::cli::Report;
use crate::failure::Failure;
use crate::key::PublicKey;
use crate::limit;
use crate::store::file::read_limited;
use crate::trust::edit::EditError;
use crate::trust::notary::NotaryKey;

/// Looks after delegated roles.
#[derive(Debug, Args)]
pub(super) struct Delegate {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Trust keys with names: a new role, or more for one that exists
    Add(Add),
    /// List the delegated roles
    Ls(Ls),
    /// Take a role away, or some of its keys and paths
    Rm(Rm),
}

#[derive(Debug, Args)]
struct Add {
    /// The collection: HOST/PATH
    gun: String,
    /// The role, for example targets/releases; `releases` is short for it
    role: String,
    /// Public keys or certificates in PEM
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// What names begin with that the role is trusted with
    #[arg(long, value_name = "PREFIX")]
    path: Vec<String>,
    /// Trust the role with all names
    #[arg(long)]
    all_paths: bool,
    /// How many keys must sign [default: 1]
    #[arg(long, value_name = "K")]
    threshold: Option<u32>,
}

#[derive(Debug, Args)]
struct Ls {
    /// The collection: HOST/PATH
    gun: String,
}

#[derive(Debug, Args)]
struct Rm {
    /// The collection: HOST/PATH
    gun: String,
    /// The role
    role: String,
    /// Ids of keys to take from it, as metadata or as key files have them [default: the whole role goes]
    #[arg(long, value_name = "ID")]
    key: Vec<String>,
    /// Paths to take from it
    #[arg(long, value_name = "PREFIX")]
    path: Vec<String>,
}

impl Delegate {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        match &self.action {
            Action::Add(command) => command.run(session),
            Action::Ls(command) => command.run(session),
            Action::Rm(command) => command.run(session),
        }
    }
}

impl Add {
    fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let role = role_name(&self.role);
        let keys = self
            .key
            .iter()
            .map(|path| read_key(path))
            .collect::<Result<Vec<_>, _>>()?;
        let mut paths = self.path.clone();
        paths.extend(self.all_paths.then(String::new));
        if keys.is_empty() && paths.is_empty() && self.threshold.is_none() {
            let problem = "nothing is added; give --key, --path, --all-paths or --threshold";
            return Err(Failure::malformed(&role, problem));
        }
        let signed = session.change(&self.gun, |collection| {
            let added = collection.delegate(&role, &keys, &paths, self.threshold);
            added.map_err(|error| session.cannot(&self.gun, error))
        })?;
        let ids: Vec<_> = keys.iter().map(|key| key.id()).collect();
        let mut text = format!("{role} of {} is trusted", self.gun);
        if !paths.is_empty() {
            let _ = write!(text, " with {}", shown(&paths));
        }
        text.push('\n');
        for id in &ids {
            let _ = writeln!(text, "  key {id}");
        }
        let json = json!({
            "collection": self.gun, "server": session.server.url(), "role": role, "keys": ids, "paths": paths,
            "rolesSigned": signed,
        });
        Ok(Report::new(text, json))
    }
}

impl Ls {
    fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let collection = session.load(&self.gun)?.collection;
        let mut text = String::new();
        let mut roles = Vec::new();
        for (_, targets) in collection.roles() {
            for role in &targets.delegations.roles {
                let signed = collection.roles().any(|(name, _)| name == role.name);
                let state = if signed { "" } else { ", nothing signed yet" };
                let _ = writeln!(
                    text,
                    "{} {} ({} of its keys sign{state})",
                    role.name,
                    shown(&role.paths),
                    role.threshold
                );
                let keys = role.keyids.iter().filter_map(|id| targets.delegations.keys.get(id));
                let keys: Vec<_> = keys
                    .map(|key| (key.id(), key.canonical_id(), key.key_type().name()))
                    .collect();
                for (id, canonical, kind) in &keys {
                    let file = if id == canonical {
                        String::new()
                    } else {
                        format!(", key file {canonical}")
                    };
                    let _ = writeln!(text, "  key {id} ({kind}{file})");
                }
                let keys: Vec<_> = keys
                    .iter()
                    .map(|(id, canonical, kind)| json!({ "id": id, "canonicalId": canonical, "type": kind }))
                    .collect();
                roles.push(json!({
                    "role": role.name, "paths": role.paths, "threshold": role.threshold, "keys": keys, "signed": signed,
                }));
            }
        }
        if roles.is_empty() {
            text.push_str("no roles are delegated to\n");
        }
        let json = json!({ "collection": self.gun, "server": session.server.url(), "roles": roles });
        Ok(Report::new(text, json))
    }
}

impl Rm {
    fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let role = role_name(&self.role);
        let whole = self.key.is_empty() && self.path.is_empty();
        let mut first = true;
        let signed = session.change(&self.gun, |collection| {
            let about = |error: EditError| session.cannot(&self.gun, error);
            let changed = match whole {
                true if !first && collection.role_keys(&role).is_err() => false,
                true => collection.undelegate(&role).map(|()| true).map_err(about)?,
                false => collection.narrow(&role, &self.key, &self.path).map_err(about)?,
            };
            if first && !changed {
                let problem = "the role has none of these keys and paths; see `imgkit trust delegate ls --server`";
                return Err(Failure::malformed(&role, problem));
            }
            first = false;
            Ok(())
        })?;
        let text = match whole {
            true => format!("removed {role} from {}\n", self.gun),
            false => format!("removed keys or paths from {role} of {}\n", self.gun),
        };
        let json = json!({
            "collection": self.gun, "server": session.server.url(), "role": role, "keys": self.key, "paths": self.path,
            "whole": whole, "rolesSigned": signed,
        });
        Ok(Report::new(text, json))
    }
}

/// Reads a delegate's public key, or certificate; docker's `.pub` files have headers.
fn read_key(path: &std::path::Path) -> Result<NotaryKey, Failure> {
    let bad = |problem: &dyn ToString| Failure::malformed(path.display(), problem.to_string());
    let text = String::from_utf8(read_limited(path, limit::CERTIFICATE_BYTES)?);
    let text = text.map_err(|_| bad(&"it is no PEM text"))?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        return NotaryKey::x509(&text).map_err(|error| bad(&error));
    }
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.contains(':') && !line.is_empty())
        .collect();
    let public = PublicKey::from_pem(&lines.join("\n")).map_err(|error| bad(&error))?;
    NotaryKey::plain(public).map_err(|error| bad(&error))
}

fn shown(paths: &[String]) -> String {
    let shown: Vec<_> = paths
        .iter()
        .map(|path| {
            if path.is_empty() {
                "all names".to_owned()
            } else {
                format!("{path}*")
            }
        })
        .collect();
    match shown.is_empty() {
        true => "no names".to_owned(),
        false => shown.join(", "),
    }
}
