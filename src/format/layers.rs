//! Flattens the layers of an OCI image to one tree.
//!
//! The rules are those of the image specification (layer.md) and of containerd, where it says less; what is ambiguous is refused:
//!
//! - A later layer's entry replaces an earlier one's at the same path; a directory over a directory keeps what is below.
//! - `.wh.NAME` hides NAME of the layers below, `.wh..wh..opq` all that they have in its directory; neither hides what its own
//!   layer holds, and a whiteout of something that the same layer wrote before it is refused.
//! - Missing parents are made as directories of root with mode 0755.
//! - Nothing is written through a link or below anything but a directory.
//! - Of the names of one regular file the first in path order is the file, the others are hard links to it; they share its
//!   attributes as the first header gave them. A hard link to a symbolic link, device or pipe becomes a copy of it.
//! - The regular file `kernel.tar` at the top is read as an archive: its members stand below its path.

use std::collections::BTreeMap;
use std::collections::hash_map::{self, HashMap};
use std::io::{self, Read};

use super::tar::{Kind, Member, Reader, TarError};
use crate::limit;
use crate::tree::contents::Sink;
use crate::tree::{Entry, Meta, Node, PathError, Tree, TreePath, escape, remove_below};

/// The file that is read as an archive: the modules of a LinuxKit kernel image.
const KERNEL_TAR: &[u8] = b"kernel.tar";

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const WHITEOUT_META: &[u8] = b".wh..wh.";

/// Reads uncompressed layers, bottom first, to one tree; every regular file's content goes to `sink`.
///
/// Contents that a later layer hides have gone to `sink` as well.
///
/// # Errors
/// [`LayerError`] naming the layer and the member that was refused.
pub fn flatten<R: Read>(layers: impl IntoIterator<Item = R>, sink: &mut dyn Sink) -> Result<Tree, LayerError> {
    let mut image = Image {
        sink,
        lower: BTreeMap::new(),
        inodes: 0,
        members: 0,
        text: 0,
    };
    for (number, mut layer) in layers.into_iter().enumerate() {
        image.add(number, &mut layer)?;
    }
    Ok(canonical(image.lower))
}

/// A layer was refused.
#[derive(Debug, thiserror::Error)]
#[error("layer {layer}{}: {problem}", member.as_ref().map(|path| format!(", `{path}`")).unwrap_or_default())]
pub struct LayerError {
    /// Number of the layer, from 0 at the bottom.
    pub layer: usize,
    /// The member, where one was read; written with `\xNN` escapes.
    pub member: Option<String>,
    /// What is wrong.
    pub problem: LayerProblem,
}

