//! `imgkit trust rotate --server`: new keys for top-level roles.

use clap::Args;
use serde_json::json;

use super::init::{RootKey, certified, plain, server_key};
use super::session::Session;
use crate::cli::Report;
use crate::failure::Failure;
use crate::key::NotaryKeyInfo;
use crate::trust::edit::EditError;

/// Gives a role a new key.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// The collection: HOST/PATH
    gun: String,
    /// The role: root, targets, snapshot or timestamp
    #[arg(value_parser = ["root", "targets", "snapshot", "timestamp"])]
    role: String,
    /// Have the server make and hold the key, of snapshot or timestamp
    #[arg(long)]
    server_managed: bool,
    #[command(flatten)]
    root: RootKey,
}

impl Rotate {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let (gun, role) = (&self.gun, self.role.as_str());
        let holds = match role {
            "timestamp" => true,
            "snapshot" => self.server_managed,
            _ if self.server_managed => {
                let problem =
                    format!("a server never holds the {role} key; it can hold those of snapshot and timestamp");
                return Err(Failure::malformed("--server-managed", problem));
            }
            _ => false,
        };
        // A collection that cannot be read, or published again, is not given keys.
        let mut collection = session.load(gun)?.collection;
        let about = |error: EditError| session.cannot(gun, error);
        let root = collection.role_keys("root").map_err(about)?;
        session.check_enough(&root)?.map_err(about)?;
        for signed in ["root", role]
            .into_iter()
            .filter(|signed| matches!(*signed, "root" | "targets"))
        {
            session.renew_role(&mut collection, signed)?;
        }
        session.freshen(&mut collection)?;
        let (key, file) = match (role, holds) {
            (_, true) => (server_key(&session.server.rotate_key(gun, role)?)?, None),
            ("root", _) => {
                let (key, path) = self.root.choose(session)?;
                (certified(session, gun, &key)?, Some(path))
            }
            _ => {
                let (key, path) = session.new_key(&NotaryKeyInfo {
                    role: role.to_owned(),
                    gun: Some(gun.clone()),
                })?;
                (plain(&key)?, Some(path))
            }
        };
        let signed = session.change(gun, |collection| {
            let rotated = collection.rotate(role, std::slice::from_ref(&key), 1);
            rotated.map_err(about)
        })?;
        let whose = match &file {
            Some(path) => format!("kept in {}", path.display()),
            None => "held by the server".to_owned(),
        };
        let mut text = format!("the {role} key of {gun} is {} now, {whose}\n", key.id());
        if role == "root" {
            text.push_str("back it up, and pin it where names are looked up; the old one vouches for it\n");
        }
        let json = json!({
            "collection": gun, "server": session.server.url(), "role": role, "key": key.id(), "file": file, "rolesSigned": signed,
        });
        Ok(Report::new(text, json))
    }
}
