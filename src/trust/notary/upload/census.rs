//! What an upload has of what costs time and memory to judge, counted before anything is built or checked of it.
//!
//! - Signatures cost time: a role can have many keys, and an upload many roles.
//! - A value in a member that nobody knows takes memory for nothing, again with every later upload to the collection.
//! - What a table of targets holds is kept as text, and does not count.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::UploadError;
use crate::limit;

/// How much of it there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    signatures: usize,
    values: usize,
    unknown: usize,
}

impl Census {
    /// Adds a role's file.
    ///
    /// # Errors
    /// [`UploadError::Whole`] when the file is no JSON.
    pub(super) fn add(&mut self, role: &str, bytes: &[u8]) -> Result<(), UploadError> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let count = Count {
            census: self,
            part: &FILE,
        };
        let counted = count.deserialize(&mut reader).and_then(|()| reader.end());
        counted.map_err(|error| UploadError::Whole(format!("{role} is not JSON: {error}")))
    }

    /// Refuses what is too much.
    ///
    /// # Errors
    /// [`UploadError::Whole`].
    pub(super) fn check(&self) -> Result<(), UploadError> {
        let counted = [
            (self.signatures, limit::UPLOAD_SIGNATURES, "signatures"),
            (
                self.unknown,
                limit::UPLOAD_UNKNOWN,
                "values in members that are not known",
            ),
            (self.values, limit::UPLOAD_VALUES, "values beside its targets"),
        ];
        let much = counted.into_iter().find(|(found, most, _)| found > most);
        much.map_or(Ok(()), |(found, most, what)| {
            Err(UploadError::Whole(format!(
                "an upload has at most {most} {what}, found {found}; publish it in parts"
            )))
        })
    }
}

/// A part of a metadata file, as Notary's dialect has it.
enum Part {
    /// A text, a number, or such; what else stands there is not known.
    Plain,
    /// What is kept as text.
    Kept,
    List(&'static Part),
    Signatures,
    Table(&'static Part),
    Members(&'static [(&'static str, Part)]),
    Unknown,
}

const FILE: Part = Part::Members(&[("signatures", Part::Signatures), ("signed", SIGNED)]);

const SIGNATURE: Part = Part::Members(&[("keyid", Part::Plain), ("method", Part::Plain), ("sig", Part::Plain)]);

/// The members of all four kinds.
const SIGNED: Part = Part::Members(&[
    ("_type", Part::Plain),
    ("consistent_snapshot", Part::Plain),
    ("delegations", DELEGATIONS),
    ("expires", Part::Plain),
    ("keys", Part::Table(&KEY)),
    ("meta", Part::Table(&FILE_META)),
    ("roles", Part::Table(&ROLE)),
    ("targets", Part::Kept),
    ("version", Part::Plain),
]);

const DELEGATIONS: Part = Part::Members(&[("keys", Part::Table(&KEY)), ("roles", Part::List(&ROLE))]);

const KEY: Part = Part::Members(&[
    ("keytype", Part::Plain),
    (
        "keyval",
        Part::Members(&[("private", Part::Plain), ("public", Part::Plain)]),
    ),
]);

/// One of a root, or a delegated one.
const ROLE: Part = Part::Members(&[
    ("keyids", Part::List(&Part::Plain)),
    ("name", Part::Plain),
    ("paths", Part::List(&Part::Plain)),
    ("threshold", Part::Plain),
]);

const FILE_META: Part = Part::Members(&[
    (
        "hashes",
        Part::Members(&[("sha256", Part::Plain), ("sha512", Part::Plain)]),
    ),
    ("length", Part::Plain),
]);

/// Counts one value and what is in it.
struct Count<'a> {
    census: &'a mut Census,
    part: &'static Part,
}

impl Count<'_> {
    /// Returns what an array's items are.
    fn items(&self) -> &'static Part {
        match self.part {
            Part::List(item) => item,
            Part::Signatures => &SIGNATURE,
            _ => &Part::Unknown,
        }
    }

    /// Returns what an object's member is.
    fn member(&self, name: &str) -> &'static Part {
        match self.part {
            Part::Table(item) => item,
            Part::Members(members) => {
                let known = members.iter().find(|(known, _)| *known == name);
                known.map_or(&Part::Unknown, |(_, part)| part)
            }
            _ => &Part::Unknown,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.part {
            Part::Kept => return deserializer.deserialize_ignored_any(IgnoredAny).map(drop),
            Part::Unknown => self.census.unknown += 1,
            _ => self.census.values += 1,
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let part = self.items();
        let signs = matches!(self.part, Part::Signatures);
        let census = self.census;
        while items
            .next_element_seed(Count {
                census: &mut *census,
                part,
            })?
            .is_some()
        {
            census.signatures += usize::from(signs);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            let part = self.member(&name);
            let census = &mut *self.census;
            members.next_value_seed(Count { census, part })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn census(text: &str) -> Census {
        let mut census = Census::default();
        census.add("targets", text.as_bytes()).unwrap();
        census
    }

    #[test]
    fn signatures_and_what_nobody_knows_are_counted_wherever_they_stand() {
        let known = r#"{"signed":{"_type":"Targets","targets":{"a":{"custom":[[],[]]}},"delegations":{"keys":{"k":{"keytype":"ecdsa",
            "keyval":{"private":null,"public":"="}}},"roles":[{"keyids":["k"],"name":"targets/x","paths":[""],"threshold":1}]}},
            "signatures":[{"keyid":"k","method":"ecdsa","sig":"="},{}]}"#;
        let Census {
            signatures, unknown, ..
        } = census(known);
        assert_eq!((signatures, unknown), (2, 0));
        for (place, count) in [
            (r#"{"x":[0,0,{"y":[]}]}"#, 5),
            (r#"{"signatures":[{"x":[0]}]}"#, 2),
            (r#"{"signed":{"x":{}}}"#, 1),
            (r#"{"signed":{"version":[1]}}"#, 1),
            (r#"{"signed":{"meta":{"root":{"custom":[1,2]}}}}"#, 3),
            (
                r#"{"signed":{"delegations":{"x":0,"keys":{"k":{"x":0}},"roles":[{"x":0}]}}}"#,
                3,
            ),
            (
                r#"{"signed":{"keys":{"k":{"keyval":{"x":0}}},"roles":{"root":{"x":0}}}}"#,
                2,
            ),
        ] {
            assert_eq!(census(place).unknown, count, "{place}");
        }
        // `{`, signed, delegations, roles, the role, paths, two of them.
        let paths = r#"{"signed":{"delegations":{"roles":[{"paths":["",""]}]}}}"#;
        assert_eq!(census(paths).values, 8);
    }

    #[test]
    fn what_is_too_much_is_refused_and_as_much_as_fits_is_not() {
        let most = Census {
            signatures: limit::UPLOAD_SIGNATURES,
            values: limit::UPLOAD_VALUES,
            unknown: limit::UPLOAD_UNKNOWN,
        };
        most.check().unwrap();
        for (much, what) in [
            (
                Census {
                    signatures: most.signatures + 1,
                    ..most
                },
                "signatures, found 4097",
            ),
            (
                Census {
                    values: most.values + 1,
                    ..most
                },
                "values beside its targets, found 262145",
            ),
            (
                Census {
                    unknown: most.unknown + 1,
                    ..most
                },
                "not known, found 4097",
            ),
        ] {
            let told = much.check().unwrap_err().to_string();
            assert!(told.contains(what), "{told}");
        }
        assert!(Census::default().add("targets", b"{").is_err());
    }
}
