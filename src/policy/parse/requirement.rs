//! Reads requirements: signatures, and how demands are put together.

use super::super::{Condition, Demand, Requirement, Signer, Signers, SigstoreSigner};
use super::names::Names;
use crate::digest::Digest;
use crate::failure::Place;
use crate::time::DAY;
use crate::yaml::{Fields, Item, YamlError};

/// Reads the requirement keys of a mapping; none where it has none of them. Several beside each other must all hold.
pub(super) fn beside_each_other(fields: &mut Fields<'_>, names: &Names) -> Result<Option<Requirement>, YamlError> {
    let place = fields.item().place();
    let mut all = Vec::new();
    let mut add = |read: Option<Requirement>| all.extend(read);
    add(fields.maybe("signed", |item| signed(item, names))?);
    add(fields.maybe("attested", |item| attested(item, names))?);
    add(fields.maybe("digestIn", |item| {
        Ok(of(Demand::DigestIn(digests(item)?), item.place()))
    })?);
    add(fields.maybe("maxAge", |item| Ok(of(Demand::MaxAge(age(item)?), item.place())))?);
    add(fields.maybe("minVersion", |item| {
        Ok(of(Demand::MinVersion(item.parse()?), item.place()))
    })?);
    add(fields.maybe("allOf", |item| {
        Ok(of(Demand::AllOf(several(item, names)?), item.place()))
    })?);
    add(fields.maybe("anyOf", |item| {
        let among = several(item, names)?;
        Ok(of(Demand::AtLeast { of: 1, among }, item.place()))
    })?);
    add(fields.maybe("atLeast", |item| at_least(item, names))?);
    Ok(match all.len() {
        0 => None,
        1 => all.pop(),
        _ => Some(of(Demand::AllOf(all), place)),
    })
}

/// Reads a list of digests, of which there is one at least.
pub(super) fn digests(item: Item<'_>) -> Result<Vec<Digest>, YamlError> {
    let digests = item.list_of(|digest| digest.parse())?;
    match digests.is_empty() {
        true => Err(item.invalid("expected at least one digest")),
        false => Ok(digests),
    }
}

fn of(demand: Demand, place: Place) -> Requirement {
    Requirement { demand, place }
}

fn several(item: Item<'_>, names: &Names) -> Result<Vec<Requirement>, YamlError> {
    let one = |item: Item<'_>| {
        let read = item.fields("a requirement", |fields| beside_each_other(fields, names))?;
        read.ok_or_else(|| {
            item.invalid(
                "expected a requirement: signed, attested, digestIn, maxAge, minVersion, allOf, anyOf or atLeast",
            )
        })
    };
    let several = item.list_of(one)?;
    match several.is_empty() {
        true => Err(item.invalid("expected at least one requirement")),
        false => Ok(several),
    }
}

fn at_least(item: Item<'_>, names: &Names) -> Result<Requirement, YamlError> {
    item.fields("atLeast", |fields| {
        let number = fields.required("of")?;
        let among = fields.required("requirements")?;
        let among = several(among, names)?;
        let of_them = reachable(&number, among.len())?;
        Ok(of(Demand::AtLeast { of: of_them, among }, item.place()))
    })
}

/// Reads how many of `all` must hold.
fn reachable(item: &Item<'_>, all: usize) -> Result<usize, YamlError> {
    match item.integer::<usize>()? {
        0 => Err(item.invalid("a threshold is at least 1")),
        number if number > all => Err(item.invalid(format!("{number} of {all} can never hold"))),
        number => Ok(number),
    }
}

/// Reads `signed:`: a signer's name, `{by: …}` with one name or several, or a role of a root.
fn signed(item: Item<'_>, names: &Names) -> Result<Requirement, YamlError> {
    if !item.is_mapping() {
        let (name, by) = names.signer(&item)?;
        return Ok(of(signed_by(Some(name), by), item.place()));
    }
    if super::member(item, "by")?.is_none() {
        let role = Signer::Role(collection(item, names, "targets")?);
        return Ok(of(signed_by(None, role), item.place()));
    }
    item.fields("signers", |fields| {
        let by = fields.required("by")?;
        let named = match by.text() {
            Ok(_) => vec![by],
            Err(_) => by.list()?.collect(),
        };
        let mut among = Vec::new();
        for item in &named {
            let (name, by) = names.signer(item)?;
            let again =
                |part: &Requirement| matches!(&part.demand, Demand::Signed { name: Some(other), .. } if *other == name);
            if among.iter().any(again) {
                return Err(item.invalid(format!("`{name}` is named twice; one signer counts once")));
            }
            among.push(of(signed_by(Some(name), by), item.place()));
        }
        let threshold = fields.optional("threshold");
        let of_them = match threshold {
            Some(number) => reachable(&number, among.len())?,
            None if among.len() == 1 => 1,
            None => return Err(by.invalid("how many of these have to sign? Say `threshold:` beside `by:`")),
        };
        match among.len() {
            1 => among.pop().ok_or_else(|| by.invalid("expected at least one signer")),
            _ => Ok(of(Demand::AtLeast { of: of_them, among }, item.place())),
        }
    })
}

