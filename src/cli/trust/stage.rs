//! `imgkit trust stage`, `cosign` and `publish`: one change that several people sign before it is published.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Parser};
use serde_json::{Value, json};

use super::chosen::confirm;
use super::collections::Place;
use super::difference::Difference;
use super::drafting::Drafting;
use super::states::State;
use super::word::line;
use super::{Action, TrustOptions};
use crate::cli::{Context, Report};
use crate::failure::{Code, Failure, Refusal};
use crate::key::KeyId;
use crate::limit;
use crate::store::file::{Lock, NewFile, cannot, read_limited};
use crate::time::Time;
use crate::trust::Mark;
use crate::trust::edit::{Collection, Draft, Drafted, EditError, Lacking};

/// Writes a change to a file instead of publishing it.
#[derive(Debug, Args)]
pub(super) struct Stage {
    /// The file; where it is there, the change is made on top of what it holds
    file: PathBuf,
    /// The change: `delegate …`, `renew …`, `revoke …`, `root finish …`, `rotate …`, `sign …`, `signer …`, `unsign …`, `witness …`,
    /// with their own options
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CHANGE"
    )]
    change: Vec<OsString>,
}

/// A change that is staged, as it is written behind the file.
#[derive(Debug, Parser)]
#[command(name = "imgkit trust stage FILE", no_binary_name = true)]
struct Staged {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: TrustOptions,
}

impl Stage {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let staged = Staged::try_parse_from(&self.change);
        let staged = staged.map_err(|error| Failure::malformed("the change", error.to_string().trim_end()))?;
        if !staged.action.changes() {
            let problem = "only a change can be staged: delegate, renew, revoke, root finish, rotate, sign, signer, unsign, \
                           witness";
            return Err(Failure::malformed("the change", problem));
        }
        let options = staged.options.or(options).with_file(Drafting::Stage(self.file.clone()));
        staged.action.run(context, &options)
    }
}

/// Adds this machine's signatures to a staged change.
#[derive(Debug, Args)]
pub(super) struct Cosign {
    /// The file that `imgkit trust stage` wrote
    file: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Cosign {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let draft = read(&self.file)?;
        let mut adopted = adopt(&place, &draft, options.now(context)?)?;
        let difference = difference(&place, &mut adopted)?;
        let mut text = documents(&adopted).map_err(|error| error.about(&place.subject()))?;
        text += &difference.text(true);
        confirm(
            context,
            self.yes,
            &format!("This is to be signed for the collection {}:\n{text}", place.name),
        )?;
        // Whoever has two roots of one version signed shows each reader another.
        let root = draft.root_digest().map_err(|error| error.about(&place.subject()))?;
        if let Some((version, digest)) = root {
            let roles = adopted.root_keys();
            // Opened first: what nobody could sign is not remembered.
            if !options.open_for(context, &place.keys, &roles)?.is_empty() {
                options.keys(context)?.remember_root(&place.keys, version, digest)?;
            }
        }
        let shown = Drafting::Sign(self.file.clone(), Box::new(draft));
        let changed = options.with_file(shown).change(context, |_, _| Ok(()))?;
        changed.tell(&mut text);
        let report = json!({ "collection": place.name, "difference": difference });
        Ok(Report::new(text, changed.json(report)))
    }
}

/// Publishes a staged change that enough keys signed.
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// The file that `imgkit trust stage` wrote
    file: PathBuf,
    /// A role of which nothing need be trusted any more, till its keys sign it; may be repeated
    #[arg(long, value_name = "ROLE")]
    untrusted: Vec<String>,
}

impl Publish {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let draft = read(&self.file)?;
        // What is missing from the file, whoever had it on its way, shows in what it does.
        let mut adopted = adopt(&place, &draft, options.now(context)?)?;
        let drafted = adopted.drafted().map_err(|error| error.about(&place.subject()))?;
        if drafted.is_empty() {
            let problem = "it holds no change to publish; get it again from who made it";
            return Err(Failure::malformed(self.file.display(), problem));
        }
        let difference = difference(&place, &mut adopted)?;
        let mut text = documents(&adopted).map_err(|error| error.about(&place.subject()))?;
        text += &difference.text(true);
        let published = Drafting::Publish(self.file.clone(), Box::new(draft));
        let changed = options.with_file(published).change(context, |collection, _| {
            self.untrusted.iter().for_each(|role| collection.leave_untrusted(role));
            Ok(())
        })?;
        let _ = writeln!(text, "published {}", self.file.display());
        changed.tell(&mut text);
        let report = json!({ "published": self.file, "difference": difference });
        Ok(Report::new(text, changed.json(report)))
    }
}

/// Says which signatures a draft lacks.
pub(super) fn tell_lacking(text: &mut String, lacking: &[Lacking]) {
    for entry in lacking {
        let keys: Vec<_> = entry.keys.iter().map(|key| key.short()).collect();
        let _ = writeln!(
            text,
            "{}: {} of {} signatures; one of these keys can sign: {}",
            line(&entry.role),
            entry.have,
            entry.needed,
            keys.join(", ")
        );
    }
}

