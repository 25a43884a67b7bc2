#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::format::arbitrary;
use crate::tree::contents::Memory;
use crate::tree::{Device, Meta, Node, Tree};

fn write(tree: &Tree, contents: &Memory, place: u64) -> Result<Vec<u8>, CpioError> {
    let mut archive = Vec::new();
    write_cpio(tree, contents, place, &mut archive).map(|()| archive)
}

fn read(archive: &[u8]) -> Result<(Tree, Memory, Summary), CpioError> {
    let mut tree = Tree::new();
    let mut contents = Memory::default();
    let mut visit = |path, entry| {
        assert_eq!(tree.insert(path, entry), None);
        Ok(())
    };
    let summary = read_cpio(&mut &*archive, &mut contents, &mut visit)?;
    Ok((tree, contents, summary))
}

fn path(path: &str) -> TreePath {
    TreePath::parse(path).unwrap()
}

fn sample() -> (Tree, Memory) {
    let mut contents = Memory::default();
    contents.add(b"hello".to_vec());
    let tree = [
        (path("bin"), Entry::directory(0o755)),
        (path("bin/a"), Entry::file(0o4755, b"hello")),
        (
            path("bin/b"),
            Entry {
                meta: Meta::default(),
                node: Node::HardLink(path("bin/a")),
            },
        ),
        (path("dev"), Entry::directory(0o755)),
        (
            path("dev/null"),
            Entry {
                meta: Meta::root(0o666),
                node: Node::Char(Device { major: 1, minor: 3 }),
            },
        ),
        (path("init"), Entry::file(0o755, b"hello")),
        (path("lnk"), Entry::symlink(0o777, *b"bin/a")),
    ];
    (tree.into_iter().collect(), contents)
}