fn signed_by(name: Option<String>, by: Signer) -> Demand {
    Demand::Signed { name, by }
}

/// Reads `attested:`: a predicate type, who signed it, and what it has to say.
fn attested(item: Item<'_>, names: &Names) -> Result<Requirement, YamlError> {
    item.fields("an attestation", |fields| {
        let kind = fields.required("type")?.parse()?;
        let by = fields.required("by")?;
        let (name, by) = match names.signer(&by)? {
            (name, Signer::Sigstore(signer)) => (name, signer),
            (name, Signer::Role(_)) => {
                return Err(by.invalid(format!(
                    "`{name}` is a role of a root; an attestation is signed by a key or an identity"
                )));
            }
        };
        let condition = fields.maybe("condition", |item| {
            Condition::parse(item.word()?).map_err(|error| item.invalid(error))
        })?;
        let demand = Demand::Attested {
            kind,
            name: Some(name),
            by,
            condition,
        };
        Ok(of(demand, item.place()))
    })
}

/// Reads the one signer of an input or a seal: its name, or a role of a root.
pub(super) fn one_signer(item: Item<'_>, names: &Names, role: &str) -> Result<Signers, YamlError> {
    let by = match item.is_mapping() {
        true => collection(item, names, role),
        false => match names.signer(&item)? {
            (_, Signer::Role(by)) => Ok(by),
            (name, Signer::Sigstore(SigstoreSigner::Key { .. } | SigstoreSigner::Identity { .. })) => {
                Err(item.invalid(format!(
                    "`{name}` is a key or an identity; whose word expires and can be revoked is asked for here: a role of a root"
                )))
            }
        },
    }?;
    match names.gun(&by.root) {
        None => Ok(by),
        Some(gun) => Err(item.invalid(format!(
            "`{}` is the Notary collection of {gun}, which signs images of that repository alone; a role of a TUF root is asked \
             for here",
            by.root
        ))),
    }
}

/// Reads `{root, role, threshold}`; `default` is the role where it says nothing.
pub(super) fn collection(item: Item<'_>, names: &Names, default: &str) -> Result<Signers, YamlError> {
    item.fields("signers", |fields| {
        let (root, pinned) = names.root(&fields.required("root")?)?;
        let is_notary = pinned.gun.is_some();
        let threshold = match fields.optional("threshold") {
            None => 1,
            Some(item) => match item.integer()? {
                0 => return Err(item.invalid("a threshold is at least 1")),
                threshold => threshold,
            },
        };
        let role = fields.maybe("role", |item| {
            let role = item.word()?;
            match is_notary && role != "targets" && !role.starts_with("targets/") {
                true => Err(item
                    .invalid("a role of a Notary collection is `targets` or begins with `targets/`: targets/releases")),
                false => Ok(role.to_owned()),
            }
        })?;
        let role = role.unwrap_or_else(|| default.to_owned());
        Ok(Signers { root, role, threshold })
    })
}

/// Reads `90d`, `12h`: days or hours, as seconds.
///
/// # Errors
/// [`YamlError`] for anything else.
pub fn age(item: Item<'_>) -> Result<i64, YamlError> {
    let text = item.text()?;
    let unit = match text.chars().last() {
        Some('d') => Some(DAY),
        Some('h') => Some(3600),
        _ => None,
    };
    let number = text
        .get(..text.len().saturating_sub(1))
        .filter(|number| number.chars().all(|digit| digit.is_ascii_digit()))
        .and_then(|number| number.parse::<u32>().ok());
    match (unit, number) {
        (Some(unit), Some(number)) if number > 0 => Ok(i64::from(number) * unit),
        _ => Err(item.invalid("expected a number of days or hours, for example 90d or 12h")),
    }
}
