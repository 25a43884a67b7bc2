//! `imgkit trust status` and `imgkit trust renew`: what expires when, and signing it again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::collections::{Place, distrusted_json, tell_distrusted};
use super::word::line;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::time::{DAY, Time};
use crate::trust::edit::{Collection, margin};
use crate::trust::{Distrusted, Mark};

/// Says when metadata expire.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// How many days before its expiry a role is due [default: a quarter of its lifetime]
    #[arg(long, value_name = "DAYS")]
    margin: Option<u16>,
}

impl Status {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let (place, now) = (options.place(context)?, options.now(context)?);
        let mut text = String::new();
        let mut all = Vec::new();
        let mut yes = true;
        let (collection, distrusted) = options.load_trusted(context, &place)?;
        for (role, mark) in marks(&collection) {
            let state = state(&role, mark, now, self.margin);
            yes &= state == State::Good;
            let _ = writeln!(
                text,
                "{:<8} {:<12} version {:<5} expires {}",
                state.name(),
                line(&role),
                mark.version,
                mark.expires
            );
            all.push(json!({ "role": role, "state": state.name(), "version": mark.version, "expires": mark.expires }));
        }
        if !yes {
            let _ = writeln!(text, "renew with: imgkit trust renew --collection {}", place.name);
        }
        tell_distrusted(&mut text, &distrusted);
        let json = json!({
            "collection": place.name, "judgedAt": now, "roles": all, "distrusted": distrusted_json(&distrusted),
        });
        Ok(Report {
            yes: yes && distrusted.is_empty(),
            ..Report::new(text, json)
        })
    }
}

/// Signs again what is due.
#[derive(Debug, Args)]
pub(super) struct Renew {
    /// The roles [default: those that are due and whose keys are here]
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
    /// How many days before its expiry a role is due [default: a quarter of its lifetime]
    #[arg(long, value_name = "DAYS", conflicts_with = "roles")]
    margin: Option<u16>,
    /// Begin the roles without any names, in the place of what was signed under their names before they were taken away and added again:
    /// only where nobody signed that but keys that were revoked for the name
    #[arg(long, requires = "roles")]
    anew: bool,
    /// Begin the roles without names and delegations where their files are damaged or gone and nobody has a copy: what they said is
    /// lost, which keys they took away too, and has to be said again
    #[arg(long, requires = "roles", conflicts_with = "anew")]
    lost: bool,
}

impl Renew {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let Due {
            here: renewed,
            elsewhere: left,
            distrusted,
        } = match self.roles.is_empty() {
            true => self.due(context, options, &place)?,
            false => Due {
                here: self.roles.iter().cloned().collect(),
                ..Due::default()
            },
        };
        let mut staged = None;
        let signed = match renewed.is_empty() {
            true => BTreeSet::new(),
            false => {
                let changed = options.change(context, |collection, now| {
                    renewed.iter().try_for_each(|role| {
                        if self.anew {
                            return collection.begin_anew(role, now);
                        }
                        if self.lost {
                            return collection.begin_lost(role, now);
                        }
                        collection.find(role)?;
                        // A role whose keys are held elsewhere than those of its delegator begins here.
                        match collection.has_metadata(role) {
                            true => collection.renew(role),
                            false => collection.begin(role, now),
                        }
                    })
                })?;
                staged = Some(changed.clone());
                changed.roles
            }
        };
        let mut text = String::new();
        for role in &signed {
            let lost = match self.lost && self.roles.contains(role) {
                true => {
                    " without names and delegations: sign and delegate again what it said, and give no key that it had taken away"
                }
                false => "",
            };
            let _ = writeln!(text, "renewed {}{lost}", line(role));
        }
        for role in &left {
            let _ = writeln!(
                text,
                "NOT renewed {}: too few of its keys are in the key directory",
                line(role)
            );
        }
        if signed.is_empty() && left.is_empty() {
            text.push_str("nothing is due\n");
        }
        tell_distrusted(&mut text, &distrusted);
        let mut json = json!({
            "collection": place.name, "renewed": signed, "keysMissing": left, "distrusted": distrusted_json(&distrusted),
        });
        if let Some(changed) = staged {
            changed.tell(&mut text);
            json = changed.json(json);
        }
        Ok(Report {
            yes: left.is_empty() && distrusted.is_empty(),
            ..Report::new(text, json)
        })
    }

    /// Finds the roles that are due.
    fn due(&self, context: &Context, options: &TrustOptions, place: &Place) -> Result<Due, Failure> {
        let (mut collection, distrusted) = options.load_trusted(context, place)?;
        let now = options.now(context)?;
        let (mut here, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
        let mut known = BTreeMap::new();
        for (role, mark) in collection.marks() {
            let as_role = collection.signs_as(&role);
            if state(&role, mark, now, self.margin) == State::Good {
                continue;
            }
            // What somebody else put in the role's place is among those that are told of.
            let doubtful = collection.is_doubtful(&role);
            if doubtful.map_err(|error| error.about(&place.subject()))? {
                continue;
            }
            let has_keys = match known.get(&as_role) {
                Some(known) => *known,
                None => has_keys(context, options, place, &mut collection, &as_role)?,
            };
            known.insert(as_role, has_keys);
            match has_keys {
                true => here.insert(role),
                false => elsewhere.insert(role),
            };
        }
        Ok(Due {
            here,
            elsewhere,
            distrusted,
        })
    }
}

/// Roles that are to be signed again.
#[derive(Default)]
struct Due {
    /// Those whose keys are here.
    here: BTreeSet<String>,
    /// Those whose keys are not.
    elsewhere: BTreeSet<String>,
    /// Those that are not trusted, each with the reason: their own keys have to sign them anew.
    distrusted: Vec<Distrusted>,
}

/// How a role's metadata stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    Due,
    Expired,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Due => "due",
            Self::Expired => "expired",
        }
    }
}

fn state(role: &str, mark: Mark, now: Time, days: Option<u16>) -> State {
    let margin = days.map_or_else(|| margin(role), |days| i64::from(days) * DAY);
    match mark.expires {
        expires if expires <= now => State::Expired,
        expires if expires <= now.plus(margin) => State::Due,
        _ => State::Good,
    }
}

/// Tells whether enough keys of a role are here.
pub(super) fn has_keys(
    context: &Context,
    options: &TrustOptions,
    place: &Place,
    collection: &mut Collection<'_>,
    role: &str,
) -> Result<bool, Failure> {
    let store = options.keys(context)?;
    let keys = collection.role_keys(role);
    let keys = keys.map_err(|error| error.about(&place.subject()))?;
    let mut here = 0;
    for id in keys.own_ids() {
        here += u32::from(store.find(&place.keys, role, &id)?.is_some());
    }
    Ok(here >= keys.threshold())
}

/// Returns the marks of the roles; of the bins of a role, the one that expires first.
fn marks(collection: &Collection<'_>) -> Vec<(String, Mark)> {
    let mut marks: Vec<(String, Mark)> = Vec::new();
    let mut parts: BTreeMap<String, (usize, Mark)> = BTreeMap::new();
    for role in collection.roles() {
        let Some(mark) = role.mark else { continue };
        if role.signs_as == role.name {
            marks.push((role.name, mark));
            continue;
        }
        let (count, first) = parts.entry(role.signs_as).or_insert((0, mark));
        *count += 1;
        if mark.expires < first.expires {
            *first = mark;
        }
    }
    marks.extend(
        parts
            .into_iter()
            .map(|(role, (count, mark))| (format!("{role} ({count} files of bins)"), mark)),
    );
    marks
}
