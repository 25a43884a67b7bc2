//! Lists of what refers to a document (distribution-spec 1.1, "Listing Referrers").
//!
//! - Whoever can push has a say in what is listed: an entry that is no descriptor counts for nothing, and hides no other.
//! - Only what is used of an entry is kept, and nothing is built of the rest: annotations are the manifest's own, which the
//!   registry copies into its list, as many as there are.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Annotated, Annotations, Descriptor, malformed};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;

/// What a list names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    /// What refers to the document, in the list's order and without annotations.
    pub listed: Vec<Annotated>,
    /// What of the list counts for nothing (MALFORMED), and why there may be more than is listed (could not find out).
    pub problems: Vec<Failure>,
}

impl Referrers {
    /// Reads a list; unlike an image's index it may list indexes as well.
    ///
    /// # Errors
    /// A refusal (MALFORMED) when it is no such list.
    pub fn parse(subject: &str, bytes: &[u8]) -> Result<Self, Failure> {
        let bad = |found: &dyn fmt::Display| malformed(subject, "a JSON list of what refers to a document", found);
        let raw: RawList = serde_json::from_slice(bytes).map_err(|error| bad(&error))?;
        if raw.schema_version != 2 {
            return Err(malformed(subject, "schemaVersion 2", raw.schema_version));
        }
        let mut list = Self {
            listed: raw.manifests.good,
            problems: Vec::new(),
        };
        if let Some(first) = raw.manifests.first_odd {
            let found = format!("{first}, the first of {} that are none", raw.manifests.odd);
            list.problems.push(malformed(subject, "descriptors", found));
        }
        list.is_full(subject, raw.manifests.more);
        Ok(list)
    }

    /// Adds what another list names, as long as there is room; tells whether there was.
    pub fn add(&mut self, subject: &str, other: Self) -> bool {
        self.listed.extend(other.listed);
        self.problems.extend(other.problems);
        let more = self.listed.len().saturating_sub(limit::REFERRERS);
        self.listed.truncate(limit::REFERRERS);
        self.is_full(subject, more);
        more == 0
    }

    /// Says that there is more than was read.
    fn is_full(&mut self, subject: &str, more: usize) {
        if more > 0 {
            let most = limit::REFERRERS;
            let problem =
                format!("{more} more are listed than the {most} that are read; have those deleted that nobody needs");
            self.problems.push(Failure::unavailable(subject, problem));
        }
    }
}

struct RawList {
    schema_version: u64,
    manifests: Entries,
}

impl<'de> Deserialize<'de> for RawList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Outer;
        impl<'de> Visitor<'de> for Outer {
            type Value = RawList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<RawList, A::Error> {
                const KNOWN: [&str; 2] = ["schemaVersion", "manifests"];
                let (mut version, mut manifests) = (None, None);
                while let Some(name) = members.next_key::<String>()? {
                    let twice = match name.as_str() {
                        "schemaVersion" => version.replace(members.next_value()?).is_some(),
                        "manifests" => manifests.replace(members.next_value()?).is_some(),
                        other if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(other)) => {
                            let problem = format!("a member `{other}`, which some readers take for another");
                            return Err(A::Error::custom(problem));
                        }
                        _ => members.next_value::<IgnoredAny>().map(|_| false)?,
                    };
                    if twice {
                        return Err(A::Error::custom(format!("the member `{name}` occurs twice")));
                    }
                }
                Ok(RawList {
                    schema_version: version.ok_or_else(|| A::Error::missing_field("schemaVersion"))?,
                    manifests: manifests.ok_or_else(|| A::Error::missing_field("manifests"))?,
                })
            }
        }
        deserializer.deserialize_map(Outer)
    }
}

