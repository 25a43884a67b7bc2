#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::failure::Failure;
use crate::tree::{Meta, Node, list};

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

fn link(target: &str) -> Entry {
    Entry {
        meta: Meta::default(),
        node: Node::HardLink(path(target)),
    }
}

fn tree(entries: &[(&str, Entry)]) -> Tree {
    entries
        .iter()
        .map(|(name, entry)| (path(name), entry.clone()))
        .collect()
}

/// Lays out `yaml`, in which every image is called `a`, with one tree.
fn laid_out(yaml: &str, tree: &Tree) -> Result<Layout, LayoutError> {
    let config = br#"{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}"#;
    let config = ImageConfig::parse("a", config).unwrap();
    let mut inputs = Inputs::default();
    inputs
        .components
        .insert("a".parse().unwrap(), Component { config: &config, tree });
    lay_out(&Spec::parse("node.yml", yaml.as_bytes()).unwrap(), &inputs)
}

fn mistake(yaml: &str, tree: &Tree) -> String {
    laid_out(yaml, tree).unwrap_err().to_string()
}

fn kernel_image() -> Tree {
    tree(&[
        ("bzImage", link("kernel")),
        ("kernel", Entry::file(0o600, b"kernel")),
        (
            "kernel.tar",
            Entry {
                meta: Meta::root(0o644),
                node: Node::Archive,
            },
        ),
        ("kernel.tar/lib", Entry::directory(0o755)),
        ("kernel.tar/lib/modules", Entry::directory(0o755)),
        ("kernel.tar/lib/modules/a.ko", Entry::file(0o644, b"module")),
        ("kernel.tar/lib/modules/b.ko", link("kernel.tar/lib/modules/a.ko")),
        ("System.map", Entry::file(0o644, b"map")),
    ])
}