/// Writes one entry by hand, as a hostile builder would.
fn raw(inode: u32, mode: u32, links: u32, name: &[u8], content: &[u8]) -> Vec<u8> {
    let header = header::Header {
        inode,
        mode,
        links,
        size: content.len() as u32,
        name: name.len() as u32 + 1,
        ..header::Header::trailer(5)
    };
    let mut bytes = [&header.encode()[..], name, b"\0"].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn file(inode: u32, name: &str) -> Vec<u8> {
    raw(inode, 0o100644, 1, name.as_bytes(), b"content")
}

fn directory(inode: u32, name: &str) -> Vec<u8> {
    raw(inode, 0o040755, 2, name.as_bytes(), b"")
}

fn trailer() -> Vec<u8> {
    raw(0, 0, 1, TRAILER, b"")
}

#[test]
fn reads_what_it_writes_and_the_bytes_are_pinned() {
    let (tree, contents) = sample();
    let archive = write(&tree, &contents, 0x1234_5678_9abc_def0).unwrap();
    let (again, kept, summary) = read(&archive).unwrap();
    assert_eq!(again, tree);
    assert_eq!(kept.content(&Digest::sha256(b"hello")).unwrap(), b"hello");
    assert_eq!(
        (summary.place, summary.entries, summary.bytes),
        (0x1234_5678_9abc_def0, 7, 10)
    );
    let digest = "sha256:0bdbd74b506de2f522bb07efd4a264bcb8004491b65dac2935cc94dd812663a6";
    assert_eq!(Digest::sha256(&archive).to_string(), digest);
}

#[test]
fn init_stands_last() {
    let (tree, contents) = sample();
    let archive = write(&tree, &contents, 0).unwrap();
    let find = |name: &[u8]| archive.windows(name.len()).position(|window| window == name).unwrap();
    assert!(find(b"init\0") > find(b"lnk\0"));
    assert!(find(b"init\0") < find(TRAILER));
}

#[test]
fn the_smallest_archive_is_its_end() {
    let archive = write(&Tree::new(), &Memory::default(), 5).unwrap();
    assert_eq!(archive, trailer());
    assert_eq!(read(&archive).unwrap().2.place, 5);
}

#[test]
fn the_writer_refuses_what_would_not_survive() {
    let (tree, contents) = sample();
    let refuses = |change: &dyn Fn(&mut Tree)| {
        let mut tree = tree.clone();
        change(&mut tree);
        assert!(matches!(write(&tree, &contents, 1), Err(CpioError::Entry { .. })));
    };
    let mut large = Entry::file(0o644, b"hello");
    if let Node::File { size, .. } = &mut large.node {
        *size = 1 << 32;
    }
    let mut capable = Entry::file(0o644, b"hello");
    capable.meta.xattrs.insert(b"security.capability".to_vec(), vec![1]);
    let mut unowned = Entry::file(0o644, b"hello");
    unowned.meta.gid = u32::MAX;
    let link = |to: &str| Entry {
        meta: Meta::default(),
        node: Node::HardLink(path(to)),
    };
    let device = Device {
        major: 1,
        minor: 1 << 20,
    };
    for (name, entry) in [
        ("x", large),
        ("x", capable),
        ("x", unowned),
        ("no/x", Entry::file(0o644, b"hello")),
        ("lnk/x", Entry::file(0o644, b"hello")),
        ("x", link("none")),
        ("x", link("bin")),
        ("bin/0", link("bin/a")),
        ("x", link("init")),
        ("TRAILER!!!", Entry::file(0o644, b"hello")),
        ("x", Entry::symlink(0o777, *b"")),
        ("x", Entry::symlink(0o777, [b'x'; 4096])),
        (
            "x",
            Entry {
                meta: Meta::root(0o600),
                node: Node::Block(device),
            },
        ),
        (
            "x",
            Entry {
                meta: Meta::root(0o600),
                node: Node::Archive,
            },
        ),
    ] {
        refuses(&|tree| drop(tree.insert(path(name), entry.clone())));
    }
}

#[test]
fn the_writer_refuses_a_content_of_another_length() {
    let (mut tree, contents) = sample();
    for wrong in [4, 6] {
        if let Node::File { size, .. } = &mut tree.entry_mut(&path("init")).unwrap().node {
            *size = wrong;
        }
        assert!(matches!(write(&tree, &contents, 1), Err(CpioError::Io(_))));
    }
}

#[test]
fn refuses_what_the_kernel_reads_in_its_own_way() {
    let link = raw(1, 0o120777, 1, b"d", b"/etc");
    let good = [directory(1, "d"), file(2, "d/f"), trailer()].concat();
    read(&good).unwrap();
    let two = |a: Vec<u8>, b: Vec<u8>| [a, b, trailer()].concat();
    for (why, bad) in [
        ("writes through a symbolic link", two(link.clone(), file(2, "d/passwd"))),
        ("replaces a link by a directory", two(link, directory(2, "d"))),
        ("a path twice", two(file(1, "a"), file(2, "a"))),
        ("an inode number twice", two(file(1, "a"), file(1, "b"))),
        (
            "shared inodes in one link group, other type",
            two(raw(1, 0o100644, 2, b"a", b"x"), raw(1, 0o020644, 2, b"b", b"")),
        ),
        (
            "a second content for one inode",
            two(raw(1, 0o100644, 2, b"a", b"x"), raw(1, 0o100644, 2, b"b", b"y")),
        ),
        (
            "a second name with another mode",
            two(raw(1, 0o100644, 2, b"a", b"x"), raw(1, 0o104755, 2, b"b", b"")),
        ),
        (
            "a missing second name",
            two(raw(1, 0o100644, 2, b"a", b"x"), file(2, "b")),
        ),
        ("no parent", two(file(1, "a"), file(2, "d/f"))),
        ("unsorted", two(file(1, "b"), file(2, "a"))),
        ("a path that climbs", two(file(1, "a"), file(2, "../b"))),
        ("an absolute path", two(file(1, "/a"), file(2, "b"))),
        ("a dot", two(directory(1, "."), file(2, "b"))),
        ("an empty name", two(directory(1, ""), file(2, "b"))),
        ("a trailing slash", two(directory(1, "a/"), file(2, "b"))),
        ("something after init", two(file(1, "init"), file(2, "z"))),
        ("a socket", two(file(1, "a"), raw(2, 0o140644, 1, b"b", b""))),
        (
            "a directory with content",
            two(file(1, "a"), raw(2, 0o040755, 2, b"b", b"xyz")),
        ),
        ("two trailers", [trailer(), trailer()].concat()),
        ("bytes after the trailer", [trailer(), vec![0; 4]].concat()),
        ("a second archive", [good.clone(), good.clone()].concat()),
        ("no trailer", file(1, "a")),
        ("nothing", Vec::new()),
        ("a trailer with content", raw(0, 0, 1, TRAILER, b"x")),
        (
            "the other magic",
            good.iter()
                .enumerate()
                .map(|(at, b)| if at == 5 { b'2' } else { *b })
                .collect(),
        ),
        (
            "lower case",
            String::from_utf8(good.clone()).unwrap().to_lowercase().into_bytes(),
        ),
    ] {
        assert!(read(&bad).is_err(), "{why}");
    }
}

#[test]
fn every_flipped_bit_is_refused_or_seen() {
    let (tree, contents) = sample();
    let archive = write(&tree, &contents, 77).unwrap();
    for bit in 0..archive.len() * 8 {
        let mut flipped = archive.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok((other, kept, summary)) = read(&flipped) {
            assert!(other != tree || summary.place != 77, "bit {bit}");
            assert_eq!(write(&other, &kept, summary.place).unwrap(), flipped, "bit {bit}");
        }
    }
    for end in 0..archive.len() {
        assert!(read(&archive[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn reads_every_tree_that_it_writes((tree, contents) in arbitrary::tree(false), place: u64) {
        let archive = write(&tree, &contents, place).unwrap();
        let (again, _, summary) = read(&archive).unwrap();
        prop_assert_eq!(again, tree);
        prop_assert_eq!(summary.place, place);
    }

    #[test]
    fn what_it_accepts_it_would_write(
        (tree, contents) in arbitrary::tree(false),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut archive = write(&tree, &contents, 1).unwrap();
        for (at, byte) in changes {
            let at = at.index(archive.len());
            archive[at] = byte;
        }
        if let Ok((tree, contents, summary)) = read(&archive) {
            prop_assert_eq!(write(&tree, &contents, summary.place).unwrap(), archive);
        }
    }

    #[test]
    fn noise_is_an_error(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&[b"070701", &*noise].concat()).is_err());
    }
}
