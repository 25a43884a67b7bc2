#![allow(clippy::unwrap_used, clippy::panic)]
use std::io::Write;

use ::tar::{EntryType, Header};
use proptest::prelude::*;

use super::*;
use crate::format::arbitrary;
use crate::format::tar::write_tar;
use crate::time::Time;
use crate::tree::contents::HashOnly;
use crate::tree::list;

/// A layer made header by header, as a hostile builder would.
#[derive(Default)]
struct Layer(Vec<u8>);

impl Layer {
    fn member(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        let fields = header.as_old_mut();
        fields
            .name
            .iter_mut()
            .zip(name.bytes())
            .for_each(|(to, from)| *to = from);
        fields
            .linkname
            .iter_mut()
            .zip(link.bytes())
            .for_each(|(to, from)| *to = from);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(7);
        header.set_gid(8);
        header.set_size(content.len() as u64);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.member(EntryType::Regular, name, "", content.as_bytes())
    }

    fn directory(self, name: &str) -> Self {
        self.member(EntryType::Directory, name, "", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.member(EntryType::Symlink, name, target, b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.member(EntryType::Link, name, target, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn layer() -> Layer {
    Layer::default()
}

fn merge<const N: usize>(layers: [Layer; N]) -> Result<Tree, LayerError> {
    let layers = layers.map(Layer::end);
    flatten(layers.iter().map(Vec::as_slice), &mut HashOnly)
}

/// Each entry as `kind path`, which is what most tests are about.
fn names(tree: &Tree) -> Vec<String> {
    let text = list::write(tree);
    let lines = text.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        format!("{} {}", fields.first().unwrap(), fields.last().unwrap())
    });
    lines.collect()
}

#[test]
fn later_layers_replace_and_directories_merge() {
    let tree = merge([
        layer()
            .directory("./")
            .directory("etc/")
            .file("etc/a", "old")
            .file("etc/b", "kept"),
        layer().directory("etc").file("etc/a", "new").file("usr/bin/x", ""),
    ])
    .unwrap();
    assert_eq!(
        names(&tree),
        ["d etc", "f etc/a", "f etc/b", "d usr", "d usr/bin", "f usr/bin/x"]
    );
    let path = |path| TreePath::parse(path).unwrap();
    assert_eq!(tree.entry(&path("etc/a")).unwrap().node, Entry::file(0, b"new").node);
    assert_eq!(tree.entry(&path("usr")).unwrap(), &Entry::directory(0o755));
    let etc = &tree.entry(&path("etc")).unwrap().meta;
    assert_eq!((etc.mode, etc.uid, etc.gid), (0o644, 7, 8));
}

#[test]
fn a_file_over_a_directory_hides_what_was_below() {
    let tree = merge([layer().file("a/b/c", "").file("a-b", ""), layer().file("a", "")]).unwrap();
    assert_eq!(names(&tree), ["f a", "f a-b"]);
    let tree = merge([layer().file("a", ""), layer().directory("a").file("a/b", "")]).unwrap();
    assert_eq!(names(&tree), ["d a", "f a/b"]);
    let tree = merge([layer().file("a/b", "").symlink("a", "x").directory("a").file("a/c", "")]).unwrap();
    assert_eq!(names(&tree), ["d a", "f a/c"]);
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let lower = || layer().file("d/a", "").file("d/b/c", "").file("d/bb", "");
    let tree = merge([lower(), layer().file("d/.wh.b", "").file("d/b", "again")]).unwrap();
    assert_eq!(names(&tree), ["d d", "f d/a", "f d/b", "f d/bb"]);
    let tree = merge([lower(), layer().file("d/new", "").file("d/.wh..wh..opq", "")]).unwrap();
    assert_eq!(names(&tree), ["d d", "f d/new"]);
    let tree = merge([lower(), layer().file(".wh..wh..opq", "")]).unwrap();
    assert!(tree.is_empty());
    let tree = merge([lower(), layer().file(".wh.none", "")]).unwrap();
    assert_eq!(tree.len(), 5);
}

#[test]
fn refuses_whiteouts_that_engines_read_differently() {
    for bad in [
        layer().file("a", "").file(".wh.a", ""),
        layer().file("a/b", "").file(".wh.a", ""),
        layer().file(".wh.a", "content"),
        layer().directory(".wh.a"),
        layer().symlink(".wh.a", "b"),
        layer().file(".wh..wh.plnk", ""),
        layer().file(".wh.", ""),
        layer().file(".wh...", ""),
    ] {
        assert!(merge([bad]).is_err());
    }
}

#[test]
fn hard_links_are_canonical_across_layers() {
    let tree = merge([
        layer().file("z", "one").link("m", "./z").file("q", "other"),
        layer().link("a", "m").file("z", "two"),
    ])
    .unwrap();
    assert_eq!(names(&tree), ["f a", "h m", "f q", "f z"]);
    let tree = merge([layer().symlink("s", "t").link("r", "s")]).unwrap();
    assert_eq!(names(&tree), ["l r", "l s"]);
    assert_eq!(list::parse(list::write(&tree).as_bytes()).unwrap(), tree);
}

#[test]
fn refuses_hard_links_to_nothing() {
    for bad in [
        layer().link("a", "none"),
        layer().link("a", "a"),
        layer().directory("d").link("a", "d"),
        layer().link("a", "../etc/shadow"),
        layer().file("s/x", "").symlink("s", "t").link("a", "s/x"),
    ] {
        assert!(merge([bad]).is_err());
    }
}

#[test]
fn refuses_paths_that_leave_the_image_or_go_through_links() {
    for bad in [
        [layer(), layer().file("../x", "")],
        [layer(), layer().file("a/../../x", "")],
        [layer(), layer().file("a\0b/..", "").file("/..", "")],
        [layer().symlink("s", "/etc"), layer().file("s/passwd", "")],
        [layer(), layer().symlink("s", "/etc").file("s/passwd", "")],
        [layer(), layer().symlink("s", "/etc").file("s/a/passwd", "")],
        [layer().symlink("s", "/etc"), layer().file("s/.wh.passwd", "")],
        [layer().file("f", ""), layer().file("f/x", "")],
        [layer().file("f", ""), layer().directory("f/x")],
        [layer().symlink("s", "/etc").file("s/x", "").directory("s"), layer()],
    ] {
        assert!(merge(bad).is_err());
    }
    assert_eq!(
        names(&merge([layer().file("/abs", "")]).unwrap()),
        ["f abs"],
        "read relative to the root"
    );
}

#[test]
fn kernel_tar_is_read_as_an_archive() {
    let modules = layer()
        .file("lib/modules/a.ko", "elf")
        .link("lib/modules/b.ko", "lib/modules/a.ko")
        .end();
    let kernel = |modules: &[u8]| {
        layer()
            .file("kernel", "bz")
            .member(EntryType::Regular, "kernel.tar", "", modules)
    };
    let tree = merge([kernel(&modules).file("kernel.tar-x", "")]).unwrap();
    let archive = [
        "f kernel",
        "a kernel.tar",
        "f kernel.tar-x",
        "d kernel.tar/lib",
        "d kernel.tar/lib/modules",
    ];
    let modules_in = ["f kernel.tar/lib/modules/a.ko", "h kernel.tar/lib/modules/b.ko"];
    assert_eq!(names(&tree), [&archive[..], &modules_in].concat());
    assert_eq!(
        names(&merge([kernel(&modules), layer().file(".wh.kernel.tar", "")]).unwrap()),
        ["f kernel"]
    );
    for bad in [
        [kernel(b"not a tar archive"), layer()],
        [kernel(&modules), layer().file("kernel.tar/x", "")],
        [kernel(&modules).file("kernel.tar/x", ""), layer()],
        [kernel(&layer().file("../x", "").end()), layer()],
        [kernel(&modules).link("k", "kernel.tar"), layer()],
        [kernel(&layer().link("a", "kernel").end()), layer()],
    ] {
        assert!(merge(bad).is_err());
    }
}

#[test]
fn refuses_malformed_archives() {
    let good = layer().file("a", "content").end();
    let refused = |bytes: &[u8]| flatten([bytes], &mut HashOnly).is_err();
    assert!(!refused(&good));
    for end in 0..good.len() - 512 {
        assert!(refused(good.get(..end).unwrap()), "cut at {end}");
    }
    assert!(refused(&[&good[..], b"x"].concat()));
    assert!(refused(&[&good[..], &good[..]].concat()));
    for kind in [EntryType::GNUSparse, EntryType::new(b'V'), EntryType::new(b'M')] {
        assert!(merge([layer().member(kind, "a", "", b"")]).is_err());
    }
    assert!(merge([layer().member(EntryType::Directory, "a", "", b"x")]).is_err());
    assert!(merge([layer().member(EntryType::XHeader, "x", "", b"10 path=b\n")]).is_err());
    let pax = |content: &[u8]| layer().member(EntryType::XHeader, "x", "", content);
    assert_eq!(names(&merge([pax(b"10 path=b\n").file("a", "")]).unwrap()), ["f b"]);
    assert!(
        merge([pax(b"10 path=b\n")
            .member(EntryType::XHeader, "x", "", b"")
            .file("a", "")])
        .is_err()
    );
    assert!(merge([pax(b"22 GNU.sparse.major=1\n").file("a", "")]).is_err());
    let global = layer().member(EntryType::XGlobalHeader, "g", "", b"10 path=b\n");
    assert!(merge([global.file("a", "")]).is_err());
    let long = layer().member(EntryType::GNULongName, "././@LongLink", "", b"long\0");
    assert_eq!(names(&merge([long.file("a", "")]).unwrap()), ["f long"]);
}

/// Gives the same bytes again and again.
struct Endless {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, mut buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.write(self.bytes.get(self.at..).unwrap())?;
        self.at = (self.at + n) % self.bytes.len();
        Ok(n)
    }
}

#[test]
fn refuses_a_layer_that_never_ends() {
    let value = "v".repeat(60_000);
    let record = format!("60022 SCHILY.xattr.u={value}\n");
    let member = layer()
        .member(EntryType::XHeader, "x", "", record.as_bytes())
        .file("a", "");
    let endless = Endless { bytes: member.0, at: 0 };
    let error = flatten([endless], &mut HashOnly).unwrap_err();
    assert!(matches!(error.problem, LayerProblem::Many(_)), "{error}");
}

#[test]
fn an_error_names_layer_and_member() {
    let error = merge([layer(), layer().file("ok", "").file("../no", "")]).unwrap_err();
    assert!(error.to_string().starts_with("layer 1, `../no`: "), "{error}");
}

proptest! {
    #[test]
    fn what_the_writer_writes_flattens_to_the_same_tree((tree, contents) in arbitrary::tree(true), time in 0..300_000_000_000i64) {
        let mut archive = Vec::new();
        let time = Time::from_unix(time % 253_402_300_799).unwrap();
        write_tar(&tree, &contents, time, &mut archive).unwrap();
        prop_assert_eq!(flatten([&*archive], &mut HashOnly).unwrap(), tree.clone());
        let again = Tree::new();
        let mut twice = Vec::new();
        write_tar(&again, &contents, time, &mut twice).unwrap();
        prop_assert_eq!(twice, vec![0; 1024]);
    }

    #[test]
    fn flipped_archives_are_errors_or_trees_never_panics(
        (tree, contents) in arbitrary::tree(true),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut archive = Vec::new();
        write_tar(&tree, &contents, Time::from_unix(0).unwrap(), &mut archive).unwrap();
        for (at, byte) in flips {
            let at = at.index(archive.len());
            *archive.get_mut(at).unwrap() = byte;
        }
        if let Ok(tree) = flatten([&*archive], &mut HashOnly) {
            prop_assert_eq!(list::parse(list::write(&tree).as_bytes()).unwrap(), tree);
        }
    }

    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = flatten([&*noise], &mut HashOnly);
    }
}
