//! `imgkit trust revoke`: takes a key that is lost or stolen from every role.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::chosen::{ChosenKeys, OpenKeys, confirm};
use super::collections::distrusted_json;
use super::difference::Difference;
use super::signer::{Removed, find_key};
use super::states::State;
use super::word::{line, word};
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::TufKey;
use crate::store::KeyStore;
use crate::trust::Distrusted;
use crate::trust::edit::{Collection, EditError, RoleInfo, RoleSpec};

/// Takes a key from every role; says first what stops being trusted.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The key's id, or its first digits
    key: String,
    #[command(flatten)]
    replacement: ChosenKeys,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// What a role loses and keeps, as one that trusts it has it.
struct Loss {
    role: RoleInfo,
    /// Whether enough of the keys that it has then are here to sign again what it signs.
    again: bool,
    /// Whether what is published counts without that: others of its keys signed it.
    stands: bool,
}

impl Revoke {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        // A key has to be taken away also where other roles are broken.
        let (mut collection, distrusted) = options.load_trusted(context, &place)?;
        let mut trusts = collection.trusts();
        let parts = trusts.extract_if(.., |role| role.signs_as != role.name);
        let mut parts: Vec<_> = parts.collect();
        let key = find_key(&trusts, &self.key).map_err(|failure| unless_unknown(failure, &collection, &distrusted))?;
        let removed = Removed::find(&key, &trusts)?;
        trusts.retain(|role| removed.is_of(&role.keys));
        let mut trusting = options.trusting(context, &place, &mut collection, trusts)?;
        // Opened before anything is said: whether they can sign here is a part of it.
        let (secrets, store) = (options.secrets(context), options.keys(context)?);
        let replacement = self.replacement.open(&secrets, 0)?;
        let mut losses = Vec::new();
        for role in &trusting.here {
            losses.push(loss(
                &store,
                &place.keys,
                role,
                &removed,
                &replacement,
                options.stages(),
            )?);
        }
        // What cannot be trusted now is not signed again by this: its keys say so anew, or `trust witness` does.
        for loss in &mut losses {
            let by = loss.role.by.as_deref();
            loss.again &= distrusted
                .iter()
                .all(|one| one.role != loss.role.name || Some(one.by.as_str()) != by);
            let about = |error: EditError| error.about(&place.subject());
            loss.again &= !collection.is_doubtful(&loss.role.name).map_err(about)?;
            if !loss.again && by.is_some() {
                let mut left = RoleSpec::of(&loss.role.keys);
                removed.take_from(&mut left);
                loss.stands = collection.counts_with(&loss.role.name, &left).map_err(about)?;
            }
            // What counts as before goes on trusting its parts to the key.
            let own = parts.extract_if(.., |part| {
                loss.stands && part.signs_as == loss.role.name && removed.is_of(&part.keys)
            });
            trusting.elsewhere.extend(own.take(1));
        }
        let mut text = format!("the key {key} is taken from:\n");
        let (mut stops, mut again, mut stands) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for loss in &losses {
            let names = names_of(&collection, &loss.role.name);
            let fate = match (loss.again, loss.stands) {
                (true, _) => "signed again by the keys that are here",
                (false, true) => "trusted as before: others of its keys signed it",
                (false, false) => "NO LONGER TRUSTED until its other keys sign it",
            };
            let by = loss
                .role
                .by
                .as_deref()
                .filter(|_| losses.iter().any(|other| is_other(other, loss)));
            let by = by.map_or(String::new(), |by| format!(" as {} trusts it", by.escape_debug()));
            let _ = writeln!(
                text,
                "  {}{by} ({} names, {fate})",
                loss.role.name.escape_debug(),
                names.len()
            );
            match (loss.again, loss.stands) {
                (true, _) => again.extend(names),
                (false, true) => stands.extend(names),
                (false, false) => stops.extend(names),
            }
        }
        again.retain(|name| !stops.contains(name));
        stands.retain(|name| !stops.contains(name) && !again.contains(name));
        for name in &stops {
            let _ = writeln!(text, "stops being trusted: {}", name.escape_debug());
        }
        // With all that is said: whoever stole the key may be who said it last.
        let mut said = BTreeSet::new();
        let signing: BTreeSet<_> = losses
            .iter()
            .filter(|loss| loss.again)
            .map(|loss| &loss.role.name)
            .collect();
        for role in signing {
            let state = State::of_whole(&collection, role);
            said.extend(state.names.keys().map(|(_, name)| name.clone()));
            let difference = Difference::between(&State::default(), &state);
            if !difference.is_empty() {
                let _ = writeln!(text, "signed again, what {} says:", role.escape_debug());
                text += &difference.text(true);
            }
        }
        for name in again.difference(&said) {
            let _ = writeln!(
                text,
                "goes on being trusted, as roles below say: {}",
                name.escape_debug()
            );
        }
        trusting.tell(&mut text, |_| true);
        // What counts for somebody was.
        let unknown = |one: &&Distrusted| collection.targets_of(&one.role).is_none();
        let looked_into = distrusted.iter().all(|one| !unknown(&one));
        for Distrusted { role, by, error } in distrusted.iter().filter(unknown) {
            let _ = writeln!(
                text,
                "NOT LOOKED INTO {}, which {} does not trust now: {}; once he does, run this again: it may trust others with the \
                 key",
                role.escape_debug(),
                by.escape_debug(),
                line(&error.to_string())
            );
        }
        confirm(context, self.yes, &text)?;

