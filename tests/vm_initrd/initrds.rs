//! The initrds: one with everything that our writers can write, and those that differ from a plain one in one point each.

use imgkit::format::compress::Compression;
use imgkit::tree::contents::Memory;
use imgkit::tree::{Device, Entry, Meta, Node, Tree};

use super::common::images::pack;
use super::common::newc::{Archive, CHAR, FILE, Raw, frame, padded};
use super::{Case, path, segment, special};

/// Everything that our writers can write, in several segments, with each length at its bound.
pub(crate) fn everything() -> Vec<Vec<u8>> {
    let mut contents = Memory::default();
    for content in [&b"first"[..], b"", b"second"] {
        contents.add(content.to_vec());
    }
    let odd = |mut entry: Entry, mode, uid, gid| {
        entry.meta = Meta {
            mode,
            uid,
            gid,
            xattrs: Default::default(),
        };
        entry
    };
    let link = |to: &str| Entry {
        meta: Meta::default(),
        node: Node::HardLink(path(to)),
    };
    let longest = ["d".repeat(255).as_str(); 16].join("/");
    assert_eq!(longest.len(), 4095);
    let mut first: Tree = [
        (path("bin"), Entry::directory(0o755)),
        (
            path("bin/a"),
            odd(Entry::file(0o755, b"first"), 0o6755, 1, u32::MAX - 1),
        ),
        (path("bin/b"), link("bin/a")),
        (path("bin/empty"), Entry::file(0, b"")),
        (path("bin/z"), link("bin/a")),
        (path("dev"), Entry::directory(0o755)),
        (
            path("dev/disk"),
            odd(
                special(
                    Node::Block(Device {
                        major: 0xfff,
                        minor: 0xf_ffff,
                    }),
                    0,
                ),
                0o640,
                0,
                6,
            ),
        ),
        (
            path("dev/null"),
            special(Node::Char(Device { major: 1, minor: 3 }), 0o666),
        ),
        (path("dev/pipe"), special(Node::Fifo, 0o622)),
        (
            path("dev/whiteout"),
            special(Node::Char(Device { major: 0, minor: 0 }), 0),
        ),
        (path("etc"), Entry::directory(0o755)),
        (path("etc/TRAILER!!!"), Entry::file(0o644, b"first")),
        (path("etc/dangling"), Entry::symlink(0o777, *b"../../nowhere")),
        (
            path("etc/far"),
            odd(Entry::symlink(0o777, vec![b't'; 4095]), 0o777, 7, 8),
        ),
        (path("etc/odd name\n\u{fc}"), Entry::file(0o600, b"")),
        (path("lib"), Entry::symlink(0o777, *b"bin")),
    ]
    .into_iter()
    .collect();
    for above in path(&longest).ancestors() {
        first.insert(above, Entry::directory(0o755));
    }
    first.insert(path(&longest), Entry::file(0o644, b"second"));
    let second: Tree = [
        (path("bin"), odd(Entry::directory(0), 0o2751, 3, 4)),
        (path("bin/c"), Entry::file(0o755, b"second")),
        (path("bin/d"), link("bin/c")),
        (path("bin/empty-dir"), Entry::directory(0o700)),
        (path("etc"), Entry::directory(0o755)),
        (path("etc/imgkit"), Entry::directory(0o755)),
        (path("etc/imgkit/xattrs"), Entry::file(0o644, b"first")),
        (path("root"), Entry::directory(0o711)),
        (path("tmp"), odd(Entry::directory(0), 0o1777, 0, 0)),
    ]
    .into_iter()
    .collect();
    vec![segment(&first, &contents, 1), segment(&second, &contents, 2)]
}

