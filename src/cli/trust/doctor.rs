//! `imgkit trust doctor`: what is broken about a collection and its keys, and which command mends it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::TrustOptions;
use super::collections::Place;
use super::word::{line, word};
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::KeyFile;
use crate::limit;
use crate::store::TrustPlace;
use crate::store::file::read_limited;
use crate::store::trust_dir::NEXT;
use crate::time::Time;
use crate::trust::edit::{Collection, EditError, RoleInfo, margin};
use crate::trust::{Distrusted, TrustError, file_name, root_version};

/// Says what is broken, and which command mends it; exit 1 when something is.
#[derive(Debug, Args)]
pub(super) struct Doctor {}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Weight {
    /// It stands in somebody's way now.
    Broken,
    /// It will, or may.
    Soon,
    /// It is as it may be, and good to know.
    Note,
}

/// Something that was found.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    weight: Weight,
    subject: String,
    problem: String,
    mend: String,
}

/// All that was found.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, weight: Weight, subject: impl ToString, problem: impl ToString, mend: impl ToString) {
        self.0.push(Finding {
            weight,
            subject: subject.to_string(),
            problem: problem.to_string(),
            mend: mend.to_string(),
        });
    }
}

impl Doctor {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let mut findings = Findings::default();
        let now = options.now(context)?;
        let mut name = None;
        match options.place(context) {
            Ok(place) => {
                name = Some(place.name.clone());
                check_files(&place, &mut findings)?;
                match Collection::load_after(&place.pin, &place.known()?, &place.at) {
                    Ok(collection) => check_collection(context, options, &place, collection, now, &mut findings)?,
                    Err(error @ EditError::Trust(TrustError::Source(_))) => return Err(error.about(&place.subject())),
                    Err(error) => {
                        let (problem, mend) = mend_top(&error);
                        findings.add(Weight::Broken, place.subject(), problem, mend);
                    }
                }
            }
            // What stands in the way of finding the collection is the first thing to mend.
            Err(failure) => findings.add(
                Weight::Broken,
                "the collection",
                failure,
                "name it with --collection and --trust-dir, and its root.json with --pin; or make one: imgkit trust init NAME",
            ),
        }
        check_key_files(options.keys(context)?.dir(), &mut findings);
        // Where the collection had to be named, its commands need that too.
        let named = options.as_named();
        if !named.is_empty() {
            for finding in &mut findings.0 {
                finding.mend = finding.mend.replace("imgkit trust ", &format!("imgkit trust {named}"));
            }
        }
        let broken = findings.0.iter().any(|finding| finding.weight == Weight::Broken);
        let mut text = String::new();
        for finding in &findings.0 {
            let weight = match finding.weight {
                Weight::Broken => "BROKEN",
                Weight::Soon => "soon",
                Weight::Note => "note",
            };
            let _ = writeln!(
                text,
                "{weight}: {}: {}\n    mend it: {}",
                line(&finding.subject),
                line(&finding.problem),
                line(&finding.mend)
            );
        }
        if findings.0.is_empty() {
            text.push_str("nothing is broken\n");
        }
        Ok(Report {
            yes: !broken,
            ..Report::new(
                text,
                json!({ "collection": name, "judgedAt": now, "findings": findings.0 }),
            )
        })
    }
}

/// Looks at the files of a directory: half-written ones, and roots that the chain does not reach.
fn check_files(place: &Place, findings: &mut Findings) -> Result<(), Failure> {
    let TrustPlace::Directory(dir) = &place.at else {
        return Ok(());
    };
    // What counts is in it already, though a publisher was killed, or did not find the room, before the files had their own names.
    let unsettled = dir.is_unsettled()?;
    if unsettled {
        let problem = "a publication counts whose files have not got their own names: a web server would not show it";
        findings.add(
            Weight::Note,
            place.subject(),
            problem,
            "any change gives them their names; remove nothing",
        );
    }
    let entries = std::fs::read_dir(dir.dir()).into_iter().flatten().flatten();
    let names: BTreeSet<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    for name in names
        .iter()
        .filter(|name| name.starts_with('.') && !name.ends_with(".lock") && !(unsettled && *name == NEXT))
    {
        let path = dir.dir().join(name);
        let mend = format!(
            "rm -r {} when nobody publishes; any later change goes on without it",
            of_file(&path)
        );
        findings.add(
            Weight::Note,
            path.display(),
            "a publisher that was killed left it behind",
            mend,
        );
    }
    let roots: BTreeSet<u64> = names.iter().filter_map(|name| root_version(name)).collect();
    if let (Some(first), Some(last)) = (roots.first(), roots.last()) {
        for gap in (*first..*last).filter(|version| !roots.contains(version)) {
            let file = file_name("root", Some(gap));
            let mend = format!(
                "put {file} back from a backup or from anybody's copy of the collection; it cannot be made again"
            );
            findings.add(
                Weight::Broken,
                &file,
                "it is missing: who pins an earlier root cannot reach the later ones",
                mend,
            );
        }
    }
    Ok(())
}

