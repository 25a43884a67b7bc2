//! Asserts the floors of the house: a module uses only its own floor (without circles) and those below, and nothing below floor 3 touches the outside.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every top-level module and its floor; a new module must be given one here.
const FLOORS: &[(&str, u8)] = &[
    ("cmdline", 0),
    ("digest", 0),
    ("failure", 0),
    ("json", 0),
    ("key", 0),
    ("limit", 0),
    ("reference", 0),
    ("time", 0),
    ("yaml", 0),
    ("tree", 1),
    ("format", 1),
    ("oci", 1),
    ("disk", 1),
    ("assemble", 2),
    ("attest", 2),
    ("config", 2),
    ("policy", 2),
    ("seal", 2),
    ("sigstore", 2),
    ("trust", 2),
    ("store", 3),
    ("verify", 4),
    ("build", 5),
    ("pkg", 5),
    ("run", 5),
    ("trial", 5),
    ("cli", 6),
];

/// Modules above floor 1 that use one of their own floor: `assemble` turns what `config` lays out into segments and disks;
/// `policy` names who signs by sigstore's forms, and what attestations have to state; `sigstore` signs the statements of `attest`, in envelopes over the same bytes as the seal's; `trial` has finished images built.
const NEIGHBOURS: &[(&str, &str)] = &[
    ("assemble", "config"),
    ("policy", "attest"),
    ("policy", "sigstore"),
    ("sigstore", "attest"),
    ("sigstore", "seal"),
    ("trial", "build"),
];

/// What floors 0 to 2 never name: disk, network, clock, environment, terminal, async.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "env::var",
    "env::args",
    "std::process",
    "tokio",
    "SystemTime",
    "Instant::now",
    "println!",
    "print!",
    "dbg!",
    "rustix",
    "tempfile",
];

/// Reads every source file of the library: its top-level module, its path, and its code without tests and comments.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "tests.rs") {
                // A test module in a file of its own may use every floor, like those that end a file.
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                files.push(path);
            }
        }
    }
    let module = |path: &Path| {
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    files
        .into_iter()
        .map(|path| (module(&path), code(&fs::read_to_string(&path).unwrap()), path))
        .map(|(module, code, path)| (module, path, code))
        .filter(|(module, ..)| !["lib", "main", "bin"].contains(&module.as_str()))
        .collect()
}

/// Cuts comments, and the test module with which a file ends.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn uses(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn every_module_uses_only_its_own_floor_and_those_below() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (module, path, code) in sources() {
        let Some(floor) = floors.get(module.as_str()) else {
            wrong.push(format!(
                "{}: module `{module}` has no floor in tests/layers.rs",
                path.display()
            ));
            continue;
        };
        assert!(
            !code.contains("use crate::{"),
            "{}: write one `use crate::…` a line",
            path.display()
        );
        for used in uses(&code) {
            let Some(other) = floors.get(used) else { continue };
            let same = other == floor && *floor > 1 && !NEIGHBOURS.contains(&(module.as_str(), used));
            if used != module && (other > floor || same) {
                wrong.push(format!(
                    "{} (floor {floor}) uses {used} (floor {other})",
                    path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn modules_of_one_floor_do_not_use_each_other_in_a_circle() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, _, code) in sources() {
        let used = uses(&code).filter(|used| *used != module).map(str::to_owned);
        edges.entry(module.clone()).or_default().extend(used);
    }
    for start in edges.keys() {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = edges[start].iter().collect();
        while let Some(module) = next.pop() {
            assert_ne!(module, start, "`{start}` uses itself through others");
            if seen.insert(module) {
                next.extend(edges.get(module).into_iter().flatten());
            }
        }
    }
}

#[test]
fn nothing_below_floor_three_touches_the_outside() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (module, path, code) in sources() {
        if floors.get(module.as_str()).is_none_or(|floor| *floor >= 3) {
            continue;
        }
        for name in OUTSIDE {
            if code.contains(name) {
                wrong.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_command_line_reads_clock_and_environment() {
    let mut wrong = Vec::new();
    for (module, path, code) in sources() {
        for name in ["SystemTime::now", "Instant::now", "env::var", "env::args", "println!"] {
            if module != "cli" && code.contains(name) {
                wrong.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_a_room_too_large_to_live_in() {
    for (_, path, _) in sources() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 800, "{} has {lines} lines, more than 800", path.display());
    }
}
