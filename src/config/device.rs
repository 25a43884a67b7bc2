//! Devices, user IDs and their mappings.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::yaml::{Item, YamlError};

/// A device that a container may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// One device node, made in the container.
    Node {
        /// Where it appears.
        path: String,
        /// `c`, `b`, `u` or `p`.
        kind: String,
        /// Major number.
        major: i64,
        /// Minor number.
        minor: i64,
        /// Permission bits.
        mode: u32,
    },
    /// Every device of a kind (`path: all`).
    Kind(String),
}

impl Device {
    pub(super) fn decode(item: Item<'_>) -> Result<Self, YamlError> {
        item.fields("a device", |fields| {
            let path = fields.required("path")?.word()?.to_owned();
            let kind = fields.required("type")?;
            let kind = match kind.text()? {
                kind @ ("a" | "b" | "c" | "p" | "u") => kind.to_owned(),
                other => return Err(kind.invalid(format!("`{other}` is not a device type; expected c, b, u, p or a"))),
            };
            let major = fields.maybe("major", |item| item.integer())?;
            let minor = fields.maybe("minor", |item| item.integer())?;
            let mode = fields.maybe("mode", octal)?;
            if path == "all" {
                return Ok(Self::Kind(kind));
            }
            let Some(mode) = mode else {
                return Err(item.invalid("a device needs the key `mode`, for example `mode: \"0660\"`"));
            };
            Ok(Self::Node {
                path,
                kind,
                major: major.unwrap_or_default(),
                minor: minor.unwrap_or_default(),
                mode,
            })
        })
    }
}

/// Reads permission bits, which LinuxKit wants as text in octal.
pub(super) fn octal(item: Item<'_>) -> Result<u32, YamlError> {
    let text = match item.is_integer() {
        true => return Err(item.invalid("a mode is text in octal; quote it, for example \"0644\"")),
        false => item.text()?,
    };
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(mode),
        _ => Err(item.invalid(format!("`{text}` is not a mode; expected octal digits up to 7777"))),
    }
}

/// A user or group: a number, or the name of a container that is given one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// The number itself.
    Number(u32),
    /// The number that the container of this name was given.
    Named(String),
}

impl Id {
    /// Root.
    pub const ROOT: Self = Self::Number(0);

    pub(super) fn decode(item: Item<'_>) -> Result<Self, YamlError> {
        if item.is_integer() {
            return item.integer().map(Self::Number);
        }
        match item.text()? {
            "" | "root" => Ok(Self::ROOT),
            name => Ok(Self::Named(name.to_owned())),
        }
    }

    /// Looks the number up; `None` for a name that no container has.
    pub fn resolve(&self, ids: &Ids) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Named(name) => ids.0.get(name).copied(),
        }
    }
}

/// The numbers that containers are given, so that `uid` and `gid` can name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids(BTreeMap<String, u32>);

impl Ids {
    /// First number given: LinuxKit starts at 100.
    const FIRST: u32 = 100;

    /// Numbers `names` in their order; a name that occurs again has its last number.
    pub fn number<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let numbered = names.map(str::to_owned).zip(Self::FIRST..);
        Self(numbered.collect())
    }
}

/// One range of an ID mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdMapping {
    /// First ID inside.
    #[serde(rename = "containerID")]
    pub container: u32,
    /// First ID outside.
    #[serde(rename = "hostID")]
    pub host: u32,
    /// How many.
    pub size: u32,
}

impl IdMapping {
    pub(super) fn decode_list(item: Item<'_>) -> Result<Vec<Self>, YamlError> {
        item.list_of(|item| {
            item.fields("an ID mapping", |fields| {
                Ok(Self {
                    container: fields.required("containerID")?.integer()?,
                    host: fields.required("hostID")?.integer()?,
                    size: fields.required("size")?.integer()?,
                })
            })
        })
    }
}
