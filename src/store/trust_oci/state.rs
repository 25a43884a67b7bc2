//! A collection's state as documents of a registry: an index of pages, each of them a manifest that lists files.
//!
//! - The first page has the files of the top-level roles, every root among them; the others share out delegated roles by a
//!   hash of their names. So who looks up one name reads two small pages, and who changes one role writes two, whatever the
//!   number of roles: there are about as many pages as a page has files.
//! - Documents are pure functions of what they list. What a registry serves is read strictly, and proves nothing: the files are
//!   judged by [`crate::trust`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::oci::{Descriptor, Document, INDEX, MANIFEST, malformed};

/// What the index of a collection calls itself.
pub const COLLECTION: &str = "application/vnd.imgkit.trust.collection.v1";

/// What a page calls itself.
pub const PAGE: &str = "application/vnd.imgkit.trust.page.v1";

/// The media type of a metadata file.
pub const METADATA: &str = "application/vnd.imgkit.trust.metadata.v1+json";

/// The config of what has none (image-spec 1.1, "Guidance for an empty descriptor").
pub(super) const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

const GENERATION: &str = "org.imgkit.trust.generation";
const PREVIOUS: &str = "org.imgkit.trust.previous";
const NUMBER: &str = "org.imgkit.trust.page";
const FILES: &str = "org.imgkit.trust.files";
const TITLE: &str = "org.opencontainers.image.title";

/// Roles whose files are on the first page.
const TOP: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// Files by their names.
pub(super) type Files = BTreeMap<String, Descriptor>;

/// One state of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The index's bytes.
    pub(super) bytes: Vec<u8>,
    /// Their digest.
    pub(super) digest: Digest,
    /// The number of the state, from 1; each publication makes the next.
    pub(super) generation: u64,
    /// The state that it was made of.
    pub(super) previous: Option<Digest>,
    /// Its pages by number, each with how many files it has.
    pub(super) pages: BTreeMap<u64, (Descriptor, usize)>,
}

/// A file's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileName<'a> {
    /// The version before the role, if there is one.
    pub(super) version: Option<u64>,
    /// The role, as file names have it.
    pub(super) role: &'a str,
}

impl<'a> FileName<'a> {
    pub(super) fn of(name: &'a str) -> Self {
        let stem = name.strip_suffix(".json").unwrap_or(name);
        let split = stem.split_once('.');
        let versioned = split.and_then(|(version, role)| Some((version.parse().ok()?, role)));
        match versioned {
            Some((version, role)) => Self {
                version: Some(version),
                role,
            },
            None => Self {
                version: None,
                role: stem,
            },
        }
    }

    /// Tells whether the top level has the role.
    pub(super) fn is_top(self) -> bool {
        TOP.contains(&self.role)
    }

    /// Returns the number of the page that has the role, where delegated roles share `shared` pages.
    pub(super) fn page(self, shared: u64) -> u64 {
        if self.is_top() || shared == 0 {
            return 0;
        }
        let hash = Digest::sha256(self.role.as_bytes());
        let hash = hash
            .as_bytes()
            .iter()
            .take(4)
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        1 + hash % shared
    }
}

/// Returns how many pages so many delegated files share: the fewest, a power of two, that are no fewer than a page's files.
pub(super) fn pages_for(files: usize) -> u64 {
    let mut pages = 1u64;
    while pages * pages < files as u64 {
        pages *= 2;
    }
    pages
}

/// Adds a file to its page; an older one of the same role goes, but every root stays.
pub(super) fn put(files: &mut Files, name: &str, file: Descriptor) {
    let role = FileName::of(name).role;
    files.retain(|other, _| role == "root" || FileName::of(other).role != role);
    files.insert(name.to_owned(), file);
}

