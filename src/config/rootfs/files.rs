//! The specification's own files (LinuxKit's `filesystem`).

use std::collections::BTreeSet;

use super::{Inputs, LayoutError, Owner, Part, Rule};
use crate::config::device::{Id, Ids};
use crate::config::file::{File, FileKind};
use crate::config::spec::Spec;
use crate::config::{metadata, oci};
use crate::tree::contents::Memory;
use crate::tree::{Entry, Meta, Node, TreePath};

/// Makes one part for each entry of `files`; an optional one without its source has none.
pub(super) fn parts(spec: &Spec, inputs: &Inputs<'_>, contents: &mut Memory) -> Result<Vec<Part>, LayoutError> {
    let ids = spec.ids();
    let mut added: BTreeSet<TreePath> = BTreeSet::new();
    let mut parts = Vec::new();
    for (at, file) in spec.files.iter().enumerate() {
        let Some(node) = node(spec, file, inputs, contents)? else {
            continue;
        };
        let meta = |mode| -> Result<Meta, LayoutError> {
            Ok(Meta {
                uid: number(&file.uid, &ids, file)?,
                gid: number(&file.gid, &ids, file)?,
                ..Meta::root(mode)
            })
        };
        let mut part = Part::new(Owner::File(at), None);
        for parent in file.path.ancestors() {
            // LinuxKit writes each parent once, and over what an image has: `etc` gets the first file's owner and mode.
            if added.insert(parent.clone()) {
                let (meta, node) = (meta(file.parent_mode())?, Node::Directory);
                part.apply(Rule::MakeParent, &parent);
                part.entries.insert(parent, Entry { meta, node });
            }
        }
        let meta = meta(file.mode)?;
        added.insert(file.path.clone());
        part.entries.insert(file.path.clone(), Entry { meta, node });
        parts.push(part);
    }
    Ok(parts)
}

fn node(spec: &Spec, file: &File, inputs: &Inputs<'_>, contents: &mut Memory) -> Result<Option<Node>, LayoutError> {
    let mut generated = |bytes: Vec<u8>| Node::File {
        size: bytes.len() as u64,
        digest: contents.add(bytes),
    };
    Ok(Some(match &file.kind {
        FileKind::Contents(text) => generated(text.clone().into_bytes()),
        FileKind::Directory => Node::Directory,
        FileKind::Metadata(format) => generated(metadata::write(spec, *format)?),
        FileKind::Symlink(target) => Node::Symlink(target.clone().into_bytes()),
        FileKind::Source { path, optional } => match (inputs.sources.get(path), optional) {
            (Some(source), _) => Node::File {
                size: source.size,
                digest: source.digest,
            },
            (None, true) => return Ok(None),
            (None, false) => {
                return Err(LayoutError::MissingSource {
                    path: path.clone(),
                    place: file.place.clone(),
                });
            }
        },
    }))
}

fn number(id: &Id, ids: &Ids, file: &File) -> Result<u32, LayoutError> {
    oci::number(id, ids).map_err(|error| LayoutError::UnknownId {
        place: file.place.clone(),
        error,
    })
}