/// Refuses to publish what too few keys signed.
pub(super) fn too_few(file: &Path, lacking: &[Lacking]) -> Failure {
    let refusals = lacking.iter().map(|entry| {
        let keys: Vec<_> = entry.keys.iter().map(|key| key.short()).collect();
        Refusal::new(
            Code::Threshold,
            format!("{}: {}", file.display(), entry.role),
            format!("{} signatures by distinct keys", entry.needed),
            format!("{}", entry.have),
            format!("have a holder of {} run `imgkit trust cosign FILE`", keys.join(" or ")),
        )
    });
    Failure::Refused(refusals.collect())
}

/// Reads a staged change.
pub(super) fn read(file: &Path) -> Result<Draft, Failure> {
    let bytes = read_limited(file, limit::DRAFT_BYTES)?;
    Draft::parse(&bytes).map_err(|error| Failure::malformed(file.display(), error))
}

/// Reads a staged change, if the file is there.
pub(super) fn read_if_there(file: &Path) -> Result<Option<Draft>, Failure> {
    file.exists().then(|| read(file)).transpose()
}

/// Writes a staged change in the place of what was read before, if that is there still.
pub(super) fn replace(file: &Path, before: Option<&Draft>, draft: &Draft) -> Result<(), Failure> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let _turn = Lock::of_dir(dir.unwrap_or(Path::new(".")))?;
    match read_if_there(file)?.as_ref() == before {
        true => write(file, draft),
        false => Err(Failure::unavailable(
            file.display(),
            "somebody changed it meanwhile; it was not written, run the command again",
        )),
    }
}

/// Writes a staged change, whole or not at all.
fn write(file: &Path, draft: &Draft) -> Result<(), Failure> {
    let bytes = draft
        .to_bytes()
        .map_err(|error| Failure::malformed(file.display(), error))?;
    let mut new = NewFile::beside(file)?;
    new.write_all(&bytes).map_err(|error| cannot("write", file, &error))?;
    new.finish(file)
}

fn adopt<'a>(place: &'a Place, draft: &Draft, now: Time) -> Result<Collection<'a>, Failure> {
    let mut collection = place.load()?;
    let adopted = collection.adopt(draft, now);
    adopted.map_err(|error| error.about(&place.subject()))?;
    Ok(collection)
}

/// Says for people which documents a change is made of, until when they count, and who signed them.
fn documents(adopted: &Collection<'_>) -> Result<String, EditError> {
    let mut text = String::new();
    for Drafted { role, mark, signed, .. } in adopted.drafted()? {
        let signed: Vec<_> = signed.iter().map(KeyId::short).collect();
        let signed = match signed.as_slice() {
            [] => "nobody".to_owned(),
            keys => keys.join(", "),
        };
        let Mark { version, expires } = mark;
        let role = role.escape_debug();
        let _ = writeln!(text, "{role} version {version}, expires {expires}, signed by {signed}");
    }
    Ok(text)
}

/// Returns what a change does: to names, and to whom is trusted with them.
fn difference(place: &Place, adopted: &mut Collection<'_>) -> Result<Difference, Failure> {
    let mut before = place.load()?;
    let mut known = 0;
    loop {
        // What is new has no state before, nor has what somebody else put in a role's place; and what is not in the draft says the
        // same still. Of bins only those are looked at of which one of the two says something.
        for role in adopted.trusts().into_iter().chain(before.trusts()) {
            let said = |side: &Collection<'_>| side.targets_of(&role.name).is_some();
            if role.signs_as == role.name || said(adopted) || said(&before) {
                let _ = before.find_for(role.by.as_deref(), &role.name);
                let _ = adopted.find_for(role.by.as_deref(), &role.name);
            }
        }
        let now = before.targets().count() + adopted.targets().count();
        if now == known {
            break;
        }
        known = now;
    }
    Ok(Difference::between(
        &State::of_loaded(&before),
        &State::of_loaded(adopted),
    ))
}

/// Makes a report's part about a staged file.
pub(super) fn staged_json(file: &Path, lacking: &[Lacking]) -> Value {
    json!({ "file": file, "lacking": lacking })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_somebody_else_wrote_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("change.json");
        let draft = |name: &str| {
            let text = format!(r#"{{"collection":"{name}","documents":[],"imgkitDraft":1,"roots":[]}}"#);
            std::fs::write(&file, text).unwrap();
            read(&file).unwrap()
        };
        let (before, after) = (draft("before"), draft("after"));
        std::fs::remove_file(&file).unwrap();
        replace(&file, None, &before).unwrap();
        replace(&file, Some(&before), &after).unwrap();
        let late = replace(&file, Some(&before), &before).unwrap_err();
        assert!(matches!(late, Failure::Unavailable { .. }), "{late}");
        assert_eq!(read(&file).unwrap(), after);
    }
}
