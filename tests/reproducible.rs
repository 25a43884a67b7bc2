//! The same inputs make the same bytes, whoever builds them and where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::behind;
use common::node::{FORMATS, NOW, Node, answer};
use common::users::{make_read_only, make_writable, stranger};

/// A build of the locked specification in `elsewhere`, sealed, in all formats, into the directory `out`.
fn elsewhere(node: &Node, out: &Path) -> Command {
    let key = node.seal_key();
    let mut command = node.command(&["build", "--offline", "--locked", "--policy"]);
    command.arg(node.path("policy.yml")).arg("--seal-key").arg(key);
    command.args(FORMATS.iter().flat_map(|format| ["--format", format]));
    command.arg("--out").arg(out).arg(node.path("elsewhere/node.yml"));
    command
}

fn succeeds(command: &mut Command, package: &str) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{error}; install the Debian package {package}"));
    assert!(output.status.success(), "{output:?}");
}

/// A node whose specification is locked, built with `--locked` into `first`; a copy of both files in `elsewhere`.
fn locked() -> Node {
    let node = Node::new();
    node.good(&["lock", "--at", NOW, "node.yml"]);
    fs::create_dir(node.path("elsewhere")).unwrap();
    for file in ["node.yml", "node.lock"] {
        fs::copy(node.path(file), node.path("elsewhere").join(file)).unwrap();
    }
    let mut first = elsewhere(&node, &node.path("first"));
    assert_eq!(answer(first.env("RAYON_NUM_THREADS", "2")).code, 0);
    assert_eq!(
        node.names("first").len(),
        11,
        "two disks, three files and a tar, a seal for each set, and three documents"
    );
    node
}

#[test]
fn builds_of_one_locked_specification_are_equal_to_the_byte() {
    let node = locked();
    let surroundings = [
        // Nothing kept from the first build, one thread, another directory, home, time zone and locale, a narrow umask.
        ("cold", "1", "/", "077", "Pacific/Apia", "tr_TR.UTF-8"),
        // Everything kept; two threads.
        ("warm", "2", "/tmp", "000", "America/St_Johns", "C"),
    ];
    for (out, threads, dir, umask, zone, locale) in surroundings {
        if out == "cold" {
            fs::remove_dir_all(node.path("store/derived")).unwrap();
        }
        let umask = ["sh", "-c", r#"umask "$1"; shift; exec "$@""#, "sh", umask];
        let mut command = behind(&umask, &elsewhere(&node, &node.path(out)));
        command.current_dir(dir);
        command
            .env("RAYON_NUM_THREADS", threads)
            .env("HOME", node.path("another home"));
        command.env("TZ", zone).env("LC_ALL", locale).env("LANG", locale);
        command.env("USER", out).env("LOGNAME", out);
        let built = answer(&mut command);
        assert_eq!(built.code, 0, "{out}: {}", built.json);
        node.assert_same_files(out, "first");
    }
}

#[test]
fn a_month_later_the_same_evaluation_time_gives_the_same_bytes() {
    let node = locked();
    let build = elsewhere(&node, &node.path("later"));
    succeeds(&mut behind(&["faketime", "-f", "+30d"], &build), "faketime");
    node.assert_same_files("later", "first");
}

#[test]
fn another_user_who_reads_the_first_ones_store_makes_the_same_bytes() {
    let node = locked();
    // The key is read, never the store written; what the first build kept is left out so that all is made again.
    fs::remove_dir_all(node.path("store/derived")).unwrap();
    make_read_only(&node.path(""));
    let mine = tempfile::tempdir().unwrap();
    let program = stranger(Path::new(env!("CARGO_BIN_EXE_imgkit")), mine.path());
    fs::set_permissions(node.path(""), Permissions::from_mode(0o755)).unwrap();
    let out = mine.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, Permissions::from_mode(0o777)).unwrap();
    let build = elsewhere(&node, &out);
    let mut command = Command::new(program.get_program());
    command.args(program.get_args()).args(build.get_args()).env_clear();
    command.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var_os("PATH").unwrap());
    succeeds(command.env("HOME", mine.path()), "util-linux");
    make_writable(&node.path(""));
    for name in node.names("first") {
        let (one, two) = (fs::read(node.path("first").join(&name)), fs::read(out.join(&name)));
        assert!(one.unwrap() == two.unwrap(), "{name} differs");
    }
    assert_eq!(
        node.names("store/derived"),
        [""; 0],
        "nothing was written into the store"
    );
}

#[test]
fn raw_and_qcow2_have_one_content_digest() {
    let node = Node::new();
    node.build_sealed("out");
    let subject = |image: &str| node.verify(image).json["result"]["signed"]["subject"].clone();
    assert_eq!(subject("out/node.qcow2"), subject("out/node-bios.img"));
    assert!(subject("out/node.qcow2")[0]["digest"]["imgkitContentV1"].is_string());
}

#[test]
fn sealing_in_two_phases_makes_the_same_disk_as_sealing_at_once() {
    let node = Node::new();
    node.build_sealed("once");
    let key = node.seal_key().display().to_string();
    let more = [
        "--format",
        "raw-bios",
        "--format",
        "qcow2-bios",
        "--seal-request",
        "request",
    ];
    node.good(&Node::build_args("twice", &more));
    node.good(&["seal", "sign", "--seal-key", &key, "request"]);
    for file in ["node-bios.img", "node.qcow2"] {
        let path = format!("twice/{file}");
        assert_eq!(node.verify(&path).code, 1, "not sealed yet");
        node.good(&["seal", "attach", &path, "request.sig"]);
        assert_eq!(node.verify(&path).code, 0);
        let once = fs::read(node.path("once").join(file)).unwrap();
        assert!(once == fs::read(node.path(&path)).unwrap(), "{file} differs");
    }
}
