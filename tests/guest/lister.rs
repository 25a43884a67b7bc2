//! A program for a guest: prints what the file system below `/` holds as the canonical list of its tree, and as process 1 powers off.
//!
//! It asks Linux alone, and so says what became of an initrd; `imgkit`'s own readers have no part in it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use imgkit::digest::Digest;
use imgkit::tree::{Device, Entry, Meta, Node, Tree, TreePath, list};
use rustix::fs::{AtFlags, CWD, StatxFlags, lgetxattr, llistxattr, major, minor, statx};
use rustix::system::{RebootCommand, reboot};

fn main() {
    // Relative paths may have all of PATH_MAX's bytes.
    std::env::set_current_dir("/").unwrap();
    let top = Path::new(".");
    let mut found = BTreeMap::new();
    walk(top, mount(top), &mut found);
    // The first path in order is the file, every other name a link to it.
    let mut first_names = BTreeMap::new();
    let mut tree = Tree::new();
    for (path, metadata) in found {
        let first = first_names.entry(metadata.ino()).or_insert_with(|| path.clone());
        let entry = match metadata.is_file() && *first != path {
            true => Entry {
                meta: Meta::default(),
                node: Node::HardLink(first.clone()),
            },
            false => entry(&path, &metadata),
        };
        tree.insert(path, entry);
    }
    for line in list::write(&tree).lines() {
        println!("tree: {line}");
    }
    println!("tree: end");
    if std::process::id() == 1 {
        // A container's first process may not do this, and just ends.
        let _ = reboot(RebootCommand::PowerOff);
    }
}

/// Finds what lies below a directory, without what is mounted there.
fn walk(dir: &Path, top: u64, found: &mut BTreeMap<TreePath, Metadata>) {
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name();
        let at = if dir == Path::new(".") {
            name.into()
        } else {
            dir.join(name)
        };
        if mount(&at) != top {
            continue;
        }
        let metadata = fs::symlink_metadata(&at).unwrap();
        if metadata.is_dir() {
            walk(&at, top, found);
        }
        found.insert(TreePath::parse(at.as_os_str().as_bytes()).unwrap(), metadata);
    }
}

/// Returns the number of the mount that a path is on; device numbers differ within one overlay.
fn mount(at: &Path) -> u64 {
    let found = statx(CWD, at, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID);
    found.unwrap().stx_mnt_id
}

/// Describes what stands at a path.
fn entry(path: &TreePath, metadata: &Metadata) -> Entry {
    let at = Path::new(OsStr::from_bytes(path.as_bytes()));
    let device = || Device {
        major: major(metadata.rdev()),
        minor: minor(metadata.rdev()),
    };
    let kind = metadata.file_type();
    let node = if kind.is_dir() {
        Node::Directory
    } else if kind.is_symlink() {
        Node::Symlink(fs::read_link(at).unwrap().into_os_string().into_encoded_bytes())
    } else if kind.is_fifo() {
        Node::Fifo
    } else if kind.is_char_device() {
        Node::Char(device())
    } else if kind.is_block_device() {
        Node::Block(device())
    } else {
        let content = fs::read(at).unwrap();
        Node::File {
            size: content.len() as u64,
            digest: Digest::sha256(&content),
        }
    };
    Entry {
        meta: Meta {
            mode: u16::try_from(metadata.mode() & 0o7777).unwrap(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            xattrs: xattrs(at),
        },
        node,
    }
}

fn xattrs(at: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let length = llistxattr(at, &mut names).unwrap();
    names.truncate(length);
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let with_value = |name: &[u8]| {
        let mut value = vec![0; 1 << 16];
        let length = lgetxattr(at, name, &mut value).unwrap();
        value.truncate(length);
        (name.to_vec(), value)
    };
    names.map(with_value).collect()
}
