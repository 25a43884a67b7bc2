//! `imgkit trust signer`: who may sign for a role, key by key.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;

use super::TrustOptions;
use super::change::Changed;
use super::chosen::{KeysOfRole, NewKeys};
use super::collections::{Place, distrusted_json, tell_distrusted};
use super::trusting::{Trusting, as_trusted_by};
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::{KeyId, TufKey};
use crate::time::Time;
use crate::trust::RoleKeys;
use crate::trust::edit::{Collection, EditError, RoleInfo, RoleSpec};

/// Looks after the keys of roles.
#[derive(Debug, Args)]
pub(super) struct Signer {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Give a role one more key, or several
    Add(KeysOfRole),
    /// List roles and their keys, and which of these are here
    Ls,
    /// Take a key from a role
    Rm(Remove),
}

#[derive(Debug, Args)]
struct Remove {
    /// The role
    role: String,
    /// The key's id, or its first digits
    key: String,
    /// How many of the role's keys must sign from now on [default: as many as now]
    #[arg(long, value_name = "K")]
    threshold: Option<u32>,
}

impl Signer {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        match &self.action {
            Action::Add(more) => add(context, options, more),
            Action::Ls => list(context, options),
            Action::Rm(remove) => remove.run(context, options),
        }
    }
}

fn add(context: &Context, options: &TrustOptions, more: &KeysOfRole) -> Result<Report, Failure> {
    let KeysOfRole { role, keys, threshold } = more;
    let place = options.place(context)?;
    let (collection, trusting) = options.trusting_role(context, &place, role)?;
    let made = keys.make(context, options, 1)?;
    let new = made.public();
    let ids: Vec<_> = new.iter().map(TufKey::id).collect();
    let text = ids
        .iter()
        .fold(String::new(), |text, id| text + &format!("{role} has the key {id}\n"));
    let change = Change {
        role,
        new: Some(&made),
        keeps: &|_| true,
        work: &|spec| {
            let there = |key: &TufKey| spec.keys.iter().any(|other| other.public() == key.public());
            let new: Vec<_> = new.iter().filter(|key| !there(key)).cloned().collect();
            spec.keys.extend(new);
            spec.threshold = threshold.unwrap_or(spec.threshold);
        },
    };
    let changed = change.make(context, options, &place, (collection, &trusting))?;
    Ok(trusting.report(&changed, text, json!({ "role": role, "added": ids }), |_| true))
}

impl Remove {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let (collection, trusting) = options.trusting_role(context, &place, &self.role)?;
        let trusts = trusting.all();
        let key = find_key(&trusts, &self.key)?;
        let removed = Removed::find(&key, &trusts)?;
        let change = Change {
            role: &self.role,
            new: None,
            keeps: &|id| *id != removed.id,
            work: &|spec| {
                let before = spec.keys.len();
                removed.take_from(spec);
                // Who did not trust the key, trusts the role as before.
                if spec.keys.len() < before || removed.key.is_none() {
                    spec.threshold = self.threshold.unwrap_or(spec.threshold);
                }
            },
        };
        let changed = change.make(context, options, &place, (collection, &trusting))?;
        let text = format!("{} no longer has the key {key}\n", self.role);
        let json = json!({ "role": self.role, "removed": key });
        Ok(trusting.report(&changed, text, json, |role| removed.is_of(&role.keys)))
    }
}

/// A change of the keys of a role, for each of those who trust it and whose keys are here.
struct Change<'a> {
    role: &'a str,
    /// Those that it gets, which are kept once it is known that it can have them.
    new: Option<&'a NewKeys<'a>>,
    /// Whether a key stays that is of a kind that imgkit does not know.
    keeps: &'a dyn Fn(&KeyId) -> bool,
    work: &'a dyn Fn(&mut RoleSpec),
}

impl Change<'_> {
    fn make(
        &self,
        context: &Context,
        options: &TrustOptions,
        place: &Place,
        (mut collection, trusting): (Collection<'_>, &Trusting),
    ) -> Result<Changed, Failure> {
        let about = |error: EditError| error.about(&place.subject());
        // What others of its keys signed, where too few are here, is left as it is.
        let (mut stands, mut again) = (BTreeSet::new(), BTreeSet::new());
        for info in &trusting.here {
            let mut spec = RoleSpec::of(&info.keys);
            (self.work)(&mut spec);
            let signs = options.has_keys_of(context, &place.keys, self.role, &spec)?;
            let counts = !signs
                && info.by.is_some()
                && collection.counts_with(self.role, &spec).map_err(about)?
                && !collection.has_parts(self.role).map_err(about)?;
            if counts { &mut stands } else { &mut again }.insert(info.by.clone());
        }
        let work = |collection: &mut Collection<'_>, now: Time| {
            let parts = [(&stands, false), (&again, true)];
            let mut parts = parts.into_iter().filter(|(by, _)| !by.is_empty());
            parts.try_for_each(|(by, again)| collection.rekey(self.role, by, again, now, self.keeps, self.work))
        };
        if let Some(new) = self.new {
            let now = options.now(context)?;
            // With its bins: where one of them is broken, nothing is changed, and no key is kept.
            let refused = collection.find(self.role).and_then(|()| work(&mut collection, now));
            refused.map_err(about)?;
            new.keep(context, &options.keys(context)?, &place.keys, self.role)?;
        }
        options.change(context, work)
    }
}

