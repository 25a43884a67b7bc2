//! Reads rules and what is forbidden.

use super::super::{Allow, Decision, Forbidden, Pattern, Rule};
use super::names::Names;
use super::requirement::beside_each_other;
use crate::yaml::{Item, YamlError};

pub(super) fn rule(item: Item<'_>, names: &Names) -> Result<Rule, YamlError> {
    item.fields("a rule", |fields| {
        let pattern = pattern(fields.required("match")?)?;
        let deny = fields.maybe("deny", |item| item.word().map(str::to_owned))?;
        let unsigned = fields.maybe("unsigned", |item| match item.word()? {
            "accept" => Ok(()),
            _ => Err(item.invalid("expected `accept`, the only word that admits an unsigned component")),
        })?;
        let proved = fields.maybe("proved", |item| item.boolean())?.unwrap_or(false);
        let allow = fields.maybe("allow", |item| item.list_of(allow))?.unwrap_or_default();
        let overrides = fields.maybe("overrides", overrides)?.unwrap_or(true);
        let decision = match (beside_each_other(fields, names)?, deny, unsigned) {
            (Some(requirement), None, None) if requirement.vouches() => Decision::Required(requirement),
            (Some(_), None, None) => {
                return Err(item.invalid(
                    "this can hold for an image that nobody vouches for; say in each alternative who does, with `signed:` or `digestIn:`",
                ));
            }
            (None, Some(reason), None) => Decision::Denied { reason },
            (None, None, Some(())) => Decision::Unsigned,
            _ => {
                return Err(item.invalid(
                    "a rule has requirements (`signed:` …), or exactly one of `deny:` (with its reason) and `unsigned: accept`",
                ));
            }
        };
        Ok(Rule {
            pattern,
            decision,
            proved,
            allow,
            overrides,
            place: item.place(),
        })
    })
}

pub(super) fn forbidden(item: Item<'_>) -> Result<Forbidden, YamlError> {
    item.fields("what is forbidden", |fields| {
        Ok(Forbidden {
            pattern: pattern(fields.required("match")?)?,
            reason: fields.required("reason")?.word()?.to_owned(),
            place: item.place(),
        })
    })
}

fn pattern(item: Item<'_>) -> Result<Pattern, YamlError> {
    Pattern::parse(item.text()?).map_err(|error| item.invalid(error))
}

fn allow(item: Item<'_>) -> Result<Allow, YamlError> {
    Allow::parse(item.text()?)
        .ok_or_else(|| item.invalid("expected KIND:VALUE, for example capability:CAP_NET_ADMIN; `*` only in the value"))
}

fn overrides(item: Item<'_>) -> Result<bool, YamlError> {
    match item.text()? {
        "allow" => Ok(true),
        "refuse" => Ok(false),
        _ => Err(item.invalid("expected `allow` or `refuse`")),
    }
}
