//! `imgkit trust root`: a new root, signed on machines that see nothing but files.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::TrustOptions;
use super::chosen::{ChosenKeys, NewKeys, confirm};
use super::difference::Difference;
use super::stage::{read, read_if_there, replace, tell_lacking};
use super::states::State;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::trust::edit::{Draft, EditError, RoleSpec};

/// Makes a new root with keys that are offline: propose it, sign the file where the keys are, finish.
#[derive(Debug, Args)]
pub(super) struct RootCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Publish a root that enough keys signed, and sign again what its new keys have to
    Finish(Finish),
    /// Write a new root to a file: with other keys for a role, or the same again with a later expiry
    Propose(Propose),
    /// Sign a proposed root with the root keys that are here; needs no collection and no network
    Sign(Sign),
}

#[derive(Debug, Args)]
struct Propose {
    /// The file
    file: PathBuf,
    /// The role that gets other keys [default: none; the root gets a later expiry]
    #[arg(long, value_parser = ["root", "targets", "snapshot", "timestamp"])]
    role: Option<String>,
    #[command(flatten)]
    keys: ChosenKeys,
    /// How many of the role's keys must sign [default: as many as now]
    #[arg(long, value_name = "K", requires = "role")]
    threshold: Option<u32>,
}

#[derive(Debug, Args)]
struct Sign {
    /// The file
    file: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct Finish {
    /// The file
    file: PathBuf,
}

impl RootCommand {
    /// Tells whether the collection is changed by it, and not a file alone.
    pub(super) fn finishes(&self) -> bool {
        matches!(self.action, Action::Finish(_))
    }

    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        match &self.action {
            Action::Finish(finish) => finish.run(context, options),
            Action::Propose(propose) => propose.run(context, options),
            Action::Sign(sign) => sign.run(context, options),
        }
    }
}

impl Propose {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let about = |error: EditError| error.about(&place.subject());
        let now = options.now(context)?;
        let mut collection = place.load()?;
        let before = read_if_there(&self.file)?;
        if let Some(draft) = &before {
            collection.adopt(draft, now).map_err(about)?;
        }
        match &self.role {
            Some(role) => {
                let present = collection.role_keys(role).map_err(about)?;
                let count = present.keyids().len().max(1);
                let new = match self.keys.any() || self.threshold.is_none() {
                    true => Some(self.keys.make(context, options, count)?),
                    false => None,
                };
                let old = || present.keys().values().cloned().collect();
                let spec = RoleSpec {
                    keys: new.as_ref().map_or_else(old, NewKeys::public),
                    threshold: self.threshold.unwrap_or(present.threshold()),
                };
                collection.replace_keys(role, &spec, now).map_err(about)?;
                if let Some(new) = new {
                    new.keep(context, &options.keys(context)?, &place.keys, role)?;
                }
            }
            None => collection.renew("root").map_err(about)?,
        }
        let (made, lacking) = collection.draft(&place.keys, &[], now).map_err(about)?;
        replace(&self.file, before.as_ref(), &made)?;
        let mut text = describe(&made)?;
        let _ = writeln!(
            text,
            "written to {0}; sign it where the root keys are: imgkit trust root sign {0}",
            self.file.display()
        );
        tell_lacking(&mut text, &lacking);
        Ok(Report::new(
            text,
            json!({ "file": self.file, "roles": made.roles(), "lacking": lacking }),
        ))
    }
}

impl Sign {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let mut draft = read(&self.file)?;
        let about = |error: EditError| error.about(&self.file.display().to_string());
        let pin = options.pin_of(context, &draft.collection)?;
        let now = options.now(context)?;
        let mut text = match &pin {
            Some((path, _)) => format!("judged from the root that {} pins\n", path.display()),
            None => {
                "NO root is pinned here: compare the key ids of the present root with those that you know\n".to_owned()
            }
        };
        let pin = pin.as_ref().map(|(_, bytes)| bytes.as_slice());
        let roles = draft.root_roles(pin, now).map_err(about)?;
        for (which, role) in ["present", "next"].into_iter().zip(&roles) {
            let _ = writeln!(text, "root keys of the {which} root, {} must sign:", role.threshold());
            for id in role.keyids() {
                let _ = writeln!(text, "  {id}");
            }
        }
        text.push_str(&describe(&draft)?);
        let present = draft.chain(pin).map_err(|error| about(error.into()))?;
        if let Some(next) = draft.root().map_err(|error| about(error.into()))? {
            let present = State::of_root(present.newest_root().body());
            text += &Difference::between(&present, &State::of_root(&next)).text(true);
        }
        confirm(context, self.yes, &text)?;
        let keys = options.open_for(context, &draft.collection, &roles)?;
        let keys: Vec<_> = keys.iter().map(AsRef::as_ref).collect();
        if keys.is_empty() {
            let problem = "none of the root's keys is in the key directory; name it with --key-dir";
            return Err(Failure::malformed(self.file.display(), problem));
        }
        if let Some((version, digest)) = draft.root_digest().map_err(|error| about(error.into()))? {
            let store = options.keys(context)?;
            store.remember_root(&draft.collection, version, digest)?;
        }
        let shown = draft.clone();
        let lacking = draft.sign_root(pin, &keys, now).map_err(about)?;
        replace(&self.file, Some(&shown), &draft)?;
        let _ = writeln!(text, "signed {} with {} keys", self.file.display(), keys.len());
        tell_lacking(&mut text, &lacking);
        if lacking.is_empty() {
            let _ = writeln!(
                text,
                "publish it where the collection is: imgkit trust root finish {}",
                self.file.display()
            );
        }
        Ok(Report::new(text, json!({ "file": self.file, "lacking": lacking })))
    }
}

impl Finish {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let draft = read(&self.file)?;
        let changed = options.change(context, |collection, now| collection.adopt_root(&draft, now))?;
        let mut text = String::new();
        let published = changed.published().then_some(&self.file);
        if let Some(file) = published {
            let _ = writeln!(text, "published {}", file.display());
        }
        changed.tell(&mut text);
        Ok(Report::new(text, changed.json(json!({ "published": published }))))
    }
}

/// Says for people which keys the next root has.
fn describe(draft: &Draft) -> Result<String, Failure> {
    let root = draft.root().map_err(|error| error.about("the proposed root"))?;
    let mut text = String::new();
    if let Some(root) = root {
        let _ = writeln!(
            text,
            "root version {}, expires {}",
            root.header.version, root.header.expires
        );
        for (name, role) in &root.roles {
            let keys: Vec<_> = role.keyids.iter().map(ToString::to_string).collect();
            let name = name.escape_debug();
            let _ = writeln!(text, "  {name}: {} of {}", role.threshold, keys.join(" "));
        }
    }
    Ok(text)
}