/// A key that is taken away: under whatever ids roles list it.
pub(super) struct Removed {
    pub(super) id: KeyId,
    /// The key itself; nothing where it is of a kind that imgkit does not know.
    key: Option<TufKey>,
}

impl Removed {
    /// Finds the key that is meant by an id: the one whose own id that is, else the only one that roles list under it.
    ///
    /// Whoever delegates writes what he likes under any id, also somebody else's key under that of his own: then it is not his to say
    /// whose key goes.
    pub(super) fn find(id: &KeyId, roles: &[RoleInfo]) -> Result<Self, Failure> {
        let all = || {
            roles
                .iter()
                .flat_map(|role| role.keys.keys().iter().map(move |(listed, key)| (role, listed, key)))
        };
        let own = all().map(|(_, _, key)| key).find(|key| key.id() == *id);
        let listed: Vec<_> = all().filter(|(_, listed, _)| *listed == id).collect();
        let first = listed.first().map(|(_, _, key)| *key);
        let several = listed
            .iter()
            .any(|(_, _, key)| first.is_some_and(|first| first.public() != key.public()));
        if own.is_none() && several {
            let listed = listed.iter().map(|(role, _, key)| {
                let by = role.by.as_deref().unwrap_or("root");
                format!("{} for {} by {}", key.id(), role.name.escape_debug(), by.escape_debug())
            });
            let problem = format!(
                "expected one key under this id, and roles list several: {}; nothing was changed: name the one that is meant by its own id",
                listed.collect::<Vec<_>>().join(", ")
            );
            return Err(Failure::malformed(format!("key {id}"), problem));
        }
        Ok(Self {
            id: id.clone(),
            key: own.or(first).cloned(),
        })
    }

    /// Tells whether a role lists it.
    pub(super) fn is_of(&self, keys: &RoleKeys) -> bool {
        // Under its id another one may stand, which is none of its owner's business.
        let another = keys.keys().get(&self.id).is_some_and(|key| !self.is(key));
        (keys.keyids().contains(&self.id) && !another) || keys.keys().values().any(|key| self.is(key))
    }

    /// Tells whether a key is this one.
    pub(super) fn is(&self, key: &TufKey) -> bool {
        self.key
            .as_ref()
            .is_some_and(|removed| removed.public() == key.public())
    }

    /// Takes it from those that a role is to have.
    pub(super) fn take_from(&self, spec: &mut RoleSpec) {
        spec.keys.retain(|key| !self.is(key));
    }
}

/// Finds the key that `text` names among those of `roles`: by its own id or one under which it is listed, or by as many of the
/// first digits as tell that apart.
pub(super) fn find_key(roles: &[RoleInfo], text: &str) -> Result<KeyId, Failure> {
    let ids = roles
        .iter()
        .flat_map(|role| role.keys.keyids().iter().cloned().chain(role.keys.own_ids()));
    let found: BTreeSet<_> = ids.filter(|id| id.as_str().starts_with(text)).collect();
    // Somebody else can list ids that go on where this one ends.
    if let Some(exact) = found.iter().find(|id| id.as_str() == text) {
        return Ok(exact.clone());
    }
    let mut found = found.into_iter();
    match (found.next(), found.next(), text.len()) {
        (Some(only), None, 6..) => Ok(only),
        (Some(_), None, _) => Err(Failure::malformed(
            text.escape_debug(),
            "expected at least six digits of the key's id",
        )),
        (None, ..) => Err(Failure::malformed(
            text.escape_debug(),
            "no such key; `imgkit trust inspect` lists those that there are",
        )),
        _ => Err(Failure::malformed(
            text.escape_debug(),
            "several keys begin so; give more of the id, or all of it",
        )),
    }
}

fn list(context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
    let place = options.place(context)?;
    let (collection, distrusted) = options.load_trusted(context, &place)?;
    let store = options.keys(context)?;
    let mut text = String::new();
    let mut all = Vec::new();
    let trusts = collection.trusts();
    for role in trusts.iter().filter(|role| role.signs_as == role.name) {
        let as_trusted = as_trusted_by(&trusts, role);
        let (name, threshold) = (role.name.escape_debug(), role.keys.threshold());
        let _ = writeln!(text, "{name}{as_trusted}: {threshold} must sign of");
        for id in role.keys.keyids() {
            let here = store.find(&place.keys, &role.name, &role.keys.own_id(id))?;
            let _ = writeln!(text, "  {id}{}", if here.is_some() { "  (here)" } else { "" });
            all.push(json!({ "role": role.name, "by": role.by, "key": id, "file": here }));
        }
    }
    tell_distrusted(&mut text, &distrusted);
    let json = json!({ "collection": place.name, "signers": all, "distrusted": distrusted_json(&distrusted) });
    Ok(Report {
        yes: distrusted.is_empty(),
        ..Report::new(text, json)
    })
}
