#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::tree::list;

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

fn link(target: &str) -> Entry {
    Entry {
        meta: crate::tree::Meta::default(),
        node: Node::HardLink(path(target)),
    }
}

fn pool(entries: &[(&str, Entry)]) -> Tree {
    entries
        .iter()
        .map(|(name, entry)| (path(name), entry.clone()))
        .collect()
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn names(tree: &Tree) -> Vec<String> {
    tree.iter().map(|(path, _)| path.to_string()).collect()
}

#[test]
fn a_kept_link_brings_its_target_and_everything_its_directories() {
    let pool = pool(&[
        ("opt", Entry::directory(0o750)),
        ("opt/a", Entry::file(0o755, b"a")),
        ("usr/bin/a", Entry::symlink(0o777, *b"../../opt/a")),
        ("usr/bin/b", Entry::file(0o755, b"b")),
        ("usr/share/doc/a", Entry::file(0o644, b"doc")),
    ]);
    let chosen = choose("c", &pool, &patterns(&["usr/**"]), &patterns(&["usr/share/**", "**/b"])).unwrap();
    assert_eq!(names(&chosen), ["opt", "opt/a", "usr", "usr/bin", "usr/bin/a"]);
    assert_eq!(chosen.entry(&path("opt")).unwrap().meta.mode, 0o750);
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    let pool = pool(&[("bin/a", Entry::file(0o755, b"a"))]);
    let error = choose("component c", &pool, &patterns(&["bin/*", "bin/b"]), &[]).unwrap_err();
    assert!(error.to_string().contains("bin/b"), "{error}");
}

#[test]
fn hard_links_are_named_by_the_first_path_that_is_kept() {
    let pool = pool(&[("a", Entry::file(0o755, b"x")), ("b", link("a")), ("c", link("a"))]);
    let chosen = choose("c", &pool, &patterns(&["*"]), &patterns(&["a"])).unwrap();
    let digest = crate::digest::Digest::sha256(b"x").hex();
    assert_eq!(
        list::write(&chosen),
        format!("imgkit-tree 1\nf 0755 0 0 1 {digest} b\nh b c\n")
    );
}

#[test]
fn links_are_followed_within_the_tree_and_circles_end() {
    let pool = pool(&[
        ("lib64", Entry::symlink(0o777, *b"usr/lib64")),
        ("usr/lib64/ld.so.2", Entry::symlink(0o777, *b"/lib/x/../ld.so")),
        ("lib/ld.so", Entry::file(0o755, b"")),
        ("loop", Entry::symlink(0o777, *b"./loop")),
        ("out", Entry::symlink(0o777, *b"../../../lib/ld.so")),
    ]);
    let steps = |text: &str| follow(&pool, text).map(|steps| steps.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(
        steps("/lib64/ld.so.2").unwrap(),
        ["lib64", "usr/lib64/ld.so.2", "lib/ld.so"]
    );
    assert_eq!(steps("out").unwrap(), ["out", "lib/ld.so"]);
    assert_eq!(steps("loop"), None);
    assert_eq!(steps("lib/none"), None);
}

#[test]
fn libraries_that_are_nowhere_are_named_with_who_needs_them() {
    let mut stock = Stock::within(&std::env::temp_dir()).unwrap();
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let program = stock.add(0o755, &mut own.as_slice()).unwrap();
    let mut tree = pool(&[("bin/p", program)]);
    let error = add_libraries("component c", &mut tree, &Tree::new(), &[], &stock).unwrap_err();
    assert!(error.to_string().contains("/bin/p needs libc.so.6"), "{error}");
    let linkage = Linkage::of(&own).unwrap().unwrap();
    let loader = linkage.interpreter.unwrap();
    let mut provided = linkage.needed;
    provided.push(loader.rsplit('/').next().unwrap().to_owned());
    add_libraries("component c", &mut tree, &Tree::new(), &provided, &stock).unwrap();
    assert_eq!(names(&tree), ["bin/p"]);
}