#[test]
fn rules_say_what_they_changed() {
    let image = tree(&[
        (".dockerenv", Entry::file(0o644, b"")),
        ("dev", Entry::directory(0o700)),
        ("dev/console", Entry::file(0o644, b"")),
        ("etc", Entry::directory(0o755)),
        ("etc/hostname", Entry::file(0o644, b"x")),
        ("etc/mtab", Entry::file(0o644, b"mine")),
        ("init", Entry::file(0o755, b"init")),
    ]);
    let layout = laid_out("init: [a]", &image).unwrap();
    let rules = layout.parts[0]
        .rules
        .iter()
        .map(|applied| format!("{:?} {}", applied.rule, applied.path));
    assert_snapshot!(rules.collect::<Vec<_>>().join("\n"));
    let rules = laid_out("kernel: {image: a, cmdline: quiet}", &kernel_image())
        .unwrap()
        .parts
        .remove(0)
        .rules;
    let rules = rules
        .iter()
        .map(|applied| format!("{:?} {}", applied.rule, applied.path));
    assert_snapshot!(rules.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_kernels_files_and_modules_are_placed() {
    let layout = laid_out("kernel: {image: a, cmdline: quiet, binary: bzImage}", &kernel_image()).unwrap();
    assert_snapshot!(list::write(&layout.tree()));
}

#[test]
fn a_kernel_writes_only_what_is_a_kernels() {
    for (name, entry) in [
        ("kernel.tar/etc", Entry::directory(0o755)),
        ("kernel.tar/lib/libc.so", Entry::file(0o644, b"")),
        ("kernel.tar/usr", Entry::symlink(0o777, *b"/tmp")),
        ("kernel.tar/lib/modules", Entry::symlink(0o777, *b"/tmp")),
    ] {
        let mut image = kernel_image();
        image.remove_below(&path("kernel.tar/lib/modules"));
        image.insert(path(name), entry);
        let Failure::Refused(refusals) = laid_out("kernel: {image: a}", &image).unwrap_err().into() else {
            panic!("{name} is a verdict");
        };
        assert_eq!(refusals[0].place.as_ref().unwrap().to_string(), "node.yml:1:17");
        assert_eq!(refusals[0].code, crate::failure::Code::Privilege);
    }
}

#[test]
fn what_the_specification_asks_for_must_be_there() {
    let empty = Tree::new();
    let image = kernel_image();
    let mistakes = [
        mistake("kernel: {image: a}", &empty),
        mistake("kernel: {image: a, binary: System.map, tar: modules.tar}", &image),
        mistake("kernel: {image: a, tar: none, ucode: ucode.cpio}", &image),
        mistake("kernel: {image: a, binary: kernel.tar}", &image),
        mistake("init: [b]", &empty),
        mistake("files: [{path: x, source: y}]", &empty),
        mistake("files: [{path: x, contents: y, uid: nobody}]", &empty),
        mistake("services: [{name: s, image: a, additionalGids: [s, t]}]", &empty),
    ];
    assert_snapshot!(mistakes.join("\n"));
}

#[test]
fn a_second_name_of_a_replaced_file_keeps_its_content() {
    let image = tree(&[
        ("etc", Entry::directory(0o755)),
        ("etc/hosts", Entry::file(0o600, b"mine")),
        ("etc/hosts2", link("etc/hosts")),
    ]);
    let layout = laid_out("init: [a]", &image).unwrap();
    assert_eq!(
        layout.tree().entry(&path("etc/hosts2")),
        Some(&Entry::file(0o600, b"mine"))
    );
    assert_ne!(
        layout.tree().entry(&path("etc/hosts")),
        Some(&Entry::file(0o600, b"mine"))
    );
}

#[test]
fn an_entry_below_a_file_is_refused() {
    let image = tree(&[("a", Entry::file(0o644, b"")), ("a/b", Entry::file(0o644, b""))]);
    assert_snapshot!(mistake("init: [a]", &image), @"init[0] has `a`, below something that is not a directory; build the component again");
}

#[test]
fn a_part_has_the_directories_that_others_made() {
    let image = tree(&[("tmp", Entry::directory(0o1777))]);
    let yaml =
        "init: [a]\nfiles: [{path: tmp/x/y, contents: ''}, {path: tmp/x/z, contents: ''}, {path: tmp/v, symlink: w}]";
    let layout = laid_out(yaml, &image).unwrap();
    // LinuxKit's rule: the first file below a directory gives it its mode.
    assert_eq!(layout.tree().entry(&path("tmp")).unwrap().meta.mode, 0o700);
    let last = layout.parts.last().unwrap();
    assert_eq!(last.owner, Owner::File(2));
    assert_eq!(
        last.entries.entry(&path("tmp")),
        layout.parts[1].entries.entry(&path("tmp"))
    );
}

#[test]
fn optional_containers_are_marked_for_init() {
    let layout = laid_out("onboot: [{name: o, image: a, optional: true}]", &Tree::new()).unwrap();
    let Node::File { digest, .. } = layout
        .tree()
        .entry(&path("containers/onboot/000-o/config.json"))
        .unwrap()
        .node
    else {
        panic!("config.json is a file");
    };
    let config: serde_json::Value = serde_json::from_slice(layout.contents.content(&digest).unwrap()).unwrap();
    assert_eq!(config["annotations"]["org.imgkit.optional"], "true");
}

fn metadata(yaml: &str, format: &str) -> String {
    let yaml = format!("{yaml}\nfiles: [{{path: m, metadata: {format}}}]\n");
    let layout = laid_out(&yaml, &Tree::new()).unwrap();
    let Node::File { digest, .. } = layout.tree().entry(&path("m")).unwrap().node else {
        panic!("metadata is a file");
    };
    String::from_utf8(layout.contents.content(&digest).unwrap().to_vec()).unwrap()
}

#[test]
fn metadata_is_the_specification_in_linuxkits_form() {
    let yaml = "\
services:
- image: a
  name: s
  pid: ''
  readonly: false
  sysctl: {net.core.x: '1', b: 'yes'}
  runtime: {mounts: [{type: tmpfs, options: []}], mkdir: ['/a: b', \"two\\nlines\"]}
epoch: 4";
    assert_snapshot!(metadata(yaml, "yaml"));
    assert_snapshot!(metadata(yaml, "json"));
}

proptest! {
    #[test]
    fn metadata_reads_back(text in "[ -~\\n]{1,30}") {
        let quoted = serde_json::to_string(&text).unwrap();
        let written = metadata(&format!("services: [{{name: s, image: a, hostname: {quoted}, env: [{quoted}]}}]"), "yaml");
        let spec = Spec::parse("m", written.as_bytes()).unwrap();
        prop_assert_eq!(spec.services[0].overlay.settings.hostname.as_ref(), Some(&text));
        prop_assert_eq!(&spec.services[0].overlay.settings.env, &Some(vec![text]));
    }
}
