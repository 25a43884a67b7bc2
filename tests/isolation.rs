//! What imgkit never does: talk to a network to verify, or start a program to build.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::behind;
use common::node::Node;

/// Runs imgkit under strace, which must succeed, and returns the calls of this kind.
fn calls(kind: &str, node: &Node, args: &[&str]) -> Vec<String> {
    let log = node.path("strace.log");
    let (trace, to) = (format!("trace={kind}"), log.display().to_string());
    let outer = ["strace", "-f", "-qq", "-e", &trace, "-e", "signal=none", "-o", &to];
    let output = ran(&mut behind(&outer, &node.command(args)), "strace");
    assert!(output.status.success(), "{args:?}: {output:?}");
    let text = fs::read_to_string(log).unwrap();
    // A thread that the process's end took away before strace saw what it was calling is no call.
    let called = text.lines().filter(|line| !line.ends_with("???( <detached ...>"));
    called.map(str::to_owned).collect()
}

fn ran(command: &mut Command, package: &str) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}; install the Debian package {package}"))
}

#[test]
fn verifies_where_there_is_no_network() {
    let node = Node::new();
    node.build_sealed("out");
    // The namespace has no interface but a loopback that is down; without root it comes with a user namespace.
    let mut outer = vec!["unshare", "-n"];
    if !rustix::process::geteuid().is_root() {
        outer.push("--map-root-user");
    }
    for image in [
        "out/node.qcow2",
        "out/node-bios.img",
        "out/node.seal",
        "out/node.tar.seal",
    ] {
        let verify = node.command(&["verify", "--policy", "policy.yml", image]);
        let output = ran(&mut behind(&outer, &verify), "util-linux");
        assert!(output.status.success(), "{image}: {output:?}");
    }
}

#[test]
fn verify_makes_no_network_call() {
    let node = Node::new();
    node.build_sealed("out");
    for image in ["out/node.qcow2", "out/node.seal"] {
        let made = calls(
            "network",
            &node,
            &["verify", "--policy", "policy.yml", "--files", image],
        );
        assert_eq!(made, [""; 0], "{image}");
    }
    // strace sees such calls where they are made: a build that has to ask a registry.
    let port = closed_port();
    node.edit("node.yml", "local.test/svc:v1", &format!("127.0.0.1:{port}/svc:v1"));
    node.edit("policy.yml", "local.test/*", "**");
    let log = node.path("strace.log");
    let to = log.display().to_string();
    let lock = node.command(&["lock", "node.yml"]);
    let output = ran(
        &mut behind(&["strace", "-f", "-qq", "-e", "trace=network", "-o", &to], &lock),
        "strace",
    );
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(fs::read_to_string(log).unwrap().contains(&format!("htons({port})")));
}

#[test]
fn build_starts_no_other_program() {
    let node = Node::new();
    let args = node.sealed_args("out");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let made = calls("execve,execveat", &node, &args);
    let program = Path::new(env!("CARGO_BIN_EXE_imgkit")).display().to_string();
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(made[0].contains(&program), "{made:?}");
}

/// A port of this machine on which nobody listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