fn check_collection(
    context: &Context,
    options: &TrustOptions,
    place: &Place,
    mut collection: Collection<'_>,
    now: Time,
    findings: &mut Findings,
) -> Result<(), Failure> {
    // Role by role: one that is broken must not hide the others.
    loop {
        let roles = collection.roles();
        let mut grown = false;
        for role in roles.iter().filter(|role| role.by.is_some() && role.mark.is_none()) {
            let known = findings.0.iter().any(|finding| finding.subject == role.name);
            if known {
                continue;
            }
            match collection.find(&role.name) {
                Ok(()) if collection.targets_of(&role.name).is_some() => grown = true,
                Ok(()) => {
                    let mend = format!("imgkit trust renew {}, where its keys are", of_role(&role.name));
                    let problem = "it has signed no targets yet: names that it is trusted with cannot be looked up";
                    findings.add(Weight::Note, &role.name, problem, mend);
                }
                Err(error @ EditError::Trust(TrustError::Source(_))) => return Err(error.about(&place.subject())),
                Err(error) => {
                    let (problem, mend) = mend_role(role, &error);
                    findings.add(Weight::Broken, &role.name, problem, mend);
                }
            }
        }
        if !grown {
            break;
        }
    }
    let distrusted = collection.load_trusted();
    for Distrusted { role, by, error } in distrusted.map_err(|error| error.about(&place.subject()))? {
        // Of the others it was told.
        if collection.targets_of(&role).is_some() {
            let problem = format!(
                "it does not count for {}, who trusts it as well: {error}",
                by.escape_debug()
            );
            let (by, name) = (by.escape_debug(), of_role(&role));
            let mend = format!(
                "imgkit trust witness {name}, where the keys are to which {by} trusts it; or, where those of {by} are, imgkit trust \
                 delegate rm {name}"
            );
            findings.add(Weight::Broken, &role, problem, mend);
        }
    }
    let store = options.keys(context)?;
    let mut roles = collection.roles();
    // In the order in which new keys can be had: a change is signed by the timestamp's and the snapshot's keys too.
    roles.sort_by_key(|role| match role.name.as_str() {
        "timestamp" => 0,
        "snapshot" => 1,
        "root" => 3,
        _ => 2,
    });
    for role in roles {
        if let Some(mark) = role.mark {
            let mend = format!("imgkit trust renew {}", of_role(&role.name));
            if mark.expires <= now {
                findings.add(
                    Weight::Broken,
                    &role.name,
                    format!("version {} expired at {}", mark.version, mark.expires),
                    mend,
                );
            } else if mark.expires <= now.plus(margin(&role.name)) {
                findings.add(
                    Weight::Soon,
                    &role.name,
                    format!("version {} expires at {}", mark.version, mark.expires),
                    mend,
                );
            }
        }
        if role.signs_as != role.name {
            continue;
        }
        check_keys(place, &role, &store, findings)?;
    }
    Ok(())
}

/// Counts a role's keys: those that can sign at all, and those that are here.
fn check_keys(
    place: &Place,
    role: &RoleInfo,
    store: &crate::store::KeyStore,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let needed = usize::try_from(role.keys.threshold()).unwrap_or(usize::MAX);
    let usable = role.keys.keys().len();
    if usable < needed {
        let problem = format!("{needed} keys must sign and it has {usable} that can: nothing it signs is ever trusted");
        let mend = format!(
            "imgkit trust rotate {} --threshold {}",
            of_role(&role.name),
            usable.max(1)
        );
        findings.add(Weight::Broken, &role.name, problem, mend);
        return Ok(());
    }
    let mut here = 0;
    for id in role.keys.own_ids() {
        here += usize::from(store.find(&place.keys, &role.name, &id)?.is_some());
    }
    if here < needed {
        let problem = format!("{needed} of its keys must sign, and {here} are here");
        let lost = match role.name.as_str() {
            // Only they can give a collection other keys.
            "root" => "`imgkit trust restore FILE` from a backup; without one, make a new collection, and have its root pinned".to_owned(),
            name => format!("`imgkit trust rotate {}`", of_role(name)),
        };
        let mend = format!(
            "nothing, if they are kept elsewhere on purpose: work with `imgkit trust stage`; if they are lost, {lost}"
        );
        findings.add(Weight::Note, &role.name, problem, mend);
    }
    Ok(())
}

