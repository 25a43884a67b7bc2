//! What a document says of names: thousands of entries, of which a look-up needs one.
//!
//! - Entries stay in the document's canonical text; each was checked when the document was read, and is built when it is asked
//!   for. What is put or removed lies above them until the table is written again.
//! - A document that was not canonical is built whole, as everything else is.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json;
use crate::json::{JsonError, Plain};

/// What a table says of one name.
pub trait Entry: Clone + PartialEq + Serialize + DeserializeOwned {
    /// Reads the next value as strictly as deserialising it does, and builds nothing.
    fn check(plain: &mut Plain<'_>) -> Option<()>;
}

/// A map of names to entries, in the order of the names.
#[derive(Clone)]
pub struct Table<V> {
    /// The text of the object as it was read.
    text: Bytes,
    read: Arc<Vec<Span>>,
    /// Entries that were put since, and `None` for names that were removed.
    changes: BTreeMap<String, Option<V>>,
    entry: PhantomData<V>,
}

/// Where an entry's name and value are in the text.
#[derive(Clone, Copy, Debug)]
struct Span {
    name: u32,
    value: u32,
    end: u32,
}

/// Where one entry of a table is.
enum Source<'a, V> {
    Read(Span),
    Put(&'a V),
}

/// One entry of a table: as it was read, or as it was put.
#[derive(Debug)]
pub enum Kept<'a, V> {
    /// Its canonical text.
    Text(&'a str),
    /// Itself.
    Built(&'a V),
}

impl<V> Clone for Kept<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Kept<'_, V> {}

impl<V: Entry> Kept<'_, V> {
    /// Builds the entry; `None` were one unreadable that was checked when it was read, which is an error of imgkit's.
    pub fn build(self) -> Option<V> {
        match self {
            Self::Text(text) => serde_json::from_str(text).ok(),
            Self::Built(value) => Some(value.clone()),
        }
    }
}

impl<V: Entry> Table<V> {
    /// Reads the next value of `document`, whose text lies in `bytes`; `None` when it is not plain, or an entry is no `V`.
    pub(super) fn read(bytes: &Bytes, document: &mut Plain<'_>) -> Option<Self> {
        let mut read = Vec::new();
        let start = document.at();
        document.members(|plain, name| {
            let value = plain.at() - start;
            // Between the name and its value are a quotation mark and a colon.
            let name = value - 2 - name.len();
            V::check(plain)?;
            read.push(Span {
                name: u32::try_from(name).ok()?,
                value: u32::try_from(value).ok()?,
                end: u32::try_from(plain.at() - start).ok()?,
            });
            Some(())
        })?;
        Some(Self {
            text: bytes.slice(start..document.at()),
            read: Arc::new(read),
            changes: BTreeMap::new(),
            entry: PhantomData,
        })
    }

    /// Returns what the table says of a name.
    pub fn get(&self, name: &str) -> Option<V> {
        self.kept(name)?.build()
    }

    /// Tells whether the table says anything of a name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.kept(name).is_some()
    }

    /// Returns how many names there are.
    pub fn len(&self) -> usize {
        self.merged().count()
    }

    /// Returns a number that there are not more names than, without counting them.
    pub fn most(&self) -> usize {
        self.read.len() + self.changes.len()
    }

    /// Tells whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.merged().next().is_none()
    }

    /// Returns the names in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.merged().map(|(name, _)| name)
    }

    /// Returns the entries in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Kept<'_, V>)> {
        self.merged().map(|(name, source)| {
            let kept = match source {
                Source::Read(span) => Kept::Text(self.part(span.value, span.end)),
                Source::Put(entry) => Kept::Built(entry),
            };
            (name, kept)
        })
    }

    /// Returns where each entry is, in the order of their names.
    fn merged(&self) -> impl Iterator<Item = (&str, Source<'_, V>)> {
        let mut read = self.read.iter().map(|span| (self.name(*span), *span)).peekable();
        let mut changes = self.changes.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let changed_first = match (read.peek(), changes.peek()) {
                    (Some((name, _)), Some((changed, _))) => changed.as_str() <= *name,
                    (_, changed) => changed.is_some(),
                };
                if !changed_first {
                    return read.next().map(|(name, span)| (name, Source::Read(span)));
                }
                let (name, change) = changes.next()?;
                // What was read of it no longer counts.
                read.next_if(|(other, _)| other == name);
                if let Some(entry) = change {
                    return Some((name.as_str(), Source::Put(entry)));
                }
            }
        })
    }

    /// Says something of a name.
    pub fn insert(&mut self, name: String, entry: V) {
        self.changes.insert(name, Some(entry));
    }

    /// Says nothing of a name any more; tells whether anything was said of it.
    pub fn remove(&mut self, name: &str) -> bool {
        let there = self.contains_key(name);
        if there {
            self.changes.insert(name.to_owned(), None);
        }
        there
    }

    /// Writes the table's canonical form.
    pub(super) fn write_canonical(&self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        if self.changes.is_empty() && !self.read.is_empty() {
            out.extend_from_slice(&self.text);
            return Ok(());
        }
        out.push(b'{');
        for (at, (name, kept)) in self.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            json::write_text(name, out);
            out.push(b':');
            match kept {
                Kept::Text(text) => out.extend_from_slice(text.as_bytes()),
                Kept::Built(value) => {
                    let value = serde_json::to_value(value).map_err(|error| JsonError::Shape(error.to_string()))?;
                    out.extend_from_slice(&json::canonical(&value)?);
                }
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Returns what the table says of a name, not built yet.
    pub fn kept(&self, name: &str) -> Option<Kept<'_, V>> {
        if let Some(change) = self.changes.get(name) {
            return change.as_ref().map(Kept::Built);
        }
        let found = self.read.binary_search_by(|span| self.name(*span).cmp(name)).ok()?;
        let span = self.read.get(found)?;
        Some(Kept::Text(self.part(span.value, span.end)))
    }

    fn name(&self, span: Span) -> &str {
        // Between the name and its value are a quotation mark and a colon.
        self.part(span.name, span.value.saturating_sub(2))
    }

    /// Returns a part of the text, which is UTF-8 between any two entries.
    fn part(&self, from: u32, to: u32) -> &str {
        let bytes = self.text.get(from as usize..to as usize);
        bytes
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            text: Bytes::new(),
            read: Arc::default(),
            changes: BTreeMap::new(),
            entry: PhantomData,
        }
    }
}

impl<V: Entry> PartialEq for Table<V> {
    fn eq(&self, other: &Self) -> bool {
        let built = |(name, kept): (_, Kept<'_, V>)| (name, kept.build());
        self.iter().map(built).eq(other.iter().map(built))
    }
}

impl<V: Entry + Eq> Eq for Table<V> {}

impl<V: Entry + fmt::Debug> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: Entry> Serialize for Table<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, kept)| (name, kept.build())))
    }
}

impl<'de, V: Entry> Deserialize<'de> for Table<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<String, V>::deserialize(deserializer)?;
        Ok(Self {
            changes: entries.into_iter().map(|(name, entry)| (name, Some(entry))).collect(),
            ..Self::default()
        })
    }
}
