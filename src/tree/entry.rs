//! What stands at a path of a tree.

use std::collections::BTreeMap;

use super::TreePath;
use crate::digest::Digest;

/// One entry: owner, mode, attributes and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who owns it and how it may be used.
    pub meta: Meta,
    /// What it is.
    pub node: Node,
}

impl Entry {
    /// Makes a directory owned by root.
    pub fn directory(mode: u16) -> Self {
        Self {
            meta: Meta::root(mode),
            node: Node::Directory,
        }
    }

    /// Makes a regular file owned by root, with `content`'s size and digest.
    pub fn file(mode: u16, content: &[u8]) -> Self {
        Self {
            meta: Meta::root(mode),
            node: Node::File {
                size: content.len() as u64,
                digest: Digest::sha256(content),
            },
        }
    }

    /// Makes a symbolic link owned by root.
    pub fn symlink(mode: u16, target: impl Into<Vec<u8>>) -> Self {
        Self {
            meta: Meta::root(mode),
            node: Node::Symlink(target.into()),
        }
    }

    /// Tells whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.node == Node::Directory
    }
}

/// Owner, permission bits and extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with set-uid, set-gid and sticky: at most 0o7777.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Extended attributes by full name (`security.capability`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Meta {
    /// Makes the attributes of something that root owns.
    pub fn root(mode: u16) -> Self {
        Self {
            mode: mode & 0o7777,
            ..Self::default()
        }
    }
}

/// The kinds of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A tar archive that is unpacked when the image is used (a kernel image's `kernel.tar`):
    /// its members are the entries below its path, its own bytes are not kept.
    Archive,
    /// A block device.
    Block(Device),
    /// A character device.
    Char(Device),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// SHA-256 of the content.
        digest: Digest,
    },
    /// Another name of the regular file at this path, which sorts before it; it shares that entry's attributes.
    HardLink(TreePath),
    /// A symbolic link, with its target as written.
    Symlink(Vec<u8>),
}

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}
