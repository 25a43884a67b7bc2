//! YAML with places: every value knows its line and column, every mapping knows all its keys.
//!
//! Shared by everything that people write: node specifications, policies, component recipes.
//!
//! - [`Document::parse`] reads one document; [`Document::root`] hands it out as an [`Item`].
//! - [`Item`] asks for what is expected (`text`, `integer`, `list`, `fields` …) and answers with an error at the right place.
//! - [`Item::fields`] decodes a mapping; a key that nobody asked for is an error that names the nearest known key.
//! - Scalars are resolved as LinuxKit's reader (Go's yaml.v3, untyped) does: `yes` and `on` are text, `0644` is octal,
//!   `1.0` is no text. Refused: duplicate keys, merge keys, keys that are not text, tags outside the core schema, several documents,
//!   control and bidirectional-override characters, and whatever exceeds the `YAML_*` bounds of [`limit`](crate::limit).
//!
//! ```
//! use imgkit::yaml::Document;
//!
//! let document = Document::parse("who.yml", b"name: sshd\nports: [22]\n")?;
//! let (name, ports) = document.root().fields("a service", |fields| {
//!     let name = fields.required("name")?.text()?.to_owned();
//!     let ports = match fields.optional("ports") {
//!         Some(item) => item.list()?.map(|port| port.integer::<u16>()).collect::<Result<Vec<_>, _>>()?,
//!         None => Vec::new(),
//!     };
//!     Ok((name, ports))
//! })?;
//! assert_eq!((name.as_str(), ports.as_slice()), ("sshd", [22].as_slice()));
//! # Ok::<(), imgkit::yaml::YamlError>(())
//! ```

mod compose;
mod error;
mod item;
mod scalar;

pub use error::{Problem, YamlError};
pub use item::{Fields, Item, Scalar};

use crate::failure::Place;

/// One YAML document and the name of the file that it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    file: String,
    root: Node,
}

impl Document {
    /// Reads the only document in `bytes`; `file` is how errors name it.
    ///
    /// # Errors
    /// [`YamlError`] with the place of the first thing that is refused.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, YamlError> {
        Ok(Self {
            file: file.to_owned(),
            root: compose::compose(file, bytes)?,
        })
    }

    /// Returns the document's value, to decode it.
    pub fn root(&self) -> Item<'_> {
        Item::new(&self.file, &self.root)
    }
}

/// A place in the file: line and column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    line: usize,
    column: usize,
}

impl Mark {
    fn in_file(self, file: &str) -> Place {
        Place {
            file: file.to_owned(),
            line: self.line,
            column: self.column,
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
struct Node {
    mark: Mark,
    value: Value,
}

/// What a node is, once its scalar is resolved.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    /// Any other number, as it was written: nothing that imgkit reads has fractions.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A mapping's key and where it stands.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    mark: Mark,
    name: String,
}

#[cfg(test)]
mod tests;