        let anew: BTreeSet<_> = losses
            .iter()
            .filter(|loss| loss.again)
            .map(|loss| &loss.role.name)
            .collect();
        let shown = collection
            .targets()
            .filter(|(role, _)| anew.contains(&collection.signs_as(role)));
        let shown: BTreeMap<_, _> = shown.map(|(role, body)| (role.to_owned(), body.clone())).collect();
        // One set of new keys for a role, whoever trusts it.
        let mut new = BTreeMap::new();
        for loss in &losses {
            let role = loss.role.name.as_str();
            if let Entry::Vacant(entry) = new.entry(role) {
                entry.insert(replacement.keep(context, &store, &place.keys, role, &secrets)?);
            }
        }
        let changed = options.change(context, |collection, now| {
            // Whoever has the key may have published meanwhile.
            collection.check_shown(&shown)?;
            for (role, new) in &new {
                let work = |spec: &mut RoleSpec| {
                    removed.take_from(spec);
                    let more: Vec<_> = new.iter().filter(|new| !has(&spec.keys, new)).cloned().collect();
                    spec.keys.extend(more);
                };
                // For those first for whom it does not count then: it is signed for the others.
                for again in [false, true] {
                    let own = losses
                        .iter()
                        .filter(|loss| loss.role.name == *role && loss.again == again);
                    let by: BTreeSet<_> = own.map(|loss| loss.role.by.clone()).collect();
                    if !by.is_empty() {
                        collection.rekey(role, &by, again, now, &|id| *id != removed.id, &work)?;
                    }
                }
            }
            Ok(())
        })?;
        changed.tell(&mut text);
        let roles: Vec<_> = new.keys().collect();
        let json = json!({
            "revoked": key, "roles": roles, "noLongerTrusted": stops, "signedAgain": again, "signedByOthers": stands,
            "distrusted": distrusted_json(&distrusted),
            "stillTrusted": trusting.json(|_| true),
        });
        Ok(Report {
            yes: trusting.elsewhere.is_empty() && looked_into,
            ..Report::new(text, changed.json(json))
        })
    }
}

/// Says that a key that is not found may be one of a role's that could not be looked into.
fn unless_unknown(failure: Failure, collection: &Collection<'_>, distrusted: &[Distrusted]) -> Failure {
    let unknown = distrusted.iter().find(|one| collection.targets_of(&one.role).is_none());
    match unknown {
        None => failure,
        Some(Distrusted { role, by, error }) => Failure::unavailable(
            failure,
            format!(
                "{}, which {} does not trust now, was not looked into: {}",
                role.escape_debug(),
                by.escape_debug(),
                line(&error.to_string())
            ),
        ),
    }
}

/// Says what a role has left, and refuses what would leave it with fewer keys than must sign.
fn loss(
    store: &KeyStore,
    collection: &str,
    role: &RoleInfo,
    removed: &Removed,
    replacement: &OpenKeys,
    staged: bool,
) -> Result<Loss, Failure> {
    let subject = format!("role {}", role.name.escape_debug());
    let key = &removed.id;
    if replacement.named().any(|new| removed.is(new)) {
        let problem = format!(
            "its new key is the one that is revoked, {}; give another with --key or --new",
            key.short()
        );
        return Err(Failure::malformed(subject, problem));
    }
    let left = role.keys.keys().values().filter(|other| !removed.is(other));
    let left: Vec<_> = left.cloned().collect();
    // A key that the role has already counts once.
    let twice = replacement.named().filter(|new| has(&left, new)).count();
    let count = left.len() + replacement.count() - twice;
    let threshold = usize::try_from(role.keys.threshold()).unwrap_or(usize::MAX);
    if count < threshold {
        let problem = format!(
            "without the key {} the role would have {count} keys, and {threshold} must sign; give it another with --new 1 or \
             --key KEY{}",
            key.short(),
            match role.by {
                Some(_) => format!(
                    ", or take the role away: imgkit trust delegate rm {}",
                    word(&role.name, "ROLE")
                ),
                None => String::new(),
            }
        );
        return Err(Failure::malformed(subject, problem));
    }
    let mut here = replacement.here();
    for key in left
        .iter()
        .filter(|key| replacement.named().all(|new| new.public() != key.public()))
    {
        here += usize::from(store.find(collection, &role.name, &key.id())?.is_some());
    }
    // What goes round in a file others sign as well.
    let again = here >= threshold || staged && role.by.is_none();
    if !again && role.by.is_none() {
        let problem = format!(
            "{threshold} of its other keys must sign it again, and {here} are here; give it another with --new, or a private key \
             with --key, or stage the change: imgkit trust stage FILE revoke {key}"
        );
        return Err(Failure::malformed(subject, problem));
    }
    Ok(Loss {
        role: role.clone(),
        again,
        stands: false,
    })
}

/// Tells whether another role trusts the same one.
fn is_other(other: &Loss, loss: &Loss) -> bool {
    other.role.name == loss.role.name && other.role.by != loss.role.by
}

fn has(keys: &[TufKey], key: &TufKey) -> bool {
    keys.iter().any(|other| other.public() == key.public())
}

/// Returns the names that a role signs, its bins and the roles below it included: they are reached through it alone.
pub(super) fn names_of(collection: &Collection<'_>, role: &str) -> BTreeSet<String> {
    let roles = collection.roles();
    let mut below = BTreeSet::from([role.to_owned()]);
    // Roles are listed level by level: whoever delegates comes first.
    for other in &roles {
        if role != "targets" && other.by.as_ref().is_some_and(|by| below.contains(by)) || other.signs_as == role {
            below.insert(other.name.clone());
        }
    }
    let bodies = below.iter().filter_map(|role| collection.targets_of(role));
    bodies.flat_map(|body| body.targets.keys().cloned()).collect()
}