impl State {
    /// Writes the index of the state that follows `base`, or of the first.
    pub(super) fn after(base: Option<&Self>, pages: BTreeMap<u64, (Descriptor, usize)>) -> Result<Self, Failure> {
        let generation = base.map_or(0, |base| base.generation) + 1;
        let previous = base.map(|base| base.digest);
        let manifests: Vec<Value> = pages
            .iter()
            .map(|(number, (page, files))| {
                json!({
                    "mediaType": page.media_type, "artifactType": PAGE, "digest": page.digest, "size": page.size,
                    "annotations": { NUMBER: number.to_string(), FILES: files.to_string() },
                })
            })
            .collect();
        let mut annotations = Map::from_iter([(GENERATION.to_owned(), json!(generation.to_string()))]);
        annotations.extend(previous.map(|previous| (PREVIOUS.to_owned(), json!(previous.to_string()))));
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX, "artifactType": COLLECTION,
            "manifests": manifests, "annotations": annotations,
        });
        let bytes = to_bytes("the index of the collection", &index)?;
        Ok(Self {
            digest: Digest::sha256(&bytes),
            bytes,
            generation,
            previous,
            pages,
        })
    }

    /// Reads the index that was found under `subject`.
    pub(super) fn parse(subject: &str, found: &Descriptor, bytes: Vec<u8>) -> Result<Self, Failure> {
        let raw: RawIndex = parse(subject, &bytes, INDEX)?;
        if raw.artifact_type.as_deref() != Some(COLLECTION) {
            let other = raw.artifact_type.unwrap_or_else(|| "something else".to_owned());
            return Err(malformed(subject, format!("artifactType {COLLECTION}"), other));
        }
        let bad = |what: &str| {
            malformed(
                subject,
                "the index of a collection",
                format!("one without a good {what}"),
            )
        };
        let generation =
            number(&raw.annotations, GENERATION).filter(|generation| (1..limit::STATES).contains(generation));
        let previous = raw.annotations.get(PREVIOUS).map(|text| text.parse()).transpose();
        let mut pages = BTreeMap::new();
        for page in raw.manifests {
            let number_and_files = number(&page.annotations, NUMBER).zip(number(&page.annotations, FILES));
            let (number, files) = number_and_files.ok_or_else(|| bad(NUMBER))?;
            if number > limit::PAGES {
                return Err(bad(NUMBER));
            }
            // No page can have more.
            let files = usize::try_from(files).ok().filter(|files| *files <= limit::LAYERS);
            let files = files.ok_or_else(|| bad(FILES))?;
            if pages.insert(number, (page.descriptor, files)).is_some() {
                return Err(bad(NUMBER));
            }
        }
        Ok(Self {
            digest: found.digest,
            bytes,
            generation: generation.ok_or_else(|| bad(GENERATION))?,
            previous: previous.map_err(|_| bad(PREVIOUS))?,
            pages,
        })
    }

    /// Returns how many pages delegated roles share. All of them have been written, the last one included.
    pub(super) fn shared(&self) -> u64 {
        self.pages.keys().next_back().copied().unwrap_or(0)
    }

    /// Returns how many files of delegated roles there are.
    pub(super) fn delegated_files(&self) -> usize {
        self.pages.range(1..).map(|(_, (_, files))| files).sum()
    }
}

/// Writes a page.
pub(super) fn write_page(files: &Files) -> Result<Vec<u8>, Failure> {
    let mut layers: Vec<Value> = files
        .iter()
        .map(|(name, file)| {
            json!({
                "mediaType": file.media_type, "digest": file.digest, "size": file.size,
                "annotations": { TITLE: name },
            })
        })
        .collect();
    if layers.len() > limit::LAYERS {
        let problem = format!(
            "a page would have {} files; at most {} fit",
            layers.len(),
            limit::LAYERS
        );
        return Err(Failure::malformed("the collection", problem));
    }
    let empty = json!({ "mediaType": EMPTY.0, "digest": Digest::sha256(EMPTY.1), "size": EMPTY.1.len() });
    if layers.is_empty() {
        // Some registries take no manifest without layers.
        layers.push(empty.clone());
    }
    let page = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": PAGE, "config": empty,
        "layers": layers,
    });
    to_bytes("a page of the collection", &page)
}

/// Reads a page that was found under `subject`.
pub(super) fn read_page(subject: &str, bytes: &[u8]) -> Result<Files, Failure> {
    let raw: RawPage = parse(subject, bytes, MANIFEST)?;
    let mut files = Files::new();
    for file in raw
        .layers
        .into_iter()
        .filter(|file| file.descriptor.media_type != EMPTY.0)
    {
        let name = file.annotations.get(TITLE).cloned();
        let name = name.ok_or_else(|| malformed(subject, format!("an annotation {TITLE} of every file"), "none"))?;
        if files.insert(name.clone(), file.descriptor).is_some() {
            return Err(malformed(
                subject,
                "each file once",
                format!("`{}` twice", name.escape_debug()),
            ));
        }
    }
    Ok(files)
}

fn to_bytes(subject: &str, document: &Value) -> Result<Vec<u8>, Failure> {
    let bytes = document.to_string().into_bytes();
    match bytes.len() <= limit::DOCUMENT_BYTES {
        true => Ok(bytes),
        false => {
            let problem = format!(
                "would have {} bytes; registries take {}",
                bytes.len(),
                limit::DOCUMENT_BYTES
            );
            Err(Failure::malformed(subject, problem))
        }
    }
}

