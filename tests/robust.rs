//! Builds that are killed, that meet, or that find no room: no file has its name unless it is whole, and the store stays whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use common::images::noise;
use common::node::Node;
use common::{in_mounts_of_its_own, run};
use imgkit::store::layout::Layout;

const KILLS: usize = 100;

fn is_partial(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "partial")
}

fn store_is_whole(node: &Node) -> bool {
    Layout::open(node.path("store")).unwrap().check().unwrap().is_good()
}

fn forget_derived(node: &Node) {
    let _ = fs::remove_dir_all(node.path("store/derived"));
}

#[test]
fn a_build_killed_at_any_moment_leaves_whole_files_and_a_whole_store() {
    let node = Node::new();
    forget_derived(&node);
    let began = Instant::now();
    node.build_sealed("reference");
    let whole = began.elapsed();
    for image in ["node-bios.img", "node.qcow2", "node.seal", "node.tar.seal"] {
        let answer = node.verify(&format!("reference/{image}"));
        assert_eq!(answer.code, 0, "{image}: {}", answer.json);
    }
    let segments = node.names("store/derived/segments");
    fs::rename(node.path("store/derived/segments"), node.path("segments")).unwrap();
    let (mut killed, mut partial, mut named) = (0, 0, 0);
    // Some builds are done before their moment; those do not count.
    let mut moments = noise(u64::from(std::process::id()), 4 * KILLS).into_iter();
    while killed < KILLS {
        let moment = moments.next().expect("most builds end before they are killed");
        // Every other build starts with what the one before it kept.
        if killed % 2 == 0 {
            forget_derived(&node);
        }
        let _ = fs::remove_dir_all(node.path("out"));
        let mut build = node.sealed_build("out");
        let mut child = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pause = whole.mul_f64(f64::from(moment) / 256.0);
        std::thread::sleep(pause);
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().code().is_none());
        let (unfinished, finished): (Vec<_>, Vec<_>) = node.names("out").into_iter().partition(|name| is_partial(name));
        partial += usize::from(!unfinished.is_empty());
        named += usize::from(!finished.is_empty());
        // The reference was verified, so what equals it is whole and verifies.
        for name in finished {
            node.assert_same_file(&name, "out", "reference");
        }
        for name in node.names("store/derived/segments") {
            if segments.contains(&name) {
                node.assert_same_file(&name, "store/derived/segments", "segments");
            } else {
                assert!(is_partial(&name), "{name} after {pause:?}");
            }
        }
        assert!(store_is_whole(&node), "killed after {pause:?}");
    }
    eprintln!(
        "{killed} killed, {partial} while they wrote, {named} with files under their names; a build takes {whole:?}"
    );
    assert!(partial > 0, "no build was killed while it wrote");
    node.build_sealed("out");
    node.assert_same_files("out", "reference");
    node.good(&["cache", "verify"]);
    let left = node.names("store/derived/segments");
    assert!(!left.iter().any(|name| is_partial(name)), "{left:?}");
}

#[test]
fn builds_at_once_on_one_store_make_the_same_files() {
    let node = Node::new();
    node.build_sealed("reference");
    for _ in 0..3 {
        forget_derived(&node);
        let outs = ["one", "two", "shared", "shared"];
        let children: Vec<_> = outs
            .map(|out| {
                let mut build = node.sealed_build(out);
                build.stdout(Stdio::piped()).spawn().unwrap()
            })
            .into();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        for out in ["one", "two", "shared"] {
            node.assert_same_files(out, "reference");
        }
        assert!(store_is_whole(&node));
    }
}

/// Builds with `full` on a file system of each size; returns how each build ended, what it said, and the names it left.
fn build_on_small_disks(node: &Node, full: &str, sizes: &[u32]) -> Vec<(u32, i32, String)> {
    let script = r#"set -u
        mount -t tmpfs -o size="$SIZE" tmpfs "$FULL" || exit 99
        if [ -d store.whole ]; then cp -r store.whole/. "$FULL"; fi
        "$@"; code=$?
        for dir in "$OUT" "$FULL"; do find "$dir" -name 'node*' -o -name '*.partial' | sed 's/^/left: /'; done
        exit $code"#;
    let small = |kib: u32| {
        let out = format!("out-{kib}");
        let out = if full == "out" { "out" } else { &out };
        fs::create_dir_all(node.path(out)).unwrap();
        fs::create_dir_all(node.path(full)).unwrap();
        let build = node.sealed_build(out);
        let mut command = in_mounts_of_its_own(&node.path(""));
        command
            .args(["sh", "-c", script, "sh"])
            .arg(build.get_program())
            .args(build.get_args());
        command.current_dir(node.path(""));
        for (name, value) in build.get_envs() {
            command.env(name, value.unwrap());
        }
        command.env("SIZE", format!("{kib}k")).env("FULL", node.path(full));
        command.env("OUT", node.path(out)).env("TMPDIR", node.path("tmp"));
        let (code, text) = run(&mut command);
        (kib, code, text)
    };
    fs::create_dir_all(node.path("tmp")).unwrap();
    sizes.iter().map(|kib| small(*kib)).collect()
}

/// Asserts that each build either found no room and left nothing, or found it; that both occurred.
fn assert_all_or_nothing(ended: &[(u32, i32, String)]) {
    for (kib, code, text) in ended {
        if *code != 0 {
            assert_eq!(*code, 3, "{kib} KiB: {text}");
            assert!(text.contains("No space left"), "{kib} KiB: {text}");
            assert!(!text.contains("left: "), "{kib} KiB: {text}");
        }
    }
    let full = ended.iter().filter(|(_, code, _)| *code == 3).count();
    assert!(full > 0 && full < ended.len(), "choose other sizes: {ended:?}");
}

const SIZES: [u32; 10] = [16, 64, 128, 256, 512, 1024, 2048, 3072, 4096, 65536];

#[test]
fn a_full_disk_leaves_no_file_under_its_name() {
    let node = Node::new();
    assert_all_or_nothing(&build_on_small_disks(&node, "out", &SIZES));
}

#[test]
fn a_full_scratch_directory_leaves_no_file_under_its_name() {
    let node = Node::new();
    let sizes = SIZES.map(|size| size / 4);
    // Without what earlier builds kept, layers are unpacked there.
    forget_derived(&node);
    let ended = build_on_small_disks(&node, "tmp", &sizes);
    assert_all_or_nothing(&ended);
}

#[test]
fn a_full_store_leaves_no_file_under_its_name() {
    let node = Node::new();
    forget_derived(&node);
    let blobs = fs::read_dir(node.path("store/blobs/sha256")).unwrap();
    let sizes = blobs.map(|entry| entry.unwrap().metadata().unwrap().len().next_multiple_of(4096));
    let needed = u32::try_from(sizes.sum::<u64>() / 1024).unwrap() + 32;
    copy_dir(&node.path("store"), &node.path("store.whole"));
    let sizes = [0, 16, 48, 96, 160, 65536].map(|more| needed + more);
    assert_all_or_nothing(&build_on_small_disks(&node, "store", &sizes));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_dir(&path, &copy),
            false => drop(fs::copy(&path, &copy).unwrap()),
        }
    }
}
