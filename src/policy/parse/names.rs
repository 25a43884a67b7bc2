//! Names that a policy gives: trust roots and signers. Every file of a policy sees those of all.

use std::collections::BTreeMap;

use super::super::{Binding, Named, Root, Signer, SigstoreSigner};
use super::files::PolicyFile;
use super::{member, requirement, twice};
use crate::failure::Place;
use crate::reference::Reference;
use crate::sigstore::certificate::{self, Matcher};
use crate::yaml::{Fields, Item, YamlError};

/// The names of all files.
#[derive(Default)]
pub(super) struct Names {
    pub(super) roots: BTreeMap<String, Named<Root>>,
    pub(super) signers: BTreeMap<String, Named<Signer>>,
}

impl Names {
    /// Reads what the files name; a name is given once.
    pub(super) fn of(files: &[PolicyFile]) -> Result<Self, YamlError> {
        let mut names = Self::default();
        for file in files {
            for (name, place, item) in named(file, "roots")? {
                let root = root(item, file)?;
                add(&mut names.roots, "roots", (name, place), root)?;
            }
        }
        for file in files {
            for (name, place, item) in named(file, "signers")? {
                let signers = signer(item, &names, file)?;
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
    pub(super) fn signer(&self, item: &Item<'_>) -> Result<(String, Signer), YamlError> {
        let name = item.word()?;
        let found = self.signers.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.signers.keys().map(String::as_str).collect();
            item.invalid(unknown("signer", name, "signers", &known))
        })?;
        Ok((name.to_owned(), found.is.clone()))
    }

    /// Returns the GUN of a root, if it is a Notary collection's.
    pub(super) fn gun(&self, root: &str) -> Option<&str> {
        self.roots.get(root)?.is.gun.as_deref()
    }

    /// Finds a root by its name.
    pub(super) fn root(&self, item: &Item<'_>) -> Result<(String, &Root), YamlError> {
        let name = item.word()?;
        if let Some(found) = self.roots.get(name) {
            return Ok((name.to_owned(), &found.is));
        }
        let known: Vec<&str> = self.roots.keys().map(String::as_str).collect();
        Err(item.invalid(unknown("root", name, "roots", &known)))
    }
}

/// Reads a pinned root: the path of its file, or that and the GUN of its Notary collection. Files are named beside the policy's own.
fn root(item: Item<'_>, file: &PolicyFile) -> Result<Root, YamlError> {
    if !item.is_mapping() {
        let file = file.beside(item.word()?);
        return Ok(Root { file, gun: None });
    }
    item.fields("a Notary collection", |fields| {
        let gun = fields.required("gun")?;
        let path = file.beside(fields.required("file")?.word()?);
        Ok(Root {
            file: path,
            gun: Some(repository(&gun)?),
        })
    })
}

/// Reads a repository's full name, written as references are compared.
fn repository(item: &Item<'_>) -> Result<String, YamlError> {
    let name = item.word()?;
    let parsed = name.parse::<Reference>().map_err(|error| item.invalid(error))?;
    let full = parsed.repository().to_string();
    match full == name {
        true => Ok(full),
        false => Err(item.invalid(format!(
            "a GUN is a repository's full name, without tag or digest: `{full}`"
        ))),
    }
}

/// Reads who a name stands for: a role of a root, the key in a file, or an identity. Files are named beside the policy's own.
fn signer(item: Item<'_>, names: &Names, file: &PolicyFile) -> Result<Signer, YamlError> {
    let has = |key: &str| Ok::<_, YamlError>(member(item, key)?.is_some());
    if has("key")? {
        let key = item.fields("a key", |fields| {
            let path = fields.required("key")?.word()?;
            Ok(SigstoreSigner::Key {
                file: file.beside(path),
                names: binding(fields)?,
            })
        })?;
        return Ok(Signer::Sigstore(key));
    }
    let identity = [
        has("identity")?,
        has("identityRegExp")?,
        has("issuer")?,
        has("issuerRegExp")?,
    ];
    if !identity.contains(&true) {
        return requirement::collection(item, names, "targets").map(Signer::Role);
    }
    item.fields("an identity", |fields| {
        let identity = matcher(item, fields, "identity", "identityRegExp")?;
        let issuer = matcher(item, fields, "issuer", "issuerRegExp")?;
        let trusted_root = fields.maybe("trustedRoot", |item| item.word().map(|path| file.beside(path)))?;
        Ok(Signer::Sigstore(SigstoreSigner::Identity {
            signer: Box::new(certificate::Signer::new(identity, issuer)),
            trusted_root,
            names: binding(fields)?,
        }))
    })
}

/// Reads what a signer's signatures have to name.
fn binding(fields: &mut Fields<'_>) -> Result<Binding, YamlError> {
    let names = fields.maybe("names", |item| {
        let word = item.word()?;
        let found = Binding::WORDS.iter().find(|(known, _)| *known == word);
        let expected = "expected what its signatures have to name: repository, or tag for both";
        found.map(|(_, names)| *names).ok_or_else(|| item.invalid(expected))
    })?;
    Ok(names.unwrap_or(Binding::Any))
}

/// Reads a text under one key, or an expression for all of it under another.
fn matcher(
    item: Item<'_>,
    fields: &mut Fields<'_>,
    exact: &'static str,
    pattern: &'static str,
) -> Result<Matcher, YamlError> {
    let text = fields.maybe(exact, |item| item.word().map(|text| Matcher::Exact(text.to_owned())))?;
    let expression = fields.maybe(pattern, |item| {
        Matcher::pattern(item.word()?).map_err(|error| item.invalid(error))
    })?;
    match (text, expression) {
        (Some(matcher), None) | (None, Some(matcher)) => Ok(matcher),
        _ => Err(item.invalid(format!("an identity has exactly one of `{exact}:` and `{pattern}:`"))),
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