/// What can be wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerProblem {
    /// Its archive could not be read.
    #[error(transparent)]
    Archive(#[from] TarError),
    /// Its content could not be read or kept.
    #[error("its content: {0}")]
    Content(#[from] io::Error),
    /// Its target is no file of this image.
    #[error("it is a hard link to `{0}`, which is not in the image")]
    Link(String),
    /// There is too much in it.
    #[error("the image has more than {0}")]
    Many(&'static str),
    /// It has no place in a tree.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is a symbolic link that Linux could not make.
    #[error("its target is empty, longer than 4095 bytes, or has a NUL byte")]
    Target,
    /// Something above it is not a directory.
    #[error("it lies below `{0}`, which is not a directory; name the directory itself")]
    Through(TreePath),
    /// It is a whiteout that containerd and Docker treat differently.
    #[error("{0}")]
    Whiteout(&'static str),
}

/// An entry, and which regular file it names.
#[derive(Clone, Debug)]
struct Slot {
    entry: Entry,
    /// The same number for every name of one regular file; 0 for everything else.
    inode: u64,
    /// Whether the layer only needed this directory for something below it.
    implied: bool,
}

type Slots = BTreeMap<TreePath, Slot>;

struct Image<'a> {
    sink: &'a mut dyn Sink,
    /// What the layers so far come to.
    lower: Slots,
    inodes: u64,
    members: usize,
    /// Bytes of paths, link targets and attributes.
    text: usize,
}

impl Image<'_> {
    fn add(&mut self, layer: usize, input: &mut dyn Read) -> Result<(), LayerError> {
        let mut upper = Slots::new();
        self.read(&mut upper, None, input)
            .map_err(|(member, problem)| LayerError { layer, member, problem })?;
        for (path, slot) in upper {
            let there = self.lower.get(&path);
            if !(slot.implied && there.is_some_and(|slot| slot.entry.is_directory())) {
                self.lower.insert(path, slot);
            }
        }
        Ok(())
    }

    /// Reads one archive's members into `upper`, below `root` when the archive stands there.
    fn read(
        &mut self,
        upper: &mut Slots,
        root: Option<&TreePath>,
        input: &mut dyn Read,
    ) -> Result<(), (Option<String>, LayerProblem)> {
        let mut archive = Reader::new(input);
        while let Some(member) = archive.next_member().map_err(|error| (None, error.into()))? {
            let name = escape(&member.path);
            self.member(upper, root, member, &mut archive)
                .map_err(|problem| (Some(name), problem))?;
        }
        Ok(())
    }

    fn member(
        &mut self,
        upper: &mut Slots,
        root: Option<&TreePath>,
        member: Member,
        content: &mut Reader<'_>,
    ) -> Result<(), LayerProblem> {
        self.count(&member)?;
        if is_root(&member.path) && member.kind == Kind::Directory {
            return Ok(());
        }
        let place = |name: &[u8]| -> Result<TreePath, PathError> {
            let path = TreePath::parse(name)?;
            root.map_or(Ok(path.clone()), |root| root.join(&path))
        };
        let path = place(&member.path)?;
        let meta = member.meta;
        self.parents(upper, root, &path)?;
        if root.is_none() && path.name().starts_with(WHITEOUT) {
            return self.whiteout(upper, &path, &member.kind);
        }
        let mut inode = 0;
        let entry = match member.kind {
            Kind::Block(device) => Entry {
                meta,
                node: Node::Block(device),
            },
            Kind::Char(device) => Entry {
                meta,
                node: Node::Char(device),
            },
            Kind::Directory => Entry {
                meta,
                node: Node::Directory,
            },
            Kind::Fifo => Entry { meta, node: Node::Fifo },
            Kind::File(_) if path.as_bytes() == KERNEL_TAR => {
                let node = Node::Archive;
                self.insert(upper, path.clone(), Entry { meta, node }, 0);
                return self.read(upper, Some(&path), content).map_err(|(_, problem)| problem);
            }
            Kind::File(expected) => {
                let (size, digest) = self.sink.take(content)?;
                if size != expected {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                self.inodes += 1;
                inode = self.inodes;
                Entry {
                    meta,
                    node: Node::File { size, digest },
                }
            }
            Kind::HardLink(target) => {
                let missing = || LayerProblem::Link(escape(&target));
                let target = place(&target)?;
                if target == path {
                    return Err(missing());
                }
                let slot = upper.get(&target).or_else(|| self.lower.get(&target));
                let slot = slot.filter(|slot| !matches!(slot.entry.node, Node::Archive | Node::Directory));
                let slot = slot.ok_or_else(missing)?;
                inode = slot.inode;
                slot.entry.clone()
            }
            Kind::Symlink(target) if target.is_empty() || target.len() > limit::PATH_BYTES || target.contains(&0) => {
                return Err(LayerProblem::Target);
            }
            Kind::Symlink(target) => Entry {
                // Linux ignores the mode of a symbolic link and shows 0777.
                meta: Meta { mode: 0o777, ..meta },
                node: Node::Symlink(target),
            },
        };
        self.insert(upper, path, entry, inode);
        Ok(())
    }

    fn count(&mut self, member: &Member) -> Result<(), LayerProblem> {
        self.members += 1;
        if self.members > limit::TREE_ENTRIES {
            return Err(LayerProblem::Many("2,000,000 members"));
        }
        let target = match &member.kind {
            Kind::HardLink(target) | Kind::Symlink(target) => target.len(),
            _ => 0,
        };
        let xattrs = member.meta.xattrs.iter().map(|(name, value)| name.len() + value.len());
        self.text += member.path.len() + target + xattrs.sum::<usize>();
        if self.text > limit::TREE_TEXT_BYTES {
            return Err(LayerProblem::Many("256 MiB of names and attributes"));
        }
        Ok(())
    }

    /// Makes sure that a directory, or the archive being read, stands above `path`.
    fn parents(&mut self, upper: &mut Slots, root: Option<&TreePath>, path: &TreePath) -> Result<(), LayerProblem> {
        let mut missing = Vec::new();
        let mut child = path.clone();
        while let Some(parent) = child.parent() {
            if root == Some(&parent) {
                break;
            }
            let there = upper.get(&parent);
            let slot = there.or_else(|| self.lower.get(&parent));
            if slot.is_some_and(|slot| !slot.entry.is_directory()) {
                return Err(LayerProblem::Through(parent));
            }
            if there.is_some() {
                break;
            }
            missing.push(parent.clone());
            child = parent;
        }
        for directory in missing {
            let implied = Slot {
                entry: Entry::directory(0o755),
                inode: 0,
                implied: true,
            };
            self.text += directory.as_bytes().len();
            upper.insert(directory, implied);
        }
        Ok(())
    }

    /// Hides what the layers below have; `path` ends in the whiteout's own name.
    fn whiteout(&mut self, upper: &Slots, path: &TreePath, kind: &Kind) -> Result<(), LayerProblem> {
        if *kind != Kind::File(0) {
            return Err(LayerProblem::Whiteout(
                "a whiteout is an empty regular file; this is not",
            ));
        }
        let name = path.name();
        if name == OPAQUE {
            match path.parent() {
                Some(directory) => remove_below(&mut self.lower, &directory),
                None => self.lower.clear(),
            }
            return Ok(());
        }
        if name.starts_with(WHITEOUT_META) {
            return Err(LayerProblem::Whiteout(
                "aufs metadata is not supported; build the image with overlayfs",
            ));
        }
        let hidden = name.strip_prefix(WHITEOUT).unwrap_or_default();
        let hidden = match path.parent() {
            Some(directory) => TreePath::parse([directory.as_bytes(), b"/", hidden].concat())?,
            None => TreePath::parse(hidden)?,
        };
        if upper.contains_key(&hidden) {
            return Err(LayerProblem::Whiteout("it hides what the same layer wrote before it"));
        }
        self.lower.remove(&hidden);
        remove_below(&mut self.lower, &hidden);
        Ok(())
    }

    /// Puts an entry into the layer and hides what it replaces.
    fn insert(&mut self, upper: &mut Slots, path: TreePath, entry: Entry, inode: u64) {
        let stays = |slot: Option<&Slot>| slot.is_none_or(|slot| slot.entry.is_directory());
        if !entry.is_directory() || !stays(self.lower.get(&path)) {
            self.lower.remove(&path);
            remove_below(&mut self.lower, &path);
        }
        if !entry.is_directory() || !stays(upper.get(&path)) {
            remove_below(upper, &path);
        }
        let implied = false;
        upper.insert(path, Slot { entry, inode, implied });
    }
}

fn is_root(name: &[u8]) -> bool {
    matches!(name, b"/" | b"." | b"./")
}

/// Names each regular file by its first path in order and makes the other names links to that.
fn canonical(slots: Slots) -> Tree {
    let mut first: HashMap<u64, TreePath> = HashMap::new();
    let canonical = |(path, slot): (TreePath, Slot)| {
        let Slot { mut entry, inode, .. } = slot;
        if inode != 0 {
            match first.entry(inode) {
                hash_map::Entry::Occupied(file) => {
                    entry = Entry {
                        meta: Meta::default(),
                        node: Node::HardLink(file.get().clone()),
                    };
                }
                hash_map::Entry::Vacant(free) => drop(free.insert(path.clone())),
            }
        }
        (path, entry)
    };
    slots.into_iter().map(canonical).collect()
}

#[cfg(test)]
mod tests;
