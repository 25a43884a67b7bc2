//! Typed access to nodes: what is asked for, or an error at its place.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use super::error::nearest;
use super::{Key, Node, Problem, Value, YamlError};
use crate::failure::Place;
use crate::limit;

/// A value of a document, with its place.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    file: &'a str,
    node: &'a Node,
}

impl<'a> Item<'a> {
    pub(super) fn new(file: &'a str, node: &'a Node) -> Self {
        Self { file, node }
    }

    /// Returns where the value stands.
    pub fn place(&self) -> Place {
        self.node.mark.in_file(self.file)
    }

    /// Makes an error about this value: what was expected, what was found, what to do.
    pub fn invalid(&self, problem: impl Display) -> YamlError {
        self.error(Problem::Invalid(problem.to_string()))
    }

    /// Reads text; a number or truth value must be quoted to be text.
    ///
    /// # Errors
    /// [`Problem::WrongType`].
    pub fn text(&self) -> Result<&'a str, YamlError> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong_type("text")),
        }
    }

    /// Reads text that is not empty.
    ///
    /// # Errors
    /// [`Problem::WrongType`], or [`Problem::Invalid`] for an empty text.
    pub fn word(&self) -> Result<&'a str, YamlError> {
        match self.text()? {
            "" => Err(self.invalid("expected text, found an empty one")),
            text => Ok(text),
        }
    }

    /// Reads a name as containers have one; `what` is what errors call it.
    ///
    /// # Errors
    /// [`Problem::WrongType`], or [`Problem::Invalid`] for a text that runc, containerd and file systems would not all take.
    pub fn name(&self, what: &str) -> Result<&'a str, YamlError> {
        let name = self.text()?;
        let is_name = name.len() <= limit::CONTAINER_NAME_BYTES
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        match is_name {
            true => Ok(name),
            false => Err(self.invalid(format!(
                "`{name}` is not {what}; expected letters, digits, `.`, `_` and `-`, beginning with a letter or digit"
            ))),
        }
    }

    /// Reads text and parses it.
    ///
    /// # Errors
    /// [`Problem::WrongType`], or [`Problem::Invalid`] with the parser's words.
    pub fn parse<T>(&self) -> Result<T, YamlError>
    where
        T: FromStr<Err: Display>,
    {
        self.text()?.parse().map_err(|error| self.invalid(error))
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// [`Problem::WrongType`].
    pub fn boolean(&self) -> Result<bool, YamlError> {
        match self.node.value {
            Value::Bool(value) => Ok(value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// Reads an integer that fits `T`.
    ///
    /// # Errors
    /// [`Problem::WrongType`], or [`Problem::Invalid`] when it is out of range.
    pub fn integer<T: TryFrom<i128>>(&self) -> Result<T, YamlError> {
        match self.node.value {
            Value::Integer(value) => {
                T::try_from(value).map_err(|_| self.invalid(format!("number {value} is out of range")))
            }
            _ => Err(self.wrong_type("an integer")),
        }
    }

    /// Returns the value when it is a scalar that is not null; numbers with fractions are given as written.
    pub fn scalar(&self) -> Option<Scalar<'a>> {
        match &self.node.value {
            Value::Bool(value) => Some(Scalar::Bool(*value)),
            Value::Integer(value) => Some(Scalar::Integer(*value)),
            Value::Number(text) | Value::Text(text) => Some(Scalar::Text(text)),
            Value::Null | Value::List(_) | Value::Mapping(_) => None,
        }
    }

    /// Turns the value into JSON, whatever it is; numbers with fractions become numbers where JSON has them.
    ///
    /// # Errors
    /// [`YamlError`] for an integer that no program would read again.
    pub fn to_json(&self) -> Result<serde_json::Value, YamlError> {
        use serde_json::Value as Json;
        Ok(match &self.node.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Integer(_) => Json::from(self.integer::<i64>()?),
            Value::Number(text) => text
                .parse::<f64>()
                .map_or_else(|_| Json::from(text.as_str()), Json::from),
            Value::Text(text) => Json::from(text.as_str()),
            Value::List(_) => Json::from(self.list_of(|item| item.to_json())?),
            Value::Mapping(_) => {
                let members = self
                    .entries()?
                    .map(|(name, _, item)| Ok((name.to_owned(), item.to_json()?)));
                Json::Object(members.collect::<Result<_, YamlError>>()?)
            }
        })
    }

    /// Tells whether the value is an integer, for keys that take a number or a name.
    pub fn is_integer(&self) -> bool {
        matches!(self.node.value, Value::Integer(_))
    }

    /// Tells whether the value is a mapping, for keys that take a word or a mapping.
    pub fn is_mapping(&self) -> bool {
        matches!(self.node.value, Value::Mapping(_))
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`Problem::WrongType`].
    pub fn list(&self) -> Result<impl Iterator<Item = Item<'a>> + use<'a>, YamlError> {
        let file = self.file;
        match &self.node.value {
            Value::List(items) => Ok(items.iter().map(move |node| Item { file, node })),
            _ => Err(self.wrong_type("a list")),
        }
    }

    /// Reads a list and decodes each of its items.
    ///
    /// # Errors
    /// [`Problem::WrongType`], or the first error of `decode`.
    pub fn list_of<T>(&self, decode: impl FnMut(Item<'a>) -> Result<T, YamlError>) -> Result<Vec<T>, YamlError> {
        self.list()?.map(decode).collect()
    }

    /// Reads a list of texts.
    ///
    /// # Errors
    /// [`Problem::WrongType`].
    pub fn texts(&self) -> Result<Vec<String>, YamlError> {
        self.list_of(|item| item.text().map(str::to_owned))
    }

    /// Reads a mapping from names that the reader does not know in advance, in the file's order.
    ///
    /// Each entry is the name, its place and its value.
    ///
    /// # Errors
    /// [`Problem::WrongType`].
    pub fn entries(&self) -> Result<impl Iterator<Item = (&'a str, Place, Item<'a>)> + use<'a>, YamlError> {
        let file = self.file;
        let entries = self.mapping()?;
        Ok(entries
            .iter()
            .map(move |(key, node)| (key.name.as_str(), key.mark.in_file(file), Item { file, node })))
    }

    /// Reads a mapping from names to texts.
    ///
    /// # Errors
    /// [`Problem::WrongType`].
    pub fn text_map(&self) -> Result<BTreeMap<String, String>, YamlError> {
        let entry = |(key, _, value): (&str, Place, Item<'_>)| Ok((key.to_owned(), value.text()?.to_owned()));
        self.entries()?.map(entry).collect()
    }

    /// Decodes a mapping with known keys; `what` names it in errors, with its article.
    ///
    /// # Errors
    /// [`Problem::WrongType`], what `decode` gives, or [`Problem::UnknownKey`] for the first key that `decode` did not ask for.
    pub fn fields<T>(
        &self,
        what: &'static str,
        decode: impl FnOnce(&mut Fields<'a>) -> Result<T, YamlError>,
    ) -> Result<T, YamlError> {
        let mut fields = Fields {
            item: *self,
            what,
            entries: self.mapping()?,
            asked: Vec::new(),
        };
        let decoded = decode(&mut fields)?;
        match fields.unknown() {
            Some(unknown) => Err(unknown),
            None => Ok(decoded),
        }
    }

    fn mapping(&self) -> Result<&'a [(Key, Node)], YamlError> {
        match &self.node.value {
            Value::Mapping(entries) => Ok(entries),
            _ => Err(self.wrong_type("a mapping")),
        }
    }

    fn wrong_type(&self, expected: &'static str) -> YamlError {
        let quote = if expected == "text" { "; quote it" } else { "" };
        let found = match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`, a truth value{quote}"),
            Value::Integer(value) => format!("`{value}`, an integer{quote}"),
            Value::Number(text) => format!("`{text}`, a number{quote}"),
            Value::Text(text) => format!("the text `{}`", text.chars().take(60).collect::<String>()),
            Value::List(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
        };
        self.error(Problem::WrongType { expected, found })
    }

    fn error(&self, problem: Problem) -> YamlError {
        let place = self.place();
        YamlError { place, problem }
    }
}

/// A scalar, for readers that take any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Integer(i128),
    /// Anything else.
    Text(&'a str),
}

/// The keys of a mapping while it is decoded; remembers which were asked for.
#[derive(Debug)]
pub struct Fields<'a> {
    item: Item<'a>,
    what: &'static str,
    entries: &'a [(Key, Node)],
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Asks for a key that may be absent.
    pub fn optional(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.asked.push(key);
        let (_, node) = self.entries.iter().find(|(known, _)| known.name == key)?;
        Some(Item::new(self.item.file, node))
    }

    /// Asks for a key that must be there.
    ///
    /// # Errors
    /// [`Problem::Missing`] at the mapping's place.
    pub fn required(&mut self, key: &'static str) -> Result<Item<'a>, YamlError> {
        if let Some(item) = self.optional(key) {
            return Ok(item);
        }
        let mut others = self.entries.iter().map(|(other, _)| other.name.as_str());
        let mistyped = others.find(|other| !self.asked.contains(other) && nearest(other, &[key]).is_some());
        Err(self.item.error(Problem::Missing {
            what: self.what,
            key,
            mistyped: mistyped.map(str::to_owned),
        }))
    }

    /// Asks for a key that may be absent, and decodes it when it is there.
    ///
    /// # Errors
    /// What `decode` gives.
    pub fn maybe<T>(
        &mut self,
        key: &'static str,
        decode: impl FnOnce(Item<'a>) -> Result<T, YamlError>,
    ) -> Result<Option<T>, YamlError> {
        self.optional(key).map(decode).transpose()
    }

    /// Returns the mapping itself, for errors about it as a whole.
    pub fn item(&self) -> Item<'a> {
        self.item
    }

    fn unknown(&self) -> Option<YamlError> {
        let (key, _) = self
            .entries
            .iter()
            .find(|(key, _)| !self.asked.contains(&key.name.as_str()))?;
        Some(YamlError {
            place: key.mark.in_file(self.item.file),
            problem: Problem::UnknownKey {
                what: self.what,
                key: key.name.chars().take(100).collect(),
                nearest: nearest(&key.name, &self.asked),
                known: self.asked.clone(),
            },
        })
    }
}