/// Looks at who may read the private keys.
fn check_key_files(dir: &Path, findings: &mut Findings) {
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        let mode = metadata.permissions().mode() & 0o777;
        let (is_key, wanted) = match metadata.is_dir() {
            true => (true, 0o700),
            false => (
                path.extension()
                    .is_some_and(|extension| extension == "pem" || extension == "key"),
                0o600,
            ),
        };
        if is_key && mode & 0o077 != 0 {
            let problem = format!("its mode is {mode:o}, expected {wanted:o}: others can read it");
            findings.add(
                Weight::Broken,
                path.display(),
                problem,
                format!("chmod {wanted:o} {}", of_file(&path)),
            );
        }
        let is_private = path.extension().is_some_and(|extension| extension == "pem");
        if metadata.is_file()
            && is_private
            && let Err(problem) = read_key_file(&path)
        {
            let mend = "imgkit trust restore FILE from a backup, once it is moved away";
            findings.add(Weight::Broken, path.display(), problem, mend);
        }
        if metadata.is_dir() {
            left.extend(
                std::fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        }
    }
}

/// Tells whether a file is a private key, which is not opened.
fn read_key_file(path: &Path) -> Result<(), String> {
    let bytes = read_limited(path, limit::KEY_FILE_BYTES).map_err(|failure| failure.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let parsed = KeyFile::parse(&text).map_err(|error| error.to_string());
    parsed.map(|_| ())
}

/// Returns a role's name for a command.
fn of_role(name: &str) -> String {
    word(name, "ROLE")
}

/// Returns a file's path for a command.
fn of_file(path: &Path) -> String {
    path.to_str()
        .map_or_else(|| "FILE".to_owned(), |path| word(path, "FILE"))
}

/// Says what is wrong with the top level, and what mends it.
fn mend_top(error: &EditError) -> (String, String) {
    let mend = match error {
        EditError::Trust(TrustError::Pin { .. }) => {
            "get the collection's first root.json from its owner again, and name it with --pin"
        }
        EditError::Trust(TrustError::Missing { .. } | TrustError::Digest { .. } | TrustError::Version { .. }) => {
            "put the file back from a backup or from anybody's copy of the collection; then imgkit trust renew"
        }
        EditError::Trust(TrustError::Malformed { .. }) => {
            "put the file back from a backup or from anybody's copy; where you have an export of the collection, move the broken file \
             away, then imgkit trust import FILE"
        }
        EditError::Trust(TrustError::Rollback { .. }) => {
            "somebody put old files back: restore the newest ones from a backup"
        }
        EditError::Trust(TrustError::WrongKey { .. } | TrustError::Unsigned { .. } | TrustError::Threshold { .. }) => {
            "its files are not what the keys of the pinned root signed: restore them from a backup; if the pin is another \
             collection's, name the right one with --pin"
        }
        _ => "restore the collection's files from a backup or from anybody's copy",
    };
    (error.to_string(), mend.to_owned())
}

/// Says what is wrong with a delegated role, and what mends it.
fn mend_role(role: &RoleInfo, error: &EditError) -> (String, String) {
    let name = of_role(&role.name);
    let mut mends = match error {
        EditError::Trust(error) if error.is_damage() => vec![
            "put its file back from a backup or from anybody's copy".to_owned(),
            format!("imgkit trust renew {name} --lost where nobody has one, and sign again what it said"),
        ],
        EditError::Trust(TrustError::Revoked { .. }) => vec![
            format!("imgkit trust witness {name}, where its present keys are"),
            format!("imgkit trust renew {name} --anew, where the role was taken away and added again"),
        ],
        EditError::Trust(TrustError::WrongKey { .. } | TrustError::Unsigned { .. } | TrustError::Threshold { .. }) => {
            vec![format!("imgkit trust witness {name}, where its present keys are")]
        }
        _ => vec!["have its signer publish it again".to_owned()],
    };
    // A bin is its role's, and does not go alone.
    if role.signs_as == role.name {
        mends.push(format!("imgkit trust delegate rm {name}"));
    }
    (error.to_string(), mends.join("; or "))
}
