//! Delegated roles on their way into a TUF collection: what they are called there, the names they are trusted with, their keys.
//!
//! - `targets/a/b` becomes `a.b`: Notary's roles have no point in their names, and files of keys no slash. A name that means
//!   something else in the new collection already gets the Notary collection's before it.
//! - Beginnings of names become patterns. A star of a pattern ends at `/`, so that there is one for each depth.
//! - Notary asks `targets/releases` before the top level, and TUF asks the top level first: where both sign, what the top level
//!   signed goes to the role `owner`, which is asked after `releases`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use super::report::Imported;
use crate::cli::Context;
use crate::cli::trust::chosen::{ChosenKeys, OpenKeys, RoleKeySpecs};
use crate::failure::Failure;
use crate::key::{Algorithm, KeyId, KeySpec, TufKey};
use crate::reference::Reference;
use crate::store::KeyStore;
use crate::store::key_store::Secrets;
use crate::time::Time;
use crate::trust::edit::{Collection, EditError, RoleSpec};
use crate::trust::notary::{AskedRole, RELEASES};

const TARGETS: &str = "targets";

/// What the top level signed, where Notary asks another role first.
const OWNER: &str = "owner";

/// Names have this many parts at most, unless the collection has deeper ones.
const USUAL_DEPTH: usize = 8;

/// A collection's name, and the names that its targets get.
#[derive(Debug)]
pub(super) struct Gun {
    name: String,
    /// The name of its images, without the tag.
    images: Option<String>,
    depth: usize,
}

impl Gun {
    /// Takes a collection's name, and the most parts that a name in it has.
    pub(super) fn new(name: &str, depth: usize) -> Self {
        let tag = format!("{name}:tag").parse::<Reference>().ok();
        let tag = tag.and_then(|reference| reference.target_name());
        Self {
            name: name.to_owned(),
            images: tag.and_then(|tag| Some(tag.strip_suffix(":tag")?.to_owned())),
            depth: depth.max(USUAL_DEPTH),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the target name of an image, if `name` can be a tag.
    pub(super) fn tag(&self, name: &str) -> Option<String> {
        let tag = format!("{}:{name}", self.name).parse::<Reference>().ok();
        tag.and_then(|reference| reference.target_name())
    }

    /// Returns the target name of a plain file.
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// Returns patterns for the names that begin with one of `paths`.
    fn patterns<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut patterns = Vec::new();
        for path in paths {
            let tags = self.images.as_ref().filter(|_| !path.contains('/'));
            patterns.extend(tags.map(|images| format!("{}:{}*", literal(images), literal(path))));
            let mut files = format!("{}/{}*", literal(&self.name), literal(path));
            for _ in path.split('/').count()..=self.depth {
                patterns.push(files.clone());
                files.push_str("/*");
            }
        }
        patterns
    }

    /// Tells whether a role of the new collection is trusted with nothing but names of this one.
    fn owns(&self, patterns: &[String]) -> bool {
        let files = format!("{}/", literal(&self.name));
        let tags = self.images.as_ref().map(|images| format!("{}:", literal(images)));
        let is_ours = |pattern: &String| {
            pattern.starts_with(&files) || tags.as_ref().is_some_and(|tags| pattern.starts_with(tags))
        };
        !patterns.is_empty() && patterns.iter().all(is_ours)
    }

    /// Returns what comes before the name of a role that is another's already.
    fn as_word(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        self.name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
    }
}

/// Writes text as a pattern that matches it and nothing else.
fn literal(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        match c {
            '*' | '?' | '[' => pattern.extend(['[', c, ']']),
            _ => pattern.push(c),
        }
    }
    pattern
}

impl Serialize for Gun {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

/// A role of the new collection that holds what a role of Notary's signed.
#[derive(Debug, Serialize)]
pub(super) struct Remade {
    notary: String,
    /// Its name in the new collection.
    role: String,
    /// The role there that delegates to it.
    by: String,
    patterns: Vec<String>,
    threshold: u32,
    /// The role's keys in Notary.
    notary_keys: Vec<KeyId>,
    /// Whether anybody had signed for it.
    was_signed: bool,
    /// Whether the new collection had it before: then its keys are as they were.
    was_there: bool,
    /// The keys that it was given, and new ones.
    keys: Vec<KeyId>,
    /// How many of these were made here.
    made: usize,
    #[serde(skip)]
    spec: Option<RoleSpec>,
}

/// Returns what the roles that are trusted, or that nobody signed for yet, are to be, in the order in which they are asked.
pub(super) fn remade(gun: &Gun, asked: &[AskedRole<'_>], bad: &BTreeSet<&str>) -> Vec<Remade> {
    let first = asked.first().map(|role| role.name);
    let top_is_later = first == Some(RELEASES) && !bad.contains(RELEASES);
    let is_remade = |role: &&AskedRole<'_>| match role.delegation {
        Some(_) => !bad.contains(role.name),
        None => top_is_later && role.signed.is_some_and(|signed| signed.body().targets.most() > 0),
    };
    let remake = |role: &AskedRole<'_>| Remade {
        notary: role.name.to_owned(),
        role: match role.name.strip_prefix("targets/") {
            Some(words) => words.replace('/', "."),
            None => OWNER.to_owned(),
        },
        by: role.by.to_owned(),
        patterns: match role.delegation {
            Some(delegation) => gun.patterns(delegation.paths.iter().map(String::as_str)),
            None => gun.patterns([""]),
        },
        threshold: role.delegation.map_or(1, |delegation| delegation.threshold),
        notary_keys: match (role.delegation, role.signed) {
            (Some(delegation), _) => delegation.keyids.clone(),
            (None, signed) => signed.map(|signed| signed.signers().to_vec()).unwrap_or_default(),
        },
        was_signed: role.signed.is_some(),
        was_there: false,
        keys: Vec::new(),
        made: 0,
        spec: None,
    };
    asked.iter().filter(is_remade).map(remake).collect()
}

