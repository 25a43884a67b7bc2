//! Arbitrary trees, for property tests.

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use crate::tree::contents::Memory;
use crate::tree::{Device, Entry, Meta, Node, Tree, TreePath};

/// Makes trees with every kind of entry, hard links among them, and with extended attributes if `xattrs`.
pub(crate) fn tree(xattrs: bool) -> impl Strategy<Value = (Tree, Memory)> {
    let name = prop_oneof![
        Just("a"),
        Just("b"),
        Just("a-b"),
        Just("\u{fc}"),
        Just("a very long name, twice over and over")
    ];
    let path = prop::collection::vec(name, 1..5).prop_map(|parts| parts.join("/"));
    let node = (
        0..6u8,
        any::<u16>(),
        any::<u32>(),
        prop::collection::vec(any::<u8>(), 0..600),
    );
    prop::collection::vec((path, node), 0..20).prop_map(move |list| {
        let mut contents = Memory::default();
        let mut tree = Tree::new();
        let mut file = None;
        for (path, (kind, mode, uid, content)) in list {
            let path = TreePath::parse(path).unwrap();
            let blocks = |path: TreePath| tree.entry(&path).is_some_and(|entry| !entry.is_directory());
            if path.ancestors().any(blocks) || tree.entry(&path).is_some() {
                continue;
            }
            for above in path.ancestors() {
                tree.insert(above, Entry::directory(0o755));
            }
            let mut meta = Meta {
                uid,
                gid: uid / 2,
                ..Meta::root(mode)
            };
            if xattrs && mode & 1 == 1 {
                meta.xattrs.insert(b"user.x".to_vec(), content.clone());
            }
            let device = Device {
                major: uid >> 12,
                minor: uid & 0xfffff,
            };
            let node = match kind {
                0 => Node::Directory,
                1 => Node::Symlink([b"t", &*content].concat().into_iter().map(|b| b | 1).collect()),
                2 => Node::Char(Device {
                    major: device.major & 0xfff,
                    ..device
                }),
                3 => Node::Fifo,
                _ => Node::File {
                    size: content.len() as u64,
                    digest: contents.add(content),
                },
            };
            if kind == 1 {
                meta.mode = 0o777;
            }
            let is_file = kind > 3;
            if is_file && file.as_ref().is_some_and(|file| *file < path) && mode & 2 == 2 {
                let node = Node::HardLink(file.clone().unwrap());
                tree.insert(
                    path,
                    Entry {
                        meta: Meta::default(),
                        node,
                    },
                );
                continue;
            }
            tree.insert(path.clone(), Entry { meta, node });
            if is_file {
                file = Some(path);
            }
        }
        (tree, contents)
    })
}
