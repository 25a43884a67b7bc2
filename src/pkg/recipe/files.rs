//! A recipe's own files.

use crate::tree::TreePath;
use crate::yaml::{Item, YamlError};

/// A file that the recipe adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFile {
    /// Where it goes.
    pub path: TreePath,
    /// Permission bits.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// What it is.
    pub node: OwnNode,
}

/// What a recipe's own file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnNode {
    /// A file with this text.
    Contents(String),
    /// A directory.
    Directory,
    /// A program that this repository's build made.
    Program(String),
    /// A file of the component's directory, by its name there.
    Source(TreePath),
    /// A symbolic link to this target.
    Symlink(String),
}

const KINDS: &str = "one of `contents`, `directory: true`, `program`, `source`, `symlink`";

pub(super) fn decode(item: Item<'_>) -> Result<OwnFile, YamlError> {
    item.fields("a file", |fields| {
        let path = path(fields.required("path")?)?;
        let kinds = [
            fields.maybe("contents", |item| Ok(OwnNode::Contents(item.text()?.to_owned())))?,
            fields.maybe("directory", directory)?,
            fields.maybe("program", |item| Ok(OwnNode::Program(item.word()?.to_owned())))?,
            fields.maybe("source", |item| self::path(item).map(OwnNode::Source))?,
            fields.maybe("symlink", |item| Ok(OwnNode::Symlink(item.word()?.to_owned())))?,
        ];
        let mut kinds = kinds.into_iter().flatten();
        let (Some(node), None) = (kinds.next(), kinds.next()) else {
            return Err(fields.item().invalid(format!("a file is exactly {KINDS}")));
        };
        let default = match node {
            OwnNode::Contents(_) | OwnNode::Source(_) => 0o644,
            OwnNode::Directory | OwnNode::Program(_) => 0o755,
            OwnNode::Symlink(_) => 0o777,
        };
        let mode = fields.maybe("mode", |item| match item.integer::<u16>()? {
            mode if mode <= 0o7777 => Ok(mode),
            _ => Err(item.invalid("a mode is at most 07777; write it in octal, as 0644")),
        })?;
        Ok(OwnFile {
            path,
            mode: mode.unwrap_or(default),
            uid: fields.maybe("uid", |item| item.integer())?.unwrap_or(0),
            gid: fields.maybe("gid", |item| item.integer())?.unwrap_or(0),
            node,
        })
    })
}

/// Reads a path in the component.
pub(super) fn path(item: Item<'_>) -> Result<TreePath, YamlError> {
    TreePath::parse(item.word()?).map_err(|error| item.invalid(error))
}

fn directory(item: Item<'_>) -> Result<OwnNode, YamlError> {
    match item.boolean()? {
        true => Ok(OwnNode::Directory),
        false => Err(item.invalid(format!("a file is {KINDS}"))),
    }
}
