//! Names that a policy gives: trust roots and signers. Every file of a policy sees those of all.

use std::collections::BTreeMap;

use super::super::{Named, Signers};
use super::files::PolicyFile;
use super::{member, requirement, twice};
use crate::failure::Place;
use crate::yaml::{Item, YamlError};

/// The names of all files.
#[derive(Default)]
pub(super) struct Names {
    pub(super) roots: BTreeMap<String, Named<String>>,
    pub(super) signers: BTreeMap<String, Named<Signers>>,
}

impl Names {
    /// Reads what the files name; a name is given once.
    pub(super) fn of(files: &[PolicyFile]) -> Result<Self, YamlError> {
        let mut names = Self::default();
        for file in files {
            for (name, place, item) in named(file, "roots")? {
                let path = file.beside(item.word()?);
                add(&mut names.roots, "roots", (name, place), path)?;
            }
        }
        for file in files {
            for (name, place, item) in named(file, "signers")? {
                let signers = requirement::collection(item, &names, "targets")?;
                if let Some((other, first)) = names.signers.iter().find(|(_, other)| other.is == signers) {
                    return Err(item.invalid(format!(
                        "this is `{other}` ({}) under another name; one signer counts once",
                        first.place
                    )));
                }
                add(&mut names.signers, "signers", (name, place), signers)?;
            }
        }
        Ok(names)
    }

    /// Finds a signer by its name.
    pub(super) fn signer(&self, item: &Item<'_>) -> Result<(String, Signers), YamlError> {
        let name = item.word()?;
        let found = self.signers.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.signers.keys().map(String::as_str).collect();
            item.invalid(unknown("signer", name, "signers", &known))
        })?;
        Ok((name.to_owned(), found.is.clone()))
    }

    /// Finds a root by its name.
    pub(super) fn root(&self, item: &Item<'_>) -> Result<String, YamlError> {
        let name = item.word()?;
        if self.roots.contains_key(name) {
            return Ok(name.to_owned());
        }
        let known: Vec<&str> = self.roots.keys().map(String::as_str).collect();
        Err(item.invalid(unknown("root", name, "roots", &known)))
    }
}

fn unknown(what: &str, name: &str, key: &str, known: &[&str]) -> String {
    match known {
        [] => format!("no {what} is named `{name}`; `{key}:` names none"),
        _ => format!("no {what} is named `{name}`; `{key}:` names: {}", known.join(", ")),
    }
}

fn named<'a>(file: &'a PolicyFile, key: &str) -> Result<Vec<(&'a str, Place, Item<'a>)>, YamlError> {
    match member(file.document.root(), key)? {
        Some(item) => {
            let entries: Vec<_> = item.entries()?.collect();
            entries.iter().try_for_each(|(name, _, item)| check_name(name, item))?;
            Ok(entries)
        }
        None => Ok(Vec::new()),
    }
}

/// Refuses names that could be mistaken for paths or options.
pub(super) fn check_name(name: &str, item: &Item<'_>) -> Result<(), YamlError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    match !name.is_empty() && name.chars().all(plain) && !name.starts_with(['.', '-']) {
        true => Ok(()),
        false => {
            Err(item.invalid("a name is lower-case letters, digits, `-`, `_` and `.`, not beginning with `-` or `.`"))
        }
    }
}

fn add<T>(
    names: &mut BTreeMap<String, Named<T>>,
    key: &str,
    (name, place): (&str, Place),
    is: T,
) -> Result<(), YamlError> {
    if let Some(first) = names.get(name) {
        return Err(twice(&place, key, name, &first.place));
    }
    names.insert(name.to_owned(), Named { is, place });
    Ok(())
}
