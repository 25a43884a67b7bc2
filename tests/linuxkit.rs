//! The root file systems that imgkit and LinuxKit 1.8.2 make of the same YAML are equal.
//!
//! `tests/fixtures/linuxkit` holds LinuxKit's output and the images that it was made of. Times differ on purpose, see
//! `docs/linuxkit.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use imgkit::config::rootfs::{Component, Inputs, Layout, lay_out};
use imgkit::config::spec::Spec;
use imgkit::format::layers::flatten;
use imgkit::oci::ImageConfig;
use imgkit::tree::contents::Memory;
use imgkit::tree::{Entry, Node, Tree, TreePath};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/linuxkit")
}

/// The images, read from their OCI layouts.
struct Images {
    images: BTreeMap<String, (ImageConfig, Tree)>,
    contents: Memory,
}

impl Images {
    fn read() -> Self {
        let mut contents = Memory::default();
        let folders = fs::read_dir(fixtures().join("images")).unwrap();
        let images = folders.map(|folder| {
            let folder = folder.unwrap().path();
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            (name, image(&folder, &mut contents))
        });
        Self {
            images: images.collect(),
            contents,
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        let mut inputs = Inputs::default();
        for (name, (config, tree)) in &self.images {
            let reference = format!("127.0.0.1:15061/fix/{name}:v1").parse().unwrap();
            inputs.components.insert(reference, Component { config, tree });
        }
        inputs
    }
}

fn image(folder: &Path, contents: &mut Memory) -> (ImageConfig, Tree) {
    let blob = |descriptor: &Value| {
        folder
            .join("blobs")
            .join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
    };
    let json = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let index = json(blob(&json(folder.join("index.json"))["manifests"][0]));
    let manifest = json(blob(&index["manifests"][0]));
    let layers = manifest["layers"].as_array().unwrap().iter();
    let layers = layers.map(|layer| GzDecoder::new(File::open(blob(layer)).unwrap()));
    let tree = flatten(layers, contents).unwrap();
    let config = ImageConfig::parse("fixture", &fs::read(blob(&manifest["config"])).unwrap()).unwrap();
    (config, tree)
}

/// One line of `tree.txt`, without the time.
fn line(path: &TreePath, entry: &Entry) -> String {
    let (kind, size, target) = match &entry.node {
        Node::Directory => ("d", 0, String::new()),
        Node::File { size, .. } => ("f", *size, String::new()),
        Node::Symlink(target) => ("l", 0, format!(" -> {}", String::from_utf8_lossy(target))),
        Node::HardLink(target) => ("h", 0, format!(" -> {target}")),
        other => panic!("unexpected {other:?}"),
    };
    let meta = &entry.meta;
    format!(
        "{kind} {:04o} {}:{} {size} {path}{target}",
        meta.mode, meta.uid, meta.gid
    )
}

/// The tree that LinuxKit made: the last entry of each name, without times.
fn linuxkits_tree(case: &Path) -> Vec<String> {
    let text = fs::read_to_string(case.join("tree.txt")).unwrap();
    let mut last: BTreeMap<TreePath, String> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        let name = fields[5].split(" -> ").next().unwrap();
        let without_time = [&fields[..3], &fields[4..]].concat().join(" ");
        last.insert(TreePath::parse(name).unwrap(), without_time);
    }
    last.into_values().collect()
}

fn file<'a>(path: &TreePath, layout: &'a Layout, images: &'a Images) -> &'a [u8] {
    let tree = layout.tree();
    let Some(Node::File { digest, .. }) = tree.entry(path).map(|entry| entry.node.clone()) else {
        panic!("{path} is not a file");
    };
    let generated = layout.contents.content(&digest);
    generated.or(images.contents.content(&digest)).unwrap()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .collect()
}

#[test]
fn trees_and_files_equal_linuxkits() {
    let images = Images::read();
    let cases = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    let cases: Vec<PathBuf> = cases.filter(|case| case.join("node.yml").exists()).collect();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let spec = Spec::parse("node.yml", &fs::read(case.join("node.yml")).unwrap()).unwrap();
        let layout = lay_out(&spec, &images.inputs()).unwrap();
        let ours: Vec<String> = layout.tree().iter().map(|(path, entry)| line(path, entry)).collect();
        assert_eq!(ours, linuxkits_tree(&case), "{}", case.display());
        for theirs in files_below(&case.join("out")) {
            let path = TreePath::parse(theirs.strip_prefix(case.join("out")).unwrap().to_str().unwrap()).unwrap();
            let (ours, theirs) = (file(&path, &layout, &images), fs::read(theirs).unwrap());
            // Beyond equal JSON values: the same bytes.
            assert_eq!(
                String::from_utf8_lossy(ours),
                String::from_utf8_lossy(&theirs),
                "{} {path}",
                case.display()
            );
        }
    }
}

#[test]
fn every_part_can_be_unpacked_on_its_own() {
    let images = Images::read();
    for case in ["01-basic", "06-readonly-dup", "07-files", "10-kernel-names"] {
        let yaml = fs::read(fixtures().join(case).join("node.yml")).unwrap();
        let layout = lay_out(&Spec::parse("node.yml", &yaml).unwrap(), &images.inputs()).unwrap();
        for part in &layout.parts {
            for (path, _) in part.entries.iter() {
                let above = path
                    .parent()
                    .is_none_or(|parent| part.entries.entry(&parent).is_some_and(Entry::is_directory));
                assert!(above, "{case}: {} has {path} without its directory", part.owner);
            }
        }
    }
}