/// Reads a document as strictly as an image's, then what an image's reader leaves out.
fn parse<T: for<'de> Deserialize<'de>>(subject: &str, bytes: &[u8], media_type: &str) -> Result<T, Failure> {
    Document::parse(subject, bytes, Some(media_type))?;
    serde_json::from_slice(bytes).map_err(|error| malformed(subject, "a document of a collection", error))
}

fn number(annotations: &BTreeMap<String, String>, name: &str) -> Option<u64> {
    annotations.get(name)?.parse().ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawIndex {
    artifact_type: Option<String>,
    manifests: Vec<RawDescriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawPage {
    layers: Vec<RawDescriptor>,
}

#[derive(Deserialize)]
struct RawDescriptor {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(content: &str) -> Descriptor {
        Descriptor::of(METADATA, content.as_bytes())
    }

    #[test]
    fn names_are_taken_apart() {
        let parts = |name| {
            let name = FileName::of(name);
            (name.version, name.role.to_owned())
        };
        assert_eq!(parts("timestamp.json"), (None, "timestamp".to_owned()));
        assert_eq!(parts("12.a.b.json"), (Some(12), "a.b".to_owned()));
        assert_eq!(parts("a.b.json"), (None, "a.b".to_owned()));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut files = Files::new();
        for name in [
            "1.root.json",
            "2.root.json",
            "3.targets.json",
            "4.targets.json",
            "timestamp.json",
        ] {
            put(&mut files, name, file(name));
        }
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["1.root.json", "2.root.json", "4.targets.json", "timestamp.json"]
        );
        let page = write_page(&files).unwrap();
        assert_eq!(read_page("page", &page).unwrap(), files);
        assert_eq!(
            read_page("page", &write_page(&Files::new()).unwrap()).unwrap(),
            Files::new()
        );
        let first = State::after(None, BTreeMap::from([(0, (Descriptor::of(MANIFEST, &page), 4))])).unwrap();
        let second = State::after(Some(&first), first.pages.clone()).unwrap();
        let found = Descriptor::of(INDEX, &second.bytes);
        assert_eq!(State::parse("index", &found, second.bytes.clone()).unwrap(), second);
        assert_eq!((second.generation, second.previous), (2, Some(first.digest)));
    }

    #[test]
    fn a_page_with_a_name_twice_or_another_artifact_is_refused() {
        let mut files = Files::new();
        put(&mut files, "timestamp.json", file("a"));
        put(&mut files, "2.targets.json", file("b"));
        let page = String::from_utf8(write_page(&files).unwrap()).unwrap();
        let twice = page.replace("2.targets.json", "timestamp.json");
        assert!(read_page("page", twice.as_bytes()).is_err());
        assert!(read_page("page", page.replace(TITLE, "other").as_bytes()).is_err());
        let found = Descriptor::of(MANIFEST, page.as_bytes());
        assert!(State::parse("index", &found, page.clone().into_bytes()).is_err());
    }

    #[test]
    fn an_index_with_numbers_that_no_publisher_writes_is_refused() {
        let page = write_page(&Files::new()).unwrap();
        let state = State::after(None, BTreeMap::from([(7, (Descriptor::of(MANIFEST, &page), 5))])).unwrap();
        let index = String::from_utf8(state.bytes).unwrap();
        let read = |name: &str, old: u64, new: u64| {
            let member = |number: u64| format!(r#""{name}":"{number}""#);
            let bytes = index.replace(&member(old), &member(new)).into_bytes();
            State::parse("index", &Descriptor::of(INDEX, &bytes), bytes).is_ok()
        };
        for (name, present, most) in [
            (NUMBER, 7, limit::PAGES),
            (FILES, 5, limit::LAYERS as u64),
            (GENERATION, 1, limit::STATES - 1),
        ] {
            assert!(read(name, present, most), "{name}");
            assert!(!read(name, present, most + 1), "{name}");
        }
    }

    #[test]
    fn pages_grow_with_the_square_root_of_the_roles() {
        let grown = [0, 1, 2, 4, 5, 1000, 16_384].map(pages_for);
        assert_eq!(grown, [1, 1, 2, 2, 4, 32, 128]);
        let of = |role: &str| FileName::of(role).page(32);
        assert_eq!(of("7.targets.json"), 0);
        assert_eq!(of("7.bin-0a.json"), of("8.bin-0a.json"));
        assert!((0..500).all(|n| (1..=32).contains(&of(&format!("1.role{n}.json")))));
    }
}