/// The entries of a list.
#[derive(Default)]
struct Entries {
    good: Vec<Annotated>,
    /// How many good ones there are beyond those that are read.
    more: usize,
    odd: usize,
    first_odd: Option<String>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                while let Some(value) = items.next_element_seed(Any { with_members: true })? {
                    match value.descriptor() {
                        Ok(_) if entries.good.len() >= limit::REFERRERS => entries.more += 1,
                        Ok(entry) => entries.good.push(entry),
                        Err(problem) => {
                            entries.odd += 1;
                            entries.first_odd.get_or_insert(problem);
                        }
                    }
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

/// Any value, of which only texts, whole numbers and the members of a descriptor are kept.
enum Loose {
    Text(String),
    Number(u64),
    Members(Box<Members>),
    Other,
}

#[derive(Default)]
struct Members {
    media_type: Option<Loose>,
    digest: Option<Loose>,
    size: Option<Loose>,
    artifact_type: Option<Loose>,
    /// A member that occurs twice.
    twice: Option<&'static str>,
}

impl Loose {
    /// Takes it for a descriptor.
    fn descriptor(self) -> Result<Annotated, String> {
        let Self::Members(members) = self else {
            return Err("something that is no object".to_owned());
        };
        let found = |name: &str, value: Option<Self>| match value {
            Some(Self::Text(text)) => Ok(text),
            Some(_) => Err(format!("one whose `{name}` is no text")),
            None => Err(format!("one without `{name}`")),
        };
        if let Some(name) = members.twice {
            return Err(format!("one with two members `{name}`"));
        }
        let digest: String = found("digest", members.digest)?;
        let digest: Digest = digest.parse().map_err(|_| {
            let shown: String = digest.chars().take(SHOWN).collect();
            format!("one whose digest is `{}`", shown.escape_debug())
        })?;
        let size = match members.size {
            Some(Self::Number(size)) => size,
            _ => return Err(format!("one whose size is none, of {digest}")),
        };
        let artifact_type = match members.artifact_type {
            // Go writes what is not there as null, too.
            None | Some(Self::Other) => None,
            some => Some(found("artifactType", some)?),
        };
        Ok(Annotated {
            descriptor: Descriptor {
                media_type: found("mediaType", members.media_type)?,
                digest,
                size,
                platform: None,
            },
            artifact_type,
            annotations: Annotations::new(),
        })
    }
}

/// How many characters of a text that is no digest are shown.
const SHOWN: usize = 80;

/// Reads any value; the members of an object only where that is wanted, so that nothing nests.
#[derive(Clone, Copy)]
struct Any {
    with_members: bool,
}

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Loose;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Loose, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Loose, E> {
        Ok(Loose::Number(value))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_str<E>(self, value: &str) -> Result<Loose, E> {
        Ok(Loose::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Loose, A::Error> {
        let mut kept = Members::default();
        while let Some(name) = members.next_key::<String>()? {
            let (name, place) = match name.as_str() {
                "mediaType" if self.with_members => ("mediaType", &mut kept.media_type),
                "digest" if self.with_members => ("digest", &mut kept.digest),
                "size" if self.with_members => ("size", &mut kept.size),
                "artifactType" if self.with_members => ("artifactType", &mut kept.artifact_type),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let value = members.next_value_seed(Self { with_members: false })?;
            if place.replace(value).is_some() {
                kept.twice = Some(name);
            }
        }
        Ok(match self.with_members {
            true => Loose::Members(Box::new(kept)),
            false => Loose::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::oci::{INDEX, MANIFEST};
    use serde_json::{Value, json};

    fn entry(media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", "0".repeat(64)), "size": 2, "artifactType": "x/y" })
    }

    fn parse(manifests: Value) -> Result<Referrers, Failure> {
        let list =
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": { "a": "b" } });
        Referrers::parse("it", list.to_string().as_bytes())
    }

    fn is_malformed(failure: &Failure) -> bool {
        matches!(failure, Failure::Refused(_))
    }

    #[test]
    fn a_list_may_name_indexes_but_not_be_everything() {
        let list = parse(json!([entry(INDEX), entry(MANIFEST)])).unwrap();
        assert_eq!((list.listed.len(), list.problems.len()), (2, 0));
        assert_eq!(list.listed[0].artifact_type.as_deref(), Some("x/y"));
        for other in [
            "<html>",
            "[]",
            "{}",
            "{\"errors\":[]}",
            "{\"schemaVersion\":2,\"manifests\":{}}",
            "{\"schemaVersion\":1,\"manifests\":[]}",
            "{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}",
            "{\"schemaVersion\":2,\"manifests\":[],\"Manifests\":[]}",
            "{\"schemaVersion\":2,\"manifests\":[]} x",
        ] {
            assert!(
                is_malformed(&Referrers::parse("it", other.as_bytes()).unwrap_err()),
                "{other}"
            );
        }
    }

    #[test]
    fn an_entry_that_is_no_descriptor_hides_no_other_and_is_told_of() {
        let with = |name: &str, value: Value| {
            let mut odd = entry(MANIFEST);
            odd[name] = value;
            odd
        };
        let deep = (0..100).fold(json!(1), |inner, _| json!({ "mediaType": inner }));
        for odd in [
            json!(1),
            json!(-1.5),
            json!(null),
            json!("x"),
            json!([[]]),
            json!({}),
            deep.clone(),
            with("digest", json!("sha384:00")),
            with("digest", json!(7)),
            with("size", json!(-1)),
            with("size", json!(2.5)),
            with("mediaType", deep),
            with("artifactType", json!(1)),
        ] {
            let list = parse(json!([odd, entry(MANIFEST), odd])).unwrap();
            assert_eq!(list.listed.len(), 1, "{odd}");
            assert_eq!(list.problems.len(), 1, "{odd}");
            assert!(is_malformed(&list.problems[0]), "{odd}");
            assert!(
                list.problems[0].to_string().contains("the first of 2"),
                "{:?}",
                list.problems
            );
        }
        let twice = entry(MANIFEST).to_string().replacen('{', "{\"size\":2,", 1);
        let text = format!("{{\"schemaVersion\":2,\"manifests\":[{twice}]}}");
        assert!(is_malformed(
            &Referrers::parse("it", text.as_bytes()).unwrap().problems[0]
        ));
        // Go writes what is not there as null, too.
        let list = parse(json!([with("artifactType", json!(null))])).unwrap();
        assert_eq!(list.listed[0].artifact_type, None);
    }

    #[test]
    fn annotations_are_not_kept() {
        let mut one = entry(MANIFEST);
        one["annotations"] = (0..1000).map(|number| (number.to_string(), json!({}))).collect();
        let list = parse(json!([one])).unwrap();
        assert!(list.problems.is_empty() && list.listed[0].annotations.is_empty());
    }

    #[test]
    fn of_a_list_that_is_too_long_the_first_are_read_and_the_rest_is_not_known() {
        let more = |extra| parse(json!(vec![entry(MANIFEST); limit::REFERRERS + extra])).unwrap();
        assert!(more(0).problems.is_empty());
        let list = more(1);
        assert_eq!(list.listed.len(), limit::REFERRERS);
        assert!(matches!(list.problems[..], [Failure::Unavailable { .. }]));
        let mut all = more(0);
        assert!(all.add("it", Referrers::default()) && all.problems.is_empty());
        assert!(!all.add("it", parse(json!([entry(MANIFEST)])).unwrap()));
        assert_eq!(all.listed.len(), limit::REFERRERS);
        assert!(matches!(all.problems[..], [Failure::Unavailable { .. }]));
    }
}
