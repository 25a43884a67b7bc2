//! `imgkit trust history` and `imgkit trust diff`: who signed what when, and what two states of collections differ in.

use std::fmt::Write as _;
use std::str::FromStr;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::difference::Difference;
use super::states::State;
use super::word::line;
use crate::cli::place::CollectionName;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::KeyId;
use crate::trust::history::{Epoch, RoleChange, history};

/// Shows who signed what when.
#[derive(Debug, Args)]
pub(super) struct History {
    /// Only changes of this name
    name: Option<String>,
}

impl History {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let collection = place.load()?;
        let Some(chain) = collection.published() else {
            return Err(Failure::unavailable(place.subject(), "it is not published"));
        };
        let walked = history(chain, &place.at, None).map_err(|error| error.about(&place.subject()))?;
        let mut epochs = walked.0;
        if let Some(name) = &self.name {
            let concerns = |role: &RoleChange| {
                [&role.added, &role.removed, &role.moved]
                    .iter()
                    .any(|all| all.contains(name))
            };
            for epoch in &mut epochs {
                epoch.roles.retain(concerns);
            }
            epochs.retain(|epoch| !epoch.roles.is_empty() || epoch.unknown.is_some());
        }
        let known = epochs
            .iter()
            .all(|epoch| epoch.unknown.is_none() && epoch.roles.iter().all(|role| role.unknown.is_none()));
        let mut text = String::new();
        for epoch in &epochs {
            describe(&mut text, epoch, self.name.as_deref());
        }
        if let (Some(name), true) = (&self.name, epochs.is_empty()) {
            let _ = writeln!(text, "{} was never signed", name.escape_debug());
        }
        if !known {
            text.push_str("what is not known was thrown away or changed, or was published by another tool\n");
        }
        let json = json!({ "collection": place.name, "complete": known, "snapshots": epochs });
        Ok(Report {
            yes: self.name.is_none() || !epochs.is_empty(),
            ..Report::new(text, json)
        })
    }
}

fn describe(text: &mut String, epoch: &Epoch, only: Option<&str>) {
    let when = line(epoch.signed.as_deref().unwrap_or("at an unknown time"));
    let _ = match &epoch.unknown {
        Some(unknown) => writeln!(text, "{} not known: {}", epoch.version, line(unknown)),
        None => writeln!(text, "{} {when}, snapshot by {}", epoch.version, short(&epoch.signers)),
    };
    for role in &epoch.roles {
        let name = line(&role.role);
        let _ = match &role.unknown {
            Some(unknown) => writeln!(text, "    {name} {}: not known: {}", role.version, line(unknown)),
            None if role.gone => writeln!(text, "    {name} is no longer a role"),
            None => writeln!(text, "    {name} {} by {}", role.version, short(&role.signers)),
        };
        for (mark, names) in [("+", &role.added), ("-", &role.removed), ("~", &role.moved)] {
            for name in names.iter().filter(|name| only.is_none_or(|only| only == *name)) {
                let _ = writeln!(text, "        {mark} {}", name.escape_debug());
            }
        }
    }
}

fn short(keys: &[KeyId]) -> String {
    keys.iter().map(KeyId::short).collect::<Vec<_>>().join(", ")
}

/// Shows what two states differ in.
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// A collection, or one at a version of its snapshot: NAME, dir:PATH, NAME@VERSION, or @VERSION of --collection
    a: Point,
    /// The other
    b: Point,
}

/// A collection at a version of its snapshot, the present one if none is named.
#[derive(Clone, Debug)]
struct Point {
    collection: Option<CollectionName>,
    version: Option<u64>,
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.rsplit_once('@') {
            Some((name, version)) => {
                let version = version
                    .parse()
                    .map_err(|_| "expected a version behind `@`".to_owned())?;
                (name, Some(version))
            }
            None => (text, None),
        };
        let collection = match name {
            "" => None,
            name => Some(name.parse()?),
        };
        Ok(Self { collection, version })
    }
}

impl Diff {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        // No snapshot says which root was in force with it, so keys of the top level are compared as they are now, or not at all.
        let whole = self.a.version.is_none() && self.b.version.is_none();
        let state = |point: &Point| point.state(context, options, whole);
        let (a, b) = (state(&self.a)?, state(&self.b)?);
        let difference = Difference::between(&a, &b);
        Ok(Report::new(difference.text(false), json!({ "difference": difference })))
    }
}

impl Point {
    /// Returns what the collection says there; of the present one `whole`, with what its root says.
    fn state(&self, context: &Context, options: &TrustOptions, whole: bool) -> Result<State, Failure> {
        let place = match &self.collection {
            Some(collection) => options.place_named(context, collection)?,
            None => options.place(context)?,
        };
        let Some(version) = self.version else {
            let collection = place.load_all()?;
            return Ok(match whole {
                true => State::of_loaded(&collection),
                false => State::of_bodies(collection.targets()),
            });
        };
        let about = |error: crate::trust::TrustError| error.about(&place.subject());
        let collection = place.load()?;
        let chain = collection.published();
        let chain = chain.ok_or_else(|| Failure::unavailable(place.subject(), "it is not published"))?;
        let (epochs, bodies) = history(chain, &place.at, Some(version)).map_err(about)?;
        let last = epochs.last().filter(|epoch| epoch.version == version);
        let unknown = match last {
            None => Some(format!("there is no snapshot {version} yet")),
            Some(_) => epochs.iter().find_map(|epoch| {
                let role = epoch.roles.iter().find_map(|role| role.unknown.clone());
                epoch.unknown.clone().or(role)
            }),
        };
        match unknown {
            Some(unknown) => Err(Failure::unavailable(
                format!("{} at version {version}", place.subject()),
                unknown,
            )),
            None => Ok(State::of_bodies(
                bodies.iter().map(|(role, body)| (role.as_str(), body)),
            )),
        }
    }
}