/// Initrds of one or two segments that differ from the plain one in one point each.
pub(crate) fn hostile() -> Vec<Case> {
    let plain = || Archive::new(1).directory("etc").file("etc/a", b"first");
    let other = || Archive::new(2).directory("etc").file("etc/b", b"second");
    let one = || plain().segment();
    let twin = |name, content| Raw {
        inode: Some(2),
        links: 2,
        ..Raw::new(FILE, name, content)
    };
    let twins = |content| {
        Archive::new(1)
            .directory("etc")
            .raw(&twin("etc/a", b"first"))
            .raw(&twin("etc/b", content))
    };
    let linked = || plain().symlink("lib", "etc").segment();
    let skippable = || b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec();
    let (head, tail) = {
        let mut bytes = plain().trailer().bytes();
        let tail = bytes.split_off(120);
        (frame(&bytes), frame(&tail))
    };
    let devices = |device| {
        let console = Raw {
            device,
            ..Raw::new(CHAR, "dev/console", b"")
        };
        Archive::new(1)
            .directory("dev")
            .raw(&console)
            .directory("etc")
            .file("etc/a", b"first")
            .segment()
    };
    let unowned = Raw {
        owner: u32::MAX,
        ..Raw::new(FILE, "etc/b", b"second")
    };
    vec![
        Case::accepted("the plain one", [one()]),
        Case::accepted("two segments", [one(), other().segment()]),
        Case::accepted("two names of a file", [twins(b"").segment()]),
        Case::accepted("the console itself", [devices((5, 1))]),
        Case::accepted(
            "a symbolic link with a mode",
            [plain().raw(&Raw::new(0o120_644, "lib", b"etc")).segment()],
        ),
        Case::refused(
            "written through a symbolic link",
            [linked(), Archive::new(2).file("lib/a", b"second").segment()],
            "the directory above an entry is not in the archive",
            "~etc/a +lib",
        ),
        Case::refused(
            "a directory over a symbolic link",
            [
                linked(),
                Archive::new(2).directory("lib").file("lib/a", b"second").segment(),
            ],
            "`lib` is in two segments",
            "+lib +lib/a",
        ),
        Case::refused(
            "written through a hard link",
            [twins(b"").segment(), other().segment()],
            "`etc/b` is in two segments",
            "~etc/a +etc/b",
        ),
        Case::refused(
            "a link to a file of another segment",
            [
                padded(frame(
                    &Archive::new(1).directory("etc").raw(&twin("etc/a", b"first")).bytes(),
                )),
                Archive::new(1)
                    .directory("etc")
                    .raw(&twin("etc/b", b"second"))
                    .segment(),
            ],
            "failed to fill whole buffer",
            "~etc/a +etc/b",
        ),
        Case::refused(
            "content under a further name",
            [twins(b"second").segment()],
            "a further name of a file does not repeat its header",
            "~etc/a +etc/b",
        ),
        Case::refused(
            "fewer names than a file says",
            [Archive::new(1).directory("etc").raw(&twin("etc/a", b"first")).segment()],
            "a file has fewer names than it says",
            "",
        ),
        Case::refused(
            "one place twice",
            [
                one(),
                Archive::new(1).directory("etc").file("etc/b", b"second").segment(),
            ],
            "two segments have the place",
            "+etc/b",
        ),
        Case::refused(
            "a skippable frame before",
            [[skippable(), one()].concat()],
            "its frame header",
            "no boot",
        ),
        Case::refused(
            "a skippable frame between",
            [one(), skippable()],
            "its frame header",
            "no boot",
        ),
        Case::refused(
            "a skippable frame behind",
            [[one(), skippable()].concat()],
            "bytes after its frame",
            "no boot",
        ),
        Case::refused(
            "two frames",
            [padded([head, tail].concat())],
            "failed to fill whole buffer",
            "no boot",
        ),
        Case::refused(
            "two archives in two frames",
            [[one(), other().segment()].concat()],
            "bytes after its frame",
            "+etc/b",
        ),
        Case::refused(
            "no end",
            [padded(frame(&plain().bytes()))],
            "failed to fill whole buffer",
            "",
        ),
        Case::refused(
            "two ends",
            [plain().trailer().segment()],
            "bytes after the archive's end",
            "",
        ),
        Case::refused(
            "an archive behind the end",
            [padded(frame(
                &[plain().trailer().bytes(), other().trailer().bytes()].concat(),
            ))],
            "bytes after the archive's end",
            "+etc/b",
        ),
        Case::refused(
            "padding that is not zero",
            [badly_padded()],
            "bytes after its frame",
            "no boot",
        ),
        Case::refused(
            "too much padding",
            [[one(), vec![0; 4]].concat()],
            "bytes after its frame",
            "",
        ),
        Case::refused(
            "garbage behind",
            [[one(), b"garbage!".to_vec()].concat()],
            "bytes after its frame",
            "no boot",
        ),
        Case::refused(
            "a path twice",
            [plain().file("etc/a", b"second").segment()],
            "not in path order",
            "~etc/a",
        ),
        Case::refused(
            "a file over a directory",
            [one(), Archive::new(2).file("etc", b"second").segment()],
            "`etc` is in two segments",
            "",
        ),
        Case::refused(
            "a directory is missing",
            [Archive::new(1).file("etc/a", b"first").segment()],
            "the directory above an entry is not in the archive",
            "-etc -etc/a",
        ),
        Case::refused(
            "two dots",
            [plain().file("etc/../b", b"second").segment()],
            "not a plain relative path",
            "+b",
        ),
        Case::refused(
            "an absolute path",
            [plain().file("/b", b"second").segment()],
            "not a plain relative path",
            "+b",
        ),
        Case::refused(
            "a NUL byte",
            [plain().file("etc/b\0c", b"second").segment()],
            "not a plain relative path",
            "+etc/b",
        ),
        Case::refused("not compressed", [plain().trailer().bytes()], "its frame header", ""),
        Case::refused("gzip", [gzip(&plain().trailer().bytes())], "its frame header", ""),
        Case::refused(
            "an owner that is none",
            [plain().raw(&unowned).segment()],
            "takes for no owner",
            "+etc/b",
        ),
        Case::refused("another console", [devices((1, 3))], "puts there itself", ""),
        Case::refused(
            "a link in place of the devices",
            [Archive::new(1)
                .symlink("dev", "etc")
                .directory("etc")
                .file("etc/a", b"first")
                .segment()],
            "puts there itself",
            "",
        ),
    ]
}

/// A segment with other padding than zeros; a name is lengthened until there is some.
fn badly_padded() -> Vec<u8> {
    let frames = (1..20).map(|length| {
        let archive = Archive::new(1).directory("etc").file("etc/a", b"first");
        frame(&archive.file(&"z".repeat(length), b"").trailer().bytes())
    });
    let mut bytes = frames.into_iter().find(|frame| frame.len() % 4 != 0).unwrap();
    bytes.resize(bytes.len().next_multiple_of(4), b'x');
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let (_, packed) = pack(Compression::Gzip, bytes);
    padded(packed)
}
