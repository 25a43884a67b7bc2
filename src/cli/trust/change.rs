//! The one way to change a collection: read it, work on it, sign with the keys that are here, publish or write to a file.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde_json::{Value, json};

use super::TrustOptions;
use super::collections::Place;
use super::drafting::{Adopted, Drafting};
use super::stage;
use super::word::word;
use crate::cli::Context;
use crate::failure::Failure;
use crate::key::Signer;
use crate::limit;
use crate::store::KeyStore;
use crate::store::key_store::Secrets;
use crate::store::trust_place::{Outcome, PlacePublisher};
use crate::time::Time;
use crate::trust::edit::{Collection, Draft, EditError, Lacking, Lost, RoleSpec};
use crate::trust::{Distrusted, RoleKeys};

/// Where what came of a change is written.
enum Destination<'a> {
    File(&'a Path),
    Place(PlacePublisher<'a>),
}

/// A change that is made and not signed yet.
struct Prepared {
    /// What the file held to which it goes.
    before: Option<Draft>,
    /// The roles that sign here.
    roles: BTreeSet<String>,
    /// The files of their keys that are here.
    files: BTreeMap<String, BTreeSet<PathBuf>>,
}

/// What became of a change.
#[derive(Clone, Debug, Default)]
pub(super) struct Changed {
    /// The roles that signed.
    pub(super) roles: BTreeSet<String>,
    /// The file that it was written to instead of being published, and which signatures are lacking.
    staged: Option<(PathBuf, Vec<Lacking>)>,
    /// For whom roles do not count any more.
    lost: Vec<Lost>,
    /// Roles of the top level that have expired and were not signed, and when.
    expired: Vec<(String, Time)>,
}

impl Changed {
    /// Tells whether the change was published.
    pub(super) fn published(&self) -> bool {
        self.staged.is_none()
    }

    /// Says where a staged change is.
    pub(super) fn tell(&self, text: &mut String) {
        for Lost { role, by } in &self.lost {
            *text += &format!(
                "NO LONGER TRUSTED as {} trusts it: {}; too few of the keys that it wants are here\n",
                by.escape_debug(),
                role.escape_debug()
            );
        }
        for (role, at) in &self.expired {
            *text += &format!(
                "EXPIRED {role} at {at}: nothing is trusted until it is signed again: imgkit trust renew {role}\n"
            );
        }
        if let Some((file, lacking)) = &self.staged {
            *text += &format!("staged in {}, NOT published\n", file.display());
            stage::tell_lacking(text, lacking);
            // What counts for nobody any more is published where that is asked for.
            let lost: BTreeSet<_> = self.lost.iter().map(|lost| word(&lost.role, "ROLE")).collect();
            for role in &lost {
                *text += &format!(
                    "where the keys of {role} are, have them sign it as well: imgkit trust stage {} witness {role}\n",
                    file.display()
                );
            }
            if lacking.is_empty() {
                let untrusted: String = lost.iter().map(|role| format!(" --untrusted {role}")).collect();
                *text += &format!(
                    "enough keys signed; publish it: imgkit trust publish {}{untrusted}\n",
                    file.display()
                );
            }
        }
    }

    /// Adds what became of the change to a report.
    pub(super) fn json(&self, mut report: Value) -> Value {
        if let Some(report) = report.as_object_mut() {
            report.insert("rolesSigned".to_owned(), json!(self.roles));
            if !self.lost.is_empty() {
                let lost = self
                    .lost
                    .iter()
                    .map(|Lost { role, by }| json!({ "role": role, "by": by }));
                report.insert("noLongerTrustedBy".to_owned(), lost.collect());
            }
            if !self.expired.is_empty() {
                let expired = self
                    .expired
                    .iter()
                    .map(|(role, at)| json!({ "role": role, "expires": at }));
                report.insert("expired".to_owned(), expired.collect());
            }
            if let Some((file, lacking)) = &self.staged {
                report.insert("staged".to_owned(), stage::staged_json(file, lacking));
            }
        }
        report
    }
}

impl TrustOptions {
    /// Changes a collection: reads it, works on it, signs and publishes what came of it, and does all of that again where
    /// somebody else published meanwhile. While staging, the outcome is written to a file, on top of what that holds.
    pub(super) fn change(
        &self,
        context: &Context,
        mut work: impl FnMut(&mut Collection<'_>, Time) -> Result<(), EditError>,
    ) -> Result<Changed, Failure> {
        let now = self.now(context)?;
        let place = self.place(context)?;
        let subject = place.subject();
        let secrets = self.passphrase().asked(context);
        let about = |error: EditError| error.about(&subject);
        // Of a change that several people sign the others can be told.
        let too_few = |error: EditError| match (&self.drafting, Lacking::of(&error)) {
            (Some(Drafting::Publish(file, _)), Some(lacking)) => stage::too_few(file, &[lacking]),
            (None, Some(_)) => {
                let mend = "where others have the rest, make the change with `imgkit trust stage FILE …`, for them to sign it too";
                Failure::malformed(&subject, format!("{error}; {mend}"))
            }
            _ => about(error),
        };
        let mut keys = BTreeMap::new();
        if self.passphrase().asks(context) {
            // Keys are opened before a lock is taken: others should not wait for a person.
            let mut collection = place.load()?;
            let Prepared { files, .. } = self.prepare(context, &place, &mut collection, &mut work, now)?;
            open_all(files.values().flatten(), &secrets, &mut keys)?;
        }
        for attempt in 0..limit::PUBLISH_ATTEMPTS {
            let destination = match &self.drafting {
                Some(Drafting::Stage(file) | Drafting::Sign(file, _)) => Destination::File(file),
                Some(Drafting::Publish(..)) | None => Destination::Place(place.at.publisher()?),
            };
            let mut collection = place.load()?;
            let Prepared { before, roles, files } = self.prepare(context, &place, &mut collection, &mut work, now)?;
            if collection.to_sign().is_empty() {
                return Ok(Changed {
                    roles,
                    ..Changed::default()
                });
            }
            let expired = expired(&collection, now);
            open_all(files.values().flatten(), &secrets, &mut keys)?;
            let open = |files: &BTreeSet<PathBuf>| files.iter().filter_map(|file| keys.get(file)).collect::<Vec<_>>();
            let prints = |files| open(files).iter().map(|key| key.public().fingerprint()).collect();
            collection.only_with(
                files
                    .iter()
                    .map(|(role, files)| (role.clone(), prints(files)))
                    .collect(),
            );
            let signers: Vec<_> = files.values().flat_map(open).map(AsRef::as_ref).collect();
            match destination {
                Destination::File(file) => {
                    let lost = collection.left_untrusted().map_err(about)?;
                    let (draft, lacking) = collection.draft(&place.keys, &signers, now).map_err(about)?;
                    stage::replace(file, before.as_ref(), &draft)?;
                    let staged = Some((file.to_owned(), lacking));
                    return Ok(Changed {
                        roles,
                        staged,
                        lost,
                        expired,
                    });
                }
                Destination::Place(publisher) => {
                    let before = collection.published().map(|chain| chain.files().clone());
                    let publication = collection.sign(&signers, now).map_err(too_few)?;
                    match publisher.publish(&publication)? {
                        Outcome::Published => {
                            let mut files = before.unwrap_or_default();
                            files.add_all(publication.files());
                            place.remember(&files);
                            return Ok(Changed {
                                roles,
                                staged: None,
                                lost: publication.lost().to_vec(),
                                expired,
                            });
                        }
                        Outcome::Overtaken => std::thread::sleep(pause(attempt)?),
                    }
                }
            }
        }
        let problem = format!(
            "others published first, {} times in a row; nothing was changed; try again when they are done",
            limit::PUBLISH_ATTEMPTS
        );
        Err(Failure::unavailable(subject, problem))
    }

    /// Reads a collection as its owner, with what a change that is being staged has made of it so far.
    pub(super) fn load<'p>(&self, context: &Context, place: &'p Place) -> Result<Collection<'p>, Failure> {
        let mut collection = place.load()?;
        if let Some(drafting) = &self.drafting {
            drafting.adopt(context, self, &place.keys, &mut collection, self.now(context)?)?;
        }
        Ok(collection)
    }

    /// Reads what is trusted of a collection as its owner, who has to look after it also where another broke his part, with what a change
    /// that is being staged has made of it so far: and the roles that are not trusted, each with the reason.
    pub(super) fn load_trusted<'p>(
        &self,
        context: &Context,
        place: &'p Place,
    ) -> Result<(Collection<'p>, Vec<Distrusted>), Failure> {
        let mut collection = self.load(context, place)?;
        let distrusted = collection.load_trusted();
        let distrusted = distrusted.map_err(|error| error.about(&place.subject()))?;
        Ok((collection, distrusted))
    }

    /// Takes what a file holds into a collection, works on it, and finds the keys that sign then.
    fn prepare(
        &self,
        context: &Context,
        place: &Place,
        collection: &mut Collection<'_>,
        work: &mut impl FnMut(&mut Collection<'_>, Time) -> Result<(), EditError>,
        now: Time,
    ) -> Result<Prepared, Failure> {
        let adopted = match &self.drafting {
            Some(drafting) => drafting.adopt(context, self, &place.keys, collection, now)?,
            None => Adopted::default(),
        };
        work(collection, now).map_err(|error| error.about(&place.subject()))?;
        let roles = collection.to_sign_here();
        let files = self.key_files(context, &place.keys, collection, &roles)?;
        if let Some(Drafting::Stage(file)) = &self.drafting {
            adopted.check_seen(file, collection, &roles, &files)?;
        }
        Ok(Prepared {
            before: adopted.draft,
            roles,
            files,
        })
    }

    /// Finds for each role the files of as many keys as must sign; where there are fewer, signing says so.
    pub(super) fn key_files(
        &self,
        context: &Context,
        name: &str,
        collection: &mut Collection<'_>,
        roles: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, BTreeSet<PathBuf>>, Failure> {
        let store = self.keys(context)?;
        let mut needed = BTreeMap::new();
        for role in roles {
            let found = collection.find(role).and_then(|()| collection.load_trusting(role));
            found.map_err(|error| error.about(name))?;
            // A bin's keys are those of the role that it is a part of.
            let as_role = collection.signs_as(role);
            if let Entry::Vacant(new) = needed.entry(as_role) {
                let keys = collection.role_keys(new.key()).map_err(|error| error.about(name))?;
                let others = collection.keys_by_others(new.key());
                new.insert([vec![keys], others].concat());
            }
        }
        if let Some((keys, published)) = needed.get_mut("root").zip(collection.published()) {
            keys.push(published.top_level_keys("root"));
        }
        let mut files: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
        let mut opened = BTreeMap::new();
        for (role, keys) in needed
            .iter()
            .flat_map(|(role, all)| all.iter().map(move |keys| (role, keys)))
        {
            let mut found = Vec::new();
            for id in keys.own_ids() {
                found.extend(store.find(name, role, &id)?.map(|file| (id, file)));
            }
            let enough = usize::try_from(keys.threshold()).unwrap_or(usize::MAX);
            // A key that several roles have is opened once.
            let own = files.entry(role.clone()).or_default();
            for (id, file) in found.into_iter().take(enough) {
                own.insert(opened.entry(id).or_insert(file).clone());
            }
        }
        Ok(files)
    }

    /// Opens those of some roles' keys that are here.
    pub(super) fn open_for(
        &self,
        context: &Context,
        name: &str,
        roles: &[RoleKeys],
    ) -> Result<Vec<Box<dyn Signer>>, Failure> {
        let store = self.keys(context)?;
        let mut files = BTreeSet::new();
        for (role, id) in roles.iter().flat_map(|keys| keys.own_ids().map(|id| (keys.role(), id))) {
            files.extend(store.find(name, role, &id)?);
        }
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let mut keys = BTreeMap::new();
        open_all(&files, &self.secrets(context), &mut keys)?;
        Ok(keys.into_values().collect())
    }

    /// Tells whether enough keys of a role that is to be are here.
    pub(super) fn has_keys_of(
        &self,
        context: &Context,
        name: &str,
        role: &str,
        spec: &RoleSpec,
    ) -> Result<bool, Failure> {
        let store = self.keys(context)?;
        let mut here = 0;
        for key in &spec.keys {
            here += u32::from(store.find(name, role, &key.id())?.is_some());
        }
        Ok(here >= spec.threshold)
    }
}

/// Lists the roles of the top level that have expired and are not signed again.
fn expired(collection: &Collection<'_>, now: Time) -> Vec<(String, Time)> {
    let signed = collection.to_sign();
    let marks = collection.roles().into_iter().filter(|role| role.by.is_none());
    let marks = marks.filter_map(|role| Some((role.name, role.mark?.expires)));
    marks
        .filter(|(role, expires)| *expires <= now && !signed.contains(role))
        .collect()
}

/// Opens keys that are not open yet, which takes a quarter of a second each, side by side.
fn open_all<'a>(
    files: impl IntoIterator<Item = &'a PathBuf>,
    secrets: &dyn Secrets,
    keys: &mut BTreeMap<PathBuf, Box<dyn Signer>>,
) -> Result<(), Failure> {
    let files: BTreeSet<_> = files.into_iter().filter(|file| !keys.contains_key(*file)).collect();
    let open = |file: &&PathBuf| Ok(((*file).clone(), KeyStore::open(file, secrets)?));
    let opened: Result<Vec<_>, Failure> = files.par_iter().map(open).collect();
    keys.extend(opened?);
    Ok(())
}

/// How long a publisher who was overtaken waits: a random time, longer with each attempt, so that two do not meet for ever.
pub(super) fn pause(attempt: u32) -> Result<Duration, Failure> {
    let random = getrandom::u32().map_err(|error| Failure::unavailable("random numbers", error))?;
    let longest = limit::FIRST_PAUSE * 2u32.pow(attempt.min(4));
    Ok(longest.mul_f64(f64::from(random) / f64::from(u32::MAX)))
}