/// Opens the keys that roles of Notary's are given, by role.
pub(super) fn open_keys(
    given: &[RoleKeySpecs],
    all: &[Imported],
    secrets: &dyn Secrets,
) -> Result<BTreeMap<String, OpenKeys>, Failure> {
    let roles: BTreeSet<_> = all
        .iter()
        .flat_map(|imported| &imported.remade)
        .map(|role| role.notary.as_str())
        .collect();
    let mut specs: BTreeMap<String, Vec<KeySpec>> = BTreeMap::new();
    for RoleKeySpecs { role, specs: keys } in given {
        let name = match role == TARGETS || role.starts_with("targets/") {
            true => role.clone(),
            false => format!("targets/{role}"),
        };
        if !roles.contains(name.as_str()) {
            let known: Vec<_> = roles.iter().copied().collect();
            let problem = format!("no role `{name}` comes over; those that do: {}", known.join(", "));
            return Err(Failure::malformed("--key", problem));
        }
        specs.entry(name).or_default().extend(keys.iter().cloned());
    }
    let open = |(name, specs): (String, Vec<KeySpec>)| Ok((name, OpenKeys::of(&specs, secrets)?));
    specs.into_iter().map(open).collect()
}

/// Chooses what roles are called in the new collection.
#[derive(Debug)]
pub(super) struct Names<'s> {
    collection: Collection<'s>,
    taken: BTreeSet<String>,
}

impl<'s> Names<'s> {
    /// Begins with the roles that the collection has.
    pub(super) fn of(collection: Collection<'s>) -> Self {
        Self {
            collection,
            taken: BTreeSet::new(),
        }
    }

    /// Chooses the names of a Notary collection's roles; what its top level signed goes to `top`, if that is given.
    pub(super) fn choose(&mut self, imported: &mut Imported, top: Option<&str>) -> Result<(), EditError> {
        let mut chosen = BTreeMap::from([(TARGETS.to_owned(), TARGETS.to_owned())]);
        if let Some(top) = top {
            imported.remade.retain(|role| role.notary != TARGETS);
            imported.top = top.to_owned();
        }
        for role in &mut imported.remade {
            (role.role, role.was_there) = self.name(&imported.gun, &role.role)?;
            // Whoever delegates is asked before, and was chosen.
            role.by = match role.by.as_str() {
                TARGETS => TARGETS.to_owned(),
                by => chosen.get(by).cloned().unwrap_or_default(),
            };
            chosen.insert(role.notary.clone(), role.role.clone());
            if role.notary == TARGETS {
                imported.top = role.role.clone();
            }
        }
        Ok(())
    }

