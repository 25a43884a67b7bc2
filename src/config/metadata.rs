//! The specification as a file of the image (`metadata: yaml` or `json`), as LinuxKit writes it.
//!
//! Top-level sections and the keys of files and containers stand in LinuxKit's order with LinuxKit's defaults; what lies deeper
//! is as the YAML has it. What imgkit adds to LinuxKit's schema is left out, so that LinuxKit reads the file again.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::file::MetadataFormat;
use super::json;
use super::spec::Spec;
use crate::yaml::{Document, Item, Scalar, YamlError};

/// Keys of a container in the order of LinuxKit's structure; an empty text is left out.
const CONTAINER: &[&str] = &[
    "name",
    "image",
    "capabilities",
    "capabilities.add",
    "ambient",
    "mounts",
    "binds",
    "binds.add",
    "devices",
    "tmpfs",
    "command",
    "env",
    "cwd",
    "net",
    "pid",
    "ipc",
    "uts",
    "userns",
    "hostname",
    "readonly",
    "maskedPaths",
    "readonlyPaths",
    "uid",
    "gid",
    "additionalGids",
    "noNewPrivileges",
    "oomScoreAdj",
    "rootfsPropagation",
    "cgroupsPath",
    "resources",
    "sysctl",
    "rlimits",
    "uidMappings",
    "gidMappings",
    "annotations",
    "runtime",
];

/// Keys of a file, with those that are always written.
const FILE: &[&str] = &[
    "path",
    "directory",
    "symlink",
    "contents",
    "source",
    "metadata",
    "optional",
    "mode",
    "uid",
    "gid",
];

/// Writes the specification.
///
/// # Errors
/// None for a [`Spec`], whose document was read before.
pub(super) fn write(spec: &Spec, format: MetadataFormat) -> Result<Vec<u8>, YamlError> {
    let value = collect(spec)?;
    Ok(match format {
        MetadataFormat::Json => json::encode(&value),
        MetadataFormat::Yaml => {
            let mut text = String::new();
            write_block(&mut text, &value, 0);
            text.into_bytes()
        }
    })
}

/// A value with its keys in order.
enum Value {
    List(Vec<Value>),
    Mapping(Vec<(String, Value)>),
    Null,
    Bool(bool),
    Integer(i128),
    Text(String),
}

fn collect(spec: &Spec) -> Result<Value, YamlError> {
    let root = spec.document().root();
    let empty = || Value::Text(String::new());
    let mut kernel = vec![("image".to_owned(), empty())];
    let mut sections: Vec<(String, Value)> = Vec::new();
    if let Some(item) = section(root, "kernel")? {
        kernel = ordered(item, &["image", "cmdline", "binary", "tar", "ucode"], &[])?;
    }
    sections.push(("kernel".to_owned(), Value::Mapping(kernel)));
    for (name, keys, always) in [
        ("init", [].as_slice(), [].as_slice()),
        ("onboot", CONTAINER, &[]),
        ("onshutdown", CONTAINER, &[]),
        ("services", CONTAINER, &[]),
        ("files", FILE, &["directory", "optional"]),
        ("volumes", &[], &[]),
    ] {
        let items = match section(root, name)? {
            Some(item) => item.list_of(|item| match keys {
                [] => Ok(reference(item)),
                keys => ordered(item, keys, always).map(Value::Mapping),
            })?,
            None => Vec::new(),
        };
        sections.push((name.to_owned(), Value::List(items)));
    }
    Ok(Value::Mapping(sections))
}

fn section<'a>(root: Item<'a>, name: &str) -> Result<Option<Item<'a>>, YamlError> {
    Ok(root.entries()?.find(|(key, ..)| *key == name).map(|(.., item)| item))
}

