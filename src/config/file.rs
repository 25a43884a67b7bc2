//! An entry of `files`.

use super::device::{Id, octal};
use crate::failure::Place;
use crate::tree::TreePath;
use crate::yaml::{Item, YamlError};

/// A file, directory or link that the specification itself puts on the root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it appears.
    pub path: TreePath,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits; parents that have to be made get these and the matching execute bits.
    pub mode: u16,
    /// Owner.
    pub uid: Id,
    /// Group.
    pub gid: Id,
    /// Where the entry stands.
    pub place: Place,
}

/// Where an entry's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// The text in the YAML.
    Contents(String),
    /// None: a directory.
    Directory,
    /// The specification itself.
    Metadata(MetadataFormat),
    /// A file beside the YAML.
    Source {
        /// Its path as written: relative to the YAML, or below `~/`.
        path: String,
        /// Whether the entry is left out when there is no such file.
        optional: bool,
    },
    /// None: a symbolic link to this target.
    Symlink(String),
}

/// How the specification is written into the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataFormat {
    /// As JSON.
    Json,
    /// As YAML.
    Yaml,
}

impl File {
    pub(super) fn decode(item: Item<'_>) -> Result<Self, YamlError> {
        item.fields("an entry of `files`", |fields| {
            let path = fields.required("path")?;
            let tree_path = TreePath::parse(path.text()?).map_err(|error| path.invalid(error))?;
            let optional = fields.maybe("optional", |item| item.boolean())?.unwrap_or_default();
            let directory = fields.maybe("directory", |item| item.boolean())?.unwrap_or_default();
            let symlink = fields.maybe("symlink", |item| item.word().map(str::to_owned))?;
            let contents = fields.maybe("contents", |item| item.text().map(str::to_owned))?;
            let source = fields.maybe("source", |item| item.word().map(str::to_owned))?;
            let metadata = fields.maybe("metadata", metadata_format)?;
            let kinds = [
                directory.then_some(FileKind::Directory),
                symlink.map(FileKind::Symlink),
                contents.map(FileKind::Contents),
                source.map(|path| FileKind::Source { path, optional }),
                metadata.map(FileKind::Metadata),
            ];
            let mut kinds = kinds.into_iter().flatten();
            let (Some(kind), None) = (kinds.next(), kinds.next()) else {
                let problem = "expected one of `contents`, `source`, `metadata`, `symlink` and `directory: true`";
                return Err(item.invalid(problem));
            };
            if optional && !matches!(kind, FileKind::Source { .. }) {
                return Err(item.invalid("`optional` has a meaning only beside `source`; remove it"));
            }
            let usual = if kind == FileKind::Directory { 0o700 } else { 0o600 };
            let mode = fields.maybe("mode", octal)?.unwrap_or(usual);
            Ok(Self {
                path: tree_path,
                kind,
                mode: u16::try_from(mode).unwrap_or(0o7777),
                uid: fields.maybe("uid", Id::decode)?.unwrap_or(Id::ROOT),
                gid: fields.maybe("gid", Id::decode)?.unwrap_or(Id::ROOT),
                place: item.place(),
            })
        })
    }

    /// Returns the permission bits of a parent that has to be made: who may read may also enter.
    pub fn parent_mode(&self) -> u16 {
        let enter = |bits: u16, x: u16| if self.mode & bits == 0 { 0 } else { x };
        self.mode | enter(0o700, 0o100) | enter(0o070, 0o010) | enter(0o007, 0o001)
    }
}

fn metadata_format(item: Item<'_>) -> Result<MetadataFormat, YamlError> {
    match item.text()? {
        "json" => Ok(MetadataFormat::Json),
        "yaml" => Ok(MetadataFormat::Yaml),
        other => Err(item.invalid(format!("`{other}` is not a metadata format; expected yaml or json"))),
    }
}
