//! Only `verify/` mints `Verified<T>`: everything else that tries does not compile, for the reason expected.
//!
//! Each attempt stands beside a twin that differs in the forbidden line alone and compiles, so that an attempt cannot fail for
//! another reason. Attempts from inside the crate are made on a copy of its sources.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Copies what `cargo check` needs of this package to a temporary folder.
fn copy_of_the_package() -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"));
    let to = tempfile::tempdir().unwrap();
    for name in ["Cargo.toml", "Cargo.lock", "build.rs"] {
        fs::copy(from.join(name), to.path().join(name)).unwrap();
    }
    let mut folders = ["src", "examples", "benches", "keys"].map(PathBuf::from).to_vec();
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(to.path().join(&folder)).unwrap();
        for entry in fs::read_dir(from.join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if from.join(&path).is_dir() {
                folders.push(path);
            } else {
                fs::copy(from.join(&path), to.path().join(&path)).unwrap();
            }
        }
    }
    to
}

/// Checks the package's library (or a test of it) with the target folder of this run, so that dependencies are not built again.
fn check(package: &Path, what: &[&str]) -> Result<(), String> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let output = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--offline", "--locked", "--color=never"])
        .args(what)
        .current_dir(package)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Appends `line` inside a function to the file at `path` of a copy, and checks the library.
fn with_line(package: &Path, path: &str, line: &str) -> Result<(), String> {
    let function = format!("fn attempt(source: crate::verify::Verified<u8>) -> u8 {{\n    {line}\n    *source\n}}\n");
    with_function(package, path, &function)
}

/// Appends `function` to the file at `path` of a copy, and checks the library.
fn with_function(package: &Path, path: &str, function: &str) -> Result<(), String> {
    let file = package.join(path);
    let original = fs::read_to_string(&file).unwrap();
    let attempt = format!("{original}\n#[allow(unused, unused_qualifications, missing_docs)]\n{function}");
    fs::write(&file, attempt).unwrap();
    let result = check(package, &["--lib"]);
    fs::write(&file, original).unwrap();
    result
}

#[test]
fn nothing_inside_the_crate_but_the_gate_can_mint() {
    let package = copy_of_the_package();
    let inside = ["src/build/mod.rs", "src/run/mod.rs", "src/cli/mod.rs"];
    for path in inside {
        with_line(package.path(), path, "let _twin = &source;").unwrap();
        let error = with_line(package.path(), path, "let _forged = crate::verify::Verified(1_u8);").unwrap_err();
        assert!(error.contains("`Verified` is private"), "{path}: {error}");
        let error = with_line(package.path(), path, "let mut source = source; *source = 2;").unwrap_err();
        assert!(error.contains("E0594"), "{path}: {error}");
    }
}

#[test]
fn nothing_outside_the_crate_can_mint() {
    let package = copy_of_the_package();
    let outside = |line: &str| {
        let program = format!(
            "//! An outsider.\nuse imgkit::verify::Verified;\nfn take(_: Option<Verified<u8>>) {{}}\nfn main() {{\n    {line}\n}}\n"
        );
        fs::write(package.path().join("examples/outsider.rs"), program).unwrap();
        check(package.path(), &["--example", "outsider"])
    };
    outside("take(None);").unwrap();
    for (attempt, reason) in [
        ("take(Some(Verified(1)));", "private"),
        ("take(Some(Verified::default()));", "E0599"),
        ("take(Some(Verified::from(1)));", "E0308"),
        ("take(Some(1.into()));", "E0277"),
        ("take(serde_json::from_str(\"1\").ok());", "E0277"),
    ] {
        let error = outside(attempt).unwrap_err();
        assert!(error.contains(reason), "{attempt}: {error}");
    }
}

/// Each function of the builder that takes components: a call with verified ones, and the same with bare ones.
const TAKERS: [(&str, &str); 3] = [
    (
        "drop(make(request.spec, verified, BTreeMap::new()));",
        "drop(make(request.spec, bare, BTreeMap::new()));",
    ),
    (
        "drop(Draft::new(request, verified, image, Vec::new(), &[]));",
        "drop(Draft::new(request, bare, image, Vec::new(), &[]));",
    ),
    (
        "drop(workshop.file(one, one.tree_digest()));",
        "let one: Component = (**one).clone(); drop(workshop.file(&one, one.tree_digest()));",
    ),
];

#[test]
fn a_bare_component_does_not_go_into_a_build_from_inside() {
    let package = copy_of_the_package();
    let inside = |line: &str| {
        let function = format!(
            "fn attempt(request: &Request<'_>, workshop: &Workshop<'_>, image: &assemble::Image, one: &Verified<Component>, \
             verified: &BTreeMap<Reference, Verified<Component>>, bare: &BTreeMap<Reference, Component>) {{\n    {line}\n}}\n"
        );
        with_function(package.path(), "src/build/mod.rs", &function)
    };
    for (twin, attempt) in TAKERS {
        inside(twin).unwrap();
        let error = inside(attempt).unwrap_err();
        assert!(error.contains("E0308"), "{attempt}: {error}");
        assert!(error.contains("Verified<"), "{attempt}: {error}");
    }
}

#[test]
fn a_bare_component_does_not_go_into_an_image_from_outside() {
    let package = copy_of_the_package();
    let outside = |given: &str| {
        let program = format!(
            "//! An outsider.\n#![allow(dead_code, unused_imports)]\nuse std::collections::BTreeMap;\nuse imgkit::config::spec::Spec;\n\
             use imgkit::reference::Reference;\nuse imgkit::verify::image::make;\nuse imgkit::verify::{{Component, Verified}};\n\
             fn attempt(spec: &Spec, given: &BTreeMap<Reference, {given}>) {{\n    drop(make(spec, given, BTreeMap::new()));\n}}\n\
             fn main() {{}}\n"
        );
        fs::write(package.path().join("examples/outsider.rs"), program).unwrap();
        check(package.path(), &["--example", "outsider"])
    };
    outside("Verified<Component>").unwrap();
    let error = outside("Component").unwrap_err();
    assert!(error.contains("E0308"), "{error}");
    assert!(error.contains("Verified<imgkit::verify::Component>"), "{error}");
}