    /// Returns the name that a role gets, and whether the collection has it, from an earlier import.
    fn name(&mut self, gun: &Gun, wish: &str) -> Result<(String, bool), EditError> {
        for name in [wish.to_owned(), format!("{}.{wish}", gun.as_word())] {
            match self.collection.find(&name) {
                Ok(()) if gun.owns(&self.collection.patterns(&name)) => return Ok((name, true)),
                Ok(()) => {}
                Err(EditError::NoRole { .. }) => match self.collection.check_new(&name) {
                    Ok(()) if self.taken.insert(name.clone()) => return Ok((name, false)),
                    Ok(()) | Err(EditError::Exists { .. }) => {}
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        Err(EditError::Exists { role: wish.to_owned() })
    }
}

impl Remade {
    /// Makes and keeps the keys of a role that is new.
    pub(super) fn make_keys(
        &mut self,
        context: &Context,
        store: &KeyStore,
        collection: &str,
        given: &BTreeMap<String, OpenKeys>,
        secrets: &dyn Secrets,
    ) -> Result<(), Failure> {
        let given = given.get(&self.notary);
        if self.was_there {
            let problem =
                "the role is there already; change its keys with `imgkit trust rotate` or `imgkit trust signer`";
            return given.map_or(Ok(()), |_| Err(Failure::malformed(&self.role, problem)));
        }
        let needed = usize::try_from(self.threshold).unwrap_or(usize::MAX);
        self.made = needed.saturating_sub(given.map_or(0, OpenKeys::here));
        let made = vec![KeySpec::Generate(Algorithm::default()); self.made];
        let made = OpenKeys::of(&made, secrets)?;
        let mut keys = Vec::new();
        for open in given.into_iter().chain([&made]) {
            keys.extend(open.keep(context, store, collection, &self.role, secrets)?);
        }
        self.keys = keys.iter().map(TufKey::id).collect();
        self.spec = Some(ChosenKeys::spec(keys, Some(self.threshold), 1));
        Ok(())
    }

    /// Trusts the role with its names.
    fn delegate(&self, collection: &mut Collection<'_>, now: Time) -> Result<(), EditError> {
        match (collection.find(&self.role), &self.spec) {
            (Err(EditError::NoRole { .. }), Some(spec)) => {
                collection.delegate_by(&self.by, &self.role, spec, &self.patterns, false)?;
                collection.begin(&self.role, now)
            }
            (Ok(()), _) if collection.patterns(&self.role) != self.patterns => {
                collection.set_patterns(&self.role, &self.patterns)
            }
            (found, _) => found,
        }
    }

    pub(super) fn write(&self, text: &mut String) {
        let Self { notary, role, by, .. } = self;
        let _ = writeln!(
            text,
            "  {notary} is the role {role} by {by}: {} keys must sign, for {}",
            self.threshold,
            self.patterns.join(" ")
        );
        if !self.was_signed {
            let _ = writeln!(text, "    nobody had signed for it: it signs nothing yet");
        }
        if self.was_there {
            let _ = writeln!(text, "    it was there before, and its keys are as they were");
        }
        for key in &self.keys {
            let _ = writeln!(text, "    key {key}");
        }
        if self.made > 0 {
            let people: Vec<_> = self.notary_keys.iter().map(KeyId::as_str).collect();
            let _ = writeln!(
                text,
                "    {} new of yours, as the private keys of those who signed in Notary ({}) were not given; trust them again with \
                 `imgkit trust signer add {role} --key PUBLIC.pem`, then take yours away with `imgkit trust signer rm`",
                self.made,
                people.join(" ")
            );
        }
    }
}

impl Imported {
    /// Puts all of it into the new collection.
    pub(super) fn put(&self, collection: &mut Collection<'_>, now: Time) -> Result<(), EditError> {
        let mut roles = BTreeMap::from([(TARGETS, self.top.as_str())]);
        for role in &self.remade {
            role.delegate(collection, now)?;
            roles.insert(&role.notary, &role.role);
        }
        for (notary, name, file) in &self.files {
            let no_role = || EditError::NoRole { role: notary.clone() };
            let role = *roles.get(notary.as_str()).ok_or_else(no_role)?;
            // What an earlier import put elsewhere is not left there: it could be asked first.
            for other in collection.signers_of(name)? {
                if collection.signs_as(&other) != role && self.has_put(collection, &other, name) {
                    collection.remove_target(&other, name, now)?;
                }
            }
            collection.put_target(role, name, file.clone(), now)?;
        }
        Ok(())
    }

    /// Tells whether what a role says of a name was imported from this collection.
    fn has_put(&self, collection: &Collection<'_>, role: &str, name: &str) -> bool {
        let file = collection.targets_of(role).and_then(|body| body.targets.get(name));
        let gun = file.and_then(|file| file.custom.as_ref()?.pointer("/notary/gun")?.as_str());
        gun == Some(self.gun.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_of_names_become_patterns_for_every_depth() {
        let gun = Gun::new("r.example/app", 0);
        let all = gun.patterns([""]);
        assert_eq!(all.len(), 1 + USUAL_DEPTH);
        assert_eq!(all.first().map(String::as_str), Some("r.example/app:*"));
        assert_eq!(all.get(1).map(String::as_str), Some("r.example/app/*"));
        assert_eq!(all.get(2).map(String::as_str), Some("r.example/app/*/*"));
        let below = gun.patterns(["tools/b-"]);
        assert_eq!(below.first().map(String::as_str), Some("r.example/app/tools/b-*"));
        assert_eq!(
            below.len(),
            USUAL_DEPTH - 1,
            "no tag has a slash, and one part is named"
        );
        assert!(
            gun.patterns([]).is_empty(),
            "a role without paths is trusted with nothing"
        );
        let deeper = Gun::new("r.example/app", 12).patterns([""]);
        assert_eq!(deeper.len(), 13);
    }

    #[test]
    fn what_a_pattern_would_take_for_more_is_matched_as_it_is() {
        let patterns = Gun::new("r.example/app", 0).patterns(["a*[b]?"]);
        assert_eq!(patterns.get(1).map(String::as_str), Some("r.example/app/a[*][[]b][?]*"));
    }

    #[test]
    fn a_role_of_another_collection_is_not_taken_for_ours() {
        let (ours, other) = (Gun::new("r.example/app", 0), Gun::new("r.example/app2", 0));
        assert!(ours.owns(&ours.patterns([""])));
        assert!(!ours.owns(&other.patterns([""])) && !other.owns(&ours.patterns([""])));
        assert!(!ours.owns(&[]));
    }
}
