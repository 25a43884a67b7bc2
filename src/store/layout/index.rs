//! `index.json`: the names of a layout's images.

use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::json;
use crate::limit;
use crate::oci::Descriptor;
use crate::reference::Reference;

const NAME: &str = "org.opencontainers.image.ref.name";

/// The parsed index; what other tools put there stays as it is.
#[derive(Clone, Debug)]
pub(super) struct Index {
    members: Map<String, Value>,
    entries: Vec<Value>,
}

impl Default for Index {
    fn default() -> Self {
        let mut members = Map::new();
        members.insert("schemaVersion".to_owned(), json!(2));
        members.insert("mediaType".to_owned(), json!("application/vnd.oci.image.index.v1+json"));
        Self {
            members,
            entries: Vec::new(),
        }
    }
}

impl Index {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value = json::parse(bytes, json::Limits::any_number(limit::LAYOUT_INDEX_BYTES));
        let Value::Object(mut members) = value.map_err(|error| error.to_string())? else {
            return Err("expected a JSON object".to_owned());
        };
        match members.remove("manifests") {
            Some(Value::Array(entries)) => Ok(Self { members, entries }),
            _ => Err("expected an array `manifests`".to_owned()),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        members.insert("manifests".to_owned(), Value::Array(self.entries.clone()));
        Value::Object(members).to_string().into_bytes()
    }

    /// Returns every descriptor, whoever made its entry.
    pub(super) fn roots(&self) -> Vec<Descriptor> {
        self.entries.iter().filter_map(descriptor).collect()
    }

    /// Returns the entries that are named by a normalised reference.
    pub(super) fn images(&self) -> Vec<(Reference, Descriptor)> {
        let named = self
            .entries
            .iter()
            .map(|entry| Some((reference(entry)?, descriptor(entry)?)));
        named.flatten().collect()
    }

    pub(super) fn find(&self, reference: &Reference) -> Option<Descriptor> {
        let entry = self.entries.iter().find(|entry| is_named(entry, reference))?;
        descriptor(entry)
    }

    /// Finds the documents whose name is a tag, or ends in it.
    pub(super) fn ending_in(&self, tag: &str) -> Vec<Descriptor> {
        let is_it = |name: &str| name == tag || name.strip_suffix(tag).is_some_and(|rest| rest.ends_with(':'));
        let found = self.entries.iter().filter(|entry| ref_name(entry).is_some_and(is_it));
        found.filter_map(descriptor).collect()
    }

    /// Returns the documents that have no name, or say that they are artifacts: so other tools list what refers to images.
    pub(super) fn unnamed(&self) -> Vec<Descriptor> {
        let is_it = |entry: &&Value| ref_name(entry).is_none() || entry.get("artifactType").is_some();
        self.entries.iter().filter(is_it).filter_map(descriptor).collect()
    }

    /// Names a document, in place of the one that had the name.
    pub(super) fn set(&mut self, reference: &Reference, descriptor: &Descriptor) {
        let name = key(reference);
        self.entries.retain(|entry| ref_name(entry) != Some(&name));
        self.entries.push(json!({
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
            "annotations": { NAME: name },
        }));
    }

    /// Takes a name away and tells whether it was there.
    pub(super) fn remove(&mut self, reference: &Reference) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !is_named(entry, reference));
        self.entries.len() < before
    }
}

/// Tells whether an entry has a reference's name, and its digest if it names one.
fn is_named(entry: &Value, reference: &Reference) -> bool {
    let same = |digest: &Digest| descriptor(entry).is_some_and(|found| found.digest == *digest);
    ref_name(entry) == Some(&key(reference)) && reference.digest().is_none_or(same)
}

/// The name under which a reference's image is kept: its tag if it has one, else its digest.
fn key(reference: &Reference) -> String {
    reference.target_name().unwrap_or_else(|| reference.to_string())
}

fn ref_name(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(NAME)?.as_str()
}

fn reference(entry: &Value) -> Option<Reference> {
    let name = ref_name(entry)?;
    let reference: Reference = name.parse().ok()?;
    // A name in another form (`latest`, as other tools write) names nothing that a policy could speak of.
    (reference.to_string() == name).then_some(reference)
}

fn descriptor(entry: &Value) -> Option<Descriptor> {
    serde_json::from_value(entry.clone()).ok()
}
