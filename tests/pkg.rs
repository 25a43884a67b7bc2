//! `imgkit pkg` through the binary, over small packages that dpkg-deb makes here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use imgkit::format::layers::flatten;
use imgkit::oci::{Document, ImageConfig};
use imgkit::pkg::component::Source;
use imgkit::pkg::lock;
use imgkit::store::layout::Layout;
use imgkit::tree::contents::HashOnly;
use imgkit::tree::list;
use serde_json::Value;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.at("debs")).unwrap();
        place
    }

    fn at(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Makes a package with dpkg-deb.
    fn deb(&self, name: &str, version: &str, depends: &str, files: &[(&str, &str)]) {
        let root = self.at(&format!("roots/{name}"));
        let _ = fs::remove_dir_all(&root);
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir_all(root.join("DEBIAN")).unwrap();
        let depends = if depends.is_empty() {
            String::new()
        } else {
            format!("Depends: {depends}\n")
        };
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@example.org>\n{depends}Description: d\n"
        );
        fs::write(root.join("DEBIAN/control"), control).unwrap();
        let made = Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "-b"])
            .args([&root, &self.at(&format!("debs/{name}.deb"))])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    /// Writes a recipe and returns its directory.
    fn recipe(&self, below: &str, text: &str) -> PathBuf {
        let dir = self.at(below);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("component.yml"), text).unwrap();
        dir
    }

    fn pkg(&self, store: &str, arguments: &[&str]) -> Output {
        self.command(store, arguments).output().unwrap()
    }

    fn command(&self, store: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgkit"));
        command.args(["--output", "json", "pkg"]).args(arguments);
        command.arg("--store").arg(self.at(store)).env("HOME", self.dir.path());
        command
    }

    fn build(&self, store: &str, recipe: &Path, more: &[&str]) -> Output {
        let debs = self.at("debs");
        let mut arguments = vec![
            "build",
            recipe.to_str().unwrap(),
            "--package-dir",
            debs.to_str().unwrap(),
        ];
        arguments.extend(more);
        self.pkg(store, &arguments)
    }

    /// Reads the only image of a store: its config, and its tree as a list.
    fn image(&self, store: &str) -> (ImageConfig, String) {
        let layout = Layout::open(self.at(store)).unwrap();
        let images = layout.list().unwrap();
        assert_eq!(images.len(), 1);
        let (descriptor, bytes) = layout.document(&images[0].0).unwrap().unwrap();
        let Document::Manifest(manifest) = Document::parse("it", &bytes, Some(&descriptor.media_type)).unwrap() else {
            panic!("no manifest");
        };
        let config = layout.blob_bytes(manifest.config(), 1 << 20).unwrap();
        let layer = layout.blob_reader(&manifest.layers()[0]).unwrap();
        let tree = flatten([zstd::Decoder::new(layer).unwrap()], &mut HashOnly).unwrap();
        (ImageConfig::parse("it", &config).unwrap(), list::write(&tree))
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn digest(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    json(output)["result"]["components"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Makes two packages, one of them a metapackage of the other, and a recipe over them.
fn hello(place: &Place) -> PathBuf {
    place.deb(
        "hello-2",
        "2.0-1",
        "",
        &[("usr/bin/hello", "#!hi\n"), ("usr/share/doc/hello/README", "no")],
    );
    place.deb(
        "hello",
        "2.0",
        "hello-2 (= 2.0-1)",
        &[("usr/share/doc/hello-meta/README", "no")],
    );
    let recipe = "about: says hello\npackages: [hello]\nkeep: [usr/bin/*]\nfiles:\n- {path: etc/motd, contents: hi, uid: 5}\n\
        - {path: tmp, directory: true, mode: 01777}\nconfig: {entrypoint: [/usr/bin/hello]}\nlinuxkit: {net: host}\n";
    place.recipe("a/hello", recipe)
}

#[test]
fn a_component_holds_what_its_recipe_says_and_names_its_packages() {
    let place = Place::new();
    let recipe = hello(&place);
    digest(&place.build("store", &recipe, &[]));
    let (config, list) = place.image("store");
    insta::assert_snapshot!(list);
    assert_eq!(config.entrypoint, ["/usr/bin/hello"]);
    assert_eq!(config.labels["org.mobyproject.config"], r#"{"net":"host"}"#);
    let packages: Vec<imgkit::oci::Package> = serde_json::from_str(&config.labels["org.imgkit.packages"]).unwrap();
    let names: Vec<_> = packages
        .iter()
        .map(|package| (package.name.as_str(), package.version.as_str()))
        .collect();
    assert_eq!(names, [("hello", "2.0"), ("hello-2", "2.0-1")]);
}

#[test]
fn the_same_packages_give_the_same_image_anywhere() {
    let place = Place::new();
    let one = hello(&place);
    let two = place.at("some/other/place/hello");
    fs::create_dir_all(&two).unwrap();
    fs::copy(one.join("component.yml"), two.join("component.yml")).unwrap();
    let first = digest(&place.build("one", &one, &[]));
    let script = "umask 077; exec \"$0\" \"$@\"";
    let second = Command::new("sh")
        .args([
            "-c",
            script,
            env!("CARGO_BIN_EXE_imgkit"),
            "--output",
            "json",
            "pkg",
            "build",
        ])
        .args([
            &two,
            Path::new("--package-dir"),
            &place.at("debs"),
            Path::new("--store"),
            &place.at("two"),
        ])
        .current_dir("/")
        .envs([("TZ", "Pacific/Chatham"), ("LC_ALL", "C"), ("HOME", "/nonexistent")])
        .output()
        .unwrap();
    assert_eq!(digest(&second), first);
}

#[test]
fn a_lock_is_written_compared_and_demanded() {
    let place = Place::new();
    let recipe = hello(&place);
    assert_eq!(
        place.build("store", &recipe, &["--locked"]).status.code(),
        Some(3),
        "there is no lock yet"
    );
    let locked = digest(&place.build("store", &recipe, &["--update-lock"]));
    assert_eq!(digest(&place.build("store", &recipe, &["--locked"])), locked);
    place.deb("hello-2", "2.0-2", "", &[("usr/bin/hello", "#!hi again\n")]);
    let newer = place.build("store", &recipe, &[]);
    assert_ne!(digest(&newer), locked);
    let differs = &json(&newer)["result"]["components"][0]["differsFromLock"];
    assert_eq!(differs, &serde_json::json!(["hello-2 is 2.0-2, locked 2.0-1"]));
    let refused = place.build("store", &recipe, &["--locked"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(json(&refused)["refusals"][0]["code"], "DIGEST_MISMATCH");
}

#[test]
fn mistakes_end_with_a_message_and_no_image() {
    let place = Place::new();
    hello(&place);
    let cases = [
        ("absent", "about: x\npackages: [nothing]\n", 3, "no .deb of it"),
        (
            "unmatched",
            "about: x\npackages: [hello]\nkeep: [usr/bin/hola]\n",
            2,
            "usr/bin/hola",
        ),
        (
            "program",
            "about: x\nfiles: [{path: p, program: imgkit-none}]\n",
            3,
            "cargo build --release --bins",
        ),
        (
            "below",
            "about: x\nfiles: [{path: a, contents: x}, {path: a/b, contents: x}]\n",
            2,
            "no directory",
        ),
        (
            "bundle",
            "about: x\npackages: [hello]\ncertificates: {from: 'usr/bin/*', to: c}\n",
            2,
            "no certificate",
        ),
        (
            "kernel",
            "about: x\npackages: [hello]\nkernel: {modules: all}\n",
            2,
            "vmlinuz",
        ),
        ("label", "about: x\nlinuxkit: {capabilites: [all]}\n", 2, "capabilities"),
    ];
    for (name, text, code, words) in cases {
        let recipe = place.recipe(name, text);
        let output = place.build("store", &recipe, &[]);
        assert_eq!(output.status.code(), Some(code), "{name}: {output:?}");
        let message = json(&output)["error"].to_string();
        assert!(message.contains(words), "{name}: {message}");
    }
    assert!(Layout::open(place.at("store")).unwrap().list().unwrap().is_empty());
}

#[test]
fn a_package_that_is_not_what_it_should_be_is_refused() {
    let place = Place::new();
    let recipe = hello(&place);
    let good = fs::read(place.at("debs/hello-2.deb")).unwrap();
    fs::write(place.at("debs/hello-2.deb"), &good[..good.len() / 2]).unwrap();
    let cut = place.build("store", &recipe, &[]);
    assert_eq!(cut.status.code(), Some(2), "{cut:?}");
    fs::write(place.at("debs/hello-2.deb"), &good).unwrap();
    fs::write(place.at("debs/again.deb"), &good).unwrap();
    let twice = place.build("store", &recipe, &[]);
    assert_eq!(twice.status.code(), Some(2), "{twice:?}");
    assert!(json(&twice)["error"]["problem"].as_str().unwrap().contains("keep one"));
}

#[test]
fn a_directory_is_packed_listed_and_removed() {
    let place = Place::new();
    let root = place.at("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::write(root.join("bin/x"), b"x").unwrap();
    fs::set_permissions(root.join("bin/x"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("bin"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", root.join("l")).unwrap();
    let tag = ["--tag", "r.example/x:1", "--entrypoint", "/bin/x", "--entrypoint", "-v"];
    let label = ["--label", r#"org.mobyproject.config={"pid":"host"}"#];
    let arguments = [&["pack", root.to_str().unwrap()][..], &tag, &label].concat();
    let packed = place.pkg("store", &arguments);
    assert!(packed.status.success(), "{packed:?}");
    let (config, list) = place.image("store");
    insta::assert_snapshot!(list);
    assert_eq!(config.entrypoint, ["/bin/x", "-v"]);
    assert_eq!(config.labels["org.mobyproject.config"], r#"{"pid":"host"}"#);
    assert!(place.pkg("store", &["rm", "r.example/x:1"]).status.success());
    assert_eq!(place.pkg("store", &["rm", "r.example/x:1"]).status.code(), Some(3));
}

#[test]
fn shipped_recipes_and_their_locks_fit_each_other() {
    let components = Path::new(env!("CARGO_MANIFEST_DIR")).join("components");
    let mut count = 0;
    for entry in fs::read_dir(components).unwrap() {
        let dir = entry.unwrap().path();
        if !dir.is_dir() {
            continue;
        }
        count += 1;
        let source = Source::open(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let wanted = source.recipe.all_packages();
        if wanted.is_empty() {
            continue;
        }
        let path = dir.join(lock::FILE);
        let locked = lock::parse(path.to_str().unwrap(), &fs::read(&path).unwrap()).unwrap();
        let names: Vec<String> = locked.into_iter().map(|package| package.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        for name in wanted {
            assert!(names.contains(&name), "{}: {name} is not locked", source.name);
        }
    }
    assert!(count >= 14);
}