/// Takes the known keys in their order; `always` are written as `false` when absent.
fn ordered(item: Item<'_>, keys: &[&str], always: &[&str]) -> Result<Vec<(String, Value)>, YamlError> {
    let mut entries = Vec::new();
    for key in keys {
        let value = match section(item, key)? {
            Some(item) if *key == "image" => reference(item),
            Some(item) => plain(item),
            None if always.contains(key) => Value::Bool(false),
            None => continue,
        };
        if !matches!(&value, Value::Text(text) if text.is_empty() && *key != "contents") {
            entries.push(((*key).to_owned(), value));
        }
    }
    Ok(entries)
}

/// Writes a reference in its normalised form, as LinuxKit does.
fn reference(item: Item<'_>) -> Value {
    match item.parse::<crate::reference::Reference>() {
        Ok(reference) => Value::Text(reference.to_string()),
        Err(_) => plain(item),
    }
}

fn plain(item: Item<'_>) -> Value {
    if let Ok(items) = item.list() {
        return Value::List(items.map(plain).collect());
    }
    if let Ok(entries) = item.entries() {
        let entries = entries.map(|(key, _, item)| (key.to_owned(), plain(item)));
        return Value::Mapping(entries.collect());
    }
    match item.scalar() {
        Some(Scalar::Bool(value)) => Value::Bool(value),
        Some(Scalar::Integer(value)) => Value::Integer(value),
        Some(Scalar::Text(text)) => Value::Text(text.to_owned()),
        None => Value::Null,
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Mapping(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i128(*value),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// Writes block style as Go's YAML libraries do: two spaces, lists not indented under their key.
fn write_block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Mapping(entries) => {
            for (at, (key, value)) in entries.iter().enumerate() {
                // The first key stands behind its list's dash.
                if at > 0 || out.is_empty() || out.ends_with('\n') {
                    out.extend(std::iter::repeat_n(' ', indent));
                }
                out.push_str(&scalar(&Value::Text(key.clone())));
                out.push(':');
                write_behind(out, value, indent);
            }
        }
        Value::List(items) => {
            for item in items {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push('-');
                match item {
                    Value::Mapping(entries) if !entries.is_empty() => {
                        out.push(' ');
                        write_block(out, item, indent + 2);
                    }
                    item => write_behind(out, item, indent + 2),
                }
            }
        }
        value => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

/// Writes what follows a key or dash, on the same line where it fits.
fn write_behind(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            out.push('\n');
            write_block(out, value, indent + 2);
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            write_block(out, value, indent);
        }
        value => {
            out.push(' ');
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

/// Writes a scalar plainly where it reads back as the same text, else in double quotes (JSON's are YAML's).
fn scalar(value: &Value) -> String {
    match value {
        Value::Text(text) if reads_back(text) => text.clone(),
        Value::Mapping(entries) if entries.is_empty() => "{}".to_owned(),
        Value::List(items) if items.is_empty() => "[]".to_owned(),
        // Writing such values to text cannot fail.
        value => serde_json::to_string(value).unwrap_or_default(),
    }
}

/// Tells whether every YAML reader takes a plain `text` for this text.
fn reads_back(text: &str) -> bool {
    let first = text.chars().next();
    let begins = first.is_some_and(|c| c.is_ascii_alphanumeric() || "./_(".contains(c));
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./=+@,%:*~^() ".contains(c);
    let plain = begins && text.chars().all(safe) && !text.ends_with([' ', ':']) && !text.contains(": ");
    plain
        && !is_other_in_yaml_1_1(text)
        && Document::parse("", text.as_bytes()).is_ok_and(|document| document.root().text() == Ok(text))
}

/// YAML 1.1 has more truth values, and numbers to the base of 60 (`22:22`); Go quotes them, too.
fn is_other_in_yaml_1_1(text: &str) -> bool {
    let boolean = ["y", "n", "yes", "no", "on", "off"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    let sexagesimal = text.contains(':') && text.bytes().all(|b| b.is_ascii_digit() || b":._+-".contains(&b));
    boolean || sexagesimal
}
