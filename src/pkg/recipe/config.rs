//! How a component runs: the image's config, and LinuxKit's label in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::words;
use crate::config::label::LABEL;
use crate::config::settings::Settings;
use crate::yaml::{Fields, Item, YamlError};

/// How an image runs (image-spec, config.md, "config").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunConfig {
    /// The command, before `cmd`.
    pub entrypoint: Vec<String>,
    /// The command's arguments.
    pub cmd: Vec<String>,
    /// Environment, each `NAME=VALUE`.
    pub env: Vec<String>,
    /// Working directory; `None` is `/`.
    pub working_dir: Option<String>,
    /// User and group; `None` is root.
    pub user: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Reads a recipe's keys `config` and `linuxkit`.
pub(super) fn decode(recipe: &mut Fields<'_>) -> Result<RunConfig, YamlError> {
    let config = recipe.maybe("config", |item| {
        item.fields("a config", |config| {
            Ok(RunConfig {
                entrypoint: words(config, "entrypoint")?,
                cmd: words(config, "cmd")?,
                env: words(config, "env")?,
                working_dir: config.maybe("workingDir", |item| item.word().map(str::to_owned))?,
                user: config.maybe("user", |item| item.word().map(str::to_owned))?,
                labels: config.maybe("labels", |item| item.text_map())?.unwrap_or_default(),
            })
        })
    })?;
    let mut config = config.unwrap_or_default();
    if let Some(item) = recipe.optional("linuxkit") {
        // Decoded only to find mistakes here, with their places, and not when a node is built.
        item.fields("the label", Settings::decode)?;
        let label = json(item)?.to_string();
        if config.labels.insert(LABEL.to_owned(), label).is_some() {
            return Err(item.invalid(format!("the label {LABEL} is given already, under `config`")));
        }
    }
    Ok(config)
}

/// Turns YAML into the JSON that says the same.
fn json(item: Item<'_>) -> Result<Value, YamlError> {
    if item.is_mapping() {
        let member = |(key, _, value): (&str, _, Item<'_>)| Ok((key.to_owned(), json(value)?));
        return item
            .entries()?
            .map(member)
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object);
    }
    if item.is_integer() {
        return item.integer::<i64>().map(Value::from);
    }
    if let Ok(value) = item.boolean() {
        return Ok(Value::Bool(value));
    }
    match item.list() {
        Ok(items) => items.map(json).collect::<Result<Vec<_>, _>>().map(Value::Array),
        Err(_) => item.text().map(Value::from),
    }
}
